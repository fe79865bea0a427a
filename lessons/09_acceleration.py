# %% [markdown] lang="zh"
# # 09 · 加速：每一级快多少、差多少
#
# 一张图要等几秒，能不能等一半，等十分之一？能，办法不止一个，而且可以叠起来：像一架*梯子*（ladder），一级一级往下。可是“快了”只是一半的话，另一半是“差了多少”。这一课给每一级都量四个数：UNet 算了几遍、一张图几秒、离原图多远、裁判还认不认得。有一级在你的机器上也许不划算，要量了才知道。
#
# **用时**：读和做 40 分钟；全部运行约四分钟（一个 CPU 线程），不用 GPU，不用网络。**你需要**：[第 01 课](01_inference.ipynb)（步数、引导、调度器）、[第 00 课](00_what_is_diffusion.ipynb)（DDIM 的一步）和[第 13 课](13_evaluation.ipynb)（裁判、区间、成对比较）。**学完你会**：说出一张图的时间花在哪里；用四个 `with` 叠出一架梯子；说出蒸馏学的是什么；公平地比较两级，该给的引导一样给；把整条流水线*导出*（export），不用 torch 也能画。
#
# **先想两个旧问题**：
# 1. [第 01 课](01_inference.ipynb)：引导是 2 的时候，画一张五十步的图，UNet 一共算几遍？引导是 1 呢？
# 2. [第 00 课](00_what_is_diffusion.ipynb)：DDIM 走一步要用哪两个估计？步子跨大了，为什么会走偏？
#
# 梯子的样子（六十句提示词、三个种子；那时引导是 3，解码器和裁判也比今天的旧，所以 9.6 自己再量一遍）：
#
# ![](diagram:ladder)

# %% [markdown] lang="en"
# # 09 · Faster: what each rung saves and what it costs
#
# A picture takes seconds. Could it take half of that, or a tenth? Yes, in more than one way, and the ways add up: a *ladder*, to be climbed down rung by rung. But “faster” is only half of what there is to say; the other half is “how much worse”. This lesson measures four numbers for every rung: how often the UNet runs, seconds a picture, distance from the original, and what the judge still sees. One of the rungs may not pay on your machine, and you cannot know before you measure.
#
# **Time**: 40 minutes of reading and doing; running everything takes about four minutes (one CPU thread); no GPU, no network. **You need**: [lesson 01](01_inference.ipynb) (steps, guidance, schedulers), [lesson 00](00_what_is_diffusion.ipynb) (a step of DDIM) and [lesson 13](13_evaluation.ipynb) (judge, intervals, paired comparison). **You will be able to**: say where the time of a picture goes; build a ladder of four `with`s; say what distillation learns; compare two rungs fairly, with guidance for both where both are due it; *export* the whole pipeline and draw without torch.
#
# **Two questions from earlier lessons**:
# 1. [Lesson 01](01_inference.ipynb): at a guidance of 2, how often does the UNet run for a picture of fifty steps? And at 1?
# 2. [Lesson 00](00_what_is_diffusion.ipynb): which two estimates does a step of DDIM use? Why does it go astray if the step is large?
#
# What the ladder looks like (sixty prompts, three seeds; at a guidance of 3, with an older decoder and judge than today's, so 9.6 measures anew):
#
# ![](diagram:ladder)

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import numpy as np
import paidiff_lib as paidiff
from paidiff_lib import acceleration, draw, show

pipe = paidiff.load()  # the model named in PAIDIFF_MODEL, else "mini"
profile = paidiff_course.profile("09", pipe)  # how much to do with this model
plain, few = profile.steps
prompt, seed = "雪地里的两只企鹅", 4

# %% [markdown] lang="zh"
# ## 9.1 先看结果
#
# 一张是朴素的办法：DDIM，{{ plain }} 步，每步都有引导。另一张从同一份噪声出发，换了采样器（就是调度器，[第 01 课](01_inference.ipynb)），只走 {{ few }} 步，引导隔一步算一次，UNet 少算了八成多。
#
# **先猜**：看得出哪张是哪张吗？

# %% [markdown] lang="en"
# ## 9.1 The result first
#
# One is the plain way: DDIM, {{ plain }} steps, guidance at each of them. The other starts from the same noise, with another sampler (that is a scheduler, [lesson 01](01_inference.ipynb)), takes {{ few }} steps, and computes guidance at every second one: more than eight tenths of the UNet's work are gone.
#
# **Predict**: will you be able to tell which is which?

# %%
with acceleration.solver(pipe, "ddim"):
    before = draw(pipe, prompt, seed=seed, steps=plain)
with acceleration.solver(pipe, "dpm"), acceleration.guidance_every(pipe, 2):
    after = draw(pipe, prompt, seed=seed, steps=few)
alt = "两张雪地里的企鹅，几乎一样 · two pictures of penguins in snow, nearly the same"
show([before, after], titles=[f"DDIM {plain}", f"DPM-Solver++ {few}"], alt=alt)

