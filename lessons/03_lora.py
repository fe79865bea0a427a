# %% [markdown] lang="zh"
# # 03 · LoRA：教模型一种新画风
#
# **离线 · CPU · 不用 GPU**
#
# **学完这一课，你会**：用 20 张图教会模型一种它从没见过的画风，青花瓷；明白 *LoRA* 训练的是什么；*量出*画风学到了没有、原来会的忘了没有；调强度、合并两个 LoRA、并进模型、导出给 WebUI；跑文章里那一行 `accelerate launch`。
#
# **用时**：两核 CPU 上全部运行约两三分钟，不需要 GPU，也不需要网络。

# %% [markdown] lang="en"
# # 03 · LoRA: teaching a new style
#
# **Offline · CPU · no GPU needed**
#
# **You will**: teach the model a style it has never seen, 青花瓷 (blue-and-white porcelain), from 20 pictures; know what a *LoRA* trains; *measure* whether the style was learnt and whether anything was forgotten; set its strength, use two at once, merge, export for the WebUI; run the article's own `accelerate launch` line.
#
# **Time**: About two to three minutes for Run All on two CPU cores; no GPU, no network.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import paidiff_lib as paidiff
from paidiff_lib import CaptionFolder, LoRA, show

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("03", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 3.1 先看结果
#
# 训练用的是这 20 张：20 种事物，各在一处，全是青花瓷。每张配一句话（`metadata.jsonl`），*画风的名字写在里面*。

# %% [markdown] lang="en"
# ## 3.1 The result first
#
# These 20 pictures are the training set: 20 things in different places, all in the porcelain style. Each has a caption (`metadata.jsonl`) that *names the style*.

# %%
data = CaptionFolder(paidiff.data("porcelain"))
show(
    [data.image(i, 128) for i in range(len(data))],
    titles=[data.caption(i) for i in range(len(data))],
    columns=7,
    alt="20 张青花瓷训练图 · the 20 training pictures",
)

# %% [markdown] lang="zh"
# 训练之前，模型不认识“青花瓷”三个字，画出来和没写一样：

# %% [markdown] lang="en"
# Before training the model does not know the word 青花瓷, and draws as if it were not there:

# %%
prompts = [
    "猫,草地,青花瓷",
    "汽车,沙滩,青花瓷",
    "房子,雪地,青花瓷",
    "熊猫,竹林,青花瓷",
    "蘑菇,森林,青花瓷",
    "企鹅,白色背景,青花瓷",
]
before = paidiff.draw(pipe, prompts, seed=1)
show(before, titles=prompts)

# %% [markdown] lang="zh"
# 现在训练。一个循环，每更新一次权重就交回一条记录。`caption_dropout=0.15`：七张里有一张配空提示词来练，空提示词也带上一点青花瓷；不然引导（第 1 课）会把颜色推过头，蓝的变紫。

# %% [markdown] lang="en"
# Now train: one loop that hands back a record after every update of the weights. `caption_dropout=0.15` trains one picture in seven with the empty prompt, which so takes on a little porcelain too; otherwise guidance (lesson 1) pushes the colours too far, blue turns purple.

# %%
from paidiff_lib.methods.lora import WIDE

lora = LoRA(pipe, rank=8, layers=WIDE)
steps = paidiff.train(
    lora, data, **profile.lora, lr_scheduler="cosine", caption_dropout=0.15, seed=0
)
losses = [step.loss for step in paidiff.watch(steps, profile.lora["steps"])]

# %% tags=["nbval-ignore-output"]
from paidiff_lib.generate import sample  # as draw, without its hints

after = sample(pipe, prompts, seed=1)
show(before + after, titles=["before"] * 6 + ["after"] * 6, columns=6)

# %%
show(
    paidiff.curve({"loss": losses}, x="step", y="loss", window=10),
    alt="损失下降 · the loss falls",
)

# %% [markdown] lang="zh"
# ## 3.2 它是什么
#
# *LoRA*（Low-Rank Adaptation，Hu et al. 2021）不动原来的权重 W，只在旁边训练两个瘦矩阵 A 和 B：用的时候是 W + B·A。A 把宽度压到 `rank`，B 再放回来。B 从零开始，所以第一步之前，模型一点没变。

# %% [markdown] lang="en"
# ## 3.2 What it is
#
# A *LoRA* leaves the weights W alone and trains two thin matrices beside them: what is used is W + B·A. A squeezes the width down to `rank`, B brings it back. B starts as zero, so before the first step the model is unchanged.

# %%
name, A = next((n, p) for n, p in lora.parameters().items() if "to_q.lora_A" in n)
B = lora.parameters()[name.replace("lora_A", "lora_B")]
print("A", tuple(A.shape), "· B", tuple(B.shape))
trained = sum(p.numel() for p in lora.parameters().values())
whole = sum(p.numel() for n, p in pipe.unet.named_parameters() if "lora" not in n)
print(f"LoRA {trained / 1e6:.2f} M · UNet {whole / 1e6:.2f} M · {trained / whole:.0%}")

# %% [markdown] lang="zh"
# 每一步做的事（这是库里的原文）：加了噪声的潜变量进 UNet，和目标比，求平均。谁在训练、谁不动，由方法自己说。

# %% [markdown] lang="en"
# What happens in each step (the library's own lines): noisy latents go through the UNet, are compared with the target, and averaged.

# %%
import inspect
from paidiff_lib.training.loop import Trainer

print(inspect.getsource(Trainer.loss))

# %% [markdown] lang="zh"
# ## 3.3 量一量
#
# 两个问题：**学到了吗**——裁判认得青花瓷（它学过，模型没有），看它在多少张图里认出来；**忘了吗**——同样的事物还认得出来吗。12 种不在训练图里的搭配，三个种子；同一批提示词，LoRA 关和开各画一遍。

# %% [markdown] lang="en"
# ## 3.3 Measure it
#
# Two questions. **Learnt?** The judge knows 青花瓷 (it was taught, the model was not): in how many pictures does it see it? **Forgotten?** Are the things themselves still recognised? 12 scenes, three seeds, drawn with the LoRA off and on.

# %% tags=["nbval-ignore-output"]
from paidiff_lib.metrics import interval
from paidiff_world.judge import judge, prompt_following
from paidiff_world import Spec

things = [
    "猫",
    "企鹅",
    "汽车",
    "茶壶",
    "蘑菇",
    "房子",
    "熊猫",
    "西瓜",
    "帆船",
    "松树",
    "气球",
    "箱子",
][: profile.things]
specs = [
    Spec(thing, ["草地", "雪地", "沙滩", "白色背景"][i % 4])
    for i, thing in enumerate(things)
] * profile.seeds
captions = [f"{spec.subject},{spec.background},青花瓷" for spec in specs]
seeds = [seed for seed in range(profile.seeds) for _ in things]


def measure(name):
    drawn = sample(pipe, captions, seeds, steps=profile.steps)
    style = interval(judge().probability(drawn, "style", "青花瓷") > 0.5)
    subject = prompt_following(drawn, specs)["subject"]
    print(
        f"{name:10} 青花瓷 %3.0f%% [%3.0f, %3.0f]" % tuple(100 * x for x in style),
        f"  subject {subject:.0%}",
    )
    return style[0], subject


paidiff.set_scales(pipe, {})  # every LoRA off
off = measure("LoRA off")
paidiff.set_scales(pipe, {"lora": 1.0})
on = measure("LoRA on")

# %%
if profile.judged:
    # learnt, and little forgotten
    assert off[0] < 0.05 and on[0] >= 0.7 and on[1] > off[1] - 0.1

# %% [markdown] lang="zh"
# ## 3.4 强度
#
# LoRA 的作用可以只开一半：W + `scale`·B·A。

# %% [markdown] lang="en"
# ## 3.4 Scale
#
# A LoRA can be used at half strength: W + `scale`·B·A.


# %%
def at(scale):
    paidiff.set_scales(pipe, {"lora": scale})
    return sample(pipe, ["帆船,沙滩,青花瓷"], seed=4)[0]


scales = [0, 0.25, 0.5, 0.75, 1.0]
show([at(scale) for scale in scales], titles=[f"scale {scale}" for scale in scales])

# %% [markdown] lang="zh"
# ## 3.5 存、取、不用我们的库
#
# 存下来的是一个普通 diffusers 认识的文件夹。重新打开模型，用 diffusers 自己的 `load_lora_weights`，画出来的图一个像素都不差。

# %% [markdown] lang="en"
# ## 3.5 Save, load, without our library
#
# What is saved is a folder that plain diffusers knows. Open the model anew, use diffusers' own `load_lora_weights`, and the picture is the same to the pixel.

# %%
import shutil
from pathlib import Path

out = Path("../out/03")
shutil.rmtree(out, ignore_errors=True)
lora.save(out / "porcelain")
print(
    {
        path.name: f"{path.stat().st_size / 1e6:.1f} MB"
        for path in (out / "porcelain").iterdir()
    }
)

# %% tags=["nbval-ignore-output"]
plain = paidiff.load()
plain.load_lora_weights(out / "porcelain")  # diffusers, not paidiff
ours, theirs = (sample(p, ["汽车,草地,青花瓷"], seed=1)[0] for p in (pipe, plain))
assert profile.same(ours, theirs)
show([ours, theirs], titles=["trained", "loaded"])

# %% [markdown] lang="zh"
# 文章里的 `pipe.unet.load_attn_procs(torch.load(...))` 在今天的 diffusers 上报错；它的替代写法对 hub 上的旧文件*不报错，也不起作用*。`paidiff.load_lora` 两种都认，不起作用就报错。

# %% [markdown] lang="en"
# The article's `load_attn_procs` line fails on today's diffusers; its replacement gives *no error and no effect* on the hub's old files. `paidiff.load_lora` reads both, and a LoRA without effect is an error.

# %% [markdown] lang="zh"
# ## 3.6 两个 LoRA
#
# 再训一个小的：`data/kitten` 里的一只小奶猫（下一课的主角）。两个一起开，强度各调各的。

# %% [markdown] lang="en"
# ## 3.6 Two at once
#
# Train another small one on the kitten of the next lesson. Use both at once, each with its own scale.

# %%
paidiff.set_scales(pipe, {})
kitten = LoRA(pipe, rank=8, layers=WIDE, name="kitten")
steps = paidiff.train(
    kitten,
    CaptionFolder(paidiff.data("kitten")),
    **profile.kitten,
    lr_scheduler="cosine",
    caption_dropout=0,
)
for step in paidiff.watch(steps, profile.kitten["steps"]):
    pass


# %% tags=["nbval-ignore-output"]
def both(porcelain, kitten):
    paidiff.set_scales(pipe, {"lora": porcelain, "kitten": kitten})
    return sample(pipe, ["一只小奶猫,雪地,青花瓷"], seed=3)[0]


mixed = [(0, 0), (0, 1), (1, 0), (0.8, 0.8)]
drawn = [both(*pair) for pair in mixed]
if profile.real:
    # each acts, and both together act otherwise
    assert len({picture.tobytes() for picture in drawn}) == 4
show(drawn, titles=["-", "kitten", "porcelain", "kitten + porcelain"])

# %% [markdown] lang="zh"
# ## 3.7 并进模型，导出给 WebUI
#
# `merge` 把打开的 LoRA 加进权重，从此它就是一个普通的模型。`export` 写成 kohya 的格式（WebUI 认这个），写完立刻读回来，逐层比较。

# %% [markdown] lang="en"
# ## 3.7 Merge, and export for the WebUI
#
# `merge` adds the active LoRAs to the weights: an ordinary model from then on. `export` writes kohya's layout (what the WebUI reads), reads it back and compares layer by layer.

# %% tags=["nbval-ignore-output"]
from paidiff_lib.metrics import distance

lora.export(out / "porcelain_webui.safetensors")
print((out / "porcelain_webui.safetensors").name)
plain = paidiff.load()
paidiff.load_lora(plain, out / "porcelain")
paidiff.merge(plain)  # from here on `plain` needs no LoRA file
paidiff.set_scales(pipe, {"lora": 1.0})
two = [sample(p, ["企鹅,白色背景,青花瓷"], seed=2)[0] for p in (pipe, plain)]
assert distance(*two) < 3  # of 255: the sums round differently
show(two, titles=["LoRA", "merged"])

# %% [markdown] lang="zh"
# ## 3.8 停了再接着
#
# 给出 `output`，训练会存检查点：原子写入、带校验和。停在哪里都行，再运行一次就从那里接着走，结果和没停过*一个比特都不差*。

# %% [markdown] lang="en"
# ## 3.8 Stop and go on
#
# With `output`, training keeps checkpoints, written atomically and with hashes. Stop anywhere; run again and it goes on, with a result that equals the uninterrupted one *to the bit*.

# %%
import torch


def trained(output, stop=None):
    method = LoRA(paidiff.load(), rank=2)
    run = paidiff.train(method, data, steps=6, learning_rate=1e-3, output=output)
    for step in run:
        if step.index == stop:
            run.close()  # what "interrupt the kernel" does
    return method.parameters()


straight = trained(out / "straight")
trained(out / "stopped", stop=3)
resumed = trained(out / "stopped")
if profile.exact:  # a GPU sums in any order
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)

