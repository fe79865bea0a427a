import pytest

from paidiff_lib import check_prompt, tokens


def test_a_good_prompt_has_no_hints(tiny):
    assert check_prompt(tiny, "雪地里的两只企鹅,水墨画") == []


@pytest.mark.parametrize("prompt", ["", "  \n", None])
def test_empty(tiny, prompt):
    (hint,) = check_prompt(tiny, prompt)
    assert "空" in hint and "empty" in hint


def test_too_long_says_what_is_dropped(tiny):
    kept, dropped = "雪地里的两只企鹅雪地里的两只", "猫在草地上"  # 14 tokens fit beside [CLS] and [SEP]
    assert check_prompt(tiny, kept) == []
    (hint,) = check_prompt(tiny, kept + dropped)
    assert dropped in hint and "14" in hint and "19" in hint


def test_300_characters_give_a_short_hint(tiny):
    hints = check_prompt(tiny, "企鹅" * 150)
    assert len(hints) == 1 and len(hints[0]) < 200 and "300" in hints[0]


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
