# %% [markdown] lang="zh"
# # 05 · DreamBooth：让模型认识一个具体的东西
#
# **离线 · CPU · 不用 GPU**
#
# **学完这一课，你会**：用 5 张图让模型认识*这一只*玩具熊，再把它放进没去过的地方；挑一个生僻字给它当名字；用*先验保留*（prior preservation）防止“熊”从此都变成它；把这两件事都*量出来*；训练一个 LoRA，或者训练全部权重。
#
# **用时**：两核 CPU 上全部运行两到五分钟，看机器，不需要 GPU，也不需要网络。

# %% [markdown] lang="en"
# # 05 · DreamBooth: one particular thing
#
# **Offline · CPU · no GPU needed**
#
# **You will**: teach the model *this one* toy bear from 5 pictures and put it where it has never been; choose a rare character as its name; use *prior preservation* to keep 熊 from turning into it for ever; *measure* both; train a LoRA, or all weights.
#
# **Time**: Two to five minutes, depending on the machine, for Run All on two CPU cores; no GPU, no network.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import paidiff_lib as paidiff
from paidiff_lib import CaptionFolder, LoRA, show, with_prior

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("05", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 5.1 先看结果
#
# 要教的是这只玩具熊：5 张图，5 个地方。说明文字里它叫*淼熊*：一个生僻字，加上它的类别。

# %% [markdown] lang="en"
# ## 5.1 The result first
#
# The toy to teach: 5 pictures, 5 places. The captions call it 淼熊: a rare character and its class, bear.

# %%
data = CaptionFolder(paidiff.data("bear"))
bear = [data.image(i, 128) for i in range(len(data))]
show(
    bear,
    titles=[data.caption(i) for i in range(len(data))],
    alt="5 张玩具熊的训练图 · the 5 training pictures of the toy bear",
)

# %% [markdown] lang="zh"
# 训练之前，“淼”对模型没有意义，画出来就是一只普通的熊：

# %% [markdown] lang="en"
# Before training 淼 means nothing to the model, and it draws an ordinary bear:

# %%
from paidiff_lib.generate import sample  # as draw, without its hints

places = ["草地", "沙发", "星空", "落日"]  # none of them is in the training pictures
prompts = [f"一只淼熊,{place}" for place in places]
before = sample(pipe, prompts, seed=0)
show(before, titles=prompts)

# %% [markdown] lang="zh"
# 训练。`with_prior` 先让模型自己画 40 张“一只熊”，训练时一半看淼熊，一半看它们。LoRA 放在 UNet 和*文本编码器*旁边（5.2 说为什么）。

# %% [markdown] lang="en"
# Train. `with_prior` first has the model draw 40 pictures of 一只熊 itself; half of the training looks at 淼熊, half at these. The LoRA stands beside the UNet *and the text encoder* (5.2 says why).

# %%
import shutil
from pathlib import Path
from paidiff_lib.methods.lora import WIDE

out = Path("../out/05")
shutil.rmtree(out, ignore_errors=True)
both = with_prior(pipe, data, "一只熊", out / "bears", count=profile.bears)

lora = LoRA(pipe, rank=16, layers=WIDE, text_encoder=True)
steps = paidiff.train(
    lora, both, **profile.lora, lr_scheduler="cosine", caption_dropout=0, seed=0
)
losses = [step.loss for step in paidiff.watch(steps, profile.lora["steps"])]

# %% tags=["nbval-ignore-output"]
after = sample(pipe, prompts, seed=0)
if profile.real:
    assert not {p.tobytes() for p in before} & {p.tobytes() for p in after}
show(before + after, titles=["before"] * 4 + prompts, columns=4)

# %% [markdown] lang="zh"
# ## 5.2 挑一个生僻字
#
# 名字最好是：词表里有（不是 `[UNK]`），正好一个词元，模型又没学过它的意思。常用字已经有意思了，会把那个意思也带进来。

# %% [markdown] lang="en"
# ## 5.2 Choosing a rare word
#
# The name should be in the vocabulary (not `[UNK]`), be exactly one token, and mean nothing to the model yet. A common character brings its own meaning along.

# %%
# every word the small model knows
words = paidiff.data("models/paidiff-mini-zh/words.json").read_text(encoding="utf-8")
for name in ["淼", "焱", "磊", "犇", "红", "猫", "sks"]:
    tokens = paidiff.tokens(pipe.tokenizer, name)[1:-1]
    fit = len(tokens) == 1 and tokens != ["[UNK]"] and name not in words
    print(f"{name:4}", tokens, "✓" if fit else "✗")

# %% [markdown] lang="zh"
# `sks` 是英文教程里的惯例，在中文词表里会碎成三片。
#
# 没学过的字有个麻烦：文本编码器没见过它，加上它几乎不改变句子的含义。量一下句子的*隐状态*（hidden states）离“一只熊”有多远：

# %% [markdown] lang="en"
# `sks` is the custom of English tutorials; a Chinese vocabulary breaks it into three. An unlearnt character has a drawback: the text encoder never saw it, so it hardly changes what the sentence means. How far are the *hidden states* of a sentence from those of 一只熊?

# %%
import torch
from paidiff_lib.models.encode import encode_captions

paidiff.set_scales(pipe, {})  # as before training
with torch.no_grad():
    bear_words, *others = encode_captions(
        pipe, ["一只熊", "一只猫", "一只棕熊", "一只淼熊"]
    )
print(
    "  ".join(
        f"{text} {(other - bear_words).norm() / bear_words.norm():.2f}"
        for text, other in zip(["一只猫", "一只棕熊", "一只淼熊"], others)
    )
)

# %% [markdown] lang="zh"
# 淼熊离熊，和“棕熊”离熊一样近，UNet 很难只认出它来。所以文本编码器旁边也放一个 LoRA：不放的话，“一只熊”也会画成玩具熊（5.9 第 1 题）。

# %% [markdown] lang="en"
# 淼熊 is as close to 熊 as 棕熊 (brown bear) is: the UNet can hardly tell it apart. So there is a LoRA beside the text encoder too; without it 一只熊 becomes the toy as well (5.9, question 1).

# %% [markdown] lang="zh"
# ## 5.3 先验保留
#
# 这是模型自己画的“一只熊”，画一次就留着，下次直接用：

# %% [markdown] lang="en"
# ## 5.3 Prior preservation
#
# The model's own pictures of 一只熊, drawn once and kept:

# %%
bears = CaptionFolder(out / "bears", captions="一只熊")
show(
    [bears.image(i, 128) for i in range(8)],
    alt="模型自己画的 8 张熊 · eight bears that the model drew itself",
)

# %%
import inspect

print(inspect.getsource(with_prior))

# %% [markdown] lang="zh"
# ## 5.4 量一量：像不像
#
# 四个新地方，三个种子。和训练图的相似度（第 4 课用过的那个：裁判对每种事物的把握有多一致）。对手是*原来的模型*加上最好的文字描述：几种说法里挑相似度最高的。上限是这只玩具熊在这些地方的真图。

# %% [markdown] lang="en"
# ## 5.4 Measure it: is it the one?
#
# Four new places, three seeds: similarity to the training pictures, as in lesson 4. The rival is the *base model* with the best description in words, the best of several. The ceiling: real pictures of this toy in these places.

# %% tags=["nbval-ignore-output"]
import numpy as np
from paidiff_lib.metrics import interval
from paidiff_world.judge import judge, similarity
from paidiff_world import Spec, render


def drawn(phrase):
    return sample(
        pipe,
        [f"{phrase},{place}" for place in places] * profile.seeds,
        [seed for seed in range(profile.seeds) for _ in places],
        steps=profile.steps,
    )


def report(name, pictures):
    found = interval(similarity(pictures, bear))
    print(f"{name:14} %.2f [%.2f, %.2f]" % found)
    return found


paidiff.set_scales(pipe, {})  # the base model
phrases = ["一只熊", "一只棕熊", "一只小熊", "一只橙色的小熊"]
best = max(
    phrases,
    key=lambda phrase: similarity(
        sample(pipe, [f"{phrase},{place}" for place in places], steps=profile.steps),
        bear,
    ).mean(),
)
words = report(f"base: {best}", drawn(best))
paidiff.set_scales(pipe, {"lora": 1.0})
learnt = report("淼熊", drawn("一只淼熊"))
real = [
    render(Spec("玩具熊", place, size=0.75, grid=True), np.random.RandomState(i))
    for i, place in enumerate(places)
]
ceiling = report("ceiling", real)

# %%
if profile.judged:
    assert learnt[1] > words[2] + 0.05  # the whole intervals lie apart

# %% [markdown] lang="zh"
# ## 5.5 量一量：熊还是不是熊
#
# *类别漂移*（class drift）：写“一只熊”，画出来有多像那只玩具熊，裁判还认不认它是熊。对照组：同样的训练，没有先验保留。

# %% [markdown] lang="en"
# ## 5.5 Measure it: is a bear still a bear?
#
# *Class drift*: asked for 一只熊, how much does the picture look like the toy, and does the judge still see a bear? Compared with the same training without prior preservation.

# %% tags=["nbval-ignore-output"]
paidiff.set_scales(pipe, {})
alone = LoRA(pipe, rank=16, layers=WIDE, text_encoder=True, name="alone")
steps = paidiff.train(
    alone, data, **profile.alone, lr_scheduler="cosine", caption_dropout=0, seed=0
)
for step in paidiff.watch(steps, profile.alone["steps"]):
    pass

drift, shown = {}, []
for name, on in (
    ("base", {}),
    ("with_prior", {"lora": 1.0}),
    ("without", {"alone": 1.0}),
):
    paidiff.set_scales(pipe, on)
    pictures = drawn("一只熊")
    shown += pictures[:4]
    drift[name] = (
        interval(similarity(pictures, bear)),
        float((judge().probability(pictures, "subject", "熊") > 0.5).mean()),
    )
    print(
        f"{name:10} similarity %.2f [%.2f, %.2f]" % drift[name][0],
        f"· P(熊) > 0.5: {drift[name][1]:.0%}",
    )
show(shown, titles=[name for name in drift for _ in range(4)], columns=4)

# %%
base, kept, lost = drift.values()
if profile.judged:
    assert lost[0][1] > kept[0][2]  # without it, a bear has become the toy
    assert kept[1] >= 0.8 and lost[1] <= 0.5  # with it, a bear is still a bear

# %% [markdown] lang="zh"
# 没有先验保留的那组步数只有一半：每一步看到的淼熊一样多（一批 4 张，另一组一半是熊）。

# %% [markdown] lang="en"
# The run without it takes half the steps, so both see 淼熊 equally often: half of the other's batch are bears.

# %% [markdown] lang="zh"
# ## 5.6 全部权重
#
# DreamBooth 原来的做法是训练*全部*权重，没有 LoRA。存下来的是一整个模型。这里只练 60 步，还不够：有的地方画的还是普通的熊。

# %% [markdown] lang="en"
# ## 5.6 All weights
#
# DreamBooth as first published trains *all* weights, with no LoRA. What is saved is a whole model. Only 60 steps here, which is not enough: in some places it is still an ordinary bear.

# %% tags=["nbval-ignore-output"]
from diffusers import StableDiffusionPipeline
from paidiff_lib import FullTuning

if profile.fits("whole"):  # a published model needs a GPU of 24 GB for this
    whole = paidiff.load()
    tuning = FullTuning(whole, text_encoder=True)
    steps = paidiff.train(
        tuning, both, **profile.whole, lr_scheduler="cosine", caption_dropout=0, seed=0
    )
    for step in paidiff.watch(steps, profile.whole["steps"]):
        pass
    tuning.save_model(out / "model")
    plain = StableDiffusionPipeline.from_pretrained(out / "model", dtype=whole.dtype)
    plain.to(whole.device)  # no line of ours
    plain.set_progress_bar_config(disable=True)
    ours, theirs = (sample(p, prompts, seed=0) for p in (whole, plain))
    assert all(map(profile.same, ours, theirs))
    print("similarity: %.2f" % similarity(ours, bear).mean())
    show(ours, titles=prompts)

# %%
lora.save(out / "lora")
sizes = {
    path.name: sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 1e6
    for path in (out / "lora", out / "model")
    if path.exists()
}
if profile.real and "model" in sizes:
    assert sizes["lora"] < sizes["model"] / 4
print({name: f"{size:.0f} MB" for name, size in sizes.items()})

# %% [markdown] lang="zh"
# ## 5.7 一行命令
#
# 参数名和 diffusers 自己的脚本一样（步数缩小了）。加上 `--rank=16` 就是 LoRA。

# %% [markdown] lang="en"
# ## 5.7 One command
#
# The flags of diffusers' own script (fewer steps). With `--rank=16` it trains a LoRA.

# %%
import subprocess, sys
from paidiff_lib.models.load import model_name

command = [
    sys.executable,
    "-m",
    "accelerate.commands.launch",
    "../scripts/train_dreambooth.py",
    "--pretrained_model_name_or_path",
    model_name(),
    "--instance_data_dir",
    paidiff.data("bear"),
    "--instance_prompt=一只淼熊",
    "--with_prior_preservation",
    "--class_prompt=一只熊",
    "--class_data_dir",
    str(out / "bears"),
    f"--num_class_images={profile.bears}",
    "--train_text_encoder",
    "--train_batch_size=4",
    "--max_train_steps=2",
    "--learning_rate=5e-4",
    "--output_dir",
    str(out / "script"),
]
done = subprocess.run(command, capture_output=True, text=True)
print(done.returncode, sorted(path.name for path in (out / "script").iterdir()))
assert done.returncode == 0, done.stderr[-2000:]

# %% [markdown] lang="zh"
# ## 5.8 换成真模型
#
# ```python
# pipe = paidiff.load("artist-large")
# data = with_prior(pipe, CaptionFolder("your/pictures", captions="一只淼熊"), "一只熊", "out/bears", count=200)
# lora = LoRA(pipe, rank=16, text_encoder=True)
# paidiff.fit(lora, data, steps=800, learning_rate=1e-4, mixed_precision="fp16")
# ```
#
# **未在真权重上验证**。小模型画得粗，学到的玩具熊也粗；看颜色、姿势和黄色的领结。

# %% [markdown] lang="en"
# ## 5.8 The real model
#
# ```python
# pipe = paidiff.load("artist-large")
# data = with_prior(pipe, CaptionFolder("your/pictures", captions="一只淼熊"), "一只熊", "out/bears", count=200)
# lora = LoRA(pipe, rank=16, text_encoder=True)
# paidiff.fit(lora, data, steps=800, learning_rate=1e-4, mixed_precision="fp16")
# ```
#
# **Not verified on the real weights.** The small model draws roughly, and so it draws the toy: look at its colour, its pose and the yellow bow.

# %% [markdown] lang="zh" tags=["exercise"]
# ## 5.9 自己试试
#
# 1. 去掉 `text_encoder=True`：淼熊和熊还分得开吗？
# 2. 把名字换成“红熊”：学到的是什么？
# 3. `share=0.8`：更多同类图，像不像、漂不漂？
# 4. 用你自己的 5 张照片。

# %% [markdown] lang="en" tags=["exercise"]
# ## 5.9 Try it yourself
#
# 1. Without `text_encoder=True`: can the two still be told apart?
# 2. Call it 红熊 (red bear): what is learnt?
# 3. `share=0.8`, more class pictures: likeness, drift?
# 4. Your own 5 photographs.

# %% [markdown] lang="zh"
# ## 5.10 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | 类别也变成了它 | 没有先验保留，或同类图太少。 |
# | `里是“一只熊”的图,换一个文件夹` | 那个文件夹里是另一句话的同类图。 |
# | 不像 | 多练几步；文本编码器也练。 |
# | 地点不听话了 | 学习率太大；说明文字里写上地点。 |

# %% [markdown] lang="en"
# ## 5.10 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | the class became it | No prior preservation, or too few class pictures. |
# | `里是“一只熊”的图,换一个文件夹` | That folder holds another prompt's class pictures. |
# | not alike | More steps; train the text encoder too. |
# | places are ignored | Too large a rate; name the place in the captions. |

# %% [markdown] lang="zh"
# ## 5.11 小结
#
# * 生僻字 + 类别 = 一个具体的东西。
# * 先验保留：一半时间看模型自己画的同类，类别就不会变。
# * LoRA 几 MB，全部权重是整个模型。

# %% [markdown] lang="en"
# ## 5.11 Summary
#
# * A rare character and a class name one particular thing.
# * Prior preservation keeps the class.
# * A LoRA is some MB; all weights are a whole model.
