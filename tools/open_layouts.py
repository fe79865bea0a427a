"""Run by tools/test_layouts.py with older libraries: open each result as plain diffusers does, draw, compare.

    python tools/open_layouts.py build/layouts 0

The folder has cases.json, [{name, code, prompt, era}], and <name>.npy, the picture that today's libraries draw. `code` makes
`pipe`. The number is the era of these libraries: cases of a later one are left out. Prints a line a case; exit code 1
if one does not open or draws another picture. Nothing of paidiff is imported.
"""

import json
import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from PIL import Image

ROUNDING = 6  # grey levels of 255: other libraries add in another order, and a LoRA that strong amplifies it


def difference(folder, case):
    """How far the picture is from today's, in grey levels."""
    names = {"folder": folder, "torch": torch, "Image": Image}
    exec(f"from diffusers import *\n{case['code']}", names)
    pipe = names["pipe"]
    pipe.set_progress_bar_config(disable=True)
    image = {"image": names["image"]} if "image" in names else {}
    generator = torch.Generator().manual_seed(0)
    picture = pipe(case["prompt"], num_inference_steps=2, guidance_scale=2, generator=generator, **image).images[0]
    expected = np.load(folder / f"{case['name']}.npy").astype(int)
    return int(np.abs(np.asarray(picture).astype(int) - expected).max())


def main(folder, era):
    diffusers.utils.logging.set_verbosity(50)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    failed = 0
    for case in json.loads((folder / "cases.json").read_text(encoding="utf-8")):
        if case["era"] > era:
            continue
        try:
            found = difference(folder, case)
            word = f"{found} grey levels off"
        except Exception as error:
            found, word = 255, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150]}"
        failed += found > ROUNDING
        print(f"{'x' if found > ROUNDING else 'ok'} {case['name']}: {word}", flush=True)
    print(f"diffusers {diffusers.__version__}, transformers {transformers.__version__}: {failed} failed", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
