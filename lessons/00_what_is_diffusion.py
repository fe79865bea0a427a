# %% [markdown] lang="zh"
# # 00 · 扩散是什么
#
# **用时**：阅读和动手约 45 分钟；全部运行约一分半钟，不用 GPU，不用网络。
#
# **你需要**：会一点 Python；见过 numpy 数组；知道平均数和平方。不需要学过神经网络。第 1 课先学后学都行。
#
# **学完你会**：说清“加噪声”和“往回走”各做了什么；用十行 numpy 写出对噪声*最好的猜测*，不训练任何东西；看懂 $x_0$、$x_t$、$\varepsilon$、$v$、$\bar\alpha_t$ 这些符号；知道 DDIM、DDPM、分数、Tweedie 公式各是什么；用二十行 torch 训练一个会画*新东西*的小网络，并说出它和精确答案差在哪里。
#
# **如果学过[第 1 课](01_inference.ipynb)，先答两个问题**：种子决定了什么？步数少了，图会怎样？

# %% [markdown] lang="en"
# # 00 · What diffusion is
#
# **Time**: 45 minutes to read and try; about a minute and a half to run, with no GPU and no network.
#
# **You need**: a little Python; to have seen a numpy array; to know what a mean and a square are. No neural networks. Lesson 1 may come before or after.
#
# **Afterwards you can**: say what "adding noise" and "walking back" do; write the *best guess* of the noise in ten lines of numpy, training nothing; read the symbols $x_0$, $x_t$, $\varepsilon$, $v$, $\bar\alpha_t$; say what DDIM, DDPM, the score and Tweedie's formula are; train a small network in twenty lines of torch that draws *new* things, and say how it differs from the exact answer.
#
# **If you have done [lesson 1](01_inference.ipynb), answer two questions first**: what does the seed decide? What becomes of a picture with fewer steps?

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import numpy as np
import torch
import paidiff_lib as paidiff
from paidiff_course.plots import clouds, panels, picture
from paidiff_lib import curve, show

pipe = paidiff.load()
profile = paidiff_course.profile("00", pipe)

# %% [markdown] lang="zh"
# ## 0.1 先看结果：二十步
#
# 这门课的小模型叫 mini。它从一张纯噪声开始，一共走二十步，每走一步我们都看一眼。
#
# 有两个词先借来用：mini 不直接画像素，而是画一份小得多的稿子，叫*潜变量*（latent），再由一个叫 *VAE* 的解码器换成像素；下面的 `decode` 做的就是这件事，[第 11 课](11_from_scratch.ipynb)从零写一个。提示词是「一只猫，草地」；`guidance_scale` 先不管，0.15 再说。
#
# **先猜**：从第几步起，你看得出一只猫？写下来。

# %% [markdown] lang="en"
# ## 0.1 The result first: twenty steps
#
# The small model of this course is called mini. It begins with pure noise and takes twenty steps; we look after each of them.
#
# Two words on loan: mini does not paint pixels but a much smaller draft of the picture, a *latent*, which a decoder called *VAE* turns into pixels. That is what `decode` does below; [lesson 11](11_from_scratch.ipynb) writes one from scratch. The prompt says "a cat, grass"; never mind `guidance_scale` until 0.15.
#
# **Predict**: from which step on can you see a cat? Write it down.


# %%
def decode(latents):
    with torch.no_grad():
        image = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return pipe.image_processor.postprocess(image)[0]


def watch(pipe, step, timestep, values):  # the pipeline calls it after each step
    frames.append(decode(values["latents"]))
    return values


unet = pipe.unet.config
shape = (1, unet.in_channels, unet.sample_size, unet.sample_size)
start = torch.randn(shape, generator=torch.Generator().manual_seed(1))
start = start.to(pipe.device, pipe.dtype)

# %%
prompt, frames = "一只猫,草地", [decode(start)]
pipe(
    prompt,
    latents=start,
    num_inference_steps=profile.steps,
    guidance_scale=2,
    callback_on_step_end=watch,
)
show(
    frames,
    titles=[str(step) for step in range(len(frames))],
    columns=7,
    alt="21 pictures: 0 is coloured noise; a cat on grass comes out of it step by step",
)
assert len(frames) == len(pipe.scheduler.timesteps) + 1

# %% [markdown] lang="zh"
# 0 是起点，只有噪声；最后是一只草地上的猫。中间没有谁把猫“画”上去：每一步只做一件事，*猜一猜这里面有哪些是噪声，去掉一点*。大的色块先出来，细节后出来。
#
# 这件事为什么行得通？这一课把它缩到最小：先一个像素，再两个，再是平面上的点，最后又回到 mini。

# %% [markdown] lang="en"
# 0 is the start, noise and nothing else; the end is a cat on grass. Nobody painted the cat. Each step does one thing: *guess what in here is noise, and take a little of it away*. Large patches of colour come first, details last.
#
# Why does that work? This lesson shrinks the matter as far as it goes: one pixel, then two, then points in the plane, and at the end back to mini.

# %% [markdown] lang="zh"
# ## 0.2 一个像素：加噪声
#
# 一个像素就是一个数：−1 是黑，1 是白。要学会*去掉*噪声，得先会*加*噪声。做法是把干净的值和一个随机数按比例混起来：
#
# $$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\;\varepsilon$$
#
# * $x_0$：干净的值。
# * $\varepsilon$（读作 epsilon）：噪声，一个来自*钟形曲线*（标准正态分布）的随机数，平均是 0，方差（和平均之差的平方，再取平均）是 1，也就是多半落在 −1 和 1 之间。numpy 里是 `standard_normal()`。
# * $t$：*时间步*，从 0 到 999。越大，噪声越多。
# * $\bar\alpha_t$（读作 alpha bar）：到时间步 $t$ 时还剩下多少原来的东西，从接近 1 一路降到接近 0。这张一千个数的表叫*噪声调度*，mini 自带一张。
# * $x_t$：混好的、带噪声的值。

# %% [markdown] lang="en"
# ## 0.2 One pixel: adding noise
#
# A pixel is a number: −1 is black, 1 is white. To learn how to *remove* noise we must first *add* it. The clean value and a random number are mixed in proportion:
#
# $$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\;\varepsilon$$
#
# * $x_0$: the clean value.
# * $\varepsilon$ (epsilon): the noise, a random number from the *bell curve* (the standard normal distribution), with mean 0 and variance 1 (the mean of the squared differences from the mean), so mostly between −1 and 1. In numpy it is `standard_normal()`.
# * $t$: the *timestep*, from 0 to 999. The larger, the noisier.
# * $\bar\alpha_t$ (alpha bar): how much of the original is left at timestep $t$; it falls from nearly 1 to nearly 0. This table of a thousand numbers is called the *noise schedule*, and mini brings one along.
# * $x_t$: the mixture, the noisy value.

# %%
abar = pipe.scheduler.alphas_cumprod.numpy().astype(float)  # 1000 numbers


def add_noise(x_0, t, noise):
    return np.sqrt(abar[t]) * x_0 + np.sqrt(1 - abar[t]) * noise


times = [0, 100, 250, 500, 999]
for t in times:
    print(f"t = {t:3}   {np.sqrt(abar[t]):.3f} x_0 + {np.sqrt(1 - abar[t]):.3f} noise")
assert len(abar) == 1000 and (np.diff(abar) < 0).all()

# %% [markdown] lang="zh"
# 为什么要开平方？独立的两个随机数相加，相加的是*方差*，而方差随系数的平方变；$\bar\alpha_t$ 和 $1-\bar\alpha_t$ 合起来正好是 1。所以原来方差是 1 的数据，混了多少噪声方差都还是 1，网络看到的数永远差不多大。
#
# 现在抛五万次硬币：正面是白像素，反面是黑像素，各一半。每个像素都加上噪声，画出 $x_t$ 的直方图（每个值出现得有多频繁）。
#
# **先猜**：$t=0$ 时是两根针。$t=999$ 时是什么形状？那时还看得出原来只有黑白两种吗？

# %% [markdown] lang="en"
# Why the square roots? When two independent random numbers are added, it is their *variances* that add up, and a variance goes with the square of the factor; $\bar\alpha_t$ and $1-\bar\alpha_t$ together make exactly 1. So data of variance 1 keep variance 1, however much noise is mixed in, and a network always sees numbers of about the same size.
#
# Now toss a coin fifty thousand times: heads is a white pixel, tails a black one, half and half. Add noise to each pixel and draw a histogram of $x_t$ (how often each value occurs).
#
# **Predict**: at $t=0$ there are two needles. What shape is it at $t=999$? Can one still tell that there were only black and white?

# %%
rng = np.random.default_rng(0)
pixels = rng.choice([-1.0, 1.0], 50_000)
noise = rng.standard_normal(50_000)

figure, axes = panels(len(times))
for plot, t in zip(axes, times):
    noisy = add_noise(pixels, t, noise)
    plot.hist(noisy, bins=np.linspace(-3.5, 3.5, 71), density=True)
    plot.set(title=f"t = {t}", yticks=[])
    assert abs(noisy.var() - 1) < 0.03
