"""The lists of pictures and captions that people have: metadata.jsonl, .csv, .json, in the folder or in its parts."""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from ..errors import Fault, first_line
from .walk import SPLIT, files, why_hidden

MANIFESTS = ("metadata.jsonl", "metadata.csv", "metadata.json")
IMAGE = ("file_name", "image", "image_file", "image_path", "filename")
CAPTION = ("text", "caption", "prompt", "captions", "texts", "prompts")
CONDITION = ("conditioning_image", "conditioning_image_file_name")


@dataclass(frozen=True)
class Columns:
    """What the columns of a manifest are called; None takes the usual names."""

    image: str | None = None
    caption: str | None = None
    condition: str | None = None

    @property
    def named(self):
        """The columns that were asked for under names of one's own."""
        asked = (self.image, IMAGE), (self.caption, CAPTION), (self.condition, CONDITION)
        return [name for name, usual in asked if name and name not in usual]

    def image_of(self, row):
        """The column with the picture. `image` is what `datasets` makes of file_name. Raises KeyError."""
        name = IMAGE[0] if self.image == "image" and "image" not in row else self.image
        return _column(row, name, IMAGE)

    def caption_of(self, row):
        return _column(row, self.caption, CAPTION)

    def condition_of(self, row):
        """The column with the picture that steers a ControlNet; None if there is none."""
        asked = self.condition if self.condition not in CONDITION else None
        return _column(row, asked, CONDITION) if asked or row.keys() & set(CONDITION) else None


def _column(row, asked, usual):
    name = next((name for name in ([asked] if asked else usual) if name in row), None)
    if name is None:
        raise KeyError(f"{asked or ', '.join(usual[:3])}; 有 there are: {', '.join(map(str, row))}")
    return name


def manifests(folder):
    """The manifests that count: the folder's own; else that of train/; else that of each folder below it."""
    for place in (folder, folder / SPLIT):
        found = next((place / name for name in MANIFESTS if (place / name).is_file()), None)
        if found:
            return [found]
    each = {}  # the first of each folder
    for path in sorted((p for p in files(folder) if p.name in MANIFESTS and not why_hidden(p)), key=_rank):
        each.setdefault(path.parent, folder / path)
    return sorted(each.values())


def _rank(path):
    return MANIFESTS.index(path.name)


def rows(manifest, title):
    """(where, the row) of every line of a manifest; a Fault in the place of a row that cannot be read. title: its name."""
    if manifest.suffix == ".csv":
        return _rows_of_csv(manifest, title)
    with open(manifest, "rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    if manifest.suffix == ".json" or start.startswith(b"["):
        return _rows_of_array(manifest, title)
    return rows_of_lines(manifest, title)


def rows_of_lines(manifest, title):
    with open(manifest, "rb") as lines:  # splitlines() of the text would also cut at U+2028, inside a caption
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{title}:{number}"
                yield where, or_fault(_row_of_line, line, where)


def _row_of_line(line, where):
    text = decode(line, where)
    try:
        return _row(json.loads(text), where)
    except (ValueError, RecursionError) as error:
        raise _no_row(text, where) from error


def _row(found, where):
    return found if isinstance(found, dict) else _no_row(json.dumps(found, ensure_ascii=False), where)


def _no_row(text, where):
    return Fault("line", where, f'要写成 · must be {{"file_name": ..., "text": ...}}: {text.strip()[:60]}')


def _rows_of_array(manifest, title):
    try:
        found = json.loads(decode(manifest.read_bytes(), title))
    except (ValueError, RecursionError) as error:
        yield title, Fault("line", title, f"不是完整的 JSON · is not valid JSON: {first_line(error)}")
        return
    except Fault as fault:
        yield title, fault
        return
    for number, row in enumerate(found if isinstance(found, list) else [found], 1):
        yield f"{title}:{number}", _row(row, f"{title}:{number}")


def _rows_of_csv(manifest, title):
    try:
        lines = csv.DictReader(io.StringIO(decode(manifest.read_bytes(), title), newline=""))
        for row in lines:
            where = f"{title}:{lines.line_num}"
            whole = None not in row and None not in row.values()
            wrong = f"列数和第一行不一样 · has not the columns of the first line: {', '.join(lines.fieldnames or ())}"
            yield where, row if whole else Fault("line", where, wrong)
    except csv.Error as error:
        yield title, Fault("line", title, f"不是完整的 CSV · is not valid CSV: {error}")
    except Fault as fault:
        yield title, fault


def or_fault(make, *arguments) -> Any:
    """What make(*arguments) gives, or the Fault that it raises."""
    try:
        return make(*arguments)
    except Fault as fault:
        return fault


def decode(raw, where):
    """Bytes of a text file -> str. Raises a Fault that names the likely encoding."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault("encoding", where, f"不是 UTF-8 编码 · is not UTF-8{_likely_encoding(raw)}") from error


def _likely_encoding(raw):
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "; 像是 probably UTF-16"
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        return ""
    return "; 像是 probably GBK: iconv -f gb18030 -t utf-8"