# %% [markdown] lang="zh"
# ## 9.2 时间花在哪里
#
# 走 $N$ 步的一张图，时间是
#
# $$T = T_{\text{text}} + N\,T_{\text{UNet}} + T_{\text{VAE}}$$
#
# 文本编码器和 VAE 解码器（[第 01 课](01_inference.ipynb)）各算一遍，UNet 每步算一遍。有引导时，这一遍里是两张图：有提示词的和空提示词的一起过。
#
# **先猜**：{{ plain }} 步的图，UNet 占百分之几？一次过两张（x 2）的时间，是过一张（x 1）的两倍吗？

# %% [markdown] lang="en"
# ## 9.2 Where the time goes
#
# A picture of $N$ steps takes
#
# $$T = T_{\text{text}} + N\,T_{\text{UNet}} + T_{\text{VAE}}$$
#
# The text encoder and the VAE's decoder ([lesson 01](01_inference.ipynb)) run once each, the UNet at every step. With guidance, that pass holds two pictures, with the prompt and with the empty one, side by side.
#
# **Predict**: of a picture of {{ plain }} steps, what percentage is the UNet? Does a pass with two (x 2) take twice as long as a pass with one (x 1)?

# %%
import time
import torch


def seconds(work, repeats=3):
    """The median time; the first call only warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if pipe.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    latents = pipe(prompt, num_inference_steps=1, output_type="latent").images
    words = pipe.encode_prompt(prompt, pipe.device, 1, True)[0]
    two, both = torch.cat([latents] * 2), torch.cat([words] * 2)
    parts = {
        "text": seconds(lambda: pipe.encode_prompt(prompt, pipe.device, 1, True)),
        "UNet x 1": seconds(lambda: pipe.unet(latents, 500, words)),
        "UNet x 2": seconds(lambda: pipe.unet(two, 500, both)),
        "VAE": seconds(lambda: pipe.vae.decode(latents)),
    }
for name, took in parts.items():
    print(f"{name:9} {took * 1000:4.0f} ms")


def predicted(steps):
    return parts["text"] + steps * parts["UNet x 2"] + parts["VAE"]


share = plain * parts["UNet x 2"] / predicted(plain)
saving = few // 2 * (parts["UNet x 2"] - parts["UNet x 1"]) / predicted(few)

# %% [markdown] lang="zh"
# UNet 占 {{ f"{share:.0%}" }}，所以先省 UNet。一次过两张是过一张的 {{ f"{parts['UNet x 2'] / parts['UNet x 1']:.1f}" }} 倍，不到两倍的那部分，是每一遍都要付的开销。记住这个数：不算空提示词的那一步，省不到一半。
#
# ## 9.3 少走几步：采样器
#
# DDIM 的一步，从 $t$ 到 $s$，把网络猜的干净图 $\hat x_0$ 和噪声 $\hat\varepsilon$ 重新混一次（[第 00 课](00_what_is_diffusion.ipynb)）：
#
# $$x_s=\sqrt{\bar\alpha_s}\,\hat x_0+\sqrt{1-\bar\alpha_s}\,\hat\varepsilon$$
#
# 它当 $\hat x_0$ 在这一步里不变。其实变，步子越大变得越多。*DPM-Solver++ 2M*（Lu et al. 2022）记着上一步的 $\hat x_0$，顺着变化的方向多估半步，再走同样的一步（$r$ 是前后两步的长度之比）：
#
# $$\hat x_0 \leftarrow \hat x_0+\frac{1}{2r}\left(\hat x_0-\hat x_0^{\text{last}}\right)$$
#
# 不用多算一遍 UNet。两种办法步数无限多时走到同一处，那里是标准答案；拿 {{ 2 * plain }} 步的 DPM-Solver++ 当它。
#
# **先猜**：DDIM 要几步，才和 DPM-Solver++ 的 {{ few }} 步一样准？

# %% [markdown] lang="en"
# The UNet is {{ f"{share:.0%}" }}, so save UNet first. A pass with two takes {{ f"{parts['UNet x 2'] / parts['UNet x 1']:.1f}" }} times as long as a pass with one; what is missing to two is what every pass costs anyhow. Keep that number in mind: a step without the empty prompt saves less than half.
#
# ## 9.3 Fewer steps: samplers
#
# A step of DDIM, from $t$ to $s$, mixes anew what the network takes for the clean picture, $\hat x_0$, and for the noise, $\hat\varepsilon$ ([lesson 00](00_what_is_diffusion.ipynb)):
#
# $$x_s=\sqrt{\bar\alpha_s}\,\hat x_0+\sqrt{1-\bar\alpha_s}\,\hat\varepsilon$$
#
# It takes $\hat x_0$ for constant within the step. It is not, and the larger the step, the more it changes. *DPM-Solver++ 2M* (Lu et al. 2022) remembers the last step's $\hat x_0$, goes half a step further the way it has been changing, and then takes the same step ($r$ is the ratio of the lengths of the two steps):
#
# $$\hat x_0 \leftarrow \hat x_0+\frac{1}{2r}\left(\hat x_0-\hat x_0^{\text{last}}\right)$$
#
# No further pass of the UNet is needed. With ever more steps both arrive at the same place, the right answer; DPM-Solver++ with {{ 2 * plain }} steps shall stand for it.
#
# **Predict**: how many steps does DDIM need to be as exact as DPM-Solver++ with {{ few }}?

# %% tags=["nbval-ignore-output"]
from paidiff_lib.metrics import distance
from paidiff_world.heldout import held_out

prompts = [caption for _, caption in held_out(profile.prompts)]
seeds = list(range(len(prompts)))
tried, some = sorted({4, 6, few, 2 * few}), (prompts[:3], seeds[:3])


def apart(pictures, others):
    """Mean distance (root mean square, 0..255) of pictures, two by two."""
    return float(np.mean([distance(a, b) for a, b in zip(pictures, others)]))


with acceleration.solver(pipe, "dpm"):
    limit = draw(pipe, *some, steps=2 * plain)
gaps = {}
for name in ("ddim", "dpm"):
    with acceleration.solver(pipe, name):
        gaps[name] = [apart(draw(pipe, *some, steps=n), limit) for n in tried]
    print(name, *(f"{n}: {gap:.1f}" for n, gap in zip(tried, gaps[name])), sep="  ")
alt = "两条线，步数越多离标准答案越近 · two lines: more steps, nearer to the answer"
lines = {name: (tried, values) for name, values in gaps.items()}
show(paidiff.curve(lines, x="steps", y="distance"), alt=alt)
if profile.judged:
    assert all(0.6 < a / b < 1.6 for a, b in zip(gaps["ddim"], gaps["dpm"]))
    assert all(g == sorted(g, reverse=True) for g in gaps.values())

# %% [markdown] lang="zh"
# 意外吗？{{ few }} 步时 DDIM 差 {{ f"{gaps['ddim'][2]:.1f}" }}，DPM-Solver++ 差 {{ f"{gaps['dpm'][2]:.1f}" }}；四步时是 {{ f"{gaps['ddim'][0]:.1f}" }} 和 {{ f"{gaps['dpm'][0]:.1f}" }}。在 `mini` 上，两种采样器差不多，省时间的是*步数*。多估半步的好处要步子够小才有保证；论文测的是引导很大的大模型，那里一步之内变得多。哪个采样器好，每个模型都要自己量。

# %% [markdown] lang="en"
# Surprised? With {{ few }} steps DDIM is {{ f"{gaps['ddim'][2]:.1f}" }} off and DPM-Solver++ {{ f"{gaps['dpm'][2]:.1f}" }}; with four steps {{ f"{gaps['ddim'][0]:.1f}" }} and {{ f"{gaps['dpm'][0]:.1f}" }}. On `mini` the two samplers are about equal; what saves time is the number of *steps*. Going half a step further is sure to help only where steps are small enough; the paper measured large models at strong guidance, where much changes within a step. Which sampler is the better one has to be measured on every model.

# %% [markdown] lang="zh"
# ## 9.4 每一级都是一个 with
#
# 还能省什么？两样东西相邻两步几乎不变：
#
# * **引导的差**。引导是 $\varepsilon_{\text{empty}}+g\,(\varepsilon_{\text{prompt}}-\varepsilon_{\text{empty}})$。记 $\Delta=\varepsilon_{\text{empty}}-\varepsilon_{\text{prompt}}$，它就是 $\varepsilon_{\text{prompt}}+(1-g)\,\Delta$。`guidance_every(pipe, 2)` 隔一步才算空提示词那一半，中间用上一步的 $\Delta$（FasterCache，Lv et al. 2024）。
# * **深层的输出**。`caching(pipe, 2)` 让 UNet 深处的块隔一步算一次，中间用上一次的（DeepCache，Ma et al. 2023）。浅层照算，所以细节还跟得上。
#
# 每一级都是一个 `with`，可以叠着用；块结束，流水线就回到原样，一位不差：第三张和第一张是同一张。
#
# **先猜**：只凭 9.2 的数，{{ few }} 步里有一半不算空提示词，能省百分之几？

# %% [markdown] lang="en"
# ## 9.4 Each rung is one `with`
#
# What else can be saved? Two things hardly change from one step to the next:
#
# * **The difference that guidance makes.** Guidance is $\varepsilon_{\text{empty}}+g\,(\varepsilon_{\text{prompt}}-\varepsilon_{\text{empty}})$. With $\Delta=\varepsilon_{\text{empty}}-\varepsilon_{\text{prompt}}$ that is $\varepsilon_{\text{prompt}}+(1-g)\,\Delta$. `guidance_every(pipe, 2)` computes the half with the empty prompt at every second step, and uses the last $\Delta$ in between (FasterCache, Lv et al. 2024).
# * **What the deep blocks say.** `caching(pipe, 2)` computes the deep blocks of the UNet at every second step, and uses their last output in between (DeepCache, Ma et al. 2023). The outer blocks are computed every time, which keeps the detail.
#
# Each rung is one `with`, and they nest. When the block ends, the pipeline is as it was, to the last bit: the third picture is the first.
#
# **Predict**: by the numbers of 9.2 alone, if half of {{ few }} steps leave out the empty prompt, what percentage is saved?

# %%
first = draw(pipe, prompt, seed=seed, steps=few)
with acceleration.guidance_every(pipe, 2), acceleration.caching(pipe, 2):
    quick = draw(pipe, prompt, seed=seed, steps=few)
again = draw(pipe, prompt, seed=seed, steps=few)
assert profile.same(first, again) and quick.tobytes() != first.tobytes()
alt = "三张企鹅，第一张和第三张是同一张 · three pictures; the first and third are one"
show([first, quick, again], titles=["plain", "two rungs", "plain"], alt=alt)

# %% [markdown] lang="zh"
# 按 9.2 的数算，是 {{ f"{saving:.0%}" }}。9.6 里量真的。
#
# ## 9.5 四步：蒸馏
#
# *渐进蒸馏*（progressive distillation，Salimans & Ho 2022；带引导的见 Meng et al. 2023）换掉的不是采样器，是权重。老师就是 `mini`，带着引导走八步，路上的点 $x_t$ 存下来；学生是一个 LoRA（[第 03 课](03_lora.ipynb)），学着*一步*走完老师的*两步*。从 $x_t$ 一步走到老师两步以后的 $x_s$，该猜的 $\hat x_0$ 由 DDIM 的一步倒着解出来：
#
# $$\hat x_0^{\ast}=\frac{x_s-\rho\,x_t}{\sqrt{\bar\alpha_s}-\rho\sqrt{\bar\alpha_t}},\qquad \rho=\sqrt{\frac{1-\bar\alpha_s}{1-\bar\alpha_t}}$$
#
# 损失就是学生的 $\hat x_0$ 和它差多少。老师的点是*带着引导*走出来的，所以引导也学进去了：学生画的时候引导是 1，空提示词那一半不用算。训练用的设置都写在它的文件夹里（训练：`python -m paidiff_world.pretrain.distill`）：

# %% [markdown] lang="en"
# By the numbers of 9.2: {{ f"{saving:.0%}" }}. The real thing is measured in 9.6.
#
# ## 9.5 Four steps: distillation
#
# *Progressive distillation* (Salimans & Ho 2022; with guidance Meng et al. 2023) changes the weights, and not the sampler. The teacher, `mini` itself, walks eight steps with guidance, and the points $x_t$ of its path are kept; the student is a LoRA ([lesson 03](03_lora.ipynb)) that learns to do *two* of the teacher's steps in *one*. To get from $x_t$ to where the teacher is two steps later, $x_s$, it has to guess the $\hat x_0$ that DDIM's step gives when solved backwards:
#
# $$\hat x_0^{\ast}=\frac{x_s-\rho\,x_t}{\sqrt{\bar\alpha_s}-\rho\sqrt{\bar\alpha_t}},\qquad \rho=\sqrt{\frac{1-\bar\alpha_s}{1-\bar\alpha_t}}$$
#
# The loss is how far the student's $\hat x_0$ is from it. The teacher walked *with guidance*, so guidance is learnt as well: the student draws at a guidance of 1, and needs no pass with the empty prompt. How it was trained is written in its folder (trained by `python -m paidiff_world.pretrain.distill`):

# %%
import json

student = paidiff.data("models/paidiff-mini-zh-4-steps")
note = json.loads((student / "few_step.json").read_text(encoding="utf-8"))
for name in ("timesteps", "guidance", "teacher steps", "teacher guidance", "rank"):
    print(f"{name:16} {note[name]}")

# %% [markdown] lang="zh"
# ## 9.6 整架梯子
#
# 公平的比较要问：那*不蒸馏*、只走四步的 `mini` 呢？而且要让它带着引导走，它训练时有一成的提示词是空的，就是为了带着引导用；不给引导，灰的是引导，怪不到步数上。所以梯子里有四步、六步，都带引导；四步不带引导的也放一行，看看差别。
#
# 每一级四个数：
# * `UNet`、`deep`：一张图里，UNet 和它最深的一块各过了几张图。数出来的，哪台机器上都一样。
# * `s`：一张图几秒。各级轮流量，取中位数（排在正中的那个），忙的一刻大家都碰上；`%` 是和第一级之比。
# * `distance`：同一个种子，离第一级的图多远（均方根，0 到 255）。它问：还是*那张图*吗？
# * `all`：裁判看 {{ profile.prompts }} 句没训练过的提示词，主体、背景、画风全对的比例，带威尔逊区间。它问：还*听话*吗？
#
# **先猜**：按 `distance`，四步里谁赢，蒸馏过的，还是带引导的 `mini`？按裁判呢？

# %% [markdown] lang="en"
# ## 9.6 The whole ladder
#
# A fair comparison has to ask: what about `mini` with four steps and *no* distillation? And with guidance, for which one prompt in ten was left empty in its training; leave guidance out, and the grey in the picture is not the fault of too few steps. So the ladder has four steps and six with guidance, and one row of four without, to see the difference.
#
# Four numbers for every rung:
# * `UNet`, `deep`: how many pictures go through the UNet, and through its deepest block, for one picture. These are counted, and the same on any machine.
# * `s`: seconds a picture. The rungs take turns, so that a busy moment meets them all, and the median (the middle one) counts; `%` is the ratio to the first rung.
# * `distance`: from the first rung's picture of the same seed (root mean square, 0 to 255). It asks: is it still *that picture*?
# * `all`: on {{ profile.prompts }} prompts that training never saw, how often the judge sees subject, background and style all right, with Wilson's interval. It asks: does it still *obey*?
#
# **Predict**: by `distance`, which of the four-step ones wins, the distilled one or `mini` with guidance? And by the judge?

# %%
from collections import Counter
from contextlib import ExitStack

DPM, EVERY = (acceleration.solver, "dpm"), (acceleration.guidance_every, 2)
CACHE = (acceleration.caching, 2)
ladder = {  # name: (rungs, what draw is told)
    f"DDIM {plain}": ([(acceleration.solver, "ddim")], {"steps": plain}),
    f"DPM++ {2 * few}": ([DPM], {"steps": 2 * few}),
    f"DPM++ {few}": ([DPM], {"steps": few}),
    "+ guidance_every 2": ([DPM, EVERY], {"steps": few}),
    "+ caching 2": ([DPM, EVERY, CACHE], {"steps": few}),
    "DPM++ 6": ([DPM], {"steps": 6}),
    "DPM++ 4": ([DPM], {"steps": 4}),
    "DPM++ 4, g = 1": ([DPM], {"steps": 4, "guidance": 1}),
}
if profile.judged:  # the student belongs to the mini model
    ladder["few_step 4"] = ([(acceleration.few_step, student)], {})

# %%
counted = {"UNet": pipe.unet.conv_in, "deep": pipe.unet.mid_block.resnets[0]}


def on(name, prompts, seeds):
    """Pictures drawn on one rung, the seconds, and how often each part ran."""
    (rungs, settings), count = ladder[name], Counter()
    ran = lambda part: lambda layer, inputs, output: count.update({part: len(output)})
    with ExitStack() as stack:
        for rung, *arguments in rungs:
            given = stack.enter_context(rung(pipe, *arguments))
            settings = settings | (given or {})
        for part, layer in counted.items():
            stack.enter_context(layer.register_forward_hook(ran(part)))
        start = time.perf_counter()  # loading a LoRA is not part of a picture's time
        pictures = draw(pipe, prompts, seeds, **settings)
        return pictures, time.perf_counter() - start, count


# %% tags=["nbval-ignore-output"]
from paidiff_world import measure

names, judged = list(ladder), profile.judged
pictures = {name: on(name, prompts, seeds)[0] for name in names}
rates = {name: measure.Rates(pictures[name], prompts) for name in names}
gap = {name: apart(pictures[name], pictures[names[0]]) for name in names}
turns = [{name: on(name, [prompt], [seed]) for name in names} for _ in range(3)]
took = {name: float(np.median([turn[name][1] for turn in turns])) for name in names}
ran = {name: turns[0][name][2] for name in names}

# %% tags=["nbval-ignore-output"]
print(f"{'':20} UNet deep      s     %  distance  all")
for name in names:
    print(
        f"{name:20} {ran[name]['UNet']:4} {ran[name]['deep']:4}"
        f" {took[name]:6.2f} {took[name] / took[names[0]]:5.0%} {gap[name]:9.1f}"
        f"  {rates[name]['all']:.0%}"
    )
if judged:
    passes = [ran[name]["UNet"] for name in names]
    assert passes == [100, 40, 20, 15, 15, 12, 8, 4, 4]
    assert ran["+ caching 2"]["deep"] == 10
    assert gap["DPM++ 4"] < min(gap["few_step 4"], gap["DPM++ 4, g = 1"])
    fair = measure.difference(rates["few_step 4"], rates["DPM++ 4"])["all"]
    print(f"judge, few_step 4 - DPM++ 4: {fair:+.0%}")

# %% tags=["nbval-ignore-output"]
chosen = [f"DPM++ {2 * few}", "DPM++ 6", "DPM++ 4", "DPM++ 4, g = 1", names[-1]]
rows = {name: pictures[name][:3] for name in dict.fromkeys(chosen)}
alt = "五行三列：二十步、六步、四步、四步不带引导、蒸馏的四步 · five rows of three:"
alt += " twenty steps, six, four, four without guidance, four of the distilled model"
show(paidiff.compare(rows, prompts[:3]), alt=alt)

# %% [markdown] lang="zh"
# 学生的老师走路时引导是 {{ note["teacher guidance"] }}，而第一级的引导是 2。它离得远，会不会有一部分只是因为老师不同？拿引导 {{ note["teacher guidance"] }} 的 {{ 2 * few }} 步图再量一次：

# %% [markdown] lang="en"
# The student's teacher walked at a guidance of {{ note["teacher guidance"] }}, the first rung at 2. Is part of its distance only that it had another teacher? Measure once more, from pictures of {{ 2 * few }} steps at a guidance of {{ note["teacher guidance"] }}:

# %% tags=["nbval-ignore-output"]
teacher = draw(pipe, prompts, seeds, 2 * few, guidance=note["teacher guidance"])
from_teacher = apart(pictures[names[-1]], teacher)
print(f"{gap[names[-1]]:.1f} from {names[0]}, {from_teacher:.1f} from the teacher's")

# %% [markdown] lang="zh"
# 不能怪老师：离老师那种引导的图反而更远。
#
# 现在把表一行一行读（秒数是在一台很忙的机器上量的，比你的大，看比例）：
#
# * **减步数**：{{ plain }} 步到 {{ few }} 步，UNet 少算八成，时间剩 {{ f"{took[names[2]] / took[names[0]]:.0%}" }}，距离 {{ f"{gap[names[2]]:.1f}" }} 个灰度级。整张梯子里省得最多的就是它。
# * **引导隔一步**：UNet 少过四分之一的图，时间只少 {{ f"{1 - took[names[3]] / took[names[2]]:.0%}" }}（9.2 算的是 {{ f"{saving:.0%}" }}）。两个数都小，几次中位数又抖得和它们一样大，分不清谁对；在一次过两张要两倍时间的机器上，这一级才看得出。
# * **缓存**：再少 {{ f"{1 - took[names[4]] / took[names[3]]:.0%}" }}，距离从 {{ f"{gap[names[3]]:.1f}" }} 到 {{ f"{gap[names[4]]:.1f}" }}。带引导的六步花的时间和它差不多，离得却更远：到了这里，缓存比再减步数划算。
# * **四步，公平地比**：带引导的 `mini` 离原图 {{ f"{gap['DPM++ 4']:.1f}" }}，蒸馏的 {{ f"{gap['few_step 4']:.1f}" }}（离它老师的图 {{ f"{from_teacher:.1f}" }}）；裁判给 {{ f"{rates['DPM++ 4']['all'].mean:.0%}" }} 和 {{ f"{rates['few_step 4']['all'].mean:.0%}" }}，差 {{ f"{fair:+.0%}" }}，零在区间里。所以在 `mini` 上，蒸馏*没有*让四步的图更好；它省的是空提示词那一半：UNet 从 8 张到 4 张，时间是四步的 {{ f"{took['few_step 4'] / took['DPM++ 4']:.0%}" }}。
# * **不给引导的四步**：远到 {{ f"{gap['DPM++ 4, g = 1']:.1f}" }}，颜色发灰。拿它当对手，蒸馏看上去就是奇迹；那是没给引导，不是步数太少。
#
# {{ profile.prompts }} 句提示词的区间有四十个百分点宽，裁判在这里分不出各级的高低，只能说“没有看出变差”。三个种子、六十句的测量：`python benchmarks/ladder.py --judge 60`。

# %% [markdown] lang="en"
# The teacher is not to blame: from pictures at its guidance the student is further still.
#
# Now the table, row by row (the seconds were measured on a busy machine and are larger than yours; look at the ratios):
#
# * **Fewer steps**: from {{ plain }} to {{ few }} steps, eight tenths of the UNet's passes are gone, {{ f"{took[names[2]] / took[names[0]]:.0%}" }} of the time is left, and the distance is {{ f"{gap[names[2]]:.1f}" }} grey levels. Nothing else on the ladder saves as much.
# * **Guidance at every second step**: a quarter fewer pictures through the UNet, yet only {{ f"{1 - took[names[3]] / took[names[2]]:.0%}" }} of the time saved (9.2 predicted {{ f"{saving:.0%}" }}). Both are small, and the medians of a few runs vary by as much, so these two figures do not settle it; on a machine where two take twice as long the rung shows.
# * **Caching**: another {{ f"{1 - took[names[4]] / took[names[3]]:.0%}" }} less, and the distance goes from {{ f"{gap[names[3]]:.1f}" }} to {{ f"{gap[names[4]]:.1f}" }}. Six steps with guidance take about as long and are further away: from here on caching pays more than still fewer steps.
# * **Four steps, compared fairly**: `mini` with guidance is {{ f"{gap['DPM++ 4']:.1f}" }} from the original, the distilled one {{ f"{gap['few_step 4']:.1f}" }} (from its teacher's pictures {{ f"{from_teacher:.1f}" }}); the judge gives {{ f"{rates['DPM++ 4']['all'].mean:.0%}" }} and {{ f"{rates['few_step 4']['all'].mean:.0%}" }}, a difference of {{ f"{fair:+.0%}" }}, and zero is within. So on `mini` distillation did *not* make four-step pictures better; it saves the half with the empty prompt, 4 pictures through the UNet in place of 8, and takes {{ f"{took['few_step 4'] / took['DPM++ 4']:.0%}" }} of the time of the four steps.
# * **Four steps without guidance**: as far as {{ f"{gap['DPM++ 4, g = 1']:.1f}" }}, and grey. With this for a rival, distillation looks like a miracle; but what is missing is guidance, not steps.
#
# With {{ profile.prompts }} prompts the intervals are forty points wide; the judge cannot rank the rungs here, and “no loss was seen” is all it says. Three seeds and sixty prompts: `python benchmarks/ladder.py --judge 60`.

# %% [markdown] lang="zh"
# ## 9.7 导出
#
# 整条流水线写成 ONNX，一种和框架无关的模型文件，由 ONNX Runtime 跑：文本编码器、UNet、VAE，任意尺寸。写完先和原来的流水线比图，差得多就不保存。
#
# ```bash
# paidiff export mini -o out/09/exported
# ```
#
# **先猜**：算的是同样的乘法和加法，一张图会快吗？整个命令（从敲回车到有图）呢？

# %% [markdown] lang="en"
# ## 9.7 Export
#
# The whole pipeline as ONNX, a kind of model file that belongs to no framework, run by ONNX Runtime: text encoder, UNet, VAE, any size. What is written is compared with the pipeline's own pictures first, and not kept if they differ.
#
# ```bash
# paidiff export mini -o out/09/exported
# ```
#
# **Predict**: the multiplications and additions are the same; will a picture be faster? And the whole command, from pressing Enter to the picture?

# %% jupyter={"source_hidden": true}
import shutil, subprocess, sys
from pathlib import Path
from paidiff_lib.models.load import model_name

out = Path("../out/09")
shutil.rmtree(out, ignore_errors=True)
out.mkdir(parents=True)
exportable = pipe.device.type == "cpu" and profile.kind in ("mini", "tiny")


def paidiff_command(*arguments):
    """Run the paidiff command as a shell does; returns its seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "paidiff_app.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - start


