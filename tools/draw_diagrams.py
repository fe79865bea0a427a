"""Draw the diagrams of the course, docs/diagrams/{zh,en}/NAME.svg, from lessons/diagrams.

    python tools/draw_diagrams.py              all
    python tools/draw_diagrams.py unet lora    these

A diagram is a module with draw(card), or draw(card, variant), its HEIGHT and perhaps VARIANTS: unet-lora.svg.
"""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lessons"))
TARGET = ROOT / "docs/diagrams"
SHARED = ("__init__", "shapes", "facts")


def diagrams():
    """The names of the modules."""
    return [path.stem for path in sorted((ROOT / "lessons/diagrams").glob("*.py")) if path.stem not in SHARED]


def cards(name):
    """Every card of a module: (file's stem, language, Card)."""
    from diagrams.shapes import LANGUAGES, Card

    module = importlib.import_module(f"diagrams.{name}")
    for variant in getattr(module, "VARIANTS", [None]):
        stem = name if variant is None else f"{name}-{variant}"
        for language in LANGUAGES:
            card = Card(stem, language, module.HEIGHT)
            module.draw(card, *([] if variant is None else [variant]))
            yield stem, language, card


def main(names):
    for name in names or diagrams():
        for stem, language, card in cards(name):
            path = TARGET / language / f"{stem}.svg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(card.svg(), encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:.0f} kB", *card.faults(), sep="\n  ! ")


if __name__ == "__main__":
    main(sys.argv[1:])
