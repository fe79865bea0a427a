"""Lessons 3, 4, 5, 7 and 8 trained anew with three seeds, and trained longer and measured more widely than a lesson has time for.

    python benchmarks/seeds.py [lora] [word] [dreambooth] [food] [cleaning]     # all five; writes benchmarks/seeds.json

Each value is a mean over the trainings, with the lowest and the highest.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import paidiff_lib as paidiff
from paidiff_course import profile
from paidiff_lib import CaptionFolder, FullTuning, LoRA, Mixed, TextualInversion, curate, train, with_prior
from paidiff_lib.generate import sample
from paidiff_lib.methods.lora import WIDE
from paidiff_lib.metrics import sharpness
from paidiff_world import Spec, dirty
from paidiff_world.folders import food as food_scenes, known, write
from paidiff_world.heldout import held_out
from paidiff_world.judge import judge, prompt_following, similarity
from paidiff_world.words import DISHES, SUBJECTS

DATA = Path(__file__).resolve().parents[1] / "data"
RESULTS = Path(__file__).with_name("seeds.json")
SEEDS = (0, 1, 2)
STEPS = 10  # where there are many pictures: the judge sees no difference from 20, see benchmarks/ladder.py
REHEARSAL = 0.55  # lesson 7's share of old pictures
PLACES = ["草地", "雪地", "沙滩", "白色背景"]
THINGS = ["猫", "企鹅", "汽车", "茶壶", "蘑菇", "房子", "熊猫", "西瓜", "帆船", "松树", "气球", "箱子"]
NAMESAKES = [thing for thing in SUBJECTS if set(thing) & set("".join(DISHES))]  # rehearsed more, as in lesson 7
ALL = [Spec(thing, PLACES[i % 4]) for i, thing in enumerate(SUBJECTS)]


def run(method, data, seed, **settings):
    """Train as the lesson does. settings: a training of the lesson's profile, and what else it gives."""
    for _ in train(method, data, seed=seed, **{"lr_scheduler": "cosine", "caption_dropout": 0, **settings}):
        pass


def pictures(pipe, phrases, **settings):
    """Three pictures of every phrase, with seeds that do not depend on the training."""
    return sample(pipe, list(phrases) * 3, [seed for seed in SEEDS for _ in phrases], **settings)


def following(pipe, specs, style=""):
    drawn = pictures(pipe, [f"{spec.subject},{spec.background}{style}" for spec in specs], guidance=2)  # as in lesson 3
    return drawn, prompt_following(drawn, specs * 3)["subject"]


def lora(seed, folder):
    pipe = paidiff.load()
    specs = [Spec(thing, PLACES[i % 4]) for i, thing in enumerate(THINGS)]
    style = lambda drawn: float((judge().probability(drawn, "style", "青花瓷") > 0.5).mean())
    before, subject_before = following(pipe, specs, ",青花瓷")
    run(
        LoRA(pipe, rank=8, layers=WIDE, seed=seed),
        CaptionFolder(DATA / "porcelain"),
        seed,
        caption_dropout=0.15,
        **profile("03", pipe).lora,
    )
    after, subject = following(pipe, specs, ",青花瓷")
    return {"style before": style(before), "style": style(after), "subject before": subject_before, "subject": subject}


def word(seed, folder):
    pipe, data = paidiff.load(), CaptionFolder(DATA / "kitten", captions=False)
    kitten = [data.image(i, 128) for i in range(len(data))]
    where = ["草地", "沙发", "湖面", "星空", "落日", "竹林", "粉色背景", "沙漠"]
    alike = lambda name: float(similarity(pictures(pipe, [f"{name},{place}" for place in where]), kitten).mean())
    cat = alike("猫")
    run(TextualInversion(pipe, "<小奶猫>", "猫", vectors=4), data, seed, **profile("04", pipe).word)
    return {"猫": cat, "<小奶猫>": alike("<小奶猫>")}


