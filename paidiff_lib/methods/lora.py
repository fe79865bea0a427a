"""LoRA: a small matrix beside each chosen layer is trained, the model itself stays as it is (Hu et al. 2021).

lora = LoRA(pipe, rank=8)
for step in train(lora, data, steps=200, learning_rate=1e-3): ...
lora.save("out/porcelain")            # a folder that plain diffusers loads
load_lora(pipe, "out/porcelain", "porcelain", scale=0.8)
"""

from collections.abc import Sequence
from numbers import Real
from typing import Any

from ..arguments import explicit, require_int
from ..errors import NotFound, PaidiffError, one_line
from ..files import output_folder
from ..models.save import require_finite, require_same
from ..models.verify import LORA_NAMES, read_weights
from .adapters import add_adapter, config, drop, note_saved, require_name, scales, set_scales
from .base import Method
from .lora_files import export_kohya, export_processors, processor_state, state_dict_of

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
WIDE = (*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2")  # learns faster, larger file
TEXT = ("q_proj", "k_proj", "v_proj", "out_proj")  # the attention of a CLIPTextModel
BERT_TEXT = ("query", "key", "value", "attention.output.dense")  # of a BertModel, Taiyi's


class LoRA(Method):
    """A LoRA of `rank` beside `layers` of the UNet; it counts alpha / rank times (alpha=None: once).

    layers: endings of layer names, ATTENTION or WIDE or your own. text_encoder: beside the text encoder's attention too.
    dropout: share of the LoRA's inputs left out in training. name: the adapter's name in the pipeline; a LoRA that has it
    already is replaced, with a line if it was trained and not saved.
    Raises PaidiffError.
    """

    caption_dropout = 0.1
    also_bin = False  # True: what is saved holds the article's pytorch_model.bin too, checkpoints included

    @explicit(r="rank", lora_alpha="alpha", target_modules="layers", lora_dropout="dropout", adapter_name="name")
    def __init__(
        self,
        pipe: Any,
        rank: int = 4,
        alpha: float | None = None,
        layers: Sequence[str] = ATTENTION,
        text_encoder: bool = False,
        dropout: float = 0.0,
        seed: int = 0,
        name: str = "lora",
    ):
        super().__init__(pipe)
        self.name, self.trains_text = name, text_encoder
        alpha = rank if alpha is None else alpha
        self.shape = {"rank": rank, "alpha": alpha, "layers": list(layers), "dropout": dropout}
        require_int(rank, 1, 10**6, "rank ", "rank")
        require_name(name)
        if not isinstance(alpha, Real) or not 0 < alpha <= 1e6:
            zh, en = "alpha 要是大于 0 的数,最多 1e6", "alpha must be a number above 0, at most 1e6"
            raise PaidiffError(zh, en, one_line(repr(alpha)))
        if not isinstance(dropout, Real) or not 0 <= dropout < 1:
            raise PaidiffError("dropout 要在 0 到 1 之间", "dropout must be from 0 to below 1", one_line(repr(dropout)))
        _require_layers(pipe.unet, layers)
        text_layers = BERT_TEXT if type(pipe.text_encoder).__name__ == "BertModel" else TEXT
        if text_encoder:
            _require_layers(pipe.text_encoder, text_layers)
        drop(pipe, name)  # nothing can go wrong any more
        active = scales(pipe)
        self._add(pipe.unet, layers, seed)
        if text_encoder:
            self._add(pipe.text_encoder, text_layers, seed + 1)
        set_scales(pipe, {**active, name: 1.0})
        self._config = config(pipe, name)

    def _add(self, module, layers, seed):
        strength = {"r": self.shape["rank"], "lora_alpha": self.shape["alpha"], "lora_dropout": self.shape["dropout"]}
        add_adapter(module, self.name, seed, target_modules=list(layers), **strength)

    def parameters(self):
        if config(self.pipe, self.name) is not self._config:
            en = "this LoRA is no longer in the model: another one took its name, or it was merged"
            raise PaidiffError("这个 LoRA 已经不在模型里了:被同名的换掉,或已合进模型", en, self.name)
        named = {f"{part}.{n}": p for part, module in self.parts().items() for n, p in module.named_parameters()}
        return {name: parameter for name, parameter in named.items() if name.endswith(f".{self.name}.weight")}

    def settings(self):
        return {**super().settings(), **self.shape, "text_encoder": self.trains_text}

    def save(self, folder):
        """Write pytorch_lora_weights.safetensors: `pipe.load_lora_weights(folder)` of plain diffusers opens it.

        Only load_lora opens what is beside a BertModel, Taiyi's text encoder: diffusers knows the names of CLIP's layers.
        alpha goes along as metadata: without it diffusers would take alpha = rank. Raises PaidiffError.
        """
        import torch

        require_finite(self.parameters())
        parts, layers, notes = self.parts(), {}, {}
        for part, module in parts.items():
            layers[f"{part}_lora_layers"] = state_dict_of(module, self.name, part)
            # without the folder that the model was opened from: nobody else's business
            settings = module.peft_config[self.name].to_dict()
            places = {"base_model_name_or_path": None, "target_modules": sorted(settings["target_modules"])}
            notes[f"{part}_lora_adapter_metadata"] = {**settings, **places}
        with output_folder(folder) as staging:
            self.pipe.save_lora_weights(staging, **layers, **notes)
            named = {f"{part}.{k}": w for part in parts for k, w in layers[f"{part}_lora_layers"].items()}
            require_same(read_weights(staging / LORA_NAMES[0]), named, LORA_NAMES[0])
            if self.also_bin:
                torch.save(processor_state(self.pipe, self.name), staging / "pytorch_model.bin")
        note_saved(self.pipe, self.name)

    def export(self, path):
        """Write the LoRA as one file for other programs: a .safetensors with kohya's key names, or a .bin of 2023's layout.

        docs/elsewhere.md says which program reads which. Raises PaidiffError.
        """
        require_finite(self.parameters())
        export = export_processors if str(path).endswith(".bin") else export_kohya
        export(self.pipe, path, self.name)


def _require_layers(module, layers):
    """Raise NotFound unless every ending is that of a layer, and only of layers with a matrix of weights."""
    weights = {name: getattr(layer, "weight", None) for name, layer in module.named_modules()}
    wrong = [end for end in layers if not _has_matrices([w for n, w in weights.items() if f".{n}".endswith(f".{end}")])]
    if wrong or not layers:
        kinds = sorted({name.split(".")[-1] for name, weight in weights.items() if _has_matrices([weight])})
        known = f"{', '.join(wrong)}; 名字的末段有 names end in: {', '.join(kinds)}"
        raise NotFound("没有这样的层", "no such layers", known)


def _has_matrices(weights):
    return bool(weights) and all(weight is not None and weight.ndim > 1 for weight in weights)
