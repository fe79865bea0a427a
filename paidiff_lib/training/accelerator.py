"""The device and the precision of a training run, by accelerate."""

import os

from ..errors import PaidiffError
from ..models.load import device


def make_accelerator(precision, pipe):
    """An Accelerator of this precision; None is what suits the device, or what accelerate was launched with. Raises PaidiffError."""
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    launched = "ACCELERATE_MIXED_PRECISION" in os.environ
    if precision is None and not launched:
        half = torch.cuda.is_available() and pipe.unet.dtype == torch.float16
        precision = "fp16" if half else "no"
    # One process may train twice; accelerate remembers the first precision and refuses another.
    AcceleratorState._reset_state(reset_partial_state=False)
    try:
        # The device that the rest of the library uses; accelerate by itself would take others, and in a CPU's case alone.
        accelerator = Accelerator(mixed_precision=precision, cpu=device() == "cpu")
    except ValueError as error:
        raise PaidiffError(
            f"这台机器不能用 {precision} 精度", f"this machine cannot compute in {precision}", str(error)
        ) from error
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        # accelerate takes it and computes nonsense
        raise PaidiffError("CPU 不能用 fp16 精度,用 no 或 bf16", "a CPU cannot compute in fp16: use no or bf16")
    return accelerator


def gather(accelerator, value):
    """[value of process 0, value of process 1, ...]"""
    from accelerate.utils import gather_object

    return gather_object([value]) if accelerator.num_processes > 1 else [value]
