"""The house stays a house: arrows point down, no circles, small files and functions, the field's words."""

import ast
import json
import re
import statistics
from pathlib import Path

import pytest
from test_project import script

import paidiff_lib

ROOT = Path(__file__).resolve().parents[1]
graph = script(ROOT / "tools/import_graph.py")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FOLDERS = [*graph.MAY_IMPORT, "tools", "scripts", "benchmarks", "tests"]


@pytest.fixture(scope="module")
def house():
    return graph.read_house()


# --- arrows -------------------------------------------------------------------------------------------------------


def test_every_arrow_points_down(house):
    assert len(house.modules) > 60 and graph.unplaced(house) == []
    assert graph.upward(house) == []


def test_no_module_imports_itself_round_about(house):
    assert graph.circles(house.arrows) == []
    assert graph.circles(graph.folders(house)) == []


def test_every_import_is_of_something_that_is_there(house):
    assert house.dangling == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_lesson_imports_what_it_may(path):
    assert graph.lesson_faults(path) == []


def built(folder, **files):
    """A House of those files: lib_models_load="import os" is paidiff_lib/models/load.py."""
    for name, source in files.items():
        path = folder / f"paidiff_{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        (path.parent / "__init__.py").touch()
    return graph.read_house(folder)


UPWARD = [
    dict(lib__errors="from .files import digest\nfrom .models.load import load", lib__files="", lib__models__load=""),
    dict(lib__models__load="def load():\n    from ..training.loop import train", lib__training__loop=""),
    dict(lib__datasets__folder="from ..cleaning import audit", lib__cleaning__audit=""),
    dict(lib__training__loop="import paidiff_lib.cleaning.filter", lib__cleaning__filter=""),
    dict(lib__generate="from paidiff_app.engine import Engine", app__engine=""),
    dict(lib__generate="import paidiff_world"),
    dict(app__engine="from paidiff_world.scenes import scene", world__scenes=""),
    dict(world__scenes="import paidiff_app.engine", app__engine=""),
    dict(app__cli="import paidiff_course.lesson", course__lesson=""),
    dict(course__lesson="from paidiff_app import open_model"),
    dict(lib__methods__lora="import paidiff_lib as paidiff"),
]


@pytest.mark.parametrize("files", UPWARD, ids=lambda files: " ".join(files))
def test_an_arrow_that_runs_up_is_found(tmp_path, files):
    packages = {name: "" for name in ("lib__x", "world__x", "app__x", "course__x")}
    found = graph.upward(built(tmp_path, **packages, **files))
    assert len(found) == 1 and found[0][0] == graph.dotted(
        tmp_path / f"paidiff_{next(iter(files)).replace('__', '/')}.py", tmp_path
    )


DOWNWARD = [
    dict(
        lib__methods__lora="from ..training.loop import train",
        lib__training__loop="from ..files import digest",
        lib__files="",
    ),
    dict(app__cli="from paidiff_lib import load", lib__errors=""),
    dict(course__lesson="from paidiff_world.scenes import scene\nimport paidiff_lib", world__scenes="", lib__errors=""),
    dict(
        lib__datasets__folder="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..methods.base import Method",
        lib__methods__base="from ..datasets.folder import CaptionFolder",
    ),
]


@pytest.mark.parametrize("files", DOWNWARD, ids=lambda files: " ".join(files))
def test_an_arrow_that_runs_down_may_stay(tmp_path, files):
    house = built(tmp_path, **files)
    assert graph.upward(house) == [] and graph.circles(house.arrows) == []
    assert any(house.arrows.values())


def test_a_circle_is_found_in_a_function_too(tmp_path):
    house = built(
        tmp_path,
        lib__datasets__folder="from .images import square",
        lib__datasets__images="def square():\n    from . import layouts",
        lib__datasets__layouts="from .folder import CaptionFolder",
        lib__errors="",
    )
    assert graph.circles(house.arrows) == [
        ["paidiff_lib.datasets.folder", "paidiff_lib.datasets.images", "paidiff_lib.datasets.layouts"]
    ]


def test_a_circle_through_a_lazy_package_is_found(tmp_path):
    house = built(tmp_path, app__engine="from . import open_model", app__labels="")
    (tmp_path / "paidiff_app/__init__.py").write_text("NAMES = {'engine': 'Engine'}\ndef __getattr__(name): ...")
    assert graph.circles(house.arrows) == []
    assert graph.circles(graph.read_house(tmp_path).arrows) == [["paidiff_app", "paidiff_app.engine"]]


def test_a_circle_between_folders_is_found(tmp_path):
    house = built(
        tmp_path,
        lib__training__api="from ..methods.base import Method",
        lib__training__state="",
        lib__methods__base="",
        lib__methods__lora="from ..training.state import RngState",
        lib__errors="",
    )
    assert graph.circles(house.arrows) == []
    assert graph.circles(graph.folders(house)) == [["paidiff_lib.methods", "paidiff_lib.training"]]


def test_an_import_of_nothing_is_found(tmp_path):
    house = built(tmp_path, app__engine="def run():\n    from paidiff_lib.draw import sample", lib__generate="")
    assert house.dangling == [("paidiff_app.engine", "paidiff_lib.draw.sample")]


LESSONS = [
    ("03_lora.ipynb", "import paidiff_lib as paidiff\nfrom paidiff_world.judge import judge", []),
    ("03_lora.ipynb", "def f():\n    from paidiff_world.pretrain import vae", ["paidiff_world.pretrain.vae"]),
    ("08_data.ipynb", "import paidiff_world.pretrain.clip", ["paidiff_world.pretrain.clip"]),
    ("01_inference.ipynb", "import paidiff_app", ["paidiff_app"]),
    ("09_acceleration.ipynb", "from paidiff_app import open_model", []),
    ("10_products.ipynb", "from paidiff_world import pretrain", ["paidiff_world.pretrain"]),
]


