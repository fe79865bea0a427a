"""The ladder of paidiff_lib/acceleration.py, rung by rung: what a picture takes, and what the rung costs in the picture.

    python benchmarks/ladder.py                      # times, in turns, and distances; writes ladder.json and ladder.png
    python benchmarks/ladder.py --judge 60           # and judge accuracy: 60 held-out prompts, three seeds each
    python benchmarks/ladder.py --model DIR          # another model, into ladder-DIR.json; random weights have times only

Times are of whole pipeline calls, one picture each, as ratios to the plain pipeline (DDIM, 50 steps) of the same round; on a
busy machine the ratio of the processor time is the steadier one. The distance is in grey levels from the plain pipeline's picture
of the same seed. The share of the peak is that of gauge.py; on a GPU, peak memory too, and the compiled rung, for which the first
round waits: a CPU waits for minutes, so there it needs --compile.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from gauge import flops, peak_memory, reachable, wait
from run import machine

import paidiff_lib as paidiff
from paidiff_lib import acceleration as faster
from paidiff_lib.generate import sample
from paidiff_lib.metrics import distance
from paidiff_world.pretrain.export import MODELS

PROMPTS = ["雪地里的两只企鹅", "草地上的一只猫", "水墨画,荷塘", "落日,一艘帆船"]
DPM, GUIDED, CACHED = (faster.solver, "dpm"), (faster.guidance_every, 2), (faster.caching, 2)
PLAIN = "DDIM 50"
LADDER = {  # name: (steps, rungs)
    PLAIN: (50, [(faster.solver, "ddim")]),
    "DDIM 20": (20, [(faster.solver, "ddim")]),
    "DPM++ 20": (20, [DPM]),
    "DPM++ 15": (15, [DPM]),
    "DPM++ 10": (10, [DPM]),
    "DPM++ 6": (6, [DPM]),
    "DPM++ 4": (4, [DPM]),  # the fair rival of the distilled four
    "20, channels_last": (20, [DPM, (faster.channels_last,)]),
    "20, guidance until 0.5": (20, [DPM, (faster.guidance_between, 0, 0.5)]),
    "20, guidance from 0.2": (20, [DPM, (faster.guidance_between, 0.2, 1)]),
    "20, guidance every 2": (20, [DPM, GUIDED]),
    "20, caching 2": (20, [DPM, CACHED]),
    "20, caching 3": (20, [DPM, (faster.caching, 3)]),
    "20, caching 2, guidance every 2": (20, [DPM, CACHED, GUIDED]),
    "20, caching 3, guidance every 3": (20, [DPM, (faster.caching, 3), (faster.guidance_every, 3)]),
    "15, caching 2, guidance every 2": (15, [DPM, CACHED, GUIDED]),
    "20, compiled": (20, [(faster.compiled,), DPM]),
    "4, distilled": (4, [(faster.few_step, MODELS / "paidiff-mini-zh-4-steps")]),
}
JUDGED = [
    PLAIN,
    "DPM++ 20",
    "DPM++ 10",
    "DPM++ 6",
    "DPM++ 4",
    "20, caching 2, guidance every 2",
    "15, caching 2, guidance every 2",
    "4, distilled",
]
EXPORTED, DISTILLED, COMPILED = "20, exported", "4, distilled", "20, compiled"
TIMES = ("seconds", "ratio", "cpu ratio")


@contextmanager
def standing_on(pipe, name):
    """One rung of the ladder, for a while; gives sample's settings."""
    steps, rungs = LADDER.get(name, (20, []))
    with ExitStack() as stack:
        given = [stack.enter_context(rung(pipe, *arguments)) for rung, *arguments in rungs]
        yield {"steps": steps, **(given and given[-1] or {})}


def drawn(pipe, name, prompts, seeds):
    with standing_on(pipe, name) as settings:
        return sample(pipe, prompts, seeds, **settings)


def main():
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--judge", type=int, default=0, metavar="PROMPTS", help="held-out prompts; 0: leave it out")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--no-times", action="store_true")
    parser.add_argument("--model", default="mini", help="a name or a folder")
    parser.add_argument("--compile", action="store_true", help="measure the compiled rung on a CPU too")
    flags = parser.parse_args()
    pipe, mini, gpu = paidiff.load(flags.model), flags.model == "mini", torch.cuda.is_available()
    results = Path(__file__).with_name("ladder.json" if mini else f"ladder-{Path(flags.model).name}.json")
    left_out = {DISTILLED: not mini, COMPILED: not (gpu or flags.compile)}
    with tempfile.TemporaryDirectory() as folder:
        pipes = {name: pipe for name in LADDER if not left_out.get(name)}
        if mini and not gpu:
            from paidiff_app.onnx.export import export

            export(pipe, Path(folder) / "model")
            pipes[EXPORTED] = paidiff.load(Path(folder) / "model")
        report = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
        rungs = report.setdefault("rungs", {})
        for name in pipes:
            rungs.setdefault(name, {})
        if not flags.no_times:
            report["machine"] = machine()
            for name, found in times(pipes, flags.rounds).items():
                rungs[name].update(found)
            keep(report, results)
        for name, found in distances(pipes).items():
            rungs[name]["distance"] = found
        if flags.judge:
            report["judged"] = {"prompts": flags.judge, "seeds": flags.seeds}
            for name, found in accuracies(
                {name: pipes[name] for name in JUDGED if name in pipes}, flags.judge, flags.seeds
            ).items():
                rungs[name].update(found)
    keep(report, results)
    print(table(report))


def keep(report, results):
    results.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    plot(report).save(results.with_suffix(".png"))


