"""Run lessons/scratch.py and keep what it trained: data/models/from-scratch/, which lesson 11 loads.

python tools/make_scratch.py           about a quarter of an hour on one thread
SEED=1 python tools/make_scratch.py out/scratch-1
"""

import runpy
import sys
from pathlib import Path

import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("text", "vision", "vae", "unet", "flow")


def sheet(made):
    """All 72 drawn pictures as one, places down and subjects across, those of held-out pairs in red."""
    rows, columns, side = len(made["PLACES"]), len(made["SUBJECTS"]), 64
    whole = Image.new("RGB", (columns * side, rows * side))
    for k, (drawn, held) in enumerate(zip(made["drawn"][3.0], made["HELD"])):
        framed = ImageOps.expand(made["picture"](drawn, side - 4), 2, "red" if held else "white")
        whole.paste(framed, (k // rows * side, k % rows * side))
    return whole


def keep(made, folder):
    """Write the parts of `made`, the names that scratch.py has defined, in half precision, and the sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        halves = {key: value.to(torch.float16).contiguous() for key, value in made[name].state_dict().items()}
        save_file(halves, folder / f"{name}.safetensors")
    sheet(made).save(folder / "sheet.png", optimize=True)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "data/models/from-scratch"
    keep(runpy.run_path(str(ROOT / "lessons/scratch.py")), target)
