"""Draw the diagrams of the course, docs/diagrams/{zh,en}/NAME.svg, from lessons/diagrams.

    python tools/draw_diagrams.py              all
    python tools/draw_diagrams.py unet lora    these
    python tools/draw_diagrams.py --measure    first what they show is measured and drawn anew, about a minute

A diagram is a module with draw(card), or draw(card, variant), its HEIGHT and perhaps VARIANTS: unet-lora.svg. Its words
and alt text stand in lessons/diagrams/labels.yml. A lesson shows it with `![](diagram:unet-lora)`.
"""

import importlib
import re
import sys
from base64 import b64encode
from functools import lru_cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCES, TARGET = ROOT / "lessons/diagrams", ROOT / "docs/diagrams"
LANGUAGES = ("zh", "en")
SHARED = ("__init__", "shapes", "facts", "measure")
SHOWN = re.compile(r"!\[([^\]]*)\]\((?:diagram:|[./]*docs/diagrams/(?:zh|en)/)([\w-]+)(?:\.svg)?\)")


def embed(markdown, language):
    """Put the diagrams into markdown itself, so that a lone notebook is whole.

    `![alt](diagram:NAME)`, or with the SVG's path in docs/diagrams, becomes an image of the SVG as a data URI, in
    `language`; where the alt text is left out it is that of labels.yml. Markdown, not an attachment: JupyterLab shows no
    SVG attachments. Raises ValueError for a diagram that is not there.
    """

    def image(match):
        path = TARGET / language / f"{match[2]}.svg"
        if not path.is_file():
            raise ValueError(f"no such diagram: {match[2]}")
        data = b64encode(path.read_bytes()).decode()
        return f"![{match[1] or alt(match[2], language)}](data:image/svg+xml;base64,{data})"

    return SHOWN.sub(image, markdown)


def alt(stem, language):
    """What is to be seen on a diagram."""
    name, _, variant = stem.partition("-")
    return labels()[name][f"alt-{variant}" if variant else "alt"][LANGUAGES.index(language)]


@lru_cache
def labels():
    return yaml.safe_load((SOURCES / "labels.yml").read_text(encoding="utf-8"))


def part(name):
    """A module of lessons/diagrams."""
    if str(SOURCES.parent) not in sys.path:
        sys.path.insert(0, str(SOURCES.parent))
    return importlib.import_module(f"diagrams.{name}")


def diagrams():
    """The names of the modules."""
    return [path.stem for path in sorted(SOURCES.glob("*.py")) if path.stem not in SHARED]


def cards(name):
    """Every card of a module: (file's stem, language, Card)."""
    module = part(name)
    for variant in getattr(module, "VARIANTS", [None]):
        stem = name if variant is None else f"{name}-{variant}"
        for language in LANGUAGES:
            card = part("shapes").Card(stem, language, module.HEIGHT)
            module.draw(card, *([] if variant is None else [variant]))
            yield stem, language, card


def main(names):
    if "--measure" in names:
        names.remove("--measure")
        part("measure").main()
    for name in names or diagrams():
        for stem, language, card in cards(name):
            path = TARGET / language / f"{stem}.svg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(card.svg(), encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:.0f} kB", *card.faults(), sep="\n  ! ")


if __name__ == "__main__":
    main(sys.argv[1:])
