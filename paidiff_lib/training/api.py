"""How a training is started: `fit` runs it, `train` hands over every step.

losses = fit(lora, "data/porcelain", steps=240, learning_rate=3e-3)
for step in train(lora, data, steps=240, learning_rate=3e-3, output="out/run"):
    print(step.index, step.loss)
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arguments import explicit
from ..datasets.folder import CaptionFolder
from ..datasets.mixed import Mixed
from ..datasets.shards import EncodedShards, is_encoded
from ..display import show, watch
from .checkpoint import Store
from .config import OLD_NAMES, TrainingConfig
from .loop import Trainer
from .steps import Steps

if TYPE_CHECKING:
    from ..methods.base import Method


@explicit(**OLD_NAMES)
def train(
    method: "Method",
    data: CaptionFolder | Mixed | EncodedShards | str | Path,
    steps: int = 1000,
    learning_rate: float = 1e-4,
    seed: int = 0,
    output: str | Path | None = None,
    *,
    batch_size: int = 1,
    gradient_accumulation_steps: int = 1,
    lr_scheduler: str = "constant",
    warmup_steps: int = 0,
    lr_cycles: int = 1,
    lr_power: float = 1.0,
    snr_gamma: float | None = None,
    noise_offset: float = 0.0,
    prediction_type: str | None = None,
    caption_dropout: float | None = None,
    ema: float | None = None,
    max_grad_norm: float | None = 1.0,
    weight_decay: float | None = None,
    adam_beta1: float = 0.9,
    adam_beta2: float = 0.999,
    adam_epsilon: float = 1e-8,
    mixed_precision: str | None = None,
    gradient_checkpointing: bool = False,
    save_every: int = 500,
    keep: int = 2,
    resume: bool | str = True,
    cache: str | Path | None = None,
    sample_every: int = 0,
    sample_prompts: Sequence[str] = (),
) -> Steps:
    """Train `method` on `data`, step by step: iterate over what this returns; a Step comes after every update.

    data: a CaptionFolder, or a folder that is to be one; EncodedShards, or what `paidiff encode` has written. steps: updates of the weights, each from batch_size times
    gradient_accumulation_steps pictures. output: a folder for checkpoints, one every `save_every` steps, the newest `keep`
    of them; a run that finds some there goes on from the newest intact one, or from the one that `resume` names, and ends
    with the weights of a run that was never stopped: bit for bit on one machine with a CPU. The other settings are
    explained in TrainingConfig.
    An interrupt (Ctrl-C, SIGTERM, leaving the loop) ends after the current step and saves. Raises PaidiffError, at once
    where a setting or the data are at fault.
    """
    given = locals()
    config = TrainingConfig(**{setting.name: given[setting.name] for setting in fields(TrainingConfig)})
    config.check()
    output and Store(output).check(config)
    if isinstance(data, (str, Path)):
        data = EncodedShards(data) if is_encoded(data) else CaptionFolder(data)
    return Steps(Trainer(method, data, config, output))


def takes_parameters_of(other: Any) -> Any:
    """A decorator: the function has the parameters of another one, for readers, tab completion and type checkers too."""

    def decorate(function):
        returns = signature(function).return_annotation
        function.__signature__ = signature(other).replace(return_annotation=returns)
        function.__annotations__ = {**other.__annotations__, "return": returns}
        return function

    return decorate


@explicit(**OLD_NAMES)
@takes_parameters_of(train)
def fit(*args, **kwargs) -> list[float]:
    """Train as `train` does, from start to end, and show how far it is. Returns the loss of every step.

    Sample pictures are shown as they are drawn. An interrupt (Ctrl-C, a notebook's stop) saves, where there is an output,
    and returns the losses so far. Raises PaidiffError.
    """
    losses = []
    with closing(train(*args, **kwargs)) as steps:
        try:
            for step in watch(steps, steps.total):
                losses.append(step.loss)
                if step.images:
                    show(step.images)
        except KeyboardInterrupt:
            print(
                f"打断了,返回这 {len(losses)} 步的损失 · interrupted: returns the losses of these {len(losses)} steps"
            )
    return losses
