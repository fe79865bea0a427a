"""A loaded pipeline -> a folder that `exported` draws with: text encoder, UNet and VAE decoder as ONNX, any size, any batch.

    export(paidiff.load("mini"), "out/exported")

What is written is drawn with, and compared with the pipeline's own pictures, before the folder takes its name. Why ONNX Runtime:
one step of the mini UNet took 74 ms of processor time in torch, 36 in OpenVINO, 34 in ONNX Runtime (two 64x64 latents: 577, 537,
476); drawing with it takes 80 MB of packages in place of 185.
"""

import json
import os
import shutil
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from paidiff_lib import __version__
from paidiff_lib.errors import PaidiffError
from paidiff_lib.files import list_all, new_folder, replace_folder, require_only_ours
from paidiff_lib.generate import BATCH, guidance_of, sample
from paidiff_lib.memory import is_small
from paidiff_lib.methods.lora_files import load_lora
from paidiff_lib.models.encode import native_size
from paidiff_lib.models.load import EXPORT_MARK, is_export
from paidiff_lib.schedulers import SAMPLERS, sampler

from .runtime import FORMAT, OnnxPipeline, runtime

TOLERANCE = 2  # grey levels of 255 that a pixel may differ by: rounding alone makes 1
PROMPT, STEPS = "雪地里的两只企鹅", 4  # what is drawn to compare
STEPS_LARGE = 2  # of one picture, with a model that takes minutes for it
READ = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type", "timestep_spacing")
READ += ("steps_offset",)
SAMPLER = "DPM++ 2M"  # the one that `runtime` has; a few steps are enough for it
SOLVER = SAMPLERS[SAMPLER]
OFF = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas")
OFF += ("rescale_betas_zero_snr", "thresholding", "trained_betas", "euler_at_final")
KNOWN = {
    **{"solver_order": (2,), "solver_type": ("midpoint",), "algorithm_type": ("dpmsolver++",)},
    "final_sigmas_type": ("zero",),
    "prediction_type": ("epsilon", "v_prediction"),
    "beta_schedule": ("linear", "scaled_linear"),
    "timestep_spacing": ("linspace", "leading", "trailing"),
    **dict.fromkeys(OFF, (False, None)),
}


def export(pipe, folder, source="", lora=None):
    """Write `pipe` into `folder`: new, empty, or an older export that holds nothing else. Returns the largest difference found, in grey levels.

    source: what to note as its origin. lora: one to merge into it first; those that are loaded and on are in it anyway.
    A text-to-image pipeline. It is exported with DPM-Solver++ in place of another sampler, from a CPU in single precision;
    both are said, and undone at the end. A large model is compared over two steps of one picture. Raises PaidiffError, also
    if the exported model draws another picture; nothing is written then.
    """
    check_target(folder)
    if lora:
        load_lora(pipe, lora, "exported")
    folder = Path(folder).absolute()
    aside = folder.with_name(f".{folder.name}-new-{os.getpid()}")  # an older export stays until the new one is whole
    parts = pipe.unet, pipe.text_encoder, pipe.vae.decoder
    size = sum(4 * p.numel() for part in parts for p in part.parameters())
    with _exportable(pipe), new_folder(aside, size) as staging:
        _write_graphs(pipe, staging)
        _write_words(pipe, staging)
        note = _note(pipe, source)
        _json(staging / EXPORT_MARK, note)
        found = _compare(pipe, OnnxPipeline(staging))
        _json(staging / EXPORT_MARK, {**note, "largest_difference": found})
        list_all(staging)
    require_only_ours(folder)  # again: minutes have passed
    replace_folder(aside, folder)
    return found


@contextmanager
def _exportable(pipe):
    """The pipeline as it is exported: with that sampler, on a CPU, in single precision; afterwards as it was.

    Raises PaidiffError where the sampler has settings that the runtime does not know.
    """
    import torch

    scheduler, parts = pipe.scheduler, (pipe.unet, pipe.text_encoder, pipe.vae)
    places = [(part, part.device, part.dtype) for part in parts]
    kind = type(scheduler).__name__
    if kind != SOLVER:
        pipe.scheduler = sampler(scheduler, SAMPLER)
        print(f"采样器换成 {SAMPLER} · exported with the sampler {SAMPLER} in place of {kind}", flush=True)
    try:
        _check_scheduler(pipe.scheduler)
        if any(device.type != "cpu" or dtype != torch.float32 for _, device, dtype in places):
            print("搬到 CPU 上,用单精度 · moved to the CPU, in single precision", flush=True)
            pipe.to("cpu", torch.float32)
        yield
    finally:
        pipe.scheduler = scheduler
        for part, device, dtype in places:
            if (part.device, part.dtype) != (device, dtype):  # diffusers logs a line about every cast
                part.to(device, dtype)


