# %% [markdown] lang="zh"
# # 03 · LoRA：教模型一种新画风
#
# 用 20 张图，教会模型一种它从没见过的画风：青花瓷。然后问一个常常没人问的问题：*没写*“青花瓷”的提示词，画出来还是原来的样子吗？
#
# **用时**：读和做 50 分钟；全部运行约三分钟（一个 CPU 线程）。**你需要**：[第 01 课](01_inference.ipynb)（提示词、引导）、[第 00 课](00_what_is_diffusion.ipynb)（加噪声、v、损失）、[第 13 课](13_evaluation.ipynb)（裁判、区间）。**学完你会**：写出 LoRA 的公式，用手验算；用自己的图训练一种画风；*量出*学到了多少、**漏**了多少，用复习把泄漏减少一半以上；调强度、叠加两个 LoRA、并进模型、导出；停了再接着训练；运行文章里那一行命令。
#
# **先想两个旧问题**：
# 1. [第 13 课](13_evaluation.ipynb)：12 张里 12 张都对，威尔逊区间从多少开始？
# 2. [第 12 课](12_attention.ipynb)：提示词从哪两条路进 `mini` 的 UNet？画风走哪一条？

# %% [markdown] lang="en"
# # 03 · LoRA: teaching a new style
#
# Teach the model a style it has never seen, 青花瓷 (blue-and-white porcelain), from 20 pictures. Then ask what is seldom asked: prompts *without* the word, do they still look as before?
#
# **Time**: 50 minutes of reading and doing; running everything takes about three minutes (one CPU thread). **You need**: [lesson 01](01_inference.ipynb) (prompts, guidance), [lesson 00](00_what_is_diffusion.ipynb) (adding noise, v, the loss), [lesson 13](13_evaluation.ipynb) (the judge, intervals). **You will be able to**: write down LoRA's formula and check it by hand; train a style on pictures of your own; *measure* how much was learnt and how much **leaks**, and cut the leak by half or more with rehearsal; set a LoRA's scale, add two of them, merge one into the model, export it; stop a training and go on; run the article's own command.
#
# **Two questions from earlier lessons**:
# 1. [Lesson 13](13_evaluation.ipynb): twelve right of twelve; where does Wilson's interval begin?
# 2. [Lesson 12](12_attention.ipynb): by which two ways does a prompt enter the UNet of `mini`? Which one does style take?

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import torch

