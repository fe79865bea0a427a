# %% [markdown] lang="zh"
# # 15 · 安全与法规
#
# **用时**：读和做 45 分钟；全部运行约一分半钟。**你需要**：[第 01 课](01_inference.ipynb)、[第 08 课](08_data_cleaning.ipynb)（检测器、阈值）和[第 13 课](13_evaluation.ipynb)（裁判、区间）。**学完你会**：给一张图加上看得见的和看不见的标识，并且*量出*哪一种经得起截图；说出安全检查器的两种错，各犯几次；用最近邻查一个模型有没有*抄*训练图；看出提示词没说的东西从哪里来；知道在中国提供这样的服务，三份文件各要求什么。
#
# **先想两个旧问题**：
# 1. [第 08 课](08_data_cleaning.ipynb)：阈值调高了，误删和漏掉的各怎么变？
# 2. [第 13 课](13_evaluation.ipynb)：12 张里 12 张都对，为什么不能说百分之百？
#
# 这一课不是法律意见。条文以官方公布的为准，要上线就问律师。

# %% [markdown] lang="en"
# # 15 · Safety and the law
#
# **Time**: 45 minutes to read and try; about a minute and a half to run. **You need**: [lesson 01](01_inference.ipynb), [lesson 08](08_data_cleaning.ipynb) (detectors, thresholds) and [lesson 13](13_evaluation.ipynb) (judge, intervals). **You will be able to**: label a picture so that people see it and so that programs do, and *measure* which of the two survives a screenshot; name the two errors of a safety checker and count them; look for *copies* of training pictures by nearest neighbours; see where comes from what a prompt leaves open; and know what three Chinese regulations ask of such a service.
#
# **Two questions from earlier lessons**:
# 1. [Lesson 08](08_data_cleaning.ipynb): what becomes of false alarms and misses when the threshold rises?
# 2. [Lesson 13](13_evaluation.ipynb): why are twelve right of twelve no hundred per cent?
#
# This lesson is no legal advice. The official texts count; before you go public, ask a lawyer.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import numpy as np
import paidiff_lib as paidiff
from paidiff_lib import draw, show

pipe = paidiff.load()
profile = paidiff_course.profile("15", pipe)

# %% [markdown] lang="zh"
# ## 15.1 先看结果
#
# 同一张图三次：画出来的；加上看得见的标识；截图以后。最后一张里，藏在文件里的那一份标识已经没有了。

# %% [markdown] lang="en"
# ## 15.1 The result first
#
# One picture three times: as drawn; with a label that people see; after a screenshot. In the last one, the label that was hidden in the file is gone.

# %%
import io
import json
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from paidiff_lib.display import FONT


def label(picture, text="AI生成", share=0.09):
    """`text` in the lower right corner, its characters a share of the shorter side."""
    drawn, side = picture.copy(), min(picture.size)
    pen, font = ImageDraw.Draw(drawn), ImageFont.truetype(FONT, round(share * side))
    corner = (picture.width - 3, picture.height - 3)
    pen.rectangle(pen.textbbox(corner, text, font, anchor="rd"), fill="black")
    pen.text(corner, text, "white", font, anchor="rd")
    return drawn


def tagged(picture, name):
    """The bytes of a PNG whose metadata say that a model made it."""
    made = {"Label": "1", "ContentProducer": "paidiff", "ProduceID": name}
    note, file = PngInfo(), io.BytesIO()
    note.add_itxt("AIGC", json.dumps(made, ensure_ascii=False))
    picture.save(file, "PNG", pnginfo=note)
    return file.getvalue()


picture = draw(pipe, "雪地里的一只企鹅", seed=1, steps=profile.steps)
file = tagged(label(picture), "seed-1")
opened = Image.open(io.BytesIO(file))
opened.load()
screenshot = Image.fromarray(np.asarray(opened))  # pixels are all that it keeps
show(
    [picture, opened.convert("RGB"), screenshot],
    titles=["drawn", "labelled", "screenshot"],
    alt="同一只企鹅，后两张右下角有“AI生成” · one penguin; AI生成 in the corner of the"
    " last two",
)
print(opened.info)
print(screenshot.info)

