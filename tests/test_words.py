"""What a model knows: its words, prompts made of them, and which prompts it can draw."""

import re

import pytest
from conftest import WORDS, refused

from paidiff_lib import check_prompt, drawable, words
from paidiff_lib.known_words import compose, every_word, measure_of, nearest, random_prompt, split


def test_the_words_lie_beside_the_model(tiny, tiny_folder, tokenizer, monkeypatch):
    monkeypatch.setenv("PAIDIFF_MODEL", str(tiny_folder))
    assert words() == words(tiny_folder) == words(tiny) == words(tokenizer) == WORDS
    refused(["no model no-such"], lambda: words("no-such"))


def test_a_published_model_has_no_list(skeletons):
    assert words(skeletons / "artist") == {}


def test_the_words_of_an_export(tmp_path):
    (tmp_path / "export.json").write_text("{}")
    (tmp_path / "words.json").write_text('{"subjects": {"猫": []}}', encoding="utf-8")
    assert words(tmp_path) == {"subjects": {"猫": []}}


def test_prompts_as_people_write_them():
    known = words("mini")
    parts = dict(count="两", colour="红色", subject="马", background="草地", style="油画")
    assert compose(known, **parts) == "两匹红色的马,草地,油画"
    assert compose(known, subject="猫咪", count="一") == "一只猫咪"
    assert compose(known, count="两", colour="红色", background="草地") == "草地"
    assert measure_of(known, "外星人") == "个"


def test_a_dice_writes_prompts_that_can_be_drawn():
    known, tokenizer = words("mini"), _tokenizer()
    thrown = [random_prompt(known, seed) for seed in range(60)]
    assert len(set(thrown)) > 50 and thrown[3] == random_prompt(known, 3)
    assert drawable(tokenizer, thrown) == [True] * 60
    assert any("扁平画风" in text for text in thrown)  # as captions say it: 扁平 alone was never read
    assert any("的" in text for text in thrown) and any(re.match("[两三]", text) for text in thrown)


def test_a_list_without_a_kind_is_thrown_without_it():
    assert {random_prompt({"subjects": {"猫": []}}, seed) for seed in range(20)} == {"猫"} and random_prompt({}) == ""


@pytest.mark.parametrize(
    "prompt, can",
    [
        ("雪地里的两只企鹅,水墨画", True),
        ("魔法药瓶", True),
        ("(猫:1.3),草地", True),
        ("中国剪纸画,雪山,白云,落日", False),  # three places
        ("猫,狗,草地", False),
        ("水墨画", False),  # of what?
        ("变形金刚,草地", False),
        ("五只猫,草地", False),
        ("", False),
    ],
)
def test_which_prompts_can_be_drawn(prompt, can):
    assert drawable(_tokenizer(), [prompt]) == [can]


def test_without_a_list_of_words_only_the_hints_count(skeletons):
    from transformers import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(skeletons / "artist/tokenizer")
    assert drawable(tokenizer, ["变形金刚,猫,狗", "", "猫😀"]) == [True, False, False]


def test_a_word_that_is_nearly_known_is_named():
    hints = check_prompt(_tokenizer(), "山水画,公园,变形金刚")
    assert hints[-1] == "是不是 did you mean: 山水画 → 水彩画、水墨画"
    assert "did you mean" not in "".join(check_prompt(_tokenizer(), "公园"))  # no 公鸡
    assert nearest("公园", every_word(words("mini"))) == []


def test_a_text_is_split_into_the_fewest_words():
    assert split("蓝天鹅在草地上", {"蓝", "蓝天", "天鹅", "草地", "草地上"}) == ["蓝", "天鹅", "草地上"]
    assert split("没有", {"猫"}) == []


def test_the_command_lists_them(warm_paidiff, tiny_folder, skeletons):
    done = warm_paidiff("words", "--model", tiny_folder)
    assert done.returncode == 0 and "主体 · subjects (3): 企鹅 猫(小猫) 狗(小狗)\n" in done.stdout, done.stderr
    assert "没有词表" in warm_paidiff("words", "--model", skeletons / "artist").stdout


def _tokenizer():
    from transformers import AutoTokenizer

    from paidiff_lib import data

    return AutoTokenizer.from_pretrained(data("models/paidiff-mini-zh/tokenizer"))
