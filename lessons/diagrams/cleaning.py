"""The cleaning funnel of lesson 8's set: what is left after each clause of the rule."""

from . import facts
from .shapes import GREEN, GREY, INK

HEIGHT = 540
MIDDLE, WIDEST, TOP, STEP, TALL = 500, 560, 100, 58, 44


def draw(card):
    card.title("title")
    measured = facts.numbers()["cleaning"]
    total = measured["left"][0][1]
    for place, (clause, left) in enumerate(measured["left"]):
        y, width, last = (
            TOP + STEP * place,
            WIDEST * left / total,
            place == len(measured["left"]) - 1,
        )
        kind = "picture" if last else "text" if place == 0 else "plain"
        card.box(MIDDLE - width / 2, y, width, TALL, str(left), kind, 19)
        card.label(34, y + TALL / 2, clause or "start", 18, INK, "left")
        if place in (0, len(measured["left"]) - 1):
            share = measured["good"][1 if place else 0]
            x = MIDDLE + width / 2 + 14 if place else MIDDLE + 120
            if place:
                card.label(
                    x, y + TALL / 2, card.say("good", n=share), 17, GREEN, "left"
                )
            else:
                card.label(MIDDLE, y - 14, card.say("good", n=share), 17, GREY)
