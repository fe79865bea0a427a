import json
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline

import paidiff_lib
from paidiff_app import cli, skeleton
from paidiff_lib import PaidiffError

LAYOUT = {
    "feature_extractor/preprocessor_config.json",
    "model_index.json",
    "safety_checker/config.json",
    "safety_checker/pytorch_model.bin",
    "scheduler/scheduler_config.json",
    "skeleton.json",
    "text_encoder/config.json",
    "text_encoder/pytorch_model.bin",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.txt",
    "unet/config.json",
    "unet/diffusion_pytorch_model.bin",
    "vae/config.json",
    "vae/diffusion_pytorch_model.bin",
}


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def weights(path):
    return torch.load(path, weights_only=True)


def test_the_layout_is_the_published_one(skeletons):
    assert files(skeletons / "artist") == LAYOUT
    assert files(skeletons / "artist-controlnet-canny") == {
        "config.json",
        "diffusion_pytorch_model.bin",
        "skeleton.json",
    }
    assert files(skeletons / "poem") == {"pytorch_lora_weights.bin", "skeleton.json"}
    index = json.loads((skeletons / "artist/model_index.json").read_text())
    assert index["tokenizer"] == ["transformers", "BertTokenizer"] and index["requires_safety_checker"] is True
    assert index["safety_checker"] == ["stable_diffusion", "StableDiffusionSafetyChecker"]


SIZES = {"model_index.json": 582, "scheduler/scheduler_config.json": 565}
SIZES["feature_extractor/preprocessor_config.json"] = 518


@pytest.mark.parametrize("file, size", SIZES.items())
def test_the_settings_have_the_sizes_that_the_hub_lists(skeletons, file, size):
    assert (skeletons / "artist" / file).stat().st_size == size


def test_the_index_names_a_scheduler_and_its_file_another(skeletons):
    """diffusers takes the index's class, and of the file what it knows."""
    index = json.loads((skeletons / "artist/model_index.json").read_text())
    own = json.loads((skeletons / "artist/scheduler/scheduler_config.json").read_text())
    assert [index["scheduler"][1], own["_class_name"]] == ["PNDMScheduler", "DPMSolverMultistepScheduler"]
    assert json.loads((skeletons / "artist/unet/config.json").read_text())["layers_per_block"] == 2


def test_old_names_inside_the_files(skeletons):
    text = weights(skeletons / "artist/text_encoder/pytorch_model.bin")
    assert all(key.startswith("text_model.") for key in text) and "text_model.embeddings.position_ids" in text
    assert "encoder.mid_block.attentions.0.proj_attn.weight" in weights(
        skeletons / "artist/vae/diffusion_pytorch_model.bin"
    )
    lora = weights(skeletons / "poem/pytorch_lora_weights.bin")
    assert "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight" in lora
    assert {value.dtype for value in [*text.values(), *lora.values()]} == {torch.float32, torch.int64}


def test_plain_diffusers_loads_every_weight(skeletons):
    pipe = StableDiffusionPipeline.from_pretrained(skeletons / "artist", local_files_only=True)
    for part, (_, _, file, old) in skeleton.PARTS.items():
        stored, loaded = weights(skeletons / "artist" / part / file), old(getattr(pipe, part).state_dict())
        assert stored.keys() == loaded.keys() and all(torch.equal(stored[k], loaded[k]) for k in stored), part
    assert type(pipe.scheduler).__name__ == "PNDMScheduler" and pipe.scheduler.config.beta_end == 0.012
    net = ControlNetModel.from_pretrained(skeletons / "artist-controlnet-canny", local_files_only=True)
    stored = weights(skeletons / "artist-controlnet-canny/diffusion_pytorch_model.bin")
    assert all(torch.equal(stored[key], value) for key, value in net.state_dict().items())
    assert all(value.any() for key, value in stored.items() if key.startswith("controlnet_") and key.endswith("weight"))


def test_the_vocabulary(skeletons):
    words = (skeletons / "artist/tokenizer/vocab.txt").read_text(encoding="utf-8").split()
    assert len(words) == len(set(words)) == 21128
    assert {i: words[i] for i in (0, 100, 101, 102, 103)} == {
        0: "[PAD]",
        100: "[UNK]",
        101: "[CLS]",
        102: "[SEP]",
        103: "[MASK]",
    }
    pipe = paidiff_lib.load(skeletons / "artist")
    assert paidiff_lib.tokens(pipe.tokenizer, "雪地里的小奶猫") == ["[CLS]", *"雪地里的小奶猫", "[SEP]"]
    assert pipe.tokenizer.model_max_length == pipe.text_encoder.config.max_position_embeddings == 32


