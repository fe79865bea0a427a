"""Cleaning: rules, scores that survive a kill, a new manifest and nothing moved, and filters that are right."""

import hashlib
import importlib
import json
import shutil

import numpy as np
import pytest
import torch
from conftest import refused
from PIL import Image

from paidiff_lib import CaptionFolder, PaidiffError, curate
from paidiff_lib.cleaning.quality_model import DETECTORS, FOLDER
from paidiff_lib.cleaning.rule import Rule
from paidiff_lib.cleaning.scorers import RealClip, SafetyChecker
from paidiff_lib.files import data_folder
from paidiff_world import dirty
from paidiff_world.pretrain import curator as school

filtering = importlib.import_module("paidiff_lib.cleaning.filter")

# --- rules ------------------------------------------------------------------------------------------------------

COLUMNS = {"clip": np.array([0.1, 0.5, 0.9]), "width": np.array([64.0, 128.0, 0.0])}
RULES = {
    "clip > 0.3": [0, 1, 1],
    "clip > 0.3 and width >= 100": [0, 1, 0],
    "clip < .3 or not width > 1": [1, 0, 1],
    "0.1 < clip <= 0.5": [0, 1, 0],
    "(clip * 2 - 1) / 2 >= -0.4 + 0": [1, 1, 1],
    "clip == 0.5 or clip != clip": [0, 1, 0],
    "width / width > 0": [1, 1, 0],
}
REFUSED = [
    "",
    "clip",
    "clip >",
    "clip > 'a'",
    "1",
    "nothing > 1",
    "clip > True",
    "clip + 1",
    "not clip",
    "clip and width",
    "clip & width",
    "clip > 1 if width else 2",
    "__import__('os').system('x')",
    "clip.real > 1",
    "clip[0] > 1",
    "(lambda: 1)() > 0",
    "clip ** 9 > 1",
    "clip in width",
    "(clip := 1) > 0",
    "[clip] > 1",
    "(" * 500 + "clip",
    "clip > 1; 2",
    "clip > 1\nwidth",
    "clip > 1j",
    "-(clip > 1) > 0",
]


@pytest.mark.parametrize("text", RULES)
def test_rules(text):
    each = Rule(text, COLUMNS).each(COLUMNS)
    assert np.logical_and.reduce([*each.values()]).tolist() == [bool(x) for x in RULES[text]]


@pytest.mark.parametrize("text", REFUSED)
def test_a_rule_is_no_code(text):
    with pytest.raises(PaidiffError, match="scores: clip, width") as refused:
        Rule(text, COLUMNS)
    assert "\n" not in str(refused.value)


# --- a folder ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dirty")
    return folder, dirty.write(folder, 60, seed=3)


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    monkeypatch.setattr(filtering, "BATCH", 8)
    return shutil.copytree(made[0], tmp_path / "set")


def hashes(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.suffix == ".jpg"}


def test_the_same_world_makes_the_same_dirt(made, tmp_path):
    assert dirty.write(tmp_path, 60, seed=3) == made[1] and hashes(tmp_path) == hashes(made[0])
    assert set(made[1].values()) == {"", *dirty.KINDS} and dirty.write(tmp_path / "x", 20, 4) != dict(
        list(made[1].items())[:20]
    )


def test_a_new_manifest_and_nothing_moved(folder):
    before, manifest = hashes(folder), (folder / "metadata.jsonl").read_bytes()
    found = curate(folder, keep="clip > 0 and watermark < 0.5 and near > 3.4")
    data = CaptionFolder(found.write())
    rows = [json.loads(line) for line in (folder / "kept.jsonl").read_text(encoding="utf-8").splitlines()]
    assert 10 < len(data) == len(rows) == found.kept.sum() < 60 and data.image(0, 16).size == (16, 16)
    assert all(row["clip"] > 0 and row["watermark"] < 0.5 and row.get("near", 9) > 3.4 for row in rows)
    assert set(rows[-1]) == {"file_name", "text", "aesthetic", "near", *filtering.SCORED}
    assert hashes(folder) == before and (folder / "metadata.jsonl").read_bytes() == manifest
    assert (
        set(found.dropped) == {"clip > 0", "watermark < 0.5", "near > 3.4"} and f"kept {len(data)}" in found.summary()
    )
    assert len(CaptionFolder(folder)) == 60  # the old manifest still counts


def test_files_of_ones_own_stay(folder):
    mine = {"kept.jsonl": b'{"file_name": "00001.jpg", "text": "mine"}\n', "scores.jsonl": b'{"score": 1}\n'}
    for name, text in mine.items():
        (folder / name).write_bytes(text)
    refused(["scores.jsonl", "stays"], lambda: curate(folder, keep="width > 0"))
    (folder / "scores.jsonl").unlink()
    found = curate(folder, keep="width > 0")
    refused(["kept.jsonl", "stays"], found.write)
    assert (folder / "kept.jsonl").read_bytes() == mine["kept.jsonl"]
    (folder / "kept.jsonl").unlink()
    found.write()
    curate(folder, keep="width > 1").write()  # ours is replaced
    with open(folder / "kept.jsonl", "a") as file:
        file.write("\n")
    refused(["kept.jsonl", "stays"], lambda: filtering.require_output(folder))  # no longer as it was written
    (folder / "mine.jsonl").write_bytes(mine["kept.jsonl"])
    assert len(CaptionFolder(found.write("mine.jsonl"))) == 60  # it was named
    for source, name in (folder, "metadata.jsonl"), (folder, "../a.jsonl"), (folder / "mine.jsonl", "mine.jsonl"):
        refused(["name it otherwise"], lambda source=source, name=name: filtering.require_output(source, name))


