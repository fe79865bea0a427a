"""Scenes of the picture world as a training folder: python -m paidiff_world.folders FOLDER COUNT"""

import argparse
import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from .captions import describe
from .scenes import render, sample
from .words import DISHES, SUBJECTS


def write(folder, scenes, digits=2):
    """Write [(picture, caption)] as 01.jpg, 02.jpg, ... and metadata.jsonl, the layout that CaptionFolder reads."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (picture, caption) in enumerate(scenes, 1):
        name = f"{number:0{digits}d}.jpg"
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="where to write it")
    parser.add_argument("count", type=int, help="how many scenes; half of them with subjects of any size, anywhere")
    args = parser.parse_args()
    write(args.folder, chain(known(args.count // 2), known(args.count // 2, seed=1, grid=False)))


if __name__ == "__main__":
    main()
