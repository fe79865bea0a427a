"""Pre-training end to end on a handful of pictures, and a loop that survives a kill and a bad batch."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import paidiff_world.pretrain.__main__ as pretrain
from paidiff_lib import acceleration as faster
from paidiff_lib.generate import GUIDANCE, noise_of
from paidiff_world.judge import Judge
from paidiff_world.pretrain import clip, distill, export, judge, loop, pool, tokenizer, unet, vae

# The shipped config, cut down to seconds.
CONFIG = json.loads((pretrain.HERE / "mini.json").read_text(encoding="utf-8")) | {"pictures": 180, "held_back": 60}
SMALL = {
    "vae": {"channels": [8, 8, 8, 8], "layers": 1, "steps": 2, "batch": 2},
    "decoder": {"steps": 2, "batch": 2, "noise": 0.35},
    "clip": {"steps": 2, "batch": 4, "warmup": 1},
    "judge": {"pictures": 180, "steps": 2, "batch": 1},
    "unet": {"channels": [32, 32], "pictures": 180, "steps": 3, "batch": 2},
}
CONFIG |= {stage: {**CONFIG[stage], **small} for stage, small in SMALL.items()}


def run_all(folder):
    run = pretrain.Run(folder, CONFIG)
    for stage in pretrain.STAGES:
        getattr(pretrain, f"run_{stage}")(run)
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(run folder, folder of exported models) of a complete pre-training of a few seconds."""
    folder = tmp_path_factory.mktemp("pretrain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "MODELS", folder / "models")
        patch.setattr(pretrain, "tell", lambda line: None)
        run_all(folder / "run")
    return folder / "run", folder / "models"


def test_every_stage_runs_and_is_recorded(made):
    record = json.loads((made[0] / "record.json").read_text(encoding="utf-8"))
    assert set(record) == {"vae", "decoder", "clip", "judge", "unet"}
    for name, note in record.items():
        assert note["steps"] == CONFIG[name]["steps"] and note["hardware"] and note["parameters"] > 0
    assert np.isfinite(record["vae"]["psnr_held_out_dB"]) and record["unet"]["pictures_seen"] == 6
    assert set(record["judge"]["accuracy_held_out"]) == {"subject", "background", "style", "colour", "count", "flaw"}


def test_plain_diffusers_opens_what_comes_out(made):
    from diffusers import StableDiffusionPipeline

    folder = made[1] / "paidiff-mini-zh"
    pipe = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    assert pipe("一只猫", num_inference_steps=2).images[0].size == (128, 128)
    for name in ("words.json", "training.json", "README.md"):
        assert (folder / name).stat().st_size > 500, name
    assert json.loads((folder / "training.json").read_text(encoding="utf-8"))["config"] == CONFIG


def test_the_other_exports_open_too(made, monkeypatch):
    from transformers import BertTokenizer, CLIPModel

    from paidiff_world import judge as metrics

    assert CLIPModel.from_pretrained(made[1] / "paidiff-clip-zh").config.text_config.pad_token_id == 0
    assert len(BertTokenizer.from_pretrained(made[1] / "paidiff-clip-zh")) > 6763
    monkeypatch.setattr(metrics, "JUDGE", made[1] / "paidiff-judge")
    loaded = metrics.judge.__wrapped__()  # not through the cache: the shipped judge must not be replaced
    assert all(torch.isfinite(p).all() for p in loaded.parameters())


def test_a_finished_run_is_not_run_again(made, monkeypatch):
    def never(*arguments):
        raise AssertionError("a finished stage drew a batch")

    for module in (vae, clip, unet, judge):
        monkeypatch.setattr(module, "objective", lambda *a, **k: never)
    monkeypatch.setattr(export, "MODELS", made[1])
    monkeypatch.setattr(pretrain, "tell", lambda line: None)
    run_all(made[0])


def test_a_longer_training_starts_from_the_shipped_weights(made, tmp_path, monkeypatch):
    """In a new folder, with nothing but what was exported: the first weights are the shipped ones."""
    monkeypatch.setattr(export, "MODELS", made[1])
    monkeypatch.setattr(pretrain, "tell", lambda line: None)
    run = pretrain.Run(tmp_path, CONFIG, start=True)
    monkeypatch.setattr(loop, "train", lambda name, model, *a, **k: (model, {"pictures": 6}))
    pretrain.run_unet(run)
    record = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert record["unet"]["pictures_seen"] == 12 and record["unet"]["before"]["pictures_seen"] == 6
    first = export.shipped("unet", unet.build([32, 32])).state_dict()
    trained = loop.averaged(made[0] / "unet.pt", unet.build([32, 32])).state_dict()
    assert all(torch.allclose(first[k], trained[k], atol=1e-2) for k in first)


def test_the_pool_keeps_held_out_triples_away(made):
    pictures, specs, captions = pool.load(made[0] / "pool")
    assert len(pictures) == len(specs) == len(captions) == CONFIG["pictures"]
    assert not any(spec.held_out for spec in specs)
    plain = [spec for seed, spec in enumerate(specs) if pool.level(seed) == 0]
    assert all(s.count == 1 and s.style == "扁平" and not s.colour and not s.flaw for s in plain)


STAGES = ["vae", "clip", "judge", "unet"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_step_depends_on_its_generator_only(made, stage):
    """Else a resumed run is another run: nothing may draw from torch's global generator."""
    pictures, specs, _ = pool.load(made[0] / "pool")
    torch.manual_seed(0)
    if stage == "vae":
        loss = vae.objective(vae.build((8, 8, 8, 8), 1), pictures, 2)
    elif stage == "clip":
        words = tokenizer.build(made[0] / "tokenizer")
        ids = clip.tokenize(words, ["猫", "狗"] * 4).reshape(-1, 2, tokenizer.LIMIT)
        loss = clip.objective(clip.Taught(len(words)), pictures[:4], ids, judge.labels(specs[:4]), 4)
    elif stage == "judge":
        loss = judge.objective(Judge().eval(), pictures, judge.labels(specs), 2)
    else:
        latents, text = torch.randn(8, 8, 16, 16), torch.randn(8, 2, 32, 192)
        masks, levels = torch.rand(8, 16, 16), torch.zeros(8)
        loss = unet.objective(unet.build([32, 32]), latents, text, masks, levels, text[:1, 0], 10, 2)
    with torch.no_grad():
        torch.manual_seed(1)
        first = loss(9, torch.Generator().manual_seed(5))[0]
        torch.manual_seed(2)
        assert torch.equal(first, loss(9, torch.Generator().manual_seed(5))[0])


def test_the_decoder_learns_on_whole_cells():
    """A picture whose values are its columns' numbers: every crop begins at a multiple of 8."""
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[:, None], (4, 128, 128, 3))
    firsts = {int(v) for v in vae.crops(ramp, 200, torch.Generator().manual_seed(0), step=8)[:, 0, 0, 0]}
    assert firsts == set(range(0, 128 - vae.CROP + 1, 8))


def test_the_timesteps_forget_neither_end():
    t = unet.timesteps(4000, torch.Generator().manual_seed(0))
    shares = [(t < 50).float().mean(), (t < unet.CLEAN).float().mean(), (t >= unet.NOISY).float().mean()]
    assert t.min() >= 0 and t.max() > 990
    assert shares[0] > 0.03 and 0.5 < shares[1] < 0.62 and 0.3 < shares[2] < 0.4


def test_almost_clean_latents_count():
    """SNR 51 at t = 20: with a weight of 5 / (snr + 1) a tenth of what is asked there would be learnt."""
    weights = unet.loss_weights(unet.scheduler())
    assert 0.3 < weights[20] < 0.5 and weights[400:].eq(1).all()


def test_half_of_the_latents_are_disturbed():
    latents = torch.randn(400, 8, 8, 8, generator=torch.Generator().manual_seed(1)) * 3
    moved = (vae.disturbed(latents, 0.4, torch.Generator().manual_seed(0)) - latents).flatten(1).std(1) / latents.std()
    assert 0.4 < (moved == 0).float().mean() < 0.6 and 0.3 < moved.max() < 0.45
    assert torch.equal(vae.disturbed(latents, 0.0, torch.Generator().manual_seed(0)), latents)


def test_a_longer_training_leaves_the_plainest_scenes_out():
    """Latents that are their scene's level: the batch holds no 0."""
    levels = torch.tensor([0, 1, 2, 0, 1, 2])
    latents, text = levels.float().view(-1, 1, 1, 1).expand(-1, 8, 16, 16), torch.randn(6, 2, 32, 192)
    seen = []

    class Spy(torch.nn.Linear):
        def forward(self, noisy, t, text):
            return type("Out", (), {"sample": noisy})

    add_noise = type(unet.scheduler()).add_noise
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(unet.scheduler()), "add_noise", lambda self, x, *a: seen.append(x) or add_noise(self, x, *a))
        for start in (False, True):
            loss = unet.objective(Spy(1, 1), latents, text, torch.rand(6, 16, 16), levels, text[:1, 0], 10, 64, start)
            loss(9, torch.Generator().manual_seed(0))
    assert (seen[0] == 0).any() and not (seen[1] == 0).any()


