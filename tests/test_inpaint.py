"""Inpainting on any model: what lies outside the mask stays, what lies inside follows seed and prompt."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

import paidiff_lib as paidiff
from paidiff_lib import PaidiffError, inpaint
from paidiff_lib.models.encode import native_size


@pytest.fixture
def pipe(tiny_folder):
    return paidiff.load(tiny_folder, task="img2img")


@pytest.fixture
def picture(pipe):
    side = native_size(pipe)
    noise = np.random.RandomState(0).randint(0, 255, (side, side, 3), np.uint8)
    return Image.fromarray(noise)


@pytest.fixture
def mask(picture):
    """White on the right half."""
    drawn = Image.new("L", picture.size)
    ImageDraw.Draw(drawn).rectangle([picture.width // 2, 0, picture.width, picture.height], fill=255)
    return drawn


def halves(picture):
    array = np.asarray(picture)
    return np.split(array, 2, axis=1)


def test_outside_the_mask_every_pixel_stays(pipe, picture, mask):
    left, right = halves(inpaint(pipe, "猫", picture, mask, steps=3))
    assert np.array_equal(left, halves(picture)[0]) and not np.array_equal(right, halves(picture)[1])


def test_the_seed_decides_the_inside(pipe, picture, mask):
    first, again, other = (inpaint(pipe, "猫", picture, mask, seed=s, steps=3).tobytes() for s in (1, 1, 2))
    assert first == again != other


def test_the_inside_is_drawn_to_fit_the_outside(pipe, picture, mask):
    """Another outside gives another inside: the steps see what they must fit to."""
    other = picture.copy()
    other.paste("red", (0, 0, picture.width // 2, picture.height))
    assert not np.array_equal(*(halves(inpaint(pipe, "猫", p, mask, steps=4))[1] for p in (picture, other)))


@pytest.mark.parametrize("settings", [{"strength": 0}, {"strength": 1.2}, {"steps": 0}, {"seed": -1}])
def test_impossible_settings_are_refused(pipe, picture, mask, settings):
    with pytest.raises(PaidiffError):
        inpaint(pipe, "猫", picture, mask, **settings)