if exportable:
    paidiff_command("export", model_name(), "-o", out / "exported")
    print(*sorted(path.name for path in (out / "exported").iterdir()))

# %% tags=["nbval-ignore-output"]
from functools import partial
import paidiff_app
from paidiff_lib.schedulers import sampler

if exportable:
    pipe.scheduler = sampler(pipe.scheduler, "DPM++ 2M")  # the export's, for any model
    exported = paidiff_app.open_model(str(out / "exported"))
    engines = {"torch": pipe, "ONNX Runtime": exported}
    tasks = {n: partial(draw, m, prompt, seed, few) for n, m in engines.items()}
    once = {name: seconds(task) for name, task in tasks.items()}
    drawn = [task() for task in tasks.values()]
    off = np.abs(np.subtract(*(np.asarray(p, int) for p in drawn))).max()
    print(*(f"{name} {each:.2f} s" for name, each in once.items()), f"{off}/255")
    assert off <= exported.note["tolerance"]
    alt = "两张一样的企鹅 · the same picture of penguins twice"
    show(drawn, titles=list(engines), alt=alt)

# %% [markdown] lang="zh"
# 整个命令，两种模型各一次：
#
# ```bash
# paidiff draw 雪地里的两只企鹅 --model mini -o out/09/torch.png
# paidiff draw 雪地里的两只企鹅 --model out/09/exported -o out/09/onnx.png
# ```

