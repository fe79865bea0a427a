"""Pictures larger than the model was taught."""

import numpy as np
import pytest
from conftest import refused
from PIL import Image

import paidiff_lib as paidiff
from paidiff_lib import draw, hires, upscaling
from paidiff_lib.generate import sample
from paidiff_lib.upscaling import dilated, first_size

SETTINGS = dict(size=(128, 96), steps=4, seed=1)


def test_a_picture_is_drawn_small_and_then_again(tiny, monkeypatch):
    picture, calls = hires(tiny, "猫,草地", strength=0.5, **SETTINGS), []
    assert picture.size == (128, 96)
    assert np.array_equal(picture, hires(tiny, ["猫,草地"], strength=0.5, **SETTINGS)[0])
    monkeypatch.setattr(
        upscaling, "sample", lambda pipe, prompts, **given: calls.append(given) or sample(pipe, prompts, **given)
    )
    hires(tiny, "猫,草地", strength=0.5, **SETTINGS)
    first, second = calls
    assert first["size"] == (64, 48) and "images" not in first
    assert second["strength"] == 0.5 and second["images"][0].size == (128, 96) and second["seed"] == first["seed"] == 1
    small = sample(tiny, ["猫,草地"], size=(64, 48), seed=1, steps=4)[0]
    assert np.array_equal(second["images"][0], small.resize((128, 96), Image.Resampling.LANCZOS))


def test_its_shape_is_the_one_asked_for(tiny):
    sizes = [first_size(tiny, size) for size in ((256, 128), (128, 512), (128, 128), (1024, 64))]
    assert sizes == [(64, 32), (16, 64), (64, 64), (64, 8)]


def test_between_two_multiples_a_small_model_draws_the_larger(tiny, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        upscaling,
        "sample",
        lambda pipe, prompts, images=None, **_: sizes.append(images and images[0].size) or [Image.new("RGB", (64, 64))],
    )
    (picture,) = upscaling.sample_hires(tiny, ["猫"], 0, 4, None, None, (96, 72))
    assert sizes == [None, (128, 96)] and picture.size == (96, 72)
    monkeypatch.setattr(upscaling, "is_small", lambda pipe: False)
    upscaling.sample_hires(tiny, ["猫"], 0, 4, None, None, (96, 72))
    assert sizes[2:] == [None, (96, 72)]  # as in the WebUI


def test_one_subject_stays_one():
    """The small model at twice its size: drawn at once, the judge sees several; by hires it counts one."""
    from paidiff_world.judge import hits
    from paidiff_world.measure import parse

    pipe, prompts = paidiff.load("mini"), ["一头奶牛,花海", "一辆汽车,雪地", "一只企鹅,沙滩"]
    specs = [parse(prompt) for prompt in prompts]
    large = hires(pipe, prompts, size=(256, 256), seed=[1, 2, 3], steps=8)
    at_once = draw(pipe, prompts, size=(256, 256), seed=[1, 2, 3], steps=4)
    assert hits(large, specs)["count"].sum() == 3 and hits(at_once, specs)["count"].sum() < 2


def test_the_network_is_as_it_was(tiny):
    before = [(layer.dilation, layer.padding) for layer in _convolutions(tiny)]
    with pytest.raises(RuntimeError), dilated(tiny.unet, 2):
        assert {layer.dilation for layer in _convolutions(tiny) if layer.kernel_size == (3, 3)} == {(1, 1), (2, 2)}
        assert tiny.unet.conv_in.dilation == tiny.unet.conv_out.dilation == (1, 1)
        raise RuntimeError
    assert [(layer.dilation, layer.padding) for layer in _convolutions(tiny)] == before


def test_what_cannot_be_redrawn_is_refused(tiny):
    refused(["steps x strength"], lambda: hires(tiny, "猫", size=(128, 128), steps=2, strength=0.3))
    refused(["strength above 0"], lambda: hires(tiny, "猫", size=(128, 128), strength=1.5))
    refused(["multiples of 8"], lambda: hires(tiny, "猫", size=(100, 128)))
    refused(["text to image"], lambda: hires(object(), "猫", size=(128, 128)))


def _convolutions(pipe):
    import torch

    return [layer for layer in pipe.unet.modules() if isinstance(layer, torch.nn.Conv2d)]
