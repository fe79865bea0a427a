"""Lesson 14's patients: complete, small, told apart by what the lesson says of them, and made by the script."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_project import ROOT, script

from paidiff_course import progress

maker = script(ROOT / "tools/make_clinic.py")
FOLDER = ROOT / "data/clinic"
NUMBERS = json.loads((FOLDER / "curves.json").read_text(encoding="utf-8"))
HEALTHY = maker.RUNS["0"]


def values(case, name):
    return np.array(NUMBERS[case][name], float)


def sheet(case):
    """Its eight rows of pictures, (8, 32, 192, 3)."""
    return np.asarray(Image.open(FOLDER / f"{case}.jpg"), float).reshape(8, 32, 192, 3)


def far(a, b):
    return np.abs(a - b).mean()


def test_a_healthy_training_and_twelve_with_one_fault():
    assert list(maker.RUNS) == list(NUMBERS) == list("0ABCDEFGHIJKL")
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 600_000
    for case in maker.RUNS:
        lengths = {name: len(row) for name, row in NUMBERS[case].items()}
        assert lengths == {"loss": 480, "gradient": 480, "held_out": 16, "by_t": 10, "captions": 2}
        assert sheet(case).shape == (8, 32, 192, 3)


def test_every_case_of_the_exercises_is_there():
    asked = [each for each in progress.exercises(ROOT / "lessons/exercises/14.py") if each.kind == "predict"]
    assert [each.zh.split("（")[0] for each in asked] == [f"病例 {case}" for case in "DEFGHIJKL"]
    lesson = (ROOT / "lessons/14_what_went_wrong.py").read_text(encoding="utf-8")
    for each in asked:
        assert all(lesson.count(f"| `{name}` |") == 2 for name in (each.solution, *(w.answer for w in each.wrong)))


@pytest.mark.parametrize("case", ["0", "F", "H"])
def test_a_case_is_what_the_script_makes(case):
    """Its first steps in miniature, and its real pictures through the VAE; another CPU rounds otherwise."""
    run, threads = maker.RUNS[case], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        names = maker.prepare(run)
        unet = maker.start(case, names)
        maker.start(case, names)
        found = list(maker.train(run, names, unet, steps=4))
    finally:
        torch.set_num_threads(threads)
    assert np.allclose(found, np.transpose([values(case, "loss")[:4], values(case, "gradient")[:4]]), rtol=0.02)
    assert far(maker.decoded(names), sheet(case)[7]) < 6


def test_the_evidence_of_each_diagnosis():
    last = {case: np.nanmean(values(case, "loss")[-50:]) for case in NUMBERS if case != "H"}
    healthy, good = last["0"], sheet("0")
    assert last["D"] > 3 * healthy and values("D", "loss")[:60].max() > 1.3
    for case in "EGL":
        assert NUMBERS[case] == NUMBERS["0"]
    assert far(sheet("E")[6], good[6]) < 2 < 20 < far(sheet("E")[3], good[3])
    assert far(sheet("G")[7], good[7]) < 2 < 20 < min(far(sheet("G")[3], good[3]), far(sheet("G")[6], good[6]))
    assert far(sheet("L")[7], good[7]) > 10
    assert np.percentile(sheet("F")[7], 2) > np.percentile(good[7], 2) + 60
    assert sheet("F")[3].mean() > good[3].mean() + 20
    assert np.isnan(values("H", "loss")[200:]).all() and np.isfinite(values("H", "loss")[:200]).all()
    assert sheet("H")[3].max() < 8 < sheet("H")[1].mean()
    assert last["I"] < healthy / 2 and values("I", "by_t")[0] > 1.3 * values("0", "by_t")[0]
    assert last["J"] > 3 * healthy and values("J", "loss")[:60].max() < 1.3
    assert far(sheet("K")[0], sheet("K")[3]) < 1 and last["K"] < 2 * healthy
    own, other = values("B", "captions")
    assert abs(other / own - 1) < 0.05 < 0.2 < values("0", "captions")[1] / values("0", "captions")[0] - 1


def test_a_fault_is_one_field():
    for case, run in maker.RUNS.items():
        changed = [name for name in run.__dataclass_fields__ if getattr(run, name) != getattr(HEALTHY, name)]
        allowed = {"trained_as", "negative"}  # whose training it shares; what it is fine-tuned to
        assert len(set(changed) - allowed) == (case != "0"), changed
