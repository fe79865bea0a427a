"""Chips: the words that a model knows, by kind, and a prompt that is written with them. Of the page and the playground."""

import re

from paidiff_lib.known_words import PARTS, compose, every_word, split

BETWEEN = " ,，、的"  # what stands between the words of a prompt as `compose` writes it, and as people do
LONGEST = 100  # characters of a prompt in which words are looked for: longer ones are no composed scenes
COMMAS = re.compile(r"[,，]\s*(?=[,，]|$)|^\s*[,，]\s*")


def chips(known):
    """{part: [word]} to choose from; {} of a model that has no list. known: what `paidiff.words` gives."""
    return {part: [_written(*one) for one in known[kind].items()] for part, kind in PARTS.items() if known.get(kind)}


def chosen(prompt, known):
    """{part: the chip} that a prompt names, the first one of each part."""
    return {part: chip for part, (_, chip) in _found(prompt, known)[0].items()}


def with_word(prompt, part, word, known):
    """The prompt with this word for a part of it, or without one: None.

    A prompt of nothing but such words is composed anew, with the right measure word; into another one it is written.
    """
    found, whole = _found(prompt, known)
    parts = {name: chip for name, (_, chip) in found.items()} | {part: word}
    if whole and (parts.get("subject") or part == "subject"):
        return compose(known, **parts)
    if part in found:
        return COMMAS.sub("", prompt.replace(found[part][0], word or "", 1))
    return ",".join(filter(None, (prompt.rstrip(BETWEEN), word)))


def _found(prompt, known):
    """({part: (as it stands in the prompt, its chip)}, whether the prompt says no more than that)."""
    chips = {
        w: (part, _written(*one))
        for part, kind in PARTS.items()
        for one in known.get(kind, {}).items()
        for w in (one[0], *one[1])
    }
    words = split(prompt, every_word(known)) if len(prompt) <= LONGEST else [prompt]
    found, whole = {}, len("".join(words)) == len(prompt.translate(dict.fromkeys(map(ord, BETWEEN))))
    for word in words:
        part, chip = chips.get(word, (None, None))
        whole = whole and part not in found and (part is not None or word in known.get("measures", ()))
        if part:
            found.setdefault(part, (word, chip))
    return found, whole


def _written(name, also):
    """A word as captions have it: a name alone may never have been read."""
    return (also or [name])[0]
