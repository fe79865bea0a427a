"""Do results open elsewhere? Every method's output, opened by older diffusers and transformers in environments of their own.

    python tools/test_layouts.py     # make test-layouts

Makes the environments below build/layouts/ (about a GB each, torch as in constraints.txt), writes a result of every method
from a tiny skeleton and from mini, draws with each, and lets tools/open_layouts.py draw the same with the old libraries.
"""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import torch

import paidiff_lib as paidiff
from paidiff_app import skeleton
from paidiff_lib.environment import set_defaults
from paidiff_lib.methods.full import FullTuning
from paidiff_lib.methods.lora import WIDE

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build/layouts"
OF_2023, OLDEST = 0, 1  # what the models' own WebUI extension was written for; what everything opens with
ENVIRONMENTS = [
    (OF_2023, "diffusers==0.21.4 transformers==4.34.1 huggingface_hub==0.17.3 accelerate==0.23.0 numpy<2 pillow"),
    (OLDEST, "diffusers==0.31.0 transformers==4.46.3 peft==0.13.2 accelerate==1.1.1 pillow"),
]
VISIBLE = 30  # grey levels that a result changes a picture by, at least
PROMPT, WORD = "猫,草地", "<小奶猫>"
OPEN = 'pipe = StableDiffusionPipeline.from_pretrained(folder / "{}"{})'
CONTROL = """control = ControlNetModel.from_pretrained(folder / "{}")
pipe = StableDiffusionControlNetPipeline.from_pretrained(folder / "{}", controlnet=control, safety_checker=None)
image = Image.open(folder / "edges.png")"""


def main():
    """Write, then open with each environment. Returns the exit code."""
    set_defaults()
    shutil.rmtree(FOLDER / "results", ignore_errors=True)
    (FOLDER / "results").mkdir(parents=True)
    skeleton.write("artist-large", FOLDER / "results/real", tiny=True)
    shutil.copytree(paidiff.data("models/paidiff-mini-zh"), FOLDER / "results/mini")
    cases = [*write("real", OF_2023), *write("mini", OLDEST)]  # the VAE of mini has no attention: 0.21 cannot know that
    (FOLDER / "results/cases.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1), encoding="utf-8")
    return max([open_with(era, packages) for era, packages in ENVIRONMENTS])


def write(base, era):
    """Write a result of every method from the model `base`. Yields cases as tools/open_layouts.py reads them."""
    folder, plain = FOLDER / "results", OPEN.format(base, ", safety_checker=None")
    untouched = drawn(paidiff.load(folder / base), PROMPT).astype(int)

    def case(name, pipe, code, prompt=PROMPT, era=era, **image):
        picture = drawn(pipe, prompt, **image)
        assert abs(picture - untouched).max() > VISIBLE, f"{base}-{name} changes nothing, and so would prove nothing"
        np.save(folder / f"{base}-{name}.npy", picture)
        return {"name": f"{base}-{name}", "code": code, "prompt": prompt, "era": era}

    shapes = {"attention": {"alpha": 2.5}, "plain": {}, "wide": {"layers": WIDE}, "text": {"text_encoder": True}}
    for shape, settings in shapes.items():
        lora = shaken(paidiff.LoRA(paidiff.load(folder / base), rank=4, **settings), 0.2 if shape == "wide" else 0.5)
        lora.save(folder / f"{base}-{shape}")
        lora.export(folder / f"{base}-{shape}-kohya/lora.safetensors")
        files = {shape: "pytorch_lora_weights", f"{shape}-kohya": "lora"}
        if "alpha" in settings:  # 0.31 does not read an alpha other than the rank from the metadata of the first
            del files[shape]
        for name, file in files.items():
            code = f'pipe.load_lora_weights(folder / "{base}-{name}", weight_name="{file}.safetensors")'
            yield case(name, lora.pipe, f"{plain}\n{code}", era=OLDEST)
        if shape == "attention":
            lora.export(folder / f"{base}-old/pytorch_lora_weights.bin")
            of_folder = f'pipe.unet.load_attn_procs(folder / "{base}-old")'  # as the WebUI extension does
            yield case("old-folder", lora.pipe, f"{plain}\n{of_folder}")
            file = f'torch.load(folder / "{base}-old/pytorch_lora_weights.bin")'  # as the article does
            yield case("old-file", lora.pipe, f"{plain}\npipe.unet.load_attn_procs({file})")

    word = shaken(paidiff.TextualInversion(paidiff.load(folder / base), WORD, initializer="猫", vectors=2))
    full = shaken(FullTuning(paidiff.load(folder / base), text_encoder=True))
    for name, method, prompt in (("word", word, f"一只{WORD}在草地上"), ("full", full, PROMPT)):
        method.save_model(folder / f"{base}-{name}", also_bin=True)
        yield case(name, method.pipe, OPEN.format(f"{base}-{name}", ""), prompt)
        yield case(f"{name}-bin", method.pipe, OPEN.format(f"{base}-{name}", ", use_safetensors=False"), prompt)

    control = shaken(paidiff.ControlNet(paidiff.load(folder / base)), 0.1)
    control.save(folder / f"{base}-control")
    side = control.pipe.unet.config.sample_size * control.pipe.vae_scale_factor
    image = edges(side)
    image.save(folder / f"{base}-edges.png")
    code = CONTROL.format(f"{base}-control", base).replace("edges.png", f"{base}-edges.png")
    yield case("control", control.pipeline(), code, image=image)


def shaken(method, by=0.02):
    """A method as if it had been trained: its parameters off by a little."""
    torch.manual_seed(0)
    for parameter in method.parameters().values():
        parameter.data += torch.randn_like(parameter) * by
    method.after_step()
    return method


def drawn(pipe, prompt, **image):
    """What tools/open_layouts.py draws, with the libraries of today: (height, width, 3)."""
    generator = torch.Generator().manual_seed(0)
    picture = pipe(prompt, num_inference_steps=2, guidance_scale=2, generator=generator, **image).images[0]
    return np.asarray(picture)


def edges(side):
    """A white square's outline on black."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (side, side))
    ImageDraw.Draw(image).rectangle([side // 4, side // 4, side * 3 // 4, side * 3 // 4], outline="white")
    return image


def open_with(era, packages):
    """Open all results with these packages; returns the exit code."""
    python = FOLDER / f"environment-{era}/bin/python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        torch_pin = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:7] == "torch==")
        for wanted in ([torch_pin], [torch_pin, *packages.split()]):  # torch first, as everywhere
            subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)
    script = ROOT / "tools/open_layouts.py"
    return subprocess.run([python, script, FOLDER / "results", str(era)]).returncode


if __name__ == "__main__":
    sys.exit(main())
