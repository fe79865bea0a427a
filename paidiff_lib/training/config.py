"""The settings of a training run, and what the training commands call them: the one list of both."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from reprlib import repr as short_repr

from ..arguments import require_int
from ..errors import PaidiffError, one_line, unknown

SCHEDULES = ("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial")
PRECISIONS = ("no", "fp16", "bf16")
PREDICTIONS = ("epsilon", "v_prediction")
MOST = 10**9  # of any whole number: a run of that many steps takes a life
POLYNOMIAL_END = 1e-7  # diffusers lets the learning rate fall to this
# In checkpoints and calls from before November 2026.
OLD_NAMES = {"lr": "learning_rate", "batch": "batch_size", "accumulate": "gradient_accumulation_steps"}
OLD_NAMES |= {"schedule": "lr_scheduler", "warmup": "warmup_steps", "cycles": "lr_cycles", "power": "lr_power"}
OLD_NAMES |= {"min_snr": "snr_gamma", "dropout": "caption_dropout", "clip": "max_grad_norm", "every": "save_every"}
OLD_NAMES |= {"precision": "mixed_precision", "checkpointing": "gradient_checkpointing", "prompts": "sample_prompts"}


def setting(default, text, flag=None, **metadata):
    """A field of TrainingConfig. text: what it is, for --help. flag: its name on the command line, None for none there.

    least, most: of a whole number. between: the least and the most of a number that may be None; so small a least that
    nothing would be learnt below it. needs: (another setting, the values of it that this one acts with). free: it may
    change when a run is continued. as_flag: its (type, default), where they differ.
    """
    return field(default=default, metadata={"help": text, "flag": flag, **metadata})


@dataclass
class TrainingConfig:
    """Everything about a run but its method and its data. None leaves a setting to the method or the device."""

    steps: int = setting(
        1000,
        "更新多少次,默认 1000 或按 num_train_epochs · updates of the weights; 1000, or as num_train_epochs says",
        "max_train_steps",
        least=1,
        free=True,
        as_flag=(int | None, None),
    )
    learning_rate: float = setting(
        1e-4, "学习率 · learning rate, at its highest", "learning_rate", between=(1e-30, 1e6)
    )
    seed: int = setting(0, "随机种子 · same seed, same result", "seed", least=0, most=2**32 - 1)
    batch_size: int = setting(1, "每批图片数 · pictures at once, on each device", "train_batch_size", least=1)
    gradient_accumulation_steps: int = setting(
        1, "几批更新一次 · batches to an update", "gradient_accumulation_steps", least=1
    )
    lr_scheduler: str = setting(
        "constant", "学习率曲线 · schedule of the learning rate, by diffusers' names", "lr_scheduler"
    )
    warmup_steps: int = setting(
        0,
        "预热多少次更新 · updates until the learning rate is reached",
        "lr_warmup_steps",
        least=0,
        needs=("lr_scheduler", SCHEDULES[1:]),
    )
    lr_cycles: int = setting(
        1,
        "重启几次 · cycles of cosine_with_restarts",
        "lr_num_cycles",
        least=1,
        needs=("lr_scheduler", ("cosine_with_restarts",)),
    )
    lr_power: float = setting(
        1.0, "多项式的次数 · power of polynomial", "lr_power", between=(0, 100), needs=("lr_scheduler", ("polynomial",))
    )
    snr_gamma: float | None = setting(
        None,
        "min-SNR 加权(Hang et al. 2023),常用 5 · min-SNR weighting (Hang et al. 2023), usually 5; off unless given",
        "snr_gamma",
        between=(1e-6, 1e6),
    )
    noise_offset: float = setting(
        0.0,
        "噪声整体偏移,如 0.1 · shifts the noise of each channel as a whole, as 0.1",
        "noise_offset",
        between=(0, 10),
    )
    prediction_type: str | None = setting(
        None, "预测什么:epsilon, v_prediction;默认是模型自己的 · what is predicted; the model's own", "prediction_type"
    )
    caption_dropout: float | None = setting(
        None,
        "多少说明换成空的 · share of captions left out; the method's own",
        "proportion_empty_prompts",
        between=(0, 1),
    )
    ema: float | None = setting(
        None, "滑动平均的衰减,如 0.999 · decay of a running mean of the weights, which remains", between=(0, 0.9999999)
    )
    max_grad_norm: float | None = setting(
        1.0,
        "梯度最长多少,0 不限 · longest gradient; 0: any",
        "max_grad_norm",
        as_flag=(float, 1.0),
        between=(0, math.inf),
    )
    weight_decay: float | None = setting(
        None, "权重衰减 · weight decay of AdamW; the method's own", "adam_weight_decay", between=(0, 10)
    )
    adam_beta1: float = setting(0.9, "AdamW 的 beta1 · beta1 of AdamW", "adam_beta1", between=(0, 0.9999999))
    adam_beta2: float = setting(0.999, "AdamW 的 beta2 · beta2 of AdamW", "adam_beta2", between=(0, 0.9999999))
    adam_epsilon: float = setting(1e-8, "AdamW 的 epsilon · epsilon of AdamW", "adam_epsilon", between=(1e-30, 1))
    mixed_precision: str | None = setting(
        None, "精度:no, fp16, bf16;默认看设备 · precision: no, fp16, bf16; what suits the device", "mixed_precision"
    )
    gradient_checkpointing: bool = setting(
        False, "省显存,慢一些 · less memory, slower", "gradient_checkpointing", free=True
    )
    save_every: int = setting(
        500, "几次更新存一次 · updates between checkpoints", "checkpointing_steps", least=1, free=True
    )
    keep: int = setting(2, "留几个检查点 · checkpoints kept", "checkpoints_total_limit", least=1, free=True)
    resume: bool | str = setting(
        True,
        "从哪里接着练 · latest, checkpoint-N, its path, none",
        "resume_from_checkpoint",
        free=True,
        as_flag=(str, "latest"),
    )
    cache: str | None = setting(
        None, "编码结果放哪里 · keep latents and embeddings here; in memory unless given", "cache_dir", free=True
    )
    sample_every: int = setting(
        0,
        "几次更新画一次 · updates between sample pictures",
        "validation_steps",
        least=0,
        free=True,
        as_flag=(int, 500),
    )
    sample_prompts: Sequence[str] = setting(
        (), "训练中画这句 · a prompt to draw on the way", "validation_prompt", free=True, as_flag=(str | None, None)
    )

    def check(self):
        """Raise PaidiffError on a setting that cannot work. Numbers are Python's own afterwards, as a checkpoint holds them."""
        for one in fields(self):
            value = getattr(self, one.name)
            if "least" in one.metadata:
                require = one.metadata["least"], one.metadata.get("most", MOST), f"{one.name} ", one.name
                setattr(self, one.name, require_int(value, *require))
            elif "between" in one.metadata and value is not None:
                setattr(self, one.name, _number(one.name, value, *one.metadata["between"]))
        if isinstance(self.sample_prompts, str):
            self.sample_prompts = (self.sample_prompts,)
        if self.lr_scheduler == "polynomial" and self.learning_rate <= POLYNOMIAL_END:
            zh, en = "polynomial 的学习率要更大", "polynomial needs a learning rate above its end"
            raise PaidiffError(zh, en, f"{self.learning_rate:g}, {POLYNOMIAL_END:g}")
        if self.lr_scheduler not in SCHEDULES:
            raise unknown("学习率曲线", "learning rate schedule", self.lr_scheduler, SCHEDULES)
        if self.prediction_type not in (None, *PREDICTIONS):
            raise unknown("预测目标", "prediction type", self.prediction_type, PREDICTIONS)
        if self.mixed_precision not in (None, *PRECISIONS):
            raise unknown("精度", "precision", self.mixed_precision, PRECISIONS)

    def without_effect(self):
        """(setting, what it needs, in both languages) of each that was given and changes nothing beside the others."""
        for one in fields(self):
            other, values = one.metadata.get("needs", ("", ()))
            if other and getattr(self, one.name) != one.default and getattr(self, other) not in values:
                yield one.name, f"只有 {other} 是这些才有 · only with {other} {', '.join(values)}"
        if self.sample_every and not self.sample_prompts:
            yield "sample_every", "没有 sample_prompts · without sample_prompts"

    def identity(self):
        """What a run must agree on with the run that it continues: all but what is free."""
        free = {f.name for f in fields(self) if f.metadata.get("free")}
        return {name: value for name, value in asdict(self).items() if name not in free}


def _number(name, value, low, high):
    """`value` as a float, if it lies between the two. Raises PaidiffError; a bool is no number here."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
        zh, en = f"{name} 要在 {low:g} 到 {high:g} 之间", f"{name} must be from {low:g} to {high:g}"
        raise PaidiffError(zh, en, one_line(short_repr(value)))
    try:
        return float(value)
    except OverflowError:  # a whole number, where any is allowed
        return math.inf
