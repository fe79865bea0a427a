import shutil

import pytest
import torch

import paidiff_lib
from paidiff_lib import PaidiffError
from paidiff_lib.models import download as hub, load as zoo, registry as family


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
    config = (broken / "unet/config.json").read_text().replace('"cross_attention_dim": 16', '"cross_attention_dim": 24')
    (broken / "unet/config.json").write_text(config)
    with pytest.raises(PaidiffError) as caught:
        paidiff_lib.load(broken)
    assert "cannot read" in str(caught.value) and "\n" not in str(caught.value)


def test_the_real_family_is_offline_unless_asked(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(hub, "download", lambda *_: pytest.fail("went to the network"))
    monkeypatch.setattr(hub, "cached", lambda *_: None)
    for name in ("artist-large", "alibaba-pai/pai-diffusion-artist-large-zh", "PAI/pai-diffusion-artist-large-zh"):
        with pytest.raises(PaidiffError, match="HF_HUB_OFFLINE=0 .*4.2 GB") as caught:
            zoo.find(name)
        assert "alibaba-pai/pai-diffusion-artist-large-zh" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(PaidiffError, match="5.4 GB"):
        zoo.find("artist-large", safety_checker=True)


FACTS = {  # hub id: (kind, native size), the list the course was asked for
    "alibaba-pai/pai-diffusion-artist-large-zh": ("base", (512, 512)),
    "alibaba-pai/pai-diffusion-artist-xlarge-zh": ("base", (768, 768)),
    "alibaba-pai/pai-diffusion-anime-large-zh": ("base", (512, 768)),
    "alibaba-pai/pai-diffusion-food-large-zh": ("base", (512, 512)),
    "alibaba-pai/pai-diffusion-general-large-zh": ("base", (512, 512)),
    "alibaba-pai/pai-diffusion-general-xlarge-zh": ("base", (768, 768)),
    "IDEA-CCNL/Taiyi-Stable-Diffusion-1B-Chinese-v0.1": ("base", (512, 512)),
    "alibaba-pai/pai-diffusion-artist-large-zh-lora-poem": ("lora", (512, 512)),
    "alibaba-pai/pai-diffusion-artist-large-zh-lora-25d": ("lora", (512, 512)),
    "alibaba-pai/pai-diffusion-artist-large-zh-controlnet-canny": ("controlnet", (512, 512)),
    "alibaba-pai/pai-diffusion-artist-large-zh-controlnet-depth": ("controlnet", (512, 512)),
    "alibaba-pai/pai-diffusion-general-large-zh-controlnet-depth": ("controlnet", (512, 512)),
}


def test_the_whole_family_is_in_the_table():
    assert {model.repo: (model.kind, model.size) for model in family.FAMILY.values()} == FACTS
    for short, model in family.FAMILY.items():
        assert family.short_name(short) == family.short_name(model.repo) == short
        assert model.gigabytes > 0 and model.notice


def test_a_name_of_another_kind_is_refused():
    for call in (
        lambda: paidiff_lib.load("artist-large-lora-poem"),
        lambda: zoo.load_control("artist-large", "mini"),
        lambda: zoo.find("artist-large", "lora"),
    ):
        with pytest.raises(PaidiffError, match="known names"):
            call()


def test_a_control_that_was_never_published_is_refused():
    with pytest.raises(PaidiffError, match="general-large-controlnet-depth"):
        zoo.load_control("canny", "general-large")


CACHED_LOAD = """
import sys, paidiff_lib
from paidiff_lib.models import load as zoo
assert zoo.at_hand("artist-large") and not zoo.at_hand("food-large")
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
    done = run_python(CACHED_LOAD, HF_HUB_CACHE=str(tmp_path), HF_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "StableDiffusionPipeline"
    assert done.stderr == ""
