"""Make the lessons' training sets and the img2img drawing in data/, from what pre-training never saw."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from paidiff_world import describe, render
from paidiff_world.folders import write
from paidiff_world.scenes import Spec, sample
from paidiff_world.words import KEPT_OUT_STYLES

DATA = Path(__file__).parents[1] / "data"
SIZE = 256
PLACES = ("雪地", "沙滩", "森林", "花海", "白色背景")  # not 草地 and 沙发: the lesson asks for those


def porcelain(count=20):
    """Scenes of other subjects and places each time, all in the kept-out style."""
    rs, style = np.random.RandomState(2023), next(iter(KEPT_OUT_STYLES))
    seen = set()
    while len(seen) < count:
        spec = replace(sample(rs, 1, grid=True), style=style, colour=None)
        if spec.subject not in seen:
            seen.add(spec.subject)
            yield render(spec, rs, SIZE), describe(spec, rs, full=True)


def one_thing(name, called=None):
    """The same kitten or toy in five places; `called` is what the captions call it."""
    rs = np.random.RandomState(5)
    for place in PLACES:
        spec = Spec(name, place, size=12 / 16, grid=True)
        yield render(spec, rs, SIZE), describe(spec, rs, full=True).replace(name, called or name)


def penguins(side=512):
    """Two penguins as a child draws them: what img2img makes a picture of. They stand where the model's own would."""
    picture = Image.new("RGB", (side, side), (176, 212, 240))
    draw = ImageDraw.Draw(picture)

    def oval(x, y, rx, ry, fill):
        draw.ellipse([(x - rx) * side, (y - ry) * side, (x + rx) * side, (y + ry) * side], fill)

    draw.rectangle([0, 0.58 * side, side, side], (240, 246, 252))
    for x in (0.27, 0.73):
        oval(x, 0.69, 0.115, 0.175, (40, 44, 60))
        oval(x, 0.73, 0.075, 0.13, (250, 250, 250))
        oval(x, 0.515, 0.082, 0.082, (40, 44, 60))
        for aside in (-0.03, 0.03):
            oval(x + aside, 0.5, 0.02, 0.02, (250, 250, 250))
            oval(x + aside, 0.503, 0.009, 0.01, (20, 20, 20))
        draw.polygon(
            [((x - 0.027) * side, 0.535 * side), ((x + 0.027) * side, 0.535 * side), (x * side, 0.575 * side)],
            (246, 160, 40),
        )
        for foot in (-0.047, 0.047):
            oval(x + foot, 0.862, 0.04, 0.017, (246, 160, 40))
    return picture


if __name__ == "__main__":
    write(DATA / "porcelain", porcelain())
    write(DATA / "kitten", one_thing("小奶猫"))
    write(DATA / "bear", one_thing("玩具熊", "淼熊"))
    penguins().save(DATA / "penguins.png", optimize=True)