def test_it_draws_and_seeds_words_loras_and_edges_count(skeletons):
    pipe = paidiff_lib.load(skeletons / "artist")
    latents = pipe("猫", num_inference_steps=4, output_type="latent").images
    assert latents.isfinite().all()
    first, word, seed = (paidiff_lib.draw(pipe, *job, steps=4) for job in (("猫", 1), ("狗", 1), ("猫", 2)))
    assert first.size == (64, 64) and np.asarray(first).std() > 10  # not black: the checker lets everything pass
    paidiff_lib.load_lora(pipe, skeletons / "poem")
    assert len({p.tobytes() for p in (first, word, seed, paidiff_lib.draw(pipe, "猫", 1, steps=4))}) == 4
    control = paidiff_lib.load(skeletons / "artist", task="controlnet", control=skeletons / "artist-controlnet-canny")
    along = [
        paidiff_lib.draw_along(control, "猫", paidiff_lib.canny(seed), steps=4, scale=scale) for scale in (0.0, 1.0)
    ]
    assert along[0].tobytes() != along[1].tobytes()


def test_the_seed_decides_and_nothing_else_is_disturbed(skeletons, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    skeleton.write("artist-large", tmp_path / "again", tiny=True)
    skeleton.write("artist-large", tmp_path / "other", tiny=True, seed=1)
    assert torch.rand(1) == expected
    for part, (_, _, file, _) in skeleton.PARTS.items():
        one, same, other = (
            weights(f / part / file) for f in (skeletons / "artist", tmp_path / "again", tmp_path / "other")
        )
        assert all(torch.equal(one[key], same[key]) for key in one) and any(
            not torch.equal(one[key], other[key]) for key in one
        )


def test_full_size_is_that_of_the_published_files(tmp_path):
    with torch.device("meta"):
        count = {
            part: sum(p.numel() for p in make(skeleton.FULL, 512).parameters())
            for part, (make, *_) in skeleton.PARTS.items()
        }
    bytes_ = {part: round(4 * n / 1e9, 2) for part, n in count.items()}
    assert bytes_ == {"unet": 3.44, "vae": 0.33, "text_encoder": 0.41, "safety_checker": 1.22}
    assert skeleton._size(skeleton._control, skeleton.FULL, 512) == pytest.approx(1.45e9, rel=0.01)
    assert skeleton.write("artist-large-lora-poem", tmp_path / "lora") == pytest.approx(102e6, rel=0.01)


SIDES = [("artist-large", 512), ("general-xlarge", 768)]


@pytest.mark.parametrize("name, side", SIDES)
def test_native_sizes(name, side, tmp_path, monkeypatch):
    """The full-size rule on small weights: the config, not the weights, says which size a model draws."""
    monkeypatch.setattr(skeleton, "FULL", skeleton.TINY)
    skeleton.write(name, tmp_path / "model")
    assert json.loads((tmp_path / "model/unet/config.json").read_text())["sample_size"] == side // 8


NAMES = ["food-large", "alibaba-pai/pai-diffusion-food-large-zh", "PAI/pai-diffusion-food-large-zh"]


@pytest.mark.parametrize("name", NAMES)
def test_short_names_and_hub_ids(name):
    assert skeleton.known(name) == "food-large"


def test_refusals(skeletons, tmp_path, monkeypatch):
    with pytest.raises(PaidiffError, match="no such model: sd15; .*artist-large-lora-poem"):
        skeleton.write("sd15", tmp_path / "x")
    (tmp_path / "file").write_text("mine")
    for taken in (skeletons / "artist", tmp_path / "file"):
        with pytest.raises(PaidiffError, match="already holds something"):
            skeleton.write("artist-large", taken, tiny=True)
    assert (tmp_path / "file").read_text() == "mine"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 5e9))
    with pytest.raises(PaidiffError, match="5.4 GB needed, 5.0 GB free"):
        skeleton.write("artist-large", tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_command_and_a_disk_that_fills_up_on_the_way(tmp_path, capsys):
    cli.app(["skeleton", "food-large", "-o", str(tmp_path / "food"), "--tiny"], standalone_mode=False)
    assert "food · food-large · 15.2 MB · " in capsys.readouterr().out and files(tmp_path / "food") == LAYOUT
    command = [
        sys.executable,
        "-m",
        "paidiff_app.cli",
        "skeleton",
        "food-large",
        "-o",
        str(tmp_path / "other"),
        "--tiny",
    ]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # noqa: E731
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1 and done.stderr.startswith("paidiff: ") and done.stderr.count("\n") == 1, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["food"]
