# %% [markdown] lang="zh"
# # 01 · 推理：从中文提示词到图画
#
# **离线 · CPU · 不用 GPU**
#
# **用时**：读和做约 50 分钟；全部运行约四分钟（一个 CPU 线程）。
#
# **你需要**：会读一点 Python（列表、`for`、f 字符串）。不需要学过神经网络，不需要网络和 GPU。
#
# **学完你会**：用一句中文画一张图；说清种子、步数、引导、反向提示词、调度器和尺寸各管什么，并且每一样都*量过*；用三种写法画出同一张图，最后一种是自己写的循环；一次画完 36 条提示词的画廊；给“模型听不听话”一个带区间、上限和下限的数；换一个名字，就用上十亿参数的模型。
#
# **先答两个问题**（这是第一课，没有旧课可问，问的是 Python）：`[n * n for n in range(3)]` 是什么？`f"{0.5:.0%}"` 是什么？答案是 `[0, 1, 4]` 和 `50%`；都对，就可以开始。
#
# **怎样用这个笔记本**：点一个单元格，按 Shift+Enter 运行它，从上往下，不要跳。哪里弄乱了，菜单里选 Kernel → Restart Kernel and Run All Cells。看到**先猜**，先写下你的答案再往下运行：猜错的地方，正是学到东西的地方。

# %% [markdown] lang="en"
# # 01 · Inference: from a Chinese prompt to a picture
#
# **Offline · CPU · no GPU needed**
#
# **Time**: about 50 minutes to read and try; Run All takes about four minutes on one CPU thread.
#
# **You need**: to read a little Python (lists, `for`, f-strings). No neural networks, no network, no GPU.
#
# **Afterwards you can**: draw from one line of Chinese; say what seed, steps, guidance, negative prompt, scheduler and size do, having *measured* each; draw one picture in three ways, the last a loop of your own; draw the gallery of 36 prompts at once; put a figure on how well the model obeys, with its interval, ceiling and floor; switch to the model with a billion parameters by changing one name.
#
# **Two questions first** (no lesson came before, so they are about Python): what is `[n * n for n in range(3)]`? And `f"{0.5:.0%}"`? The answers are `[0, 1, 4]` and `50%`. If you had both, begin.
#
# **How to use this notebook**: click on a cell and press Shift+Enter to run it, from top to bottom, leaving none out. If things get mixed up, choose Kernel → Restart Kernel and Run All Cells. Where it says **Predict**, write down your answer before you run on: you learn most where you guess wrong.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import json
import numpy as np
import torch
import paidiff_lib as paidiff
from paidiff_lib import draw, show
from paidiff_world import measure
from paidiff_world.words import BACKGROUNDS, SUBJECTS

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("01", pipe)  # how much to do with this model


def record(name):
    """What the project wrote down beside the model's weights."""
    path = paidiff.data("models", "paidiff-mini-zh", name)
    return json.loads(path.read_text(encoding="utf-8"))


official = record("prompt_following.json")  # a large measurement of mini

# %% [markdown] lang="zh"
# ## 1.1 先看结果
#
# 一句*提示词*（prompt），一张图。这张图在你运行之前并不存在。

# %% [markdown] lang="en"
# ## 1.1 The result first
#
# One *prompt*, one picture. It did not exist before you ran the cell.

# %%
show(
    draw(pipe, "雪地里的一只企鹅", seed=1),
    titles="雪地里的一只企鹅",
    alt="雪地里站着一只企鹅 · a penguin in the snow",
)

# %% [markdown] lang="zh"
# 提示词可以是一句话，也可以是用逗号隔开的几个词。主体、背景、画风、颜色、数量都可以说。最后一张最难：两只，每只都小。

# %% [markdown] lang="en"
# A prompt can be a sentence, or words between commas. Say the subject, the place, the style, the colour, the number. The last one is the hardest: two penguins, each of them small.

# %%
prompts = ["熊猫,竹林,剪纸", "猫头鹰,森林,水彩画", "狮子,沙漠,油画", "雪地里的两只企鹅"]
show(
    draw(pipe, prompts, seed=2),
    titles=prompts,
    alt="剪纸熊猫、水彩猫头鹰、油画狮子、雪地里的两只企鹅 · a paper-cut panda, an owl"
    " in watercolour, a lion in oil, two penguins in the snow",
)

# %% [markdown] lang="zh"
# 这个模型叫 **mini**（paidiff-mini-zh），就放在仓库里，由本项目从零训练，训练时看了 {{ f"{record('training.json')['record']['unet']['pictures_seen']:,}" }} 张图。它只认识一个小小的*图画世界*：{{ len(SUBJECTS) }} 种主体、{{ len(BACKGROUNDS) }} 个地方、{{ len(record('words.json')['styles']) }} 种画风，图都是程序画的，所以每张里有什么都有准确的记录。
#
# 它画得怎么样？项目拿 {{ official["prompts"] }} 句训练时没见过的提示词量过：主体、背景、画风三样全对的占 {{ f"{official['model']['all']:.0%}" }}，而图画世界自己画的真图是 {{ f"{official['ceiling']['all']:.0%}" }}。这两个数怎么来的，1.12 里你自己量一遍。细节还粗；但它和真模型用的是同一套类，每一行代码都能照搬。

# %% [markdown] lang="en"
# This model is called **mini** (paidiff-mini-zh). It lies in the repository, was trained from nothing by this project, and saw {{ f"{record('training.json')['record']['unet']['pictures_seen']:,}" }} pictures in training. It knows only a small *picture world*: {{ len(SUBJECTS) }} subjects, {{ len(BACKGROUNDS) }} places, {{ len(record('words.json')['styles']) }} styles, all painted by a program, so that there is an exact record of what is in every picture.
#
# How good is it? The project measured it with {{ official["prompts"] }} prompts that training never saw: subject, place and style are all three right in {{ f"{official['model']['all']:.0%}" }} of the pictures; for real pictures, painted by the picture world itself, it is {{ f"{official['ceiling']['all']:.0%}" }}. Where such figures come from you will see in 1.12, by measuring them yourself. Details are still rough; but mini is made of the same classes as the real model, and every line of code carries over.

