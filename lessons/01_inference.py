# %% [markdown] lang="zh"
# # 01 · 推理：从中文提示词到图画
#
# **离线 · CPU · 不用 GPU**
#
# **学完这一课，你会**：用一句中文画一张图；用反向提示词去掉不想要的东西，并*量出*它的效果；看懂种子、步数、引导强度、调度器和尺寸各管什么；一次画完 36 条提示词的画廊；测量模型听不听话；换一个名字就用上真正的十亿参数模型。
#
# **用时**：两核 CPU 上全部运行约两分钟，不需要 GPU，也不需要网络。
#
# 这里的模型叫 **paidiff-mini-zh**，就放在仓库里，由本项目用文章同样的办法训练：先训一个 *中文 CLIP*（Chinese CLIP；训练时另加了几个属性分类头，这是文章里没有的），冻结它的*文本编码器*（text encoder），再训*变分自编码器*（VAE）和*去噪网络*（UNet）。它只认识一个小小的“图画世界”，但和真模型用的是同一套类，所以每一行代码都能照搬。

# %% [markdown] lang="en"
# # 01 · Inference: from a Chinese prompt to a picture
#
# **Offline · CPU · no GPU needed**
#
# **You will**: draw from one line of Chinese; remove what you do not want with a negative prompt and *measure* the effect; know what seed, steps, guidance, scheduler and size do; draw the gallery of 36 prompts; measure how well the model obeys; switch to the real billion-parameter model by changing one name.
#
# **Time**: About two minutes for Run All on two CPU cores; no GPU, no network.
#
# The model here, **paidiff-mini-zh**, lies in the repository. The project trained it with the article's own recipe: a *Chinese CLIP* (with attribute heads while it trains, which the article has not), its *text encoder* frozen, then a *VAE* and a *UNet*. It knows only a small picture world, but is made of the same classes as the real model, so every line carries over.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import paidiff_lib as paidiff
from paidiff_lib import draw, show

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("01", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 1.1 先看结果
#
# 一句提示词（*prompt*），一张图。说实话：这版权重只在两个 CPU 核上看了约一百零七万张图。简单场景里的一个主体几乎都认得出来；画风、颜色、数量加在一起时，大约四次里成三次，细节也还粗，1.12 有数字。权重会换，这一课的代码不变。

# %% [markdown] lang="en"
# ## 1.1 The result first
#
# One prompt, one picture. To be honest: these weights saw some 1,070,000 pictures on two CPU cores. One subject in a plain scene can nearly always be recognised; with style, colour and number all asked for at once, about three times in four, and details are still rough: figures in 1.12. The weights will be replaced, the code of this lesson stays.

# %%
show(draw(pipe, "雪地里的一只企鹅", seed=1), titles="雪地里的一只企鹅")

# %% [markdown] lang="zh"
# 提示词可以是一句话，也可以是用逗号隔开的几个词。主体、背景、画风、颜色、数量都可以说。最后一张最难：两只，每只都小。

# %% [markdown] lang="en"
# A prompt can be a sentence or words between commas. Say the subject, background, style, colour and number. The last one is the hardest: two, and each of them small.

# %%
prompts = ["熊猫,竹林,剪纸", "猫头鹰,森林,水彩画", "狮子,沙漠,油画", "雪地里的两只企鹅"]
show(draw(pipe, prompts, seed=2), titles=prompts)

# %% [markdown] lang="zh"
# ## 1.2 模型读到了什么
#
# *分词器*（tokenizer）把提示词切成*词元*（token）：这里一个汉字就是一个词元，前后加上 `[CLS]` 和 `[SEP]`，最多 32 个。文本编码器把每个词元变成一个向量，UNet 画图时看的就是这些向量。

# %% [markdown] lang="en"
# ## 1.2 What the model reads
#
# The *tokenizer* cuts the prompt into *tokens*: one a character here, `[CLS]` before and `[SEP]` after, at most 32. The text encoder turns each into a vector, and these vectors are what the UNet looks at.

# %%
print(paidiff.tokens(pipe.tokenizer, "雪地里的两只企鹅"))
print("at most", pipe.tokenizer.model_max_length, "of", len(pipe.tokenizer))

# %% [markdown] lang="zh"
# 模型一次只读 30 个词元：更长的，diffusers 不声不响地丢掉后面的，`draw` 分段读再接起来（PAI 的 WebUI 也是）。词表外的字模型看不见，没学过的东西画不出来。`draw` 都会告诉你。

# %% [markdown] lang="en"
# The model reads 30 tokens at a time. Of a longer prompt diffusers quietly drops the rest; `draw` reads it in parts and joins them, as PAI's WebUI does. Unknown characters are not seen, and what was never learnt cannot be drawn. `draw` tells you all of it.

# %%
picture = draw(pipe, "一只皮卡丘😀,草地", seed=1)
long_prompt = "一只猫坐在草地上," + "阳光明媚," * 8 + "水墨画"
show([picture, draw(pipe, long_prompt, seed=1)], titles=["皮卡丘", "…水墨画"])

# %% [markdown] lang="zh"
# ## 1.3 反向提示词
#
# 告诉模型*不要*画什么。它顶替无条件分支里那句空提示词，所以只有 `guidance > 1` 时才起作用。

# %% [markdown] lang="en"
# ## 1.3 Negative prompt
#
# Say what *not* to draw. It takes the place of the empty prompt in the unconditional branch, so it acts only when `guidance > 1`.

# %%
plain = draw(pipe, "一只猫,草地", seed=3, n=3, steps=profile.many)
clear = draw(
    pipe, "一只猫,草地", negative_prompt="模糊", seed=3, n=3, steps=profile.many
)
show(plain + clear, titles=["-"] * 3 + ["模糊"] * 3, columns=6)

# %% [markdown] lang="zh"
# 三张图可能是运气。下面用 64 个种子测：*清晰度*（相邻像素亮度差的平均）应当上升；把一种画风放进反向提示词，**裁判**（judge，一个只在图画世界上训练、只用来测量的小分类器）认出它的概率应当下降。方括号里是 95 % 置信区间。

# %% [markdown] lang="en"
# Three pictures may be luck. So measure over 64 seeds: *sharpness* (mean brightness step between neighbours) should rise; with a style in the negative prompt, the **judge** (a small classifier trained on the picture world only, used for nothing but measuring) should see that style less. 95 % intervals in brackets.

# %% tags=["nbval-ignore-output"]
from paidiff_lib.metrics import interval, sharpness
from paidiff_world.judge import judge

seeds = dict(seed=100, n=profile.seeds, steps=profile.steps)
base = draw(pipe, "猫,草地,水彩画", **seeds)
unblurred = draw(pipe, "猫,草地,水彩画", negative_prompt="模糊", **seeds)
unstyled = draw(pipe, "猫,草地,水彩画", negative_prompt="水彩画", **seeds)

sharper = interval([sharpness(b) - sharpness(a) for a, b in zip(base, unblurred)])
style = [
    judge().probability(pictures, "style", "水彩画") for pictures in (base, unstyled)
]
fewer = interval(style[1] - style[0])
print("sharpness: %+.2f [%+.2f, %+.2f]" % sharper)
print("P(水彩画): %+.3f [%+.3f, %+.3f]" % fewer)
if profile.judged:
    # both whole intervals lie on the right side of zero
    assert sharper[1] > 0 and fewer[2] < 0

# %%
show(
    base[:6] + unblurred[:6] + unstyled[:6],
    columns=6,
    titles=["-"] * 6 + ["模糊"] * 6 + ["水彩画"] * 6,
)

# %% [markdown] lang="zh"
# ## 1.4 种子
#
# *种子*（seed）决定起点的噪声。同一个种子，同一张图，一个像素也不差。换一个种子，起点就换了；可是一句写满了的提示词没给这个小模型留下多少余地：下面六张几乎一样。只写“狐狸”再试一次。

# %% [markdown] lang="en"
# ## 1.4 Seed
#
# The *seed* decides the noise to start from. Same seed, same picture, to the pixel. Another seed starts elsewhere; but a full prompt leaves this small model little to decide: the six below are nearly one picture. Try it with 狐狸 alone.

# %%
first, again = (draw(pipe, "一只狐狸在雪地里", seed=10) for _ in range(2))
assert profile.same(first, again)
show(
    draw(pipe, "一只狐狸在雪地里", seed=10, n=6, steps=profile.many),
    titles=[f"seed {seed}" for seed in range(10, 16)],
)

# %% [markdown] lang="zh"
# ## 1.5 步数
#
# 每一步去掉一部分噪声。步数越多越接近极限，也越慢：看到最后一张为止，差别（均方根，0 到 255）一路变小。

# %% [markdown] lang="en"
# ## 1.5 Steps
#
# Each step removes part of the noise. More steps come closer to the limit and take longer: the difference from the last picture (root mean square, 0 to 255) keeps falling.

# %% tags=["nbval-ignore-output"]
from paidiff_lib.metrics import distance

swept = [
    draw(pipe, "湖面上的天鹅,油画", seed=5, steps=steps) for steps in profile.sweep
]
gaps = [distance(picture, swept[-1]) for picture in swept]
show(
    swept,
    titles=[f"steps {steps} · {gap:.0f}" for steps, gap in zip(profile.sweep, gaps)],
)
if profile.real:
    assert gaps[0] > gaps[2] > gaps[-1] == 0

# %% [markdown] lang="zh"
# ## 1.6 引导强度
#
# 每一步 UNet 算两遍：一遍看提示词，一遍看空提示词（或反向提示词），再沿着两者之差多走 `guidance` 倍：*无分类器引导*（classifier-free guidance，Ho & Salimans 2022）。1 等于不引导；太大颜色会过头。

# %% [markdown] lang="en"
# ## 1.6 Guidance scale
#
# At every step the UNet runs twice, with the prompt and with the empty (or negative) one, and goes `guidance` times along the difference: *classifier-free guidance*. 1 means none; too much overdoes the colours.

# %%
scales = [1, 2, 4, 7.5, 12]
show(
    [
        draw(
            pipe, "森林里的一只棕熊,水彩画", seed=6, guidance=scale, steps=profile.many
        )
        for scale in scales
    ],
    titles=[f"guidance {scale}" for scale in scales],
)

# %% [markdown] lang="zh"
# ## 1.7 调度器
#
# *调度器*（scheduler）决定每一步怎样去噪。下面是 PAI-Diffusion 的 WebUI 里的七种。起点噪声相同；带随机性的（Euler a、DDPM）每步又加一点噪声。

# %% [markdown] lang="en"
# ## 1.7 Schedulers
#
# The *scheduler* decides how each step removes noise. These are the seven of PAI-Diffusion's WebUI, from the same starting noise; the random ones (Euler a, DDPM) add a little noise at each step.

# %%
import diffusers

WEBUI = {
    "Euler a": "EulerAncestralDiscreteScheduler",
    "Euler": "EulerDiscreteScheduler",
    "Heun": "HeunDiscreteScheduler",
    "DPM": "DPMSolverMultistepScheduler",
    "DDIM": "DDIMScheduler",
    "DDPM": "DDPMScheduler",
    "PNDM": "PNDMScheduler",
}
original, drawn = pipe.scheduler, []
for kind in WEBUI.values():
    pipe.scheduler = getattr(diffusers, kind).from_config(original.config)
    drawn.append(draw(pipe, "落日下的帆船", seed=7, steps=profile.schedulers))
pipe.scheduler = original
show(drawn, titles=list(WEBUI), columns=7)

# %% [markdown] lang="zh"
# ## 1.8 尺寸和批量
#
# 宽和高取 8 的倍数。模型是在 128x128 上训练的，别的尺寸也能画，离得越远越不可靠。

# %% [markdown] lang="en"
# ## 1.8 Sizes and batches
#
# Width and height are multiples of 8. The model was trained at 128x128; other sizes work, less reliably the further away.

# %%
wide = [
    draw(pipe, "两棵椰子树,沙滩", seed=8, size=size, steps=profile.many)
    for size in profile.sizes
]
show(wide, titles=[f"{w}x{h}" for w, h in profile.sizes], columns=4)

# %% [markdown] lang="zh"
# 给 `draw` 一个列表，就一批画完。每张图只由自己的提示词和种子决定，和同批的邻居无关（批的大小只影响浮点舍入）。

# %% [markdown] lang="en"
# Give `draw` a list and it draws a batch. Each picture depends on its own prompt and seed only, not on its neighbours (the batch size changes rounding only).

# %%
styles = [
    "扁平画风",
    "水墨画",
    "油画",
    "水彩画",
    "剪纸",
    "像素画",
    "素描",
    "赛博朋克",
    "浮雕",
    "童话绘本",
]
show(
    draw(pipe, [f"古楼,湖面,{style}" for style in styles], seed=9, steps=profile.many),
    titles=styles,
    columns=5,
)

# %% [markdown] lang="zh"
# ## 1.9 看着噪声变成图
#
# 流水线在每一步之后会调用 `callback_on_step_end`。把那一刻的*潜变量*（latents，16x16 的 8 张小图）交给 VAE 解码，就能看到中途的样子。

# %% [markdown] lang="en"
# ## 1.9 Watch the noise turn into a picture
#
# After each step the pipeline calls `callback_on_step_end`. Let the VAE decode the *latents* (8 maps of 16x16) of that moment and you see the picture halfway.

# %%
import torch
from paidiff_lib.generate import GUIDANCE


def decode(latents):
    with torch.no_grad():
        image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return pipe.image_processor.postprocess(image)[0]


frames = []


def watch(pipe, step, timestep, values):
    frames.append(decode(values["latents"]))
    return values


pipe(
    "一座城堡在悬崖上",
    num_inference_steps=20,
    guidance_scale=GUIDANCE,
    generator=torch.Generator().manual_seed(10),
    callback_on_step_end=watch,
)
show(frames[::3], titles=[f"step {i + 1}" for i in range(0, 20, 3)], columns=7)

# %% [markdown] lang="zh"
# ## 1.10 流水线里面
#
# `draw` 先说提示词有什么问题，再调用 `sample`：它把长短一样的提示词分成批，每一批是一次普通的 diffusers 调用。

# %% [markdown] lang="en"
# ## 1.10 Inside the pipeline
#
# `draw` says what is wrong with a prompt, then calls `sample`: it puts prompts of one length into batches, and each batch is one plain diffusers call.

# %%
import inspect
from paidiff_lib.generate import sample

print(inspect.getsource(sample))

# %% [markdown] lang="zh"
# 而流水线里面的循环，用手写出来是这样：文本 → 向量；噪声 → 一步步去噪；潜变量 → 图。

# %% [markdown] lang="en"
# And this is the loop inside the pipeline, by hand: text to vectors; noise, step by step less of it; latents to picture.


# %%
def by_hand(prompt, seed, steps=20, guidance=GUIDANCE):
    ids = pipe.tokenizer(
        ["", prompt], padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    text = pipe.text_encoder(ids.to(pipe.device))[0]  # (2, 32, 192)
    size, channels = pipe.unet.config.sample_size, pipe.unet.config.in_channels
    noise = torch.randn(
        1, channels, size, size, generator=torch.Generator().manual_seed(seed)
    )
    pipe.scheduler.set_timesteps(steps)
    latents = noise.to(text) * pipe.scheduler.init_noise_sigma  # (1, 8, 16, 16)
    for t in pipe.scheduler.timesteps:
        both = pipe.scheduler.scale_model_input(torch.cat([latents] * 2), t)
        empty, wanted = pipe.unet(both, t, text).sample.chunk(2)
        latents = pipe.scheduler.step(
            empty + guidance * (wanted - empty), t, latents
        ).prev_sample
    return decode(latents)


with torch.no_grad():
    mine = by_hand("荷塘,青蛙,童话绘本", seed=11)
show([mine, draw(pipe, "荷塘,青蛙,童话绘本", seed=11)], titles=["by_hand", "draw"])

# %% [markdown] lang="zh"
# ## 1.11 画廊：36 条提示词
#
# 文章的艺术画廊，一个单元格就画完。标题里的 ✓ 表示每个词小模型都学过；~ 表示它只认得一部分，画的也只有那一部分；✗ 表示主体和背景它都不认得，画出来的别当真。

# %% [markdown] lang="en"
# ## 1.11 The gallery of 36 prompts
#
# The article's art gallery in one cell. ✓: the small model has learnt every word; ~: it knows only some of it and draws only that; ✗: it knows neither subject nor background, so do not take the picture seriously.

# %%
import json
import numpy as np
from paidiff_lib.files import ASSETS
from paidiff_lib.generate import sample
from paidiff_lib.prompts import check_prompt

gallery = [
    json.loads(line)
    for line in (ASSETS / "prompts/gallery_prompts.jsonl").open(encoding="utf-8")
][: profile.gallery]
words = json.loads(
    paidiff.data("models/paidiff-mini-zh/words.json").read_text(encoding="utf-8")
)
things = [
    word
    for kind in ("subjects", "backgrounds")
    for names in words[kind].values()
    for word in names
]


def mark(prompt):
    if not check_prompt(pipe, prompt):
        return "✓"
    return "~" if any(word in prompt for word in things) else "✗"


marks = [mark(item["prompt"]) for item in gallery]
pictures = sample(
    pipe,
    [item["prompt"] for item in gallery],
    seed=12,
    steps=profile.many,
    negative_prompt=[item["negative_prompt"] for item in gallery],
)
show(
    pictures,
    titles=[f"{m} {item['prompt']}" for m, item in zip(marks, gallery)],
    columns=6,
)
print({m: marks.count(m) for m in "✓~✗"})

# %%
for item in gallery[:6]:
    for hint in check_prompt(pipe, item["prompt"]):
        print(item["prompt"][:12], "→", hint)

# %% [markdown] lang="zh"
# ## 1.12 它听话吗
#
# 好看不等于听话。取训练时**从没见过**的（主体、背景、画风）组合，画出来让裁判看。旁边放两把尺子：*上限*，同样的场景由图画世界直接画，裁判也不是全对；*下限*，把提示词打乱了再比。

# %% [markdown] lang="en"
# ## 1.12 Does it do what the prompt says?
#
# Pretty is not obedient. Take (subject, background, style) triples that training **never saw**, draw them and let the judge look. Two rulers beside: the *ceiling*, the same scenes painted by the picture world itself; the *floor*, the pictures against shuffled prompts.

# %% tags=["nbval-ignore-output"]
from paidiff_world.judge import prompt_following
from paidiff_world.heldout import held_out
from paidiff_world import render

specs, captions = zip(*held_out(profile.scenes))
drawn = sample(pipe, list(captions), seed=0, steps=profile.many)
rows = {
    "model": prompt_following(drawn, specs),
    "ceiling": prompt_following(
        [render(s, np.random.RandomState(i)) for i, s in enumerate(specs)], specs
    ),
    "floor": prompt_following(drawn, specs[1:] + specs[:1]),
}
for name, row in rows.items():
    print(f"{name:8}", *(f"{head} {rate:4.0%}  " for head, rate in row.items()))
if profile.judged:
    assert all(
        rows["model"][head] > rows["floor"][head] + 0.2
        for head in ("subject", "background", "style")
    )

# %%
show(drawn[:12], titles=captions[:12], columns=6)

# %% [markdown] lang="zh"
# 32 条提示词只够看个大概。正式的数字（300 条、三个种子）由 `python -m paidiff_world.pretrain.evaluate` 算出，和模型放在一起：

# %% [markdown] lang="en"
# 32 prompts give a rough idea. The official figures (300 prompts, three seeds) come from `python -m paidiff_world.pretrain.evaluate` and lie beside the model:

# %%
official = json.loads(
    paidiff.data("models/paidiff-mini-zh/prompt_following.json").read_text()
)
for row in ("model", "ceiling", "floor"):
    print(f"{row:8}", *(f"{head} {rate:.0%}  " for head, rate in official[row].items()))

# %% [markdown] lang="zh"
# ## 1.13 换成真模型
#
# 有 GPU 和网络时，只改一个名字：
#
# ```python
# import os
# os.environ["HF_HUB_OFFLINE"] = "0"        # before the imports: allow the download
# pipe = paidiff.load("artist-large")        # 512x512
# show(draw(pipe, "雾蒙蒙的日出在湖面上", steps=50))
# ```
#
# 或者在启动 Jupyter 之前设 `PAIDIFF_MODEL=artist-large`，整个笔记本就都用它。**未在真权重上验证**。没有网络也想看看真模型的样子：`paidiff skeleton artist-large -o out/artist` 写一个布局一样、权重随机的模型，`load` 它的文件夹就行。`profile` 按模型和内存决定每一课的步数、批量和张数。

# %% [markdown] lang="en"
# ## 1.13 The real model
#
# With a GPU and a network, change one name:
#
# ```python
# import os
# os.environ["HF_HUB_OFFLINE"] = "0"        # before the imports: allow the download
# pipe = paidiff.load("artist-large")        # 512x512
# show(draw(pipe, "雾蒙蒙的日出在湖面上", steps=50))
# ```
#
# Or set `PAIDIFF_MODEL=artist-large` before Jupyter starts and the whole notebook uses it. **Not verified on the real weights.** `paidiff skeleton artist-large -o out/artist` writes a model of the same layout with random weights, for trying things without a network; `load` takes its folder. `profile` decides steps, batches and numbers of pictures by model and memory.

# %% [markdown] lang="zh" tags=["exercise"]
# ## 1.14 自己试试
#
# 1. 画一只你最喜欢的动物，十种画风各一张。
# 2. 把 `negative_prompt` 换成 `"水印"` 或 `"画框"`，用 64 个种子量一量。
# 3. 哪个步数以后差别小到你看不出来？
# 4. 找一条画廊提示词，改写成小模型能画的。

# %% [markdown] lang="en" tags=["exercise"]
# ## 1.14 Try it yourself
#
# 1. Your favourite animal in all ten styles.
# 2. Measure `"水印"` or `"画框"` over 64 seeds.
# 3. From which number of steps on can you see no difference?
# 4. Rewrite a gallery prompt so that the small model can draw it.

# %% [markdown] lang="zh"
# ## 1.15 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | `没有找到模型 …` | 名字写错，或真模型还没下载：消息里列出了试过的地方。 |
# | `宽和高要是 8 的倍数` | VAE 把边长缩小 8 倍。 |
# | `提示词有 … 个词元,…分成 … 段读` | 后面的词也看得见，短的说得更准。 |
# | 反向提示词没有用 | `guidance` 是不是 1？ |
# | 画出来的不对 | 换种子；用 1.1 里那些词；小模型只认识它的世界。 |
# | 别的怪事 | 在终端运行 `paidiff doctor`。 |

# %% [markdown] lang="en"
# ## 1.15 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | `没有找到模型 …` | Wrong name, or not downloaded: the message lists what was tried. |
# | `宽和高要是 8 的倍数` | The VAE divides each side by 8. |
# | `提示词有 … 个词元,…分成 … 段读` | The later words are seen too; a short prompt is followed better. |
# | no effect | Is `guidance` 1? |
# | wrong picture | Another seed; words of its world. |
# | anything else | Run `paidiff doctor`. |

# %% [markdown] lang="zh"
# ## 1.16 小结
#
# * 提示词 → 词元 → 向量 → 一步步去噪 → VAE 解码。
# * 种子定起点，步数定精细，引导定听话，调度器定路线。
# * 说一种做法有用，就要量出来，带上区间、上限和下限。

# %% [markdown] lang="en"
# ## 1.16 Summary
#
# * Prompt → tokens → vectors → denoising → VAE.
# * Seed, steps, guidance, scheduler.
# * A claim comes with a measurement, an interval, a ceiling and a floor.