class Stopped(Exception):
    pass


def count_pictures(monkeypatch, stop=None):
    """The captions that the scorers see; Stopped at the `stop`th batch."""
    seen, original = [], filtering.score_batch

    def look(part, items, scorers):
        if stop is not None and len(seen) >= stop * filtering.BATCH:
            raise Stopped
        seen.extend(i for i, _ in part)
        return original(part, items, scorers)

    monkeypatch.setattr(filtering, "score_batch", look)
    return seen


@pytest.mark.parametrize("stop", [1, 4])
def test_killed_and_resumed_with_the_same_result(made, folder, tmp_path, monkeypatch, stop):
    whole = shutil.copytree(made[0], tmp_path / "whole")
    expected = curate(whole).write().read_bytes()
    with monkeypatch.context() as patch:
        count_pictures(patch, stop)
        with pytest.raises(Stopped):
            curate(folder)
    with open(folder / "scores.jsonl", "rb+") as file:  # in the middle of a line, as a kill leaves it
        file.truncate(file.seek(-40, 2))
    seen = count_pictures(monkeypatch)
    assert curate(folder).write().read_bytes() == expected
    assert len(seen) == 60 - stop * 8 + 1
    curate(folder)
    assert len(seen) == 60 - stop * 8 + 1  # and now all is known


def test_what_has_changed_is_looked_at_again(folder, monkeypatch):
    (folder / "00005.jpg").write_bytes(b"\xff\xd8 cut")
    found = curate(folder, keep="width > 0")
    assert [fault.where for fault in found.faults] == ["00005.jpg"] and found.kept.sum() == 59
    seen = count_pictures(monkeypatch)
    assert "✗ 00005.jpg: " in curate(folder, keep="width > 0").summary() and seen == []
    Image.open(folder / "00001.jpg").save(folder / "00005.jpg")
    text = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    text[9] = json.dumps({"file_name": "00010.jpg", "text": "一只猫"})
    (folder / "metadata.jsonl").write_text("\n".join(text), encoding="utf-8")
    assert curate(folder, keep="width > 0").kept.all() and seen == [4, 9]


def test_large_pictures_are_made_smaller_before_they_wait(tmp_path):
    Image.new("RGB", (3000, 1200), "red").save(tmp_path / "a.png")
    picture, seen = filtering.open_picture(next(filtering.entries(tmp_path, False, None)))
    assert picture.size == (1280, 512) and (seen["width"], seen["height"]) == (3000, 1200)


def test_the_command(warm_paidiff, folder, tmp_path):
    done = warm_paidiff("curate", folder, "--keep", "watermark < 0.5", "-o", "clean.jsonl")
    assert done.returncode == 0 and done.stderr == "" and "fail" in done.stdout, done.stderr
    assert 0 < len(CaptionFolder(folder / "clean.jsonl")) < 60
    for arguments, words in {
        ("--keep", "clip > os"): "scores: clip",
        ("-o", "metadata.jsonl"): "metadata.jsonl",
        ("-o", "../x.jsonl"): "beside",
    }.items():
        done = warm_paidiff("curate", folder, *arguments)
        assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr
    (tmp_path / "t").mkdir()
    (tmp_path / "t/a.tsv").write_bytes(b"1\tx\teA==\n")
    for options, words in ({}, "TSV"), ({"clip": "no-such"}, "no-such"):
        with pytest.raises(PaidiffError, match=words):
            curate(folder if options else tmp_path / "t", **options)


# --- the real ones, by name: here as tiny folders of the same classes ---------------------------------------------


@pytest.fixture(scope="module")
def pictures():
    return [picture for picture, _, _ in dirty.scenes(6, seed=8)]


SHAPE = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)


def test_a_real_chinese_clip(tokenizer, tmp_path, pictures, folder):
    from transformers import ChineseCLIPConfig, ChineseCLIPImageProcessor, ChineseCLIPModel

    vision = dict(SHAPE, image_size=32, patch_size=8)
    text = dict(SHAPE, vocab_size=len(tokenizer), pad_token_id=0)
    torch.manual_seed(0)
    model = ChineseCLIPModel(ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).eval()
    size = {"height": 32, "width": 32}
    for part in (model, tokenizer, ChineseCLIPImageProcessor(size=size, crop_size=size, do_center_crop=False)):
        part.save_pretrained(tmp_path / "clip")
    captions = ["一只猫", "雪地里的企鹅", "草地", "红色", "星空", "月亮"]
    scores = RealClip(tmp_path / "clip")(pictures, captions)["clip"]
    assert np.allclose(scores[::-1], RealClip(tmp_path / "clip")(pictures[::-1], captions[::-1])["clip"], atol=1e-5)
    assert np.ptp(scores) > 1e-3 and np.abs(scores).max() <= 1
    found = curate(folder, keep="width > 0", clip=tmp_path / "clip")
    assert not np.allclose(found.scores["clip"], curate(folder, keep="width > 0").scores["clip"])


