# %% [markdown] lang="zh"
# # 08 · 数据清洗：体检、打分、筛选
#
# **离线 · CPU · 不用 GPU**
#
# **学完这一课，你会**：给一个训练集做*体检*（audit），在训练之前找出坏文件和坏说明；给每张图*打分*（score）：图文是否相符、糊不糊、有没有噪点和水印、该不该出现、是不是重复；用一个式子留下好的；用真实值量出每个过滤器的*查准率*（precision）和*查全率*（recall）；最后在脏的和干净的两份数据上各训练一次，花费相同，量出清洗值不值。
#
# **用时**：两核 CPU 上全部运行两到四分钟，看机器，不需要 GPU，也不需要网络。

# %% [markdown] lang="en"
# # 08 · Data cleaning: audit, score, keep
#
# **Offline · CPU · no GPU needed**
#
# **You will**: *audit* a training set and find broken files and captions before training does; give every picture *scores*: does the caption fit, is it blurred, noisy, watermarked, unwanted, a duplicate; keep the good ones with one expression; measure the *precision* and *recall* of every filter against the truth; and train on the dirty and on the clean set at equal cost, to see whether cleaning pays.
#
# **Time**: Two to four minutes, depending on the machine, for Run All on two CPU cores; no GPU, no network.

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import paidiff_lib as paidiff
from paidiff_lib import CaptionFolder, FullTuning, audit, curate, show

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("08", pipe)  # how much to do with this model

# %% [markdown] lang="zh"
# ## 8.1 一份脏数据
#
# 网上收来的图就是这样：糊的、有噪点的、带水印的、说明对不上的、不该有的、重复的。这一份由图画世界做出来，所以每张图哪里不对，我们有*真实值*（ground truth）可以对照。`nsfw` 用骷髅*代替*：图画世界里没有真正不雅的东西。

# %% [markdown] lang="en"
# ## 8.1 A dirty set
#
# Pictures collected from the web look like this: blurred, noisy, watermarked, wrongly captioned, unwanted, copied. The picture world made this set, so we have the *ground truth* of each picture. For `nsfw` a skull *stands in*: the world holds nothing indecent.

# %%
import shutil
from pathlib import Path
from paidiff_world import dirty

out = Path("../out/08")
shutil.rmtree(out, ignore_errors=True)
truth = dirty.write(
    out / "dirty",
    profile.pictures,
    seed=8,
    share=0.75,
    kinds=("blur", *["caption"] * 4, *dirty.KINDS),
)
names = [
    next(name for name, kind in truth.items() if kind == wanted)
    for wanted in ("", *dirty.KINDS)
]
data = CaptionFolder(out / "dirty")
place = {item.name: i for i, item in enumerate(data.items)}
show(
    [data.image(place[name], 128) for name in names],
    titles=[f"{truth[name] or '✓'}: {data.caption(place[name])}" for name in names],
    columns=4,
)

# %% [markdown] lang="zh"
# ## 8.2 体检
#
# 先问最简单的：文件读得出来吗，说明在不在？我们再弄坏几个。`audit` 把每张图完整解码，一次报告全部问题，什么都不改。✗ 是不能训练的问题，· 是提示。

# %% [markdown] lang="en"
# ## 8.2 Audit
#
# First the simplest question: can the files be read, are the captions there? We break a few more. `audit` decodes every picture whole and reports everything at once; it changes nothing. ✗ cannot be trained on, · is a hint.

# %%
import json

