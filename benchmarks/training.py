"""Training, ours against diffusers' own example scripts: whole runs of the article's commands, in turns.

    DIFFUSERS_EXAMPLES=path/to/diffusers/examples python benchmarks/training.py

The scripts are used as they are, but for one word: CLIPTokenizer, which cannot open a Chinese model's vocabulary,
becomes AutoTokenizer, and torchvision's transforms become the same ones in Pillow. Needs `datasets`, which they read pictures with. Every method runs with few and with more
steps: the difference is what a step costs, the short run is what starting costs.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import machine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("training.json")
SHORT, LONG, REPEATS = 4, 34, 3
COMMON = ["--resolution=128", "--train_batch_size=1", "--gradient_accumulation_steps=4", "--lr_warmup_steps=0", "--seed=0"]
METHODS = {
    "LoRA": (
        "text_to_image/train_text_to_image_lora.py",
        "porcelain",
        ["--center_crop", "--random_flip", "--learning_rate=1e-03", "--max_grad_norm=1", "--lr_scheduler=cosine"],
    ),
    "Textual Inversion": (
        "textual_inversion/textual_inversion.py",
        "kitten",
        ["--learnable_property=object", "--placeholder_token=<小奶猫>", "--initializer_token=猫",
         "--learning_rate=5.0e-04", "--scale_lr", "--lr_scheduler=constant"],
    ),
}
# There is no torchvision for the CPU build of torch that this project pins.
TRANSFORMS = """
import random, types
import numpy, torch
from PIL import Image, ImageOps
def _box(picture, size, x, y):
    return picture.crop((x, y, x + size, y + size))
def _resize(size, interpolation):
    return lambda p: p.resize([round(s * size / min(p.size)) for s in p.size], interpolation)
def _tensor(picture):
    return torch.from_numpy(numpy.array(picture)).permute(2, 0, 1).float() / 255
class Compose:
    def __init__(self, steps): self.steps = steps
    def __call__(self, value):
        for step in self.steps: value = step(value)
        return value
transforms = types.SimpleNamespace(
    Compose=Compose, Resize=_resize, ToTensor=lambda: _tensor, Normalize=lambda mean, std: lambda x: (x - mean[0]) / std[0],
    CenterCrop=lambda size: lambda p: _box(p, size, (p.width - size) // 2, (p.height - size) // 2),
    RandomCrop=lambda size: lambda p: _box(p, size, random.randint(0, p.width - size), random.randint(0, p.height - size)),
    RandomHorizontalFlip=lambda p=.5: lambda picture: ImageOps.mirror(picture) if random.random() < p else picture,
    Lambda=lambda f: f,
    InterpolationMode=types.SimpleNamespace(BILINEAR=Image.BILINEAR, LANCZOS=Image.LANCZOS))
"""


def main():
    examples = os.environ.get("DIFFUSERS_EXAMPLES")
    if not examples:
        sys.exit("DIFFUSERS_EXAMPLES=path/to/diffusers/examples: 和谁比 · what to compare with")
    with tempfile.TemporaryDirectory() as folder:
        report = {name: compare(Path(examples), Path(folder), *method) for name, method in METHODS.items()}
    report = {"machine": machine(), "steps": [SHORT, LONG], "methods": report}
    RESULTS.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(table(report))


def compare(examples, folder, script, data, flags):
    """Medians of interleaved runs: seconds to start and a step, {"ours": ..., "diffusers": ...}, and ratios."""
    pictures = folder / data
    shutil.copytree(ROOT / "data" / data, pictures, ignore=shutil.ignore_patterns("*.md", "LICENSE"), dirs_exist_ok=True)
    if data == "kitten":  # diffusers' script takes every file of the folder for a picture
        (pictures / "metadata.jsonl").unlink()
    scripts = {"ours": ROOT / "scripts" / Path(script).name, "diffusers": patched(examples / script, folder)}
    seconds = {who: {SHORT: [], LONG: []} for who in scripts}
    for _ in range(REPEATS):
        for steps in (SHORT, LONG):
            for who, path in scripts.items():
                seconds[who][steps].append(run(path, pictures, folder / "out", [*COMMON, *flags], steps))
    found = {}
    for who, times in seconds.items():
        steps = [(b - a) / (LONG - SHORT) for a, b in zip(times[SHORT], times[LONG])]
        found[who] = {"step": summary(steps), "start": summary(times[SHORT]), "whole": summary(times[LONG])}
    ratio = {part: round(found["diffusers"][part]["median"] / found["ours"][part]["median"], 2) for part in found["ours"]}
    return {**found, "ratio": ratio}


def patched(script, folder):
    """A copy of one of diffusers' scripts that opens a Chinese tokenizer and does without torchvision."""
    text = script.read_text(encoding="utf-8").replace("CLIPTokenizer", "AutoTokenizer")
    copy = folder / script.name
    copy.write_text(text.replace("from torchvision import", "from pillow_transforms import"), encoding="utf-8")
    (folder / "pillow_transforms.py").write_text(TRANSFORMS, encoding="utf-8")
    return copy


def run(script, data, out, flags, steps):
    """Seconds of one whole run."""
    shutil.rmtree(out, ignore_errors=True)
    model = ROOT / "data/models/paidiff-mini-zh"
    command = [sys.executable, script, f"--pretrained_model_name_or_path={model}", f"--train_data_dir={data}",
               f"--output_dir={out}", f"--max_train_steps={steps}", *flags]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - began


def summary(values):
    return {"median": round(statistics.median(values), 3), "low": round(min(values), 3), "high": round(max(values), 3)}


def table(report):
    lines = [", ".join(f"{k} {v}" for k, v in report["machine"].items()), "",
             "| method | part | ours, s | diffusers, s | ratio |", "|---|---|---|---|---|"]
    for name, found in report["methods"].items():
        for part in ("step", "start", "whole"):
            ours, theirs = (f"{v['median']:.3f} ({v['low']:.3f}–{v['high']:.3f})" for v in (found["ours"][part], found["diffusers"][part]))
            lines.append(f"| {name} | {part} | {ours} | {theirs} | {found['ratio'][part]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
