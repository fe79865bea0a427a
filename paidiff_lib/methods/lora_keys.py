"""What the keys of a LoRA file mean: every one is used, or the file is refused with its name.

diffusers' own reader drops what it does not expect: a `dora_scale`, the alpha of single attention layers, layers that the
model lacks. Here a layer is found by its exact name in the model, and its alpha and rank are those of the file.

Refused are the kinds that are no plain LoRA, W + alpha / rank * up @ down. PEFT could hold three of them; but a DoRA at
scale 0 is not off, and diffusers' importer, by which each export is compared, reads neither LoHa nor LoKr.
"""

import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ..errors import NotFound, Refused, first_line
from ..models.save import require_finite
from ..models.verify import read_weights

PARTS = {"unet": "lora_unet_", "text_encoder": "lora_te_"}  # of a pipeline, and kohya's name for each
ROLES = {
    "down": re.compile(r"(\.lora_A|\.lora_down|[._]lora(_linear_layer)?\.down)\.weight$"),
    "up": re.compile(r"(\.lora_B|\.lora_up|[._]lora(_linear_layer)?\.up)\.weight$"),
    "alpha": re.compile(r"\.alpha$"),
}
PLAIN = "改用普通 LoRA 训练 train a plain LoRA; 或在它的软件里合进模型 or merge it into the model where it was made"
OTHER = "用在它自己的那一类模型上 use it with the model that it was made for"
PEFT = (
    "用 pipe.save_lora_weights(文件夹 folder, unet_lora_layers=get_peft_model_state_dict(unet)) 再存一次 save it again"
)
SINGLE = "用 diffusers 的 from_single_file 打开再 save_pretrained,然后 open it so, save it, then: load(文件夹 folder)"
FOREIGN = {  # what a file is called -> a key that tells, and the way out. The first that fits is named
    "PEFT 文件夹 PEFT folder": (r"^base_model\.model\.", PEFT),
    "带嵌入的 LoRA bundled embedding": (r"^bundle_emb\.", "不带嵌入再导出一次 export it without; load_embedding(...)"),
    "单文件模型 single-file checkpoint": (
        r"^(model\.diffusion_model|first_stage_model|cond_stage_model)\.|^state_dict$",
        SINGLE,
    ),
    "ControlNet": (
        r"controlnet_cond_embedding|^control_model\.|lora_controlnet",
        "load(task='controlnet', control=...)",
    ),
    "SDXL": (r"^lora_te[12]_|^text_encoder_2\.|^lora_unet_(input|output|middle)_block", OTHER),
    "FLUX / SD3": (r"^(lora_unet_(double|single)_blocks|lora_transformer_|transformer\.|diffusion_model\.)", OTHER),
    "DoRA": (r"\.dora_scale$|lora_magnitude_vector", PLAIN),
    "LoHa": (r"\.hada_", PLAIN),
    "LoKr": (r"\.lokr_", PLAIN),
    "Tucker LoCon": (r"\.lora_mid\.", PLAIN),
    "OFT / BOFT": (r"\.b?oft_", PLAIN),
    "GLoRA": (r"\.(a1|a2|b1|b2|bm1|bm2)\.weight$", PLAIN),
    "IA3": (r"\.on_input$|\.ia3_", PLAIN),
    "VeRA": (r"\.vera_lambda_", PLAIN),
    "full / diff": (r"\.diff(_b|_m)?$", PLAIN),
    "norm": (r"\.[wb]_norm$", PLAIN),
    "LoRA + bias": (r"lora_(B|up)\.bias$", PLAIN),
    "LyCORIS": (r"^lycoris_", PLAIN),
    "词向量 embedding": (r"^[^.]+$", "load_embedding(...)"),
}


@dataclass
class Layer:
    """A LoRA beside one layer: it adds alpha / rank * up @ down."""

    down: Any = None  # (rank, in, ...)
    up: Any = None  # (out, rank, ...)
    alpha: Any = None  # None in the file means the rank

    def shape(self):
        """Of the layer that it is made for; the two shapes as they are, where they fit no layer."""
        (rank, *inputs), (out, *inner) = self.down.shape, self.up.shape
        return [out, *inputs] if inner == [rank, *[1] * (len(inputs) - 1)] else [*self.up.shape, *self.down.shape]


def read_layers(pipe, path):
    """{place: Layer} of a LoRA file, for the layers of `pipe`. Raises PaidiffError, one line, on anything left over."""
    state = read_weights(path)
    _require_plain(state, path)
    layers, places, notes = _layers(state, path), _places(pipe), _notes(path)
    require_finite(state, path)
    fitting = {name: layer for name, layer in layers.items() if name in places}
    found = {places[name][0]: layer for name, layer in fitting.items()}
    for name, layer in fitting.items():
        place, shape = places[name]
        if layer.shape() != shape:
            wrong = f"{path}: {place} {layer.shape()} {shape}"
            raise Refused("这个 LoRA 是给别的模型的", "this LoRA is for another model", wrong)
        layer.alpha = _alpha(layer, place, notes)
    if len(found) < len(layers):
        stray = next((name for name in layers if name not in places), "同一层两次 a layer twice")
        fit = f"{path}: {len(found)} / {len(layers)} 层 layers; 不在这里 not here: {stray}"
        raise Refused("这个 LoRA 对不上这个模型", "not for this model, the LoRA belongs to another one", fit)
    if not any(layer.alpha and layer.up.any() for layer in found.values()):
        raise Refused(f"{path} 里的 LoRA 是零,没有作用", "the LoRA changes nothing", f"{len(found)} 层 layers")
    return found


