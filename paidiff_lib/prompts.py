"""What a Chinese prompt becomes: tokens, limits, and the words a model knows."""

import random
import re
from collections.abc import Sequence
from typing import Any

from .errors import PaidiffError, one_line
from .known_words import every_word, nearest, read_words, split

# Words that carry no picture of their own: particles, places, numbers and measure words.
FUNCTION_CHARS = set(
    "的地得了着和与跟及同或在有是为被把让给从到向往对于之其这那此个只匹朵头条张片颗棵座辆艘架把本位名群双对株枝串块件间"
    "碗盘杯份幅支艘枚根面家栋扇顶台部口束轮"
    "一二两三四五六七八九十百几多半第些"
    "上下左右前后里内外中间旁边侧处方"
    "很非常最更太也都正又还再不没小大好看"
)
VERBS = "骑坐站躺飞追吃喝看拿戴穿"  # at the end of what is left of a prompt: 龙虾骑[自行车]
# The WebUI's brackets: an escaped sign, an opening one, a closing one with or without a number, or plain text.
BRACKET = re.compile(
    r"\\(?P<escaped>[()\[\]\\]?)|(?P<open>[(\[])|(?P<shut>:\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[)\]])|[^\\()\[\]:]+|:"
)
SCENE = ("subjects", "backgrounds", "styles")  # of which a picture of the small model shows one each
MOST_PARTS = 10  # a prompt is cut into no more of them: every one costs time in every step
EMPHASIS = 1.1  # of a pair of round brackets; square ones divide by it
TAG = re.compile(r"<(lora|lyco|hypernet):([^<>]*)>", re.I)
WILDCARD = re.compile(r"\{([^{}|]*(?:\|[^{}|]*)+)\}")
# What the WebUI or its extensions take for editing, alternation and wildcards, and weights with a Chinese keyboard's signs.
NOT_UNDERSTOOD = re.compile(r"(?<!\\)\[[^\[\]()\\]*[:|][^\[\]()\\]*\]|\{[^{}]*\|[^{}]*\}|（[^（）]*[:：]\s*[\d.]+\s*）")


def check_prompt(pipe_or_tokenizer: Any, prompt: str) -> list[str]:
    """Readable hints about what this model will not see in a prompt, as a list of lines. Never raises.

    Looked at: an empty prompt; one over the tokenizer's limit, which is read in parts; characters that become [UNK]; English words in a
    Chinese-only vocabulary; other programs' instructions; subjects and counts that the model never learnt, where its folder has a words.json.
    """
    tokenizer = getattr(pipe_or_tokenizer, "tokenizer", pipe_or_tokenizer)
    if not prompt or not prompt.strip():
        return ["提示词是空的,模型会随便画 · the prompt is empty: the model draws whatever it likes"]
    odd, prompt = not_understood(prompt), plain(prompt)
    hints = [*odd, *_in_parts(pipe_or_tokenizer, prompt), *unknown_characters(tokenizer, prompt)]
    for added in tokenizer.get_added_vocab():  # a learnt <my-cat> is no English word
        prompt = prompt.replace(added, " ")
    finders = (
        (_english_words, _too_many) if _has_lora(pipe_or_tokenizer) else (_english_words, _never_learnt, _too_many)
    )
    return hints + [hint for finder in finders for hint in finder(tokenizer, prompt)]


def drawable(pipe_or_tokenizer: Any, prompts: Sequence[str]) -> list[bool]:
    """Which prompts a model can be expected to draw: check_prompt has nothing to say, and it has learnt so much at once.

    A model with a list of words (see `words`) draws one subject or none, in one place, in one style. Without such a
    list only what check_prompt says counts.
    """
    known = read_words(getattr(pipe_or_tokenizer, "tokenizer", pipe_or_tokenizer).name_or_path)
    return [not check_prompt(pipe_or_tokenizer, prompt) and _one_scene(prompt, known) for prompt in prompts]


def _one_scene(prompt, known):
    """Whether a prompt names one subject or place at least, and one at most of each kind."""
    names = {kind: {w: name for name, also in known[kind].items() for w in (name, *also)} for kind in SCENE if known}
    found = split(plain(prompt), every_word(known))
    named = [{of[word] for word in found if word in of} for of in names.values()]
    return not known or (max(map(len, named)) == 1 and bool(named[0] | named[1]))


def weighted(prompt: str) -> list[tuple[str, float]]:
    """A prompt in the WebUI's syntax -> [(text, weight), ...]; one without brackets is [(prompt, 1.0)], unchanged.

    (猫) weighs 1.1, ((猫)) 1.21, [猫] 1/1.1, (猫:1.3) 1.3; \\( \\) \\[ \\] \\\\ are the signs themselves. A bracket that is never
    closed reaches to the end, one that was never opened is a sign. Only prompts are read like this, never captions.
    """
    if not re.search(r"[()\[\]]", prompt):
        return [(prompt, 1.0)]
    texts, weights, opened = [], [], {"(": [], "[": []}
    for found in BRACKET.finditer(prompt):
        sign = "(" if (found["shut"] or "").endswith(")") else "["
        if found["open"]:
            opened[found["open"]].append(len(texts))
        elif found["shut"] and opened[sign]:
            _multiply(weights, opened[sign].pop(), sign, found["number"])
        else:
            texts.append(found[0] if found["escaped"] is None else found["escaped"])
            weights.append(1.0)
    for sign, starts in opened.items():
        for start in starts:
            _multiply(weights, start, sign)
    return _merge_equal(texts, weights)


