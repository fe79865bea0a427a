"""Chips write a prompt, word by word."""

import pytest

from paidiff_app.chips import chips, chosen, with_word
from paidiff_lib import words

KNOWN = words("mini")


def test_the_chips_are_the_words_by_kind():
    found = chips(KNOWN)
    assert list(found) == ["subject", "background", "style", "colour", "count"] and chips({}) == {}
    assert len(found["subject"]) > 100 and "扁平画风" in found["style"]  # as captions say it


def test_chips_compose_a_prompt_from_nothing():
    prompt = ""
    for part, word in dict(colour="红色", subject="马", background="草地", count="两", style="油画").items():
        prompt = with_word(prompt, part, word, KNOWN)
    assert prompt == "两匹红色的马,草地,油画"
    assert with_word(prompt, "subject", "企鹅", KNOWN) == "两只红色的企鹅,草地,油画"
    assert with_word(prompt, "background", None, KNOWN) == "两匹红色的马,油画"
    assert with_word(prompt, "subject", None, KNOWN) == "草地,油画"


@pytest.mark.parametrize(
    "prompt, part, word, wanted",
    [
        ("雪地里的两只企鹅", "background", "草地", "两只企鹅,草地"),
        ("(猫:1.3),草地,高清", "background", "沙滩", "(猫:1.3),沙滩,高清"),
        ("(猫:1.3),草地,高清", "background", None, "(猫:1.3),高清"),
        ("变形金刚,未来派，", "background", "草地", "变形金刚,未来派,草地"),
        ("猫 <lora:porcelain:0.5>", "style", "油画", "猫 <lora:porcelain:0.5>,油画"),
        ("猫,狗", "subject", "马", "马,狗"),
        ("猫" * 2000, "style", "油画", "猫" * 2000 + ",油画"),
    ],
)
def test_what_people_wrote_stays(prompt, part, word, wanted):
    assert with_word(prompt, part, word, KNOWN) == wanted


def test_a_prompt_chooses_its_chips():
    assert chosen("雪地里的两只小企鹅,水墨", KNOWN) == {
        "background": "雪地",
        "count": "两",
        "subject": "企鹅",
        "style": "水墨画",
    }
    assert chosen("", KNOWN) == {} == chosen("变形金刚", KNOWN)
