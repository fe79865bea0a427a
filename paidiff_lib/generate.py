"""Prompt and seed -> picture: one short call over a stock pipeline."""

import math
from functools import partial

from .errors import PaidiffError
from .memory import is_small, pictures_at_once
from .models.encode import native_size
from .prompts import check_prompt

STEPS = 20
GUIDANCE = 3.0  # where the small model follows prompts best
PUBLISHED = 5.0  # in the WebUI of the published models
BATCH = 8  # pictures sampled at once, or fewer where the memory is short: enough to keep a CPU busy
SIZES = range(64, 2049)
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
    pipe, prompts, seed=0, steps=STEPS, guidance=None, negative_prompt=None, size=None, n=1, images=None, **kwargs
):
    """As draw, for a list of prompts, without checks and hints. Returns a list of PIL images.

    seed, negative_prompt: one, or a list with one for each prompt. images: what an img2img pipeline starts from or a
    ControlNet follows, one for each prompt; a tuple for several ControlNets. kwargs: the pipeline's own arguments.
    """
    seeds = seed if isinstance(seed, list) else [seed] * len(prompts)
    negatives = negative_prompt if isinstance(negative_prompt, list) else [negative_prompt or ""] * len(prompts)
    guidance = guidance_of(pipe) if guidance is None else guidance
    run_batch = getattr(pipe, "run_batch", partial(run_diffusers_batch, pipe))
    order = [i for i in range(len(prompts)) for _ in range(n)]
    jobs = [(prompts[i], negatives[i], seeds[i] + place % n) for place, i in enumerate(order)]
    drawn, at_once = [], batch_size(pipe, size)
    for start in range(0, len(jobs), at_once):
        batch = slice(start, start + at_once)
        if images is not None:
            kwargs["image"] = [_several(images[i]) for i in order[batch]]
        drawn += run_batch(*map(list, zip(*jobs[batch])), steps, guidance, size, **kwargs)
    return drawn


def run_diffusers_batch(pipe, prompts, negative_prompts, seeds, steps, guidance, size=None, **kwargs):
    """One call of a stock pipeline. Every image has its own generator, so that it depends on no neighbour."""
    if size is not None:
        kwargs["width"], kwargs["height"] = size
    return pipe(
        prompts,
        negative_prompt=negative_prompts,
        generator=[noise_of(seed) for seed in seeds],
        num_inference_steps=steps,
        guidance_scale=guidance,
        **kwargs,
    ).images


def batch_size(pipe, size=None):
    """How many images to draw at once: BATCH, or fewer where the memory is short."""
    if hasattr(pipe, "run_batch"):
        return min(pipe.note["at_once"], BATCH)
    return pictures_at_once(pipe, max(size or [native_size(pipe)]), BATCH)


def _several(image):
    return list(image) if isinstance(image, tuple) else image


def guidance_of(pipe):
    """The guidance that suits a model."""
    if hasattr(pipe, "run_batch"):  # an exported model, which says so itself
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
