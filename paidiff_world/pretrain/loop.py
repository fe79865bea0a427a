"""The loop under every pre-training stage: AdamW, one cycle of the learning rate, EMA, checkpoints, time left."""

import json
import math
import os
import platform
import time
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers.training_utils import EMAModel
from safetensors.torch import save_file

from paidiff_lib.files import atomic_file

SAVE_EVERY, REPORT_EVERY = 120, 15  # seconds
BAD_IN_A_ROW = 20  # batches without a finite gradient before the stage gives up


def learning_rate(step, steps, peak, warmup):
    """Linear warm-up, then a cosine down to 2 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    t = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.49 * (1 + math.cos(math.pi * min(t, 1))))


def save(path, state):
    """Write a checkpoint beside the old one, then take its place: a kill in between loses nothing."""
    with atomic_file(path) as staging, open(staging, "wb") as file:
        torch.save(state, file)


def save_half(path, model):
    """The weights of a classifier as shipped: in half precision, its counters as they are."""
    save_file({k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}, path)


def save_json(path, content):
    with atomic_file(path) as staging:
        staging.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def averaged(path, model, device="cpu"):
    """`model` with the EMA weights of a stage's checkpoint, in eval mode."""
    state = torch.load(path, weights_only=True, map_location=device)
    model.load_state_dict(state["model"])
    for parameter, mean in zip([p for p in model.parameters() if p.requires_grad], state["ema"]["shadow_params"]):
        parameter.data.copy_(mean)
    return model.to(device).eval()


def autocast(device):
    """bfloat16 where the hardware multiplies it: 1.2 to 2 times the steps, also on a CPU with AVX512-BF16."""
    fast = device == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device, torch.bfloat16) if fast else nullcontext()


def tell(line):
    print(line, flush=True)


def hardware(device):
    """What a stage was trained on, in words."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    threads = f"{processes()[1]} x {torch.get_num_threads()} thread(s) on {os.cpu_count()} cores"
    return f"{(names or [platform.processor()])[0]}, {threads}"


def processes():
    """(number of this process, how many there are): more than one under torchrun."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def share(gradients, count):
    """Replace each process's gradients by the mean over all, in one message."""
    flat = torch._utils._flatten_dense_tensors(gradients)
    dist.all_reduce(flat)
    flat /= count
    for gradient, mean in zip(gradients, torch._utils._unflatten_dense_tensors(flat, gradients)):
        gradient.copy_(mean)


class Stage:
    """One model in training: its optimizer, the running mean of its weights, its checkpoint, and how far it is."""

    def __init__(self, name, model, path, steps, lr, warmup, ema, weight_decay, report):
        self.name, self.model, self.path, self.steps, self.report = name, model, path, steps, report
        self.rate = lambda step: learning_rate(step, steps, lr, warmup)
        self.device = next(model.parameters()).device.type
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr, (0.9, 0.99), weight_decay=weight_decay, fused=True)
        self.average = EMAModel(self.trained, decay=ema, foreach=True)
        self.start, self.pictures, self.seconds, self.record, self.bad = 0, 0, 0.0, [], 0
        if path.exists():
            self.resume()
        self.began = self.saved = self.reported = time.time()

    def resume(self):
        state = torch.load(self.path, weights_only=True, map_location=self.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["ema"])
        self.average.to(self.device)
        self.start, self.pictures = state["step"], state["pictures"]
        self.seconds, self.record = state["seconds"], state["record"]
        self.report(f"{self.name}: resumed at step {self.start}/{self.steps}")

    def checkpoint(self, step):
        parts = {"model": self.model, "optimizer": self.optimizer, "ema": self.average}
        state = {name: part.state_dict() for name, part in parts.items()}
        state |= {"step": step, "pictures": self.pictures, "seconds": self.spent(), "record": self.record}
        save(self.path, state)

    def spent(self):
        """Seconds of training, those before a kill included."""
        return self.seconds + time.time() - self.began

    def update(self, loss, step, generator, count):
        """One update, in step with the other `count` - 1 processes. Returns what `loss` gave."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        with autocast(self.device):
            value, terms = loss(step, generator)
        value.backward()
        if count > 1:
            share([p.grad for p in self.trained], count)
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(self.trained, 1.0)):
            self.optimizer.step()
            self.average.step(self.trained)
            self.bad = 0
        else:
            self.skip(step)
        self.optimizer.zero_grad(set_to_none=True)
        return value, terms

    def skip(self, step):
        """A bad batch is never written into the weights; too many of them end the stage."""
        self.bad += 1
        self.report(f"{self.name} {step + 1}: not finite, skipped")
        if self.bad == BAD_IN_A_ROW:
            raise FloatingPointError(f"{self.name}: {self.bad} bad batches in a row; lower the learning rate")

    def note(self, step, value, terms):
        """Report and save every now and then, and at the end. step: how many are done."""
        now, last = time.time(), step == self.steps
        if now - self.reported > REPORT_EVERY or last:
            pace = (now - self.began) / (step - self.start)
            terms = json.dumps({k: round(v.item(), 4) for k, v in terms.items()})
            left = f"{1 / pace:.2f} steps/s  {pace * (self.steps - step) / 60:.1f} min left"
            self.report(f"{self.name} {step}/{self.steps}  loss {value.item():.4f}  {terms}  {left}")
            self.record.append([step, round(value.item(), 5)])
            self.reported = now
        if now - self.saved > SAVE_EVERY or last:
            self.checkpoint(step)
            self.saved = time.time()


def train(name, model, loss, folder, steps, lr, batch, warmup=200, ema=0.999, weight_decay=0.01, seed=0, report=print):
    """Run `loss(step, generator) -> (scalar, {name: value})` to `steps`, resuming from folder/<name>.pt.

    Returns the model holding its EMA weights, in eval mode, and the stage's record (steps, pictures, seconds, losses).
    `generator` is seeded by step and process alone, so a resumed run sees the batches it would have seen. Each of
    several processes takes its own `batch` pictures a step.
    """
    path = Path(folder) / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    stage = Stage(name, model, path, steps, lr, warmup, ema, weight_decay, report)
    rank, count = processes()
    model.train()
    for step in range(stage.start, steps):
        generator = torch.Generator().manual_seed((seed * 10_000_019 + step) * count + rank)
        value, terms = stage.update(loss, step, generator, count)
        stage.pictures += batch * count
        if not rank:
            stage.note(step + 1, value, terms)
    stage.average.copy_to(stage.trained)
    seconds = round(stage.spent())
    return model.eval(), {"steps": steps, "pictures": stage.pictures, "seconds": seconds, "losses": stage.record[-1:]}
