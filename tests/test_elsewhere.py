"""What paidiff writes, as other programs and older libraries want it: `make test-layouts` opens all of it with those."""

import json
import re
from pathlib import Path

import pytest
import torch
from conftest import refused
from diffusers import StableDiffusionPipeline
from torch.nn.init import normal_

import paidiff_lib
from paidiff_app import skeleton
from paidiff_lib.methods.lora import TEXT, WIDE
from paidiff_lib.methods.lora_files import _kohya_key, deltas
from paidiff_lib.models.save import save_pipeline

ROOT = Path(__file__).resolve().parents[1]


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


PEERS = json.loads(Path(__file__).with_name("peer_keys.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def published_shape():
    """{our key for a WebUI: the module's classes above it} of every layer that a LoRA takes, in a published model; and its text encoder."""
    with torch.device("meta"):
        unet, text = skeleton._unet(skeleton.FULL, 512), skeleton._text_encoder(skeleton.FULL, 512)
    keys = {}
    for part, module, endings in (("unet", unet, WIDE), ("text_encoder", text, TEXT)):
        modules = dict(module.named_modules())
        for name in modules:
            if f".{name}".endswith(tuple(f".{end}" for end in endings)):
                above = [".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 1)]
                keys[_kohya_key(f"{part}.{name}")] = {type(modules[place]).__name__ for place in above}
    return keys, text


def test_every_key_for_a_webui_is_a_layer_of_its_model(published_shape):
    keys = published_shape[0]
    unknown = keys.keys() - PEERS["keys"].keys()
    assert not unknown, sorted(unknown)[:3]
    for program in (0, 1):  # ComfyUI, A1111: no two layers in one place
        assert len({PEERS["keys"][key][program] for key in keys}) == len(keys)
    assert all(key.startswith(("lora_unet_", "lora_te_text_model_encoder_layers_")) for key in keys)
    for key, above in keys.items():  # where kohya's own trainer puts a LoRA
        assert above & set(PEERS["kohya"]["unet" if key.startswith("lora_unet_") else "text_encoder"]), key


@pytest.mark.parametrize("page", ["elsewhere.md", "elsewhere.zh-CN.md"])
def test_the_page_says_what_was_compared(published_shape, page):
    keys, text = published_shape
    said = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert len(re.findall(rf"{len(keys)} (?:of|/) {len(keys)}", said)) == 3
    theirs, ours = PEERS["text_encoder"], text.config
    for name in ("vocab_size", "max_position_embeddings"):
        assert theirs[name] != getattr(ours, name)  # why no stock WebUI opens such a model
        assert re.search(rf"\b{theirs[name]}\b", said) and re.search(rf"\b{getattr(ours, name)}\b", said)
    opener = (ROOT / "tools/test_layouts.py").read_text(encoding="utf-8")
    pins = [re.search(rf"{library}=={version}", opener) for library, version in VERSIONS]
    assert all(pins) and all(version in said for _, version in VERSIONS)


VERSIONS = [("diffusers", "0.31.0"), ("transformers", "4.46.3"), ("diffusers", "0.21.4"), ("transformers", "4.34.1")]


def test_an_export_for_a_webui_says_who_reads_it(tiny, tmp_path, capsys):
    made(tiny, rank=2).export(tmp_path / "x.safetensors")
    said = capsys.readouterr().out
    assert "没有 WebUI" in said and "no stock WebUI opens" in said and "docs/elsewhere.md" in said


def test_somebody_elses_file_stays(tiny, tmp_path):
    (tmp_path / "x.bin").write_bytes(b"mine")
    refused(["不是这里写的"], lambda: made(tiny, rank=2).export(tmp_path / "x.bin"))
    assert (tmp_path / "x.bin").read_bytes() == b"mine"
