"""One scene: what is in it (`Spec`), what it looks like (`render`), what people call it (`captions.describe`).

    picture, caption, spec = scene(seed)

is the same on every machine: all chance comes from numpy's frozen RandomState.
"""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from . import backgrounds, styles
from .captions import describe
from .words import BACKGROUNDS, COLOURS, DISHES, FLAWS, KEPT_OUT_STYLES, KITTEN_AND_TOYS, STYLES, SUBJECTS

ASSETS = Path(__file__).with_name("assets")
# How much of a scene on the grid a seed decides, each step more than the one before. The judge is taught the widest.
WORLDS = ("still", "places", "mirrored", "artists")
WORLD = "still"  # the widest that the shipped weights hold
ARTISTS = ("noto", "fluent", "twemoji")  # who drew a scene's subjects is left unsaid: a seed decides it
TILE, COLUMNS, CELLS = 128, 12, 16
PAIR = (0.27, 0.73)  # the middles of two beside each other


@dataclass(frozen=True)
class Spec:
    """What a scene holds. `subject` None is a landscape (count 0); `colour` None leaves the subject its own colours."""

    subject: str | None = "猫"
    background: str = "草地"
    style: str = "扁平"
    colour: str | None = None
    count: int = 1
    flaw: str | None = None
    size: float = 0.62  # a subject's side as a fraction of the picture's
    place: int = 0  # -1 left, 0 middle, 1 right
    grid: bool = False  # subjects stand on a grid of 16 x 16 cells, in two sizes

    @property
    def held_out(self):
        """True for the (subject, background, style) triples that pre-training never sees: about 2 % of them."""
        key = f"{self.subject}|{self.background}|{self.style}"
        return self.subject is not None and zlib.crc32(key.encode()) % 50 == 0


def sample(rs, level=2, grid=False, kept_out=False):
    """A random Spec. Level 0: one subject, flat style; 1: styles and colours; 2: counts, flaws, landscapes too.

    `grid` is how the UNet is taught. A latent is one cell of 8 x 8 pixels: a sprite moved by whole cells has the same
    latents, elsewhere; moved by half a cell it has others. So few sizes and whole cells leave far less to learn;
    steps of two cells keep the places of the UNet's next level, of 8 x 8, too.
    `kept_out` adds the dishes and the style that pre-training never sees.
    """
    pick = lambda options: options[rs.randint(len(options))]
    subject = pick([*SUBJECTS, *(DISHES if kept_out else ())])
    background = pick(list(BACKGROUNDS))
    chance = rs.rand(5)
    style = pick([*STYLES, *(KEPT_OUT_STYLES if kept_out else ())]) if level and chance[0] < 0.75 else "扁平"
    colour = pick(list(COLOURS)) if level and chance[1] < 0.28 else None
    count, flaw, size, place = 1, None, rs.uniform(0.56, 0.80), 0
    if level == 2:
        if chance[2] < 0.06:
            subject, colour, count = None, None, 0
        elif chance[2] < 0.36:
            count, size = 2 + int(chance[2] < 0.2), rs.uniform(0.42, 0.5)
        elif chance[3] < 0.12:
            size, place = rs.uniform(0.36, 0.46), pick((-1, 1))
        if chance[4] < 0.16:
            flaw = pick(list(FLAWS))
    if grid:
        size = (12 if size > 0.5 else 7) / CELLS
    return Spec(subject, background, style, colour, count, flaw, float(size), place, grid)


@lru_cache(3)
def atlas(artist):
    return Image.open(ASSETS / f"{artist}.png").convert("RGBA")


@lru_cache(None)
def sprite(name, artist="noto"):
    """The picture of one subject, RGBA, 128 x 128, standing on its lower edge. What pre-training never sees has one artist."""
    i = [*SUBJECTS, *KITTEN_AND_TOYS, *DISHES].index(name)
    x, y = i % COLUMNS * TILE, i // COLUMNS * TILE
    return atlas(artist if name in SUBJECTS else "noto").crop((x, y, x + TILE, y + TILE))


def tinted(rgb, colour):
    """Dye a sprite (h, w, 3): its light and shade stay, its hue becomes `colour`."""
    shade = styles.luminance(rgb)[..., None] / 255
    tint = np.asarray(COLOURS[colour][1], np.float32)
    if colour == "黑色":
        return 14 + shade * 78
    if colour == "白色":
        return 150 + shade**0.7 * 105
    light = np.clip((shade - 0.72) / 0.28, 0, 1) * 0.55
    return tint * np.clip(0.35 + shade, 0, 1.06) * (1 - light) + 255 * light


def reaches(world, other):
    """Whether `world` is `other` or wider."""
    return WORLDS.index(world) >= WORLDS.index(other)


