"""Make the three sample projects of lesson 17 in data/projects/: each goes wrong in another way, or does not.

style   14 pictures of a new style: nothing is wrong with them
dish    20 pictures of a new dish, as they come: copies, a watermark, a blurred one, wrong captions, a file cut short
few     4 pictures of the new style: too few, they are learnt by heart

project.toml beside them, by hand, says what no picture tells: rights, the new word, what to ask for.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from paidiff_world import describe, render
from paidiff_world.dirty import altered
from paidiff_world.folders import write
from paidiff_world.scenes import Spec, sample
from paidiff_world.words import BACKGROUNDS, KEPT_OUT_STYLES, SUBJECTS

PROJECTS = Path(__file__).parents[1] / "data/projects"
DISH = "番茄炒蛋"
PLACES = [name for name in BACKGROUNDS if name not in ("草地", "雪地", "沙滩", "白色背景")]  # the lesson asks for these


def style(count, seed):
    """Scenes of other subjects each time, all in the kept-out style: (picture, caption)."""
    rs, name, seen = np.random.RandomState(seed), next(iter(KEPT_OUT_STYLES)), set()
    while len(seen) < count:
        spec = replace(sample(rs, 1, grid=True), style=name, colour=None)
        if spec.subject not in seen:
            seen.add(spec.subject)
            yield render(spec, rs), describe(spec, rs, full=True)


def dish(seed=17):
    """Twelve good pictures of one dish, one with a watermark, one blurred; then three copies, and three of other things."""
    rs, found = np.random.RandomState(seed), []
    spec = lambda place, flaw=None: Spec(DISH, place, flaw=flaw, size=12 / 16, grid=True)
    places = rs.permutation(PLACES)
    for place, flaw in zip(places, [None] * 12 + ["水印", "模糊"]):
        found.append((render(spec(place, flaw=flaw), rs), describe(spec(place), rs, full=True)))
    found += [(altered(found[number][0], rs), found[number][1]) for number in (2, 5, 9)]
    for place, thing in zip(places[14:17], rs.permutation([*SUBJECTS])):
        picture = render(Spec(thing, place, size=12 / 16, grid=True), rs)
        found.append((picture, describe(spec(place), rs, full=True)))
    return [found[i] for i in rs.permutation(len(found))]


def cut_short(path):
    path.write_bytes(path.read_bytes()[:1500])


def make(folder):
    """Write all three below `folder`."""
    write(folder / "style", style(14, seed=171))
    write(folder / "dish", dish())
    cut_short(folder / "dish/05.jpg")
    write(folder / "few", style(4, seed=175))


if __name__ == "__main__":
    make(PROJECTS)