# %% [markdown] lang="zh"
# ## 1.2 一句话怎样变成一张图
#
# 这是一个*扩散模型*：它从一份随机噪声出发，一步一步去掉噪声，直到剩下一张图。为什么这样行得通，[第 00 课](00_what_is_diffusion.ipynb)从一个像素讲起；这一课先学会用。
#
# ![](diagram:pipeline)
#
# | 部件 | 做什么 | 哪里细讲 |
# | --- | --- | --- |
# | *分词器*（tokenizer） | 把提示词切成*词元*（token），换成编号 | 下面 |
# | *文本编码器*（text encoder） | 把每个词元变成一列数，即*向量*。它是 *CLIP* 的一半：CLIP 是一对网络，一个读话、一个看图，学的是让一句话和配它的图得到相近的向量 | [第 11 课](11_from_scratch.ipynb) |
# | *UNet* | 去噪网络：看着带噪声的稿子和那些向量，猜里面的噪声。稿子的每个位置去“看”每个词元，这叫*交叉注意力*（cross-attention） | [第 12 课](12_attention.ipynb) |
# | *调度器*（scheduler），也叫*采样器*（sampler） | 照猜出来的噪声，算出噪声少一点的稿子 | 1.7，[第 00 课](00_what_is_diffusion.ipynb) |
# | *VAE*（变分自编码器） | 一对网络：一个把图压成小得多的稿子，即*潜变量*（latent），一个把潜变量还原成图 | [第 11 课](11_from_scratch.ipynb) |
#
# UNet 从头到尾只看潜变量。在 mini 上，潜变量是 8×16×16 = 2,048 个数，图是 3×128×128 = 49,152 个数：少 24 倍，所以 CPU 也画得动。
#
# 先看分词器：这里一个汉字就是一个词元，前后加上 `[CLS]` 和 `[SEP]`，最多 32 个。

# %% [markdown] lang="en"
# ## 1.2 How a line of text becomes a picture
#
# This is a *diffusion model*: it begins with random noise and takes noise away, step by step, until a picture is left. Why that works is the matter of [lesson 00](00_what_is_diffusion.ipynb), which starts from a single pixel; here you learn to use it.
#
# ![](diagram:pipeline)
#
# | Part | What it does | More in |
# | --- | --- | --- |
# | *tokenizer* | cuts the prompt into *tokens* and numbers them | below |
# | *text encoder* | turns each token into a row of numbers, a *vector*. It is one half of *CLIP*, a pair of networks, one for text and one for pictures, which learn to give a text and its picture vectors that are alike | [lesson 11](11_from_scratch.ipynb) |
# | *UNet* | the denoising network: looks at a noisy draft and at those vectors, and guesses the noise. Every place of the draft "looks at" every token, which is called *cross-attention* | [lesson 12](12_attention.ipynb) |
# | *scheduler*, also called *sampler* | computes from the guessed noise a draft with a little less of it | 1.7, [lesson 00](00_what_is_diffusion.ipynb) |
# | *VAE* (variational autoencoder) | a pair of networks: one squeezes a picture into a much smaller draft, the *latents*; one turns latents back into a picture | [lesson 11](11_from_scratch.ipynb) |
#
# The UNet sees nothing but latents. For mini these are 8×16×16 = 2,048 numbers, and a picture is 3×128×128 = 49,152: 24 times as many. That is why a CPU is enough.
#
# The tokenizer first: here a token is one Chinese character, with `[CLS]` before and `[SEP]` after them, 32 at most.

# %%
print(paidiff.tokens(pipe.tokenizer, "雪地里的两只企鹅"))
print("at most", pipe.tokenizer.model_max_length, "of", len(pipe.tokenizer))

# %% [markdown] lang="zh"
# 去掉头尾，模型一次读 30 个词元。更长的，diffusers 丢掉后面的；`draw` 分段读，再接起来（PAI 的 WebUI 也是这样）。词表外的字模型看不见，没学过的东西画不出来。`draw` 都会告诉你。
#
# **先猜**：下面那句长提示词，猫写在第 30 个词元之后。直接用 diffusers（`pipe`）画，图里有猫吗？

# %% [markdown] lang="en"
# Without those two, the model reads 30 tokens at a time. Of a longer prompt diffusers drops the rest; `draw` reads it in parts and joins them, as PAI's WebUI does. Characters outside the vocabulary are not seen, and what was never learnt cannot be drawn. `draw` tells you all of this.
#
# **Predict**: in the long prompt below, the cat comes after the 30th token. If diffusers draws it directly (`pipe`), is there a cat?

# %%
strange = draw(pipe, "一只皮卡丘😀,草地", seed=1)
long_prompt = "高清," * 10 + "草地,一只猫"
whole = draw(pipe, long_prompt, seed=1, guidance=2)
cut = pipe(
    long_prompt,
    num_inference_steps=20,
    guidance_scale=2,
    generator=torch.Generator().manual_seed(1),
).images[0]
show(
    [strange, whole, cut],
    titles=["皮卡丘", "draw: …草地,一只猫", "pipe: …草地,一只猫"],
    alt="没有皮卡丘；draw 画出了猫，pipe 没有 · no Pikachu; draw drew a cat, pipe none",
)

# %% [markdown] lang="zh"
# ## 1.3 种子
#
# *种子*（seed）是一个整数，它决定起点的噪声。同一个种子、同一句话，就是同一张图，一个像素也不差（下面的 `assert` 查的就是这个）。换一个种子呢？
#
# **先猜**：下面每一行是同一句话、六个种子。第一行只说“狐狸”，第二行还说了地方和画风；第三行反过来，一个种子，六句不同的话；第四行是图画世界自己照第二行那句话画的六张。哪一行的六张图彼此差得最多，哪一行最少？

# %% [markdown] lang="en"
# ## 1.3 Seed
#
# The *seed* is a whole number that decides the noise to start from. The same seed and the same prompt give the same picture, to the pixel (the `assert` below checks it). And another seed?
#
# **Predict**: each row below has one prompt and six seeds. The first says 狐狸 (fox) only, the second names place and style too; the third is the other way round, one seed and six prompts; in the fourth the picture world itself has painted the second row's prompt six times. In which row do the six pictures differ most, in which least?

# %%
first, again = (draw(pipe, "狐狸", seed=10) for _ in range(2))
assert profile.same(first, again)
seeds, full = range(10, 16), "雪地里的一只狐狸,水彩画"
animals = ["狐狸", "猫", "老虎", "熊猫", "兔子", "小鸡"]
others = [f"雪地里的一只{animal},水彩画" for animal in animals]
rows = {
    "狐狸": draw(pipe, "狐狸", seed=seeds, steps=profile.many),
    full: draw(pipe, full, seed=seeds, steps=profile.many),
    "seed 10": draw(pipe, others, seed=10, steps=profile.many),
    "real": measure.ceiling([full] * len(seeds)).pictures,
}
show(
    paidiff.compare(rows),
    alt="狐狸在不同的地方；几乎是一张图；六种动物；真图也几乎是一张 · foxes here and"
    " there; nearly one picture; six animals; real pictures, nearly one as well",
)

# %% [markdown] lang="zh"
# 用数说：两张图之间的*均方根差*（逐像素相减、平方、取平均、开方，0 到 255 级灰度），每行取所有两两之间的平均。

