"""The published models that the course was written for, in one table.

Sizes are approximate and only for orientation: a download prints what the hub's own listing says. What a model really
is (its components, its prompt limit) is read from the loaded model.
"""

from typing import NamedTuple

PAI_NOTICE = "apache-2.0 + 模型页上的 on its page: AIGC模型开源特别条款"
TAIYI_NOTICE = "creativeml-openrail-m"  # from memory, not read on the hub: the model's page decides
MARK = "skeleton.json"  # says that the weights are random, for whoever would judge its pictures
CHECKER_GB = 1.22  # the safety checker of every base model


class Model(NamedTuple):
    repo: str  # on the hub
    kind: str  # "base", "lora" or "controlnet"
    size: tuple  # native (width, height) in pixels
    gigabytes: float  # of a download, without the safety checker
    modelscope: str | None = None  # the id there, where one is known
    notice: str = PAI_NOTICE


def _pai(name, kind, size):
    # base: text encoder 0.405 + UNet 3.44, read in a listing, + VAE 0.335, inferred from its shape. One base, one LoRA
    # and one ControlNet were read; that the others are alike is inferred.
    gigabytes = {"base": 4.18, "lora": 0.10, "controlnet": 1.45}[kind]
    modelscope = f"PAI/pai-diffusion-{name}" if kind == "base" else None
    return Model(f"alibaba-pai/pai-diffusion-{name}", kind, size, gigabytes, modelscope)


FAMILY = {
    "artist-large": _pai("artist-large-zh", "base", (512, 512)),
    "artist-xlarge": _pai("artist-xlarge-zh", "base", (768, 768)),
    "anime-large": _pai("anime-large-zh", "base", (512, 768)),
    "food-large": _pai("food-large-zh", "base", (512, 512)),
    "general-large": _pai("general-large-zh", "base", (512, 512)),
    "general-xlarge": _pai("general-xlarge-zh", "base", (768, 768)),
    # The same shape, all of it inferred: another Chinese Stable Diffusion with a BertTokenizer.
    "taiyi": Model("IDEA-CCNL/Taiyi-Stable-Diffusion-1B-Chinese-v0.1", "base", (512, 512), 4.18, notice=TAIYI_NOTICE),
    "artist-large-lora-poem": _pai("artist-large-zh-lora-poem", "lora", (512, 512)),
    "artist-large-lora-25d": _pai("artist-large-zh-lora-25d", "lora", (512, 512)),
    "artist-large-controlnet-canny": _pai("artist-large-zh-controlnet-canny", "controlnet", (512, 512)),
    "artist-large-controlnet-depth": _pai("artist-large-zh-controlnet-depth", "controlnet", (512, 512)),
    "general-large-controlnet-depth": _pai("general-large-zh-controlnet-depth", "controlnet", (512, 512)),
}


def short_name(name):
    """The short name of a model of the family, from that, its hub id or its ModelScope id; None for any other name."""
    return next((short for short, model in FAMILY.items() if name in (short, model.repo, model.modelscope)), None)


def published(name, kind):
    """The Model of that kind that has one of these names; None if there is none."""
    model = FAMILY.get(short_name(name) or "")
    return model if model and model.kind == kind else None


def names(kind):
    """The short names of one kind, in the table's order."""
    return [short for short, model in FAMILY.items() if model.kind == kind]
