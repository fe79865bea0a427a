"""What `paidiff draw` does: one load for many pictures, a batch at a time, each written as soon as it is drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from paidiff_lib.errors import PaidiffError
from paidiff_lib.generate import batch_size, guidance_of, sample

from . import open_model
from .infotext import SUFFIX, infotext, last_part, lora_tag
from .request import GenerationRequest


def open_with(name, loras=(), embeddings=()) -> Any:
    """A pipeline with these LoRAs, [(source, scale)], and words. Raises PaidiffError."""
    pipe = open_model(name)
    if loras:
        from paidiff_lib.methods.lora_files import load_lora
    for number, (source, scale) in enumerate(loras):
        load_lora(pipe, source, f"lora{number}", scale)
    if embeddings:
        from paidiff_lib.methods.textual_inversion import load_embedding
    for source in embeddings:
        load_embedding(pipe, source)
    return pipe


def draw_all(pipe, request, requests, after_step=lambda *_: None) -> Iterator[tuple]:
    """Yield (one of `requests`, its PIL image, how it was asked for in full) as they are drawn.

    requests: of a prompt and a seed each; all else is that of `request`. after_step(share) is told of every step, in images:
    0.1 is a tenth of one.
    """
    with _prepared(pipe, request) as (ready, scheduler, filled):
        at_once = batch_size(pipe, filled.size)
        for start in range(0, len(requests), at_once):
            batch = requests[start : start + at_once]
            for one, image in zip(batch, _draw_batch(ready, scheduler, filled, batch, after_step)):
                yield one, image, replace(filled, prompt=one.prompt, seed=one.seed, size=image.size)


def _draw_batch(pipe, scheduler, request, batch, after_step):
    if hasattr(pipe, "run_batch"):
        prompts, seeds = [one.prompt for one in batch], [one.seed for one in batch]
        images = sample(pipe, prompts, seeds, request.steps, request.guidance, request.negative_prompt, request.size)
        after_step(len(images))
        return images
    from .engine import sample_requests

    passes = 2 if request.hires else 1

    def report_step(pipe, index, timestep, state):
        after_step(len(state["latents"]) / pipe.num_timesteps / passes)
        return state

    return sample_requests(pipe, scheduler, request, batch, report_step)


@contextmanager
def _prepared(pipe, request):
    """(pipeline for the task, its scheduler, the request filled in); an export draws text to image, as it is."""
    if hasattr(pipe, "run_batch"):
        if request.task != "text2img" or request.sampler or request.hires:
            zh, en = "导出的模型只能文生图,采样器不能换", "an exported model draws from text, with its own sampler"
            raise PaidiffError(zh, en, request.sampler or ("hires" if request.hires else request.task))
        yield pipe, None, replace(request, guidance=guidance_of(pipe) if request.guidance is None else request.guidance)
        return
    from .models import Models

    with Models(pipe, fixed=True, name=request.model).prepared(replace(request, model=None)) as found:
        yield found


def settings_text(request: GenerationRequest, loras=(), embeddings=()):
    """The settings of one picture, as its file carries them."""
    from .engine import extra_settings

    prompt = request.prompt + "".join(f" {lora_tag(source, scale)}" for source, scale in loras)
    words = tuple(SUFFIX.sub("", last_part(source)) for source in embeddings)
    return infotext(replace(request, prompt=prompt), request.seed, extra_settings(replace(request, embeddings=words)))
