"""Training, ours against diffusers' own example scripts: whole runs of the same commands, in turns.

    DIFFUSERS_EXAMPLES=path/to/diffusers/examples python benchmarks/training.py              # every method, into training.json
    DIFFUSERS_EXAMPLES=path/to/diffusers/examples python benchmarks/training.py LoRA

The scripts are used as they are, but for one word: CLIPTokenizer, which cannot open a Chinese model's vocabulary, becomes AutoTokenizer,
and torchvision's transforms become the same ones in Pillow. Needs `datasets`, which they read pictures with. Every method runs with few
and with more updates: the difference is what an update costs, the short run is what starting costs. One thread each, and CPU seconds
beside those of the clock: they depend less on what else the machine does. Peak memory is the process's, on a GPU the GPU's.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from run import machine

from paidiff_lib import canny

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("training.json")
REPEATS = 3
MODEL = ROOT / "data/models/paidiff-mini-zh"
COMMON = [
    f"--pretrained_model_name_or_path={MODEL}",
    "--resolution=128",
    "--train_batch_size=1",
    "--gradient_accumulation_steps=4",
    "--lr_warmup_steps=0",
    "--seed=0",
]
CROPPED = ["--center_crop", "--random_flip", "--max_grad_norm=1"]
BEAR = [
    "--instance_prompt=一只淼熊",
    "--center_crop",
    "--train_text_encoder",
    "--learning_rate=1e-04",
    "--lr_scheduler=constant",
]
COLUMNS = ["--image_column=image", "--conditioning_image_column=conditioning_image", "--caption_column=text"]


@dataclass
class Pair:
    """One method: a script of diffusers, which ours has the name of, and the flags of both."""

    script: str  # below diffusers' examples
    data: str  # below data/
    flags: list
    folder_flag: str = "--train_data_dir"
    theirs: tuple = ()  # flags that only diffusers' script needs
    own: str | None = None  # the name of ours, where it is another
    mine: tuple = ()
    steps: tuple = (4, 24)  # updates of a short and of a longer run


METHODS = {
    "LoRA": Pair(
        "text_to_image/train_text_to_image_lora.py",
        "porcelain",
        [*CROPPED, "--learning_rate=1e-03", "--lr_scheduler=cosine"],
        steps=(4, 34, 120),
    ),
    "Textual Inversion": Pair(
        "textual_inversion/textual_inversion.py",
        "kitten",
        [
            "--learnable_property=object",
            "--placeholder_token=<小奶猫>",
            "--initializer_token=猫",
            "--learning_rate=5.0e-04",
            "--scale_lr",
            "--lr_scheduler=constant",
        ],
    ),
    "full": Pair(
        "text_to_image/train_text_to_image.py",
        "porcelain",
        [*CROPPED, "--use_ema", "--learning_rate=1e-05", "--lr_scheduler=constant"],
    ),
    "DreamBooth": Pair("dreambooth/train_dreambooth.py", "bear", BEAR, "--instance_data_dir"),
    "DreamBooth LoRA": Pair(
        "dreambooth/train_dreambooth_lora.py",
        "bear",
        [*BEAR, "--rank=16"],
        "--instance_data_dir",
        own="train_dreambooth.py",
    ),
    "ControlNet": Pair(
        "controlnet/train_controlnet.py",
        "porcelain",
        ["--learning_rate=3e-04", "--lr_scheduler=constant"],
        theirs=COLUMNS,
        mine=("--center_crop",),
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


TELL_PEAK = """
import atexit, os, sys
def tell():
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        open(os.environ["GPU_PEAK"], "w").write(str(torch.cuda.max_memory_allocated()))
atexit.register(tell)
"""  # no word of ours in their script: Python runs a file of this name in every process that finds it


def main(names):
    examples = os.environ.get("DIFFUSERS_EXAMPLES")
    if not examples:
        sys.exit("DIFFUSERS_EXAMPLES=path/to/diffusers/examples: 和谁比 · what to compare with")
    pairs = {name: METHODS[name] for name in names or METHODS}
    runs = {name: {who: {n: [] for n in pair.steps} for who in ("ours", "diffusers")} for name, pair in pairs.items()}
    with prepared() as folder:
        for _ in range(REPEATS):
            for name, pair in pairs.items():
                take_turns(pair, runs[name], folder, Path(examples))
            report = {"machine": machine(), "methods": {name: summed(times) for name, times in runs.items()}}
            if not names:  # after every round: whoever stops it keeps what is measured
                RESULTS.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(table(report))


@contextmanager
def prepared():
    """A folder with the pictures, as both sides can read them, and room for results."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in {pair.data for pair in METHODS.values()}:
            shutil.copytree(ROOT / "data" / name, folder / name, ignore=shutil.ignore_patterns("*.md", "LICENSE"))
        for name in ("kitten", "bear"):  # diffusers' scripts take every file of the folder for a picture
            (folder / name / "metadata.jsonl").unlink()
        _with_edges(folder / "porcelain", folder / "porcelain-edges")
        yield folder