import paidiff_lib as paidiff
from paidiff_lib import CaptionFolder, LoRA, show
from paidiff_world import measure

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("03", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 3.1 先看结果
#
# 训练用的是这 20 张：20 种事物，各在一处，全是青花瓷。每张配一句**说明文字**（caption，在 `metadata.jsonl` 里），画风的名字写在里面。

# %% [markdown] lang="en"
# ## 3.1 The result first
#
# These 20 pictures are the training set: 20 things in different places, all of them porcelain. Each has a **caption** (in `metadata.jsonl`) that names the style.

# %%
data = CaptionFolder(paidiff.data("porcelain"))
show(
    [data.image(i, 128) for i in range(len(data))],
    titles=[data.caption(i) for i in range(len(data))],
    columns=7,
    alt="20 张训练图，蓝色的线和影，白底 · 20 training pictures, blue lines and"
    " shades on white",
)

# %% [markdown] lang="zh"
# 训练之前，模型不认识“青花瓷”，画出来和没写一样。`draw` 看得出来，因为这个词不在模型学过的词里：

# %% [markdown] lang="en"
# Before training the model does not know 青花瓷 and draws as if it were not there. `draw` can tell, for the word is not among those that the model has learnt:

# %%
prompts = ["猫,草地,青花瓷", "汽车,沙滩,青花瓷", "房子,雪地,青花瓷"]
before = paidiff.draw(pipe, prompts, seed=1)

# %% [markdown] lang="zh"
# 现在训练。每一个词都在 3.2 解释，先看它能做什么。`fit` 更新权重 {{ profile.lora["steps"] }} 次（叫 {{ profile.lora["steps"] }} **步**），每次看 {{ profile.lora["batch_size"] }} 张图（一**批**），大约一分钟。
#
# **先猜**：三张图里，几张会变成青花瓷？猫还是猫吗？

# %% [markdown] lang="en"
# Now train. Every word of it is explained in 3.2; first see what it does. `fit` changes the weights {{ profile.lora["steps"] }} times ({{ profile.lora["steps"] }} **steps**), each time after looking at {{ profile.lora["batch_size"] }} pictures (a **batch**). It takes about a minute.
#
# **Predict**: how many of the three pictures become porcelain? Is the cat still a cat?

# %%
from paidiff_lib.methods.lora import WIDE

recipe = {**profile.lora, "lr_scheduler": "cosine", "caption_dropout": 0.15}
lora = LoRA(pipe, rank=8, layers=WIDE, name="first")
losses = paidiff.fit(lora, data, **recipe, seed=0)

# %% tags=["nbval-ignore-output"]
after = paidiff.draw(pipe, prompts, seed=1)
show(
    paidiff.compare({"before": before, "after": after}, prompts),
    alt="上排照旧，下排是蓝白的青花瓷 · the upper row as ever, the lower blue and"
    " white",
)

# %% [markdown] lang="zh"
# `draw` 还会说它没学过“青花瓷”：它只查模型的词，不知道你刚教了什么。

# %% [markdown] lang="en"
# `draw` may still say that 青花瓷 was never learnt: it looks into the model's words and cannot know what you have just taught.

# %% tags=["nbval-ignore-output"]
show(
    paidiff.curve({"loss": losses}, x="step", y="loss", window=20),
    alt="损失一路抖动着下降，后来变平 · the loss falls, trembling, and levels out",
)

# %% [markdown] lang="zh"
# **损失**（loss）是猜得有多错（[第 00 课](00_what_is_diffusion.ipynb)）。一步一步地看，它抖得厉害（上面画的是 20 步的平均），因为每一步的图、噪声和时间步 $t$ 都是抽来的：要看走势，不看一点。它变平了，这样的学习率再练下去也学不到多少；但*它不告诉你*画风像不像，更不告诉你别的东西坏没坏。那要另外量（3.3）。

# %% [markdown] lang="en"
# The **loss** says how wrong the guesses are ([lesson 00](00_what_is_diffusion.ipynb)). It trembles, because pictures, noise and timestep $t$ are drawn anew for every step: look at the trend, not at a point. It has levelled out, so more steps would teach little more. What it does *not* tell you is how good the style is, let alone what else has been spoilt. That has to be measured (3.3).

# %% [markdown] lang="zh"
# ## 3.2 它是什么
#
# 网络里的一层，大多是乘一个大矩阵：$y=Wx$。*LoRA*（低秩适配，Low-Rank Adaptation，[Hu et al. 2021](https://arxiv.org/abs/2106.09685)）不动 $W$，在旁边加一条窄路，只训练窄路上的两个瘦矩阵：
#
# $$y = Wx+\frac{\alpha}{r}\,B A x$$
#
# ![](diagram:lora)
#
# * $A$ 把宽度压到 $r$，$B$ 再放回来。$r$ 叫**秩**（rank）：$BA$ 再大，也只有 $r$ 个独立的方向。
# * $B$ 从 0 开始，所以第一步之前 $BA=0$，模型一点没变。
# * $\alpha$ 是个不训练的倍数；不写就等于 $r$，也就是乘 1。

# %% [markdown] lang="en"
# ## 3.2 What it is
#
# A layer of a network mostly multiplies by a large matrix: $y=Wx$. A *LoRA* (Low-Rank Adaptation, [Hu et al. 2021](https://arxiv.org/abs/2106.09685)) leaves $W$ alone, adds a narrow path beside it and trains only the two thin matrices on that path:
#
# $$y = Wx+\frac{\alpha}{r}\,B A x$$
#
# ![](diagram:lora)
#
# * $A$ squeezes the width down to $r$, $B$ brings it back. $r$ is the **rank**: however large $BA$ is, it has only $r$ independent directions.
# * $B$ starts as 0, so before the first step $BA=0$ and the model is unchanged.
# * $\alpha$ is a factor that is not trained; left out, it equals $r$, which makes the factor 1.

# %% [markdown] lang="zh"
# 用手验一遍：拿出一层的 $W$、$A$、$B$，照公式算，和这一层自己算的比。

# %% [markdown] lang="en"
# Check it by hand: take $W$, $A$ and $B$ of one layer, compute by the formula, and compare with what the layer itself says.

# %%
name, layer = next(
    pair for pair in pipe.unet.named_modules() if pair[0].endswith("attn2.to_q")
)
W = layer.base_layer.weight
A, B = layer.lora_A["first"].weight, layer.lora_B["first"].weight
x = torch.randn(5, W.shape[1]).to(W)
by_hand = x @ (W + layer.scaling["first"] * B @ A).T  # scaling is alpha / r
assert torch.allclose(layer(x), by_hand, atol=1e-4)
print("W", *W.shape, "· B", *B.shape, "· A", *A.shape)
print("rank of B A:", torch.linalg.matrix_rank(B @ A).item())

# %%
trained = sum(p.numel() for p in lora.parameters().values())
whole = sum(p.numel() for n, p in pipe.unet.named_parameters() if "lora" not in n)
print(f"LoRA {trained / 1e6:.2f} M · UNet {whole / 1e6:.2f} M · {trained / whole:.0%}")

# %% [markdown] lang="zh"
# 图里橙色的就是全部在训练的东西，一共 {{ f"{trained / whole:.0%}" }}：
#
# ![](diagram:unet-lora)
#
# `layers=WIDE` 在注意力、前馈和卷积三种层旁边都加；默认只加在注意力旁边。词只从[交叉注意力和时间嵌入](12_attention.ipynb)进来，卷积层自己是不看词的，记住这一点，3.3 用得着。
#
# 一步做的事和从头训练一样（[第 00 课](00_what_is_diffusion.ipynb)）：训练图经过 VAE 变成潜变量 $x_0$，抽一个 $t$ 和一份噪声 $\varepsilon$，混成 $x_t$，连同说明文字 $c$ 交给 UNet，让它猜 $v$：
#
# $$L=\left\lVert \mathrm{UNet}(x_t,t,c)-v\right\rVert^2,\qquad x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\varepsilon,\qquad v=\sqrt{\bar\alpha_t}\,\varepsilon-\sqrt{1-\bar\alpha_t}\,x_0$$
#
# 只有 $A$ 和 $B$ 有梯度，沿着让 $L$ 变小的方向走一小步。`learning_rate`（**学习率**）是步子的大小，`cosine` 让它沿余弦降到 0；`caption_dropout=0.15` 让七张里约有一张配*空*提示词来练，因为引导也要用空提示词的预测：$\varepsilon_\text{empty}+g\,(\varepsilon_\text{prompt}-\varepsilon_\text{empty})$（[第 01 课](01_inference.ipynb)）。

# %% [markdown] lang="en"
# What is orange is all that is trained, {{ f"{trained / whole:.0%}" }} in all:
#
# ![](diagram:unet-lora)
#
# `layers=WIDE` adds a path beside attention, feed-forward and convolution layers; the default is attention only. Words come in by [cross-attention and the time embedding](12_attention.ipynb) alone, a convolution does not look at them. Remember that, 3.3 needs it.
#
# A step does what it does in training from scratch ([lesson 00](00_what_is_diffusion.ipynb)): the VAE turns a training picture into latents $x_0$, a $t$ and noise $\varepsilon$ are drawn and mixed into $x_t$, and with the caption $c$ this goes to the UNet, which has to guess $v$:
#
# $$L=\left\lVert \mathrm{UNet}(x_t,t,c)-v\right\rVert^2,\qquad x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\varepsilon,\qquad v=\sqrt{\bar\alpha_t}\,\varepsilon-\sqrt{1-\bar\alpha_t}\,x_0$$
#
# Only $A$ and $B$ have gradients, and take a small step towards a smaller $L$. The `learning_rate` is the size of the step, which `cosine` lets fall to 0 like a cosine; `caption_dropout=0.15` trains about one picture in seven with the *empty* prompt, because guidance needs its prediction too: $\varepsilon_\text{empty}+g\,(\varepsilon_\text{prompt}-\varepsilon_\text{empty})$ ([lesson 01](01_inference.ipynb)).

# %% [markdown] lang="zh"
# ## 3.3 学到了多少，漏了多少
#
# **裁判**（一个只用来测量的小分类器，[第 13 课](13_evaluation.ipynb)）学过青花瓷，模型没有，所以它可以当证人。{{ profile.things }} 种事物，搭配都不在训练图里，写成两组提示词：
#
# * `asked`：写了青花瓷；
# * `others`：*没写*青花瓷，一半不写画风，一半写另一种画风。
#
# 每组先关掉 LoRA 画，再打开画。表里的 `青花瓷` 是裁判看见青花瓷的比例，`subject`、`background`、`style` 是主体、地点、画风对的比例，方括号里是 95 % 的威尔逊区间；`real` 是世界自己画的真图，一般当上限（裁判也会看错，模型偶尔会超过它）。
#
# **先猜**：LoRA 开着，`others` 里几成会变成青花瓷？写下来。

# %% [markdown] lang="en"
# ## 3.3 How much was learnt, and how much leaks
#
# The **judge** (a small classifier that is used for measuring only, [lesson 13](13_evaluation.ipynb)) was taught 青花瓷, and the model was not: so it can be a witness. {{ profile.things }} things, in combinations that are not in the training set, make two groups of prompts:
#
# * `asked`: with 青花瓷;
# * `others`: *without* it, one half naming no style, the other half naming another style.
#
# Each group is drawn with the LoRA off, then with the LoRA on. In the tables `青花瓷` is how often the judge sees porcelain; `subject`, `background` and `style` are how often subject, place and style are right, with Wilson's 95 % interval in brackets; `real` are real pictures by the world itself, in general the ceiling (the judge errs too, so the model may at times be above it).
#
# **Predict**: with the LoRA on, what share of `others` turns into porcelain? Write it down.

# %%
things = "猫 企鹅 汽车 茶壶 蘑菇 房子 熊猫 西瓜 帆船 松树 气球 箱子".split()
places = ["草地", "雪地", "沙滩", "白色背景"] * 3
styles = [
    "",
    "",
    "",
    "",
    "",
    "",
    ",水墨画",
    ",油画",
    ",水彩画",
    ",剪纸",
    ",像素画",
    ",素描",
]
scenes = [f"{thing},{place}" for thing, place in zip(things, places)]
asked = [scene + ",青花瓷" for scene in scenes][: profile.things]
others = [scene + style for scene, style in zip(scenes, styles)][-profile.things :]


def seen(rates):
    """What the judge sees: {head: Estimate}, and how often it sees porcelain."""
    asked_for = {head: rates[head] for head in ("subject", "background", "style")}
    return asked_for | {"青花瓷": measure.seen(rates.pictures, "青花瓷")}


def judged(prompts):
    rates = measure.following(pipe, prompts, steps=profile.steps)
    return seen(rates), rates.pictures


# %% tags=["nbval-ignore-output"]
found, drawn = {}, {}
for group, texts in {"asked": asked, "others": others}.items():
    for state, scales in {"off": {}, "on": {"first": 1.0}}.items():
        paidiff.set_scales(pipe, scales)  # {}: every LoRA off
        found[group, state], drawn[group, state] = judged(texts)
    found[group, "real"] = seen(measure.ceiling(texts))
    columns = {state: found[group, state] for state in ("off", "on", "real")}
    print(group, measure.table(columns), sep="\n", end="\n\n")
learnt, leak = (found[group, "on"]["青花瓷"] for group in ("asked", "others"))

# %% tags=["nbval-ignore-output"]
rows = {state: drawn["others", state][::2] for state in ("off", "on")}
show(
    paidiff.compare(rows, others[::2]),
    alt="没写青花瓷：上排 LoRA 关，各有各的样子；下排 LoRA 开，大多成了蓝白色 · no"
    " porcelain asked for: LoRA off above, each as it should be; on below, mostly blue",
)

# %%
if profile.judged:
    assert found["asked", "off"]["青花瓷"].mean < 0.1 and learnt.mean > 0.6
    assert leak.mean > 0.3  # the leak

# %% [markdown] lang="zh"
# 学到了：写了“青花瓷”的，{{ f"{learnt:.0%}" }} 是青花瓷（关着是 {{ f"{found['asked', 'off']['青花瓷']:.0%}" }}）。
#
# 也**漏**了：*没写*的，{{ f"{leak:.0%}" }} 也成了青花瓷；画风对的从 {{ f"{found['others', 'off']['style'].mean:.0%}" }} 掉到 {{ f"{found['others', 'on']['style'].mean:.0%}" }}，地点对的从 {{ f"{found['others', 'off']['background'].mean:.0%}" }} 变成 {{ f"{found['others', 'on']['background'].mean:.0%}" }}。这叫**泄漏**（leakage）：模型学到的不是“青花瓷”*这个词*，而是“从今以后，都画青花瓷”。地点也丢了，连 `asked` 里也是；真的青花瓷图里地点大多认得出（`real`），所以不能怪画风。
#
# 为什么？再看一眼训练图：*每一张*都是青花瓷。没有一张告诉模型，不写这个词的时候该画什么；把什么都画成青花瓷，损失一样小。不看词的卷积层就能做到，空提示词也是这么练的。只量 `asked`，这件事永远看不见。

# %% [markdown] lang="en"
# It was learnt: of what asks for 青花瓷, {{ f"{learnt:.0%}" }} is porcelain (with the LoRA off: {{ f"{found['asked', 'off']['青花瓷']:.0%}" }}).
#
# And it **leaks**: of what does *not* ask for it, {{ f"{leak:.0%}" }} turns into porcelain too; styles are right in {{ f"{found['others', 'on']['style'].mean:.0%}" }} of cases, down from {{ f"{found['others', 'off']['style'].mean:.0%}" }}, places in {{ f"{found['others', 'on']['background'].mean:.0%}" }}, before {{ f"{found['others', 'off']['background'].mean:.0%}" }}. This is **leakage**: the model has not learnt *the word* 青花瓷, it has learnt “from now on, everything is porcelain”. Places are lost too, even in `asked`; in real porcelain most of them can be made out (`real`), so the style is not to blame.
#
# Why? Look at the training pictures again: *every one* is porcelain. Not one tells the model what to draw when the word is absent; painting everything as porcelain makes the loss just as small. Convolutions, which do not look at words, are enough for that, and the empty prompt was trained in the same way. Who measures `asked` only will never see it.

# %% [markdown] lang="zh"
# ## 3.4 复习：把泄漏减下来
#
# 缺什么补什么：混进一些*不是*青花瓷的旧图，配它们自己的说明文字。这叫**复习**（rehearsal）。`Mixed` 让四成的训练图来自旧的世界；步数、学习率、种子照旧，从零重新训练一个。（所以看到的青花瓷也只有原来的六成：少漏的，有一部分可能只是学得少，见“再试试”第 1 题。）
#
# **先猜**：青花瓷的图只看到原来的六成了。`asked` 会少多少？`others` 的泄漏会少多少？

# %% [markdown] lang="en"
# ## 3.4 Rehearsal: less of a leak
#
# Supply what is missing: mix in old pictures that are *not* porcelain, with captions of their own. This is **rehearsal**. `Mixed` takes four training pictures in ten from the old world; steps, learning rate and seed stay, and a new LoRA is trained from nothing. (So it sees only six tenths of the porcelain: part of what leaks less may just be less learnt, see question 1 of “Try further”.)
#
# **Predict**: it sees only six porcelain pictures where there were ten. How much will `asked` lose? How much of the leak in `others` will go?

# %%
from pathlib import Path
from paidiff_lib import Mixed
from paidiff_world.folders import known, write

out = Path("../out/03")
write(out / "known", known(profile.known), digits=3)
old = CaptionFolder(out / "known")
show(
    [old.image(i, 128) for i in range(6)],
    titles=[old.caption(i) for i in range(6)],
    alt="六张复习图，画风各不相同 · six pictures to rehearse, in different styles",
)

# %%
paidiff.set_scales(pipe, {})  # the first one rests
rehearsed = LoRA(pipe, rank=8, layers=WIDE, name="rehearsed")
losses = paidiff.fit(rehearsed, Mixed(data, old, share=0.4), **recipe, seed=0)

# %% tags=["nbval-ignore-output"]
for group, texts in {"asked": asked, "others": others}.items():
    found[group, "rehearsed"], drawn[group, "rehearsed"] = judged(texts)
    columns = {s: found[group, s] for s in ("off", "on", "rehearsed")}
    print(group, measure.table(columns), sep="\n", end="\n\n")
kept, less = (found[group, "rehearsed"]["青花瓷"] for group in ("asked", "others"))

# %% tags=["nbval-ignore-output"]
states = ("off", "on", "rehearsed")
rows = {state: drawn["others", state][::2] for state in states}
show(
    paidiff.compare(rows, others[::2]),
    alt="没写青花瓷：第三排是复习过的，大多回到第一排的样子 · no porcelain asked for:"
    " the third row, rehearsed, is mostly back to the first",
)
show(
    paidiff.compare({s: drawn["asked", s][::2] for s in states}, asked[::2]),
    alt="写了青花瓷：第二排全是青花瓷，第三排有的是，有的只淡了一点 · porcelain asked"
    " for: the second row is porcelain, the third in part, in part only paler",
)

# %%
if profile.judged:
    assert less.mean <= leak.mean / 2 and kept.mean > 0.4  # half the leak, or less

# %% [markdown] lang="zh"
# 泄漏从 {{ f"{leak:.0%}" }} 降到 {{ f"{less:.0%}" }}；没写的那些，地点大多回来了，画风回来了一部分。代价也看得见：写了青花瓷的，只有 {{ f"{kept:.0%}" }} 是青花瓷（原来 {{ f"{learnt.mean:.0%}" }}），蘑菇又红了，熊猫身后又有了沙滩。它看到的青花瓷图少了，学得就浅：两张表要一起看，只报泄漏减了多少，和只报学到多少一样不老实。学得浅可以多练几步，或者用的时候开大一点（3.5）；复习多少，“再试试”第 1 题让你自己选。
#
# 复习图从哪里来？这里由图画世界画（`known`）。用真模型时没有这个世界，就用任何配了说明文字的普通图，或者让模型训练前自己画一批：[第 05 课](05_dreambooth.ipynb)的**先验保留**就是这个办法。
#
# 从这里往下用复习过的这个。

# %% [markdown] lang="en"
# The leak falls from {{ f"{leak:.0%}" }} to {{ f"{less:.0%}" }}; without the word most places are back, and some of the styles. The price shows as well: of what asks for porcelain only {{ f"{kept:.0%}" }} still is (before: {{ f"{learnt.mean:.0%}" }}); the mushroom is red again, the panda has its beach back. It saw fewer porcelain pictures, so it learnt less. Read both tables together: to report only how much less it leaks is no more honest than to report only how much it learnt. What was learnt less can be trained longer, or opened wider in use (3.5); how much to rehearse is yours to choose in question 1 of “Try further”.
#
# Where do pictures for rehearsal come from? Here the picture world paints them (`known`). With a real model there is no such world: take any ordinary pictures with captions, or let the model draw some before training; that is the **prior preservation** of [lesson 05](05_dreambooth.ipynb).
#
# From here on the rehearsed one is used.

# %% [markdown] lang="zh"
# ## 3.5 强度
#
# 窄路可以只开一半，也可以开过头：用的时候再乘一个 `scale`，记作 $s$：
#
# $$y = Wx+s\,\frac{\alpha}{r}\,B A x$$
#
# **先猜**：$s=0.5$ 的时候，图是“半个青花瓷”，还是要么是、要么不是？$s=1.5$ 呢？

# %% [markdown] lang="en"
# ## 3.5 Scale
#
# The narrow path can be half open, or more than open: a `scale` $s$ multiplies it in use:
#
# $$y = Wx+s\,\frac{\alpha}{r}\,B A x$$
#
# **Predict**: at $s=0.5$, is a picture “half porcelain”, or is it either one or the other? And at $s=1.5$?

# %% tags=["nbval-ignore-output"]
from paidiff_world.judge import judge

scales = [0, 0.25, 0.5, 0.75, 1.0, 1.5]
columns, sure = [], []
for scale in scales:
    paidiff.set_scales(pipe, {"rehearsed": scale})
    columns.append(measure.following(pipe, asked[:3], steps=profile.steps).pictures)
    sure.append(judge().probability(columns[-1], "style", "青花瓷"))
rows = {prompt: pictures for prompt, pictures in zip(asked, map(list, zip(*columns)))}
titles = [f"{scale} P={p.mean():.2f}" for scale, p in zip(scales, sure)]
show(
    paidiff.compare(rows, titles),
    alt="从左到右强度变大，图从原样变成青花瓷 · the scale grows from left to right, and"
    " pictures turn into porcelain",
)

# %% [markdown] lang="zh"
# 标题里是强度和裁判认出青花瓷的概率（三张平均）。强度和效果*不成正比*：0.5 以前几乎看不出，0.75 开始褪色、出白框（猫先变，汽车到 1 还带着红），1 才大致变过去；复习过的这个学得浅，开到 1.5 更像青花瓷。裁判的概率在 0.75 和 1 之间一下子跳上去：分类器只回答是不是，不回答有多少。开大也会把泄漏放大，要一起量（“再试试”第 1 题）。

# %% [markdown] lang="en"
# The titles give the scale and the judge's probability of porcelain, the mean of three. The effect is *not proportional* to the scale: up to 0.5 there is hardly anything to see, at 0.75 colours fade and a white frame appears (the cat first; the car is still reddish at 1), at 1 most of it has turned; the rehearsed one has learnt less, and at 1.5 it is better porcelain. The judge's probability leaps between 0.75 and 1: a classifier says whether, not how much. A wider path leaks more as well; measure both (question 1 of “Try further”).

# %% [markdown] lang="zh"
# ## 3.6 存、取、不用我们的库
#
# 存下来的是一个普通 diffusers 认识的文件夹。重新打开模型，用 diffusers 自己的 `load_lora_weights` 读、diffusers 自己的调用画，一个像素都不差。

# %% [markdown] lang="en"
# ## 3.6 Save, load, without our library
#
# What is saved is a folder that plain diffusers knows. Open the model anew, read the folder with diffusers' own `load_lora_weights`, draw with diffusers' own call: not one pixel differs.

# %%
rehearsed.save(out / "porcelain")
sizes = {path.name: path.stat().st_size for path in (out / "porcelain").iterdir()}
print({name: f"{size / 1e6:.1f} MB" for name, size in sizes.items()})


# %% tags=["nbval-ignore-output"]
def plain_draw(pipe, prompts):
    """diffusers' own call: a picture for each prompt, seeds 0, 1, ..."""
    noise = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
    settings = {"guidance_scale": 2, "num_inference_steps": profile.steps}
    return pipe(prompts, generator=noise, **settings).images


paidiff.set_scales(pipe, {"rehearsed": 1.0})
plain = paidiff.load()
plain.load_lora_weights(out / "porcelain")  # diffusers, not paidiff
ours, theirs = (plain_draw(p, ["汽车,草地,青花瓷"])[0] for p in (pipe, plain))
assert profile.same(ours, theirs)
show([ours, theirs], titles=["trained", "loaded"], alt="两张一样 · two equal pictures")

# %% [markdown] lang="zh"
# 文章里的 `pipe.unet.load_attn_procs(torch.load(...))` 在今天的 diffusers 上报错；它的替代写法对 hub 上的旧文件*不报错，也不起作用*。`paidiff.load_lora` 新旧两种都认，不起作用就报错。

# %% [markdown] lang="en"
# The article's `pipe.unet.load_attn_procs(torch.load(...))` fails on today's diffusers; its replacement gives *no error and no effect* on the hub's old files. `paidiff.load_lora` reads both, and a LoRA without effect is an error.

# %% [markdown] lang="zh"
# ## 3.7 两个 LoRA
#
# 再训一个小的：`data/kitten` 里的一只小奶猫（[下一课](04_textual_inversion.ipynb)的主角），只要 {{ profile.kitten["steps"] }} 步。两条窄路可以一起开，各有各的强度：
#
# $$y = Wx+s_1\,\frac{\alpha_1}{r_1}\,B_1A_1x+s_2\,\frac{\alpha_2}{r_2}\,B_2A_2x$$
#
# 加法谁都会做；问题是它们训练的时候从没见过对方。六个地方的「一只小奶猫，…，青花瓷」，四种开法，再加世界自己画的真图（`real`）作对比。`kitten` 是图和小奶猫训练图有多像（裁判对主体的判断的余弦，1 是同一个东西）。
#
# **先猜**：两个都开到 1，小奶猫和青花瓷都在吗？

# %% [markdown] lang="en"
# ## 3.7 Two LoRAs at once
#
# Train another small one on the kitten in `data/kitten` (of whom more in [the next lesson](04_textual_inversion.ipynb)); {{ profile.kitten["steps"] }} steps will do. Two narrow paths can be open together, each with a scale of its own:
#
# $$y = Wx+s_1\,\frac{\alpha_1}{r_1}\,B_1A_1x+s_2\,\frac{\alpha_2}{r_2}\,B_2A_2x$$
#
# Adding is easy; the question is what comes of it, for in training neither has ever met the other. 「一只小奶猫，…，青花瓷」 (the kitten, somewhere, in porcelain) in six places, four ways of opening them, and real pictures by the world itself (`real`) for comparison. `kitten` is how alike a picture and the kitten's training pictures are (cosine of what the judge says of the subject; 1 is the same thing).
#
# **Predict**: with both at 1, are kitten and porcelain both there?

# %%
pets = CaptionFolder(paidiff.data("kitten"))
paidiff.set_scales(pipe, {})
kitten = LoRA(pipe, rank=8, layers=WIDE, name="kitten")
gentle = {**profile.kitten, "lr_scheduler": "cosine", "caption_dropout": 0}
losses = paidiff.fit(kitten, pets, **gentle)

# %%
import numpy as np
from paidiff_world import Spec, render
from paidiff_world.judge import similarity

examples = [pets.image(i, 128) for i in range(len(pets))]
where = ["雪地", "草地", "沙滩", "森林", "白色背景", "湖面"]
both = [f"一只小奶猫,{place},青花瓷" for place in where]
look = {"style": "青花瓷", "size": 0.75, "grid": True}
specs = [Spec("小奶猫", place, **look) for place in where]
real = [render(spec, np.random.RandomState(i)) for i, spec in enumerate(specs)]

# %% tags=["nbval-ignore-output"]
pairs = {
    "kitten": {"kitten": 1.0},
    "porcelain": {"rehearsed": 1.0},
    "1 + 1": {"kitten": 1.0, "rehearsed": 1.0},
    "0.7 + 1": {"kitten": 0.7, "rehearsed": 1.0},
}
mixed, columns = {}, {}
for name, scales in pairs.items():
    paidiff.set_scales(pipe, scales)
    mixed[name] = plain_draw(pipe, both)
mixed["real"] = real
for name, pictures in mixed.items():
    alike = paidiff.interval(similarity(pictures, examples))
    sure = paidiff.interval(judge().probability(pictures, "style", "青花瓷"))
    columns[name] = {"kitten": alike, "P(青花瓷)": sure}
print(measure.table(columns, ".2f"))
show(
    paidiff.compare(mixed, where),
    alt="第一排是小奶猫，第二排是青花瓷，三四排两样都开 · kittens above, then"
    " porcelain, then both",
)
if profile.real:  # each acts, and together they act otherwise
    assert len({pictures[0].tobytes() for pictures in mixed.values()}) == 5

# %% [markdown] lang="zh"
# 单开各管各的：`kitten` 是小奶猫，一点青花瓷也没有；`porcelain` 是青花瓷，画的是一只普通的猫，因为它没见过小奶猫。都开到 1，小奶猫赢了：脸还在，青花瓷的概率掉下来一大半，最多只剩一层淡蓝、一圈白框。把小奶猫关小到 0.7，青花瓷回来一点，还是远不到单开的时候。真图（最下一排）说明这两样东西本来不冲突；多半是两个 LoRA 在抢同样的层：一个把颜色往蓝白推，一个往橙黄推，加起来谁大听谁的。
#
# 要两样都有，最可靠的办法是让它们见面：两种图放在一起训练一个 LoRA。

# %% [markdown] lang="en"
# Alone, each does its own: `kitten` is the kitten without a trace of porcelain; `porcelain` is porcelain, and draws an ordinary cat, for it has never met the kitten. With both at 1 the kitten wins: its face stays, and most of the probability of porcelain is gone; at most a pale blue veil and a white frame are left. With the kitten down to 0.7 some porcelain comes back, still far less than alone. The real pictures (last row) show that there is no conflict between the two things as such; most likely the two LoRAs pull at the same layers, one towards blue and white, the other towards orange, and the sum follows the stronger.
#
# To have both, the surest way is to let them meet: train one LoRA on both kinds of pictures.

# %% [markdown] lang="zh"
# ## 3.8 并进模型，导出成 kohya 的格式
#
# `merge` 把打开的 LoRA 算进权重，$W\leftarrow W+s\,\frac{\alpha}{r}BA$，从此它就是一个普通的模型。`export` 写成 kohya 的键名（WebUI 认这个），写完立刻读回来，逐层比较。可是没有一个原版的 WebUI 打得开中文的文本编码器，而 LoRA 只配它自己的模型；谁读什么，见 `docs/elsewhere.zh-CN.md`。PAI 自己的插件要旧的 `.bin`：训练命令加 `--also_bin`。

# %% [markdown] lang="en"
# ## 3.8 Merge, and export in kohya's layout
#
# `merge` adds the LoRAs that are on to the weights, $W\leftarrow W+s\,\frac{\alpha}{r}BA$: an ordinary model from then on. `export` writes kohya's keys (what the WebUI reads), reads them back and compares layer by layer. But no stock WebUI opens a Chinese text encoder, and a LoRA belongs to its own model; which program reads what is in `docs/elsewhere.md`. PAI's own extension wants the old `.bin`: give the training command `--also_bin`.

# %% tags=["nbval-ignore-output"]
from paidiff_lib.metrics import distance

rehearsed.export(out / "porcelain_webui.safetensors")
plain = paidiff.load()
paidiff.load_lora(plain, out / "porcelain")
paidiff.merge(plain)  # from here on `plain` needs no LoRA file
paidiff.set_scales(pipe, {"rehearsed": 1.0})
two = [plain_draw(p, ["企鹅,白色背景,青花瓷"])[0] for p in (pipe, plain)]
print(f"distance {distance(*two):.2f} / 255")
assert distance(*two) < 3  # the sums round differently
show(
    two,
    titles=["LoRA", "merged"],
    alt="两张看不出区别 · two pictures, alike to the eye",
)

# %% [markdown] lang="zh"
# ## 3.9 停了再接着
#
# 真的训练要几个小时。给出 `output`，训练会存**检查点**（checkpoint：权重、优化器、随机数，原子写入、带校验和）。停在哪里都行，再运行一次就从那里接着走，结果和没停过*一个比特都不差*。这里要在中途停，所以用 `train`：它一步一步交回来，循环由你写。

# %% [markdown] lang="en"
# ## 3.9 Stop and go on
#
# A real training takes hours. With `output` it keeps **checkpoints** (weights, optimiser and random numbers, written atomically and with hashes). Stop anywhere, run it again, and it goes on from there, with a result that equals the uninterrupted one *to the bit*. To stop on the way, this cell uses `train`, which hands back one step at a time; you write the loop.


# %%
import shutil


def trained(output, stop=None):
    method = LoRA(paidiff.load(), rank=2)
    run = paidiff.train(method, data, steps=6, learning_rate=1e-3, output=output)
    for step in run:
        if step.index == stop:
            run.close()  # what "interrupt the kernel" does
    return method.parameters()


for name in ("straight", "stopped"):  # of an earlier run of this cell
    shutil.rmtree(out / name, ignore_errors=True)
straight = trained(out / "straight")
trained(out / "stopped", stop=3)
resumed = trained(out / "stopped")
if profile.exact:  # a GPU sums in any order
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)

