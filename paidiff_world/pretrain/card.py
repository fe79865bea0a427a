"""The model card, written from what the run measured: no measured figure is typed by hand."""


def model_card(config, notes):
    """Markdown of data/models/paidiff-mini-zh/README.md from the run's config and record."""
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
* Prompt following, with ceiling and floor: `prompt_following.json` beside this file.
* Every number again, and the whole config: `training.json`. To make the model anew: `python -m paidiff_world.pretrain`.

Sprites: Noto Color Emoji (SIL Open Font License 1.1). People are drawn as the figures of that set.
"""


def _row(name, note):
    parameters, pictures = note["parameters"] / 1e6, note.get("pictures", note["steps"] * note["batch"])
    time = f"{note['seconds'] / 60:.0f} min"
    return f"| {name} | {parameters:.2f} M | {note['steps']:,} | {pictures:,} | {time} | {note['hardware']} |"
