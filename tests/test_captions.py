"""Captions proposed for pictures: `paidiff caption`."""

import json

import numpy as np
import pytest
from conftest import refused
from PIL import Image

from paidiff_lib import CaptionFolder, words
from paidiff_lib.cleaning.captions import Captioner, caption_folder, read_list, require_free, write

WORDS = words("mini")
SAID = ["一只猫,草地,油画", "两匹红色的马,雪地,水墨画", "沙滩,素描"]


class Reader:
    """A CLIP that reads perfectly: the vector of a picture is that of the caption that its `info` holds."""

    def __init__(self):
        self.read = []

    def text_vectors(self, texts):
        self.read += texts
        found = np.array([np.bincount([ord(c) % 4099 for c in text], minlength=4099) for text in texts], float)
        return found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-9)

    def picture_vectors(self, pictures):
        return self.text_vectors([picture.info["caption"] for picture in pictures])


def pictures():
    found = []
    for text in SAID:
        found.append(Image.new("RGB", (64, 64)))
        found[-1].info["caption"] = text
    return found


def test_a_caption_is_put_together_part_by_part():
    reader = Reader()
    found = Captioner(WORDS, reader)(pictures())
    assert [proposal.caption for proposal in found] == SAID
    assert found[1].tags == ["两匹红色的马", "雪地", "水墨画"] and found[0].cosine == pytest.approx(1)
    assert found[1].parts == dict(subject="马", background="雪地", style="水墨画", colour="红色", count="两")
    texts = [text for text in reader.read if text not in SAID]
    assert len(texts) == len(set(texts))  # each is read once


def test_without_words_there_is_nothing_to_say():
    refused(["list of words"], lambda: Captioner({}, Reader()))
    refused(["list of words"], lambda: Captioner({"styles": {"油画": []}}, Reader()))
    assert Captioner({"subjects": {"猫": [], "狗": ["小狗"]}}, Reader())(pictures()[:1])[0].caption == "猫"


def test_a_folder_becomes_a_manifest_that_can_be_trained_on(tmp_path):
    for i in range(3):
        Image.new("RGB", (64, 64), (i * 80, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    faults = []

    class Known(Reader):
        def picture_vectors(self, pictures):
            return self.text_vectors([SAID[picture.getpixel((0, 0))[0] // 80] for picture in pictures])

    found = [*caption_folder(tmp_path, Captioner(WORDS, Known()), faults.append)]
    assert [name for name, _ in found] == ["0.png", "1.png", "2.png"] and len(faults) == 1
    path = write(tmp_path, found)
    assert path.name == "captions.jsonl" and not (tmp_path / "metadata.jsonl").exists()
    assert [item.text for item in CaptionFolder(path).items] == SAID
    write(tmp_path, found[:1])  # its own is replaced
    path.write_text("mine")
    refused(["is there already"], lambda: require_free(tmp_path))
    assert write(tmp_path, found, "mine.jsonl").name == "mine.jsonl" and path.read_text() == "mine"


@pytest.mark.parametrize("name", ["metadata.jsonl", "x.txt", "../x.jsonl"])
def test_the_manifest_has_a_name_of_its_own(tmp_path, name):
    refused([name], lambda: require_free(tmp_path, name))


@pytest.mark.parametrize("text", ["[1]", "{", '{"subjects": ["猫"]}', '{"subjects": {"猫": "小猫"}}'])
def test_a_list_of_words_that_is_none(tmp_path, text):
    (tmp_path / "w.json").write_text(text, encoding="utf-8")
    refused(["list of words"], lambda: read_list(tmp_path / "w.json"))


def test_the_command_writes_what_it_says(warm_paidiff, tmp_path):
    from paidiff_world import Spec
    from paidiff_world.scenes import render

    spec = Spec("企鹅", "雪地", "扁平", size=0.75, grid=True)
    render(spec, np.random.RandomState(0)).save(tmp_path / "a.png")
    (tmp_path / "w.json").write_text(json.dumps({kind: WORDS[kind] for kind in ("subjects", "backgrounds")}))
    done = warm_paidiff("caption", tmp_path, "--words", tmp_path / "w.json")
    assert done.returncode == 0 and "a.png: 企鹅,雪地\n" in done.stdout, done.stderr
    row = json.loads((tmp_path / "captions.jsonl").read_text(encoding="utf-8"))
    assert row["text"] == "企鹅,雪地" and row["tags"] == ["企鹅", "雪地"] and -1 <= row["clip"] <= 1
    again = warm_paidiff("caption", tmp_path / "none")
    assert again.returncode == 1 and again.stderr.count("\n") == 1
