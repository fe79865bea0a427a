"""Sets that are packed into files: parquet, a folder that `datasets` saved, webdataset's .tar.

`datasets` (an extra, imported only where such a set is given) reads the first two: rows stay on the disk, any of them is
at hand. A .tar is read with Python's own tarfile: webdataset's library streams only, and here a picture is asked for by
its number, for the caches and so that a stopped run goes on. A sample of a .tar is the files of one base name.
"""

import json
import re
import tarfile
from pathlib import PurePath

from ..errors import DataError, Fault, NotFound, first_line
from .manifests import CONDITION, decode, manifests, or_fault
from .picture import PartPicture, Picture, caption, captions_of, with_captions
from .walk import SPLIT, SUFFIXES, UNREAD, files, pictures, why_hidden

TEXTS = ("txt", "caption", "text")  # of a sample in a .tar
SPLITS = "dataset_dict.json"  # in a folder that `datasets` saved with several splits, each a folder


class RowPicture(Picture):
    """A picture in a row of a `datasets` Dataset."""

    def __init__(self, table, index, column, path, name):
        super().__init__(path, name, name)
        self.table, self.index, self.column = table, index, column

    def read(self):
        found = self.table[self.index][self.column]
        raw = found.get("bytes") if isinstance(found, dict) else found
        if raw is None:  # a path alone may lead anywhere
            raise Fault("unreadable", self.name, f"{self.column} 里没有图片 · holds no picture")
        return raw