# %% [markdown] lang="en"
# In figures: the *root mean square difference* of two pictures (subtract pixel by pixel, square, average, take the root; 0 to 255 grey levels), averaged over all pairs of a row.

# %% tags=["nbval-ignore-output"]
from itertools import combinations
from paidiff_lib.metrics import distance

spread = [
    np.mean([distance(a, b) for a, b in combinations(row, 2)]) for row in rows.values()
]
for name, value in zip(rows, spread):
    print(f"{value:3.0f}  {name}")
if profile.judged:
    assert min(spread[0], spread[2]) > 2 * max(spread[1], spread[3])

# %% [markdown] lang="zh"
# 没说地方和画风时，六张图平均差 {{ f"{spread[0]:.0f}" }} 级；都说了，只差 {{ f"{spread[1]:.0f}" }} 级，几乎是同一张；同一个种子换主体，差 {{ f"{spread[2]:.0f}" }} 级。**提示词没有说的，才由种子决定。**
#
# 为什么话说满了，就只剩一张？因为图画世界就是这样：一种主体只有一种画法，站在固定的地方。它自己画六张真图，也只差 {{ f"{spread[3]:.0f}" }} 级。真模型学的图千变万化，同一句话的余地大得多。
#
# 由此记住两件事。想多看几种画法：少说几个词，再换种子。想知道一种做法*对很多图*是否有效：换提示词，不要换种子，同一句话的六个种子只是一张图的六份拷贝。

# %% [markdown] lang="en"
# With place and style left open the six differ by {{ f"{spread[0]:.0f}" }} levels on average; with both named by only {{ f"{spread[1]:.0f}" }}, nearly one picture; one seed with six subjects gives {{ f"{spread[2]:.0f}" }}. **The seed decides what the prompt leaves open, and no more.**
#
# Why is there nearly one picture left once everything is said? Because the picture world is like that: each subject is drawn in one way and stands in a fixed place. Six real pictures of its own differ by only {{ f"{spread[3]:.0f}" }} levels. What real models learn from varies endlessly, and one prompt leaves them far more room.
#
# Two things to remember. To see other versions, say less, and then change the seed. To learn whether something works *for pictures in general*, change the prompt, not the seed: six seeds of one prompt are six copies of one picture.

# %% [markdown] lang="zh"
# ## 1.4 步数
#
# 每一步去掉一部分噪声。步数越多，越接近“走无穷多步”的那张图，也越慢：两倍的步数，两倍的时间。
#
# **先猜**：只走 {{ profile.sweep[0] }} 步，看得出画的是什么吗？从 {{ profile.sweep[-2] }} 步加到 {{ profile.sweep[-1] }} 步，眼睛还看得出变化吗？

# %% [markdown] lang="en"
# ## 1.4 Steps
#
# Each step takes away part of the noise. The more steps, the closer to the picture of infinitely many; and the slower: twice the steps, twice the time.
#
# **Predict**: after only {{ profile.sweep[0] }} steps, can you tell what it is? From {{ profile.sweep[-2] }} steps to {{ profile.sweep[-1] }}, can the eye still see a change?

# %% tags=["nbval-ignore-output"]
prompts = ["湖面上的天鹅,油画", "城堡,星空"]
columns = [draw(pipe, prompts, seed=5, steps=steps) for steps in profile.sweep]
gaps = [
    np.mean([distance(*pair) for pair in zip(column, columns[-1])])
    for column in columns
]
show(
    paidiff.compare(
        dict(zip(prompts, zip(*columns))),
        [f"steps {steps} · {gap:.1f}" for steps, gap in zip(profile.sweep, gaps)],
    ),
    alt="步数越多越清楚，后几列几乎一样 · clearer with more steps; the last columns are"
    " almost alike",
)
if profile.real:
    assert gaps == sorted(gaps, reverse=True)

# %% [markdown] lang="zh"
# 步数后面的数，是和最后一列的平均差别：{{ profile.sweep[0] }} 步差 {{ f"{gaps[0]:.0f}" }} 级，{{ profile.sweep[-2] }} 步只差 {{ f"{gaps[-2]:.1f}" }} 级。大的轮廓走两大步就有，剩下的步数都花在细节上。`draw` 默认走 20 步。大模型想要四步就清楚，要另外训练，那是[第 09 课](09_acceleration.ipynb)的*蒸馏*（教一个模型用很少几步走完另一个模型很多步的路）。

# %% [markdown] lang="en"
# The figure beside the steps is the mean difference from the last column: {{ f"{gaps[0]:.0f}" }} levels after {{ profile.sweep[0] }} steps, only {{ f"{gaps[-2]:.1f}" }} after {{ profile.sweep[-2] }}. The large shapes are there after two large steps; the rest of the steps go into detail. `draw` takes 20 unless told otherwise. For a large model to be clear after four takes more training, the *distillation* of [lesson 09](09_acceleration.ipynb), in which a model learns to cover in a few steps the way that another goes in many.

# %% [markdown] lang="zh"
# ## 1.5 引导
#
# 每一步 UNet 算两遍：一遍看提示词，得到对噪声的猜测 $\varepsilon_\text{prompt}$；一遍看*空*提示词，得到 $\varepsilon_\text{empty}$。然后从后者出发，沿着两者之差走 $g$ 倍：
#
# $$\varepsilon = \varepsilon_\text{empty} + g\,(\varepsilon_\text{prompt} - \varepsilon_\text{empty})$$
#
# 这叫*无分类器引导*（classifier-free guidance，Ho & Salimans 2022），$g$ 就是 `guidance`，diffusers 叫它 `guidance_scale`。$g=1$ 正好等于 $\varepsilon_\text{prompt}$，也就是不引导，UNet 只用算一遍；$g$ 大于 1，就把“提示词带来的变化”放大。
#
# ![](diagram:guidance)
#
# **先猜**：引导从 1 一直加到 12，颜色会怎样变？文章里的真模型用 7.5；mini 适合多大？

# %% [markdown] lang="en"
# ## 1.5 Guidance
#
# At every step the UNet runs twice: with the prompt, which gives a guess $\varepsilon_\text{prompt}$ of the noise, and with an *empty* prompt, which gives $\varepsilon_\text{empty}$. Then go from the latter $g$ times along their difference:
#
# $$\varepsilon = \varepsilon_\text{empty} + g\,(\varepsilon_\text{prompt} - \varepsilon_\text{empty})$$
#
# This is *classifier-free guidance* (Ho & Salimans 2022); $g$ is `guidance` here and `guidance_scale` in diffusers. At $g=1$ it is just $\varepsilon_\text{prompt}$: no guidance, and the UNet need run only once. With $g$ above 1, what the prompt changes is magnified.
#
# ![](diagram:guidance)
#
# **Predict**: as guidance goes from 1 to 12, what becomes of the colours? The article's real model uses 7.5; how much suits mini?

