"""Captions and tags for pictures that have none, proposed with a Chinese CLIP over a list of words. Nobody has to take them.

proposals = propose(pictures, words("mini"), Embedded())
proposals[0].caption, proposals[0].tags          # "两只企鹅,雪地,油画", ["两只企鹅", "雪地", "油画"]

CLIP says which of several texts suits a picture best (Radford et al. 2021), so a caption is put together part by part: first
place and style, then the subject in them, its number, its colour, and each of these once more beside the others.
"""

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from ..known_words import compose

ROUNDS = (("background", "style"), ("subject",), ("count",), ("colour",), ("subject",), ("background",), ("style",))
KINDS = {"subject": "subjects", "background": "backgrounds", "style": "styles", "colour": "colours", "count": "counts"}
BATCH = 256  # texts at once


@dataclass
class Proposal:
    """What a picture seems to show: {"subject": "企鹅", ...}, names of the list of words, None where it shows none."""

    parts: dict
    caption: str
    cosine: float
    tags: list = field(init=False)

    def __post_init__(self):
        self.tags = self.caption.split(",")


def propose(pictures, known, scorer):
    """A Proposal for each PIL picture. known: a list of words as `words` gives it; scorer: a CLIP of scorers.py."""
    seen, writer = scorer.picture_vectors(pictures), Writer(known, scorer)
    found = [dict.fromkeys(KINDS) for _ in pictures]
    for names in ROUNDS:
        options = [[writer.with_parts(parts, names, values) for values in writer.choices(names)] for parts in found]
        vectors = writer.vectors(option for several in options for option in several)
        for i, several in enumerate(options):
            found[i] = max(several, key=lambda parts, i=i: float(vectors[writer.caption(parts)] @ seen[i]))
    captions = [writer.caption(parts) for parts in found]
    return [Proposal(parts, text, float(writer.known[text] @ one)) for parts, text, one in zip(found, captions, seen)]


class Writer:
    """Captions of a list of words, and their vectors, each made once."""

    def __init__(self, words, scorer):
        self.words, self.scorer, self.known = words, scorer, {}

    def choices(self, names):
        """Every combination of what these parts may be. Only colour, number and subject may be left out."""
        columns = [
            [*([None] if name in ("subject", "colour") else []), *self.words.get(KINDS[name], {})] for name in names
        ]
        return product(*(column or [None] for column in columns))

    def with_parts(self, parts, names, values):
        return parts | dict(zip(names, values))

    def caption(self, parts):
        """The caption of such parts, each by the first of its words."""
        said = {name: self._word(name, value) for name, value in parts.items()}
        return compose(self.words, **said)

    def _word(self, name, value):
        return next(iter(self.words[KINDS[name]].get(value) or [value]), None) if value else None

    def vectors(self, options):
        texts = [text for text in dict.fromkeys(map(self.caption, options)) if text not in self.known]
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            self.known |= zip(batch, np.asarray(self.scorer.text_vectors(batch)))
        return self.known
