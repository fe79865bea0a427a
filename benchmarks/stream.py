"""Two gigabytes of shards of random latents: memory while they are trained on, and a run that is killed and goes on.

    python benchmarks/stream.py [--gigabytes 2] [--kills 3]        writes benchmarks/stream.json

What is trained is one layer, so that the whole set goes through in minutes: everything else is as in any training. The
process's own memory is the peak of the same training on one small shard.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import paidiff_lib
from paidiff_lib.datasets.shards import EMPTY, ENCODING, EncodedShards
from paidiff_lib.methods.base import Method
from paidiff_lib.training.encoding import SHARD, write_index, write_part
from paidiff_lib.training.latents import frozen_embedding, text_digest, vae_digest

RECORD = Path(__file__).with_suffix(".json")
BATCH, SIDE = 16, 64  # pictures an update; of a latent, as of 512 x 512 pixels


class OneLayer(Method):
    """The smallest thing that can be trained."""

    def __init__(self, pipe):
        super().__init__(pipe)
        self.layer = torch.nn.Conv2d(4, 4, 1)
        torch.nn.init.zeros_(self.layer.weight)
        torch.nn.init.zeros_(self.layer.bias)

    def parameters(self):
        return dict(self.layer.named_parameters())

    def parts(self):
        return {"layer": self.layer}

    def predict(self, noisy_latents, timesteps, hidden_states, conditions=None):
        return self.layer(noisy_latents) + 0 * hidden_states.mean()

    def save(self, folder):
        pass


def make(folder, size, count=SHARD):
    """Shards of random latents and embeddings, `size` bytes or a little over, as of 512 x 512 pixels."""
    pipe, chance, written, number = paidiff_lib.load("mini"), np.random.default_rng(0), 0, 0
    folder.mkdir()
    empty = frozen_embedding(pipe, "").numpy()
    np.save(folder / EMPTY, empty)
    encoders = {"vae": vae_digest(pipe), "text_encoder": text_digest(pipe)}
    (folder / ENCODING).write_text(json.dumps({"size": 8 * SIDE, **encoders}))
    normal = lambda *shape: chance.standard_normal(shape, np.float32)
    samples = lambda places: ((["一只猫"], normal(1, 2, 4, SIDE, SIDE), normal(1, *empty.shape)) for _ in places)
    while written < size:
        write_part(folder, number, count, samples)
        number, written = number + 1, sum(path.stat().st_size for path in folder.glob("*.tar"))
    write_index(folder, number)
    return written


def child(shards, output):
    """Train through the whole set once. Writes the weights, and what it took."""
    torch.manual_seed(0)
    data, method = EncodedShards(shards), OneLayer(paidiff_lib.load("mini"))
    steps = max(len(data) // BATCH, 20)
    began = time.perf_counter()
    for _ in paidiff_lib.train(method, data, steps, 1e-3, batch_size=BATCH, output=output, save_every=50):
        pass
    took = {"peak": peak_memory(), "seconds": time.perf_counter() - began, "samples": steps * BATCH}
    Path(output, "took.json").write_text(json.dumps(took))
    torch.save(dict(method.layer.state_dict()), Path(output, "done.pt"))


def peak_memory():
    """The most memory that this process has had, in bytes. Not ru_maxrss: that begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def start(shards, output):
    return subprocess.Popen([sys.executable, __file__, "--child", str(shards), str(output)])


def finished(shards, output):
    """What a run that nobody stops took."""
    assert start(shards, output).wait(3600) == 0
    return json.loads((output / "took.json").read_text())


def kill(shards, output, kills, whole):
    """Start a run and kill it, again and again. Returns how often it was killed before its end."""
    chance, killed = random.Random(0), 0
    for _ in range(kills):
        process = start(shards, output)
        until = time.monotonic() + chance.uniform(0.2, 0.5) * whole
        while time.monotonic() < until and process.poll() is None:
            time.sleep(0.1)
        process.poll() is None and os.kill(process.pid, signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    return killed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return child(*given.child)
    with tempfile.TemporaryDirectory() as place:
        small, large = Path(place, "small"), Path(place, "large")
        make(small, 1, count=20)
        size = make(large, given.gigabytes * 1e9)
        own, took = finished(small, Path(place, "a")), finished(large, Path(place, "b"))
        killed = kill(large, Path(place, "c"), given.kills, took["seconds"])
        finished(large, Path(place, "c"))
        straight, resumed = (torch.load(Path(place, name, "done.pt")) for name in "bc")
        same = all(resumed[name].equal(weights) for name, weights in straight.items())
    record = {
        "gigabytes": round(size / 1e9, 2),
        "samples": took["samples"],
        "own_megabytes": round(own["peak"] / 1e6),
        "above_it_megabytes": round((took["peak"] - own["peak"]) / 1e6),
        "samples_a_second": round(took["samples"] / took["seconds"]),
        "kills": killed,
        "same_weights": same,
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