def dreambooth(seed, folder):
    data, places = CaptionFolder(DATA / "bear"), ["草地", "沙发", "星空", "落日"]
    bear, found = [data.image(i, 128) for i in range(len(data))], {}
    for kind in ("base", "with", "without"):
        pipe = paidiff.load()
        method = LoRA(pipe, rank=16, layers=WIDE, text_encoder=True, seed=seed)
        if kind == "with":
            run(
                method,
                with_prior(pipe, data, "一只熊", folder / "bears", 40),
                seed,
                **profile("05", pipe).lora | {"steps": 200},
            )
        if kind == "without":
            run(method, data, seed, **profile("05", pipe).alone | {"steps": 100})
        for name in ("淼熊", "熊"):
            drawn = pictures(pipe, [f"一只{name},{place}" for place in places])
            found[f"{kind}: {name} like the toy"] = float(similarity(drawn, bear).mean())
        found[f"{kind}: 熊 seen as a bear"] = float((judge().probability(drawn, "subject", "熊") > 0.5).mean())
    return found


def food(seed, folder):
    if not (folder / "food").exists():
        write(folder / "food", food_scenes(240))
        write(folder / "known", [*known(320), *known(160, seed=1, subjects=NAMESAKES)])
    new, old = CaptionFolder(folder / "food"), CaptionFolder(folder / "known")
    dishes, found = [Spec(dish, place) for place in PLACES for dish in DISHES], {}
    for kind, data, training, steps in (
        ("base", None, None, 0),
        ("with", Mixed(new, old, share=REHEARSAL), "food", 140),
        ("without", new, "careless", 50),
    ):
        pipe = paidiff.load()
        if data:
            run(
                FullTuning(pipe),
                data,
                seed,
                lr_scheduler="constant",
                ema=0.95,
                cache=folder / "cache",
                **getattr(profile("07", pipe), training) | {"steps": steps},
            )
        for name, specs in (
            ("dishes", dishes),
            ("old subjects", ALL),
        ):  # one picture each: other ones for every training
            drawn = sample(
                pipe,
                [f"{s.subject},{s.background}" for s in specs],
                [1000 * seed + i for i in range(len(specs))],
                steps=STEPS,
            )
            found[f"{kind}: {name}"] = prompt_following(drawn, specs)["subject"]
    return found


def cleaning(seed, folder):
    if not (folder / "dirty").exists():
        dirty.write(
            folder / "dirty", 480, seed=8, share=0.75, kinds=("blur", *["caption"] * 4, *dirty.KINDS)
        )  # as in the lesson
    sets, chosen, found = {"base": None, "dirty": "dirty/metadata.jsonl", "clean": None}, held_out(100), {}
    sets["clean"] = curate(folder / "dirty").write()
    for kind, data in sets.items():
        pipe = paidiff.load()
        if data:
            tune = profile("08", pipe).tune | {"steps": 100}
            run(FullTuning(pipe), CaptionFolder(folder / data), seed, cache=folder / "cache", **tune)
        drawn = sample(
            pipe, [caption for _, caption in chosen], [1000 * seed + i for i in range(len(chosen))], steps=STEPS
        )
        rates = prompt_following(drawn, [spec for spec, _ in chosen])
        found |= {f"{kind}: {head}": rates[head] for head in ("subject", "background")}
        found[f"{kind}: sharpness"] = float(np.mean([sharpness(picture) for picture in drawn]))
    return found


LESSONS = {"lora": lora, "word": word, "dreambooth": dreambooth, "food": food, "cleaning": cleaning}


def main(names):
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in names or LESSONS:
        began = time.time()
        with tempfile.TemporaryDirectory() as folder:
            rows = [LESSONS[name](seed, Path(folder)) for seed in SEEDS]
        results[name] = {}
        print(f"\n{name}: {len(SEEDS)} trainings, {time.time() - began:.0f} s")
        for key in rows[0]:
            values = [row[key] for row in rows]
            results[name][key] = {
                "mean": round(float(np.mean(values)), 3),
                "low": round(min(values), 3),
                "high": round(max(values), 3),
            }
            print("  {:32} {mean:.2f} ({low:.2f}-{high:.2f})".format(key, **results[name][key]), flush=True)
        RESULTS.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