# %% [markdown] lang="en"
# The whole command, once with each:
#
# ```bash
# paidiff draw 雪地里的两只企鹅 --model mini -o out/09/torch.png
# paidiff draw 雪地里的两只企鹅 --model out/09/exported -o out/09/onnx.png
# ```

# %% tags=["nbval-ignore-output"] jupyter={"source_hidden": true}
if exportable:
    models = {"torch": model_name(), "ONNX Runtime": out / "exported"}
    whole = {
        name: paidiff_command("draw", prompt, "--model", model, "-o", out / "one.png")
        for name, model in models.items()
    }
    print(*(f"{name} {total:.1f} s" for name, total in whole.items()), sep=" · ")

# %% [markdown] lang="zh"
# 一张图快了 {{ f"{once['torch'] / once['ONNX Runtime']:.1f}" }} 倍：ONNX Runtime 把相邻的运算合成一个，也没有 Python 在每一层之间来回；图差不到 {{ off + 1 }} 个灰度级。整个命令快了 {{ f"{whole['torch'] / whole['ONNX Runtime']:.1f}" }} 倍：画图快了，torch 也不用导入了。

# %% [markdown] lang="en"
# A picture is {{ f"{once['torch'] / once['ONNX Runtime']:.1f}" }} times as fast: ONNX Runtime joins neighbouring operations into one, and no Python runs between the layers; the pictures differ by less than {{ off + 1 }} grey levels. The whole command is {{ f"{whole['torch'] / whole['ONNX Runtime']:.1f}" }} times as fast: the drawing is faster, and torch is not imported.