two_to_one = "5 histograms: two needles at -1 and 1 widen, meet, and end as one bell"
show(picture(figure), alt=two_to_one)

# %% [markdown] lang="zh"
# 两根针变宽，碰到一起，最后成了一口钟：$t=999$ 时，黑和白已经分不出来。这就是*扩散*（diffusion）这个名字的由来：像一滴墨水在水里散开，最后哪里都一样。
#
# 往前散开很容易，谁都会。难的是往回走。

# %% [markdown] lang="en"
# The needles widen, meet, and end as one bell: at $t=999$ black and white cannot be told apart. That is where the name *diffusion* comes from: like a drop of ink that spreads in water until it is the same everywhere.
#
# Spreading is easy. The hard part is the way back.

# %% [markdown] lang="zh"
# ## 0.3 最好的猜测是平均
#
# 先说“最好”是什么意思。有一个看不见的像素，四次里一次是黑（−1），三次是白（1）。你要报*一个*数，罚分是它和真实值之差的平方。罚分的平均叫*均方误差*（mean squared error，MSE），越小越好。
#
# **先猜**：该报 1 吗？反正白的多。

# %% [markdown] lang="en"
# ## 0.3 The best guess is a mean
#
# First, what "best" means. A hidden pixel is black (−1) once in four, white (1) three times in four. You name *one* number and are fined the square of its difference from the true value. The mean fine is called the *mean squared error* (MSE); the smaller, the better.
#
# **Predict**: should you say 1, as white is more frequent?

# %%
hidden = np.array([-1.0, 1.0, 1.0, 1.0])
guesses = np.linspace(-1, 1, 201)
errors = ((guesses[:, None] - hidden) ** 2).mean(1)
best = guesses[errors.argmin()]
valley = "a valley: the error is smallest at a guess of 0.5"
show(curve({"": (guesses, errors)}, "guess", "mean squared error"), alt=valley)
print(f"best {best:.2f}, mean {hidden.mean():.2f}")
assert np.isclose(best, hidden.mean())

# %% [markdown] lang="zh"
# 最好的是 {{ f"{best:.2f}" }}，正好是平均数，虽然没有哪个像素是这个灰度。这是整课的第一块石头：**按平方误差，最好的猜测就是平均。**
#
# 现在给你一点线索：像素加了噪声，你看见了 $x_t$。最好的猜测仍然是平均，只是不再是所有像素的平均，而是*所有可能变成这个 $x_t$ 的像素*的平均。这可以老老实实数出来：抛两百万次硬币，都加噪声到 $t=300$，挑出落在 0.4 附近的，看看它们原来是什么。
#
# **先猜**：看见 0.4，你猜原来的像素是多少？

# %% [markdown] lang="en"
# The best is {{ f"{best:.2f}" }}, exactly the mean, although no pixel has that grey. This is the first stone of the lesson: **by squared error, the best guess is a mean.**
#
# Now you get a clue: noise was added and you see $x_t$. The best guess is still a mean, no longer of all pixels but of *all pixels that may have become this $x_t$*. One can simply count: toss two million coins, noise them all to $t=300$, pick those that landed near 0.4, and look what they were.
#
# **Predict**: you see 0.4. What do you think the pixel was?

# %%
t, seen = 300, 0.4
pixels = rng.choice([-1.0, 1.0], 2_000_000)
noisy = add_noise(pixels, t, rng.standard_normal(2_000_000))
alike = pixels[abs(noisy - seen) < 0.01]
counted = alike.mean()
print(f"{len(alike)} alike, {(alike > 0).mean():.0%} of them white, mean {counted:.2f}")

# %% [markdown] lang="zh"
# 其中 {{ f"{(alike > 0).mean():.0%}" }} 是白的，其余是黑的，平均是 {{ f"{counted:.2f}" }}。不是 1（也可能是黑的），也不是 0.4。
#
# 不用数也能算。噪声是钟形的，所以数据里的每一张图 $x^{(i)}$ 变成 $x_t$ 的可能性，由它离得多远决定：
#
# $$\hat x_0 = \frac{\sum_i w_i\,x^{(i)}}{\sum_i w_i}, \qquad w_i = \exp\left(-\frac{\left\|x_t-\sqrt{\bar\alpha_t}\,x^{(i)}\right\|^2}{2\,(1-\bar\alpha_t)}\right)$$
#
# 帽子 $\hat{}$ 表示“猜的”，$\|\cdot\|^2$ 是各个数的平方之和，也就是距离的平方。$w_i$ 就是以 $\sqrt{\bar\alpha_t}\,x^{(i)}$ 为中心的那口钟在 $x_t$ 处的高度：离得近，权重大；离得远，权重几乎是 0。写成 numpy 是十行，一个像素能用，一万个像素也能用。猜出了 $x_0$，噪声也就跟着有了：把加噪声的公式倒过来解。

# %% [markdown] lang="en"
# {{ f"{(alike > 0).mean():.0%}" }} of them are white, the others black; the mean is {{ f"{counted:.2f}" }}. Not 1, because it may have been black, and not 0.4 either.
#
# It need not be counted. Noise is bell-shaped, so how likely each picture $x^{(i)}$ of the data is to have become $x_t$ depends only on how far away it is:
#
# $$\hat x_0 = \frac{\sum_i w_i\,x^{(i)}}{\sum_i w_i}, \qquad w_i = \exp\left(-\frac{\left\|x_t-\sqrt{\bar\alpha_t}\,x^{(i)}\right\|^2}{2\,(1-\bar\alpha_t)}\right)$$
#
# The hat $\hat{}$ means "guessed"; $\|\cdot\|^2$ is the sum of the squares of all numbers, that is, a distance squared. $w_i$ is the height at $x_t$ of the bell around $\sqrt{\bar\alpha_t}\,x^{(i)}$: near by, a large weight; far away, next to none. In numpy it is ten lines, good for one pixel and for ten thousand. Once $x_0$ is guessed, the noise follows: solve the formula of 0.2 for it.


# %%
def best_guess(x_t, t, data):
    """For each x_t (n, d): the mean of data (m, d), weighted by how well it fits."""
    gaps = x_t[:, None] - np.sqrt(abar[t]) * data  # (n, m, d)
    misfit = (gaps**2).sum(-1) / (2 * (1 - abar[t]))  # (n, m)
    weights = np.exp(misfit.min(1, keepdims=True) - misfit)  # the best has weight 1
    weights /= weights.sum(1, keepdims=True)  # each row adds up to 1
    return weights @ data  # (n, d)


def noise_in(x_t, x_0, t):
    return (x_t - np.sqrt(abar[t]) * x_0) / np.sqrt(1 - abar[t])


# %%
coin = np.array([[-1.0], [1.0]])  # the data: two pictures of one pixel
exact = best_guess(np.array([[seen]]), t, coin)[0, 0]
print(f"counted {counted:.2f}, by the formula {exact:.2f}")
assert abs(counted - exact) < 0.02
x = np.linspace(-3, 3, 121)
lines = {f"t = {t}": (x, best_guess(x[:, None], t, coin)[:, 0]) for t in (50, 300, 700)}
steep = "best guess over x_t: a step at t = 50, a soft one at 300, nearly flat at 700"
show(curve(lines, "x_t", "best guess of x_0"), alt=steep)

# %% [markdown] lang="zh"
# 数出来的和算出来的一样。图上三条线是三种噪声下的最好猜测：噪声小（$t=50$），一看就知道是黑是白；噪声大（$t=700$），看见什么都只敢说“灰的，也许偏白一点”。**噪声越大，猜测越接近全体的平均。**

# %% [markdown] lang="en"
# Counting and computing agree. The three lines are the best guess under three amounts of noise: with little ($t=50$) one look tells black from white; with much ($t=700$) all one dares to say is "grey, a little on the white side perhaps". **The more noise, the nearer the guess is to the mean of everything.**

# %% [markdown] lang="zh"
# ## 0.4 往回走
#
# 现在从纯噪声出发。每一步：
#
# 1. 猜噪声 $\hat\varepsilon$，由它得到干净的值：$\hat x_0 = (x_t - \sqrt{1-\bar\alpha_t}\;\hat\varepsilon)\,/\sqrt{\bar\alpha_t}$。
# 2. 别全信。用*同一份* $\hat x_0$ 和 $\hat\varepsilon$，按噪声少一点的时间步 $s<t$ 重新混：
#
# $$x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1-\bar\alpha_s}\;\hat\varepsilon$$
#
# 这一步叫 **DDIM**（denoising diffusion implicit models，Song 等，2020）。决定怎么走这些步的程序叫*调度器*，也叫*采样器*，两个名字是一回事。
#
# **先猜**：既然第一步就能猜出 $\hat x_0$，为什么不一步走到底？从 $t=999$ 直接跳到干净，会得到什么值？