def _multiply(weights, start, sign, number=None):
    factor = float(number) if number else EMPHASIS if sign == "(" else 1 / EMPHASIS
    weights[start:] = [weight * factor for weight in weights[start:]]


def _merge_equal(texts, weights):
    """Neighbours of the same weight as one."""
    found = []
    for text, weight in zip(texts, weights):
        if found and found[-1][1] == weight:
            found[-1] = (found[-1][0] + text, weight)
        else:
            found.append((text, weight))
    return found or [("", 1.0)]


def plain(prompt):
    """The words of a prompt, without brackets and weights."""
    return text_of(weighted(prompt))


def text_of(weights):
    """The text that `weighted` has cut up."""
    return "".join(text for text, _ in weights)


def token_weights(tokenizer, parts):
    """The weights of `weighted` for every place that the text encoder reads, as a list; 1 for [CLS], [SEP], padding."""
    characters = [weight for text, weight in parts for _ in text]
    pieces = _pieces(tokenizer, text_of(parts))
    limit = tokenizer.model_max_length
    weights = [characters[start] for _, _, start in pieces[: limit - 2]]  # [CLS] stands before them
    return [1.0, *weights, *[1.0] * (limit - 1 - len(weights))]


def parts_of(pipe_or_tokenizer, weights):
    """What `weighted` found, cut into lists of it that the text encoder can read one after the other: one or more.

    A pipeline whose `most_parts` is 1 reads once, and cuts what is too long.
    """
    if getattr(pipe_or_tokenizer, "most_parts", MOST_PARTS) == 1:
        return [weights]
    found = []
    for start in reversed(_starts(pipe_or_tokenizer, text_of(weights))[0][: MOST_PARTS + 1]):
        weights, part = _split(weights, start)
        found.insert(0, part)
    return found[:MOST_PARTS]


def _split(weights, place):
    """What lies before a character, and what comes after."""
    before, after = [], []
    for text, weight in weights:
        before.append((text[:place], weight))
        after.append((text[place:], weight))
        place = max(0, place - len(text))
    return [one for one in before if one[0]], [one for one in after if one[0]] or [("", 1.0)]


def _starts(pipe, text):
    """(where the parts of a text begin, in characters; its tokens in all). A part is as long as can be, a word stays whole."""
    tokenizer = getattr(pipe, "tokenizer", pipe)
    added, limit = {*tokenizer.get_added_vocab().values()}, tokenizer.model_max_length - 2  # beside [CLS] and [SEP]
    starts, used, word, since, count = [0], 0, 0, 0, 0  # since: tokens since the word began
    for index, piece, at in _pieces(tokenizer, text):
        cost = len(_pieces(tokenizer, spelled(pipe, piece))) if index in added else 1
        if not tokenizer.convert_ids_to_tokens(index).startswith("##"):
            word, since = at, 0
        if used + cost > limit and at > starts[-1]:
            whole = word > starts[-1]  # else it is longer than a part
            starts.append(word if whole else at)
            used = since if whole else 0
        used, since, count = used + cost, since + cost, count + cost
    return starts, count


def spelled(pipe, text):
    """A text as the tokenizer gets it: in a pipeline, a learnt word may be several tokens."""
    return pipe.maybe_convert_prompt(text, pipe.tokenizer) if hasattr(pipe, "maybe_convert_prompt") else text


def expand_wildcards(prompt: str, seed: int = 0) -> str:
    """{猫|狗} -> 猫 or 狗, as a seed decides; an inner pair of braces first. Braces without a | are left as they are."""
    dice = random.Random(seed)
    while (found := WILDCARD.search(prompt)) is not None:
        prompt = prompt[: found.start()] + dice.choice(found[1].split("|")) + prompt[found.end() :]
    return prompt


def take_tags(prompt):
    """<lora:name:scale> -> (the prompt without such tags, ((name, scale), ...)). The scale is 1 where none is written.

    Raises PaidiffError on what is no name and number, and on the WebUI's tags for other kinds.
    """
    loras = []
    for kind, inside in TAG.findall(prompt):
        name, _, scale = inside.partition(":")
        try:
            loras.append((name.strip(), float(scale or 1)))
            if kind.lower() == "hypernet" or not name.strip() or not abs(loras[-1][1]) <= 100:
                raise ValueError
        except ValueError:
            zh, en = "看不懂这个标签,要写成 <lora:名字:0.8>", "not understood, write <lora:name:0.8>"
            raise PaidiffError(zh, en, one_line(f"<{kind}:{inside}>")) from None
    return TAG.sub("", prompt), tuple(loras)


