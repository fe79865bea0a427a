"""Wrong arguments are answered with the right ones."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from operator import index
from reprlib import repr as short_repr
from typing import Any, TypeVar

from .errors import PaidiffError, one_line

Function = TypeVar("Function", bound=Callable)


def explicit(**old_names: str) -> Callable[[Function], Function]:
    """A decorator: a keyword that the function does not take is answered with the one that was meant.

    old_names: what a parameter was called, or is called elsewhere, and its name here: explicit(lr="learning_rate").
    The function keeps its signature. Raises PaidiffError when it is called so, before anything else happens.
    """

    def decorate(function: Any) -> Any:
        names = [name for name in signature(function).parameters if name != "self"]
        title = function.__qualname__.removesuffix(".__init__")

        @wraps(function)
        def checked(*args, **kwargs):
            for name in kwargs:
                if name not in names:
                    raise wrong_keyword(title, name, names, old_names)
            return function(*args, **kwargs)

        return checked

    return decorate


def wrong_keyword(function, name, names, old_names):
    """The PaidiffError that answers keyword `name` of `function` with the one of `names` that was meant."""
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
