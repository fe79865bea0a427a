"""The LoRAs that a pipeline carries: which there are, which are on and how strongly."""

import hashlib
import math
import warnings
from numbers import Real

from ..errors import NotFound, PaidiffError, Refused, one_line

PARTS = ("unet", "text_encoder")  # of a pipeline that can carry LoRAs
MERGED, SAVED = "_paidiff_merged", "_paidiff_saved"  # notes on a UNet, and on a LoRA: fingerprints


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

    The pipeline can then be saved with `save_pretrained` as a model of its own. Raises Refused for a LoRA that has been
    merged into it before: a cell that runs twice must not make it twice as strong.
    """
    active, unet = sorted(scales(pipe)), vars(pipe.unet)
    marks, merged = {name: fingerprint(pipe, name) for name in active}, unet.get(MERGED, frozenset())
    again = [name for name in active if marks[name] in merged]
    if again:
        zh, en = (
            "这个 LoRA 已经合进模型了,要重来就重新 load 模型",
            "already merged into this model; to begin again, load it anew",
        )
        raise Refused(zh, en, ", ".join(again))
    if active:
        pipe.fuse_lora(adapter_names=active)
    else:
        print("没有开着的 LoRA,什么也没有合 · no LoRA is on, nothing was merged")
    pipe.unload_lora_weights()
    unet[MERGED] = merged | set(marks.values())


def require_name(name):
    """Raise PaidiffError if torch cannot take a name for a module's."""
    import torch

    if not isinstance(name, str) or not name or "." in name or hasattr(torch.nn.ModuleDict(), name):
        en = "a LoRA cannot have this name, choose one without a dot"
        raise PaidiffError("LoRA 不能叫这个名字,换一个没有点的", en, one_line(repr(name)))


def drop(pipe, name):
    """Take the LoRA of that name away, if there is one, and say so if it was trained and is in no file.

    Returns the fingerprint of one that is in a file, else None.
    """
    if name not in adapter_names(pipe):
        return None
    saved, there = getattr(config(pipe, name), SAVED, None), fingerprint(pipe, name)
    layers = [layer for _, layer in adapter_layers(pipe, name)]
    trained = any(layer.lora_B[name].weight.any() for layer in layers)
    if trained and saved != there:
        en = f"the LoRA {name} was trained and not saved; the new one takes its place"
        print(f"叫 {name} 的 LoRA 训练过,没有存,换成新的了 · {en}")
    pipe.delete_adapters(name)
    return there if saved == there else None


def note_saved(pipe, name):
    """Remember that this LoRA, as it is now, is in a file."""
    setattr(config(pipe, name), SAVED, fingerprint(pipe, name))


def config(pipe, name):
    """peft's settings of a LoRA in the pipeline: an object that lives as long as the LoRA. None if there is none."""
    parts = [getattr(pipe, part) for part in PARTS]
    return next((c[name] for c in (getattr(part, "peft_config", {}) for part in parts) if name in c), None)


def fingerprint(pipe, name):
    """sha256 of a LoRA's layers, weights and alphas."""
    import torch

    found = hashlib.sha256()
    for place, layer in adapter_layers(pipe, name):
        found.update(f"{place} {float(layer.lora_alpha[name])}".encode())
        for matrix in (layer.lora_A[name], layer.lora_B[name]):
            found.update(matrix.weight.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return found.hexdigest()


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
    for part in PARTS:
        for place, layer in getattr(pipe, part).named_modules():
            if name in getattr(layer, "lora_A", {}):
                yield f"{part}.{place}", layer
