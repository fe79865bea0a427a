"""Makes data/clinic/, the patients of lesson 14: one healthy training of lesson 11's network, and twelve with one fault.

python tools/make_clinic.py         trains what build/clinic/ lacks (a minute each, one thread), then packs all
python tools/make_clinic.py A C     trains these anew first

A patient is a table of numbers (losses, gradient norms, controls) and a sheet of pictures. All are seeded.
"""

import ast
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from paidiff_world.scenes import render

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS, KEPT, OUT = ROOT / "data/models/from-scratch", ROOT / "build/clinic", ROOT / "data/clinic"
STEPS, BATCH, WIDTH = 480, 16, 32
STAGES = 30, 120, 240, 480  # steps after which a sheet is drawn
EVERY = 30  # steps between two losses on pictures that are not trained on
SUBJECTS, PLACES = "猫 气球 汽车 房子 西瓜 向日葵".split(), "草地 星空 落日".split()
PAIRS = [(subject, PLACES[i % 3]) for i, subject in enumerate(SUBJECTS)]
PROMPTS = [",".join(pair) for pair in PAIRS]
PICTURES = 60  # of each prompt


@dataclass(frozen=True)
class Run:
    """A training, and the drawing after it. What is not the default is its fault."""

    lr: float = 2e-3
    dropout: float = 0.1  # of the captions, for guidance
    from_t: int = 0  # the least timestep that is trained
    scale: float = 1.0  # of the latents
    mixed_captions: bool = False
    sorted_pictures: bool = False
    copies: bool = False  # one picture for each prompt
    half_range: bool = False  # pictures in 0..1
    bad_batch: int = -1  # the step at which a nan comes
    negative: bool = False  # fine-tuned to pictures with their colours turned round
    loaded: bool = True  # whether what was trained is what draws
    trained_as: str = ""  # the patient whose training this one shares: the fault is in the drawing
    ema: float = 0.98
    draws: str = "eps"  # what the sampler takes the guess for
    bad_vae: float = 0.0  # noise on the decoder's weights, as a share of their deviation


RUNS = {
    "0": Run(),
    "A": Run(sorted_pictures=True),
    "B": Run(mixed_captions=True),
    "C": Run(copies=True),
    "D": Run(lr=0.1),
    "E": Run(trained_as="0", ema=0.9999),
    "F": Run(half_range=True),
    "G": Run(trained_as="0", draws="x_0"),
    "H": Run(bad_batch=200),
    "I": Run(from_t=500),
    "J": Run(lr=1e-5),
    "K": Run(negative=True, loaded=False),
    "L": Run(trained_as="0", bad_vae=0.8),
}


def lesson_11():
    """What lessons/scratch.py defines, nothing of it run: classes, functions and words."""
    body = ast.parse((ROOT / "lessons/scratch.py").read_text(encoding="utf-8")).body
    words = {"SUBJECTS", "PLACES", "FORMS", "LENGTH", "CHARACTERS", "IDS", "conv", "act"}
    kinds, names = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef, {}
    named = lambda node: isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) in words
    exec(compile(ast.Module([n for n in body if isinstance(n, kinds) or named(n)], []), "scratch", "exec"), names)
    return names


@torch.no_grad()
def prepare(run):
    """Lesson 11's names, with the latents and words of a run, and `held`: (latents, words) not trained on."""
    names = lesson_11()
    vae, text = names["VAE"](), names["TextEncoder"]()
    vae.load_state_dict(load_file(WEIGHTS / "vae.safetensors"))
    text.load_state_dict(load_file(WEIGHTS / "text.safetensors"))
    x, captions = make_pictures(names, PAIRS * PICTURES, 14)
    other, other_captions = make_pictures(names, PAIRS * 15, 15)
    latents = vae.encode(x)[0]
    mean, std = latents.mean((0, 2, 3), keepdim=True), latents.std()
    encode = lambda pixels: (vae.encode(_pixels(run, pixels))[0] - mean) / std * run.scale
    words = lambda captions: text(names["tokenize"](captions))
    if run.mixed_captions:
        captions = np.random.RandomState(0).permutation(captions)
    names.update(X_0=encode(x), WORDS=words(captions), EMPTY=words([""]), held=(encode(other), words(other_captions)))
    names.update(vae=vae, text=text, MEAN=mean, STD=std / run.scale)
    _spoil(vae, run.bad_vae)
    return names


def make_pictures(names, pairs, seed):
    """As in lesson 11, but a subject stands in one of two places, which is learnt sooner."""
    rs = np.random.RandomState(seed)
    names["render"] = lambda spec, _, side, world: render(replace(spec, place=rs.choice([-1, 1])), rs, side, "still")
    return names["make_pictures"](pairs, seed)


def _pixels(run, x):
    return (x + 1) / 2 if run.half_range else -x if run.negative else x


def _spoil(vae, share):
    generator = torch.Generator().manual_seed(0)
    for weight in vae.up.parameters():
        if weight.ndim > 1:
            weight += share * weight.std() * torch.randn(weight.shape, generator=generator)


