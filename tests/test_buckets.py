"""Aspect-ratio buckets: pictures that are no squares are trained on in their own shape, if that is asked for."""

import numpy as np
import pytest
import torch
from conftest import refused
from PIL import Image

import paidiff_lib
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.datasets.images import square
from paidiff_lib.methods.controlnet import ControlNet
from paidiff_lib.methods.dreambooth import with_prior
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.methods.lora import LoRA
from paidiff_lib.methods.textual_inversion import TextualInversion
from paidiff_lib.training.api import train
from paidiff_lib.training.randomness import BucketSampler, ResumableSampler, make_sampler

SIZES = [(64, 96), (70, 100), (128, 64), (64, 64), (90, 90), (96, 70), (30, 90)]


def write(folder, sizes):
    """Pictures with a red band at the top, a blue one at the bottom, the left half green between."""
    folder.mkdir()
    for i, (width, height) in enumerate(sizes):
        picture = Image.new("RGB", (width, height), "white")
        picture.paste("green", (0, 0, width // 2, height))
        picture.paste("red", (0, 0, width, height // 5))
        picture.paste("blue", (0, height - height // 5, width, height))
        picture.save(folder / f"{i}.png")
    return folder


@pytest.fixture
def pictures(tmp_path):
    return write(tmp_path / "pictures", SIZES)


def opened(folder, **settings):
    return CaptionFolder(folder, captions="一只猫", **settings)


SHAPES = {(700, 700): (512, 512), (512, 768): (512, 768), (1536, 1024): (768, 512), (600, 800): (512, 704)}
SHAPES |= {(400, 1600): (512, 768), (520, 512): (512, 512), (3000, 100): (768, 512)}


def test_the_nearest_of_nine_shapes(tmp_path):
    data = opened(write(tmp_path / "all", SHAPES), buckets=True)
    assert [data.shape(i, 512) for i in range(len(data))] == list(SHAPES.values())
    assert {data.shape(i, 768) for i in range(len(data))} >= {(768, 768), (768, 1152)}
    for size in (64, 72, 128, 512, 768):
        assert not any(side % 8 for i in range(len(data)) for side in data.shape(i, size))
    assert {opened(tmp_path / "all").shape(i, 512) for i in range(len(data))} == {(512, 512)}


def test_nothing_is_cut_from_a_picture_of_that_shape_and_little_from_others(pictures):
    data, plain = opened(pictures, buckets=True), opened(pictures)
    top_and_bottom = lambda picture: [picture.getpixel((picture.width // 2, y)) for y in (2, picture.height - 3)]
    assert data.image(0, 64).size == (64, 96) and top_and_bottom(data.image(0, 64)) == [(255, 0, 0), (0, 0, 255)]
    assert top_and_bottom(plain.image(6, 64)) != [(255, 0, 0), (0, 0, 255)]
    assert data.image(6, 64).size == (64, 96)  # 30 x 90 loses its ends
    left = np.asarray(data.image(2, 64, (0.5, False)))[32]
    assert left.shape[0] == 96 and np.array_equal(np.asarray(data.image(2, 64, (0.5, True)))[32], left[::-1])


def test_crops_only_where_something_is_left_over(pictures):
    data, plain = (opened(pictures, center_crop=False, buckets=buckets) for buckets in (True, False))
    assert [len(data.variants(i)) for i in range(len(data))] == [1, 3, 3, 1, 1, 3, 3]
    assert [len(plain.variants(i)) for i in range(len(data))] == [3, 3, 3, 1, 1, 3, 3]


def test_every_batch_has_one_shape_and_every_picture_comes():
    shapes = [(64, 96)] * 5 + [(64, 64)] * 4 + [(96, 64)]
    sampler, again = (BucketSampler(shapes, 2, seed=1) for _ in range(2))
    batches = [sampler.take(2) for _ in range(6)]  # an epoch
    assert all(len({shapes[index] for index in batch}) == 1 for batch in batches)
    assert {index for batch in batches for index in batch} == set(range(10))
    following = [sampler.take(2) for _ in range(6)]
    assert sorted(map(sorted, batches)) != sorted(map(sorted, following))
    vars(again).update(vars(sampler))  # what a checkpoint keeps
    assert again.take(2) == sampler.take(2)


METHODS = {
    "lora": lambda pipe: LoRA(pipe, rank=2, text_encoder=True),
    "textual inversion": TextualInversion,
    "full": FullTuning,
    "controlnet": ControlNet,
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_in_several_shapes(name, tiny, pictures):
    method, seen = METHODS[name](tiny), set()
    predict = method.predict
    method.predict = lambda latents, *rest: (seen.add(tuple(latents.shape)), predict(latents, *rest))[1]
    list(train(method, opened(pictures, buckets=True), 5, 1e-2, batch_size=2))
    assert len(seen) >= 3 and {shape[0] for shape in seen} == {2}
    assert {shape[2:] for shape in seen} <= {(8, 8), (12, 8), (11, 8), (8, 12), (8, 11)}


def test_beside_class_pictures(tiny, pictures, tmp_path):
    data = with_prior(tiny, opened(pictures, size=64, buckets=True), "一只狗", tmp_path / "class", 2)
    assert {data.shape(i, 64) for i in range(len(data))} > {(64, 64), (64, 96)}
    list(train(LoRA(tiny, rank=2), data, 2, 1e-2, batch_size=2))


def run(folder, data, steps=4, **settings):
    method = LoRA(paidiff_lib.load(folder), rank=2)
    for step in train(method, data, 4, 1e-2, batch_size=2, **settings):
        if step.index == steps:
            break
    return {name: p.detach().clone() for name, p in method.parameters().items()}


def same(one, other):
    return all(one[name].equal(other[name]) for name in one)


def test_a_run_in_several_shapes_goes_on_where_it_stopped(tiny_folder, pictures, tmp_path):
    data = opened(pictures, buckets=True, random_flip=True)
    run(tiny_folder, data, steps=2, output=tmp_path / "run")
    assert same(run(tiny_folder, data, output=tmp_path / "run"), run(tiny_folder, data))
    plain = opened(pictures, random_flip=True)
    refused(["another run"], lambda: run(tiny_folder, plain, output=tmp_path / "run"))


def square_before(picture, size, place, flip):
    """As pictures were cut before there were buckets."""
    width, height = picture.size
    side = min(width, height)
    left, top = round((width - side) * place), round((height - side) * place)
    box = (left, top, left + side, top + side)
    picture = picture.resize((size, size), Image.Resampling.LANCZOS, box=box)
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else picture


def test_without_the_flag_every_bit_is_as_before(tiny_folder, pictures, tmp_path):
    data = opened(pictures, center_crop=False, random_flip=True)
    for index, (place, flip) in [(i, variant) for i in range(len(data)) for variant in data.variants(i)]:
        own = Image.open(pictures / f"{index}.png").convert("RGB")
        assert data.image(index, 64, (place, flip)).tobytes() == square_before(own, 64, place, flip).tobytes()
        assert square(own, 40, place, flip).tobytes() == square_before(own, 40, place, flip).tobytes()
    sampler = make_sampler([(64, 64)] * 7, 2, seed=3)
    assert type(sampler) is ResumableSampler
    chance = torch.Generator().manual_seed(3_000_009)
    assert sampler.take(7) == torch.randperm(7, generator=chance).tolist()
    squares = write(tmp_path / "squares", [(64, 64), (90, 90), (100, 100)])
    assert same(run(tiny_folder, opened(squares)), run(tiny_folder, opened(squares, buckets=True)))


def test_a_size_beyond_the_models_own_is_said_before_the_work(tiny, pictures, capsys, monkeypatch):
    from paidiff_lib.training import loop

    def encode(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "LatentCache", encode)
    for size, said in ((128, True), (64, False), (None, False), (56, False)):
        with pytest.raises(KeyboardInterrupt):
            train(LoRA(tiny, rank=2), opened(pictures, size=size), 1)
        printed = capsys.readouterr().out
        assert ("128x128, the model's own is 64x64: 4 times the work a step" in printed) == said


def test_the_flag(warm, pictures, tiny_folder, tmp_path):
    from test_project import ROOT

    flags = ["--train_data_dir", pictures, "--output_dir", tmp_path / "out", "--caption_column=text"]
    (pictures / "metadata.jsonl").write_text(
        "\n".join(f'{{"file_name": "{i}.png", "text": "一只猫"}}' for i in range(len(SIZES))), encoding="utf-8"
    )
    flags += ["--pretrained_model_name_or_path", tiny_folder, "--aspect_ratio_buckets", "--resolution=128", "--rank=1"]
    flags += ["--max_train_steps=2", "--train_batch_size=2"]
    done = warm(ROOT / "scripts/train_text_to_image_lora.py", *flags, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("128x128") < done.stdout.index("written to")
