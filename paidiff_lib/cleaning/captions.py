"""Captions and tags for pictures that have none, proposed with a Chinese CLIP over a list of words. Nobody has to take them.

    caption = Captioner(words("mini"), Embedded())
    proposal, = caption([picture])
    proposal.caption, proposal.tags          # "两只企鹅,雪地,油画", ["两只企鹅", "雪地", "油画"]

CLIP says which of several texts suits a picture best (Radford et al. 2021), so a caption is put together part by part: first
place and style, then the subject in them, its number, its colour, and the likeliest of these once more beside the others.
"""

import json
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from ..datasets.images import read_picture
from ..datasets.layouts import entries
from ..datasets.picture import FilePicture
from ..errors import DataError, Fault, PaidiffError, first_line
from ..files import atomic_file, output_folder, require_ours
from ..known_words import PARTS, compose

ROUNDS = (("background", "style"), ("subject",), ("count",), ("colour",), ("subject",), ("background", "style"))
SHORTLIST = 8  # of a round's options, for when it comes again
BATCH = 256  # texts at once
AT_ONCE = 64  # pictures
CAPTIONS = "captions.jsonl"


@dataclass
class Proposal:
    """What a picture seems to show: {"subject": "企鹅", ...}, names of the list of words, None where it shows none."""

    parts: dict
    caption: str
    cosine: float
    tags: list = field(init=False)

    def __post_init__(self):
        self.tags = self.caption.split(",")


class Captioner:
    """Proposes captions made of a list of words. words: as `known_words.words` gives them; scorer: a CLIP of scorers.py."""

    def __init__(self, words, scorer):
        if not words.get("subjects") and not words.get("backgrounds"):
            zh, en = (
                "没有词表,没法提议:要有 subjects 或 backgrounds",
                "no list of words: it needs subjects or backgrounds",
            )
            raise PaidiffError(zh, en, ", ".join(words) or "-")
        self.words, self.scorer, self.known = words, scorer, {}  # known: the vector of each text

    def __call__(self, pictures):
        """A Proposal for each PIL picture."""
        seen, found = self.scorer.picture_vectors(pictures), [dict.fromkeys(PARTS) for _ in pictures]
        likely = [{} for _ in pictures]  # {round: its best options, each {part: name}}
        for names in ROUNDS:
            every = [dict(zip(names, values)) for values in self.choices(names)]
            options = [[parts | one for one in known.get(names, every)] for parts, known in zip(found, likely)]
            self.learn(option for several in options for option in several)
            for i, several in enumerate(options):
                ranked = sorted(several, key=lambda parts, i=i: -self.cosine(parts, seen[i]))
                found[i] = ranked[0]
                likely[i][names] = [{name: parts[name] for name in names} for parts in ranked[:SHORTLIST]]
        return [Proposal(parts, self.text(parts), self.cosine(parts, one)) for parts, one in zip(found, seen)]

    def cosine(self, parts, seen):
        return float(self.known[self.text(parts)] @ seen)

    def choices(self, names):
        """Every combination of what these parts may be. Only colour, number and subject may be left out."""
        columns = [
            [*([None] if name in ("subject", "colour") else []), *self.words.get(PARTS[name], {})] for name in names
        ]
        return product(*(column or [None] for column in columns))

    def text(self, parts):
        """The caption of such parts, each by the first of its words."""
        return compose(self.words, **{name: self._word(name, value) for name, value in parts.items()})

    def _word(self, name, value):
        return next(iter(self.words[PARTS[name]].get(value) or [value]), None) if value else None

    def learn(self, options):
        """Make the vectors of what has none yet."""
        texts = [text for text in dict.fromkeys(map(self.text, options)) if text not in self.known]
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            self.known |= zip(batch, self.scorer.text_vectors(batch))


def read_list(path):
    """A list of words of one's own, in the layout of words.json: {"subjects": {"猫": ["猫", "小猫"]}, ...}. Raises PaidiffError."""
    try:
        known = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        if all(isinstance(also, list) for kind in known.values() for also in kind.values()):
            return known
        raise ValueError("{kind: {name: [words]}}")
    except (OSError, ValueError, AttributeError) as error:
        raise PaidiffError("词表读不出来", "cannot read the list of words", f"{path}: {first_line(error)}") from error


def caption_folder(folder, captioner, refuse):
    """Yield (name, Proposal) of the pictures of a folder. refuse: called with the Fault of each that cannot be read."""
    items = [item for item in entries(Path(folder).expanduser(), False, refuse) if isinstance(item, FilePicture)]
    if not items:
        raise DataError(f"{folder} 里没有可用的图片", f"no usable pictures in {folder}")
    for start in range(0, len(items), AT_ONCE):
        opened = [(item.name, _opened(item, refuse)) for item in items[start : start + AT_ONCE]]
        good = [(name, picture) for name, picture in opened if picture]
        yield from zip((name for name, _ in good), captioner([picture for _, picture in good]) if good else ())


def _opened(item, refuse):
    try:
        return read_picture(item.read(), item.name)
    except Fault as fault:
        refuse(fault)


def require_free(folder, name=None):
    """Raise PaidiffError unless the manifest of captions may have that name in `folder`; None is captions.jsonl."""
    if name is None:
        return require_ours(folder, [CAPTIONS])
    if not name.endswith(".jsonl") or Path(name).name != name or name == "metadata.jsonl":
        zh, en = "清单要叫别的 .jsonl 名字,放在图片旁边", "name it otherwise, .jsonl, beside the pictures"
        raise PaidiffError(zh, en, name)


def write(folder, found, name=None):
    """Write [(name, Proposal)] as a manifest beside the pictures; returns its path. metadata.jsonl is never touched."""
    rows = [
        {"file_name": file, "text": one.caption, "tags": one.tags, "clip": round(one.cosine, 4)} for file, one in found
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    folder = Path(folder).expanduser()
    if name:
        with atomic_file(folder / name) as staging:
            staging.write_text(lines, encoding="utf-8")
    else:
        with output_folder(folder) as staging:
            (staging / CAPTIONS).write_text(lines, encoding="utf-8")
    return folder / (name or CAPTIONS)
