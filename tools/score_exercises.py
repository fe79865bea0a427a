"""Score the dirty set on which the rules of exercise 8.3 are measured: lessons/exercises/scores/08.json.

python tools/score_exercises.py         after the detectors or the built-in CLIP have changed; about a minute
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from paidiff_lib import curate
from paidiff_world import dirty

FILE = Path(__file__).resolve().parents[1] / "lessons/exercises/scores/08.json"
SET = dict(count=120, seed=80, share=0.75, kinds=("blur", *["caption"] * 4, *dirty.KINDS))  # as in 8.1, another seed
NAMES = ("clip", "blur", "noise", "watermark", "nsfw", "aesthetic", "near")


def main():
    with tempfile.TemporaryDirectory() as folder:
        truth = dirty.write(Path(folder) / "dirty", **SET)
        found = curate(Path(folder) / "dirty")
        columns = {name: [round(float(v), 3) for v in np.minimum(found.scores[name], 999)] for name in NAMES}
        columns["kind"] = [truth[item.name] for item in found.items]
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(columns), encoding="utf-8")


if __name__ == "__main__":
    main()
