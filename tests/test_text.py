import pytest
from conftest import refused

from paidiff_lib import check_prompt, draw, tokens
from paidiff_lib.models.encode import encode_captions
from paidiff_lib.prompts import MOST_PARTS, parts_of, plain, take_tags, text_of, token_weights, too_long, weighted

FOURTEEN = "雪地里的两只企鹅雪地里的两只"  # as many tokens fit beside [CLS] and [SEP] of the tiny model


def test_a_good_prompt_has_no_hints(tiny):
    assert check_prompt(tiny, "雪地里的两只企鹅,水墨画") == []


@pytest.mark.parametrize("prompt", ["", "  \n", None])
def test_empty(tiny, prompt):
    (hint,) = check_prompt(tiny, prompt)
    assert "空" in hint and "empty" in hint


def test_too_long_says_in_how_many_parts_it_is_read(tiny):
    rest = "猫在草地上"
    assert check_prompt(tiny, FOURTEEN) == []
    (hint,) = check_prompt(tiny, FOURTEEN + rest)
    assert "19 tokens, 14 at a time: read in 2 parts" in hint and "分成 2 段" in hint
    (caption,) = too_long(tiny.tokenizer, FOURTEEN + rest)  # in training
    assert f"drops: {rest}" in caption and "14" in caption and "19" in caption


