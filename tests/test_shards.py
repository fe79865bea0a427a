"""Pictures encoded into shards: what training reads there is what it would have made itself."""

import io
import json
import os
import random
import signal
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from processes import ended, run
from typer.testing import CliRunner

import paidiff_lib
from paidiff_app.cli import app
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.datasets.mixed import Mixed
from paidiff_lib.datasets.shards import EncodedShards
from paidiff_lib.errors import DataError, PaidiffError, Refused
from paidiff_lib.methods.controlnet import ControlNet
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.methods.lora import LoRA
from paidiff_lib.training import encoding
from paidiff_lib.training.api import train
from paidiff_lib.training.latents import LatentCache, ShardLatents
from paidiff_lib.training.randomness import StreamSampler


def picture(number):
    return Image.frombytes("RGB", (80, 64), random.Random(number).randbytes(80 * 64 * 3))


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(5):
        picture(i).save(folder / f"{i}.png")
    lines = [{"file_name": f"{i}.png", "text": ["一只猫", f"草地{i}"] if i else "雪地"} for i in range(5)]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(encoding, "SHARD", 2)


@pytest.fixture
def tiny(tiny_folder):
    return paidiff_lib.load(tiny_folder)


def write(pipe, data, output, **settings):
    return list(encoding.encode(pipe, data, output, **settings))


def test_what_is_read_is_what_would_have_been_made(tiny, pictures, tmp_path, small_shards):
    made = LatentCache(tiny, CaptionFolder(pictures, center_crop=False, random_flip=True), captions=[""])
    assert write(tiny, pictures, tmp_path / "shards", center_crop=False, random_flip=True)[-1] == (3, 3)
    data = EncodedShards(tmp_path / "shards")
    read = ShardLatents(tiny, data)
    assert len(data) == 5 and data.captions(1) == ("一只猫", "草地1")
    for index in range(5):
        for number, variant in enumerate(made.data.variants(index)):
            assert read.moments(index, number).equal(made.moments(index, variant))
        assert len(data.variants(index)) == 6
        for caption in data.captions(index):
            assert read.embedding(caption, index).equal(made.embedding(caption))
    assert read.embedding("", 3).equal(made.embedding(""))


def test_a_shard_is_a_plain_tar_of_webdatasets_samples(tiny, pictures, tmp_path, small_shards):
    write(tiny, pictures, tmp_path / "shards")
    with tarfile.open(tmp_path / "shards/shard-000001-0000.tar") as tar:
        assert tar.getnames()[:3] == ["00000000.json", "00000000.moments.npy", "00000000.embeddings.npy"]
        assert json.load(tar.extractfile("00000000.json"))["captions"] == ["一只猫", "草地2"]
        moments = np.load(io.BytesIO(tar.extractfile("00000000.moments.npy").read()))
    assert np.array_equal(moments[0], EncodedShards(tmp_path / "shards").moments(2, 0))


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_many_packed_files_are_opened_one_by_one(tiny, tmp_path, kind, monkeypatch):
    packs = tmp_path / "packs"
    packs.mkdir()
    for number in range(3):
        samples = [(f"{i}", picture(10 * number + i), f"一只猫{number}{i}") for i in range(2)]
        raw = lambda image: (image.save(file := io.BytesIO(), "PNG"), file.getvalue())[1]
        if kind == "tar":
            with tarfile.open(packs / f"{number}.tar", "w") as tar:
                for key, image, text in samples:
                    encoding._add(tar, f"{key}.png", raw(image)), encoding._add(tar, f"{key}.txt", text.encode())
        else:
            arrow = pytest.importorskip("pyarrow")
            parquet = pytest.importorskip("pyarrow.parquet")
            rows = [{"image": {"bytes": raw(image), "path": None}, "text": text} for _, image, text in samples]
            parquet.write_table(arrow.Table.from_pylist(rows), packs / f"{number}.parquet")
    monkeypatch.setattr(encoding, "SHARD", 1)
    write(tiny, packs, tmp_path / "shards")
    data = EncodedShards(tmp_path / "shards")
    assert data.names[-1] == "shard-000002-0001" and data.counts == [1] * 6
    assert [data.caption(i) for i in range(6)] == [f"一只猫{n}{i}" for n in range(3) for i in range(2)]


