"""LoRA files, of ours, of diffusers, of the hub's old layout and of kohya: read, compared, written."""

import re
from pathlib import Path
from typing import Any

from ..arguments import explicit
from ..errors import NotFound, PaidiffError, Refused, first_line
from ..files import atomic_folder, output_folder
from ..models.load import find
from ..models.registry import short_name
from ..models.save import require_finite
from ..models.verify import LORA_NAMES as NAMES
from .adapters import (
    adapter_layers,
    add_adapter,
    drop,
    fingerprint,
    note_saved,
    require_name,
    require_scale,
    scales,
    set_scales,
)
from .lora_keys import PARTS, ROLES, kohya_name, plain_place, read_layers, with_prefix

FOR_WHOM = (
    "键名是 WebUI 的;没有 WebUI 能打开中文的文本编码器,谁读什么见 docs/elsewhere.md · the keys are the WebUI's; "
    "no stock WebUI opens a Chinese text encoder: docs/elsewhere.md says who reads what"
)
ROUNDING = 1e-5  # of alpha / rank, which the layout of 2023 has no place for but in a matrix


@explicit(adapter_name="name", alpha="scale", weight="scale")
def load_lora(pipe: Any, source: str | Path, name: str = "lora", scale: float = 1.0) -> None:
    """Load a LoRA beside those that are there already: a folder or file of ours, of diffusers or kohya, or a name.

    The hub's old pytorch_lora_weights.bin and the article's checkpoint-xxx/pytorch_model.bin, whose keys lack `unet.`, load
    too. Every layer has the rank and the alpha of the file. Raises PaidiffError, the pipeline being as before, for a LoRA
    that fits only a part of this model, is of another kind (DoRA, LoHa, ...: lora_keys.py), or holds NaN. A LoRA that has
    this name is replaced, with a line if the new one is another.
    """
    require_name(name)
    require_scale(scale)
    try:
        layers = read_layers(pipe, _file(Path(source)))
    except (OSError, AttributeError, ValueError) as error:
        raise Refused("LoRA 读不出来", f"cannot read the LoRA {source}", first_line(error)) from error
    before = drop(pipe, name)  # nothing can go wrong any more
    active = scales(pipe)
    for part in PARTS:
        ranks = {
            place.removeprefix(f"{part}."): len(layer.down) for place, layer in layers.items() if place.startswith(part)
        }
        if ranks:
            of_each = {f"^{re.escape(place)}": rank for place, rank in ranks.items()}
            add_adapter(getattr(pipe, part), name, rank_pattern=of_each, target_modules="|".join(map(re.escape, ranks)))
    for place, layer in adapter_layers(pipe, name):
        found = layers[place]
        layer.lora_A[name].weight.data.copy_(found.down)
        layer.lora_B[name].weight.data.copy_(found.up)
        layer.lora_alpha[name] = found.alpha
    note_saved(pipe, name)
    if before not in (None, fingerprint(pipe, name)):
        zh, en = f"叫 {name} 的 LoRA 换成了这一个", f"this LoRA takes the place of the one that was named {name}"
        print(f"{zh};要两个都用就另取 name= · {en}; to have both, give it another name=")
    set_scales(pipe, {**active, name: scale})


def deltas(pipe, name="lora"):
    """What a LoRA adds to each layer at scale 1: {"unet.<layer>": matrix (out, in)}."""
    layers = adapter_layers(pipe, name)
    return {p: _product(m.lora_A[name].weight, m.lora_B[name].weight, m.lora_alpha[name]) for p, m in layers}


