"""The device and the precision of a training run, by accelerate."""

import os
from contextlib import contextmanager

from ..errors import PaidiffError
from ..models.load import device


def precision_of(asked):
    """The precision of a run: the one asked for; else what accelerate was launched with; else what suits the device.

    `accelerate launch` says "no" to everybody who did not choose, so that is no choice.
    """
    import torch

    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if asked or launched != "no":
        return asked or launched
    if device() == "cpu":
        return "no"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def make_accelerator(asked):
    """An Accelerator of the precision that precision_of gives. Raises PaidiffError."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    precision = precision_of(asked)
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


def compute_dtype(accelerator):
    """What the model computes in while it is trained."""
    import torch

    return {"fp16": torch.float16, "bf16": torch.bfloat16}.get(accelerator.mixed_precision, torch.float32)


@contextmanager
def computing_in(dtype, frozen):
    """Frozen parameters in `dtype`, and afterwards in their own again, bit for bit; single precision in TF32 where a
    card has it. Between the steps, the model is thus drawn and saved as it was loaded.
    """
    import torch

    products = torch.backends.cuda.matmul
    before, own = products.fp32_precision, [(p, p.data) for p in frozen if p.dtype != dtype]
    products.fp32_precision = "tf32"
    for parameter, weights in own:
        parameter.data = weights.to(dtype)
    try:
        yield
    finally:
        products.fp32_precision = before
        for parameter, weights in own:
            parameter.data = weights


def gather(accelerator, value):
    """[value of process 0, value of process 1, ...]"""
    from accelerate.utils import gather_object

    return gather_object([value]) if accelerator.num_processes > 1 else [value]
