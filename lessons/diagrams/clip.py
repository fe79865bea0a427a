"""CLIP's matrix: the cosine of each sentence with each picture, measured."""

from matplotlib.colors import to_hex, to_rgb

from . import facts, measure
from .shapes import BLUE, GREEN, GREY, ORANGE

HEIGHT = 512
LEFT, TOP, WIDE, TALL = 212, 206, 104, 62  # of the matrix; a cell


def draw(card):
    card.title("title")
    card.label(LEFT + 2 * WIDE, 78, "picture", 17, GREEN)
    card.label(34, TOP - 28, "text", 17, BLUE, "left")
    cosines = facts.numbers()["cosines"]
    for i, row in enumerate(cosines):
        middle = LEFT + WIDE * (i + 0.5)
        card.picture(middle - 42, 96, 84, facts.measured(f"pair{i}"), GREEN)
        card.arrow((middle, 182), (middle, TOP - 2), colour=GREEN)
        y = TOP + TALL * (i + 0.5)
        card.box(
            34, y - 20, 138, 40, ",".join(measure.PAIRS[i]).replace(",", "，"), "text"
        )
        card.arrow((172, y), (LEFT - 2, y), colour=BLUE)
        for j, value in enumerate(row):
            cell(card, i, j, value)
    card.label(LEFT + 2 * WIDE, TOP + 4 * TALL + 26, "cosine", 16, GREY)
    card.label(658, TOP + TALL, "own", 17, ORANGE, "left")
    card.label(658, TOP + 3 * TALL, "other", 17, GREY, "left")


def cell(card, i, j, value):
    share = max(value, 0) * 0.55
    fill = to_hex([1 - share * (1 - part) for part in to_rgb(BLUE)])
    x, y = LEFT + WIDE * j + 2, TOP + TALL * i + 2
    look = {"ec": ORANGE, "lw": 3} if i == j else {"ec": "#c3cbd3"}
    card.box(x, y, WIDE - 4, TALL - 4, f"{value:.2f}", fc=fill, size=20, **look)
