"""What nbval does not look at: it passes cleared cells, pictures without a digest and failing shell lines."""

import ast
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.rglob("*.ipynb"))
IGNORED = "nbval-ignore-output"  # a trained picture, a time, an interval: what is claimed of it is asserted in a cell
MARKER = re.compile(r"#\s*(NBVAL_\w+|PYTEST_VALIDATE_\w+)")
TAGS = {"boot", "exercise", "scratch", IGNORED}  # scratch: a cell of lessons/scratch.py
DIGEST = re.compile(r"\d+ pictures? \d+x\d+.* · mean colour \d+")
SHELL = re.compile(r"^\s*(!|%%?(bash|sh|sx|system|pip|conda)\b)", re.M)
MACHINE_PATH = re.compile(r"(?<![\w.])/(root|home|work|Users|tmp|mnt|opt)/")
SPEAKING = {"show", "print", "display"}  # a cell that calls one of these has an output
LIMIT = 1_000_000


def faults(path):
    """Every fault of a stored notebook, one line each; an empty list if it is fine."""
    book = json.loads(path.read_text(encoding="utf-8"))
    found = []
    if path.stat().st_size >= LIMIT:
        found.append("1 MB or more")
    if "widgets" in book["metadata"]:
        found.append("metadata.widgets")
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    for position, cell in enumerate(code, 1):
        found += [f"cell {position}: {fault}" for fault in _cell_faults(position, cell)]
    return found


def _cell_faults(position, cell):
    source = "".join(cell["source"])
    if cell["execution_count"] != position:
        yield "cleared, or executed out of order"
    if SHELL.search(source):
        yield "a shell line"
    elif _speaks(source) and not cell["outputs"]:
        yield "an output is missing"
    if MARKER.search(source) or set(cell["metadata"].get("tags", ())) - TAGS:
        yield "a marker that is not one of the tags"
    for output in cell["outputs"]:
        yield from _output_faults(output)


def _output_faults(output):
    if output.get("name") == "stderr":
        yield "something on stderr"
    if output["output_type"] == "error":
        yield "an error"
    for kind in _pictures(output):
        metadata = output.get("metadata", {})
        if not (metadata.get(kind, {}).get("alt") or metadata.get("alt")):
            yield "a picture without alt text"
        if not DIGEST.match("".join(output["data"].get("text/plain", ""))):
            yield "a picture without a digest"
    if MACHINE_PATH.search(json.dumps(_text(output), ensure_ascii=False)):
        yield "a path of one machine"


def _pictures(output):
    return [kind for kind in output.get("data", {}) if kind.startswith("image/")]


def _text(output):
    return [output.get("text"), {k: v for k, v in output.get("data", {}).items() if k.startswith("text/")}]


def _speaks(source):
    """True if a statement of the cell itself, not of a function in it, is a call of one of SPEAKING."""
    calls = [node.value for node in ast.parse(source).body if isinstance(node, ast.Expr)]
    return any(isinstance(call, ast.Call) and getattr(call.func, "id", None) in SPEAKING for call in calls)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_notebook(path):
    assert faults(path) == []


def good_cell():
    """A cell as it should be: a picture with alt text, its digest as its plain text."""
    picture = {"image/jpeg": "aGVsbG8=", "text/plain": ["1 picture 128x128 · mean colour 667 · sharpness 16"]}
    return {
        "cell_type": "code",
        "execution_count": 1,
        "metadata": {},
        "source": ["show(draw('猫'))"],
        "outputs": [
            {"output_type": "display_data", "data": picture, "metadata": {"image/jpeg": {"alt": "猫"}}},
            {"output_type": "stream", "name": "stdout", "text": ["0.5"]},
        ],
    }


def check(tmp_path, cell, metadata=None):
    path = tmp_path / "01_x.ipynb"
    path.write_text(json.dumps({"cells": [cell], "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": 5}))
    return faults(path)


def test_a_good_notebook_has_no_faults(tmp_path):
    assert check(tmp_path, good_cell()) == []


STREAM = {"output_type": "stream", "name": "stderr", "text": ["warning"]}
PATH = {"output_type": "stream", "name": "stdout", "text": ["saved to /home/me/out"]}
BAD_CELLS = [
    (lambda c: c.update(execution_count=None), "cleared"),
    (lambda c: c.update(execution_count=2), "out of order"),
    (lambda c: c.update(outputs=[]), "missing"),
    (lambda c: c.update(source=["!ls"]), "shell"),
    (lambda c: c.update(source=["%%bash\n", "ls"]), "shell"),
    (lambda c: c.update(source=["# NBVAL_IGNORE_OUTPUT\n", "show(1)"]), "a marker"),
    (lambda c: c.update(metadata={"tags": ["nbval-skip"]}), "a marker"),
    (lambda c: c["outputs"][0].update(metadata={}), "alt text"),
    (lambda c: c["outputs"][0]["data"].update({"text/plain": ["<Image>"]}), "digest"),
    (lambda c: c["outputs"].append(STREAM), "stderr"),
    (lambda c: c["outputs"].append(PATH), "path"),
    (lambda c: c["outputs"].append({"output_type": "error"}), "an error"),
    (lambda c: c["outputs"][1].update(text=["x" * LIMIT]), "1 MB"),
]


@pytest.mark.parametrize("spoil, words", BAD_CELLS)
def test_every_fault_is_found(tmp_path, spoil, words):
    cell = good_cell()
    spoil(cell)
    assert any(words in fault for fault in check(tmp_path, cell))


def test_widgets_are_found(tmp_path):
    assert check(tmp_path, good_cell(), {"widgets": {}}) == ["metadata.widgets"]
