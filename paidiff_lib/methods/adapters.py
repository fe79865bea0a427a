"""The LoRAs that a pipeline carries: which there are, which are on and how strongly."""

from ..errors import NotFound, PaidiffError


def set_scales(pipe, scales):
    """Switch on these LoRAs together, {name: scale}, and every other one off. Raises PaidiffError."""
    missing = [name for name in scales if name not in adapter_names(pipe)]
    if missing:
        there = ", ".join(sorted(adapter_names(pipe))) or "-"
        raise NotFound("没有叫这个名字的 LoRA", "no such LoRA", f"{', '.join(missing)}; 有 there are: {there}")
    if scales:
        pipe.enable_lora()
        pipe.set_adapters(list(scales), [float(scale) for scale in scales.values()])
    else:
        pipe.disable_lora()


def scales(pipe):
    """The LoRAs that are switched on, {name: scale}, read from the layers themselves."""
    found = {}
    for name in adapter_names(pipe):
        _, layer = next(adapter_layers(pipe, name))
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
    """Raise PaidiffError if the pipeline has a LoRA of this name."""
    if name in adapter_names(pipe):
        raise PaidiffError(f"模型里已有叫 {name} 的 LoRA", f"the pipeline already has a LoRA named {name}")


def adapter_names(pipe):
    return {name for names in pipe.get_list_adapters().values() for name in names}


def adapter_layers(pipe, name):
    """(place, layer) of every layer that carries the LoRA `name`."""
    for part in ("unet", "text_encoder"):
        for place, layer in getattr(pipe, part).named_modules():
            if name in getattr(layer, "lora_A", {}):
                yield f"{part}.{place}", layer
