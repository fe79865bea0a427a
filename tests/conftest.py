"""A tiny pipeline with random weights, of the same classes as the real model, so that tests run in seconds."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import paidiff_lib
from paidiff_lib.environment import set_defaults

set_defaults()  # before the hub libraries are imported

SPECIAL = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
HANZI = "一两三只匹朵的在上里雪地企鹅猫小狗草沙发水墨画高清模糊红色蓝星空月亮变形金刚"
LIMIT = 16  # tokens, [CLS] and [SEP] included
WORDS = {
    "subjects": {"企鹅": ["企鹅"], "猫": ["小猫"], "狗": ["小狗"]},
    "backgrounds": {"雪地": ["雪地"], "草地": ["草地"], "沙发": []},
    "styles": {"水墨画": ["水墨"]},
    "colours": {"红色": ["红"]},
    "flaws": {"模糊": []},
    "others": {"高清": []},
}


def make_tokenizer(folder):
    """A character-level BertTokenizer with BERT's special ids, saved in `folder` and loaded from there."""
    from transformers import BertTokenizer

    listed = [SPECIAL.get(i, f"[unused{i}]") for i in range(104)]
    listed += [*"abcdefghijklmnopqrstuvwxyz0123456789,,。、<>", *dict.fromkeys(HANZI)]
    listed += [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(listed) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "BertTokenizer", "model_max_length": LIMIT, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return BertTokenizer.from_pretrained(folder)


def make_pipeline(folder):
    """A StableDiffusionPipeline of 64 x 64 pixels, saved in half precision below `folder`."""
    import torch
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    tokenizer = make_tokenizer(folder / "made/tokenizer")
    text_config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=LIMIT,
        bos_token_id=101,
        eos_token_id=102,
        pad_token_id=0,
    )
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        latent_channels=4,
        sample_size=64,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text_config),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(folder / "model")
    (folder / "model/words.json").write_text(json.dumps(WORDS, ensure_ascii=False), encoding="utf-8")
    return folder / "model"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """The folder of a tiny model in diffusers' layout."""
    return make_pipeline(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def published(tiny_folder, tmp_path_factory):
    """The tiny model as models are published: a safety checker, .bin weights, and files that nobody needs."""
    import torch
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from safetensors.torch import load_file
    from transformers import CLIPConfig, CLIPImageProcessor

    folder = tmp_path_factory.mktemp("published") / "model"
    shutil.copytree(tiny_folder, folder)
    shutil.rmtree(folder / "tokenizer")
    shutil.copytree(tiny_folder.parent / "made/tokenizer", folder / "tokenizer")  # vocab.txt alone, as in old folders
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision = {**small, "image_size": 8, "patch_size": 8}
    torch.manual_seed(0)
    checker = StableDiffusionSafetyChecker(CLIPConfig(text_config=small, vision_config=vision, projection_dim=4))
    checker.save_pretrained(folder / "safety_checker")
    CLIPImageProcessor(size=8, crop_size=8).save_pretrained(folder / "feature_extractor")
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index.pop("requires_safety_checker", None)
    (folder / "model_index.json").write_text(json.dumps(index))
    for part, name in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model"), ("safety_checker", "model")):
        state = load_file(folder / part / f"{name}.safetensors")
        torch.save(state, folder / part / f"{name.replace('model', 'pytorch_model') if name == 'model' else name}.bin")
    (folder / "text_encoder/model.safetensors").unlink()
    (folder / "safety_checker/model.safetensors").unlink()
    (folder / "README.md").write_text("license: apache-2.0")
    for unwanted in ("model.ckpt", "unet/diffusion_pytorch_model.fp16.safetensors", "unet/evil.py", "demo.png"):
        (folder / unwanted).write_bytes(b"not needed")
    return folder


@pytest.fixture(scope="session")
def skeletons(tmp_path_factory):
    """A folder with tiny skeletons: `artist`, its ControlNet beside it, and the LoRA `poem`."""
    return write_skeletons(tmp_path_factory.mktemp("skeletons"))


def write_skeletons(folder, layout="pndm"):
    """As `skeletons`, in one of the layouts that a published model may have. Returns the folder.

    layout: "pndm" or "ddim", what the index names; "77 tokens", what the model reads at a time; "taiyi", another model.
    """
    from paidiff_app import skeleton

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skeleton, "LIMIT", 77 if layout == "77 tokens" else skeleton.LIMIT)
        skeleton.write("taiyi" if layout == "taiyi" else "artist-large", folder / "artist", tiny=True)
    for rest, place in {"controlnet-canny": "artist-controlnet-canny", "lora-poem": "poem"}.items():
        skeleton.write(f"artist-large-{rest}", folder / place, tiny=True)
    if layout == "ddim":
        index = folder / "artist/model_index.json"
        index.write_text(index.read_text().replace("PNDMScheduler", "DDIMScheduler"))
    if published_words():
        shutil.copy(published_words(), folder / "artist/tokenizer/vocab.txt")
    return folder


