"""The model card, written from what the run measured: no measured figure is typed by hand."""

HEADS = {"subject": "主体", "background": "背景", "style": "画风", "all": "三样都对", "colour": "颜色", "count": "数量"}
SETS = {
    "model": "the model",
    "ceiling": "real scenes through its VAE",
    "real": "real scenes",
    "floor": "flat pictures of their mean colours",
}


def model_card(config, notes, measured=None):
    """Markdown of data/models/paidiff-mini-zh/README.md from the run's config and record, and what `evaluate` measured."""
    rows = "\n".join(_row(name, notes[name]) for name in ("vae", "decoder", "clip", "judge", "unet"))
    return f"""---
license: apache-2.0
language: zh
library_name: diffusers
pipeline_tag: text-to-image
---
# paidiff-mini-zh

一个小小的中文文生图模型:128x128,两核 CPU 上一两秒一张。它由本项目自己从零训练,只认识它的"图画世界"
(112 种事物、24 种背景、10 种画风、9 种颜色、一到三个)。它不认识照片、文字和世界之外的东西。

> A small Chinese text-to-image model: 128x128 pictures in a second or two on two CPU cores. This project trained it
> from nothing on its own picture world (112 subjects, 24 backgrounds, 10 styles, 9 colours, counts of one to three).
> It knows no photographs, no lettering and nothing outside that world.

```python
from diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("data/models/paidiff-mini-zh")
picture = pipe("雪地里的两只企鹅", num_inference_steps=20).images[0]
```

| stage | parameters | steps | pictures | time | hardware |
|---|---|---|---|---|---|
{rows}

* Data: {config["pictures"]:,} scenes of `paidiff_world`, seeds from 0 (data seed), training seed {config["seed"]};
  the first {config["held_back"]:,} are kept back for measuring. The UNet saw {notes["unet"]["pictures_seen"]:,} pictures,
  {config["unet"]["pictures"]:,} different ones in its last run (what it started from: `before` in `training.json`).
* VAE: {notes["decoder"]["psnr_held_out_dB"]} dB PSNR on 300 held-out scenes.
* Chinese CLIP: picks the right caption out of 128 for {notes["clip"]["top1_of_128_held_out"]:.0%} of held-out pictures.
  While it trains, linear heads teach both towers every attribute of a caption (`clip.Taught`): not in the article.
* These weights were not made in one run: CLIP, judge and UNet started from earlier ones (`before` in `training.json`).
* Judge, on real held-out pictures: {", ".join(f"{k} {v:.1%}" for k, v in notes["judge"]["accuracy_held_out"].items())}.
* Prompt following and how the pictures look: {"below, and" if measured else "not measured yet;"}
  `prompt_following.json` beside this file, written by `python -m paidiff_world.pretrain.evaluate --keep`.
* Every number again, and the whole config: `training.json`. To make the model anew: `python -m paidiff_world.pretrain`.
{_measured(measured) if measured else ""}
Sprites: Noto Color Emoji (SIL Open Font License 1.1), for the judge also Fluent Emoji (MIT) and Twemoji (CC-BY 4.0):
`paidiff_world/assets/README.md`. People are drawn as the figures of those sets.
"""


def _row(name, note):
    parameters, pictures = note["parameters"] / 1e6, note.get("pictures", note["steps"] * note["batch"])
    time = f"{note['seconds'] / 60:.0f} min"
    return f"| {name} | {parameters:.2f} M | {note['steps']:,} | {pictures:,} | {time} | {note['hardware']} |"


def _measured(found):
    """The tables of `evaluate`'s figures."""
    rows = ["model", "ceiling", "floor"]
    lines = [_line("", *(f"{zh} {head}" for head, zh in HEADS.items())), "|---" * (len(HEADS) + 1) + "|"]
    lines += [_line(row, *(f"{found[row][head]:.0%}" for head in HEADS)) for row in rows]
    kernel, frechet = found["kernel_distance"], found.get("frechet_distance")
    titles = [f"kernel, {name}" for name in kernel]
    titles += [f"Fréchet, {name}, {frechet['pictures']:,} pictures" for name in kernel] if frechet else []
    lines += ["", _line("distance to real scenes", *titles), "|---" * (len(titles) + 1) + "|"]
    for row, title in SETS.items():
        cells = [f"{kernel[name][row]['mean']:.3f}" for name in kernel]
        cells += [f"{frechet[name][row]:.1f}" for name in kernel] if frechet else []
        lines.append(_line(title, *cells))
    errors = ", ".join(f"{error:.3f} at t = {t}" for t, error in found["x0_error"].items())
    apart = found.get("spread")
    grey = f" Seeds of one prompt: {apart['model'][0]:.0f} grey levels apart, real scenes {apart['real'][0]:.0f}."
    settings = f"{found['prompts']} held-out prompts, {found['seeds']} seeds, {found['steps']} steps"
    return f"""
{settings}, guidance {found["guidance"]:g}. Error of the denoiser's x_0: {errors}.{grey if apart else ""}

{chr(10).join(lines)}
"""


def _line(*cells):
    return f"| {' | '.join(cells)} |"
