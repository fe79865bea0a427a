"""What must not be opened is refused with one line, before a library touches it."""

import contextlib
import json
import os
import pickle
import shutil

import pytest
import torch
from conftest import refused
from safetensors.torch import load_file, save_file

import paidiff_lib
from paidiff_lib.models import load as zoo, verify as safe

UNET = "unet/diffusion_pytorch_model"


@pytest.fixture
def model(published, tmp_path):
    """A copy of a model as published, .bin files only, that a test may spoil."""
    folder = tmp_path / "model"
    shutil.copytree(published, folder)
    for path in folder.rglob("*.safetensors"):
        path.unlink()
    vae = "vae/diffusion_pytorch_model"
    torch.save(load_file(published / f"{vae}.safetensors"), folder / f"{vae}.bin")
    return folder


class Payload:
    """What unpickling this would do: create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_old_bin_files_load_as_plain_weights(model, published, capsys, caplog):
    pipe = paidiff_lib.load(model)
    expected = load_file(published / f"{UNET}.safetensors")
    assert all(torch.equal(value, expected[key].float()) for key, value in pipe.unet.state_dict().items())
    assert capsys.readouterr().out.count("safety checker not loaded") == 1
    assert caplog.records == []  # diffusers logs an error for every .bin, because it is no .safetensors


def poison(path, how):
    """A file whose unpickling would create `path`'s sibling `ran`: torch's format, or a bare pickle, old or new."""
    payload = {"weight": Payload(path.parent / "ran")}
    if how == "zip":
        torch.save(payload, path)
    else:
        path.write_bytes(pickle.dumps(payload, protocol=2 if how == "bare" else 4))


@pytest.mark.parametrize("how", ["zip", "bare", "new"])
@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin"])
def test_a_poisoned_pickle_is_refused_and_does_not_run(model, part, how):
    poison(model / part, how)
    with contextlib.suppress(RuntimeError):
        torch.load(model / part, weights_only=False)  # it is poison indeed
    ran = (model / part).with_name("ran")
    assert ran.exists()
    ran.unlink()
    refused(["refused, it holds code", part], lambda: paidiff_lib.load(model))
    assert not ran.exists()


def test_a_poisoned_pickle_beside_safetensors_is_never_opened(published, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(published, folder)
    state = torch.load(folder / "text_encoder/pytorch_model.bin", weights_only=True)
    save_file(state, folder / "text_encoder/model.safetensors", metadata={"format": "pt"})
    for part in ("unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin"):
        poison(folder / part, "zip")
    assert safe.check(folder) is True
    paidiff_lib.load(folder)
    assert list(folder.rglob("ran")) == []


def test_a_poisoned_safety_checker_is_refused_when_it_is_wanted(model):
    poison(model / "safety_checker/pytorch_model.bin", "zip")
    paidiff_lib.load(model)
    refused(["refused, it holds code"], lambda: paidiff_lib.load(model, safety_checker=True))
    assert list(model.rglob("ran")) == []


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_cut_short(model, published, suffix, share):
    whole = (published / f"{UNET}.{suffix}").read_bytes()
    (model / f"{UNET}.bin").unlink()
    (model / f"{UNET}.{suffix}").write_bytes(whole[: int(len(whole) * share)])
    refused(["cut short or damaged", f"{UNET}.{suffix}"], lambda: paidiff_lib.load(model))


def test_an_old_torch_opens_no_pickle(model, tiny_folder, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    refused(["torch 2.9.1", "2.10"], lambda: paidiff_lib.load(model))
    refused(["2.10"], lambda: safe.read_weights(model / f"{UNET}.bin"))
    safe.check(tiny_folder)  # safetensors need no newer one


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/passwd", "..", "a/b.bin", "a\\b.bin"])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_an_index_that_leads_out_of_the_folder(model, name, suffix):
    index = model / f"{UNET}.{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": name}}))
    refused(["leads out of the folder", index.name], lambda: paidiff_lib.load(model))


def test_an_index_with_a_shard_that_is_not_there(model):
    names = {"a": "diffusion_pytorch_model-00001-of-00002.bin"}
    (model / f"{UNET}.bin.index.json").write_text(json.dumps({"weight_map": names}))
    refused(["not whole", "00001-of-00002.bin"], lambda: paidiff_lib.load(model))


@pytest.mark.parametrize("part", ["../elsewhere", "/etc", "unet/../../x", "a\\b"])
def test_a_component_outside_the_folder(model, part):
    edit(model / "model_index.json", **{part: ["diffusers", "UNet2DConditionModel"]})
    refused(["leads out of the folder", part], lambda: paidiff_lib.load(model))


@pytest.mark.parametrize("place", ["vae", f"{UNET}.bin"])
def test_a_link_out_of_the_folder(model, tmp_path, place):
    (model / place).rename(tmp_path / "elsewhere")
    (model / place).symlink_to(tmp_path / "elsewhere")
    refused(["leads out of the folder", place.split("/")[0]], lambda: paidiff_lib.load(model))


CUSTOM = [
    {"unet": ["my_unet", "MyUNet"]},
    {"unet": ["diffusers", "os.system"]},
    {"unet": ["os", "system"]},
    {"scheduler": ["diffusers", "DDIMScheduler", "more"]},
    {"_class_name": ["pipeline", "MyPipeline"]},
    {"_class_name": "MyPipeline"},
]


@pytest.mark.parametrize("change", CUSTOM)
def test_code_of_the_folders_own(model, change):
    """A module in the folder that would give itself away, under every name that could be imported."""
    for name in ("unet/my_unet.py", "unet/unet.py", "pipeline.py"):
        (model / name).write_text(f"open({str(model / 'ran')!r}, 'w')")
    edit(model / "model_index.json", **change)
    refused(["refused, it wants code of its own", next(iter(change))], lambda: paidiff_lib.load(model))
    assert not (model / "ran").exists()


def test_an_adapter_that_names_another_model(model):
    (model / "text_encoder/adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    refused(["leads out of the folder", "adapter_config"], lambda: paidiff_lib.load(model))


def test_remote_code_of_transformers(model):
    edit(model / "text_encoder/config.json", auto_map={"AutoModel": "evil.Model"})
    refused(["code of its own", "auto_map"], lambda: paidiff_lib.load(model))


@pytest.mark.parametrize("gone", ["vae", "tokenizer", "scheduler", f"{UNET}.bin"])
def test_half_a_model(model, gone):
    shutil.rmtree(model / gone) if (model / gone).is_dir() else (model / gone).unlink()
    refused(["not whole", gone.split("/")[0]], lambda: paidiff_lib.load(model))


@pytest.mark.parametrize("content", ["", "[1]", '{"_class_name": null}'])
def test_model_index_json_that_is_none(model, content):
    (model / "model_index.json").write_text(content)
    refused(["model"], lambda: paidiff_lib.load(model))


def test_the_safety_checker_is_a_choice(model, tiny_folder, capsys):
    pipe = paidiff_lib.load(model, safety_checker=True)
    assert type(pipe.safety_checker).__name__ == "StableDiffusionSafetyChecker"
    assert type(pipe.feature_extractor).__name__.startswith("CLIPImageProcessor")
    assert capsys.readouterr().out == ""
    paidiff_lib.draw(pipe, "一只猫", steps=1)
    assert paidiff_lib.load(model).safety_checker is None
    shutil.rmtree(model / "safety_checker")
    paidiff_lib.load(model, "img2img")
    refused(["not whole", "safety_checker"], lambda: paidiff_lib.load(model, safety_checker=True))
    capsys.readouterr()
    assert paidiff_lib.load(tiny_folder).safety_checker is None and capsys.readouterr().out == ""
    refused(["has no safety checker"], lambda: paidiff_lib.load(tiny_folder, safety_checker=True))


def test_a_controlnets_folder_is_looked_at_too(tiny, tmp_path):
    from diffusers import ControlNetModel

    net = ControlNetModel.from_unet(tiny.unet, conditioning_channels=3)
    net.save_pretrained(tmp_path / "net", safe_serialization=False)
    zoo.load_control(tmp_path / "net", "mini")
    poison(tmp_path / "net/diffusion_pytorch_model.bin", "zip")
    refused(["it holds code"], lambda: zoo.load_control(tmp_path / "net", "mini"))
    assert not (tmp_path / "net/ran").exists()


@pytest.mark.parametrize("how", ["zip", "bare", "new"])
def test_a_poisoned_embedding_and_a_poisoned_lora(tiny, tmp_path, how):
    poison(tmp_path / "x.bin", how)
    refused(["the embedding", "it holds code"], lambda: paidiff_lib.load_embedding(tiny, tmp_path / "x.bin", "<猫>"))
    refused(["it holds code"], lambda: paidiff_lib.load_lora(tiny, tmp_path / "x.bin"))
    assert not (tmp_path / "ran").exists()


def test_a_lora_for_another_architecture(tiny, tmp_path):
    """Wider layers under the same names; the pipeline is as it was afterwards."""
    lora = paidiff_lib.LoRA(tiny, rank=2, seed=1)
    for parameter in lora.parameters().values():
        parameter.data += 0.01  # an untrained LoRA is refused: it changes nothing
    lora.save(tmp_path / "lora")
    path = tmp_path / "lora/pytorch_lora_weights.safetensors"
    wider = {k: torch.cat([v, v], 1) if "lora_A" in k else torch.cat([v, v]) for k, v in load_file(path).items()}
    other = tmp_path / "other.safetensors"
    save_file(wider, other)
    plain = paidiff_lib.load(tiny.name_or_path)
    before = set(plain.unet.state_dict())
    refused(["给别的模型的", "for another model", "other.safetensors"], lambda: paidiff_lib.load_lora(plain, other))
    assert set(plain.unet.state_dict()) == before
    paidiff_lib.load_lora(plain, tmp_path / "lora")  # and the right one still loads


def test_taiyis_shape(tiny, tmp_path):
    """Taiyi's text encoder is a BertModel."""
    from transformers import BertConfig, BertModel

    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    tiny.text_encoder = BertModel(BertConfig(vocab_size=len(tiny.tokenizer), max_position_embeddings=16, **small))
    tiny.save_pretrained(tmp_path / "taiyi")
    pipe = paidiff_lib.load(tmp_path / "taiyi")
    assert type(pipe.text_encoder).__name__ == "BertModel"
    first, second = paidiff_lib.draw(pipe, ["一只猫", "一只狗"], steps=2)
    assert first.tobytes() != second.tobytes()