# %% [markdown] lang="zh"
# ## 15.2 两种标识，各经得起什么
#
# 2025 年 9 月 1 日起施行的《人工智能生成合成内容标识办法》要两种标识。**显式标识**给人看：图上要有显著的提示；配套的强制性国家标准 GB 45438—2025 说，图片上的字高不低于最短边的 5 %。**隐式标识**给程序看：写在文件的元数据里，有生成属性、服务提供者、内容编号；标准把它叫 `AIGC`，里面的 `Label` 是 `"1"` 表示“是生成的”。
#
# 量两件事：字有多高；图被人转存四次，两种标识各剩几次。
#
# **先猜**：另存为 JPEG、缩小一半、截图、裁掉右下角，看得见的剩几次？看不见的呢？

# %% [markdown] lang="en"
# ## 15.2 What each label survives
#
# China's Measures for Labelling AI-Generated Content, in force since 1 September 2025, want two labels. The **explicit label** is for people: a notice in the picture that cannot be missed; the mandatory standard GB 45438—2025 that goes with it wants characters of at least 5 % of the shorter side. The **implicit label** is for programs: in the file's metadata, saying that it was generated, by whom, and its number; the standard calls it `AIGC`, with `Label` `"1"` for "generated".
#
# Measure two things: how high the characters are, and which of the two is still there after a picture has been passed on in four ways.
#
# **Predict**: saved as JPEG, halved, a screenshot, the lower right corner cut off: how often is the visible one left? And the invisible one?


# %%
def resaved(picture, kind):
    """A picture after it was saved by a program that knows nothing of labels."""
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, kind)
    return Image.open(io.BytesIO(buffer.getvalue()))


def letters(size):
    """The height of the label's characters, as a share of the shorter side."""
    written = np.asarray(label(Image.new("RGB", size, "black")))
    return written.any((1, 2)).sum() / min(size)


