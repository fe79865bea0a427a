"""A pipeline -> a folder that any version of the libraries opens rightly."""

import json
import shutil
from pathlib import Path

from ..errors import PaidiffError, Refused
from ..files import output_folder
from .opening import opening
from .registry import MARK
from .verify import WEIGHTY

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
    Each part is opened again and compared before the folder counts. Raises PaidiffError.
    """
    weighty = {part: getattr(pipe, part) for part in WEIGHTY if getattr(pipe, part, None) is not None}
    if any(".base_layer." in name for module in weighty.values() for name in module.state_dict()):
        zh, en = "模型旁边还有 LoRA,存成的模型打不开", "a LoRA stands beside its layers, what is saved would not open"
        raise PaidiffError(zh, en, "merge(pipe), 或 or pipe.unload_lora_weights()")
    source = Path(pipe.tokenizer.name_or_path)
    with output_folder(folder) as staging:
        pipe.save_pretrained(staging)
        finish_text_encoder(pipe.text_encoder, staging / "text_encoder")
        for path in (staging / "model_index.json", staging / "feature_extractor/preprocessor_config.json"):
            path.is_file() and name_as_published(path)
        (staging / "configuration.json").write_text(json.dumps(MODELSCOPE, indent=2) + "\n", encoding="utf-8")
        if also_bin:
            add_bins(staging)
        for part, module in weighty.items():
            require_opens_as(module, staging / part)
        if (source / BESIDE).is_file():
            shutil.copy(source / BESIDE, staging / "tokenizer")
        for name in NOTES:
            note = next((p for p in (source / name, source.parent / name) if p.is_file()), None)
            if note:
                shutil.copy(note, staging)


def finish_text_encoder(module, folder):
    """Make what transformers 5 saved of a text encoder what every version of the libraries opens rightly."""
    if type(module).__name__ == "CLIPTextModel":  # a BertModel's keys, Taiyi's, have no prefix
        add_prefix(folder / "model.safetensors")
    open_single(folder / "config.json")


def require_opens_as(module, folder):
    """Raise PaidiffError unless the library opens `folder` as this module, tensor for tensor."""
    with opening("存的读不回来,没有保存", "cannot be read back, not saved", folder.name):
        opened = type(module).from_pretrained(folder, local_files_only=True)
    require_same(opened.state_dict(), module.state_dict(), folder.name)


def require_same(found, expected, what):
    """Raise PaidiffError unless {name: tensor} that was read back is what was to be saved, in whatever precision."""
    wrong = found.keys() ^ expected.keys()
    wrong = wrong or {n for n in found if not found[n].float().equal(expected[n].detach().cpu().float())}
    if wrong:
        zh, en = "存的读回来不一样,没有保存", "reads back differently, not saved"
        raise PaidiffError(zh, en, f"{what}: {len(wrong)}, {min(wrong)}")


def add_prefix(path):
    """Give a CLIPTextModel's keys the `text_model.` prefix of every published one.

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