# %% [markdown] lang="en"
# ## 0.4 Walking back
#
# Now begin with pure noise. At each step:
#
# 1. Guess the noise $\hat\varepsilon$; the clean value follows from it: $\hat x_0 = (x_t - \sqrt{1-\bar\alpha_t}\;\hat\varepsilon)\,/\sqrt{\bar\alpha_t}$.
# 2. Do not believe it all. Mix *the same* $\hat x_0$ and $\hat\varepsilon$ again, for a timestep $s<t$ with a little less noise:
#
# $$x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1-\bar\alpha_s}\;\hat\varepsilon$$
#
# This step is called **DDIM** (denoising diffusion implicit models, Song et al., 2020). A program that decides how these steps are taken is called a *scheduler* or a *sampler*: two names for one thing.
#
# **Predict**: the first step already guesses $\hat x_0$, so why not go all the way at once? Which values does one jump from $t=999$ give?


# %%
def clean_of(x_t, noise, t):
    return (x_t - np.sqrt(1 - abar[t]) * noise) / np.sqrt(abar[t])


def walk_back(guess, x_t, times):
    """Every x from x_t at times[0] on; guess(x_t, t) says what noise is in it."""
    path = [x_t]
    for t, s in zip(times, [*times[1:], None]):
        noise = guess(path[-1], t)
        clean = clean_of(path[-1], noise, t)
        path.append(clean if s is None else add_noise(clean, s, noise))
    return path


def exact_guess(data):
    return lambda x_t, t: noise_in(x_t, best_guess(x_t, t, data), t)


# %%
def falling(steps):
    return np.linspace(999, 0, steps).round().astype(int)


starts = rng.standard_normal((1000, 1))
jump = walk_back(exact_guess(coin), starts, [999])[-1]
path = walk_back(exact_guess(coin), starts, falling(50))
print(f"1 step: all between {jump.min():.2f} and {jump.max():.2f}")
ends, counts = np.unique(path[-1].round(2), return_counts=True)
print("50 steps:", dict(zip(ends.tolist(), counts.tolist())))
assert abs(jump).max() < 0.5 and set(ends) == {-1, 1}

# %%
figure, (plot,) = panels(1)
figure.set_size_inches(7, 3)
plot.plot(np.hstack(path)[:40].T, color="#0072b2", lw=0.7)
plot.set(xlabel="step", ylabel="x_t")
forked = "40 lines from all over -3 to 3 bend, and end at -1 or at 1"
show(picture(figure), alt=forked)

# %% [markdown] lang="zh"
# 一步到底，得到的全是灰（在 {{ f"{jump.min():.2f}" }} 和 {{ f"{jump.max():.2f}" }} 之间）：那是黑和白的平均，而数据里根本没有灰。走五十步，每一个都落到黑或白，差不多各一半，和硬币一样。
#
# 所以要走很多步：**第一次猜只能猜个平均；走一小步，线索多一点，平均的范围就小一点，猜得就更准一点。** 起点里那一点点偏黑偏白，一步步被放大成了黑或者白。起点由*种子*（seed，一个整数）决定：同一个种子，同一份噪声，同一个结果。

# %% [markdown] lang="en"
# A single step gives nothing but grey (between {{ f"{jump.min():.2f}" }} and {{ f"{jump.max():.2f}" }}): the mean of black and white, and no pixel of the data is grey. Fifty steps bring each to black or to white, about half and half, as the coin does.
#
# Hence the many steps: **the first guess can only be a mean; after a small step there is a little more to go by, the mean is over fewer candidates, and the next guess is better.** The slight lean of the start to one side grows step by step into black or white. The start is decided by the *seed*, a whole number: the same seed, the same noise, the same result.

# %% [markdown] lang="zh"
# ## 0.5 两个像素
#
# 两个像素的图是两个数，也就是*平面上的一个点*：横坐标是第一个像素，纵坐标是第二个。数据里有三张图：（黑，黑）、（白，白）、（白，黑）。没有（黑，白）。
#
# 代码一行也不用改，只是 `data` 从 (2, 1) 变成了 (3, 2)。
#
# **先猜**：走九百次，会不会走出（黑，白）来？两个像素的噪声可是各加各的。

# %% [markdown] lang="en"
# ## 0.5 Two pixels
#
# A picture of two pixels is two numbers, that is, *a point in the plane*: the first pixel across, the second up. The data hold three pictures: (black, black), (white, white), (white, black). There is no (black, white).
#
# Not a line of the code changes; `data` is (3, 2) now instead of (2, 1).
#
# **Predict**: in nine hundred walks, does (black, white) ever come out? After all, each pixel got noise of its own.

# %%
pairs = np.array([[-1.0, -1.0], [1.0, 1.0], [1.0, -1.0]])
path = walk_back(exact_guess(pairs), rng.standard_normal((900, 2)), falling(50))
ends, counts = np.unique(path[-1].round(1), axis=0, return_counts=True)
print(dict(zip(map(tuple, ends.tolist()), counts.tolist())))
assert {tuple(end) for end in ends} == {tuple(pair) for pair in pairs}
shown = [0, 30, 40, 46, 50]
gathered = "a cloud pulls together into three points: two lower ones, one upper right"
show(clouds([path[i] for i in shown], [f"step {i}" for i in shown]), alt=gathered)

# %% [markdown] lang="zh"
# 一次也没有。平均是对*整张图*取的，不是对每个像素分别取的：第一个像素要是黑的，三张图里只有一张合得上，第二个像素就跟着是黑的。像素之间的“商量”，就是这样来的。
#
# 下面的箭头从每一个 $x_t$ 指向那里的最好猜测 $\hat x_0$（只画四分之一长）。**先猜**：$t=900$ 时，箭头都指向哪里？

# %% [markdown] lang="en"
# Not once. The mean is over *whole pictures*, not over each pixel by itself: if the first pixel is black, only one of the three pictures fits, so the second is black as well. That is how pixels come to agree.
#
# The arrows below point from each $x_t$ towards the best guess $\hat x_0$ there (drawn at a quarter of their length). **Predict**: where do they all point at $t=900$?


# %%
lattice = np.stack(np.meshgrid(*[np.linspace(-2.7, 2.7, 13)] * 2), -1).reshape(-1, 2)
quarter = dict(angles="xy", scale_units="xy", scale=4, width=0.005, color="#0072b2")


def arrows(data, times):
    figure, axes = panels(len(times))
    for plot, t in zip(axes, times):
        way = best_guess(lattice, t, data) - lattice
        plot.scatter(*data.T, s=9, color="#c45500", linewidths=0)
        plot.quiver(*lattice.T, *way.T, **quarter)
        plot.set(title=f"t = {t}", xticks=[], yticks=[], aspect="equal")
    return picture(figure)


towards = "arrows: at t = 900 all to one place; at 100 each to one of three points"
show(arrows(pairs, [900, 400, 100]), alt=towards)

# %% [markdown] lang="zh"
# $t=900$ 时都指向同一个地方：三个点的平均。$t=100$ 时，各自指向附近的那一个。中间是慢慢分开的。

# %% [markdown] lang="en"
# At $t=900$ they all point to one place, the mean of the three. At $t=100$ each points to the one near by. In between, they part slowly.

# %% [markdown] lang="zh"
# ## 0.6 平面上的一只猫
#
# 三个点看不出形状。从图画世界（这门课训练 mini 用的那些图）里拿来一只猫的剪影，在里面随手撒两百个点，彼此不太近。现在一“张图”仍是平面上的一个点，而数据合起来是一只猫。

# %% [markdown] lang="en"
# ## 0.6 A cat in the plane
#
# Three points have no shape. Take the silhouette of a cat from the picture world (the pictures on which this course trained mini) and scatter two hundred points in it, none too near another. One "picture" is still one point in the plane; the data together are a cat.

# %%
from paidiff_world.scenes import sprite

inside = np.asarray(sprite("猫"))[..., 3] > 128  # 128 x 128, True on the cat
rows, columns = inside.nonzero()
middle, scale = np.array([columns.mean(), -rows.mean()]), 28  # pixels


def points(count, rng):
    i = rng.integers(len(rows), size=count)
    places = np.stack([columns[i], -rows[i]], 1) + rng.uniform(-0.5, 0.5, (count, 2))
    return (places - middle) / scale


def distances(some, others):  # from each of some to the nearest of others
    return np.linalg.norm(some[:, None] - others, axis=-1).min(1)


# %%
cat = points(1, rng)
for point in points(20_000, rng):
    if len(cat) < 200 and distances(point[None], cat) > 0.14:
        cat = np.vstack([cat, point])
noise = rng.standard_normal(cat.shape)
strip = [add_noise(cat, t, noise) for t in times]
dissolved = "5 clouds: points shaped like a cat dissolve into a round cloud"
show(clouds(strip, [f"t = {t}" for t in times]), alt=dissolved)
assert len(cat) == 200 and abs(strip[-1].std() - 1) < 0.1

# %% [markdown] lang="zh"
# 往前：猫散成一团圆云。往回：六百个新起点，二百步。
#
# **先猜**：猫的样子从第几步起看得出来，一百步以前还是以后？

# %% [markdown] lang="en"
# Forwards: the cat dissolves into a round cloud. Backwards: six hundred new starts, two hundred steps.
#
# **Predict**: when does the cat begin to show, before step one hundred or after?

