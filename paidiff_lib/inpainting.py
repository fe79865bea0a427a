"""Inpainting: redraw a part of a picture, with any text-to-image model.

diffusers' own inpainting pipeline takes latents of four channels only, so this is the same idea on the img2img
pipeline: after every step, what lies outside the mask is put back, with as much noise as that step has left.
"""

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from PIL import Image

from .arguments import explicit
from .datasets.images import square
from .errors import PaidiffError
from .generate import STEPS, check_settings, noise_of, sample
from .models.encode import encode_picture, native_size


@explicit(picture="image", mask_image="mask", num_inference_steps="steps", guidance_scale="guidance", callback="watch")
def inpaint(
    pipe: Any,
    prompt: str,
    image: Image.Image,
    mask: Image.Image,
    seed: int = 0,
    strength: float = 1.0,
    steps: int = STEPS,
    guidance: float | None = None,
    negative_prompt: str | None = None,
    watch: Callable | None = None,
) -> Image.Image:
    """Redraw the white part of `mask` from `prompt`; the black part stays as it is, to the pixel.

    pipe: an img2img pipeline, `load(task="img2img")`. image, mask: PIL pictures; cut to the model's own square.
    strength: how much of what was there is forgotten, above 0 to 1. watch: called as diffusers' callback_on_step_end.
    Returns a PIL picture. Raises PaidiffError.
    """
    import torch

    check_settings(seed=seed, steps=steps, guidance=guidance)
    if not (isinstance(strength, Real) and 0 < strength <= 1):
        raise PaidiffError("strength 要大于 0、不超过 1", "must be above 0, at most 1", str(strength))
    side = native_size(pipe)
    image, mask = square(image.convert("RGB"), side), square(mask.convert("L"), side)
    known = encode_picture(pipe, image)[0].to(pipe.device, pipe.unet.dtype) * pipe.vae.config.scaling_factor
    noise = torch.randn(known.shape, generator=noise_of(seed)).to(known)
    cells = mask.resize([side // pipe.vae_scale_factor] * 2, Image.Resampling.BOX)
    free = torch.from_numpy(np.array(cells)).gt(0).to(known)
    given = {"images": image, "strength": strength}

    def put_back(pipe, index, timestep, state):
        if watch:
            watch(pipe, index, timestep, state)
        later = pipe.scheduler.timesteps[pipe.scheduler.timesteps < timestep][:1]  # none after the last step
        outside = pipe.scheduler.add_noise(known[None], noise[None], later) if len(later) else known[None]
        return {"latents": free * state["latents"] + (1 - free) * outside}

    drawn = sample(pipe, [prompt], seed, steps, guidance, negative_prompt, callback_on_step_end=put_back, **given)
    return Image.composite(drawn[0], image, mask)
