# %% [markdown] lang="zh"
# # 02 · 图生图和局部重绘
#
# **离线 · CPU · 不用 GPU**
#
# **学完这一课，你会**：从一张简单的画出发，用一句中文把它变成另一张；明白 `strength` 到底做了什么；*量出*它的两头——离原图多远、听不听提示词；只重画图中的一块，其余一个像素都不动。
#
# **用时**：两核 CPU 上全部运行约一分钟，不需要 GPU，也不需要网络。

# %% [markdown] lang="en"
# # 02 · Image to image, and inpainting
#
# **Offline · CPU · no GPU needed**
#
# **You will**: start from a simple drawing and turn it into another picture with one line of Chinese; see what `strength` really does; *measure* both of its ends, how far from the input and how close to the prompt; redraw one part of a picture and leave every other pixel alone.
#
# **Time**: About one minute for Run All on two CPU cores; no GPU, no network.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import paidiff_lib as paidiff
from paidiff_lib import show
from PIL import Image

# the same weights as in lesson 1, another diffusers pipeline
pipe = paidiff.load(task="img2img")
profile = paidiff_course.profile("02", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 2.1 先看结果
#
# 左边是脚本像小孩那样画的两只企鹅。*图生图*（img2img）以它为起点，提示词和参数都是文章里的：`雪地里的两只企鹅`，`strength=0.75, guidance_scale=7.5`。

# %% [markdown] lang="en"
# ## 2.1 The result first
#
# On the left, two penguins as a child draws them (a script did). *img2img* starts from it; prompt and settings are the article's own.

# %%
import torch
from paidiff_lib.models.encode import native_size
from paidiff_lib.datasets.images import square

side = native_size(pipe)
# cut and scaled to the model's own square
penguins = square(Image.open(paidiff.data("penguins.png")).convert("RGB"), side)
picture = pipe(
    "雪地里的两只企鹅",
    image=penguins,
    strength=0.75,
    guidance_scale=7.5,
    generator=torch.Generator().manual_seed(1),
).images[0]
show([penguins, picture], titles=["input", "img2img"])

# %% [markdown] lang="zh"
# 上面就是文章那一行 diffusers 调用，一个字也没多。往下要画很多张，先给它起个短名字。

# %% [markdown] lang="en"
# That was the article's own diffusers call, nothing added. Many pictures follow, so here is a short name for it.


# %%
def redraw(image, prompt, strength=0.75, guidance=7.5, seed=0, n=1, steps=20, **kwargs):
    return pipe(
        [prompt] * n,
        image=[image] * n,
        strength=strength,
        guidance_scale=guidance,
        num_inference_steps=steps,
        generator=[torch.Generator().manual_seed(seed + i) for i in range(n)],
        **kwargs,
    ).images


show(
    [penguins] + redraw(penguins, "雪地里的两只企鹅", n=5),
    titles=["input"] + [f"seed {i}" for i in range(5)],
)

# %% [markdown] lang="zh"
# ## 2.2 它怎么做到的
#
# 文生图从纯噪声出发。图生图先把原图编码成*潜变量*（latents），加噪声加到第 t 步该有的程度，再从那一步往下去噪。`strength` 决定 t：0.25 只加一点，1 就什么都不剩了。下面把加了噪声的潜变量解码出来看看。

# %% [markdown] lang="en"
# ## 2.2 How it works
#
# Text-to-image starts from pure noise. img2img encodes the input into *latents*, adds as much noise as step t has, and denoises from there. `strength` sets t: little noise at 0.25, nothing of the input left at 1. Here are the noisy latents, decoded.


# %%
@torch.no_grad()
def noisy(image, strength):
    x = pipe.image_processor.preprocess(image).to(pipe.device, pipe.vae.dtype)
    factor = pipe.vae.config.scaling_factor
    latents = pipe.vae.encode(x).latent_dist.mode() * factor  # (1, 8, 16, 16)
    pipe.scheduler.set_timesteps(20)
    # where the loop will start
    t = pipe.get_timesteps(20, strength, pipe.device)[0][:1]
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    latents = pipe.scheduler.add_noise(latents, noise.to(latents), t)
    decoded = pipe.vae.decode(latents / factor).sample
    return pipe.image_processor.postprocess(decoded)[0]


strengths = [0.1, 0.25, 0.5, 0.75, 1.0]
show(
    [noisy(penguins, s) for s in strengths], titles=[f"strength {s}" for s in strengths]
)

# %%
import inspect

# diffusers' own lines: how many of the steps are left out
print(inspect.getsource(pipe.get_timesteps))

# %% [markdown] lang="zh"
# 所以 `strength=0.75` 的 20 步里只走 15 步：快四分之一，也留住了原图的构图。

# %% [markdown] lang="en"
# So of 20 steps at `strength=0.75` only 15 are taken: a quarter faster, and the composition of the input stays.

# %% [markdown] lang="zh"
# ## 2.3 扫一遍 strength
#
# 同一个种子，同一句提示词，只变 `strength`。提示词要的是落日，原图是雪地：两边在拉扯。

# %% [markdown] lang="en"
# ## 2.3 Sweeping strength
#
# Same seed, same prompt, only `strength` changes. The prompt asks for a sunset, the input shows snow: the two pull against each other.

# %%
sweep = [0.2, 0.4, 0.6, 0.75, 0.9, 1.0]
show(
    [redraw(penguins, "落日下的两只企鹅", strength=s, seed=3)[0] for s in sweep],
    titles=[f"strength {s}" for s in sweep],
)

# %% [markdown] lang="zh"
# ## 2.4 量一量
#
# `strength` 是一架天平。一头是**离原图的距离**（均方根差，0 到 255），另一头是**听不听提示词**：裁判（第 1 课的那个小分类器）认出背景是`落日`的概率。16 个种子，方括号里是 95 % 置信区间。

# %% [markdown] lang="en"
# ## 2.4 Measure it
#
# `strength` is a pair of scales: on one side the **distance to the input** (root mean square, 0 to 255), on the other **obedience**: the probability with which the judge (the small classifier of lesson 1) sees `落日`, a sunset, behind them. 16 seeds, 95 % intervals in brackets.

# %% tags=["nbval-ignore-output"]
from paidiff_lib.metrics import distance, interval
from paidiff_world.judge import judge

far, obeys = {}, {}
for s in sweep:
    drawn = redraw(
        penguins, "落日下的两只企鹅", strength=s, n=profile.seeds, steps=profile.steps
    )
    far[s] = interval([distance(penguins, picture) for picture in drawn])
    obeys[s] = interval(judge().probability(drawn, "background", "落日"))
    print(
        f"strength {s:4}   distance %5.1f [%5.1f, %5.1f]   P(落日) %.2f [%.2f, %.2f]"
        % (*far[s], *obeys[s])
    )

# %%
if profile.real:
    # every step of strength leads further away
    assert all(far[a][0] < far[b][0] for a, b in zip(sweep, sweep[1:]))
if profile.judged:
    assert obeys[0.2][2] < obeys[1.0][1]  # the whole intervals lie apart
    assert obeys[0.2][0] < obeys[0.4][0]

# %%
show(
    paidiff.curve(
        {"distance": (sweep, [far[s][0] for s in sweep])}, x="strength", y="distance"
    ),
    alt="离原图的距离随 strength 上升 · the distance to the input rises with strength",
)

# %% [markdown] lang="zh"
# ## 2.5 一张画，几种画风
#
# 构图留下，画风换掉：这是图生图最常用的地方。`strength` 要够大，画风才进得来。

# %% [markdown] lang="en"
# ## 2.5 One drawing, several styles
#
# The composition stays, the style changes: what img2img is used for most. It takes enough `strength` to let a style in.

# %%
styles = ["扁平画风", "水墨画", "水彩画", "剪纸", "浮雕", "赛博朋克"]
show(
    [
        redraw(penguins, f"雪地里的两只企鹅,{style}", strength=0.85, seed=5)[0]
        for style in styles
    ],
    titles=styles,
)

# %% [markdown] lang="zh"
# 反向提示词在这里也一样用。

# %% [markdown] lang="en"
# A negative prompt works here too.

# %%
words = "雪地里的两只企鹅"
plain = redraw(penguins, words, seed=7, n=3)
clear = redraw(penguins, words, seed=7, n=3, negative_prompt=["模糊"] * 3)
show(plain + clear, titles=["-"] * 3 + ["模糊"] * 3, columns=6)

# %% [markdown] lang="zh"
# ## 2.6 从模型自己的画出发
#
# 原图不必是手画的。先画一张，再改一改：换背景、换颜色。

# %% [markdown] lang="en"
# ## 2.6 Starting from a picture of the model's own
#
# The input need not be drawn by hand. Draw one, then change it: another place, another colour.

# %%
# at 1 nothing of the input is left
car = redraw(penguins, "一辆汽车,草地", strength=1.0, seed=2)[0]
changes = ["一辆汽车,草地", "一辆汽车,沙滩", "一辆汽车,雪地", "一辆汽车,草地,水彩画"]
show(
    [car] + [redraw(car, text, strength=0.7, seed=2)[0] for text in changes[1:]],
    titles=changes,
)

# %% [markdown] lang="zh"
# ## 2.7 局部重绘
#
# 给一个*蒙版*（mask）：白的地方重画，黑的地方不动。真模型有专门的重绘流水线；它只收 4 通道的潜变量，小模型有 8 个，所以 `paidiff.inpaint` 把同样的做法写在图生图流水线上：每走一步，就把蒙版外面的潜变量换回原图的（加上那一步该有的噪声）。核心就这几行：

# %% [markdown] lang="en"
# ## 2.7 Inpainting
#
# Give a *mask*: white is redrawn, black stays. The real model has an inpainting pipeline of its own, which takes latents of four channels; the small model has eight, so `paidiff.inpaint` does the same on the img2img pipeline: after every step, the latents outside the mask are put back, with the noise of that step. These are the lines:

# %%
source = inspect.getsource(paidiff.inpaint)
print(source[source.index("    def put_back") : source.index("    drawn =")])

# %%
from PIL import ImageDraw

mask = Image.new("L", car.size)
edge = side // 8
# the middle, where the car is
ImageDraw.Draw(mask).rectangle([edge, edge, side - edge - 1, side - edge - 1], fill=255)
new = paidiff.inpaint(pipe, "一朵蘑菇,草地", car, mask, seed=4)
show([car, mask, new], titles=["input", "mask", "一朵蘑菇,草地"])

# %% [markdown] lang="zh"
# 蒙版外面一个像素都没有变，里面变了很多。这也是量出来的：

# %% [markdown] lang="en"
# Outside the mask not a pixel has changed, inside much has. Measured:

# %%
import numpy as np

change = np.abs(np.asarray(new, int) - np.asarray(car, int)).mean(2)
inside = np.asarray(mask) > 0
print("outside:", change[~inside].max(), "· inside:", change[inside].mean() > 5)
assert change[~inside].max() == 0 and (change[inside].mean() > 5 or not profile.real)

# %%
prompts = ["一棵松树,草地", "一座房子,草地", "一只熊猫,草地", "一个西瓜,草地"]
show(
    [paidiff.inpaint(pipe, prompt, car, mask, seed=6) for prompt in prompts],
    titles=prompts,
)

# %% [markdown] lang="zh"
# ## 2.8 换成真模型
#
# ```python
# pipe = paidiff.load("artist-large", task="img2img")   # 512x512; HF_HUB_OFFLINE=0 before the import, see lesson 1
# picture = pipe("雪地里的两只企鹅", image=your_picture, strength=0.75, guidance_scale=7.5).images[0]
# ```
#
# **未在真权重上验证**。

# %% [markdown] lang="en"
# ## 2.8 The real model
#
# ```python
# pipe = paidiff.load("artist-large", task="img2img")   # 512x512; HF_HUB_OFFLINE=0 before the import, see lesson 1
# picture = pipe("雪地里的两只企鹅", image=your_picture, strength=0.75, guidance_scale=7.5).images[0]
# ```
#
# **Not verified on the real weights.**

# %% [markdown] lang="zh" tags=["exercise"]
# ## 2.9 自己试试
#
# 1. 画一张你自己的涂鸦（任何画图软件，存成 PNG），换掉 `penguins`。
# 2. 哪个 `strength` 起，企鹅不再站在原来的地方？
# 3. 固定 `strength=0.75`，扫一遍 `guidance`：1、3、7.5、15。
# 4. 把蒙版反过来（`ImageOps.invert`），留住汽车，换掉背景。

# %% [markdown] lang="en" tags=["exercise"]
# ## 2.9 Try it yourself
#
# 1. Use a doodle of your own.
# 2. From which `strength` on do the penguins no longer stand where they stood?
# 3. Sweep `guidance` at a fixed `strength`.
# 4. Invert the mask: keep the car, change the place.

# %% [markdown] lang="zh"
# ## 2.10 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | 出来的和原图一样 | `strength` 太小，或者 `strength * steps` 不到 1。 |
# | 出来的和原图毫无关系 | `strength` 接近 1。 |
# | 重绘的边上有接缝 | 蒙版按 8x8 的单元格起作用；让它稍大一点。 |
# | `strength 要大于 0、不超过 1` | 换一个 0 到 1 之间的数。 |
# | 图被裁掉了边 | 模型画正方形：`square` 取正中的一块。 |

# %% [markdown] lang="en"
# ## 2.10 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | nothing changes | `strength` is too small. |
# | nothing stays | `strength` is close to 1. |
# | a seam at the mask | The mask acts in cells of 8x8; make it a little larger. |
# | `strength 要大于 0、不超过 1` | Take a number between 0 and 1. |
# | the sides are cut off | The model draws squares. |

# %% [markdown] lang="zh"
# ## 2.11 小结
#
# * 图生图 = 原图加噪声到第 t 步，再去噪；`strength` 就是 t。
# * `strength` 越大，离原图越远，越听提示词：两头都量过。
# * 重绘 = 每一步把蒙版外面换回去。

# %% [markdown] lang="en"
# ## 2.11 Summary
#
# * img2img = noise the input up to step t, then denoise; `strength` is t.
# * More of it: further from the input, closer to the prompt; both measured.
# * Inpainting = put the outside back after every step.