# %% tags=["nbval-ignore-output"]
prompts = [
    "森林里的一只棕熊,水彩画",
    "沙滩上的一辆汽车",
    "猫,沙发,油画",
    "一座房子,雪地",
]


def saturation(pictures):
    """How colourful pictures are: 0 grey, 255 pure colours."""
    return np.mean([np.asarray(picture.convert("HSV"))[..., 1] for picture in pictures])


rows = {
    f"guidance {scale}": draw(pipe, prompts, seed=6, guidance=scale, steps=profile.many)
    for scale in (1, 2, 7.5, 12)
}
rows["real"] = [
    picture.resize(rows["guidance 1"][0].size)
    for picture in measure.ceiling(prompts).pictures
]
show(
    paidiff.compare(rows, prompts),
    alt="引导越大颜色越过头；最后一行是真图 · colours are overdone as guidance grows;"
    " the last row are real pictures of the world",
)
colours = {name: saturation(pictures) for name, pictures in rows.items()}
print("\n".join(f"{name:12} {value:4.0f}" for name, value in colours.items()))
if profile.judged:
    assert colours["guidance 12"] > colours["guidance 2"] + 10

# %% [markdown] lang="zh"
# 数字是*饱和度*（0 是灰，255 是最纯的颜色）。真图是 {{ f"{colours['real']:.0f}" }}；引导 1 是 {{ f"{colours['guidance 1']:.0f}" }}，2 是 {{ f"{colours['guidance 2']:.0f}" }}，12 是 {{ f"{colours['guidance 12']:.0f}" }}。太大的引导把颜色推过头，轮廓也碎成方块。所以 `draw` 在 mini 上默认用 2，在真模型上用 5：**合适的值要看模型，不能照抄。** 引导到底让模型更听话了没有，1.12 来量。

# %% [markdown] lang="en"
# The figures are the *saturation* (0 is grey, 255 the purest colours). Real pictures have {{ f"{colours['real']:.0f}" }}; guidance 1 gives {{ f"{colours['guidance 1']:.0f}" }}, 2 gives {{ f"{colours['guidance 2']:.0f}" }} and 12 gives {{ f"{colours['guidance 12']:.0f}" }}. Too much guidance overdoes the colours and breaks the outlines into blocks. So `draw` uses 2 on mini and 5 on the real models: **the right value depends on the model; it cannot be copied.** Whether guidance makes the model obey better is measured in 1.12.

# %% [markdown] lang="zh"
# ## 1.6 反向提示词
#
# *反向提示词*（negative prompt）说的是*不要*画什么。做法很简单：把上面公式里的空提示词换成它，
#
# $$\varepsilon = \varepsilon_\text{negative} + g\,(\varepsilon_\text{prompt} - \varepsilon_\text{negative})$$
#
# 于是每一步都离它远一点。$g=1$ 时 $\varepsilon_\text{negative}$ 正好消掉，反向提示词不起作用。
#
# 它有多大用处？要**量**，而且要有**对照**：拿 {{ profile.prompts }} 句不同的水彩画提示词，反向提示词分别什么也不写、写“水彩画”、写两个不相干的词。数的是**裁判**看见了什么：裁判是一个小分类器，只在图画世界的真图上训练，只用来测量（[第 13 课](13_evaluation.ipynb)把它拆开看）。
#
# **先猜**：写上“水彩画”以后，裁判还在百分之几的图里看见水彩画？写“汽车”呢？

# %% [markdown] lang="en"
# ## 1.6 Negative prompt
#
# A *negative prompt* says what *not* to draw. It is simply put in the place of the empty prompt in the formula above,
#
# $$\varepsilon = \varepsilon_\text{negative} + g\,(\varepsilon_\text{prompt} - \varepsilon_\text{negative})$$
#
# so that every step leads a little away from it. At $g=1$ the $\varepsilon_\text{negative}$ cancels out, and a negative prompt does nothing.
#
# How much does it do? **Measure** it, and with a **control**: take {{ profile.prompts }} different watercolour prompts, and as negative prompt nothing, 水彩画 (watercolour), and two words that have nothing to do with it, 汽车 (car) and 模糊 (blur). What is counted is what the **judge** sees: a small classifier, trained on real pictures of the picture world and used for nothing but measuring ([lesson 13](13_evaluation.ipynb) takes it apart).
#
# **Predict**: with 水彩画 as negative prompt, in what percentage of the pictures does the judge still see watercolour? And with 汽车?

# %% tags=["nbval-ignore-output"]
subjects = ["猫", "企鹅", "蘑菇", "城堡"]
prompts = [f"{s},{p},水彩画" for p in ("草地", "雪地", "沙漠") for s in subjects]
prompts = prompts[: profile.prompts]
drawn = {
    word: draw(pipe, prompts, seed=100, steps=profile.steps, negative_prompt=word)
    for word in ("", "水彩画", "汽车", "模糊")
}
show(
    paidiff.compare(
        {word or "-": pictures[:4] for word, pictures in drawn.items()}, prompts[:4]
    ),
    alt="“水彩画”一行少了毛边，“汽车”一行颜色过浓 · row 水彩画 has less of the ragged"
    " border of watercolour; row 汽车 is garish",
)

# %% tags=["nbval-ignore-output"]
seen = {w or "-": measure.Rates(pictures, prompts) for w, pictures in drawn.items()}
print(measure.table(seen))
change = {
    other: measure.difference(seen["水彩画"], seen[other])["style"]
    for other in ("-", "汽车", "模糊")
}
for other, difference in change.items():
    print(f"style, 水彩画 - {other}: {difference:+.0%}")
if profile.judged:
    assert change["-"].high < 0 and change["汽车"].mean < 0

# %% [markdown] lang="zh"
# 看 `style` 一行：不写反向提示词，水彩画占 {{ f"{seen['-']['style'].mean:.0%}" }}；写“水彩画”，占 {{ f"{seen['水彩画']['style'].mean:.0%}" }}；写“汽车”，{{ f"{seen['汽车']['style'].mean:.0%}" }}。所以起作用的是这个*词*，不是“写了点什么”。它也没有把画风赶光：反向提示词是推一把，不是禁令。
#
# 方括号里是 *95 % 区间*：换 {{ len(prompts) }} 句别的提示词，这个数会变，区间说它大概在哪里。比率用的是*威尔逊*区间；最后三行是*同一句*提示词的两张图相减，区间不含 0，才能说“不一样”。[第 13 课](13_evaluation.ipynb)讲这些区间怎么算。
#
# **为什么要对照？** 有一种说法听上去很有道理：反向提示词写“模糊”，图就更清楚。量一量*清晰度*（相邻像素亮度差的平均），旁边放上对照词。
#
# **先猜**：哪个词让清晰度变得更多？

