# %% [markdown] lang="zh"
# # 14 · 出了什么错：训练门诊
#
# 训练跑完了，程序没有报错，图却不对。是学习率，是数据，是 VAE，还是画图的代码？扩散模型坏了很少报错，它只是画得差。这一课是一间门诊：一个健康的训练，十二个各坏了一处的病例。先学一套问诊的步骤，跟着看三个，再自己诊断九个。
#
# **用时**：读和做 50 分钟；全部运行不到一分钟（一个 CPU 线程，什么也不训练）。**你需要**：[第 00 课](00_what_is_diffusion.ipynb)（损失、EMA、时间步）、[第 11 课](11_from_scratch.ipynb)（引导、VAE、UNet，从零写的那个网络）；[第 03 课](03_lora.ipynb)读过更好。**学完你会**：读损失曲线和梯度范数；用四个对照把训练的错和画图的错分开；知道哪些错在曲线上看不见；给每个症状说出最可能的原因，和最便宜的第一个检查。
#
# **先想两个旧问题**：
# 1. 第 00 课：一个什么都没学的网络，猜噪声的损失大约是多少？为什么？
# 2. 第 00 课：损失该降到 0 吗？
# %% [markdown] lang="en"
# # 14 · What went wrong: the clinic
#
# The training is over, no program complained, and the pictures are wrong. Is it the learning rate, the data, the VAE, or the code that draws? A diffusion model that is broken seldom raises an error; it just draws badly. This lesson is a clinic: one healthy training, and twelve cases with one fault each. Learn a procedure, watch it on three cases, then diagnose nine yourself.
#
# **Time**: 50 minutes of reading and doing; running everything takes less than a minute (one CPU thread, nothing is trained). **You need**: [lesson 00](00_what_is_diffusion.ipynb) (loss, EMA, timesteps), [lesson 11](11_from_scratch.ipynb) (guidance, VAE, UNet; it is that lesson's network); [lesson 03](03_lora.ipynb) helps. **You will be able to**: read a loss curve and a gradient norm; tell faults of the training from faults of the drawing by four controls; know which faults no curve shows; name the likely cause of a symptom, and the cheapest first test.
#
# **Two questions from earlier lessons**:
# 1. Lesson 00: about what is the loss of a network that has learnt nothing, when it guesses noise? Why?
# 2. Lesson 00: should the loss fall to 0?
# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %% [markdown] lang="zh"
# ## 14.1 健康的样子
#
# 不知道健康的样子，就看不出病。下面的网络是第 11 课的，小一号；它学六句提示词，每句 60 张图，480 步，一步 16 张，一两分钟就能训练完。十二个病例也由 `tools/make_clinic.py` 做出来，除了那一处错，别的都一样。留下来的是数（`curves.json`）和图。
#
# **先猜**：损失从多少开始？在第几步，六张图看得出是什么？
# %% [markdown] lang="en"
# ## 14.1 What healthy looks like
#
# Whoever does not know health cannot see illness. The network below is lesson 11's, a size smaller; it learns six prompts from 60 pictures each, in 480 steps of 16 pictures, a minute or two of training. The twelve cases are made by `tools/make_clinic.py` too, and differ in nothing but the one fault. What is left of them are numbers (`curves.json`) and pictures.
#
# **Predict**: at what value does the loss start? After how many steps can you tell what the six pictures are?
# %%
import json
import numpy as np
import paidiff_lib as paidiff
from PIL import Image
from paidiff_lib import show

FOLDER = paidiff.data("clinic")
numbers = json.loads((FOLDER / "curves.json").read_text(encoding="utf-8"))
PROMPTS = "猫,草地 气球,星空 汽车,落日 房子,草地 西瓜,星空 向日葵,落日".split()
ROWS = "step 30|step 120|step 240|step 480|other seeds|guidance 1|no EMA|VAE".split("|")


def values(case, name):
    """A row of numbers of a case as an array; null is nan."""
    return np.array(numbers[case][name], float)