# %% [markdown] lang="zh"
# ## 3.10 文章里的那一行命令
#
# 同样的参数，一个不少，只是步数少。在仓库的文件夹里运行（Windows 上把它写成一行，去掉行尾的 `\`）：
#
# ```bash
# accelerate launch scripts/train_text_to_image_lora.py \
#   --pretrained_model_name_or_path=mini --train_data_dir=data/porcelain \
#   --resolution=128 --center_crop --random_flip \
#   --train_batch_size=1 --gradient_accumulation_steps=4 --max_train_steps=4 \
#   --learning_rate=1e-04 --max_grad_norm=1 --lr_scheduler=cosine --lr_warmup_steps=0 \
#   --output_dir=out/03/article
# ```
#
# `gradient_accumulation_steps=4`：四个一张的小批，梯度加起来更新一次，等于一批四张，内存只要四分之一。`max_grad_norm=1`：梯度太长就剪到 1。结果是 `pipe.load_lora_weights` 能读的文件夹。下面的单元格就是运行它：

# %% [markdown] lang="en"
# ## 3.10 The article's own command
#
# The same flags, every one, with fewer steps. Run it in the repository's folder (on Windows write it as one line, without the `\` at the ends):
#
# ```bash
# accelerate launch scripts/train_text_to_image_lora.py \
#   --pretrained_model_name_or_path=mini --train_data_dir=data/porcelain \
#   --resolution=128 --center_crop --random_flip \
#   --train_batch_size=1 --gradient_accumulation_steps=4 --max_train_steps=4 \
#   --learning_rate=1e-04 --max_grad_norm=1 --lr_scheduler=cosine --lr_warmup_steps=0 \
#   --output_dir=out/03/article
# ```
#
# `gradient_accumulation_steps=4`: the gradients of four batches of one are added up for one update, which equals a batch of four in a quarter of the memory. `max_grad_norm=1`: a longer gradient is cut to 1. The result is a folder that `pipe.load_lora_weights` reads. The next cell runs it:

