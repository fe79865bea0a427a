"""Full fine-tuning, and the data sets that DreamBooth and rehearsal are trained on."""

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel

from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.datasets.mixed import Mixed
from paidiff_lib.errors import PaidiffError
from paidiff_lib.files import LISTING, listing
from paidiff_lib.generate import sample
from paidiff_lib.methods.dreambooth import class_pictures, with_prior
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.training.api import train


def folder_of(folder, colours):
    folder.mkdir()
    for i, colour in enumerate(colours):
        Image.new("RGB", (64, 64), colour).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def toys(tmp_path):
    return folder_of(tmp_path / "toys", ["red", "blue"])


@pytest.mark.parametrize("precision, text", [("no", False), ("bf16", False), ("no", True)])
def test_all_weights_are_trained_and_plain_diffusers_opens_them(tiny, toys, tmp_path, precision, text):
    before = {name: p.detach().clone() for name, p in tiny.unet.named_parameters()}
    still = lambda: [*tiny.vae.parameters(), *(() if text else tiny.text_encoder.parameters())]
    frozen, words = [p.detach().clone() for p in still()], tiny.text_encoder.state_dict()
    words = {name: p.clone() for name, p in words.items()}
    tuning, drawn = FullTuning(tiny, text), []
    data = CaptionFolder(toys, captions="一只猫")
    settings = {"sample_every": 2, "sample_prompts": ["猫"], "ema": None if text else 0.5}
    for step in train(
        tuning, data, steps=3, learning_rate=1e-2, output=tmp_path / "run", mixed_precision=precision, **settings
    ):
        drawn += step.images
    assert len(drawn) == 1
    assert all(not torch.equal(p, before[name]) for name, p in tiny.unet.named_parameters() if "attn" not in name)
    assert all(map(torch.equal, frozen, still()))
    assert text == any(not torch.equal(p, words[name]) for name, p in tiny.text_encoder.state_dict().items())
    tuning.save_model(tmp_path / "model")
    plain = StableDiffusionPipeline.from_pretrained(tmp_path / "model")
    assert sample(plain, ["一只猫"], 1)[0].tobytes() == sample(tiny, ["一只猫"], 1)[0].tobytes()
    UNet2DConditionModel.from_pretrained(tmp_path / "run/checkpoint-3", subfolder="unet")
    if text:
        opened = CLIPTextModel.from_pretrained(tmp_path / "run/checkpoint-3", subfolder="text_encoder").state_dict()
        assert all(torch.equal(p, opened[name]) for name, p in tiny.text_encoder.state_dict().items())


def test_a_model_that_was_tuned_says_that_it_goes_on(tiny, toys, capsys):
    """A learner changes the rate and runs the cell again."""
    words = "this model was tuned before"
    FullTuning(tiny)
    tuning = FullTuning(tiny)
    assert words not in capsys.readouterr().out
    list(train(tuning, CaptionFolder(toys, captions="猫"), steps=1, learning_rate=1e-4))
    FullTuning(tiny)
    assert capsys.readouterr().out.count(words) == 1


