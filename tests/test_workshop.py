"""The workshop: slides with the lessons' own figures, question cards, handout, and the table of a class."""

import json
import re
import subprocess
import sys

import pytest
from test_project import ROOT, script

workshop = script(ROOT / "tools/build_workshop.py")
BUILDER = ROOT / "tools/class_table.py"


@pytest.mark.parametrize("make", [workshop.slides, workshop.cards, workshop.handout], ids=lambda make: make.__name__)
def test_pages_are_whole_in_both_languages(make):
    zh, en = make("zh"), make("en")
    for page in (zh, en):
        assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)  # no file beside it, no other host
        assert "![" not in page and "$" not in page
    for mark in ("<section", '<div class="card"', "<img", "<math", "<p><b>"):
        assert zh.count(mark) == en.count(mark)


def test_a_figure_that_is_not_there_is_named():
    with pytest.raises(SystemExit, match="01/c999"):
        workshop.rendered("![](figure:01/c999)", "zh")


def test_the_plans_are_in_both_languages():
    files = {path.name for path in (ROOT / "workshop").glob("*.md")} - {"README.md"}
    assert {name.replace(".zh.", ".en.") for name in files} == {name for name in files if ".en." in name}
    for name in (name for name in files if ".zh." in name and not name.startswith("slides")):
        rows = [[line for line in text.splitlines() if line.startswith("|")] for text in _both(name)]
        assert len(rows[0]) == len(rows[1])


def _both(name):
    return [(ROOT / "workshop" / each).read_text(encoding="utf-8") for each in (name, name.replace(".zh.", ".en."))]


def table(*files):
    done = subprocess.run([sys.executable, BUILDER, *map(str, files)], capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines(), done.stderr.strip()


def test_thirty_progress_files_are_one_table(tmp_path):
    for k in range(30):
        (tmp_path / f"s{k:02}").mkdir()
        tried = {"1.1": {"tries": k + 1, "misses": k, "right": k < 10}}
        tried |= {"10.2": {"tries": 1, "misses": 0, "right": True}} if k % 2 else {}
        (tmp_path / f"s{k:02}/progress.json").write_text(json.dumps(tried), encoding="utf-8")
    code, lines, _ = table(*tmp_path.glob("*/progress.json"))
    assert code == 0 and len(lines) == 33
    assert lines[0] == "\t1.1\t10.2\tright" and lines[2] == "s01\t2\t1\t2" and lines[30] == "s29\t-30\t1\t1"
    assert lines[31] == "right\t10\t15" and lines[32] == "tries\t5.5\t1.0"


@pytest.mark.parametrize("text", ["{", "[1]", '{"1.1": 3}'])
def test_another_file_is_named(tmp_path, text):
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    code, lines, error = table(tmp_path / "x.json")
    assert code == 1 and not lines and "x.json" in error and len(error.splitlines()) == 1