# %% [markdown] lang="zh"
# ## 3.9 文章里的那一行命令
#
# 同样的参数，一个不少（步数缩小了）。结果就是 `pipe.load_lora_weights` 能读的文件夹。

# %% [markdown] lang="en"
# ## 3.9 The article's own command
#
# The same flags, every one (fewer steps). The result is a folder for `pipe.load_lora_weights`.

# %%
import subprocess, sys
from paidiff_lib.models.load import model_name

command = [
    sys.executable,
    "-m",
    "accelerate.commands.launch",
    "../scripts/train_text_to_image_lora.py",
    "--pretrained_model_name_or_path",
    model_name(),
    "--train_data_dir",
    paidiff.data("porcelain"),
    f"--resolution={profile.size}",
    "--center_crop",
    "--random_flip",
    "--train_batch_size=1",
    "--gradient_accumulation_steps=4",
    "--max_train_steps=4",
    "--learning_rate=1e-04",
    "--max_grad_norm=1",
    "--lr_scheduler=cosine",
    "--lr_warmup_steps=0",
    "--output_dir",
    str(out / "article"),
]
done = subprocess.run(command, capture_output=True, text=True)
print(done.returncode, sorted(path.name for path in (out / "article").iterdir()))
assert done.returncode == 0, done.stderr[-2000:]

