"""Make paidiff-mini-zh from nothing: python -m paidiff_world.pretrain [--out runs/mini] [--config mini.json]

Stages: pool of pictures -> VAE -> its decoder longer -> Chinese CLIP -> judge -> UNet -> export. Each resumes after a kill. The same command
runs on a GPU and on a CPU; only the hours differ. Two processes take 1.4 times the pictures of one with two threads
(145 and 102 a second on a Xeon with AMX):
torchrun --standalone --nproc-per-node 2 -m -- paidiff_world.pretrain --stage unet, once the pool and the caches are there.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch

from ..judge import Judge
from . import clip, export, judge, loop, pool, tokenizer, unet, vae
from .loop import hardware, tell

HERE = Path(__file__).parent
SETTINGS = ("steps", "lr", "batch", "warmup", "ema", "weight_decay")  # of a stage, what loop.train takes
NOISE = (0.05, 0.1, 0.2, 0.3)  # of latents of unit variance: what a decoder is measured at
STAGES = ("pool", "vae", "decoder", "clip", "judge", "unet", "export")


class Run:
    """One pre-training run in a folder: its config, its device and what each stage hands to the next."""

    def __init__(self, folder, config, start=False):
        self.folder, self.config, self.start = Path(folder), config, start
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.folder.mkdir(parents=True, exist_ok=True)
        if start and not (self.folder / "record.json").exists():
            for name, record in export.shipped_record().items():
                self.note(name, record)

    def stage(self, name, model, objective):
        """Train one model through loop.train with its part of the config and note what it took."""
        part = {key: self.config[name][key] for key in SETTINGS if key in self.config[name]}
        model, record = loop.train(name, model, objective, self.folder, seed=self.config["seed"], report=tell, **part)
        batch, parameters = part["batch"] * loop.processes()[1], sum(p.numel() for p in model.parameters())
        return model, record | {"batch": batch, "parameters": parameters, "hardware": hardware(self.device)}

    def note(self, name, record):
        if loop.processes()[0]:
            return
        path = self.folder / "record.json"
        notes = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        notes[name] = record
        loop.save_json(path, notes)
        tell(f"{name}: {json.dumps(record, ensure_ascii=False)}")

    def cached(self, name, make):
        """A tensor made once and kept in the run's folder."""
        path = self.folder / f"{name}.pt"
        if not path.exists():
            loop.save(path, make())
        return torch.load(path, weights_only=True)

    def built(self, build, *args):
        torch.manual_seed(self.config["seed"])
        return build(*args).to(self.device)

    def weights(self, name, model):
        """The model with the EMA weights of a finished stage; of the shipped one, for a run that starts there."""
        if self.start and not (self.folder / f"{name}.pt").exists():
            return export.shipped(name, model).to(self.device).eval()
        return loop.averaged(self.folder / f"{name}.pt", model, self.device)


def build_vae(run):
    return run.built(vae.build, run.config["vae"]["channels"], run.config["vae"]["layers"])


def run_pool(run):
    pool.build(run.folder / "pool", run.config["pictures"], report=tell)


def run_vae(run):
    train_vae(run, "vae", build_vae(run))


def run_decoder(run):
    """The decoder alone, longer: latents stay as they are, so a UNet trained on them stays right."""
    noise = run.config["decoder"]["noise"]
    train_vae(run, "decoder", vae.freeze_encoder(run.weights("vae", build_vae(run))), step=8, noise=noise)


def train_vae(run, name, model, **options):
    pictures, _, _ = pool.load(run.folder / "pool")
    objective = vae.objective(model, pictures[run.config["held_back"] :], run.config[name]["batch"], **options)
    model, record = run.stage(name, model, objective)
    noisy = {noise: round(vae.psnr(model, pictures[:300], noise), 2) for noise in NOISE}
    run.note(name, record | {"psnr_held_out_dB": round(vae.psnr(model, pictures[:300]), 2), "psnr_at_noise_dB": noisy})


