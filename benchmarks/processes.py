"""One training in 1, 2 and 4 processes of this machine: the losses, messages an update, processor seconds.

    python benchmarks/processes.py              adds what is missing to benchmarks/processes.json

Each update is of the same four pictures, whatever the number of processes. Messages are what torch's profiler sees of gloo.
"""

import json
import os
import socket
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

import paidiff_lib
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.methods.lora import WIDE, LoRA
from paidiff_lib.training import latents

RECORD = Path(__file__).with_suffix(".json")
METHODS = {"lora": lambda pipe: LoRA(pipe, rank=8, layers=WIDE), "full": FullTuning}
STEPS, IMAGES = 4, 4


def main():
    torch.set_num_threads(1)  # before any fork
    paidiff_lib.load("mini")  # imports once what every child needs
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {"steps": STEPS, "images_an_update": IMAGES}
    for count in (1, 2, 4):
        for method in METHODS:
            runs = record.setdefault(method, {})
            if str(count) not in runs:
                runs[str(count)] = run = measure(method, count)
                pairs = zip(run["losses"], runs["1"]["losses"])
                run["largest_difference"] = max(abs(a - b) for a, b in pairs)
                RECORD.write_text(json.dumps(record, indent=1) + "\n")
                print(method, count, json.dumps(run), flush=True)


def measure(method, count):
    """One run in `count` processes, forked from this one: what each wrote, together."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    with tempfile.TemporaryDirectory() as folder:
        pids = [start(method, folder, rank, count) for rank in range(count)]
        assert not any(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids)
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


def start(method, folder, rank, count):
    """Fork one of the processes. Returns its pid."""
    pid = os.fork()
    if not pid:
        own = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
        os.environ |= {name: str(value) for name, value in own.items()}
        try:
            child(method, folder)
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def child(name, folder):
    """A process of a run."""
    encoded, encode = [], latents.encode_picture
    latents.encode_picture = lambda pipe, image: (encoded.append(hash(image.tobytes())), encode(pipe, image))[1]
    method, losses = METHODS[name](paidiff_lib.load("mini")), []
    data = paidiff_lib.CaptionFolder(paidiff_lib.data("porcelain"))
    settings = {"steps": STEPS, "learning_rate": 1e-4, "batch_size": IMAGES // int(os.environ["WORLD_SIZE"])}
    steps = paidiff_lib.train(method, data, **settings)
    began = time.process_time()
    losses += [next(steps).loss, next(steps).loss]
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        losses.append(next(steps).loss)
    losses += [step.loss for step in steps]
    kinds = Counter(event.name for event in profiler.events() if event.name.startswith("gloo:"))
    own = {"losses": losses, "encoded": encoded, "seconds": time.process_time() - began}
    own |= {"messages": sum(kinds.values()), "tensors": len(method.parameters())}
    Path(folder, f"rank{os.environ['RANK']}.json").write_text(json.dumps(own))


if __name__ == "__main__":
    main()
