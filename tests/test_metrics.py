"""Measurements that measure: each is tried on pictures whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from paidiff_lib.metrics import distance, interval, sharpness
from paidiff_world import Spec, render
from paidiff_world.heldout import held_out
from paidiff_world.judge import judge, prompt_following, similarity, truth


@pytest.fixture(scope="module")
def scenes():
    specs = [replace(spec, style="扁平", background="草地", colour=None) for spec, _ in held_out(40)]
    return [render(spec, np.random.RandomState(i)) for i, spec in enumerate(specs)], specs


def test_prompt_following_tells_right_from_wrong(scenes):
    pictures, specs = scenes
    right, wrong = prompt_following(pictures, specs), prompt_following(pictures, specs[1:] + specs[:1])
    assert right["subject"] > 0.85 and wrong["subject"] < 0.15
    assert right["background"] == wrong["background"] > 0.95  # all of them stand on grass


def test_colour_counts_only_where_it_was_asked_for(scenes):
    assert np.isnan(prompt_following(*scenes)["colour"])
    red = [
        Spec(subject, "草地", colour="红色")
        for subject in ("猫", "企鹅", "大象", "茶壶", "帆船", "松树", "熊猫", "兔子")
    ]
    assert prompt_following([render(spec, np.random.RandomState(i)) for i, spec in enumerate(red)], red)["colour"] > 0.7


def test_a_landscape_has_no_subject():
    wanted = truth(Spec(None, "草地", count=0))
    assert wanted["subject"] == "无" and wanted["count"] == "0"


@pytest.mark.parametrize("flaw, least", {"噪点": 0.8, "水印": 0.8, "画框": 0.8, "模糊": 0.2}.items())
def test_the_judge_sees_flaws(flaw, least):
    """Blur least: the judge is trained to forgive a little softness, which generated pictures have."""
    clear = [render(Spec("猫", "草地"), np.random.RandomState(i)) for i in range(8)]
    flawed = [render(Spec("猫", "草地", flaw=flaw), np.random.RandomState(i)) for i in range(8)]
    seen = [judge().probability(pictures, "flaw", flaw).mean() for pictures in (clear, flawed)]
    assert seen[0] < 0.05 and seen[1] > least


def test_sharpness_falls_with_blur():
    picture = render(Spec(), np.random.RandomState(0))
    values = [sharpness(picture.filter(ImageFilter.GaussianBlur(r))) for r in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True) and values[0] > 1.5 * values[-1]
    assert sharpness(Image.new("RGB", (64, 64), "red")) == 0


def test_distance():
    black, white = (Image.new("RGB", (8, 8), c) for c in ("black", "white"))
    assert distance(black, black) == 0 and distance(black, white) == 255


def test_interval_holds_the_mean_and_narrows():
    values = np.random.RandomState(0).normal(5, 1, 1000)
    mean, low, high = interval(values)
    wide = interval(values[:20])
    assert low < mean < high and abs(mean - 5) < 0.1 and high - low < (wide[2] - wide[1]) / 3


def test_similarity_tells_a_thing_it_was_never_taught_in_other_places():
    """The kitten of lesson 4, whose class the judge does not have."""
    shown = lambda name, places: [
        render(Spec(name, place, size=0.75, grid=True), np.random.RandomState(1)) for place in places
    ]
    references = shown("小奶猫", ("雪地", "沙滩", "森林"))
    kitten, cat, car = (
        similarity(shown(name, ("草地", "沙发", "湖面")), references) for name in ("小奶猫", "猫", "汽车")
    )
    assert kitten.shape == (3,) and kitten.min() > 0.8 and max(cat.max(), car.max()) < 0.6
