"""Learning and forgetting over the steps of a training: a sketch, and said to be one."""

import numpy as np

from .shapes import BLUE, GREEN, GREY, LINE, ORANGE

HEIGHT = 440
LEFT, RIGHT, TOP, FLOOR = 100, 640, 100, 336


def draw(card):
    card.title("title")
    steps = np.linspace(0, 1, 60)
    card.line((LEFT, FLOOR), (RIGHT, FLOOR), LINE, 1.4)
    card.line((LEFT, TOP), (LEFT, FLOOR), LINE, 1.4)
    card.label(LEFT - 10, TOP, "100%", 16, GREY, "right")
    card.label(LEFT - 10, FLOOR, "0%", 16, GREY, "right")
    lines = {
        "new": (0.9 * (1 - np.exp(-steps * 4)), ORANGE),
        "with": (1 - 0.06 * steps, GREEN),
    }
    lines["without"] = (0.35 + 0.65 * np.exp(-steps * 3), BLUE)
    for name, (values, colour) in lines.items():
        places = list(
            zip(LEFT + (RIGHT - LEFT) * steps, FLOOR - (FLOOR - TOP) * values)
        )
        card.curve(places, colour, 3, (0, (5, 2)) if name == "without" else "-")
        shift = {"new": 8, "with": -6, "without": 0}[name]
        card.label(RIGHT + 12, places[-1][1] + shift, name, 18, colour, "left")
    card.label(RIGHT, FLOOR + 20, "steps", 16, GREY, "right")
    card.label(LEFT, TOP - 22, "right", 16, GREY, "left")
    card.label(870, 410, "drawn", 16, GREY, "right")
