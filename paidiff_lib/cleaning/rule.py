"""A rule over scores, such as `clip > 0.3 and (watermark < 0.5 or width >= 512)`: read, checked, never executed as code."""

import ast
from operator import add, eq, ge, gt, le, lt, mul, ne, neg, sub, truediv
from typing import Any

import numpy as np

from ..errors import PaidiffError, one_line

TRUTHS = {ast.And: np.logical_and, ast.Or: np.logical_or, ast.Not: np.logical_not}  # of what is true or false
NUMBERS = {ast.USub: neg, ast.Add: add, ast.Sub: sub, ast.Mult: mul, ast.Div: truediv}
COMPARISONS = {ast.Lt: lt, ast.LtE: le, ast.Gt: gt, ast.GtE: ge, ast.Eq: eq, ast.NotEq: ne}


class Rule:
    """One expression: names, numbers, `and or not`, comparisons, `+ - * /`, brackets. Raises PaidiffError.

    clauses: its parts between the outermost `and`s, as {text: syntax tree}.
    """

    def __init__(self, text, names):
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
            self.clauses = {ast.unparse(part): part for part in parts}
            with np.errstate(all="ignore"):
                _values(parts, dict.fromkeys(names, np.zeros(1)), truth=True)  # a trial: all that is wrong comes out
        except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            detail = f"{text[:200]}: {reason}; 可用的分数 scores: {', '.join(names)}"
            raise PaidiffError("规则看不懂", "cannot read the rule", one_line(detail)) from error

    def reach(self, name):
        """The largest number that a score is compared with; infinite where anything else is done with it."""
        compared = [node for part in self.clauses.values() for node in ast.walk(part) if isinstance(node, ast.Compare)]
        plain = [
            sides for sides in ([node.left, *node.comparators] for node in compared) if _numbers_beside(name, sides)
        ]
        used = sum(_is_name(node, name) for part in self.clauses.values() for node in ast.walk(part))
        if used > sum(_is_name(side, name) for sides in plain for side in sides):
            return np.inf
        numbers: list[Any] = [side.value for sides in plain for side in sides if isinstance(side, ast.Constant)]
        return max(numbers, default=0)

    def each(self, columns):
        """{name: (N,) numbers} -> {clause: (N,) True where it holds}."""
        with np.errstate(all="ignore"):
            return {text: _value(part, columns) for text, part in self.clauses.items()}


def _is_name(node, name):
    return isinstance(node, ast.Name) and node.id == name


def _numbers_beside(name, sides):
    named = [_is_name(side, name) for side in sides]
    return any(named) and all(is_name or isinstance(side, ast.Constant) for is_name, side in zip(named, sides))


def _value(node, columns):
    """What an expression is, for every picture: numbers, or True and False. ValueError for anything that is not allowed."""
    match node:
        case ast.Name(id=name) if name in columns:
            return columns[name]
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.BoolOp(op=op, values=parts):
            return TRUTHS[type(op)].reduce(_values(parts, columns, truth=True))
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return np.logical_not(*_values([part], columns, truth=True))
        case ast.UnaryOp(op=op, operand=part) if type(op) in NUMBERS:
            return NUMBERS[type(op)](*_values([part], columns))
        case ast.BinOp(op=op, left=left, right=right) if type(op) in NUMBERS:
            return NUMBERS[type(op)](*_values([left, right], columns))
        case ast.Compare(ops=ops, left=left, comparators=others) if all(type(op) in COMPARISONS for op in ops):
            sides = _values([left, *others], columns)
            return np.logical_and.reduce([COMPARISONS[type(op)](*pair) for op, *pair in zip(ops, sides, sides[1:])])
    raise _not_allowed(node)


def _values(nodes, columns, truth=False):
    values = [_value(node, columns) for node in nodes]
    for node, value in zip(nodes, values):
        if (np.asarray(value).dtype == bool) != truth:
            raise _not_allowed(node)
    return values


def _not_allowed(node):
    return ValueError(f"“{ast.unparse(node)}” 不行 · not allowed here")
