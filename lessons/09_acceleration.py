# %% [markdown] lang="zh"
# # 09 · 加速：每一级快多少、差多少
#
# **离线 · CPU · 不用 GPU**
#
# **学完这一课，你会**：用一架*梯子*（ladder）把一张图的时间一级一级降下来：更好的采样器和更少的步数、少算几次无条件分支、*特征缓存*（feature caching）、*蒸馏*（distillation）出来的四步 LoRA；每一级都量出三个数：一张图几秒、离原图多远、裁判还认不认得；最后把整条流水线*导出*（export），不用 torch 也能画。
#
# **用时**：两核 CPU 上全部运行约三分钟，不需要 GPU，也不需要网络。

# %% [markdown] lang="en"
# # 09 · Faster: what each rung saves and what it costs
#
# **Offline · CPU · no GPU needed**
#
# **You will**: bring the time of a picture down on a *ladder*: a better sampler and fewer steps, fewer unconditional branches, *feature caching*, a *distilled* four-step LoRA; measure three numbers for every rung: seconds a picture, distance from the original picture, what the judge still sees; and *export* the whole pipeline, to draw without torch.
#
# **Time**: About three minutes for Run All on two CPU cores; no GPU, no network.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import paidiff_lib as paidiff
from paidiff_lib import acceleration, draw, show

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("09", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 9.1 先看结果
#
# 左边：DDIM 五十步，每步都有引导。右边：同一个种子，换采样器、十步、引导隔一步算一次。

# %% [markdown] lang="en"
# ## 9.1 The result first
#
# Left: fifty steps of DDIM with guidance at each. Right: the same seed with another sampler, ten steps, guidance computed at every second one.

# %%
prompt, seed = "雪地里的两只企鹅", 4
plain, few = profile.steps
with acceleration.solver(pipe, "ddim"):
    before = draw(pipe, prompt, seed=seed, steps=plain)
with acceleration.solver(pipe, "dpm"), acceleration.guidance_every(pipe, 2):
    after = draw(pipe, prompt, seed=seed, steps=few)
show([before, after], titles=[f"DDIM {plain}", f"DPM-Solver++ {few}"])

# %% [markdown] lang="zh"
# ## 9.2 时间花在哪里
#
# 一张图 = 一次文本编码 + 步数 x 2 次 UNet（有引导时，有条件和无条件各一次）+ 一次 VAE 解码。所以先省 UNet。

# %% [markdown] lang="en"
# ## 9.2 Where the time goes
#
# A picture is one pass of the text encoder, steps x 2 passes of the UNet (with guidance: one with the prompt, one without), and one decoding by the VAE. So save UNet passes first.

# %% tags=["nbval-ignore-output"]
import time
import torch


def seconds(work, repeats=3):
    work()  # the first time warms up
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if pipe.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


with torch.no_grad():
    latents = pipe(prompt, num_inference_steps=1, output_type="latent").images
    words = pipe.encode_prompt(prompt, pipe.device, 1, True)[0]
    parts = {
        "text": lambda: pipe.encode_prompt(prompt, pipe.device, 1, True),
        "UNet x 1": lambda: pipe.unet(latents, 500, words),
        "UNet x 2": lambda: pipe.unet(
            torch.cat([latents] * 2), 500, torch.cat([words] * 2)
        ),
        "VAE": lambda: pipe.vae.decode(latents),
    }
    for name, work in parts.items():
        print(f"{name}: {seconds(work) * 1000:.0f} ms")

# %% [markdown] lang="zh"
# ## 9.3 每一级都是一个 with
#
# 块结束，流水线就回到原样，一位不差。看看其中一级的代码：

# %% [markdown] lang="en"
# ## 9.3 Each rung is one `with`
#
# When the block ends, the pipeline is as it was, to the last bit. The code of one rung:

# %%
import inspect

print(inspect.getsource(acceleration.guidance_every))

# %%
first = draw(pipe, prompt, seed=seed, steps=few)
with acceleration.guidance_every(pipe, 2), acceleration.caching(pipe, 2):
    quick = draw(pipe, prompt, seed=seed, steps=few)
again = draw(pipe, prompt, seed=seed, steps=few)
assert profile.same(first, again) and quick.tobytes() != first.tobytes()
show([first, quick, again], titles=["plain", "guidance_every, caching", "plain"])

# %% [markdown] lang="zh"
# *特征缓存*（DeepCache）：UNet 深处的输出一步和下一步差不多，隔一步算一次，中间的用上一次的。浅层照算，所以细节还跟得上。

# %% [markdown] lang="en"
# *Feature caching* (DeepCache): what the deep blocks say hardly changes from one step to the next, so compute it at every second step and use it twice. The outer blocks are computed every time, which keeps the detail.

# %% [markdown] lang="zh"
# ## 9.4 四步：蒸馏
#
# *渐进蒸馏*（progressive distillation）：老师（就是 `mini`）带着引导走八步，把路上的点存下来；学生是一个 LoRA，学着一步走完老师的两步，还把引导学进去。画的时候四步、不用无条件分支：UNet 只算四次，原来是一百次。训练：`python -m paidiff_world.pretrain.distill`。

# %% [markdown] lang="en"
# ## 9.4 Four steps: distillation
#
# *Progressive distillation*: the teacher (`mini` itself) walks eight steps with guidance, and the points of its paths are kept; the student is a LoRA that learns to do two of its steps in one, guidance included. It draws in four steps without the unconditional branch: four passes of the UNet instead of a hundred. Trained by `python -m paidiff_world.pretrain.distill`.

# %%
student = paidiff.data("models/paidiff-mini-zh-4-steps")
prompts = [
    "一只猫,草地",
    "熊猫,竹林,剪纸",
    "古楼,湖面,水墨画",
    "红色的汽车,城市夜景,赛博朋克",
]
full = draw(pipe, prompts, seed=1, steps=few)
four = draw(pipe, prompts, seed=1, steps=4, guidance=1)  # simply too few
pictures, titles = full + four, [f"steps {few}"] * 4 + ["steps 4"] * 4
if profile.judged:  # the student belongs to the mini model
    with acceleration.few_step(pipe, student) as settings:
        pictures += draw(pipe, prompts, seed=1, **settings)
        titles += ["few_step 4"] * 4
show(pictures, titles=titles, columns=4)

# %% [markdown] lang="zh"
# ## 9.5 整架梯子
#
# 每一级量三个数。*时间*：一张图，各级轮流量，取中位数，和第一级比。*离原图*：同一个种子，和五十步的图每个像素平均差多少（0..255）。*裁判*：没训练过的提示词，主体和背景认出来的比例。

# %% [markdown] lang="en"
# ## 9.5 The whole ladder
#
# Three numbers for every rung. *Time*: one picture, the rungs in turn, the median, as a ratio to the first one. *Distance*: mean difference of a pixel from the fifty-step picture of the same seed (0..255). *Judge*: share of subjects and backgrounds recognised, on prompts that pre-training never saw.

# %%
from contextlib import ExitStack

many = 20 if profile.judged else few
ladder = {  # name: (steps, rungs)
    f"DDIM {plain}": (plain, [(acceleration.solver, "ddim")]),
    f"DPM++ {many}": (many, [(acceleration.solver, "dpm")]),
    f"DPM++ {few}": (few, [(acceleration.solver, "dpm")]),
    "+ guidance_every 2": (
        few,
        [(acceleration.solver, "dpm"), (acceleration.guidance_every, 2)],
    ),
    "+ caching 2": (
        few,
        [
            (acceleration.solver, "dpm"),
            (acceleration.guidance_every, 2),
            (acceleration.caching, 2),
        ],
    ),
}
if profile.judged:
    ladder["few_step 4"] = (4, [(acceleration.few_step, student)])


def drawn(name, prompts, seed):
    from paidiff_lib.generate import sample

    steps, rungs = ladder[name]
    with ExitStack() as stack:
        given = [
            stack.enter_context(rung(pipe, *settings)) for rung, *settings in rungs
        ]
        start = time.perf_counter()  # loading a LoRA is not part of a picture's time
        pictures = sample(pipe, prompts, seed, **(given[-1] or {"steps": steps}))
        return pictures, time.perf_counter() - start


# %% tags=["nbval-ignore-output"]
import numpy as np
from paidiff_lib.metrics import distance
from paidiff_world.judge import prompt_following
from paidiff_world.heldout import held_out

specs, captions = zip(*held_out(profile.prompts))
pictures = {
    name: drawn(name, list(captions), list(range(len(captions))))[0] for name in ladder
}
names = list(ladder)
times = {name: [] for name in names}
for _ in range(profile.repeats):  # in turn, so that a busy moment meets them all
    for name in names:
        times[name].append(drawn(name, [prompt], seed)[1])

rows = {}
for name in names:
    second = float(np.median(times[name]))
    gap = float(
        np.mean([distance(a, b) for a, b in zip(pictures[name], pictures[names[0]])])
    )
    rates = prompt_following(pictures[name], list(specs))
    rows[name] = second, gap, rates["subject"], rates["background"]
    saved = 1 - second / rows[names[0]][0]
    print(
        f"{name:18} {second:5.2f} s · saved {saved:4.0%} · distance {gap:4.1f}"
        f" · subject {rates['subject']:.0%} · background {rates['background']:.0%}"
    )
show(
    [p for name in names for p in pictures[name][:4]],
    titles=[name for name in names for _ in range(4)],
    columns=4,
)

# %%
if profile.judged:
    base, quick, student_row = rows[names[0]], rows["+ caching 2"], rows["few_step 4"]
    # 75 % and 85 % less time
    assert quick[0] < 0.25 * base[0] and student_row[0] < 0.15 * base[0]
    # few prompts: the interval is wide
    assert quick[2] > base[2] - 0.1 and student_row[2] > base[2] - 0.15

# %% tags=["nbval-ignore-output"]
show(
    paidiff.curve(
        {name: ([row[0]], [row[1]]) for name, row in rows.items()}, x="s", y="distance"
    ),
    alt="时间和差距 · time and distance",
)

# %% [markdown] lang="zh"
# 几十条提示词只够看个大概；三个种子的正式测量：`python benchmarks/ladder.py`。这台机器上不划算的也量过：`channels_last`、`compiled`（编译要几分钟）、`half`（只在 GPU 上）。

# %% [markdown] lang="en"
# A few dozen prompts give a rough idea; three seeds: `python benchmarks/ladder.py`. What does not pay on this machine was measured there too: `channels_last`, `compiled` (minutes of compiling), `half` (on a GPU only).

# %% [markdown] lang="zh"
# ## 9.6 导出
#
# 整条流水线写成 ONNX，由 ONNX Runtime 跑：文本编码器、UNet、VAE，任意尺寸。写完先和原来的流水线比图，差得多就不保存。

# %% [markdown] lang="en"
# ## 9.6 Export
#
# The whole pipeline as ONNX, run by ONNX Runtime: text encoder, UNet, VAE, any size. What is written is compared with the pipeline's own pictures first, and not kept if they differ.

# %%
import shutil, subprocess, sys
from pathlib import Path
from paidiff_lib.models.load import model_name

out = Path("../out/09")
shutil.rmtree(out, ignore_errors=True)
out.mkdir(parents=True)
exportable = pipe.device.type == "cpu" and profile.kind in ("mini", "tiny")
if exportable:
    command = [
        sys.executable,
        "-m",
        "paidiff_app.cli",
        "export",
        model_name(),
        "-o",
        str(out / "exported"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(sorted(path.name for path in (out / "exported").iterdir()))

# %% tags=["nbval-ignore-output"]
import paidiff_app

if exportable:
    exported = paidiff_app.open_model(str(out / "exported"))
    rows = {"torch": pipe, "ONNX Runtime": exported}
    both = [draw(model, prompt, seed=seed, steps=few) for model in rows.values()]
    furthest = np.abs(np.subtract(*(np.asarray(p, int) for p in both))).max()
    times = {name: [] for name in rows}
    for _ in range(profile.repeats):
        for name, model in rows.items():
            start = time.perf_counter()
            draw(model, prompt, seed=seed, steps=few)
            times[name].append(time.perf_counter() - start)
    torch_time, onnx_time = (float(np.median(times[name])) for name in rows)
    print(f"torch {torch_time:.2f} s · ONNX Runtime {onnx_time:.2f} s", end=" · ")
    print(f"{torch_time / onnx_time:.2f}x · {furthest}/255")
    assert furthest <= exported.note["tolerance"]
    show(both, titles=list(rows))

# %% [markdown] lang="zh"
# 命令行里更明显：导出的模型不用 import torch，整个进程只要一两秒。
#
# ```bash
# paidiff export mini -o out/exported
# paidiff draw 雪地里的两只企鹅 --model out/exported -o penguins.png
# ```

# %% [markdown] lang="en"
# At the command line it shows even more: an exported model needs no torch to be imported, and the whole process takes a second or two.
#
# ```bash
# paidiff export mini -o out/exported
# paidiff draw 雪地里的两只企鹅 --model out/exported -o penguins.png
# ```

# %% [markdown] lang="zh"
# ## 9.7 换成真模型
#
# ```python
# pipe = paidiff.load("artist-large")                     # a GPU
# with (acceleration.half(pipe), acceleration.channels_last(pipe),
#       acceleration.solver(pipe, "dpm"), acceleration.guidance_every(pipe, 2)):
#     show(draw(pipe, "雾蒙蒙的日出在湖面上", steps=20))
# ```
#
# **未在真权重上验证**。文章里的“A10 上不到一秒”没有给条件；每个时间都应当写明步数、引导和尺寸。四步 LoRA 只属于 `mini`，真模型要自己蒸馏。

# %% [markdown] lang="en"
# ## 9.7 The real model
#
# ```python
# pipe = paidiff.load("artist-large")                     # a GPU
# with (acceleration.half(pipe), acceleration.channels_last(pipe),
#       acceleration.solver(pipe, "dpm"), acceleration.guidance_every(pipe, 2)):
#     show(draw(pipe, "雾蒙蒙的日出在湖面上", steps=20))
# ```
#
# **Not verified on the real weights.** The article's "under a second on an A10" comes without conditions; a time should always name steps, guidance and size. The four-step LoRA belongs to `mini`; a real model has to be distilled anew.

# %% [markdown] lang="zh" tags=["exercise"]
# ## 9.8 自己试试
#
# 1. `guidance_every(pipe, 4)`、`caching(pipe, 3)`：差距怎么变？
# 2. `guidance_between(pipe, 0.25, 1)`：前四分之一不要引导。
# 3. 四步 LoRA 和第 3 课的青花瓷 LoRA 一起用。

# %% [markdown] lang="en" tags=["exercise"]
# ## 9.8 Try it yourself
#
# 1. `guidance_every(pipe, 4)`, `caching(pipe, 3)`: how does the distance change?
# 2. `guidance_between(pipe, 0.25, 1)`: no guidance in the first quarter.
# 3. The four-step LoRA together with the porcelain LoRA of lesson 3.

# %% [markdown] lang="zh"
# ## 9.9 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | 四步的图发灰、发糊 | 引导要是 1，用 `**settings`。 |
# | `不是少步 LoRA` | 文件夹里要有 `few_step.json`。 |
# | `没有装 onnxruntime` | `pip install -c constraints.txt -e .[export]`。 |
# | `导出的模型装不了 LoRA` | 导出时加 `--lora`。 |

# %% [markdown] lang="en"
# ## 9.9 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | four steps come out grey | Guidance has to be 1: pass `**settings`. |
# | `不是少步 LoRA` | The folder needs its `few_step.json`. |
# | `没有装 onnxruntime` | `pip install -c constraints.txt -e .[export]`. |
# | `导出的模型装不了 LoRA` | Give `--lora` to the export. |

# %% [markdown] lang="zh"
# ## 9.10 小结
#
# * 先减步数，再省引导，再缓存；每一级都要量画质。
# * 蒸馏把一百次 UNet 变成四次。
# * 导出省的是启动和框架的时间。

# %% [markdown] lang="en"
# ## 9.10 Summary
#
# * Fewer steps, then less guidance, then caching; measure the quality of every rung.
# * Distillation turns a hundred UNet passes into four.
# * Export saves start-up and the framework's own time.
