"""Larger pictures than the model was taught, drawn at once and by `hires`: does one subject stay one subject?

    python benchmarks/hires.py [prompts [size ...]]      # 40 of them, 256 and 192; writes benchmarks/hires.json and hires.png

Prompts: held-out scenes of one subject, another subject, place and style in each, a seed each. The judge sees 128 pixels,
so a picture is judged as a whole, made smaller. That it then tells one subject from four is measured first, on true
pictures: scenes of one subject painted at that size, and the same size laid with four of them (`four`).
"""

import json
import sys
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

import paidiff_lib as paidiff
from paidiff_lib.comparison import compare
from paidiff_lib.generate import sample
from paidiff_lib.metrics import sharpness, wilson
from paidiff_lib.upscaling import redraw
from paidiff_world.heldout import held_out
from paidiff_world.judge import hits
from paidiff_world.scenes import render

SIZES = (256, 192)
STEPS = 10  # the judge sees no difference from 20, see ladder.py
RESULTS = Path(__file__).with_name("hires.json")
HEADS = ("count", "subject", "background", "style")
SHOWN = 6


def measure(pictures, specs):
    """{head: [rate, low, high]} with Wilson's intervals, "once" for the count; and how sharp the pictures are."""
    found = hits(pictures, specs)
    rates = {head: [round(float(value), 3) for value in wilson(found[head].sum(), len(specs))] for head in HEADS}
    return {
        "once": rates.pop("count"),
        **rates,
        "sharpness": round(float(np.mean([sharpness(p) for p in pictures])), 2),
    }


def four(picture, size):
    """What a network that was taught 128 pixels paints at a larger size: the scene again and again, cut at the edge."""
    sheet = Image.new("RGB", (size, size))
    for x in range(0, size, picture.width):
        for y in range(0, size, picture.height):
            sheet.paste(picture, (x, y))
    return sheet


def true_pictures(specs, size):
    """What the judge makes of true pictures: of one subject at that size, and of four."""
    painted = lambda side: [render(spec, np.random.RandomState(i), side) for i, spec in enumerate(specs)]
    return {"true, one": painted(size), "true, four": [four(picture, size) for picture in painted(128)]}


def drawn(pipe, prompts, seeds, small, size):
    settings = {"seed": seeds, "steps": STEPS}
    yield "hires", redraw(pipe, prompts, small, (size, size), **settings)
    yield "at once", sample(pipe, prompts, size=(size, size), **settings)


def main(count, sizes):
    chosen = [(spec, text) for spec, text in held_out(3 * count, seed=11) if spec.count == 1][:count]
    specs, prompts = map(list, zip(*chosen))
    pipe, seeds = paidiff.load("mini"), list(range(100, 100 + count))
    small = sample(pipe, prompts, seeds, steps=STEPS)
    note = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    rows, note = {"128": small}, {"prompts": count, "steps": STEPS, "columns": "rate, low, high (Wilson, 95 %)"} | note
    results = note.setdefault("results", {})
    results["128"] = measure(small, specs)
    for size in sizes:
        for name, pictures in chain(drawn(pipe, prompts, seeds, small, size), true_pictures(specs, size).items()):
            name = f"{size}, {name}"
            results[name], rows[name] = measure(pictures, specs), pictures
            print(f"{name}: {results[name]}", flush=True)
            RESULTS.write_text(json.dumps(note, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    shown = {name: [p.resize((256, 256)) for p in row[:SHOWN]] for name, row in rows.items() if "true" not in name}
    compare(shown).save(RESULTS.with_suffix(".png"))


if __name__ == "__main__":
    given = [*map(int, sys.argv[1:])]
    main(given[0] if given else 40, given[1:] or SIZES)
