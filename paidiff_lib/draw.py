"""Prompt and seed -> picture: one short call over a stock pipeline."""

import math

from .dataset import native_size
from .errors import PaidiffError
from .exported import Exported
from .memory import is_small, pictures_at_once
from .text import check_prompt

STEPS = 20
GUIDANCE = 3.0  # where the small model follows prompts best
PUBLISHED = 5.0  # in the WebUI of the published models
BATCH = 8  # pictures sampled at once, or fewer where the memory is short: enough to keep a CPU busy
SIZES = range(64, 2049)
# The samplers of the models' own WebUI, under the names its clients send -> diffusers' classes.
SAMPLERS = {
    "DPM++ 2M": "DPMSolverMultistepScheduler",
    "Euler a": "EulerAncestralDiscreteScheduler",
    "Euler": "EulerDiscreteScheduler",
    "Heun": "HeunDiscreteScheduler",
    "DDIM": "DDIMScheduler",
    "DDPM": "DDPMScheduler",
    "PNDM": "PNDMScheduler",
}
SEEDS = range(2**63)  # what torch's generator takes without wrapping round


def draw(pipe, prompt, seed=0, steps=STEPS, guidance=None, negative_prompt=None, size=None, n=1):
    """Draw pictures, after printing readable hints about the prompt (see check_prompt).

    prompt: a string, or a list of strings. n: pictures for each prompt, with seeds seed, seed + 1, ...
    size: (width, height); None is the model's own size. guidance: None is what suits the model, 3 or 5.
    Returns one PIL picture for one prompt and n=1, else a list, all pictures of the first prompt first.
    A picture depends on its own prompt and seed, not on its neighbours; the size of a batch changes rounding only. Raises PaidiffError.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    check_settings(seed=seed, steps=steps, guidance=guidance, size=size, n=n)
    texts = [*prompts, negative_prompt] if negative_prompt else prompts
    for hint in dict.fromkeys(hint for text in texts for hint in check_prompt(pipe, text)):
        print(hint)
    pictures = sample(pipe, prompts, seed, steps, guidance, negative_prompt, size, n)
    return pictures[0] if isinstance(prompt, str) and n == 1 else pictures


def sample(
    pipe, prompts, seed=0, steps=STEPS, guidance=None, negative_prompt=None, size=None, n=1, images=None, **more
):
    """As draw, on a list of prompts, without checks and hints. Returns a list.

    seed, negative_prompt: one, or a list with one for each prompt. images: what an img2img or ControlNet pipeline starts from or is steered by, one for each prompt; a tuple for several
    ControlNets. more: other arguments of the pipeline's own.
    """
    seeds = [seed] * len(prompts) if isinstance(seed, int) else seed
    images = images or [None] * len(prompts)
    unwanted = negative_prompt if isinstance(negative_prompt, list) else [negative_prompt or ""] * len(prompts)
    jobs = [(*job, first + i) for *job, first in zip(prompts, unwanted, images, seeds) for i in range(n)]
    more |= {} if size is None else {"width": size[0], "height": size[1]}
    guidance = guidance_of(pipe) if guidance is None else guidance
    if isinstance(pipe, Exported):
        batch = min(pipe.note["at_once"], BATCH)
    else:
        batch = pictures_at_once(pipe, max(size or [native_size(pipe)]), BATCH)
    pictures = []
    for start in range(0, len(jobs), batch):
        texts, unwanted, images, seeds = zip(*jobs[start : start + batch])
        if isinstance(pipe, Exported):
            pictures += pipe.sample(texts, unwanted, seeds, steps, guidance, size)
            continue
        if images[0] is not None:
            more["image"] = [list(image) if isinstance(image, tuple) else image for image in images]
        pictures += pipe(
            list(texts),
            negative_prompt=list(unwanted),
            generator=[noise_of(s) for s in seeds],
            num_inference_steps=steps,
            guidance_scale=guidance,
            **more,
        ).images
    return pictures


def sampler(scheduler, name=None, **settings):
    """A new scheduler, which remembers nothing: of that name in SAMPLERS, or of the kind of `scheduler`, with its settings and these."""
    import diffusers

    kind = getattr(diffusers, SAMPLERS[name]) if name else type(scheduler)
    more = {"skip_prk_steps": True} if name == "PNDM" else {}  # as Stable Diffusion's; else few steps fail
    return kind.from_config(scheduler.config, **more, **settings)


def guidance_of(pipe):
    """The guidance that suits a model."""
    if isinstance(pipe, Exported):
        return pipe.guidance
    return GUIDANCE if is_small(pipe) else PUBLISHED


def check_settings(seed=0, steps=STEPS, guidance=None, size=None, n=1):
    """Raise PaidiffError, in one clear line, on a setting that cannot give a picture."""
    if seed not in SEEDS:
        raise PaidiffError(f"种子要是 0 或更大的整数 · the seed must be a whole number, 0 or more: {seed}")
    if steps not in range(1, 1001):
        raise PaidiffError(f"步数要在 1 到 1000 之间 · steps must be from 1 to 1000: {steps}")
    if guidance is not None and not (math.isfinite(guidance) and 0 <= guidance <= 50):
        raise PaidiffError(f"引导强度要在 0 到 50 之间 · guidance must be from 0 to 50: {guidance}")
    if n not in range(1, 1001):
        raise PaidiffError(f"张数要在 1 到 1000 之间 · n must be from 1 to 1000: {n}")
    if size is not None:
        _check_size(*size)


def _check_size(width, height):
    if width not in SIZES or height not in SIZES:
        limits = f"{SIZES[0]} … {SIZES[-1]}"
        raise PaidiffError(f"宽和高要在 {limits} 之间 · width and height must be within {limits}: {width}x{height}")
    if width % 8 or height % 8:
        down, up = (f"{f(width / 8) * 8}x{f(height / 8) * 8}" for f in (math.floor, math.ceil))
        raise PaidiffError(
            f"宽和高要是 8 的倍数,试试 {down} 或 {up} · width and height must be multiples of 8, "
            f"try {down} or {up}: {width}x{height}"
        )


def noise_of(seed):
    """On the CPU whatever the device, so that a seed means the same noise everywhere."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)
