"""The whole pipeline with its shapes: mini's in ink, the 1B model's in grey."""

import numpy as np

from . import facts
from .shapes import BLUE, GREEN, GREY, INK

HEIGHT = 520
STEPS = 20


def draw(card):
    card.title("title")
    text(card)
    loop(card)
    decode(card)
    both = [sum((list(part.parameters()) for part in parts), []) for parts in models()]
    card.label(870, 474, card.say("mini", n=facts.millions(both[0])), 16, INK, "right")
    card.label(870, 495, card.say("big", n=facts.millions(both[1])), 16, GREY, "right")


def models():
    pipe, big = facts.mini(), facts.big()
    return [pipe.text_encoder, pipe.unet, pipe.vae], list(big.values())


def pair(card, x, y, key, ha="center", form="{}"):
    """A shape of mini, and below it the 1B model's."""
    for step, (shape, colour) in enumerate(zip(facts.shapes(), (INK, GREY))):
        card.label(x, y + 20 * step, form.format(shape[key]), 16, colour, ha)


def part(card, x, y, w, h, name, key, kind):
    """A network: its name, its number of weights, the 1B model's."""
    card.box(x, y, w, h, kind=kind)
    card.label(x + w / 2, y + h / 2 - 19, name, 17, room=(x, y, w, h))
    for step, owner in enumerate((getattr(facts.mini(), key), facts.big()[key])):
        place = x + w / 2, y + h / 2 + 3 + 20 * step
        card.label(
            *place, facts.millions(owner), 16, (INK, GREY)[step], room=(x, y, w, h)
        )


def text(card):
    card.box(28, 68, 176, 62, "prompt", "text")
    card.arrow((204, 99), (236, 99), colour=BLUE)
    card.box(236, 68, 104, 62, "tokenizer", "text")
    card.arrow((340, 99), (430, 99), colour=BLUE)
    card.label(383, 82, card.say("ids", n=facts.shapes()[0]["tokens"]), 16)
    part(card, 430, 62, 150, 76, "encoder", "text_encoder", "text")
    card.arrow((505, 138), (505, 232), colour=BLUE)
    pair(card, 517, 164, "text", "left")
    card.label(517, 206, "attention", 16, BLUE, "left")


def loop(card):
    """Noise, the network, the scheduler, and back again."""
    clean = facts.measured("latents")
    noise = 128 + 50 * np.random.default_rng(0).standard_normal(clean.shape)
    half = 128 + 0.6**0.5 * (clean - 128.0) + 0.4**0.5 * (noise - 128)
    for x, image, name in ((28, noise, "noise"), (236, half, "latents")):
        card.picture(x, 226, 96, np.clip(image, 0, 255))
        card.label(x + 48, 210, name, 16)
    pair(card, 76, 336, "latents")
    card.arrow((124, 274), (236, 274))
    card.arrow((332, 274), (430, 274))
    part(card, 430, 232, 150, 84, "UNet", "unet", "plain")
    card.arrow((505, 316), (505, 376))
    card.label(517, 346, "$v$", 24, ha="left")
    card.box(420, 376, 170, 62, "scheduler")
    card.arrow((420, 407), (284, 407), (284, 322))
    card.label(296, 392, card.say("steps", n=STEPS), 17, ha="left")


def decode(card):
    card.arrow((590, 407), (636, 407))
    card.picture(636, 366, 82, facts.measured("latents"))
    card.label(677, 349, "clean", 16)
    card.arrow((718, 407), (750, 407))
    part(card, 750, 365, 120, 84, "decoder", "vae", "picture")
    card.arrow((810, 365), (810, 216), colour=GREEN)
    card.picture(742, 84, 128, facts.shrunk(facts.penguins(), 64), GREEN)
    card.label(728, 84, "picture", 17, ha="right", va="top")
    pair(card, 728, 120, "picture", "right")