# %% [markdown] lang="zh"
# ## 9.8 换成真模型
#
# ```python
# pipe = paidiff.load("artist-large")                     # a GPU
# with (acceleration.half(pipe), acceleration.channels_last(pipe),
#       acceleration.solver(pipe, "dpm"), acceleration.guidance_every(pipe, 2)):
#     show(draw(pipe, "雾蒙蒙的日出在湖面上", steps=20))
# ```
#
# `half` 是半精度（16 位浮点），只在 GPU 上快；`channels_last` 和 `compiled`（编译要几分钟）在 CPU 上不划算，量在 `benchmarks/ladder.py` 里。四步 LoRA 只属于 `mini`，真模型要自己蒸馏。文章里的“A10 上不到一秒”没有给条件；每个时间都应当写明步数、引导和尺寸。**未在真权重上验证**。

# %% [markdown] lang="en"
# ## 9.8 The real model
#
# ```python
# pipe = paidiff.load("artist-large")                     # a GPU
# with (acceleration.half(pipe), acceleration.channels_last(pipe),
#       acceleration.solver(pipe, "dpm"), acceleration.guidance_every(pipe, 2)):
#     show(draw(pipe, "雾蒙蒙的日出在湖面上", steps=20))
# ```
#
# `half` is half precision (floating point in 16 bits), faster on a GPU only; `channels_last` and `compiled` (minutes of compiling) do not pay on a CPU, as measured by `benchmarks/ladder.py`. The four-step LoRA belongs to `mini`; a real model has to be distilled anew. The article's “under a second on an A10” comes without conditions; a time should always name steps, guidance and size. **Not verified on the real weights.**

