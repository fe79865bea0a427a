"""webdataset's layout: a .tar, in which the files of one base name are a sample: 0.jpg and 0.txt, or 0.json.

Read with Python's own tarfile: webdataset's library streams only, and here a picture is asked for by its number, for the
caches and so that a stopped run goes on. Only the places are kept, for such files are gigabytes.
"""

import json
import re
import tarfile

from ..errors import Fault, first_line
from .manifests import CONDITION, decode, or_fault
from .picture import PartPicture, caption, captions_of, with_captions
from .walk import SUFFIXES, UNREAD, why_hidden

TEXTS = ("txt", "caption", "text")


def _members(path):
    """({name: (start, length)} of the files in a .tar, the Fault if it could not be read to its end)."""
    found, end = {}, 0
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if member.isreg():
                    found[member.name] = member.offset_data, member.size
        with open(path, "rb") as file:  # tarfile stops without a word at what it cannot read
            file.seek(end)
            rest = file.read(2 * tarfile.RECORDSIZE)
        if len(rest) < tarfile.BLOCKSIZE or any(rest):
            raise tarfile.ReadError("no end, or more behind it")
    except (tarfile.TarError, OSError) as error:
        text = "读不完,或者压缩过,要没压缩的 .tar · cut short, or compressed: a plain .tar is needed"
        return found, Fault("truncated", path.name, f"{text}: {first_line(error)}")
    return found, None


def from_tar(path, name, captions, columns):
    """The entries of a .tar, and the Faults. name: what the .tar is called in theirs."""
    members, fault = _members(path)
    if fault:
        yield fault
    samples = {}
    for member, place in members.items():
        base = re.fullmatch(r"((?:.*/)?[^/.]+)\.([^/]+)", member)  # as webdataset has it: up to the first dot
        if base and not why_hidden(member):
            samples.setdefault(base[1], {})[base[2].lower()] = PartPicture(path, f"{name}:{member}", *place)
    for key, sample in samples.items():
        yield or_fault(_from_sample, f"{name}:{key}", sample, captions, columns)


def _from_sample(where, sample, captions, columns):
    """The picture of a sample, {suffix: a PartPicture}; 1.conditioning_image.png steers 1.png."""
    seen = [suffix for suffix in sorted(sample, key=len) if f".{suffix.split('.')[-1]}" in SUFFIXES]
    named = lambda names: [suffix for name in names for suffix in seen if name in (suffix, suffix.split(".")[0])]
    steers = named([columns.condition, *CONDITION])[:1]
    plain = named([columns.image]) if columns.image in columns.named else [x for x in seen if x not in steers]
    if not plain:
        raise Fault("missing", where, f"没有图片 · has no picture: {', '.join(sample)}")
    entry = sample[plain[0]]
    entry.condition = sample[steers[0]] if steers else None
    return with_captions(entry, lambda: _texts(where, sample, captions, columns))


def _texts(where, sample, captions, columns):
    """The captions of a sample: in its .txt, or in its .json, a row as of a manifest."""
    text = next((suffix for suffix in ([columns.caption] if columns.caption else TEXTS) if suffix in sample), "json")
    raw = decode(sample[text].read(), where) if text in sample else "{}"
    if text != "json":
        return (caption(raw, where, captions),)
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Fault("line", where, f"不是完整的 JSON · is not valid JSON: {first_line(error)}") from error
    return captions_of(row if isinstance(row, dict) else {}, where, captions, columns)


def unused_members(path, name, used):
    """(name, why, in both languages) of the pictures in a .tar that are not trained on."""
    for member in _members(path)[0] if path.suffix == ".tar" and path.is_file() else ():
        suffix = f".{member.lower().rpartition('.')[2]}"
        if suffix in SUFFIXES | UNREAD and f"{name}:{member}" not in used:
            yield f"{name}:{member}", why_hidden(member) or "不是样本的那张图 · not the picture of its sample"
