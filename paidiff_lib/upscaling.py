"""Pictures larger than a model was taught: drawn at its own size, enlarged, drawn again. The WebUI calls it hires fix.

pipe = load("mini")
hires(pipe, "雪地里的一只熊猫", size=(256, 256))       # draw(pipe, ..., size=(256, 256)) shows four of them
"""

import math
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from PIL import Image

from .arguments import explicit
from .errors import PaidiffError, Refused
from .generate import STEPS, check_settings, print_hints, sample
from .memory import is_small
from .models.encode import native_size

STRENGTH = 0.3  # how much is drawn again: more, and the small model draws its own idea of a detail


@explicit(num_inference_steps="steps", guidance_scale="guidance", width="size", denoising_strength="strength")
def hires(
    pipe: Any,
    prompt: str | Sequence[str],
    size: tuple[int, int],
    seed: int | list[int] = 0,
    strength: float = STRENGTH,
    steps: int = STEPS,
    guidance: float | None = None,
    negative_prompt: str | None = None,
) -> Image.Image | list[Image.Image]:
    """Draw a picture of `size` (width, height): first at the model's own size in that shape, then enlarged and redrawn.

    pipe: of text to image. strength: how much of the enlarged picture is drawn again, above 0 to 1. The others are those
    of `draw`. Returns a PIL picture for one prompt, else a list. Raises PaidiffError.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    check_settings(seed=0 if isinstance(seed, list) else seed, steps=steps, guidance=guidance, size=size)
    check_hires(pipe, steps, strength)
    print_hints(pipe, [*prompts, negative_prompt] if negative_prompt else prompts)
    pictures = sample_hires(pipe, prompts, seed, steps, guidance, negative_prompt, size, strength)
    return pictures[0] if isinstance(prompt, str) else pictures


def sample_hires(pipe, prompts, seed, steps, guidance, negative_prompt, size, strength=None, **kwargs):
    """As generate.sample, of a larger size; strength None is STRENGTH. Returns a list of PIL images. Raises PaidiffError."""
    strength = STRENGTH if strength is None else strength
    check_hires(pipe, steps, strength)
    settings = {"seed": seed, "steps": steps, "guidance": guidance, "negative_prompt": negative_prompt, **kwargs}
    small = sample(pipe, prompts, size=first_size(pipe, size), **settings)
    return redraw(pipe, prompts, small, size, strength, **settings)


def redraw(pipe, prompts, images, size, strength=STRENGTH, **settings):
    """Enlarge a PIL image for each prompt and draw it again. settings: those of generate.sample.

    A small model draws again at a whole multiple of its own size, with convolutions as far apart (`dilated`), and the picture
    is then made as small as `size`. A large one has seen many scales and draws at `size`, as in the WebUI.
    """
    factor = math.ceil(max(size) / native_size(pipe)) if is_small(pipe) else 1
    worked = tuple(factor * side for side in first_size(pipe, size)) if factor > 1 else size
    enlarged = [image.resize(worked, Image.Resampling.LANCZOS) for image in images]
    with dilated(pipe.unet, factor):
        drawn = sample(_img2img(pipe), prompts, images=enlarged, strength=strength, **settings)
    return drawn if worked == size else [image.resize(size, Image.Resampling.LANCZOS) for image in drawn]


def check_hires(pipe, steps, strength):
    """Raise PaidiffError on a pipeline or on settings with which nothing can be redrawn."""
    if not hasattr(pipe, "unet") or hasattr(pipe, "controlnet"):
        raise Refused("放大重画要文生图的管线", "hires needs a pipeline of text to image", type(pipe).__name__)
    if not 0 < strength <= 1 or int(steps * strength) < 1:
        zh, en = "强度要大于 0、不超过 1,步数 x 强度至少是 1", "strength above 0 to 1, steps x strength 1 or more"
        raise PaidiffError(zh, en, f"{steps} x {strength}")


def first_size(pipe, size):
    """The size drawn first: of the shape of `size`, its longer side the model's own, in whole cells."""
    side, cell = native_size(pipe), pipe.vae_scale_factor
    return tuple(max(cell, round(length * side / max(size) / cell) * cell) for length in size)


@contextmanager
def dilated(unet, factor):
    """The network's 3x3 convolutions look `factor` pixels apart, so that a large picture is one scene to them, not four.

    After ScaleCrafter (He et al. 2023): a network taught at one size takes what lies beyond that size for another picture.
    """
    import torch

    blocks = (*unet.down_blocks, unet.mid_block, *unet.up_blocks)  # the first and the last layer see single cells
    layers = [layer for block in blocks for layer in block.modules() if isinstance(layer, torch.nn.Conv2d)]
    layers = [layer for layer in layers if layer.kernel_size == (3, 3)]
    before = [(layer.dilation, layer.padding) for layer in layers]
    try:
        for layer in layers:
            layer.dilation = layer.padding = (factor, factor)
        yield
    finally:
        for layer, (dilation, padding) in zip(layers, before):
            layer.dilation, layer.padding = dilation, padding


def _img2img(pipe):
    """An img2img pipeline around the very weights of another."""
    from diffusers import StableDiffusionImg2ImgPipeline

    found = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    found.set_progress_bar_config(disable=True)
    return found
