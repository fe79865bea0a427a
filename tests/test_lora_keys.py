"""One LoRA file of each layout that trainers write: loaded with the deltas of the formula, or refused with its name.

`pytest tests/test_lora_keys.py -v` prints the table: the ids are the layouts.
"""

import json
import re

import pytest
import torch
from conftest import refused
from peft import LoraConfig
from safetensors.torch import load_file, save_file

import paidiff_lib
from paidiff_lib.methods.adapters import adapter_layers, merge, scales, set_scales
from paidiff_lib.methods.lora_files import export_kohya, load_lora

ATTENTION = r"\.to_(q|k|v|out\.0)$"
TEXT = r"^text_encoder\.\S*_proj$"
WIDE = r"^unet\.\S*(to_(q|k|v|out\.0)|proj_in|proj_out|conv1|conv2|conv_shortcut|time_emb_proj|linear_[12]|conv_in|net\.2)$"


def layers(pipe, pattern=ATTENTION, rank=4, alpha=None, seed=0):
    """{place: (down, up, alpha)} for the layers whose places fit; rank, alpha: numbers, or functions of the place."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for part in ("unet", "text_encoder"):
        for name, module in getattr(pipe, part).named_modules():
            place = f"{part}.{name}"
            if not isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) or not re.search(pattern, place):
                continue
            out, *inputs = module.weight.shape
            r = rank(place) if callable(rank) else rank
            a = alpha(place) if callable(alpha) else alpha
            down = torch.randn(r, *inputs, generator=generator)
            up = torch.randn(out, r, *[1] * (len(inputs) - 1), generator=generator)
            found[place] = down, up, a
    assert found
    return found


def full(place):
    """As published text encoders call it."""
    bare = place.removeprefix("text_encoder.").removeprefix("text_model.")
    return f"text_encoder.text_model.{bare}" if place.startswith("text_encoder.") else place


def kohya_key(place):
    part, _, name = full(place).partition(".")
    return {"unet": "lora_unet_", "text_encoder": "lora_te_"}[part] + name.replace(".", "_")


def kohya(made, name=kohya_key):
    state = {}
    for place, (down, up, alpha) in made.items():
        state[f"{name(place)}.lora_down.weight"], state[f"{name(place)}.lora_up.weight"] = down, up
        if alpha is not None:
            state[f"{name(place)}.alpha"] = torch.tensor(float(alpha))
    return state


def named(made, down, up, name=full):
    """Keys with the layer's own name: today's diffusers, peft's, the old ones."""
    return {name(p) + end: w for p, (d, u, _) in made.items() for end, w in ((down, d), (up, u))}


def today(made, name=full):
    return named(made, ".lora_A.weight", ".lora_B.weight", name)


def processor(place):
    """unet.….attn1.to_out.0 -> unet.….attn1.processor.to_out"""
    place = re.sub(r"\.(to_(?:q|k|v|out))(\.0)?$", r".processor.\1", place)
    return re.sub(r"\.(q|k|v|out)_proj$", r".to_\1", full(place))


def old(made, prefix="unet."):
    return {
        k.removeprefix("unet.").join([prefix, ""]): v
        for k, v in named(made, "_lora.down.weight", "_lora.up.weight", processor).items()
    }


def in_down(place):
    return 1 if "down_blocks" in place else 4


def rank_of(place):
    return (2, 4, 8)[len(place) % 3]


def noted(**config):
    return {"lora_adapter_metadata": json.dumps({f"unet.{name}": value for name, value in config.items()})}


def pattern_notes(made):
    by_place = {p.removeprefix("unet."): a for p, (_, _, a) in made.items() if a != 4}
    return noted(r=4, lora_alpha=4, alpha_pattern=by_place)