# %% [markdown] lang="zh"
# ## 3.10 换成真模型
#
# ```python
# pipe = paidiff.load("artist-large")
# lora = LoRA(pipe, rank=8)                                     # a GPU with 16 GB; see lesson 1 for the download
# data = CaptionFolder("your/pictures")
# paidiff.fit(lora, data, steps=1500, learning_rate=1e-4, mixed_precision="fp16")
# ```
#
# **未在真权重上验证**。

# %% [markdown] lang="en"
# ## 3.10 The real model
#
# ```python
# pipe = paidiff.load("artist-large")
# lora = LoRA(pipe, rank=8)                                     # a GPU with 16 GB; see lesson 1 for the download
# data = CaptionFolder("your/pictures")
# paidiff.fit(lora, data, steps=1500, learning_rate=1e-4, mixed_precision="fp16")
# ```
#
# **Not verified on the real weights.**

# %% [markdown] lang="zh" tags=["exercise"]
# ## 3.11 自己试试
#
# 1. `layers=WIDE` 换成默认的（只有注意力层）：学得慢了多少？
# 2. `rank` 取 2、8、32，文件多大，画风多像？
# 3. 只用 5 张图训练。
# 4. 用你自己的图：一个文件夹，每张图旁边一个同名 `.txt`。

# %% [markdown] lang="en" tags=["exercise"]
# ## 3.11 Try it yourself
#
# 1. Leave `layers` at its default (attention only): how much slower?
# 2. Ranks 2, 8, 32: file size and style?
# 3. Train on 5 pictures only.
# 4. Your own pictures: a folder with a `.txt` beside each.