# %% jupyter={"source_hidden": true}
import shlex, subprocess, sys
from paidiff_lib.models.load import model_name

command = f"""-m accelerate.commands.launch ../scripts/train_text_to_image_lora.py
    --pretrained_model_name_or_path="{model_name()}" --resolution={profile.size}
    --train_data_dir="{paidiff.data("porcelain").as_posix()}" --center_crop
    --random_flip --train_batch_size=1 --gradient_accumulation_steps=4
    --max_train_steps=4 --learning_rate=1e-04 --max_grad_norm=1
    --lr_scheduler=cosine --lr_warmup_steps=0
    --output_dir="{(out / "article").as_posix()}" """
line = [sys.executable, *shlex.split(command)]
done = subprocess.run(line, capture_output=True, text=True)
print(done.returncode, sorted(path.name for path in (out / "article").iterdir()))
assert done.returncode == 0, done.stderr[-2000:]

# %% [markdown] lang="zh"
# ## 3.11 换成真模型
#
# ```python
# pipe = paidiff.load("artist-large")     # 下载见第 01 课
# lora = LoRA(pipe, rank=8)               # 16 GB 显存
# data = Mixed(CaptionFolder("your/pictures"), CaptionFolder("ordinary/pictures"))
# paidiff.fit(lora, data, steps=1500, learning_rate=1e-4, mixed_precision="fp16")
# ```
#
# **未在真权重上验证**。

