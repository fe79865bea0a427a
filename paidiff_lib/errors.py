"""The errors of this library: one clear line each, Chinese first, English beside it."""

from difflib import get_close_matches
from typing import Any


class PaidiffError(Exception):
    """Something the user can put right. zh, en: what is wrong, in both languages; detail: which one, or what to do."""

    def __init__(self, zh, en="", detail=""):
        self.zh, self.en, self.detail = zh, en, detail
        said = f"{zh} · {en}" if en else zh
        super().__init__(f"{said}: {detail}" if detail else said)


class NotFound(PaidiffError):
    """A model, file or name that is not there."""


class Refused(PaidiffError):
    """Something that is there and will not be used: unsafe, damaged, or made for something else."""


class DataError(PaidiffError):
    """Something is wrong with training data."""


class Fault(DataError):
    """One thing wrong with training data. kind: a word for it; where: the file or line; text: what is wrong.

    entry: the picture, where only its caption is at fault.
    """

    def __init__(self, kind, where, text):
        self.kind, self.where, self.text = kind, one_line(where), one_line(text)
        self.entry: Any = None
        super().__init__(f"{self.where}: {self.text}")


def unknown(zh, en, name, choices):
    """The error for a name that is none of `choices`, with the nearest of them: unknown("采样器", "sampler", name, SAMPLERS)."""
    near = get_close_matches(str(name), list(map(str, choices)), 1)
    advice = f"; 是不是 did you mean: {near[0]}" if near else ""
    listed = ", ".join(map(str, choices)) or "-"
    return NotFound(f"没有这个{zh}", f"no such {en}", f"{one_line(name)}{advice}; 可选 choose from: {listed}")


def first_line(error):
    """What an error of another library says, in one line; the name of its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def one_line(text):
    """Text that any terminal can print: what has no picture of its own is written out, a new line as \\n."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