def test_300_characters_give_a_short_hint(tiny):
    hints = check_prompt(tiny, "企鹅" * (14 * MOST_PARTS // 2) + "雪地" * 80)
    assert len(hints) == 1 and len(hints[0]) < 200 and "300" in hints[0]
    assert f"the first {14 * MOST_PARTS} and drops: 雪地" in hints[0]


def test_unknown_characters_are_named_one_by_one(tiny):
    (hint,) = check_prompt(tiny, "猫😀在草地上龘")
    assert "😀 龘" in hint
    hints = check_prompt(tiny, "cat😀")  # one run for the tokenizer: the letters are not to blame
    assert "看不见:😀 ·" in hints[0] and "cat" not in hints[0]


def test_english_is_named_unless_it_is_in_the_vocabulary(tiny):
    (hint,) = check_prompt(tiny, "一只cat在草地上")
    assert "cat" in hint and "Chinese only" in hint
    tiny.tokenizer.add_tokens("cat")
    assert check_prompt(tiny, "一只cat在草地上") == []


def test_a_learnt_placeholder_is_no_unknown_word(tiny):
    assert check_prompt(tiny, "一只<moneko>在草地上")
    tiny.tokenizer.add_tokens("<moneko>")
    assert check_prompt(tiny, "一只<moneko>在草地上") == []


def test_subjects_never_learnt(tiny):
    (hint,) = check_prompt(tiny, "雪地里的两只变形金刚")
    assert "没学过:变形金刚 ·" in hint


def test_more_than_three_is_said(tiny):
    for prompt, count in {"五只猫": "五只", "12只猫,沙发": "12只"}.items():
        assert [h for h in check_prompt(tiny, prompt) if f"一、两、三个:{count} ·" in h]
    assert not [h for h in check_prompt(tiny, "两只猫,4k") if "一、两、三个" in h]


def test_canonical_names_count_as_known_without_synonyms(tiny):
    assert check_prompt(tiny, "沙发上的猫,模糊") == []


def test_no_word_list_no_guessing(tokenizer, tmp_path):
    from transformers import BertTokenizer

    tokenizer.save_pretrained(tmp_path / "tokenizer")
    bare = BertTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert check_prompt(bare, "变形金刚") == []


def test_tokens_are_what_the_encoder_reads(tokenizer):
    assert tokens(tokenizer, "雪地里") == ["[CLS]", "雪", "地", "里", "[SEP]"]
    long = tokens(tokenizer, "猫" * 40)
    assert len(long) == tokenizer.model_max_length and long[-1] == "[SEP]"


# --- brackets and weights -----------------------------------------------------------------------------------------

WEIGHTS = [  # as the WebUI reads them
    ("猫,草地", [("猫,草地", 1)]),
    ("a\\b,:0.5", [("a\\b,:0.5", 1)]),  # no brackets: not a character is touched
    ("(猫:1.3),草地", [("猫", 1.3), (",草地", 1)]),
    ("(猫 : 1.3 )", [("猫 ", 1.3)]),
    ("((猫))", [("猫", 1.21)]),
    ("[猫]", [("猫", 1 / 1.1)]),
    ("(猫:-.5)狗", [("猫", -0.5), ("狗", 1)]),
    ("(未关", [("未关", 1.1)]),
    ("未开):1.2)", [("未开):1.2)", 1)]),
    (r"\(猫\)\[\]\\", [("(猫)[]\\", 1)]),
    (r"(\(猫\):1.2)", [("(猫)", 1.2)]),
    ("(a)(b)", [("ab", 1.1)]),
    ("[a(b:2)c]", [("a", 1 / 1.1), ("b", 2 / 1.1), ("c", 1 / 1.1)]),
    ("(猫:1.2.3)", [("猫:1.2.3", 1.1)]),
    ("()", [("", 1)]),
    ("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", None),
]


@pytest.mark.parametrize("prompt, expected", WEIGHTS)
def test_weights_are_read_as_the_webui_reads_them(prompt, expected):
    expected = expected or [
        *[("a ", 1), ("house", 1.573), (" ", 1.1), ("on", 1), (" a ", 1.1), ("hill", 0.55), (", sun, ", 1.1)],
        *[("sky", 1.4641), (".", 1.1)],
    ]
    found = weighted(prompt)
    assert [text for text, _ in found] == [text for text, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])


def test_every_token_gets_the_weight_of_its_character(tokenizer):
    weights = token_weights(tokenizer, weighted("一只(企鹅:1.5),猫"))
    assert weights == [1, 1, 1, 1.5, 1.5, 1, 1, *[1] * (tokenizer.model_max_length - 7)]
    assert len(token_weights(tokenizer, weighted("(猫:2)" * 40))) == tokenizer.model_max_length


def test_weights_change_the_picture_and_one_changes_no_bit(tiny):
    plain_cat, dog = draw(tiny, ["猫", "狗"], seed=1, steps=2)
    for same in ("(猫:1)", "(猫:1.0)"):
        assert draw(tiny, [same, "狗"], seed=1, steps=2)[0].tobytes() == plain_cat.tobytes()
    heavy, beside = draw(tiny, ["(猫:1.8)", "狗"], seed=1, steps=2)
    assert heavy.tobytes() != plain_cat.tobytes() and beside.tobytes() == dog.tobytes()
    without = draw(tiny, "猫", seed=1, steps=2, negative_prompt="模糊")
    assert draw(tiny, "猫", seed=1, steps=2, negative_prompt="(模糊:2)").tobytes() != without.tobytes()
    drawn = [draw(tiny, text, seed=1, steps=2).tobytes() for text in ("(猫:0)狗", "狗", "(猫:0)", "")]
    assert drawn[2] != drawn[3] and drawn[0] != drawn[1]  # the other words have seen it: as everywhere


# --- prompts that are longer than the text encoder reads -----------------------------------------------------------


def texts(pipe, prompt):
    return [text_of(part) for part in parts_of(pipe, weighted(prompt))]


def test_a_long_prompt_is_cut_where_words_end(tiny):
    from paidiff_lib import TextualInversion

    assert texts(tiny, "") == [""] and texts(tiny, FOURTEEN) == [FOURTEEN]
    assert texts(tiny, FOURTEEN * 2 + "猫") == [FOURTEEN, FOURTEEN, "猫"]
    assert texts(tiny, "猫" * 12 + "3d4" + "猫") == ["猫" * 12, "3d4猫"]
    assert texts(tiny, "x" * 20) == ["x" * 14, "x" * 6]  # one word longer than all there is room for
    assert parts_of(tiny, weighted("猫" * 13 + "(狗狗:1.5)鸟")) == [
        [("猫" * 13, 1.0), ("狗", 1.5)],
        [("狗", 1.5), ("鸟", 1.0)],
    ]
    TextualInversion(tiny, "<小奶猫>", vectors=4)
    assert texts(tiny, "猫" * 11 + "<小奶猫>狗") == ["猫" * 11, "<小奶猫>狗"]  # its four vectors stay together
    assert len(texts(tiny, "猫" * 1000)) == MOST_PARTS


def test_four_prompts_of_the_gallery_are_long(skeletons):
    """On the published models' vocabulary and limit, 32."""
    import json

    from transformers import AutoTokenizer

    from paidiff_lib.files import ASSETS

    tokenizer = AutoTokenizer.from_pretrained(skeletons / "artist/tokenizer")
    lines = (ASSETS / "prompts/gallery_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line)["prompt"] for line in lines]
    long = [prompt for prompt in prompts if len(texts(tokenizer, prompt)) > 1]
    counts = [len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) for prompt in long]
    assert len(prompts) == 36 and sorted(counts) == [31, 40, 47, 47]
    assert all("".join(texts(tokenizer, prompt)) == prompt and len(texts(tokenizer, prompt)) == 2 for prompt in long)


def test_the_words_after_the_limit_count(tiny):
    settings = {"seed": 1, "steps": 2}
    one, other = (draw(tiny, FOURTEEN + word, **settings).tobytes() for word in ("猫", "狗"))
    fits = draw(tiny, FOURTEEN, **settings)
    assert len({one, other, fits.tobytes()}) == 3
    assert draw(tiny, FOURTEEN + "(猫:1.8)", **settings).tobytes() not in (one, other)
    long_negatives = [FOURTEEN + word for word in ("", "猫", "狗")]
    assert len({draw(tiny, "鸟", negative_prompt=text, **settings).tobytes() for text in long_negatives}) == 3
    assert draw(tiny, "鸟", guidance=1, negative_prompt=FOURTEEN * 3, **settings) == draw(
        tiny, "鸟", guidance=1, **settings
    )


def test_the_words_after_the_limit_count_in_every_task(tiny):
    from diffusers import StableDiffusionImg2ImgPipeline
    from PIL import Image

    from paidiff_lib import ControlNet, draw_along, inpaint
    from paidiff_lib.generate import sample

    picture, mask, prompts = (
        Image.new("RGB", (64, 64), "red"),
        Image.new("L", (64, 64), 255),
        (FOURTEEN + "猫", FOURTEEN + "狗"),
    )
    again = StableDiffusionImg2ImgPipeline(**tiny.components, requires_safety_checker=False)
    along = ControlNet(tiny).pipeline()
    tasks = {
        "img2img": lambda text: sample(again, [text], steps=2, images=picture, strength=1.0)[0],
        "inpaint": lambda text: inpaint(again, text, picture, mask, steps=2),
        "controlnet": lambda text: draw_along(along, text, picture, steps=2),
    }
    same = [task for task, drawn in tasks.items() if drawn(prompts[0]).tobytes() == drawn(prompts[1]).tobytes()]
    assert not same


def test_a_long_prompt_changes_no_neighbour(tiny):
    """What fits is drawn as if nobody had a long one, to the bit."""
    seeds, long = [1, 2, 3, 4], FOURTEEN + "猫"
    alone = draw(tiny, ["鸟", "狗"], seed=[1, 3], steps=2)
    mixed = draw(tiny, ["鸟", long, "狗", long * 2], seed=seeds, steps=2)
    assert [mixed[0].tobytes(), mixed[2].tobytes()] == [picture.tobytes() for picture in alone]
    assert mixed[1].tobytes() == draw(tiny, long, seed=2, steps=2).tobytes()


def test_every_part_is_read_as_a_prompt_of_its_own(tiny):
    from paidiff_lib.generate import _words

    found = _words(tiny, [FOURTEEN + "猫"], ["模糊"], 2)
    parts = encode_captions(tiny, [FOURTEEN, "猫", "模糊", ""])
    assert found["prompt_embeds"].equal(parts[:2].flatten(0, 1)[None])
    assert found["negative_prompt_embeds"].equal(parts[2:].flatten(0, 1)[None])


def test_training_cuts_captions_and_says_so(tiny, tmp_path, capsys):
    from PIL import Image

    from paidiff_lib import CaptionFolder, LoRA, fit

    assert encode_captions(tiny, [FOURTEEN + "猫"]).equal(encode_captions(tiny, [FOURTEEN + "狗"]))
    for name, text in {"a": FOURTEEN, "b": FOURTEEN + "猫"}.items():
        Image.new("RGB", (64, 64)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    fit(LoRA(tiny), CaptionFolder(tmp_path), steps=1, learning_rate=1e-3)
    assert "1 captions are cut, training reads 14 tokens" in capsys.readouterr().out


def test_captions_are_never_read_for_weights(tiny):
    caption = "一只(猫:1.3)"
    expected = tiny.encode_prompt([caption], "cpu", 1, False)[0]
    assert encode_captions(tiny, [caption]).equal(expected)
    assert not encode_captions(tiny, [plain(caption)]).equal(expected)


def test_words_in_brackets_are_understood(tiny):
    assert check_prompt(tiny, "(企鹅:1.3),[猫],((雪地))") == []
    assert "没学过:变形金刚 ·" in check_prompt(tiny, "(变形(金刚:1.2))")[0]


@pytest.mark.parametrize("part", ["[猫:狗:0.5]", "[猫|狗]", "{猫|狗}", "（猫：1.3）"])
def test_what_other_programs_understand_is_named(tiny, part):
    hint = check_prompt(tiny, f"一只{part}")[0]
    assert part in hint and "not understood" in hint


def test_a_lora_may_have_taught_a_word(tiny, loras):
    import paidiff_lib as paidiff

    assert "没学过:变形金刚" in check_prompt(tiny, "变形金刚")[0]
    paidiff.load_lora(tiny, loras / "porcelain")
    assert check_prompt(tiny, "变形金刚") == []
    paidiff.set_scales(tiny, {})
    assert "没学过:变形金刚" in check_prompt(tiny, "变形金刚")[0]


def test_what_is_named_stands_so_in_the_prompt():
    import paidiff_lib as paidiff

    mini = paidiff.load("mini")
    for prompt, named in {
        "一只龙虾骑自行车": None,
        "龙虾变形金刚": "龙虾变形金刚",
        "猫追变形金刚": "猫追变形金刚",
    }.items():
        hints = [hint for hint in check_prompt(mini, prompt) if "没学过" in hint]
        assert not hints if named is None else f"没学过:{named} ·" in hints[0], (prompt, hints)


def test_lora_tags():
    assert take_tags("猫<lora:a b:0.8>,草地 <lora:中文>") == ("猫,草地 ", (("a b", 0.8), ("中文", 1.0)))
    assert take_tags("<my-cat>") == ("<my-cat>", ())
    for wrong in ("<lora:a:x>", "<lora::1>", "<hypernet:a:1>", "<lora:a:0.5:0.8>", "<lora:a:nan>", "<lora:a:1000>"):
        refused(["<lora:名字:0.8>", wrong], lambda wrong=wrong: take_tags(wrong))


def test_a_tag_is_never_drawn_as_words(tiny):
    for settings in ({"prompt": "猫<lora:a:1>"}, {"prompt": "猫", "negative_prompt": "<lora:a:1>"}):
        refused(["load_lora", "<lora:a:1>"], lambda settings=settings: draw(tiny, steps=1, **settings))
