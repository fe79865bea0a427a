"""How well pictures follow their prompts, in three lines:

    off, on = (measure.following(pipe, prompts) for pipe in (base, tuned))
    print(measure.table({"off": off, "on": on}))
    print(measure.table({"on - off": measure.difference(on, off)}, "+.0%"))

Prompts are read with the words of the picture world, and the judge says what is in the pictures. The pictures of one
prompt are one scene: intervals are over scenes, for another seed is hardly another picture.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from unicodedata import east_asian_width

import numpy as np

from paidiff_lib.errors import PaidiffError
from paidiff_lib.generate import sample
from paidiff_lib.known_words import split
from paidiff_lib.metrics import Estimate, wilson

from .captions import STYLES
from .judge import CLASSES, HEADS, hits, judge
from .scenes import CELLS, Spec, render
from .words import BACKGROUNDS, COLOURS, DISHES, FLAWS, KITTEN_AND_TOYS, MEASURE, NUMBERS, PLACE_PHRASES, SUBJECTS

SEEDS = 100_000  # from a picture of a prompt to its next


# --- prompts ------------------------------------------------------------------------------------------------------


def parse(prompt):
    """The Spec that a prompt asks for: 雪地里的两只企鹅,油画 is Spec("企鹅", "雪地", "油画", count=2).

    background is None where none is named; a style that is not named is 扁平, as everywhere in the world. Raises
    PaidiffError where two of a kind are named, or a thing that the judge was never taught.
    """
    kinds, found = _words(), {}
    for word in split(prompt, kinds):
        kind, name = kinds[word]
        if found.setdefault(kind, name) != name:
            raise PaidiffError(
                f"裁判一次只认一个:{prompt}", f"the judge tells one {kind} only", f"{found[kind]}, {name}"
            )
    if found.get("subject") in KITTEN_AND_TOYS:
        raise PaidiffError("裁判没学过这个", "the judge was never taught this", found["subject"])
    asked = {"subject": None, "background": None, "count": 1 if "subject" in found else 0} | found
    return Spec(**asked, size=(7 if asked["count"] > 1 else 12) / CELLS, grid=True)


@lru_cache(1)
def _words():
    """{word: (attribute of a Spec, its value)}"""
    places = {name: (*words, *PLACE_PHRASES.get(name, ())) for name, words in BACKGROUNDS.items()}
    taught = {name: (name,) for name in (*DISHES, *KITTEN_AND_TOYS)}
    tables = {"subject": SUBJECTS | taught, "background": places, "style": STYLES, "flaw": FLAWS}
    tables["colour"] = {name: words for name, (words, _) in COLOURS.items()}
    tables["count"] = {k: [number + one for one in set(MEASURE.values())] for k, number in NUMBERS.items()}
    return {word: (kind, name) for kind, table in tables.items() for name, words in table.items() for word in words}


# --- rates --------------------------------------------------------------------------------------------------------


class Rates(dict):
    """{head: Estimate}, how often the judge sees what was asked for, over scenes; "all" is subject, background, style.

    Heads that no prompt asks for are left out. pictures, prompts: one for each other. hits: {head: (N,) of 1, 0 and
    nan}, see `judge.hits`. scenes: {head: how many}.
    """

    def __init__(self, pictures: Sequence, prompts: Sequence[str]):
        if len(pictures) != len(prompts):
            counts = f"{len(pictures)}, {len(prompts)}"
            raise PaidiffError("每张图要有一句提示词", "a prompt for each picture", counts)
        self.pictures, self.prompts = list(pictures), list(prompts)
        self.hits = hits(self.pictures, [parse(prompt) for prompt in self.prompts])
        found = {head: _by_scene(values, self.prompts) for head, values in self.hits.items()}
        self.scenes = {head: len(scenes) for head, scenes in found.items() if scenes}
        super().__init__({head: _rate(found[head]) for head in self.scenes})

    def __str__(self):
        return table({"": self})


def _by_scene(values, prompts):
    """The mean of each prompt's values, without those that are nan."""
    scenes = {}
    for value, prompt in zip(values, prompts):
        if not np.isnan(value):
            scenes.setdefault(prompt, []).append(value)
    return [np.mean(values) for values in scenes.values()]


