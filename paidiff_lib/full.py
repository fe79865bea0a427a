"""Full fine-tuning: every weight of the UNet is trained, the text encoder and the VAE stay as they are.

    tuning = FullTuning(pipe)
    for step in train(tuning, CaptionFolder("pictures"), steps=300, lr=1e-4, ema=0.999): ...
    tuning.save_model("out/food")        # a whole model that plain diffusers opens
"""

from .checkpoint import require_finite, written_whole
from .method import Method
from .save import save_pipeline


class FullTuning(Method):
    """All weights of the UNet of `pipe`."""

    caption_dropout = 0.1

    def parameters(self):
        return dict(self.pipe.unet.named_parameters())

    def start(self, device, dtype):
        """Everything in single precision whatever `dtype` is, so that the model can be drawn with on the way."""
        import torch

        super().start(device, torch.float32)
        self.pipe.vae.float()

    def save(self, folder):
        """Write the UNet below `folder`, as UNet2DConditionModel.from_pretrained(folder, subfolder="unet") opens it."""
        require_finite(self.parameters())
        with written_whole(folder) as staging:
            self.pipe.unet.save_pretrained(staging / "unet")

    def save_model(self, folder):
        """Write the whole model: StableDiffusionPipeline.from_pretrained(folder) opens it. Raises PaidiffError."""
        require_finite(self.parameters())
        save_pipeline(self.pipe, folder)
