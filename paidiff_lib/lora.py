"""LoRA: a small matrix beside each chosen layer is trained, the model itself stays as it is (Hu et al. 2021).

lora = LoRA(pipe, rank=8)
for step in train(lora, data, steps=200, lr=1e-3): ...
lora.save("out/porcelain")            # a folder that plain diffusers loads
load_lora(pipe, "out/porcelain", "porcelain", scale=0.8)
"""

import logging
import re
import warnings
from pathlib import Path

from .checkpoint import require_finite, written_whole
from .errors import PaidiffError
from .method import Method
from .safe import LORA_NAMES as NAMES
from .safe import read_weights
from .zoo import find, short_name

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
WIDE = (*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2")  # learns faster, larger file
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")


class LoRA(Method):
    """A LoRA of `rank` beside `layers` of the UNet; it counts alpha / rank times (alpha=None: once).

    layers: endings of layer names, ATTENTION or WIDE or your own. text_encoder: beside the text encoder's attention too.
    dropout: share of the LoRA's inputs left out in training. name: the adapter's name in the pipeline.
    Raises PaidiffError.
    """

    caption_dropout = 0.1

    def __init__(
        self, pipe, rank=4, alpha=None, layers=ATTENTION, text_encoder=False, dropout=0.0, seed=0, name="lora"
    ):
        super().__init__(pipe)
        self.name, self.trains_text = name, text_encoder
        self.shape = {
            "rank": rank,
            "alpha": rank if alpha is None else alpha,
            "layers": list(layers),
            "dropout": dropout,
        }
        if not isinstance(rank, int) or rank < 1:
            raise PaidiffError(f"rank 要是不小于 1 的整数 · rank must be a whole number, 1 or more: {rank}")
        if name in _adapters(pipe):
            raise PaidiffError(f"模型里已有叫 {name} 的 LoRA · the pipeline already has a LoRA named {name}")
        active = scales(pipe)
        self._add(pipe.unet, layers, seed)
        if text_encoder:
            self._add(pipe.text_encoder, TEXT, seed + 1)
        set_scales(pipe, {**active, name: 1.0})

    def _add(self, module, layers, seed):
        import torch
        from peft import LoraConfig

        config = LoraConfig(
            r=self.shape["rank"],
            lora_alpha=self.shape["alpha"],
            lora_dropout=self.shape["dropout"],
            target_modules=list(layers),
            init_lora_weights="gaussian",
        )
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`")  # two LoRAs at once are meant
            torch.manual_seed(seed)
            try:
                module.add_adapter(config, adapter_name=self.name)
            except ValueError as error:
                kinds = sorted({n.split(".")[-1] for n, m in module.named_modules() if hasattr(m, "weight")})
                raise PaidiffError(
                    f"没有这样的层 · no such layers: {', '.join(layers)}; 名字的末段有 names end in: {', '.join(kinds)}"
                ) from error

    def parts(self):
        """The modules that carry this LoRA, {"unet": module, "text_encoder": module}."""
        parts = {"unet": self.pipe.unet}
        return {**parts, "text_encoder": self.pipe.text_encoder} if self.trains_text else parts

    def parameters(self):
        return {
            f"{part}.{name}": parameter
            for part, module in self.parts().items()
            for name, parameter in module.named_parameters()
            if name.endswith(f".{self.name}.weight")
        }

    def settings(self):
        return {**super().settings(), **self.shape, "text_encoder": self.trains_text}

    def save(self, folder):
        """Write pytorch_lora_weights.safetensors: `pipe.load_lora_weights(folder)` of plain diffusers opens it.

        alpha goes along as metadata: without it diffusers would take alpha = rank. Raises PaidiffError.
        """
        require_finite(self.parameters())
        layers, notes = {}, {}
        for part, module in self.parts().items():
            layers[f"{part}_lora_layers"] = _state(module, self.name, part)
            # without the folder that the model was opened from: nobody else's business
            config = module.peft_config[self.name].to_dict()
            places = {"base_model_name_or_path": None, "target_modules": sorted(config["target_modules"])}
            notes[f"{part}_lora_adapter_metadata"] = {**config, **places}
        with written_whole(folder) as staging:
            self.pipe.save_lora_weights(staging, **layers, **notes)

    def export(self, path):
        """Write the LoRA as one .safetensors file with kohya's key names, for the WebUI. Raises PaidiffError."""
        export_kohya(self.pipe, path, self.name)


def load_lora(pipe, source, name="lora", scale=1.0):
    """Load a LoRA beside those that are there already: a folder or file of ours, of diffusers or kohya, or a name.

    The hub's old pytorch_lora_weights.bin and the article's checkpoint-xxx/pytorch_model.bin, whose keys lack `unet.`, load
    too: diffusers itself accepts those and changes nothing. Raises PaidiffError, also if the LoRA takes no effect in this
    model or fits only a part of it; the pipeline is then as before.
    """
    path = _file(Path(source))
    if name in _adapters(pipe):
        raise PaidiffError(f"模型里已有叫 {name} 的 LoRA · the pipeline already has a LoRA named {name}")
    active = scales(pipe)
    logging.disable(logging.ERROR)  # diffusers logs a line for every layer that does not fit
    try:
        state = read_weights(path)
        old = _prefixed(state)
        pipe.load_lora_weights(
            old or str(path.parent), adapter_name=name, **({} if old else {"weight_name": path.name})
        )
    except Exception as error:  # diffusers, peft, safetensors and pickle have a dozen ways to say that a file is wrong
        if not _adapters(pipe):
            pipe.unload_lora_weights()  # diffusers leaves its wrappers round the layers
        _require_same_sizes(path, error)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PaidiffError(f"LoRA 读不出来 · cannot read the LoRA {path}: {reason}") from error
    finally:
        logging.disable(logging.NOTSET)
    there = [layer for _, layer in _layers(pipe, name)] if name in _adapters(pipe) else []
    wanted = sum(key.endswith(("lora_A.weight", "down.weight")) for key in state)
    if len(there) < wanted or not any(layer.lora_B[name].weight.any() for layer in there):
        if there:
            pipe.delete_adapters(name)
        raise PaidiffError(
            f"{path} 里的 LoRA 对不上这个模型,没有起作用 · the LoRA in {path} changes nothing in this model, or belongs to "
            f"another one: {len(there)} / {wanted} 层 layers"
        )
    set_scales(pipe, {**active, name: scale})


def _require_same_sizes(path, error):
    """Raise PaidiffError if what torch says is that the layers are of other sizes."""
    wrong = re.search(
        r"size mismatch for (\S+?)(?:\.lora_\w+)?(?:\.\w+)?\.weight:.*?Size\((\[.*?\])\).*?Size\((\[.*?\])\)",
        str(error),
        re.S,
    )
    if wrong:
        what = " ".join(wrong.groups())
        raise PaidiffError(f"这个 LoRA 是给别的模型的 · this LoRA is for another model: {path}: {what}") from error


def set_scales(pipe, scales):
    """Switch on these LoRAs together, {name: scale}, and every other one off. Raises PaidiffError."""
    missing = [name for name in scales if name not in _adapters(pipe)]
    if missing:
        there = ", ".join(sorted(_adapters(pipe))) or "-"
        raise PaidiffError(f"没有叫这个名字的 LoRA · no such LoRA: {', '.join(missing)}; 有 there are: {there}")
    if scales:
        pipe.enable_lora()
        pipe.set_adapters(list(scales), [float(scale) for scale in scales.values()])
    else:
        pipe.disable_lora()


def scales(pipe):
    """The LoRAs that are switched on, {name: scale}, read from the layers themselves."""
    found = {}
    for name in _adapters(pipe):
        _, layer = next(_layers(pipe, name))
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


def deltas(pipe, name="lora"):
    """What a LoRA adds to each layer at scale 1: {"unet.<layer>": matrix (out, in)}."""
    return {
        place: _product(layer.lora_A[name].weight, layer.lora_B[name].weight, layer.lora_alpha[name])
        for place, layer in _layers(pipe, name)
    }


def export_kohya(pipe, path, name="lora"):
    """Write a LoRA of the pipeline with kohya's key names and its true alpha, as one .safetensors file.

    The file is read back through diffusers' own importer, and every layer's delta compared. Raises PaidiffError.
    """
    import torch
    from safetensors.torch import save_file

    state = {}
    for place, layer in _layers(pipe, name):
        key = _kohya_key(place)
        state[f"{key}.lora_down.weight"] = layer.lora_A[name].weight.detach().cpu().contiguous()
        state[f"{key}.lora_up.weight"] = layer.lora_B[name].weight.detach().cpu().contiguous()
        state[f"{key}.alpha"] = torch.tensor(float(layer.lora_alpha[name]))
    if not state:
        raise PaidiffError(f"没有叫这个名字的 LoRA · no such LoRA: {name}")
    require_finite(state)
    path = Path(path)
    with written_whole(path.parent) as staging:
        save_file(state, staging / path.name, metadata={"ss_network_module": "networks.lora"})
        _require_equal(imported_deltas(staging / path.name), deltas(pipe, name))


def imported_deltas(path):
    """The deltas of a kohya file as diffusers reads it, {layer in diffusers' naming: matrix (out, in)}."""
    from diffusers import StableDiffusionPipeline

    state, alphas = StableDiffusionPipeline.lora_state_dict(str(path.parent), weight_name=path.name)
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
        raise PaidiffError(f"导出的文件读回来不一样,没有保存 · reads back differently, not saved: {sorted(wrong)[0]}")


def _product(down, up, alpha):
    """(rank, in, ...), (out, rank, ...) -> (out, in * ...)"""
    return (up.detach().float().cpu().flatten(1) @ down.detach().float().cpu().flatten(1)) * (float(alpha) / len(down))


def _layers(pipe, name):
    """(place, layer) of every layer that carries the LoRA `name`."""
    for part in ("unet", "text_encoder"):
        for place, layer in getattr(pipe, part).named_modules():
            if name in getattr(layer, "lora_A", {}):
                yield f"{part}.{place}", layer


def _kohya_key(place):
    part, _, layer = _with_prefix(place).partition(".")
    return {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part] + layer.replace(".", "_")


def _with_prefix(place):
    """Every published text encoder calls its layers text_model.*; transformers 5 leaves that out."""
    bare = place.removeprefix("text_encoder.").removeprefix("text_model.")
    return f"text_encoder.text_model.{bare}" if place.startswith("text_encoder.") else place


def _state(module, name, part):
    """The weights of a LoRA under peft's own keys.

    diffusers' scripts rename them to an older layout, which reaches the attention layers only: a LoRA with other layers
    is then a mixture, and half of it is lost when it is loaded.
    """
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(module, adapter_name=name)
    return {
        _with_prefix(f"{part}.{k}").removeprefix(f"{part}."): v.detach().cpu().contiguous() for k, v in state.items()
    }


def _adapters(pipe):
    return {name for names in pipe.get_list_adapters().values() for name in names}


def _file(source):
    """The weights' file of a LoRA: `source` itself, or the one in that folder or of that name. Raises PaidiffError."""
    if source.is_file():
        return source
    if not source.is_dir() and short_name(str(source)):
        source = find(str(source), "lora")
    found = [source / name for name in NAMES if (source / name).is_file()] or sorted(source.glob("*.safetensors"))
    if not found:
        raise PaidiffError(f"没有找到 LoRA · no LoRA in {source}; 试过 tried: {', '.join(NAMES)}, *.safetensors")
    return found[0]


def _prefixed(state):
    """The weights of an old file of the hub, with the missing `unet.` put before every key; None for any other file."""
    if any(key.startswith(("unet.", "text_encoder.", "lora_")) for key in state):
        return None
    return {f"unet.{key}": value for key, value in state.items()}
