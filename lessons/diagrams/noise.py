"""A picture noised to six timesteps, the way back, and alpha-bar below them on the same axis."""

import numpy as np

from . import facts
from .shapes import BLUE, GREY, LINE, ORANGE

HEIGHT = 520
SIDE, PIXELS, LEFT, APART = 116, 48, 34, 143  # of the pictures
FLOOR, TALL = 462, 120  # of the curve


def draw(card):
    alphas = facts.alphas()
    last = len(alphas) - 1
    times = [round(last * step / 5 / 100) * 100 for step in range(5)] + [last]
    clean = facts.shrunk(facts.penguins(), PIXELS)
    card.title("title")
    card.label(34, 76, "forward", 17, GREY, "left")
    card.arrow((34, 98), (866, 98), colour=GREY, width=2.4)
    for place, t in enumerate(times):
        x = LEFT + APART * place
        card.picture(x, 112, SIDE, facts.noised(clean, t) if t else clean, colours=16)
        card.label(x + SIDE / 2, 488, f"$t = {t}$", 19)
        card.label(
            x + SIDE / 2,
            300,
            f"{alphas[t]:.2f}" if alphas[t] > 0.01 else f"{alphas[t]:.1g}",
            17,
            BLUE,
        )
    card.arrow((866, 242), (34, 242), colour=ORANGE, width=2.4)
    card.label(866, 264, "backward", 17, ORANGE, "right")
    curve(card, alphas)


def curve(card, alphas):
    """Alpha-bar of every timestep, each below its place in the row of pictures."""
    left, right = LEFT + SIDE / 2, LEFT + SIDE / 2 + APART * 5
    ts = np.arange(0, len(alphas), 9)
    places = [
        (left + (right - left) * t / (len(alphas) - 1), FLOOR - TALL * alphas[t])
        for t in ts
    ]
    card.line((left, FLOOR), (right, FLOOR), LINE, 1.2)
    card.curve(places, BLUE)
    card.label(right, FLOOR - TALL + 12, "signal", 18, BLUE, "right")