class Killed(Exception):
    pass


def small_task(stop=None, bad=()):
    """(model, objective): fit a random line; raises at step `stop`, gives no finite number at the steps `bad`."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def loss(step, generator):
        if step == stop:
            raise Killed
        x = torch.randn(16, 4, generator=generator)
        error = (model(x) - x.sum(1, keepdim=True)).square().mean()
        return error * (float("nan") if step in bad else 1.0), {"error": error}

    return model, loss


def fit(folder, steps=12, **task):
    model, loss = small_task(**task)
    return loop.train(
        "task", model, loss, folder, steps, lr=1e-2, batch=16, warmup=2, ema=0.9, report=lambda line: None
    )


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_killed_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0)
    whole, record = fit(tmp_path / "whole")
    assert record["steps"] == 12 and not whole.training
    for stop in (5, 9):  # killed twice
        with pytest.raises(Killed):
            fit(tmp_path / "killed", stop=stop)
    state = torch.load(tmp_path / "killed/task.pt", weights_only=True)
    assert state["step"] == 9
    resumed, _ = fit(tmp_path / "killed")
    assert torch.equal(weights(whole), weights(resumed))
    assert torch.equal(weights(loop.averaged(tmp_path / "killed/task.pt", small_task()[0])), weights(whole))


def test_two_processes_train_one_model(tmp_path):
    """Each on its own batches; both end with the same weights, which one process alone would not have."""
    script = tmp_path / "two.py"
    script.write_text(
        f"""
