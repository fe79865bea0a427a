"""The exponential moving average of a weight that shakes: a sketch."""

import numpy as np

from .shapes import GREY, INK, LINE, ORANGE

HEIGHT = 430
STEPS, DECAY = 160, 0.93
LEFT, RIGHT, TOP, FLOOR = 60, 840, 76, 306


def draw(card):
    card.title("title")
    weights, means = walk()
    xs = np.linspace(LEFT, RIGHT, STEPS)
    heights = lambda values: FLOOR - 10 - (FLOOR - TOP) * values
    card.line((LEFT, FLOOR), (RIGHT, FLOOR), LINE, 1.4)
    card.line((LEFT, TOP), (LEFT, FLOOR), LINE, 1.4)
    card.curve(list(zip(xs, heights(weights))), "#8a96a3", 1.4)
    card.curve(list(zip(xs, heights(means))), ORANGE, 3.4)
    card.label(RIGHT, FLOOR + 18, "steps", 16, GREY, "right")
    card.label(560, 236, "weight", 18, GREY, "left")
    card.label(560, 268, r"EMA  $\bar w$", 20, ORANGE, "left")
    card.label(450, 362, r"$\bar w \leftarrow d\,\bar w + (1-d)\,w$", 28, INK)
    card.label(870, 404, "drawn", 16, GREY, "right")


def walk():
    """A weight that nears its goal and shakes, 0 to 1, and its average."""
    noise = np.random.default_rng(3).standard_normal(STEPS)
    weights = 0.9 * (1 - np.exp(-np.arange(STEPS) / 40)) + 0.07 * noise
    means = [weights[0]]
    for weight in weights[1:]:
        means.append(DECAY * means[-1] + (1 - DECAY) * weight)
    return np.clip(weights, 0.01, 1), np.array(means)