def times(pipes, rounds):
    """Seconds of one picture in each of `rounds` rounds after a warm-up, all rungs in turns, and ratios within a round."""
    seconds, busy, memory = {name: [] for name in pipes}, {name: [] for name in pipes}, {}
    for index in range(rounds + 1):
        for name, pipe in pipes.items():
            with standing_on(pipe, name) as settings:  # loading a LoRA is not part of a picture's time
                wait()
                began, spent = time.perf_counter(), time.process_time()
                sample(pipe, PROMPTS[:1], index, **settings)
                wait()
                took, worked = time.perf_counter() - began, time.process_time() - spent
            if index:
                seconds[name].append(took)
                busy[name].append(worked)
                memory |= {name: found} if (found := peak_memory()) else {}
        print(f"round {index}", file=sys.stderr)
    found = {}
    for name, values in seconds.items():
        found[name] = {"seconds": summary(values), "ratio": ratio(values, seconds[PLAIN])}
        found[name]["cpu ratio"] = ratio(busy[name], busy[PLAIN])
        found[name] |= {"peak_gb": memory[name]} if memory else {}
    for name, share in shares(pipes, {name: found[name]["seconds"]["median"] for name in pipes}).items():
        found[name]["share of peak"] = share
    return found


def shares(pipes, seconds):
    """What each rung computes a second, as a share of the machine's peak. What an export computes cannot be counted."""
    pipe = pipes[PLAIN]
    most, found = reachable(pipe.device, pipe.unet.dtype), {}
    for name in (name for name in pipes if name != EXPORTED):
        with standing_on(pipe, "DPM++ 20" if name == COMPILED else name) as settings:  # the same arithmetic
            work = flops(partial(sample, pipe, PROMPTS[:1], 0, **settings))
        found[name] = round(work / seconds[name] / most, 3)
    return found


def ratio(values, plain):
    """Of the rounds' own ratios, so that what slows a whole round down does not count."""
    return summary([a / b for a, b in zip(values, plain)])


def summary(values):
    return {"median": round(statistics.median(values), 3), "low": round(min(values), 3), "high": round(max(values), 3)}


def distances(pipes):
    """The mean distance from the plain pipeline's pictures."""
    seeds = list(range(len(PROMPTS)))
    pictures = {name: drawn(pipe, name, PROMPTS, seeds) for name, pipe in pipes.items()}
    return {
        name: round(float(np.mean(list(map(distance, pictures[PLAIN], found)))), 2) for name, found in pictures.items()
    }


def accuracies(pipes, count, seeds):
    """The judge's five rates and their mean, over held-out prompts and seeds: {"accuracy", "by_seed", "heads"}."""
    from paidiff_world.heldout import held_out
    from paidiff_world.judge import HEADS, prompt_following

    chosen, found = held_out(count), {}
    specs, captions = [spec for spec, _ in chosen], [caption for _, caption in chosen]
    for name, pipe in pipes.items():
        rates = []
        for seed in range(seeds):
            starts = [seed * 100_000 + i for i in range(count)]
            rates.append(prompt_following(drawn(pipe, name, captions, starts), specs))
        by_seed = [float(np.mean([rate[head] for head in HEADS])) for rate in rates]
        heads = {head: round(float(np.mean([rate[head] for rate in rates])), 4) for head in HEADS}
        found[name] = {
            "accuracy": round(float(np.mean(by_seed)), 4),
            "by_seed": [round(r, 4) for r in by_seed],
            "heads": heads,
        }
        print(name, found[name]["accuracy"], file=sys.stderr, flush=True)
    return found


def table(report):
    """The report as a Markdown table."""
    where = ", ".join(f"{key} {value}" for key, value in report.get("machine", {}).items())
    heads = ["rung", "s a picture", "of the plain one", "processor time", "share of peak", "distance", "judge"]
    lines = [where, "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, found in report["rungs"].items():
        cells = [f"{v['median']:.3f} ({v['low']:.3f}–{v['high']:.3f})" if (v := found.get(k)) else "" for k in TIMES]
        cells.append(found.get("share of peak", ""))
        judged = f"{found['accuracy']:.1%}" if "accuracy" in found else ""
        lines.append(f"| {name} | {' | '.join(map(str, cells))} | {found.get('distance', '')} | {judged} |")
    return "\n".join(lines)


def plot(report):
    """Share of the plain pipeline's time against the distance from its picture."""
    import io

    from matplotlib.figure import Figure
    from PIL import Image

    paidiff.use_chinese_font()
    figure = Figure((8, 4.8), dpi=90, layout="constrained")
    axes = figure.subplots()
    rungs = {name: found for name, found in report["rungs"].items() if "ratio" in found and "distance" in found}
    for number, (name, found) in enumerate(rungs.items(), 1):
        place = found["ratio"]["median"], found["distance"]
        axes.plot(*place, "o", label=f"{number}  {name}")
        axes.annotate(number, place, fontsize=8, xytext=(4, 4), textcoords="offset points")
    axes.legend(fontsize=7, loc="upper right", handlelength=1)
    axes.axvline(0.25, linestyle=":", color="gray")
    axes.set(
        xscale="log",
        xlabel="占朴素管线时间的份额 · share of the plain pipeline's time",
        ylabel="与参考图的距离 · distance, grey levels",
    )
    axes.set_xticks([0.05, 0.1, 0.25, 0.5, 1], ["5 %", "10 %", "25 %", "50 %", "100 %"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    data = io.BytesIO()
    figure.savefig(data)
    return Image.open(data).convert("P", palette=Image.Palette.ADAPTIVE, colors=64)


if __name__ == "__main__":
    main()