# %%
from matplotlib.figure import Figure
from paidiff_course.plots import picture


def plot_curve(axes, case, name, window=15):
    """A curve in blue over the healthy one in grey; thick: means of 15 steps."""
    for each, thin, thick in (
        ("0", "#dddddd", "#999999"),
        (case, "#9ecae1", "#0072b2"),
    ):
        steps, heights = np.arange(1, 481), values(each, name)
        axes.plot(steps, heights, color=thin, linewidth=0.6)
        means = np.convolve(heights, np.ones(window) / window, "valid")
        axes.plot(steps[window - 1 :], means, color=thick, linewidth=1.5)
    axes.set(ylabel=name, xlim=(0, 480))
    axes.grid(alpha=0.3)


# %%
def chart(case):
    """Both curves of a case and its sheet in one picture."""
    paidiff.use_chinese_font()
    figure = Figure((9.5, 5.6), dpi=62, layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.15))
    loss, gradient = left.subplots(2, 1)
    plot_curve(loss, case, "loss")
    loss.plot(np.arange(30, 481, 30), values(case, "held_out"), "o", color="#d55e00")
    loss.set(ylim=(0, 1.4), title=f"case {case}")
    plot_curve(gradient, case, "gradient")
    gradient.set(yscale="log", ylim=(0.05, 30))
    gradient.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    plot_sheet(right.subplots(), case)
    return picture(figure)


# %%
def plot_sheet(axes, case):
    """The pictures of a case: four steps, then four controls."""
    axes.imshow(Image.open(FOLDER / f"{case}.jpg").resize((768, 1024), Image.LANCZOS))
    axes.set_yticks(np.arange(8) * 128 + 64, ROWS)
    axes.set_xticks(np.arange(6) * 128 + 64, PROMPTS, fontsize=7)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.axhline(512, color="white", linewidth=4)
    axes.spines[:].set_visible(False)


# %%
alt = "损失从 1 降到 0.15，第 240 步起认得出东西 · the loss falls from 1 to 0.15"
show(chart("0"), alt=alt)
start, end = values("0", "loss")[0], values("0", "loss")[-50:].mean()
print(f"loss {start:.2f} -> {end:.2f}   held out {values('0', 'held_out')[-1]:.2f}")
assert 0.9 < start < 1.2 and end < 0.2

