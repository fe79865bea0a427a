"""The first cell of every lesson, and the two scripts behind it, on a machine that has nothing of the course yet."""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
from test_project import ROOT, script

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GITHUB = "https://github.com/someone/paidiff"


def cell(path, number=1):
    return nbformat.read(path, as_version=4).cells[number].source


def run(*command, cwd):
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def course(tmp_path):
    """A repository as small as can be: two packages, an install script that leaves a mark, a folder of notebooks."""
    folder = tmp_path / "origin"
    for name, text in {
        "paidiff_lib/__init__.py": "",
        "paidiff_course/__init__.py": "setup = lambda: None",
        "tools/install_here.py": "open('installed', 'w')",
        "notebooks/x": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        run(*git, *command, cwd=folder)
    return folder


def test_the_setup_cell_is_the_same_everywhere_and_first():
    assert {cell(path) for path in NOTEBOOKS} == {cell(NOTEBOOKS[0])}
    assert all("paidiff.load(" in cell(path, 2) for path in NOTEBOOKS)


def test_it_fetches_installs_and_finds_the_course(course, tmp_path):
    """Without site-packages, so that no library is found; a second run, after the kernel was restarted, fetches nothing."""
    code = cell(NOTEBOOKS[0]).replace('ADDRESS = ""', f'ADDRESS = "file://{course}"')
    code += "\nimport paidiff_lib\nprint(os.getcwd(), paidiff_lib.__file__)"
    (tmp_path / "content").mkdir()
    for _ in range(2):
        where, library = run(sys.executable, "-S", "-c", code, cwd=tmp_path / "content").split()
        assert Path(where) == tmp_path / "content/paidiff/notebooks"
        assert Path(library) == tmp_path / "content/paidiff/paidiff_lib/__init__.py"
    assert (tmp_path / "content/paidiff/notebooks/installed").is_file()


def test_it_does_nothing_in_a_checkout_with_the_library_installed():
    out = run(sys.executable, "-c", cell(NOTEBOOKS[0]) + "\nprint(os.getcwd())", cwd=ROOT / "notebooks")
    assert Path(out) == ROOT / "notebooks"


def test_the_torch_that_is_there_is_pinned(tmp_path):
    install = script(ROOT / "tools/install_here.py")
    kept = install.pins()
    assert f"torch=={version('torch')}" in kept
    (tmp_path / "kept.txt").write_text("\n".join(kept))
    command = [*install.command(tmp_path / "kept.txt")[:-2], "--dry-run", "--no-index", "torch"]
    assert str(tmp_path / "kept.txt") in command
    run(*command, cwd=tmp_path)
    refused = subprocess.run([*command[:-1], "torch!=" + version("torch")], capture_output=True, text=True)
    assert refused.returncode != 0  # pip would rather give up than replace it


OLD = [(["torch==2.9.1+cu126"], True), (["torch==2.10.0"], False), (["torch==3.0"], False), ([], False)]


@pytest.mark.parametrize("kept, expected", OLD)
def test_a_torch_that_is_not_safe_is_refused(kept, expected):
    assert script(ROOT / "tools/install_here.py").too_old(kept) is expected


def copy(tmp_path):
    """The files that the address is written into."""
    for name in (
        "README.md",
        "README.zh-CN.md",
        "tools/set_address.py",
        *(f"notebooks/{path.name}" for path in NOTEBOOKS),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_one_command_writes_the_address_everywhere(tmp_path):
    root, tool = copy(tmp_path), script(ROOT / "tools/set_address.py")
    before = nbformat.read(root / "notebooks/01_inference.ipynb", as_version=4)
    for address in ("https://gitee.com/first/try", GITHUB + ".git"):  # it can be changed again
        tool.main(address, root)
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        title, setup = cell(path, 0), cell(path)
        assert f'ADDRESS = "{GITHUB}"' in setup and "gitee" not in title
        assert f"(https://gallery.pai-ml.com/#/import/{GITHUB}/blob/main/notebooks/{path.name})" in title
        assert f"(https://colab.research.google.com/github/someone/paidiff/blob/main/notebooks/{path.name})" in title
    for name in ("README.md", "README.zh-CN.md"):
        assert f"git clone {GITHUB} paidiff && cd paidiff" in (root / name).read_text(encoding="utf-8")
    assert script(root / "tools/set_address.py").ADDRESS == GITHUB
    after = nbformat.read(root / "notebooks/01_inference.ipynb", as_version=4)
    assert [c.get("outputs") for c in before.cells] == [
        c.get("outputs") for c in after.cells
    ]  # nothing else has changed
    assert [c.source for c in before.cells[2:]] == [c.source for c in after.cells[2:]]


def test_what_is_written_now_is_in_step(tmp_path):
    """No lesson has another address than the one that stands in the script."""
    address = script(ROOT / "tools/set_address.py").ADDRESS
    tool = script(ROOT / "tools/set_address.py")
    for path in NOTEBOOKS:
        assert f'ADDRESS = "{address}"' in cell(path)
        assert tool.badges(address, path.name) in cell(path, 0).splitlines()


def test_a_wrong_address_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="https:// address is needed: git@x"):
        script(ROOT / "tools/set_address.py").main("git@x", copy(tmp_path))
