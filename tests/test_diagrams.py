"""The diagrams are what their scripts draw; nothing overflows, nothing lies on a text; each has its alt text."""

import base64
import re
import xml.etree.ElementTree as ET

import nbformat
import pytest
from test_project import ROOT, script

tool = script(ROOT / "tools/draw_diagrams.py")
FILES = sorted((ROOT / "docs/diagrams").glob("*/*.svg"))


@pytest.fixture(scope="module")
def drawn():
    return {(stem, language): card for name in tool.diagrams() for stem, language, card in tool.cards(name)}


def test_every_diagram_is_there_in_both_languages(drawn):
    assert {(path.stem, path.parent.name) for path in FILES} == set(drawn)
    assert len(drawn) >= 2 * 19


def test_every_file_is_what_its_script_draws_twice(drawn):
    for (stem, language), card in drawn.items():
        stored = (ROOT / f"docs/diagrams/{language}/{stem}.svg").read_text(encoding="utf-8")
        assert card.svg() == stored, f"{language}/{stem}: make diagrams"
    assert card.svg() == card.svg()


def test_every_text_stays_in_its_room_and_nothing_lies_on_it(drawn):
    assert {key: card.faults() for key, card in drawn.items() if card.faults()} == {}


def test_a_text_that_is_too_long_or_covered_is_found():
    card = tool.part("shapes").Card("ema", "en", 200)
    card.box(100, 50, 60, 30, "much too long for it")
    card.label(400, 60, "one")
    card.label(410, 60, "two")
    card.label(700, 100, "crossed")
    card.arrow((600, 100), (800, 100))
    card.label(500, 150, "half in it")
    card.box(500, 120, 60, 60)
    assert card.faults() == [
        "'much too long for it' leaves its room",
        "'one' meets 'two'",
        "the edge of a box crosses 'much too long for it'",
        "the edge of a box crosses 'half in it'",
        "a line crosses 'crossed'",
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_is_small_and_holds_paths_only(path):
    assert path.stat().st_size < 60_500
    tags = {element.tag.split("}")[1] for element in ET.parse(path).iter()}
    assert "path" in tags and not tags & {"text", "script", "foreignObject"}
    assert not re.search(r"<dc:date|https?://(?!www\.w3\.org/)", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_has_an_alt_text_that_says_what_is_to_be_seen(path):
    text = tool.alt(path.stem, path.parent.name)
    assert len(text) > (30 if path.parent.name == "zh" else 80)
    assert bool(re.search("[，。]", text)) == (path.parent.name == "zh")


@pytest.mark.parametrize("there", ["diagram:ema", "../docs/diagrams/zh/ema.svg"])
def test_a_lesson_holds_its_diagram_in_its_language(there):
    found = tool.embed(f"before ![]({there}) after", "en")
    alt, data = re.fullmatch(r"before !\[(.+)\]\(data:image/svg\+xml;base64,(.+)\) after", found).groups()
    assert alt == tool.alt("ema", "en")
    assert base64.b64decode(data) == (ROOT / "docs/diagrams/en/ema.svg").read_bytes()


@pytest.mark.parametrize("name, language", [("README.md", "en"), ("README.zh-CN.md", "zh")])
def test_the_readme_shows_the_pipeline(name, language):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert f'docs/diagrams/{language}/pipeline.svg" width="760" alt="{tool.alt("pipeline", language)}"' in text


def test_the_builder_puts_diagrams_into_each_edition():
    builder = script(ROOT / "tools/build_notebooks.py")
    cell = nbformat.v4.new_markdown_cell("![](diagram:lora)", metadata={"lang": None})
    for language in tool.LANGUAGES:
        source = builder.edition([cell], language).cells[0].source
        assert source == tool.embed("![](diagram:lora)", language) and "data:image" in source


def test_an_alt_text_of_ones_own_stays_and_other_images_too():
    assert tool.embed("![mine](diagram:ema)", "zh").startswith("![mine](data:")
    assert tool.embed("![x](picture.png)", "zh") == "![x](picture.png)"
    with pytest.raises(ValueError, match="no such diagram: nothing"):
        tool.embed("![](diagram:nothing)", "zh")
