"""What the diagrams say about the models: read from mini as it is loaded, and from the 1B model's skeleton."""

import json
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import paidiff_lib as paidiff
from paidiff_app.skeleton import FULL, LIMIT, PARTS
from paidiff_lib.methods.lora import WIDE
from paidiff_lib.models.registry import FAMILY

FOLDER = Path(__file__).with_name("measured")
RANK = 8  # as in lesson 3
PROMPT = "雪地里的两只企鹅"


@lru_cache
def mini():
    return paidiff.load("mini")


@lru_cache
def big():
    """The parts of the 1B model without their weights."""
    side = FAMILY["artist-large"].size[0]
    with torch.device("meta"):
        return {
            name: PARTS[name][0](FULL, side) for name in ("unet", "vae", "text_encoder")
        }


def shapes():
    """Of mini and of the 1B model: tokens, text, latents, picture, as they are written in a diagram."""
    pipe, parts = mini(), big()
    factor = 2 ** (len(parts["vae"].config.block_out_channels) - 1)
    models = (
        (
            pipe.tokenizer.model_max_length,
            pipe.text_encoder,
            pipe.unet,
            pipe.vae_scale_factor,
        ),
        (LIMIT, parts["text_encoder"], parts["unet"], factor),
    )
    return [_shapes(*model) for model in models]


def _shapes(tokens, text_encoder, unet, factor):
    side = unet.config.sample_size
    return {
        "tokens": tokens,
        "text": f"{tokens}×{text_encoder.config.hidden_size}",
        "latents": f"{unet.config.in_channels}×{side}×{side}",
        "picture": f"3×{side * factor}×{side * factor}",
    }


def millions(module):
    """The number of weights of a module, or of some parameters."""
    parameters = module.parameters() if hasattr(module, "parameters") else module
    number = sum(parameter.numel() for parameter in parameters) / 1e6
    digits = 0 if number >= 100 else 1 if number >= 1 else 2
    return f"{number:.{digits}f} M"


@lru_cache
def levels():
    """(C, H, W) at which each block of mini's UNet works: 0, 1, ... down, mid, then up again."""
    unet, found = mini().unet, []
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    hooks = [
        block.resnets[-1].register_forward_hook(partial(_note, found))
        for block in blocks
    ]
    side = unet.config.sample_size
    with torch.no_grad():
        unet(torch.zeros(1, unet.config.in_channels, side, side), 500, _hidden())
    for hook in hooks:
        hook.remove()
    return found


def _hidden():
    pipe = mini()
    return pipe.text_encoder(
        torch.zeros(1, pipe.tokenizer.model_max_length, dtype=int)
    )[0]


def _note(found, module, given, output):
    found.append(tuple(output.shape[1:]))


@lru_cache
def controlnet():
    return paidiff.ControlNet(mini()).net


@lru_cache
def lora_parameters():
    """The weights of lesson 3's LoRA, as (name, tensor); mini stays as it was."""
    pipe = paidiff.load("mini")
    lora = paidiff.LoRA(pipe, rank=RANK, layers=WIDE)
    return list(lora.parameters().values())


def penguins():
    """The picture that mini draws from PROMPT, as the repository has it."""
    side = mini().unet.config.sample_size * mini().vae_scale_factor
    image = Image.open(paidiff.data_folder() / "penguins.png").convert("RGB")
    return image.resize((side, side), Image.Resampling.LANCZOS)


def shrunk(image, side):
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))


def measured(name):
    """A picture that measure.py made, as numbers (H, W, 3)."""
    return np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB"))


def numbers():
    """What measure.py measured."""
    return json.loads((FOLDER / "numbers.json").read_text(encoding="utf-8"))


def noised(image, t, seed=1):
    """A picture (H, W, 3) of 0 to 255 with the noise of timestep t, as the same."""
    alpha, clean = alphas()[t], np.asarray(image) / 127.5 - 1
    noise = np.random.default_rng(seed).standard_normal(clean.shape)
    return np.clip(
        (np.sqrt(alpha) * clean + np.sqrt(1 - alpha) * noise) * 127.5 + 127.5, 0, 255
    )


@lru_cache
def alphas():
    """The noise schedule of mini: alpha-bar for t = 0 ... 999, as numpy."""
    return mini().scheduler.alphas_cumprod.double().numpy()
