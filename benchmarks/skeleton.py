"""What the full-size model costs, on random weights in its exact shape: seconds and peak memory, each row a fresh process. On a GPU, then
its pictures rung by rung (ladder.py, into ladder-model.json).

    python benchmarks/skeleton.py                           # a CPU: writing, loading, two steps at 512 x 512; a GPU: everything
    python benchmarks/skeleton.py --size 256 draw lora      # some rows, at another size

Rows: draw, lora, word, dreambooth, control (a step of training each, seconds of the last of three), full. The folder, 5.4 GB,
is written below the system's temporary folder and removed afterwards.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from run import machine

NAME, GB = "artist-large", 1e9
TRAINED = ["lora", "word", "dreambooth", "control", "full"]
DATA = Path(__file__).resolve().parents[1] / "data"


def row(what, folder, size):
    """{"seconds", "memory"} of one row, in this process; memory is the GPU's where there is one."""
    import torch

    from paidiff_app import skeleton
    from paidiff_lib.models import load as zoo

    began = time.perf_counter()
    if what == "write":
        skeleton.write(NAME, folder)
        return {"seconds": time.perf_counter() - began, "memory": _peak()}
    pipe = zoo.load(folder)
    if what == "draw":
        began = time.perf_counter()
        pipe(
            "雾蒙蒙的日出在湖面上", num_inference_steps=2, width=size, height=size
        )  # on a GPU, ladder.py draws properly
    seconds = training(what, pipe, size) if what in TRAINED else time.perf_counter() - began
    on_gpu = torch.cuda.is_available()
    return {"seconds": seconds, "memory": torch.cuda.max_memory_allocated() if on_gpu else _peak()}


def training(what, pipe, size):
    """Seconds of the last of three steps, one picture each."""
    import paidiff_lib as paidiff

    folder, captions = DATA / "porcelain", True
    if what == "word":
        method, captions = paidiff.TextualInversion(pipe), False
    elif what == "control":
        method = paidiff.ControlNet(pipe)
    elif what == "full":
        method = paidiff.FullTuning(pipe)
    else:
        method = paidiff.LoRA(pipe, rank=8, text_encoder=what == "dreambooth")
    data = paidiff.CaptionFolder(folder, size, captions=captions)
    return [step.seconds for step in paidiff.train(method, data, steps=3)][-1]


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="draw, lora, word, dreambooth, control, full")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one:
        return print(json.dumps(row(*flags.one, flags.size)))
    rows = flags.rows or ["draw", *(TRAINED[:-1] if torch.cuda.is_available() else [])]
    print(
        f"{NAME}, {flags.size}x{flags.size}, {date.today()}, {machine()}\n\n| row | seconds | peak memory, GB |\n|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as place:
        for what in ["write", "load", *rows]:
            command = [sys.executable, __file__, "--size", str(flags.size), "--one", what, f"{place}/model"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            print(f"| {what} | {found['seconds']:.1f} | {found['memory'] / GB:.1f} |", flush=True)
        if torch.cuda.is_available():
            ladder = Path(__file__).with_name("ladder.py")
            subprocess.run([sys.executable, ladder, "--model", f"{place}/model"], check=True)


if __name__ == "__main__":
    main()
