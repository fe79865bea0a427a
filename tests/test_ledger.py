"""data/README.md is complete: every file has a row, every row has a file, every borrowed thing has its licence."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
FOLDERS = ["data", "paidiff_lib/assets", "paidiff_world/assets"]
FONTS, SPRITES = "../paidiff_lib/assets/fonts/", "../paidiff_world/assets/"
ROW = re.compile(r"^\| `([^`]+)` \|(.+)\|$", re.M)


def rows():
    """{path below data/: [origin, third party, licence, made by]} of the ledger's table."""
    text = (DATA / "README.md").read_text(encoding="utf-8")
    return {path: [cell.strip() for cell in rest.split("|")] for path, rest in ROW.findall(text)}


def files(folders=FOLDERS):
    """Every file of these folders that git has or would take; all of them where there is no git."""
    command = [
        "git",
        "-c",
        "core.quotePath=off",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        *folders,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    listed = [ROOT / name for name in done.stdout.split("\0") if name]
    listed = listed or [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return sorted({os.path.relpath(path, DATA) for path in listed if path.is_file()})


def covers(row, name):
    return name.startswith(row) if row.endswith("/") else name == row


def test_every_file_has_one_row():
    wrong = {name: found for name in files() if len(found := [row for row in rows() if covers(row, name)]) != 1}
    assert wrong == {}


def test_every_row_has_its_files():
    assert [row for row in rows() if not any(covers(row, name) for name in files())] == []


def test_every_row_says_everything():
    for path, cells in rows().items():
        assert len(cells) == 4 and all(cells) and cells[1] in ("yes", "no") and "@@" not in "".join(cells), path


def test_borrowed_things_have_their_licence_and_their_story():
    borrowed = [path for path, cells in rows().items() if cells[1] == "yes"]
    assert {FONTS, SPRITES, "../paidiff_lib/assets/prompts/"} <= set(borrowed)
    for path in borrowed:
        assert (DATA / path / "LICENSE").stat().st_size > 300 and (DATA / path / "README.md").is_file(), path
        assert f"`{path}LICENSE`" in rows()[path][2], path
    for path in (FONTS, SPRITES):
        text = (DATA / path / "LICENSE").read_text(encoding="utf-8")
        assert "Copyright" in text and "SIL OPEN FONT LICENSE Version 1.1" in text, path


def test_the_commands_of_the_ledger_exist():
    text = (DATA / "README.md").read_text(encoding="utf-8")
    for script in re.findall(r"python ((?:scripts|tools)/\w+\.py)", text):
        assert (ROOT / script).is_file(), script
    for module in re.findall(r"python -m ([\w.]+)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
