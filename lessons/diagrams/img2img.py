"""Image to image on the axis of time, and the mask of inpainting."""

import numpy as np

from . import facts, measure
from .shapes import GREEN, GREY, LINE, ORANGE

HEIGHT = 580
STEPS, LEFT, RIGHT, AXIS, SIDE = 20, 80, 822, 216, 96


def draw(card):
    card.title("title")
    scheduler = facts.mini().scheduler
    scheduler.set_timesteps(STEPS)
    times = scheduler.timesteps.tolist()
    first = STEPS - round(STEPS * measure.STRENGTH)
    places = np.linspace(LEFT, RIGHT, STEPS)
    axis(card, places, first)
    penguins = facts.shrunk(facts.penguins(), 48)
    entry = places[first]
    for x, image in (
        (LEFT, facts.noised(penguins, times[0])),
        (entry, facts.noised(penguins, times[first])),
    ):
        card.picture(x - SIDE / 2, 92, SIDE, image, colours=16)
    card.picture(RIGHT - SIDE / 2, 92, SIDE, facts.measured("img2img"), GREEN)
    card.label(LEFT - SIDE / 2, 74, "text", 16, GREY, "left")
    card.label(
        entry - SIDE / 2, 74, card.say("entry", n=measure.STRENGTH), 16, ORANGE, "left"
    )
    card.label(RIGHT + SIDE / 2, 74, "new", 16, ha="right")
    card.label(LEFT, 242, f"$t={times[0]}$", 17, GREY)
    card.label(RIGHT, 242, "$t=0$", 17, GREY)
    card.picture(entry - SIDE / 2, 286, SIDE, facts.shrunk(facts.penguins(), 64))
    card.arrow((entry, 286), (entry, AXIS + 9), colour=ORANGE)
    card.label(entry + 14, 258, card.say("add", t=times[first]), 17, ORANGE, "left")
    card.label(entry - SIDE / 2 - 12, 334, "yours", 17, ha="right")
    inpainting(card)


def axis(card, places, first):
    card.line((LEFT, AXIS), (places[first], AXIS), LINE, 1.4, (0, (3, 3)))
    card.line((places[first], AXIS), (RIGHT, AXIS), ORANGE, 2.6)
    for step, x in enumerate(places):
        card.dot(x, AXIS, 6, "trained" if step >= first else "pale")


def inpainting(card):
    """The picture, the mask over it, what comes out."""
    side = 108
    mask = np.asarray(measure.mask(64))
    images = [facts.shrunk(facts.penguins(), 64), mask, facts.measured("inpainted")]
    for place, (image, name) in enumerate(zip(images, ("yours", "mask", "new"))):
        x, y = 34 + 172 * place, 416
        card.picture(x, y, side, image, GREEN if place == 2 else LINE)
        card.label(x + side / 2, y + side + 18, name, 17)
    card.label(174, 470, "+", 26)
    card.arrow((320, 470), (372, 470))
    card.label(520, 470, "each", 18, ha="left")
