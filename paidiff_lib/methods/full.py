"""Full fine-tuning: every weight of the UNet is trained, and of the text encoder where it is asked for.

tuning = FullTuning(pipe)
for step in train(tuning, CaptionFolder("pictures"), steps=300, learning_rate=1e-4, ema=0.999): ...
tuning.save_model("out/food")        # a whole model that plain diffusers opens
"""

from typing import Any

from ..arguments import explicit
from ..files import output_folder
from ..models.save import finish_text_encoder, require_finite, require_opens_as, save_pipeline
from .base import Method

TUNED = "_paidiff_tuned"  # note on a UNet whose own weights were trained since it was loaded


class FullTuning(Method):
    """All weights of the UNet of `pipe`. text_encoder: of the text encoder too, as DreamBooth needs it for a new word.

    A model that was tuned before goes on from there, and a line says so.
    """

    caption_dropout = 0.1

    @explicit(train_text_encoder="text_encoder")
    def __init__(self, pipe: Any, text_encoder: bool = False):
        super().__init__(pipe)
        self.trains_text, self.shardable = text_encoder, not text_encoder
        if TUNED in vars(pipe.unet):
            en = "this model was tuned before, training goes on from there; to begin anew, load it again"
            print(f"这个模型训练过,会接着练;要从头来就重新 load · {en}")

    def parameters(self):
        return {f"{part}.{name}": p for part, module in self.parts().items() for name, p in module.named_parameters()}

    def settings(self):
        return {**super().settings(), "text_encoder": self.trains_text}

    def start(self, device, dtype=None):
        """Everything in single precision: what was learnt needs it, and the rest must fit, to be drawn with."""
        import torch

        super().start(device, torch.float32)

    def after_step(self):
        vars(self.pipe.unet)[TUNED] = True

    def save(self, folder):
        """Write what is trained below `folder`: UNet2DConditionModel.from_pretrained(folder, subfolder="unet") opens it."""
        require_finite(self.parameters())
        with output_folder(folder) as staging:
            for part, module in self.parts().items():
                module.save_pretrained(staging / part)
                part == "text_encoder" and finish_text_encoder(module, staging / part)
                require_opens_as(module, staging / part)

    def save_model(self, folder, also_bin=False):
        """Write the whole model: StableDiffusionPipeline.from_pretrained(folder) opens it. Raises PaidiffError.

        also_bin: .bin files beside the safetensors, for programs that read no others.
        """
        require_finite(self.parameters())
        save_pipeline(self.pipe, folder, also_bin)