width, height = opened.size
passed_on = {
    "JPEG": resaved(opened, "JPEG"),
    "halved": resaved(opened.resize((width // 2, height // 2)), "PNG"),
    "screenshot": screenshot,
    "cropped": resaved(opened.crop((0, 0, width, height * 85 // 100)), "PNG"),
}
print(f"characters: {letters(opened.size):.1%} of the shorter side")
hidden = {name: "AIGC" in image.info for name, image in passed_on.items()}
print({"implicit": hidden})
show(
    list(passed_on.values()),
    titles=list(passed_on),
    alt="前三张还看得见“AI生成”，裁过的没有 · AI生成 is still seen in the first three,"
    " not in the one that was cropped",
)
assert letters(opened.size) >= 0.05
survived = sum(hidden.values())

# %% [markdown] lang="zh"
# 看不见的那一份，四次剩 {{ survived }} 次：只要一个程序不认识它，存一次就丢了。看得见的剩三次，可是裁一刀就没了。所以办法两种都要，也鼓励数字水印（藏在像素里，这门课没有做）。`paidiff` 的命令、网页和服务把*设置*写进每张 PNG（提示词、种子、模型），这不是标识；要给公众用，标识要自己加，就像上面那十行。
#
# 办法也说：任何人不得恶意删除、篡改、伪造、隐匿标识。

# %% [markdown] lang="en"
# The invisible one is left {{ survived }} times of four: any program that does not know it loses it by saving once. The visible one is left three times, but one cut removes it. That is why the Measures want both and encourage watermarks (hidden in the pixels; this course makes none). The command, the page and the service write their *settings* into every PNG (prompt, seed, model); that is no label. Whoever serves the public adds one, as in the ten lines above.
#
# The Measures also say that nobody may maliciously remove, alter, forge or hide a label.

# %% [markdown] lang="zh"
# ## 15.3 安全检查器的两种错
#
# 公开的 PAI-Diffusion 模型带一个**安全检查器**（safety checker）：它只看画好的*图*，像不像一些不许画的概念，像就涂黑。mini 没有它，图画世界里也没有不雅的东西；我们用“骷髅”代替，检测器还是第 08 课那个。一个阈值，两种错：把好图涂黑（**误伤**），放过不该放的（**漏网**）。
#
# **先猜**：阈值从 0.1 提到 0.9，哪一种错多起来？

# %% [markdown] lang="en"
# ## 15.3 The two errors of a safety checker
#
# The published PAI-Diffusion models bring a **safety checker**: it looks at the finished *picture* only, at how near it is to some concepts that must not be drawn, and blackens it if it is. mini has none, and nothing in the picture world is indecent; a skull stands in for it, and the detector is that of lesson 08. One threshold, two errors: a good picture is blackened (a **false alarm**), a bad one passes (a **miss**).
#
# **Predict**: which error grows as the threshold rises from 0.1 to 0.9?

# %%
from paidiff_lib.cleaning.scorers import Embedded
from paidiff_world.dirty import scenes

found = list(scenes(profile.checked, seed=15, share=0.3, kinds=("nsfw",)))
bad = np.array([kind == "nsfw" for _, _, kind in found])
checker = Embedded()
score = checker([p for p, _, _ in found], [c for _, c, _ in found])["nsfw"]
alarms, misses = {}, {}
for threshold in (0.1, 0.3, 0.5, 0.7, 0.9):
    alarms[threshold] = paidiff.wilson((score[~bad] > threshold).sum(), (~bad).sum())
    misses[threshold] = paidiff.wilson((score[bad] <= threshold).sum(), bad.sum())
    print(f"{threshold}  {alarms[threshold]:.0%}  {misses[threshold]:.0%}")

# %% [markdown] lang="zh"
# 第一列阈值，第二列误伤，第三列漏网，方括号是 95 % 区间（威尔逊，[第 13 课](13_evaluation.ipynb)）。0 % 不是“不会”：看区间的上端。哪一种错贵，由用的地方定：课堂上宁可误伤，做数据清洗宁可漏（再看一遍就是）。检查器只看图，所以它也会被骗，和第 13 课的裁判一样。

# %% [markdown] lang="en"
# The first column is the threshold, the second false alarms, the third misses, with 95 % intervals (Wilson, [lesson 13](13_evaluation.ipynb)). 0 % does not mean "never": look at the upper end. Which error costs more depends on the place: in a classroom rather a false alarm, in cleaning data rather a miss (one looks again). The checker sees pictures only, and can be fooled as the judge of lesson 13 can.

# %% [markdown] lang="zh"
# ## 15.4 它抄了训练图吗
#
# 模型能画得和一张训练图一模一样，那张图又有主人，就是版权和隐私的麻烦。办法：对每张画出来的图，在训练图里找最近的一张（用 CLIP 的图像特征，余弦）。单看这个数不知道算近还是远，所以放两个对照：**真的新图**（同一个世界里没用来训练的）到训练图有多近；**真的抄本**（训练图过一遍 VAE）有多近。
#
# **先猜**：mini 画的图离训练图，更像新图，还是更像抄本？

# %% [markdown] lang="en"
# ## 15.4 Did it copy?
#
# A model that draws a picture of its training set again, a picture that belongs to somebody, is trouble for copyright and privacy. The way to look: for every drawn picture find the nearest training picture (features of CLIP, cosine). The number alone does not say whether that is near, so there are two controls: how near **new pictures** are (of the same world, not trained on), and how near **copies** are (training pictures through the VAE).
#
# **Predict**: are mini's pictures as near as new ones, or as near as copies?

# %% tags=["nbval-ignore-output"]
import torch
from paidiff_world import scene
from paidiff_world.heldout import held_out


def vectors(pictures):
    return checker.picture_vectors(pictures)


def nearest(pictures, others):
    """(cosine with the nearest of `others`, its place) of each picture."""
    cosine = vectors(pictures) @ vectors(others).T
    return cosine.max(1), cosine.argmax(1)


levels = 0, 1, 1, 2, 2  # as pre-training painted its scenes
trained = [
    scene(seed, level=levels[seed % 5], grid=True)[0] for seed in range(profile.trained)
]
asked = held_out(profile.prompts, seed=15)
prompts = [caption for _, caption in asked]
drawn = draw(pipe, prompts, seed=0, steps=profile.steps)
new = range(10**6, 10**6 + profile.prompts)
fresh = [scene(seed, level=levels[seed % 5], grid=True)[0] for seed in new]
with torch.no_grad():
    x = pipe.image_processor.preprocess(trained[: profile.prompts])
    decoded = pipe.vae.decode(pipe.vae.encode(x).latent_dist.mode()).sample
    copies = pipe.image_processor.postprocess(decoded)
close = {
    "drawn": nearest(drawn, trained),
    "new": nearest(fresh, trained),
    "copies": nearest(copies, trained),
}
for name, (cosine, _) in close.items():
    print(f"{name}: {paidiff.interval(cosine):.3f}, max {cosine.max():.3f}")

# %%
pairs = [[drawn[k], trained[close["drawn"][1][k]]] for k in range(4)]
show(
    paidiff.compare({"drawn": [a for a, _ in pairs], "nearest": [b for _, b in pairs]}),
    alt="上排是画的，下排是训练图里最近的：画风或颜色像，不是同一张 · above drawn,"
    " below the nearest training picture: alike in style or colour, not the same",
)
if profile.judged:
    assert close["copies"][0].mean() > close["drawn"][0].mean()

# %% [markdown] lang="zh"
# mini 画的图，最近的训练图的余弦平均 {{ f"{close['drawn'][0].mean():.3f}" }}，新图是 {{ f"{close['new'][0].mean():.3f}" }}，抄本是 {{ f"{close['copies'][0].mean():.3f}" }}。这里要问的提示词都是没训练过的组合，训练图也只重画了前 {{ profile.trained }} 张，所以这只能说“没看到抄”，不能说“不会抄”。真模型更要查：图少、重复多、训练久（第 03 到 05 课那样），就会抄；[第 00 课](00_what_is_diffusion.ipynb)里，精确的猜测*只会*抄。

# %% [markdown] lang="en"
# For mini's pictures the mean cosine with the nearest training picture is {{ f"{close['drawn'][0].mean():.3f}" }}, for new ones {{ f"{close['new'][0].mean():.3f}" }}, for copies {{ f"{close['copies'][0].mean():.3f}" }}. The prompts here are combinations that were never trained, and only the first {{ profile.trained }} training pictures were painted again: this says "no copy was seen", not "it never copies". With a real model look harder: few pictures, repeated often, trained long (as in lessons 03 to 05) are copied; in [lesson 00](00_what_is_diffusion.ipynb) the exact guess can do *nothing but* copy.

# %% [markdown] lang="zh"
# ## 15.5 没说的，由谁来定
#
# “一只猫”没说在哪里。模型还是要画一个地方：这是**偏见**（bias）的一种。在真模型里，没说性别的“医生”、没说年纪的“教授”也是这样画出来的。量一量：不说地方，画 {{ profile.unsaid }} 张，种子各不相同，数裁判看见的地方；旁边是同样多的训练图（什么主体都有）。
#
# **先猜**：模型画的地方，和训练图比，是更杂、一样杂，还是更单调？引导从 1 加到 3 呢？

# %% [markdown] lang="en"
# ## 15.5 Who decides what is left unsaid
#
# 一只猫 (a cat) does not say where. The model draws some place all the same, and that is one kind of **bias**. A real model draws the sex of a doctor and the age of a professor in this way. Measure it: leave the place out, draw {{ profile.unsaid }} pictures with different seeds, and count the places that the judge sees, beside as many training pictures (of all subjects).
#
# **Predict**: are the places more varied than in the training pictures, as varied, or less? And as guidance grows from 1 to 3?

# %% tags=["nbval-ignore-output"]
from collections import Counter
from paidiff_world.judge import CLASSES, judge


def places(pictures):
    """How often the judge sees each place, the commonest first."""
    seen = judge().probabilities(pictures)["background"].argmax(1)
    return Counter(CLASSES["background"][k] for k in seen).most_common()


settings = {"seed": range(profile.unsaid), "steps": profile.steps}
found = {
    f"guidance {guidance}": draw(pipe, "一只猫", guidance=guidance, **settings)
    for guidance in (1, 3)
}
found["training"] = trained[: profile.unsaid]
kinds = {name: places(pictures) for name, pictures in found.items()}
top = {name: sum(n for _, n in k[:3]) / profile.unsaid for name, k in kinds.items()}
for name, seen in kinds.items():
    most = " · ".join(f"{place} {n / profile.unsaid:.0%}" for place, n in seen[:4])
    print(f"{name}: {len(seen)} places, the first three {top[name]:.0%}: {most}")
show(
    found["guidance 1"][:8] + found["training"][:8],
    columns=8,
    alt="上排：没说地方的猫，常在星空、纯色背景里；下排：训练图，什么地方都有 · above:"
    " cats of no given place, often before stars or plain grounds; below: training"
    " pictures, in all kinds of places",
)
if profile.judged:
    assert top["training"] < min(top["guidance 1"], top["guidance 3"])

# %% [markdown] lang="zh"
# 最常见的三种地方，在训练图里占 {{ f"{top['training']:.0%}" }}，模型画的占 {{ f"{top['guidance 1']:.0%}" }}（引导 1）和 {{ f"{top['guidance 3']:.0%}" }}（引导 3）：模型比它的训练数据单调。训练图的地方是均匀抽的（`paidiff_world/scenes.py`），所以这个偏见不是数据的次数教的；只查数据查不出来，要量画出来的。加大引导有没有更单调，这么几张看不出来。

# %% [markdown] lang="en"
# The three commonest places make up {{ f"{top['training']:.0%}" }} of the training pictures, and {{ f"{top['guidance 1']:.0%}" }} (guidance 1) and {{ f"{top['guidance 3']:.0%}" }} (guidance 3) of what the model draws: it is less varied than its training data. There, places are drawn uniformly (`paidiff_world/scenes.py`), so this bias was not taught by their counts; looking at the data does not find it, measuring what is drawn does. Whether more guidance makes it worse cannot be seen in so few.

# %% [markdown] lang="zh"
# ## 15.6 三份文件
#
# | 文件 | 施行 | 说什么（条） | 这门课 |
# |---|---|---|---|
# | 《生成式人工智能服务管理暂行办法》，国家网信办等七部门令第 15 号 | 2023-08-15 | 向境内公众提供服务的才适用，研发、教学不对外的不适用（2）；训练数据要来源合法、不侵害知识产权、个人信息要有同意（7）；图片、视频要标识（12） | 数据的来源和许可在 `data/README.md`；`paidiff audit`、`curate`；15.2 的标识 |
# | 《人工智能生成合成内容标识办法》，国信办通字〔2025〕2 号，四部门 | 2025-09-01 | 图上有显著提示（4）；文件元数据里有隐式标识（5）；不得删改（10） | 15.2 |
# | GB 45438—2025《网络安全技术 人工智能生成合成内容标识方法》，强制性国家标准 | 2025-09-01 | 字高不低于最短边的 5 %；元数据 `AIGC` 的各项 | `label`、`tagged` |
#
# 查过的是公开的报道和全文，2026 年 11 月；条文会改，以官方为准。文章的模型许可是 Apache-2.0，另有模型页上的《AIGC 模型开源特别条款》，用之前读一遍。

# %% [markdown] lang="en"
# ## 15.6 Three documents
#
# | document | in force | what it says (article) | this course |
# |---|---|---|---|
# | Interim Measures for Generative AI Services, order 15 of the Cyberspace Administration and six others | 2023-08-15 | for services to the public in China, not for research and teaching that serve nobody outside (2); training data of lawful origin, no infringement, consent for personal data (7); pictures and videos are labelled (12) | origin and licence of data in `data/README.md`; `paidiff audit`, `curate`; the labels of 15.2 |
# | Measures for Labelling AI-Generated Content, 国信办通字〔2025〕2 号, four authorities | 2025-09-01 | a notice in the picture (4); an implicit label in the metadata (5); no removing (10) | 15.2 |
# | GB 45438—2025, labelling method for AI-generated content, a mandatory standard | 2025-09-01 | characters of at least 5 % of the shorter side; the fields of `AIGC` | `label`, `tagged` |
#
# Public reports and texts were consulted in November 2026; the law changes, and the official text counts. The article's models are under Apache-2.0 with special terms on their page (AIGC 模型开源特别条款): read them before use.

# %% [markdown] lang="zh"
# ## 15.7 说清楚
# * 骷髅只是替身：真的安全检查器（`paidiff` 的 `SafetyChecker` 认得公开模型里的那一个）没有在这里跑过，它的误伤和漏网要在你自己的图上量。
# * 最近邻只看 CLIP 看得见的东西。换一种特征，“最近”的图会换一张；两张图可以特征很近而像素不同，也可以反过来。
# * “没看到抄”只说这些提示词，没有说哪一句都不会抄。
# * 15.5 数的是裁判看见的地方，裁判也会错（第 13 课）。
#
# ## 你学到了
# * 两种标识：给人看的经得起转存，经不起裁剪；给程序看的，经不起任何一个不认识它的程序。
# * 一个阈值两种错，各有各的区间；哪种错贵，由用的地方定。
# * 查抄袭要两个对照：新图有多近，抄本有多近。
# * 提示词没说的，模型替你定，而且可能比它的训练数据更单调。
# * 三份文件管的是向公众提供服务的人：标识、来源、同意。
# %% [markdown] lang="en"
# ## 15.7 To be plain
# * The skull is a stand-in: the real safety checker (`SafetyChecker` of `paidiff` opens the one of the published models) never ran here; count its false alarms and misses on your own pictures.
# * Nearest neighbours see what CLIP sees. With other features another picture is the nearest; two pictures can be near in features and far in pixels, and the other way round.
# * "No copy was seen" is said of these prompts, and not of all.
# * 15.5 counts the places that the judge sees, and judges err (lesson 13).
#
# ## What you have learnt
# * Two labels: the one for people survives saving, but not cropping; the one for programs survives no program that does not know it.
# * One threshold, two errors, each with its interval; which costs more depends on the place.
# * A search for copies needs two controls: how near are new pictures, how near are copies?
# * What a prompt leaves open is decided by the model, and it may be less varied than its training data.
# * The three documents are for those who serve the public: labels, lawful origin, consent.
# %% [markdown] lang="zh" tags=["exercise"]
# ## 练习
#
# 把 `...` 换成你的答案，运行单元格：`check` 说对不对，不对时说错在哪里，再给一条提示。

# %% [markdown] lang="en" tags=["exercise"]
# ## Exercises
#
# Put your answer in the place of `...` and run the cell: `check` says whether it is right, if not what is wrong, and gives a hint.

# %% [markdown] lang="zh"
# ### 再试试
#
# 这些没有标准答案，写下你看到的。
#
# 1. 把 15.1 的标识做得更难裁掉：放在中间、半透明、重复几处。图还好看吗？15.2 的四种转存各剩几次？
# 2. 用[第 03 课](03_lora.ipynb)的 `fit` 在六张图上把 LoRA 练得很久，再用那六句话画，查最近邻。它抄了吗？再看不练的模型画同样六句话有多近：这个对照为什么少不了？
# 3. 把 15.5 的“一只猫”换成“一只熊猫”“一艘帆船”。常画的地方变吗？

# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see.
#
# 1. Make the label of 15.1 harder to cut off: in the middle, half transparent, in several places. Is the picture still good to look at, and how often is the label left after the four of 15.2?
# 2. Train a LoRA for long on six pictures with `fit` of [lesson 03](03_lora.ipynb), draw with the same six prompts, and look for the nearest pictures. Did it copy? How near is what the untrained model draws for these prompts, and why can this control not be left out?
# 3. Put 一只熊猫 (a panda) or 一艘帆船 (a sailing boat) in the place of 一只猫 in 15.5. Do the usual places change?
