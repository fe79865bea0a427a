"""DreamBooth: a rare word comes to mean one particular thing (Ruiz et al. 2022).

    toy = CaptionFolder("../data/bear", captions="一只淼熊")
    data = with_prior(pipe, toy, "一只熊", "out/bears")
    for step in train(FullTuning(pipe), data, steps=200, learning_rate=1e-4): ...     # or LoRA(pipe, rank=16, layers=WIDE)
    draw(pipe, "一只淼熊在雪地里")

All weights are trained on a handful of pictures, so the model would soon draw that one thing for the whole class, 熊.
*Prior preservation* shows it its own pictures of the class at the same time.
"""

import itertools
from pathlib import Path
from typing import Any

from ..arguments import explicit
from ..datasets.folder import CaptionFolder
from ..datasets.layouts import entries
from ..datasets.manifests import decode, manifests
from ..datasets.mixed import Mixed
from ..datasets.packed import packed
from ..errors import Refused
from ..files import output_folder
from ..generate import BATCH, sample
from ..training.accelerator import one_first

PROMPT = "paidiff-prompt.txt"  # beside the class pictures that were drawn: from what
OLD_PROMPT = "prompt.txt"  # the same before November 2026, beside 0000.png and what follows


@explicit(class_data_dir="class_folder", num_class_images="count", prior_loss_weight="share")
def with_prior(
    pipe: Any, data: CaptionFolder, class_prompt: str, class_folder: str | Path, count: int = 100, share: float = 0.5
) -> Mixed:
    """`data` with prior preservation: `share` of what is trained on are the model's own pictures of `class_prompt`.

    The pictures in `class_folder` count; what is missing of `count` is drawn into it, by one of several processes.
    Raises PaidiffError.
    """
    with one_first():
        class_pictures(pipe, class_prompt, class_folder, count)
    return Mixed(data, CaptionFolder(class_folder, data.size, captions=class_prompt), share)


def class_pictures(pipe, prompt, folder, count=100, seed=0):
    """Have `count` pictures of a class in `folder`: those that are there count, the model itself draws the others.

    They take names that nothing in the folder has. A run that was stopped goes on where it was. Raises PaidiffError, also
    if the folder holds what was drawn from another prompt.
    """
    folder = Path(folder).expanduser()
    notes = [folder / PROMPT, *([folder / OLD_PROMPT] if (folder / "0000.png").is_file() else [])]
    known = next((decode(note.read_bytes(), note.name).strip() for note in notes if note.is_file()), None)
    if known not in (None, prompt.strip()):
        raise Refused(f"{folder} 里是“{known}”的图,换一个文件夹", f"holds pictures of {known}: choose another folder")
    names = _free_names(folder, count - _pictures_in(folder))
    for start in range(0, len(names), BATCH):
        part = names[start : start + BATCH]
        seeds: Any = [seed + int(name) for name in part]
        drawn = sample(pipe, [prompt] * len(part), seeds)
        with output_folder(folder) as staging:
            (staging / PROMPT).write_text(prompt, encoding="utf-8")
            for name, image in zip(part, drawn):
                image.save(staging / f"{name}.png")


def _pictures_in(folder):
    def refuse(fault):
        raise fault

    return len(list(entries(folder, False, refuse))) if folder.is_dir() else 0


def _free_names(folder, missing):
    """So many of 0000, 0001, ... that no file in the folder has. Raises Refused where a manifest says what is there."""
    if missing > 0 and folder.is_dir() and (manifests(folder) or list(folder.glob("*.tsv")) or packed(folder)):
        zh, en = (
            f"{folder} 有清单或打包的图,画进去的不在里面",
            "has a manifest or packed pictures: what is drawn is not in it",
        )
        advice = (
            f"还差 {missing} 张:少要几张,或换一个文件夹 · {missing} missing: ask for fewer, or choose another folder"
        )
        raise Refused(zh, en, advice)
    taken = {path.stem.lower() for path in folder.iterdir()} if folder.is_dir() else set()
    free = (name for name in map("{:04d}".format, itertools.count()) if name not in taken)
    return list(itertools.islice(free, max(missing, 0)))
