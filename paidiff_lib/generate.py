"""Prompt and seed -> picture: one short call over a stock pipeline."""

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from numbers import Real
from typing import Any

from PIL import Image

from .arguments import explicit, require_int
from .errors import PaidiffError
from .memory import is_small, pictures_at_once
from .models.encode import encode_captions, native_size
from .prompts import check_prompt, parts_of, refuse_tags, spelled, text_of, token_weights, weighted
from .schedulers import STEPS

GUIDANCE = 2.0  # where the small model's pictures are nearest to real ones, and it follows prompts no worse than at 3
PUBLISHED = 5.0  # in the WebUI of the published models
BATCH = 8  # pictures sampled at once, or fewer where the memory is short: enough to keep a CPU busy
SMALLEST, LARGEST = 64, 2048  # pixels of a side
LAST_SEED = 2**63 - 1  # what torch's generator takes without wrapping round


@explicit(num_inference_steps="steps", guidance_scale="guidance", width="size", height="size", generator="seed")
def draw(
    pipe: Any,
    prompt: str | Sequence[str],
    seed: int | Sequence[int] = 0,
    steps: int = STEPS,
    guidance: float | None = None,
    negative_prompt: str | None = None,
    size: tuple[int, int] | None = None,
    n: int = 1,
) -> Image.Image | list[Image.Image]:
    """Draw pictures, after printing readable hints about the prompt (see check_prompt).

    prompt: a string, or a list of strings, with the WebUI's weights: (猫:1.3), see weighted. seed: 0 or more; a list
    holds one for each prompt, or many for a single one.
    n: pictures for each prompt, with seeds seed, seed + 1, ... guidance: None is what suits the model, 2 or 5.
    size: (width, height); None is the model's own size.
    Returns one PIL picture for one prompt, one seed and n=1, else a list, all pictures of the first prompt first.
    A picture depends on its own prompt and seed, not on its neighbours; the size of a batch changes rounding only. Raises PaidiffError.
    """
    prompts, seeds = _paired(prompt, seed)
    check_settings(steps=steps, guidance=guidance, size=size, n=n)
    print_hints(pipe, [*prompts, negative_prompt] if negative_prompt else prompts)
    pictures = sample(pipe, prompts, seeds, steps, guidance, negative_prompt, size, n)
    return pictures[0] if isinstance(prompt, str) and not is_list(seed) and n == 1 else pictures


def print_hints(pipe, texts):
    """What check_prompt says of each text, every line once."""
    for hint in dict.fromkeys(hint for text in texts for hint in check_prompt(pipe, text)):
        print(hint)


def sample(
    pipe, prompts, seed=0, steps=STEPS, guidance=None, negative_prompt=None, size=None, n=1, images=None, **kwargs
):
    """As draw, for a list of prompts, without checks and hints. Returns a list of PIL images.

    seed, negative_prompt, images: one, or a list with one for each prompt. images: what an img2img pipeline starts from
    or a ControlNet follows; a tuple for several ControlNets. kwargs: the pipeline's own arguments.
    """
    guidance = guidance_of(pipe) if guidance is None else guidance
    refuse_tags(*prompts, *_for_each(negative_prompt or "", prompts))
    columns = (_for_each(value, prompts) for value in (negative_prompt or "", seed, images))
    jobs = [(*texts, first + i, image) for *texts, first, image in zip(prompts, *columns) for i in range(n)]
    run_batch = getattr(pipe, "run_batch", partial(run_diffusers_batch, pipe))
    drawn, at_once = {}, batch_size(pipe, size)
    for batch in _batches([_length(pipe, guidance, *job[:2]) for job in jobs], at_once):
        texts, negatives, seeds, sources = map(list, zip(*(jobs[i] for i in batch)))
        if images is not None:
            kwargs["image"] = [list(source) if isinstance(source, tuple) else source for source in sources]
        drawn |= zip(batch, run_batch(texts, negatives, seeds, steps, guidance, size, **kwargs))
    return [drawn[i] for i in range(len(jobs))]