# %% [markdown] lang="en"
# ## 3.11 The real model
#
# ```python
# pipe = paidiff.load("artist-large")     # to download it: lesson 01
# lora = LoRA(pipe, rank=8)               # a GPU with 16 GB
# data = Mixed(CaptionFolder("your/pictures"), CaptionFolder("ordinary/pictures"))
# paidiff.fit(lora, data, steps=1500, learning_rate=1e-4, mixed_precision="fp16")
# ```
#
# **Not verified on the real weights.**

# %% [markdown] lang="zh"
# ## 3.12 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | 画风没学到 | 步数或学习率太小；说明文字里没写画风的名字。 |
# | 不写画风的名字也是那种画风 | 泄漏：用 `Mixed` 复习（3.4），或把 `scale` 调低。 |
# | 全糊了 | 学习率太大，或步数太多：试试 `scale` 0.7。 |
# | `… 的 LoRA 没有起作用` | 这个文件不是给这个模型的。 |
# | `叫 first 的 LoRA 训练过,没有存,换成新的了` | 同名的被换掉了：要留就先 `save`，或换个 `name=`。 |
# | `梯度不是有限数` | 学习率太大；权重没有被写坏。 |
# | `是另一次训练的,接不上` | `output` 里是别的设置的检查点：换个文件夹。 |
# | `两组图要一样大` | `Mixed` 的两组用同一个 `size`。 |

