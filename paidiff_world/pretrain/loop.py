"""The loop under every pre-training stage: AdamW, one cycle of the learning rate, EMA, checkpoints, time left."""

import json
import math
import os
import time
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers.training_utils import EMAModel

SAVE_EVERY = 120  # seconds
BAD_IN_A_ROW = 20  # batches without a finite gradient before the stage gives up


def learning_rate(step, steps, peak, warmup):
    """Linear warm-up, then a cosine down to 2 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    t = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.49 * (1 + math.cos(math.pi * min(t, 1))))


def save(path, state):
    """Write a checkpoint beside the old one, then take its place: a kill in between loses nothing."""
    staging = path.with_suffix(".tmp")
    with open(staging, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(staging, path)


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


def train(name, model, loss, folder, steps, lr, batch, warmup=200, ema=0.999, weight_decay=0.01, seed=0, report=print):
    """Run `loss(step, generator) -> (scalar, {name: value})` to `steps`, resuming from folder/<name>.pt.

    Returns the model holding its EMA weights, in eval mode, and the stage's record (steps, pictures, seconds, losses).
    `generator` is seeded by step and process alone, so a resumed run sees the batches it would have seen. Each of
    several processes takes its own `batch` pictures a step.
    """
    path = Path(folder) / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    device = next(model.parameters()).device.type
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr, (0.9, 0.99), weight_decay=weight_decay, fused=True)
    average = EMAModel(trained, decay=ema)
    rank, count = processes()
    start, pictures, seconds, record, bad = 0, 0, 0.0, [], 0
    if path.exists():
        state = torch.load(path, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["ema"])
        average.to(device)
        start, seconds, record = state["step"], state["seconds"], state["record"]
        pictures = state["pictures"]
        report(f"{name}: resumed at step {start}/{steps}")
    began = saved = told = time.time()

    def checkpoint(step):
        save(
            path,
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "ema": average.state_dict(),
                "step": step,
                "pictures": pictures,
                "seconds": seconds + time.time() - began,
                "record": record,
            },
        )

    model.train()
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, lr, warmup)
        with autocast(device):
            value, terms = loss(step, torch.Generator().manual_seed((seed * 10_000_019 + step) * count + rank))
        value.backward()
        if count > 1:
            share([p.grad for p in trained], count)
        norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
        if torch.isfinite(norm):  # a bad batch is skipped, never written into the weights
            optimizer.step()
            average.step(trained)
            bad = 0
        else:
            bad += 1
            report(f"{name} {step + 1}: not finite, skipped")
            if bad == BAD_IN_A_ROW:
                raise FloatingPointError(f"{name}: {bad} batches in a row gave no finite gradient; lower the rate")
        optimizer.zero_grad(set_to_none=True)
        pictures += batch * count
        if rank:
            continue
        now = time.time()
        if now - told > 15 or step == steps - 1:
            pace = (now - began) / (step + 1 - start)
            terms = {k: round(v.item(), 4) for k, v in terms.items()}
            report(
                f"{name} {step + 1}/{steps}  loss {value.item():.4f}  {json.dumps(terms)}  "
                f"{1 / pace:.2f} steps/s  {pace * (steps - step - 1) / 60:.1f} min left"
            )
            record.append([step + 1, round(value.item(), 5)])
            told = now
        if now - saved > SAVE_EVERY or step == steps - 1:
            checkpoint(step + 1)
            saved = time.time()
    average.copy_to(trained)
    return model.eval(), {
        "steps": steps,
        "pictures": pictures,
        "seconds": round(seconds + time.time() - began),
        "losses": record[-1:],
    }
