"""DreamBooth: the pictures of one thing, and pictures of its class that the model drew itself."""

import paidiff_lib as paidiff

from . import facts, measure
from .shapes import GREY, LINE, ORANGE

HEIGHT = 470
TOY = "一只淼熊"
UPPER, LOWER, SIDE = 92, 292, 104  # of the two rows; a picture


def draw(card):
    card.title("title")
    toys = paidiff.CaptionFolder(paidiff.data_folder() / "bear", captions=TOY)
    pile(
        card,
        UPPER,
        [facts.shrunk(toys.image(i, 128), 64) for i in range(3)],
        card.say("toy", n=len(toys)),
        ORANGE,
    )
    pile(card, LOWER, [facts.measured(f"bear{i}") for i in range(3)], "class", GREY)
    for y, word, colour, kind in (
        (UPPER, TOY, ORANGE, "trained"),
        (LOWER, measure.BEAR, GREY, "plain"),
    ):
        middle = y + SIDE / 2
        card.box(306, middle - 24, 130, 48, word, kind)
        card.line((436, middle), (480, middle), colour)
    for start, end, colour in ((UPPER, 222, ORANGE), (LOWER, 266, GREY)):
        card.arrow((480, start + SIDE / 2), (480, end), (530, end), colour=colour)
    card.box(530, 190, 110, 108, "UNet", "trained", 20)
    card.arrow((640, 222), (700, 222), colour=ORANGE)
    card.arrow((640, 266), (700, 266), colour=LINE)
    card.label(710, 222, r"$L_{\rm toy}$", 24, ORANGE, "left")
    card.label(710, 266, r"$L_{\rm class}$", 24, GREY, "left")
    card.label(780, 222, "learns", 16, ORANGE, "left")
    card.label(780, 266, "keeps", 16, GREY, "left")
    card.label(640, 400, r"$L = L_{\rm toy} + \lambda\, L_{\rm class}$", 27)


def pile(card, y, images, name, colour):
    """Pictures upon each other, the last one on top."""
    card.label(34, y - 20, name, 17, colour, "left")
    for place, image in enumerate(images):
        card.picture(34 + 76 * place, y + 8 * place, SIDE, image, colour, 1.6)