# %% [markdown] lang="zh"
# 左上，**损失曲线**：细线是每一步的损失，粗线是 15 步的平均（后面的病例里，灰线是这个健康的训练）；橙点是没练过的 90 张图的损失（每 30 步，时间步和噪声固定）。从 {{ f"{start:.2f}" }} 开始：网络的输出几乎是 0，噪声的方差是 1。头一百步降得很快，后来慢慢降到 {{ f"{end:.2f}" }}；跳来跳去是正常的，每一步抽到的时间步不一样。橙点跟着蓝线走。左下，**梯度范数**（gradient norm）：全部梯度连成一个长向量的长度，没有截短之前的；纵轴是对数。健康的在 1 上下起头，之后平稳。
#
# 右边上四行：第 {{ ", ".join(row.split()[1] for row in ROWS[:4]) }} 步画的六句提示词，种子、引导（3）都一样。下四行是**对照**，都在最后一步：
# * `other seeds`：第一句提示词，换六个种子；
# * `guidance 1`：六句提示词，不引导；
# * `no EMA`：不用 EMA，用训练着的权重；
# * `VAE`：六张真的训练图，照训练时的样子编码成潜变量，再解码。UNet 没有参加，这是它能画到的上限。
# %% [markdown] lang="en"
# Top left, the **loss curve**: the thin line is the loss of each step, the thick one a mean of 15 steps (grey in later cases: this healthy training); the orange dots are the loss of 90 pictures which are not trained on (every 30 steps, at fixed timesteps and noise). It starts at {{ f"{start:.2f}" }}: the network gives almost 0, and the noise has variance 1. It falls fast for a hundred steps and slowly afterwards, to {{ f"{end:.2f}" }}; that it jumps about is normal, as each step draws other timesteps. The dots go with the line. Bottom left, the **gradient norm**: the length of all gradients as one long vector, before it is clipped, on a logarithmic axis. A healthy one begins at about 1 and stays calm.
#
# On the right, the upper four rows: six prompts after steps {{ ", ".join(row.split()[1] for row in ROWS[:4]) }}, with the same seed and guidance (3). The lower four are **controls**, all after the last step:
# * `other seeds`: the first prompt with six other seeds;
# * `guidance 1`: the six prompts without guidance;
# * `no EMA`: with the weights that are trained, not their EMA;
# * `VAE`: six real training pictures, encoded just as for training, and decoded. The UNet has no part in it; it can draw no better than this.
# %% [markdown] lang="zh"
# ## 14.2 三个便宜的数
#
# 图要眼睛看，还有三样可以量，都只要一秒：
# * `held_out`：没练过的图的损失。比训练损失高出一截，就是在背。
# * `by_t`：把时间步分成十段，各段的损失。$t$ 小的时候噪声少，难猜，损失大；$t$ 大的时候几乎全是噪声，好猜。一条曲线是它们的平均，会藏住某一段的病。
# * `captions`：同样的图、同样的噪声，配自己的文字和配*别人的*文字，各是多少。文字有用，配错了就该变大。
#
# **先猜**：健康的训练，配错文字，损失会变大几成？
# %% [markdown] lang="en"
# ## 14.2 Three cheap numbers
#
# Pictures are for the eye; three more things can be measured, each in a second:
# * `held_out`: the loss of pictures that are not trained on. Far above the training loss, it says that pictures are learnt by heart.
# * `by_t`: the loss in each tenth of the timesteps. At a small $t$ there is little noise, which is hard to guess, and the loss is large; at a large $t$ nearly all is noise, which is easy. One curve is their mean, and hides an illness in one part.
# * `captions`: the same pictures and noise, with their own captions and with *others'*. If captions matter, the wrong ones cost something.
#
# **Predict**: in a healthy training, by what share does the loss grow with the wrong captions?


# %%
def numbers_of(cases):
    print("case    loss   held_out   captions: own, other, rise")
    for case in cases:
        loss, held = values(case, "loss")[-50:].mean(), values(case, "held_out")[-1]
        own, other = values(case, "captions")
        row = f"{case}{loss:11.3f}{held:11.3f}{own:16.3f}{other:7.3f}"
        print(f"{row}{other / own - 1:+6.0%}")
        print("    by_t", *(f"{value:.2f}" for value in values(case, "by_t")))


# %%
numbers_of("0")
own, other = values("0", "captions")
assert other > 1.2 * own

