"""Every lesson, top to bottom, against a tiny skeleton in the published layout: only the name of the model changes.

`make test-lessons-on-layouts`, which runs nightly, tries the layouts besides the likeliest one with the published words, and
every cell twice in a row: to change a number and run the cell again is what a learner does first. It also runs the lesson that
trains a model of its own, which nbval runs in `make test`.
"""

import os
from pathlib import Path

import nbformat
import psutil
import pytest
from conftest import published_words, write_skeletons
from test_project import script

ROOT = Path(__file__).resolve().parents[1]
WHOLE = "PAIDIFF_LAYOUTS" in os.environ
LAYOUTS = os.environ.get("PAIDIFF_LAYOUTS", "pndm").split(",")  # see write_skeletons
OWN_MODEL = {"11"}  # draws with the model that it has trained itself
NO_MODEL = {"14"}
FOLDERS = "data docs deploy scripts tools benchmarks paidiff_lib paidiff_app paidiff_world paidiff_course".split()
SOURCES = [
    path for path in sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py")) if WHOLE or path.name[:2] not in OWN_MODEL
]
SAVED = {  # what a lesson leaves in its folder
    "03": [
        "porcelain/pytorch_lora_weights.safetensors",
        "porcelain_webui.safetensors",
        "article/pytorch_lora_weights.safetensors",
    ],
    "04": ["word/learned_embeds.safetensors", "model/model_index.json", "article/model_index.json"],
    "05": ["lora/pytorch_lora_weights.safetensors", "model/skeleton.json", "script/model_index.json"],
    "06": ["canny/config.json", "script/config.json"],
    "07": ["model/model_index.json", "script/model_index.json"],
    "17": ["style/hand_in/README.md", "style/hand_in/pytorch_lora_weights.safetensors", "style/hand_in/served.png"],
}
RUN = """
import json, sys
import psutil
cells = [cell for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
names = {"__name__": "__main__"}
try:
    for cell in cells:
        code = compile("".join(cell["source"]), f"<{cell['id']}>", "exec")
        for _ in range(int(sys.argv[2])):
            exec(code, names)
finally:  # a lesson that fails half way leaves no server behind
    for child in psutil.Process().children(recursive=True):
        child.kill()
        child.wait()
"""


@pytest.fixture(scope="module")
def folders(skeletons, tmp_path_factory):
    """folders(layout): a folder of skeletons of that layout."""
    made = {"pndm": skeletons}

    def find(layout):
        if layout not in made:
            made[layout] = write_skeletons(tmp_path_factory.mktemp("layout"), layout)
        return made[layout]

    return find


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_cell_of_a_lesson_runs_on_a_skeleton(path, layout, folders, tmp_path, warm):
    (tmp_path / "notebooks").mkdir()
    builder, book = script(ROOT / "tools/build_notebooks.py"), tmp_path / "lesson.ipynb"
    nbformat.write(builder.edition(builder.read(path), "zh"), book)
    for name in FOLDERS:
        (tmp_path / name).symlink_to(ROOT / name)
    places = {"PAIDIFF_MODEL": str(folders(layout) / "artist"), "PYTHONPATH": str(ROOT)}
    done = warm("-c", RUN, book, str(1 + WHOLE), cwd=tmp_path / "notebooks", **places)
    assert done.returncode == 0, done.stderr[-3000:]
    number, before = path.name[:2], done.stdout.split("tiny 64x64")
    assert "picture" in done.stdout
    assert number in OWN_MODEL | NO_MODEL or (len(before) > 1 and "128x128" not in before[0])
    assert [name for name in SAVED.get(number, []) if not (tmp_path / "out" / number / name).is_file()] == []


@pytest.mark.skipif(not WHOLE, reason="make test-lessons-on-layouts installs them")
def test_the_layouts_have_the_published_words(folders):
    assert published_words()
    for layout in LAYOUTS:
        words = (folders(layout) / "artist/tokenizer/vocab.txt").read_text(encoding="utf-8").split("\n")
        assert (len(words), words[4344]) == (21129, "猫")


def test_what_a_failing_lesson_started_ends_with_it(tmp_path, warm):
    start = (
        "import subprocess, sys\nprint(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(9999)']).pid)"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (start, "1 / 0")])
    nbformat.write(book, tmp_path / "lesson.ipynb")
    done = warm("-c", RUN, tmp_path / "lesson.ipynb", "2")
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
    started = list(map(int, done.stdout.split()))
    assert len(started) == 2 and not any(map(psutil.pid_exists, started))
