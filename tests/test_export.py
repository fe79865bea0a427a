import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from conftest import refused
from diffusers import DPMSolverMultistepScheduler

import paidiff_lib as paidiff
from paidiff_app import open_model
from paidiff_app.onnx import runtime as exported
from paidiff_app.onnx.export import _gather_weights, export
from paidiff_lib import LoRA, check_prompt, load
from paidiff_lib.generate import sample
from paidiff_lib.schedulers import sampler


def furthest(a, b):
    return max(int(np.abs(np.asarray(x, int) - np.asarray(y, int)).max()) for x, y in zip(a, b))


@pytest.fixture(scope="module")
def folder(tiny_folder, tmp_path_factory):
    """The tiny model, exported."""
    target = tmp_path_factory.mktemp("exported") / "tiny"
    assert export(load(tiny_folder), target, "tiny") <= 2
    return target


@pytest.mark.parametrize("shape", [(4, 8, 8), (8, 9, 13), (4, 3, 5)])
@pytest.mark.parametrize("seed", [0, 12345, 2**40 + 7])
def test_the_noise_of_a_seed_is_torchs(seed, shape):
    theirs = torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))[0].numpy()
    assert np.abs(exported.noise(seed, shape) - theirs).max() < 1e-6


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [1, 2, 10, 20, 37])
def test_the_sampler_is_diffusers(steps, kind, spacing):
    settings = {
        "beta_schedule": "scaled_linear",
        "prediction_type": kind,
        "timestep_spacing": spacing,
        "steps_offset": 1,
    }
    scheduler = DPMSolverMultistepScheduler(**settings)
    scheduler.set_timesteps(steps)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def model(x, timestep):
        return x / (1 + abs(x)) + float(timestep) / 5000

    ours = exported.solve(scheduler.config, model, latents.numpy(), steps)
    for timestep in scheduler.timesteps:
        latents = scheduler.step(model(latents, timestep), timestep, latents).prev_sample
    assert exported.plan(scheduler.config, steps)[0].tolist() == scheduler.timesteps.tolist()
    assert np.abs(ours - latents.numpy()).max() < 1e-4 * max(1, latents.abs().max())


