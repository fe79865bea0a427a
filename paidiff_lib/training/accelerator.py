"""The device and the precision of a training run, by accelerate."""

import os
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

from ..errors import PaidiffError, Refused
from ..models.load import device
from .sharded import is_sharded

COMING = timedelta(seconds=45)  # until all processes of a run have to be there: one may have died on its way
WAITING = timedelta(minutes=30)  # for one that saves or draws while the others wait


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


def meet():
    """Wait for the other processes of a run, if there are any, and raise RuntimeError if one does not come.

    Best done before anything slow: from then on a process that dies ends the others, for its connections close.
    """
    import torch
    from accelerate import PartialState

    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.distributed.is_initialized():
        PartialState(cpu=device() == "cpu", timeout=COMING)
        torch.distributed.is_initialized() and torch.distributed.distributed_c10d._set_pg_timeout(WAITING)


@contextmanager
def one_first():
    """For what one process of a machine does and the others then find done: they come after it."""
    from accelerate import PartialState

    meet()
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    with nullcontext() if alone else PartialState().local_main_process_first():
        yield


def make_accelerator(asked, method):
    """An Accelerator of the precision that precision_of gives, for a Method. Raises PaidiffError."""
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    precision = precision_of(asked)
    _check_plan(method)
    meet()
    # A BertModel's last layer is not used.
    ddp = DistributedDataParallelKwargs(find_unused_parameters=method.trains_text)
    # One process may train twice; accelerate remembers the first precision and refuses another.
    AcceleratorState._reset_state(reset_partial_state=False)
    try:
        # The device that the rest of the library uses; accelerate by itself would take others, and in a CPU's case alone.
        accelerator = Accelerator(mixed_precision=precision, cpu=device() == "cpu", kwargs_handlers=[ddp])
    except ValueError as error:
        en = f"this machine cannot compute in {precision}"
        raise PaidiffError(f"这台机器不能用 {precision} 精度", en, str(error)) from error
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        # accelerate takes it and computes nonsense
        raise PaidiffError("CPU 不能用 fp16 精度,用 no 或 bf16", "a CPU cannot compute in fp16: use no or bf16")
    return accelerator


def _check_plan(method):
    """Raise Refused if `accelerate launch` asks for what cannot be done with this method, or was never tried."""
    asked = {name for name in ("FSDP", "DEEPSPEED") if os.environ.get(f"ACCELERATE_USE_{name}", "") == "true"}
    if "DEEPSPEED" in asked:
        en = "DeepSpeed was never tried with this library: choose FSDP, version 2, in accelerate config"
        raise Refused("没有用 DeepSpeed 试过,在 accelerate config 里选 FSDP 第 2 版", en)
    if "FSDP" in asked and device() == "cpu":
        zh, en = (
            "accelerate 的 FSDP 只在加速卡上有,CPU 上用 DDP",
            "accelerate has FSDP on accelerators only: DDP on a CPU",
        )
        os.environ.get("RANK", "0") == "0" and print(f"{zh} · {en}")
    elif "FSDP" in asked:
        require_shardable(method)
        if os.environ.get("FSDP_VERSION", "1") != "2":
            raise Refused("FSDP 要第 2 版", "FSDP must be version 2", "accelerate launch --use_fsdp --fsdp_version 2")


def require_shardable(method):
    """Raise Refused if the weights of a method cannot be divided between processes."""
    if not method.shardable:
        zh = "这种方法不能把权重分给几个进程,只有不练文本编码器的全量微调可以;不用 FSDP 就行"
        en = "the weights of this method cannot be sharded, only those of full fine-tuning without the text encoder"
        raise Refused(zh, f"{en}: run it without FSDP", type(method).__name__)


def prepare(accelerator, method, optimizer):
    """(what is trained as one module, the optimizer), as the accelerator wraps them: with DDP, with FSDP or with nothing.

    Weights that the caller has sharded, with torch's fully_shard, are left as they are. Raises Refused.
    """
    from .trained import Trained

    model: Any = Trained(method)
    if not is_sharded(method):
        return accelerator.prepare(model, optimizer)
    require_shardable(method)
    return model, accelerator.prepare_optimizer(optimizer)


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
