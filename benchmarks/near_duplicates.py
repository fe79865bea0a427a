"""Near duplicates of ten million pictures: processor time, memory, and what is found beside comparing every pair.

    python benchmarks/near_duplicates.py [--sizes 10000 40000 160000 10000000]    # into benchmarks/near_duplicates.json

There are no ten million pictures here. Their thumbnails are those of real scenes of the picture world, turned, with their
colours exchanged, two blended each; every tenth is one before it with its levels moved a little. The last thousand are
scenes as they are and altered copies of them, as paidiff_world.dirty makes them: these say how many copies are found.
"""

import argparse
import json
import resource
import time
from itertools import permutations
from pathlib import Path

import numpy as np
from run import machine

from paidiff_lib.cleaning import near_duplicates
from paidiff_lib.cleaning.near_duplicates import NEAR, SIDE, nearest_before, thumbnail
from paidiff_world import scene
from paidiff_world.dirty import altered

RESULTS = Path(__file__).with_name("near_duplicates.json")
SIZES, SCENES, COPIES, PART = (10_000, 40_000, 160_000, 10_000_000), 2000, 500, 100_000
EVERY_PAIR = 40_000  # up to so many are compared each with each, beside
SHARE, MOVED = 0.1, (0.3, 3.6)  # of copies; levels


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    rs = np.random.RandomState(0)
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["sizes"] if RESULTS.exists() else {}
    pictures = [scene(seed)[0] for seed in range(SCENES)]
    scenes = np.stack([thumbnail(picture) for picture in pictures])
    copies = np.stack([thumbnail(altered(picture, rs)) for picture in pictures[:COPIES]])
    for size in parser.parse_args().sizes:
        rows[str(size)] = measured(*population(size, scenes, copies, rs))
        print(size, rows[str(size)], flush=True)
        report = {"machine": machine(), "seconds": "of one processor", "sizes": rows}
        RESULTS.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def population(size, scenes, copies, rs):
    """(thumbnails (size, 192), is it a copy (size,)); the last ones are scenes and their altered copies."""
    found, copied = np.empty((size, scenes.shape[1]), np.int8), rs.rand(size) < SHARE
    for start in range(0, size, PART):
        part = found[start : start + PART]
        share = rs.uniform(0.5, 0.9, (len(part), 1)).astype(np.float32)
        part[:] = np.rint(views(scenes, len(part), rs) * share + views(scenes, len(part), rs) * (1 - share))
        again = start + np.flatnonzero(copied[start : start + PART])
        moved = rs.normal(size=(len(again), scenes.shape[1])) * rs.uniform(*MOVED, (len(again), 1))
        before = found[(rs.rand(len(again)) * again).astype(int)]
        found[again] = np.clip(np.rint(before + moved), -127, 127)
    found[-2 * len(copies) :] = np.concatenate([scenes[: len(copies)], copies])
    copied[-2 * len(copies) :] = np.arange(2 * len(copies)) >= len(copies)
    return found, copied


def views(scenes, count, rs):
    """`count` of the thumbnails, each turned or mirrored, its colours exchanged."""
    chosen = scenes[rs.randint(len(scenes), size=count)].reshape(-1, SIDE, SIDE, 3)
    turned, order = rs.randint(8, size=count), np.array([*permutations(range(3))])[rs.randint(6, size=count)]
    for way in range(8):
        some = np.rot90(chosen[turned == way], way % 4, (1, 2))
        chosen[turned == way] = some[:, :, ::-1] if way > 3 else some
    return np.take_along_axis(chosen, order[:, None, None], 3).reshape(count, -1)


def measured(thumbnails, copied):
    """What a size costs and finds."""
    near_duplicates.EVERY_PAIR = 0
    began = time.process_time()
    near = nearest_before(thumbnails, NEAR)[0] <= NEAR
    seconds = time.process_time() - began
    row = {
        "seconds": round(seconds, 2),
        "microseconds / n log2 n": round(seconds * 1e6 / len(near) / np.log2(len(near)), 3),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **shares(near, copied),
    }
    if len(near) <= EVERY_PAIR:
        every = nearest_before(thumbnails)[0] <= NEAR
        row["every pair"] = shares(every, copied) | {
            "missed": int((every & ~near).sum()),
            "more": int((near & ~every).sum()),
        }
    return row


def shares(near, copied):
    altered = near[len(near) - COPIES :]
    return {
        "altered copies found": round(float(altered.mean()), 4),
        "others near": round(float(near[~copied].mean()), 5),
    }


if __name__ == "__main__":
    main()
