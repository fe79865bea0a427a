"""A pool of rendered scenes on disk, made once: pictures.npy (N, 128, 128, 3) uint8 and scenes.jsonl beside it.

Seeds run from 0; a share of the pool is plainer than the rest, so that the UNet can be taught in order.
"""
import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

import numpy as np

from ..world import Spec, scene
from ..world.captions import describe

CHUNK = 500


def level(seed):
    """Which teaching level a seed draws from: 1/5 single plain scenes, 1/5 styles and colours, 3/5 everything."""
    return (0, 1, 2, 2, 2)[seed % 5]


def _chunk(folder, start, stop, size):
    """Render one chunk into the shared file; return its caption lines."""
    pictures = np.load(folder / "pictures.npy", mmap_mode="r+")
    lines = []
    for seed in range(start, stop):
        picture, caption, spec = scene(seed, size, level(seed))
        other = describe(spec, np.random.RandomState(seed + 2**31))
        pictures[seed] = np.asarray(picture)
        lines.append({"seed": seed, "captions": [caption, other], **asdict(spec)})
    return lines


def build(folder, count, size=128, workers=None, report=print):
    """Render `count` scenes; a finished pool of that many is returned as it is, any other is made again."""
    folder = Path(folder)
    if not (folder / "scenes.jsonl").exists() or len(load(folder)[0]) != count:
        (folder / "scenes.jsonl").unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        np.lib.format.open_memmap(folder / "pictures.npy", "w+", np.uint8, (count, size, size, 3)).flush()
        starts = range(0, count, CHUNK)
        lines = []
        with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
            stops = [min(s + CHUNK, count) for s in starts]
            for part in pool.map(_chunk, repeat(folder), starts, stops, repeat(size)):
                lines += part
                report(f"pool {len(lines)}/{count}")
        staging = folder / "scenes.tmp"
        staging.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        staging.replace(folder / "scenes.jsonl")
    return load(folder)


def load(folder):
    """(pictures (N, H, W, 3) uint8, memory-mapped; specs; captions, two each) of a finished pool."""
    folder = Path(folder)
    specs, captions = [], []
    for line in (folder / "scenes.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        captions.append(record.pop("captions"))
        record.pop("seed")
        specs.append(Spec(**record))
    return np.load(folder / "pictures.npy", mmap_mode="r"), specs, captions
