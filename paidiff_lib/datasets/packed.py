"""Sets that are packed into files: parquet, a folder that `datasets` saved, webdataset's .tar.

`datasets` (an extra, imported only where such a set is given) reads the first two: rows stay on the disk, any of them is
at hand.
"""

import json
from pathlib import PurePath
from typing import Any

from ..errors import DataError, Fault, NotFound, first_line
from .manifests import manifests, or_fault
from .picture import Picture, captions_of, with_captions
from .tars import from_tar
from .walk import SPLIT, files, pictures, why_hidden

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
        return from_tar(path, name, captions, columns)
    return _from_table(path, name, captions, columns)


def _from_table(path, name, captions, columns):
    try:
        table: Any = _open_table(path, name)
        image, condition, others = _columns_of(table, name, columns)
    except Fault as fault:
        yield fault
        return
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
            table: Any = datasets.load_dataset("parquet", data_files=str(path), split="train")
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
