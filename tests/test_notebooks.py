"""What nbval does not look at: it passes cleared cells, wrong pictures and failing shell lines."""

import ast
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# (notebook, first line of the cell after its marker): why its output is not compared.
IGNORED = {
    ("01_inference.ipynb", "from paidiff_lib.metrics import interval, sharpness"): "intervals; asserted there",
    ("01_inference.ipynb", "from paidiff_lib.metrics import distance"): "distances in the titles; asserted there",
    ("01_inference.ipynb", "from paidiff_world.judge import prompt_following"): "rates; asserted there",
    ("02_img2img.ipynb", "from paidiff_lib.metrics import distance, interval"): "intervals; asserted in the next cell",
    (
        "03_lora.ipynb",
        "from paidiff_lib.generate import sample  # as draw, without its hints",
    ): "a trained picture: another rounding, another picture",
    ("03_lora.ipynb", "plain = paidiff.load()"): "a trained picture: another rounding, another picture",
    ("03_lora.ipynb", "from paidiff_lib.metrics import interval"): "intervals; asserted in the next cell",
    ("03_lora.ipynb", "def both(porcelain, kitten):"): "a trained picture: another rounding, another picture",
    (
        "03_lora.ipynb",
        "from paidiff_lib.metrics import distance",
    ): "a trained picture: another rounding, another picture",
    ("04_textual_inversion.ipynb", "import numpy as np"): "intervals; asserted in the next cell",
    ("04_textual_inversion.ipynb", "new = ["): "a trained picture: another rounding, another picture",
    ("04_textual_inversion.ipynb", "prompts = ["): "a trained picture: another rounding, another picture",
    (
        "04_textual_inversion.ipynb",
        "from diffusers import StableDiffusionPipeline",
    ): "a trained picture: another rounding, another picture",
    ("04_textual_inversion.ipynb", "show("): "a trained picture: another rounding, another picture",
    (
        "05_dreambooth.ipynb",
        "after = sample(pipe, prompts, seed=0)",
    ): "a trained picture: another rounding, another picture",
    ("05_dreambooth.ipynb", "import numpy as np"): "intervals; asserted in the next cell",
    (
        "05_dreambooth.ipynb",
        "paidiff.set_scales(pipe, {})",
    ): "intervals and trained pictures; asserted in the next cell",
    (
        "05_dreambooth.ipynb",
        "from diffusers import StableDiffusionPipeline",
    ): "a trained picture: another rounding, another picture",
    ("06_controlnet.ipynb", "import torch"): "intervals; asserted in the next cell",
    (
        "06_controlnet.ipynb",
        "known_ones = {0.0: free[: len(specs)], 1.0: controlled[: len(specs)]}",
    ): "a curve; asserted there",
    (
        "06_controlnet.ipynb",
        "mine = along(control.pipeline(), 1.0, seeds=(0,))",
    ): "intervals and trained pictures; asserted there",
    (
        "06_controlnet.ipynb",
        "from diffusers import ControlNetModel, StableDiffusionControlNetPipeline",
    ): "a trained picture: another rounding, another picture",
    (
        "07_food_model.ipynb",
        "after = sample(pipe, prompts, seed=0)",
    ): "a trained picture: another rounding, another picture",
    ("07_food_model.ipynb", "import numpy as np"): "intervals; asserted two cells on",
    ("07_food_model.ipynb", "careless = paidiff.load()"): "intervals; asserted in the next cell",
    ("07_food_model.ipynb", 'dish = "红烧狮子头"'): "trained pictures; asserted there",
    (
        "07_food_model.ipynb",
        "from diffusers import StableDiffusionPipeline",
    ): "a trained picture: another rounding, another picture",
    ("08_data_cleaning.ipynb", "import numpy as np"): "scores in the titles",
    (
        "08_data_cleaning.ipynb",
        "kinds = np.array([truth[item.name] for item in found.items])",
    ): "rates; asserted in the next cell",
    ("08_data_cleaning.ipynb", 'limits = np.linspace(*np.percentile(found.scores["clip"], (1, 99)), 30)'): "a curve",
    (
        "08_data_cleaning.ipynb",
        "from paidiff_lib.generate import sample",
    ): "intervals and trained pictures; asserted in the next cell",
    ("08_data_cleaning.ipynb", "gain = ["): "intervals; asserted there",
    ("09_acceleration.ipynb", "import time"): "times",
    ("09_acceleration.ipynb", "import numpy as np"): "times and rates; asserted in the next cell",
    ("09_acceleration.ipynb", "show("): "a plot of times",
    ("09_acceleration.ipynb", "import paidiff_app"): "times; the pictures are compared there",
    ("10_products.ipynb", "import paidiff_app"): "widgets",
    (
        "10_products.ipynb",
        "from paidiff_app.widgets import Playground",
    ): "a trained picture: another rounding, another picture",
    ("10_products.ipynb", "import base64, io, json"): "a trained picture: another rounding, another picture",
    ("10_products.ipynb", 'print(json.loads(call("/health")))'): "times",
    ("10_products.ipynb", 'page, address = started("web", "--loras", str(out / "loras"))'): "a free port",
    (
        "10_products.ipynb",
        "from gradio_client import Client",
    ): "a trained picture; asserted there to be the playground's",
}
MARKER = re.compile(r"#\s*(NBVAL_\w+|PYTEST_VALIDATE_\w+)|nbval-[\w-]+|raises-exception")
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
        found += [f"cell {position}: {fault}" for fault in _cell_faults(path.name, position, cell)]
    return found