def published_words():
    """BERT's own 21,128 words, as the published models have them: in the package cn-clip, where that is installed."""
    found = importlib.util.find_spec("cn_clip")
    return Path(found.origin).with_name("clip") / "vocab.txt" if found and found.origin else None


@pytest.fixture(scope="session")
def loras(tiny_folder, tmp_path_factory):
    """A folder with one LoRA that shows, and one word."""
    from torch.nn.init import normal_

    folder = tmp_path_factory.mktemp("loras")
    pipe = paidiff_lib.load(tiny_folder)
    lora = paidiff_lib.LoRA(pipe, rank=2)
    for parameter in lora.parameters().values():
        normal_(parameter, std=0.5)
    lora.save(folder / "porcelain")
    paidiff_lib.TextualInversion(pipe, "<kitten>", initializer="猫").save(folder / "kitten")
    return folder


@pytest.fixture
def tiny(tiny_folder):
    """A freshly loaded tiny pipeline: a test may change it."""
    return paidiff_lib.load(tiny_folder)


@pytest.fixture(scope="session")
def tokenizer(tiny_folder):
    from transformers import BertTokenizer

    return BertTokenizer.from_pretrained(tiny_folder / "tokenizer")


@pytest.fixture
def run_python():
    """run_python(code, NAME=value): the finished process of a fresh interpreter, with those environment variables."""

    def run(code, **environment):
        clean = {k: v for k, v in os.environ.items() if k != "PAIDIFF_MODEL"}
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, env={**clean, **environment})

    return run


COMMAND = Path(sys.executable).with_name("paidiff")


@pytest.fixture
def paidiff():
    """paidiff("draw", ...): the finished process of the installed command."""

    def run(*arguments, **environment):
        command = [str(COMMAND), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})

    return run


@pytest.fixture(scope="session")
def warm(tmp_path_factory):
    """warm(script, ...), warm("-c", code, ...): as python itself, in a fork of a process that has imported the libraries."""
    streams = tmp_path_factory.mktemp("warm")
    server = Path(__file__).with_name("warm.py")
    process = subprocess.Popen([sys.executable, str(server)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(*arguments, cwd=".", **environment):
        arguments = [str(argument) for argument in arguments]
        out, error = streams / "out", streams / "error"
        request = dict(arguments=arguments, environment={**os.environ, **environment}, cwd=str(Path(cwd).resolve()))
        print(json.dumps({**request, "out": str(out), "error": str(error)}), file=process.stdin, flush=True)
        code = int(process.stdout.readline())
        return subprocess.CompletedProcess(
            arguments, code, *(path.read_text(encoding="utf-8") for path in (out, error))
        )

    yield run
    process.kill()  # it is idle by now, and all those libraries take their time to end
    process.wait()
    process.stdin.close()


@pytest.fixture
def warm_paidiff(warm):
    """As paidiff, without the seconds that the imports take."""
    return lambda *arguments, **environment: warm(COMMAND, *arguments, **environment)


def refused(words, call):
    """The message of the PaidiffError that `call` raises: one line, with all of these words."""
    with pytest.raises(paidiff_lib.PaidiffError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert "weights_only" not in message  # torch's own message advises to switch it off
    return message
