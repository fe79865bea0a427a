"""x_0, epsilon, x_t and v as arrows in one plane (Salimans & Ho 2022): x_t goes round from x_0 to epsilon, v is where to."""

import numpy as np

from .shapes import BLUE, GREEN, GREY, INK, LINE, ORANGE

HEIGHT = 440
ORIGIN, RADIUS, ANGLE = np.array([96, 388]), 290, np.radians(38)
SIGNAL, NOISE = r"\sqrt{\bar\alpha_t}", r"\sqrt{1-\bar\alpha_t}"
FORMULAS = (
    (rf"$x_t = {SIGNAL}\,x_0 + {NOISE}\,\varepsilon$", BLUE),
    (rf"$v = {SIGNAL}\,\varepsilon - {NOISE}\,x_0$", ORANGE),
    (rf"$x_0 = {SIGNAL}\,x_t - {NOISE}\,v$", GREEN),
    (rf"$\varepsilon = {NOISE}\,x_t + {SIGNAL}\,v$", INK),
)


def draw(card):
    card.title("title")
    at = lambda angle, far=1.0: (
        ORIGIN + RADIUS * far * np.array([np.cos(angle), -np.sin(angle)])
    )
    card.curve([at(angle) for angle in np.linspace(0, np.pi / 2, 60)], LINE, 1.4, "--")
    noisy, (x, y) = at(ANGLE), ORIGIN
    card.line(noisy, (noisy[0], y), GREY, 1.2, ":")
    card.line(noisy, (x, noisy[1]), GREY, 1.2, ":")
    card.arrow(ORIGIN, at(0), colour=GREEN, width=2.6)
    card.arrow(ORIGIN, at(np.pi / 2), colour=INK, width=2.6)
    card.arrow(ORIGIN, noisy, colour=BLUE, width=2.6)
    tip = noisy + 0.42 * (at(ANGLE + np.pi / 2) - ORIGIN)
    card.arrow(noisy, tip, colour=ORANGE, width=2.6)
    card.label(x + RADIUS + 26, y, "$x_0$", 24, GREEN)
    card.label(x, y - RADIUS - 23, r"$\varepsilon$", 24)
    card.label(noisy[0] + 28, noisy[1] + 4, "$x_t$", 24, BLUE)
    card.label(tip[0] + 22, tip[1] + 2, "$v$", 24, ORANGE)
    card.label((x + noisy[0]) / 2, y + 26, f"${SIGNAL}$", 19, GREY)
    card.label(x - 44, (y + noisy[1]) / 2, f"${NOISE}$", 19, GREY)
    card.curve([at(angle, 0.24) for angle in np.linspace(0, ANGLE, 20)], GREY, 1.4)
    card.label(*at(ANGLE / 2, 0.31), "$t$", 20, GREY)
    for place, (formula, colour) in enumerate(FORMULAS):
        card.label(486, 130 + 66 * place, formula, 25, colour, "left")
