"""The three layouts of a folder of pictures with captions: which entries it has, and what is wrong with each."""

import base64
import json
import unicodedata
from itertools import chain
from pathlib import PureWindowsPath

from ..errors import Fault, NotFound

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


class FilePicture:
    """A picture in a file of its own. name: its path below the folder; where: what lists it, a line or itself."""

    def __init__(self, path, name, where, text=""):
        self.path, self.name, self.where, self.text = path, name, where, text

    def read(self):
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise Fault("unreadable", self.name, f"文件打不开 · cannot open the file: {error.strerror}") from error


class LinePicture:
    """A picture in a line of a TSV. Only its place is kept: such files are gigabytes."""

    def __init__(self, path, number, start, length, text=""):
        self.path, self.start, self.length, self.text = path, start, length, text
        self.name = self.where = f"{path.name}:{number}"

    def read(self):
        with open(self.path, "rb") as file:
            file.seek(self.start)
            coded = file.read(self.length).strip().translate(bytes.maketrans(b"-_", b"+/"))  # either alphabet
        try:
            return base64.b64decode(coded, validate=True)
        except ValueError as error:
            raise Fault("unreadable", self.name, "第三列不是 base64 图片 · column 3 is no base64 picture") from error


def entries(folder, captions, refuse):
    """The pictures of a folder with their captions, in its order: FilePicture or LinePicture.

    captions: True if every picture needs one. refuse: called with the Fault of each entry that cannot be used, which
    is then left out. Raises PaidiffError if there is no such folder.
    """
    kept = {}
    for entry in _layout(folder, captions):
        if isinstance(entry, Fault):
            refuse(entry)
            continue
        key = unicodedata.normalize("NFC", entry.name).lower()
        twin = kept.get(key)
        if twin is None:
            kept[key] = entry.name
            yield entry
        elif twin == entry.name:
            refuse(Fault("repeat", entry.where, f"重复登记 · listed more than once: {twin}"))
        else:
            text = f"到了 Windows 或 Mac 上就是同一个文件 · one file on Windows or a Mac: {entry.name}, {twin}"
            refuse(Fault("collide", entry.where, text))


def _layout(folder, captions):
    """Entries, and the Faults of those that cannot be used."""
    if folder.is_file() and folder.suffix == ".tsv":
        return _from_tsv(folder)
    if folder.is_file() and folder.suffix == ".jsonl":
        return _from_manifest(folder, captions)
    if not folder.is_dir():
        raise NotFound("没有这个文件夹", "no such folder", str(folder))
    if (folder / "metadata.jsonl").is_file():
        return _from_manifest(folder / "metadata.jsonl", captions)
    tables = sorted(folder.glob("*.tsv"))
    return chain.from_iterable(map(_from_tsv, tables)) if tables else _from_pairs(folder, captions)


def _from_manifest(manifest, captions):
    with open(manifest, "rb") as lines:  # splitlines() of the text would also cut at U+2028, inside a caption
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _or_fault(_from_line, manifest.parent, line, f"{manifest.name}:{number}", captions)


def _or_fault(make, *arguments):
    try:
        return make(*arguments)
    except Fault as fault:
        return fault


def _from_line(folder, line, where, captions):
    line = _decode(line, where)
    try:
        row = json.loads(line)
        name, text = row["file_name"], row.get("text", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        text = f'要写成 · must be {{"file_name": ..., "text": ...}}: {line.strip()[:60]}'
        raise Fault("line", where, text) from error
    path = inside(folder, name, where)
    entry = FilePicture(path, path.relative_to(folder).as_posix(), where)
    return _with_caption(entry, lambda: _caption(text, where, captions))


def _from_pairs(folder, captions):
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")):
        yield _or_fault(_from_pair, folder, path.relative_to(folder), captions)


def _from_pair(folder, relative, captions):
    name, beside = relative.as_posix(), relative.with_suffix(".txt").as_posix()
    entry = FilePicture(inside(folder, name, name), name, name)
    return _with_caption(entry, lambda: _beside(folder, name, beside, captions))


def _beside(folder, name, beside, captions):
    """The caption in the text file of a picture."""
    if (folder / beside).is_file():
        raw = inside(folder, beside, beside).read_bytes()
        return _caption(_decode(raw, beside), beside, captions)
    if captions:
        advice = f"需要 needs metadata.jsonl 或 or {beside} ({folder})"
        raise Fault("no_caption", name, f"没有说明文字 · has no caption; {advice}")
    return ""


def _with_caption(entry, caption):
    """`entry` with what caption() gives; a Fault on the way knows which picture it was for."""
    try:
        entry.text = caption()
    except Fault as fault:
        fault.entry = entry
        raise
    return entry


def _from_tsv(path):
    with open(path, "rb") as file:
        start = 0
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _or_fault(_from_row, path, number, start, line)
            start += len(line)


def _from_row(path, number, start, line):
    where, columns = f"{path.name}:{number}", line.split(b"\t")
    if len(columns) != 3:
        raise Fault("line", where, "要有三列 · needs three columns: idx, text, base64")
    start += len(columns[0]) + len(columns[1]) + 2
    entry = LinePicture(path, number, start, len(columns[2]))
    return _with_caption(entry, lambda: _caption(_decode(columns[1], where), where, True))


def inside(folder, name, where):
    """The path of `name` below `folder`. Raises a Fault if it is absolute, leads out (a link too) or is no file."""
    windows = PureWindowsPath(name) if isinstance(name, str) else None  # it knows / and \, and C:
    if windows is None or windows.drive or windows.root or ".." in windows.parts:
        raise Fault("leaves", where, f"路径不能离开文件夹 · the path may not leave the folder: {name}")
    path = folder / name
    try:
        within, there = path.resolve().is_relative_to(folder.resolve()), path.is_file()
    except (OSError, ValueError, RuntimeError):  # a name too long, with a NUL, or links in a circle
        within, there = True, False
    if not within:
        raise Fault("leaves", where, f"链接指向文件夹外面 · a link leads out of the folder: {name}")
    if not there:
        raise Fault("missing", where, f"没有这张图片 · no such picture: {name}")
    return path


def _decode(raw, where):
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


def _caption(text, where, needed):
    text = text.strip() if isinstance(text, str) else ""
    if needed and not text:
        raise Fault("empty_caption", where, "说明文字是空的 · the caption is empty")
    if any("\ud800" <= char <= "\udfff" for char in text):  # JSON can say it, no encoding can
        raise Fault("encoding", where, "说明文字里有半个字符 · the caption holds half a character (a lone surrogate)")
    return text