def batch(run, step):
    """Which pictures: any; or the next of a list that is sorted by prompt; or copies, one picture a prompt."""
    count = len(PAIRS) * PICTURES
    if run.sorted_pictures:
        place = (step * count // STEPS + torch.arange(BATCH)).clamp(max=count - 1)
        return torch.arange(count).view(PICTURES, -1).T.flatten()[place]
    return torch.randint(len(PAIRS) if run.copies else count, (BATCH,))


def losses(names, unet, x_0, words, from_t=0, to_t=1000):
    """The loss of each picture at some timestep, (B,)."""
    t, eps = torch.randint(from_t, to_t, (len(x_0),)).float(), torch.randn(x_0.shape)
    a, b = (weight[:, None, None, None] for weight in names["mix"](t))
    return (unet(a * x_0 + b * eps, t, words) - eps).square().mean((1, 2, 3))


def step_loss(run, names, unet, step):
    i = batch(run, step)
    words = torch.where(torch.rand(len(i), 1, 1) < run.dropout, names["EMPTY"], names["WORDS"][i])
    x_0 = names["X_0"][i] * (float("nan") if step == run.bad_batch else 1)
    return losses(names, unet, x_0, words, run.from_t).mean()


def start(letter, names):
    """The network before the first step: random, or, to be fine-tuned, the healthy one."""
    torch.manual_seed(list(RUNS).index(letter))
    unet = names["UNet"](WIDTH)
    if RUNS[letter].negative:
        unet.load_state_dict(torch.load(KEPT / "0.pt"))
    return unet


def train(run, names, unet, steps=STEPS):
    """Yields the loss and the gradient norm of each step."""
    optimizer = torch.optim.AdamW(unet.parameters(), run.lr, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, run.lr, STEPS, pct_start=0.1)
    for step in range(steps):
        if 0 <= run.bad_batch < step:  # there is no way back from a nan
            yield float("nan"), float("nan")
            continue
        loss = step_loss(run, names, unet, step)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step(), rate.step()
        yield loss.item(), norm.item()


def draw(run, names, unet, prompts=PROMPTS, **settings):
    """A row of pictures, (32, 32 n, 3)."""
    target = names["target"] if run.draws == "eps" else lambda t: (torch.ones_like(t), torch.zeros_like(t))
    return row(names["sample"](unet, prompts, target=target, **settings))


def row(x):
    x = x.nan_to_num(-1).clamp(-1, 1)
    return ((x + 1) * 127.5).round().byte().permute(2, 0, 3, 1).flatten(1, 2).numpy()


@torch.no_grad()
def decoded(names):
    """The first picture of each prompt, as the training sees it, through the decoder."""
    return row(names["vae"].up(names["X_0"][: len(PAIRS)] * names["STD"] + names["MEAN"]))


def last_rows(run, names, unet, raw):
    """The controls: other seeds of the first prompt; guidance 1; without EMA; real pictures through the VAE."""
    yield draw(run, names, unet, PROMPTS[:1] * len(PROMPTS), seed=1)
    yield draw(run, names, unet, guidance=1.0)
    yield draw(run, names, raw)
    yield decoded(names)


@torch.no_grad()
def held_out(names, unet, seed=97):
    """The loss on pictures that are not trained on, at the same timesteps and noise each time."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return losses(names, unet, *names["held"]).mean().item()


@torch.no_grad()
def controls(names, unet):
    """by_t: the loss in each tenth of the timesteps. captions: with the pictures' own captions, and with others'."""
    (x_0, words), tenths, found = names["held"], [], []
    torch.manual_seed(99)
    for tenth in range(0, 1000, 100):
        tenths.append(losses(names, unet, x_0, words, tenth, tenth + 100).mean().item())
    for captions in (words, words.roll(len(words) // 2 + 1, 0)):
        torch.manual_seed(98)
        found.append(torch.cat([losses(names, unet, x_0, captions) for _ in range(4)]).mean().item())
    return {"by_t": tenths, "captions": found}


def treat(letter):
    """Train one patient, and draw it and those that share its training; all into build/clinic/."""
    patients = {k: prepare(run) for k, run in RUNS.items() if letter in (k, run.trained_as)}
    names = patients[letter]
    unet, first = start(letter, names), start(letter, names)
    smooth, rows = {k: start(letter, names) for k in patients}, {k: [] for k in patients}
    shown = lambda k, trained: trained if RUNS[k].loaded else first
    record = {"loss": [], "gradient": [], "held_out": []}
    start(letter, names)  # the random numbers from here on, too
    for step, (loss, norm) in enumerate(train(RUNS[letter], names, unet), 1):
        record["loss"].append(loss), record["gradient"].append(norm)
        for k, slow in smooth.items():
            names["follow"](list(slow.parameters()), list(unet.parameters()), 1 - RUNS[k].ema)
            if step in STAGES:
                rows[k].append(draw(RUNS[k], patients[k], shown(k, slow)))
        if step % EVERY == 0:
            record["held_out"].append(held_out(names, unet))
    record |= controls(names, unet)
    torch.save(smooth[letter].state_dict(), KEPT / f"{letter}.pt")
    for k in patients:
        rows[k] += last_rows(RUNS[k], patients[k], shown(k, smooth[k]), shown(k, unet))
        Image.fromarray(np.concatenate(rows[k])).save(KEPT / f"{k}.png")
        (KEPT / f"{k}.json").write_text(json.dumps(record))


def pack():
    """build/clinic/ as data/clinic/: one table of numbers, four digits each, and a small JPEG a patient."""
    OUT.mkdir(exist_ok=True)
    short = lambda value: float(f"{value:.4g}") if np.isfinite(value) else None
    records = {k: json.loads((KEPT / f"{k}.json").read_text()) for k in RUNS}
    curves = {k: {key: [*map(short, values)] for key, values in each.items()} for k, each in records.items()}
    (OUT / "curves.json").write_text(json.dumps(curves).replace("}, ", "},\n") + "\n")
    for k in RUNS:
        Image.open(KEPT / f"{k}.png").save(OUT / f"{k}.jpg", quality=85, subsampling=0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    KEPT.mkdir(parents=True, exist_ok=True)
    for letter, run in RUNS.items():
        if not run.trained_as and (letter in sys.argv[1:] or not (KEPT / f"{letter}.json").is_file()):
            treat(letter)
            print(letter, flush=True)
    pack()
