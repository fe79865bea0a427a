"""The layouts of a folder of pictures with captions: which entries it has, and what is wrong with each."""

import os
import unicodedata
from itertools import chain
from pathlib import PureWindowsPath

from ..errors import DataError, Fault, NotFound
from . import walk
from .manifests import MANIFESTS, Columns, decode, manifests, or_fault, rows, rows_of_lines
from .packed import from_packed, packed
from .picture import FilePicture, LinePicture, caption, captions_of, with_captions
from .tars import unused_members
from .walk import pictures, why_hidden

BESIDE = (".txt", ".TXT", ".caption")  # captions beside a picture


def entries(folder, captions, refuse, columns=None):
    """The pictures of a folder with their captions, in its order, each a Picture.

    captions: True if every picture needs one. refuse: called with the Fault of each entry that cannot be used, which
    is then left out. columns: of a manifest. Raises PaidiffError if there is no such folder.
    """
    kept = {}
    for entry in _layout(folder, captions, columns or Columns()):
        if isinstance(entry, Fault):
            refuse(entry)
            continue
        loose = isinstance(entry, FilePicture)
        key = unicodedata.normalize("NFC", entry.name).lower() if loose else entry.name
        twin = kept.get(key)
        if twin is None:
            kept[key] = entry.name
            yield entry
        elif twin == entry.name:
            refuse(Fault("repeat", entry.where, f"重复登记 · listed more than once: {twin}"))
        else:
            text = f"到了 Windows 或 Mac 上就是同一个文件 · one file on Windows or a Mac: {entry.name}, {twin}"
            fault = Fault("collide", entry.where, text)
            fault.entry = entry
            refuse(fault)


def names_of(found):
    """The names of all files of these entries: pictures and what steers them."""
    return {file.name for entry in found for file in (entry, entry.condition) if file}


def left_out(folder, found):
    """(name, why, in both languages) of each picture of a set that is not trained on. found: entries that are."""
    used = names_of(found)
    if folder.is_dir():
        yield from walk.left_out(folder, used)
    for path, name in packed(folder):
        yield from unused_members(path, name, used)


def _layout(folder, captions, columns):
    """Entries, and the Faults of those that cannot be used."""
    if folder.is_file() and folder.suffix == ".tsv":
        return _from_tsv(folder)
    if folder.is_file() and folder.suffix in (".jsonl", ".csv", ".json"):
        return _from_manifest(folder.parent, folder, captions, columns)
    if folder.is_dir() and folder.suffix == ".jsonl":  # as a cluster writes it
        return _from_parts(folder, captions, columns)
    if packs := packed(folder):
        return chain.from_iterable(from_packed(path, name, captions, columns) for path, name in packs)
    if not folder.is_dir():
        raise NotFound("没有这个文件夹", "no such folder", str(folder))
    tables, lists = sorted(folder.glob("*.tsv")), manifests(folder)
    if lists and not (tables and lists[0].parent != folder):
        return chain.from_iterable(_from_manifest(folder, path, captions, columns) for path in lists)
    if columns.named:
        zh, en = f"{folder} 没有带列的清单", "has no manifest with columns"
        raise DataError(zh, en, f"{', '.join(columns.named)}; metadata.jsonl, metadata.csv")
    return chain.from_iterable(map(_from_tsv, tables)) if tables else _from_pairs(folder, captions)


def _from_manifest(folder, manifest, captions, columns):
    base = manifest.parent.relative_to(folder)
    for where, row in rows(manifest, (base / manifest.name).as_posix()):
        yield row if isinstance(row, Fault) else or_fault(_from_row, folder, base, row, where, captions, columns)


def _from_parts(parts, captions, columns):
    """The pictures of a manifest that is a folder of files of lines; they lie beside that folder."""
    for path in sorted(parts.glob("*.json*")):
        for where, row in rows_of_lines(path, f"{parts.name}/{path.name}"):
            found = (
                row if isinstance(row, Fault) else or_fault(_from_row, parts.parent, ".", row, where, captions, columns)
            )
            yield found


def _from_row(folder, base, row, where, captions, columns):
    """The picture that a row of a manifest in folder/base lists."""
    try:
        name, condition = row[columns.image_of(row)], columns.condition_of(row)
    except KeyError as error:
        raise Fault("line", where, f"没有这一列 · no column {error.args[0]}") from error
    entry = _listed(folder, base, name, where)
    if condition and row[condition]:
        entry.condition = _listed(folder, base, row[condition], where)
    return with_captions(entry, lambda: captions_of(row, where, captions, columns))


def _listed(folder, base, name, where):
    path = inside(folder / base, name, where)
    entry = FilePicture(path, path.relative_to(folder).as_posix(), where)
    if why := why_hidden(entry.name):
        raise Fault("hidden", where, f"{why}: {entry.name}")
    return entry


def _from_pairs(folder, captions):
    for path in pictures(folder):
        yield or_fault(_from_pair, folder, path, captions)


def _from_pair(folder, relative, captions):
    name = relative.as_posix()
    entry = FilePicture(inside(folder, name, name), name, name)
    return with_captions(entry, lambda: (_beside(folder, relative, captions),))


def _beside(folder, relative, captions):
    """The caption in the text file of a picture: a.txt or a.caption for a.png, or a.png.txt."""
    places = [relative.with_suffix(suffix) for suffix in BESIDE] + [relative.with_name(f"{relative.name}.txt")]
    beside = next((place.as_posix() for place in places if (folder / place).is_file()), None)
    if beside:
        raw = inside(folder, beside, beside).read_bytes()
        return caption(decode(raw, beside), beside, captions)
    if captions:
        advice = f"需要 needs {' 或 or '.join((MANIFESTS[0], MANIFESTS[1], places[0].as_posix()))} ({folder})"
        raise Fault("no_caption", relative.as_posix(), f"没有说明文字 · has no caption; {advice}")
    return ""


def _from_tsv(path):
    with open(path, "rb") as file:
        start = 0
        for number, line in enumerate(file, 1):
            if line.strip():
                yield or_fault(_from_table, path, number, start, line)
            start += len(line)


def _from_table(path, number, start, line):
    where, columns = f"{path.name}:{number}", line.split(b"\t")
    if len(columns) != 3:
        raise Fault("line", where, "要有三列 · needs three columns: idx, text, base64")
    start += len(columns[0]) + len(columns[1]) + 2
    entry = LinePicture(path, where, start, len(columns[2]))
    return with_captions(entry, lambda: (caption(decode(columns[1], where), where, True),))


def inside(folder, name, where):
    """The path of `name` below `folder`. Raises a Fault if it is absolute, leads out (a link too) or is no file."""
    windows = PureWindowsPath(name) if isinstance(name, str) else None  # it knows / and \, and C:
    if windows is None or windows.drive or windows.root or ".." in windows.parts:
        raise Fault("leaves", where, f"路径不能离开文件夹 · the path may not leave the folder: {name}")
    path = folder / name
    if "\\" in name and not os.path.lexists(path):
        path = folder / windows.as_posix()  # written on Windows
    try:
        within, there = path.resolve().is_relative_to(folder.resolve()), path.is_file()
    except (OSError, ValueError, RuntimeError):  # a name too long, with a NUL, or links in a circle
        within, there = True, False
    if not within:
        raise Fault("leaves", where, f"链接指向文件夹外面 · a link leads out of the folder: {name}")
    if not there:
        raise Fault("missing", where, f"没有这张图片 · no such picture: {name}")
    return path
