"""What a user calls to train: `train` and `fit`, their settings, and the flags of the commands that are made from them."""

import gc
import json
import re
import shutil
from contextlib import closing
from dataclasses import MISSING, fields
from inspect import signature

import pytest
import torch
from PIL import Image

import paidiff_lib
from paidiff_app.train_cli import Flags
from paidiff_lib import CaptionFolder, ControlNet, FullTuning, LoRA, PaidiffError, TextualInversion, fit, train
from paidiff_lib.training import checkpoint
from paidiff_lib.training.config import OLD_NAMES, TrainingConfig
from paidiff_lib.training.steps import Steps

# Settings whose flag says the same in other words: {flag: (its default, the setting's)}.
OTHER_WORDS = {
    "max_train_steps": (None, 1000),
    "resume_from_checkpoint": ("latest", True),
    "validation_steps": (500, 0),
    "validation_prompt": (None, ()),
}


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, colour in enumerate(["red", "blue", "green"]):
        Image.new("RGB", (64, 64), colour).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text("一只猫", encoding="utf-8")
    return folder


def weights(method):
    return {name: p.detach().clone() for name, p in method.parameters().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --- one list of settings ---------------------------------------------------------------------------------------


def test_train_fit_and_the_settings_are_one_list():
    parameters = signature(train).parameters
    assert list(parameters)[:2] == ["method", "data"] and signature(fit).parameters == parameters
    assert all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters.values())  # no **kwargs
    assert all(p.annotation is not p.empty for p in parameters.values())
    settings = {f.name: f.default for f in fields(TrainingConfig)}
    assert MISSING not in settings.values()
    assert {name: p.default for name, p in list(parameters.items())[2:] if name != "output"} == settings
    assert signature(fit).return_annotation == list[float]


def test_the_flags_are_made_from_the_settings():
    flags = {f.name: f for f in fields(Flags)}
    named = {f.metadata["flag"]: f for f in fields(TrainingConfig) if f.metadata["flag"]}
    assert {"max_train_steps", "train_batch_size", "lr_warmup_steps", "snr_gamma", "cache_dir"} < named.keys()
    for name, setting in named.items():
        assert flags[name].metadata["help"] == setting.metadata["help"]
        assert (flags[name].default, setting.default) == OTHER_WORDS.get(name, (setting.default, setting.default))
    for setting in fields(TrainingConfig):  # explained in both languages
        assert re.search("[\u4e00-\u9fff].* · ", setting.metadata["help"]), setting.name


def test_flags_that_are_not_given_leave_the_settings_as_they_are():
    settings = Flags(train_data_dir="a", output_dir="b").settings()
    assert settings.pop("output") == "b"
    assert TrainingConfig(**settings) == TrainingConfig(sample_prompts=[])


def test_every_old_name_means_a_setting():
    assert set(OLD_NAMES.values()) <= {f.name for f in fields(TrainingConfig)}
    assert not OLD_NAMES.keys() & {f.name for f in fields(TrainingConfig)}


@pytest.mark.parametrize("jedi", [True, False])
@pytest.mark.parametrize("call", ["train", "fit"])
def test_tab_completion_shows_every_setting(call, jedi):
    from IPython.core.completer import provisionalcompleter
    from IPython.core.interactiveshell import InteractiveShell

    shell, line = InteractiveShell(), f"paidiff.{call}("
    shell.user_ns["paidiff"], shell.Completer.use_jedi = paidiff_lib, jedi
    with provisionalcompleter():
        shown = {completion.text for completion in shell.Completer.completions(line, len(line))}
    assert {"method=", "data=", "output=", *(f"{f.name}=" for f in fields(TrainingConfig))} <= shown


WRONG = [
    (LoRA, "rnk", "rank"),
    (LoRA, "lora_alpha", "alpha"),
    (TextualInversion, "initialiser", "initializer"),
    (TextualInversion, "num_vectors", "vectors"),
    (FullTuning, "text_encode", "text_encoder"),
    (ControlNet, "sed", "seed"),
    (CaptionFolder, "random_flop", "random_flip"),
    (paidiff_lib.load_lora, "scal", "scale"),
    (paidiff_lib.load_embedding, "tokn", "token"),
    (paidiff_lib.draw_along, "step", "steps"),
    (paidiff_lib.with_prior, "shares", "share"),
]


@pytest.mark.parametrize("call, name, meant", WRONG)
def test_a_wrong_keyword_is_answered_with_the_nearest(call, name, meant):
    with pytest.raises(PaidiffError, match=f"{call.__name__} takes no {name}: .*did you mean: {meant}$"):
        call(None, **{name: 1})
    parameters = signature(call).parameters.values()
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD and p.annotation is not p.empty for p in parameters)