SETTINGS = [
    {"steps": 5, "n": 2},
    {"steps": 3, "guidance": 1.0},
    {"steps": 3, "negative_prompt": "模糊", "guidance": 7.5},
    {"steps": 2, "size": (72, 136)},
    {"steps": 2, "seed": 2**33},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_same_pictures_as_the_pipeline(tiny, folder, settings):
    pipe, prompts = open_model(folder), ["两只企鹅,雪地里的红色水墨画", "猫"]
    ours, theirs = (paidiff.draw(one, prompts, **settings) for one in (pipe, tiny))
    assert [picture.size for picture in ours] == [picture.size for picture in theirs]
    assert furthest(ours, theirs) <= 2
    assert furthest(ours[:1], theirs[-1:]) > 2


def test_a_long_prompt_is_cut_and_the_hint_says_so(tiny, folder):
    """Its graphs take so many tokens and no more."""
    pipe, fits = open_model(folder), "雪地里的两只企鹅雪地里的两只"
    (hint,) = check_prompt(pipe, fits + "猫")
    assert "reads the first 14 and drops: 猫" in hint and "2 parts" in check_prompt(tiny, fits + "猫")[0]
    assert paidiff.draw(pipe, fits + "猫", steps=2) == paidiff.draw(pipe, fits, steps=2)


def test_weights_act_as_in_the_pipeline(tiny, folder):
    ours, theirs = (
        paidiff.draw(one, "(猫:5),狗", steps=4, negative_prompt="[模糊]") for one in (open_model(folder), tiny)
    )
    assert furthest([ours], [theirs]) <= 2
    assert furthest([ours], [paidiff.draw(tiny, "猫,狗", steps=4, negative_prompt="模糊")]) > 2


def test_whatever_but_drawing_is_one_line(folder, tmp_path):
    from paidiff_app.engine import Engine

    pipe = open_model(folder)
    for use in (LoRA, paidiff.FullTuning, paidiff.merge, lambda pipe: paidiff.set_scales(pipe, {"a": 1})):
        refused(["导出的模型只能画", "only draws"], lambda use=use: use(pipe))
    for open_it in (load, Engine):
        refused(["导出的模型只能画", "only draws"], lambda open_it=open_it: open_it(str(folder)))
    assert not hasattr(pipe, "unet")


def test_the_mini_model_over_all_steps(tmp_path):
    mini = load("mini")
    export(mini, tmp_path / "mini")
    pipe = open_model(tmp_path / "mini")
    prompts = ["雪地里的两只企鹅", "水墨画,荷塘"]
    assert furthest(paidiff.draw(pipe, prompts), paidiff.draw(mini, prompts)) <= 2


@pytest.mark.parametrize("prompt", ["", "变形金刚", "a big cat", "五只猫", "龘,雪地", "一只猫,草地"])
def test_hints_are_the_same(tiny, folder, prompt):
    assert check_prompt(open_model(folder), prompt) == check_prompt(tiny, prompt)


def test_drawing_imports_neither_torch_nor_diffusers(folder, run_python):
    code = f"""
import sys, paidiff_app, paidiff_lib as paidiff
paidiff.draw(paidiff_app.open_model({str(folder)!r}), "猫", steps=1)
print([name for name in ("torch", "diffusers", "transformers") if name in sys.modules])
"""
    done = run_python(code)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_the_command_exports_with_a_lora_and_draws(tiny, tiny_folder, tmp_path, paidiff):
    lora = LoRA(tiny, rank=2)
    for parameter in lora.parameters().values():
        parameter.data.normal_(std=0.3)
    lora.save(tmp_path / "lora")
    picture, target = sample(tiny, ["猫"], 1, 2), tmp_path / "out"
    done = paidiff("export", tiny_folder, "-o", target, "--lora", tmp_path / "lora")
    assert done.returncode == 0 and "/255" in done.stdout, done.stderr
    assert json.loads((target / "export.json").read_text())["source"] == str(tiny_folder)
    done = paidiff("draw", "猫", "--seed", 1, "--steps", 2, "--model", target, "-o", tmp_path / "a.png")
    assert done.returncode == 0, done.stderr
    from PIL import Image

    assert furthest([Image.open(tmp_path / "a.png")], picture) <= 2
    done = paidiff("draw", "猫", "--model", target, "--lora", tmp_path / "lora", "-o", tmp_path / "a.png")
    assert done.returncode == 1 and "paidiff export" in done.stderr and "Traceback" not in done.stderr


def test_another_picture_is_not_saved_and_an_older_export_stays(tiny, folder, tmp_path, monkeypatch):
    target = tmp_path / "out"
    export(tiny, target)
    before = {path.name: path.read_bytes() for path in target.iterdir() if path.is_file()}
    real = exported.OnnxPipeline.run_batch
    monkeypatch.setattr(
        exported.OnnxPipeline, "run_batch", lambda self, p, u, seeds, *rest: real(self, p, u, [9] * len(p), *rest)
    )
    refused(["not saved", "/ 255"], lambda: export(tiny, target))
    assert {path.name: path.read_bytes() for path in target.iterdir() if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    monkeypatch.undo()
    tiny.scheduler.register_to_config(steps_offset=0)
    export(tiny, target)  # an older export is replaced whole
    assert (target / "export.json").read_bytes() != before["export.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for name in ("notes.txt", "tokenizer/mine.json", "unet.onnx"):  # added or changed by hand
        kept = (target / name).read_bytes() if (target / name).exists() else None
        (target / name).write_bytes(b"mine")
        refused([name, "stays"], lambda: export(tiny, target))
        assert (target / name).read_bytes() == b"mine"
        (target / name).write_bytes(kept) if kept else (target / name).unlink()
    tiny.save_pretrained(tmp_path / "model")
    refused(["stays"], lambda: export(tiny, tmp_path / "model"))


def test_nothing_else_is_overwritten(tiny, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    refused(["notes.txt", "stays"], lambda: export(tiny, tmp_path))
    LoRA(tiny, rank=1).save(tmp_path / "lora")
    refused(["holds something else"], lambda: export(tiny, tmp_path / "lora"))
    refused(["choose a new folder"], lambda: export(tiny, tmp_path / "notes.txt"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lora", "notes.txt"]


def test_a_full_disk_is_one_line(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    refused(["the disk is too full"], lambda: export(tiny, tmp_path / "out"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["PNDMScheduler", "DDIMScheduler"])
def test_the_sampler_of_a_published_index_is_exchanged_and_said(tiny_folder, tmp_path, capsys, kind):
    """Their index names one of these two, over the settings of the other."""
    shutil.copytree(tiny_folder, tmp_path / "model")
    index = json.loads((tmp_path / "model/model_index.json").read_text())
    (tmp_path / "model/model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", kind]}))
    pipe = load(tmp_path / "model")
    export(pipe, tmp_path / "out")
    assert f"DPM++ 2M in place of {kind}" in capsys.readouterr().out and type(pipe.scheduler).__name__ == kind
    pipe.scheduler = sampler(pipe.scheduler, "DPM++ 2M")
    ours, theirs = (paidiff.draw(one, "猫", steps=5) for one in (open_model(tmp_path / "out"), pipe))
    assert furthest([ours], [theirs]) <= 2


def test_half_precision_goes_to_single_and_back(tiny, tmp_path, capsys):
    tiny.to(torch.bfloat16)
    export(tiny, tmp_path / "out")
    assert "in single precision" in capsys.readouterr().out
    assert {part.dtype for part in (tiny.unet, tiny.text_encoder, tiny.vae)} == {torch.bfloat16}


def test_a_large_model_is_compared_over_two_steps_of_one_picture(tiny, tmp_path, monkeypatch):
    drawn, real = [], exported.OnnxPipeline.run_batch
    watched = lambda self, prompts, *rest: drawn.append((prompts, rest[2])) or real(self, prompts, *rest)
    monkeypatch.setattr(exported.OnnxPipeline, "run_batch", watched)
    monkeypatch.setattr("paidiff_lib.memory.SMALL", 1)
    export(tiny, tmp_path / "out")
    assert drawn == [(["雪地里的两只企鹅"], 2)]


def test_weights_that_lie_scattered_are_gathered_in_one_file(folder, tmp_path):
    """As torch leaves a graph of more than 2 GB."""
    shutil.copytree(folder, tmp_path / "out")
    graph = onnx.load(tmp_path / "out/unet.onnx")
    onnx.save(
        graph, tmp_path / "out/unet.onnx", save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=0
    )
    assert len(list((tmp_path / "out").iterdir())) > 50
    _gather_weights(tmp_path / "out/unet.onnx")
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there - {path.name for path in folder.iterdir()} == {"unet.onnx.data"}
    ours, theirs = (paidiff.draw(open_model(one), "猫", steps=2) for one in (tmp_path / "out", folder))
    assert ours == theirs


def test_what_cannot_be_exported_is_refused(tiny, tmp_path):
    tiny.scheduler = DPMSolverMultistepScheduler(use_karras_sigmas=True)
    refused(["use_karras_sigmas"], lambda: export(tiny, tmp_path / "out"))
    assert not list(tmp_path.iterdir())


def test_a_damaged_export_and_other_tasks_are_refused(folder, tmp_path):
    refused(["open_model"], lambda: load(folder, "img2img"))
    (tmp_path / "export.json").write_text('{"format": 1}')
    refused(["cannot read the exported model"], lambda: open_model(tmp_path))
    (tmp_path / "export.json").write_text('{"format": 99}')
    refused(["99"], lambda: open_model(tmp_path))


def test_without_the_runtime_one_line(folder, tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    refused(["onnx,", ".[export]"], lambda: export(tiny, tmp_path / "out"))
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    refused([".[export]"], lambda: open_model(folder))
    refused([".[export]"], lambda: export(tiny, tmp_path / "out"))
