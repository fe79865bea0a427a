"""A training in several processes: as one process would, with few messages, each picture encoded once."""

import hashlib
import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from processes import run

import paidiff_lib
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.errors import Refused
from paidiff_lib.methods import dreambooth
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.methods.lora import LoRA
from paidiff_lib.methods.textual_inversion import TextualInversion
from paidiff_lib.training import latents
from paidiff_lib.training.accelerator import make_accelerator
from paidiff_lib.training.api import train
from paidiff_lib.training.checkpoint import Store, verifies
from paidiff_lib.training.together import agree


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(6):
        Image.frombytes("RGB", (80, 64), random.Random(i).randbytes(80 * 64 * 3)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text("一只猫在雪地", encoding="utf-8")
    return folder


METHODS = {
    "lora": lambda pipe: LoRA(pipe, rank=2),
    "full": FullTuning,
    "text": lambda pipe: LoRA(pipe, rank=2, text_encoder=True),
    "word": lambda pipe: TextualInversion(pipe, "<小奶猫>", "猫"),
}


def name_of(image):
    return hashlib.sha256(image.tobytes()).hexdigest()


def train_in(count, model, pictures, kind, folder, cache=None, **settings):
    """The losses of a run in `count` processes, the messages of an update, how often each picture was encoded."""
    folder.mkdir()

    def job(rank):
        from torch.profiler import ProfilerActivity, profile

        encoded, encode = [], latents.encode_picture
        latents.encode_picture = lambda pipe, image: (
            encoded.append(image.tobytes().hex()[:4096]),
            encode(pipe, image),
        )[1]
        method, seen = METHODS[kind](paidiff_lib.load(model)), []
        each = {"batch_size": 4 // count, "gradient_accumulation_steps": 1, **settings}
        steps = train(method, CaptionFolder(pictures, center_crop=False), 3, 1e-2, cache=cache, **each)
        losses = [next(steps).loss]
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            losses.append(next(steps).loss)
        losses += [step.loss for step in steps]
        seen = Counter(event.name for event in profiler.events() if event.name.startswith("gloo:"))
        weights = {name: p.detach().clone() for name, p in method.parameters().items()}
        torch.save(weights, folder / f"{rank}.pt")
        (folder / f"{rank}.json").write_text(json.dumps([losses, sum(seen.values()), encoded]))

    run(job, count)
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]
    weights = [torch.load(folder / f"{rank}.pt") for rank in range(count)]
    assert all(w[name].equal(weights[0][name]) for w in weights for name in w)
    return found[0][0], found[0][1], Counter(one for of_rank in found for one in of_rank[2])


@pytest.mark.parametrize("kind", METHODS)
def test_several_processes_train_as_one_does(tiny_folder, pictures, tmp_path, kind):
    alone, _, once = train_in(1, tiny_folder, pictures, kind, tmp_path / "1")
    counts = (2, 4) if kind == "lora" else (2,)
    for count in counts:
        losses, messages, encoded = train_in(count, tiny_folder, pictures, kind, tmp_path / str(count))
        assert losses == pytest.approx(alone, rel=1e-5)
        assert 0 < messages <= 6  # a bucket or two, the loss, whether somebody was interrupted
        assert encoded == once and set(encoded.values()) == {1}


def test_a_cache_in_common_is_filled_by_all(tiny_folder, pictures, tmp_path):
    _, _, encoded = train_in(2, tiny_folder, pictures, "lora", tmp_path / "2", tmp_path / "cache")
    assert len(encoded) == 6 * 3 and set(encoded.values()) == {1}
    assert train_in(2, tiny_folder, pictures, "lora", tmp_path / "again", tmp_path / "cache")[2] == {}


def test_pictures_of_a_class_are_drawn_by_one(tiny_folder, pictures, tmp_path):
    def job(rank):
        drawn, draw = [], dreambooth.sample
        dreambooth.sample = lambda pipe, prompts, *rest: (drawn.extend(prompts), draw(pipe, prompts, *rest, steps=1))[1]
        data = CaptionFolder(pictures, captions="一只<小>狗")
        dreambooth.with_prior(paidiff_lib.load(tiny_folder), data, "一只狗", tmp_path / "dogs", 3)
        (tmp_path / f"{rank}.json").write_text(json.dumps(drawn))

    run(job, 2)
    assert [len(json.loads((tmp_path / f"{rank}.json").read_text())) for rank in range(2)] == [3, 0]


def test_gradients_are_told_once_an_update(tiny_folder, pictures, tmp_path, monkeypatch):
    from paidiff_lib.training import loop

    monkeypatch.setattr(loop, "plan_passes", lambda batch, batches, cells: (batch, batches))  # nothing goes at once
    settings = {"batch_size": 1, "gradient_accumulation_steps": 2}
    alone, messages, _ = train_in(2, tiny_folder, pictures, "lora", tmp_path / "2", **settings)
    assert messages <= 6
    assert alone == pytest.approx(train_in(2, tiny_folder, pictures, "lora", tmp_path / "one")[0], rel=1)


def test_sharded_full_fine_tuning_trains_goes_on_and_opens(tiny_folder, pictures, tmp_path):
    """torch's fully_shard over gloo: the weights of an unsharded run, whole in the checkpoint, in a plain UNet."""

    def part(steps, name, shard):
        def job(rank):
            from torch.distributed.fsdp import fully_shard

            torch.distributed.is_initialized() or torch.distributed.init_process_group("gloo")
            pipe = paidiff_lib.load(tiny_folder)
            pipe.unet.float()
            method = FullTuning(pipe)
            shard and fully_shard(pipe.unet)
            settings = {"batch_size": 2, "ema": 0.9, "save_every": 2, "output": tmp_path / name}
            for step in train(method, CaptionFolder(pictures), steps, 1e-3, lr_scheduler="cosine", **settings):
                if shard and step.index < steps:
                    held = sum(p.to_local().numel() for p in method.parameters().values())
                    assert held < 0.6 * sum(p.numel() for p in method.parameters().values())
            if rank == 0:
                method.save_model(tmp_path / name / "model")

        run(job, 2)

    part(4, "plain", shard=False)
    part(4, "sharded", shard=True)
    (tmp_path / "sharded/checkpoint-4").rename(tmp_path / "sharded/away")
    part(4, "sharded", shard=True)  # goes on from checkpoint-2
    opened = [
        UNet2DConditionModel.from_pretrained(tmp_path / name, subfolder="unet").state_dict()
        for name in ("plain/model", "sharded/model", "sharded/away", "sharded/checkpoint-4", "plain/checkpoint-4")
    ]
    for name, weight in opened[0].items():
        assert opened[1][name].allclose(weight, atol=1e-6), name
        assert opened[2][name].equal(opened[3][name]) and opened[2][name].allclose(opened[4][name], atol=1e-6)


@pytest.mark.parametrize(
    "plan, device, said",
    [
        ("FSDP", "cuda", "cannot be sharded"),
        ("DEEPSPEED", "cuda", "DeepSpeed was never tried"),
        ("DEEPSPEED", "cpu", "DeepSpeed was never tried"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_in_one_line(tiny_folder, monkeypatch, plan, device, said):
    monkeypatch.setenv(f"ACCELERATE_USE_{plan}", "true")
    monkeypatch.setattr("paidiff_lib.training.accelerator.device", lambda: device)
    with pytest.raises(Refused, match=said):
        make_accelerator(None, LoRA(paidiff_lib.load(tiny_folder), rank=1))


def test_fsdp_on_a_cpu_is_said_in_one_line(tiny_folder, monkeypatch, capsys):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    make_accelerator(None, LoRA(paidiff_lib.load(tiny_folder), rank=1))
    assert "DDP on a CPU" in capsys.readouterr().out


def test_a_machine_without_the_checkpoint_is_sent_it(tmp_path):
    """Two machines that see different folders under one path: the first one's newest intact checkpoint counts."""

    def job(rank):
        from accelerate import PartialState

        (tmp_path / str(rank)).mkdir()
        os.chdir(tmp_path / str(rank))
        store = Store("out")
        if rank == 0:
            for step in (2, 4):
                store.save(step, lambda folder: (folder / "weights").write_bytes(bytes([step]) * 99))
            Path("out/checkpoint-4/weights").write_bytes(b"damaged")
        else:
            store.save(6, lambda folder: (folder / "weights").write_text("another run's"))
        found = agree(PartialState(cpu=True), store, True)
        assert found == Path("out/checkpoint-2") and (found / "weights").read_bytes() == bytes([2]) * 99
        assert verifies(found)

    run(job, 2, nodes=True)