def test_the_real_safety_checker(tmp_path, pictures):
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    torch.manual_seed(0)
    model = StableDiffusionSafetyChecker(
        CLIPConfig(vision_config=dict(SHAPE, image_size=32, patch_size=8), projection_dim=16)
    )
    for name in ("concept_embeds", "special_care_embeds"):
        getattr(model, name).data.normal_()
        getattr(model, f"{name}_weights").data.fill_(0.1)
    processor = CLIPImageProcessor(size={"height": 32, "width": 32}, crop_size={"height": 32, "width": 32})
    for part in (model, processor):
        part.save_pretrained(tmp_path / "checker")
    for limit in np.linspace(-0.2, 0.6, 9):  # somewhere between, some are safe and some are not
        model.concept_embeds_weights.data.fill_(limit)
        model.save_pretrained(tmp_path / "checker")
        scores = SafetyChecker(tmp_path / "checker")(pictures, None)["nsfw"]
        pixels = processor(pictures, return_tensors="pt").pixel_values
        _, unsafe = model.eval()(clip_input=pixels, images=np.zeros((6, 2, 2, 3)))
        clear = np.abs(scores) > 0.002  # the checker itself rounds to three digits
        assert ((scores > 0) == np.array(unsafe))[clear].all()


@pytest.mark.parametrize("part", ["", "safety_checker"])
def test_the_safety_checker_of_a_published_model(skeletons, pictures, part):
    """Its image processor stands beside it, in feature_extractor/."""
    found = SafetyChecker(skeletons / "artist" / part)(pictures, None)["nsfw"]
    assert found.shape == (len(pictures),) and np.isfinite(found).all() and np.ptp(found) > 0


def test_scorers_are_opened_through_the_same_checks(skeletons, tmp_path):
    artist = tmp_path / "artist"
    shutil.copytree(skeletons / "artist", artist)
    config = artist / "safety_checker/config.json"
    config.write_text(config.read_text().replace("{", '{"auto_map": {"AutoModel": "evil.py"},', 1))
    refused(["wants code of its own", "auto_map"], lambda: SafetyChecker(artist))
    weights = skeletons / "artist/safety_checker/pytorch_model.bin"
    shutil.copy(skeletons / "artist/safety_checker/config.json", config)
    torch.save(
        {"visual_projection.weight": torch.load(weights)["visual_projection.weight"]},
        config.with_name("pytorch_model.bin"),
    )
    refused(["does not fit the model"], lambda: SafetyChecker(artist))
    config.with_name("pytorch_model.bin").write_bytes(weights.read_bytes()[:1000])
    refused(["cut short or damaged"], lambda: SafetyChecker(artist))
    config.with_name("pytorch_model.bin").unlink()
    refused(["not whole"], lambda: SafetyChecker(artist))
    processor = tmp_path / "artist/feature_extractor/preprocessor_config.json"
    shutil.copy(weights, config.with_name("pytorch_model.bin"))
    processor.write_text(processor.read_text().replace("{", '{"auto_map": {"AutoImageProcessor": "evil.py"},', 1))
    refused(["auto_map"], lambda: SafetyChecker(artist))
    refused(["cannot load"], lambda: RealClip("nobody/no-such-clip"))


# --- how good the shipped one is, and making it anew ----------------------------------------------------------------


def test_the_shipped_filters_are_right_nine_times_in_ten():
    table = json.loads((data_folder() / FOLDER / "filters.json").read_text(encoding="utf-8"))
    assert set(table) == set(dirty.KINDS) and all(
        min(row["precision"], row["recall"]) >= 0.9 for row in table.values()
    ), table
    now = school.measure(500)
    assert all(min(row["precision"], row["recall"]) >= 0.8 for row in now.values()), now  # some 40 pictures of a kind


def test_training_in_miniature(tmp_path, monkeypatch):
    monkeypatch.setattr(school, "FOLDER", tmp_path / "shipped")
    model, record = school.train(tmp_path / "run", pictures=30, steps=2, batch=8)
    school.export(model, record)
    config = json.loads((tmp_path / "shipped/config.json").read_text(encoding="utf-8"))
    assert config["banned"] == dirty.BANNED and record["steps"] == 2
    assert (tmp_path / "shipped/model.safetensors").stat().st_size < 4e6
    again, _ = school.train(tmp_path / "run", pictures=30, steps=2, batch=8)  # resumed at its end: the same weights
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values()))
    seen, vectors = model(torch.zeros(2, 3, 128, 128))
    assert seen.shape == (2, len(DETECTORS)) and torch.allclose(vectors.norm(dim=1), torch.ones(2))
