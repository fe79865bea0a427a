"""How well captions are proposed: parts of held-out pictures that CLIP names rightly, beside what the judge sees of them.

    python benchmarks/captions.py [pictures]      # 500 of them; writes benchmarks/captions.json

The judge was taught to tell these classes, CLIP was taught captions; both look at the same true pictures of the world. Colour
counts only where a picture shows one, see judge.hits.
"""

import json
import sys
from pathlib import Path

import numpy as np

from paidiff_lib.cleaning.captions import Captioner
from paidiff_lib.cleaning.scorers import Embedded
from paidiff_lib.known_words import words
from paidiff_lib.metrics import wilson
from paidiff_world.heldout import held_out
from paidiff_world.judge import HEADS, hits, truth
from paidiff_world.scenes import render
from paidiff_world.words import NUMBERS

RESULTS = Path(__file__).with_name("captions.json")
COUNTS = {None: "1"} | {word: str(number) for number, word in NUMBERS.items()}


def named(proposals, head):
    """What proposals say of a head, as the judge would say it."""
    found = [proposal.parts[head] for proposal in proposals]
    return [COUNTS[one] for one in found] if head == "count" else [one or "无" for one in found]


def main(count):
    specs = [spec for spec, _ in held_out(count, seed=5)]
    pictures = [render(spec, np.random.RandomState(i)) for i, spec in enumerate(specs)]
    seen, proposals, results = hits(pictures, specs), Captioner(words("mini"), Embedded())(pictures), {}
    for head in HEADS:
        asked = ~np.isnan(seen[head])
        right = np.array([one == truth(spec)[head] for one, spec in zip(named(proposals, head), specs)])[asked]
        rate, judged = wilson(right.sum(), len(right)), float(seen[head][asked].mean())
        results[head] = {"captions": [round(float(v), 3) for v in rate], "judge": round(judged, 3)}
        results[head] |= {"share": round(float(rate[0]) / judged, 3), "pictures": int(asked.sum())}
        print(head, results[head], flush=True)
    note = {"pictures": count, "captions": "rate, low, high (Wilson, 95 %)", "results": results}
    RESULTS.write_text(json.dumps(note, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 500)
