"""Lesson 11: scratch.py is its cells, short and with few libraries; its sampler is exact; its figures of the 1B hold."""

import ast
import re
from types import SimpleNamespace

import jupytext
import pytest
import torch
from test_project import ROOT, script

builder = script(ROOT / "tools/build_scratch.py")
LESSON = ROOT / "lessons/11_from_scratch.py"
SCRATCH = (ROOT / "lessons/scratch.py").read_text(encoding="utf-8")
RUNS = re.compile(r"^(torch\.manual_seed|with torch|drawn|few)", re.M)  # cells that train or draw


def cells():
    return [cell.source for cell in jupytext.read(LESSON, fmt="py:percent").cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def parts():
    """What the lesson's tagged cells define; nothing is trained, and each pair has one picture."""
    names = {}
    for cell in jupytext.read(LESSON, fmt="py:percent").cells:
        if "scratch" in cell.metadata.get("tags", ()) and not RUNS.search(cell.source):
            exec(cell.source.replace("SEEN * 30", "SEEN").replace("\ncheck(drawn[3.0])", ""), names)
    return names


def test_scratch_is_made_of_the_lesson():
    assert builder.scratch(LESSON) == SCRATCH
    assert "TRAIN_ALL = True" in SCRATCH and "TRAIN_ALL = False" in LESSON.read_text(encoding="utf-8")


def test_scratch_is_300_lines_of_torch_numpy_and_pillow():
    assert len([line for line in SCRATCH.splitlines() if line.strip()]) <= 300
    tree = ast.parse(SCRATCH)
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} == {"math", "os", "torch", "numpy", "PIL", "paidiff_world"}
    assert [name for name in names if name.startswith("paidiff")] == ["paidiff_world.scenes"]


def test_its_cells_are_short():
    assert [
        source.splitlines()[0] for source in cells() if len([1 for s in source.splitlines() if s.strip()]) > 15
    ] == []


def test_held_out_pairs(parts):
    seen, held = parts["SEEN"], [pair for pair, out in zip(parts["PAIRS"], parts["HELD"]) if out]
    assert (len(seen), len(held)) == (54, 18) and not set(seen) & set(held)
    for part in (0, 1):
        assert {pair[part] for pair in seen} == {pair[part] for pair in parts["PAIRS"]}


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_the_sampler_returns_x_0_to_one_who_knows(parts, kind, steps):
    """A guess c x_0 + d eps with the true x_0 and noise leads back to x_0, whatever the steps and the guidance."""
    mix, target = (parts[name] for name in {"eps": ("mix", "target"), "flow": ("straight", "velocity")}[kind])
    x_0 = torch.rand(2, 4, 8, 8) * 2 - 1

    def exact(x_t, t, words):
        (a, b), (c, d) = mix(t[0]), target(t[0])
        truth = torch.cat([x_0, x_0])
        return c * truth + d * (x_t - a * truth) / b

    parts["MEAN"], parts["STD"], parts["EMPTY"] = 0, 1, torch.zeros(1, 8, 64)
    parts["vae"], parts["text"] = SimpleNamespace(up=lambda z: z), lambda ids: torch.zeros(len(ids), 8, 64)
    drawn = parts["sample"](exact, ["猫,草地"] * 2, steps, mix=mix, target=target)
    assert torch.allclose(drawn, x_0, atol=2e-3)


def test_unet_and_vae_have_the_shapes_that_the_lesson_says(parts):
    unet, words = parts["UNet"](), torch.zeros(2, 8, 64)
    assert unet(torch.zeros(2, 4, 8, 8), torch.zeros(2), words).shape == (2, 4, 8, 8)
    vae = parts["VAE"]()
    assert [y.shape for y in vae.encode(torch.zeros(2, 3, 32, 32))] == [(2, 4, 8, 8)] * 2
    assert vae.up(torch.zeros(2, 4, 8, 8)).shape == (2, 3, 32, 32)
    assert parts["TextEncoder"]()(parts["tokenize"](["猫,草地", "粉色背景里的向日葵"])).shape == (2, 8, 64)


def test_the_1b_model_is_as_large_as_its_skeleton():
    from paidiff_app import skeleton

    names = {"torch": torch}
    exec(next(source for source in cells() if "big_unet = " in source), names)
    size = lambda part: sum(p.numel() for p in part.parameters())
    with torch.device("meta"):
        for part in ("unet", "vae", "text_encoder"):
            made = skeleton.PARTS[part][0](skeleton.FULL, 512)
            assert size(made) == size(names[f"big_{part.split('_')[0]}"]), part


def test_the_shipped_parts_are_small_and_fit(parts):
    from safetensors.torch import load_file

    folder = ROOT / "data/models/from-scratch"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
    made = {"text": "TextEncoder", "vision": "PictureEncoder", "vae": "VAE", "unet": "UNet", "flow": "UNet"}
    for name, kind in made.items():
        parts[kind]().load_state_dict(load_file(folder / f"{name}.safetensors"))