# %% [markdown] lang="en"
# ## 3.12 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | no style | Too few steps, too small a learning rate, or captions that do not name the style. |
# | the style comes without its name | Leakage: rehearse with `Mixed` (3.4), or lower the `scale`. |
# | everything is mush | Too large a learning rate or too many steps: try a `scale` of 0.7. |
# | `… 的 LoRA 没有起作用` (this LoRA has no effect) | The file is for another model. |
# | `叫 first 的 LoRA 训练过,没有存,换成新的了` (trained, not saved, replaced) | One of the same name took its place: `save` first, or choose another `name=`. |
# | `梯度不是有限数` (no finite gradient) | The learning rate is too large; the weights are unharmed. |
# | `是另一次训练的,接不上` (another run's) | The checkpoints in `output` have other settings: choose another folder. |
# | `两组图要一样大` (both sets need the same size) | Give both sets of `Mixed` the same `size`. |

# %% [markdown] lang="zh"
# ## 3.13 说清楚
#
# * {{ profile.things }} 句提示词很少，所以区间很宽：泄漏“减少了一半以上”是说这两次训练，不是一条定律。换一个种子再训练，数会变。
# * 裁判认的是这个小世界里的青花瓷。人看着像不像瓷器，是另一回事。
# * 复习只保住了复习图里有的东西。
# * 小模型上的学习率、步数和泄漏的比例，不能照搬到十亿参数的模型；*量法*可以。
#
# ## 你学到了
#
# * LoRA：原来的权重不动，旁边训练两个瘦矩阵，$y=Wx+s\,\frac{\alpha}{r}BAx$；文件小，可调、可叠加、可并、可导出。
# * 损失变平只说明没什么可学了；学到没有，要用没训练过的提示词量。
# * 画风 LoRA 会**泄漏**：量的时候一定要有*不写*那个词的提示词。混进旧图复习，能减下来。
# * 两个没见过对方的 LoRA 加在一起会互相争：量了再说。

