"""What every diagram is made of: a white card, boxes, labels, arrows, pictures, in the pixels of a card 900 wide.

Few colours, told apart by every eye (Okabe and Ito): blue is text, orange is what is trained or looked at, green is
pictures, grey is all that stays as it is.
"""

import re
from base64 import b64decode, b64encode
from io import BytesIO, StringIO
from itertools import combinations
from pathlib import Path

import numpy as np
import yaml
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FONT = ROOT / "paidiff_lib/assets/fonts/NotoSansSC-Regular-subset.otf"
LABELS = yaml.safe_load(
    Path(__file__).with_name("labels.yml").read_text(encoding="utf-8")
)
LANGUAGES = ("zh", "en")
WIDTH = 900
INK, GREY, LINE = "#1f2933", "#697586", "#8a96a3"
BLUE, ORANGE, GREEN = "#0072b2", "#c45500", "#00795c"
KINDS = {  # of a box: fill, edge
    "plain": ("#f1f4f7", LINE),
    "pale": ("#ffffff", "#c3cbd3"),
    "text": ("#e1eff8", BLUE),
    "trained": ("#ffdfa8", ORANGE),
    "picture": ("#dcf1e9", GREEN),
}
SETTINGS = {
    "svg.fonttype": "path",
    "svg.hashsalt": "paidiff",
    "mathtext.fontset": "stix",
    "path.simplify": False,
}
NO_DATE = dict.fromkeys(("Date", "Creator", "Format", "Type"))


class Card:
    """One diagram in one language. Places are pixels from the upper left corner, sizes of type are pixels too."""

    def __init__(self, name, language, height):
        self.table, self.language = LABELS[name.split("-")[0]], language
        self.size = (WIDTH, height)
        self.figure = Figure((WIDTH / 100, height / 100), dpi=100, facecolor="none")
        self.axes = self.figure.add_axes(
            (0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0)
        )
        self.axes.set_axis_off()
        self.texts, self.lines = [], []  # (artist, room it has), (start, end)
        self.boxes = []  # (left, top, right, bottom)
        self.box(1, 1, WIDTH - 2, height - 2, kind="pale", radius=14)

    def say(self, key, **values):
        """The label `key` in this card's language; a text that is no key is the same in both."""
        if key not in self.table:
            return key
        text = self.table[key][LANGUAGES.index(self.language)]
        return text.format(**values) if values else text

    def box(self, x, y, w, h, text="", kind="plain", size=17, radius=6, **more):
        fill, edge = KINDS[kind]
        style = f"round,pad=0,rounding_size={radius}"
        look = {"fc": fill, "ec": edge, "lw": 1.1} | more
        self.axes.add_patch(FancyBboxPatch((x, y), w, h, boxstyle=style, **look))
        self.boxes.append((x, y, x + w, y + h))
        if text:
            self.label(x + w / 2, y + h / 2, text, size, room=(x, y, w, h))

    def dot(self, x, y, radius, kind="plain", text="", size=17):
        fill, edge = KINDS[kind]
        self.axes.add_patch(Circle((x, y), radius, fc=fill, ec=edge, lw=1.1, zorder=3))
        if text:
            self.label(x, y, text, size)

    def label(self, x, y, text, size=17, colour=INK, ha="center", va=None, room=None):
        """Text around a point; `room`, the box (x, y, w, h) it must stay in, is the card if not given."""
        font = FontProperties(fname=FONT, size=size * 0.72, math_fontfamily="stix")
        va = va or ("center" if "\n" in self.say(text) else "center_baseline")
        look = {"color": colour, "ha": ha, "va": va, "linespacing": 1.25, "zorder": 5}
        artist = self.axes.text(x, y, self.say(text), fontproperties=font, **look)
        self.texts.append((artist, room or (10, 8, WIDTH - 20, self.size[1] - 16)))

    def title(self, text):
        self.label(28, 34, text, 22, ha="left")

    def arrow(self, *points, colour=LINE, width=1.8, head=True, dash=None):
        """A line through points with a head at its last one."""
        for start, end in zip(points[:-2], points[1:-1]):
            self.line(start, end, colour, width, dash)
        style = "-|>,head_length=5,head_width=3" if head else "-"
        look = {"color": colour, "lw": width, "shrinkA": 0, "shrinkB": 0, "zorder": 2}
        look |= {"linestyle": dash or "-", "joinstyle": "miter", "capstyle": "butt"}
        start, end = points[-2:]
        self.axes.add_patch(
            FancyArrowPatch(start, end, arrowstyle=style, mutation_scale=1.4, **look)
        )
        self.lines.append((start, end))

    def line(self, start, end, colour=LINE, width=1.8, dash=None):
        (x, y), (u, v) = start, end
        look = {"lw": width, "linestyle": dash or "-", "solid_capstyle": "projecting"}
        self.axes.plot([x, u], [y, v], color=colour, zorder=2, **look)
        self.lines.append((start, end))

    def curve(self, places, colour=LINE, width=2.4, dash="-"):
        self.axes.plot(*zip(*places), color=colour, lw=width, linestyle=dash, zorder=2)

    def picture(self, x, y, side, image, edge=LINE, width=1.1, colours=48):
        """A picture (H, W) or (H, W, 3) of 0 to 255 in a frame. Few colours, so that the file stays small."""
        pixels = few_colours(image, colours)
        look = {"extent": (x, x + side, y + side, y), "interpolation": "nearest"}
        above = 3 + len(self.axes.images) / 100
        shown = self.axes.imshow(
            pixels, aspect="auto", resample=False, zorder=above, **look
        )
        shown.set_interpolation("none")  # as many pixels in the file as it has
        self.axes.set(xlim=(0, WIDTH), ylim=(self.size[1], 0))
        self.box(x, y, side, side, fc="none", ec=edge, lw=width, radius=1, zorder=above)

    def svg(self):
        """The diagram as text, the same on every run."""
        file = StringIO()
        with rc_context(SETTINGS):
            self.figure.savefig(file, format="svg", transparent=True, metadata=NO_DATE)
        return slim(file.getvalue())

    def faults(self):
        """What does not fit: texts out of their room, on each other, on an edge, or with a line through them."""
        with rc_context(SETTINGS):
            renderer = self.figure._get_renderer()
            boxes = [self._ink(artist, renderer) for artist, _ in self.texts]
        names = [artist.get_text() for artist, _ in self.texts]
        found = [
            f"{name!r} leaves its room"
            for name, box, (_, (x, y, w, h)) in zip(names, boxes, self.texts)
            if not inside(box, (x + 3, y + 1, x + w - 3, y + h - 1))
        ]
        found += [
            f"{names[i]!r} meets {names[j]!r}"
            for i, j in combinations(range(len(names)), 2)
            if meet(boxes[i], boxes[j])
        ]
        found += [
            f"the edge of a box crosses {name!r}"
            for name, box in zip(names, boxes)
            if any(meet(box, other) and not inside(box, other) for other in self.boxes)
        ]
        return found + [
            f"a line crosses {name!r}"
            for name, box in zip(names, boxes)
            for start, end in self.lines
            if crosses(start, end, box)
        ]

    def _ink(self, artist, renderer):
        """(left, top, right, bottom) of a text in the card's pixels."""
        extent = artist.get_window_extent(renderer)
        return extent.x0, self.size[1] - extent.y1, extent.x1, self.size[1] - extent.y0