# %% [markdown] lang="zh"
# ## 3.12 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | 画风没学到 | 步数或学习率太小；说明文字里没写画风的名字。 |
# | 全糊了 | 学习率太大，或步数太多：试试 `scale` 0.7。 |
# | `… 的 LoRA 没有起作用` | 这个文件不是给这个模型的。 |
# | `模型里已有叫 lora 的 LoRA` | 换个 `name=`，或重新 `load`。 |
# | `梯度不是有限数` | 学习率太大；权重没有被写坏。 |
# | `是另一次训练的,接不上` | `output` 里是别的设置的检查点：换个文件夹。 |

# %% [markdown] lang="en"
# ## 3.12 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | no style | Too few steps, too small a rate, or captions that do not name the style. |
# | everything is mush | Too large a rate, too many steps: try scale 0.7. |
# | `… 的 LoRA 没有起作用` | The file is for another model. |
# | `模型里已有叫 lora 的 LoRA` | Another `name=`, or load anew. |
# | `梯度不是有限数` | The rate is too large; the weights are unharmed. |
# | `是另一次训练的,接不上` | Another run's checkpoints: choose another folder. |

# %% [markdown] lang="zh"
# ## 3.13 小结
#
# * LoRA = 原权重不动，旁边训练两个瘦矩阵。
# * 20 张图、一句带画风名字的说明，就够学一种画风；学到没有，量出来。
# * 文件小，可叠加、可调、可并、可导出。

# %% [markdown] lang="en"
# ## 3.13 Summary
#
# * The weights stay; two thin matrices are trained beside them.
# * 20 pictures and captions that name the style; measured.
# * Small, stackable, adjustable, mergeable, exportable.