# %% [markdown] lang="en"
# ## 3.13 To be plain
#
# * {{ profile.things }} prompts are few, so the intervals are wide: that the leak falls by half or more is said of these two trainings, it is no law. Train with another seed and the figures will be others.
# * The judge knows the porcelain of this small world. Whether it looks like china to people is another matter.
# * Rehearsal keeps what is in the pictures that are rehearsed, and nothing else.
# * Learning rate, steps and the size of the leak do not carry over to a model of a billion weights; *how to measure* does.
#
# ## What you have learnt
#
# * LoRA: the weights stay, two thin matrices are trained beside them, $y=Wx+s\,\frac{\alpha}{r}BAx$; a small file that can be scaled, added, merged and exported.
# * A loss that levels out says that there is little more to learn; whether it was learnt is measured on prompts that were not trained.
# * A style LoRA **leaks**: always measure on prompts *without* its word too. Old pictures mixed in for rehearsal reduce it.
# * Two LoRAs that have never met get in each other's way when they are added: measure before you trust them.

# %% [markdown] lang="zh" tags=["exercise"]
# ## 练习
#
# 把 `...` 换成你的答案，运行单元格：`check` 说对不对，不对时说错在哪里，再给一条提示。它不联网，也不替你写答案。

# %% [markdown] lang="en" tags=["exercise"]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell: `check` says whether it is right, if not what is wrong, and gives a hint. It needs no network, and never writes the answer for you.