def slim(svg):
    """The same picture in half the bytes: a tenth of a point is enough, and 320 places for a glyph."""
    svg = re.sub(
        r' clip-path="[^"]*"| style="stroke: none"|; stroke-linejoin: miter|; stroke-width: 1.1(?=")| ?<!--.*?-->| id="(?:patch|text|line2d|image|axes|figure)_\d+"',
        "",
        svg,
    )
    svg = re.sub(r"\b(NotoSansSCSubset-Regular|STIXGeneral)-", "", svg)
    svg = (
        svg.replace("*{", "*{stroke-width: 1.1; ").replace(": ", ":").replace("; ", ";")
    )
    svg = re.sub(r'(?<=base64,)[^"]*', with_palette, svg)
    svg = re.sub(r'( d=")([^"]*)(" transform="scale)\(0.015625\)', coarse, svg)
    svg = re.sub(r'(?<= d=")[^"]*|(?<=translate)\([^)]*', tenths, svg)
    svg = re.sub(r"\n\s*(?=<)", "\n", svg)
    return re.sub(r"<g>\n((?:<path[^>]*/>\n)+)</g>\n", r"\1", svg)


def tenths(match):
    """Numbers with one digit behind the point, and no more space than they need."""
    text = re.sub(
        r"\d+\.\d+", lambda n: f"{float(n[0]):.1f}".removesuffix(".0"), match[0]
    )
    return re.sub(r"\s*([MLQCzlqc])\s*", r"\1", text).strip()


def coarse(glyph):
    """A glyph of 6400 places to the em as one of 320, each place counted from the one before."""
    path, here = "", np.zeros(2, dtype=int)
    for command, numbers in re.findall(r"([MLQCz])([^MLQCz]*)", glyph[2]):
        places = np.rint(np.array(numbers.split(), dtype=float) / 20).astype(int)
        places = places.reshape(-1, 2)
        steps = places if command == "M" else places - here
        name = command if command == "M" else command.lower()
        path += name + " ".join(map(str, steps.ravel()))
        here = places[-1] if len(places) else here
    return f"{glyph[1]}{path.replace(' -', '-')}{glyph[3]}(.3125)"


def few_colours(image, colours):
    picture = Image.fromarray(np.asarray(image, dtype=np.uint8)).convert("RGB")
    return np.asarray(
        picture.quantize(colours, dither=Image.Dither.NONE).convert("RGB")
    )


def with_palette(match):
    """A PNG of few colours in a third of the bytes."""
    data, picture = BytesIO(), Image.open(BytesIO(b64decode(match[0])))
    picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(
        data, "PNG", optimize=True
    )
    return b64encode(data.getvalue()).decode()


def inside(box, room):
    (a, b, c, d), (left, top, right, bottom) = box, room
    return a >= left and b >= top and c <= right and d <= bottom


def meet(one, other, slack=1):
    (a, b, c, d), (e, f, g, h) = one, other
    return a + slack < g and e + slack < c and b + slack < h and f + slack < d


def crosses(start, end, box):
    """Whether the straight line meets the box, looked at in 60 places."""
    a, b, c, d = box
    places = np.linspace(start, end, 60)
    within = (places > (a + 1, b + 1)) & (places < (c - 1, d - 1))
    return bool(within.all(axis=1).any())