def export_kohya(pipe, path, name="lora"):
    """Write a LoRA of the pipeline with kohya's key names and its true alphas, as one .safetensors file.

    Its metadata has kohya's names for rank, alpha (a number, or Dynamic), base model and the file's name.

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
    if path.suffix != ".safetensors":
        raise PaidiffError("导出的文件名要以 .safetensors 结尾", "its name must end in .safetensors", str(path))
    with atomic_folder(path.parent) as staging:
        save_file(state, staging / path.name, metadata=_notes(pipe, path, name))
        _require_equal(imported_deltas(staging / path.name), deltas(pipe, name))
    note_saved(pipe, name)
    print(FOR_WHOM)


def export_processors(pipe, path, name="lora"):
    """Write a LoRA in the layout of 2023, as one .bin file: `unet.load_attn_procs(folder)` of diffusers 0.21, and with it
    the models' own WebUI extension, opens the folder of a pytorch_lora_weights.bin that has no safetensors beside it.

    The file is read back, and every layer's delta compared. Raises PaidiffError.
    """
    import torch

    path, state = Path(path), processor_state(pipe, name)
    with output_folder(path.parent) as staging:
        torch.save(state, staging / path.name)
        read = read_layers(pipe, staging / path.name)
        found = {place: _product(layer.down, layer.up, layer.alpha) for place, layer in read.items()}
        _require_equal(found, deltas(pipe, name), ROUNDING)
    note_saved(pipe, name)


def processor_state(pipe, name="lora"):
    """{key of 2023: weight} of a LoRA: no `unet.`, layers in processors; alpha / rank is in the upper matrix.

    Raises PaidiffError for a LoRA beside other layers than the UNet's attention: that layout has no place for them.
    """
    state = {}
    for place, layer in adapter_layers(pipe, name):
        key, changed = re.subn(r"^unet\.(.*)\.(to_q|to_k|to_v|to_out)(\.0)?$", r"\1.processor.\2_lora", place)
        if not changed:
            zh, en = "旧的 .bin 只放得下 UNet 注意力层的 LoRA", "the old .bin takes a LoRA of the UNet's attention only"
            raise Refused(zh, en, place)
        strength = float(layer.lora_alpha[name]) / layer.r[name]
        state[f"{key}.down.weight"] = layer.lora_A[name].weight.detach().cpu().clone()
        state[f"{key}.up.weight"] = layer.lora_B[name].weight.detach().cpu() * strength
    if not state:
        raise NotFound("没有叫这个名字的 LoRA", "no such LoRA", name)
    require_finite(state)
    return state


def _notes(pipe, path, name):
    layers = [layer for _, layer in adapter_layers(pipe, name)]
    ranks, alphas = {layer.r[name] for layer in layers}, {float(layer.lora_alpha[name]) for layer in layers}
    base = str(pipe.config.get("_name_or_path") or "").rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(*ranks) if len(ranks) == 1 else "Dynamic",
        "ss_network_alpha": str(*alphas) if len(alphas) == 1 else "Dynamic",
        "ss_sd_model_name": base,  # without the folder that it lies in: nobody else's business
        "ss_output_name": path.stem,
    }


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
    """The layer of one of the importer's keys."""
    return plain_place(ROLES["down"].sub("", key))


def _require_equal(found, expected, rounding=0.0):
    """rounding: the share of a layer's largest number that a number may be off by."""
    expected = {with_prefix(place): delta for place, delta in expected.items()}
    found = {with_prefix(place): delta for place, delta in found.items()}
    wrong = set(found) ^ set(expected) or {
        p for p in found if (found[p] - expected[p]).abs().max() > rounding * expected[p].abs().max()
    }
    if wrong:
        raise PaidiffError("导出的文件读回来不一样,没有保存", "reads back differently, not saved", sorted(wrong)[0])


def _product(down, up, alpha):
    """(rank, in, ...), (out, rank, ...) -> (out, in * ...)"""
    return (up.detach().float().cpu().flatten(1) @ down.detach().float().cpu().flatten(1)) * (float(alpha) / len(down))


def _kohya_key(place):
    return kohya_name(with_prefix(place))


def state_dict_of(module, name, part):
    """The weights of a LoRA under peft's own keys.

    diffusers' scripts rename them to an older layout, which reaches the attention layers only: a LoRA with other layers
    is then a mixture, and half of it is lost when it is loaded.
    """
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(module, adapter_name=name, save_embedding_layers=False)
    own = {with_prefix(f"{part}.{key}").removeprefix(f"{part}."): weight for key, weight in state.items()}
    return {key: weight.detach().cpu().contiguous() for key, weight in own.items()}


def _file(source):
    """The weights' file of a LoRA: `source` itself, or the one in that folder or of that name. Raises PaidiffError."""
    if source.is_file():
        return source
    if not source.is_dir() and short_name(str(source)):
        source = find(str(source), "lora")
    found = [source / name for name in NAMES if (source / name).is_file()][:1] or sorted(source.glob("*.safetensors"))
    found = found or sorted(source.glob("adapter_model.bin"))  # peft's folder: refused with its name
    if not found:
        raise NotFound("没有找到 LoRA", f"no LoRA in {source}; 试过 tried", f"{', '.join(NAMES)}, *.safetensors")
    if len(found) > 1:
        listed = ", ".join(path.name for path in found)
        raise Refused(f"{source} 里有几个 LoRA,要指明哪一个文件", "several LoRAs there, name the file", listed)
    return found[0]
