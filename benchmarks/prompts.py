"""Seconds a picture: the 36 prompts of the gallery with one `paidiff draw --prompts`, beside a process for each.

    python benchmarks/prompts.py [steps]      # writes benchmarks/prompts.json

Of the processes for one picture ALONE are run, for other prompts each, and their mean taken. Processor seconds stand beside
the clock's: on a busy machine only they can be compared.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from paidiff_lib.files import ASSETS

ALONE = 3
RESULTS = Path(__file__).with_name("prompts.json")


def seconds(*arguments):
    """(the clock's, the processor's) of one `paidiff draw`."""
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before, started = used(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "paidiff_app.cli", "draw", *map(str, arguments)], check=True, capture_output=True
    )
    return time.perf_counter() - started, used() - before


def main(steps):
    lines = (ASSETS / "prompts/gallery_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    prompts = [json.loads(line)["prompt"] for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "prompts.txt").write_text("\n".join(prompts), encoding="utf-8")
        alone = [
            seconds(text, "--steps", steps, "-o", folder / "p.png")
            for text in prompts[:: len(prompts) // ALONE][:ALONE]
        ]
        many = seconds("--prompts", folder / "prompts.txt", "--steps", steps, "-o", folder / "many")
        assert len(list((folder / "many").glob("*.png"))) == len(prompts)
    each = {
        "one process each": [sum(column) / ALONE for column in zip(*alone)],
        "one load": [one / len(prompts) for one in many],
    }
    found = {name: dict(zip(("clock", "processor"), (round(value, 2) for value in row))) for name, row in each.items()}
    found["times as fast, processor"] = round(each["one process each"][1] / each["one load"][1], 1)
    print(found)
    RESULTS.write_text(
        json.dumps({"prompts": len(prompts), "steps": steps, "seconds a picture": found}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20)