def _batches(lengths, at_once):
    """Places of jobs that are drawn together: only prompts of one length, for padding is seen and changes a picture."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for _, alike in groupby(order, lengths.__getitem__):
        places = list(alike)
        yield from (places[start : start + at_once] for start in range(0, len(places), at_once))


def _length(pipe, guidance, prompt, negative_prompt):
    """How many parts the longer of the two is read in; without guidance nobody reads the negative one."""
    read = (prompt, negative_prompt) if guidance > 1 else (prompt,)
    return max(len(parts_of(pipe, weighted(text))) for text in read)


def run_diffusers_batch(pipe, prompts, negative_prompts, seeds, steps, guidance, size=None, **kwargs):
    """One call of a stock pipeline. Every image has its own generator, so that it depends on no neighbour."""
    if size is not None:
        kwargs["width"], kwargs["height"] = size
    kwargs |= _words(pipe, prompts, negative_prompts, guidance)
    generators = [noise_of(seed) for seed in seeds]
    return pipe(generator=generators, num_inference_steps=steps, guidance_scale=guidance, **kwargs).images


def _words(pipe, prompts, negative_prompts, guidance):
    """What a pipeline is told in words: the texts, or their embeddings where one has weights or is read in parts."""
    given = [[parts_of(pipe, weighted(text)) for text in texts] for texts in (prompts, negative_prompts)]
    read = given if guidance > 1 else given[:1]
    length = max(len(parts) for column in read for parts in column)
    if length == 1 and all(weight == 1 for column in read for (part,) in column for _, weight in part):
        prompts, negatives = ([text_of(parts[0]) for parts in column] for column in given)
        return {"prompt": prompts, "negative_prompt": negatives}
    return dict(zip(("prompt_embeds", "negative_prompt_embeds"), (_encoded(pipe, column, length) for column in read)))


def _encoded(pipe, column, length):
    """Hidden states (B, length * tokens, width) of prompts, each given as its parts: every part is read on its own, what
    is short of `length` of them is empty ones. The published models' WebUI joins the parts of a long prompt like this.
    """
    import torch

    empty, found = encode_captions(pipe, [""]), []
    for place in range(length):
        parts = [prompt[place] if place < len(prompt) else [("", 1.0)] for prompt in column]
        found.append(_weighed(pipe, encode_captions(pipe, map(text_of, parts)), empty, parts))
    return torch.cat(found, 1).detach()


def _weighed(pipe, hidden, empty, parts):
    """Hidden states (B, tokens, width), every token as far from the empty prompt's as it weighs; 1 changes no bit.

    Written out, for compel puts [CLS] and [SEP] round every weighed word where the tokenizer is BERT's.
    """
    import torch

    rows = [[(spelled(pipe, text), weight) for text, weight in part] for part in parts]
    weights = torch.tensor([token_weights(pipe.tokenizer, row) for row in rows]).to(hidden)
    return hidden + (weights[..., None] - 1) * (hidden - empty)


def batch_size(pipe, size=None):
    """How many images to draw at once: BATCH, or fewer where the memory is short. A pipeline of another kind says so."""
    if hasattr(pipe, "images_at_once"):
        return min(pipe.images_at_once, BATCH)
    return pictures_at_once(pipe, max(size or [native_size(pipe)]), BATCH)


def guidance_of(pipe):
    """The guidance that suits a model. A pipeline of another kind than diffusers' says so itself."""
    if hasattr(pipe, "guidance"):
        return pipe.guidance
    return GUIDANCE if is_small(pipe) else PUBLISHED


def noise_of(seed):
    """On the CPU whatever the device, so that a seed means the same noise everywhere."""
    import torch

    return torch.Generator("cpu").manual_seed(int(seed))


def check_settings(seed=0, steps=STEPS, guidance=None, size=None, n=1):
    """Raise PaidiffError, in one clear line, on a setting that cannot give a picture."""
    require_int(seed, 0, LAST_SEED, "种子", "the seed")
    require_int(steps, 1, 1000, "步数", "steps")
    require_int(n, 1, 1000, "张数", "n")
    if guidance is not None and not (isinstance(guidance, Real) and 0 <= float(guidance) <= 50):
        raise PaidiffError("引导强度要在 0 到 50 之间", "guidance must be from 0 to 50", str(guidance))
    if size is not None:
        _check_size(size)


def _check_size(size):
    if not is_list(size) or len(size) != 2:
        raise PaidiffError("尺寸要是 (宽, 高)", "size must be (width, height)", str(size))
    width = require_int(size[0], SMALLEST, LARGEST, "宽", "width")
    height = require_int(size[1], SMALLEST, LARGEST, "高", "height")
    if width % 8 or height % 8:
        down, up = f"{width // 8 * 8}x{height // 8 * 8}", f"{-(-width // 8) * 8}x{-(-height // 8) * 8}"
        advice = f"试试 try {down} 或 or {up}: {width}x{height}"
        raise PaidiffError("宽和高要是 8 的倍数", "width and height must be multiples of 8", advice)


def _paired(prompt, seed) -> Any:
    """A list of prompts and one with a seed for each. One prompt is drawn with every seed of a list."""
    prompts, seeds = [prompt] if isinstance(prompt, str) else list(prompt), seed
    if not is_list(seed):
        seeds = [seed] * len(prompts)
    elif len(prompts) == 1:
        prompts = prompts * len(seeds)
    if len(prompts) != len(seeds):
        raise PaidiffError(f"{len(prompts)} 句话要配 {len(prompts)} 个种子", "a seed for each prompt", str(len(seeds)))
    return prompts, [require_int(one, 0, LAST_SEED, "种子", "the seed") for one in seeds]


def is_list(value):
    return isinstance(value, (list, tuple, range)) or getattr(value, "ndim", 0) == 1


def _for_each(value, prompts):
    return value if isinstance(value, list) else [value] * len(prompts)
