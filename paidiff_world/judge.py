"""The judge: does a picture show what its prompt says? A small classifier, with the measurements made with it.

Every number comes with its ceiling (real pictures of the world) or its floor (shuffled prompts) where one exists.
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from paidiff_lib.cleaning.quality_model import Block
from paidiff_lib.files import data_folder

from .words import BACKGROUNDS, COLOURS, DISHES, FLAWS, HUELESS, KEPT_OUT_STYLES, STYLES, SUBJECTS

JUDGE = Path("models/paidiff-judge")  # below the data folder
NONE = "无"
CLASSES = {
    "subject": [*SUBJECTS, *DISHES, NONE],
    "background": [*BACKGROUNDS],
    "style": [*STYLES, *KEPT_OUT_STYLES],
    "colour": [NONE, *COLOURS],
    "count": ["0", "1", "2", "3"],
    "flaw": [NONE, *FLAWS],
}
HEADS = ("subject", "background", "style", "colour", "count")  # what a prompt asks for
PARTS = HEADS[:3]  # what every prompt asks for; "all" is all three in the same picture


def truth(spec):
    """The classes a perfect picture of `spec` would get: {head: name}."""
    return {
        "subject": spec.subject or NONE,
        "background": spec.background,
        "style": spec.style,
        "colour": spec.colour or NONE,
        "count": str(spec.count),
        "flaw": spec.flaw or NONE,
    }


class Judge(nn.Module):
    """A small classifier of scenes, trained on pictures of the world and used by nothing but measurements."""

    def __init__(self, classes=CLASSES, width=32):
        super().__init__()
        self.classes = classes
        sizes = [width, width * 2, width * 4, width * 8]
        self.stem = nn.Sequential(nn.Conv2d(3, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.body = nn.Sequential(*[Block(a, b, 2) for a, b in zip([width, *sizes[:-1]], sizes)])
        self.heads = nn.ModuleDict({head: nn.Linear(sizes[-1] * 2, len(names)) for head, names in classes.items()})

    def features(self, x):
        """Pictures (N, 3, 128, 128) in -1..1 -> what the heads look at, (N, 16 * width)."""
        y = self.body(self.stem(x))
        return torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1)

    def forward(self, x):
        """Pictures (N, 3, 128, 128) in -1..1 -> {head: logits (N, classes)}."""
        y = self.features(x)
        return {head: linear(y) for head, linear in self.heads.items()}

    @torch.no_grad()
    def evidence(self, pictures):
        """PIL pictures -> {head: logits (N, classes)}."""
        out = [self(part) for part in batches(pictures)]
        return {head: torch.cat([o[head] for o in out]) for head in self.classes}

    def probabilities(self, pictures):
        """PIL pictures -> {head: (N, classes) numpy}, classes in the order of `self.classes[head]`."""
        return {head: logits.softmax(1).numpy() for head, logits in self.evidence(pictures).items()}

    def probability(self, pictures, head, name):
        """How sure the judge is that each picture shows `name`: (N,)."""
        return self.probabilities(pictures)[head][:, self.classes[head].index(name)]


def batches(pictures, size=64):
    """PIL pictures -> tensors (at most `size`, 3, 128, 128) in -1..1, one after the other."""
    for i in range(0, len(pictures), size):
        part = [np.asarray(p.convert("RGB").resize((128, 128)), np.float32) for p in pictures[i : i + size]]
        yield torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2) / 127.5 - 1


@lru_cache(1)
def judge():
    """The shipped judge, in eval mode."""
    folder = data_folder() / JUDGE
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Judge(config["classes"], config["width"])
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.float().eval()


def hits(pictures, specs, model=None):
    """What the judge sees as the spec asked for it: {head: (N,) of 1 and 0}, and "all", every one of PARTS at once.

    nan where nothing was asked: colour counts only where one was asked for in a style that shows colours; count only
    where there is a subject; a background only where the spec has one.
    """
    model, wanted, found = model or judge(), [truth(spec) for spec in specs], {}
    probabilities = model.probabilities(pictures)
    for head in HEADS:
        seen = [model.classes[head][i] for i in probabilities[head].argmax(1)]
        right = [float(name == one[head]) for name, one in zip(seen, wanted)]
        found[head] = np.where([_counts(head, spec) for spec in specs], right, np.nan)
    return found | {"all": np.nanmin([found[head] for head in PARTS], 0)}


def rates(found, which=slice(None)):
    """The mean of each head's hits, {head: 0..1}; of the pictures `which` only, an index into them."""
    asked = {head: values[which][~np.isnan(values[which])] for head, values in found.items()}
    return {head: float(values.mean()) if len(values) else float("nan") for head, values in asked.items()}


def rates_by(attribute, found, specs):
    """Where a model is weak: {value: rates} for each value of an attribute of the specs, "style" or "count"."""
    values = [getattr(spec, attribute) for spec in specs]
    groups = {value: [i for i, one in enumerate(values) if one == value] for value in sorted(set(values))}
    return {str(value): rates(found, which) for value, which in groups.items()}


def prompt_following(pictures, specs, model=None):
    """Share of pictures in which the judge sees what the spec asked for, {head: 0..1}; see `hits`."""
    return rates(hits(pictures, specs, model))


def _counts(head, spec):
    if head == "colour":
        return bool(spec.colour) and spec.style not in HUELESS
    if head == "background":
        return spec.background is not None
    return head != "count" or bool(spec.subject)


def similarity(pictures, references):
    """How much each picture shows the same thing as the references: (N,), 1 the same, about 0 something else.

    The mean cosine of the judge's evidence for every subject, whatever the place and style. The thing itself need not
    be one that the judge was taught: a kitten that is half cat and half panda to it is so in every picture.
    """
    seen, wanted = (judge().evidence(group)["subject"] for group in (pictures, references))
    seen, wanted = (F.normalize(logits - logits.mean(1, keepdim=True)) for logits in (seen, wanted))
    return (seen @ wanted.T).mean(1).numpy()
