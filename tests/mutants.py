"""Mutants of a function: each a copy with one small mistake, made by a walk over its syntax tree.

python tests/mutants.py    the table of exercises: how many of their mutants the checkers catch
"""

import ast
import copy
import inspect
import textwrap
from pathlib import Path

from paidiff_course import progress
from paidiff_course.exercise import NotWritten

SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.MatMult: ast.Add,
    ast.Pow: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def mutants(function):
    """[(the changed line, the mutant)], each compiled among the names of the function's module."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    found, count = [], sum(1 for _ in _changes(copy.deepcopy(tree)))
    for number in range(count):
        changed = copy.deepcopy(tree)
        for place, change in enumerate(_changes(changed)):
            if place == number:
                node = change()
                break
        names = dict(function.__globals__)
        exec(compile(ast.fix_missing_locations(changed), "<mutant>", "exec"), names)
        found.append((ast.unparse(node), names[function.__name__]))
    return found


def _changes(tree):
    """Callables that each make one change in the tree and return the node that now holds it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield lambda node=node: _set(node, value=node.value + 1)
        elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
            yield lambda node=node: _set(node, op=SWAPS[type(node.op)]())
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield lambda node=node: _set(node, ops=[SWAPS[type(node.ops[0])](), *node.ops[1:]])
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
            yield lambda node=node: _set(node, op=ast.UAdd() if isinstance(node.op, ast.USub) else ast.USub())
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            yield lambda node=node: _set(node, args=[node.args[1], node.args[0], *node.args[2:]])


def _set(node, **fields):
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def passes(exercise, mutant):
    """Whether the checker takes a mutant for right."""
    try:
        return exercise.fault(mutant) is None
    except NotWritten:
        return False


def table():
    """Every exercise: kind, listed wrong answers, mutants found, caught and equivalent."""
    yield "exercise\tkind\twrong\tmutants\tcaught\tequivalent"
    for file in sorted((Path(__file__).resolve().parents[1] / "lessons/exercises").glob("[0-9][0-9].py")):
        for each in progress.exercises(file):
            found = mutants(each.solution) if each.kind == "function" else []
            left = sum(passes(each, mutant) for _, mutant in found)
            counts = (len(each.wrong), len(found), len(found) - left, len(each.equivalent))
            yield "\t".join(map(str, (each.number, each.kind, *counts)))


if __name__ == "__main__":
    print("\n".join(table()))
