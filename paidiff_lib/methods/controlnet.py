"""ControlNet: a second, smaller network looks at a picture's edges and steers a frozen model (Zhang et al. 2023).

control = ControlNet(pipe)
for step in train(control, data, steps=500, learning_rate=3e-4): ...
control.save("out/canny")                       # a folder that ControlNetModel.from_pretrained opens
pipe = load(task="controlnet", control="out/canny")
draw_along(pipe, "猫,草地", canny(picture))
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from ..arguments import explicit
from ..errors import PaidiffError
from ..files import output_folder
from ..generate import STEPS, check_settings, sample
from ..metrics import canny
from ..models.encode import native_size
from ..models.save import add_bins, require_finite, require_opens_as
from .base import Method

if TYPE_CHECKING:
    from PIL import Image


class ControlNet(Method):
    """A ControlNet for `pipe`, trained on pictures and what `condition` makes of them, a PIL picture from a PIL picture.

    Data with a conditioning_image for each picture is trained on with those.

    It begins as a copy of the UNet's first half that changes nothing; net: a ControlNetModel to go on with instead.
    """

    caption_dropout = 0.1

    @explicit(controlnet="net")
    def __init__(self, pipe: Any, net: Any = None, condition: Callable = canny, seed: int = 0):
        super().__init__(pipe)
        self.condition, self.net = condition, net or _blank(pipe.unet, seed)

    def parameters(self):
        return {f"net.{name}": parameter for name, parameter in self.net.named_parameters()}

    def settings(self):
        return {**super().settings(), "condition": self.condition.__name__}

    def parts(self):
        return {**super().parts(), "net": self.net}

    def start(self, device, dtype=None):
        self.net.to(device)
        super().start(device, dtype)

    def predict(self, noisy_latents, timesteps, hidden_states, conditions=None):
        """As the base's, with what the ControlNet adds to the UNet's skip connections."""
        inputs = noisy_latents, timesteps, hidden_states
        down, mid = self.net(*inputs, conditions, return_dict=False)
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        return self.pipe.unet(*inputs, **residuals).sample

    def sample(self, prompts, seed, data):
        """Along the first picture's own condition, or its edges."""
        size = data.size or native_size(self.pipe)
        condition = data.condition(0, size) if data.has_conditions else self.condition(data.image(0, size))
        return draw_along(self.pipeline(), prompts, condition, seed)

    def pipeline(self):
        """A ControlNet pipeline around the model and the ControlNet as it is now."""
        from diffusers import StableDiffusionControlNetPipeline

        net = deepcopy(self.net).to(self.pipe.unet.dtype)  # training keeps it in single precision
        pipe = StableDiffusionControlNetPipeline(**self.pipe.components, controlnet=net, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def save(self, folder, also_bin=False):
        """Write the ControlNet into `folder`, as ControlNetModel.from_pretrained opens it. Raises PaidiffError.

        also_bin: a .bin beside the safetensors, for programs that read no others.
        """
        require_finite(self.parameters())
        with output_folder(folder) as staging:
            self.net.save_pretrained(staging)
            if also_bin:
                add_bins(staging)
            require_opens_as(self.net, staging)


def _blank(unet, seed):
    """A ControlNet from the first half of a UNet. Its new layers come from `seed`, the last ones of them zero.

    The layers that read the edges are made so that their signal keeps its strength (He et al. 2015). As diffusers makes
    them it fades to nothing in eight layers and ends in zeros: 300 steps then taught the small model nothing at all.
    """
    import torch
    from diffusers import ControlNetModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = ControlNetModel.from_unet(unet)
        for layer in net.controlnet_cond_embedding.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                layer.bias is not None and torch.nn.init.zeros_(layer.bias)
    return net


@explicit(
    image="condition", controlnet_conditioning_scale="scale", num_inference_steps="steps", guidance_scale="guidance"
)
def draw_along(
    pipe: Any,
    prompt: str | Sequence[str],
    condition: "Image.Image | tuple[Image.Image, ...] | list",
    seed: int | list[int] = 0,
    scale: float | list[float] = 1.0,
    steps: int = STEPS,
    guidance: float | None = None,
    negative_prompt: str | None = None,
) -> "Image.Image | list[Image.Image]":
    """Draw with a ControlNet pipeline, `load(task="controlnet")`, along a picture of edges.

    prompt: a string or a list; condition: a PIL picture of the size to draw, one for all prompts or a list with one for
    each. A pipeline with several ControlNets takes a tuple with one for each of them in its place.
    scale: how strongly, 0 not at all; a list for several ControlNets. Returns a PIL picture or a list. Raises PaidiffError.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    conditions = condition if isinstance(condition, list) else [condition] * len(prompts)
    check_settings(seed=0 if isinstance(seed, list) else seed, steps=steps, guidance=guidance)
    if len(conditions) != len(prompts):
        zh = f"{len(prompts)} 句话要配 {len(prompts)} 张条件图"
        raise PaidiffError(zh, "needs a condition a prompt", str(len(conditions)))
    for several in conditions:
        for image in several if isinstance(several, tuple) else (several,):
            check_settings(size=image.size)
    kwargs = {"seed": seed, "images": conditions, "controlnet_conditioning_scale": scale}
    images = sample(pipe, prompts, steps=steps, guidance=guidance, negative_prompt=negative_prompt, **kwargs)
    return images[0] if isinstance(prompt, str) else images