# %% [markdown] lang="en"
# Look at the row `style`: with no negative prompt {{ f"{seen['-']['style'].mean:.0%}" }} are watercolours; with 水彩画, {{ f"{seen['水彩画']['style'].mean:.0%}" }}; with 汽车, {{ f"{seen['汽车']['style'].mean:.0%}" }}. So it is the *word* that does it, not the mere presence of one. And it does not drive the style out altogether: a negative prompt is a push, not a ban.
#
# In brackets is the *95 % interval*: {{ len(prompts) }} other prompts would give another figure, and the interval says about where. For rates it is *Wilson's*; in the last three lines each prompt is compared with *itself*, and only an interval without 0 allows one to say "different". [Lesson 13](13_evaluation.ipynb) shows how intervals are computed.
#
# **Why a control?** It sounds reasonable that the negative prompt 模糊 (blur) should make pictures sharper. Measure their *sharpness* (the mean step of brightness between neighbouring pixels), with the control word beside it.
#
# **Predict**: which of the two words changes sharpness more?

# %% tags=["nbval-ignore-output"]
from paidiff_lib.metrics import sharpness

edges = {word: [sharpness(picture) for picture in drawn[word]] for word in drawn}
sharper = {
    word: paidiff.interval(np.subtract(edges[word], edges[""]))
    for word in ("模糊", "汽车")
}
print(f"-: {np.mean(edges['']):.2f}")
for word, difference in sharper.items():
    print(f"{word}: {difference:+.2f}")
if profile.judged:
    assert sharper["汽车"].low > sharper["模糊"].high

# %% [markdown] lang="zh"
# “模糊”让清晰度变了 {{ f"{sharper['模糊'].mean:+.2f}" }}，毫不相干的“汽车”变了 {{ f"{sharper['汽车'].mean:+.2f}" }}。（均值的区间用的是*自助法*：从这些差里有放回地重抽两千次，看平均数落在哪里。）单看“模糊”那一个数，区间不含 0，好像证明了什么；放上对照才知道，不相干的词改得更多。看图也看得出：“汽车”那一行颜色更浓、边更硬，像是引导加大了。从公式看，这说得通：反向提示词离提示词越远，两者之差就越大，$g$ 乘上去，走得就越远。**没有对照的数字，读起来像证据，其实不是。**

# %% [markdown] lang="en"
# 模糊 changes sharpness by {{ f"{sharper['模糊'].mean:+.2f}" }}; 汽车, which has nothing to do with it, by {{ f"{sharper['汽车'].mean:+.2f}" }}. (The interval of a mean is a *bootstrap*: draw from these differences, with replacement, two thousand times, and see where the mean falls.) The figure for 模糊 alone, with an interval that leaves out 0, seems to prove something; the control shows that an unrelated word does more. The pictures show it as well: in the row of 汽车 colours are stronger and edges harder, as if guidance had been raised. That makes sense by the formula: the further the negative prompt is from the prompt, the larger their difference, and $g$ times that goes further. **A figure without a control reads like evidence, and is none.**

# %% [markdown] lang="zh"
# ## 1.7 调度器
#
# *调度器*（scheduler）决定怎样从 UNet 的猜测走出下一步；别处常叫它*采样器*（sampler），是同一样东西。下面是 PAI-Diffusion 的 WebUI 里的七种，起点噪声相同，都走 {{ profile.schedulers }} 步。Euler a 和 DDPM 是*带随机性*的：每一步去掉噪声之后，又加回一点新的。
#
# **先猜**：哪几种画出来几乎一样？带随机性的会差多少，比换一个种子（1.3 的第二行）多还是少？

# %% [markdown] lang="en"
# ## 1.7 Schedulers
#
# The *scheduler* decides how to make the next step out of the UNet's guess; elsewhere it is often called a *sampler*, which is the same thing. Here are the seven of PAI-Diffusion's WebUI, from the same starting noise, {{ profile.schedulers }} steps each. Euler a and DDPM are *random*: after each step they add a little fresh noise.
#
# **Predict**: which of them draw nearly the same? How far off are the random ones, more or less than with another seed (the second row of 1.3)?

# %% tags=["nbval-ignore-output"]
import diffusers

WEBUI = {
    "DDIM": "DDIMScheduler",
    "Euler": "EulerDiscreteScheduler",
    "Heun": "HeunDiscreteScheduler",
    "DPM": "DPMSolverMultistepScheduler",
    "PNDM": "PNDMScheduler",
    "Euler a": "EulerAncestralDiscreteScheduler",
    "DDPM": "DDPMScheduler",
}
prompts = ["落日下的帆船", "一只猫,草地,水墨画"]
original, drawn = pipe.scheduler, {}
for name, kind in WEBUI.items():
    pipe.scheduler = getattr(diffusers, kind).from_config(original.config)
    drawn[name] = draw(pipe, prompts, seed=7, steps=profile.schedulers)
pipe.scheduler = original


# %% tags=["nbval-ignore-output"]
def apart(one, other):
    return np.mean([distance(*pair) for pair in zip(drawn[one], drawn[other])])


show(
    paidiff.compare(
        dict(zip(prompts, zip(*drawn.values()))),
        [f"{name} · {apart(name, 'DDIM'):.0f}" for name in drawn],
    ),
    alt="前五种几乎一样，后两种细节不同 · the first five nearly alike, the last two"
    " differ in details",
)
near = max(apart(name, "DDIM") for name in ("Euler", "Heun", "DPM"))
far = min(apart(name, "DDIM") for name in ("Euler a", "DDPM"))
print(f"Euler a - DDPM: {apart('Euler a', 'DDPM'):.0f}")
if profile.judged:
    assert far > near

# %% [markdown] lang="zh"
# 名字后面的数，是和 DDIM 的平均差别。不带随机性的几种走的是同一条路，只是步子迈法不同：Euler、Heun、DPM 离 DDIM 最多 {{ f"{near:.0f}" }} 级；带随机性的至少 {{ f"{far:.0f}" }} 级，和换一个种子差不多（1.3 里是 {{ f"{spread[1]:.0f}" }} 级）：每一步新加的噪声，就是新的种子。Euler a 和 DDPM 彼此只差 {{ f"{apart('Euler a', 'DDPM'):.0f}" }} 级：名字两个，走的是同一条路。mini 自带的是 DPM（全名 DPM-Solver++），二十步就够细。

