"""Every key of an embedding, a ControlNet and a model is used, or the file is refused with the key's name; so is a NaN."""

import shutil

import pytest
import torch
from conftest import refused
from safetensors.torch import load_file, save_file

import paidiff_lib
from paidiff_lib.methods.textual_inversion import read_embedding

NAN = torch.full((1, 8), float("nan"))
EMBEDDINGS = {  # what is wrong -> (the file's content, words of the message)
    "two words": ({"<a>": torch.ones(1, 8), "<b>": torch.ones(1, 8)}, ["not the vectors of one word", "<a>, <b>"]),
    "SDXL": (
        {"clip_g": torch.ones(1, 8), "clip_l": torch.ones(1, 8)},
        ["not the vectors of one word", "clip_g, clip_l"],
    ),
    "WebUI, two": (
        {"string_to_param": {"*": torch.ones(1, 8), "x": torch.ones(1, 8)}},
        ["not the vectors of one word"],
    ),
    "a LoRA": ({"unet.x.to_q.lora_A.weight": torch.ones(4, 8)}, ["not the vectors of one word", "load_lora"]),
    "a layer": ({"conv_in.weight": torch.ones(4, 8, 3, 3)}, ["not the vectors of one word", "conv_in.weight"]),
    "nothing": ({}, ["not the vectors of one word"]),
    "NaN": ({"<a>": NAN}, ["not finite, not loaded", "<a>"]),
    "WebUI, NaN": ({"string_to_param": {"*": NAN}, "name": "cat"}, ["not finite, not loaded"]),
}


@pytest.mark.parametrize("wrong", EMBEDDINGS)
def test_embeddings(tmp_path, wrong):
    content, words = EMBEDDINGS[wrong]
    torch.save(content, tmp_path / "x.pt")
    refused(words, lambda: read_embedding(tmp_path / "x.pt"))


def missing(state):
    name = sorted(state)[0]
    return name, {key: value for key, value in state.items() if key != name}


def left_over(state):
    return "extra.weight", state | {"extra.weight": torch.ones(2)}


def another_size(state):
    name = next(key for key, value in state.items() if value.ndim == 2)
    return name, state | {name: torch.ones(3, 3)}


def not_finite(state):
    name = sorted(state)[0]
    return name, state | {name: torch.full_like(state[name], float("nan"))}


CHANGES = [missing, left_over, another_size, not_finite]


def change(folder, target, how):
    """A copy of a folder with one file of weights changed; the key that it is about."""
    shutil.copytree(folder, target.parents[0] if target.parent.name == "copy" else target.parents[1])
    key, state = how(load_file(target))
    save_file(state, target)
    return key.removeprefix("text_model.")


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"])
def test_models(tiny_folder, tmp_path, part, how):
    key = change(tiny_folder, tmp_path / "copy" / f"{part}.safetensors", how)
    said = refused([part.split("/")[0]], lambda: paidiff_lib.load(tmp_path / "copy"))
    assert key in said or how is another_size, said  # an error of the library's own names the sizes


@pytest.mark.parametrize("how", CHANGES)
def test_controlnets(tiny, tmp_path, how):
    paidiff_lib.ControlNet(tiny).save(tmp_path / "net")
    key = change(tmp_path / "net", tmp_path / "copy/diffusion_pytorch_model.safetensors", how)
    said = refused(["copy"], lambda: paidiff_lib.models.load.load_control(str(tmp_path / "copy"), "mini"))
    assert key in said or how is another_size, said


def test_a_single_file_is_named(tmp_path):
    save_file({"model.diffusion_model.x": torch.ones(2)}, tmp_path / "model.safetensors")
    refused(["single-file", "from_single_file"], lambda: paidiff_lib.load(tmp_path / "model.safetensors"))
