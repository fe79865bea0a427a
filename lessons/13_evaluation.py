# %% [markdown] lang="zh"
# # 13 · 怎样才算好：评测
#
# 模型画了十二张图，对了八张。它有多好？八张是多还是少，换一批提示词会不会是五张，是谁说它们“对了”的，那个人会不会看错？这一课把量东西的工具一件件拆开来看，后面每一课的数字都靠它们。
#
# **用时**：读和做 45 分钟；全部运行约两分半（一个 CPU 线程）。**你需要**：[第 01 课](01_inference.ipynb)（提示词、种子、引导）；[第 11 课](11_from_scratch.ipynb)读过更好（VAE、CLIP、UNet）。**学完你会**：给任何一个百分数配上区间、上限和下限；读混淆矩阵；骗过一个分类器，所以不轻信它；看出哪些图不是独立的；比较两个模型；算弗雷歇距离和核距离；做一张给人填的盲测表。
#
# **先想两个旧问题**：
# 1. 第 01 课：同一句完整的提示词换一个种子，`mini` 画的图差多少？
# 2. 第 01 课：引导（guidance）是 1 的时候，UNet 每一步看几遍？
# %% [markdown] lang="en"
# # 13 · How good is it: evaluation
#
# A model drew twelve pictures and got eight right. How good is that? Is eight a lot; would it be five with other prompts; who said they were right, and how often is that somebody wrong? This lesson takes the instruments apart, one by one. The figures of all later lessons rest on them.
#
# **Time**: 45 minutes of reading and doing; running everything takes about two and a half minutes (one CPU thread). **You need**: [lesson 01](01_inference.ipynb) (prompts, seeds, guidance); [lesson 11](11_from_scratch.ipynb) helps (VAE, CLIP, UNet). **You will be able to**: give any percentage its interval, ceiling and floor; read a confusion matrix; fool a classifier, and so distrust it; see which pictures are not independent; compare two models; compute Fréchet and kernel distances; make a blind form for people to fill in.
#
# **Two questions from earlier lessons**:
# 1. Lesson 01: with another seed for the same full prompt, how different is what `mini` draws?
# 2. Lesson 01: at a guidance of 1, how often does the UNet look at each step?
# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import json
import numpy as np
import paidiff_lib as paidiff
from paidiff_lib import show
from paidiff_world import measure
from paidiff_world.heldout import held_out

pipe = paidiff.load()
profile = paidiff_course.profile("13", pipe)
prompts = [caption for _, caption in held_out(profile.scenes)]
kept = paidiff.data("models", "paidiff-mini-zh", "prompt_following.json")
large = json.loads(kept.read_text(encoding="utf-8"))  # measured when it was published

# %% [markdown] lang="zh"
# ## 13.1 先看结果
#
# 十二句提示词，每句都写了主体、背景和画风，这样的三样搭配训练时一次也没出现过。每句画三张（三个种子）。
#
# **先猜**：三样全对的有百分之几？写下来。
# %% [markdown] lang="en"
# ## 13.1 The result first
#
# Twelve prompts, each with a subject, a place and a style, in combinations that training never saw. Three pictures for each (three seeds).
#
# **Predict**: in what percentage are all three parts right? Write it down.
# %% tags=["nbval-ignore-output"]
settings = {"seeds": profile.seeds, "steps": profile.steps}
two = measure.following(pipe, prompts, guidance=2, **settings)
show(
    two.pictures[: len(prompts)],
    titles=prompts,
    columns=6,
    alt="十二张图，主体和背景大多认得出来 · twelve pictures, most with the right"
    " subject and place",
)

# %% tags=["nbval-ignore-output"]
ceiling, floor = measure.ceiling(prompts), measure.floor(two)
print(measure.table({"model": two, "ceiling": ceiling, "floor": floor}))
if profile.judged:
    assert floor["all"].high < two["all"].mean <= ceiling["all"].mean

# %% [markdown] lang="zh"
# `all` 是三样全对：{{ f"{two['all']:.0%}" }}。每个数都带着三个邻居，少一个就不知道它是什么意思：
# * **区间** `[低, 高]`：换十二句别的提示词，数字会变，变多少（13.4、13.5）；
# * **上限** `ceiling`：同一句话，世界自己画的真图，裁判给几分。没有模型该比它更高（13.7）；
# * **下限** `floor`：这些图，配上*下一张*的提示词。瞎猜就能得的分：数量 `count` 瞎猜也有 {{ f"{floor['count'].mean:.0%}" }}，因为大多数图里本来就是一个。
#
# `n` 是*场景*数，不是图数：三个种子画出来几乎是一张图（13.5）。
#
# 十二句很少，区间很宽。发布模型时的大测量是 {{ large["prompts"] }} 句、每句 {{ large["seeds"] }} 个种子，结果存在模型的文件夹里：
# %% [markdown] lang="en"
# `all` is all three parts right: {{ f"{two['all']:.0%}" }}. Every figure has three neighbours, and means little without any of them:
# * the **interval** `[low, high]`: with twelve other prompts the figure would be another one; how far off (13.4, 13.5)?
# * the **ceiling**: what the judge says of real pictures, painted by the world itself for the same prompts. No model should do better (13.7);
# * the **floor**: these pictures with the *next* picture's prompt, what luck gives. For `count` luck gives {{ f"{floor['count'].mean:.0%}" }}, since most pictures hold one thing anyway.
#
# `n` counts *scenes*, not pictures: three seeds draw nearly the same picture (13.5).
#
# Twelve is few, and the intervals are wide. The large measurement made when the model was published, {{ large["prompts"] }} prompts with {{ large["seeds"] }} seeds each, lies in the model's folder:
# %%
print(f"{'':10}  model  ceiling  floor   n = {large['prompts']}")
for head in ("subject", "background", "style", "colour", "count", "all"):
    rates = (large[row][head] for row in ("model", "ceiling", "floor"))
    print(f"{head:10}", *(f"{rate:7.0%}" for rate in rates))
if profile.judged:
    assert two["all"].low < large["model"]["all"] < two["all"].high