def run_clip(run):
    pictures, specs, captions = pool.load(run.folder / "pool")
    held, part = run.config["held_back"], run.config["clip"]
    words = tokenizer.build(run.folder / "tokenizer")
    ids = run.cached("ids", lambda: clip.tokenize_pairs(words, captions)).long()
    model = run.built(clip.Taught, len(words))
    objective = clip.objective(model, pictures[held:], ids[held:], judge.labels(specs[held:]), part["batch"])
    model, record = run.stage("clip", model, objective)
    run.note("clip", record | {"top1_of_128_held_out": clip.top1(model.clip, pictures[:held], ids[:held])})


def run_judge(run):
    held, part = run.config["held_back"], run.config["judge"]
    pictures, specs, _ = pool.build(run.folder / "pool_judge", part["pictures"], kept_out=True, report=tell)
    targets = judge.labels(specs)
    model, before = run.built(Judge), {}
    if run.start:
        model, before = judge.take_over(model), {"before": export.shipped_record()["judge"]}
    model, record = run.stage("judge", model, judge.objective(model, pictures[held:], targets[held:], part["batch"]))
    judge.settle(model, pictures[held:], part["batch"])
    run.note("judge", record | {"accuracy_held_out": judge.accuracy(model, pictures[:held], targets[:held])} | before)
    export.judge_folder(model)


def run_unet(run):
    part = run.config["unet"]
    pictures, _, captions = pool.build(run.folder / "pool_grid", part["pictures"], grid=True, report=tell)
    words = tokenizer.build(run.folder / "tokenizer")
    coder = run.weights("vae", build_vae(run))
    encoder = clip.text_encoder(run.weights("clip", run.built(clip.Taught, len(words))).clip).to(run.device)
    latents = run.cached("latents", lambda: vae.encode(coder, pictures))
    embeddings = run.cached("embeddings", lambda: unet.embed(encoder, clip.tokenize_pairs(words, captions)))
    masks = torch.from_numpy(np.load(run.folder / "pool_grid/masks.npy")) / 255
    empty = unet.embed(encoder, clip.tokenize(words, [""]))
    levels = torch.tensor([pool.level(seed, grid=True) for seed in range(part["pictures"])])
    held = run.config["held_back"]
    model, before = run.built(unet.build, part["channels"]), {}
    if run.start:
        model, before = export.shipped("unet", model), {"before": export.shipped_record()["unet"]}
    scenes = [each[held:] for each in (latents * export.scaling_factor(latents), embeddings, masks, levels)]
    objective = unet.objective(model, *scenes, empty, part["steps"], part["batch"], run.start)
    model, record = run.stage("unet", unet.quicken(model, part["steps"]), objective)
    seen = record["pictures"] + before.get("before", {}).get("pictures_seen", 0)
    run.note("unet", record | {"pictures_seen": seen} | before)


def run_export(run):
    export.everything(run)


def main():
    shown = {"prog": "python -m paidiff_world.pretrain", "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(description=__doc__, **shown)
    parser.add_argument("--out", default="runs/mini", help="folder of the run: checkpoints, caches, record.json")
    parser.add_argument("--config", default=HERE / "mini.json", type=Path)
    parser.add_argument(
        "--start",
        action="store_true",
        help="go on from the shipped weights: with --stage unet --stage export, a longer training",
    )
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this stage (may be given twice)")
    args = parser.parse_args()
    if "WORLD_SIZE" in os.environ:
        torch.distributed.init_process_group("gloo")
    run = Run(args.out, json.loads(args.config.read_text(encoding="utf-8")), args.start)
    for name in args.stage or STAGES:
        globals()[f"run_{name}"](run)
    if "WORLD_SIZE" in os.environ:
        torch.distributed.destroy_process_group()  # a process that ends with its threads still running may abort


if __name__ == "__main__":
    main()
