"""What a Chinese prompt becomes: tokens, limits, and the words a model knows."""

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

# Words that carry no picture of their own: particles, places, numbers and measure words.
FUNCTION_CHARS = set(
    "的地得了着和与跟及同或在有是为被把让给从到向往对于之其这那此个只匹朵头条张片颗棵座辆艘架把本位名群双对株枝串块件间"
    "碗盘杯份幅支艘枚根面家栋扇顶台部口束轮"
    "一二两三四五六七八九十百几多半第些"
    "上下左右前后里内外中间旁边侧处方"
    "很非常最更太也都正又还再不没小大好看"
)


def check_prompt(pipe_or_tokenizer: Any, prompt: str) -> list[str]:
    """Readable hints about what this model will not see in a prompt, as a list of lines. Never raises.

    Looked at: an empty prompt; one over the tokenizer's limit; characters that become [UNK]; English words in a
    Chinese-only vocabulary; subjects and counts that the model never learnt, where its folder has a words.json.
    """
    tokenizer = getattr(pipe_or_tokenizer, "tokenizer", pipe_or_tokenizer)
    if not prompt or not prompt.strip():
        return ["提示词是空的,模型会随便画 · the prompt is empty: the model draws whatever it likes"]
    hints = [*too_long(tokenizer, prompt), *unknown_characters(tokenizer, prompt)]
    for added in tokenizer.get_added_vocab():  # a learnt <my-cat> is no English word
        prompt = prompt.replace(added, " ")
    finders = (_english_words, _never_learnt, _too_many)
    return hints + [hint for finder in finders for hint in finder(tokenizer, prompt)]


def tokens(tokenizer: Any, prompt: str) -> list[str]:
    """The tokens that the text encoder reads, as strings: [CLS] first, cut at the limit, [SEP] last."""
    ids = tokenizer(prompt, truncation=True, max_length=tokenizer.model_max_length)["input_ids"]
    return tokenizer.convert_ids_to_tokens(ids)


def _pieces(tokenizer, prompt):
    """(token id, the text it stands for, where that text begins) for every token, uncut, no special tokens."""
    coded = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [(i, prompt[a:b], a) for i, (a, b) in zip(coded["input_ids"], coded["offset_mapping"])]


def too_long(tokenizer, prompt):
    limit = tokenizer.model_max_length - 2  # [CLS] and [SEP] take two places
    pieces = _pieces(tokenizer, prompt)
    if len(pieces) > limit:
        tail = _short(prompt[pieces[limit][2] :])
        yield (
            f"提示词有 {len(pieces)} 个词元,模型只看前 {limit} 个,丢掉了:{tail} · "
            f"{len(pieces)} tokens, the model reads the first {limit} and drops: {tail}"
        )


def unknown_characters(tokenizer, prompt):
    lost = [text for i, text, _ in _pieces(tokenizer, prompt) if i == tokenizer.unk_token_id]
    unknown = [part for text in lost for part in _unknown_parts(tokenizer, text)]
    return _named("词表里没有这些字,模型看不见", "not in the vocabulary, the model cannot see", unknown)


def _unknown_parts(tokenizer, text):
    """One bad character makes a whole run [UNK]: name the character where it can be told, else the run."""
    alone = [char for char in text if tokenizer.unk_token_id in [i for i, _, _ in _pieces(tokenizer, char)]]
    return alone or [text]


def _english_words(tokenizer, prompt):
    """A vocabulary that spells a word letter by letter has never learnt it as a word."""
    words = re.findall(r"[A-Za-z]{2,}", prompt)
    spelled = [w for w in words if all(len(text) == 1 for _, text, _ in _pieces(tokenizer, w))]
    return _named("这个模型只懂中文,不认识", "this model reads Chinese only and does not know", spelled)


def _never_learnt(tokenizer, prompt):
    words = _known_words(tokenizer.name_or_path)
    if not words:
        return ()
    # longest first, so that 小狗 goes as one word and leaves nothing of itself behind
    known = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    rest = re.sub(known, " ", prompt)
    rest = "".join(c if "\u4e00" <= c <= "\u9fff" and c not in FUNCTION_CHARS else " " for c in rest)
    unknown = [word for word in rest.split() if len(word) > 1]
    return _named("这个小模型没学过", "this small model never learnt", unknown, "、")


def _too_many(tokenizer, prompt):
    """The world's scenes hold one, two (两) or three (三) of a thing, written in hanzi."""
    if not _known_words(tokenizer.name_or_path):
        return ()
    counts = re.findall(r"(?:[四五六七八九十百千万]+|\d+)[只匹头条朵个棵辆艘架把位片颗座杯]", prompt)
    en = "this small model draws one, two (两) or three (三) only"
    return _named("这个小模型只会画一、两、三个", en, counts, "、")


@lru_cache
def _known_words(tokenizer_folder):
    """Every synonym in the words.json of the model that this tokenizer belongs to; none if it has no such file.

    The file: {"subjects": {"猫": ["猫", "小猫"], ...}, "backgrounds": ..., "styles": ..., ...}.
    """
    for folder in (Path(tokenizer_folder), Path(tokenizer_folder).parent):
        path = folder / "words.json"
        if path.is_file():
            kinds = json.loads(path.read_text(encoding="utf-8"))
            return frozenset(w for kind in kinds.values() for name, also in kind.items() for w in (name, *also) if w)
    return frozenset()


def _named(zh, en, words, between=" "):
    """The hint that names these words, each once; none where there are no words."""
    listed = _short(between.join(dict.fromkeys(words)))
    return [f"{zh}:{listed} · {en}: {listed}"] if words else []


def _short(text, length=24):
    """One line of at most `length` characters: a hint is read, not scrolled."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[:length] + "…"