# %% [markdown] lang="zh"
# 小测量的区间装得下大测量的数：{{ f"{large['model']['all']:.0%}" }} 在 {{ f"{two['all']:.0%}" }} 里。区间老实，画得少也算测量。
# %% [markdown] lang="en"
# The small measurement's interval holds the large one's figure: {{ f"{large['model']['all']:.0%}" }} lies in {{ f"{two['all']:.0%}" }}. With honest intervals a small measurement is still a measurement.
# %% [markdown] lang="zh"
# ## 13.2 裁判和它的混淆矩阵
#
# “对了”是一个小卷积网络说的：**裁判**。它看一张图，回答六个问题（主体、背景、画风、颜色、数量、毛病），每个问题从一张表里选一个答案。它用图画世界的真图训练，从来没有见过 `mini` 画的图，也从来没有人拿它训练过 `mini`：量尺和被量的东西不能是一家人。
#
# 裁判也会错。图画世界的好处是真实值不用人标：图是按 `Spec` 画的，`Spec` 就是答案。画 {{ profile.examined }} 张它没见过的真图，考一考裁判。
#
# **先猜**：背景和颜色，哪一样裁判错得多？
# %% [markdown] lang="en"
# ## 13.2 The judge and its confusion matrix
#
# It is a small convolutional network that says “right”: the **judge**. It looks at a picture and answers six questions (subject, background, style, colour, count, flaw), each with one class of a list. It was trained on real pictures of the picture world, has never seen what `mini` draws, and nobody ever trained `mini` with it: a ruler must not be related to what it measures.
#
# Judges err too. In the picture world the truth need not be labelled by anybody: a picture is painted from a `Spec`, and the `Spec` is the answer. So examine the judge on {{ profile.examined }} real pictures that it has never seen.
#
# **Predict**: background or colour, which does the judge get wrong more often?
# %%
from paidiff_world import scene
from paidiff_world.judge import judge, truth

scenes = [scene(10_000_000 + i) for i in range(profile.examined)]
real, _, specs = map(list, zip(*scenes))
classes = judge().classes
answers = {head: p.argmax(1) for head, p in judge().probabilities(real).items()}
accuracy = {}
for head, names in classes.items():
    right = [names[k] == truth(spec)[head] for k, spec in zip(answers[head], specs)]
    accuracy[head] = paidiff.wilson(sum(right), len(right))
    print(f"{head:10} {accuracy[head]:.1%}")
if profile.examined > 300:
    assert accuracy["colour"].high < accuracy["background"].low

# %% [markdown] lang="zh"
# 这是**准确率**（accuracy）：答对的占全部。它不说错在哪里。**混淆矩阵**说：行是真实值，列是裁判看到的，对角线是对的。只数颜色看得出来的画风（水墨画、剪纸这些没有主体自己的颜色）。`无` 是“主体是它本来的颜色”。
# %% [markdown] lang="en"
# This is **accuracy**: right answers out of all. It does not say what went wrong. A **confusion matrix** does: rows are the truth, columns are what the judge saw, the diagonal is right. Only styles that show a subject's own colour are counted (ink wash and paper-cut, for instance, do not). `无` is “the subject has its natural colours”.
# %%
import io
from matplotlib.figure import Figure
from PIL import Image
from paidiff_world.words import HUELESS

names = classes["colour"]
matrix = np.zeros((len(names), len(names)), int)
for seen, spec in zip(answers["colour"], specs):
    if spec.subject and spec.style not in HUELESS:
        matrix[names.index(truth(spec)["colour"]), seen] += 1


# %%
def heat(matrix, names):
    """A confusion matrix as a picture; each row is coloured by its shares."""
    paidiff.use_chinese_font()
    figure = Figure((5.6, 5), dpi=96, layout="constrained")
    axes = figure.subplots()
    axes.imshow(matrix / np.maximum(matrix.sum(1, keepdims=True), 1), cmap="Blues")
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if row == column else "black"
        axes.text(column, row, count or "", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="seen", ylabel="true")
    data = io.BytesIO()
    figure.savefig(data)
    return Image.open(data).convert("RGB")


# %%
alt = "对角线最深，错的大多和“无”有关 · dark diagonal; most errors involve 无"
show(heat(matrix, names), alt=alt)
right = matrix.diagonal()
precision, recall = right / matrix.sum(0).clip(1), right / matrix.sum(1).clip(1)
for row in zip(names, precision, recall):
    print("{}\tprecision {:4.0%}   recall {:4.0%}".format(*row))
dyed, natural = matrix[1:, 0].sum(), matrix[0, 1:].sum()
mixed = matrix.sum() - right.sum() - dyed - natural
print(f"dyed seen as natural {dyed}, natural as dyed {natural}, mixed up {mixed}")
if profile.examined > 300:
    assert dyed + natural > 2 * mixed

# %% [markdown] lang="zh"
# * **查准率**（precision），按列：裁判说“红色”，其中真的是红色的有多少。**查全率**（recall），按行：真的是红色，裁判找出了多少。
# * 错的大多在 `无` 这一列和这一行：染过色的，裁判说是本色（{{ dyed }} 次）；本色的，说是染过的（{{ natural }} 次）。把一种颜色认成另一种：{{ mixed }} 次。有一些谁也答不对：黄色的香蕉就是香蕉。
# * 所以大测量里颜色只对了 {{ f"{large['model']['colour']:.0%}" }}，不全是模型的错，上限要先看。**一个测量不能比它的量尺更准。**
# %% [markdown] lang="en"
# * **Precision**, by columns: of what the judge calls 红色 (red), how much is red? **Recall**, by rows: of what is red, how much does it find?
# * Most errors are in the column and the row of `无`: dyed things are called natural ({{ dyed }} times), natural ones dyed ({{ natural }} times). One colour taken for another: {{ mixed }} times. Some of it nobody could get right: a yellow banana is a banana.
# * So when the large measurement finds only {{ f"{large['model']['colour']:.0%}" }} of the colours right, it is not all the model's fault; look at the ceiling first. **No measurement is better than its ruler.**
# %% [markdown] lang="zh"
# ## 13.3 骗过裁判
#
# 裁判可导，像训练一样求梯度就行，只是这回改的不是权重，是*像素*：往“熊猫”的概率变大的方向，每个像素挪一级灰度，最多离原图 `levels` 级（投影梯度法，Madry et al. 2018）：
#
# $$x \leftarrow \mathrm{clip}\left(x - \alpha\,\mathrm{sign}\,\nabla_x L(x),\ x_0 - \epsilon,\ x_0 + \epsilon\right)$$
#
# **先猜**：在一张噪声图上，每个像素最多改几级（一共 256 级），裁判就会看见熊猫？1、8、32 还是 128？
# %% [markdown] lang="en"
# ## 13.3 Fooling the judge
#
# The judge can be differentiated. Take a gradient as in training, but change the *pixels* in place of the weights: each pixel moves one grey level towards a higher probability of “panda”, and never further than `levels` from the original (projected gradient descent, Madry et al. 2018):
#
# $$x \leftarrow \mathrm{clip}\left(x - \alpha\,\mathrm{sign}\,\nabla_x L(x),\ x_0 - \epsilon,\ x_0 + \epsilon\right)$$
#
# **Predict**: in a picture of noise, by how many levels (of 256) must pixels change until the judge sees a panda? 1, 8, 32 or 128?
# %%
import torch
from torch.nn.functional import cross_entropy
from paidiff_world.judge import batches


