"""`make bench`: how long one picture takes, part by part. Prints a table, writes benchmarks/results.json.

Then the ladder of speed-ups (ladder.py), on a GPU the full-size model (skeleton.py), and, where DIFFUSERS_EXAMPLES names a
folder, training against diffusers' own scripts (training.py).

Each part is run REPEATS times after one warm-up; the table gives the median and the range. One picture at the
model's own size, 20 steps, guidance on.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path

from gauge import flops, peak_memory, reachable, seconds

import paidiff_lib as paidiff
from paidiff_lib.generate import GUIDANCE, STEPS
from paidiff_lib.models.load import device, model_name

REPEATS = 5
PROCESS_REPEATS = 3
PROMPT = "雪地里的两只企鹅"
RESULTS = Path(__file__).with_name("results.json")


def main():
    import torch

    pipe = paidiff.load()
    latents = _latents(pipe)
    parts = {
        "load": (paidiff.load, REPEATS),
        "text encode": (lambda: pipe.encode_prompt(PROMPT, pipe.device, 1, True), REPEATS),
        f"{STEPS} UNet steps": (partial(_sample, pipe), REPEATS),
        "VAE decode": (lambda: pipe.vae.decode(latents), REPEATS),
    }
    with torch.inference_mode():
        times = {name: measure(work, repeats) for name, (work, repeats) in parts.items()}
        sampling, took = partial(_sample, pipe), times[f"{STEPS} UNet steps"]["median"]
        peak_memory()  # from here on
        sampling()
        memory = peak_memory()
        used = {"share of peak": round(flops(sampling) / took / reachable(pipe.device, pipe.unet.dtype), 3)}
        used |= {"peak_gb": memory} if memory else {}
    starts = starting(pipe)
    settings = {"model": model_name(), "steps": STEPS, "guidance": GUIDANCE}
    report = {"machine": machine(), **settings, "UNet steps": used, "seconds": times | starts}
    RESULTS.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(table(report), flush=True)
    others = {"ladder.py": True, "skeleton.py": device() == "cuda", "training.py": "DIFFUSERS_EXAMPLES" in os.environ}
    for name in (name for name, wanted in others.items() if wanted):
        subprocess.run([sys.executable, RESULTS.with_name(name)], check=True)


def starting(pipe):
    """From the command to the picture, whole processes in turns: the model as it is, and exported (on a CPU)."""
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        models = {"paidiff draw, whole process": model_name()}
        if device() == "cpu":
            from paidiff_app.onnx.export import export

            export(pipe, Path(folder) / "model")
            models["the same, exported"] = str(Path(folder) / "model")
        for index in range(PROCESS_REPEATS + 1):
            for name, model in models.items():
                took = seconds(lambda model=model: _process(model))
                times.setdefault(name, []).extend([took] if index else [])  # the first round warms up
    return {name: summary(took) for name, took in times.items()}


def measure(work, repeats):
    """Median and range, in seconds, of `repeats` runs after one warm-up."""
    work()
    return summary(seconds(work) for _ in range(repeats))


def summary(values):
    values = sorted(values)
    return {"median": round(statistics.median(values), 4), "low": round(values[0], 4), "high": round(values[-1], 4)}


def machine():
    """What the figures depend on; the host's name is nobody's business."""
    import torch

    names = ["torch", "diffusers", "transformers"]
    return {
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "device": torch.cuda.get_device_name() if device() == "cuda" else "cpu",
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def table(report):
    """The report as a Markdown table."""
    where = ", ".join(f"{key} {value}" for key, value in report["machine"].items())
    lines = [f"{report['model']}, {report['steps']} steps, guidance {report['guidance']}", where, ""]
    lines += ["UNet steps: " + ", ".join(f"{key} {value}" for key, value in report["UNet steps"].items()), ""]
    lines += ["| part | median s | low | high |", "|---|---|---|---|"]
    lines += [f"| {k} | {v['median']:.3f} | {v['low']:.3f} | {v['high']:.3f} |" for k, v in report["seconds"].items()]
    return "\n".join(lines)


def _latents(pipe):
    """(1, channels, size, size): what the VAE decodes into one picture."""
    import torch

    shape = (1, pipe.unet.config.in_channels, pipe.unet.config.sample_size, pipe.unet.config.sample_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(pipe.device, pipe.vae.dtype)


def _sample(pipe):
    """Text encoding is in it too; it is a hundredth of the steps."""
    pipe(PROMPT, num_inference_steps=STEPS, guidance_scale=GUIDANCE, output_type="latent")


def _process(model):
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "paidiff_app.cli",
            "draw",
            PROMPT,
            "-o",
            str(Path(folder) / "p.png"),
            "--model",
            model,
        ]
        subprocess.run(command, check=True, capture_output=True)


def _cpu_name():
    """The processor as Linux names it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