# %%
starts = rng.standard_normal((600, 2))
path = walk_back(exact_guess(cat), starts, falling(200))
shown = [0, 140, 170, 185, 200]
returned = "a round cloud takes the shape of the cat, most of it in the last 30 steps"
show(clouds([path[i] for i in shown], [f"step {i}" for i in shown]), alt=returned)
copies = path[-1]
fine = "arrows: at t = 900 all to the middle of the cat; at 50 to its nearest parts"
show(arrows(cat, [900, 300, 50]), alt=fine)

# %% [markdown] lang="zh"
# 到第 {{ shown[1] }} 步还是一团云，猫到最后几十步才现出来。箭头说明了为什么：噪声大时，猜测是整只猫的中心，只能定个大概；噪声小了，才分得出耳朵和尾巴。**先粗后细**，0.1 里的猫也是这样。

# %% [markdown] lang="en"
# At step {{ shown[1] }} it is still a cloud; the cat shows only in the last few dozen steps. The arrows say why: under much noise the guess is the middle of the whole cat, which settles no more than the rough place; only with little noise can ears be told from the tail. **Coarse first, fine last**, as with the cat in 0.1.

# %% [markdown] lang="zh"
# ## 0.7 真的图：16×16
#
# 一张 16×16 的彩色图是 768 个数：768 维空间里的一个点。画不出这个空间来，但代码照旧。数据是图画世界的全部主体，一个主体一张，下面是前十四张。

# %% [markdown] lang="en"
# ## 0.7 Real pictures: 16×16
#
# A colour picture of 16×16 is 768 numbers: a point in a space of 768 dimensions. That space cannot be drawn, but the code is the same. The data are all subjects of the picture world, one picture of each; these are the first fourteen.

# %%
from PIL import Image
from paidiff_world.words import SUBJECTS


def small(name):
    card = Image.new("RGBA", (128, 128), "white")
    card.alpha_composite(sprite(name))
    return np.asarray(card.convert("RGB").resize((16, 16), Image.BOX)) / 127.5 - 1


def enlarged(x):
    pixels = (x.reshape(16, 16, 3).clip(-1, 1) + 1) * 127.5
    return Image.fromarray(pixels.astype(np.uint8)).resize((96, 96), Image.NEAREST)


sprites = np.stack([small(name).ravel() for name in SUBJECTS])  # (112, 768)
zoo = "14 small pictures: cat, dog, rabbit, horse, penguin, panda, tiger and so on"
show([enlarged(x) for x in sprites[:14]], columns=7, alt=zoo)

# %% [markdown] lang="zh"
# 给猫加上越来越多的噪声（上排），再看看那时最好的猜测（下排），从全部 {{ len(sprites) }} 张图里平均出来。
#
# **先猜**：$t=500$ 那张，你自己还认得出猫吗？公式认得出吗？$t=999$ 时下面是什么？

# %% [markdown] lang="en"
# Add more and more noise to the cat (upper row) and look at the best guess at that moment (lower row), a mean over all {{ len(sprites) }} pictures.
#
# **Predict**: can you still see the cat at $t=500$? Can the formula? What is below $t=999$?

# %%
noise, times = rng.standard_normal((1, 768)), [0, 250, 500, 700, 850, 950, 999]
noisy = [add_noise(sprites[:1], t, noise) for t in times]
guessed = [best_guess(x_t, t, sprites) for x_t, t in zip(noisy, times)]
labels = [f"t = {t}" for t in times]
drowning = "above, a cat drowning in noise; below, its best guess, at last a blur"
both = [enlarged(x) for x in noisy + guessed]
show(both, labels + ["-"] * 7, columns=7, alt=drowning)
assert np.allclose(guessed[2], sprites[0], atol=0.01)
off = np.sqrt(((guessed[-1] - sprites.mean(0)) ** 2).mean())
apart = np.sqrt(((sprites - sprites.mean(0)) ** 2).mean())
print(f"t = 999: {off:.2f} from the mean of all; a sprite is {apart:.2f} from it")
assert off < apart / 2

# %% [markdown] lang="zh"
# 人眼早就看不见了，公式在 $t=500$ 还一点不差：768 个像素各给一点点线索，加起来就很多。再往后它拿不准，几张图混在一起，也会猜错；到 $t=999$，就是全部图的平均，一团模糊。
#
# **记住这团模糊**：不确定的时候，按平方误差最好的猜测总是模糊的。这不是毛病，这就是平均。
#
# **先猜**：从十四份纯噪声往回走，会得到什么图？

# %% [markdown] lang="en"
# The eye lost it long ago; the formula is still exact at $t=500$: each of 768 pixels gives a grain of evidence, and together that is much. Later it is unsure, mixes several pictures, and may be wrong; at $t=999$ it is the mean of all pictures, a blur.
#
# **Remember that blur**: whoever is unsure makes a blurred guess, if the squared error is to be least. It is not a defect; it is a mean.
#
# **Predict**: fourteen starts of pure noise, walked back: which pictures come out?

# %%
starts = rng.standard_normal((14, 768))
drawn = walk_back(exact_guess(sprites), starts, falling(50))[-1]
sharp = "14 sharp small pictures, each of them one of the data"
show([enlarged(x) for x in drawn], columns=7, alt=sharp)
print(f"farthest from its nearest sprite: {distances(drawn, sprites).max():.4f}")
assert distances(drawn, sprites).max() < 0.01

# %% [markdown] lang="zh"
# 张张清楚，没有训练任何东西。可是每一张都是数据里*已有的*，分毫不差（最远的一张，距离 {{ f"{distances(drawn, sprites).max():.4f}" }}）。这件事先放在心里，0.12 再说。

# %% [markdown] lang="en"
# Each is sharp, and nothing was trained. But each is one of the data *as it was*, to the last digit (the farthest is {{ f"{distances(drawn, sprites).max():.4f}" }} away). Keep that in mind until 0.12.

# %% [markdown] lang="zh"
# ## 0.8 ε、x_0、v：同一件事的三个名字
#
# 知道了 $x_t$ 和 $t$，猜出 $\varepsilon$ 就等于猜出 $x_0$，反过来也一样。还有第三种问法，叫 $v$（velocity，速度）：$v = \sqrt{\bar\alpha_t}\,\varepsilon - \sqrt{1-\bar\alpha_t}\;x_0$。看图：$t$ 变大时，$x_t$ 从 $x_0$ 那边转向 $\varepsilon$ 那边；$v$ 就是它此刻朝哪里转。三个里知道一个，就知道另外两个。
#
# ![](diagram:triangle)
#
# 那为什么还要挑？看 0.4 的 $\hat x_0 = (x_t - \sqrt{1-\bar\alpha_t}\;\hat\varepsilon)\,/\sqrt{\bar\alpha_t}$：噪声大时分母很小。**先猜**：$t=999$ 时，$\hat\varepsilon$ 错一点，$\hat x_0$ 要错多少倍？

# %% [markdown] lang="en"
# ## 0.8 ε, x_0, v: three names for one thing
#
# Given $x_t$ and $t$, whoever has guessed $\varepsilon$ has guessed $x_0$, and the other way round. There is a third way to ask, called $v$ (velocity): $v = \sqrt{\bar\alpha_t}\,\varepsilon - \sqrt{1-\bar\alpha_t}\;x_0$. In the picture: as $t$ grows, $x_t$ turns from $x_0$ towards $\varepsilon$; $v$ is where it is turning to at that moment. Know one of the three and you know the other two.
#
# ![](diagram:triangle)
#
# Why choose at all, then? Look at $\hat x_0 = (x_t - \sqrt{1-\bar\alpha_t}\;\hat\varepsilon)\,/\sqrt{\bar\alpha_t}$ of 0.4: under much noise the denominator is tiny. **Predict**: at $t=999$, by what factor is a small error of $\hat\varepsilon$ larger in $\hat x_0$?

# %%
from diffusers import DDPMScheduler

t, x_0, noise = 500, sprites[3], rng.standard_normal(768)
x_t = add_noise(x_0, t, noise)
v = np.sqrt(abar[t]) * noise - np.sqrt(1 - abar[t]) * x_0
assert np.allclose(x_0, np.sqrt(abar[t]) * x_t - np.sqrt(1 - abar[t]) * v)
assert np.allclose(noise, np.sqrt(1 - abar[t]) * x_t + np.sqrt(abar[t]) * v)
theirs = DDPMScheduler.from_config(pipe.scheduler.config)  # diffusers' own formulas
same_v = theirs.get_velocity(torch.tensor(x_0), torch.tensor(noise), torch.tensor([t]))
assert np.allclose(same_v, v, atol=1e-5)
blown_up = np.sqrt(1 - abar[999]) / np.sqrt(abar[999])
print(pipe.scheduler.config.prediction_type, f"{blown_up:.0f}")

# %% [markdown] lang="zh"
# {{ f"{blown_up:.0f}" }} 倍。而由 $v$ 换算，$\hat x_0 = \sqrt{\bar\alpha_t}\,x_t - \sqrt{1-\bar\alpha_t}\;\hat v$，误差永远不会放大。所以 mini 和许多今天的模型猜的是 $v$：配置里写着 `v_prediction`。

