"""Seconds and bytes a picture of cleaning, encoding and training; from them, the days and terabytes of large sets.

    python benchmarks/plan.py              measures, writes benchmarks/plan.json, prints the tables of docs/scale.md
    python benchmarks/plan.py --tables     prints them from what was measured

Measured are processor seconds of the small model on one thread. The published models are counted: the operations of one
picture through networks of their shape, which have no weights. What is assumed stands in ASSUMED.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from gauge import flops
from run import machine

import paidiff_lib
from paidiff_app import skeleton
from paidiff_lib.training.encoding import encode
from paidiff_world import dirty

RECORD = Path(__file__).with_suffix(".json")
PICTURES, UPDATES, BATCH = 200, 22, 4
COUNTS, CARDS, DAY = (10**5, 10**7, 10**9), (1, 8, 64), 86_400
ASSUMED = {
    "operations a second of a card": 1e14,  # in half precision, of one picture after the other through such networks
    "processors beside a card": 8,  # like the one measured on; they clean
    "bytes of a picture of 512 x 512": 100_000,
    "a step back costs as much as so many forward": 2,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true")
    if not parser.parse_args().tables:
        torch.set_num_threads(1)
        record = {"machine": machine(), "pictures": PICTURES, "mini": mini(), "published": published()}
        RECORD.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print("\n\n".join(map("\n".join, tables())))


def mini():
    """{step: processor seconds a picture} and bytes a picture of the small model."""
    pipe = paidiff_lib.load("mini")
    with tempfile.TemporaryDirectory() as place:
        pictures, shards = Path(place, "pictures"), Path(place, "shards")
        dirty.write(pictures, PICTURES, seed=26)
        paidiff_lib.curate(pictures)  # opens the scorers
        (pictures / "scores.jsonl").unlink()
        spent = {"clean": seconds(lambda: paidiff_lib.curate(pictures)) / PICTURES}
        spent["encode"] = seconds(lambda: list(encode(pipe, pictures, shards))) / PICTURES
        steps = paidiff_lib.train(paidiff_lib.LoRA(pipe, rank=8), shards, UPDATES, 1e-4, batch_size=BATCH)
        next(steps), next(steps)  # the first ones prepare
        spent["train"] = seconds(lambda: list(steps)) / BATCH / (UPDATES - 2)
        sizes = {"picture": size(pictures, "*.jpg") / PICTURES, "encoded": size(shards, "*.tar") / PICTURES}
    return {
        "seconds": {step: round(value, 4) for step, value in spent.items()},
        "bytes": {kind: round(value) for kind, value in sizes.items()},
    }


def seconds(work):
    began = time.process_time()
    work()
    return time.process_time() - began


def size(folder, pattern):
    return sum(path.stat().st_size for path in folder.glob(pattern))


def published(side=512):
    """Operations and bytes a picture of networks in the shape of the published models."""
    with torch.device("meta"), torch.inference_mode():
        names = ("unet", "vae", "text_encoder")
        unet, vae, text = (skeleton.PARTS[name][0](skeleton.FULL, side) for name in names)
        latent, tokens = torch.empty(1, 4, side // 8, side // 8), skeleton.LIMIT
        hidden = torch.empty(1, tokens, skeleton.FULL["width"])
        ids = torch.zeros(1, tokens, dtype=torch.long)
        encoded = flops(lambda: (vae.encode(torch.empty(1, 3, side, side)), text(ids)))
        forward = flops(lambda: unet(latent, torch.zeros(1), hidden))
    return {"encode": encoded, "forward": forward, "encoded bytes": 4 * (2 * latent.numel() + hidden.numel())}


def tables(record=None):
    """The tables of docs/scale.md, each a list of lines without its heading."""
    record = record or json.loads(RECORD.read_text(encoding="utf-8"))
    return list(each_picture(record)), list(days(record)), list(rest(record))


def a_picture(record):
    """Of mini on a processor, and of a published model on a card: {step: seconds}, {what: bytes}."""
    small, large = record["mini"], record["published"]
    rate, back = ASSUMED["operations a second of a card"], ASSUMED["a step back costs as much as so many forward"]
    card = {
        "clean": small["seconds"]["clean"] / ASSUMED["processors beside a card"],
        "encode": large["encode"] / rate,
        "train": large["forward"] * (1 + back) / rate,
    }
    sizes = {"picture": ASSUMED["bytes of a picture of 512 x 512"], "encoded": large["encoded bytes"]}
    return (small["seconds"], small["bytes"]), (card, sizes)


def each_picture(record):
    for (spent, sizes), name in zip(a_picture(record), ("mini, 128 × 128", "1 B, 512 × 512")):
        steps = " | ".join(f"{spent[step] * 1000:.1f}" for step in ("clean", "encode", "train"))
        yield f"| {name} | {steps} | {sizes['picture']:,} | {sizes['encoded']:,} |"


def days(record):
    """Days of each step for a published model: a row for a number of pictures and one of cards."""
    spent = a_picture(record)[1][0]
    for count in COUNTS:
        for cards in CARDS:
            steps = " | ".join(rounded(count * spent[step] / cards / DAY) for step in ("clean", "encode", "train"))
            yield f"| {count:,} | {cards} | {steps} |"


def rest(record):
    """What is not shared out: near duplicates, as they grow; and the disks."""
    measured = json.loads(RECORD.with_name("near_duplicates.json").read_text(encoding="utf-8"))["sizes"]
    first, last = (pick(map(int, measured)) for pick in (min, max))
    row, sizes = measured[str(last)], a_picture(record)[1][1]
    own, growth = measured[str(first)]["peak MB"], (row["peak MB"] - measured[str(first)]["peak MB"]) / (last - first)
    for count in COUNTS:
        hours = row["microseconds / n log2 n"] * count * np.log2(count) / 1e6 / 3600
        memory = (own + growth * count) / 1e3
        disks = (rounded(count * sizes[kind] / 1e12) for kind in ("picture", "encoded"))
        yield f"| {count:,} | {rounded(hours)} | {rounded(memory)} | {' | '.join(disks)} |"


def rounded(value):
    """Two figures that count."""
    return f"{float(f'{value:.2g}'):,.10g}" if value >= 0.01 else "< 0.01"


if __name__ == "__main__":
    main()