# --- fit, and a training that never began -----------------------------------------------------------------------


def test_fit_trains_as_train_does_and_returns_the_losses(tiny_folder, pictures, capsys):
    first, second = (LoRA(paidiff_lib.load(tiny_folder), rank=2) for _ in range(2))
    losses = fit(first, pictures, steps=3, learning_rate=1e-2, batch_size=2)  # a folder will do
    steps = list(train(second, CaptionFolder(pictures), steps=3, learning_rate=1e-2, batch_size=2))
    assert losses == [step.loss for step in steps] and same(weights(first), weights(second))
    assert "3/3" in capsys.readouterr().err  # a progress bar


def test_fit_shows_its_samples(tiny, pictures, capsys):
    fit(LoRA(tiny, rank=2), pictures, steps=2, sample_every=1, sample_prompts=["猫"])
    assert capsys.readouterr().out.count("1 picture 64x64") == 2


@pytest.mark.parametrize("place", ["predict", "sample"])
def test_an_interrupt_of_fit_saves_and_says_how_to_go_on(tiny, pictures, tmp_path, capsys, monkeypatch, place):
    method, calls = LoRA(tiny, rank=2), []
    call = getattr(method, place)

    def interrupted(*inputs):
        calls.append(place)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return call(*inputs)

    monkeypatch.setattr(method, place, interrupted)
    settings = {"sample_every": 1, "sample_prompts": ["猫"]} if place == "sample" else {}
    losses = fit(method, pictures, steps=9, output=tmp_path / "run", save_every=1, **settings)
    said = capsys.readouterr().out
    assert len(losses) == 1 and "interrupted: returns the losses of these 1 steps" in said
    assert checkpoint.Store(tmp_path / "run").names()[0] == f"checkpoint-{1 if place == 'predict' else 2}"
    assert place == "predict" or "stopped at step 2/9, saved in" in said


def test_a_training_that_never_began_says_so(tiny, pictures, capsys):
    method, words = LoRA(tiny, rank=2), "this training has not begun"
    train(method, pictures, steps=2)  # forgotten
    gc.collect()
    out = capsys.readouterr().out
    assert out.count(words) == 1 and "fit(...)" in out and out.count("\n") == 1
    for step in train(method, pictures, steps=2):
        break
    with closing(train(method, pictures, steps=2)):
        pass
    steps = train(method, pictures, steps=2)
    assert iter(steps) is steps and next(steps).index == 1
    del steps
    gc.collect()
    assert words not in capsys.readouterr().out


def test_the_end_of_the_process_finds_no_names(monkeypatch):
    """A training that a script's own name still holds is let go when the names of modules are gone already."""

    class Run:
        config = TrainingConfig(steps=1)

        def run(self):
            yield 1

    finished = Steps(Run())
    assert list(finished) == [1]
    for name in ("sys", "getgeneratorstate", "GEN_CREATED"):
        monkeypatch.setattr(f"paidiff_lib.training.steps.{name}", None)
    finished.__del__()


# --- checkpoints from before the settings had their names of today ----------------------------------------------


def test_a_checkpoint_with_the_old_names_is_gone_on_with(tiny_folder, pictures, tmp_path):
    settings = {"learning_rate": 1e-2, "batch_size": 2, "lr_scheduler": "cosine", "warmup_steps": 2, "save_every": 2}
    straight = LoRA(paidiff_lib.load(tiny_folder), rank=2, dropout=0.2)
    fit(straight, pictures, steps=4, **settings)
    for step in train(
        LoRA(paidiff_lib.load(tiny_folder), rank=2, dropout=0.2), pictures, steps=4, output=tmp_path, **settings
    ):
        if step.index == 2:
            break
    folder = tmp_path / "checkpoint-2"
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    old = {new: name for name, new in OLD_NAMES.items()}
    run["settings"] = {old.get(name, name): value for name, value in run["settings"].items()}
    assert {"lr", "batch", "accumulate", "schedule", "warmup", "dropout", "clip", "precision"} < run["settings"].keys()
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    (folder / checkpoint.MANIFEST).unlink()
    checkpoint.seal(folder)
    shutil.copytree(folder, tmp_path / "other/checkpoint-2")
    method = LoRA(paidiff_lib.load(tiny_folder), rank=2, dropout=0.2)
    assert len(fit(method, pictures, steps=4, output=tmp_path, **settings)) == 2
    assert same(weights(straight), weights(method))
    with pytest.raises(PaidiffError, match="learning_rate: 0.01 -> 0.02"):
        train(method, pictures, steps=4, output=tmp_path / "other", **{**settings, "learning_rate": 2e-2})
