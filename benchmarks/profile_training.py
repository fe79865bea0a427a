"""Where a training of ours spends its time: imports, loading, encoding, each part of a step, saving.

    python benchmarks/profile_training.py              # every method of training.py, into profile_training.json
    python benchmarks/profile_training.py LoRA

CPU seconds of one thread: they depend less on what else the machine does than seconds of the clock. Every moment counts once, for the
innermost part that it belongs to. Each method runs REPEATS times; the table gives the means.
"""

import _frozen_importlib as importer
import json
import os
import runpy
import statistics
import subprocess
import sys
import time
from collections import Counter
from functools import wraps
from pathlib import Path

RESULTS = Path(__file__).with_name("profile_training.json")
STEPS, REPEATS = 34, 2
PACKAGES = ("torch", "torch._dynamo", "transformers", "accelerate", "diffusers", "peft", "paidiff_lib")


class Clock:
    """Seconds by part, {"saving": 0.2}; a part inside another takes its time from that one."""

    def __init__(self):
        self.spent, self.parts, self.last = Counter(), ["the rest"], 0.0

    def turn(self):
        now = time.process_time()
        self.spent[self.parts[-1]] += now - self.last
        self.last = now

    def timed(self, work, name):
        """`work`, its seconds counted for the part `name`, a string or a function of its arguments."""

        @wraps(work)
        def inner(*arguments, **rest):
            self.turn()
            self.parts.append(name(*arguments) if callable(name) else name)
            try:
                return work(*arguments, **rest)
            finally:
                self.turn()
                self.parts.pop()

        return inner

    def watch(self, owner, **names):
        for method, part in names.items():
            setattr(owner, method, self.timed(getattr(owner, method), part))

    def package(self, module, _):
        """The part that importing `module` belongs to: what a package imports besides is its own fault."""
        top, now = module.partition(".")[0], self.parts[-1].removeprefix("import ")
        found = "torch._dynamo" if module.startswith("torch._dynamo") else top
        new = found in PACKAGES and now.partition(".")[0] != found
        return f"import {found}" if new else self.parts[-1]


def profile(script, flags):
    """Run one of our scripts in this process -> {part: CPU seconds}."""
    clock = Clock()
    importer._find_and_load = clock.timed(importer._find_and_load, clock.package)  # every import passes here
    from accelerate import Accelerator

    from paidiff_app import train_cli
    from paidiff_lib.methods import base, controlnet
    from paidiff_lib.models import load as models
    from paidiff_lib.training import loop
    from paidiff_lib.training.latents import LatentCache
    from paidiff_lib.training.loop import Trainer

    clock.watch(models, load="load: model")
    clock.watch(LatentCache, __init__="load: encode pictures and captions")
    clock.watch(Trainer, __init__="load: prepare the run", step="step: rest", loss="step: batch")
    clock.watch(Trainer, update="step: optimizer")
    clock.watch(loop, save="save: checkpoint")
    clock.watch(base.Method, predict="step: forward")
    clock.watch(controlnet.ControlNet, predict="step: forward")
    clock.watch(Accelerator, backward="step: backward")
    run = train_cli.run
    train_cli.run = lambda flags, make, save, captions: run(flags, make, clock.timed(save, "save: result"), captions)
    sys.argv = [script, *flags]
    runpy.run_path(script, run_name="__main__")
    clock.turn()
    return clock.spent


def measure(name):
    """The parts of one method, mean CPU seconds of whole runs."""
    from training import METHODS, ours, prepared

    runs = []
    for _ in range(REPEATS):
        with prepared() as folder:  # a new one: a finished run is not run again
            runs.append(_child(ours(METHODS[name], folder, STEPS)))
    return {part: round(statistics.mean(run.get(part, 0.0) for run in runs), 3) for part in sorted(set().union(*runs))}


def _child(command):
    script, *flags = map(str, command)
    child = [sys.executable, __file__, "--child", script, *flags]
    done = subprocess.run(child, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(report):
    """A row a part, a column a method: CPU seconds of a whole run of STEPS updates."""
    methods = report["methods"]
    lines = ["| CPU seconds | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for part in sorted(set().union(*methods.values())):
        lines.append(f"| {part} | " + " | ".join(f"{found.get(part, 0):.2f}" for found in methods.values()) + " |")
    return "\n".join(
        [*lines, "| all | " + " | ".join(f"{sum(found.values()):.2f}" for found in methods.values()) + " |"]
    )


def main(names):
    from run import machine
    from training import METHODS

    found = {name: measure(name) for name in names or METHODS}
    report = {"machine": machine(), "steps": STEPS, "methods": found}
    if not names:
        RESULTS.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(table(report))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(profile(sys.argv[2], sys.argv[3:])))
    else:
        main(sys.argv[1:])
