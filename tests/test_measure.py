"""What lessons measure with: prompts read as people write them, rates over scenes, one table."""

import numpy as np
import pytest
from PIL import Image

from paidiff_lib import PaidiffError, wilson
from paidiff_world import Spec, judge as judging, measure
from paidiff_world.heldout import held_out
from paidiff_world.judge import truth
from paidiff_world.scenes import plan

GREY = Image.new("RGB", (128, 128), "grey")


# --- prompts ------------------------------------------------------------------------------------------------------


def test_a_full_caption_is_read_as_what_it_was_written_from():
    for spec, caption in held_out(1000):
        assert truth(measure.parse(caption)) == truth(spec), caption
        assert measure.parse(caption).size == spec.size


def test_what_a_caption_leaves_out_is_not_invented():
    for seed in range(1000):
        spec, caption, _ = plan(seed)
        found = measure.parse(caption)
        assert (found.subject, found.colour, found.count) == (spec.subject, spec.colour, spec.count), caption
        assert found.background in (spec.background, None) and found.flaw in (spec.flaw, None), caption
        assert found.style in (spec.style, "扁平"), caption


@pytest.mark.parametrize(
    "prompt, spec",
    {
        "雪地里的两只企鹅,油画": ("企鹅", "雪地", "油画", None, 2),
        "绿色背景,一只蓝天鹅": ("天鹅", "绿色背景", "扁平", "蓝色", 1),
        "一只小猫头鹰,树林里,青花瓷": ("猫头鹰", "森林", "青花瓷", None, 1),
        "番茄炒蛋,草地": ("番茄炒蛋", "草地", "扁平", None, 1),
        "猫,高清": ("猫", None, "扁平", None, 1),
        "草地,水彩": (None, "草地", "水彩画", None, 0),
    }.items(),
)
def test_prompts(prompt, spec):
    found = measure.parse(prompt)
    assert (found.subject, found.background, found.style, found.colour, found.count) == spec


@pytest.mark.parametrize(
    "prompt, said",
    {
        "猫和狗,草地": "one subject only: 猫, 狗",
        "猫,油画,水墨画": "one style only",
        "<小奶猫>,草地": "never taught this: 小奶猫",
    }.items(),
)
def test_what_the_judge_cannot_answer_is_said(prompt, said):
    with pytest.raises(PaidiffError, match=said):
        measure.parse(prompt)


# --- rates --------------------------------------------------------------------------------------------------------


@pytest.fixture
def sees(monkeypatch):
    """sees(specs): a judge that sees these, whatever the pictures."""

    class Fake:
        classes = judging.CLASSES

        def __init__(self, specs):
            self.seen = [truth(spec) for spec in specs]

        def probabilities(self, pictures):
            assert len(pictures) == len(self.seen)
            index = lambda head: [self.classes[head].index(seen[head]) for seen in self.seen]
            return {head: np.eye(len(names))[index(head)] for head, names in self.classes.items()}

    def use(specs):
        for module in (judging, measure):
            monkeypatch.setattr(module, "judge", lambda: Fake(specs))

    return use


CAT, DOG = Spec("猫", "草地"), Spec("狗", "雪地", "油画")


def test_rates_are_over_scenes_not_pictures(sees):
    """Twelve prompts, three pictures each: all right is twelve of twelve."""
    prompts = [f"猫,草地,{word}" for word in "甲乙丙丁戊己庚辛壬癸子丑"] * 3
    sees([CAT] * 36)
    rates = measure.Rates([GREY] * 36, prompts)
    assert rates["subject"] == rates["all"] == wilson(12, 12) and rates.scenes["all"] == 12
    sees([CAT] * 12 + [DOG] * 24)
    rates = measure.Rates([GREY] * 36, prompts)
    assert rates["subject"] == pytest.approx(wilson(4, 12)) and rates["count"] == wilson(12, 12)


def test_only_what_was_asked_for_counts(sees):
    sees([CAT, CAT])
    rates = measure.Rates([GREY] * 2, ["猫", "红色的狗,雪地"])
    assert {head: estimate.mean for head, estimate in rates.items()} == {
        "subject": 0.5, "background": 0, "style": 1, "colour": 0, "count": 1, "all": 0.5,
    }  # fmt: skip
    assert rates.scenes["background"] == rates.scenes["colour"] == 1
    assert "colour" not in measure.Rates([GREY] * 2, ["猫", "狗"])
    with pytest.raises(PaidiffError, match="a prompt for each picture: 1, 2"):
        measure.Rates([GREY], ["猫", "狗"])


