"""Train the curator on pictures of the world, and measure its filters on a dirty set it has not seen.

python -m paidiff_world.pretrain.curator             # some minutes on a CPU; goes on where it was killed
python -m paidiff_world.pretrain.curator --measure   # only the table, for the shipped weights
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from paidiff_lib.cleaning.filter import curate
from paidiff_lib.cleaning.near_duplicates import NEAR
from paidiff_lib.cleaning.quality_model import DETECTORS, FOLDER, Curator, TextTower, curator
from paidiff_lib.files import data_folder

from .. import dirty
from ..captions import describe
from ..scenes import render
from ..styles import FLAWS
from . import judge, loop
from .vae import to_tensor

PICTURES, STEPS, BATCH, RATE, SIZE = 8_000, 1500, 48, 2e-3, 128
ODDS = {"": 0.36, "blur": 0.18, "noise": 0.18, "watermark": 0.18, "nsfw": 0.10}
SPOILT = 0.5  # of the clean and the banned pictures get a new flaw each time: the same picture with and without it
FILTERS = {kind: f"{kind} <" for kind in DETECTORS} | {"caption": "clip >", "near": "near >"}
FIT, HELD_OUT = 101, 202  # seeds of the dirty set for the thresholds, and of the one for the table
WEIGHT = 12  # of the detectors' loss beside the contrastive one


class Taught(nn.Module):
    """A Curator and the contrast's temperature, which is not kept."""

    def __init__(self):
        super().__init__()
        self.curator, self.scale = Curator(), nn.Parameter(torch.tensor(np.log(14.0), dtype=torch.float32))

    def forward(self, x):
        return self.curator(x)


def pool(folder, count, seed=0):
    """(pictures (N, H, W, 3) uint8; text vectors (N, 2, 192), two captions each; labels (N, detectors)), made once."""
    path = Path(folder) / "pool.pt"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        rs, labels, captions = np.random.RandomState(seed), [], []
        pictures = np.lib.format.open_memmap(path.with_suffix(".npy"), "w+", np.uint8, (count, SIZE, SIZE, 3))
        for i in range(count):
            kind = list(ODDS)[rs.choice(len(ODDS), p=list(ODDS.values()))]
            spec = dirty.spec_of(rs, kind)
            pictures[i] = np.asarray(render(spec, rs, SIZE))
            captions += [describe(replace(spec, flaw=None), rs), dirty.caption_of(spec, rs)]
            labels.append([float(kind == name) for name in DETECTORS])
            if (i + 1) % 1000 == 0:
                print(f"pool {i + 1}/{count}", flush=True)
        pictures.flush()
        tower = TextTower()
        vectors = torch.cat([tower(captions[i : i + 100]) for i in range(0, len(captions), 100)])
        loop.save(path, {"vectors": vectors.unflatten(0, (count, 2)), "labels": torch.tensor(labels)})
    made = torch.load(path, weights_only=True)
    return np.load(path.with_suffix(".npy"), mmap_mode="r"), made["vectors"], made["labels"]


def spoilt(pictures, labels, rs):
    """Some of the pictures that have no flaw get one: (pictures, labels), both new."""
    pictures, labels = pictures.copy(), labels.clone()
    for i in np.flatnonzero((labels[:, :3].sum(1).numpy() == 0) & (rs.rand(len(labels)) < SPOILT)):
        kind = list(dirty.FLAWS)[rs.randint(len(dirty.FLAWS))]
        flawed = FLAWS[dirty.FLAWS[kind]](pictures[i].astype(np.float32), rs)
        pictures[i] = np.clip(flawed, 0, 255).astype(np.uint8)
        labels[i, DETECTORS.index(kind)] = 1
    return pictures, labels


