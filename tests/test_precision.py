"""Training in one precision, a pipeline in another: every method draws on the way, and leaves what it does not train as it was."""

from functools import partial

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

import paidiff_lib
from paidiff_lib.datasets.folder import CaptionFolder
from paidiff_lib.generate import sample
from paidiff_lib.methods import base, controlnet
from paidiff_lib.methods.controlnet import ControlNet, draw_along
from paidiff_lib.methods.dreambooth import with_prior
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.methods.lora import LoRA
from paidiff_lib.methods.lora_files import load_lora
from paidiff_lib.methods.textual_inversion import TextualInversion, load_embedding
from paidiff_lib.training import accelerator
from paidiff_lib.training.api import train

METHODS = {
    "lora": lambda pipe: LoRA(pipe, rank=2),
    "lora with text": lambda pipe: LoRA(pipe, rank=2, text_encoder=True),
    "textual inversion": lambda pipe: TextualInversion(pipe, "<猫猫>"),
    "dreambooth": lambda pipe: FullTuning(pipe, text_encoder=True),
    "full": FullTuning,
    "controlnet": ControlNet,
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, colour in (("0", "red"), ("1", "blue")):
        Image.new("RGB", (64, 64), colour).save(folder / f"{name}.png")
    return CaptionFolder(folder, captions="一只猫")


def parts(pipe):
    return {"unet": pipe.unet, "vae": pipe.vae, "text_encoder": pipe.text_encoder}


def base_weights(pipe):
    """A copy of everything that the model was loaded with, a LoRA beside it left out."""
    named = {f"{part}.{name}": w for part, module in parts(pipe).items() for name, w in module.state_dict().items()}
    return {name.replace(".base_layer", ""): w.clone() for name, w in named.items() if ".lora_" not in name}


def reload(method, folder, model, dtype):
    """(the saved tensors, those that were trained, a picture) of what `method` saved, by a model loaded anew."""
    if isinstance(method, FullTuning):
        method.save_model(folder)
        pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=method.pipe.unet.dtype)
        pipe.set_progress_bar_config(disable=True)
        return base_weights(pipe), base_weights(method.pipe), sample(pipe, ["一只猫"], 1, 2)[0]
    method.save(folder)
    trained = {name: p.detach() for name, p in method.parameters().items()}
    pipe = paidiff_lib.load(model).to(dtype=dtype)
    if isinstance(method, ControlNet):
        net = ControlNetModel.from_pretrained(folder)
        saved = {f"net.{name}": p for name, p in net.state_dict().items()}
        return saved, trained, along(ControlNet(pipe, net))
    (found,) = folder.glob("*.safetensors")
    saved = load_file(found)
    if isinstance(method, LoRA):
        load_lora(pipe, folder)
        as_here = lambda name: name.replace(".weight", ".lora.weight").replace("text_model.", "")
        saved = {as_here(name): weight for name, weight in saved.items()}
        return saved, trained, sample(pipe, ["一只猫"], 1, 2)[0]
    load_embedding(pipe, folder)
    return {"vectors": saved["<猫猫>"]}, trained, sample(pipe, ["一只<猫猫>"], 1, 2)[0]


def along(control):
    return draw_along(control.pipeline(), "一只猫", Image.new("RGB", (64, 64), "white"), 1, steps=2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_in_every_precision(name, precision, dtype, tiny, tiny_folder, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "sample", partial(sample, steps=2))
    monkeypatch.setattr(controlnet, "draw_along", partial(draw_along, steps=2))
    pipe, own = tiny.to(dtype=DTYPES[dtype]), DTYPES[dtype]
    data = with_prior(pipe, pictures, "一只狗", tmp_path / "class", 2) if name == "dreambooth" else pictures
    method = METHODS[name](pipe)
    before, taught = base_weights(pipe), getattr(method, "ids", [])
    prompt = "一只<猫猫>" if taught else "一只猫"
    run = train(method, data, 2, 1e-2, mixed_precision=precision, sample_every=1, sample_prompts=[prompt])
    drawn = [step.images[0].tobytes() for step in run]
    assert len(drawn) == 2 and drawn[0] != drawn[1]
    whole = isinstance(method, FullTuning)
    assert {p.dtype for module in parts(pipe).values() for n, p in module.named_parameters() if "lora_" not in n} == {
        torch.float32 if whole else own
    }
    after = base_weights(pipe)
    trained_parts = tuple(method.parts()) if whole else ()
    for place, weight in before.items():
        if not place.startswith(trained_parts or "no part"):
            rows = [i for i in range(len(weight)) if i not in taught] if "token_embedding" in place else ...
            assert weight[rows].to(after[place].dtype).equal(after[place][rows]), place
    saved, trained, again = reload(method, tmp_path / "saved", tiny_folder, own)
    assert saved.keys() == trained.keys() and all(saved[n].equal(trained[n]) for n in saved)
    whole or pipe.to(dtype=own)  # a LoRA is trained in single precision, and loaded in the model's
    here = sample(pipe, [prompt], 1, 2)[0] if name != "controlnet" else along(method)
    assert again.tobytes() == here.tobytes()


def test_a_half_that_holds_less_is_computed_in_another_and_comes_back_whole(tiny, pictures):
    """As on a card: the pipeline in fp16, training in bf16, which holds three bits less."""
    method = LoRA(tiny.to(dtype=torch.float16), rank=2)
    before, seen = base_weights(tiny), set()
    predict = method.predict
    method.predict = lambda *inputs: (seen.add(tiny.unet.conv_in.weight.dtype), predict(*inputs))[1]
    for _ in train(method, pictures, 2, 1e-2, mixed_precision="bf16", gradient_checkpointing=True):
        assert tiny.unet.conv_in.weight.dtype == torch.float16
    assert seen == {torch.bfloat16}
    assert all(weight.equal(base_weights(tiny)[name]) for name, weight in before.items())


def test_single_precision_is_tf32_while_training_and_no_longer(tiny, pictures):
    products, seen = torch.backends.cuda.matmul, []
    before, method = products.fp32_precision, LoRA(tiny, rank=2)
    predict = method.predict
    method.predict = lambda *inputs: (seen.append(products.fp32_precision), predict(*inputs))[1]
    list(train(method, pictures, 1, 1e-2))
    assert seen == ["tf32"] and products.fp32_precision == before


CARDS = {"cpu": "no", "old card": "fp16", "card": "bf16"}
RULE = [("bf16", "fp16", "bf16"), ("no", "fp16", "no"), (None, "fp16", "fp16"), (None, "no", None), (None, None, None)]


@pytest.mark.parametrize("machine, by_device", CARDS.items())
@pytest.mark.parametrize("asked, launched, expected", RULE)
def test_the_flag_then_accelerate_then_the_device(monkeypatch, machine, by_device, asked, launched, expected):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    if launched:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    monkeypatch.setattr(accelerator, "device", lambda: "cpu" if machine == "cpu" else "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: machine == "card")
    assert accelerator.precision_of(asked) == (expected or by_device)
