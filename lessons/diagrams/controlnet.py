"""One block of the UNet, its copy that also reads the edges, and the zero convolution between them."""

import numpy as np
from diffusers import ControlNetModel

import paidiff_lib as paidiff
from paidiff_lib.metrics import canny

from . import facts
from .shapes import GREY, ORANGE

HEIGHT = 516


def draw(card):
    card.title("title")
    card.label(250, 82, "$x$", 26)
    card.line((250, 104), (250, 130))
    card.arrow((250, 130), (250, 200))
    card.box(160, 200, 180, 72, "block")
    card.label(150, 236, "frozen", 17, GREY, "right")
    card.arrow((250, 272), (250, 342))
    card.dot(250, 360, 18, "pale", "+", 24)
    card.arrow((250, 378), (250, 418))
    card.label(250, 436, "$y$", 26)
    card.arrow((250, 118), (462, 118))
    card.dot(480, 118, 18, "pale", "+", 24)
    card.arrow((480, 136), (480, 200), colour=ORANGE)
    card.box(390, 200, 180, 72, "copy", "trained")
    card.label(582, 236, "trained", 17, ORANGE, "left")
    card.line((480, 272), (480, 360), ORANGE)
    card.line((480, 360), (470, 360), ORANGE)
    card.box(330, 337, 140, 46, "zero", "trained", 16)
    card.arrow((330, 360), (268, 360), colour=ORANGE)
    card.picture(770, 68, 100, facts.shrunk(canny(facts.penguins()), 80), colours=6)
    card.label(820, 190, "condition", 17)
    card.arrow((770, 118), (700, 118), colour=ORANGE)
    card.box(560, 95, 140, 46, "reads", "trained", 16)
    card.arrow((560, 118), (498, 118), colour=ORANGE)
    card.label(700, 330, r"$y = F(x) + Z\,(F'(x + E(c)))$", 24)
    card.label(28, 488, numbers(card), 17, GREY, "left")


def numbers(card):
    """The zero convolutions of a new ControlNet, and of the one in the repository."""
    folder = paidiff.data_folder() / "models/paidiff-mini-zh-controlnet-canny"
    trained = ControlNetModel.from_pretrained(folder)
    before, after = (
        np.mean([abs(w).mean().item() for w in zeros(net)])
        for net in (facts.controlnet(), trained)
    )
    return card.say("numbers", a=f"{before:g}", b=f"{after:.3f}")


def zeros(net):
    convolutions = [*net.controlnet_down_blocks, net.controlnet_mid_block]
    return [convolution.weight.detach().float() for convolution in convolutions]
