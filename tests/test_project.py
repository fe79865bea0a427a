"""The files around the library stay in step with each other."""

import importlib.util
import os
import re
import subprocess
import time
import tomllib
from pathlib import Path

import nbformat
import pytest
import torch
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def script(path):
    """A file outside the package, as a module that finds its neighbours, as if Python had been started with it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
    return module


def requirements():
    extras = PROJECT["optional-dependencies"]
    listed = PROJECT["dependencies"] + [
        line for name in ("notebooks", "serve", "web", "export", "datasets", "dev") for line in extras[name]
    ]
    return [line for line in listed if not line.startswith("paidiff[")]


def test_environment_yml_is_in_step_and_explains_every_line():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    head, _, listed = text.partition("dependencies:")
    assert re.findall(r"^ +- (\S+)$", head, re.M) == ["conda-forge", "nodefaults"]
    lines = re.findall(r"^ +- (?!pip:|-)(\S+)(.*)$", listed.replace("pytorch-cpu", "torch"), re.M)
    assert "pytorch-cpu" in listed.partition("pip:")[0]  # pip's own torch brings gigabytes for a GPU
    assert [name for name, comment in lines if not re.search(r"# .*(lesson|installs)", comment)] == []
    assert sorted(name for name, _ in lines) == sorted([*requirements(), "pip", "python" + PROJECT["requires-python"]])


def test_constraints_lie_within_the_ranges_and_cover_them():
    text = (ROOT / "constraints.txt").read_text()
    pins = dict(line.split("==") for line in text.splitlines() if line and line[0] != "#")
    for line in requirements():
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins[requirement.name]), line
    assert pins["torch"] == "2.13.0"


def test_no_registry_and_no_link_in_the_install_files():
    for name in ("pyproject.toml", "constraints.txt", "environment.yml", "Makefile", ".ci/run"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"://|index-url|find-links|@ file", text), name


TARGETS = [
    ("lesson", "tools/run_lesson.py 03"),
    ("notebooks", "tools/build_notebooks.py 03"),
    ("scratch", "python lessons/scratch.py"),
    ("check", "basedpyright"),
    ("lint", "ruff format --check ."),
    ("quick", "tests/test_architecture.py tests/test_project.py"),
    ("api", "pdoc -o build/api paidiff_lib paidiff_app paidiff_world paidiff_course"),
    ("test", "--nbval --nbval-cell-timeout=600"),
    ("lab", "jupyter lab"),
    ("bench", "benchmarks/run.py"),
    ("test-gpu", "--nbval-lax"),
    ("answers", "tools/build_answers.py"),
    ("book", "tools/build_book.py"),
    ("wheels", "tools/build_wheels.py"),
    ("test-wheels", "tools/test_wheels.py"),
]


@pytest.mark.parametrize("target, words", TARGETS)
def test_make_targets(target, words):
    command = ["make", "-n", target, "N=03", "PAIDIFF_MODEL=mini"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and words in done.stdout, done.stderr


def test_ci_calls_the_commands_that_people_call():
    assert os.access(ROOT / ".ci/run", os.X_OK)
    commands = (ROOT / ".ci/run").read_text()
    assert [
        target for target in ("lint types", "test", "test-wheels", "api") if f"\nmake {target} " not in commands
    ] == []
    job = yaml.safe_load((ROOT / ".github/workflows/cpu.yml").read_text())["jobs"]["test"]
    assert job["strategy"]["matrix"]["python-version"] == ["3.11", "3.12", "3.13"]
    assert {"run": ".ci/run"} in job["steps"] and job["steps"][-1]["with"]["path"] == "build/api"


def test_a_commit_fetches_no_tool():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    assert {hook["language"] for hook in hooks[0]["hooks"]} == {"system"}
    assert {hook["entry"].split()[0] for hook in hooks[0]["hooks"]} <= {
        Requirement(line).name for line in requirements()
    }


@pytest.mark.parametrize("path", ["LICENSE", "paidiff_lib/assets/fonts/LICENSE", "paidiff_lib/assets/fonts/README.md"])
def test_licences_are_there(path):
    assert (ROOT / path).stat().st_size > 500


PICTURE = "import paidiff_lib, PIL.Image\npaidiff_lib.show(PIL.Image.new('RGB', (64, 64)), alt='一只猫')"


def write_book(path, *sources):
    cells = [nbformat.v4.new_markdown_cell("# 课"), *map(nbformat.v4.new_code_cell, sources)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_a_lesson_runs_with_a_line_for_each_cell(tmp_path, capsys):
    lesson = script(ROOT / "tools/run_lesson.py")
    sources = ["x = 1\nx + 41", "import os\nprint(os.getcwd())", PICTURE]
    book = write_book(tmp_path / "07_x.ipynb", *sources)
    assert lesson.run(book, tmp_path / "out") is None
    lines = capsys.readouterr().out.splitlines()
    assert [line[:7] for line in lines] == ["[ 1/3] ", "[ 2/3] ", "[ 3/3] "] and all(
        line.endswith(" s") for line in lines
    )
    done = nbformat.read(tmp_path / "out/07_x.ipynb", as_version=4)
    assert done.cells[1].outputs[0].data["text/plain"] == "42"
    assert done.cells[2].outputs[0].text.strip() == str(tmp_path)  # a lesson runs where it lies
    assert 'alt="一只猫"' in (tmp_path / "out/07_x.html").read_text(encoding="utf-8")


def test_a_failing_lesson_stops_and_is_still_written(tmp_path, capsys):
    lesson = script(ROOT / "tools/run_lesson.py")
    book = write_book(tmp_path / "07_x.ipynb", "1 / 0", "print('not reached')")
    assert "ZeroDivisionError" in str(lesson.run(book, tmp_path / "out"))
    assert (tmp_path / "out/07_x.html").is_file()
    assert "[ 2/2]" not in capsys.readouterr().out


def test_finding_a_lesson(tmp_path):
    lesson = script(ROOT / "tools/run_lesson.py")
    book = write_book(tmp_path / "01_x.ipynb", "1")
    assert lesson.find("01", tmp_path) == lesson.find("1", tmp_path) == book
    with pytest.raises(SystemExit, match="no lesson 9; 有 there are: 01"):
        lesson.find("9", tmp_path)


def test_the_benchmark_measures_and_names_the_machine():
    bench = script(ROOT / "benchmarks/run.py")
    calls = []
    result = bench.measure(lambda: calls.append(1), 3)
    assert len(calls) == 4 and 0 <= result["low"] <= result["median"] <= result["high"]
    report = {"model": "mini", "steps": 20, "guidance": 7.5, "machine": bench.machine(), "seconds": {"load": result}}
    table = bench.table({**report, "UNet steps": {"share of peak": 0.3}})
    assert "| load | 0.000 |" in table and "threads" in table and "share of peak 0.3" in table


def test_the_gauge_counts_arithmetic(monkeypatch):
    gauge, side = script(ROOT / "benchmarks/gauge.py"), torch.ones(64, 64)
    assert gauge.flops(lambda: side @ side) == 2 * 64**3
    times = iter([8.0, 2.0, 4.0, 8.0, 8.0])
    monkeypatch.setattr(gauge, "seconds", lambda work: work() is not None and next(times))
    monkeypatch.setattr(torch, "randn", lambda n, *shape: torch.ones(n, 2, 2))
    assert gauge.reachable("cpu", torch.float32) == 2 * 2048**3 / 2.0  # the best of the five


def test_a_run_of_the_training_benchmark_is_measured_whole(tmp_path):
    """Seconds and memory of the process itself; what is wrong with a script is told."""
    training = script(ROOT / "benchmarks/training.py")
    code = "import sys, time; kept = b'x' * 500_000_000; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    found = training.run(["-c", code], tmp_path)
    assert found["cpu"] >= 0.5 and found["clock"] >= 0.5 and 0.5 < found["gb"] < 5
    with pytest.raises(SystemExit, match="no such thing"):
        training.run(["-c", "raise ValueError('no such thing')"], tmp_path)


def test_the_profile_counts_every_moment_once(monkeypatch):
    """With a clock that is wound by hand: what an inner part takes is not counted again in the outer one."""
    now = [100.0]
    monkeypatch.setattr(time, "process_time", lambda: now[0])
    clock = script(ROOT / "benchmarks/profile_training.py").Clock()

    def burn(seconds):
        now[0] += seconds

    inner = clock.timed(burn, "inner")
    clock.timed(lambda: (burn(5), inner(10), burn(7)), "outer")()
    burn(3)
    clock.turn()
    assert clock.spent["inner"] == 10 and clock.spent["outer"] == 12
    assert sum(clock.spent.values()) == now[0]
    clock.parts.append("import torch")
    packages = ("numpy.core", "torch.fx", "torch._dynamo.utils", "transformers.utils")
    assert [clock.package(module, None) for module in packages] == [
        "import torch",
        "import torch",
        "import torch._dynamo",
        "import transformers",
    ]


def test_the_trace_counts_what_an_action_runs_and_not_what_an_import_runs(tmp_path):
    trace = script(ROOT / "tools/trace.py")
    package = tmp_path / "paidiff_traced"
    package.mkdir()
    files = {
        "__init__": "",
        "a": "def act():\n    from . import b\n    return b.work() + sum(map(abs, [1]))\n",
        "b": "from .c import made\nVALUE = made()\nclass Thing:\n    x = 1\ndef work():\n    return VALUE\n",
        "c": "def made():\n    return 1\n",
    }
    for name, source in files.items():
        (package / f"{name}.py").write_text(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        a = importlib.import_module("paidiff_traced.a")
        with trace.Tracer(tmp_path) as tracer:
            assert a.act() == 2
    counted = {Path(file).name: trace._counted(Path(file), codes) for file, codes in tracer.entered.items()}
    assert counted == {"a.py": (3, 3, ["act"]), "b.py": (6, 2, ["work"])}
    assert len(trace._imported(tmp_path)) == 4