# %% [markdown] lang="zh"
# 配错文字，损失大了 {{ f"{other / own - 1:.0%}" }}：文字有用。
#
# ## 14.3 问诊的步骤
#
# 从便宜的查起，一次只排除一样：
#
# 1. **数**：损失从 1 左右开始吗？降了吗？断了吗（nan）？停在哪里，比健康的高还是低？*低得可疑也是症状。*
# 2. **梯度范数**：乱跳、越来越大，还是一直不动？
# 3. **图，沿着步数看**：什么时候变好，什么时候变坏？一直不变也是一种变。
# 4. **画图的，还是训练的**：曲线健康、图坏，就查画图的那一边：`VAE` 坏，是 VAE 或像素；`VAE` 好、`no EMA` 好，是 EMA；都好，是采样器、引导、有没有装上权重。
# 5. **文字和数据**：看提示词和图对不对得上，换种子变不变，`captions`、`held_out`、`by_t` 三个数。
# 6. **一次改一处，重跑一小段**：改三处，好了也不知道为什么。训练之前先做两件事，多数的病进不了门：把送进网络的一批图*解码出来看*，连同它的文字；让网络背下一批（第 00 课）。
# %% [markdown] lang="en"
# Wrong captions raise the loss by {{ f"{other / own - 1:.0%}" }}: they matter.
#
# ## 14.3 The procedure
#
# Cheap tests first, and rule out one thing at a time:
#
# 1. **The numbers.** Does the loss start near 1? Does it fall? Does it break off (nan)? Where does it end, above the healthy one or below? *Suspiciously low is a symptom too.*
# 2. **The gradient norm.** Does it jump, grow, or never move?
# 3. **The pictures over the steps.** When do they become good, when bad? No change at all is a finding as well.
# 4. **Drawing or training?** Healthy curves and bad pictures point to the side that draws: a bad row `VAE` means the VAE or the pixels; a good `VAE` and a good `no EMA` mean the EMA; else it is the sampler, the guidance, or weights that were never loaded.
# 5. **Captions and data.** Do prompts and pictures match, does another seed change anything, what do `captions`, `held_out` and `by_t` say?
# 6. **Change one thing and run a short piece again.** Change three, and you will not know which one helped. Two things before any training keep most illnesses out: *decode and look at* one batch just as it enters the network, with its captions; and let the network learn one batch by heart (lesson 00).

# %% [markdown] lang="zh"
# ## 14.4 病例 A：锯齿
#
# **先猜**：看图之前只看左边的曲线。什么东西会每隔 {{ 480 // 6 }} 步来一次？
# %% [markdown] lang="en"
# ## 14.4 Case A: a saw
#
# **Predict**: look at the curves before you look at the pictures. What comes back every {{ 480 // 6 }} steps?
# %%
alt = "损失起起落落，橙点高出一截；六张图都带落日的颜色 · a saw; all in sunset colours"
show(chart("A"), alt=alt)
numbers_of("0A")
loss, held = values("A", "loss"), values("A", "held_out")[-1]
before, after = loss[195:215].mean(), loss[230:250].mean()
print(f"steps 196-215 {before:.2f}   steps 231-250 {after:.2f}")
assert after > 1.4 * before and held > 1.3 * loss[-50:].mean()

# %% [markdown] lang="zh"
# 1. **数**：从 1 开始，降了。一步的损失跳得厉害，要看粗线（15 步的平均）：它成锯齿，每 80 步升一次再降。第 196 到 215 步平均 {{ f"{before:.2f}" }}，第 231 到 250 步 {{ f"{after:.2f}" }}；灰线没有这样的起落。
# 2. **橙点**（没练过的图，六种都有）高出蓝线一大截：{{ f"{held:.2f}" }} 对 {{ f"{loss[-50:].mean():.2f}" }}；健康的是 {{ f"{values('0', 'held_out')[-1]:.2f}" }} 对 {{ f"{values('0', 'loss')[-50:].mean():.2f}" }}。网络会的只是眼前的这一种。
# 3. **图，沿着步数看**：越练越像*同一种*。最后一行六张大多是落日的颜色，草地上的猫也是。
# 4. `VAE` 好，`no EMA` 一样坏：不是 VAE，不是 EMA，是训练。
#
# **诊断**：480 步、六种图，正好 80 步一种：数据按种类排好了，没有打乱（`sorted_data`）。网络学新的，忘旧的；最后学的是向日葵和落日。**证实**：打印一批的文字，16 句全是一种。**治**：`DataLoader(shuffle=True)`；流式读取的大数据集，用足够大的缓冲区打乱。
# %% [markdown] lang="en"
# 1. **The numbers**: they start at 1, and fall. A single step's loss jumps about, so look at the thick line (means of 15 steps): it is a saw, rising every 80 steps and falling again. Steps 196 to 215 have a mean of {{ f"{before:.2f}" }}, steps 231 to 250 one of {{ f"{after:.2f}" }}; the grey line does nothing of the kind.
# 2. **The dots** (pictures of all six kinds, not trained on) float high above the line: {{ f"{held:.2f}" }} against {{ f"{loss[-50:].mean():.2f}" }}; the healthy one has {{ f"{values('0', 'held_out')[-1]:.2f}" }} against {{ f"{values('0', 'loss')[-50:].mean():.2f}" }}. The network knows the present kind only.
# 3. **The pictures over the steps**: more and more of *one kind*. Most of the last row has the colours of a sunset, and so has the cat on the grass.
# 4. `VAE` is good, `no EMA` as bad as the rest: neither VAE nor EMA, but the training.
#
# **Diagnosis**: 480 steps and six kinds make 80 steps a kind: the data are sorted and were not shuffled (`sorted_data`). The network learns the new and forgets the old; a sunflower at sunset came last. **Proof**: print the captions of one batch; all 16 are of one kind. **Cure**: `DataLoader(shuffle=True)`; for a large set that is read as a stream, shuffle in a buffer that is large enough.
# %% [markdown] lang="zh"
# ## 14.5 病例 B 和 C：曲线说不出来的
#
# **先猜**：B 的损失曲线和健康的差不多。它的图呢？
# %% [markdown] lang="en"
# ## 14.5 Cases B and C: what no curve tells
#
# **Predict**: the loss curve of B is much like the healthy one. And its pictures?
# %%
alt = "曲线健康；图里的不是提示词说的 · healthy curves, not what was asked for"
show(chart("B"), alt=alt)
numbers_of("0B")
own, other = values("B", "captions")
assert abs(other / own - 1) < 0.05