# %% [markdown] lang="zh" tags=["exercise"]
# ## 9.9 练习
#
# 把 `...` 换成你的答案，运行单元格：`check` 说对不对，不对时说错在哪里，再给一条提示。

# %% [markdown] lang="en" tags=["exercise"]
# ## 9.9 Exercises
#
# Put your answer in the place of `...` and run the cell: `check` says whether it is right, if not what is wrong, and gives a hint.

# %% [markdown] lang="zh"
# ### 再试试
#
# 这些没有标准答案，写下你看到的。
#
# 1. 加一级：`ladder["every 4"] = ([DPM, (acceleration.guidance_every, 4)], {"steps": few})`。先用 `parts` 算它能省百分之几，再看 `on("every 4", [prompt], [seed])` 的秒数和次数；`apart(on("every 4", prompts, seeds)[0], pictures[names[0]])` 是它的距离。
# 2. 同样地试 `(acceleration.guidance_between, 0.25, 1)`：前四分之一不要引导。遍数和距离各变多少？
# 3. 四步 LoRA 和第 03 课的青花瓷 LoRA 一起用：先 `paidiff.load_lora(pipe, "../out/03/porcelain")`，再看 `on("few_step 4", [prompt], [seed])`。时间变了吗？

# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see.
#
# 1. Add a rung: `ladder["every 4"] = ([DPM, (acceleration.guidance_every, 4)], {"steps": few})`. First compute from `parts` what percentage it can save, then look at the seconds and counts of `on("every 4", [prompt], [seed])`; `apart(on("every 4", prompts, seeds)[0], pictures[names[0]])` is its distance.
# 2. In the same way try `(acceleration.guidance_between, 0.25, 1)`: no guidance in the first quarter. How do the passes and the distance change?
# 3. The four-step LoRA together with the porcelain LoRA of lesson 03: `paidiff.load_lora(pipe, "../out/03/porcelain")` first, then `on("few_step 4", [prompt], [seed])`. Does the time change?

