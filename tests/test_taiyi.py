"""Taiyi, whose text encoder is a BertModel: what is learnt and saved opens again as it was. And so for every model."""

import pytest
import torch
from conftest import refused
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

import paidiff_lib
from paidiff_app import skeleton
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.generate import sample
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.methods.lora import LoRA
from paidiff_lib.methods.lora_files import load_lora
from paidiff_lib.methods.textual_inversion import TextualInversion
from paidiff_lib.models import save
from paidiff_lib.training.api import train


@pytest.fixture(scope="module")
def taiyi(tmp_path_factory):
    """A tiny model in Taiyi's layout. Its 512 tokens would take most of the time here."""
    folder = tmp_path_factory.mktemp("taiyi") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skeleton, "TAIYI_LIMIT", 16)
        skeleton.write("taiyi", folder, tiny=True)
    return folder


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "pictures/0.png")
    return CaptionFolder(tmp_path / "pictures", captions="一只猫")


def plain(folder):
    """What plain diffusers opens."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def same_text(one, other):
    one, other = (pipe.text_encoder.state_dict() for pipe in (one, other))
    return one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one)


@pytest.mark.parametrize("method", [TextualInversion, lambda pipe: FullTuning(pipe, text_encoder=True), FullTuning])
def test_a_whole_model_is_saved_as_it_is(method, taiyi, pictures, tmp_path):
    pipe = paidiff_lib.load(taiyi)
    learning = method(pipe)
    list(train(learning, pictures, 1, 1e-2, output=tmp_path / "run"))
    learning.save_model(tmp_path / "model")
    again = paidiff_lib.load(tmp_path / "model")
    assert same_text(plain(tmp_path / "model"), pipe) and same_text(again, pipe)
    assert sample(again, ["一只猫"], 1, 2)[0].tobytes() == sample(pipe, ["一只猫"], 1, 2)[0].tobytes()


def test_a_lora_finds_the_text_encoders_layers(taiyi, pictures, tmp_path):
    pipe = paidiff_lib.load(taiyi)
    lora = LoRA(pipe, rank=2, alpha=1, text_encoder=True)
    list(train(lora, pictures, 2, 1e-1))
    trained = lora.parameters()
    assert sum(name.startswith("text_encoder.") for name in trained) == 2 * 4 * skeleton.TINY["depth"]
    assert all(p.any() for name, p in trained.items() if "lora_B" in name)
    lora.save(tmp_path / "lora")
    here = sample(pipe, ["一只猫"], 1, 2)[0].tobytes()
    again = paidiff_lib.load(taiyi)
    assert sample(again, ["一只猫"], 1, 2)[0].tobytes() != here
    load_lora(again, tmp_path / "lora")
    assert sample(again, ["一只猫"], 1, 2)[0].tobytes() == here


def test_the_skeleton_has_the_published_index(taiyi):
    assert (taiyi / "model_index.json").stat().st_size == 539
    assert type(plain(taiyi).text_encoder).__name__ == "BertModel"


def spoil(path):
    weights = load_file(path)
    save_file({name: weight + 1 for name, weight in weights.items()}, path, metadata={"format": "pt"})


def test_a_whole_model_that_reads_back_differently_is_not_saved(taiyi, tmp_path, monkeypatch):
    """As every one of Taiyi's did: keys that the library does not know, and random weights in their places."""
    pipe = paidiff_lib.load(taiyi)
    prefixed = lambda module, folder: save.add_prefix(folder / "model.safetensors")
    monkeypatch.setattr(save, "finish_text_encoder", prefixed)
    words = ["读回来不一样", "reads back differently, not saved", "text_encoder"]
    refused(words, lambda: save.save_pipeline(pipe, tmp_path / "model"))
    assert not (tmp_path / "model/model_index.json").exists()


def test_a_model_with_a_lora_beside_it_is_not_saved(tiny, tmp_path):
    """It would be: with keys that no library opens."""
    word = TextualInversion(tiny)
    LoRA(tiny, rank=2)
    refused(["旁边还有 LoRA", "merge(pipe)"], lambda: word.save_model(tmp_path / "model"))
    paidiff_lib.merge(tiny)
    word.save_model(tmp_path / "model")
    assert same_text(paidiff_lib.load(tmp_path / "model"), tiny)


SMALL = {
    "pytorch_lora_weights.safetensors": lambda pipe: LoRA(pipe, rank=2),
    "learned_embeds.safetensors": TextualInversion,
    "diffusion_pytorch_model.safetensors": paidiff_lib.ControlNet,
}


@pytest.mark.parametrize("file, method", SMALL.items())
def test_what_reads_back_differently_is_not_saved(file, method, tiny, tmp_path, monkeypatch):
    """A disk, or a library, that writes something else."""
    from paidiff_lib.methods import controlnet, lora, textual_inversion

    for module in (lora, textual_inversion):
        read = module.read_weights
        monkeypatch.setattr(module, "read_weights", lambda path, read=read: (spoil(path), read(path))[1])
    opens = controlnet.require_opens_as
    spoiled = lambda net, folder: (spoil(folder / file), opens(net, folder))
    monkeypatch.setattr(controlnet, "require_opens_as", spoiled)
    refused(["reads back differently, not saved"], lambda: method(tiny).save(tmp_path / "out"))
    assert not (tmp_path / "out" / file).exists()


def test_dreambooth_with_a_lora_in_the_text_encoder(taiyi, pictures, tmp_path, warm):
    from test_project import ROOT

    flags = ["--pretrained_model_name_or_path", taiyi, "--instance_data_dir", pictures.folder, "--rank=2"]
    flags += ["--instance_prompt=一只猫", "--train_text_encoder", "--max_train_steps=1", "--mixed_precision=bf16"]
    flags += ["--validation_prompt=猫", "--validation_steps=1", "--output_dir", tmp_path / "out"]
    done = warm(ROOT / "scripts/train_dreambooth.py", *flags, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    weights = load_file(tmp_path / "out/pytorch_lora_weights.safetensors")
    assert any(".attention.self.query." in name for name in weights) and torch.isfinite(
        sum(map(torch.sum, weights.values()))
    )
