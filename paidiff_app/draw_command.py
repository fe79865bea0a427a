"""What `paidiff draw` does: one load for many pictures, each written as soon as its batch is drawn."""

import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from paidiff_lib.errors import NotFound, PaidiffError
from paidiff_lib.models.load import is_export, model_name
from paidiff_lib.models.registry import short_name
from paidiff_lib.prompts import check_prompt, expand_wildcards, refuse_tags

from .drawing import draw_all, open_with, settings_text
from .engine import check
from .output import check_writable, write_png
from .prompt_list import name_and_scale, read_prompts

NUMBERED = re.compile(r"(\d+)-\d+\.png")  # 0007-42.png: the seventh picture of a folder, its seed 42


def run(request, prompts_file, output, loras, embeddings, init, mask, control, say):
    """Draw what a request asks for, or each line of a file; returns how many lines could not be drawn. Raises PaidiffError."""
    started, many = time.perf_counter(), prompts_file is not None or request.n > 1
    request = _with_pictures(replace(request, model=model_name(request.model)), init, mask, control)
    lines = read_prompts(prompts_file) if prompts_file else [(0, request.prompt)]
    requests, faults = _requests(request, lines, raising=prompts_file is None)
    loras = [name_and_scale(text) for text in loras]
    _check_before_loading(request, output, many, loras, embeddings)
    for fault in faults:
        say(f"paidiff: {fault}", err=True)
    if requests:
        pipe = open_with(request.model, loras, embeddings)
        for hint in _hints(pipe, requests):
            say(hint, err=True)
        _draw(pipe, request, requests, output, many, (loras, embeddings), started, say)
    return len(faults)


def _requests(request, lines, raising):
    """(a request for each picture, the PaidiffError of each line that cannot be drawn). raising: at the first of them."""
    found, faults = [], []
    for number, prompt in lines:
        try:
            if isinstance(prompt, PaidiffError):
                raise prompt
            refuse_tags(prompt, request.negative_prompt)
            check(replace(request, prompt=prompt))
            seeds = range(request.seed, request.seed + request.n)
            ones = [replace(request, prompt=expand_wildcards(prompt, seed), seed=seed, n=1) for seed in seeds]
            for one in ones:
                check(one)  # a wildcard may leave nothing
            found += ones
        except PaidiffError as error:
            if raising:
                raise
            faults.append(PaidiffError(f"第 {number} 行:{error.zh}", f"line {number}: {error.en}", error.detail))
    return found, faults


def _with_pictures(request, init, mask, control):
    """The request with the pictures that it begins with, and the task that they make of it."""
    if control and (init or mask) or mask and not init:
        zh, en = "--control 单独用,--mask 和 --init 一起用", "--control goes alone, --mask with --init"
        raise PaidiffError(zh, en)
    task = "controlnet" if control else "inpaint" if mask else "img2img" if init else "text2img"
    if request.strength is not None and task in ("text2img", "controlnet") and not request.hires:
        raise PaidiffError("--strength 配 --init 或 --hires", "--strength goes with --init or --hires")
    return replace(request, task=task, image=_open(control or init), mask=_open(mask))


def _open(path):
    from paidiff_lib.datasets.images import read_picture

    try:
        return path and read_picture(path.read_bytes(), path.name)
    except OSError as error:
        raise NotFound("读不了这张图", "cannot read this picture", f"{path}: {error.strerror}") from error


def _check_before_loading(request, output, many, loras, embeddings):
    """Everything that can be refused without a model: nobody waits ten seconds for a typing error."""
    _check_folder(output) if many else check_writable(output)
    for source, _ in loras:
        if not Path(source).exists() and not short_name(source):
            raise NotFound("没有这个 LoRA", "no such LoRA", source)
    for path in embeddings:
        if not path.exists():
            raise NotFound("没有这个词向量", "no such embedding", str(path))
    if is_export(request.model) and (loras or embeddings):
        zh, en = "导出的模型装不了 LoRA 和词,导出时加上", "give --lora to paidiff export, not here"
        raise PaidiffError(zh, en, request.model)


def _check_folder(folder):
    """Make the folder for many pictures. Raises PaidiffError, in one line, where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        zh, en = f"画很多张要一个文件夹,{folder} 不行", "many pictures need a folder"
        raise PaidiffError(zh, en, error.strerror) from error


def _hints(pipe, requests):
    texts = dict.fromkeys(text for one in requests for text in (one.prompt, one.negative_prompt) if text)
    return dict.fromkeys(hint for text in texts for hint in check_prompt(pipe, text))


def _draw(pipe, request, requests, output, many, added, started, say):
    from tqdm import tqdm

    before, form = time.perf_counter(), "{percentage:3.0f}%|{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]"
    number = _next_number(output) if many else 0
    with tqdm(total=len(requests), bar_format=form, disable=None, leave=False) as bar:
        for one, image, filled in draw_all(pipe, request, requests, bar.update):
            path = output / f"{number:04}-{one.seed}.png" if many else output
            write_png(image, path, settings_text(filled, *added))
            if many:
                bar.write(f"{path} · {one.prompt}")
            number += 1
    sampled, altogether = (time.perf_counter() - moment for moment in (before, started))
    took = f"采样 sampling {sampled:.1f} s · 全程 altogether {altogether:.1f} s"
    if many:
        return say(f"{output} · {len(requests)} 张图 pictures · {took} · 一张 each {altogether / len(requests):.2f} s")
    shape = f"{image.width}x{image.height} · seed {filled.seed} · {filled.steps} steps · guidance {filled.guidance:g}"
    say(f"{output} · {shape} · {took}")


def _next_number(folder):
    """One more than the highest that a picture of the folder has."""
    return 1 + max((int(found[1]) for path in folder.iterdir() if (found := NUMBERED.fullmatch(path.name))), default=0)