import sys, torch
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import test_pretrain
torch.distributed.init_process_group("gloo")
model, record = test_pretrain.fit({str(tmp_path / "run")!r})
torch.save((test_pretrain.weights(model), record), {str(tmp_path)!r} + f"/rank{{torch.distributed.get_rank()}}.pt")
torch.distributed.destroy_process_group()
""",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        assert process.wait(1200) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):  # all of them have ended
            os.killpg(process.pid, signal.SIGKILL)
    (first, record), (second, _) = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(first, second) and record["pictures"] == 2 * 12 * 16
    alone, _ = fit(tmp_path / "alone")
    assert not torch.allclose(first, weights(alone), atol=1e-4)


def test_a_kill_while_a_checkpoint_is_written_keeps_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "task.pt"
    loop.save(path, {"step": 1})

    def half(state, file):
        file.write(b"half a checkpoint")
        raise Killed

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(Killed):
        loop.save(path, {"step": 2})
    assert torch.load(path, weights_only=True) == {"step": 1}


def test_a_bad_batch_never_reaches_the_weights(tmp_path):
    model, _ = fit(tmp_path, bad=(3, 7))
    assert torch.isfinite(weights(model)).all()
    good, _ = fit(tmp_path / "good")
    assert not torch.equal(weights(model), weights(good))  # the bad steps were skipped, not repeated


def test_the_learning_rate_rises_and_falls():
    rates = [loop.learning_rate(step, 100, 1.0, 10) for step in range(100)]
    assert rates[0] == 0.1 and max(rates) == 1.0 and rates.index(1.0) in (9, 10)
    assert rates[10:] == sorted(rates[10:], reverse=True) and 0.02 <= rates[-1] < 0.03


def test_scaling_factor_brings_latents_to_unit_variance():
    latents = torch.randn(100, 8, 4, 4).half() * 3
    assert (latents.float() * export.scaling_factor(latents)).std().item() == pytest.approx(1, abs=0.01)


def test_what_distillation_asks_for_lands_on_the_teachers_path():
    pipe = distill.teacher()
    solver = faster.first_order(pipe)
    solver.set_timesteps(timesteps=distill.TIMESTEPS)
    points = torch.randn((2, 5, 8, 4, 4), generator=torch.Generator().manual_seed(0))
    clean, gain = distill.wanted(points, solver.alphas_cumprod)
    for i, t in enumerate(solver.timesteps):
        a = solver.alphas_cumprod[t].sqrt()
        velocity = (a * points[:, i] - clean[:, i]) / (1 - a**2).sqrt()
        assert torch.allclose(solver.step(velocity, t, points[:, i]).prev_sample, points[:, i + 1], atol=1e-3)
    assert gain[-1] == 1 and (gain.diff() > 0).all()  # the last step lands on what is predicted, the first moves least


def test_a_path_of_the_teacher_ends_in_its_picture():
    pipe = distill.teacher()
    captions, points = distill.paths(pipe, 0, 2)
    assert points.shape == (2, 5, 8, 16, 16) and captions[0] == distill.caption(distill.SEED)
    assert torch.equal(points[:, 0], distill.paths(pipe, 0, 2)[1][:, 0])
    noise = torch.randn((1, 8, 16, 16), generator=noise_of(distill.SEED))
    latents = pipe(
        captions[0], latents=noise, num_inference_steps=8, guidance_scale=GUIDANCE, output_type="latent"
    ).images
    assert (latents[0] - points[0, -1].float()).abs().max() < 0.02