@pytest.mark.parametrize("name, source, faults", LESSONS)
def test_a_lesson_that_imports_what_it_must_not_is_found(tmp_path, name, source, faults):
    cells = [{"cell_type": "markdown", "source": ["import paidiff_app"]}, {"cell_type": "code", "source": [source]}]
    (tmp_path / name).write_text(json.dumps({"cells": cells}))
    assert graph.lesson_faults(tmp_path / name) == faults


# --- names --------------------------------------------------------------------------------------------------------

DIALECT = re.compile(r"_*(wish(es)?|eyes?|glances?|told|rooms?|joined|hands?|doors?|more)", re.I)
FOREIGN = {"eye": {"torch", "np", "numpy"}}  # an identity matrix is theirs to name


def identifiers(tree):
    """(line, name) of everything that a program names or asks for by name."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        for attribute in ("id", "attr", "arg", "name", "asname", "rest"):  # also of except, match and **rest
            name = getattr(node, attribute, None)
            if isinstance(name, str) and not _is_foreign(node, name):
                yield from ((line, part) for part in name.split("."))
        if isinstance(node, ast.Global | ast.Nonlocal):
            yield from ((line, name) for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((line, part) for part in node.module.split("."))


def _is_foreign(node, name):
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in FOREIGN.get(name, ())


def dialect(source):
    return [(line, name) for line, name in identifiers(ast.parse(source)) if DIALECT.fullmatch(name)]


def code_of(path):
    """The Python of a file, or of a notebook's cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


@pytest.mark.parametrize("folder", [*FOLDERS, "notebooks"])
def test_no_private_dialect(folder):
    paths = [path for end in ("py", "ipynb") for path in sorted((ROOT / folder).rglob(f"*.{end}"))]
    found = [f"{path.relative_to(ROOT)}:{line} {name}" for path in paths for line, name in dialect(code_of(path))]
    assert paths and found == []
    assert [path for path in paths if DIALECT.fullmatch(path.stem)] == []


DIALECTS = [
    "class Wish: pass",
    "def f(**more): pass",
    "TOLD = 20",
    "x.glance()",
    "draw(wishes=1)",
    "import door as d",
    "from paidiff_app import hand",
    "from a.eye import b",
    "for _room in places: pass",
    "lambda told: 1",
    "def joined(): pass",
    "def f():\n    global EYES",
    "try: pass\nexcept E as told: pass",
    "match x:\n    case {'a': 1, **more}: pass",
    "more = 1",
]


@pytest.mark.parametrize("source", DIALECTS)
def test_a_dialect_word_is_found(source):
    assert len(dialect(source)) == 1


def test_other_words_are_left_alone():
    source = "torch.eye(3); handle = 'wish'; furthermore = moreover = eyeing = roommate = x.join(y)  # more, told"
    assert dialect(source) == []


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", graph.CAPS)
def test_a_package_stays_small(name):
    assert graph.sizes()[name] <= graph.CAPS[name]


def test_functions_stay_small():
    found = graph.functions()
    assert [(n, name) for n, name in found if n > graph.LONGEST] == []
    assert statistics.median(n for n, _ in found) <= graph.MEDIAN


def test_a_span_is_counted_without_its_docstring():
    source = '@wraps\ndef f(\n    x,\n):\n    """One.\n\n    Two.\n    """\n    return x'
    assert graph.span(ast.parse(source).body[0]) == 4
    assert graph.span(ast.parse("def f(x):\n    'text'.join(x)\n    return x").body[0]) == 3


# --- the names of the library -------------------------------------------------------------------------------------


def test_no_module_has_the_name_of_a_public_thing():
    """With lazy names the import of paidiff_lib/draw.py would put the module where the function draw was."""
    modules = {path.stem for path in (ROOT / "paidiff_lib").iterdir()}
    assert modules & set(paidiff_lib.__all__) == set()


REBINDING = """
import importlib, pkgutil, types
import paidiff_lib
before = {name: getattr(paidiff_lib, name) for name in paidiff_lib.__all__}
assert not [name for name, value in before.items() if isinstance(value, types.ModuleType)]
modules = [m.name for m in pkgutil.walk_packages(paidiff_lib.__path__, "paidiff_lib.")]
modules.remove("paidiff_lib.cleaning.juicer_operators")  # of Data-Juicer, an extra of its own
for name in modules:
    importlib.import_module(name)
changed = [name for name, value in before.items() if getattr(paidiff_lib, name) is not value]
print(len(modules), changed)
"""


def test_every_public_name_stays_what_it_is_whatever_is_imported(run_python):
    done = run_python(REBINDING)
    assert done.returncode == 0, done.stderr
    count, changed = done.stdout.split(maxsplit=1)
    assert int(count) > 30 and changed.strip() == "[]"


def test_type_checkers_see_the_names_that_are_there():
    """What __init__ imports `if TYPE_CHECKING:` is what it finds when a name is asked for, from the same modules."""
    tree = ast.parse((ROOT / "paidiff_lib/__init__.py").read_text(encoding="utf-8"))
    shown = {
        f"paidiff_lib.{node.module}.{alias.name}"
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        for alias in node.names
        if alias.asname == alias.name  # that is how a name is lent, by PEP 484
    }
    assert shown == set(graph.lazily_imported(tree, "paidiff_lib"))
    assert {name.rpartition(".")[2] for name in shown} == set(paidiff_lib.__all__)


@pytest.mark.parametrize("package", graph.MAY_IMPORT)
def test_a_package_says_that_it_has_types(package):
    assert (ROOT / package / "py.typed").is_file()