def refuse_tags(*prompts):
    """Raise PaidiffError on a LoRA tag where nobody takes it: its letters would be drawn as words."""
    for found in filter(None, map(TAG.search, prompts)):
        zh, en = "这里不认 LoRA 标签,用 load_lora 或 --lora 装上", "no LoRA tags here, load it with load_lora or --lora"
        raise PaidiffError(zh, en, one_line(found[0]))


def not_understood(prompt):
    """What another program would take for instructions and this one reads as words."""
    return _named("这种写法这里不懂,当普通字读", "not understood here, read as words", NOT_UNDERSTOOD.findall(prompt))


def _has_lora(pipe):
    """Whether a LoRA is switched on: it may have taught the model any word."""
    parts = (getattr(pipe, name, None) for name in ("unet", "text_encoder"))
    layers = (layer for part in parts if part is not None for layer in part.modules() if hasattr(layer, "lora_A"))
    return any(layer.active_adapters and not layer.disable_adapters for layer in layers)


def tokens(tokenizer: Any, prompt: str) -> list[str]:
    """The tokens that the text encoder reads, as strings: [CLS] first, cut at the limit, [SEP] last."""
    ids = tokenizer(prompt, truncation=True, max_length=tokenizer.model_max_length)["input_ids"]
    return tokenizer.convert_ids_to_tokens(ids)


def _pieces(tokenizer, prompt):
    """(token id, the text it stands for, where that text begins) for every token, uncut, no special tokens."""
    coded = tokenizer(prompt, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [(i, prompt[a:b], a) for i, (a, b) in zip(coded["input_ids"], coded["offset_mapping"])]


def too_long(tokenizer, caption):
    """A line on what is cut off where a text is read once: a caption in training."""
    limit = tokenizer.model_max_length - 2  # [CLS] and [SEP] take two places
    pieces = _pieces(tokenizer, caption)
    if len(pieces) > limit:
        yield _cut_off(len(pieces), limit, caption[pieces[limit][2] :])


def _cut_off(count, read, tail):
    zh = f"提示词有 {count} 个词元,模型只看前 {read} 个,丢掉了:{_short(tail)}"
    return f"{zh} · {count} tokens, the model reads the first {read} and drops: {_short(tail)}"


def _in_parts(pipe, prompt):
    """A line on a prompt that is read in parts, and on one that is too long even for them."""
    tokenizer = getattr(pipe, "tokenizer", pipe)
    if getattr(pipe, "most_parts", MOST_PARTS) == 1:
        yield from too_long(tokenizer, prompt)
        return
    starts, count = _starts(pipe, prompt)
    parts, limit = len(starts), tokenizer.model_max_length - 2
    if parts > MOST_PARTS:
        end = starts[MOST_PARTS]
        yield _cut_off(count, _starts(pipe, prompt[:end])[1], prompt[end:])
    elif parts > 1:
        zh = f"提示词有 {count} 个词元,一次读 {limit} 个,分成 {parts} 段读,再接起来"
        yield f"{zh} · {count} tokens, {limit} at a time: read in {parts} parts, which are joined"


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
    words = every_word(read_words(tokenizer.name_or_path))
    if not words:
        return
    # longest first, so that 小狗 goes as one word and leaves nothing of itself behind
    known = "|".join(map(re.escape, sorted((word for word in words if len(word) > 1), key=len, reverse=True)))
    rest = re.sub(known, " ", prompt) if known else prompt
    rest = "".join(c if "\u4e00" <= c <= "\u9fff" and c not in FUNCTION_CHARS else " " for c in rest)
    # a known character in an unknown word (龙 in 龙虾) does not cut it in two: what is named stands so in the prompt
    runs = [run.rstrip(VERBS) for run in rest.split()]
    unknown = dict.fromkeys(run for run in runs if sum(c not in words for c in run) > 1)
    yield from _named("这个小模型没学过", "this small model never learnt", unknown, "、")
    meant = [f"{run} → {'、'.join(near)}" for run in unknown if (near := nearest(run, words))]
    if meant:
        yield f"是不是 did you mean: {_short('; '.join(meant), 60)}"


def _too_many(tokenizer, prompt):
    """The world's scenes hold one, two (两) or three (三) of a thing, written in hanzi."""
    if not read_words(tokenizer.name_or_path):
        return ()
    counts = re.findall(r"(?:[四五六七八九十百千万]+|\d+)[只匹头条朵个棵辆艘架把位片颗座杯]", prompt)
    en = "this small model draws one, two (两) or three (三) only"
    return _named("这个小模型只会画一、两、三个", en, counts, "、")


def _named(zh, en, words, between=" "):
    """The hint that names these words, each once; none where there are no words."""
    listed = _short(between.join(dict.fromkeys(words)))
    return [f"{zh}:{listed} · {en}: {listed}"] if words else []


def _short(text, length=24):
    """One line of at most `length` characters: a hint is read, not scrolled."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[:length] + "…"
