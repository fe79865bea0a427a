"""The ladder of speed as a waterfall: what each rung leaves of the time."""

import json

from .shapes import GREY, INK, LINE, ROOT

HEIGHT = 450
RUNGS = [
    "DDIM 50",
    "DPM++ 20",
    "20, caching 2, guidance every 2",
    "15, caching 2, guidance every 2",
    "4, distilled",
]
LEFT, RIGHT, TOP, STEP, TALL = 324, 690, 78, 66, 38


def draw(card):
    card.title("title")
    rungs = json.loads((ROOT / "benchmarks/ladder.json").read_text(encoding="utf-8"))[
        "rungs"
    ]
    scale = (RIGHT - LEFT) / rungs[RUNGS[0]]["seconds"]["median"]
    before = None
    for place, name in enumerate(RUNGS):
        y, rung = TOP + STEP * place, rungs[name]
        seconds = rung["seconds"]["median"]
        end = LEFT + scale * seconds
        if before:
            card.box(end, y, before - end, TALL, kind="pale", radius=2, ls=(0, (3, 3)))
            card.line((before, y - STEP + TALL), (before, y), LINE, 1.2, (0, (3, 3)))
        card.box(LEFT, y, end - LEFT, TALL, kind="trained", radius=2)
        card.label(LEFT - 14, y + TALL / 2, name, 17, ha="right")
        card.label(
            (before or end) + 12,
            y + TALL / 2,
            card.say("seconds", n=seconds),
            17,
            INK,
            "left",
        )
        card.label(
            872, y + TALL / 2, card.say("judge", n=rung["accuracy"]), 16, GREY, "right"
        )
        before = end
    card.label(872, HEIGHT - 26, "benchmarks/ladder.json", 15, GREY, "right")