def _cell_faults(name, position, cell):
    source = "".join(cell["source"])
    if cell["execution_count"] != position:
        yield "cleared, or executed out of order"
    if SHELL.search(source):
        yield "a shell line"
    elif _speaks(source) and not cell["outputs"]:
        yield "an output is missing"
    marked = MARKER.search(" ".join([source, *cell["metadata"].get("tags", [])]))
    if marked and (name, _first_line(source)) not in IGNORED:
        yield "an ignore marker that is not listed"
    for output in cell["outputs"]:
        yield from _output_faults(output)
    pictures = [o for o in cell["outputs"] if _pictures(o)]
    if pictures and not any(o.get("name") == "stdout" for o in cell["outputs"]):
        yield "a picture without a text digest"


def _output_faults(output):
    if output.get("name") == "stderr":
        yield "something on stderr"
    if output["output_type"] == "error":
        yield "an error"
    for kind in _pictures(output):
        metadata = output.get("metadata", {})
        if not (metadata.get(kind, {}).get("alt") or metadata.get("alt")):
            yield "a picture without alt text"
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


def _first_line(source):
    lines = [line for line in source.splitlines() if line.strip() and not MARKER.search(line)]
    return lines[0] if lines else ""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook(path):
    assert faults(path) == []


def test_the_list_of_ignored_cells_is_not_stale():
    """Each entry is the first line of a cell that has a marker; else its output would be compared, or never looked at."""
    assert sorted(set(IGNORED) - {cell for path in NOTEBOOKS for cell in _marked_cells(path)}) == []


def _marked_cells(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and MARKER.search(" ".join([source, *cell["metadata"].get("tags", [])])):
            yield path.name, _first_line(source)


def good_cell():
    """A cell as it should be: a picture with alt text, and its digest."""
    picture = {"image/jpeg": "aGVsbG8=", "text/plain": ["<IPython.core.display.Image object>"]}
    return {
        "cell_type": "code",
        "execution_count": 1,
        "metadata": {},
        "source": ["show(draw('猫'))"],
        "outputs": [
            {"output_type": "display_data", "data": picture, "metadata": {"image/jpeg": {"alt": "猫"}}},
            {"output_type": "stream", "name": "stdout", "text": ["1 picture 128x128"]},
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
    (lambda c: c.update(source=["# NBVAL_IGNORE_OUTPUT\n", "show(1)"]), "not listed"),
    (lambda c: c.update(metadata={"tags": ["nbval-skip"]}), "not listed"),
    (lambda c: c["outputs"][0].update(metadata={}), "alt text"),
    (lambda c: c["outputs"].pop(), "digest"),
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