# %% [markdown] lang="zh"
# 1. **数**：降了，停在 {{ f"{values('B', 'loss')[-50:].mean():.3f}" }}；健康的是 {{ f"{values('0', 'loss')[-50:].mean():.3f}" }}。曲线看不出病。橙点跟着蓝线：没有在背。
# 2. **图**：有颜色，有大样，可是和提示词对不上：第一列要的是草地上的猫，画的是夜空和一团红。再看 `other seeds`：同一句话换个种子，连*题材*也换了；健康的换来换去都是猫。
# 3. `captions`：配自己的文字 {{ f"{own:.3f}" }}，配别人的 {{ f"{other:.3f}" }}，只差 {{ f"{abs(other / own - 1):.0%}" }}。文字没有用。
#
# **诊断**：训练的图和文字对不上（`mixed_captions`）。最常见的来历：两个文件夹各自排序，`1.jpg, 10.jpg, 2.jpg` 对 `1, 2, 10`；或者只打乱了一边。**证实**：解码一批，和文字一起看；这一看就一秒，却最常被省掉。
# %% [markdown] lang="en"
# 1. **The numbers**: they fall, and end at {{ f"{values('B', 'loss')[-50:].mean():.3f}" }}; the healthy ones at {{ f"{values('0', 'loss')[-50:].mean():.3f}" }}. No curve shows the illness. The dots go with the line: nothing is learnt by heart.
# 2. **The pictures**: colours and a layout, but not those of the prompts: the first column asks for a cat on grass, and gets a night sky with something red. See `other seeds`: another seed for the same prompt changes the *subject*; in the healthy one it is always a cat.
# 3. `captions`: {{ f"{own:.3f}" }} with the own ones, {{ f"{other:.3f}" }} with others', a difference of {{ f"{abs(other / own - 1):.0%}" }}. Captions do not matter.
#
# **Diagnosis**: pictures and captions of the training do not belong together (`mixed_captions`). The usual story: two folders, each sorted its own way, `1.jpg, 10.jpg, 2.jpg` beside `1, 2, 10`; or one side shuffled alone. **Proof**: decode a batch and look at it with its captions; it takes a second, and is what most people skip.
# %%
alt = "损失低得可疑，橙点升高；换种子还是同一张图 · low loss, rising dots, one picture"
show(chart("C"), alt=alt)
numbers_of("0C")
held = values("C", "held_out")
assert values("C", "loss")[-50:].mean() < 0.6 * values("0", "loss")[-50:].mean()
assert held[-1] > 1.2 * held.min()

