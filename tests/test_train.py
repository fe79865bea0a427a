import json
import math
import os
import random
import re
import signal
from dataclasses import fields

import numpy as np
import pytest
import torch
from PIL import Image

from paidiff_lib import PaidiffError
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.methods.lora import LoRA
from paidiff_lib.training import optimizer
from paidiff_lib.training.api import fit, train
from paidiff_lib.training.checkpoint import Store
from paidiff_lib.training.config import OLD_NAMES, SCHEDULES, TrainingConfig
from paidiff_lib.training.latents import LatentCache
from paidiff_lib.training.loop import BAD_IN_A_ROW
from paidiff_lib.training.noise import loss_weights
from paidiff_lib.training.optimizer import plan_passes
from paidiff_lib.training.randomness import ResumableSampler

EVERYTHING = {
    "batch_size": 2,
    "gradient_accumulation_steps": 2,
    "lr_scheduler": "cosine",
    "ema": 0.9,
    "warmup_steps": 2,
}


def weights(method):
    return {name: p.detach().clone() for name, p in method.parameters().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """A shell starts what runs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def pictures(tmp_path):
    """Five plain pictures with captions."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, colour in enumerate(["red", "blue", "green", "white", "black"]):
        Image.new("RGB", (64, 64), colour).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text("一只猫" if i % 2 else "雪地里的狗", encoding="utf-8")
    return CaptionFolder(folder, random_flip=True)


def lora(pipe, **settings):
    return LoRA(pipe, **{"rank": 2, "dropout": 0.2, **settings})  # dropout: one more random state that must be kept


def fresh(tiny_folder, **settings):
    import paidiff_lib

    return lora(paidiff_lib.load(tiny_folder), **settings)


def test_a_record_for_every_step(tiny, pictures):
    method = lora(tiny)
    before = weights(method)
    steps = list(train(method, pictures, steps=3, learning_rate=1e-2, lr_scheduler="linear"))
    assert [step.index for step in steps] == [1, 2, 3]
    assert [round(step.learning_rate, 5) for step in steps] == [0.01, 0.00667, 0.00333]
    assert all(math.isfinite(s.loss) and s.seconds > 0 and s.images == [] and s.skipped == 0 for s in steps)
    assert steps[-1].seconds_left == 0 and not same(before, weights(method))


def test_the_loss_falls(tiny, pictures):
    losses = [
        step.loss for step in train(lora(tiny), pictures, steps=40, learning_rate=2e-2, batch_size=5, snr_gamma=None)
    ]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_only_what_is_trained_changes(tiny, pictures):
    before = {n: p.clone() for part in (tiny.unet, tiny.vae, tiny.text_encoder) for n, p in part.state_dict().items()}
    method = lora(tiny)
    list(train(method, pictures, steps=2, learning_rate=1e-2))
    after = {
        n.replace(".base_layer", ""): p
        for part in (tiny.unet, tiny.vae, tiny.text_encoder)
        for n, p in part.state_dict().items()
    }
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_same_seed_same_weights_and_another_seed_others(tiny_folder, pictures):
    ends = []
    for seed in (1, 1, 2):
        method = fresh(tiny_folder)
        list(train(method, pictures, steps=3, learning_rate=1e-2, seed=seed, **EVERYTHING))
        ends.append(weights(method))
    assert same(ends[0], ends[1]) and not same(ends[0], ends[2])


@pytest.mark.parametrize("text_encoder", [False, True])
def test_exact_resume_after_leaving_the_loop(tiny_folder, pictures, tmp_path, text_encoder):
    """Stopped twice, once by `break` and once by a kill right after a checkpoint; the end is the same, bit for bit."""
    straight = fresh(tiny_folder, text_encoder=text_encoder)
    list(train(straight, pictures, steps=9, learning_rate=1e-2, **EVERYTHING))
    for until in (2, 5, None):
        method = fresh(tiny_folder, text_encoder=text_encoder)
        for step in train(
            method, pictures, steps=9, learning_rate=1e-2, output=tmp_path / "run", save_every=4, **EVERYTHING
        ):
            random.random(), np.random.rand(), torch.rand(3)  # what a notebook does in between changes nothing
            if step.index == until:
                break
    assert step.index == 9 and same(weights(straight), weights(method))
    again = fresh(tiny_folder, text_encoder=text_encoder)
    assert list(train(again, pictures, steps=9, learning_rate=1e-2, output=tmp_path / "run", **EVERYTHING)) == []
    assert same(weights(straight), weights(again))  # a finished run has nothing to do, and has its weights


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(tiny_folder, pictures, tmp_path):
    straight = fresh(tiny_folder)
    list(train(straight, pictures, steps=4, learning_rate=1e-2, output=tmp_path / "run", save_every=1, keep=3))
    with open(tmp_path / "run/checkpoint-4/state.pt", "r+b") as file:
        file.seek(100)
        file.write(b"damage")
    method = fresh(tiny_folder)
    steps = list(train(method, pictures, steps=4, learning_rate=1e-2, output=tmp_path / "run", save_every=1, keep=3))
    assert [step.index for step in steps] == [4] and same(weights(straight), weights(method))


def test_the_caller_keeps_its_random_numbers(tiny, pictures):
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    list(train(lora(tiny), pictures, steps=2, learning_rate=1e-2))
    drawn = torch.rand(1), random.random(), np.random.rand()
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    assert drawn == (torch.rand(1), random.random(), np.random.rand())


@pytest.mark.parametrize("number, error", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_the_step_saves_and_says_how_to_go_on(tiny, pictures, tmp_path, capsys, number, error):
    method, kill = lora(tiny), lambda: os.kill(os.getpid(), number)
    seen = []
    predict = method.predict
    method.predict = lambda *inputs: (len(seen) == 2 and kill(), predict(*inputs))[1]  # in the middle of the third step
    with pytest.raises(error):
        for step in train(method, pictures, steps=9, learning_rate=1e-2, output=tmp_path / "run"):
            seen.append(step.index)
    assert seen == [1, 2] and Store(tmp_path / "run").names() == ["checkpoint-3"]
    assert "stopped at step 3/9, saved in" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("steps, last", [(9, 3), (2, 2)])
def test_a_signal_during_a_save_is_not_lost(tiny, pictures, tmp_path, steps, last):
    method = lora(tiny)
    save, kills = method.save, [1]
    method.save = lambda folder: (kills and os.kill(os.getpid(), kills.pop() * signal.SIGINT), save(folder))
    with pytest.raises(KeyboardInterrupt):
        list(train(method, pictures, steps=steps, learning_rate=1e-2, output=tmp_path / "run", save_every=2))
    assert Store(tmp_path / "run").names()[0] == f"checkpoint-{last}"


def test_an_interrupt_between_steps_saves_too(tiny, pictures, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        for step in train(lora(tiny), pictures, steps=9, learning_rate=1e-2, output=tmp_path / "run"):
            if step.index == 2:
                signal.raise_signal(signal.SIGINT)
    assert Store(tmp_path / "run").names() == ["checkpoint-2"] and "saved in" in capsys.readouterr().out


def test_an_interrupt_while_a_sample_is_drawn_saves_too(tiny, pictures, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("paidiff_lib.methods.base.sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(
            train(
                lora(tiny),
                pictures,
                steps=9,
                learning_rate=1e-2,
                output=tmp_path / "run",
                sample_every=2,
                sample_prompts=["猫"],
            )
        )
    assert Store(tmp_path / "run").names() == ["checkpoint-2"]


def test_without_an_output_it_says_that_nothing_is_saved(tiny, pictures, capsys):
    for step in train(lora(tiny), pictures, steps=9, learning_rate=1e-2):
        break
    assert "not saved: that needs output=" in capsys.readouterr().out


def test_a_loop_left_behind_saves_nothing_later(tiny, pictures, tmp_path):
    method = lora(tiny)
    old = train(method, pictures, steps=9, learning_rate=1e-2, output=tmp_path / "run")
    next(old)
    list(train(method, pictures, steps=3, learning_rate=1e-2, output=tmp_path / "run"))
    old.close()
    assert Store(tmp_path / "run").names() == ["checkpoint-3"]


def test_another_run_is_not_continued(tiny_folder, pictures, tmp_path):
    list(train(fresh(tiny_folder), pictures, steps=2, learning_rate=1e-2, output=tmp_path / "run"))
    for settings, words in [
        ({"learning_rate": 1e-3}, "learning_rate: 0.01 -> 0.001"),
        ({"learning_rate": 1e-2, "seed": 3}, "seed: 0 -> 3"),
    ]:
        with pytest.raises(PaidiffError, match=words):
            train(fresh(tiny_folder), pictures, steps=2, output=tmp_path / "run", **settings)
    with pytest.raises(PaidiffError, match="text_encoder"):
        train(fresh(tiny_folder, text_encoder=True), pictures, steps=2, learning_rate=1e-2, output=tmp_path / "run")
    pictures.items.pop()
    with pytest.raises(PaidiffError, match="data: "):
        train(fresh(tiny_folder), CaptionFolder(pictures.folder), steps=2, learning_rate=1e-2, output=tmp_path / "run")
    with pytest.raises(PaidiffError, match="already holds checkpoints"):
        train(fresh(tiny_folder), pictures, steps=2, learning_rate=1e-2, output=tmp_path / "run", resume=False)


def test_longer_is_the_same_run(tiny_folder, pictures, tmp_path):
    straight = fresh(tiny_folder)
    list(train(straight, pictures, steps=6, learning_rate=1e-2))
    for steps in (3, 6):
        method = fresh(tiny_folder)
        list(train(method, pictures, steps=steps, learning_rate=1e-2, output=tmp_path / "run"))
    assert same(weights(straight), weights(method))


# --- what is not finite -----------------------------------------------------------------------------------------


def poisoned(method, bad):
    """Make the loss of the steps in `bad` NaN."""
    predict, count = method.predict, iter(range(10_000))
    method.predict = lambda *inputs: predict(*inputs) * (float("nan") if next(count) in bad else 1)
    return method


def test_a_bad_batch_is_skipped_and_counted(tiny, pictures):
    method = poisoned(lora(tiny), {1})
    steps = list(train(method, pictures, steps=4, learning_rate=1e-2, ema=0.9))
    assert [step.skipped for step in steps] == [0, 1, 1, 1] and math.isnan(steps[1].loss)
    assert all(torch.isfinite(p).all() for p in weights(method).values())


def test_too_many_bad_ones_stop_the_run_with_the_weights_unharmed(tiny, pictures, tmp_path):
    method = poisoned(lora(tiny), range(2, 1000))
    with pytest.raises(PaidiffError, match="smaller learning rate"):
        for step in train(method, pictures, steps=500, learning_rate=1e-2, output=tmp_path / "run", save_every=2):
            at_the_end = weights(method)
    assert step.index == 2 + BAD_IN_A_ROW - 1
    assert all(torch.isfinite(p).all() for p in at_the_end.values())


def test_weights_that_are_not_finite_are_never_saved(tiny, pictures, tmp_path):
    method = lora(tiny)
    run = train(method, pictures, steps=9, learning_rate=1e-2, output=tmp_path / "run", save_every=2)
    next(run)
    next(iter(method.parameters().values())).data[0, 0] = float("inf")
    with pytest.raises(PaidiffError, match="not finite, not saved"):
        next(run)
    assert Store(tmp_path / "run").names() == []


# --- the parts --------------------------------------------------------------------------------------------------


def test_clipping_clips(tiny, pictures, monkeypatch):
    """The gradient that reaches the optimizer is no longer than asked for."""
    method = lora(tiny)
    lengths = []
    update = torch.optim.AdamW.step
    gradients = lambda: [p.grad.norm() for p in method.parameters().values() if p.grad is not None]
    spy = lambda self, *a: lengths.append(torch.stack(gradients()).norm().item()) or update(self, *a)
    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    list(train(method, pictures, steps=1, learning_rate=1e-2, max_grad_norm=1e-3))
    assert lengths == [pytest.approx(1e-3, rel=1e-2)]


def test_accumulated_batches_go_through_together_where_they_fit(tiny_folder, pictures, monkeypatch):
    """Four pictures in one pass, or the same four in a pass each: the same gradient."""
    ends = []
    update = torch.optim.AdamW.step
    gradient = lambda: torch.cat([p.grad.flatten() for p in method.parameters().values() if p.grad is not None])
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *a: ends.append(gradient()) or update(self, *a))
    monkeypatch.setattr(
        torch, "randn", torch.ones
    )  # the same noise and timestep for all: passes draw theirs in other orders
    monkeypatch.setattr(torch, "randint", lambda high, shape: torch.full(shape, high // 2))
    for cells, passes in ((optimizer.MAX_CELLS, 1), (0, 4)):
        monkeypatch.setattr(optimizer, "MAX_CELLS", cells)
        method, sizes = fresh(tiny_folder, dropout=0.0), []
        predict = method.predict
        method.predict = lambda *inputs: (sizes.append(len(inputs[0])), predict(*inputs))[1]
        list(train(method, pictures, steps=1, learning_rate=1e-2, gradient_accumulation_steps=4, caption_dropout=0.0))
        assert sizes == [4 // passes] * passes
    assert ends[0].norm() > 0 and torch.allclose(*ends, atol=1e-6)


def test_a_pass_is_never_larger_than_one_picture_of_512():
    assert plan_passes(1, 4, 16 * 16) == (4, 1) and plan_passes(2, 32, 16 * 16) == (16, 4)
    assert plan_passes(1, 4, 64 * 64) == (1, 4) and plan_passes(3, 5, 96 * 96) == (3, 5)


def test_every_picture_once_before_any_twice_and_the_place_is_kept():
    order, other = ResumableSampler(5, seed=1), ResumableSampler(5, seed=1)
    taken = order.take(13)
    assert sorted(taken[:5]) == sorted(taken[5:10]) == list(range(5)) and taken[:5] != taken[5:10]
    other.take(7)
    continued = ResumableSampler(5, seed=1)
    vars(continued).update(vars(other))
    assert continued.take(6) == taken[7:]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_weights(kind):
    from diffusers import DDPMScheduler
    from diffusers.training_utils import compute_snr

    noise = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=kind)
    t = torch.arange(1000)
    snr, found = compute_snr(noise, t), loss_weights(noise, t, 5.0)
    # the loss on the clean picture that every kind stands for is weighted by min(snr, 5)
    on_the_clean_one = found * (snr if kind == "epsilon" else snr + 1)
    assert torch.allclose(on_the_clean_one, snr.clamp(max=5)) and (loss_weights(noise, t, None) == 1).all()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_models_own_prediction_is_trained(tiny, pictures, kind, monkeypatch):
    """A UNet that always says the right thing has no loss, and one that says the other kind's right thing has."""
    tiny.scheduler.register_to_config(prediction_type=kind)
    alphas = tiny.scheduler.__class__.from_config(tiny.scheduler.config).alphas_cumprod
    latents, clean = LatentCache.latents, []
    monkeypatch.setattr(LatentCache, "latents", lambda *a: (clean.append(latents(*a)), clean[-1])[1])

    def right(kind):
        method = lora(tiny, name=kind)
        predict = method.predict

        def say(noisy, timesteps, *inputs):
            alpha = alphas[timesteps].view(-1, 1, 1, 1) ** 0.5
            sigma = (1 - alpha**2) ** 0.5
            noise = (noisy - alpha * clean[-1]) / sigma
            said = noise if kind == "epsilon" else alpha * noise - sigma * clean[-1]
            return said + 0 * predict(noisy, timesteps, *inputs)

        method.predict = say
        return method

    losses = [
        step.loss
        for name in ("epsilon", "v_prediction")
        for step in train(right(name), pictures, steps=1, batch_size=3, seed=1)
    ]
    assert (losses[0] < 1e-6) == (kind == "epsilon") and (losses[1] < 1e-6) == (kind == "v_prediction")


def test_another_prediction_is_refused(tiny, pictures):
    tiny.scheduler.register_to_config(prediction_type="sample")
    with pytest.raises(PaidiffError, match="predicts sample"):
        train(lora(tiny), pictures)


def test_dropped_captions_are_the_empty_one(tiny, pictures):
    method, seen = lora(tiny), []
    predict = method.predict
    method.predict = lambda *inputs: seen.append(inputs[2]) or predict(*inputs)
    list(train(method, pictures, steps=1, learning_rate=1e-2, batch_size=2, caption_dropout=1.0))
    empty = tiny.encode_prompt("", "cpu", 1, False)[0]
    assert torch.equal(seen[0], empty.expand(2, -1, -1))


def test_the_mean_of_the_weights_is_what_remains(tiny_folder, pictures):
    method = fresh(tiny_folder)
    history = []
    for step in train(method, pictures, steps=6, learning_rate=1e-2, ema=0.5):
        history.append(weights(method))
    mean = None
    plain = fresh(tiny_folder)
    for i, step in enumerate(train(plain, pictures, steps=6, learning_rate=1e-2)):
        decay = 0.0 if i == 0 else min((1 + i) / (10 + i), 0.5)
        now = weights(plain)
        mean = now if mean is None else {n: decay * mean[n] + (1 - decay) * now[n] for n in now}
    assert all(torch.allclose(mean[n], history[-1][n], atol=1e-5) for n in mean)


def test_sample_pictures_on_a_fixed_seed_change_nothing(tiny_folder, pictures):
    ends = []
    for every in (0, 2):
        method = fresh(tiny_folder)
        steps = list(
            train(method, pictures, steps=4, learning_rate=1e-2, ema=0.9, sample_every=every, sample_prompts=["猫"])
        )
        ends.append(weights(method))
    assert same(*ends) and [len(step.images) for step in steps] == [0, 1, 0, 1]
    assert steps[1].images[0].tobytes() != steps[3].images[0].tobytes()


def test_gradient_checkpointing_gives_the_same_weights(tiny_folder, pictures):
    ends = []
    for checkpointing in (False, True):
        method = fresh(tiny_folder)
        list(train(method, pictures, steps=2, learning_rate=1e-2, gradient_checkpointing=checkpointing))
        ends.append(weights(method))
    assert all(torch.allclose(ends[0][n], ends[1][n], atol=1e-6) for n in ends[0])


def test_half_precision_keeps_what_is_trained_in_single(tiny, pictures):
    method = lora(tiny)
    steps = list(train(method, pictures, steps=2, learning_rate=1e-2, mixed_precision="bf16"))
    assert {p.dtype for p in method.parameters().values()} == {torch.float32}
    assert math.isfinite(steps[-1].loss) and tiny.unet.conv_in.weight.dtype == torch.float32


REFUSED = [
    ({"steps": 0}, "steps"),
    ({"batch_size": 0}, "batch"),
    ({"learning_rate": -1.0}, "learning_rate"),
    ({"learning_rate": float("nan")}, "learning_rate"),
    ({"lr_scheduler": "sine"}, "cosine_with_restarts"),
    ({"mixed_precision": "fp8"}, "no, fp16, bf16"),
    ({"seed": -1}, "seed"),
    ({"lr_scheduler": "polynomial", "learning_rate": 1e-8}, "polynomial"),
]
# What every number is asked: would it be used, or thrown away, or break a run that is hours old?
NUMBERS = {one.name: one.metadata for one in fields(TrainingConfig) if {"least", "between"} & one.metadata.keys()}
ODD = [float("nan"), float("inf"), -float("inf"), -1, 10**400, "1", True]
REFUSED += [
    ({name: value}, name)
    for name in NUMBERS
    for value in ODD
    if not (name == "max_grad_norm" and value in (math.inf, 10**400))
]
NOTHING_LEARNT = {"learning_rate": 0, "snr_gamma": 0, "ema": 1, "adam_epsilon": 0, "lr_power": math.inf}
REFUSED += [({name: value}, name) for name, value in NOTHING_LEARNT.items()]


@pytest.mark.parametrize("settings, words", REFUSED)
def test_settings_that_cannot_work_are_refused_at_once(settings, words):
    with pytest.raises(PaidiffError, match=words) as caught:
        train(None, None, **settings)
    assert "\n" not in str(caught.value)


def test_every_number_of_the_settings_is_checked_and_kept_as_pythons_own():
    named = {one.name for one in fields(TrainingConfig) if re.search(r"\b(int|float)\b", str(one.type))}
    assert named == NUMBERS.keys()
    config = TrainingConfig(steps=np.int64(3), learning_rate=np.float32(0.5), sample_prompts="一只猫")
    config.check()
    assert json.loads(json.dumps(config.identity()))["learning_rate"] == 0.5 and config.sample_prompts == ("一只猫",)


def test_what_has_no_effect_beside_the_other_settings_is_said(tiny, pictures, capsys):
    settings = {"warmup_steps": 5, "lr_cycles": 2, "lr_power": 2.0, "sample_every": 1}
    train(lora(tiny), pictures, steps=1, **settings).close()
    said = capsys.readouterr().out
    assert all(f"{name}: " in said for name in settings) and said.count("no effect: ") == 4
    train(lora(tiny), pictures, steps=1, lr_scheduler="cosine_with_restarts", warmup_steps=5, lr_cycles=2).close()
    assert "no effect" not in capsys.readouterr().out


def test_a_warmup_as_long_as_the_run(tiny, pictures):
    for schedule in SCHEDULES:
        assert len(list(train(lora(tiny), pictures, steps=2, warmup_steps=2, lr_scheduler=schedule))) == 2


WRONG = [("learning_rat", "learning_rate"), ("steps_", "steps"), *OLD_NAMES.items()]


@pytest.mark.parametrize("call", [train, fit])
@pytest.mark.parametrize("name, meant", WRONG)
def test_a_wrong_or_an_old_name_is_answered_with_the_right_one(call, name, meant):
    with pytest.raises(PaidiffError, match=f"takes no {name}: .*did you mean: {meant}$"):
        call(None, None, **{name: 1})


def test_layers_train_in_a_step_and_rest_between(tiny, pictures):
    method, during = lora(tiny, text_encoder=True), []

    def training():
        return {layer.training for part in method.parts().values() for layer in part.modules()}

    predict = method.predict
    method.predict = lambda *inputs: (during.append(training()), predict(*inputs))[1]
    between = [training() for _ in train(method, pictures, steps=2)]
    assert during == [{True}] * 2 and between == [{False}] * 2
