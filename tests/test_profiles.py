import dataclasses
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

import paidiff_lib
from paidiff_app import skeleton
from paidiff_course import lesson as profiles
from paidiff_course.lesson import KINDS, LESSONS, profile
from paidiff_lib import PaidiffError, memory

ROOT = Path(__file__).resolve().parents[1]

MINI = {  # what the stored outputs of the lessons were drawn with
    "03": {
        "lora": {"steps": 150, "learning_rate": 3e-3, "batch_size": 4},
        "kitten": {"steps": 60, "learning_rate": 3e-3, "batch_size": 4},
    },
    "04": {"word": {"steps": 100, "learning_rate": 2e-2, "batch_size": 4}},
    "05": {"whole": {"steps": 40, "learning_rate": 5e-4, "batch_size": 4}},
    "06": {"control": {"steps": 100, "learning_rate": 1.5e-3, "batch_size": 6}},
    "07": {"food": {"steps": 90, "learning_rate": 4e-4, "batch_size": 12}},
}


@pytest.fixture(scope="module")
def mini():
    return paidiff_lib.load("mini")


@pytest.fixture(scope="module")
def published():
    """published(side): a pipeline of the published models' shape that takes no memory, as in half precision on a GPU."""

    def make(side):
        with torch.device("meta"):
            parts = {
                name: skeleton.PARTS[name][0](skeleton.FULL, side).half() for name in ("unet", "vae", "text_encoder")
            }
        tokenizer = paidiff_lib.load("mini").tokenizer
        tokenizer.name_or_path = "somewhere/tokenizer"
        return StableDiffusionPipeline(
            **parts,
            tokenizer=tokenizer,
            scheduler=None,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    return {side: make(side) for side in (512, 768)}


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_row_has_a_figure_for_every_kind(lesson):
    for row in LESSONS[lesson].values():
        columns = [row[key] for key in ("steps", "learning_rate", "batch_size")] if isinstance(row, dict) else [row]
        assert all(len(column) == len(KINDS) for column in columns)


def test_a_training_is_keywords_of_train():
    from paidiff_lib.training.config import TrainingConfig

    names = {name for rows in LESSONS.values() for row in rows.values() if isinstance(row, dict) for name in row}
    assert names == {"method", "steps", "learning_rate", "batch_size"}
    fitted, _ = memory.fitting(paidiff_lib.load("mini"), "lora", 4, 128)
    assert (names - {"method"}) | set(fitted) <= {field.name for field in dataclasses.fields(TrainingConfig)}


def test_the_setup_comes_before_any_library(run_python):
    """It sets what the user has not set, and it can: nothing that reads the settings is imported by then."""
    heavy = "print([m for m in ('torch', 'diffusers', 'transformers', 'huggingface_hub') if m in sys.modules])"
    code = f"import os, sys, paidiff_course\n{heavy}\npaidiff_course.setup()\n{heavy}\n"
    code += "print(os.environ['HF_HUB_OFFLINE'], os.environ['GOMP_SPINCOUNT'])"
    done = run_python(code, HF_HUB_OFFLINE="0", GOMP_SPINCOUNT="7")
    assert done.stdout.split("\n") == ["[]", "[]", "0 7", ""], done.stderr


@pytest.mark.parametrize("lesson", LESSONS)
def test_mini_gets_its_own_figures_and_says_so_in_one_line(lesson, mini, capsys):
    found = profile(lesson, mini)
    assert (found.kind, found.size, found.real, found.judged, found.exact) == ("mini", 128, True, True, True)
    for name, settings in MINI.get(lesson, {}).items():
        assert getattr(found, name) == settings
    printed = capsys.readouterr().out
    assert (
        printed.startswith("mini 128x128") and printed.count("\n") == 1 and "GB" not in printed
    )  # the same on every machine
    with pytest.raises(AttributeError, match="no nonsense in lesson"):
        found.nonsense


def test_a_skeleton_is_known_by_its_folder_and_so_is_what_is_saved_from_it(skeletons, tmp_path):
    pipe = paidiff_lib.load(skeletons / "artist")
    found = profile("03", pipe)
    assert (found.kind, found.size, found.real, found.judged) == ("tiny", 64, False, False)
    paidiff_lib.FullTuning(pipe).save_model(tmp_path / "model")
    assert not profile("03", paidiff_lib.load(tmp_path / "model")).real


def test_the_published_sizes_are_distinguished(published):
    assert profiles.kind_of(published[512]) == "512" and profiles.kind_of(published[768]) == "768"


# GB that a machine has left when the model is loaded: an 8 GB laptop, a 16 GB T4, a 24 GB A10, an 80 GB card.
FITTING = [
    (5, 512, "lora", {"batch_size": 2, "gradient_accumulation_steps": 2, "gradient_checkpointing": False}),
    (12, 512, "lora", {"batch_size": 4, "gradient_accumulation_steps": 1, "gradient_checkpointing": False}),
    (12, 768, "lora", {"batch_size": 2, "gradient_accumulation_steps": 2, "gradient_checkpointing": False}),
    (2, 768, "word", {"batch_size": 2, "gradient_accumulation_steps": 2, "gradient_checkpointing": True}),
    (12, 512, "control", {"batch_size": 2, "gradient_accumulation_steps": 2, "gradient_checkpointing": False}),
    (12, 512, "full", None),
    (20, 512, "full", {"batch_size": 1, "gradient_accumulation_steps": 4, "gradient_checkpointing": False}),
    (75, 512, "full", {"batch_size": 4, "gradient_accumulation_steps": 1, "gradient_checkpointing": False}),
]


@pytest.mark.parametrize("gigabytes, side, method, expected", FITTING)
def test_what_fits(published, monkeypatch, gigabytes, side, method, expected):
    monkeypatch.setattr(memory, "free", lambda device: gigabytes * 1e9)
    fit, need = memory.fitting(published[side], method, 4, side)
    assert fit == expected
    assert need <= gigabytes * 1e9 if fit else need > gigabytes * 1e9


def test_a_small_card_trains_on_as_many_pictures_an_update_and_says_what_was_changed(published, monkeypatch, capsys):
    for module in (memory, profiles):
        monkeypatch.setattr(module, "free", lambda device: 2e9)
    found = profile("05", published[768])
    assert (
        found.lora["batch_size"] * found.lora["gradient_accumulation_steps"] == 4
        and found.lora["gradient_checkpointing"] is True
    )
    assert not found.fits("whole") and found.fits("lora")
    with pytest.raises(PaidiffError, match="does not fit the memory: whole .* GB"):
        found.whole
    printed = capsys.readouterr().out
    assert (
        printed.startswith("768 768x768 · lora 60 steps, lr 0.0002, batch ")
        and "gradient checkpointing (2 GB" in printed
    )
    assert "whole does not fit" in printed and printed.count("\n") == 1


def test_pictures_at_once(published, mini, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda device: 2e9)
    assert memory.pictures_at_once(mini, 128, 8) == 8
    assert 8 > memory.pictures_at_once(published[512], 512, 8) > memory.pictures_at_once(published[768], 768, 8) >= 1
    monkeypatch.setattr(memory, "free", lambda device: 1e6)
    assert memory.pictures_at_once(published[512], 512, 8) == 1


def test_the_guidance_suits_the_model(published, mini):
    from paidiff_lib.generate import guidance_of

    assert (guidance_of(mini), guidance_of(published[512])) == (2.0, 5.0)


def test_same_is_exact_on_a_cpu(mini):
    from PIL import Image

    found = profile("01", mini)
    grey, brighter = (Image.new("RGB", (8, 8), (level,) * 3) for level in (100, 102))
    assert found.same(grey, grey.copy()) and not found.same(grey, brighter)
    found.exact = False
    assert found.same(grey, brighter) and not found.same(grey, Image.new("RGB", (8, 8), "white"))


def test_what_a_training_leaves_in_memory(tiny):
    """AdamW's means are twice the size of what was trained: a second training must find room."""
    tuning = paidiff_lib.LoRA(tiny, rank=1)
    for _ in paidiff_lib.train(tuning, paidiff_lib.CaptionFolder(ROOT / "data/kitten", 64), steps=1):
        pass
    assert tuning.running.optimizer is None
