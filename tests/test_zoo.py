import shutil

import pytest
import torch

import paidiff_lib
from paidiff_lib import PaidiffError, zoo


def test_a_stock_pipeline_in_single_precision_on_the_cpu(tiny):
    assert type(tiny).__name__ == "StableDiffusionPipeline"
    assert type(tiny.tokenizer).__name__ == "BertTokenizer" and len(tiny.tokenizer) > 104
    expected = torch.float16 if torch.cuda.is_available() else torch.float32
    assert {tiny.unet.dtype, tiny.vae.dtype, tiny.text_encoder.dtype} == {expected}
    assert tiny.safety_checker is None


@pytest.mark.parametrize("task", ["img2img", "inpaint"])
def test_tasks(tiny_folder, task):
    assert task.lower() in type(paidiff_lib.load(tiny_folder, task)).__name__.lower()


@pytest.mark.parametrize("task, word", [("video", "text2img, img2img, inpaint, controlnet")])
def test_other_tasks_are_refused(tiny_folder, task, word):
    with pytest.raises(PaidiffError, match=word):
        paidiff_lib.load(tiny_folder, task)


def test_the_environment_names_the_model(tiny_folder, monkeypatch):
    monkeypatch.setenv("PAIDIFF_MODEL", str(tiny_folder))
    assert zoo.model_name() == str(tiny_folder)
    assert zoo.model_name("mini") == "mini"
    monkeypatch.delenv("PAIDIFF_MODEL")
    assert zoo.model_name() == "mini"


def test_missing_model_lists_what_was_tried_and_what_is_known():
    with pytest.raises(PaidiffError) as caught:
        zoo.find("no-such-model")
    message = str(caught.value)
    assert "没有找到" in message and "no-such-model" in message and "mini, artist-large" in message
    assert "\n" not in message


def test_missing_mini(monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "MINI", tmp_path / "paidiff-mini-zh")
    with pytest.raises(PaidiffError, match="paidiff-mini-zh"):
        paidiff_lib.load("mini")


def test_a_damaged_model_gives_one_line(tiny_folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_folder, broken)
    (broken / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"not weights")
    with pytest.raises(PaidiffError) as caught:
        paidiff_lib.load(broken)
    assert "cannot read" in str(caught.value) and "\n" not in str(caught.value)


def test_the_real_family_is_offline_unless_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    asked = []
    monkeypatch.setattr("diffusers.StableDiffusionPipeline.download", _refuse(asked))
    with pytest.raises(PaidiffError, match="HF_HUB_OFFLINE=0"):
        zoo.find("artist-large")
    assert asked == [("alibaba-pai/pai-diffusion-artist-large-zh", True)]
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with pytest.raises(PaidiffError, match="网络"):
        zoo.find("artist-large")
    assert [local for _, local in asked] == [True, True, False]


def _refuse(asked):
    def download(repo, local_files_only):
        asked.append((repo, local_files_only))
        raise OSError("not there")

    return download


CACHED_LOAD = """
import sys, paidiff_lib
from paidiff_lib import zoo
assert zoo.in_cache("artist-large") and not zoo.in_cache("food-large")
pipe = paidiff_lib.load("artist-large")
print(type(pipe).__name__, len(pipe.tokenizer))
"""


def test_the_real_family_loads_from_the_hub_cache(tiny_folder, tmp_path, run_python):
    """In a process of its own, because the hub library reads its cache folder when it is imported."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "models--alibaba-pai--pai-diffusion-artist-large-zh"
    shutil.copytree(tiny_folder, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(commit)
    done = run_python(CACHED_LOAD, HF_HUB_CACHE=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "StableDiffusionPipeline"
    assert done.stderr == ""
