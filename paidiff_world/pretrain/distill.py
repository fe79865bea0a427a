"""Teach a LoRA to draw in four steps without guidance what the model draws in eight with it.

    python -m paidiff_world.pretrain.distill [--out runs/distill]     # about an hour on one CPU core; goes on where it was killed

Progressive distillation (Salimans & Ho 2022, Meng et al. 2023) on stored paths: the model draws with guidance, and for every
second point of a path the LoRA learns what one first-order step has to predict to arrive at the next of them. The paths do
not change while it learns, so they are made once, and a training step costs one pass instead of five.
"""

import argparse
import shutil
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler
from diffusers.models.attention_processor import AttnProcessor

from paidiff_lib.files import data_folder
from paidiff_lib.generate import GUIDANCE, noise_of
from paidiff_lib.methods.lora import WIDE, LoRA
from paidiff_lib.models.load import load

from ..scenes import plan
from . import loop
from .loop import tell
from .pool import level

TIMESTEPS = [999, 749, 499, 249]
TEACHER = 2  # its steps for each of the student's
PICTURES, CHUNK, STEPS, BATCH, RATE, RANK = 4_000, 32, 1200, 32, 1e-3, 32
SEED = 10**7  # first one: far from the seeds of pre-training and of every measurement
FOLDER = Path("models/paidiff-mini-zh-4-steps")  # below the data folder


def caption(seed):
    """A prompt as pre-training knew them; none of a held-out triple."""
    return plan(seed, level(seed, True), grid=True)[1]


def teacher():
    """The model, at timesteps of which every TEACHER-th is one of TIMESTEPS."""
    pipe = load("mini")
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, timestep_spacing="trailing")
    return pipe


@torch.inference_mode()
def paths(pipe, first, count=CHUNK):
    """(captions, points (count, len(TIMESTEPS) + 1, 8, 16, 16) float16) of the teacher, from noise to latents."""
    captions = [caption(SEED + i) for i in range(first, first + count)]
    points, steps = [], len(TIMESTEPS) * TEACHER

    def keep(pipe, step, timestep, tensors):
        if (step + 1) % TEACHER == 0:
            points.append(tensors["latents"].half())
        return tensors

    generators = [noise_of(SEED + i) for i in range(first, first + count)]
    shape = (8, pipe.unet.config.sample_size, pipe.unet.config.sample_size)
    noise = torch.stack([torch.randn(shape, generator=g) for g in generators])
    settings = dict(num_inference_steps=steps, guidance_scale=GUIDANCE, output_type="latent")
    pipe(captions, latents=noise, callback_on_step_end=keep, **settings)
    return captions, torch.stack([noise.half(), *points], 1)


def made_paths(pipe, folder, count):
    """All paths, a file for every CHUNK of them, made where they are missing."""
    captions, points = [], []
    for first in range(0, count, CHUNK):
        path = folder / f"paths-{first:06d}.pt"
        if not path.exists():
            texts, found = paths(pipe, first)
            loop.save(path, {"captions": texts, "points": found})
            tell(f"paths {first + CHUNK}/{count}")
        state = torch.load(path, weights_only=True)
        captions += state["captions"]
        points.append(state["points"])
    return captions, torch.cat(points)


def wanted(points, alphas):
    """The clean latents that a first-order step has to predict at each point, to arrive at the next one; and how much they count there.

    points (N, S + 1, C, H, W), alphas (1000,): cumulative products. Returns (N, S, C, H, W) and (S,). From DDIM's step,
    next = a' x0 + s' (x - a x0) / s, solved for x0: what a step lands on is `gain` x0 and a part that is known.
    """
    a = torch.cat([alphas[TIMESTEPS].sqrt(), torch.ones(1)])
    s = (1 - a**2).sqrt()
    ratio = s[1:] / s[:-1]
    gain = a[1:] - ratio * a[:-1]
    wide = (1, -1, 1, 1, 1)
    return (points[:, 1:] - ratio.view(wide) * points[:, :-1]) / gain.view(wide), gain


def objective(pipe, captions, points):
    alphas = pipe.scheduler.alphas_cumprod
    (target, gain), steps = wanted(points.float(), alphas), torch.tensor(TIMESTEPS)
    with torch.no_grad():
        parts = [captions[i : i + 100] for i in range(0, len(captions), 100)]
        texts = torch.cat([pipe.encode_prompt(part, pipe.device, 1, False)[0] for part in parts])

    def loss(step, generator):
        which = torch.randint(len(captions), (BATCH,), generator=generator)
        at = torch.randint(len(steps), (BATCH,), generator=generator)
        x, t = points[which, at].float().to(pipe.device), steps[at].to(pipe.device)
        a = alphas[steps[at]].sqrt().view(-1, 1, 1, 1).to(pipe.device)
        v = pipe.unet(x, t, texts[which]).sample.float()
        x0 = a * x - (1 - a**2).sqrt() * v
        error = (x0 - target[which, at].to(pipe.device)).square().mean((1, 2, 3))
        # the first prediction is the least certain and moves the latents least: it counts by how far it moves them
        parts = {str(t.item()): error[at == i].mean() for i, t in enumerate(steps)}
        return (gain[at].to(pipe.device) * error).mean(), parts

    return loss


def learn(pipe, captions, points, folder, steps):
    """A LoRA of `pipe` that has learned the paths, and the record of its training."""
    lora = LoRA(pipe, rank=RANK, layers=WIDE, name="few_step")
    pipe.unet.set_attn_processor(AttnProcessor())  # its backward pass is faster on a CPU, see unet.quicken
    loss, settings = objective(pipe, captions, points), dict(warmup=50, ema=0.995, weight_decay=0, report=tell)
    _, record = loop.train("few_step", pipe.unet, loss, folder, steps, RATE, BATCH, **settings)
    pipe.unet.set_attn_processor(load("mini").unet.attn_processors)
    pipe.unet.to(torch.float16)
    return lora, record


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/distill"))
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    pipe = teacher()
    captions, points = made_paths(pipe, args.out, args.pictures)
    lora, record = learn(pipe, captions, points, args.out, args.steps)
    lora.save(args.out / "lora")
    settings = {"timesteps": TIMESTEPS, "guidance": 1, "teacher steps": len(TIMESTEPS) * TEACHER}
    settings |= {"teacher guidance": GUIDANCE, "rank": RANK, "paths": len(captions)}
    note = settings | {"hardware": loop.hardware(pipe.device.type), **record}
    loop.save_json(args.out / "lora/few_step.json", note)
    shutil.copytree(args.out / "lora", data_folder() / FOLDER, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