# %% [markdown] lang="zh"
# ### 再试试
#
# 这些没有标准答案，写下你看到的。每次都先 `paidiff.set_scales(pipe, {})`，新的 LoRA 换个 `name`。
#
# 1. **复习多少**。`share` 取 0.2、0.5、0.8，记下 `kept` 和 `less`，画成一条线：横轴泄漏，纵轴学到。再把 `share=0.4` 的练 300 步（`{**recipe, "steps": 300}`），或用 1.25、1.5 的强度，各添一个点。你会选哪一点？
# 2. **只有注意力**。第一个 LoRA 把 `layers=WIDE` 去掉（默认就是只有注意力），同样的步数再训练，用 `judged` 量 `asked` 和 `others`。学得慢了，漏得少了吗？用 3.2 里“卷积不看词”解释。
# 3. **你自己的画风**。一个文件夹，每张图旁边一个同名的 `.txt`，里面写上画风的名字。用 3.3 那样的一组 `others` 量它漏了多少。

# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see. Begin each with `paidiff.set_scales(pipe, {})`, and give a new LoRA another `name`.
#
# 1. **How much rehearsal**. Take a `share` of 0.2, 0.5 and 0.8, note `kept` and `less`, and plot them as one line, the leak across and the style learnt upwards. Add a point for `share=0.4` after 300 steps (`{**recipe, "steps": 300}`), and for scales of 1.25 and 1.5. Which point would you choose?
# 2. **Attention only**. Train the first LoRA again without `layers=WIDE` (the default is attention only), with as many steps, and measure `asked` and `others` with `judged`. It learns more slowly; does it leak less? Explain it with what 3.2 says of convolutions and words.
# 3. **A style of your own**. A folder, with a `.txt` of the same name beside each picture that names the style. Measure the leak with a group of `others` like that of 3.3.
