"""A rule over scores, such as `clip > 0.3 and (watermark < 0.5 or width >= 512)`: read, checked, never executed as code."""

import ast
import operator

import numpy as np

from ..errors import PaidiffError, one_line

OPERATORS = {
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
    ast.Not: np.logical_not,
    ast.USub: operator.neg,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class Rule:
    """One expression: names, numbers, `and or not`, comparisons, `+ - * /`, brackets. Raises PaidiffError.

    clauses: its parts between the outermost `and`s, as {text: function of the columns}.
    """

    def __init__(self, text, names):
        self.text = text
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
            for part in parts:
                _check(part, names, truth=True)
            self.clauses = {ast.unparse(part): part for part in parts}
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            told = one_line(f"规则看不懂 · cannot read the rule: {text[:200]}: {reason}")
            raise PaidiffError(f"{told}; 可用的分数 scores: {', '.join(names)}") from error

    def each(self, columns):
        """{name: (N,) numbers} -> {clause: (N,) True where it holds}."""
        with np.errstate(all="ignore"):
            return {text: _value(part, columns) for text, part in self.clauses.items()}


def _check(node, names, truth=False):
    """Raise ValueError unless the expression is a truth value (or a number) made of what is allowed."""
    known = type(getattr(node, "op", None)) in OPERATORS
    if isinstance(node, ast.BoolOp) and truth:
        parts, wanted = node.values, True
    elif isinstance(node, ast.UnaryOp) and known and truth == isinstance(node.op, ast.Not):
        parts, wanted = [node.operand], truth
    elif isinstance(node, ast.Compare) and truth and all(type(op) in OPERATORS for op in node.ops):
        parts, wanted = [node.left, *node.comparators], False
    elif isinstance(node, ast.BinOp) and known and not truth:
        parts, wanted = [node.left, node.right], False
    elif isinstance(node, ast.Name) and node.id in names and not truth:
        return
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float) and not truth:
        return
    else:
        raise ValueError(f"“{ast.unparse(node)}” 不行 · not allowed here")
    for part in parts:
        _check(part, names, wanted)


def _value(node, columns):
    if isinstance(node, ast.Name):
        return columns[node.id]
    if isinstance(node, ast.Constant):
        return float(node.value)
    if isinstance(node, ast.Compare):
        sides = [_value(side, columns) for side in (node.left, *node.comparators)]
        pairs = [OPERATORS[type(op)](a, b) for op, a, b in zip(node.ops, sides, sides[1:])]
        return np.logical_and.reduce(pairs)
    apply = OPERATORS[type(node.op)]
    if isinstance(node, ast.UnaryOp):
        return apply(_value(node.operand, columns))
    if isinstance(node, ast.BoolOp):
        return apply.reduce([_value(part, columns) for part in node.values])
    return apply(_value(node.left, columns), _value(node.right, columns))