def _rate(scenes):
    """Wilson with as many trials as there are scenes: a little wide where the pictures of a prompt do differ."""
    return wilson(float(np.sum(scenes)), len(scenes))


def following(pipe, prompts, seeds=1, **settings):
    """Draw every prompt with so many seeds, another for each prompt; returns the Rates. settings: those of `sample`."""
    numbers = [SEEDS * k + i for k in range(seeds) for i in range(len(prompts))]
    prompts = [*prompts] * seeds
    return Rates(sample(pipe, prompts, numbers, **settings), prompts)


def ceiling(prompts, seed=0):
    """The Rates of real pictures of the world: no model can be expected to do better."""
    specs = [parse(prompt) for prompt in prompts]
    specs = [spec if spec.background else replace(spec, background="草地") for spec in specs]
    pictures = [render(spec, np.random.RandomState(SEEDS * seed + i)) for i, spec in enumerate(specs)]
    return Rates(pictures, prompts)


def floor(rates):
    """The Rates of the same pictures with the next picture's prompt: what luck gives."""
    return Rates(rates.pictures, rates.prompts[1:] + rates.prompts[:1])


def difference(after, before):
    """{head: Estimate} of the difference of two Rates of the same prompts, scene by scene. Newcombe 1998, method 10."""
    if after.prompts != before.prompts:
        raise PaidiffError("两边的提示词要一样", "both must be of the same prompts")
    scenes = {head: [_by_scene(one.hits[head], one.prompts) for one in (after, before)] for head in after}
    return {head: _paired(*pair) for head, pair in scenes.items()}


def _paired(after, before):
    """The difference of two rates of the same scenes from the Wilson intervals of both and their correlation."""
    (p, low, high), (q, under, over) = _rate(after), _rate(before)
    spread = (p * (1 - p) * q * (1 - q)) ** 0.5
    shared = float(np.cov(after, before, ddof=0)[0, 1])
    shared = shared if shared < 0 else max(shared - 0.5 / len(after), 0)  # a few scenes go together by chance
    shared = shared / spread if spread else 0.0
    reach = lambda a, b: float(np.sqrt(a * a - 2 * shared * a * b + b * b))
    return Estimate(p - q, p - q - reach(p - low, over - q), p - q + reach(q - under, high - p))


def seen(pictures, name, prompts=None):
    """How often the judge sees `name`, a subject, background, style, colour or flaw: an Estimate, over prompts if given."""
    head = next((head for head in (*HEADS, "flaw") if name in CLASSES[head]), None)
    if head is None:
        raise PaidiffError("裁判没学过这个", "the judge was never taught this", name)
    found = judge().probabilities(pictures)[head].argmax(1) == judge().classes[head].index(name)
    return _rate(_by_scene(found, range(len(found)) if prompts is None else prompts))


def table(columns, form=".0%"):
    """Text: a column for each name, {name: Rates or {row: Estimate}}, a row for each head; n is the number of scenes."""
    rows = dict.fromkeys(row for column in columns.values() for row in column)
    names = [row for row in (*HEADS, "all") if row in rows]
    names += [row for row in rows if row not in names]
    cells = [["", *columns]] + [[row, *(_cell(column, row, form) for column in columns.values())] for row in names]
    scenes = [getattr(column, "scenes", {}) for column in columns.values()]
    if any(scenes):
        counts = ["/".join(dict.fromkeys(str(one[row]) for one in scenes if row in one)) for row in names]
        cells = [[*line, n] for line, n in zip(cells, ["n", *counts])]
    widths = [max(map(_width, column)) for column in zip(*cells)]
    return "\n".join(_line(line, widths) for line in cells)


def _cell(column, row, form):
    return format(column[row], form) if row in column else "-"


def _line(cells, widths):
    first, *others = (" " * (width - _width(cell)) for cell, width in zip(cells, widths))
    return "  ".join([cells[0] + first, *(space + cell for cell, space in zip(cells[1:], others))])


def _width(text):
    """Columns of a terminal: a Chinese character takes two."""
    return sum(1 + (east_asian_width(character) in "WF") for character in text)
