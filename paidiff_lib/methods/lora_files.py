"""LoRA files, of ours, of diffusers, of the hub's old layout and of kohya: read, compared, written."""

import logging
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..arguments import explicit
from ..errors import NotFound, PaidiffError, Refused, first_line
from ..files import atomic_folder
from ..models.load import find
from ..models.registry import short_name
from ..models.save import require_finite
from ..models.verify import LORA_NAMES as NAMES, read_weights
from .adapters import adapter_layers, adapter_names, require_new, scales, set_scales


@explicit(adapter_name="name", alpha="scale", weight="scale")
def load_lora(pipe: Any, source: str | Path, name: str = "lora", scale: float = 1.0) -> None:
    """Load a LoRA beside those that are there already: a folder or file of ours, of diffusers or kohya, or a name.

    The hub's old pytorch_lora_weights.bin and the article's checkpoint-xxx/pytorch_model.bin, whose keys lack `unet.`, load
    too: diffusers itself accepts those and changes nothing. Raises PaidiffError, also if the LoRA takes no effect in this
    model or fits only a part of it; the pipeline is then as before.
    """
    path = _file(Path(source))
    require_new(pipe, name)
    active = scales(pipe)
    try:
        with _diffusers_silent():
            state = read_weights(path)
            if any(key.startswith(("unet.", "text_encoder.", "lora_")) for key in state):
                pipe.load_lora_weights(str(path.parent), adapter_name=name, weight_name=path.name)
            else:  # an old file of the hub
                pipe.load_lora_weights({f"unet.{key}": v for key, v in state.items()}, adapter_name=name)
    except Exception as error:  # diffusers, peft, safetensors and pickle have a dozen ways to say that a file is wrong
        if not adapter_names(pipe):
            pipe.unload_lora_weights()  # diffusers leaves its wrappers round the layers
        _require_same_sizes(path, error)
        raise Refused("LoRA 读不出来", f"cannot read the LoRA {path}", first_line(error)) from error
    _require_effect(pipe, name, path, sum(key.endswith(("lora_A.weight", "down.weight")) for key in state))
    set_scales(pipe, {**active, name: scale})


