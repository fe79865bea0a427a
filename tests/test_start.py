"""start.py: from nothing but Python to an open notebook. The installation itself is run by hand and by the bundle."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_project import ROOT, script


@pytest.fixture
def start(tmp_path, monkeypatch):
    module = script(ROOT / "start.py")
    for name, value in {"HERE": tmp_path, "VENV": tmp_path / ".venv", "WHEELS": tmp_path / "wheelhouse"}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "DONE", tmp_path / ".venv/.started")
    return module


def run(*arguments, cwd, python=(sys.executable,)):
    return subprocess.run([*python, "start.py", *arguments], cwd=cwd, capture_output=True, text=True)


def lone(tmp_path, names=("start.py", "constraints.txt", "pyproject.toml")):
    for name in names:
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def test_it_imports_nothing_but_the_standard_library():
    code = f"import runpy, sys; runpy.run_path({str(ROOT / 'start.py')!r}); print(*sys.modules)"
    there = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert there.returncode == 0 and "numpy" not in there.stdout


def test_an_old_python_is_one_line(start, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match="3.11"):
        start.main([])


def test_an_unknown_flag_is_refused(tmp_path):
    done = run("--fast", cwd=lone(tmp_path))
    assert done.returncode == 1 and done.stderr.strip() == "只认得 --check · only --check is known"
    assert not (tmp_path / ".venv").exists()


def test_a_failed_installation_ends_in_one_line_and_can_go_on(tmp_path):
    """An empty wheelhouse: pip says what it misses, nothing counts as installed."""
    (lone(tmp_path) / "wheelhouse").mkdir()
    for _ in range(2):
        done = run("--check", cwd=tmp_path)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "ERROR: No matching distribution" in done.stderr and done.stderr.splitlines()[-1].startswith("没有装好")
    assert not (tmp_path / ".venv/.started").exists()


def test_torch_comes_first_pinned_and_offline_from_a_wheelhouse(start):
    first, rest = start.commands()
    assert first[-1].startswith("torch==") and "--no-index" not in first
    assert rest[-2:] == ["-e", start.EXTRAS]
    start.WHEELS.mkdir()
    assert all("--no-index" in command and start.WHEELS in command for command in start.commands())


def test_what_is_installed_is_not_installed_again_unless_its_description_changed(start, tmp_path):
    sources = start.SOURCES
    assert all(Path(file).exists() for file in sources) and not start.installed()
    start.DONE.parent.mkdir()
    start.DONE.touch()
    assert start.installed()
    start.SOURCES = (*sources, tmp_path / "newer")
    (tmp_path / "newer").touch()
    os.utime(tmp_path / "newer", (start.DONE.stat().st_mtime + 9,) * 2)
    assert not start.installed()
