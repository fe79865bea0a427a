"""Tables of pictures with names: compare and sweep."""

import numpy as np
import pytest
from PIL import Image

import paidiff_lib
from paidiff_lib import PaidiffError, compare, comparison, grid, sweep

COLOURS = ["red", "lime", "blue", "yellow"]
PICTURES = [Image.new("RGB", (64, 64), colour) for colour in COLOURS]


def ink(sheet, box):
    return np.asarray(sheet.crop(box)).min() < 100


def test_compare_has_names_on_the_left_and_titles_above():
    sheet, inner = compare({"前": PICTURES[:2], "后": PICTURES[2:]}, ["猫", "狗"]), grid(PICTURES, columns=2)
    left, top = sheet.width - inner.width, sheet.height - inner.height
    assert np.array_equal(
        np.asarray(sheet.crop((left + 8, top + 8, *sheet.size))), np.asarray(inner.crop((8, 8, *inner.size)))
    )
    down = (inner.height - 8) // 2
    assert all(ink(sheet, (0, top + i * down, left, top + (i + 1) * down)) for i in range(2))
    assert all(ink(sheet, (left + 8 + i * 136, 0, left + 8 + i * 136 + 40, top)) for i in range(2))
    assert compare({"": PICTURES}).size[1] == grid(PICTURES, columns=4).height


@pytest.mark.parametrize("rows, titles", [({"a": PICTURES, "b": PICTURES[:2]}, ()), ({"a": PICTURES}, ["x"]), ({}, ())])
def test_rows_that_do_not_fit_are_said(rows, titles):
    with pytest.raises(PaidiffError, match="as many pictures in every row"):
        compare(rows, titles)


@pytest.fixture
def calls(monkeypatch):
    """What sweep asks to be drawn, and the table that it makes."""
    found = {"drawn": [], "table": None}

    def sample(pipe, prompts, **settings):
        found["drawn"].append((prompts[0], settings))
        return [PICTURES[0]]

    def table(*args):
        found["table"] = args[0], args[2]
        return real(*args)

    real = comparison._table
    monkeypatch.setattr(comparison, "sample", sample)
    monkeypatch.setattr(comparison, "_table", table)
    monkeypatch.setattr(comparison, "print_hints", lambda pipe, texts: print(*texts))
    return found


def test_the_first_list_goes_down_and_the_second_across(calls, capsys):
    assert isinstance(sweep(None, "猫", guidance=[1, 7.5], seed=range(3), steps=4), Image.Image)
    assert calls["table"] == (["guidance 1", "guidance 7.5"], ["seed 0", "seed 1", "seed 2"])
    assert [s["guidance"] for _, s in calls["drawn"]] == [1, 1, 1, 7.5, 7.5, 7.5]
    assert [s["seed"] for _, s in calls["drawn"]] == [0, 1, 2] * 2 and calls["drawn"][0][1]["steps"] == 4


def test_prompts_and_sizes_are_axes_too(calls):
    sweep(None, ["猫", "狗"], size=[(128, 128), (192, 128)], negative_prompt="模糊")
    assert calls["table"] == (["猫", "狗"], ["size (128, 128)", "size (192, 128)"])
    assert [prompt for prompt, _ in calls["drawn"]] == ["猫", "猫", "狗", "狗"]
    sweep(None, "猫", size=(192, 128), seed=np.array([1, 2]))
    assert calls["table"] == ([""], ["seed 1", "seed 2"]) and calls["drawn"][-1][1]["size"] == (192, 128)


@pytest.mark.parametrize(
    "settings, said",
    [
        (dict(), "one or two settings must be lists"),
        (dict(seed=[1], steps=[2], guidance=[3]), "seed, steps, guidance"),
        (dict(seed=[]), "not empty"),
        (dict(cfg=[1, 2]), "did you mean: guidance"),
        (dict(n=[1, 2]), "takes no n"),
        (dict(seed=[1, -1]), "the seed must be"),
        (dict(steps=[2, 0.5]), "steps must be"),
    ],
)
def test_wrong_settings_are_said_before_anything_is_drawn(calls, settings, said):
    with pytest.raises(PaidiffError, match=said):
        sweep(None, "猫", **settings)
    assert not calls["drawn"]


def test_a_sweep_draws_what_draw_draws(tiny):
    picture = paidiff_lib.draw(tiny, "猫", seed=3, steps=2, guidance=3)
    sheet = sweep(tiny, "猫", seed=[1, 3], guidance=[3], steps=2)
    side = picture.width * (2 if picture.width <= 240 else 1)
    shown = sheet.crop((sheet.width - 8 - side, sheet.height - 8 - side, sheet.width - 8, sheet.height - 8))
    big = picture.resize((side, side), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(shown, int) - np.asarray(big, int)).mean() < 1