def _note(pipe, source):
    """What the exported model must know of the pipeline."""
    return {
        **{"format": FORMAT, "paidiff": __version__, "source": str(source), "guidance": guidance_of(pipe)},
        **{"size": native_size(pipe), "scale": pipe.vae_scale_factor},
        **{"channels": pipe.unet.config.in_channels, "tokens": pipe.tokenizer.model_max_length},
        "at_once": BATCH if is_small(pipe) else 1,
        "scheduler": {name: pipe.scheduler.config[name] for name in READ},
        "tolerance": TOLERANCE,
    }


def check_target(folder):
    """Raise PaidiffError if an export cannot go there or could not be run: told before a model is loaded."""
    runtime()
    runtime("onnx")  # torch writes the file with it; drawing does not need it
    require_only_ours(folder)
    if Path(folder).is_dir() and any(Path(folder).iterdir()) and not is_export(folder):  # a model of ours, a LoRA
        raise PaidiffError(f"{folder} 里有别的东西,换一个新文件夹", "holds something else: choose a new folder")


def _check_scheduler(scheduler):
    config = scheduler.config
    odd = [f"{name} {config[name]}" for name, values in KNOWN.items() if name in config and config[name] not in values]
    if odd:
        raise PaidiffError(f"只会导出普通的 {SAMPLER}", f"can export plain {SAMPLER} only, not", ", ".join(odd))


def _write_graphs(pipe, folder):
    """Trace the three parts. The example's odd size makes the tracer follow sizes instead of writing them down."""
    import torch

    class Words(torch.nn.Module):
        def forward(self, ids):
            return pipe.text_encoder(ids)[0]

    class Noise(torch.nn.Module):
        def forward(self, latents, timestep, words):
            return pipe.unet(latents, timestep, words, return_dict=False)[0]

    class Picture(torch.nn.Module):
        def forward(self, latents):
            pixels = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
            return (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)

    length, width = pipe.tokenizer.model_max_length, pipe.text_encoder.config.hidden_size
    latents = torch.randn(2, pipe.unet.config.in_channels, 9, 13)
    words, size = torch.randn(2, length, width), {0: "batch", 2: "height", 3: "width"}
    inputs, free = {"ids": torch.ones(2, length, dtype=torch.long)}, {"ids": {0: "batch"}}
    _trace(Words(), pipe.text_encoder, inputs, free, folder / "text_encoder.onnx")
    inputs, free = {"latents": latents, "timestep": torch.tensor(500.0), "words": words}, {"words": {0: "batch"}}
    _trace(Noise(), pipe.unet, inputs, {"latents": size, **free}, folder / "unet.onnx")
    _trace(Picture(), pipe.vae, {"latents": latents[:1]}, {"latents": size}, folder / "decoder.onnx")


def _trace(graph, module, inputs, free, path):
    """inputs: {name: example}; free: {name: {axis: what it is}}, the axes that may have any length."""
    import torch

    graph.add_module("module", module)
    names = {"input_names": list(inputs), "output_names": ["output"], "dynamic_axes": free}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer names every size that it does follow
        torch.onnx.export(graph.eval(), tuple(inputs.values()), str(path), **names, opset_version=17, dynamo=False)
    _gather_weights(path)


def _gather_weights(path):
    """A graph over 2 GB has a file for each of its tensors: put them into one, <path>.data."""
    import onnx

    graph = onnx.load(path, load_external_data=False)
    scattered = {
        entry.value for one in graph.graph.initializer for entry in one.external_data if entry.key == "location"
    }
    if scattered:
        onnx.load_external_data_for_model(graph, str(path.parent))
        for name in scattered:
            (path.parent / name).unlink()
        onnx.save(graph, path, save_as_external_data=True, location=f"{path.name}.data")


def _write_words(pipe, folder):
    pipe.tokenizer.save_pretrained(folder / "tokenizer")
    source = Path(pipe.tokenizer.name_or_path)
    places = [place / "words.json" for place in (source, source.parent) if (place / "words.json").is_file()]
    for place in places[:1]:
        shutil.copy(place, folder)


def _compare(pipe, exported):
    """The largest difference of a pixel, in grey levels, over two pictures at once and one of another shape.

    Of a large model, over one picture.
    """
    side, largest = exported.note["size"], 0
    tried, steps = [([PROMPT, ""], None), ([PROMPT], (side + 8, side - 8))], STEPS
    if not is_small(pipe):
        tried, steps = [([PROMPT], None)], STEPS_LARGE
    for prompts, size in tried:
        seeds, guidance = list(range(len(prompts))), guidance_of(pipe)
        ours = exported.run_batch(prompts, [""] * len(prompts), seeds, steps, guidance, size)
        theirs = sample(pipe, prompts, seeds, steps, guidance, size=size)
        difference = max(np.abs(np.asarray(a, int) - np.asarray(b, int)).max() for a, b in zip(ours, theirs))
        largest = max(largest, int(difference))
    if largest > TOLERANCE:
        zh, en = "导出的模型画得不一样,没有保存", "the exported model draws other pictures, not saved"
        raise PaidiffError(zh, en, f"{largest} > {TOLERANCE} / 255")
    return largest


def _json(path, content):
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
