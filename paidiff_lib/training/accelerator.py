"""The device and the precision of a training run, by accelerate."""

import os

from ..errors import PaidiffError
from ..models.load import device


def make_accelerator(precision, pipe):
    """An Accelerator of this precision; None is what suits the device, or what accelerate was launched with. Raises PaidiffError."""
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    if precision is None and "ACCELERATE_MIXED_PRECISION" not in os.environ:
        half = torch.cuda.is_available() and pipe.unet.dtype == torch.float16
        precision = "fp16" if half else "no"
    # One process may train twice; accelerate remembers the first precision and refuses another.
    AcceleratorState._reset_state(reset_partial_state=False)
    try:
        # The device that the rest of the library uses; accelerate by itself would take others, and in a CPU's case alone.
        accelerator = Accelerator(mixed_precision=precision, cpu=device() == "cpu")
    except ValueError as error:
        en = f"this machine cannot compute in {precision}"
        raise PaidiffError(f"这台机器不能用 {precision} 精度", en, str(error)) from error
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        # accelerate takes it and computes nonsense
        raise PaidiffError("CPU 不能用 fp16 精度,用 no 或 bf16", "a CPU cannot compute in fp16: use no or bf16")
    return accelerator


def frozen_dtype(accelerator):
    """What the weights that are not trained are kept in."""
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(accelerator.mixed_precision, torch.float32)


def gather(accelerator, value):
    """[value of process 0, value of process 1, ...]"""
    from accelerate.utils import gather_object

    return gather_object([value]) if accelerator.num_processes > 1 else [value]
