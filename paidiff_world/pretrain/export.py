"""Stage 5: from checkpoints to plain folders: data/models/paidiff-mini-zh, paidiff-clip-zh and paidiff-judge.

`StableDiffusionPipeline.from_pretrained(folder)` opens the first with no line of ours.
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from paidiff_lib.files import data_folder
from paidiff_lib.models.save import add_prefix, open_single

from ..words import vocabulary
from . import clip, tokenizer, unet, vae
from .card import model_card

MODELS = Path("models")  # below the data folder


def scaling_factor(latents):
    """1 / std of the latents: what brings them to unit variance (measured, not Stable Diffusion's 0.18215)."""
    return round(1 / latents[:4000].float().std().item(), 4)


def shipped(name, model):
    """`model` with the weights of the shipped folders instead of a run's: what a longer training starts from."""
    folder, file = {
        "clip": ("paidiff-clip-zh", "model"),
        "unet": ("paidiff-mini-zh/unet", "diffusion_pytorch_model"),
    }.get(name, ("paidiff-mini-zh/vae", "diffusion_pytorch_model"))
    weights = load_file(data_folder() / MODELS / folder / f"{file}.safetensors")
    (model.clip if name == "clip" else model).load_state_dict({k: v.float() for k, v in weights.items()})
    return model


def shipped_record():
    """What the shipped model's training.json says of each stage."""
    return json.loads((data_folder() / MODELS / "paidiff-mini-zh/training.json").read_text(encoding="utf-8"))["record"]


def everything(run):
    words = tokenizer.build(run.folder / "tokenizer")
    coder = vae.build(run.config["vae"]["channels"], run.config["vae"]["layers"])
    coder = run.weights("decoder", vae.freeze_encoder(coder))
    latents = torch.load(run.folder / "latents.pt", weights_only=True)
    coder.register_to_config(scaling_factor=scaling_factor(latents))
    pair = run.weights("clip", clip.Taught(len(words))).clip
    tokenizer.share_rows(pair.text_model.embeddings.token_embedding.weight.data, words)
    denoiser = run.weights("unet", unet.build(run.config["unet"]["channels"]))
    pipe = StableDiffusionPipeline(
        vae=coder,
        text_encoder=clip.text_encoder(pair),
        tokenizer=words,
        unet=denoiser,
        scheduler=DPMSolverMultistepScheduler.from_config(unet.scheduler().config, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    folder = data_folder() / MODELS / "paidiff-mini-zh"
    pipe.to(torch.float16).save_pretrained(folder)
    add_prefix(folder / "text_encoder/model.safetensors")
    open_single(folder / "text_encoder/config.json")
    notes = json.loads((run.folder / "record.json").read_text(encoding="utf-8"))
    (folder / "words.json").write_text(json.dumps(vocabulary(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (folder / "training.json").write_text(
        json.dumps({"config": run.config, "record": notes}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    (folder / "README.md").write_text(model_card(run.config, notes), encoding="utf-8")
    pair.half().save_pretrained(data_folder() / MODELS / "paidiff-clip-zh")
    words.save_pretrained(data_folder() / MODELS / "paidiff-clip-zh")
    for place in (
        folder / "tokenizer",
        data_folder() / MODELS / "paidiff-clip-zh",
    ):  # transformers 5 leaves out what 4 reads
        shutil.copy(run.folder / "tokenizer/vocab.txt", place)


def judge_folder(model, run):
    folder = data_folder() / MODELS / "paidiff-judge"
    folder.mkdir(parents=True, exist_ok=True)
    width = model.stem[0].out_channels
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(
        json.dumps({"classes": model.classes, "width": width}, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
