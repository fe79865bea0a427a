"""The LoRAs that a pipeline carries: which there are, which are on and how strongly."""

import math
import warnings
from numbers import Real

from ..errors import NotFound, PaidiffError, one_line


def set_scales(pipe, scales):
    """Switch on these LoRAs together, {name: scale}, and every other one off. Raises PaidiffError."""
    missing = [name for name in scales if name not in adapter_names(pipe)]
    if missing:
        there = ", ".join(sorted(adapter_names(pipe))) or "-"
        raise NotFound("没有叫这个名字的 LoRA", "no such LoRA", f"{', '.join(missing)}; 有 there are: {there}")
    for scale in scales.values():
        require_scale(scale)
    if scales:
        pipe.enable_lora()
        pipe.set_adapters(list(scales), [float(scale) for scale in scales.values()])
    else:
        pipe.disable_lora()


def scales(pipe):
    """The LoRAs that are switched on, {name: scale}, read from the layers themselves."""
    found = {}
    for name in adapter_names(pipe):
        layer = next(layer for _, layer in adapter_layers(pipe, name) if layer.lora_alpha[name])
        if name in layer.active_adapters and not layer.disable_adapters:
            found[name] = layer.scaling[name] * layer.r[name] / layer.lora_alpha[name]
    return found


def merge(pipe):
    """Add the LoRAs that are switched on, at their scales, to the weights for good, and drop them all.

    The pipeline can then be saved with `save_pretrained` as a model of its own.
    """
    if scales(pipe):
        pipe.fuse_lora(adapter_names=sorted(scales(pipe)))
    pipe.unload_lora_weights()


def require_new(pipe, name):
    """Raise PaidiffError if the pipeline has a LoRA of this name, or torch cannot take it for a module's."""
    import torch

    if name in adapter_names(pipe):
        raise PaidiffError(f"模型里已有叫 {name} 的 LoRA", f"the pipeline already has a LoRA named {name}")
    if not isinstance(name, str) or not name or "." in name or hasattr(torch.nn.ModuleDict(), name):
        en = "a LoRA cannot have this name, choose one without a dot"
        raise PaidiffError("LoRA 不能叫这个名字,换一个没有点的", en, one_line(repr(name)))


def require_scale(scale):
    """Raise PaidiffError unless a scale is a finite number."""
    if not isinstance(scale, Real) or not math.isfinite(scale):
        raise PaidiffError("LoRA 的强度要是一个数", "a LoRA's scale must be a finite number", one_line(repr(scale)))


def add_adapter(module, name, seed=0, **config):
    """Put a LoRA beside layers of a model, changing nothing yet; its first matrices come from `seed`. config: LoraConfig's."""
    import torch
    from peft import LoraConfig

    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Already found a `peft_config`")  # two LoRAs at once are meant
        torch.manual_seed(seed)
        module.add_adapter(LoraConfig(init_lora_weights="gaussian", **config), adapter_name=name)


def adapter_names(pipe):
    return {name for names in pipe.get_list_adapters().values() for name in names}


def adapter_layers(pipe, name):
    """(place, layer) of every layer that carries the LoRA `name`."""
    for part in ("unet", "text_encoder"):
        for place, layer in getattr(pipe, part).named_modules():
            if name in getattr(layer, "lora_A", {}):
                yield f"{part}.{place}", layer