def packed(folder):
    """[(path, its name)] of what such a set consists of. Where pictures or a list of them lie about, that is the set."""
    if folder.suffix in (".parquet", ".tar") and folder.is_file():
        return [(folder, folder.name)]
    if (folder / SPLITS).is_file():
        split = _split_of(folder)
        return [(folder / split, f"{folder.name}/{split}")]
    if (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file():
        return [(folder, folder.name)]
    if not folder.is_dir() or manifests(folder) or list(folder.glob("*.tsv")):
        return []
    found = [p for p in files(folder) if p.suffix in (".parquet", ".tar") and not why_hidden(p)]
    of_split = [path for path in found if path.name.startswith(SPLIT) or SPLIT in path.parts]
    return [(folder / path, path.as_posix()) for path in of_split or found] if found and not pictures(folder) else []


def _split_of(folder):
    """train, or the first split there is, of a folder that `datasets` saved."""
    try:
        splits = json.loads((folder / SPLITS).read_text(encoding="utf-8"))["splits"]
        return PurePath(SPLIT if SPLIT in splits else splits[0]).name  # nothing leads out of the folder
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{SPLITS} 读不出来", "cannot be read", f"{folder / SPLITS}: {first_line(error)}") from error


def from_packed(path, name, captions, columns):
    """The entries of one of them, as layouts.entries gives them, and the Faults."""
    if path.suffix == ".tar" and path.is_file():
        return _from_tar(path, name, captions, columns)
    return _from_table(path, name, captions, columns)


def _from_table(path, name, captions, columns):
    table = or_fault(_open_table, path, name)
    shown = table if isinstance(table, Fault) else or_fault(_columns_of, table, name, columns)
    if isinstance(shown, Fault):
        yield shown
        return
    image, condition, others = shown
    seen, steered = table.select_columns([image]), condition and table.select_columns([condition])
    for index, row in enumerate(table.remove_columns(others)):
        entry = RowPicture(seen, index, image, path, f"{name}:{index + 1}")
        if condition:
            entry.condition = RowPicture(steered, index, condition, path, f"{entry.name} {condition}")
        yield or_fault(with_captions, entry, lambda: captions_of(row, entry.where, captions, columns))  # noqa: B023


def _open_table(path, name):
    """The Dataset of a file or a saved folder, its pictures as bytes. Raises a Fault, or NotFound without the library."""
    try:
        import datasets
    except ImportError as error:
        raise NotFound(f"要装 datasets 才能读 {name}", "is read with datasets", "pip install datasets") from error
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        if path.is_file():
            table = datasets.load_dataset("parquet", data_files=str(path), split="train")
        else:
            table = datasets.load_from_disk(str(path))
    except Exception as error:  # pyarrow's and its own have nothing in common
        raise Fault("unreadable", name, f"读不出来 · cannot be read: {first_line(error)}") from error
    for column, kind in table.features.items():
        if isinstance(kind, datasets.Image):
            table = table.cast_column(column, datasets.Image(decode=False))
    return table


def _columns_of(table, name, columns):
    """(the column with the picture, the one that steers it or None, all that hold pictures). Raises a Fault."""
    holds = {column: kind for column, kind in table.features.items() if _is_picture(kind)}
    try:
        condition = columns.condition_of(holds)
        plain = [column for column in holds if column != condition]
        only = not columns.image and len(plain) == 1
        return plain[0] if only else columns.image_of(holds), condition, list(holds)
    except KeyError as error:
        raise Fault("line", name, f"没有这一列图片 · no column of pictures {error.args[0]}") from error


def _is_picture(kind):
    binary = getattr(kind, "dtype", None) in ("binary", "large_binary")
    return binary or type(kind).__name__ == "Image" or (isinstance(kind, dict) and "bytes" in kind)


def _members(path):
    """{name: (start, length)} of the files in a .tar. Raises a Fault with what could be read as its `found`."""
    found, end = {}, 0
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isreg():
                    found[member.name] = member.offset_data, member.size
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        _require_end(path, end)
    except (tarfile.TarError, OSError) as error:
        text = "读不完,或者压缩过,要没压缩的 .tar · cut short, or compressed: a plain .tar is needed"
        fault = Fault("truncated", path.name, f"{text}: {first_line(error)}")
        fault.found = found
        raise fault from error
    return found


def _require_end(path, end):
    """Raise ReadError unless there is the mark of the end and nothing more: tarfile stops without a word at what it cannot read."""
    with open(path, "rb") as file:
        file.seek(end)
        rest = file.read(2 * tarfile.RECORDSIZE)
    if len(rest) < tarfile.BLOCKSIZE or any(rest):
        raise tarfile.ReadError("no end, or more behind it")


def _from_tar(path, name, captions, columns):
    members = or_fault(_members, path)
    if isinstance(members, Fault):
        yield members
        members = members.found
    groups = {}
    for member, place in members.items():
        base = re.fullmatch(r"((?:.*/)?[^/.]+)\.([^/]+)", member)  # as webdataset has it: up to the first dot
        if base and not why_hidden(member):
            groups.setdefault(base[1], {})[base[2].lower()] = (member, *place)
    for key, group in groups.items():
        yield or_fault(_from_group, path, f"{name}:{key}", name, group, captions, columns)


def _from_group(path, where, name, group, captions, columns):
    """The picture of a sample, {suffix: (name of the file, start, length)}."""
    seen = {suffix: 0 for suffix in group if f".{suffix.split('.')[-1]}" in SUFFIXES}
    stems = {suffix.split(".")[0]: suffix for suffix in seen if "." in suffix}  # 1.conditioning_image.png
    condition = next(
        (stems.get(one, one) for one in (columns.condition, *CONDITION) if stems.get(one, one) in seen), None
    )
    plain = sorted((suffix for suffix in seen if suffix != condition), key=lambda suffix: "." in suffix)
    asked = columns.image if "image" in columns.named else None
    image = stems.get(asked, asked) if asked else next(iter(plain), None)
    if image not in seen:
        raise Fault("missing", where, f"没有图片 · has no picture: {', '.join(group)}")
    part = lambda suffix: PartPicture(path, f"{name}:{group[suffix][0]}", *group[suffix][1:])
    entry = part(image)
    entry.condition = part(condition) if condition else None
    return with_captions(entry, lambda: _texts(part, group, captions, columns, where))


def _texts(part, group, captions, columns, where):
    """The captions of a sample: in its .txt, or in its .json, a row as of a manifest."""
    asked = (columns.caption,) if columns.caption in group else () if columns.caption else TEXTS
    text = next((suffix for suffix in asked if suffix in group), None)
    if text and text != "json":
        return (caption(decode(part(text).read(), where), where, captions),)
    try:
        row = json.loads(decode(part("json").read(), where)) if "json" in group else {}
    except (ValueError, RecursionError) as error:
        raise Fault("line", where, f"不是完整的 JSON · is not valid JSON: {first_line(error)}") from error
    return captions_of(row if isinstance(row, dict) else {}, where, captions, columns)


def unused_members(path, name, used):
    """(name, why, in both languages) of the pictures in a .tar that are not trained on."""
    if path.suffix != ".tar" or not path.is_file():
        return
    members = or_fault(_members, path)
    for member in members.found if isinstance(members, Fault) else members:
        suffix = f".{member.lower().rpartition('.')[2]}"
        if suffix in SUFFIXES | UNREAD and f"{name}:{member}" not in used:
            yield f"{name}:{member}", why_hidden(member) or "不是样本的那张图 · not the picture of its sample"
