"""Curating many pictures: pictures per second, peak memory on the way, and a run killed in the middle.

    python benchmarks/curate.py [--count 100000]      # writes benchmarks/curate.json

The pictures are 2,000 dirty scenes of the world, each saved again and again a little differently (100,000 are about
0.6 GB in a temporary folder). Three runs of the command `paidiff curate`: whole, killed at 40 %, and resumed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from run import machine

from paidiff_world.dirty import altered, scenes

RESULTS = Path(__file__).with_name("curate.json")
DISTINCT, SEED = 2000, 9
TENTH, KILLED = 0.1, 0.4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        made = timed(lambda: make(folder, count))
        whole = run(folder, count)
        kept = (folder / "kept.jsonl").read_bytes()
        for name in ("scores.jsonl", "kept.jsonl"):
            (folder / name).unlink()
        killed = run(folder, count, kill_at=KILLED)
        resumed = run(folder, count)
        same = (folder / "kept.jsonl").read_bytes() == kept
    report = {
        "machine": machine(),
        "pictures": count,
        "kept": kept.count(b"\n"),
        "seconds to make them": round(made),
        "pictures per second": round(count / whole["seconds"]),
        "peak MB at 10 %": whole["tenth"],
        "peak MB of scoring": whole["scoring"],
        "peak MB at the end": whole["peak"],
        "killed with pictures scored": killed["scored"],
        "resumed, seconds": round(resumed["seconds"]),
        "same result": same,
    }
    RESULTS.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print("\n".join(f"{name}: {value}" for name, value in report.items()))


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def make(folder, count):
    rs, distinct = np.random.RandomState(SEED), list(scenes(min(DISTINCT, count), SEED))
    with open(folder / "metadata.jsonl", "w", encoding="utf-8") as manifest:
        for number in range(count):
            picture, caption, _ = distinct[number % len(distinct)]
            name = f"{number:06d}.jpg"
            altered(picture, rs).save(folder / name, quality=int(rs.randint(70, 93)))
            manifest.write(json.dumps({"file_name": name, "text": caption}, ensure_ascii=False) + "\n")


def run(folder, count, kill_at=None):
    """One run of the command, watched from outside: seconds, and its memory in MB by how far it was."""
    command = [sys.executable, "-m", "paidiff_app.cli", "curate", str(folder)]
    began, child = time.perf_counter(), subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watched, scores, lines = psutil.Process(child.pid), Watched(folder / "scores.jsonl"), 0
    found = {"tenth": 0, "scoring": 0, "peak": 0}
    while child.poll() is None:
        try:
            memory = watched.memory_info().rss // 2**20
        except psutil.NoSuchProcess:
            break
        lines = scores.count()
        for part, limit in {"tenth": TENTH, "scoring": 1, "peak": 2}.items():
            if lines < limit * count:
                found[part] = max(found[part], memory)
        if kill_at and lines >= kill_at * count:
            child.kill()
        time.sleep(0.05)
    if child.wait() and not kill_at:
        sys.exit(f"paidiff curate failed: {child.returncode}")
    return {**found, "seconds": time.perf_counter() - began, "scored": scores.count()}


class Watched:
    """Counts the scores of a file that grows, reading only what is new."""

    def __init__(self, path):
        self.path, self.place, self.lines = path, 0, 0

    def count(self):
        if self.path.is_file():
            with open(self.path, "rb") as file:
                file.seek(self.place)
                new = file.read()
            self.place += len(new)
            self.lines += new.count(b'"key"')
        return self.lines


if __name__ == "__main__":
    main()