def _require_plain(state, path):
    """Raise Refused, with its name and the way out, for a file that holds something else than a plain LoRA."""
    for kind, (tell, way) in FOREIGN.items():
        key = next((key for key in state if re.search(tell, key)), None)
        if key:
            raise Refused(
                "这里不能装载这一种", "this kind is not loaded here", f"{path}: {kind} ({key}); 办法 instead: {way}"
            )


def _layers(state, path):
    """{name of a layer: Layer} of a file's tensors; a layer's name is still kohya's or diffusers'."""
    layers = defaultdict(Layer)
    for key, tensor in state.items():
        role = next((role for role, ending in ROLES.items() if ending.search(key)), None)
        if role is None or (role == "alpha") != (tensor.numel() == 1 and tensor.ndim < 2):
            raise Refused("LoRA 里有不认识的键", "a key of the LoRA means nothing here", f"{path}: {key}")
        layer = layers[_layer_name(ROLES[role].sub("", key))]
        if getattr(layer, role) is not None:
            raise Refused("LoRA 里有一层写了两次", "a layer is there twice in the LoRA", f"{path}: {key}")
        setattr(layer, role, tensor)
    for name, layer in layers.items():
        if layer.down is None or layer.up is None:
            raise Refused("LoRA 里有一层不全", "a layer of the LoRA is not whole", f"{path}: {name}")
    if not layers:
        raise NotFound("没有找到 LoRA", "no LoRA in it", str(path))
    return layers


def _layer_name(name):
    """A layer's name with its part before it: the hub's old files lack `unet.`, and have their layers in processors."""
    if name.startswith("lora_"):
        return name
    return plain_place(name if name.startswith(("unet.", "text_encoder.")) else f"unet.{name}")


def plain_place(name):
    """The layer of an old name: attention layers are `processor.to_q`, a text encoder's too."""
    name = name.replace(".processor.", ".")
    if name.startswith("text_encoder.") and ".to_" in name:
        return re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", name)
    return re.sub(r"\.to_out$", ".to_out.0", name)


def _places(pipe):
    """{a layer as files call it: (its place, its shape)}, of every layer that can carry a LoRA."""
    import torch

    found = {}
    for part in PARTS:
        for name, module in getattr(pipe, part).named_modules():
            layer = getattr(module, "base_layer", module)  # another LoRA may be there already
            if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)) and not re.search(
                r"\.(base_layer|lora_[AB])(\.|$)", name
            ):
                place = f"{part}.{name}"
                for called in chain.from_iterable((one, kohya_name(one)) for one in (place, with_prefix(place))):
                    found[called] = place, list(layer.weight.shape)
    return found


def kohya_name(place):
    part, _, layer = place.partition(".")
    return PARTS[part] + layer.replace(".", "_")


def with_prefix(place):
    """Every published CLIPTextModel calls its layers text_model.*; transformers 5 leaves that out. A BertModel does not."""
    bare = place.removeprefix("text_encoder.").removeprefix("text_model.")
    clip = place.startswith("text_encoder.") and not bare.startswith("encoder.layer.")
    return f"text_encoder.text_model.{bare}" if clip else place


def _notes(path):
    """What diffusers writes beside the weights, {"unet.lora_alpha": 4, ...}: keys of peft's LoraConfig. Raises Refused."""
    from safetensors import safe_open

    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:
        noted = (file.metadata() or {}).get("lora_adapter_metadata", "{}")
    try:
        return dict(json.loads(noted))
    except (ValueError, TypeError) as error:
        raise Refused(
            "LoRA 的说明读不出来", "cannot read the LoRA's metadata", f"{path}: {first_line(error)}"
        ) from error


def _alpha(layer, place, notes):
    """A layer's alpha: its own, or by the file's notes; the rank where there is neither."""
    if layer.alpha is not None:
        return float(layer.alpha)
    part, _, name = place.partition(".")
    rank, alpha = len(layer.down), notes.get(f"{part}.lora_alpha")
    if alpha is None:
        return float(rank)
    names = name, with_prefix(place).removeprefix(f"{part}.")
    for pattern, other in (notes.get(f"{part}.alpha_pattern") or {}).items():
        if any(re.match(rf"(.*\.)?({pattern})$", name) for name in names):  # as peft reads it
            alpha = other
            break
    return float(alpha) * (math.sqrt(rank) if notes.get(f"{part}.use_rslora") else 1.0)
