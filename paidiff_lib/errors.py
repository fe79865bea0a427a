"""The errors of this library: one clear line each, Chinese first, English beside it."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from operator import index
from reprlib import repr as short_repr
from typing import TypeVar

Function = TypeVar("Function", bound=Callable)


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
        self.kind, self.where, self.text, self.entry = kind, one_line(where), one_line(text), None
        super().__init__(f"{self.where}: {self.text}")


def unknown(zh, en, name, choices):
    """The error for a name that is none of `choices`, with the nearest of them: unknown("采样器", "sampler", name, SAMPLERS)."""
    near = get_close_matches(str(name), list(map(str, choices)), 1)
    advice = f"; 是不是 did you mean: {near[0]}" if near else ""
    listed = ", ".join(map(str, choices)) or "-"
    return NotFound(f"没有这个{zh}", f"no such {en}", f"{one_line(name)}{advice}; 可选 choose from: {listed}")


def explicit(**old_names: str) -> Callable[[Function], Function]:
    """A decorator: a keyword that the function does not take is answered with the one that was meant.

    old_names: what a parameter was called, or is called elsewhere, and its name here: explicit(lr="learning_rate").
    The function keeps its signature. Raises PaidiffError when it is called so, before anything else happens.
    """

    def decorate(function):
        names = [name for name in signature(function).parameters if name != "self"]
        title = function.__qualname__.removesuffix(".__init__")

        @wraps(function)
        def checked(*args, **kwargs):
            for name in kwargs:
                if name not in names:
                    raise _wrong_keyword(title, name, names, old_names)
            return function(*args, **kwargs)

        return checked

    return decorate


def _wrong_keyword(function, name, names, old_names):
    near = [old_names[name]] if name in old_names else get_close_matches(name, names, 1)
    meant = f"是不是 did you mean: {near[0]}" if near else f"可选 choose from: {', '.join(names)}"
    return PaidiffError(f"{function} 没有参数 {name}", f"{function} takes no {name}", meant)


def require_int(value, low: int, high: int, zh: str, en: str) -> int:
    """`value` as an int, if it is a whole number from `low` to `high`; zh, en: what it is a number of. Raises PaidiffError.

    operator.index decides what a whole number is: numpy's integers are; 2.0, "3" and None are not, nor is a bool.
    """
    try:
        number = index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        wanted = f"{zh}要是 {low} 到 {high} 的整数", f"{en} must be a whole number from {low} to {high}"
        raise PaidiffError(*wanted, one_line(short_repr(value)))
    return number


def first_line(error):
    """What an error of another library says, in one line; the name of its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def one_line(text):
    """Text that any terminal can print: what has no picture of its own is written out, a new line as \\n."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
