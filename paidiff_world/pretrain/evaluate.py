"""How well paidiff-mini-zh follows held-out prompts: python -m paidiff_world.pretrain.evaluate

Prompts from (subject, background, style) triples that pre-training never saw, three seeds each, judged by the judge;
beside them the ceiling (real pictures of the same scenes) and the floor (pictures against shuffled prompts).
"""

import argparse
import json
import time

import numpy as np

from paidiff_lib.files import data_folder
from paidiff_lib.generate import GUIDANCE, STEPS, sample
from paidiff_lib.metrics import sharpness
from paidiff_lib.models.load import load

from ..heldout import held_out
from ..judge import HEADS, prompt_following
from ..scenes import CELLS, Spec, render
from ..words import STYLES, SUBJECTS
from .export import MODELS


def by_style(pictures, specs):
    """{style: {head: rate}} of subject, background and style: where a model is weak."""
    found = {}
    for style in STYLES:
        part = [i for i, spec in enumerate(specs) if spec.style == style]
        if part:
            rate = prompt_following([pictures[i] for i in part], [specs[i] for i in part])
            found[style] = {head: round(rate[head], 2) for head in HEADS[:3]}
    return found


def rounded(values, digits=4):
    """The mean of some figures, to be written down."""
    return round(float(np.mean(values)), digits)


def evaluate(pipe, prompts=300, seeds=(0, 1, 2), steps=STEPS, guidance=GUIDANCE, report=print):
    """{"model": {head: [rate a seed]}, "ceiling": ..., "floor": ...} and the settings."""
    chosen = held_out(prompts)
    specs, captions = [s for s, _ in chosen], [c for _, c in chosen]
    real = [render(spec, np.random.RandomState(1000 + i)) for i, spec in enumerate(specs)]
    shuffled = specs[1:] + specs[:1]
    rates, floor, sharp, everything, began = [], [], [], [], time.time()
    for seed in seeds:
        pictures = sample(pipe, captions, [seed * 100_000 + i for i in range(prompts)], steps, guidance)
        rates.append(prompt_following(pictures, specs))
        floor.append(prompt_following(pictures, shuffled))
        sharp += map(sharpness, pictures)
        everything += pictures
        report(f"seed {seed}: {rates[-1]}")
    ceiling = prompt_following(real, specs)
    return {
        "prompts": prompts,
        "seeds": len(seeds),
        "steps": steps,
        "guidance": guidance,
        "seconds_per_picture": round((time.time() - began) / prompts / len(seeds), 2),
        "model": {h: rounded([r[h] for r in rates]) for h in HEADS},
        "by_seed": {h: [round(r[h], 4) for r in rates] for h in HEADS},
        "ceiling": {h: round(ceiling[h], 4) for h in HEADS},
        "floor": {h: rounded([r[h] for r in floor]) for h in HEADS},
        "by_style": {"model": by_style(everything, specs * len(seeds)), "ceiling": by_style(real, specs)},
        "sharpness": {"model": rounded(sharp, 2), "real": rounded([sharpness(p) for p in real], 2)},
    }


def plain(pipe, seeds=(0, 1, 2)):
    """Share of all subjects that the judge recognises in the plainest scene, one flat picture each on grass."""
    specs = [Spec(name, "草地", size=12 / CELLS, grid=True) for name in SUBJECTS]
    captions = [f"{spec.subject},{spec.background}" for spec in specs]
    drawn = [sample(pipe, captions, [seed * 100_000 + i for i in range(len(specs))]) for seed in seeds]
    return rounded([prompt_following(pictures, specs)["subject"] for pictures in drawn])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    parser.add_argument("--keep", action="store_true", help="write the result into the model's folder")
    args = parser.parse_args()
    pipe = load("mini")
    result = evaluate(pipe, args.prompts, range(args.seeds), guidance=args.guidance)
    result["plain_subject"] = plain(pipe, range(args.seeds))
    print(json.dumps(result, indent=1))
    if args.keep:
        path = data_folder() / MODELS / "paidiff-mini-zh/prompt_following.json"
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
