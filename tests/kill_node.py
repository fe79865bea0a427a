"""Train on two machines, each a process with a folder of its own, one of them killed with SIGKILL again and again.

    python tests/kill_node.py MODEL PICTURES [--kills 20] [--steps 24] [--seed 0] [--record FILE]

The one that is left has to end within a minute. Both are started again and go on from the first one's newest checkpoint,
which the second is sent. The end is compared with a run that was never stopped, bit for bit.
"""

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import torch
from processes import ended, free_port, run, start

import paidiff_lib
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.methods.lora import LoRA
from paidiff_lib.training.accelerator import meet
from paidiff_lib.training.api import train


def machine(model, pictures, steps, folder):
    """The job of each machine: its part of the run, in folder/<rank>. Writes the final weights there.

    The output has the same relative path on both: neither sees the other's folder under it.
    """

    def job(rank):
        output = Path("out")
        (folder / str(rank) / output).mkdir(parents=True, exist_ok=True)
        os.chdir(folder / str(rank))
        meet()
        method = LoRA(paidiff_lib.load(model), rank=2, dropout=0.1)
        settings = {"batch_size": 2, "lr_scheduler": "cosine", "ema": 0.9, "save_every": 2, "output": output}
        for _ in train(method, CaptionFolder(pictures), steps, 1e-2, **settings):
            pass
        torch.save({name: p.detach().clone() for name, p in method.parameters().items()}, output / "done.part")
        os.replace(output / "done.part", output / "done.pt")

    return job


def kill_one(job, victim, seconds):
    """Start both, kill one of them after so many seconds. Returns (whether it came in time, seconds that the other lived)."""
    port = free_port()
    pids = [start(job, rank, 2, port, nodes=True) for rank in (0, 1)]
    time.sleep(seconds)
    os.kill(pids[victim], signal.SIGKILL)
    began, killed = time.monotonic(), ended(pids[victim], 60) == -signal.SIGKILL
    code = ended(pids[1 - victim], 60)
    assert code is not None, "the other one hangs"
    return killed and code != 0, time.monotonic() - began


def compare(model, pictures, kills, steps, seed):
    """What was seen. Raises AssertionError if one hangs, or the weights differ."""
    chance, lived, victims = random.Random(seed), [], {0: 0, 1: 0}
    with tempfile.TemporaryDirectory() as place:
        straight, folder = Path(place, "straight"), Path(place, "run")
        began = time.monotonic()
        run(machine(model, pictures, steps, straight), 2, nodes=True)
        whole = time.monotonic() - began
        job, sent = machine(model, pictures, steps, folder), 0
        while sum(victims.values()) < kills:
            victim = sum(victims.values()) % 2
            killed, seconds = kill_one(job, victim, chance.uniform(0.3, 0.9) * whole)
            if killed:
                victims[victim] += 1
                lived.append(seconds)
            else:
                whole *= 0.8  # the machine was busy when this was measured: a kill comes too late
            sent += bool(list(folder.glob("1/out/checkpoint-*")))
            if list(folder.glob("*/out/done.pt")):  # finished: begin again, as long as kills are left
                shutil.rmtree(folder)
        run(job, 2, nodes=True)
        expected = torch.load(straight / "0/out/done.pt")
        for rank in (0, 1):
            found = torch.load(folder / f"{rank}/out/done.pt")
            assert all(found[name].equal(weights) for name, weights in expected.items()), "the weights differ"
        assert sent or list(folder.glob("1/out/checkpoint-*")), "the second machine was sent nothing"
    return {"killed": victims, "seconds_until_the_other_ended": round(max(lived, default=0.0), 1), "steps": steps}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)  # before any fork
    LoRA(paidiff_lib.load(given.model))  # imports once what every child needs
    seen = compare(given.model.resolve(), given.pictures.resolve(), given.kills, given.steps, given.seed)
    if given.record:
        given.record.write_text(json.dumps(seen, indent=1) + "\n")
    print(f"{sum(seen['killed'].values())} kills: nobody hangs, the same weights, bit for bit; {json.dumps(seen)}")
