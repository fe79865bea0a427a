"""A checkpoint with random weights, file by file as a published PAI-Diffusion model: it draws noise, but it loads, runs and trains.

    paidiff skeleton artist-large -o out/artist            # 5.4 GB, in the shape of Stable Diffusion 1.5
    paidiff skeleton artist-large -o out/tiny --tiny       # 15 MB, 64 x 64 pixels, for tests on a laptop
    PAIDIFF_MODEL=$PWD/out/tiny make lesson N=03

What tests, timing on a GPU and a classroom behind a firewall need. The layout is the one of 2023: `.bin` weights in single
precision, old names inside them, `vocab.txt` and no tokenizer.json, a safety checker. The vocabulary is generated.

model_index.json, scheduler_config.json and preprocessor_config.json have the sizes that the hub lists, 582, 565 and 518
bytes: the index names PNDMScheduler (or DDIMScheduler, of the same length) over a DPMSolverMultistepScheduler's settings.
Taiyi's index has 539: a BertModel is its text encoder.
"""

import json
import re
from functools import partial
from pathlib import Path

from paidiff_lib.errors import unknown
from paidiff_lib.files import new_folder
from paidiff_lib.models.registry import FAMILY, MARK, short_name

WORDS = 21128  # as the published vocabulary
LIMIT, TAIYI_LIMIT = 32, 512  # tokens of a prompt, [CLS] and [SEP] included; inferred
SHAPE = ("unet", "vae", "layers", "width", "depth", "rank")
FULL = dict(zip(SHAPE, ((320, 640, 1280, 1280), (128, 256, 512, 512), 2, 768, 12, 128)))
TINY = dict(
    zip(SHAPE, ((32, 32, 64, 64), (32, 32, 32, 32), 2, 32, 2, 4))
)  # two layers a block, as key mappings want it
VISION = "hidden_size intermediate_size num_hidden_layers num_attention_heads patch_size projection_dim".split()
FULL["vision"] = dict(zip(VISION, (1024, 4096, 24, 16, 14, 768)))
TINY["vision"] = dict(zip(VISION, (32, 64, 1, 4, 14, 16)))
VERSION, TAIYI_VERSION = "0.15.0.dev0", "0.6.0"  # of diffusers; of Taiyi's, only the length is known
NOISE = {
    **{"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000},
    **{
        "clip_sample": False,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
    },
}
SCHEDULER = {
    **{"_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": VERSION, **NOISE},
    **{"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint", "lower_order_final": True},
    **{
        "thresholding": False,
        "dynamic_thresholding_ratio": 0.995,
        "sample_max_value": 1.0,
        "prediction_type": "epsilon",
    },
}
FEATURE_EXTRACTOR = {
    **{"feature_extractor_type": "CLIPFeatureExtractor", "image_processor_type": "CLIPImageProcessor"},
    **{f"do_{what}": True for what in ("center_crop", "convert_rgb", "normalize", "rescale", "resize")},
    **{"crop_size": {"height": 224, "width": 224}, "size": {"shortest_edge": 224}, "resample": 3},
    "rescale_factor": 1 / 255,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


def write(name, folder, tiny=False, seed=0):
    """Write the skeleton of the published model `name` into `folder`, which must be new or empty. Returns its bytes.

    name: a short name ("artist-large", "artist-large-lora-poem", "artist-large-controlnet-canny") or a hub id.
    One component is in memory at a time, 3.5 GB at most. The same seed, the same weights. Raises PaidiffError.
    """
    short, shape, folder = known(name), TINY if tiny else FULL, Path(folder)
    side = 64 if tiny else min(FAMILY[short].size)
    kind = _taiyi if short == "taiyi" else {"base": _base, "controlnet": _control, "lora": _lora}[FAMILY[short].kind]
    with new_folder(folder, _size(kind, shape, side)) as staging:
        kind(staging, shape, side, seed)
        mark = {"weights": "random", "layout_of": short, "tiny": tiny, "seed": seed}
        (staging / MARK).write_text(json.dumps(mark, indent=2) + "\n", encoding="utf-8")
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def known(name):
    """The short name of a published model, from that or from its hub id. Raises PaidiffError."""
    if (short := short_name(name)) is None:
        raise unknown("模型", "model", name, list(FAMILY))
    return short


# --- the three kinds of checkpoint ------------------------------------------------------------------------------


def _base(folder, shape, side, seed):
    """A whole pipeline of PAI-Diffusion."""
    index = {
        **{"_diffusers_version": VERSION, "requires_safety_checker": True},
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
    }
    _pipeline(folder, index, PARTS, SCHEDULER, LIMIT, shape, side, seed)


def _taiyi(folder, shape, side, seed):
    """A whole pipeline of Taiyi. Its limit and its scheduler are inferred."""
    index = {"_diffusers_version": TAIYI_VERSION, "feature_extractor": ["transformers", "CLIPFeatureExtractor"]}
    scheduler = {"_class_name": "PNDMScheduler", "_diffusers_version": TAIYI_VERSION, **NOISE}
    _pipeline(folder, index, TAIYI_PARTS, scheduler, TAIYI_LIMIT, shape, side, seed)


def _pipeline(folder, index, parts, scheduler, limit, shape, side, seed):
    index |= {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "PNDMScheduler"]}
    index["tokenizer"] = ["transformers", "BertTokenizer"]
    for number, (part, (make, library, file, old)) in enumerate(parts.items()):
        module = _made(partial(make, shape, side), seed + number)
        index[part] = [library, type(module).__name__]
        _write_part(module, folder / part, file, old)
    _tokenizer(folder / "tokenizer", limit)
    _json(folder / "scheduler/scheduler_config.json", scheduler)
    _json(folder / "feature_extractor/preprocessor_config.json", FEATURE_EXTRACTOR)
    _json(folder / "model_index.json", index)


def _control(folder, shape, side, seed):
    """A ControlNet. Its last layers, zeros before training, get small numbers, so that it acts."""
    import torch

    module = _made(partial(_controlnet, shape, side), seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if not parameter.any() and parameter.dim() == 4:
            parameter.data.normal_(std=0.02, generator=generator)
    _write_part(module, folder, "diffusion_pytorch_model.bin", dict)


def _lora(folder, shape, side, seed):
    """A LoRA beside the attention of the UNet, in the hub's old layout: keys without `unet.`, and a pickle."""
    import torch

    with torch.device("meta"):
        unet = _unet(shape, side)
    generator, state = torch.Generator().manual_seed(seed), {}
    for place, layer in unet.named_modules():
        match = re.fullmatch(r"(.*\.attn[12])\.(to_q|to_k|to_v|to_out)(\.0)?", place)
        if match and hasattr(layer, "weight"):
            out, into = layer.weight.shape
            key = f"{match[1]}.processor.{match[2]}_lora"
            state[f"{key}.down.weight"] = torch.randn(shape["rank"], into, generator=generator) / shape["rank"]
            state[f"{key}.up.weight"] = torch.randn(out, shape["rank"], generator=generator) * 0.02
    torch.save(state, folder / "pytorch_lora_weights.bin")


# --- the parts of a pipeline ------------------------------------------------------------------------------------


def _unet(shape, side):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(sample_size=side // 8, **_unet_sizes(shape))


def _controlnet(shape, side):
    from diffusers import ControlNetModel

    return ControlNetModel(**_unet_sizes(shape))


def _unet_sizes(shape):
    sizes = {"block_out_channels": shape["unet"], "layers_per_block": shape["layers"]}
    return sizes | {"cross_attention_dim": shape["width"], "attention_head_dim": 8}


def _vae(shape, side):
    from diffusers import AutoencoderKL

    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    blocks |= {"block_out_channels": shape["vae"], "layers_per_block": shape["layers"]}
    return AutoencoderKL(**blocks, latent_channels=4, sample_size=side)


def _text_encoder(shape, side):
    from transformers import CLIPTextConfig, CLIPTextModel

    ids = {"bos_token_id": 101, "eos_token_id": 102, "pad_token_id": 0}
    return CLIPTextModel(CLIPTextConfig(max_position_embeddings=LIMIT, **_text_sizes(shape), **ids))


def _bert(shape, side):
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(max_position_embeddings=TAIYI_LIMIT, **_text_sizes(shape)))


def _text_sizes(shape):
    width, depth = shape["width"], shape["depth"]
    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "vocab_size": WORDS}
    return sizes | {"num_hidden_layers": depth, "num_attention_heads": depth}


def _safety_checker(shape, side):
    """With concepts that nothing is ever close enough to: a random checker must not blacken pictures by chance."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    vision = shape["vision"]
    return StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=vision["projection_dim"]))


def _old_vae(state):
    """The names that diffusers gave the attention of a VAE until 2023."""
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    pattern = re.compile(r"(?<=attentions\.0\.)(to_q|to_k|to_v|to_out\.0)")
    return {pattern.sub(lambda match: names[match[0]], key): value for key, value in state.items()}


def _old_text(state):
    """`text_model.` before every key, and the numbers of the places, which transformers no longer keeps."""
    state = {f"text_model.{key}": value for key, value in state.items()}
    return state | {"text_model.embeddings.position_ids": _count(LIMIT)}


def _old_bert(state):
    return state | {"embeddings.position_ids": _count(TAIYI_LIMIT)}


def _old_vision(state):
    places = _count(len(state["vision_model.embeddings.position_embedding.weight"]))
    state = {re.sub(r"^vision_model\.", "vision_model.vision_model.", key): value for key, value in state.items()}
    return state | {"vision_model.vision_model.embeddings.position_ids": places}


def _count(number):
    import torch

    return torch.arange(number)[None]


PARTS = {  # folder: (maker, library, file, what gives its keys their old names)
    "unet": (_unet, "diffusers", "diffusion_pytorch_model.bin", dict),
    "vae": (_vae, "diffusers", "diffusion_pytorch_model.bin", _old_vae),
    "text_encoder": (_text_encoder, "transformers", "pytorch_model.bin", _old_text),
    "safety_checker": (_safety_checker, "stable_diffusion", "pytorch_model.bin", _old_vision),
}
TAIYI_PARTS = PARTS | {"text_encoder": (_bert, "transformers", "pytorch_model.bin", _old_bert)}


def _tokenizer(folder, limit):
    """BERT's special ids, ASCII, Chinese signs, the characters of GB2312, then other characters until the table is full."""
    from paidiff_lib.models.vocabulary import vocabulary

    words = list(dict.fromkeys([*vocabulary(), *map(chr, range(0x4E00, 0xA000))]))[:WORDS]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("cls", "mask", "pad", "sep", "unk")}
    _json(folder / "special_tokens_map.json", special)
    own = {"tokenizer_class": "BertTokenizer", "model_max_length": limit}
    own |= {"do_lower_case": True, "tokenize_chinese_chars": True}
    _json(folder / "tokenizer_config.json", special | own)


# --- making and writing -----------------------------------------------------------------------------------------


def _made(make, seed):
    """`make()` with its weights from `seed`, whatever was drawn before, and nothing else disturbed."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def _write_part(module, folder, file, old):
    import torch

    folder.mkdir(exist_ok=True)
    if hasattr(module, "to_json_string"):  # of diffusers
        config = json.loads(module.to_json_string()) | {"_diffusers_version": VERSION}
    else:
        config = module.config.to_diff_dict() | {"architectures": [type(module).__name__], "torch_dtype": "float32"}
    _json(folder / "config.json", config)
    torch.save(old(module.state_dict()), folder / file)


def _json(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _size(kind, shape, side):
    """About how many bytes the checkpoint takes, counted without making it."""
    import torch

    if kind is _lora:
        return 102e6 * shape["rank"] / 128
    parts = TAIYI_PARTS if kind is _taiyi else PARTS
    makers = [_controlnet] if kind is _control else [part[0] for part in parts.values()]
    with torch.device("meta"):
        return sum(4 * parameter.numel() for make in makers for parameter in make(shape, side).parameters())