# %%
def fool(picture, name, levels, steps=20):
    """The picture, no pixel changed by more than `levels`, as the judge sees `name`."""
    target = torch.tensor([classes["subject"].index(name)])
    start, level = next(batches([picture])), 2 / 255  # pixels from -1 to 1
    x = start.clone()
    for _ in range(steps):
        loss = cross_entropy(judge()(x.requires_grad_())["subject"], target)
        (slope,) = torch.autograd.grad(loss, x)
        x = x.detach() - level * slope.sign()
        x = x.clamp(start - levels * level, start + levels * level).clamp(-1, 1)
    array = ((x[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array)


# %% tags=["nbval-ignore-output"]
from paidiff_world import Spec, render

rs = np.random.RandomState(0)
noise = Image.fromarray(rs.randint(0, 256, (128, 128, 3), dtype=np.uint8))
cat, panda = (render(Spec(name), np.random.RandomState(1)) for name in ("猫", "熊猫"))
fooled = [noise, fool(noise, "熊猫", 8), cat, fool(cat, "熊猫", 8), panda]
sure = judge().probability(fooled, "subject", "熊猫")
titles = ["noise", "noise ± 8", "cat", "cat ± 8", "panda"]
show(
    fooled,
    titles=[f"{title} P={p:.2f}" for title, p in zip(titles, sure)],
    alt="改过的噪声还是噪声，改过的猫还是猫，裁判却说是熊猫 · changed noise is still"
    " noise, the changed cat still a cat, and the judge says panda",
)
assert sure[0] < 0.05 and sure[2] < 0.05 and min(sure[1], sure[3], sure[4]) > 0.9

# %% [markdown] lang="zh"
# 裁判给噪声的熊猫概率从 {{ f"{sure[0]:.2f}" }} 到 {{ f"{sure[1]:.2f}" }}，人眼看不出区别（改过的猫，天上能看出一点花纹）。这就是**古德哈特定律**：一个指标一旦成了目标，就不再是好指标。用裁判的梯度去训练模型，得到的是能骗裁判的图；在一百个训练结果里挑裁判分最高的，是同一件事的慢动作。
#
# 怎么防？**再找一个没被优化过的证人。** CLIP（[第 11 课](11_from_scratch.ipynb)）的图像编码器看这几张图，问它和真熊猫、和没改过的图各有多像（余弦）：
# %% [markdown] lang="en"
# The judge's probability of a panda goes from {{ f"{sure[0]:.2f}" }} to {{ f"{sure[1]:.2f}" }} in what the eye cannot tell from the noise before (the changed cat has a faint pattern in its sky). This is **Goodhart's law**: when a measure becomes a target, it ceases to be a good measure. Train a model by the judge's gradient, and it learns to draw what fools judges; pick the best of a hundred trainings by the judge's score, and you do the same in slow motion.
#
# The remedy: **a second witness that nothing was optimised for.** Ask CLIP's picture encoder ([lesson 11](11_from_scratch.ipynb)) how much each picture is like a real panda, and how much like itself before the change (cosines):
# %% tags=["nbval-ignore-output"]
from paidiff_world.measures import clip_features

features = clip_features(fooled)
features /= np.linalg.norm(features, axis=1, keepdims=True)
like = features @ features.T
for changed, before in ((1, 0), (3, 2)):
    print(
        f"{titles[changed]:10} like before {like[changed, before]:.2f}",
        f"  like a panda {like[changed, 4]:.2f}",
    )
    assert like[changed, before] > like[changed, 4] + 0.2

# %% [markdown] lang="zh"
# CLIP 没有上当。三条规矩：不拿裁判训练，也不拿它挑模型再拿它报成绩；结论至少有两个不同的量支持；**图要用眼睛看**。
# %% [markdown] lang="en"
# CLIP was not taken in. Three rules: do not train with the judge, nor choose a model by it and report its score; rest no claim on one kind of measurement; **look at the pictures**.
# %% [markdown] lang="zh"
# ## 13.4 12 次全对，是百分之百吗
#
# 12 张全对。**自助法**（bootstrap，Efron 1979）从这 12 个结果里有放回地再抽 12 个，抽两千遍，看平均数怎么晃。
#
# **先猜**：12 个都是 1，再抽两千遍，最小的平均数是多少？真实的成功率是 90 % 的模型，有没有可能 12 次全对？
# %% [markdown] lang="en"
# ## 13.4 Is twelve of twelve a hundred per cent?
#
# Twelve right of twelve. The **bootstrap** (Efron 1979) draws twelve of these twelve results again, with replacement, two thousand times, and looks at how the mean moves.
#
# **Predict**: all twelve are 1; in two thousand draws, what is the smallest mean? Could a model that is right in 90 % of cases be right twelve times in a row?
# %%
for right in (0, 6, 12):
    bootstrap = paidiff.interval([1] * right + [0] * (12 - right))
    print(f"{right:2}/12  {bootstrap:.0%}   wilson {paidiff.wilson(right, 12):.0%}")
print(f"0.9 ** 12 = {0.9**12:.2f}")

# %% [markdown] lang="zh"
# 自助法说 `[100%, 100%]`，就是“绝不会错”。可成功率 90 % 的模型有 {{ f"{0.9**12:.0%}" }} 的机会 12 次全对。自助法只能抽到见过的结果，没见过错，就以为没有错。
#
# **威尔逊区间**（Wilson 1927）反过来问：真实的率 $p$ 是多少时，看到 $\hat p$ 还不算意外，也就是 $|\hat p - p| \le z\sqrt{p(1-p)/n}$（95 % 时 $z = 1.96$）？解出 $p$：
#
# $$\frac{1}{1+z^2/n}\left(\hat p + \frac{z^2}{2n} \pm z\sqrt{\frac{\hat p(1-\hat p)}{n} + \frac{z^2}{4n^2}}\right)$$
#
# 两头也有宽度，也不会跑到 0 和 1 外面去。一个 95 % 区间，100 次里该有 95 次装住真实值。做到了吗？不用模拟，可以精确地算：每个 $p$，把 0 到 12 每种结果的概率加起来，只加区间装得下 $p$ 的。
#
# **先猜**：真实的率是 0.95 时，自助法的“95 % 区间”装得住它百分之几？
# %% [markdown] lang="en"
# The bootstrap says `[100%, 100%]`, which is “never wrong”. Yet a model that is right in 90 % is right twelve times in a row with a chance of {{ f"{0.9**12:.0%}" }}. The bootstrap can only draw what it has seen; it has seen no error, and so believes in none.
#
# **Wilson's interval** (1927) asks the other way round: for which true rates $p$ is $\hat p$ no surprise, that is, $|\hat p - p| \le z\sqrt{p(1-p)/n}$ (with $z = 1.96$ for 95 %)? Solved for $p$:
#
# $$\frac{1}{1+z^2/n}\left(\hat p + \frac{z^2}{2n} \pm z\sqrt{\frac{\hat p(1-\hat p)}{n} + \frac{z^2}{4n^2}}\right)$$
#
# It has a width at both ends, and never leaves 0 to 1. A 95 % interval ought to hold the truth in 95 of 100 cases. Does it? No simulation is needed: for each $p$, add up the probabilities of those results, of 0 to 12, whose interval holds $p$.
#
# **Predict**: where the true rate is 0.95, in how many per cent does the bootstrap's “95 % interval” hold it?
# %%
from math import comb

wilsons = [paidiff.wilson(k, 12) for k in range(13)]
bootstraps = [paidiff.interval([1] * k + [0] * (12 - k)) for k in range(13)]


def coverage(intervals, p, n=12):
    """The chance that the interval of a binomial result holds p."""
    chance = [comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    return sum(c for c, (_, low, high) in zip(chance, intervals) if low <= p <= high)


# %%
rates = np.linspace(0.02, 0.98, 97)
found = {"wilson": wilsons, "bootstrap": bootstraps}
lines = {name: [coverage(each, p) for p in rates] for name, each in found.items()}
curves = {name: (rates, values) for name, values in lines.items()}
curves["0.95"] = (rates, [0.95] * len(rates))
alt = "威尔逊在 0.95 上下，自助法在两头塌下去 · Wilson about 0.95, bootstrap far below"
show(paidiff.curve(curves, x="true rate", y="coverage"), alt=alt)
assert np.mean(lines["wilson"]) > 0.94 > 0.9 > np.mean(lines["bootstrap"])
assert coverage(bootstraps, 0.95) < 0.6 and coverage(wilsons, 0.95) > 0.85

# %% [markdown] lang="zh"
# 率是 0.95 时自助法只装住 {{ f"{coverage(bootstraps, 0.95):.0%}" }}，威尔逊 {{ f"{coverage(wilsons, 0.95):.0%}" }}；全部的率平均，{{ f"{np.mean(lines['bootstrap']):.0%}" }} 对 {{ f"{np.mean(lines['wilson']):.0%}" }}。曲线的锯齿是因为 12 次只有 13 种结果。**百分数用 `paidiff.wilson`，平均数（距离、清晰度）才用 `paidiff.interval`。**
# %% [markdown] lang="en"
# At a rate of 0.95 the bootstrap holds it in {{ f"{coverage(bootstraps, 0.95):.0%}" }}, Wilson in {{ f"{coverage(wilsons, 0.95):.0%}" }}; over all rates, {{ f"{np.mean(lines['bootstrap']):.0%}" }} against {{ f"{np.mean(lines['wilson']):.0%}" }}. The curves are jagged because twelve trials have only thirteen results. **`paidiff.wilson` is for percentages, `paidiff.interval` for means (distances, sharpness).**
# %% [markdown] lang="zh"
# ## 13.5 36 张图，12 个场景
#
# 13.1 画了 12 句 × 3 个种子。是 36 次测量吗？看三个种子：
# %% [markdown] lang="en"
# ## 13.5 Thirty-six pictures, twelve scenes
#
# 13.1 drew 12 prompts × 3 seeds. Are these 36 measurements? Look at the seeds:
# %% tags=["nbval-ignore-output"]
columns = min(5, len(prompts))
rows = {
    f"seed {k + 1}": two.pictures[k * len(prompts) :][:columns]
    for k in range(profile.seeds)
}
alt = "每一列是同一句话的三个种子，几乎一样 · the seeds of a prompt look nearly alike"
show(paidiff.compare(rows, prompts[:columns]), alt=alt)

# %% [markdown] lang="zh"
# 一句话的三张图几乎是一张。量一个数，比如清晰度（亮度梯度的平均长度），看它*在句子之间*和*在种子之间*各变多少（标准差）。
#
# **先猜**：把 36 张当作 36 次独立测量，区间会比老实算的窄多少？
# %% [markdown] lang="en"
# The three pictures of a prompt are nearly one. Measure something, say sharpness (the mean length of the brightness gradient), and see how much it varies *between prompts* and *between seeds* (standard deviations).
#
# **Predict**: if the 36 were taken for 36 independent measurements, how much too narrow would the interval be?
# %%
from paidiff_lib.metrics import sharpness


def by_scene(rates, figure=sharpness):
    """The figure of every picture: (seeds, scenes)."""
    return np.reshape([figure(p) for p in rates.pictures], (-1, len(prompts)))


# %% tags=["nbval-ignore-output"]
sharp = by_scene(two)
within = np.sqrt(sharp.var(0, ddof=1).mean())
between = np.sqrt(max(sharp.mean(0).var(ddof=1) - within**2 / len(sharp), 0))
print(f"between prompts {between:.2f}   between seeds {within:.2f}")
naive, honest = (paidiff.interval(sharp.ravel(), c) for c in (None, two.prompts))
print(f"36 pictures {naive:.2f}   12 scenes {honest:.2f}")
if profile.judged:
    assert between > 2 * within
    assert honest.high - honest.low > 1.3 * (naive.high - naive.low)

# %% [markdown] lang="zh"
# `paidiff.interval(values, clusters)` 是**分组自助法**（cluster bootstrap）：抽的不是图，是整个场景，三张一起进一起出。哪个区间是真话？用刚量到的两个标准差造数据，真实值定为 0，造 400 次，数一数装住了几次；再加一种花同样力气的办法：36 句，每句一个种子。
# %% [markdown] lang="en"
# `paidiff.interval(values, clusters)` is the **cluster bootstrap**: what is drawn is no picture but a whole scene, its three pictures together. Which interval tells the truth? Make data with the two deviations just measured, the true mean being 0, 400 times, and count how often it is held; beside it another design for the same effort: 36 prompts with one seed each.
# %% tags=["nbval-ignore-output"]
rs, groups, runs = np.random.RandomState(0), list(range(12)) * 3, []
for _ in range(400):
    few = (between * rs.randn(12) + within * rs.randn(3, 12)).ravel()
    many = between * rs.randn(36) + within * rs.randn(36)
    designs = ((few, None), (few, groups), (many, None))
    runs.append([paidiff.interval(values, c, draws=400)[1:] for values, c in designs])
low, high = np.transpose(runs, (2, 1, 0))
held, width = ((low <= 0) & (0 <= high)).mean(1), (high - low).mean(1)
for name, *row in zip(("12x3 as 36", "12x3 as 12", "36x1"), held, width):
    print("{:11} coverage {:4.0%}   width {:.2f}".format(name, *row))
if profile.judged:
    assert held[0] < 0.82 < 0.86 < min(held[1:]) and width[2] < 0.75 * width[1]

# %% [markdown] lang="zh"
# 当成 36 次，“95 %”的区间只装住 {{ f"{held[0]:.0%}" }}；按场景抽是 {{ f"{held[1]:.0%}" }}（12 组还是少，自助法略窄，组越多越准）；同样 36 张图，36 句话不但可信，还窄。**要多画，就换句子，不要换种子。**
# %% [markdown] lang="en"
# Taken for 36, the “95 %” interval holds the truth in {{ f"{held[0]:.0%}" }}; drawn by scenes in {{ f"{held[1]:.0%}" }} (twelve groups are few and the bootstrap a little narrow; it gets better with more); and 36 prompts, for the same 36 pictures, are both honest and narrow. **If you draw more, draw other prompts, not other seeds.**
# %% [markdown] lang="zh"
# ## 13.6 成对比较
#
# 引导 1 和引导 2，哪个清楚？同样的句子、同样的种子各画一遍。提示词之间的差别很大（13.5），两边各算各的区间，就全淹在这个差别里了；而每句话*自己和自己比*，这个差别就减掉了。
#
# **先猜**：12 句里，有几句是引导 2 更清楚？
# %% [markdown] lang="en"
# ## 13.6 Paired comparison
#
# Which is sharper, a guidance of 1 or of 2? Draw the same prompts with the same seeds. Prompts differ a lot (13.5), and in two separate intervals this difference drowns everything; compare every prompt *with itself*, and it cancels.
#
# **Predict**: in how many of 12 prompts is guidance 2 the sharper one?
# %% tags=["nbval-ignore-output"]
one = measure.following(pipe, prompts, guidance=1, **settings)
rows = {"guidance 1": one.pictures[:columns], "guidance 2": two.pictures[:columns]}
alt = "引导 2 的边缘清楚一些 · edges are somewhat crisper at guidance 2"
show(paidiff.compare(rows, prompts[:columns]), alt=alt)


# %%
def sign_test(wins, n):
    """The chance of so uneven a result if both were equally good (two-sided)."""
    tail = sum(comb(n, k) for k in range(max(wins, n - wins), n + 1))
    return min(1, 2 * tail / 2**n)


# %% tags=["nbval-ignore-output"]
soft, crisp = by_scene(one).mean(0), by_scene(two).mean(0)
gain = paidiff.interval(crisp - soft)
wins = int((crisp > soft).sum())
print(f"guidance 1  {paidiff.interval(soft):.2f}")
print(f"guidance 2  {paidiff.interval(crisp):.2f}")
print(f"2 - 1       {gain:+.2f}")
print(f"wins {wins}/{len(soft)}   p = {sign_test(wins, len(soft)):.4f}")
if profile.judged:
    assert paidiff.interval(soft).high > paidiff.interval(crisp).low  # they overlap
    assert gain.low > 0 and sign_test(wins, len(soft)) < 0.05  # the difference does not

# %% [markdown] lang="zh"
# 两个区间叠在一起，差的区间却在 0 的一边：{{ f"{gain:+.2f}" }}。**符号检验**更省事，只数谁赢：两边一样好的话，12 句里赢 {{ wins }} 句以上（或输这么多）的机会是 {{ f"{sign_test(wins, len(soft)):.4f}" }}。
#
# 更清楚，就更听话吗？同样成对比（`measure.difference`，由两个威尔逊区间和它们的相关算出，Newcombe 1998）：
# %% [markdown] lang="en"
# The two intervals overlap, and that of the difference lies on one side of 0: {{ f"{gain:+.2f}" }}. The **sign test** is simpler still and counts who wins: if both were equally good, the chance of {{ wins }} wins or more in 12 (or as many losses) would be {{ f"{sign_test(wins, len(soft)):.4f}" }}.
#
# Does sharper mean more obedient? Paired again (`measure.difference`, from the two Wilson intervals and their correlation, Newcombe 1998):
# %% tags=["nbval-ignore-output"]
change = measure.difference(two, one)
print(measure.table({"2 - 1": change}, "+.0%"))
if profile.judged:
    assert change["all"].low < 0 < change["all"].high


# %% [markdown] lang="zh"
# 全对的差是 {{ f"{change['all']:+.0%}" }}，0 在里面：这 12 句*看不出*差别。这不等于*没有*差别：区间说，两边差这么多都有可能。要分出高下，得更多的句子。
# %% [markdown] lang="en"
# For `all` the difference is {{ f"{change['all']:+.0%}" }}, with 0 inside: these 12 prompts *show* no difference. That is not to say there *is* none; the interval tells how large it may still be. To decide, take more prompts.
# %% [markdown] lang="zh"
# ## 13.7 上限和下限：是谁的错
#
# 大测量里有一个刺眼的数：画风是油画的提示词，裁判在 {{ f"{large['by_style']['model']['油画']['style']:.0%}" }} 的图里看到油画。是裁判不认识油画，是 VAE 把笔触抹掉了，还是 UNet 不会画？三个嫌疑人，一个一个排除：真的油画给裁判看；真的油画*过一遍 VAE*（压成潜变量再解出来）再给它看。
#
# **先猜**：是谁？
# %% [markdown] lang="en"
# ## 13.7 Ceiling and floor: whose fault is it?
#
# One figure of the large measurement hurts: of prompts for an oil painting (油画), the judge sees one in {{ f"{large['by_style']['model']['油画']['style']:.0%}" }} of the pictures. Does the judge not know oil paintings, does the VAE wipe out the brush strokes, or can the UNet not draw them? Three suspects, to be ruled out one by one: show real oil paintings to the judge; send them *through the VAE* (into latents and back) and show them again.
#
# **Predict**: who is it?
# %% tags=["nbval-ignore-output"]
@torch.no_grad()
def through_vae(pictures):
    x = torch.cat(list(batches(pictures))).to(pipe.vae.device, pipe.vae.dtype)
    latents = pipe.vae.encode(x).latent_dist.mode()
    return pipe.image_processor.postprocess(pipe.vae.decode(latents).sample)


things = ["猫", "企鹅", "汽车", "房子", "熊猫", "蘑菇", "茶壶", "大象"]
oils = [f"{thing},草地,油画" for thing in things]
painted = measure.ceiling(oils)
decoded = measure.Rates(through_vae(painted.pictures), oils)
drawn = measure.following(pipe, oils[:4], steps=profile.steps)
print(measure.table({"real": painted, "VAE": decoded, "model": drawn}))
if profile.judged:
    assert decoded["style"].mean > 0.8 > 0.5 > drawn["style"].mean

# %% tags=["nbval-ignore-output"]
every = {"real": painted, "VAE": decoded, "model": drawn}
rows = {name: rates.pictures[:4] for name, rates in every.items()}
alt = "真图和过了 VAE 的有笔触，模型画的没有 · brush strokes, but not in the model's"
show(paidiff.compare(rows, oils[:4]), alt=alt)


# %% [markdown] lang="zh"
# 真的油画，裁判认；过了 VAE，还认。**那就是 UNet**：主体和草地它都画对了，只是没有笔触。上限不只是一条线，它是把责任分开的刀：*真图* 的上限管裁判，*VAE* 的上限管裁判和 VAE，剩下的才是模型的。[第 03 课](03_lora.ipynb)（LoRA，教一种新画风）和[第 06 课](06_controlnet.ipynb)（ControlNet，照着线稿画）的上限也是这么来的。
# %% [markdown] lang="en"
# The judge knows real oil paintings, and still knows them after the VAE. **So it is the UNet**: things and grass are right, there merely are no brush strokes. A ceiling is more than a line, it is a knife that divides the blame: the ceiling of *real pictures* answers for the judge, that *through the VAE* for judge and VAE, and only the rest is the model's. The ceilings of [lesson 03](03_lora.ipynb) (LoRA, teaching a style) and [lesson 06](06_controlnet.ipynb) (ControlNet, drawing along lines) are made like this.
# %% [markdown] lang="zh"
# ## 13.8 像不像真的：两种距离
#
# 到这里量的都是“听不听话”。图*像不像真图*，要比两堆图：每张图先变成一串特征（这里是内置 CLIP 图像编码器的 192 个数；论文里的 FID 用 Inception 的 2048 个，所以数值不能互比），再比两堆特征。
#
# **弗雷歇距离**（Fréchet，Heusel et al. 2017）当两堆都是高斯分布，均值 $m$、协方差 $C$：
#
# $$\|m_1-m_2\|^2 + \mathrm{tr}\left(C_1 + C_2 - 2(C_1C_2)^{1/2}\right)$$
#
# **核距离**（KID，Bińkowski et al. 2018）不假设形状，只问：同一堆里的两张，是不是比不同堆的两张更像（$k$ 是一个三次的核，撇号是另一张，自己和自己不比）：
#
# $$\mathrm{E}\,k(x,x') + \mathrm{E}\,k(y,y') - 2\,\mathrm{E}\,k(x,y)$$
# %% [markdown] lang="en"
# ## 13.8 Does it look real: two distances
#
# So far we measured obedience. Whether pictures *look like real ones* takes two piles of them: each picture becomes a list of features (here the 192 numbers of the built-in CLIP's picture encoder; the FID of the papers uses 2,048 of Inception's, so the values cannot be compared), and the two piles of features are compared.
#
# The **Fréchet distance** (Heusel et al. 2017) takes both piles for Gaussians, with means $m$ and covariances $C$:
#
# $$\|m_1-m_2\|^2 + \mathrm{tr}\left(C_1 + C_2 - 2(C_1C_2)^{1/2}\right)$$
#
# The **kernel distance** (KID, Bińkowski et al. 2018) supposes no shape and asks: are two pictures of one pile more alike than two of different piles ($k$ is a cubic kernel, the prime is another picture; none is compared with itself)?
#
# $$\mathrm{E}\,k(x,x') + \mathrm{E}\,k(y,y') - 2\,\mathrm{E}\,k(x,y)$$
# %%
def frechet(x, y):
    A, B = np.cov(x.T), np.cov(y.T)
    root = np.sqrt(np.linalg.eigvals(A @ B).astype(complex)).real.sum()
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(A + B) - 2 * root


def kernel(x, y):
    mean, deviation = y.mean(0), y.std(0)  # no feature counts for its scale
    x, y = (x - mean) / deviation, (y - mean) / deviation
    k = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3
    others = lambda K: (K.sum() - np.trace(K)) / (len(K) * (len(K) - 1))
    return others(k(x, x)) + others(k(y, y)) - 2 * k(x, y).mean()


# %%
from paidiff_world.measures import frechet_distance, kernel_distance

features = clip_features(real).astype(float)
flat = [p.resize((1, 1), Image.BOX).resize(p.size) for p in real[: len(real) // 4]]
flat = clip_features(flat).astype(float)  # nothing but each picture's mean colour
x, y = features[: len(real) // 2], features[len(real) // 2 :]
for ours, library in ((frechet, frechet_distance), (kernel, kernel_distance)):
    print(f"{ours.__name__:8} real {ours(x, y):8.3f}   floor {ours(flat, y):8.3f}")
    assert np.isclose(ours(x, y), library(x, y), rtol=1e-3, atol=1e-3)

# %% [markdown] lang="zh"
# 几行代码，和库里的一样。两堆都是*真图*，出自同一个世界，距离该是 0。核距离差不多是；弗雷歇不是。
#
# **先猜**：从 300 张减到 25 张真图，两种距离各变成多少？
# %% [markdown] lang="en"
# A few lines, and the library's values. Both piles are *real*, of one world, and their distance should be 0. The kernel distance nearly is; Fréchet's is not.
#
# **Predict**: with 25 real pictures in place of 300, what becomes of the two distances?
# %%
sizes = [n for n in (25, 50, 100, 200, 300) if n <= len(x)]
shares = {}
for ours in (frechet, kernel):
    rs, far = np.random.RandomState(0), ours(flat, y)
    draws = [[ours(x[rs.permutation(len(x))[:n]], y) for _ in range(6)] for n in sizes]
    shares[ours.__name__] = values = np.mean(draws, 1) / far
    print(ours.__name__, *(f"{n}: {v:.1%}" for n, v in zip(sizes, values)))

# %%
curves = {name: (sizes, values) for name, values in shares.items()}
alt = "弗雷歇距离随图数减少而变大，核距离一直在 0 · Fréchet grows with fewer pictures"
show(paidiff.curve(curves, x="real pictures", y="distance / floor"), alt=alt)
if profile.examined > 300:
    assert shares["frechet"][0] > 3 * shares["frechet"][-1]
    assert max(map(abs, shares["kernel"])) < 0.1 * shares["frechet"][0]

# %% [markdown] lang="zh"
# 图越少，弗雷歇距离越大，*真图也一样*：25 张时是下限（纯色图）的 {{ f"{shares['frechet'][0]:.0%}" }}，核距离是 {{ f"{shares['kernel'][0]:.1%}" }}。原因：192 维的协方差要从几十张图里估，估得不准，不准只会让两个高斯看起来*更*不一样，这叫**偏差**：两堆各有 $n$ 和 $m$ 张，大约与 $1/n+1/m$ 成正比。核距离只用两两的平均，把“自己和自己”去掉之后，平均起来不偏。所以 FID 只能比*同样多*的图（论文里是几万张），图少就用核距离。
#
# 大测量里的核距离（CLIP 特征，{{ large["prompts"] }} 张）：
# %% [markdown] lang="en"
# The fewer pictures, the larger the Fréchet distance, *for real ones too*: with 25 it is {{ f"{shares['frechet'][0]:.0%}" }} of the floor's (plain colours), the kernel distance {{ f"{shares['kernel'][0]:.1%}" }}. The reason: a covariance in 192 dimensions, estimated from a few dozen pictures, is badly estimated, and errors only make two Gaussians look *more* different. This is called **bias**; for piles of $n$ and $m$ pictures it is about proportional to $1/n+1/m$. The kernel distance is made of means over pairs and, once self-comparisons are left out, is unbiased. So compare FIDs of *equally many* pictures only (tens of thousands in papers), and use the kernel distance where pictures are few.
#
# The kernel distances of the large measurement (CLIP features, {{ large["prompts"] }} pictures):
# %%
for name in ("model", "ceiling", "real", "floor"):
    row = large["kernel_distance"]["clip"][name]
    low, high = row["interval"]
    print(f"{name:8} {row['mean']:7.3f} [{low:.3f}, {high:.3f}]")
assert large["kernel_distance"]["clip"]["model"]["interval"][0] > 0

# %% [markdown] lang="zh"
# 真图对真图（`real`）、真图过 VAE（`ceiling`），区间都含 0；模型的不含：和真图差得不多，但差得出来。
# %% [markdown] lang="en"
# Real against real (`real`) and real ones through the VAE (`ceiling`) have 0 in their intervals; the model has not: it is near to real pictures, and can be told from them.
# %% [markdown] lang="zh"
# ## 13.9 问人：一张盲测表
#
# 所有的数，最后都是替人看的。请人看要讲规矩：**二选一**（打分每个人尺度不一样，二选一没有这个问题）；**盲**（看的人不知道哪张是谁画的，左右随机，题目顺序随机）；**答案分开放**；先写好问什么、问多少人、怎么算，再开始问。下面的单元格做一张网页，双击打开，也能打印。
# %% [markdown] lang="en"
# ## 13.9 Asking people: a blind form
#
# In the end all figures stand in for people who look. Asking them has its rules: **two alternatives** (on scales everybody means something else; of two, one chooses); **blind** (who looks does not know which is whose; sides and order are random); **the key lies elsewhere**; and what is asked, of how many people, and how it is counted is written down before the first answer. The cells below make a web page, to be opened with a double click, or printed.
# %%
import base64


# %%
def picture_tag(picture):
    data = io.BytesIO()
    picture.resize((256, 256), Image.LANCZOS).save(data, "PNG")
    code = base64.b64encode(data.getvalue()).decode()
    return f'<img alt="" src="data:image/png;base64,{code}">'


def question(number, prompt, pictures):
    cells = [
        f"<td>{picture_tag(picture)}<br><label>"
        f"<input type=radio name=q{number} value={side}> {side}</label>"
        for side, picture in zip("LR", pictures)
    ]
    return f"<tr><th>{number}<td>{prompt}{''.join(cells)}"


# %%
PAGE = """<!doctype html><meta charset="utf-8"><title>L / R</title>
<style>body {{ font: 18px sans-serif; margin: 2em }} tr {{ break-inside: avoid }}
td {{ padding: .6em; text-align: center }} img {{ width: 192px }}</style>
<h1>哪一张更像这句话？<br>Which picture shows the words better?</h1>
<table oninput="answers.value = [...this.querySelectorAll('tr')].map(
row => row.querySelector(':checked')?.value ?? '-').join('')">{rows}</table>
<p>答案 answers: <input id="answers" size="30" readonly></p>"""

rs = np.random.RandomState(13)
order = rs.permutation(len(prompts))
sides = rs.randint(2, size=len(order))  # 0: guidance 2 is on the left
pairs = [(two.pictures[i], one.pictures[i]) for i in order]
shown = [(i + 1, prompts[k]) for i, k in enumerate(order)]
asked = [question(*q, p[::-1] if s else p) for q, p, s in zip(shown, pairs, sides)]

# %%
from pathlib import Path

out = Path("../out/13")
out.mkdir(parents=True, exist_ok=True)
(out / "form.html").write_text(PAGE.format(rows="".join(asked)), encoding="utf-8")
key = "".join("LR"[side] for side in sides)
(out / "key.txt").write_text(key + "\n", encoding="utf-8")  # where guidance 2 is
print(*sorted(path.name for path in out.iterdir() if path.suffix in (".html", ".txt")))


# %% [markdown] lang="zh"
# 填完，最下面一行就是答案，比如 `LRRL...`，没选的是 `-`。算分：引导 2 被选中几次，威尔逊区间和符号检验。这里没有人，先让两个机器人填：一个总选更清楚的，一个扔硬币。
#
# **先猜**：扔硬币的那个，区间里有没有 50 %？
# %% [markdown] lang="en"
# When it is filled in, the last line holds the answers, such as `LRRL...`, with `-` for none. The score: how often guidance 2 was chosen, with Wilson's interval and the sign test. There is nobody here, so let two robots fill it in: one always takes the sharper picture, one tosses a coin.
#
# **Predict**: is 50 % in the interval of the one with the coin?
# %%
def score(answers, key):
    """How often the pictures that the key names were chosen, and the sign test."""
    chosen = [a == k for a, k in zip(answers, key, strict=True) if a != "-"]
    return paidiff.wilson(sum(chosen), len(chosen)), sign_test(sum(chosen), len(chosen))


# %% tags=["nbval-ignore-output"]
turned = [pair[::-1] if side else pair for pair, side in zip(pairs, sides)]
robots = {
    "sharper": "".join("LR"[sharpness(b) > sharpness(a)] for a, b in turned),
    "coin": "".join(np.random.RandomState(1).choice(["L", "R"], len(key))),
}
for name, filled in robots.items():
    rate, p = score(filled, key)
    print(f"{name:8} {filled} {rate:.0%} p = {p:.3f}")
assert score(key, key)[0].mean == 1
assert score(robots["coin"], key)[0].low < 0.5 < score(robots["coin"], key)[0].high

# %% [markdown] lang="zh"
# 真的请了人，记得：同一个人答的 12 题是一组（13.5），同一句提示词被许多人答也是一组；两个人对同一题的答案有多一致，也要报告。
#
# ## 13.10 说清楚
# * 这一课没有请人，机器人的答案不是人的答案。
# * 区间只管“换一批提示词会怎样”。裁判的错（13.2）、这个图画世界之外的提示词，都不在区间里。
# * 裁判和 CLIP 都在这个世界上训练，不能拿去评 `mini` 以外的模型画的照片。
# * 一次看二十个数，总有一个“显著”（$p<0.05$）：先说好看哪一个。
#
# ## 你学到了
# * 一个数要有区间、上限、下限；百分数用威尔逊，平均数用自助法，按场景分组。
# * 真实值、混淆矩阵、查准率、查全率；量尺会被骗，被优化过的量尺不能再当量尺。
# * 同一句话的几个种子是一次测量；成对比较看得见分开比看不见的；看不出差别不等于没有差别。
# * 上限分清是裁判、VAE 还是 UNet 的错；图少用核距离，弗雷歇距离只比同样多的图。
# * 盲测：二选一，左右随机，答案分开。
# %% [markdown] lang="en"
# When you do ask people, remember: the 12 answers of one person are a group (13.5), and so are those of many people to one prompt; report too how far two people agree on the same question.
#
# ## 13.10 To be plain
# * Nobody was asked in this lesson; a robot's answers are not people's.
# * Intervals tell what other prompts would have given. The judge's errors (13.2) and prompts from outside this picture world are not in them.
# * Judge and CLIP were trained on this world; they cannot rate other models' photographs.
# * Look at twenty figures, and one is “significant” ($p<0.05$): say beforehand which one you will look at.
#
# ## What you have learnt
# * A figure needs an interval, a ceiling and a floor; Wilson for percentages, the bootstrap for means, grouped by scene.
# * Truth, confusion matrix, precision, recall; rulers can be fooled, and one that was optimised for is no ruler any more.
# * Several seeds of a prompt are one measurement; paired comparison sees what separate intervals do not; no difference seen is not no difference.
# * Ceilings tell the judge's faults from the VAE's and the UNet's; the kernel distance for few pictures, Fréchet's for equally many only.
# * Blind tests: two alternatives, random sides, the key elsewhere.
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
# 1. 改 13.5 的模拟：在它前面写 `within = 3 * between`（种子之间差别很大，比如提示词只有“狐狸”）。三种办法的覆盖率和宽度怎么变？什么时候多画种子也有用？
# 2. 弗雷歇距离：两边都用 $n$ 张，画 $1/n$ 做横轴的图。用直线外推到 $1/n=0$，是多少？
# 3. 请三个同学填 `form.html`，用 `score` 算分。两个人一致的题占多少？一致的比例，扔硬币能得多少？

# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see.
#
# 1. Change the simulation of 13.5: put `within = 3 * between` before it (seeds that differ a lot, as for the bare prompt 狐狸). What becomes of coverage and width? When are more seeds of use?
# 2. Fréchet distance: take $n$ pictures on both sides, and plot against $1/n$. What does a straight line give at $1/n=0$?
# 3. Let three people fill in `form.html` and `score` it. On what share of the questions do two of them agree? What would two coins give?