# %% [markdown] lang="zh"
# 1. **数**：训练损失 {{ f"{values('C', 'loss')[-50:].mean():.2f}" }}，比健康的 {{ f"{values('0', 'loss')[-50:].mean():.2f}" }} 低得多。好得可疑。橙点先降到 {{ f"{held.min():.2f}" }}，再升到 {{ f"{held[-1]:.2f}" }}：两条线分开的地方，学就变成了背。
# 2. **图**：漂亮，比健康的还清楚。可是 `other seeds`：六个种子，一张图；和 `VAE` 那一行的真图一模一样。
#
# **诊断**：图太少，背下来了（`few_pictures`）：每句提示词只有一张图。**证实**：换种子；找最近的训练图。**治**：更多的图；没有的话，早停在橙点最低的地方，或者少训一些权重（LoRA，秩小一点），或者拿旧的图陪练（[第 05 课](05_dreambooth.ipynb)的先验保留）。一样的毛病，图不少、训得太久也会得：叫过拟合（overfitting）。
# %% [markdown] lang="en"
# 1. **The numbers**: a training loss of {{ f"{values('C', 'loss')[-50:].mean():.2f}" }}, far below the healthy {{ f"{values('0', 'loss')[-50:].mean():.2f}" }}. Too good. The dots fall to {{ f"{held.min():.2f}" }} and rise again to {{ f"{held[-1]:.2f}" }}: where both part, learning becomes learning by heart.
# 2. **The pictures**: pretty, sharper than the healthy ones. But `other seeds`: six seeds, one picture, and just the real one of the row `VAE`.
#
# **Diagnosis**: too few pictures, learnt by heart (`few_pictures`): each prompt has just one. **Proof**: other seeds; look for the nearest training picture. **Cure**: more pictures; without them, stop early, where the dots are lowest, or train fewer weights (LoRA of a smaller rank), or rehearse old pictures (the prior preservation of [lesson 05](05_dreambooth.ipynb)). Enough pictures trained for too long catch the same illness: overfitting.
# %% [markdown] lang="zh"
# ## 14.6 十二种病
#
# 下面九个病例，每个的病都在这张表里；A、B、C 的也在。名字就是练习的答案。
#
# | 名字 | 哪里错了 |
# |---|---|
# | `sorted_data` | 数据排好了序，没有打乱 |
# | `mixed_captions` | 图和文字对不上 |
# | `few_pictures` | 图太少，背下来了 |
# | `lr_too_high` | 学习率太大 |
# | `lr_too_low` | 学习率太小 |
# | `ema_too_slow` | EMA 太慢：它还记着训练开始之前的权重 |
# | `wrong_range` | 像素送进去是 0 到 1，应当是 -1 到 1 |
# | `wrong_target` | 采样器认错了网络猜的是什么（`prediction_type`） |
# | `nan_batch` | 一批坏数据，里面有 nan |
# | `late_timesteps_only` | 只练了后一半时间步（$t \ge 500$，噪声多的一半） |
# | `not_loaded` | 训练好的权重存了，画图时没有装上 |
# | `broken_vae` | VAE 的解码器坏了，或者换了一个 |
# %% [markdown] lang="en"
# ## 14.6 Twelve illnesses
#
# Each of the nine cases below has one of the illnesses of this table, which also has those of A, B and C. Their names are the answers to the exercises.
#
# | name | what is wrong |
# |---|---|
# | `sorted_data` | the data are sorted and were not shuffled |
# | `mixed_captions` | pictures and captions do not belong together |
# | `few_pictures` | too few pictures, learnt by heart |
# | `lr_too_high` | the learning rate is too high |
# | `lr_too_low` | the learning rate is too low |
# | `ema_too_slow` | the EMA is too slow: it still remembers the weights from before the training |
# | `wrong_range` | pixels go in from 0 to 1 in place of -1 to 1 |
# | `wrong_target` | the sampler is mistaken about what the network guesses (`prediction_type`) |
# | `nan_batch` | a batch of bad data, with a nan in it |
# | `late_timesteps_only` | only the later half of the timesteps was trained ($t \ge 500$, the noisy half) |
# | `not_loaded` | the trained weights were saved, and not loaded for drawing |
# | `broken_vae` | the VAE's decoder is broken, or another one |
# %% [markdown] lang="zh"
# ## 14.7 轮到你：九个病例
#
# 先看这张表，再一个一个看图。K 是接着健康的模型微调的，别的都从头训练。每个病例先写下诊断和*一条*证据，再去练习里问 `check`。
# %% [markdown] lang="en"
# ## 14.7 Your turn: nine cases
#
# See the table first, then look at the cases one by one. K goes on from the healthy model, the others start from nothing. For each case write down the diagnosis and *one* piece of evidence before you ask `check` in the exercises.
# %%
numbers_of("0DEFGHIJKL")

