"""The words that a model has learnt: its words.json, by kind. Prompts made of them, and words in a text."""

import json
import random
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from .models.load import find, is_export, model_name

FILE = "words.json"  # of a model, or beside its tokenizer's folder
PARTS = {"subject": "subjects", "background": "backgrounds", "style": "styles", "colour": "colours", "count": "counts"}
ALIKE = 0.66  # difflib's ratio: two of three characters; one of two says nothing, 公园 is no 公鸡


def words(model: Any = None) -> dict[str, dict[str, list[str]]]:
    """What a model has learnt, by kind: {"subjects": {"猫": ["猫", "小猫"], ...}, "backgrounds": ..., "styles": ..., ...}.

    model: a pipeline, its tokenizer, a name or a folder, as `load` takes it; None takes PAIDIFF_MODEL, else "mini".
    Each name has all the words for it. "counts" are numbers; "measures" has the measure word (量词) of each subject,
    {"只": ["猫", ...]}; "flaws" are for negative prompts. Models that were taught more than a list have none: {}.
    Raises NotFound if there is no such model.
    """
    tokenizer = getattr(model, "tokenizer", model)
    if hasattr(tokenizer, "name_or_path"):
        return read_words(tokenizer.name_or_path)
    name = model_name(model)
    return read_words(Path(name).expanduser() if is_export(name) else find(name))


@lru_cache
def read_words(folder):
    """As `words`, of a model's folder or of the one of its tokenizer."""
    for path in (Path(folder) / FILE, Path(folder).parent / FILE):
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    return {}


def every_word(known):
    """All words of all kinds, as a frozenset."""
    return frozenset(w for kind in known.values() for name, also in kind.items() for w in (name, *also) if w)


def compose(known: dict, **parts: str | None) -> str:
    """A prompt as people write it, of what `words` gives: compose(words(), subject="猫", count="两", background="草地").

    parts: a word for any of subject, background, style, colour, count, the keys of PARTS. Colour and number belong to
    the subject: without one they are left out.
    """
    subject, colour, count = (parts.get(name) or "" for name in ("subject", "colour", "count"))
    thing = (count and count + measure_of(known, subject)) + (colour and f"{colour}的") + subject if subject else ""
    return ",".join(filter(None, (thing, parts.get("background"), parts.get("style"))))


def measure_of(known, subject):
    """The measure word of a subject, under any of its names: 只 of 猫咪."""
    names = [name for name, also in known.get("subjects", {}).items() if subject in (name, *also)]
    return next((measure for measure, counted in known.get("measures", {}).items() if {*names} & {*counted}), "个")


def random_prompt(known: dict, seed: int | None = None) -> str:
    """A prompt of these words, as a dice falls: a subject somewhere, sometimes in a colour, in a style, two or three.

    "" where no words are known. A colour comes without a style: many styles have their own.
    """
    dice = random.Random(seed)

    def pick(kind, chance=1.0):
        name, also = dice.choice([*known.get(kind, {}).items()] or [("", [])])
        return (also or [name])[0] if dice.random() < chance else None

    style = pick("styles", 0.6)
    parts = {"colour": pick("colours", 0.0 if style else 0.4), "count": pick("counts", 0.3), "style": style}
    return compose(known, subject=pick("subjects"), background=pick("backgrounds"), **parts)


def split(text, known):
    """The words of a text that cover most of it, the fewest of them: 蓝天鹅 is blue and a swan, no sky."""
    best = [[]] * (len(text) + 1)  # of the text from each place on
    for i in reversed(range(len(text))):
        options = [[word, *best[i + len(word)]] for word in known if text.startswith(word, i)]
        best[i] = max([best[i + 1], *options], key=lambda found: (len("".join(found)), -len(found)))
    return best[0]


def nearest(word, known):
    """Known words that are written much like an unknown one, at most two, the likest first: 水彩画 for 山水画."""
    return get_close_matches(word, sorted(known), 2, ALIKE)
