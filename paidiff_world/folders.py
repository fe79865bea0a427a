"""Scenes of the picture world as a training folder: python -m paidiff_world.folders FOLDER COUNT"""

import json
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from .captions import describe
from .scenes import render, sample
from .words import DISHES, SUBJECTS


def write(folder, scenes):
    """Write [(picture, caption)] as 01.jpg, 02.jpg, ... and metadata.jsonl, the layout that CaptionFolder reads."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (picture, caption) in enumerate(scenes, 1):
        name = f"{number:02d}.jpg"
        picture.save(folder / name, quality=92)
        lines.append(json.dumps({"file_name": name, "text": caption}, ensure_ascii=False))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def food(count, size=128, seed=0):
    """`count` scenes of the six dishes that pre-training never sees, in turn: (picture, caption) each."""
    rs = np.random.RandomState(seed)
    for number in range(count):
        dish = [*DISHES][number % len(DISHES)]
        spec = replace(sample(rs, 1, grid=True), subject=dish, colour=None)
        yield render(spec, rs, size), describe(spec, rs, full=True)


def known(count, size=128, seed=0, grid=True, subjects=tuple(SUBJECTS)):
    """`count` scenes as pre-training sees them, to rehearse what a model knows: (picture, caption) each.

    grid=False: subjects of any size, anywhere, for a ControlNet to follow. subjects: only scenes of these.
    """
    rs = np.random.RandomState(seed)
    for _ in range(count):
        spec = sample(rs, 1 if grid else 2, grid)
        while spec.held_out or spec.subject not in (None, *subjects):
            spec = sample(rs, 1 if grid else 2, grid)
        yield render(spec, rs, size), describe(spec, rs, full=True)


if __name__ == "__main__":
    half = int(sys.argv[2]) // 2
    write(sys.argv[1], chain(known(half), known(half, seed=1, grid=False)))
