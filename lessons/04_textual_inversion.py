# %% [markdown] lang="zh"
# # 04 · Textual Inversion：教模型一个新词
#
# **离线 · CPU · 不用 GPU**
#
# **学完这一课，你会**：用 5 张图教模型一个新词 `<小奶猫>`，模型本身一个数都不改；看懂学到的只是几个向量；*量出*新词画的像不像那只小奶猫，别的提示词变没变；存成几 KB 的文件，或文章里那样的整个模型文件夹；跑文章里那一行 `accelerate launch`。
#
# **用时**：两核 CPU 上全部运行约两分钟，不需要 GPU，也不需要网络。

# %% [markdown] lang="en"
# # 04 · Textual Inversion: teaching a new word
#
# **Offline · CPU · no GPU needed**
#
# **You will**: teach the model a new word, `<小奶猫>`, from 5 pictures without changing one number of the model; see that what is learnt is a few vectors; *measure* whether the word draws that kitten and whether other prompts changed; save it as a file of some KB, or as the whole model folder the article has; run the article's own `accelerate launch` line.
#
# **Time**: About two minutes for Run All on two CPU cores; no GPU, no network.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import paidiff_lib as paidiff
from paidiff_lib import CaptionFolder, TextualInversion, draw, show

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("04", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 4.1 先看结果
#
# 这是要教的那只小奶猫：5 张图，5 个地方。*占位词*（placeholder）叫 `<小奶猫>`，从 `猫` 这个词出发。

# %% [markdown] lang="en"
# ## 4.1 The result first
#
# This is the kitten to teach: 5 pictures in 5 places. The *placeholder* is `<小奶猫>`; it starts out as the word `猫`.

# %%
data = CaptionFolder(paidiff.data("kitten"), captions=False)
kitten = [data.image(i, 128) for i in range(len(data))]
show(
    kitten,
    titles=["雪地", "沙滩", "森林", "花海", "白色背景"],
    alt="5 张小奶猫的训练图 · the 5 training pictures of the kitten",
)

# %% [markdown] lang="zh"
# 训练之前，`猫` 画的是模型自己的猫：

# %% [markdown] lang="en"
# Before training, `猫` draws the model's own cat:

# %%
places = ["草地上", "沙发上"]
cats = [
    draw(pipe, f"一只猫在{place}", seed=seed) for place in places for seed in (1, 2)
]
other_words = ["一辆汽车在草地上", "雪地里的企鹅", "一朵蘑菇,森林"]
others = draw(pipe, other_words, seed=5)  # kept for later: must not change
show(cats, titles=[f"一只猫在{place}" for place in places for _ in range(2)])

# %%
VECTORS = 4
word = TextualInversion(pipe, "<小奶猫>", initializer="猫", vectors=VECTORS)
steps = paidiff.train(word, data, **profile.word, lr_scheduler="cosine", seed=0)
losses = [step.loss for step in paidiff.watch(steps, profile.word["steps"])]

# %% tags=["nbval-ignore-output"]
new = [
    draw(pipe, f"一只<小奶猫>在{place}", seed=seed)
    for place in places
    for seed in (1, 2)
]
if profile.real:
    assert not {p.tobytes() for p in cats} & {p.tobytes() for p in new}
show(
    cats + new,
    titles=[f"一只猫在{place}" for place in places for _ in range(2)]
    + [f"一只<小奶猫>在{place}" for place in places for _ in range(2)],
    columns=4,
)

# %% [markdown] lang="zh"
# 草地和沙发都不在训练图里：新词和别的词一样，可以放进任何一句话。

# %% [markdown] lang="en"
# Neither the grass nor the sofa is in the training pictures: the new word goes into any sentence, like every other word.

# %% tags=["nbval-ignore-output"]
prompts = [
    "<小奶猫>,湖面,水彩画",
    "<小奶猫>,星空",
    "<小奶猫>,落日,油画",
    "<小奶猫>,竹林",
    "<小奶猫>,粉色背景",
    "<小奶猫>,彩虹",
]
show(draw(pipe, prompts, seed=3), titles=prompts)

# %% [markdown] lang="zh"
# ## 4.2 学到的是什么
#
# *Textual Inversion*（Gal et al. 2022）冻结整个模型，只在词表里添一个词，训练它的*嵌入向量*（embedding）。

# %% [markdown] lang="en"
# ## 4.2 What was learnt
#
# *Textual Inversion* freezes the whole model, adds one word to the vocabulary and trains its *embedding* vectors.

# %%
text = pipe.maybe_convert_prompt("一只<小奶猫>在草地上", pipe.tokenizer)
print("tokens:", paidiff.tokens(pipe.tokenizer, text))
print("ids:", word.ids, "· vectors:", *word.vectors.shape, "=", word.vectors.numel())
whole = sum(
    p.numel()
    for part in (pipe.unet, pipe.vae, pipe.text_encoder)
    for p in part.parameters()
)
print(f"pipe: {whole / 1e6:.1f} M")

# %% [markdown] lang="zh"
# 训练时，这几行把新词的位置换成正在学的向量；别的词的向量原样通过，所以不可能被改动。

# %% [markdown] lang="en"
# While training, these lines put the vectors being learnt where the new word stands; every other word's vector passes through, so none can change.

# %%
import inspect

print(inspect.getsource(TextualInversion._put))

# %% [markdown] lang="zh"
# 说明文字不用你写：每一步从一组中文模板里挑一句，把新词填进去。

# %% [markdown] lang="en"
# You need no captions: each step takes one of a few Chinese templates and puts the word in.

# %%
from paidiff_lib.methods.textual_inversion import TEMPLATES

print(" · ".join(template.format("<小奶猫>") for template in TEMPLATES["object"]))

# %% tags=["nbval-ignore-output"]
show(
    paidiff.curve({"loss": losses}, x="step", y="loss", window=10),
    alt="损失 · the loss",
)

# %% [markdown] lang="zh"
# ## 4.3 量一量
#
# **像不像**：裁判看一张图，对每种事物都给出把握；两张图的把握越一致，画的越是同一个东西（余弦，1 是同一个）。和训练图比：新词画的、`猫` 画的、随便一只小猫（`小猫` 加一种颜色）画的。都在训练图里没有的地方，三个种子。最后一行是*上限*：那只小奶猫的真图，在同样的地方。

# %% [markdown] lang="en"
# ## 4.3 Measure it
#
# **Alike?** The judge gives evidence for every thing it knows; the more alike the evidence of two pictures, the more they show the same thing (cosine, 1 is the same). Compared with the training pictures: the new word, `猫`, and some kitten (`小猫` in a colour), in places that are not in the training set, three seeds. Last row, the *ceiling*: real pictures of that kitten in the same places.

# %% tags=["nbval-ignore-output"]
import numpy as np
from paidiff_lib.generate import sample
from paidiff_lib.metrics import interval
from paidiff_world.judge import similarity
from paidiff_world import Spec, render

where = ["草地", "沙发", "湖面", "星空", "落日", "竹林", "粉色背景", "沙漠"]
where = where[: profile.places]
colours = ["橙色", "白色", "黑色", "粉色"]


def alike(name, phrase):
    prompts = [phrase(i) + "," + place for i, place in enumerate(where)] * profile.seeds
    drawn = sample(
        pipe,
        prompts,
        [seed for seed in range(profile.seeds) for _ in where],
        steps=profile.steps,
    )
    found = interval(similarity(drawn, kitten))
    print(f"{name:8} %.2f [%.2f, %.2f]" % found)
    return found


learnt = alike("<小奶猫>", lambda i: "<小奶猫>")
cat = alike("猫", lambda i: "猫")
some = alike("小猫", lambda i: colours[i % 4] + "小猫")
real = [
    render(Spec("小奶猫", place, size=0.75, grid=True), np.random.RandomState(i))
    for i, place in enumerate(where)
]
print("ceiling  %.2f [%.2f, %.2f]" % interval(similarity(real, kitten)))

# %%
if profile.judged:
    # the whole intervals lie apart, by a clear margin
    assert learnt[1] > cat[2] + 0.2 and learnt[1] > some[2] + 0.2

# %% [markdown] lang="zh"
# **别的变没变**：同一批提示词、同一个种子，训练前后一个像素都不差。

# %% [markdown] lang="en"
# **Did anything else change?** The same prompts and seed as before training: not one pixel differs.

# %%
again = draw(pipe, other_words, seed=5)
assert all(map(profile.same, others, again))
show(others + again, titles=["before"] * 3 + ["after"] * 3, columns=6)

# %% [markdown] lang="zh"
# ## 4.4 存和取
#
# 两种存法：只存向量（几 KB），或像文章那样存整个模型。后一种用纯 diffusers 打开就能用。

# %% [markdown] lang="en"
# ## 4.4 Save and load
#
# Two ways to save: the vectors alone (some KB), or the whole model as the article does, which plain diffusers opens.

# %%
import shutil
from pathlib import Path

out = Path("../out/04")
shutil.rmtree(out, ignore_errors=True)
word.save(out / "word")
word.save_model(out / "model")
print(
    {
        path.name: f"{path.stat().st_size / 1000:.0f} KB"
        for path in (out / "word").iterdir()
    }
)

# %% tags=["nbval-ignore-output"]
from diffusers import StableDiffusionPipeline

plain = StableDiffusionPipeline.from_pretrained(out / "model", dtype=pipe.dtype)
plain.to(pipe.device)  # no line of ours
plain.set_progress_bar_config(disable=True)
fresh = paidiff.load()
paidiff.load_embedding(fresh, out / "word")
three = [draw(p, "一只<小奶猫>在沙发上", seed=1) for p in (pipe, plain, fresh)]
assert profile.same(*three)
show(three, titles=["trained", "model", "word"])

# %% [markdown] lang="zh"
# 中文占位词有个坑：一个词占几个向量时，diffusers 自己的读取方式会悄悄只用第一个。`load_embedding` 按编号比较，用上全部。

# %% [markdown] lang="en"
# A trap with Chinese placeholders: where a word has several vectors, diffusers' own loader silently uses the first only. `load_embedding` compares ids and uses them all.

# %% [markdown] lang="zh"
# ## 4.5 初始词
#
# 初始词要正好是一个词元。写错了，一行话告诉你该写哪个。

# %% [markdown] lang="en"
# ## 4.5 The initializer
#
# The initializer must be exactly one token. If it is not, one line tells you which to take.

# %%
for wrong in ("小猫", "kitten", "😀"):
    try:
        TextualInversion(fresh, "<另一只>", initializer=wrong)
    except paidiff.PaidiffError as error:
        print(error)

# %% [markdown] lang="zh"
# ## 4.6 文章里的那一行命令
#
# 同样的参数，一个不少（步数缩小了）。结果是一个完整的模型文件夹。

# %% [markdown] lang="en"
# ## 4.6 The article's own command
#
# The same flags, every one (fewer steps). The result is a whole model folder.

# %%
import subprocess, sys
from paidiff_lib.models.load import model_name

command = [
    sys.executable,
    "-m",
    "accelerate.commands.launch",
    "../scripts/textual_inversion.py",
    "--pretrained_model_name_or_path",
    model_name(),
    "--train_data_dir",
    paidiff.data("kitten"),
    "--learnable_property=object",
    "--placeholder_token=<小奶猫>",
    "--initializer_token=猫",
    f"--resolution={profile.size}",
    "--train_batch_size=1",
    "--gradient_accumulation_steps=4",
    "--max_train_steps=4",
    "--learning_rate=5.0e-04",
    "--scale_lr",
    "--lr_scheduler=constant",
    "--lr_warmup_steps=0",
    "--output_dir",
    str(out / "article"),
]
done = subprocess.run(command, capture_output=True, text=True)
print(done.returncode, sorted(path.name for path in (out / "article").iterdir()))
assert done.returncode == 0, done.stderr[-2000:]

# %% [markdown] lang="zh"
# ## 4.7 换成真模型
#
# ```python
# pipe = paidiff.load("artist-large")
# word = TextualInversion(pipe, "<小奶猫>", initializer="猫")
# data = CaptionFolder("your/pictures", captions=False)
# paidiff.fit(word, data, steps=1000, learning_rate=5e-4, batch_size=4)
# ```
#
# **未在真权重上验证**。小模型只认识它的图画世界，新词只能是它画得出的东西的“混合”；真模型会的多得多，学得也就更像。

# %% [markdown] lang="en"
# ## 4.7 The real model
#
# ```python
# pipe = paidiff.load("artist-large")
# word = TextualInversion(pipe, "<小奶猫>", initializer="猫")
# data = CaptionFolder("your/pictures", captions=False)
# paidiff.fit(word, data, steps=1000, learning_rate=5e-4, batch_size=4)
# ```
#
# **Not verified on the real weights.** The small model knows only its picture world, and a new word can only be a mixture of what it can draw; the real one can draw far more, and so comes closer.

# %% [markdown] lang="zh" tags=["exercise"]
# ## 4.8 自己试试
#
# 1. `initializer` 换成 `熊`，学到的有什么不同？
# 2. `vectors` 取 1、2、4，各量一次。
# 3. 只用一张图训练。
# 4. 教一种画风：`learnable="style"`，数据用 `paidiff.data("porcelain")`。

# %% [markdown] lang="en" tags=["exercise"]
# ## 4.8 Try it yourself
#
# 1. Start from `熊`: what is different?
# 2. Measure 1, 2 and 4 vectors.
# 3. Train on one picture.
# 4. Teach a style.

# %% [markdown] lang="zh"
# ## 4.9 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | `初始词要正好是一个词元` | 消息里列出了可以用的词。 |
# | `词表里已经有 <小奶猫>` | 换个占位词，或重新 `load`。 |
# | 一点不像 | 步数或学习率太小；多给几个向量。 |
# | 画面乱了 | 学习率太大。 |
# | `占位词不能是空的,也不能有空格` | 换一个没有空格的词。 |

# %% [markdown] lang="en"
# ## 4.9 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | `初始词要正好是一个词元` | The message lists the words to take. |
# | `词表里已经有 <小奶猫>` | Another placeholder, or load anew. |
# | not alike | Too few steps, too small a rate; more vectors. |
# | the picture falls apart | The rate is too large. |
# | `占位词不能是空的,也不能有空格` | Take a word without spaces. |

# %% [markdown] lang="zh"
# ## 4.10 小结
#
# * 模型不动，只学一个词的几个向量。
# * 新词能和任何词搭配；别的提示词一个像素都不变。
# * 像不像，量出来，旁边放上限。

# %% [markdown] lang="en"
# ## 4.10 Summary
#
# * The model stays; a word of a few vectors is learnt.
# * It combines with any other word; no other prompt changes.
# * How alike is measured, with a ceiling beside.