# id -> (what is made, how its keys are written[, the file's metadata[, the file's name]])
LOADED = {
    "kohya LoRA": (dict(alpha=4), kohya),
    "kohya LoRA, alpha 1": (dict(alpha=1), kohya),
    "kohya LoRA, no alpha": ({}, kohya),
    "kohya LoCon": (dict(pattern=WIDE, alpha=2), kohya),
    "kohya LoCon, conv dim and alpha": (
        dict(pattern=WIDE, rank=lambda p: 2 if "conv" in p else 4, alpha=lambda p: 1 if "conv" in p else 3),
        kohya,
    ),
    "kohya text encoder only": (dict(pattern=TEXT, alpha=2), kohya),
    "kohya UNet and text encoder": (
        dict(
            pattern=f"{ATTENTION}|{TEXT}",
            rank=lambda p: 2 if "text" in p else 4,
            alpha=lambda p: 1 if "text" in p else 4,
        ),
        kohya,
    ),
    "kohya text encoder, new names": (
        dict(pattern=TEXT, alpha=2),
        lambda made: {k.replace("text_model_", ""): v for k, v in kohya(made).items()},
    ),
    "kohya block weights": (dict(alpha=in_down), kohya),
    "kohya block weights, 0 in the first": (dict(alpha=lambda p: 0 if "down_blocks" in p else 4), kohya),
    "kohya block weights, text encoder": (dict(pattern=TEXT, alpha=lambda p: 1 if "q_proj" in p else 4), kohya),
    "kohya resized, rank of each layer": (dict(rank=rank_of, alpha=rank_of), kohya),
    "kohya resized, one alpha": (dict(rank=rank_of, alpha=4), kohya),
    "kohya resized LoCon": (dict(pattern=WIDE, rank=rank_of, alpha=in_down), kohya),
    "kohya ranks, no alpha": (dict(rank=rank_of), kohya),
    "LoRA-FA": (dict(alpha=2), kohya, {"ss_network_module": "networks.lora_fa"}),
    "DyLoRA": (dict(alpha=2), kohya, {"ss_network_module": "networks.dylora"}),
    "LyCORIS LoCon": (dict(pattern=WIDE, alpha=1), kohya, {"ss_network_module": "lycoris.kohya"}),
    "bf16": (dict(alpha=2), lambda made: {k: v.bfloat16() for k, v in kohya(made).items()}),
    "fp16": (dict(alpha=2), lambda made: {k: v.half() for k, v in kohya(made).items()}),
    ".pt": (dict(alpha=2), kohya, None, "x.pt"),
    "alpha as a vector of one": (
        dict(alpha=2),
        lambda made: {k: v.reshape(1) if v.ndim == 0 else v for k, v in kohya(made).items()},
    ),
    "diffusers": ({}, today),
    "diffusers, UNet and text encoder": (dict(pattern=f"{ATTENTION}|{TEXT}"), today),
    "diffusers, ranks": (dict(rank=rank_of), today),
    "diffusers, alpha noted": (dict(alpha=2), today, noted(r=4, lora_alpha=2)),
    "diffusers, alpha_pattern noted": (dict(alpha=in_down), today, pattern_notes),
    "diffusers, rslora noted": (dict(rank=4, alpha=4), today, noted(r=4, lora_alpha=2, use_rslora=True)),
    "diffusers, lora.down": ({}, lambda made: named(made, ".lora.down.weight", ".lora.up.weight")),
    "diffusers, processors": ({}, old),
    "diffusers, text_encoder lora_linear_layer": (
        dict(pattern=TEXT),
        lambda made: named(made, ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"),
    ),
    "diffusers, text_encoder to_q_lora": (
        dict(pattern=TEXT),
        lambda made: named(made, "_lora.down.weight", "_lora.up.weight", processor),
    ),
    "the hub's old .bin": ({}, lambda made: old(made, ""), None, "pytorch_lora_weights.bin"),
    "the article's pytorch_model.bin": ({}, lambda made: old(made, ""), None, "pytorch_model.bin"),
    "peft keys without unet.": ({}, lambda made: {k.removeprefix("unet."): v for k, v in today(made).items()}),
}


def write(state, path, metadata=None):
    state = {k: v.contiguous() if isinstance(v, torch.Tensor) else v for k, v in state.items()}
    save_file(state, path, metadata=metadata) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def acting(pipe, name):
    """What peft adds to each layer, at the scale that is set: {place: matrix}."""
    return {place: layer.get_delta_weight(name).flatten(1) for place, layer in adapter_layers(pipe, name)}


def formula(made):
    """alpha / rank * up @ down; no alpha means the rank."""
    product = {p: (u.flatten(1) @ d.flatten(1), len(d) if a is None else a, len(d)) for p, (d, u, a) in made.items()}
    return {place: matrix * (alpha / rank) for place, (matrix, alpha, rank) in product.items()}


def close(found, expected, factor=1.0):
    assert found.keys() == expected.keys()
    return all(torch.allclose(found[p], expected[p] * factor, rtol=1e-5, atol=1e-5) for p in found)


@pytest.fixture(scope="module")
def pipe(tiny_folder):
    """One model for all layouts: each is gone again after its test."""
    return paidiff_lib.load(tiny_folder)


@pytest.fixture(autouse=True)
def plain_again(pipe):
    yield
    pipe.unload_lora_weights()


@pytest.mark.parametrize("layout", LOADED)
def test_loaded(pipe, tmp_path, layout):
    shape, keys, metadata, file = (*LOADED[layout], None, None)[:4]
    made = layers(pipe, **shape)
    if layout in ("bf16", "fp16"):
        made = {
            p: (*(w.to(getattr(torch, {"bf16": "bfloat16", "fp16": "float16"}[layout])).float() for w in (d, u)), a)
            for p, (d, u, a) in made.items()
        }
    path = write(keys(made), tmp_path / (file or "x.safetensors"), metadata(made) if callable(metadata) else metadata)
    load_lora(pipe, path, "x")
    assert close(acting(pipe, "x"), formula(made)) and scales(pipe) == {"x": pytest.approx(1.0)}
    set_scales(pipe, {"x": 0.5})
    assert close(acting(pipe, "x"), formula(made), 0.5) and scales(pipe) == {"x": pytest.approx(0.5)}


def one(pipe):
    return layers(pipe, r"down_blocks\.0\S*attn1\.to_q$", alpha=4)


def beside(**extra):
    """A plain kohya LoRA with more keys beside each layer's: {ending: shape or tensor}."""

    def keys(pipe):
        made = one(pipe)
        return kohya(made) | {f"{kohya_key(p)}.{end}": value for p in made for end, value in extra.items()}

    return keys


def instead(*endings, name=kohya_key):
    """No lora_down and lora_up: these endings after the layer's name."""
    return lambda pipe: {f"{name(p)}.{end}": torch.ones(4, 4) for p in one(pipe) for end in endings}


def keyed(*keys):
    return lambda pipe: {key: torch.ones(4, 4) for key in keys}


def peft_folder(*endings):
    return instead(*endings, name=lambda place: "base_model.model." + place.removeprefix("unet."))


def changed(change):
    """A plain LoRA with something wrong: `change` gets its tensors, and the name of a layer."""

    def keys(pipe):
        made = one(pipe)
        state = kohya(made)
        change(state, kohya_key(next(iter(made))))
        return state

    return keys


def poisoned(ending, value):
    def change(state, key):
        state[f"{key}.{ending}"] = torch.full_like(state[f"{key}.{ending}"], value)

    return changed(change)


# id -> (the file's tensors, words of the message[, the file's name])
REFUSED = {
    "DoRA": (beside(dora_scale=torch.ones(8, 1)), ["DoRA", "dora_scale", "instead"]),
    "DoRA, the other axis": (beside(dora_scale=torch.ones(1, 8)), ["DoRA", "instead"]),
    "DoRA, diffusers": (
        lambda pipe: today(one(pipe)) | {f"{p}.lora_magnitude_vector": torch.ones(8) for p in one(pipe)},
        ["DoRA"],
    ),
    "LoHa": (instead("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), ["LoHa"]),
    "LoHa, Tucker": (instead("hada_t1", "hada_w1_a", "hada_w1_b", "hada_t2", "hada_w2_a", "hada_w2_b"), ["LoHa"]),
    "LoKr": (instead("lokr_w1", "lokr_w2_a", "lokr_w2_b"), ["LoKr"]),
    "LoKr, factors whole": (instead("lokr_w1", "lokr_w2"), ["LoKr"]),
    "LoKr, Tucker": (instead("lokr_w1", "lokr_t2", "lokr_w2_a", "lokr_w2_b"), ["LoKr"]),
    "LoCon, Tucker": (beside(**{"lora_mid.weight": torch.ones(4, 4, 3, 3)}), ["Tucker LoCon"]),
    "OFT": (instead("oft_blocks"), ["OFT"]),
    "Diag-OFT": (instead("oft_diag"), ["OFT"]),
    "BOFT": (instead("boft_blocks"), ["BOFT"]),
    "GLoRA": (instead("a1.weight", "a2.weight", "b1.weight", "b2.weight"), ["GLoRA"]),
    "IA3": (instead("weight", "on_input"), ["IA3"]),
    "full": (instead("diff", "diff_b"), ["diff"]),
    "norm": (beside(w_norm=torch.ones(8)), ["norm"]),
    "LoRA with bias": (beside(**{"lora_up.bias": torch.ones(8)}), ["bias"]),
    "LyCORIS names": (
        instead("lora_down.weight", "lora_up.weight", name=lambda p: "lycoris_" + p.replace(".", "_")),
        ["LyCORIS"],
    ),
    "PEFT folder, LoRA": (
        peft_folder("lora_A.weight", "lora_B.weight"),
        ["PEFT folder", "save_lora_weights"],
        "adapter_model.safetensors",
    ),
    "PEFT folder, LoHa": (
        peft_folder("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
        ["PEFT folder"],
        "adapter_model.safetensors",
    ),
    "PEFT folder, LoKr, .bin": (peft_folder("lokr_w1", "lokr_w2"), ["PEFT folder"], "adapter_model.bin"),
    "VeRA": (instead("vera_lambda_b", "vera_lambda_d"), ["VeRA"]),
    "bundled embedding": (
        lambda pipe: kohya(one(pipe)) | {"bundle_emb.cat.string_to_param.*": torch.ones(1, 8)},
        ["bundled embedding", "load_embedding"],
    ),
    "single-file checkpoint": (
        keyed("model.diffusion_model.input_blocks.0.0.weight"),
        ["single-file checkpoint", "from_single_file"],
    ),
    "single-file .ckpt": (
        lambda pipe: {"state_dict": {"model.diffusion_model.x": torch.ones(2)}},
        ["single-file checkpoint"],
        "x.pt",
    ),
    "ControlNet": (keyed("controlnet_cond_embedding.conv_in.weight"), ["ControlNet"]),
    "Control-LoRA": (keyed("lora_controlnet"), ["ControlNet"]),
    "SDXL, text encoders": (keyed("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"), ["SDXL"]),
    "SDXL, UNet": (keyed("lora_unet_input_blocks_4_1_proj_in.lora_down.weight"), ["SDXL"]),
    "FLUX, kohya": (keyed("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"), ["FLUX"]),
    "FLUX, diffusers": (keyed("transformer.single_transformer_blocks.0.proj_mlp.lora_A.weight"), ["FLUX"]),
    "SD3, ComfyUI": (keyed("diffusion_model.joint_blocks.0.x_block.attn.qkv.lora_A.weight"), ["SD3"]),
    "embedding": (keyed("<小奶猫>"), ["embedding", "load_embedding"]),
    "embedding, WebUI": (
        lambda pipe: {"string_to_param": {"*": torch.ones(1, 8)}, "name": "cat"},
        ["embedding"],
        "x.pt",
    ),
    "whole UNet": (keyed("conv_in.weight"), ["means nothing here", "conv_in.weight"]),
    "hypernetwork": (lambda pipe: {768: [torch.ones(2)], "step": 3}, ["no table of weights"], "x.pt"),
    "another key": (beside(extra=torch.ones(1)), ["means nothing here", "to_q.extra"]),
    "a deeper model's": (
        lambda pipe: kohya(one(pipe), lambda p: kohya_key(p).replace("blocks_0", "blocks_7", 1)),
        ["another one", "down_blocks_7"],
    ),
    "a wider model's": (
        changed(lambda s, k: s.update({f"{k}.lora_down.weight": torch.ones(4, 999)})),
        ["for another model", "999"],
    ),
    "ranks that differ": (
        changed(lambda s, k: s.update({f"{k}.lora_down.weight": s[f"{k}.lora_down.weight"][:3].clone()})),
        ["for another model"],
    ),
    "no up": (changed(lambda s, k: s.pop(f"{k}.lora_up.weight")), ["not whole", "to_q"]),
    "alpha alone": (lambda pipe: {"lora_unet_x.alpha": torch.tensor(1.0)}, ["not whole", "lora_unet_x"]),
    "a layer in two namings": (lambda pipe: kohya(one(pipe)) | today(one(pipe)), ["a layer twice"]),
    "alpha that is a matrix": (beside(alpha=torch.ones(4, 4)), ["means nothing here", "alpha"]),
    "NaN": (poisoned("lora_up.weight", float("nan")), ["not finite, not loaded", "lora_up.weight"]),
    "infinity": (poisoned("lora_down.weight", float("inf")), ["not finite, not loaded", "lora_down.weight"]),
    "NaN for an alpha": (poisoned("alpha", float("nan")), ["not finite, not loaded", "alpha"]),
    "alpha 0 everywhere": (poisoned("alpha", 0.0), ["changes nothing"]),
    "zero everywhere": (poisoned("lora_up.weight", 0.0), ["changes nothing"]),
}


@pytest.mark.parametrize("layout", REFUSED)
def test_refused(pipe, tmp_path, layout):
    make, words, file = (*REFUSED[layout], "x.safetensors")[:3]
    path = write(make(pipe), tmp_path / file)
    said = refused([], lambda: load_lora(pipe, path.parent if "folder" in layout else path, "x"))
    said = said.replace(str(tmp_path), "")  # it is named after the layout
    assert all(word in said for word in words), said
    assert not scales(pipe) and not hasattr(pipe.unet, "peft_config")
    assert not [name for name, _ in pipe.unet.named_modules() if "base_layer" in name]


def test_a_layers_own_alpha_and_rank_in_two_loras_a_merge_and_an_export(tiny, tiny_folder, tmp_path):
    """Block weights beside a resized file: both count, are exported as they came, and are merged as they count."""
    first = layers(tiny, WIDE, alpha=lambda p: 0 if "conv_in" in p else in_down(p))
    second = layers(tiny, f"{ATTENTION}|{TEXT}", rank=rank_of, alpha=3, seed=1)
    for name, made in (("first", first), ("second", second)):
        load_lora(tiny, write(kohya(made), tmp_path / f"{name}.safetensors"), name)
    for name, made in (("first", first), ("second", second)):
        export_kohya(tiny, tmp_path / "again.safetensors", name)
        assert all(torch.equal(v, kohya(made)[k]) for k, v in load_file(tmp_path / "again.safetensors").items())
    set_scales(tiny, {"first": 0.5, "second": 2.0})
    merge(tiny)
    plain, expected = paidiff_lib.load(tiny_folder), {p: 0.5 * d for p, d in formula(first).items()}
    expected |= {p: expected.get(p, 0) + 2 * d for p, d in formula(second).items()}
    for part in ("unet", "text_encoder"):
        before = dict(getattr(plain, part).named_parameters())
        for name, weight in getattr(tiny, part).named_parameters():
            delta = expected.pop(f"{part}.{name.removesuffix('.weight')}", None)
            after = before[name] if delta is None else before[name] + delta.reshape(weight.shape)
            assert torch.allclose(weight, after, atol=1e-4)
    assert not expected


def test_why_a_dora_is_refused(tiny):
    """peft's DoRA at scale 0 is not off: it still has the magnitudes of the trained one."""
    inputs = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.randn(1, 6, tiny.unet.config.cross_attention_dim)
    with torch.no_grad():
        plain = tiny.unet(*inputs).sample
        tiny.unet.add_adapter(LoraConfig(use_dora=True, target_modules=["to_q", "to_v"]), adapter_name="dora")
        for name, parameter in tiny.unet.named_parameters():
            "magnitude" in name and parameter.mul_(1.5)
        set_scales(tiny, {"dora": 0.0})
        assert (tiny.unet(*inputs).sample - plain).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["porcelain-v1.5", "", "keys", "training", 3])
def test_names_that_torch_cannot_take(tiny, tmp_path, name):
    path = write(kohya(layers(tiny)), tmp_path / "x.safetensors")
    refused(["cannot have this name"], lambda: load_lora(tiny, path, name))
    refused(["cannot have this name"], lambda: paidiff_lib.LoRA(tiny, name=name))


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), "1", None])
def test_a_scale_is_a_finite_number(tiny, tmp_path, scale):
    path = write(kohya(layers(tiny)), tmp_path / "x.safetensors")
    refused(["finite number"], lambda: load_lora(tiny, path, scale=scale))
    assert not scales(tiny)
    load_lora(tiny, path)
    refused(["finite number"], lambda: set_scales(tiny, {"lora": scale}))
    assert scales(tiny) == {"lora": 1.0}


def test_of_several_files_none_is_chosen(tiny, tmp_path):
    for name in "ab":
        write(kohya(layers(tiny)), tmp_path / f"{name}.safetensors")
    refused(["several LoRAs", "a.safetensors, b.safetensors"], lambda: load_lora(tiny, tmp_path))
