"""Measures of how pictures look, against textbook formulas and pictures whose answer is known."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from paidiff_lib.files import data_folder
from paidiff_world import Spec, render
from paidiff_world.judge import CLASSES, Judge, hits, judge, prompt_following, rates, rates_by, truth
from paidiff_world.measures import (
    CLIP,
    choose,
    clip_features,
    frechet_distance,
    jackknife,
    judge_features,
    kernel_distance,
    spread,
    x0_error,
)
from paidiff_world.pretrain import evaluate as evaluation
from paidiff_world.pretrain.card import model_card

GREYS = [Image.new("RGB", (128, 128), (v, v, v)) for v in (10, 20, 40)]


def with_covariance(mean, covariance, seed=0):
    """400 features with exactly this mean and covariance."""
    x = np.random.RandomState(seed).randn(400, len(mean))
    x = x - x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


# --- Fréchet ------------------------------------------------------------------------------------------------------


def test_frechet_distance_of_gaussians_along_the_axes():
    """Diagonal covariances: |m1 - m2|^2 + sum (s1 - s2)^2."""
    a = with_covariance([0, 0, 1], np.diag([1.0, 4, 9]))
    b = with_covariance([3, 4, 1], np.diag([4.0, 4, 1]), seed=1)
    assert frechet_distance(a, b) == pytest.approx(25 + 1 + 0 + 4)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_two_that_do_not_commute():
    """In two dimensions tr (C1 C2)^(1/2) = (tr C1 C2 + 2 (det C1 C2)^(1/2))^(1/2)."""
    c1, c2 = np.array([[2.0, 1], [1, 3]]), np.array([[5.0, -1], [-1, 1]])
    root = np.sqrt(np.trace(c1 @ c2) + 2 * np.sqrt(np.linalg.det(c1 @ c2)))
    found = frechet_distance(with_covariance([0, 0], c1), with_covariance([1, 0], c2, seed=1))
    assert found == pytest.approx(1 + 5 + 6 - 2 * root)


def test_frechet_distance_of_fewer_pictures_than_features():
    """Singular covariances: a root of their product by way of its eigenvalues would be complex."""
    x = np.random.RandomState(0).randn(10, 40)
    assert frechet_distance(torch.from_numpy(x), x) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(x + 1, x) == pytest.approx(40)


# --- kernel -------------------------------------------------------------------------------------------------------


def test_kernel_distance_by_hand():
    """One feature, reference -1 and 1 (mean 0, deviation 1): k(x, y) = (x y + 1)^3.

    Among 0 and 2: 1. Among -1 and 1: 0. Between: (1 + 1 - 1 + 27) / 4 = 7.
    """
    x, y = np.array([[0.0], [2]]), np.array([[-1.0], [1]])
    assert kernel_distance(x, y) == pytest.approx(1 + 0 - 2 * 7)
    assert kernel_distance(10 * x + 5, torch.from_numpy(10 * y + 5)) == pytest.approx(-13)


def test_the_kernel_divides_by_the_number_of_features():
    x, y = np.array([[0.0], [2]]), np.array([[-1.0], [1]])
    assert kernel_distance(x.repeat(6, 1), y.repeat(6, 1)) == pytest.approx(-13)


def test_kernel_distance_is_unbiased():
    """Two small samples of one law, unequal in number: 0 on average. With the diagonals it would be 0.4."""
    rs = np.random.RandomState(0)
    found = [kernel_distance(rs.randn(20, 30), rs.randn(200, 30)) for _ in range(400)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error and error < 0.003


def test_kernel_distance_grows_with_what_is_wrong():
    rs = np.random.RandomState(0)
    x, y = rs.randn(300, 8), rs.randn(300, 8)
    moved, wider = [kernel_distance(x + d, y) for d in (0, 0.5, 1)], kernel_distance(2 * x, y)
    assert moved == sorted(moved) and moved[1] > 0.1 and wider > 0.1


def test_a_feature_that_never_changes_does_no_harm():
    x = np.random.RandomState(0).randn(20, 3) * [1, 1, 0]
    assert np.isfinite(kernel_distance(x[:10], x[10:]))


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.RandomState(0).randn(50)
    assert jackknife(lambda kept: values[kept].mean(), 50, groups=50) == pytest.approx(values.std(ddof=1) / 50**0.5)
    known = [jackknife(lambda kept: v[kept].mean(), 400) for v in np.random.RandomState(1).randn(50, 400)]
    assert np.mean(known) == pytest.approx(0.05, rel=0.1)


# --- features -----------------------------------------------------------------------------------------------------


def test_the_features_are_those_of_the_shipped_models():
    from transformers import CLIPModel

    whole = CLIPModel.from_pretrained(data_folder() / CLIP).float().eval()
    x = torch.tensor([10.0, 20, 40])[:, None, None, None].expand(3, 3, 128, 128) / 127.5 - 1
    with torch.no_grad():
        assert np.allclose(clip_features(GREYS), whole.vision_model(pixel_values=x).pooler_output, atol=1e-5)
        logits = judge().heads["style"](torch.from_numpy(judge_features(GREYS)))
    assert torch.allclose(logits, judge().evidence(GREYS)["style"], atol=1e-5)


# --- spread and x_0 -----------------------------------------------------------------------------------------------


def test_spread_is_the_mean_distance_of_two():
    assert spread(GREYS) == pytest.approx((10 + 30 + 20) / 3)
    assert spread(GREYS[:1] * 3) == 0 and np.isnan(spread(GREYS[:1]))


ALPHAS = torch.tensor([0.9, 0.64, 0.1])


def test_a_perfect_denoiser_has_no_error():
    """v = (a noisy - x_0) / s: it knows the picture."""
    x = torch.randn(4, 8, 16, 16)
    for t, alpha in enumerate(ALPHAS.tolist()):
        perfect = lambda noisy, t: (alpha**0.5 * noisy - x) / (1 - alpha) ** 0.5
        assert x0_error(perfect, x, ALPHAS, t) == pytest.approx(0, abs=1e-5)


def test_the_error_of_a_denoiser_that_knows_nothing():
    """v = 0 errs by s; v off by d errs by s d."""
    x = torch.randn(64, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    assert x0_error(lambda noisy, t: torch.zeros_like(noisy), x, ALPHAS, 1) == pytest.approx(0.6, rel=0.01)
    off = lambda noisy, t: (0.8 * noisy - x) / 0.6 + 0.5
    assert x0_error(off, x, ALPHAS, 1) == pytest.approx(0.3, abs=1e-5)


# --- hits ---------------------------------------------------------------------------------------------------------


class Fake(Judge):
    """A judge that sees what it is told, whatever the pictures."""

    def __init__(self, seen):
        super().__init__(width=2)
        self.seen = seen

    def probabilities(self, pictures):
        return {head: np.eye(len(CLASSES[head]))[[CLASSES[head].index(s[head]) for s in self.seen]] for head in CLASSES}


CAT = truth(Spec("猫", "草地", "油画"))
WRONG = {"subject": "狗", "background": "雪地", "style": "扁平"}


def test_all_parts_must_be_right_in_the_same_picture():
    """Each part wrong in half of the eight pictures, all right in one; colour and count do not matter."""
    seen = [CAT | {h: v for (h, v), w in zip(WRONG.items(), wrong) if w} for wrong in product((0, 1), repeat=3)]
    found = prompt_following(GREYS, [Spec("猫", "草地", "油画")] * 8, Fake([s | {"count": "3"} for s in seen]))
    assert [found[head] for head in WRONG] == [0.5] * 3 and found["all"] == 1 / 8 and found["count"] == 0


def test_rates_of_styles_and_counts():
    specs = [Spec("猫", "草地", "油画"), Spec("猫", "草地", "扁平", count=2), Spec("猫", "草地", "扁平", "红色")]
    found = hits(GREYS, specs, Fake([CAT, CAT, truth(specs[2])]))
    assert found["all"].tolist() == [1, 0, 1] and np.isnan(found["colour"]).tolist() == [True, True, False]
    by_style, by_count = (rates_by(attribute, found, specs) for attribute in ("style", "count"))
    assert {style: rate["all"] for style, rate in by_style.items()} == {"油画": 1, "扁平": 0.5}
    assert {count: rate["count"] for count, rate in by_count.items()} == {"1": 1, "2": 0}
    assert rates(found)["colour"] == 1 and np.isnan(by_style["油画"]["colour"])


# --- the evaluation -----------------------------------------------------------------------------------------------


def test_three_seeds_of_a_prompt_are_one_scene(monkeypatch):
    """Half of the prompts right in every seed: the interval is that of 20 scenes, however many seeds."""
    specs = [Spec("猫", "草地", "油画" if i % 2 else "扁平") for i in range(20)]
    fake = lambda pictures, specs: hits(pictures, specs, Fake([CAT] * 20))
    monkeypatch.setattr(evaluation, "hits", fake)
    one, nine = (evaluation.judged([GREYS] * seeds, GREYS, specs) for seeds in (1, 9))
    assert nine["interval"]["model"] == one["interval"]["model"] == one["interval"]["ceiling"]
    low, high = nine["interval"]["model"]["all"]
    assert high - low == pytest.approx(4 * 0.5 / 20**0.5, rel=0.15) and nine["interval"]["model"]["subject"] == [1, 1]
    assert nine["by_count"]["model"]["1"]["all"] == nine["model"]["all"] == 0.5
    assert nine["by_style"]["model"]["油画"]["all"] == 1 and "colour" not in nine["model"]


class OnGpu:
    """A pipeline that says it is on a GPU."""

    device = torch.device("cuda")

    def __init__(self, pipe):
        self.pipe = pipe

    def __getattr__(self, name):
        return getattr(self.pipe, name)

    def __call__(self, prompt, **settings):
        assert len(prompt) <= 2
        return self.pipe(prompt, **settings)


def test_large_batches_draw_the_same(tiny, monkeypatch):
    monkeypatch.setattr(evaluation, "AT_ONCE", 2)
    captions = ["一只猫", "一只狗,草地", "企鹅"]
    few, many = (evaluation.draw_many(pipe, captions, 3, steps=2) for pipe in (tiny, OnGpu(tiny)))
    assert len(many) == 3 and all(spread(pair) < 2 for pair in zip(few, many)) and spread(many) > 5
    assert evaluation.draw_many(tiny, [], 0) == evaluation.draw_many(OnGpu(tiny), [], 0) == []


@pytest.fixture(scope="module")
def result():
    """A whole evaluation whose model draws the real scenes of one seed, beside one of its own noise."""
    import paidiff_lib

    pipe, few = paidiff_lib.load("mini"), dict(prompts=24, pictures=30, references=60, report=lambda line: None)
    with pytest.MonkeyPatch.context() as patch:
        specs = [spec for spec, _ in evaluation.held_out(60)]
        drawn = lambda pipe, captions, seed, *a: evaluation.real_scenes(specs[: len(captions)], 10 + seed)
        patch.setattr(evaluation, "draw_many", drawn)
        perfect = evaluation.evaluate(pipe, **few)
        patch.setattr(evaluation, "draw_many", lambda *a: list(map(evaluation.flat, drawn(*a))))
        return perfect, evaluation.evaluate(pipe, **few)


def test_a_perfect_model_is_as_good_as_the_real_scenes(result):
    perfect, flat = result
    for name in ("clip", "judge"):
        real, floor = (perfect["kernel_distance"][name][row] for row in ("real", "floor"))
        for found, alike, other in ((perfect, real, floor), (flat, floor, real)):
            low, high = found["kernel_distance"][name]["model"]["interval"]
            assert low < alike["mean"] < high and not low < other["mean"] < high
        near, flattened = (found["frechet_distance"][name] for found in (perfect, flat))
        assert 1.5 * max(near["model"], near["real"], near["ceiling"]) < near["floor"] == flattened["floor"]
        assert flattened["model"] == pytest.approx(near["floor"], rel=0.2)
    assert perfect["spread"]["model"] == pytest.approx(perfect["spread"]["real"], rel=0.5)
    assert perfect["model"]["all"] == pytest.approx(perfect["ceiling"]["all"], abs=0.1) and flat["model"]["all"] < 0.2
    errors = list(perfect["x0_error"].values())
    assert 0 < errors[0] < errors[1] < errors[2] < 0.3


def test_the_card_carries_what_was_measured(result, tmp_path):
    run = json.loads((data_folder() / "models/paidiff-mini-zh/training.json").read_text(encoding="utf-8"))
    (tmp_path / "training.json").write_text(json.dumps(run), encoding="utf-8")
    evaluation.keep(tmp_path, result[0])
    assert json.loads((tmp_path / "prompt_following.json").read_text(encoding="utf-8")) == result[0]
    card, found = (tmp_path / "README.md").read_text(encoding="utf-8"), result[0]
    assert f"| {found['kernel_distance']['clip']['model']['mean']:.3f} |" in card and "30 pictures" in card
    assert f"{found['model']['all']:.0%} |" in card and f"{found['x0_error']['20']:.3f} at t = 20" in card
    assert "not measured yet" in model_card(run["config"], run["record"])
    assert card.startswith(model_card(run["config"], run["record"])[:1000])


# --- forced choice ------------------------------------------------------------------------------------------------


def shown(name, seed, places=("草地", "雪地", "沙发", "白色背景")):
    return [
        render(Spec(name, place, size=0.75, grid=True), np.random.RandomState(seed + i))
        for i, place in enumerate(places)
    ]


def test_a_thing_is_chosen_wherever_it_stands_and_never_another_of_its_colour():
    candidates = {name: shown(name, 100) for name in ("小奶猫", "小鸡", "橘子", "狮子")}
    assert choose(shown("小奶猫", 0), candidates) == ["小奶猫"] * 4
    assert choose([*shown("小鸡", 0)[:2], *shown("橘子", 0)[2:]], candidates) == ["小鸡", "小鸡", "橘子", "橘子"]
    blob = Image.new("RGB", (128, 128), (250, 180, 30))
    assert "小奶猫" not in choose([blob] * 4, candidates)
