"""A dirty training set made by the world, with the truth beside it, to clean and to measure the cleaning on.

truth = write("out/dirty", 1000, seed=5)       # a kind for each picture: "" is a clean one
"""

import io
from dataclasses import replace

import numpy as np
from PIL import Image, ImageEnhance

from . import folders
from .captions import describe
from .scenes import render, sample
from .words import SUBJECTS

BANNED = "骷髅"  # stands in for what a real filter bans: the world has nothing indecent
FLAWS = {"blur": "模糊", "noise": "噪点", "watermark": "水印"}
KINDS = (*FLAWS, "nsfw", "caption", "near")


def spec_of(rs, kind=""):
    """A Spec whose picture has just this wrong with it; "" and what is not in the picture: nothing."""
    spec = sample(rs, 1 + rs.randint(2), grid=rs.rand() < 0.5)
    spec = replace(spec, flaw=FLAWS.get(kind))
    if kind == "nsfw":
        return replace(spec, subject=BANNED, count=max(spec.count, 1))
    others = [name for name in SUBJECTS if name != BANNED]
    return replace(spec, subject=others[rs.randint(len(others))]) if spec.subject == BANNED else spec


def caption_of(spec, rs):
    """What is meant to be seen; people do not write that their picture is blurred."""
    return describe(replace(spec, flaw=None), rs, full=True)


def scenes(count, seed, share=0.5, kinds=KINDS):
    """`count` times (picture, caption, kind); `share` of them has one of `kinds` wrong with it, all alike.

    A near duplicate is an altered copy of a clean picture before it.
    """
    rs, clean = np.random.RandomState(seed), []
    for _ in range(count):
        kind = kinds[rs.randint(len(kinds))] if rs.rand() < share else ""
        if kind == "near" and clean:
            picture, spec = clean[rs.randint(len(clean))]
            yield altered(picture, rs), caption_of(spec, rs), kind
            continue
        kind = "" if kind == "near" else kind
        spec = spec_of(rs, kind)
        picture = render(spec, rs)
        if kind == "":
            clean = [*clean[-49:], (picture, spec)]
        yield picture, caption_of(another(spec, rs) if kind == "caption" else spec, rs), kind


def another(spec, rs):
    """A Spec of another subject in another place."""
    while True:
        other = spec_of(rs)
        if other.subject != spec.subject and other.background != spec.background:
            return other


def altered(picture, rs):
    """The same picture as it comes back from the web: scaled, brighter or darker, cut at the edges, saved again."""
    way, (width, height) = rs.randint(4), picture.size
    if way == 1:
        picture = picture.resize((round(width * rs.uniform(0.7, 1.5)),) * 2, Image.Resampling.BICUBIC)
    if way == 2:
        picture = ImageEnhance.Brightness(picture).enhance(rs.uniform(0.9, 1.12))
    if way == 3:
        left, top, right, bottom = (int(v) for v in rs.randint(0, 3, 4))
        picture = picture.crop((left, top, width - right, height - bottom))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=int(rs.randint(50, 90)))
    return Image.open(data).convert("RGB")


def write(folder, count, seed, **settings):
    """Write the set as 00001.jpg, ... and metadata.jsonl; returns {file name: kind}. settings: of `scenes`."""
    truth = {}

    def labelled():
        for number, (picture, caption, kind) in enumerate(scenes(count, seed, **settings), 1):
            truth[f"{number:05d}.jpg"] = kind
            yield picture, caption

    folders.write(folder, labelled(), digits=5)
    return truth
