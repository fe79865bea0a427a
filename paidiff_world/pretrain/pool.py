"""A pool of rendered scenes on disk, made once: pictures.npy (N, 128, 128, 3) uint8, masks.npy (N, 16, 16) uint8 (how
much of each cell the subjects cover, 0..255) and scenes.jsonl.

Seeds run from 0; a share of the pool is plainer than the rest, so that the UNet can be taught in order.
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

import numpy as np

from paidiff_lib.files import atomic_file

from ..captions import describe
from ..scenes import CELLS, WORLD, WORLDS, Spec, paint, plan

CHUNK = 500


def level(seed, grid=False):
    """Which teaching level a seed draws from: single plain scenes, styles and colours, or everything."""
    return ((0, 1, 1, 2, 2) if grid else (0, 1, 2, 2, 2))[seed % 5]


def _chunk(folder, start, stop, size, grid, kept_out):
    """Render one chunk into the shared files; return its caption lines."""
    pictures, masks = (np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ("pictures", "masks"))
    lines = []
    for seed in range(start, stop):
        cells = grid or (kept_out and seed % 2 == 1)
        spec, caption, rs = plan(seed, level(seed, grid), grid=cells, kept_out=kept_out)
        picture, mask = paint(spec, rs, size, WORLDS[-1] if kept_out else WORLD)
        other = describe(spec, np.random.RandomState(seed + 2**31))
        pictures[seed] = np.asarray(picture)
        masks[seed] = mask.reshape(CELLS, size // CELLS, CELLS, size // CELLS).mean((1, 3)) * 255
        lines.append({"seed": seed, "captions": [caption, other], **asdict(spec)})
    return lines


def build(folder, count, size=128, grid=False, kept_out=False, report=print):
    """Render `count` scenes; a finished pool of that many is returned as it is, any other is made again.

    grid: as the UNet is taught. kept_out: for the judge, the widest world with what pre-training leaves out, half of it
    on the grid.
    """
    folder = Path(folder)
    if not (folder / "scenes.jsonl").exists() or len(load(folder)[0]) != count:
        (folder / "scenes.jsonl").unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        np.lib.format.open_memmap(folder / "pictures.npy", "w+", np.uint8, (count, size, size, 3)).flush()
        np.lib.format.open_memmap(folder / "masks.npy", "w+", np.uint8, (count, CELLS, CELLS)).flush()
        starts = range(0, count, CHUNK)
        lines = []
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            stops = [min(s + CHUNK, count) for s in starts]
            for part in pool.map(_chunk, repeat(folder), starts, stops, repeat(size), repeat(grid), repeat(kept_out)):
                lines += part
                report(f"pool {len(lines)}/{count}")
        with atomic_file(folder / "scenes.jsonl") as staging:
            staging.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
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
