"""Draw the pictures by which the goals among the exercises are checked in the tests: lessons/exercises/pictures/.

python tools/draw_exercises.py          all that are missing
python tools/draw_exercises.py --new    all, after the weights have changed
"""

import hashlib
import sys
from pathlib import Path

from PIL import Image

from paidiff_course.progress import _draw, exercises

FOLDER = Path(__file__).resolve().parents[1] / "lessons/exercises"
PICTURES = FOLDER / "pictures"


def stored(number, draw=None):
    """A `draw` that takes its pictures from the folder: one strip a call. draw: what makes a strip that is missing."""

    def drawn(prompts, **settings):
        asked = hashlib.sha256(repr((prompts, sorted(settings.items()))).encode()).hexdigest()[:12]
        file = PICTURES / f"{number}-{asked}.webp"
        if draw and not file.exists():
            pictures = draw(prompts, **settings)
            strip = Image.new("RGB", (sum(p.width for p in pictures), pictures[0].height))
            for place, picture in enumerate(pictures):
                strip.paste(picture, (place * picture.width, 0))
            PICTURES.mkdir(exist_ok=True)
            strip.save(file, lossless=True, method=6)
        strip, side = Image.open(file).convert("RGB"), Image.open(file).height
        return [strip.crop((x, 0, x + side, side)) for x in range(0, strip.width, side)]

    return drawn


def main(new=False):
    if new:
        for file in PICTURES.glob("*.webp"):
            file.unlink()
    for file in sorted(FOLDER.glob("[0-9][0-9].py")):
        for each in exercises(file):
            if each.kind == "goal":
                for answer in (each.solution, *each.also, *(wrong.answer for wrong in each.wrong)):
                    print(each.number, each.fault(answer, draw=stored(each.number, _draw)))


if __name__ == "__main__":
    main("--new" in sys.argv)
