"""The settings of a training run."""

import math
from dataclasses import asdict, dataclass, field

from ..errors import PaidiffError

SCHEDULES = ["constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"]

FREE = {
    "steps",
    "every",
    "keep",
    "resume",
    "cache",
    "sample_every",
    "prompts",
    "checkpointing",
}  # may change on the way


@dataclass
class Settings:
    """Everything about a run but its method and its data."""

    steps: int = 1000  # updates of the weights
    lr: float = 1e-4  # learning rate, at its highest
    seed: int = 0
    batch: int = 1  # pictures at once, on each device
    accumulate: int = 1  # batches to an update
    schedule: str = "constant"  # of the learning rate, by diffusers' names
    warmup: int = 0  # updates until the learning rate is reached
    cycles: int = 1  # of cosine_with_restarts
    power: float = 1.0  # of polynomial
    min_snr: float | None = None  # gamma of Hang et al. 2023, e.g. 5; None weighs all timesteps alike
    dropout: float | None = None  # share of captions left out; None is the method's own
    ema: float | None = None  # decay of a running mean of the weights, e.g. 0.999; the mean is what remains
    clip: float | None = 1.0  # longest gradient
    weight_decay: float | None = None  # None is the method's own
    precision: str | None = None  # "no", "fp16", "bf16"; None suits the device
    checkpointing: bool = False  # computes activations twice: slower, less memory
    every: int = 500  # updates between checkpoints
    keep: int = 2  # checkpoints kept
    resume: bool | str = True  # from the newest checkpoint; a name takes that one; False starts anew
    cache: str | None = None  # a folder for latents and embeddings; None keeps them in memory
    sample_every: int = 0  # updates between sample pictures
    prompts: list = field(default_factory=list)  # of the sample pictures

    def check(self):
        """Raise PaidiffError on a setting that cannot work."""
        whole = {
            "steps": 1,
            "batch": 1,
            "accumulate": 1,
            "every": 1,
            "keep": 1,
            "warmup": 0,
            "sample_every": 0,
            "seed": 0,
        }
        for name, least in whole.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise PaidiffError(
                    f"{name} 要是不小于 {least} 的整数 · must be a whole number, {least} or more: {value}"
                )
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise PaidiffError(f"学习率要大于 0 · the learning rate must be above 0: {self.lr}")
        if self.schedule not in SCHEDULES:
            raise PaidiffError(
                f"没有这种学习率曲线 · no schedule {self.schedule}; 可选 choose from: {', '.join(SCHEDULES)}"
            )
        if self.precision not in (None, "no", "fp16", "bf16"):
            raise PaidiffError(f"没有这种精度 · no precision {self.precision}; 可选 choose from: no, fp16, bf16")

    def identity(self):
        return {name: value for name, value in asdict(self).items() if name not in FREE}