# %% [markdown] lang="en"
# By {{ f"{blown_up:.0f}" }}. From $v$, with $\hat x_0 = \sqrt{\bar\alpha_t}\,x_t - \sqrt{1-\bar\alpha_t}\;\hat v$, an error is never magnified. That is why mini, like many models of today, guesses $v$: its configuration says `v_prediction`.

# %% [markdown] lang="zh"
# ## 0.9 噪声调度：三条曲线
#
# $\bar\alpha_t$ 从哪里来？把加噪声想成一千小步，第 $s$ 步混进一点点噪声 $\beta_s$，剩下的就是 $\bar\alpha_t=\prod_{s\le t}(1-\beta_s)$（$\prod$ 是连乘）。怎么选 $\beta$，是人定的。下面是三种：最早的 linear（Ho 等，2020），cosine（Nichol 和 Dhariwal，2021），还有 mini 的。
#
# **先猜**：哪一种把原图留得最久？

# %% [markdown] lang="en"
# ## 0.9 Noise schedules: three curves
#
# Where does $\bar\alpha_t$ come from? Think of a thousand small steps; step $s$ mixes in a little noise $\beta_s$, and what is left is $\bar\alpha_t=\prod_{s\le t}(1-\beta_s)$ ($\prod$ multiplies them all). How to choose $\beta$ is up to us. Here are three: the first one, linear (Ho et al., 2020), cosine (Nichol and Dhariwal, 2021), and that of mini.
#
# **Predict**: which keeps the picture longest?

# %%
schedules = {
    "linear": DDPMScheduler(beta_schedule="linear"),
    "cosine": DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    "mini": pipe.scheduler,
}
lines, half = {}, {}
for name, scheduler in schedules.items():
    signal = scheduler.alphas_cumprod.numpy()
    lines[name], half[name] = (np.arange(1000), signal), int((signal > 0.5).sum())
    print(f"{name:7} half at t = {half[name]}, last {signal[-1]:.1e}")
fall = "three curves from 1 to 0: cosine falls last, linear first, mini between them"
show(curve(lines, "t", r"$\bar{\alpha}_t$"), alt=fall)
assert np.allclose(np.cumprod(1 - pipe.scheduler.betas.numpy()), abar, atol=1e-4)
assert half["linear"] < half["mini"] < half["cosine"]

# %% [markdown] lang="zh"
# cosine 留得最久：到 $t=$ {{ half["cosine"] }} 才丢掉一半；mini 是 {{ half["mini"] }}，linear 是 {{ half["linear"] }}。三条的终点都几乎是 0：起点必须真的是纯噪声，不然往回走时就从没见过的地方出发了。

# %% [markdown] lang="en"
# Cosine keeps it longest: half is lost only at $t=$ {{ half["cosine"] }}; mini has lost it at {{ half["mini"] }}, linear at {{ half["linear"] }}. All three end at nearly 0, as they must: otherwise the walk back, which starts from pure noise, would start at a place that never occurs.

# %% [markdown] lang="zh"
# ## 0.10 两种走法：DDIM 和 DDPM
#
# DDIM 每一步都用同一份猜出来的噪声，没有任何随机：起点定了，终点就定了。**DDPM**（denoising diffusion probabilistic models，Ho 等，2020）每一步扔掉一部分猜出来的噪声，换上一份*新的*：
#
# $$x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1-\bar\alpha_s-\sigma^2}\;\hat\varepsilon + \sigma z, \qquad \sigma^2 = \frac{1-\bar\alpha_s}{1-\bar\alpha_t}\left(1-\frac{\bar\alpha_t}{\bar\alpha_s}\right)$$
#
# $z$ 是新抽的噪声；噪声的总量不变，还是 $1-\bar\alpha_s$。$\sigma=0$ 就是 DDIM。
#
# **先猜**：从*同一个*起点出发三百次，DDIM 会到几个地方？DDPM 呢？

# %% [markdown] lang="en"
# ## 0.10 Two ways to walk: DDIM and DDPM
#
# DDIM uses the same guessed noise again at each step; nothing is random, so the start decides the end. **DDPM** (denoising diffusion probabilistic models, Ho et al., 2020) throws part of the guessed noise away at each step and puts *fresh* noise in its place:
#
# $$x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1-\bar\alpha_s-\sigma^2}\;\hat\varepsilon + \sigma z, \qquad \sigma^2 = \frac{1-\bar\alpha_s}{1-\bar\alpha_t}\left(1-\frac{\bar\alpha_t}{\bar\alpha_s}\right)$$
#
# $z$ is the fresh noise; the amount in all is still $1-\bar\alpha_s$. With $\sigma=0$ it is DDIM.
#
# **Predict**: three hundred walks from *one and the same* start: at how many places does DDIM arrive? And DDPM?


# %%
def wander_back(guess, x_t, times, rng):
    """DDPM: as walk_back, with fresh noise at every step. Returns the end."""
    for t, s in zip(times, times[1:]):
        noise = guess(x_t, t)
        fresh = (1 - abar[s]) / (1 - abar[t]) * (1 - abar[t] / abar[s])  # its variance
        kept = np.sqrt(1 - abar[s] - fresh)
        x_t = np.sqrt(abar[s]) * clean_of(x_t, noise, t) + kept * noise
        x_t = x_t + np.sqrt(fresh) * rng.standard_normal(x_t.shape)
    return clean_of(x_t, guess(x_t, times[-1]), times[-1])


one_start = np.repeat(rng.standard_normal((1, 2)), 300, 0)
ddim = walk_back(exact_guess(cat), one_start, falling(50))[-1]
ddpm = wander_back(exact_guess(cat), one_start, falling(50), rng)
both = "the grey cat twice: DDIM has one blue point in it, DDPM has them all over it"
show(clouds([ddim, ddpm], ["DDIM", "DDPM"], behind=cat), alt=both)
assert np.ptp(ddim, 0).max() < 1e-6 and ddpm.std(0).min() > 0.5

# %% [markdown] lang="zh"
# DDIM 只到一个地方；DDPM 走遍整只猫，起点几乎不起作用了。步数少的时候呢？量一量*漏了多少*：猫的每个点到最近的终点有多远，取平均（六百个终点）。

# %% [markdown] lang="en"
# DDIM arrives at one place; DDPM goes all over the cat, and the start hardly matters. What about few steps? Measure *how much is missed*: how far the points of the cat are from the nearest end, on average (six hundred ends).

# %%
starts, missed = rng.standard_normal((600, 2)), {}
for steps in (5, 10, 50):
    straight = walk_back(exact_guess(cat), starts, falling(steps))[-1]
    random = wander_back(exact_guess(cat), starts, falling(steps), rng)
    missed[steps] = [distances(cat, ends).mean() for ends in (straight, random)]
    print(f"{steps:2} steps", *map("{} {:.3f}".format, ("DDIM", "DDPM"), missed[steps]))
assert missed[5][0] < missed[5][1] and missed[10][0] < missed[10][1]

# %% [markdown] lang="zh"
# 五步时 DDIM 漏得少（{{ f"{missed[5][0]:.3f}" }} 对 {{ f"{missed[5][1]:.3f}" }}），五十步时差别就小了：每步加新噪声，要多走几步才补得回来。所以 mini 默认的二十步用的是不随机的调度器（DPM-Solver++，DDIM 的近亲，每步多用上一步的猜测）。

# %% [markdown] lang="en"
# At five steps DDIM misses less ({{ f"{missed[5][0]:.3f}" }} against {{ f"{missed[5][1]:.3f}" }}); at fifty there is little between them: fresh noise takes more steps to be worked off. So for its twenty steps mini has a scheduler without randomness (DPM-Solver++, a near relation of DDIM that also uses the guess of the step before).

# %% [markdown] lang="zh"
# ## 0.11 分数和 Tweedie 公式（可以先跳过）
#
# 论文里常见两个词，说的还是同一件事。把所有可能的 $x_t$ 画成一座山，越常见的地方越高，高度记作 $p_t(x_t)$。**分数**（score）是从这里往哪个方向山变高，对高度取对数再求导：
#
# $$\nabla\log p_t(x_t) = -\frac{\hat\varepsilon}{\sqrt{1-\bar\alpha_t}}$$
#
# $\nabla$ 就是“每个方向上的坡度”。往山上走，就是减去噪声。**Tweedie 公式**再说一遍：知道了坡度，就知道最好的猜测，
#
# $$\hat x_0 = \frac{x_t + (1-\bar\alpha_t)\,\nabla\log p_t(x_t)}{\sqrt{\bar\alpha_t}}$$
#
# 不必相信，可以量：往左右上下各挪万分之一，看 $\log p_t$ 变了多少，这就是坡度。

