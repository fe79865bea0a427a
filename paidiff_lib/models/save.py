"""A pipeline -> a folder that any version of the libraries opens rightly."""

import json
import shutil
from pathlib import Path

from ..errors import Refused
from ..files import output_folder
from .registry import MARK

BESIDE = "vocab.txt"  # transformers 5 leaves it out, transformers 4 reads it
NOTES = ("words.json", MARK)  # what the small model has learnt, for check_prompt; that weights are random
# What transformers 5 without torchvision says -> what every version knows.
PUBLISHED = {"CLIPImageProcessorPil": "CLIPImageProcessor"}
MODELSCOPE = {  # what `modelscope.pipelines.pipeline(task, folder)` looks for
    "framework": "pytorch",
    "task": "text-to-image-synthesis",
    "pipeline": {"type": "diffusers-stable-diffusion"},
}


def save_pipeline(pipe, folder, also_bin=False):
    """Write the whole pipeline into `folder`, in diffusers' layout: `StableDiffusionPipeline.from_pretrained` opens it.

    also_bin: every weights' file as a pickle too, for programs that read no safetensors, such as ModelScope's pipeline.
    """
    source = Path(pipe.tokenizer.name_or_path)
    with output_folder(folder) as staging:
        pipe.save_pretrained(staging)
        add_prefix(staging / "text_encoder/model.safetensors")
        open_single(staging / "text_encoder/config.json")
        for path in (staging / "model_index.json", staging / "feature_extractor/preprocessor_config.json"):
            path.is_file() and name_as_published(path)
        (staging / "configuration.json").write_text(json.dumps(MODELSCOPE, indent=2) + "\n", encoding="utf-8")
        if also_bin:
            add_bins(staging)
        if (source / BESIDE).is_file():
            shutil.copy(source / BESIDE, staging / "tokenizer")
        for name in NOTES:
            note = next((p for p in (source / name, source.parent / name) if p.is_file()), None)
            if note:
                shutil.copy(note, staging)


def add_prefix(path):
    """Give a text encoder's keys the `text_model.` prefix of every published one.

    transformers 5 drops it when the model was built from scratch; transformers 4 would then load random weights.
    """
    from safetensors.torch import load_file, save_file

    weights = {k if k.startswith("text_model.") else f"text_model.{k}": v for k, v in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


def open_single(path):
    """Say float32 in a text encoder's config, whatever the weights are stored in.

    transformers 5 opens a model in the precision its config names, diffusers opens UNet and VAE in float32: a plain
    from_pretrained(folder) would hold one half of each and fail at the first prompt.
    """
    config = json.loads(path.read_text(encoding="utf-8")) | {"dtype": "float32"}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def name_as_published(path):
    """Call the classes of transformers in a JSON file by the names that all its versions know."""
    text = path.read_text(encoding="utf-8")
    for own, known in PUBLISHED.items():
        text = text.replace(f'"{own}"', f'"{known}"')
    path.write_text(text, encoding="utf-8")


def add_bins(folder):
    """Write a pickle beside every safetensors file in `folder` and below, under the name that older programs look for."""
    import torch
    from safetensors.torch import load_file

    for path in folder.rglob("*.safetensors"):
        name = "pytorch_model" if path.stem == "model" else path.stem
        torch.save(load_file(path), path.with_name(f"{name}.bin"))


def require_finite(weights, source=None):
    """Raise Refused, naming one, if a tensor of {name: tensor} holds NaN or infinity. source: the file that it is from."""
    what = ("不装载", "not loaded") if source else ("不保存", "not saved")
    for name, tensor in weights.items():
        if not tensor.float().isfinite().all():
            where = f"{source}: {name}" if source else name
            raise Refused(f"权重不是有限数,{what[0]}", f"not finite, {what[1]}", where)