# %%
show(chart("D"), alt="损失冲上去不下来 · the loss stays high")

# %%
show(chart("E"), alt="曲线健康，图是噪声，一行除外 · noise but for one row")

# %%
show(chart("F"), alt="都发白 · all pale")

# %%
show(chart("G"), alt="曲线健康，图都是噪声 · healthy curves, noise")

# %%
show(chart("H"), alt="曲线断在第 200 步 · curves end at step 200")

# %%
show(chart("I"), alt="大样对，噪声没去干净 · layout right, noise left")

# %%
show(chart("J"), alt="损失降得慢 · a slow loss")

# %%
show(chart("K"), alt="四行图一样 · four equal rows")

# %%
show(chart("L"), alt="曲线健康，图上有花纹 · healthy curves, a pattern")

# %% [markdown] lang="zh"
# 有三个病例的曲线和健康的一模一样：它们的训练就是健康的那一次，病在画图的那一边；B 的曲线也看不出病。**曲线好不等于模型好：图和对照都要看。**
#
# ## 14.8 一张对照表
#
# | 症状 | 多半是 | 第一个检查 |
# |---|---|---|
# | 损失断掉，图全黑 | 数据里有 nan、除以 0，或 float16 溢出 | 打印断的那一步的那一批；换 float32 |
# | 损失冲过 1，停在 1 附近，梯度范数几乎是 0 | 学习率太大 | 除以 10，跑 50 步 |
# | 损失降得慢，从不冲高，梯度范数不小 | 学习率太小，或步数太少 | 乘 10，跑 50 步 |
# | 损失成锯齿，没练过的图高出一截 | 数据没有打乱 | 打印一批的文字 |
# | 训练损失低，没练过的高 | 图太少，或训得太久 | 换种子；找最近的训练图 |
# | 训练损失低得可疑，图却有噪声 | 只练了一部分时间步 | 分段量损失 |
# | 图好，和提示词对不上 | 图和文字错位 | 解码一批，连文字一起看 |
# | 引导变大，什么也不变 | 没有空提示词，或文字没有进网络 | 配错文字，看损失 |
# | 曲线健康，图是噪声 | 采样器认错目标；EMA 太慢 | 不用 EMA 画一张；看 `prediction_type` |
# | 图发白或太艳 | 像素的范围，潜变量的尺度 | 真图过一遍 VAE |
# | 真图过一遍 VAE 就坏 | VAE 坏了，或精度不够 | 换一个 VAE；VAE 用 float32 |
# | 训练前后的图一样 | 权重没有装上 | 同一个种子，两张图相减 |
# %% [markdown] lang="en"
# Three cases have just the healthy curves: their training is the healthy training, and the illness is on the side that draws; nor did the curves of B show anything. **A good curve is not a good model: look at the pictures and the controls.**
#
# ## 14.8 One table
#
# | symptom | most likely | first test |
# |---|---|---|
# | the loss breaks off, pictures are black | a nan in the data, a division by 0, float16 overflow | print the batch of that step; use float32 |
# | the loss shoots past 1 and stays near 1, the gradient norm next to 0 | learning rate too high | a tenth of it, for 50 steps |
# | the loss creeps down and never shoots up, the gradient norm is not small | learning rate too low, or too few steps | ten times it, for 50 steps |
# | the loss is a saw, that of other pictures far above | data not shuffled | print the captions of a batch |
# | training loss low, that of other pictures high | too few pictures, or trained too long | other seeds; the nearest training picture |
# | training loss suspiciously low, noise in the pictures | only some of the timesteps trained | the loss by timesteps |
# | good pictures, wrong for their prompts | pictures and captions displaced | decode a batch, look at it with its captions |
# | more guidance changes nothing | no empty prompts, or the text never enters | the loss with wrong captions |
# | healthy curves, pictures of noise | the sampler's target; an EMA too slow | draw without EMA; look at `prediction_type` |
# | pictures pale or garish | range of the pixels, scale of the latents | real pictures through the VAE |
# | real pictures are bad after the VAE | broken VAE, or too little precision | another VAE; the VAE in float32 |
# | pictures before and after training are equal | weights not loaded | same seed, subtract the pictures |
# %% [markdown] lang="zh"
# ## 14.9 说清楚
# * 每个病例只坏一处，真的训练常常坏两三处；所以要一次只改一处。
# * 十二个都是很小的网络，480 步。大模型的病一样，曲线更长、更毛；“健康的停在多少”每个模型都不同，要和*自己*好的那一次比。
# * 健康的损失停在多少，和图好不好关系不大（第 00 课）；同一个模型前后比才有意义。
#
# ## 你学到了
# * 损失从 1 左右开始；太高、太低、锯齿、断掉，各有各的意思。
# * 四个对照（种子、引导、EMA、VAE）把训练的病和画图的病分开；三个数（`held_out`、`by_t`、`captions`）看曲线看不见的。
# * 训练之前看一批解码的图和文字，背一批：这两件事最便宜。
# %% [markdown] lang="en"
# ## 14.9 To be plain
# * Each case has one fault; real trainings often have two or three, which is why you change one thing at a time.
# * All twelve are very small networks and 480 steps. Large models have the same illnesses, with longer and rougher curves; where a healthy one ends differs from model to model, so compare with a good run *of your own*.
# * Where a healthy loss ends says little about the pictures (lesson 00); compare a model with itself.
#
# ## What you have learnt
# * The loss starts near 1; too high, too low, a saw, a break, each has its meaning.
# * Four controls (seeds, guidance, EMA, VAE) tell faults of the training from those of the drawing; three numbers (`held_out`, `by_t`, `captions`) see what no curve shows.
# * Before training, look at one decoded batch with its captions, and learn one batch by heart: nothing is cheaper.
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
# 1. 用你写的 `smooth`，取 `beta` 为 0.5、0.9、0.98，画健康的损失。哪一个看得见趋势，又不藏住病例 A 的锯齿？
# 2. 在 `tools/make_clinic.py` 的 `RUNS` 里加一个 `"M": Run(dropout=0.0)`（从来不练空提示词），运行它（一两分钟）。引导 1 和引导 3 的图各变成什么样？为什么？
# 3. 给同学出一个病例：在 `Run` 里加一处新的错，训练，把图和曲线给他看。
# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see.
#
# 1. With your `smooth`, draw the healthy loss at a `beta` of 0.5, 0.9 and 0.98. Which shows the trend and does not hide the saw of case A?
# 2. Add `"M": Run(dropout=0.0)` to `RUNS` in `tools/make_clinic.py` (the empty prompt is never trained), and run it (a minute or two). What becomes of the pictures at guidance 1 and at guidance 3? Why?
# 3. Make a case for a friend: add a new fault to `Run`, train it, and show the pictures and the curves.
