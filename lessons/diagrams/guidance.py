"""Classifier-free guidance: two guesses as vectors, and the line through them."""

import numpy as np

from paidiff_lib.generate import GUIDANCE

from .shapes import BLUE, GREY, INK, LINE, ORANGE

HEIGHT = 440
START, EMPTY, PROMPT = (
    (80, 340),
    (290, 316),
    (375, 246),
)  # where x_t, and the tips of the guesses are
EMPTY_NAME, PROMPT_NAME = r"$\varepsilon_{\rm empty}$", r"$\varepsilon_{\rm prompt}$"
FORMULA = r"$\varepsilon_{\rm empty} + g\,(\varepsilon_{\rm prompt} - \varepsilon_{\rm empty})$"


def draw(card):
    card.title("title")
    tips = [np.add(EMPTY, np.subtract(PROMPT, EMPTY) * g) for g in range(4)]
    card.arrow(START, tips[0], colour=LINE, width=2.6)
    card.arrow(START, tips[1], colour=BLUE, width=2.6)
    card.arrow(START, tips[2], colour=ORANGE, width=3.4)
    card.line(tips[0], tips[3], GREY, 1.4, (0, (4, 3)))
    card.dot(*START, 7, "plain")
    card.label(START[0] - 24, START[1], "$x_t$", 26)
    card.label(tips[0][0] - 50, tips[0][1] + 30, EMPTY_NAME, 26, GREY)
    card.label(tips[1][0] + 96, tips[1][1] + 16, PROMPT_NAME, 26, BLUE)
    lines = ["g0", "g1", card.say("g2", n=f"{GUIDANCE:g}"), "g3"]
    colours = [GREY, BLUE, ORANGE, INK]
    for g, (tip, line, colour) in enumerate(zip(tips, lines, colours)):
        card.dot(*tip, 7, ["plain", "text", "trained", "pale"][g])
        card.label(tip[0] + 18, tip[1] + 10, str(g), 19, colour)
        card.label(590, 322 - 36 * g, line, 18, colour, "left")
    card.label(450, 400, FORMULA, 26)
