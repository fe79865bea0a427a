"""Lesson 17 from top to bottom with each of its sample projects, and whether they show what the lesson says of them.

    python tools/run_projects.py          all three: minutes
    python tools/run_projects.py dish     this one: goes all the way to a folder that exercise 17.4 accepts

Everything is written below out/17/.
"""

import json
import subprocess
import sys
from pathlib import Path

from build_notebooks import edition, read
from run_lesson import find

from paidiff_course import progress

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ("style", "dish", "few")
LINE = 'PICTURES = paidiff.data("projects/{}")'


def code(name):
    """The lesson's code with that sample in the place of the first."""
    cells = edition(read(find("17", ROOT / "lessons", ".py")), "zh").cells
    source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    if LINE.format(SAMPLES[0]) not in source:
        raise SystemExit(f"{LINE.format(SAMPLES[0])}: not in the lesson")
    return source.replace(LINE.format(SAMPLES[0]), LINE.format(name))


def run(name, notebooks=ROOT / "notebooks"):
    """Go the whole way with a sample; returns its measures. Ends the program where that fails."""
    if subprocess.run([sys.executable, "-c", code(name)], cwd=notebooks).returncode:
        raise SystemExit(f"{name}: the lesson failed")
    hand_in = notebooks.parent / "out/17" / name / "hand_in"
    if fault := progress.find("17.4").fault(hand_in):
        raise SystemExit(f"{name}: {' · '.join(fault)}")
    return json.loads((hand_in / "measures.json").read_text(encoding="utf-8"))


def faults(found):
    """What is not as the lesson's table says, a line each. found: {name: measures} of all three."""
    rise = {name: one["rates"]["asked"]["on"][0] - one["rates"]["asked"]["off"][0] for name, one in found.items()}
    copied = {name: one["nearest"]["on"][0] - one["nearest"]["copies"][0] for name, one in found.items()}
    if min(rise["style"], rise["dish"]) <= 0.1:
        yield f"style and dish are not learnt: {rise}"
    if rise["few"] >= rise["style"] / 2:
        yield f"few is learnt as well: {rise}"
    if copied["few"] >= copied["style"]:
        yield f"few copies no more than style: {copied}"


if __name__ == "__main__":
    found = {name: run(name) for name in sys.argv[1:] or SAMPLES}
    print(json.dumps(found, ensure_ascii=False))
    if len(found) == len(SAMPLES) and (wrong := list(faults(found))):
        raise SystemExit("\n".join(wrong))
