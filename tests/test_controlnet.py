"""The ControlNet: its training, its files, drawing with it; edges and how well they are kept."""

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image, ImageDraw

import paidiff_lib
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.errors import PaidiffError
from paidiff_lib.methods.controlnet import ControlNet, draw_along
from paidiff_lib.metrics import canny, edge_agreement
from paidiff_lib.training.api import train


def square(at=16, side=64):
    picture = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(picture).rectangle([at, at, at + 24, at + 24], "black")
    return picture


@pytest.fixture
def squares(tmp_path):
    folder = tmp_path / "squares"
    folder.mkdir()
    for at in (4, 12, 20, 28):
        square(at).save(folder / f"{at}.png")
    return CaptionFolder(folder, captions="一只猫")


def test_edges_are_where_the_picture_changes():
    edges = np.asarray(canny(square()).convert("L"))
    assert set(np.unique(edges)) == {0, 255} and edges[16:41, 15:18].any() and not edges[:10].any()


def test_agreement_counts_within_two_pixels():
    condition = canny(square(16))
    assert edge_agreement(square(16), condition) == 1
    assert edge_agreement(square(17), condition) == 1
    assert edge_agreement(square(36), condition) < 0.3
    blank = Image.new("RGB", (64, 64))
    assert edge_agreement(blank, condition) == 0 and edge_agreement(blank, blank) == 1
    half = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(half).rectangle([16, 16, 40, 70], "black")  # one of the four sides is missing
    assert 0.7 < edge_agreement(half, condition) < 0.97


def test_it_begins_without_effect_and_learns_only_itself(tiny, tiny_folder, squares, tmp_path):
    unet = [p.detach().clone() for p in tiny.unet.parameters()]
    control = ControlNet(tiny)
    edges = canny(square())
    plain = paidiff_lib.draw(tiny, "猫", steps=2)
    assert draw_along(control.pipeline(), "猫", edges, steps=2).tobytes() == plain.tobytes()
    drawn = []
    for step in train(
        control,
        squares,
        steps=4,
        learning_rate=1e-2,
        sample_every=4,
        sample_prompts=["猫"],
        gradient_checkpointing=True,
    ):
        drawn += step.images
    assert len(drawn) == 1
    assert all(map(torch.equal, unet, tiny.unet.parameters()))
    trained = draw_along(control.pipeline(), "猫", edges, steps=2)
    assert trained.tobytes() != plain.tobytes()
    control.save(tmp_path / "control")
    ControlNetModel.from_pretrained(tmp_path / "control")
    loaded = paidiff_lib.load(tiny_folder, task="controlnet", control=tmp_path / "control")
    assert draw_along(loaded, "猫", edges, steps=2).tobytes() == trained.tobytes()
    assert draw_along(loaded, "猫", edges, steps=2, scale=0.0).tobytes() == plain.tobytes()
    two = paidiff_lib.load(tiny_folder, task="controlnet", control=[tmp_path / "control"] * 2)
    first, second = canny(square(28)), edges
    off = draw_along(two, "猫", (first, second), steps=2, scale=[0.0, 1.0])
    assert off.tobytes() == trained.tobytes()  # each ControlNet sees its own picture
    both = draw_along(two, ["猫", "狗", "猫"], [(first, second)] * 3, steps=2, scale=[0.5, 1.0])
    assert len(both) == 3 and both[0].tobytes() not in (trained.tobytes(), both[1].tobytes())


def test_a_batch_sees_the_edges_of_its_own_pictures(tiny, squares):
    seen = []

    class Watching(ControlNet):
        def predict(self, noisy_latents, timesteps, hidden_states, conditions=None):
            seen.append(conditions)
            return super().predict(noisy_latents, timesteps, hidden_states, conditions)

    for _ in train(Watching(tiny), squares, steps=1, batch_size=4):
        pass
    expected = {np.asarray(canny(square(at))).tobytes() for at in (4, 12, 20, 28)}
    found = {(one.permute(1, 2, 0) * 255).byte().numpy().tobytes() for one in seen[0]}
    assert found == expected


def test_refusals(tiny_folder, tiny, tmp_path):
    for wrong, words in ((tmp_path / "no", "no ControlNet"), ("canny", "for another model")):
        with pytest.raises(PaidiffError, match=words):
            paidiff_lib.load(tiny_folder, task="controlnet", control=wrong)
    ControlNet(tiny).save(tmp_path / "broken")
    (tmp_path / "broken/diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(PaidiffError, match="cut short or damaged"):
        paidiff_lib.load(tiny_folder, task="controlnet", control=tmp_path / "broken")
    pipe = ControlNet(tiny).pipeline()
    edges = canny(square())
    for arguments, words in (
        ((["猫", "狗"], [edges]), "a condition a prompt"),
        (("猫", edges.resize((100, 100))), "multiples of 8"),
    ):
        with pytest.raises(PaidiffError, match=words):
            draw_along(pipe, *arguments)
