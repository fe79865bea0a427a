"""DreamBooth: a rare word comes to mean one particular thing (Ruiz et al. 2022).

    toy = CaptionFolder("../data/bear", captions="一只淼熊")
    data = with_prior(pipe, toy, "一只熊", "out/bears")
    for step in train(FullTuning(pipe), data, steps=200, learning_rate=1e-4): ...     # or LoRA(pipe, rank=16, layers=WIDE)
    draw(pipe, "一只淼熊在雪地里")

All weights are trained on a handful of pictures, so the model would soon draw that one thing for the whole class, 熊.
*Prior preservation* shows it its own pictures of the class at the same time.
"""

from pathlib import Path
from typing import Any

from ..arguments import explicit
from ..data.folder import CaptionFolder
from ..data.mixed import Mixed
from ..errors import Refused
from ..files import atomic_folder
from ..generate import BATCH, sample

PROMPT = "prompt.txt"  # beside the class pictures: what they were drawn from


@explicit(class_data_dir="class_folder", num_class_images="count", prior_loss_weight="share")
def with_prior(
    pipe: Any, data: CaptionFolder, class_prompt: str, class_folder: str | Path, count: int = 100, share: float = 0.5
) -> Mixed:
    """`data` with prior preservation: `share` of what is trained on are the model's own pictures of `class_prompt`.

    The `count` class pictures are drawn into `class_folder`, unless they are there. Raises PaidiffError.
    """
    class_pictures(pipe, class_prompt, class_folder, count)
    return Mixed(data, CaptionFolder(class_folder, data.size, captions=class_prompt), share)


def class_pictures(pipe, prompt, folder, count=100, seed=0):
    """Have `count` pictures of `prompt` in `folder`, drawn by the model itself; those that are there are kept.

    A run that was stopped goes on where it was. Raises PaidiffError if the folder holds another prompt's.
    """
    folder = Path(folder)
    known = (folder / PROMPT).read_text(encoding="utf-8") if (folder / PROMPT).is_file() else None
    if known not in (None, prompt):
        raise Refused(f"{folder} 里是“{known}”的图,换一个文件夹", f"holds pictures of {known}: choose another folder")
    missing = [number for number in range(count) if not (folder / f"{number:04d}.png").is_file()]
    for start in range(0, len(missing), BATCH):
        part = missing[start : start + BATCH]
        seeds: Any = [seed + number for number in part]
        drawn = sample(pipe, [prompt] * len(part), seeds)
        with atomic_folder(folder) as staging:
            (staging / PROMPT).write_text(prompt, encoding="utf-8")
            for number, image in zip(part, drawn):
                image.save(staging / f"{number:04d}.png")
