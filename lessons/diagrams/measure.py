"""What has to be computed for the diagrams: pictures drawn by mini, similarities, how much each filter drops.

python tools/draw_diagrams.py --measure      writes lessons/diagrams/measured/, about a minute
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

import paidiff_lib as paidiff
from paidiff_lib.cleaning.filter import curate
from paidiff_lib.generate import sample
from paidiff_world import Spec, dirty, render

from . import facts

FOLDER = Path(__file__).with_name("measured")
PAIRS = [("猫", "草地"), ("企鹅", "雪地"), ("汽车", "沙滩"), ("狐狸", "森林")]
STRENGTH, SIDE = 0.6, 64  # of image to image; pixels of a stored picture
MASK = (0.5, 0.35, 1, 1)  # the right penguin: left, top, right, bottom
SUNSET, CAT, BEAR = "落日下的两只企鹅", "雪地里的两只猫", "一只棕熊"
CLEANED = 480  # pictures, as in lesson 8


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, image in {**latents(), **drawn(), **pairs()}.items():
        image.save(FOLDER / f"{name}.png")
    numbers = {"cosines": cosines(), "cleaning": cleaning()}
    text = json.dumps(numbers, ensure_ascii=False, indent=1)
    (FOLDER / "numbers.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def small(image):
    return image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def latents():
    """Three channels of the penguins' latents as red, green and blue."""
    vae, pixels = facts.mini().vae, torch.from_numpy(np.array(facts.penguins())).float()
    with torch.no_grad():
        found = vae.encode(pixels.permute(2, 0, 1)[None] / 127.5 - 1).latent_dist.mean[
            0
        ]
    found = 128 + 50 * vae.config.scaling_factor * found[:3].permute(1, 2, 0)
    return {"latents": Image.fromarray(found.clamp(0, 255).byte().numpy())}


def drawn():
    """What mini draws: from a picture, into a picture, and bears."""
    pipe, penguins = paidiff.load("mini", task="img2img"), facts.penguins()
    again = sample(pipe, [SUNSET], 3, images=penguins, strength=STRENGTH)[0]
    cat = paidiff.inpaint(pipe, CAT, penguins, mask(penguins.width), seed=4)
    bears = sample(facts.mini(), [BEAR] * 3, [1, 2, 3])
    named = {"img2img": again, "inpainted": cat} | {
        f"bear{i}": bear for i, bear in enumerate(bears)
    }
    return {name: small(image) for name, image in named.items()}


def mask(side):
    """White where the picture is drawn anew."""
    image = Image.new("L", (side, side))
    left, top, right, bottom = (round(place * side) for place in MASK)
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill=255)
    return image


def scenes():
    return [
        (render(Spec(subject, place), np.random.RandomState(0)), f"{subject},{place}")
        for subject, place in PAIRS
    ]


def pairs():
    return {f"pair{i}": small(image) for i, (image, _) in enumerate(scenes())}


def cosines():
    """Of each caption (row) with each picture (column), by the CLIP that taught mini."""
    from transformers import CLIPModel

    model = CLIPModel.from_pretrained(
        paidiff.data_folder() / "models/paidiff-clip-zh", dtype=torch.float32
    )
    pipe = facts.mini()
    images, captions = zip(*scenes())
    limit = dict(
        max_length=pipe.tokenizer.model_max_length,
        padding="max_length",
        return_tensors="pt",
    )
    ids = pipe.tokenizer(list(captions), **limit)
    pixels = (
        torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        .float()
        .permute(0, 3, 1, 2)
    )
    with torch.no_grad():
        out = model(input_ids=ids.input_ids, pixel_values=pixels / 127.5 - 1)
    return [
        [round(value, 2) for value in row]
        for row in (out.text_embeds @ out.image_embeds.T).tolist()
    ]


def cleaning():
    """Of a dirty set: how many pictures are left after each clause of the rule, one clause after the other."""
    with tempfile.TemporaryDirectory() as folder:
        kinds = ("blur", *["caption"] * 4, *dirty.KINDS)
        truth = dirty.write(
            Path(folder) / "dirty", CLEANED, seed=8, share=0.75, kinds=kinds
        )
        found = curate(Path(folder) / "dirty")
    left, counts = np.ones(len(found.items), dtype=bool), [["", len(found.items)]]
    for clause, holds in found.rule.each(found.scores).items():
        left &= holds
        counts.append([clause, int(left.sum())])
    good = np.array([truth[item.name] == "" for item in found.items])
    return {
        "left": counts,
        "good": [round(float(part.mean()), 3) for part in (good, good[left])],
    }
