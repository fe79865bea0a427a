"""Lesson 17's sample projects: made by the script, small, each with its own trouble; and one whole way to what is handed in."""

import json
import shutil
import tomllib

import numpy as np
import pytest
from PIL import Image
from test_project import ROOT, script

from paidiff_course import progress
from paidiff_lib import audit, curate
from paidiff_world import measure

PROJECTS = ROOT / "data/projects"
maker = script(ROOT / "tools/make_projects.py")
runner = script(ROOT / "tools/run_projects.py")
fair = progress.find("17.1").solution


def facts(name):
    return tomllib.loads((PROJECTS / name / "project.toml").read_text(encoding="utf-8"))


def captions(name):
    lines = (PROJECTS / name / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


@pytest.mark.parametrize("name", runner.SAMPLES)
def test_a_sample_is_small_and_measured_fairly(name):
    about = facts(name)
    assert sum(path.stat().st_size for path in (PROJECTS / name).glob("*.jpg")) < 100_000
    assert about.keys() == {"word", "licence", "rights", "keep", "leave_out", "limits", "asked", "others"}
    assert all(about["word"] in prompt for prompt in about["asked"] + captions(name))
    assert not any(about["word"] in prompt for prompt in about["others"])
    assert len(about["asked"]) == len(about["others"]) == 10
    for prompts in (about["asked"], about["others"]):
        assert fair(prompts, captions(name)) == list(range(10))
        assert all((spec := measure.parse(prompt)).subject and spec.background for prompt in prompts)


def test_the_samples_are_what_the_script_makes(tmp_path):
    """Captions and pictures, but for the last bits of JPEG."""
    maker.make(tmp_path)
    for name in runner.SAMPLES:
        assert (tmp_path / name / "metadata.jsonl").read_bytes() == (PROJECTS / name / "metadata.jsonl").read_bytes()
        made, stored = ({path.name for path in (folder / name).glob("*.jpg")} for folder in (tmp_path, PROJECTS))
        assert made == stored
        assert Image.open(tmp_path / name / "01.jpg").tobytes() == Image.open(PROJECTS / name / "01.jpg").tobytes()


@pytest.mark.parametrize("name, audited, ruled, kept", [("style", 0, 0, 14), ("dish", 4, 5, 11), ("few", 0, 0, 4)])
def test_audit_and_rule_find_six_and_three_are_left_to_the_eyes(name, audited, ruled, kept, tmp_path):
    work, about = tmp_path / name, facts(name)
    shutil.copytree(PROJECTS / name, work)
    assert len(audit(work).findings) == audited  # of the dish: one cut short, three copies
    found = curate(work, keep=about["keep"])
    assert sum(found.dropped.values()) == ruled  # the copies again, a watermark, a blurred one
    if name == "dish":  # a rabbit that is called a dish, before the right ground
        assert found.items[np.nanargmax(found.scores["clip"])].name == "17.jpg"
    left = {item.name for item, kept in zip(found.items, found.kept) if kept}
    assert set(about["leave_out"]) < left and len(left - set(about["leave_out"])) == kept


def test_one_sample_goes_the_whole_way_in_miniature(skeletons, tmp_path, monkeypatch):
    """The dirty one, on a model with next to no weights: a folder comes out that exercise 17.4 accepts."""
    (tmp_path / "notebooks").mkdir()
    for name in ("data", "docs", "tools", "paidiff_lib", "paidiff_app", "paidiff_world", "paidiff_course"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("PAIDIFF_MODEL", str(skeletons / "artist"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    measures = runner.run("dish", tmp_path / "notebooks")
    assert measures["word"] == "番茄炒蛋" and measures["nearest"].keys() == {"on", "off", "copies", "others"}
    card = (tmp_path / "out/17/dish/hand_in/README.md").read_text(encoding="utf-8")
    assert "20 -> 11" in card and "04.jpg, 17.jpg, 19.jpg" in card


def measures(on, near):
    return {
        "rates": {"asked": {"off": [0, 0, 0.3], "on": [on, 0, 1]}},
        "nearest": {"on": [near, 0, 1], "copies": [2, 0, 1]},
    }


@pytest.mark.parametrize(
    "changed, words",
    [({}, ""), ({"dish": measures(0.1, 9)}, "not learnt"), ({"few": measures(0.6, 5)}, "as well")]
    + [({"few": measures(0, 9.5)}, "copies no more")],
)
def test_a_sample_that_shows_something_else_is_named(changed, words):
    found = {"style": measures(0.6, 9), "dish": measures(0.8, 9), "few": measures(0, 5)} | changed
    assert words in " ".join(runner.faults(found)) and bool(words) == bool(list(runner.faults(found)))
