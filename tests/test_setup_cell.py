"""The first cell of every lesson, and the two scripts behind it, on a machine that has nothing of the course yet."""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from test_project import ROOT, script

NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
BOOT = (ROOT / "lessons/boot.py").read_text(encoding="utf-8")
GITHUB = "https://github.com/someone/paidiff"


def cell(path, number=1):
    return nbformat.read(path, as_version=4).cells[number].source


def code(path):
    return [each.source for each in nbformat.read(path, as_version=4).cells if each.cell_type == "code"]


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
        "notebooks/en/x": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        run(*git, *command, cwd=folder)
    return folder


def test_the_boot_cell_is_the_same_everywhere_and_first():
    address = script(ROOT / "tools/set_address.py").ADDRESS
    assert {cell(path) for path in NOTEBOOKS} == {BOOT.replace('ADDRESS = ""', f'ADDRESS = "{address}"').strip()}
    assert all("paidiff_lib" in code(path)[1] for path in NOTEBOOKS)


def test_it_fetches_installs_and_finds_the_course(course, tmp_path):
    """Without site-packages, so that no library is found; a second run, after the kernel was restarted, fetches nothing."""
    code = BOOT.replace('ADDRESS = ""', f'ADDRESS = "file://{course}"')
    code += "\nimport paidiff_lib\nprint(os.getcwd(), paidiff_lib.__file__)"
    (tmp_path / "content").mkdir()
    for _ in range(2):
        where, library = run(sys.executable, "-S", "-c", code, cwd=tmp_path / "content").split()
        assert Path(where) == tmp_path / "content/paidiff/notebooks"
        assert Path(library) == tmp_path / "content/paidiff/paidiff_lib/__init__.py"
    assert (tmp_path / "content/paidiff/notebooks/installed").is_file()


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/en"])
def test_both_editions_run_where_the_chinese_one_lies(course, folder):
    out = run(sys.executable, "-c", BOOT + "\nprint(os.getcwd())", cwd=course / folder)
    assert Path(out) == course / "notebooks"


def stopped(boot, folder):
    """The one line in place of a traceback that a lone notebook in `folder` shows; Run All stops there."""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(boot), nbformat.v4.new_code_cell("print(1)")])
    client = NotebookClient(book, resources={"metadata": {"path": str(folder)}})
    with pytest.raises(CellExecutionError):
        client.execute()
    (said,) = book.cells[0].outputs[-1].traceback
    assert "\n" not in said and not book.cells[1].outputs
    return said


def test_without_an_address_and_a_checkout_one_line_says_what_to_do(tmp_path):
    said = stopped(BOOT, tmp_path)
    assert "下载整个仓库" in said and "download the repository" in said


def test_a_clone_that_fails_is_one_line(tmp_path):
    address = tmp_path / "nothing"
    said = stopped(BOOT.replace('ADDRESS = ""', f'ADDRESS = "file://{address}"'), tmp_path)
    assert "运行这一格" in said and "run this cell again" in said and str(address) in said


def test_without_git_too(tmp_path):
    away = "import os\nos.environ['PATH'] = ''\n" + BOOT.replace('ADDRESS = ""', 'ADDRESS = "file:///nothing"')
    said = stopped(away, tmp_path)
    assert "No such file" in said and "'git'" in said


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
        *(path.relative_to(ROOT) for path in NOTEBOOKS),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_one_command_writes_the_address_everywhere(tmp_path):
    root, tool = copy(tmp_path), script(ROOT / "tools/set_address.py")
    before = nbformat.read(root / "notebooks/01_inference.ipynb", as_version=4)
    for address in ("https://gitee.com/first/try", GITHUB + ".git"):  # it can be changed again
        tool.main(address, root)
    for path in sorted((root / "notebooks").rglob("*.ipynb")):
        title, setup, name = cell(path, 0), cell(path), path.relative_to(root)
        assert f'ADDRESS = "{GITHUB}"' in setup and "gitee" not in title
        assert f"(https://gallery.pai-ml.com/#/import/{GITHUB}/blob/main/{name})" in title
        assert f"(https://colab.research.google.com/github/someone/paidiff/blob/main/{name})" in title
        assert "(https://modelscope.cn/my/mynotebook/preset)" in title
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
        lang = "en" if path.parent.name == "en" else "zh"
        assert tool.badges(address, path.stem, lang) in cell(path, 0).splitlines()


def test_a_wrong_address_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="https:// address is needed: git@x"):
        script(ROOT / "tools/set_address.py").main("git@x", copy(tmp_path))