# %% [markdown] lang="en"
# The figure beside a name is the mean difference from DDIM. Those that are not random all follow the same path with different strides: Euler, Heun and DPM are within {{ f"{near:.0f}" }} levels of DDIM. The random ones are at least {{ f"{far:.0f}" }} away, about as far as another seed ({{ f"{spread[1]:.0f}" }} in 1.3): fresh noise at each step is a fresh seed. Euler a and DDPM differ by {{ f"{apart('Euler a', 'DDPM'):.0f}" }} levels from each other: two names, one path. mini comes with DPM (in full DPM-Solver++), for which twenty steps are fine enough.

# %% [markdown] lang="zh"
# ## 1.8 尺寸和批量
#
# 宽和高取 8 的倍数：VAE 把边长缩小 8 倍。模型是在自己的尺寸上训练的，别的尺寸也能画。
#
# **先猜**：提示词要*两棵*椰子树。画布拉宽一半，会是几棵？拉高一半呢？缩小呢？

# %% [markdown] lang="en"
# ## 1.8 Sizes and batches
#
# Width and height are multiples of 8, since the VAE shrinks the sides by 8. The model was trained at its own size; it can draw at others too.
#
# **Predict**: the prompt asks for *two* palm trees. How many come out on a canvas half as wide again? Half as tall again? On a smaller one?

# %%
wide = [
    draw(pipe, "两棵椰子树,沙滩", seed=8, size=size, steps=profile.many)
    for size in profile.sizes
]
show(
    wide,
    titles=[f"{w}x{h}" for w, h in profile.sizes],
    columns=4,
    alt="小的挤成一团，宽的有三棵，高的叠成两层 · huddled on the small canvas, three on"
    " the wide one, two storeys on the tall one",
)

# %% [markdown] lang="zh"
# 数一数：小的挤成一团，宽的多出一棵，高的叠成两层。模型没有学过“画布多大”，它学过的是：这么大一块地方里有两棵；地方多了，就多画几棵。这是扩散模型出名的毛病，办法是：**先按训练的尺寸画，再放大。**
#
# 给 `draw` 一个列表，就一批画完。每张图只由自己的提示词和种子决定，和同批的邻居无关（批的大小只影响浮点舍入）；`assert` 查的就是这个。

# %% [markdown] lang="en"
# Count them: huddled together on the small canvas, one too many on the wide one, two storeys on the tall one. The model has not learnt "how large the canvas is"; it has learnt that there are two in so much space, and where there is more space it draws more. Diffusion models are notorious for this. The cure: **draw at the size of the training, then enlarge.**
#
# Give `draw` a list and it draws a batch. Each picture depends on its own prompt and seed only, not on its neighbours (the size of a batch changes rounding only); the `assert` checks that.

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
prompts = [f"古楼,湖面,{style}" for style in styles]
drawn = draw(pipe, prompts, seed=9, steps=profile.many)
show(
    drawn,
    titles=styles,
    columns=5,
    alt="同一座古楼，十种画风 · the same tower in ten styles",
)
alone = draw(pipe, prompts[-1], seed=9, steps=profile.many)
assert distance(alone, drawn[-1]) < 4

# %% [markdown] lang="zh"
# ## 1.9 看着噪声变成图
#
# 流水线（pipeline，把上面那些部件接在一起的对象）每走完一步，会调用 `callback_on_step_end`。把那一刻的潜变量交给 VAE 解码，就看得到中途的样子。
#
# **先猜**：二十步里，大约从第几步起，你认得出那是什么？

# %% [markdown] lang="en"
# ## 1.9 Watch the noise turn into a picture
#
# After each step the pipeline (the object that joins the parts above) calls `callback_on_step_end`. Let the VAE decode the latents of that moment, and you see the picture halfway.
#
# **Predict**: of twenty steps, from which one on can you tell what it is?


# %%
def decode(latents):
    with torch.no_grad():
        image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return pipe.image_processor.postprocess(image)[0]


def watch(pipe, step, timestep, values):
    frames.append(decode(values["latents"]))
    return values


prompt, frames = "荷塘,青蛙,童话绘本", []
plain = pipe(
    prompt,
    num_inference_steps=20,
    guidance_scale=2,
    generator=torch.Generator().manual_seed(11),
    callback_on_step_end=watch,
).images[0]
show(
    frames[1::3],
    titles=[f"step {i + 1}" for i in range(1, 20, 3)],
    columns=7,
    alt="先是噪声，后来才看得出图 · noise at first, a picture only later",
)

# %% [markdown] lang="zh"
# 眼睛和嘴在第 8 步前后才看得见；大块的颜色和位置更早就定了，只是剩下的噪声还盖在上面，这里看不出来。[第 00 课](00_what_is_diffusion.ipynb)把噪声和“模型此刻的猜测”分开看，并且说明为什么顺序总是这样。

# %% [markdown] lang="en"
# Eyes and mouth show at about step 8; large patches of colour and their places are settled earlier, but the rest of the noise still lies on top, and this figure does not show it. [Lesson 00](00_what_is_diffusion.ipynb) shows the noise and "what the model guesses at that moment" apart, and why the order is always this one.

# %% [markdown] lang="zh"
# ## 1.10 流水线里面
#
# 提示词不长时，`draw` 只是先说它有什么问题，再这样调用 diffusers。上一张图的 `pipe(...)` 就是这样一行，下面的 `assert` 说它们画的是同一张图。
#
# 那么 `pipe(...)` 里面呢？也就这么长：文本 → 向量；噪声 → 一步步去噪；潜变量 → 图。循环里写着 1.5 的公式。
#
# * `timesteps`：*时间步* $t$，从 999 往 0 走，越大噪声越多。每个 $t$ 该有多少噪声，记在一张叫*噪声调度*的表里（[第 00 课](00_what_is_diffusion.ipynb)）。
# * `init_noise_sigma`、`scale_model_input`：有的调度器（如 Euler）把数放大了记，这两处换算回来；mini 的调度器不放大，乘的是 1。
# * mini 的 UNet 猜的其实是 $v$，和 $\varepsilon$ 可以互相换算（[第 00 课](00_what_is_diffusion.ipynb)）；换算由 `step` 完成，引导的公式照旧。

# %% [markdown] lang="en"
# ## 1.10 Inside the pipeline
#
# For a prompt that is not too long, `draw` only says what is wrong with it and then calls diffusers, as `pipe(...)` did for the figure above; the `assert` below says that both draw the same picture.
#
# And what is inside `pipe(...)`? No more than this: text to vectors; noise, step by step less of it; latents to picture. The formula of 1.5 stands in the loop.
#
# * `timesteps`: the *timestep* $t$ goes from 999 down to 0; the larger, the more noise. How much noise belongs to each $t$ is in a table called the *noise schedule* ([lesson 00](00_what_is_diffusion.ipynb)).
# * `init_noise_sigma`, `scale_model_input`: some schedulers (Euler, for one) keep their numbers enlarged, and these two convert; mini's does not, so the factor is 1.
# * mini's UNet really guesses $v$, from which $\varepsilon$ follows and the other way round ([lesson 00](00_what_is_diffusion.ipynb)). `step` converts; the formula of guidance stays the same.