# %% [markdown] lang="en"
# ## 0.11 The score and Tweedie's formula (may be skipped)
#
# Two words that papers use, for the same thing once more. Draw all possible $x_t$ as a mountain, higher where they are more frequent; call the height $p_t(x_t)$. The **score** says in which direction it rises from here: the slope of the logarithm of the height,
#
# $$\nabla\log p_t(x_t) = -\frac{\hat\varepsilon}{\sqrt{1-\bar\alpha_t}}$$
#
# $\nabla$ means "the slope in each direction". To climb is to take noise away. **Tweedie's formula** says it again: whoever knows the slope knows the best guess,
#
# $$\hat x_0 = \frac{x_t + (1-\bar\alpha_t)\,\nabla\log p_t(x_t)}{\sqrt{\bar\alpha_t}}$$
#
# No need to believe it; measure. Move a ten-thousandth to the left, right, up and down and see how $\log p_t$ changes: that is the slope.


# %%
def log_p(x_t, t, data):
    """log of the height, up to a constant: one bell around each point of the data."""
    gaps = x_t[:, None] - np.sqrt(abar[t]) * data
    return np.log(np.exp(-(gaps**2).sum(-1) / (2 * (1 - abar[t]))).mean(1))


t, tiny = 300, 1e-4
x_t = add_noise(cat[:5], t, rng.standard_normal((5, 2)))
sides = tiny * np.eye(2)  # a little to the right, a little up
slopes = [log_p(x_t + side, t, cat) - log_p(x_t - side, t, cat) for side in sides]
score = np.stack(slopes, 1) / (2 * tiny)
tweedie = (x_t + (1 - abar[t]) * score) / np.sqrt(abar[t])
assert np.allclose(score, -exact_guess(cat)(x_t, t) / np.sqrt(1 - abar[t]), atol=1e-4)
assert np.allclose(tweedie, best_guess(x_t, t, cat), atol=1e-4)
print(f"off by {abs(tweedie - best_guess(x_t, t, cat)).max():.0e}")

# %% [markdown] lang="zh"
# ## 0.12 精确的猜测只会抄
#
# 回到猫。0.6 里走回来的六百个点，是新的吗？量每个点到*最近的训练点*的距离，再取中位数（排在正中间的那个）。旁边放一把尺子：从同一个剪影里新撒的六百个真点，它们才是“新”该有的样子。
#
# **先猜**：走回来的点，距离是多少？

# %% [markdown] lang="en"
# ## 0.12 The exact guess can only copy
#
# Back to the cat. The six hundred points that came back in 0.6: are they new? Measure the distance of each to the *nearest training point* and take the median (the one in the middle of the list). Beside it a ruler: six hundred true points freshly scattered in the same silhouette, which is what "new" should look like.
#
# **Predict**: how far are those that came back?

# %%
true = points(600, rng)
for name, cloud in {"exact": copies, "fresh": true}.items():
    away = distances(cloud, cat)
    print(f"{name:7} {np.median(away):.4f}   within 0.01: {(away < 0.01).mean():.0%}")
copied = (distances(copies, cat) < 0.01).mean()
assert np.median(distances(copies, cat)) < 0.001 and copied > 0.75

# %% [markdown] lang="zh"
# 中位数是 {{ f"{np.median(distances(copies, cat)):.4f}" }}，而真的新点是 {{ f"{np.median(distances(true, cat)):.4f}" }}。精确的猜测就是训练点的平均，噪声很小时权重全落在一个点上，于是只能走到那个点：它把数据*抄*了一遍。（有 {{ f"{1 - copied:.0%}" }} 停在两个挨得近的点之间：mini 的调度最后还剩 {{ f"{np.sqrt(1 - abar[0]):.3f}" }} 的噪声，比有些点之间的空隙小不了多少；0.17 末尾的第 3 题换一张表再量。）
#
# 一个只会抄的画家没有用处。我们要的是像数据、又不在数据里的东西。

# %% [markdown] lang="en"
# The median is {{ f"{np.median(distances(copies, cat)):.4f}" }}; for truly new points it is {{ f"{np.median(distances(true, cat)):.4f}" }}. The exact guess is a mean of training points; under very little noise all the weight lies on one of them, and there the walk ends: it has *copied* the data. ({{ f"{1 - copied:.0%}" }} stopped between two close points: the last noise of mini's schedule, {{ f"{np.sqrt(1 - abar[0]):.3f}" }}, is not so much smaller than some of the gaps; question 3 at the end of 0.17 measures it with another table.)
#
# A painter who can only copy is of no use. We want what is like the data and not among them.

# %% [markdown] lang="zh"
# ## 0.13 让网络来学
#
# 换一个办法：不用公式，用一个*神经网络*去猜噪声。网络就是一个函数，里面有许多可以调的数（*权重*）：乘一乘、加一加、弯一弯（这里用的弯法叫 SiLU），重复几遍。输入 $x_t$ 和 $t$，输出两个数：猜的噪声。
#
# 直接喂坐标，网络先学会平缓的东西，细节学得很慢；所以先把坐标变成粗细不同的波（sin 和 cos），$t$ 也一样。

# %% [markdown] lang="en"
# ## 0.13 Let a network learn it
#
# Another way: no formula, but a *neural network* that guesses the noise. A network is a function with many numbers that can be adjusted (its *weights*): multiply, add, bend (the bend here is called SiLU), a few times over. In go $x_t$ and $t$, out come two numbers: the guessed noise.
#
# Fed with bare coordinates, a network learns smooth things first and details very slowly; so the coordinates are first turned into waves, coarse and fine (sin and cos), and $t$ likewise.

# %%
torch.manual_seed(0)
waves = 2 * torch.randn(2, 12)


def features(x_t, t):
    clock = torch.cos(t[:, None] / 1000 * torch.pi * torch.arange(1, 9))  # (n, 8)
    turned = x_t @ waves  # (n, 12)
    return torch.cat([x_t, torch.sin(turned), torch.cos(turned), clock], 1)  # (n, 34)


def new_network():
    widths, layers = [34, 128, 128, 128], []
    for before, after in zip(widths, widths[1:]):
        layers += [torch.nn.Linear(before, after), torch.nn.SiLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(128, 2))


# %% [markdown] lang="zh"
# 训练就是反复做四件事：
#
# 1. 取一*批*（batch）点：不是全部，是随手拿的一小把，快得多，方向大致也对。给每个点抽一个 $t$ 和一份噪声，混成 $x_t$。
# 2. 算*损失*（loss）：猜的噪声和真的噪声之间的均方误差，$\left\|\varepsilon_\theta(x_t, t)-\varepsilon\right\|^2$ 的平均。$\varepsilon_\theta$ 是网络的猜测，$\theta$ 代表全部权重。
# 3. `backward()` 算出每个权重往哪边调，损失会变小，这叫*梯度*。
# 4. *优化器*（optimizer，这里是 AdamW）照着调一小步。步子多大由*学习率*（learning rate）定：太大会乱跳，太小走不动。
#
# 注意第 2 步：0.3 说过，按平方误差，最好的猜测是平均。所以我们没有把公式告诉网络，但要让损失最小，它只能去学*同一个平均*。

# %% [markdown] lang="en"
# Training repeats four things:
#
# 1. Take a *batch* of points: not all, a random handful, which is much faster and roughly right in direction. Draw a $t$ and some noise for each, and mix them to $x_t$.
# 2. Compute the *loss*: the mean squared error between guessed and true noise, the mean of $\left\|\varepsilon_\theta(x_t, t)-\varepsilon\right\|^2$. $\varepsilon_\theta$ is the network's guess, $\theta$ stands for all its weights.
# 3. `backward()` finds for each weight which way to turn it so that the loss falls: the *gradient*.
# 4. The *optimizer* (AdamW here) turns them all a little that way. How far is set by the *learning rate*: too large and it jumps about, too small and it gets nowhere.
#
# Mind point 2: by squared error the best guess is a mean (0.3). We do not tell the network the formula, but to make the loss small it must learn *the same mean*.

# %%
data = torch.tensor(cat, dtype=torch.float32)
kept = torch.tensor(abar, dtype=torch.float32)


def batch(size):
    x_0, noise = data[torch.randint(len(data), (size,))], torch.randn(size, 2)
    t = torch.randint(1000, (size,))
    a = kept[t][:, None]
    return a.sqrt() * x_0 + (1 - a).sqrt() * noise, t, noise


def update(network, optimizer, x_t, t, noise):
    loss = (network(features(x_t, t)) - noise).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


# %% [markdown] lang="zh"
# 先做一个老手都做的检查：**让网络背下一批**。反复用同一批 64 个点训练，损失应当降到几乎是 0。降不下去，就是程序写错了，不必再往下跑。
#
# **先猜**：一个什么都还没学的网络，损失大约是多少？（提示：它的输出几乎是 0，噪声的方差是 1。）

# %% [markdown] lang="en"
# First a check that old hands always make: **let it learn one batch by heart**. Train on the same 64 points over and over; the loss should fall to nearly 0. If it does not, the program is wrong and there is no point in going on.
#
# **Predict**: what is the loss of a network that has learnt nothing yet? (Hint: it puts out almost 0, and the noise has variance 1.)

# %% tags=["nbval-ignore-output"]
pupil, one_batch = new_network(), batch(64)
optimizer = torch.optim.AdamW(pupil.parameters(), lr=2e-3)
losses = [update(pupil, optimizer, *one_batch) for _ in range(600)]
print(f"{losses[0]:.3f} -> {losses[-1]:.5f}")
assert losses[0] > 0.5 and losses[-1] < 0.01