# %% [markdown] lang="zh"
# ## 9.10 常见错误
#
# | 你看到 | 原因和办法 |
# | --- | --- |
# | 蒸馏的四步图颜色过头 | 引导要是 1，用 `**settings`。 |
# | 不蒸馏的四步图发灰 | 引导没给：四步也要带引导。 |
# | `不是少步 LoRA` | 文件夹里要有 `few_step.json`。 |
# | `没有装 onnxruntime` | `pip install -c constraints.txt -e .[export]`。 |
# | `导出的模型装不了 LoRA` | 导出时加 `--lora`。 |

# %% [markdown] lang="en"
# ## 9.10 Common errors
#
# | You see | Cause and cure |
# | --- | --- |
# | the distilled model's colours are overdone | Guidance has to be 1: pass `**settings`. |
# | four undistilled steps come out grey | No guidance: four steps want it as well. |
# | `不是少步 LoRA` (not a few-step LoRA) | The folder needs its `few_step.json`. |
# | `没有装 onnxruntime` (not installed) | `pip install -c constraints.txt -e .[export]`. |
# | `导出的模型装不了 LoRA` (an export takes no LoRA) | Give `--lora` to the export. |

# %% [markdown] lang="zh"
# ## 9.11 你学到了
#
# * 时间几乎都在 UNet 里：先减步数，再看别的；每一级都要量它省了什么、差了什么，有的不划算。
# * 一个数回答一个问题：`distance` 问还是不是那张图，裁判问听不听话；这张梯子上，距离看得出的差别，裁判大多看不出。
# * 比较要公平：给蒸馏的对手同样的引导。
# * 导出不减少 UNet 的遍数，省的是框架的开销和启动。

# %% [markdown] lang="en"
# ## 9.11 What you have learnt
#
# * Nearly all the time is the UNet's: fewer steps first, then the rest; measure what every rung saves and what it costs, for some do not pay.
# * One number answers one question: `distance` asks whether it is still that picture, the judge whether it obeys; on this ladder most differences that the distance sees the judge does not.
# * Compare fairly: give distillation's rival the guidance that it is due.
# * An export makes no fewer passes of the UNet; it saves the framework's own time and the start.