def places(spec, ground, rs, world=WORLD):
    """Where each subject stands: [(centre x, foot y)], far ones first. On the grid, moved by steps of two cells."""
    if spec.grid:
        feet = {1: [14], 2: [14, 14], 3: [9, 9, 15]}[spec.count]
        middles = {1: [0.5 + 0.25 * spec.place], 2: PAIR, 3: [*PAIR, 0.5]}[spec.count]
        free = spec.count == 1 and not spec.place  # across; two have no room, and who is said to be left stays there
        across, up = 2 * rs.randint(-1, 2) * free, 2 * rs.randint(2)
        across, up = (across, up) if reaches(world, "places") else (0, 0)
        return [(x + across / CELLS, (foot - up) / CELLS) for x, foot in zip(middles, feet)]
    about = lambda middle, off: rs.uniform(middle - off, middle + off)
    foot = min(0.97, ground + about(0.19, 0.07)) if ground else 0.5 + spec.size / 2 + about(0, 0.06)
    lean = about(0.24 * spec.place, 0.04 if spec.place else 0.06)
    if spec.count == 1:
        return [(0.5 + lean, max(foot, spec.size + 0.04))]
    pair = [(x + lean / 3, foot + about(0, 0.03)) for x in PAIR]
    if spec.count == 2:
        return pair
    front = min(0.97, foot + 0.22)  # the third stands before the two: in a row of three each would be too small
    return [(x, front - 0.36 + about(0, 0.02)) for x, _ in pair] + [(0.5 + lean / 3, front)]


def render(spec, rs, size=128, world=WORLD):
    """Paint a Spec: PIL picture, size x size."""
    return paint(spec, rs, size, world)[0]


def paint(spec, rs, size=128, world=WORLD):
    """Paint a Spec: (PIL picture, size x size; mask of the subjects (size, size), 0..1)."""
    canvas = backgrounds.Canvas(size)
    ground = backgrounds.PAINTERS[spec.background](canvas, rs)
    mask = np.zeros((size, size), np.float32)
    flip, artist = rs.rand() < 0.5, ARTISTS[rs.randint(len(ARTISTS))]
    flip, artist = (
        flip and (reaches(world, "mirrored") or not spec.grid),
        artist if reaches(world, "artists") else "noto",
    )
    for x, foot in places(spec, ground, rs, world) if spec.subject else ():
        side = round(spec.size * size)
        if ground and foot > ground:
            shade = canvas.rgb[min(size - 1, int(foot * size) - 1), 0] * 0.62
            canvas.disc(x, foot - 0.01, spec.size * 0.42, shade, ry=spec.size * 0.06, opacity=0.5)
        left, top = x * size - side / 2, foot * size - side
        if spec.grid:
            left, top = (round(v * CELLS / size) * size / CELLS for v in (left, top))
        _stamp(canvas.rgb, mask, _drawing(spec.subject, artist, side, flip), round(left), round(top), spec.colour)
    rgb = styles.PAINTERS[spec.style](canvas.rgb, mask, rs)
    if spec.flaw:
        rgb = styles.FLAWS[spec.flaw](rgb, rs)
    return styles.to_image(rgb), mask


def _drawing(subject, artist, side, flip):
    """A sprite as it is laid on: (side, side, 4), float."""
    stamp = sprite(subject, artist).resize((side, side), Image.BILINEAR if side < TILE else Image.BICUBIC)
    return np.asarray(stamp.transpose(Image.FLIP_LEFT_RIGHT) if flip else stamp, np.float32)


def _stamp(rgb, mask, stamp, left, top, colour):
    """Lay a sprite on the picture and on the mask, cut at the edges."""
    size = len(mask)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + stamp.shape[1], size), min(top + stamp.shape[0], size)
    part = stamp[y0 - top : y1 - top, x0 - left : x1 - left]
    body, alpha = part[..., :3], part[..., 3] / 255
    body = tinted(body, colour) if colour else body
    rgb[y0:y1, x0:x1] += alpha[..., None] * (body - rgb[y0:y1, x0:x1])
    mask[y0:y1, x0:x1] = np.maximum(mask[y0:y1, x0:x1], alpha)


def plan(seed, level=2, held_out=False, grid=False, kept_out=False):
    """(spec, caption, the RandomState to paint with) of one seed."""
    rs = np.random.RandomState(seed)
    spec = sample(rs, level, grid, kept_out)
    while spec.held_out != held_out:
        spec = sample(rs, level, grid, kept_out)
    return spec, describe(spec, rs), rs


def scene(seed, size=128, level=2, held_out=False, grid=False):
    """(picture, caption, spec) of one seed; triples kept out of pre-training come only with held_out=True."""
    spec, caption, rs = plan(seed, level, held_out, grid)
    return render(spec, rs, size), caption, spec
