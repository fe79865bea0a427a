"""LoRA: a small matrix beside each chosen layer is trained, the model itself stays as it is (Hu et al. 2021).

lora = LoRA(pipe, rank=8)
for step in train(lora, data, steps=200, learning_rate=1e-3): ...
lora.save("out/porcelain")            # a folder that plain diffusers loads
load_lora(pipe, "out/porcelain", "porcelain", scale=0.8)
"""

from collections.abc import Sequence
from typing import Any

from ..arguments import explicit
from ..errors import NotFound, PaidiffError
from ..files import output_folder
from ..models.save import require_finite
from .adapters import add_adapter, require_new, scales, set_scales
from .base import Method
from .lora_files import export_kohya, state_dict_of

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
        if not isinstance(rank, int) or rank < 1:
            raise PaidiffError("rank 要是不小于 1 的整数", "rank must be a whole number, 1 or more", str(rank))
        require_new(pipe, name)
        active = scales(pipe)
        self._add(pipe.unet, layers, seed)
        if text_encoder:
            self._add(pipe.text_encoder, TEXT, seed + 1)
        set_scales(pipe, {**active, name: 1.0})

    def _add(self, module, layers, seed):
        strength = {"r": self.shape["rank"], "lora_alpha": self.shape["alpha"], "lora_dropout": self.shape["dropout"]}
        try:
            add_adapter(module, self.name, seed, target_modules=list(layers), **strength)
        except ValueError as error:
            kinds = sorted({n.split(".")[-1] for n, m in module.named_modules() if hasattr(m, "weight")})
            known = f"{', '.join(layers)}; 名字的末段有 names end in: {', '.join(kinds)}"
            raise NotFound("没有这样的层", "no such layers", known) from error

    def parameters(self):
        named = {f"{part}.{n}": p for part, module in self.parts().items() for n, p in module.named_parameters()}
        return {name: parameter for name, parameter in named.items() if name.endswith(f".{self.name}.weight")}

    def settings(self):
        return {**super().settings(), **self.shape, "text_encoder": self.trains_text}

    def save(self, folder):
        """Write pytorch_lora_weights.safetensors: `pipe.load_lora_weights(folder)` of plain diffusers opens it.

        alpha goes along as metadata: without it diffusers would take alpha = rank. Raises PaidiffError.
        """
        require_finite(self.parameters())
        layers, notes = {}, {}
        for part, module in self.parts().items():
            layers[f"{part}_lora_layers"] = state_dict_of(module, self.name, part)
            # without the folder that the model was opened from: nobody else's business
            config = module.peft_config[self.name].to_dict()
            places = {"base_model_name_or_path": None, "target_modules": sorted(config["target_modules"])}
            notes[f"{part}_lora_adapter_metadata"] = {**config, **places}
        with output_folder(folder) as staging:
            self.pipe.save_lora_weights(staging, **layers, **notes)

    def export(self, path):
        """Write the LoRA as one .safetensors file with kohya's key names, for the WebUI. Raises PaidiffError."""
        export_kohya(self.pipe, path, self.name)
