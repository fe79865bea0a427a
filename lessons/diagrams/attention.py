"""Cross-attention: the picture asks (Q), the words answer (K, V). Shapes are those of mini's finest layers."""

import numpy as np

from . import facts
from .shapes import BLUE, GREEN, GREY, INK, ORANGE

HEIGHT = 470
WORDS = "狐狸,雪地"
ROW = 14  # pixels of a cell in the maps


def draw(card):
    card.title("title")
    layer = finest()
    place, word = (
        f"{layer['places']}×{layer['width']}",
        f"{layer['tokens']}×{layer['text']}",
    )
    picture(card, place)
    words(card, word)
    weights(card, layer)
    answer(card, place)


def finest():
    """The shapes of the last cross-attention layer."""
    unet = facts.mini().unet
    attention = unet.up_blocks[-2].attentions[-1].transformer_blocks[0].attn2
    side = facts.levels()[-2][1]
    return {
        "places": side * side,
        "width": attention.to_q.in_features,
        "heads": attention.heads,
        "tokens": facts.mini().tokenizer.model_max_length,
        "text": attention.to_k.in_features,
    }


def picture(card, place):
    noisy = np.random.default_rng(0).integers(90, 170, (8, 8))
    card.picture(36, 84, 112, noisy, GREEN)
    card.label(92, 214, "places", 16, GREEN)
    card.label(92, 236, place, 16)
    card.arrow((148, 140), (210, 140), colour=GREEN)
    card.box(210, 112, 96, 56, "$Q = XW_Q$", "picture")
    card.arrow((306, 140), (384, 140), colour=GREEN)


def words(card, word):
    for i, sign in enumerate(WORDS):
        card.box(36 + 23 * i, 316, 22, 32, sign, "text", 15, 3)
    card.label(92, 372, "tokens", 16, BLUE)
    card.label(92, 394, word, 16)
    for y, name in ((286, "$K = CW_K$"), (366, "$V = CW_V$")):
        card.arrow((152, 332), (180, 332), (180, y + 28), (210, y + 28), colour=BLUE)
        card.box(210, y, 96, 56, name, "text")
    card.arrow((306, 314), (350, 314), (350, 180), (384, 180), colour=BLUE)
    card.arrow((306, 394), (704, 394), (704, 192), colour=BLUE)


def weights(card, layer):
    card.box(384, 96, 210, 128, kind="trained")
    card.label(489, 140, r"$A = \mathrm{softmax}(QK^\top/\sqrt{d})$", 17)
    card.label(
        489, 176, f"{layer['heads']} × {layer['places']} × {layer['tokens']}", 16
    )
    card.label(489, 204, "sum", 15, GREY)
    card.arrow((489, 224), (489, 258), colour=ORANGE)
    rows, columns = np.mgrid[0:8, 0:8]
    inside = np.exp(-((rows - 4) ** 2 + (columns - 3.5) ** 2) / 6)
    for x, image, name in ((408, inside, "狐狸"), (502, 1 - inside, "雪地")):
        card.picture(x, 262, 68, 255 * image, ORANGE)
        card.label(x + 34, 346, name, 15)
    card.label(489, 370, "map", 15, ORANGE)


def answer(card, place):
    card.arrow((594, 160), (660, 160), colour=ORANGE)
    card.box(660, 128, 88, 64, "$A\\,V$", "plain", 20)
    card.arrow((748, 160), (790, 160), colour=GREEN)
    card.label(836, 148, "back", 16, GREEN)
    card.label(836, 172, place, 16, INK)
