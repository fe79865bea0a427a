"""One training in 1, 2 and 4 processes of this machine: the losses, messages an update, processor seconds.

    python benchmarks/processes.py              writes benchmarks/processes.json
    python benchmarks/processes.py --shard      a fully_shard full fine-tuning in 2 processes: how much each holds

Each update is of the same four pictures, whatever the number of processes. Messages are what torch's profiler sees of gloo.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "benchmarks/processes.json"
METHODS = ("lora", "full")
STEPS, IMAGES = 4, 4


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", metavar="METHOD FOLDER", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return child(*given.child)
    found = {method: {str(count): measure(method, count) for count in (1, 2, 4)} for method in METHODS}
    for method, runs in found.items():
        alone = runs["1"]["losses"]
        for run in runs.values():
            run["largest_difference"] = max(abs(a - b) for a, b in zip(run["losses"], alone))
        print(method, json.dumps(runs, indent=1))
    RECORD.write_text(json.dumps({"steps": STEPS, "images_an_update": IMAGES, **found}, indent=1) + "\n")


def measure(method, count):
    """One run in `count` processes: what each wrote, together."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        subprocess.run([*command, __file__, "--child", method, folder], check=True, timeout=1200)
        ranks = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("rank*.json"))]
    encoded = Counter(key for rank in ranks for key in rank["encoded"])
    return {
        "losses": ranks[0]["losses"],
        "messages_an_update": ranks[0]["messages"],
        "pictures_encoded": len(encoded),
        "most_often": max(encoded.values()),
        "processor_seconds": round(sum(rank["seconds"] for rank in ranks), 1),
        "tensors_trained": ranks[0]["tensors"],
    }


def child(name, folder):
    """A process of a run."""
    from torch.profiler import ProfilerActivity, profile

    import paidiff_lib
    from paidiff_lib.methods.lora import WIDE
    from paidiff_lib.training import latents

    rank, processes = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    encoded, encode = [], latents.encode_picture
    latents.encode_picture = lambda pipe, image: (encoded.append(hash(image.tobytes())), encode(pipe, image))[1]
    pipe = paidiff_lib.load("mini")
    make = {"lora": lambda: paidiff_lib.LoRA(pipe, rank=8, layers=WIDE), "full": lambda: paidiff_lib.FullTuning(pipe)}
    method, losses = make[name](), []
    data = paidiff_lib.CaptionFolder(paidiff_lib.data("porcelain"))
    settings = {"steps": STEPS, "learning_rate": 1e-4, "batch_size": IMAGES // processes}
    steps = paidiff_lib.train(method, data, **settings)
    began = time.process_time()
    for step in steps:
        losses.append(step.loss)
        if step.index == STEPS - 2:
            break_in = profile(activities=[ProfilerActivity.CPU])
            break_in.start()
        elif step.index == STEPS - 1:
            break_in.stop()
            kinds = Counter(event.name for event in break_in.events() if event.name.startswith("gloo:"))
    seconds, own = time.process_time() - began, {"losses": losses, "encoded": encoded}
    own |= {"seconds": seconds, "messages": sum(kinds.values()), "kinds": kinds, "tensors": len(method.parameters())}
    Path(folder, f"rank{rank}.json").write_text(json.dumps(own))


if __name__ == "__main__":
    main()