# %% [markdown] lang="zh"
# 背得下来。现在正式训练：每次一批新的，四千次，学习率慢慢降到 0。旁边记一份权重的*指数滑动平均*（EMA）：最近几百次权重的平均值，抖动抵消了，往往比最后一次的更好；画图用它。
#
# **先猜**：这回损失会降到 0 吗？

# %% [markdown] lang="en"
# It can. Now in earnest: a new batch each time, four thousand times, with the learning rate falling slowly to 0. Beside it we keep an *exponential moving average* (EMA) of the weights, a mean over the last few hundred updates: the jitter cancels out, and it is often better than the last weights alone. It is what we draw with.
#
# **Predict**: will the loss fall to 0 this time?

# %% tags=["nbval-ignore-output"]
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

network, updates = new_network(), 4000
average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.995))
optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, updates)
losses = []
for _ in range(updates):
    losses.append(update(network, optimizer, *batch(256)))
    schedule.step()
    average.update_parameters(network)
dropped = "the loss drops within some hundred updates, then hardly at all"
show(curve({"": losses}, "updates", "loss", window=100), alt=dropped)
print(f"{sum(w.numel() for w in network.parameters())} weights")

# %% [markdown] lang="zh"
# 它停在 {{ f"{np.mean(losses[-500:]):.2f}" }} 左右，不是 0，也不该是 0：$x_t$ 里的噪声谁也不能全猜出来（那口钟里黑白混在一起，记得吗）。**扩散模型的损失降得很快，然后几乎不动；好坏要看它画出什么。**

# %% [markdown] lang="en"
# It stays at about {{ f"{np.mean(losses[-500:]):.2f}" }}, not 0, and 0 is impossible: nobody can tell all the noise in an $x_t$ (remember how black and white were mixed in one bell). **The loss of a diffusion model falls fast and then hardly moves; what it draws tells good from bad.**

# %% [markdown] lang="zh"
# ## 0.14 网络画出新的
#
# 往回走的程序不变，只把 `exact_guess(cat)` 换成网络。
#
# **先猜**：网络的点离最近的训练点，是像抄来的一样近，还是像真的新点一样远？有几成落在猫的剪影里？

# %% [markdown] lang="en"
# ## 0.14 The network draws new ones
#
# The program that walks back stays as it is; only `exact_guess(cat)` gives way to the network.
#
# **Predict**: are the network's points as near to the training points as copies, or as far as truly new ones? How many of them lie inside the cat?


# %% tags=["nbval-ignore-output"]
@torch.no_grad()
def learnt_guess(x_t, t):
    x_t, t = torch.tensor(x_t, dtype=torch.float32), torch.full((len(x_t),), int(t))
    return average(features(x_t, t)).numpy().astype(float)


learnt = walk_back(learnt_guess, rng.standard_normal((600, 2)), falling(200))[-1]
four = {"data": cat, "exact": copies, "learnt": learnt, "fresh": true}
cats = "4 cats of points: the data, the same points, then two denser: learnt, true"
show(clouds(list(four.values()), list(four)), alt=cats)
for name, cloud in list(four.items())[1:]:
    away = distances(cloud, cat)
    print(f"{name:7} {np.median(away):.4f}   within 0.01: {(away < 0.01).mean():.0%}")

# %% tags=["nbval-ignore-output"]
column, row = (learnt * scale + middle).round().astype(int).T
hit = inside[(-row).clip(0, 127), column.clip(0, 127)].mean()
print(f"inside the cat: {hit:.0%}")
median = {name: np.median(distances(cloud, cat)) for name, cloud in four.items()}
assert abs(median["learnt"] - median["fresh"]) < 0.2 * median["fresh"]
assert (distances(learnt, cat) < 0.01).mean() < 0.05 and hit > 0.8

# %% [markdown] lang="zh"
# 精确 {{ f"{median['exact']:.4f}" }}，网络 {{ f"{median['learnt']:.4f}" }}，真的新点 {{ f"{median['fresh']:.4f}" }}。网络的点和真的新点一样新，有 {{ f"{hit:.0%}" }} 落在猫里。它没有抄：它学会了*猫的形状*。
#
# 可是网络学的不是同一个平均吗？那损失谁更小？分两边量：两百个训练点，和两百个新撒的点。
#
# **先猜**：噪声很小（$t=0$）时，精确的公式在训练点上赢多少？在新点上呢？

# %% [markdown] lang="en"
# Exact {{ f"{median['exact']:.4f}" }}, learnt {{ f"{median['learnt']:.4f}" }}, truly new {{ f"{median['fresh']:.4f}" }}. The network's points are as new as truly new ones, and {{ f"{hit:.0%}" }} of them lie inside the cat. It did not copy: it learnt *the shape of the cat*.
#
# But was it not to learn the same mean? Then whose loss is smaller? Measure it on two sides: the two hundred training points, and two hundred fresh ones.
#
# **Predict**: with very little noise ($t=0$), by how much does the exact formula win on the training points? And on fresh ones?

# %% tags=["nbval-ignore-output"]
guessers = {"exact": exact_guess(cat), "learnt": learnt_guess}
sides, loss = {"training": cat, "fresh": points(200, rng)}, {}
for t in (0, 25, 500):
    for side, cloud in sides.items():
        many = np.repeat(cloud, 20, 0)  # each with twenty noises
        noise = rng.standard_normal(many.shape)
        x_t = add_noise(many, t, noise)
        for name, guess in guessers.items():
            loss[t, side, name] = ((guess(x_t, t) - noise) ** 2).mean()
        row = "   ".join(f"{name} {loss[t, side, name]:.2f}" for name in guessers)
        print(f"t = {t:3}   {side:9} {row}")
assert loss[0, "training", "exact"] < loss[0, "training", "learnt"] / 4
assert loss[0, "fresh", "exact"] > loss[0, "fresh", "learnt"] * 2

# %% [markdown] lang="zh"
# $t=0$ 时，在训练点上公式几乎全对（{{ f"{loss[0, 'training', 'exact']:.2f}" }}），因为它知道答案就是那两百个点之一。换成新点，它错得离谱（{{ f"{loss[0, 'fresh', 'exact']:.2f}" }}，比什么都不猜的 1 还差）：它非要说那是某个训练点不可。网络两边一样（{{ f"{loss[0, 'training', 'learnt']:.2f}" }} 和 {{ f"{loss[0, 'fresh', 'learnt']:.2f}" }}）。噪声大（$t=500$）时，两者没有分别：那时只看大概的形状，而形状网络学得和公式一样好。
#
# 在训练数据上赢、在新数据上输，叫*过拟合*（overfitting）；两边一样，叫*泛化*（generalisation）。网络为什么泛化？要记住两百个点，得在每个点周围立一圈很陡的墙；它是个平滑的函数，训练的次数又有限，立不起这么多墙，只好在点与点之间抹平。在猫身上这恰好是对的：两个点之间多半还是猫。不总是对：剩下 {{ f"{1 - hit:.0%}" }} 的点抹到了猫外面。
#
# **精确的答案只会抄，网络为什么会举一反三？图与图“之间”该是什么？** 这是整门课的问题。对图画来说，答案在网络怎么搭（卷积、注意力、文字怎样进去），在给它看多少、看什么样的数据。后面每一课都在回答它的一部分。

# %% [markdown] lang="en"
# At $t=0$ the formula is almost perfect on the training points ({{ f"{loss[0, 'training', 'exact']:.2f}" }}), as it knows that the answer is one of those two hundred. On fresh points it is wildly wrong ({{ f"{loss[0, 'fresh', 'exact']:.2f}" }}, worse than the 1 of guessing nothing): it insists that each is one of the training points. The network is the same on both sides ({{ f"{loss[0, 'training', 'learnt']:.2f}" }} and {{ f"{loss[0, 'fresh', 'learnt']:.2f}" }}). Under much noise ($t=500$) they do not differ: only the rough shape matters then, and that the network knows as well as the formula.
#
# To win on the training data and lose on new data is called *overfitting*; to do alike on both is *generalisation*. Why does the network generalise? To remember two hundred points it would have to build a steep wall around each; it is a smooth function, trained a limited number of times, and cannot build so many, so it smooths things over between the points. On the cat that is just right: between two points there is mostly more cat. Not always: {{ f"{1 - hit:.0%}" }} of the points were smoothed to outside of it.
#
# **The exact answer can only copy; why does a network carry over to what it never saw? What should lie "between" pictures?** That is the question of the whole course. For pictures the answer is in how a network is built (convolution, attention, how the words come in) and in how many and what kind of data it sees. Each lesson from here on answers a part of it.

