"""Train, killed with SIGKILL again and again, and compare the end with a run that was never stopped, bit for bit.

    python tests/kill_resume.py MODEL PICTURES [--kills 20] [--method NAME] [--steps 24] [--seed 0]

Every child process is killed at a random moment, every other one inside a save, at a random call that touches the disk.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

import paidiff_lib
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.methods.controlnet import ControlNet
from paidiff_lib.methods.dreambooth import with_prior
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.methods.lora import LoRA
from paidiff_lib.methods.textual_inversion import TextualInversion
from paidiff_lib.training import checkpoint
from paidiff_lib.training.api import train

METHODS = {
    "lora": lambda pipe: LoRA(pipe, rank=2, alpha=3, dropout=0.1, text_encoder=True),
    "textual_inversion": lambda pipe: TextualInversion(pipe, "<小奶猫>", "猫", vectors=2),
    "full": FullTuning,
    "dreambooth": lambda pipe: LoRA(pipe, rank=2),
    "controlnet": ControlNet,
}


def run(kind, model, pictures, steps, output):
    """One process' part of a run. Writes the final weights beside the checkpoints."""
    pipe = paidiff_lib.load(model)
    data = CaptionFolder(pictures, random_flip=True)
    if kind == "dreambooth":
        data = with_prior(pipe, data, "猫", output / "class", count=4)
    method = METHODS[kind](pipe)
    settings = {
        "batch_size": 2,
        "gradient_accumulation_steps": 2,
        "lr_scheduler": "cosine",
        "ema": 0.9,
        "save_every": 2,
    }
    for _ in train(method, data, steps=steps, learning_rate=1e-2, output=output, cache=output / "cache", **settings):
        pass
    weights = {name: p.detach().clone() for name, p in method.parameters().items()}
    torch.save(weights, output / "done.part")
    os.replace(output / "done.part", output / "done.pt")


def child(job, deadly_calls=None):
    """Run `job` in a child process, which is killed at its n-th call that touches the disk in a save. Its pid."""
    pid = os.fork()
    if pid:
        return pid
    sys.stdout = open(os.devnull, "w")
    if deadly_calls:
        kill_in_a_save(deadly_calls)
    try:
        job()
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)


def kill_in_a_save(calls):
    """Have this process killed at its n-th call that touches the disk while a checkpoint is saved."""
    left, saving, save = [calls], [], checkpoint.Store.save

    def counted(call):
        def wrapped(*arguments, **keywords):
            left[0] -= len(saving)
            if saving and not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **keywords)

        return wrapped

    def watched(*arguments):
        saving.append("a checkpoint")
        try:
            return save(*arguments)
        finally:
            saving.pop()

    checkpoint.Store.save = watched
    os.fsync, shutil.rmtree, checkpoint.digest = counted(os.fsync), counted(shutil.rmtree), counted(checkpoint.digest)


def wait(pid, seconds):
    """Let a child live so long, or less if it has come to its end."""
    until = time.time() + seconds
    while time.time() < until and not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.05)


def ended(pid):
    """The exit code of a child: negative if a signal ended it. Raises if it failed by itself."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code > 0:
        raise SystemExit(f"a child failed with {code}")
    return code


def compare(kind, model, pictures, kills, steps, seed):
    """Return how many of `kills` children were killed, in saves and elsewhere. Raises AssertionError on a difference."""
    chance = random.Random(seed)
    killed = {"in a save": 0, "elsewhere": 0}
    with tempfile.TemporaryDirectory() as folder:
        straight, output = Path(folder, "straight"), Path(folder, "run")
        straight.mkdir(), output.mkdir()
        began = time.time()
        ended(child(lambda: run(kind, model, pictures, steps, straight)))
        whole = time.time() - began
        expected = torch.load(straight / "done.pt")
        while sum(killed.values()) < kills:
            if (output / "done.pt").exists():  # finished already: begin again, as long as kills are left
                shutil.rmtree(output)
                output.mkdir()
            in_save = sum(killed.values()) % 2 == 1
            pid = child(lambda: run(kind, model, pictures, steps, output), chance.randrange(1, 60) if in_save else None)
            if not in_save:
                wait(pid, chance.uniform(0.3, 0.8) * whole)
                os.kill(pid, signal.SIGKILL)
            if ended(pid) < 0:
                killed["in a save" if in_save else "elsewhere"] += 1
            elif not in_save:
                whole *= 0.7  # the machine was busy when this was measured: a kill comes too late now
        ended(child(lambda: run(kind, model, pictures, steps, output)))
        found = torch.load(output / "done.pt")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found), "the weights differ"
    return killed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("pictures")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--method", default="lora", choices=list(METHODS))
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)  # before any fork
    METHODS[given.method](paidiff_lib.load(given.model))  # imports once what every child needs
    killed = compare(given.method, given.model, given.pictures, given.kills, given.steps, given.seed)
    print(
        f"{given.method}: {killed['in a save']} kills in a save, {killed['elsewhere']} elsewhere: the same weights, bit for bit"
    )
