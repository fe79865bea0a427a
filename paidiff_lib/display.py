"""Pictures beside each other with Chinese labels, and a line of text that says what is in them."""

import io
import math
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .arguments import explicit
from .errors import PaidiffError
from .files import ASSETS

Images = Image.Image | Sequence[Image.Image]
Titles = str | Sequence[str] | None
FONT = ASSETS / "fonts/NotoSansSC-Regular-subset.otf"
FONT_SIZE = 15
LINE = 21  # pixels from one line of a label to the next
GAP = 8  # pixels between pictures
WIDE = 1024  # pixels: a sheet no wider than half of this is shown at double size
JPEG_QUALITY = 80
DETAILED = 4  # up to so many pictures, the digest has a value for each; beyond, one for all


@explicit(pictures="images", labels="titles", title="titles", cols="columns")
def show(images: Images, titles: Titles = None, alt: str | None = None, columns: int | None = None) -> None:
    """Show pictures in the notebook as one JPEG with alt text; its plain text is their digest, which nbval compares.

    images: one PIL picture or a list. titles: a label for each. alt: what a reader who cannot see it should know;
    made from the titles if not given. Outside a notebook only the digest is printed.
    """
    images, titles = _as_list(images), _as_list(titles or [])
    sheet = grid(images, titles, columns)
    if not _in_notebook():
        return print(digest(images))
    from IPython.display import display

    described = alt or "; ".join(map(str, titles)) or f"{len(images)} 张图 · pictures"
    data = {"image/jpeg": b64encode(_jpeg(sheet)).decode(), "text/plain": digest(images)}
    display(data, metadata={"image/jpeg": {"alt": described}}, raw=True)


def watch(steps: Iterable, total: int) -> Iterator:
    """Pass the steps of `train` on, with one line that counts to `total` and says how long is left."""
    if not _in_notebook():
        from tqdm import tqdm

        yield from tqdm(steps, total=total, unit="step")
        return
    from IPython.display import display

    line: Any = display({"text/plain": ""}, raw=True, display_id=True)
    updated, index = 0.0, 0
    for step in steps:
        index = step.index
        if time.perf_counter() - updated > 0.5:
            updated = time.perf_counter()
            text = f"{index}/{total} · loss {step.loss:.3f} · {step.seconds_left:.0f} s"
            line.update({"text/plain": text}, raw=True)
        yield step
    line.update({"text/plain": ""}, raw=True)  # as it began: nbval sees no updates
    print(f"{index}/{total} steps")


def curve(lines: dict, x: str = "", y: str = "", window: int = 1) -> Image.Image:
    """A line chart as a PIL picture. lines: {label: values, or (x values, y values)}; values are means over `window`."""
    from matplotlib.figure import Figure

    use_chinese_font()
    figure = Figure((6, 3.2), dpi=96, layout="constrained")
    axes = figure.subplots()
    for label, values in lines.items():
        places, heights = values if isinstance(values, tuple) else (range(1, len(values) + 1), values)
        wide = min(window, len(heights))
        heights = np.convolve(heights, np.ones(wide) / wide, "valid")
        axes.plot(places[wide - 1 :], heights, label=label, marker="o" if len(heights) < 20 else None)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend(frameon=False)
    data = io.BytesIO()
    figure.savefig(data)
    return Image.open(data).convert("RGB")


@explicit(pictures="images", labels="titles", title="titles", cols="columns")
def grid(images: Images, titles: Titles = None, columns: int | None = None) -> Image.Image:
    """One PIL picture: `images` in rows of `columns`, each under its title. Small sheets come at double size."""
    images, titles = _as_list(images), _as_list(titles or [])
    if not images:
        raise PaidiffError("没有图片", "grid needs at least one picture")
    if titles and len(titles) != len(images):
        many, few = len(images), len(titles)
        raise PaidiffError(f"{many} 张图,{few} 个标题", f"{many} pictures but {few} titles")
    even = math.ceil(len(images) / math.ceil(len(images) / 6))  # rows of at most six: 8 pictures are two rows of 4
    columns = min(columns or even, len(images))
    width, height = (max(sizes) for sizes in zip(*(image.size for image in images)))
    scale = 2 if (width + GAP) * columns <= WIDE // 2 else 1
    width, height = width * scale, height * scale
    labels = [wrap(title, width) for title in titles]
    head = LINE * max((len(lines) for lines in labels), default=0)
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + head + GAP) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for i, image in enumerate(images):
        x = GAP + i % columns * (width + GAP)
        y = GAP + i // columns * (height + head + GAP)
        lines = labels[i] if labels else []
        for j, line in enumerate(lines):  # the last line stands on the picture
            pen.text((x, y - 4 + head - (len(lines) - j) * LINE), line, fill="#222222", font=font())
        big = image.convert("RGB").resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
        sheet.paste(big, (x, y + head))
    return sheet