def test_seen_counts_any_class(sees):
    sees([CAT, DOG, DOG, DOG])
    assert measure.seen([GREY] * 4, "油画") == wilson(3, 4) == measure.seen([GREY] * 4, "雪地")
    assert measure.seen([GREY] * 4, "油画", ["a", "a", "b", "b"]) == wilson(1.5, 2)
    with pytest.raises(PaidiffError, match="never taught this: 印象派"):
        measure.seen([GREY] * 4, "印象派")


def test_differences_are_of_pairs(sees):
    """Newcombe 1998, method 10, by hand: 10 and 8 of 12, both right together in 8."""
    prompts, rates = [f"猫,草地,{i}" for i in range(12)], []
    for right in (10, 8):
        sees([CAT] * right + [DOG] * (12 - right))
        rates.append(measure.Rates([GREY] * 12, prompts))
    found = measure.difference(*rates)["subject"]
    (p, low, _), (q, _, over) = wilson(10, 12), wilson(8, 12)
    phi = (8 * 2 - 0 * 2 - 12 / 2) / (10 * 2 * 8 * 4) ** 0.5
    reach = ((p - low) ** 2 - 2 * phi * (p - low) * (over - q) + (over - q) ** 2) ** 0.5
    assert found[:2] == pytest.approx((2 / 12, 2 / 12 - reach))
    equal = measure.difference(*rates)["count"]  # all right in both, yet not certain
    assert equal == pytest.approx((0, -0.2425, 0.2425), abs=1e-4)
    few = measure._paired([1.0, 0.7], [0.8, 0.5])  # two scenes prove nothing
    assert few.low < 0 < few.high
    with pytest.raises(PaidiffError, match="of the same prompts"):
        measure.difference(rates[0], measure.Rates([GREY] * 12, prompts[1:] + prompts[:1]))


def test_the_interval_of_a_difference_covers():
    """Paired rates of 0.9 and 0.7 that go together, in 40 scenes."""
    rs, inside = np.random.RandomState(0), 0
    for _ in range(1000):
        chance = rs.rand(40)
        _, low, high = measure._paired((chance < 0.9) * 1.0, (chance < 0.7) * 1.0)
        inside += low <= 0.2 <= high
    assert 0.92 < inside / 1000 < 0.99


# --- pictures -----------------------------------------------------------------------------------------------------


def test_real_scenes_are_the_ceiling_and_the_next_prompt_the_floor():
    prompts = [caption for _, caption in held_out(16)] + ["猫"]
    ceiling = measure.ceiling(prompts)
    floor = measure.floor(ceiling)
    assert ceiling["all"].mean > 0.8 and floor["all"].mean < 0.2 and floor.pictures == ceiling.pictures
    assert measure.ceiling(prompts, seed=1).pictures != ceiling.pictures


def test_following_draws_every_prompt_with_seeds_of_its_own(monkeypatch, sees):
    asked = []
    monkeypatch.setattr(measure, "sample", lambda pipe, *args, **kw: asked.append((*args, kw)) or [GREY] * 4)
    sees([CAT, DOG] * 2)
    rates = measure.following(None, ["猫,草地", "狗,雪地"], seeds=2, steps=3)
    assert asked == [(["猫,草地", "狗,雪地"] * 2, [0, 1, 100_000, 100_001], {"steps": 3})]
    assert rates.scenes["all"] == 2 and rates["subject"].mean == 1 and rates["style"].mean == 0.5


def test_the_table(sees):
    sees([CAT, DOG])
    on, off = (measure.Rates([GREY] * 2, prompts) for prompts in (["猫,草地", "狗,雪地,油画"], ["猫", "狗"]))
    assert measure.table({"on": on, "关": off}).splitlines() == [
        "                          on                关  n",
        "subject     100% [34%, 100%]  100% [34%, 100%]  2",
        "background  100% [34%, 100%]                 -  2",
        "style       100% [34%, 100%]     50% [9%, 91%]  2",
        "count       100% [34%, 100%]  100% [34%, 100%]  2",
        "all         100% [34%, 100%]     50% [9%, 91%]  2",
    ]
    assert str(on).splitlines()[1] == "subject     100% [34%, 100%]  2"
    assert measure.table({"a": {"x": wilson(1, 2)}}, ".2f") == f"{'a':>20}\nx  0.50 [0.09, 0.91]"
    both = measure.table({"a": {"x": wilson(1, 2)}, "b": {"x": wilson(1, 2), "y": wilson(1, 2)}}).splitlines()
    assert [line[:1] for line in both] == [" ", "x", "y"]  # a row of its own, not one for each column
