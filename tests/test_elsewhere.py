"""What paidiff writes, as other programs and older libraries want it: `make test-layouts` opens all of it with those."""

import json

import pytest
import torch
from conftest import refused
from diffusers import StableDiffusionPipeline
from torch.nn.init import normal_

import paidiff_lib
from paidiff_lib.methods.lora import WIDE
from paidiff_lib.methods.lora_files import deltas
from paidiff_lib.models.save import save_pipeline


def made(pipe, **settings):
    """A LoRA that shows."""
    lora = paidiff_lib.LoRA(pipe, **settings)
    for parameter in lora.parameters().values():
        normal_(parameter, std=0.1)
    return lora


def test_the_index_names_classes_that_every_version_knows(skeletons, tmp_path):
    pipe = paidiff_lib.load(skeletons / "artist")
    save_pipeline(pipe, tmp_path / "out")
    index = json.loads((tmp_path / "out/model_index.json").read_text())
    assert index["feature_extractor"] == ["transformers", "CLIPImageProcessor"]
    assert '"CLIPImageProcessor"' in (tmp_path / "out/feature_extractor/preprocessor_config.json").read_text()
    assert paidiff_lib.load(tmp_path / "out").feature_extractor is not None


def test_modelscope_finds_its_pipeline(tiny, tmp_path):
    save_pipeline(tiny, tmp_path / "out")
    found = json.loads((tmp_path / "out/configuration.json").read_text())
    assert found["task"] == "text-to-image-synthesis" and found["pipeline"] == {"type": "diffusers-stable-diffusion"}
    assert "allow_remote" not in found and "plugins" not in found  # either is refused as code


def test_bins_beside_open_without_safetensors_and_draw_the_same(tiny, tmp_path):
    save_pipeline(tiny, tmp_path / "plain")
    assert not list((tmp_path / "plain").rglob("*.bin"))
    save_pipeline(tiny, tmp_path / "out", also_bin=True)
    for path in (tmp_path / "out").rglob("*.safetensors"):
        path.unlink()
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "out", use_safetensors=False, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    assert paidiff_lib.draw(pipe, "猫", steps=2).tobytes() == paidiff_lib.draw(tiny, "猫", steps=2).tobytes()


def test_a_controlnet_has_a_bin_beside(tiny, tmp_path):
    paidiff_lib.ControlNet(tiny).save(tmp_path / "out", also_bin=True)
    (tmp_path / "out/diffusion_pytorch_model.safetensors").unlink()
    assert paidiff_lib.load(tiny.config._name_or_path, task="controlnet", control=tmp_path / "out")


def test_a_lora_in_the_layout_of_2023(tiny, tmp_path):
    lora = made(tiny, rank=4, alpha=2.5)
    lora.export(tmp_path / "pytorch_lora_weights.bin")
    state = torch.load(tmp_path / "pytorch_lora_weights.bin", weights_only=True)
    stem = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor."
    assert {f"{stem}to_q_lora.down.weight", f"{stem}to_out_lora.up.weight"} <= state.keys()
    assert not any(key.startswith("unet.") or "alpha" in key for key in state)
    expected = deltas(tiny)
    fresh = paidiff_lib.load(tiny.config._name_or_path)
    paidiff_lib.load_lora(fresh, tmp_path / "pytorch_lora_weights.bin")
    found = deltas(fresh)
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[place], expected[place], atol=1e-6) for place in found)


@pytest.mark.parametrize("settings", [{"layers": WIDE}, {"text_encoder": True}])
def test_the_layout_of_2023_is_refused_to_what_it_would_lose(tiny, tmp_path, settings):
    lora = made(tiny, rank=2, **settings)
    refused(["旧的 .bin", "attention only"], lambda: lora.export(tmp_path / "x.bin"))
    assert not list(tmp_path.iterdir())


def test_somebody_elses_file_stays(tiny, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"mine")
    refused(["不是这里写的"], lambda: made(tiny, rank=2).export(tmp_path / "x.bin"))
    assert (tmp_path / "x.bin").read_bytes() == b"mine"