# %%
@torch.no_grad()
def by_hand(prompt, seed, steps=20, guidance=2):
    ids = pipe.tokenizer(
        ["", prompt], padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    text = pipe.text_encoder(ids.to(pipe.device))[0]  # (2, 32, 192)
    size, channels = pipe.unet.config.sample_size, pipe.unet.config.in_channels
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, channels, size, size, generator=generator)  # (1, 8, 16, 16)
    pipe.scheduler.set_timesteps(steps)
    latents = noise.to(text) * pipe.scheduler.init_noise_sigma
    for t in pipe.scheduler.timesteps:
        both = pipe.scheduler.scale_model_input(torch.cat([latents] * 2), t)
        empty, wanted = pipe.unet(both, t, text).sample.chunk(2)
        guess = empty + guidance * (wanted - empty)
        latents = pipe.scheduler.step(guess, t, latents).prev_sample
    return decode(latents)


three = {
    "draw": draw(pipe, prompt, seed=11, guidance=2),
    "pipe": plain,
    "by_hand": by_hand(prompt, 11),
}
assert profile.same(*three.values())
show(
    list(three.values()),
    titles=list(three),
    alt="三张一样的图 · the same picture three times",
)

# %% [markdown] lang="zh"
# 三张图一个像素也不差。整个文生图，就是这十几行。

# %% [markdown] lang="en"
# The three are equal to the pixel. These dozen lines are all there is to text-to-image.

# %% [markdown] lang="zh"
# ## 1.11 画廊：36 条提示词
#
# 文章的艺术画廊，一个单元格就画完，每条有它自己的反向提示词。标题里的 ✓ 表示每个词小模型都学过；~ 表示它只认得一部分，画的也只有那一部分；✗ 表示主体和背景它都不认得，画出来的别当真。
#
# **先猜**：带 ✓ 的是不是都画得好？

# %% [markdown] lang="en"
# ## 1.11 The gallery of 36 prompts
#
# The article's art gallery in one cell, each prompt with its own negative prompt. ✓: the small model has learnt every word. ~: it knows only some, and draws only those. ✗: it knows neither subject nor place, so do not take the picture seriously.
#
# **Predict**: are all those with ✓ drawn well?

# %%
from paidiff_lib.files import ASSETS
from paidiff_lib.generate import sample  # as draw, without its hints
from paidiff_lib.prompts import check_prompt

lines = (ASSETS / "prompts/gallery_prompts.jsonl").read_text(encoding="utf-8")
gallery = [json.loads(line) for line in lines.splitlines()][: profile.gallery]
texts = [item["prompt"] for item in gallery]
tables = (SUBJECTS, BACKGROUNDS)
things = [word for table in tables for words in table.values() for word in words]


def mark(prompt):
    if not check_prompt(pipe, prompt):
        return "✓"
    return "~" if any(word in prompt for word in things) else "✗"


marks = [mark(text) for text in texts]
print({m: marks.count(m) for m in "✓~✗"})

# %%
negatives = [item["negative_prompt"] for item in gallery]
pictures = sample(pipe, texts, seed=12, steps=profile.many, negative_prompt=negatives)
show(
    pictures,
    titles=[f"{m} {text[:7]}" for m, text in zip(marks, texts)],
    columns=6,
    alt="简单的认得出，说得多的不成形 · simple ones are clear, crowded ones shapeless",
)

# %% [markdown] lang="zh"
# ✓ 只说每个*词*都学过，没说这样的*组合*学过：`中国剪纸画,雪山,白云,落日` 一口气要了三个地方，而图画世界的每张图只有一个地方，于是画成了一片空白。`白色小狐狸,扁平画风` 每个词都学过，狐狸也画得走样。提示词哪里不被认得，`check_prompt` 会说：

# %% [markdown] lang="en"
# ✓ says that every *word* was learnt, not such a *combination* of them: `中国剪纸画,雪山,白云,落日` asks for three places at once (snowy mountains, clouds, sunset), while every picture of the world has just one, and what comes out is blank. Every word of `白色小狐狸,扁平画风` (a little white fox, flat style) was learnt, and the fox comes out wrong all the same. What is not known in a prompt, `check_prompt` tells:

# %%
for text in texts[:6]:
    for hint in check_prompt(pipe, text):
        print(text[:12], "→", hint)

# %% [markdown] lang="zh"
# ## 1.12 它听话吗
#
# 好看不等于听话。取 {{ profile.scenes }} 句提示词，每句的（主体、背景、画风）搭配训练时**从没出现过**，画出来让裁判看。旁边放两把尺子：*上限*（ceiling），同样的提示词由图画世界自己画，裁判也不是全对；*下限*（floor），把这些图配上下一句提示词，是瞎猜也能得的分。
#
# **先猜**：三样全对（`all`）的占百分之几？不用引导（`guidance=1`）呢？

# %% [markdown] lang="en"
# ## 1.12 Does it do what the prompt says?
#
# Pretty is not obedient. Take {{ profile.scenes }} prompts whose combinations of subject, place and style training **never saw**, draw them, and let the judge look. Two rulers lie beside: the *ceiling*, the same prompts painted by the picture world itself, of which the judge does not get all right either; and the *floor*, these pictures with the next prompt each, what luck would give.
#
# **Predict**: in what percentage are all three right (`all`)? And without guidance (`guidance=1`)?

# %% tags=["nbval-ignore-output"]
from paidiff_world.heldout import held_out

captions = [caption for _, caption in held_out(profile.scenes)]
guided = measure.following(pipe, captions, steps=profile.many)
plain = measure.following(pipe, captions, steps=profile.many, guidance=1)
rows = {
    "model": guided,
    "ceiling": measure.ceiling(captions),
    "floor": measure.floor(guided),
    "guidance 1": plain,
}
print(measure.table(rows))
gain = measure.difference(guided, plain)
print(measure.table({"guided - guidance 1": gain}, "+.0%"))
if profile.judged:
    heads = ("subject", "background", "style", "all")
    assert all(guided[head].low > rows["floor"][head].high for head in heads)

# %%
show(
    guided.pictures[:6],
    titles=captions[:6],
    columns=6,
    alt="没见过的搭配，大多画对了 · combinations never seen, most of them right",
)