def test_a_broken_model_is_not_saved(tiny, tmp_path):
    next(tiny.unet.parameters()).data[0] = float("nan")
    with pytest.raises(PaidiffError, match="not finite"):
        FullTuning(tiny).save_model(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_one_caption_for_all_pictures(toys):
    data = CaptionFolder(toys, captions="一只淼猫")
    assert [data.caption(i) for i in range(len(data))] == ["一只淼猫"] * 2
    assert data.fingerprint != CaptionFolder(toys, captions="一只猫").fingerprint


@pytest.mark.parametrize("share, kept", [(0.5, 6), (0.25, 6), (0.75, 6)])
def test_a_share_comes_from_the_second_set(toys, tmp_path, share, kept):
    many = folder_of(tmp_path / "many", ["green", "white", "black", "grey", "pink", "gold"])
    mixed = Mixed(CaptionFolder(toys, captions="新"), CaptionFolder(many, captions="旧"), share)
    captions = [mixed.caption(i) for i in range(len(mixed))]
    assert captions.count("旧") == kept and captions.count("旧") / len(captions) == share
    new = [mixed.image(i, 8).getpixel((0, 0)) for i in range(len(mixed)) if mixed.caption(i) == "新"]
    assert abs(new.count((255, 0, 0)) - new.count((0, 0, 255))) <= 1  # evenly
    assert len({mixed.digest(i) for i in range(len(mixed))}) == 8


def test_what_cannot_be_mixed(toys):
    data = CaptionFolder(toys, captions="新")
    for share in (0, 1, -1):
        with pytest.raises(PaidiffError, match="share"):
            Mixed(data, data, share)
    with pytest.raises(PaidiffError, match="same size"):
        Mixed(data, CaptionFolder(toys, 64, captions="旧"))


def test_class_pictures_are_drawn_once_and_kept(tiny, tmp_path):
    folder = tmp_path / "class"
    class_pictures(tiny, "一只猫", folder, 3)
    first = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.png")}
    (folder / "0001.png").unlink()  # as after a kill
    class_pictures(tiny, "一只猫", folder, 4)
    second = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("*.png")}
    assert sorted(second) == ["0000.png", "0001.png", "0002.png", "0003.png"]
    assert second["0000.png"] == first["0000.png"] and second["0001.png"][0] == first["0001.png"][0]
    with pytest.raises(PaidiffError, match="choose another folder"):
        class_pictures(tiny, "一只狗", folder, 3)


def test_class_pictures_that_an_earlier_version_drew_for_another_prompt_are_refused(tiny, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "0000.png")
    (tmp_path / "prompt.txt").write_text("一只狗\n", encoding="utf-8")
    with pytest.raises(PaidiffError, match="一只狗.*choose another folder"):
        class_pictures(tiny, "一只猫", tmp_path, 1)
    class_pictures(tiny, "一只狗", tmp_path, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000.png", "prompt.txt"]


def test_class_pictures_of_ones_own_count_and_stay(tiny, tmp_path):
    folder = tmp_path / "class"
    (folder / "more").mkdir(parents=True)
    for name in ("0000.jpg", "0002.PNG", "more/x.jfif", "0003.txt", "prompt.txt"):
        (folder / name).write_bytes(b"a text")
    for i, name in enumerate(("0000.jpg", "0002.PNG", "more/x.jfif")):
        Image.new("RGB", (64, 64), (60 * i, 9, 9)).save(folder / name, "PNG" if name.endswith("PNG") else "JPEG")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    class_pictures(tiny, "一只猫", folder, 3)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before  # nothing was missing
    data = with_prior(tiny, CaptionFolder(folder, captions="一只淼猫"), "一只猫", folder, count=5)
    now = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before.items() <= now.items()
    assert {path.name for path in now.keys() - before.keys()} == {"0001.png", "0004.png", "paidiff-prompt.txt", LISTING}
    assert set(listing(folder)) == {"0001.png", "0004.png", "paidiff-prompt.txt"}
    assert len({item.name for item in data.places[0][0].items}) == 5
    (folder / "metadata.jsonl").write_text('{"file_name": "0000.jpg", "text": ""}')
    with pytest.raises(PaidiffError, match="4 missing"):
        class_pictures(tiny, "一只猫", folder, 5)


def test_half_of_the_pictures_are_of_the_class(tiny, toys, tmp_path):
    data = with_prior(tiny, CaptionFolder(toys, captions="一只淼猫"), "一只猫", tmp_path / "class", count=4)
    captions = [data.caption(i) for i in range(len(data))]
    assert captions.count("一只淼猫") == captions.count("一只猫") == 4
    for _ in train(FullTuning(tiny), data, steps=1):
        pass