def digest(images: Images) -> str:
    """One line of text about pictures, the same on another machine: number, size, mean colour, sharpness.

    Mean colour: one digit from 0 (none) to 8 (full) for red, green and blue. Sharpness: edges, on a scale that
    doubles at each step. Both are very coarse on purpose, because another CPU rounds differently and nbval
    compares text exactly. Measured: noise of +-1 level on every pixel changes the line of two pictures 2 times in
    1,000, noise of +-2 levels 10 times. Up to four pictures have values of their own, more have common ones.
    """
    images = _as_list(images)
    arrays = [np.asarray(image.convert("RGB"), dtype=np.float32) for image in images]
    sizes = sorted({f"{image.width}x{image.height}" for image in images})
    groups = [[a] for a in arrays] if len(arrays) <= DETAILED else [arrays]
    colours = " ".join(_colour(group) for group in groups)
    edges = " ".join(_sharpness(group) for group in groups)
    noun = "picture" if len(images) == 1 else "pictures"
    return f"{len(images)} {noun} {' '.join(sizes)} · mean colour {colours} · sharpness {edges}"


def use_chinese_font() -> None:
    """Make matplotlib draw Chinese with the font of this repository instead of empty boxes."""
    import matplotlib
    from matplotlib import font_manager

    font_manager.fontManager.addfont(FONT)
    family = font_manager.FontProperties(fname=FONT).get_name()
    matplotlib.rcParams["font.family"] = [family]
    matplotlib.rcParams["axes.unicode_minus"] = False  # the subset has "-" but not U+2212


def _colour(group):
    """Three digits, 0 to 8. Rounding, not cutting, so that black, mid grey and white lie inside a bucket."""
    mean = np.mean([a.mean(axis=(0, 1)) for a in group], axis=0)
    return "".join(str(round(float(channel) / 32)) for channel in mean)


def _sharpness(group):
    """Mean strength of the edges, 0 or a power of 2."""
    strength = float(np.mean([_edges(a) for a in group]))
    return "0" if strength < 1.4 else str(2 ** round(math.log2(strength)))


def _edges(array):
    """Mean step between neighbours beyond 12 levels, after halving the size: noise of a few levels counts nothing."""
    grey = array.mean(axis=2)
    height, width = (side // 2 * 2 for side in grey.shape)
    small = grey[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    steps = np.concatenate([np.abs(np.diff(small, axis=axis)).ravel() for axis in (0, 1)])
    return np.maximum(steps - 12, 0).mean() * 4 if steps.size else 0.0


def wrap(text, width):
    """`text` in at most two lines of `width` pixels, characters that the font lacks as U+25A1."""
    known = _characters()
    text = "".join(c if ord(c) in known else "□" for c in str(text).replace("\n", " "))
    lines = [""]
    for char in text:
        if font().getlength(lines[-1] + char) <= width:
            lines[-1] += char
        elif len(lines) < 2:
            lines.append(char.lstrip())
        else:
            lines[-1] = lines[-1][:-1] + "…"
            break
    return lines


@lru_cache
def font():
    return ImageFont.truetype(str(FONT), FONT_SIZE)


@lru_cache
def _characters():
    """The code points that the font has."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(str(FONT)).get_charmap())


def _jpeg(image):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return data.getvalue()


def _as_list(value):
    return [value] if isinstance(value, (str, Image.Image)) else list(value)


def _in_notebook():
    try:
        from IPython import get_ipython
    except ImportError:  # the library works without Jupyter
        return False
    return get_ipython() is not None