def objective(taught, pictures, vectors, labels, batch):
    """Contrastive loss against the frozen text vectors + the detectors' losses."""

    def loss(step, generator):
        which = torch.randint(len(pictures), (batch,), generator=generator)
        rs = np.random.RandomState(generator.initial_seed() % 2**32)
        images, wanted = spoilt(pictures[which.numpy()], labels[which], rs)
        seen, embedded = taught(to_tensor(images))
        text = vectors[which, torch.randint(2, (batch,), generator=generator)]
        logits = taught.scale.exp().clamp(max=60) * embedded @ text.T
        same = torch.arange(batch)
        contrast = (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2
        found = F.binary_cross_entropy_with_logits(seen.float(), wanted)
        return contrast + WEIGHT * found, {"top1": (logits.argmax(1) == same).float().mean(), "detectors": found}

    return loss


def train(folder, pictures=PICTURES, steps=STEPS, batch=BATCH):
    """The trained Curator, in eval mode, and the record of its training."""
    images, vectors, labels = pool(folder, pictures)
    torch.manual_seed(0)
    taught, warmup = Taught(), min(50, steps // 2)
    loss = objective(taught, images, vectors, labels, batch)
    taught, record = loop.train("curator", taught, loss, folder, steps, RATE, batch, warmup, ema=0.99)
    judge.settle(taught, images, batch)
    return taught.curator, record


def export(model, record):
    folder = data_folder() / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    loop.save_half(folder / "model.safetensors", model)
    config = {"width": model.stem[0].out_channels, "text": model.tower.out_features, "banned": dirty.BANNED, "keep": ""}
    loop.save_json(folder / "config.json", config | {"training": record | {"hardware": loop.hardware("cpu")}})
    curator.cache_clear()


def scored(count, seed):
    """(scores, the kind of each picture) of a dirty set."""
    with tempfile.TemporaryDirectory() as folder:
        truth = dirty.write(folder, count, seed)
        found = curate(folder, keep="width > 0")
    return found.scores, np.array([truth[item.name] for item in found.items])


def precision_recall(dropped, bad):
    """Of what is dropped, the share that is bad; of what is bad, the share that is dropped."""
    hits = (dropped & bad).sum()
    return float(hits / max(dropped.sum(), 1)), float(hits / max(bad.sum(), 1))


def dropped_by(clause, threshold, scores):
    name, sign = clause.split()
    return scores[name] >= threshold if sign == "<" else scores[name] <= threshold


def fit(count):
    """Give the shipped curator its rule: each filter's threshold where the worse of precision and recall is best."""
    scores, kinds = scored(count, FIT)
    limits = {"near": NEAR}
    for kind, clause in FILTERS.items():
        if kind not in limits:
            tried = np.linspace(*np.percentile(scores[clause.split()[0]], (0.5, 99.5)), 400)
            worst = [min(precision_recall(dropped_by(clause, t, scores), kinds == kind)) for t in tried]
            limits[kind] = round(float(np.median(tried[worst == np.max(worst)])), 3)  # the middle of the best ones
    path = data_folder() / FOLDER / "config.json"
    rule = " and ".join(f"{clause} {limits[kind]}" for kind, clause in FILTERS.items())
    loop.save_json(path, json.loads(path.read_text(encoding="utf-8")) | {"keep": rule})
    curator.cache_clear()


def measure(count, seed=HELD_OUT):
    """{kind: {clause, precision, recall, pictures of that kind}} of the shipped rule on a dirty set not used before."""
    scores, kinds = scored(count, seed)
    limits = dict(zip(FILTERS, (float(part.split()[-1]) for part in curator()[1]["keep"].split(" and "))))
    table = {}
    for kind, clause in FILTERS.items():
        precision, recall = precision_recall(dropped_by(clause, limits[kind], scores), kinds == kind)
        row = {"keep": f"{clause} {limits[kind]}", "precision": round(precision, 3), "recall": round(recall, 3)}
        table[kind] = row | {"pictures": int((kinds == kind).sum())}
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/curator", help="folder of the run: pictures and checkpoint")
    parser.add_argument("--steps", type=int, default=STEPS, help="of training, 48 pictures each")
    parser.add_argument("--count", type=int, default=2000, help="pictures of each dirty set")
    parser.add_argument("--measure", action="store_true", help="only measure the shipped weights")
    args = parser.parse_args()
    if not args.measure:
        export(*train(args.out, steps=args.steps))
        fit(args.count)
    table = measure(args.count)
    print("| filter | keep | precision | recall | pictures |\n|---|---|---|---|---|")
    for kind, row in table.items():
        rates = f"{row['precision']:.1%} | {row['recall']:.1%}"
        print(f"| {kind} | {row['keep']} | {rates} | {row['pictures']} of {args.count} |")
    if not args.measure:
        loop.save_json(data_folder() / FOLDER / "filters.json", table)


if __name__ == "__main__":
    main()
