"""Measurements that measure: each is tried on pictures whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from paidiff_lib.metrics import distance, interval, sharpness, wilson
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


def test_an_interval_without_clusters_is_the_bootstrap_of_the_mean():
    values = np.random.RandomState(1).rand(30)
    means = np.random.RandomState(0).choice(values, (2000, 30)).mean(1)
    assert interval(values) == pytest.approx((values.mean(), *np.percentile(means, (2.5, 97.5))))
    assert interval(values, clusters=range(30)) == interval(values)


# Wilson 1927; the second row is Newcombe's (1998, table I), the third his too.
WILSON = {(0, 12): (0, 0.2425), (81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (1, 29): (0.0061, 0.1718)}


@pytest.mark.parametrize("counts, ends", WILSON.items())
def test_wilson_is_the_textbooks(counts, ends):
    (successes, n), (low, high) = counts, ends
    assert wilson(successes, n) == pytest.approx((successes / n, low, high), abs=6e-5)
    assert wilson(n - successes, n) == pytest.approx((1 - successes / n, 1 - high, 1 - low), abs=6e-5)


def test_wilson_has_a_width_at_both_ends_and_says_nothing_of_nothing():
    assert wilson(0, 36).low == 0 and wilson(0, 36).high == pytest.approx(0.0964, abs=1e-4)
    assert wilson(12, 12).low == pytest.approx(0.7575, abs=1e-4) and wilson(12, 12).high == 1
    assert np.isnan(wilson(0, 0).mean) and wilson(0, 0)[1:] == (0, 1)
    assert wilson(5, 10, level=0.99).low < wilson(5, 10).low < wilson(5, 10, level=0.5).low


def coverage(intervals, truth):
    return np.mean([low <= truth <= high for _, low, high in intervals])


def test_wilson_covers():
    """Over binomial samples, the share of intervals that hold the true rate is about 95 %."""
    for rate in (0.1, 0.5, 0.9):
        drawn = np.random.RandomState(0).binomial(36, rate, 3000)
        assert 0.93 < coverage([wilson(k, 36) for k in drawn], rate) < 0.98


def test_three_pictures_of_a_prompt_are_not_three():
    """Thirty prompts of three pictures each, alike within a prompt: an interval over pictures is far too short."""
    rs, prompts = np.random.RandomState(0), np.repeat(np.arange(30), 3)
    runs = [np.repeat(rs.randn(30), 3) + 0.2 * rs.randn(90) for _ in range(400)]
    naive, clustered = ([interval(run, clusters, draws=400) for run in runs] for clusters in (None, prompts))
    assert coverage(naive, 0) < 0.78 and 0.9 < coverage(clustered, 0) < 0.98


def test_clusters_may_differ_in_size():
    """By hand: clusters of means 0 (three values) and 1 (one value) give 0, 0.25 or 1 when two are drawn."""
    mean, low, high = interval([0, 0, 0, 1], ["a", "a", "a", "b"])
    assert (mean, low, high) == (0.25, 0, 1)


def test_an_estimate_is_a_tuple_that_formats_itself():
    estimate = wilson(12, 12)
    assert f"{estimate:.0%}" == "100% [76%, 100%]" and str(estimate) == "1.00 [0.76, 1.00]"
    assert "%.2f [%.2f, %.2f]" % estimate == "1.00 [0.76, 1.00]"


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
