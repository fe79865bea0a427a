"""An exercise: what is asked, what is right, and the mistakes that are recognised by what they give.

lessons/exercises/NN.py holds those of one lesson in a list EXERCISES; `paidiff_course.check` asks them. Three kinds:

    function  the answer is a function; it is called with random inputs and has to give what the solution gives
    predict   the answer is a number (or a word), written down before the cell is run that shows it
    goal      the answer is measured, and the measurement has to pass each of `goals`
"""

import reprlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from numbers import Number
from typing import Any

import numpy as np

from paidiff_lib.errors import first_line

TRIALS = 3  # random inputs of one check
ROUNDING = 1e-9


@dataclass(frozen=True)
class Wrong:
    """An answer that is wrong, and the sentence that says why. For a goal: the sentence of the goal that it misses."""

    answer: Any
    zh: str
    en: str


@dataclass(frozen=True)
class Goal:
    """What a measurement has to pass, and the sentence if it does not; the measurement fills the {names} in it."""

    passes: Callable[[dict], bool]
    zh: str
    en: str


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    number: "3.2", the second of lesson 03. zh, en: what is asked, in markdown. hints: three (zh, en), from a nudge to
    all but the answer. solution: the right answer; also: other right ones, written differently. wrong: at least five.
    inputs: function only, RandomState -> the arguments of one call. tolerance: of a number, as a share of it.
    measure: goal only, (answer, draw) -> dict; draw(prompts, **settings) is `paidiff.draw` with the lesson's model.
    equivalent: mutants of the solution that are right as well, as `ast.unparse` writes their changed line.
    """

    number: str
    kind: str
    zh: str
    en: str
    hints: tuple[tuple[str, str], ...]
    solution: Any
    wrong: tuple[Wrong, ...]
    also: tuple = ()
    inputs: Callable[[np.random.RandomState], tuple] | None = None
    tolerance: float = 1e-4
    measure: Callable[[Any, Callable], dict] | None = None
    goals: tuple[Goal, ...] = ()
    equivalent: tuple[str, ...] = ()

    def fault(self, answer, seed=0, draw=None):
        """What is wrong with an answer, (zh, en), or None if it is right. Raises NotWritten for a stub."""
        if unwritten(answer):
            raise NotWritten(self.number)
        return {"function": self._function, "predict": self._value, "goal": self._goal}[self.kind](answer, seed, draw)

    def stub(self):
        """(the name that is checked, the code that the notebook shows)"""
        if self.kind != "function":
            return "answer", "answer = ..."
        name = self.solution.__name__
        return name, f"def {name}{signature(self.solution)}:\n    return ..."

    def _function(self, answer, seed, _):
        if not callable(answer):
            return "这里要一个函数,不是它的结果", "a function is wanted here, not what it gives"
        calls = [self.inputs(np.random.RandomState(seed + k)) for k in range(TRIALS)]
        wanted = [self.solution(*deepcopy(call)) for call in calls]
        given = []
        for call in calls:
            try:
                given.append(answer(*deepcopy(call)))
            except Exception as error:  # whatever a learner's function raises is theirs to read
                return self._failed(named(error), calls)
            if unwritten(given[-1]):
                raise NotWritten(self.number)
        if same(given, wanted, self.tolerance):
            return None
        known = self._known(lambda wrong: same(given, outcome(wrong, calls), self.tolerance))
        return known or unlike(given, wanted, self.tolerance)

    def _failed(self, said, calls):
        """The sentence of a listed answer that raises the same; else what was raised, and what kind the arrays are."""
        note = "", ""
        if any(isinstance(value, np.ndarray) for value in calls[0]):
            note = "(参数是 numpy 数组,不是 torch 张量)", " (the arguments are numpy arrays, no torch tensors)"
        plain = f"你的函数出错了:{said}{note[0]}", f"your function raised {said}{note[1]}"
        return self._known(lambda wrong: raised(wrong, calls) == said) or plain

    def _value(self, answer, *_):
        if same(answer, self.solution, self.tolerance):
            return None
        known = self._known(lambda wrong: same(answer, wrong, self.tolerance))
        return known or unlike([answer], [self.solution], self.tolerance, shown=False)

    def _goal(self, answer, _, draw):
        try:
            measured = self.measure(answer, draw)
        except Exception as error:
            said = named(error)
            return f"这个答案量不了:{said}", f"this answer cannot be measured: {said}"
        for goal in self.goals:
            if not goal.passes(measured):
                return goal.zh.format(**measured), goal.en.format(**measured)
        return None

    def _known(self, gives):
        """The sentence of the first wrong answer that gives the same."""
        return next(((wrong.zh, wrong.en) for wrong in self.wrong if gives(wrong.answer)), None)


def named(error):
    """An error as a line, with its kind."""
    return f"{type(error).__name__}: {first_line(error)}"


def raised(function, calls):
    """The error of a function at the first of the calls, as a line; None where it gives something."""
    try:
        function(*deepcopy(calls[0]))
    except Exception as error:
        return named(error)
    return None


class NotWritten(Exception):
    """The stub as the notebook has it."""


def unwritten(answer):
    return answer is ...


def outcome(function, calls):
    """What a wrong answer gives for each call; None where it fails, which is like nothing."""
    try:
        return [function(*deepcopy(call)) for call in calls]
    except Exception:
        return None


def same(a, b, tolerance):
    """Whether two answers are equal: numbers and arrays up to a share of the larger, anything else as it is.

    A tolerance of 0 still lets rounding pass: 1 - 0.8 is not 0.2 to a computer.
    """
    tolerance = max(tolerance, ROUNDING)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], tolerance) for key in a)
    x, y = numbers(a), numbers(b)
    if x is None or y is None:
        return x is y and type(a) is type(b) and bool(a == b)
    return x.shape == y.shape and np.allclose(
        x, y, rtol=tolerance, atol=tolerance * np.abs(y[np.isfinite(y)]).max(initial=0)
    )


def numbers(value):
    """Numbers, arrays, tensors and lists of numbers as an array; None for everything else."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if not isinstance(value, Number | np.ndarray | np.generic | list | tuple):
        return None
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError):
        return None