def _with_edges(pictures, folder):
    """The pictures and their edges side by side, for diffusers' ControlNet script; ours finds the edges itself."""
    shutil.copytree(pictures, folder)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        name = row.pop("file_name")
        row |= {"image_file_name": name, "conditioning_image_file_name": f"edges-{Path(name).stem}.png"}
        canny(Image.open(folder / name)).save(folder / row["conditioning_image_file_name"])
    (folder / "metadata.jsonl").write_text(
        "\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8"
    )


def ours(pair, folder, steps):
    """Our command, without the Python that runs it."""
    script = ROOT / "scripts" / (pair.own or Path(pair.script).name)
    return [script, *_flags(pair, folder / pair.data, folder, steps), *pair.mine]


def theirs(pair, folder, steps, examples):
    """The same of diffusers' script."""
    script = patched(examples / pair.script, folder)
    pictures = folder / (f"{pair.data}-edges" if "controlnet" in pair.script else pair.data)
    return [script, *_flags(pair, pictures, folder, steps), *pair.theirs]


def _flags(pair, pictures, folder, steps):
    places = [f"{pair.folder_flag}={pictures}", f"--output_dir={folder / 'out'}"]
    return [*places, *COMMON, *pair.flags, f"--max_train_steps={steps}"]


def take_turns(pair, seconds, folder, examples):
    """One run of each length and side, into {"ours": {4: [...], ...}, "diffusers": ...}."""
    for steps in pair.steps:
        for who, command in {
            "ours": ours(pair, folder, steps),
            "diffusers": theirs(pair, folder, steps, examples),
        }.items():
            seconds[who][steps].append(run(command, folder))
            print(pair.script, who, steps, seconds[who][steps][-1], file=sys.stderr, flush=True)


def summed(seconds):
    """Medians and ranges of an update and of whole runs, for CPU and clock: {"ours": ..., "diffusers": ..., "ratio": ...}."""
    report = {"repeats": len(next(iter(seconds["ours"].values())))}
    for kind in ("cpu", "clock"):
        found = {who: _parts(times, kind) for who, times in seconds.items()}
        ratio = {
            part: round(found["diffusers"][part]["median"] / found["ours"][part]["median"], 2) for part in found["ours"]
        }
        report[kind] = {**found, "ratio": ratio}
    report["peak gb"] = {who: summary([run["gb"] for run in times[max(times)]]) for who, times in seconds.items()}
    return report


def _parts(times, kind):
    """{"an update": summary, "4 updates": summary, ...} from {4: [{"cpu": seconds, ...}, ...], ...}."""
    seconds = {steps: [each[kind] for each in runs] for steps, runs in times.items()}
    first, last = min(seconds), max(seconds)
    update = [(b - a) / (last - first) for a, b in zip(seconds[first], seconds[last])]
    return {"an update": summary(update), **{f"{steps} updates": summary(runs) for steps, runs in seconds.items()}}


def patched(script, folder):
    """A copy of one of diffusers' scripts that opens a Chinese tokenizer and does without torchvision."""
    text = script.read_text(encoding="utf-8").replace("CLIPTokenizer", "AutoTokenizer")
    copy = folder / script.name
    copy.write_text(text.replace("from torchvision import", "from pillow_transforms import"), encoding="utf-8")
    (folder / "pillow_transforms.py").write_text(TRANSFORMS, encoding="utf-8")
    return copy


def run(command, folder):
    """{"cpu": seconds, "clock": seconds, "gb": peak memory, a GPU's where there is one} of one whole run."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "sitecustomize.py").write_text(TELL_PEAK, encoding="utf-8")
    gpu_peak, began = folder / "gpu-peak", time.perf_counter()
    gpu_peak.unlink(missing_ok=True)
    alone = {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "HF_HOME": str(folder / "cache"),
        "PYTHONPATH": str(folder),
        "GPU_PEAK": str(gpu_peak),
    }
    with open(folder / "errors", "w+", encoding="utf-8") as errors:
        command = [sys.executable, *map(str, command)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env={**os.environ, **alone})
        _, status, used = os.wait4(process.pid, 0)
        if status:
            errors.seek(0)
            sys.exit(f"{command[1]} failed:\n{errors.read()[-2000:]}")
    peak = int(gpu_peak.read_text()) if gpu_peak.exists() else used.ru_maxrss * 1024
    return {"cpu": used.ru_utime + used.ru_stime, "clock": time.perf_counter() - began, "gb": peak / 1e9}


def summary(values):
    return {"median": round(statistics.median(values), 3), "low": round(min(values), 3), "high": round(max(values), 3)}


def table(report):
    lines = [
        ", ".join(f"{k} {v}" for k, v in report["machine"].items()),
        "",
        "| method | part | ours, CPU s | diffusers, CPU s | ratio | ratio by the clock |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in report["methods"].items():
        cpu, clock = found["cpu"], found["clock"]
        for part, ratio in cpu["ratio"].items():
            sides = (
                f"{v['median']:.2f} ({v['low']:.2f}–{v['high']:.2f})"
                for v in (cpu["ours"][part], cpu["diffusers"][part])
            )
            lines.append(f"| {name} | {part} | {' | '.join(sides)} | {ratio:.1f} | {clock['ratio'][part]:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
