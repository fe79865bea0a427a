# %% [markdown] lang="zh"
# # 07 · 继续预训练：会画菜的模型
#
# **离线 · CPU · 不用 GPU**
#
# **学完这一课，你会**：用一套带说明的图片做*全量微调*（full fine-tuning），让一个通用模型变成一个场景模型；看到它学新的、忘旧的，把*遗忘*量出来；用*复习*（rehearsal）把遗忘压下去；再在这个新模型上同时用 LoRA 和 ControlNet。
#
# **用时**：两核 CPU 上全部运行两分半到五分半钟，看机器，不需要 GPU，也不需要网络。

# %% [markdown] lang="en"
# # 07 · Continued pre-training: a model that draws dishes
#
# **Offline · CPU · no GPU needed**
#
# **You will**: turn a general model into a scenario model by *full fine-tuning* on a captioned set; see it learn the new and forget the old, and *measure the forgetting*; hold it down by *rehearsal*; then use a LoRA and a ControlNet on the new model at once.
#
# **Time**: Two and a half to five and a half minutes, depending on the machine, for Run All on two CPU cores; no GPU, no network.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import paidiff_lib as paidiff
from paidiff_lib import CaptionFolder, FullTuning, Mixed, show

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("07", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 7.1 先看结果
#
# 文章里的美食模型会画这六道菜。我们的小模型从没见过它们：

# %% [markdown] lang="en"
# ## 7.1 The result first
#
# The article's food model draws these six dishes. Our small model has never seen them:

# %%
from paidiff_lib.generate import sample  # as draw, without its hints
from paidiff_world.words import DISHES

prompts = [f"{dish},蓝色背景" for dish in DISHES]
before = sample(pipe, prompts, seed=0)
show(before, titles=[*DISHES])

# %% [markdown] lang="zh"
# 训练图：240 张，六道菜各 40 张，各种地方和画风。（世界是程序画的，几秒钟就有；你自己的就是一个文件夹加 `metadata.jsonl`。）

# %% [markdown] lang="en"
# The training set: 240 pictures, 40 of each dish, in all sorts of places and styles. (The picture world is painted by a program, in seconds; your own would be a folder with a `metadata.jsonl`.)

# %%
import shutil
from pathlib import Path
from paidiff_world.folders import food, known, write
from paidiff_world.words import SUBJECTS

out = Path("../out/07")
shutil.rmtree(out, ignore_errors=True)
write(out / "food", food(profile.dishes))
namesakes = [thing for thing in SUBJECTS if set(thing) & set("".join(DISHES))]
write(
    out / "known",
    [*known(profile.known), *known(profile.namesakes, seed=1, subjects=namesakes)],
)
new, old = CaptionFolder(out / "food"), CaptionFolder(out / "known")
show(
    [new.image(i, 128) for i in range(12)],
    titles=[new.caption(i) for i in range(12)],
    columns=6,
)
print(*namesakes)

# %% [markdown] lang="zh"
# 训练*全部*权重。`Mixed` 让一半多的训练图来自旧的世界：这就是复习。最先忘掉的，是名字和新菜有同样的字的东西：学“红烧狮子头”，“狮子”就画成菜；学“菠萝炒饭”，“菠萝”就乱了。所以复习图的三分之一只画它们。学习率一直不降；权重的*指数滑动平均*（EMA）抹平每一步的抖动，练完留下的就是它。

# %% [markdown] lang="en"
# Train *all* weights. `Mixed` takes a little over half of the training pictures from the old world: that is the rehearsal. What is forgotten first is what shares a character with a new dish: 红烧狮子头 turns 狮子 (a lion) into food, 菠萝炒饭 confuses 菠萝 (a pineapple). So a third of the rehearsal shows only those. The learning rate stays where it is; an *exponential moving average* of the weights (EMA) evens out what each step pushes about, and is what remains at the end.

# %%
tuning = FullTuning(pipe)
both = Mixed(new, old, share=0.55)
steps = paidiff.train(
    tuning,
    both,
    **profile.food,
    ema=0.95,
    caption_dropout=0,
    cache=str(out / "cache"),
    seed=0,
)
losses = [step.loss for step in paidiff.watch(steps, profile.food["steps"])]

# %% tags=["nbval-ignore-output"]
after = sample(pipe, prompts, seed=0)
if profile.real:
    assert not {p.tobytes() for p in before} & {p.tobytes() for p in after}
show(before + after, titles=["before"] * 6 + [*DISHES], columns=6)

# %% [markdown] lang="zh"
# ## 7.2 它和 LoRA 有什么不同
#
# 全部权重都动，所以学得多，也忘得多；存下来的是一整个模型。文本编码器和 VAE 还是冻结的，和文章一样。

# %% [markdown] lang="en"
# ## 7.2 How it differs from a LoRA
#
# Every weight moves, so it learns more and forgets more, and what is saved is a whole model. Text encoder and VAE stay frozen, as in the article.

# %%
import inspect

print(inspect.getsource(FullTuning.parameters))
trained = sum(p.numel() for p in tuning.parameters().values())
print(f"trained: {trained / 1e6:.1f} M")

# %% [markdown] lang="zh"
# ## 7.3 量一量
#
# **学会了吗**：裁判学过这六道菜，看它在多少张里认出来；六道菜，三个种子。下限是打乱提示词，上限是真图。
# **忘了吗**：28 种旧的事物，前后各画一遍。对照组：同样的训练，没有复习，而且步数少得多。

# %% [markdown] lang="en"
# ## 7.3 Measure it
#
# **Learnt?** The judge was taught the six dishes: six dishes, three seeds; floor, shuffled prompts; ceiling, real pictures. **Forgotten?** 28 old things, before and after. Compared with the same training without rehearsal, and far fewer steps.

# %% tags=["nbval-ignore-output"]
import numpy as np
from paidiff_lib.metrics import interval
from paidiff_world.judge import judge
from paidiff_world import Spec, render

dishes = [
    Spec(dish, place)
    for place in ("蓝色背景", "草地", "白色背景")[: profile.places]
    for dish in DISHES
]
things = [
    Spec(thing, ["草地", "雪地", "沙滩", "白色背景"][i % 4])
    for i, thing in enumerate([*SUBJECTS][::4][: profile.things])
]


def seen(pictures, specs):
    probabilities = judge().probabilities(pictures)["subject"].argmax(1)
    return [
        judge().classes["subject"][p] == spec.subject
        for p, spec in zip(probabilities, specs)
    ]


def rates(name, pipe):
    drawn = [
        sample(
            pipe,
            [f"{s.subject},{s.background}" for s in specs],
            list(range(len(specs))),
            steps=profile.steps,
        )
        for specs in (dishes, things)
    ]
    found = [
        interval(seen(pictures, specs))
        for pictures, specs in zip(drawn, (dishes, things))
    ]
    print(
        f"{name:9}",
        *(
            "%s %3.0f%% [%3.0f, %3.0f]" % (what, *(100 * v for v in f))
            for what, f in zip(("dishes", "· old"), found)
        ),
    )
    return drawn[0], found


base = rates("before", paidiff.load())
rehearsed = rates("rehearsed", pipe)
shuffled = interval(seen(rehearsed[0][1:] + rehearsed[0][:1], dishes))
real = interval(
    seen(
        [
            render(
                Spec(s.subject, s.background, size=0.75, grid=True),
                np.random.RandomState(i),
            )
            for i, s in enumerate(dishes)
        ],
        dishes,
    )
)
print(f"dishes: floor {shuffled[0]:.0%} · ceiling {real[0]:.0%}")

# %% tags=["nbval-ignore-output"]
careless = paidiff.load()
run = paidiff.train(
    FullTuning(careless),
    new,
    **profile.careless,
    ema=0.95,
    caption_dropout=0,
    cache=str(out / "cache"),
    seed=0,
)
for step in paidiff.watch(run, profile.careless["steps"]):
    pass
forgetful = rates("careless", careless)

# %%
if profile.judged:
    # learnt; few pictures: the interval is wide
    assert base[1][0][0] < 0.1 and rehearsed[1][0][0] >= 0.5
    # rehearsal is what keeps the old
    assert rehearsed[1][1][0] > forgetful[1][1][0] + 0.2
    assert rehearsed[1][1][0] > base[1][1][0] - 0.15

# %% [markdown] lang="zh"
# 112 种旧事物、三个种子的完整测量是 `python benchmarks/seeds.py food`。

# %% [markdown] lang="en"
# The full measurement, all 112 old things and three seeds, is `python benchmarks/seeds.py food`.

# %% [markdown] lang="zh"
# ## 7.4 LoRA + ControlNet + 美食模型
#
# 在新模型上训练一个小小的青花瓷 LoRA（第 3 课），再加上第 6 课的 ControlNet：一张图里，菜来自新模型，画风来自 LoRA，形状来自线稿。

# %% [markdown] lang="en"
# ## 7.4 All at once
#
# Train a small porcelain LoRA (lesson 3) on the new model and add the ControlNet of lesson 6: in one picture the dish comes from the new model, the style from the LoRA, the shape from the lines.

# %%
from paidiff_lib import LoRA, canny, draw_along
from paidiff_lib.methods.lora import WIDE
from paidiff_lib.models.load import load_control, model_name

tuning.save_model(out / "model")
chef = paidiff.load(
    out / "model", task="controlnet", control=load_control("canny", model_name())
)
lora = LoRA(chef, rank=8, layers=WIDE)
steps = paidiff.train(
    lora,
    CaptionFolder(paidiff.data("porcelain")),
    **profile.lora,
    lr_scheduler="cosine",
    caption_dropout=0,
)
for step in paidiff.watch(steps, profile.lora["steps"]):
    pass

# %% tags=["nbval-ignore-output"]
dish = "红烧狮子头"
bowl = render(
    Spec(dish, "白色背景", size=0.75, grid=True), np.random.RandomState(1), profile.size
)


def combined(words, scale, style):
    paidiff.set_scales(chef, {"lora": style} if style else {})
    return draw_along(chef, words, canny(bowl), seed=2, scale=scale)


plain, porcelain = f"{dish},白色背景", f"{dish},白色背景,青花瓷"
four = [
    combined(plain, 0.0, 0),
    combined(plain, 1.0, 0),
    combined(porcelain, 0.0, 1.0),
    combined(porcelain, 1.0, 1.0),
]
if profile.real:
    assert len({p.tobytes() for p in four}) == 4
show([canny(bowl), *four], titles=["canny", "food", "+ ControlNet", "+ LoRA", "+ both"])
print(
    "P(青花瓷): "
    + " ".join(f"{p:.2f}" for p in judge().probability(four, "style", "青花瓷"))
)
print("F1: " + " ".join(f"{paidiff.edge_agreement(p, canny(bowl)):.2f}" for p in four))

# %% [markdown] lang="zh"
# ## 7.5 存、取、一行命令

# %% [markdown] lang="en"
# ## 7.5 Save, load, one command

# %% tags=["nbval-ignore-output"]
from diffusers import StableDiffusionPipeline

plain = StableDiffusionPipeline.from_pretrained(out / "model", dtype=pipe.dtype)
plain.to(pipe.device)  # no line of ours
plain.set_progress_bar_config(disable=True)
same = [sample(p, ["番茄炒蛋,蓝色背景"], seed=1)[0] for p in (pipe, plain)]
assert profile.same(*same)
show(same, titles=["trained", "diffusers"])

# %%
import subprocess, sys
from paidiff_lib.models.load import model_name

command = [
    sys.executable,
    "-m",
    "accelerate.commands.launch",
    "../scripts/train_text_to_image.py",
    "--pretrained_model_name_or_path",
    model_name(),
    "--train_data_dir",
    paidiff.data("porcelain"),
    "--use_ema",
    f"--resolution={profile.size}",
    "--center_crop",
    "--random_flip",
    "--train_batch_size=1",
    "--gradient_accumulation_steps=4",
    "--gradient_checkpointing",
    "--max_train_steps=2",
    "--learning_rate=1e-05",
    "--max_grad_norm=1",
    "--lr_scheduler=constant",
    "--output_dir",
    str(out / "script"),
]
done = subprocess.run(command, capture_output=True, text=True)
print(done.returncode, sorted(path.name for path in (out / "script").iterdir()))
assert done.returncode == 0, done.stderr[-2000:]

# %% [markdown] lang="zh"
# 文章的命令里还有 `--mixed_precision=fp16`：它要 GPU，在 CPU 上会得到一行说明。

# %% [markdown] lang="en"
# The article's command also has `--mixed_precision=fp16`: that needs a GPU; a CPU answers with one clear line.

# %% [markdown] lang="zh"
# ## 7.6 换成真模型
#
# ```python
# pipe = paidiff.load("general-large")
# tuning = FullTuning(pipe)                         # a GPU with 24 GB or more
# paidiff.fit(tuning, CaptionFolder("your/pictures"), steps=15000, learning_rate=1e-5, gradient_accumulation_steps=4,
#             mixed_precision="fp16", gradient_checkpointing=True, ema=0.9999, output="out/food")
# ```
#
# **未在真权重上验证**。真模型的旧训练图拿不到，复习可以用模型自己画的图，和第 5 课的先验保留一样。

# %% [markdown] lang="en"
# ## 7.6 The real model
#
# ```python
# pipe = paidiff.load("general-large")
# tuning = FullTuning(pipe)                         # a GPU with 24 GB or more
# paidiff.fit(tuning, CaptionFolder("your/pictures"), steps=15000, learning_rate=1e-5, gradient_accumulation_steps=4,
#             mixed_precision="fp16", gradient_checkpointing=True, ema=0.9999, output="out/food")
# ```
#
# **Not verified on the real weights.** The real model's old training pictures are not to be had; rehearse with pictures that it drew itself, like the prior preservation of lesson 5.

# %% [markdown] lang="zh" tags=["exercise"]
# ## 7.7 自己试试
#
# 1. `share` 取 0.2 和 0.8：学和忘怎么变？
# 2. 不要 `ema`，改成 `lr_scheduler="cosine"`：学到几道菜？
# 3. 只练两道菜。
# 4. 番茄炒蛋放到星空下、画成水墨画：训练图里有吗？

# %% [markdown] lang="en" tags=["exercise"]
# ## 7.7 Try it yourself
#
# 1. Shares of 0.2 and 0.8: learning and forgetting?
# 2. `lr_scheduler="cosine"` in place of `ema`: how many dishes are learnt?
# 3. Teach two dishes only.
# 4. 番茄炒蛋 under the stars, as ink painting.

# %% [markdown] lang="zh"
# ## 7.8 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | 旧的都忘了 | 没有复习，或学习率太大。 |
# | 菜还是糊的 | 步数不够。 |
# | `CPU 不能用 fp16 精度` | CPU 上去掉 `--mixed_precision=fp16`。 |
# | 显存不够 | `gradient_checkpointing=True`，`batch_size` 小一些、`gradient_accumulation_steps` 大一些。 |
# | `两组图要一样大` | `Mixed` 的两组用同一个 `size`。 |

# %% [markdown] lang="en"
# ## 7.8 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | the old is forgotten | No rehearsal, or too large a rate. |
# | the dishes are mush | Too few steps. |
# | `CPU 不能用 fp16 精度` | Leave it out on a CPU. |
# | out of memory | Smaller batch, more accumulation. |
# | `两组图要一样大` | Give both sets the same size. |

# %% [markdown] lang="zh"
# ## 7.9 小结
#
# * 继续预训练 = 用新的一套图接着训练全部权重。
# * 学和忘要一起量；复习压住遗忘。
# * 新模型照样接 LoRA 和 ControlNet。

# %% [markdown] lang="en"
# ## 7.9 Summary
#
# * All weights go on training, on a new set.
# * Measure learning and forgetting together; rehearsal holds the second down.
# * The new model takes LoRAs and ControlNets like any other.