def unlike(given, wanted, tolerance, shown=True):
    """How the first answer that differs does so, (zh, en). shown: whether the right value may be said."""
    a, b = next(pair for pair in zip(given, wanted) if not same(*pair, tolerance))
    if shown and isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        place = next(i for i, pair in enumerate(zip(a, b)) if not same(*pair, tolerance))
        zh, en = unlike(a[place:], b[place:], tolerance)
        return f"第 {place + 1} 个,{zh}", f"number {place + 1}: {en}"
    x, y = numbers(a), numbers(b)
    if a is None:
        if shown:
            return "你的函数什么也没有 return", "your function returns nothing"
        return "answer 是 None:print 不返回东西", "answer is None: print gives nothing back"
    if x is None and y is not None:
        kind = type(a).__name__
        return f"要数或数组,得到 {kind}", f"a number or an array is wanted, got {kind}"
    if y is None:
        a, b = reprlib.repr(a), reprlib.repr(b)
        return (f"得到 {a},应为 {b}", f"got {a}, wanted {b}") if shown else (f"不是 {a}", f"it is not {a}")
    if x.shape != y.shape and () in (x.shape, y.shape):
        return f"要 {y.size} 个数,得到 {x.size} 个", f"wanted are {y.size} number(s), not {x.size}"
    if x.shape != y.shape:
        return f"形状是 {x.shape},应为 {y.shape}", f"the shape is {x.shape}, wanted {y.shape}"
    if not np.isfinite(x).all():
        return "结果里有 nan 或 inf", "there is a nan or an inf in it"
    if not shown:
        return ("太大了", "too large") if x > y else ("太小了", "too small")
    place = np.unravel_index(np.abs(x - y).argmax(), x.shape)
    at = f"{list(map(int, place))} " if place else ""
    got, right = f"{x[place]:.4g}", f"{y[place]:.4g}"
    return f"算得不对:{at}得到 {got},应为 {right}", f"a wrong value: {at}got {got}, wanted {right}"
