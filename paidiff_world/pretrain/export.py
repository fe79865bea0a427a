"""Stage 5: from checkpoints to plain folders: data/models/paidiff-mini-zh, paidiff-clip-zh and paidiff-judge.

`StableDiffusionPipeline.from_pretrained(folder)` opens the first with no line of ours.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from safetensors.torch import load_file

from paidiff_lib.files import data_folder
from paidiff_lib.models.save import add_prefix, open_single

from ..words import vocabulary
from . import clip, tokenizer, unet, vae
from .card import model_card
from .loop import save_half, save_json

MODELS = Path("models")  # below the data folder
SHIPPED = {
    "clip": "paidiff-clip-zh/model.safetensors",
    "unet": "paidiff-mini-zh/unet/diffusion_pytorch_model.safetensors",
    "vae": "paidiff-mini-zh/vae/diffusion_pytorch_model.safetensors",  # its decoder too
}


def models():
    return data_folder() / MODELS


def scaling_factor(latents):
    """1 / std of the latents: what brings them to unit variance (measured, not Stable Diffusion's 0.18215)."""
    return round(1 / latents[:4000].float().std().item(), 4)


def shipped(name, model):
    """`model` with the weights of the shipped folders instead of a run's: what a longer training starts from."""
    weights = load_file(models() / SHIPPED.get(name, SHIPPED["vae"]))
    (model.clip if name == "clip" else model).load_state_dict({k: v.float() for k, v in weights.items()})
    return model


def shipped_record():
    """What the shipped model's training.json says of each stage."""
    return json.loads((models() / "paidiff-mini-zh/training.json").read_text(encoding="utf-8"))["record"]


def everything(run):
    words = tokenizer.build(run.folder / "tokenizer")
    coder = vae.build(run.config["vae"]["channels"], run.config["vae"]["layers"])
    coder = run.weights("decoder", vae.freeze_encoder(coder))
    latents = torch.load(run.folder / "latents.pt", weights_only=True)
    coder.register_to_config(scaling_factor=scaling_factor(latents))
    pair = run.weights("clip", clip.Taught(len(words))).clip
    tokenizer.share_rows(pair.text_model.embeddings.token_embedding.weight.data, words)
    folder = models() / "paidiff-mini-zh"
    pipeline(run, coder, pair, words).save_pretrained(folder)
    add_prefix(folder / "text_encoder/model.safetensors")
    open_single(folder / "text_encoder/config.json")
    notes = json.loads((run.folder / "record.json").read_text(encoding="utf-8"))
    save_json(folder / "words.json", vocabulary())
    save_json(folder / "training.json", {"config": run.config, "record": notes})
    (folder / "README.md").write_text(model_card(run.config, notes), encoding="utf-8")
    whole = models() / "paidiff-clip-zh"
    pair.half().save_pretrained(whole)
    words.save_pretrained(whole)
    for place in (folder / "tokenizer", whole):  # transformers 5 leaves out what 4 reads
        shutil.copy(run.folder / "tokenizer/vocab.txt", place)


def pipeline(run, coder, pair, words):
    """What the run's checkpoints draw with, in half precision."""
    return StableDiffusionPipeline(
        vae=coder,
        text_encoder=clip.text_encoder(pair),
        tokenizer=words,
        unet=run.weights("unet", unet.build(run.config["unet"]["channels"])),
        scheduler=DPMSolverMultistepScheduler.from_config(unet.scheduler().config, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(torch.float16)


def judge_folder(model):
    folder = models() / "paidiff-judge"
    folder.mkdir(parents=True, exist_ok=True)
    save_half(folder / "model.safetensors", model)
    save_json(folder / "config.json", {"classes": model.classes, "width": model.stem[0].out_channels})
