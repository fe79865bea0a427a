import numpy as np
import pytest
from conftest import refused

from paidiff_lib import PaidiffError, draw
from paidiff_lib.generate import BATCH, check_settings, sample


def pixels(picture):
    return np.asarray(picture, dtype=int)


def test_one_prompt_one_picture_of_the_models_size(tiny):
    assert draw(tiny, "猫", steps=2).size == (64, 64)


def test_same_seed_same_picture_and_another_seed_another(tiny):
    first, again, other = (draw(tiny, "猫", seed=seed, steps=2) for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_prompt_negative_and_guidance_matter(tiny):
    plain = draw(tiny, "猫", steps=4)
    for change in ({"negative_prompt": "模糊"}, {"guidance": 1.5}, {"steps": 3}):
        assert draw(tiny, "猫", **{"steps": 4, **change}).tobytes() != plain.tobytes(), change
    assert draw(tiny, "雪地", steps=4).tobytes() != plain.tobytes()


def test_a_picture_depends_on_its_own_prompt_and_seed_only(tiny):
    pictures = draw(tiny, ["猫", "狗"], seed=5, steps=2, n=2)
    assert len(pictures) == 4
    alone = draw(tiny, "狗", seed=6, steps=2)
    assert np.abs(pixels(pictures[3]) - pixels(alone)).max() <= 1  # a batch may round differently


def test_more_pictures_than_a_batch(tiny):
    assert len(draw(tiny, "猫", steps=1, n=BATCH + 1)) == BATCH + 1


@pytest.mark.parametrize("size", [(72, 64), (64, 136)])
def test_other_sizes(tiny, size):
    assert draw(tiny, "猫", steps=1, size=size).size == size


def test_hints_are_printed_once(tiny, capsys):
    draw(tiny, ["变形金刚", "变形金刚"], steps=1, n=2, negative_prompt="变形金刚")
    assert capsys.readouterr().out.count("没学过") == 1
    sample(tiny, ["变形金刚"], steps=1)
    assert capsys.readouterr() == ("", "")  # nothing of the libraries' own chatter either


def test_an_empty_prompt_draws_with_a_hint(tiny, capsys):
    assert draw(tiny, "", steps=1).size == (64, 64)
    assert "空" in capsys.readouterr().out


REFUSED = [
    ({"size": (100, 64)}, "96x64 .* 104x64"),
    ({"size": (0, 64)}, "from 64 to 2048"),
    ({"size": (4096, 4096)}, "from 64 to 2048"),
    ({"steps": 0}, "steps"),
    ({"steps": 5000}, "steps"),
    ({"guidance": float("nan")}, "guidance"),
    ({"guidance": float("inf")}, "guidance"),
    ({"guidance": -1.0}, "guidance"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**64}, "seed"),
    ({"n": 0}, "n must"),
    ({"n": 2.0}, "n must"),
    ({"steps": "20"}, "steps"),
    ({"guidance": "3"}, "guidance"),
    ({"size": 64}, "width, height"),
    ({"size": (64.0, 64)}, "width must"),
]


@pytest.mark.parametrize("settings, words", REFUSED)
def test_impossible_settings_are_refused_in_one_line(settings, words):
    with pytest.raises(PaidiffError, match=words) as caught:
        check_settings(**settings)
    assert "\n" not in str(caught.value)


def test_draw_checks_before_it_draws():
    with pytest.raises(PaidiffError, match="steps"):
        draw(None, "猫", steps=-3)  # no pipeline is touched


@pytest.mark.parametrize("seed", [True, 1.0, np.float32(1), "1", None, -1, 2**63, np.uint64(2**63), [1, "2"], [1, [2]]])
def test_what_is_no_seed_is_refused_at_once(seed):
    """Before, a string or a large number of numpy walked through 2**63 and hung for ever."""
    refused(["种子", "the seed must be a whole number"], lambda: draw(None, ["猫", "狗"], seed))


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), np.int32(3)])
def test_a_seed_of_numpy_is_the_same_seed(tiny, seed):
    assert draw(tiny, "猫", seed, steps=1).tobytes() == draw(tiny, "猫", 3, steps=1).tobytes()


def test_a_list_of_seeds(tiny):
    alone = [draw(tiny, text, seed, steps=2) for text, seed in (("猫", 3), ("狗", 3), ("猫", 255))]
    near = lambda pictures, others: all(np.abs(pixels(a) - pixels(b)).max() <= 1 for a, b in zip(pictures, others))
    assert near(draw(tiny, ["猫", "狗"], [3, 3], steps=2), alone[:2])
    several = draw(tiny, "猫", np.array([3, 255], np.uint8), steps=2)
    assert len(several) == 2 and near(several, [alone[0], alone[2]])
    assert len(draw(tiny, "猫", [3], steps=1)) == 1 and len(draw(tiny, "猫", np.uint8([255, 3]), steps=1, n=2)) == 4
    refused(["2 句话", "a seed for each prompt: 3"], lambda: draw(tiny, ["猫", "狗"], [1, 2, 3]))


def test_a_wrong_keyword_names_the_right_one():
    refused(["draw", "did you mean: steps"], lambda: draw(None, "猫", step=3))
    refused(["did you mean: guidance"], lambda: draw(None, "猫", guidance_scale=3))
