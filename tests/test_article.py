"""docs/article.md: every snippet of the article as printed, and what replaces it where today's libraries refuse."""

import re
from pathlib import Path

import pytest
from PIL import Image
from torch.nn.init import normal_

import paidiff_lib

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["article.md", "article.zh-CN.md"]
PUBLISHED = "alibaba-pai/pai-diffusion-artist-large-zh"


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def published(skeletons):
    """In the article's published layout, with a safety checker."""
    return skeletons / "artist"


@pytest.fixture(scope="module")
def place(published, tmp_path_factory):
    """A folder with what the snippets find: a picture, a trained LoRA with its checkpoint, a model with a new word."""
    folder = tmp_path_factory.mktemp("article")
    Image.new("RGB", (80, 64), "blue").save(folder / "image.png")
    pipe = paidiff_lib.load(published)
    lora = paidiff_lib.LoRA(pipe, rank=2)
    for parameter in lora.parameters().values():
        normal_(parameter, std=0.5)
    lora.also_bin = True
    for name in ("lora", "lora/checkpoint-500"):  # as a training writes them
        lora.save(folder / "out" / name)
    pipe = paidiff_lib.load(published)
    paidiff_lib.TextualInversion(pipe, "<小奶猫>", initializer="猫").save_model(folder / "out/kitten")
    return folder


def run(code, published, place, monkeypatch):
    """The picture that a snippet saves, with the small model in the published one's place."""
    monkeypatch.chdir(place)
    (place / "result.png").unlink(missing_ok=True)
    code = code.replace(PUBLISHED, str(published)).replace('"cuda"', '"cpu"')
    exec(
        code.replace('").images', '", num_inference_steps=2).images').replace(
            "prompt)", "prompt, num_inference_steps=2)"
        ),
        {},
    )
    return Image.open(place / "result.png").tobytes()


def test_both_pages_have_the_same_snippets():
    assert blocks(PAGES[0]) == blocks(PAGES[1]) and len(blocks(PAGES[0])) == 6


def test_as_printed_or_as_the_page_says(published, place, monkeypatch):
    drawing, img2img, refused, by_us, by_diffusers, word = blocks(PAGES[0])[:6]
    assert "load_attn_procs" in refused
    plain = run(drawing, published, place, monkeypatch)
    run(img2img, published, place, monkeypatch)
    run(word, published, place, monkeypatch)
    with pytest.raises(ValueError):  # if one day it is not, the page has to say so
        run(refused, published, place, monkeypatch)
    ours, theirs = (run(code, published, place, monkeypatch) for code in (by_us, by_diffusers))
    assert ours != plain != theirs


@pytest.mark.parametrize("page", PAGES)
def test_every_promise_has_its_row_and_is_tried_somewhere(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", text, re.M)
    assert [int(number) for number, *_ in rows] == list(range(1, 17))  # as the mission numbers them
    for _, _, tried, _ in rows:
        assert re.search(r"`tests/test_\w+\.py`|\.ipynb\)", tried), tried
        assert all((ROOT / name).is_file() for name in re.findall(r"`([\w/]+\.py)`", tried))