broken = out / "broken"
shutil.rmtree(broken, ignore_errors=True)
shutil.copytree(out / "dirty", broken)
lines = (broken / "metadata.jsonl").read_text(encoding="utf-8").splitlines()[:9]
pictures = [broken / json.loads(line)["file_name"] for line in lines]
pictures[0].write_bytes(pictures[0].read_bytes()[:600])  # cut short
pictures[1].write_bytes(b"")
lines[2] = json.dumps({"file_name": pictures[2].name, "text": ""})
lines[3] = json.dumps({"file_name": "../dirty/00004.jpg", "text": "一只猫"})
lines.append(
    json.dumps({"file_name": "没有这张.jpg", "text": "一只狗"}, ensure_ascii=False)
)
(broken / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
for finding in audit(broken).findings:
    print(finding.line())

# %% [markdown] lang="zh"
# 训练会拒绝这样的文件夹，除非你说跳过；跳过了哪些，它会告诉你。命令行：`paidiff audit 文件夹`。

# %% [markdown] lang="en"
# Training refuses such a folder unless told to skip the faults; then it says what it skipped. At the command line: `paidiff audit FOLDER`.

# %%
try:
    CaptionFolder(broken)
except paidiff.PaidiffError as error:
    print(error)
usable = CaptionFolder(broken, skip_faults=True)
print(len(usable))

# %% [markdown] lang="zh"
# ## 8.3 打分
#
# 每张图得到几个数。`clip` 是图和说明的相似度（*CLIP score*），来自本项目自己的中文 CLIP；`blur noise watermark nsfw` 是小检测器给的概率；`near` 是和之前最像的一张有多远；`aesthetic` 在这里只是“清楚又干净”，没有审美。它们都和裁判无关，所以裁判可以来评判结果。

# %% [markdown] lang="en"
# ## 8.3 Scores
#
# Every picture gets a few numbers. `clip` is how well picture and caption agree (*CLIP score*), by this project's own Chinese CLIP; `blur noise watermark nsfw` are probabilities from small detectors; `near` is how far the most similar picture before it is; `aesthetic` here only means sharp and clean, there is no taste in it. None of them shares anything with the judge, so the judge can measure what comes out.

# %%
# the rule that comes with the scores; keep="..." for your own
found = curate(out / "dirty")
print(found.summary())

# %% tags=["nbval-ignore-output"]
import numpy as np

order = np.argsort(found.scores["clip"])
worst, best = order[:6], order[-6:]
show(
    [data.image(place[found.items[i].name], 128) for i in (*worst, *best)],
    titles=[
        f"clip {found.scores['clip'][i]:.2f}: {found.items[i].text}"
        for i in (*worst, *best)
    ],
    columns=6,
)

# %% [markdown] lang="zh"
# ## 8.4 过滤器好不好
#
# 对照真实值：丢掉的有多少真该丢（查准率），该丢的丢掉了多少（查全率）。阈值是在*另一份*数据上定的。两千张的完整测量：`python -m paidiff_world.pretrain.curator --measure`。

# %% [markdown] lang="en"
# ## 8.4 How good are the filters
#
# Against the truth: how much of what a filter drops is bad (precision), how much of what is bad it drops (recall). The thresholds were set on *another* set. The full measurement on two thousand pictures: `python -m paidiff_world.pretrain.curator --measure`.

# %% tags=["nbval-ignore-output"]
kinds = np.array([truth[item.name] for item in found.items])
figures = {}
for (clause, holds), kind in zip(
    found.rule.each(found.scores).items(),
    ("blur", "noise", "watermark", "nsfw", "caption", "near"),
):
    right = (~holds & (kinds == kind)).sum()
    figures[kind] = (
        right / max((~holds).sum(), 1),
        right / max((kinds == kind).sum(), 1),
    )
    precision, recall = figures[kind]
    print(f"{clause:18} precision {precision:.0%} · recall {recall:.0%}")
kept = kinds[found.kept]
print(f"good: before {(kinds == '').mean():.0%} · kept {(kept == '').mean():.0%}")

# %%
if profile.pictures >= 100:
    assert (kept == "").mean() > 0.9 > (kinds == "").mean()
    assert np.mean([precision for precision, _ in figures.values()]) > 0.85
    assert np.mean([recall for _, recall in figures.values()]) > 0.85

# %% [markdown] lang="zh"
# 阈值是取舍：`clip` 的阈值越高，对不上的越少，误伤的好图越多。

# %% [markdown] lang="en"
# A threshold is a trade: the higher the one of `clip`, the fewer wrong captions are left, and the more good pictures are lost.

# %% tags=["nbval-ignore-output"]
limits = np.linspace(*np.percentile(found.scores["clip"], (1, 99)), 30)
wrong = kinds == "caption"
lost = [float((found.scores["clip"][kinds == ""] <= limit).mean()) for limit in limits]
left = [float((found.scores["clip"][wrong] > limit).mean()) for limit in limits]
show(
    paidiff.curve(
        {"good, lost": (limits, lost), "caption, left": (limits, left)},
        x="clip",
        y="share",
    ),
    alt="阈值和两种错误 · two kinds of error over the threshold",
)

# %% [markdown] lang="zh"
# ## 8.5 新清单，不动图片

# %% [markdown] lang="en"
# ## 8.5 A new manifest, no file moved

# %%
manifest = found.write()  # dirty/kept.jsonl
clean = CaptionFolder(manifest)
assert len(list((out / "dirty").glob("*.jpg"))) == len(truth)  # nothing was deleted
print(manifest.name, len(data), "->", len(clean))
print(manifest.read_text(encoding="utf-8").splitlines()[0])

# %% [markdown] lang="zh"
# ## 8.6 清洗值不值
#
# 从同一个模型出发，在脏的和干净的两份数据上各训练全部权重，步数、批量、学习率都相同。裁判看：提示词里的事物和背景画对了吗，画面清楚吗。

# %% [markdown] lang="en"
# ## 8.6 Does cleaning pay
#
# From the same model, train all weights on the dirty and on the clean set, with the same steps, batch and rate. The judge looks: are the subject and the background of the prompt there, is the picture sharp?


# %%
def trained(data):
    pipe = paidiff.load()
    run = paidiff.train(
        FullTuning(pipe),
        data,
        **profile.tune,
        lr_scheduler="cosine",
        caption_dropout=0,
        cache=str(out / "cache"),
        seed=0,
    )
    for step in paidiff.watch(run, profile.tune["steps"]):
        pass
    return pipe


models = {"base": pipe, "dirty": trained(data), "clean": trained(clean)}

# %% tags=["nbval-ignore-output"]
from paidiff_lib.generate import sample
from paidiff_lib.metrics import interval, sharpness
from paidiff_world.judge import judge, truth as wanted
from paidiff_world.heldout import held_out
from paidiff_world import render

chosen = held_out(profile.prompts)  # prompts that pre-training never saw


def measured(pictures):
    seen = judge().probabilities(pictures)
    hits = [
        np.mean(
            [
                judge().classes[head][seen[head][i].argmax()] == wanted(spec)[head]
                for head in ("subject", "background")
            ]
        )
        for i, (spec, _) in enumerate(chosen)
    ]
    return hits, [sharpness(picture) for picture in pictures]


drawn = {
    name: sample(
        model,
        [caption for _, caption in chosen],
        list(range(len(chosen))),
        steps=profile.steps,
    )
    for name, model in models.items()
}
drawn["real"] = [
    render(spec, np.random.RandomState(i)) for i, (spec, _) in enumerate(chosen)
]
numbers = {name: measured(pictures) for name, pictures in drawn.items()}
for name, (hits, sharp) in numbers.items():
    print(
        f"{name:6}",
        "follows %.2f [%.2f, %.2f] · sharpness %.1f [%.1f, %.1f]"
        % (*interval(hits), *interval(sharp)),
    )
show(
    [picture for pictures in drawn.values() for picture in pictures[:6]],
    titles=[name for name, pictures in drawn.items() for _ in pictures[:6]],
    columns=6,
)

# %% [markdown] lang="zh"
# 同样的提示词、同样的种子：所以比的是*每一对*图的差。

# %% [markdown] lang="en"
# The same prompts and seeds: so what is compared is the difference of *each pair* of pictures.

# %% tags=["nbval-ignore-output"]
gain = [interval(np.subtract(a, b)) for a, b in zip(numbers["clean"], numbers["dirty"])]
print(
    "clean - dirty: follows %+.2f [%+.2f, %+.2f]" % gain[0],
    "· sharpness %+.1f [%+.1f, %+.1f]" % gain[1],
)
if profile.judged:
    assert gain[0][1] > 0 and gain[1][1] > 0  # beyond the interval

# %% [markdown] lang="zh"
# 一次训练、一个种子。三个训练种子的测量：`python benchmarks/seeds.py cleaning`。

# %% [markdown] lang="en"
# One training with one seed. Three training seeds: `python benchmarks/seeds.py cleaning`.

# %% [markdown] lang="zh"
# ## 8.7 一行命令

# %% [markdown] lang="en"
# ## 8.7 One command

# %%
import subprocess, sys

command = [
    sys.executable,
    "-m",
    "paidiff_app.cli",
    "curate",
    str(out / "dirty"),
    "--keep",
    "clip > 0.3 and watermark < 0.5 and near > 3",
    "-o",
    "mine.jsonl",
]
done = subprocess.run(command, capture_output=True, text=True)
assert done.returncode == 0 and (out / "dirty/mine.jsonl").is_file(), done.stderr
print("paidiff curate:", done.returncode)

# %% [markdown] lang="zh"
# ## 8.8 换成真的
#
# ```python
# found = curate("your/pictures", keep="clip > 0.2 and nsfw < 0 and near > 3 and width >= 512",
#                clip="OFA-Sys/chinese-clip-vit-base-patch16", nsfw="CompVis/stable-diffusion-safety-checker")
# CaptionFolder(found.write())
# ```
#
# 内置的 CLIP 和检测器只认识图画世界；照片要用真的模型，那里的阈值要自己定。**未在真权重上验证**。

# %% [markdown] lang="en"
# ## 8.8 The real ones
#
# ```python
# found = curate("your/pictures", keep="clip > 0.2 and nsfw < 0 and near > 3 and width >= 512",
#                clip="OFA-Sys/chinese-clip-vit-base-patch16", nsfw="CompVis/stable-diffusion-safety-checker")
# CaptionFolder(found.write())
# ```
#
# The embedded CLIP and detectors know the picture world only. Photographs need the real models, and thresholds of your own. **Not verified on the real weights.**

# %% [markdown] lang="zh" tags=["exercise"]
# ## 8.9 自己试试
#
# 1. 只去掉水印，别的不管：`keep="watermark < 0.5"`。
# 2. `share=0.3`：数据没那么脏时，清洗还值吗？
# 3. 用你自己的文件夹跑 `paidiff audit`。

# %% [markdown] lang="en" tags=["exercise"]
# ## 8.9 Try it yourself
#
# 1. Take out watermarks only: `keep="watermark < 0.5"`.
# 2. `share=0.3`: with less dirt, does cleaning still pay?
# 3. Run `paidiff audit` on a folder of your own.

# %% [markdown] lang="zh"
# ## 8.10 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | `规则看不懂` | 式子里只能有分数、数字、比较、`and or not`。 |
# | 留下的太少 | 看 `summary()`：哪一条丢得最多，放宽它。 |
# | 训练拒绝文件夹 | `paidiff audit` 看问题；或 `skip_faults=True`。 |

# %% [markdown] lang="en"
# ## 8.10 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | `规则看不懂` | A rule holds scores, numbers, comparisons, `and or not`. |
# | too few are kept | `summary()` says which clause drops most: loosen it. |
# | training refuses a folder | `paidiff audit` shows the faults; or `skip_faults=True`. |

# %% [markdown] lang="zh"
# ## 8.11 小结
#
# * 先体检，再打分，再训练；什么都不删。
# * 过滤器也要量：查准率和查全率。
# * 同样的花费，干净的数据训练出更好的模型。

# %% [markdown] lang="en"
# ## 8.11 Summary
#
# * Audit, score, then train; nothing is ever deleted.
# * Filters are measured too: precision and recall.
# * At equal cost the clean set gives the better model.