# %% [markdown] lang="zh"
# ## 0.15 回到 mini
#
# mini 的网络叫 *UNet*（[第 11 课](11_from_scratch.ipynb)里写一个），有 {{ f"{sum(w.numel() for w in pipe.unet.parameters()):,}" }} 个权重，输入 $x_t$（那份潜变量）、$t$，还有提示词变成的向量，输出 $v$。我们*自己的* `walk_back` 不改一个字，就能让它画图：只要用 0.8 的公式把 $v$ 换成 $\varepsilon$。（0.1 里还用了*引导*，让提示词的作用加倍，见[第 1 课](01_inference.ipynb)；这里不用。）
#
# 它的猜测也是平均：*合得上 $x_t$、也合得上提示词的所有训练图*的平均，只是学来的。所以每一步的 $\hat x_0$ 都能解码出来看。
#
# **先猜**：第 0 步，$x_t$ 是纯噪声。提示词是空的时候，$\hat x_0$ 是什么样？提示词是`一只猫,草地`时呢？

# %% [markdown] lang="en"
# ## 0.15 Back to mini
#
# mini's network is called a *UNet* ([lesson 11](11_from_scratch.ipynb) writes one). It has {{ f"{sum(w.numel() for w in pipe.unet.parameters()):,}" }} weights; in go $x_t$ (that latent), $t$ and the prompt as vectors, out comes $v$. *Our own* `walk_back`, not a letter changed, can draw with it: the formula of 0.8 turns $v$ into $\varepsilon$. (0.1 also used *guidance*, which doubles the effect of the prompt, see [lesson 1](01_inference.ipynb); not here.)
#
# Its guess is a mean as well: over *all training pictures that fit $x_t$ and fit the prompt*, only learnt. So the $\hat x_0$ of every step can be decoded and looked at.
#
# **Predict**: at step 0, $x_t$ is pure noise. What does $\hat x_0$ look like with an empty prompt? And with `一只猫,草地` ("a cat, grass")?


# %%
def tensor(x):
    return torch.tensor(x, dtype=pipe.dtype, device=pipe.device)


def mini_guess(prompt):
    words = pipe.tokenizer(prompt, padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        vectors = pipe.text_encoder(words.to(pipe.device))[0]

    @torch.no_grad()
    def guess(x_t, t):
        v = pipe.unet(tensor(x_t), int(t), vectors).sample.float().cpu().numpy()
        return np.sqrt(1 - abar[t]) * x_t + np.sqrt(abar[t]) * v

    return guess


# %%
chosen, times = [0, 3, 6, 9, 12, 15, 19], falling(20)
seen, ends = [], {}
for text in ("", prompt):
    guess = mini_guess(text)
    path = walk_back(guess, start.double().cpu().numpy(), times)
    for i in chosen:
        clean = clean_of(path[i], guess(path[i], times[i]), times[i])
        seen.append(decode(tensor(clean)))
    ends[text] = decode(tensor(path[-1]))
titles = [f"t = {times[i]}" for i in chosen] + ["-"] * 7
guesses = "guesses: without a prompt, a blur that grows clear; with it, a cat at once"
show(seen, titles, columns=7, alt=guesses)

# %% [markdown] lang="zh"
# 上排是空提示词：第一眼只猜得出所有训练图的平均，一团模糊，和 0.7 里一样；越走越清楚，却不成样子，因为一点线索也没有，小模型拿不准画什么。下排有提示词：从第一步起就是草地上的猫，因为合得上这句话的图只有那么几种。**提示词就是线索，线索把平均的范围缩小。** 整门课里的文生图，就是这么一回事。
#
# 最后一张是不是猫？不靠眼睛，问*裁判*（一个只用来认图的小分类器，见[第 13 课](13_evaluation.ipynb)）。

# %% [markdown] lang="en"
# The upper row has the empty prompt: at first sight it can guess no more than the mean of all training pictures, a blur as in 0.7; it grows clear on the way and yet is nothing in particular, as without any evidence this small model never settles on a thing. The lower row has the prompt: a cat on grass from the first step on, because only a few kinds of picture fit that line. **The prompt is evidence, and evidence narrows the mean.** That is all there is to text-to-image in this course.
#
# Is the last picture a cat? Not by eye: ask the *judge* (a small classifier used for nothing but telling what is in a picture, see [lesson 13](13_evaluation.ipynb)).

# %% tags=["nbval-ignore-output"]
from paidiff_world.judge import judge

pair = "the two ends: what an empty prompt gave, and a yellow cat on grass"
show(list(ends.values()), titles=["-", prompt], alt=pair)
chance = judge().probability(list(ends.values()), "subject", "猫")
print("P(猫)", *(f"{p:.2f}" for p in chance))
if profile.judged:
    assert chance[1] > 0.9 > chance[0]

# %% [markdown] lang="zh"
# ## 0.16 你学到了
#
# | 名字 | 一句话 |
# |:---|:---|
# | $x_0$，$x_t$ | 干净的图；混进噪声、到了时间步 $t$ 的图 |
# | $\varepsilon$ | 混进去的噪声 |
# | $\bar\alpha_t$，噪声调度 | 到 $t$ 时原图还剩多少；这张表就是噪声调度 |
# | $\hat x_0$ | 最好的猜测：数据的平均，越合得上 $x_t$ 的越重 |
# | $v$ | 同一件事的另一种问法，噪声大时误差不放大；mini 猜的是它 |
# | DDIM | 用猜出的 $\hat x_0$ 和 $\hat\varepsilon$ 按少一点的噪声重新混；没有随机 |
# | DDPM | 同上，但每步换上一份新噪声 |
# | 分数 | 哪个方向更常见；等于 $-\hat\varepsilon/\sqrt{1-\bar\alpha_t}$ |
# | Tweedie 公式 | 由分数算出 $\hat x_0$ |
# | 损失，批，学习率，优化器，EMA | 训练的五样东西：错多少，拿哪些来学，步子多大，怎么走，取权重的平均 |
# | 过拟合，泛化 | 只在训练数据上对；在新数据上也对 |

# %% [markdown] lang="en"
# ## 0.16 What you have learnt
#
# | name | in one sentence |
# |:---|:---|
# | $x_0$, $x_t$ | the clean picture; the picture mixed with noise, at timestep $t$ |
# | $\varepsilon$ | the noise that was mixed in |
# | $\bar\alpha_t$, noise schedule | how much of the picture is left at $t$; the table of it is the noise schedule |
# | $\hat x_0$ | the best guess: a mean of the data, heavier the better they fit $x_t$ |
# | $v$ | another way to ask for the same, whose errors are not magnified under much noise; mini guesses it |
# | DDIM | mixes the guessed $\hat x_0$ and $\hat\varepsilon$ again with a little less noise; nothing random |
# | DDPM | the same, but with some fresh noise at each step |
# | score | in which direction things are more frequent; equals $-\hat\varepsilon/\sqrt{1-\bar\alpha_t}$ |
# | Tweedie's formula | gives $\hat x_0$ from the score |
# | loss, batch, learning rate, optimizer, EMA | what training is made of: how wrong, learnt from which, how far, by what rule, and a mean of the weights |
# | overfitting, generalisation | right on the training data only; right on new data too |

# %% [markdown] lang="zh" tags=["exercise"]
# ## 0.17 练习
#
# 把 `...` 换成你的答案，运行单元格：`check` 说对不对，不对时说错在哪里，再给一条提示。它不联网，也不替你写答案。

# %% [markdown] lang="en" tags=["exercise"]
# ## 0.17 Exercises
#
# Put your answer in the place of `...` and run the cell: `check` says whether it is right, if not what is wrong, and gives a hint. It needs no network, and never writes the answer for you.

# %% [markdown] lang="zh"
# ### 再试试
#
# 这些没有标准答案，写下你看到的。
#
# 1. 在 `walk_back` 里犯一个错：不把噪声混回去，`add_noise(clean, s, noise)` 换成 `np.sqrt(abar[s]) * clean`。硬币最后走到哪里？猫呢？先写下来，再说出原因。
# 2. 网络也会抄吗？把 0.13 里的 `data` 换成 `torch.tensor(cat[:10], dtype=torch.float32)`，重新训练，再量它画的点到这十个点的距离。和新撒的真点比，它更像哪一边？
# 3. 0.9 的三种调度里，把 cosine 的表放进 `abar`（`abar = schedules["cosine"].alphas_cumprod.numpy().astype(float)`），再走一遍 `copies = walk_back(exact_guess(cat), starts, falling(200))[-1]`，重做 0.12。抄来的点到训练点的距离有什么变化？看看 `np.sqrt(1 - abar[0])`。

# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see.
#
# 1. Make a mistake in `walk_back`: do not mix the noise in again, put `np.sqrt(abar[s]) * clean` in place of `add_noise(clean, s, noise)`. Where does the coin end? And the cat? Write it down first, then say why.
# 2. Can a network copy, too? In 0.13 let `data` be `torch.tensor(cat[:10], dtype=torch.float32)`, train again, and measure how far what it draws is from these ten points. Beside freshly scattered true points, which side is it nearer to?
# 3. Put the table of cosine from 0.9 into `abar` (`abar = schedules["cosine"].alphas_cumprod.numpy().astype(float)`), walk once more, `copies = walk_back(exact_guess(cat), starts, falling(200))[-1]`, and do 0.12 again. What becomes of the distance between the copies and the training points? Look at `np.sqrt(1 - abar[0])`.