def test_many_processes_write_it_and_a_killed_one_goes_on(tiny, pictures, tmp_path, small_shards):
    output, encode = tmp_path / "shards", encoding.encode_picture

    def part(rank, dies=False):
        seen = []

        def counted(pipe, image):
            seen.append(image)
            if dies and rank == 0 and len(seen) == 3:  # in its second shard
                os.kill(os.getpid(), signal.SIGKILL)
            return encode(pipe, image)

        encoding.encode_picture = counted
        write(tiny, pictures, output, number=rank, count=2)
        (tmp_path / f"seen{rank}").write_text(str(len(seen)))

    pids = []
    for rank in (0, 1):
        pid = os.fork()
        if not pid:
            part(rank, dies=True)
            os._exit(0)
        pids.append(pid)
    assert [ended(pid, 300) for pid in pids] == [-signal.SIGKILL, 0]
    with pytest.raises(DataError, match="not completely encoded"):
        EncodedShards(output)
    run(part, 2)
    assert [(tmp_path / f"seen{rank}").read_text() for rank in (0, 1)] == ["1", "0"]  # only what was lost is made again
    write(tiny, pictures, tmp_path / "alone")
    names = [path.name for path in sorted((tmp_path / "alone").iterdir())]
    assert [(output / name).read_bytes() for name in names] == [
        (tmp_path / "alone" / name).read_bytes() for name in names
    ]


def test_the_buffer_goes_through_everything_once_an_epoch_and_goes_on_exactly():
    whole = StreamSampler([4, 3, 5], seed=1, size=3)
    order = whole.take(36)
    assert [sorted(order[start : start + 12]) for start in (0, 12, 24)] == [list(range(12))] * 3
    assert order[:12] != order[12:24]
    for stop in (1, 5, 11, 12, 20):
        first, second = StreamSampler([4, 3, 5], seed=1, size=3), StreamSampler([4, 3, 5], seed=1, size=3)
        first.take(stop)
        vars(second).update(json.loads(json.dumps(vars(first))))
        assert second.take(36 - stop) == order[stop:]
    # in the order of the shards, but for what fits the buffer: so a disk reads on and on
    far = StreamSampler([100] * 10, seed=0, size=50).take(1000)
    shards = [index // 100 for index in far]
    assert all(len({*shards[start : start + 50]}) <= 5 for start in range(0, 1000, 50))


@pytest.mark.parametrize("method", [lambda pipe: LoRA(pipe, rank=2), FullTuning, lambda p: LoRA(p, text_encoder=True)])
def test_training_on_shards_stopped_and_gone_on_with_ends_the_same(
    tiny_folder, pictures, tmp_path, method, small_shards
):
    write(paidiff_lib.load(tiny_folder), pictures, tmp_path / "shards", random_flip=True)

    def weights(output, *stops):
        for steps in (*stops, 6):
            made = method(paidiff_lib.load(tiny_folder))
            settings = {"batch_size": 2, "output": tmp_path / output, "save_every": 1}
            for step in train(made, tmp_path / "shards", 6, 1e-2, **settings):
                if step.index == steps:
                    break
        return {name: p.detach().clone() for name, p in made.parameters().items()}

    straight, stopped = weights("a"), weights("b", 1, 4)
    assert all(stopped[name].equal(weight) for name, weight in straight.items())


def test_what_cannot_be_trained_on_shards_is_refused_in_one_line(tiny, pictures, tmp_path, published):
    write(tiny, pictures, tmp_path / "shards")
    data = EncodedShards(tmp_path / "shards")
    with pytest.raises(Refused, match="looks at the pictures"):
        train(ControlNet(tiny), data, 1)
    with pytest.raises(PaidiffError, match="cannot be mixed"):
        Mixed(data, CaptionFolder(pictures))
    with pytest.raises(Refused, match="encoded otherwise"):
        write(tiny, pictures, tmp_path / "shards", size=32)
    with pytest.raises(Refused, match="already holds something"):
        write(tiny, pictures, pictures)
    with torch.no_grad():
        tiny.vae.encoder.conv_in.weight.add_(1)
    with pytest.raises(Refused, match="encoded by another model"):
        train(LoRA(tiny), data, 1)


def test_the_command_says_how_far_it_is(tiny_folder, pictures, tmp_path):
    command = ["encode", str(pictures), "-o", str(tmp_path / "shards"), "--model", str(tiny_folder)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 and done.stdout.endswith("1/1\n"), done.output
    assert len(EncodedShards(tmp_path / "shards")) == 5