@contextmanager
def _diffusers_silent():
    """It logs a line for every layer that does not fit."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.ERROR))
    try:
        yield
    finally:
        logging.disable(before)


def _require_effect(pipe, name, path, wanted):
    """Raise Refused, the LoRA being gone again, if it is not in all the `wanted` layers, or is zero in all of them."""
    there = [layer for _, layer in adapter_layers(pipe, name)] if name in adapter_names(pipe) else []
    if len(there) < wanted or not any(layer.lora_B[name].weight.any() for layer in there):
        if there:
            pipe.delete_adapters(name)
        en = f"the LoRA in {path} changes nothing in this model, or belongs to another one"
        raise Refused(f"{path} 里的 LoRA 对不上这个模型,没有起作用", en, f"{len(there)} / {wanted} 层 layers")


def _require_same_sizes(path, error):
    """Raise Refused if what torch says is that the layers are of other sizes."""
    size, layer = r"Size\((\[.*?\])\)", r"(\S+?)(?:\.lora_\w+)?(?:\.\w+)?\.weight"
    wrong = re.search(f"size mismatch for {layer}:.*?{size}.*?{size}", str(error), re.S)
    if wrong:
        what = f"{path}: {' '.join(wrong.groups())}"
        raise Refused("这个 LoRA 是给别的模型的", "this LoRA is for another model", what) from error


def deltas(pipe, name="lora"):
    """What a LoRA adds to each layer at scale 1: {"unet.<layer>": matrix (out, in)}."""
    layers = adapter_layers(pipe, name)
    return {p: _product(m.lora_A[name].weight, m.lora_B[name].weight, m.lora_alpha[name]) for p, m in layers}


def export_kohya(pipe, path, name="lora"):
    """Write a LoRA of the pipeline with kohya's key names and its true alpha, as one .safetensors file.

    The file is read back through diffusers' own importer, and every layer's delta compared. Raises PaidiffError.
    """
    import torch
    from safetensors.torch import save_file

    state = {}
    for place, layer in adapter_layers(pipe, name):
        key = _kohya_key(place)
        state[f"{key}.lora_down.weight"] = layer.lora_A[name].weight.detach().cpu().contiguous()
        state[f"{key}.lora_up.weight"] = layer.lora_B[name].weight.detach().cpu().contiguous()
        state[f"{key}.alpha"] = torch.tensor(float(layer.lora_alpha[name]))
    if not state:
        raise NotFound("没有叫这个名字的 LoRA", "no such LoRA", name)
    require_finite(state)
    path = Path(path)
    with atomic_folder(path.parent) as staging:
        save_file(state, staging / path.name, metadata={"ss_network_module": "networks.lora"})
        _require_equal(imported_deltas(staging / path.name), deltas(pipe, name))


def imported_deltas(path):
    """The deltas of a kohya file as diffusers reads it, {layer in diffusers' naming: matrix (out, in)}."""
    from diffusers import StableDiffusionPipeline

    read: Any = StableDiffusionPipeline.lora_state_dict
    state, alphas = read(str(path.parent), weight_name=path.name)
    found = {}
    for key in [key for key in state if key.endswith("down.weight")]:
        alpha = alphas[key.split(".lora.")[0] + ".alpha"]
        found[_place(key)] = _product(state[key], state[key.replace(".down.", ".up.")], alpha)
    return found


def _place(key):
    """The layer of one of the importer's keys: it writes attention layers as `processor.to_q_lora`, text ones so too."""
    place = re.sub(r"[._]lora(_linear_layer)?\.down\.weight$", "", key).replace(".processor.", ".")
    if place.startswith("text_encoder.") and ".to_" in place:
        return re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", place)
    return re.sub(r"\.to_out$", ".to_out.0", place)


def _require_equal(found, expected):
    expected = {_with_prefix(place): delta for place, delta in expected.items()}
    found = {_with_prefix(place): delta for place, delta in found.items()}
    wrong = set(found) ^ set(expected) or {p for p in found if (found[p] - expected[p]).abs().max() > 0}
    if wrong:
        raise PaidiffError("导出的文件读回来不一样,没有保存", "reads back differently, not saved", sorted(wrong)[0])


def _product(down, up, alpha):
    """(rank, in, ...), (out, rank, ...) -> (out, in * ...)"""
    return (up.detach().float().cpu().flatten(1) @ down.detach().float().cpu().flatten(1)) * (float(alpha) / len(down))


def _kohya_key(place):
    part, _, layer = _with_prefix(place).partition(".")
    return {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part] + layer.replace(".", "_")


def _with_prefix(place):
    """Every published text encoder calls its layers text_model.*; transformers 5 leaves that out."""
    bare = place.removeprefix("text_encoder.").removeprefix("text_model.")
    return f"text_encoder.text_model.{bare}" if place.startswith("text_encoder.") else place


def state_dict_of(module, name, part):
    """The weights of a LoRA under peft's own keys.

    diffusers' scripts rename them to an older layout, which reaches the attention layers only: a LoRA with other layers
    is then a mixture, and half of it is lost when it is loaded.
    """
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(module, adapter_name=name)
    own = {_with_prefix(f"{part}.{key}").removeprefix(f"{part}."): weight for key, weight in state.items()}
    return {key: weight.detach().cpu().contiguous() for key, weight in own.items()}


def _file(source):
    """The weights' file of a LoRA: `source` itself, or the one in that folder or of that name. Raises PaidiffError."""
    if source.is_file():
        return source
    if not source.is_dir() and short_name(str(source)):
        source = find(str(source), "lora")
    found = [source / name for name in NAMES if (source / name).is_file()] or sorted(source.glob("*.safetensors"))
    if not found:
        raise NotFound("没有找到 LoRA", f"no LoRA in {source}; 试过 tried", f"{', '.join(NAMES)}, *.safetensors")
    return found[0]
