"""Pictures in a table whose rows and columns have names: one with another, or a sweep over settings."""

from collections.abc import Mapping, Sequence
from inspect import signature
from itertools import product
from typing import Any

from PIL import Image, ImageDraw

from .arguments import wrong_keyword
from .display import GAP, LINE, font, grid, wrap
from .errors import PaidiffError
from .generate import check_settings, draw, is_list, print_hints, sample

SETTINGS = [name for name in signature(draw).parameters if name not in ("pipe", "n")]
MARGIN = 128  # pixels: no row's name is wider


def compare(rows: Mapping[str, Sequence[Image.Image]], titles: Sequence[str] = ()) -> Image.Image:
    """One PIL picture: a row of pictures for each name, {"before": [...], "after": [...]}; titles: of the columns.

    Raises PaidiffError if the rows differ in length, or there is not one title a column.
    """
    return _table(list(rows), list(rows.values()), titles)


def _table(names, rows, titles):
    counts = [*map(len, rows), *([len(titles)] if titles else [])]
    if len(set(counts)) != 1 or not counts[0]:
        zh, en = "每行的图要一样多,标题每列一个", "as many pictures in every row, and a title for each column"
        raise PaidiffError(zh, en, f"{[*map(len, rows)]}, {len(titles)}")
    columns = counts[0]
    pictures = grid([picture for row in rows for picture in row], columns=columns)
    across, down = (pictures.width - GAP) // columns, (pictures.height - GAP) // len(rows)
    heads, names = [wrap(title, across - GAP) for title in titles], [wrap(name, MARGIN) for name in names]
    top = LINE * max(map(len, heads), default=0)
    left = GAP + max(int(font().getlength(line)) for lines in names for line in lines)
    sheet = Image.new("RGB", (left + pictures.width, top + pictures.height), "white")
    sheet.paste(pictures, (left, top))
    for i, lines in enumerate(heads):
        _write(sheet, lines, left + GAP + i * across, top - 4 - LINE * len(lines) + GAP)
    for i, lines in enumerate(names):
        _write(sheet, lines, GAP, top + i * down + (down + GAP - LINE * len(lines)) // 2)
    return sheet


def _write(sheet, lines, x, y):
    for i, line in enumerate(lines):
        ImageDraw.Draw(sheet).text((x, y + i * LINE), line, fill="#222222", font=font())


def sweep(pipe: Any, prompt: str | Sequence[str], **settings: Any) -> Image.Image:
    """Draw once for every combination of settings, as one PIL picture with names: what other programs call an XYZ plot.

    sweep(pipe, "一只猫", guidance=[1, 3, 7.5], seed=[1, 2, 3]): the settings of `draw`, of which one or two, the prompt
    among them, are lists; the first of two goes down, the second across. Raises PaidiffError before the first picture.
    """
    for name in settings:
        if name not in SETTINGS:
            raise wrong_keyword("sweep", name, SETTINGS, {"cfg": "guidance", "guidance_scale": "guidance"})
    settings = {"prompt": prompt} | settings
    axes = {
        name: list(value)
        for name, value in settings.items()
        if is_list(value) and name != "size" or isinstance(value, list)
    }
    if not 1 <= len(axes) <= 2 or not all(axes.values()):
        zh, en = "要有一个或两个设置是列表,不能空", "one or two settings must be lists, and not empty"
        raise PaidiffError(zh, en, ", ".join(axes) or "guidance=[1, 3, 7.5], seed=[1, 2, 3]")
    cells = [settings | dict(zip(axes, values)) for values in product(*axes.values())]
    for cell in cells:
        check_settings(**{name: cell[name] for name in cell if name not in ("prompt", "negative_prompt")})
    print_hints(pipe, [text for cell in cells for text in (cell["prompt"], cell.get("negative_prompt")) if text])
    pictures = [sample(pipe, [cell.pop("prompt")], **cell)[0] for cell in cells]
    *down, across = ([_label(name, value) for value in values] for name, values in axes.items())
    names, columns = down[0] if down else [""], len(across)
    return _table(names, [pictures[i * columns : (i + 1) * columns] for i in range(len(names))], across)


def _label(name, value):
    return str(value) if name in ("prompt", "negative_prompt") else f"{name} {value}"