# %% [markdown] lang="zh"
# 三样全对：模型 {{ f"{guided['all'].mean:.0%}" }}，上限 {{ f"{rows['ceiling']['all'].mean:.0%}" }}，下限 {{ f"{rows['floor']['all'].mean:.0%}" }}。表里哪一项弱、哪一项强，一眼看得出；`n` 是算进去的提示词数（没要颜色的，不数颜色）。引导多给了多少，看最后一张表的 `all`：{{ f"{gain['all']:+.0%}" }}；区间含 0，就是 {{ profile.scenes }} 句还不够说定。
#
# {{ profile.scenes }} 句只够看个大概。正式的数字（{{ official["prompts"] }} 句，每句 {{ official["seeds"] }} 个种子）由 `python -m paidiff_world.pretrain.evaluate` 算出，和模型放在一起：

# %% [markdown] lang="en"
# All three right: model {{ f"{guided['all'].mean:.0%}" }}, ceiling {{ f"{rows['ceiling']['all'].mean:.0%}" }}, floor {{ f"{rows['floor']['all'].mean:.0%}" }}. The table shows at a glance what is weak and what is strong; `n` is how many prompts count (where no colour was asked for, none is counted). How much guidance gives is in the last table under `all`: {{ f"{gain['all']:+.0%}" }}; where the interval holds 0, {{ profile.scenes }} prompts are too few to say.
#
# {{ profile.scenes }} prompts give a rough idea. The official figures ({{ official["prompts"] }} prompts, {{ official["seeds"] }} seeds each) come from `python -m paidiff_world.pretrain.evaluate` and lie beside the model:

# %%
print(f"{'':10}  model  ceiling  floor")
for head, rate in official["model"].items():
    beside = (official[row][head] for row in ("ceiling", "floor"))
    print(f"{head:10} {rate:6.0%}", *(f"{other:7.0%}" for other in beside))

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
# 或者让整个笔记本都用它：
#
# ```bash
# PAIDIFF_MODEL=artist-large jupyter lab
# ```
#
# **未在真权重上验证**。没有网络也想看看真模型的样子，就写一个布局一样、权重随机的模型，再 `load` 它的文件夹：
#
# ```bash
# paidiff skeleton artist-large -o out/artist
# ```
#
# `profile` 按模型和内存决定每一课的步数、批量和张数。

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
# Or let the whole notebook use it:
#
# ```bash
# PAIDIFF_MODEL=artist-large jupyter lab
# ```
#
# **Not verified on the real weights.** To see what the real model looks like without a network, write a model of the same layout with random weights, and `load` its folder:
#
# ```bash
# paidiff skeleton artist-large -o out/artist
# ```
#
# `profile` chooses steps, batches and numbers of pictures for each lesson by model and memory.

# %% [markdown] lang="zh" tags=["exercise"]
# ## 1.14 练习
#
# 把 `...` 换成你的答案，运行单元格：`check` 说对不对，不对时说错在哪里，再给一条提示。它不联网，也不替你写答案。

# %% [markdown] lang="en" tags=["exercise"]
# ## 1.14 Exercises
#
# Put your answer in the place of `...` and run the cell: `check` says whether it is right, if not what is wrong, and gives a hint. It needs no network, and never writes the answer for you.

# %% [markdown] lang="zh"
# ### 再试试
#
# 这些没有标准答案，写下你看到的。
#
# 1. 在 1.6 里把“水彩画”换成别的画风，再换成“猫”：提示词里的猫少了吗？对照词要不要也换？
# 2. 在 1.6 里把 `guidance` 加到 4：反向提示词更有用了吗？公式说会怎样？
# 3. 1.4 里，从多少步起你看不出差别？给别人看，别告诉他哪张是哪张。

# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see.
#
# 1. In 1.6, replace 水彩画 with another style, then with 猫 (cat): are there fewer cats where the prompt asks for them? Do the control words need to change as well?
# 2. In 1.6, raise `guidance` to 4. Does the negative prompt do more? What does the formula say?
# 3. In 1.4, from how many steps on can you see no difference? Ask somebody else, without saying which is which.

# %% [markdown] lang="zh"
# ## 1.15 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | `没有找到模型 …` | 名字写错，或真模型还没下载：消息里列出了试过的地方。 |
# | `宽和高要是 8 的倍数` | VAE 把边长缩小 8 倍；消息里有最近的可用尺寸。 |
# | `提示词有 … 个词元,…分成 … 段读` | 后面的词也看得见，短的说得更准。 |
# | `NameError: name 'pipe' is not defined` | 上面的单元格没有运行：从头运行一遍。 |
# | 反向提示词没有用 | `guidance` 是不是 1？ |
# | 画出来的不对 | 换种子；用 1.1 里那些词；小模型只认识它的世界。 |
# | 别的怪事 | 在终端运行 `paidiff doctor`。 |

# %% [markdown] lang="en"
# ## 1.15 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | `没有找到模型 …` | A wrong name, or the real model is not downloaded yet: the message lists where it was looked for. |
# | `宽和高要是 8 的倍数` | The VAE shrinks the sides by 8; the message names the nearest sizes that work. |
# | `提示词有 … 个词元,…分成 … 段读` | The later words are seen too; a short prompt is followed better. |
# | `NameError: name 'pipe' is not defined` | The cells above have not run: run them from the top. |
# | the negative prompt does nothing | Is `guidance` 1? |
# | the picture is wrong | Try another seed, and words like those in 1.1; the small model knows only its own world. |
# | anything else that is odd | Run `paidiff doctor` in a terminal. |

# %% [markdown] lang="zh"
# ## 1.16 你学到了
#
# * 提示词 → 词元 → 向量；噪声 → 一步步去噪 → 潜变量 → VAE 解码成图。
# * 种子只决定提示词没说的；步数决定细节；引导沿 $\varepsilon_\text{prompt} - \varepsilon_\text{empty}$ 放大，太大颜色就过头；反向提示词顶替空提示词；调度器决定步子怎么迈。
# * 说一种做法有用，要量很多*不同的*提示词，带上对照、区间、上限和下限。
#
# 接下来：[第 02 课](02_img2img.ipynb)从一张图出发。想先知道噪声*为什么*会变成图，读[第 00 课](00_what_is_diffusion.ipynb)，它从一个像素讲起。

# %% [markdown] lang="en"
# ## 1.16 What you have learnt
#
# * Prompt → tokens → vectors; noise → less of it at each step → latents → a picture, by the VAE's decoder.
# * The seed decides what the prompt leaves open; steps decide detail; guidance goes further along $\varepsilon_\text{prompt} - \varepsilon_\text{empty}$, and too much overdoes the colours; the negative prompt takes the place of the empty one; the scheduler decides the strides.
# * To say that something works, measure it on many *different* prompts, with control, interval, ceiling and floor.
#
# Next: [lesson 02](02_img2img.ipynb) starts from a picture. If you would first like to know *why* noise turns into a picture, read [lesson 00](00_what_is_diffusion.ipynb), which starts from one pixel.
