"""Build both wheels into dist/, offline, with the setuptools that is installed.

    python tools/build_wheels.py

paidiff: the four packages with their fonts, sprites, prompts, configs and settings. paidiff-mini-zh: the small model and
the lessons' sets. Both are built from a fresh copy below build/, so that nothing of an earlier build gets in.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD, DIST = ROOT / "build/wheels", ROOT / "dist"
PACKAGES = ("paidiff_lib", "paidiff_app", "paidiff_world", "paidiff_course")
FILES = ("pyproject.toml", "README.md", "LICENSE")
DATA = (
    "README.md",
    "models",
    "porcelain",
    "kitten",
    "bear",
    "clinic",
    "projects",
    "penguins.png",
)  # not the sheet, which only the README shows
MINI = "paidiff_mini_zh"
MOST_MB = {"paidiff": 8, MINI: 100}  # of each wheel


def copy(source, target):
    """A file or a folder, without what Python leaves behind."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def lay_out(build):
    """Copy both projects below `build`, an empty folder: {distribution: its folder}."""
    library, mini = build / "paidiff", build / MINI
    for name in (*FILES, *PACKAGES):
        copy(ROOT / name, library / name)
    copy(ROOT / "wheels" / MINI, mini)
    copy(ROOT / "LICENSE", mini / "LICENSE")
    for name in DATA:
        copy(ROOT / "data" / name, mini / MINI / "data" / name)
    return {"paidiff": library, MINI: mini}


def build_wheel(project, target):
    """The wheel of one project folder, written into the folder `target`; returns its path."""
    before = set(target.glob("*.whl"))
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", *flags, "-w", target, project], check=True)
    return (set(target.glob("*.whl")) - before).pop()


def main():
    shutil.rmtree(BUILD, ignore_errors=True)
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob("paidiff*.whl"):
        old.unlink()
    for name, project in lay_out(BUILD).items():
        wheel = build_wheel(project, DIST)
        megabytes = wheel.stat().st_size / 1e6
        print(f"{wheel.relative_to(ROOT)}  {megabytes:.1f} MB")
        if megabytes > MOST_MB[name]:
            raise SystemExit(f"{wheel.name} 太大 · is too large: {megabytes:.1f} MB, at most {MOST_MB[name]}")
    shutil.rmtree(BUILD)


if __name__ == "__main__":
    main()
