# %% [markdown] lang="zh"
# # 12 · 注意力看得见
#
# 提示词里有“狐狸”，图上就有一只狐狸，而且狐狸在狐狸的地方，雪在雪的地方。话是怎么到图上去的？这一课把 UNet 里的交叉注意力打开，看每个词在看哪里，量一量它看得准不准，再用它改图。
#
# **用时**：读和做 40 分钟；全部运行约两分半（一个 CPU 线程）。**你需要**：第 00 课（$x_t$、噪声、时间步 $t$）和第 11 课（自己写过的注意力和 UNet）。**学完你会**：用五行代码写出注意力；说出 Q、K、V 各从哪里来；画出每个词的热图；用真实值检验一张热图；只改一个词、留住背景；说出字还从哪条路进了模型。
#
# **先想两个旧问题**：
# 1. 第 00 课：$x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\varepsilon$。$t=500$ 时，画面还剩多少？
# 2. 第 01 课：引导每一步都让 UNet 看两遍，一遍有词，一遍没有。为什么下面的代码只取后一半？
# %% [markdown] lang="en"
# # 12 · Attention you can see
#
# The prompt says 狐狸 (fox), and there is a fox in the picture: the fox where a fox should be, the snow where snow should be. How do words get to their places? This lesson opens the cross-attention in the UNet, shows where each word looks, measures how well it aims, and then edits pictures with it.
#
# **Time**: 40 minutes of reading and doing; running everything takes about two and a half minutes (one CPU thread). **You need**: lesson 00 ($x_t$, noise, the timestep $t$) and lesson 11 (where you wrote attention and a UNet yourself). **You will be able to**: write attention in five lines; say where Q, K and V come from; draw a heat map for every word; test a heat map against the truth; change one word and keep the background; name the other way by which words enter the model.
#
# **Two questions from earlier lessons**:
# 1. Lesson 00: $x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\varepsilon$. How much of the picture is left at $t=500$?
# 2. Lesson 01: with guidance the UNet looks twice at every step, once with the words and once without. Why does the code below take only the second half?
# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %%
import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image
from torch.nn.functional import scaled_dot_product_attention

import paidiff_lib as paidiff
from paidiff_lib import show

torch.set_grad_enabled(False)  # nothing is trained in this lesson
pipe = paidiff.load()
profile = paidiff_course.profile("12", pipe)


# %% [markdown] lang="zh"
# ## 12.1 先看结果
#
# 下面这个小类就是注意力，和 diffusers 自带的算得一样，只是把权重留了下来。每一行在 12.2 和 12.3 讲。
# %% [markdown] lang="en"
# ## 12.1 The result first
#
# This small class is attention: it computes what diffusers' own computes, but keeps the weights. Each line is explained in 12.2 and 12.3.
# %%
class Watch:
    """Cross-attention that keeps its weights: (pictures, heads, places, tokens)."""

    change = None  # what may be done to the weights before they are used

    def __call__(self, attn, x, encoder_hidden_states, **_):
        words = encoder_hidden_states
        parts = attn.to_q(x), attn.to_k(words), attn.to_v(words)
        q, k, v = (y.unflatten(2, (attn.heads, -1)).transpose(1, 2) for y in parts)
        self.maps = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        if self.change:
            self.maps = self.change(self.maps)
        return attn.to_out[0]((self.maps @ v).transpose(1, 2).flatten(2))


# %%
prompt, words = "狐狸,雪地,水彩画", ["狐狸", ",", "雪地", "水彩画"]
plain = paidiff.draw(pipe, prompt, seed=1)

layers = {n: m for n, m in pipe.unet.named_modules() if n.endswith("attn2")}
for layer in layers.values():
    layer.set_processor(Watch())
watched = paidiff.draw(pipe, prompt, seed=1)
off = np.abs(np.subtract(plain, watched, dtype=int)).max()
print(f"{len(layers)} layers · largest difference of a pixel: {off} of 255")
assert off <= 4  # watching changes nothing


# %% [markdown] lang="zh"
# 一句话先变成词元（token，见第 01 课），一个汉字大多就是一个；一个词的**注意力图**（attention map，画在图上就叫热图），是它各个字的图之和。`finest` 是格点最多的几层：只有它们的热图细到能看。
# %% [markdown] lang="en"
# A prompt first becomes tokens (lesson 01), mostly one for each Chinese character; the **attention map** of a word (a heat map, when laid over a picture) is the sum of those of its characters. `finest` are the layers with the most places: only their maps are fine enough to look at.
# %%
def places(prompt, word):
    """Which tokens a word of the prompt is; [CLS] is token 0."""
    start = prompt.index(word)
    spans = pipe.tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"]
    end = start + len(word)
    return [i for i, (a, b) in enumerate(spans) if start <= a < b <= end]


def map_of(weights, prompt, word):
    """Weights (places, tokens) -> the map of a word, (side, side)."""
    heat = weights[:, places(prompt, word)].sum(1)
    return heat.reshape(2 * [int(len(heat) ** 0.5)])


most = max(layer.processor.maps.shape[2] for layer in layers.values())
finest = {n: m for n, m in layers.items() if m.processor.maps.shape[2] == most}
last = list(finest)[-1]  # of these, the one that runs last
print(paidiff.tokens(pipe.tokenizer, prompt), *finest, sep="\n")


# %%
def heat(picture, weights):
    """A map over a picture: dark where a word does not look, bright where it does."""
    low, high = weights.min(), weights.max()
    grey = Image.fromarray(np.uint8(255 * (weights - low) / (high - low)))
    grey = grey.resize(picture.size, Image.Resampling.BICUBIC)
    colours = Image.fromarray(
        np.uint8(255 * colormaps["inferno"](np.asarray(grey))[..., :3])
    )
    return Image.blend(picture.convert("RGB"), colours, 0.65)


seen = layers[last].processor.maps[-1].mean(0)  # with the prompt, mean over heads
shown = [heat(watched, map_of(seen, prompt, word).numpy()) for word in words]
show([watched, *shown], titles=[prompt, *words], alt="一只狐狸；四个词的热图")
# %% [markdown] lang="zh"
# 最左是画出来的图。“狐狸”两个字的热图亮在狐狸身上，“雪地”的亮在四周。没有谁告诉模型哪里是狐狸：训练时它只见过整张图和整句话。
#
# ## 12.2 注意力是什么
#
# 三样东西：每个提问者一行 $Q$（query，我想知道什么），每个回答者一行 $K$（key，我是讲什么的）和一行 $V$（value，我要说的话）。问和答越对得上，点积越大；softmax 把一行点积变成和为 1 的权重；答案就是 $V$ 的加权平均（Vaswani et al. 2017）：
#
# $$A=\mathrm{softmax}(QK^\top/\sqrt{d}),\qquad \mathrm{attention}(Q,K,V)=A\,V$$
#
# $d$ 是 $Q$ 一行的长度。一行越长，点积越大，softmax 就越像“只听一个的”；除以 $\sqrt d$ 把它拉回来。
#
# 下面两个位置问三个词。$V$ 是颜色：红、绿、灰。
#
# **先猜**：位置 0 的问题和第一个词对得上，和另外两个都对不上。它的答案是纯红吗？写下三个权重。
# %% [markdown] lang="en"
# Leftmost is the picture as it was drawn. The map of 狐狸 (fox) is bright on the fox, that of 雪地 (snow) around it. Nobody told the model where a fox is: in training it saw only whole pictures with whole captions.
#
# ## 12.2 What attention is
#
# Three things: everyone who asks has a row of $Q$ (query: what I want to know); everyone who answers has a row of $K$ (key: what I am about) and a row of $V$ (value: what I have to say). The better a question fits a key, the larger their dot product; softmax turns a row of dot products into weights that add up to 1; the answer is the weighted mean of the $V$ (Vaswani et al. 2017):
#
# $$A=\mathrm{softmax}(QK^\top/\sqrt{d}),\qquad \mathrm{attention}(Q,K,V)=A\,V$$
#
# $d$ is the length of a row of $Q$. The longer the rows, the larger the dot products, and the more softmax listens to one voice only; dividing by $\sqrt d$ undoes that.
#
# Below, two places ask three words. $V$ are colours: red, green, grey.
#
# **Predict**: the question of place 0 fits the first word and neither of the others. Is its answer pure red? Write down the three weights.
# %%
Q = torch.tensor([[2.0, 0.0], [0.0, 2.0]])  # 2 places
K = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])  # 3 words
V = torch.tensor([[255.0, 0, 0], [0, 255, 0], [128, 128, 128]])

A = (Q @ K.T / K.shape[1] ** 0.5).softmax(-1)
answer = A @ V
print(A.numpy().round(2), answer.numpy().round(), sep="\n")

torch.testing.assert_close(A.sum(1), torch.ones(2))
torch.testing.assert_close(answer, scaled_dot_product_attention(Q, K, V))
# %% [markdown] lang="zh"
# 权重是 {{ ", ".join(f"{a:.2f}" for a in A[0]) }}：softmax 从不给 0，另外两个词也各出了一点声。最后一行和 torch 自带的 `scaled_dot_product_attention` 比过，一样。
#
# ## 12.3 交叉注意力：图提问，话回答
#
# “自注意力”里三样都来自图；**交叉注意力**里，$Q$ 来自图，$K$ 和 $V$ 来自话。图的每个位置问：“哪个字和我有关？”
#
# ![](diagram:attention)
#
# 所以 $A$ 有两种读法：横着读，一个位置听哪些字；竖着读，一个字被哪些位置听见，排成方形，就是热图。
# %% [markdown] lang="en"
# The weights are {{ ", ".join(f"{a:.2f}" for a in A[0]) }}: softmax never gives 0, so the other two words have a little say as well. The last line compares with torch's own `scaled_dot_product_attention`: the same.
#
# ## 12.3 Cross-attention: the picture asks, the words answer
#
# In *self-attention* all three come from the picture; in **cross-attention** $Q$ comes from the picture, $K$ and $V$ from the words. Every place of the picture asks: "which character concerns me?"
#
# ![](diagram:attention)
#
# So $A$ can be read in two ways: along a row, which characters a place listens to; down a column, which places a character is heard by. The column laid out as a square is the heat map.
# %%
print(f"{'layer':38}{'places':>8}{'heads':>6}{'d':>4}{'tokens':>8}")
for name, layer in layers.items():
    _, heads, asked, tokens = layer.processor.maps.shape
    side, d = int(asked**0.5), layer.to_q.out_features // heads
    print(
        f"{name.split('.transformer')[0]:38}{side:>5}x{side}{heads:>7}{d:>4}{tokens:>8}"
    )
print("attn2.to_q", tuple(layers[last].to_q.weight.shape), "from the picture")
print("attn2.to_k", tuple(layers[last].to_k.weight.shape), "from the words")
totals = [layer.processor.maps.sum(-1) for layer in layers.values()]
assert all(torch.allclose(total, torch.ones(1), atol=1e-4) for total in totals)
# %% [markdown] lang="zh"
# mini 的潜变量是 16×16，可是那一层没有交叉注意力：它从 8×8 才开始，往下是 4×4 和 2×2。8×8 的一格是图上 16×16 个像素，热图不可能比这更细。头（head）是几组各算各的 Q、K、V，下面都取它们的平均。提示词不满 {{ pipe.tokenizer.model_max_length }} 个词元时，后面补的是空位，它们也有权重。
#
# ## 12.4 一步一步看
#
# 采样是一步一步走的，热图也一步一步变。
#
# **先猜**：第一步时，$x_t$ 几乎全是噪声。“狐狸”的热图这时会在中间，还是到处都是？
# %% [markdown] lang="en"
# The latents of mini are 16×16, but at that level there is no cross-attention: it begins at 8×8, and goes on at 4×4 and 2×2. One cell of 8×8 is 16×16 pixels of the picture; no map can be finer. Heads are several sets of Q, K, V, each computed on its own; we take their mean below. Where a prompt has fewer than {{ pipe.tokenizer.model_max_length }} tokens, the rest are padding, and they get weights too.
#
# ## 12.4 Step by step
#
# Sampling goes step by step, and the maps change with it.
#
# **Predict**: at the first step $x_t$ is nearly all noise. Will the map of 狐狸 be in the middle then, or everywhere?
# %%
history = []


def note(pipe, step, t, now):
    history.append(layers[last].processor.maps[-1].mean(0))
    return now


noise = torch.Generator().manual_seed(1)
settings = {"guidance_scale": 2.0, "callback_on_step_end": note, "generator": noise}
drawn = pipe(prompt, num_inference_steps=profile.steps, **settings).images[0]
chosen = np.linspace(0, profile.steps - 1, min(5, profile.steps)).astype(int)
cells = [(word, step) for word in words for step in chosen]
maps = [map_of(history[step], prompt, word).numpy() for word, step in cells]
titles = [f"{word} {step + 1}" for word, step in cells]
show(
    [heat(drawn, m) for m in maps],
    titles,
    columns=len(chosen),
    alt="四个词的热图随步数变化",
)
# %% [markdown] lang="zh"
# 每一行一个词，从左到右是第几步；每张热图按自己的最亮处着色。看第一列：图还没有，“狐狸”的热图已经在中间，“雪地”已经让开了；往右走，几乎不变。记住这一点，12.5 的末尾要用。“水彩画”没有自己的地方，逗号的也说不出什么。
#
# 这是一张图。一张图不是证据，下一节来量。
#
# ## 12.5 指得准吗：和真实值比
#
# 真照片没有“哪里是狐狸”的答案；我们的图画世界有：`paint` 画一个场景，同时给出主体的遮罩（mask）。**指向游戏**（pointing game，Zhang et al. 2016）：给真场景加噪声到 $t=500$，让 UNet 看一眼，取词的热图最亮的一格；落在主体上就算中。
#
# * 瞎指能中多少：主体占几成，就能中几成。
# * 对照：同一句话里逗号的热图，和地点词的热图。
# * 层是挑出来的，所以先在一批场景上挑层，再在另一批上报数。
#
# 区间都是 Wilson 区间（第 13 课讲）。
#
# **先猜**：三个 8×8 的层，各能中几成？哪一层最准？
# %% [markdown] lang="en"
# A row is a word, left to right are the steps; every map is coloured by its own brightest place. Look at the first column: there is no picture yet, but the map of 狐狸 is in the middle already, and 雪地 has made room for it; further right hardly anything changes. Keep this in mind, the end of 12.5 needs it. 水彩画 (watercolour) has no place of its own, and the comma's map says little.
#
# This is one picture, and one picture is no evidence. The next section measures.
#
# ## 12.5 Does it aim well? Against the truth
#
# Photographs do not come with the answer to "where is the fox?"; our picture world does: `paint` paints a scene and returns the mask of its subject. The **pointing game** (Zhang et al. 2016): add noise to a real scene up to $t=500$, let the UNet look once, take the brightest cell of the word's map; if it lies on the subject, that is a hit.
#
# * Blind luck hits as often as the subject is large.
# * Controls: the map of a comma in the same prompt, and that of the word for the place.
# * The layer is chosen, so we choose it on one set of scenes and report it on another.
#
# All intervals are Wilson's (explained in lesson 13).
#
# **Predict**: how often does each of the three 8×8 layers hit? Which is the best?
# %%
from collections import namedtuple
from itertools import count, islice

from torch.nn.functional import adaptive_avg_pool2d

from paidiff_world.scenes import Spec, paint, plan
from paidiff_world.words import BACKGROUNDS, STYLES, SUBJECTS

Scene = namedtuple("Scene", "spec caption subject place picture mask")


def said(names, caption):
    """The longest of some names that a caption has, or None."""
    return max((name for name in names if name in caption), key=len, default=None)


def scene(seed):
    """A real scene with its caption, its words for subject and place, its mask."""
    spec, caption, rs = plan(seed, grid=True)
    subject = said(SUBJECTS.get(spec.subject, ()), caption)
    place = said(BACKGROUNDS[spec.background], caption)
    return Scene(spec, caption, subject, place, *paint(spec, rs, profile.size))


# %%
def useful(one):
    return one.subject and one.place and "," in one.caption and not one.spec.flaw


def scenes(first):
    found = filter(useful, map(scene, count(first)))
    return list(islice(found, profile.scenes))


some, others = scenes(0), scenes(10**6)
print(len(some), len(others), *(one.caption for one in some[:3]), sep=" · ")
# %%
from paidiff_lib.models.encode import encode_captions, encode_picture


def noised(scenes, t=500):
    """x_t of real scenes: (scenes, C, h, w)."""
    clean = torch.stack([encode_picture(pipe, one.picture)[0] for one in scenes])
    clean = clean * pipe.vae.config.scaling_factor
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return pipe.scheduler.add_noise(clean, noise, torch.tensor([t] * len(scenes)))


def look(noisy, captions, t=500):
    """The weights of the finest layers at t: {layer: (scenes, places, tokens)}."""
    pipe.unet(noisy.to(pipe.unet.device), t, encode_captions(pipe, captions))
    return {n: layer.processor.maps.mean(1).cpu() for n, layer in finest.items()}


def covered(one, side):
    """Which cells lie on the subject: (side * side,)."""
    mask = adaptive_avg_pool2d(torch.tensor(one.mask)[None], side)[0]
    return mask.flatten() > 0.5


def hit(weights, one, caption, word):
    """Whether the brightest cell of the word's map lies on the subject."""
    heat = map_of(weights, caption, word)
    return bool(covered(one, len(heat))[heat.argmax()])


# %%
def rates(weights, scenes):
    """{kind of word: Estimate}: how often its map points at the subject."""
    kinds = {
        "subject": lambda s: s.subject,
        ",": lambda s: ",",
        "place": lambda s: s.place,
    }
    hits = {
        kind: [hit(w, s, s.caption, word(s)) for w, s in zip(weights, scenes)]
        for kind, word in kinds.items()
    }
    return {
        kind: paidiff.wilson(sum(found), len(found)) for kind, found in hits.items()
    }


# %%
weights = look(noised(some), [one.caption for one in some])
weights["mean"] = torch.stack(list(weights.values())).mean(0)
tried = {name: rates(w, some) for name, w in weights.items()}
for name, found in tried.items():
    shares = "  ".join(f"{kind} {rate:.0%}" for kind, rate in found.items())
    print(f"{name.split('.transformer')[0]:27}{shares}")
chance = np.mean([one.mask.mean() for one in some])
best = max(tried, key=lambda name: tried[name]["subject"].mean)
print(f"chance {chance:.0%} · best {best.split('.transformer')[0]}")
# %%
noisy = noised(others)
fresh = look(noisy, [one.caption for one in others])
fresh["mean"] = torch.stack(list(fresh.values())).mean(0)
aim = rates(fresh[best], others)
print(*(f"{kind}: {rate:.0%}" for kind, rate in aim.items()), sep="\n")
if profile.judged:
    assert aim["subject"].low > 0.6 and aim["subject"].low > aim[","].high
    assert aim["place"].high < chance  # the place's word avoids the subject
    assert (
        tried[list(finest)[0]]["subject"].mean < 0.45
    )  # the first layer aims at nothing
# %% [markdown] lang="zh"
# 在没参与挑层的 {{ len(others) }} 个场景上：主体词指中 {{ f"{aim['subject']:.0%}" }}，逗号 {{ f"{aim[',']:.0%}" }}，地点词 {{ f"{aim['place']:.0%}" }}，瞎指 {{ f"{chance:.0%}" }}。主体词指向主体，地点词让开它。
#
# 但是第一个 8×8 层只有 {{ f"{tried[list(finest)[0]]['subject']:.0%}" }}，不比瞎指好；三层平均是 {{ f"{tried['mean']['subject']:.0%}" }}。**“注意力热图”不是一张图，是每层一张，有的说明问题，有的不说明。** 只挑一张好看的来给人看，什么也证明不了。
#
# ### 更难的对照
#
# 瞎指是个太弱的对手：这个世界里主体多半在中间。所以再问三件事：
# * `always`：不看热图，永远指“最常被主体盖住的那一格”，能中几成？
# * `picture`：只留下那一格没有主体的场景，热图还中吗？
# * `noise`：同样的话，不给图，只给纯噪声（$t=999$）；`other`：用另一个场景的热图。
#
# **先猜**：没有图可看，热图还能指中几成？
# %% [markdown] lang="en"
# On {{ len(others) }} scenes that took no part in choosing the layer: the subject's word hits {{ f"{aim['subject']:.0%}" }}, the comma {{ f"{aim[',']:.0%}" }}, the place's word {{ f"{aim['place']:.0%}" }}, blind luck {{ f"{chance:.0%}" }}. The subject's word points at the subject, the place's word keeps out of its way.
#
# But the first 8×8 layer has {{ f"{tried[list(finest)[0]]['subject']:.0%}" }}, no better than luck; the mean of all three has {{ f"{tried['mean']['subject']:.0%}" }}. **There is no such thing as "the" attention map: there is one for each layer, and some tell you something and some do not.** Picking a pretty one to show proves nothing.
#
# ### A harder control
#
# Luck is too weak an opponent: in this world the subject is mostly in the middle. So three more questions:
# * `always`: how often hits whoever looks at no map and always points at the cell that subjects cover most often?
# * `picture`: on scenes where that cell is not on the subject, do the maps still hit?
# * `noise`: the same words without a picture, pure noise only ($t=999$); `other`: the map of another scene.
#
# **Predict**: with no picture to look at, how often do the maps hit?
# %%
side = int(most**0.5)
often = sum(covered(one, side).int() for one in some).argmax()


def off_centre(one):
    return useful(one) and not covered(one, side)[often]


apart = filter(off_centre, map(scene, count(2 * 10**6)))
apart = list(islice(apart, profile.scenes))
captions = [one.caption for one in apart]
layer = best if best in finest else last
maps = {"picture": look(noised(apart), captions)[layer]}
chaos = torch.randn(noisy.shape, generator=torch.Generator().manual_seed(1))
maps["noise"] = look(chaos[: len(apart)], captions, t=999)[layer]
# %%
asked = [(one, one.caption, one.subject) for one in apart]
hits_of = {n: [hit(m, *one) for m, one in zip(maps[n], asked)] for n in maps}
moved = asked[1:] + asked[:1]  # scene i with the map and the words of scene i + 1
hits_of["other"] = [
    hit(m, one, *words)
    for m, one, (_, *words) in zip(maps["picture"].roll(-1, 0), apart, moved)
]
hits_of["always"] = [bool(covered(one, side)[often]) for one in others]
hard = {n: paidiff.wilson(sum(found), len(found)) for n, found in hits_of.items()}
print(*(f"{n:8}{rate:.0%}" for n, rate in hard.items()), sep="\n")
if profile.judged:
    assert hard["always"].mean > 0.6  # the middle alone goes far
    assert hard["picture"].low > 0.55 and hard["noise"].low > 0.55
    assert hard["other"].mean < hard["picture"].low
# %% [markdown] lang="zh"
# * 永远指一格，也有 {{ f"{hard['always']:.0%}" }}：上面的 {{ f"{aim['subject'].mean:.0%}" }} 大半是“东西在中间”。
# * 在 {{ len(apart) }} 个那一格没有主体的场景上，热图还中 {{ f"{hard['picture']:.0%}" }}，换成别的场景的热图只有 {{ f"{hard['other']:.0%}" }}：热图确实分得出这一个场景。
# * 可是**不给图，只给纯噪声，也有 {{ f"{hard['noise']:.0%}" }}**。它不是在图上找到了狐狸，而是读了话：“两只”就在两边，“左边”就在左边。12.4 里热图从第一步起就不变，说的是同一件事。
#
# 所以 mini 的热图是**打算**：话说了要画什么，模型就定了画在哪里。它准，是因为这个小世界里话和地方连得紧。别的模型要另外量；量的时候，带上 `noise` 这个对照。
#
# 没指中的长什么样？
# %% [markdown] lang="en"
# * Always pointing at one cell hits {{ f"{hard['always']:.0%}" }}: most of the {{ f"{aim['subject'].mean:.0%}" }} above is "things stand in the middle".
# * On {{ len(apart) }} scenes where that cell is not on the subject, the maps still hit {{ f"{hard['picture']:.0%}" }}, those of other scenes only {{ f"{hard['other']:.0%}" }}: a map does belong to its scene.
# * And yet **without a picture, from pure noise, they hit {{ f"{hard['noise']:.0%}" }} as well**. The map has not found the fox in the picture, it has read the words: 两只 (two) stand on both sides, 左边 (left) is on the left. That the maps in 12.4 hardly change after the first step says the same.
#
# So the maps of mini are a **plan**: the words say what is to be drawn, and the model has settled where. They aim well because in this small world words and places go together closely. Other models have to be measured anew; when you do, bring the control `noise`.
#
# What do the misses look like?
# %%
pairs = list(zip(fresh[best], others))
ranked = sorted(pairs, key=lambda p: hit(*p, p[1].caption, p[1].subject))[:5]
maps = [map_of(w, one.caption, one.subject).numpy() for w, one in ranked]
misses = [heat(one.picture, m) for m, (_, one) in zip(maps, ranked)]
captions = [f"{one.subject} | {one.caption}" for _, one in ranked]
pictures = [one.picture for _, one in ranked] + misses
show(pictures, captions + [""] * len(ranked), columns=5, alt="没指中的场景和热图")
# %% [markdown] lang="zh"
# ## 12.6 把词换掉：它找的是狐狸，还是“东西”？
#
# 指得准，是因为它认出了狐狸吗？换一换就知道。场景不动，只改话：
# * `right`：原话；
# * `order`：逗号隔开的各段倒过来说；
# * `wrong`：主体换成另一样东西，图上没有的；
# * `place`：主体换成一个随便的地点词。
#
# **先猜**：图上是狐狸，话里说的是火车，“火车”的热图会指向狐狸吗？
# %% [markdown] lang="en"
# ## 12.6 Words exchanged: does it look for the fox, or for "the thing"?
#
# Does it aim well because it recognises the fox? Exchange the words and see. The scene stays, only the words change:
# * `right`: the caption as it is;
# * `order`: its parts between commas in reverse order;
# * `wrong`: another subject, one that is not in the picture;
# * `place`: a random place in the subject's stead.
#
# **Predict**: there is a fox in the picture and the words say 火车 (train). Will the map of 火车 point at the fox?
# %%
rs = np.random.RandomState(0)


def exchange(names):
    """Captions with another word where the subject's was, and those words."""
    words = [rs.choice([n for n in names if n not in one.caption]) for one in others]
    return [one.caption.replace(one.subject, w) for one, w in zip(others, words)], words


subjects = [one.subject for one in others]
turned = [",".join(reversed(one.caption.split(","))) for one in others]
trials = {
    "right": ([one.caption for one in others], subjects),
    "order": (turned, subjects),
}
trials |= {"wrong": exchange(list(SUBJECTS)), "place": exchange(list(BACKGROUNDS))}
aims = {}
for name, (captions, words) in trials.items():
    seen = look(noisy, captions)[best if best in finest else last]
    found = [hit(*each) for each in zip(seen, others, captions, words)]
    aims[name] = paidiff.wilson(sum(found), len(found))
    print(f"{name:6} {aims[name]:.0%}   {captions[0]} → {words[0]}")
if profile.judged:
    assert aims["wrong"].low > 0.5 and aims["order"].low > 0.6
    assert aims["place"].high < aims["wrong"].low


# %% [markdown] lang="zh"
# 原话 {{ f"{aims['right'].mean:.0%}" }}，倒过来说 {{ f"{aims['order'].mean:.0%}" }}：语序不要紧。错的主体词也指中 {{ f"{aims['wrong']:.0%}" }}，地点词只有 {{ f"{aims['place']:.0%}" }}。所以这张热图主要在说：**“这个字讲的是一样东西，东西该在那里”**，而不是“我认出了狐狸”。这个对照不做，就会把结论说大。
#
# ## 12.7 只改一个词
#
# 把“狐狸”改成“老虎”，同一个种子重画，背景也会跟着变。**Prompt-to-prompt**（Hertz et al. 2022）想留住其余的部分，用的正是热图。两个办法，各几行：
# * `maps`：画新图时，把交叉注意力的权重 $A$ 换成旧图的：新的字，画在旧的地方；
# * `keep`：每一步都看两个主体词的热图，两张都暗的地方，潜变量 $x_t$ 直接用旧图的（论文作者的代码里叫 local blend）。
#
# 四张图一起画：旧句 A，新句 B，B 加 `maps`，B 加 `keep`，起点是同一份噪声。批里先是不带词的一半，再是带词的一半，所以只动后一半。
# %% [markdown] lang="en"
# As it is {{ f"{aims['right'].mean:.0%}" }}, in reverse {{ f"{aims['order'].mean:.0%}" }}: word order does not matter. A wrong subject's word hits {{ f"{aims['wrong']:.0%}" }} as well, a place's word only {{ f"{aims['place']:.0%}" }}. So what this map says is mostly: **"this word is about a thing, and the thing should be there"**, not "I recognise a fox". Without this control we would have claimed too much.
#
# ## 12.7 Change one word only
#
# Change 狐狸 (fox) into 老虎 (tiger), draw again from the same seed, and the background changes too. **Prompt-to-prompt** (Hertz et al. 2022) keeps the rest, and uses the maps to do so. Two ways, a few lines each:
# * `maps`: while the new picture is drawn, put the old picture's weights $A$ in place of its own: new words, painted in the old places;
# * `keep`: at each step, look at the maps of both subjects' words; where both are dark, take the latents $x_t$ of the old picture (the authors' code calls it local blend).
#
# Four pictures are drawn together from the same noise: A, the old prompt; B, the new one; B with `maps`; B with `keep`. A batch holds the half without words first, then the half with them, so only the second half is touched.
# %%
def inject(weights):
    """The third quarter of the pictures gets the weights of the first."""
    old, new, injected, kept = weights.chunk(2)[1].chunk(4)
    return torch.cat([weights.chunk(2)[0], old, new, old, kept])


def bright(weights, prompt, word):
    """Where a word's map is at least 0.4 of its maximum, as large as the latents."""
    heat = map_of(weights, prompt, word)[None, None]
    size = 2 * [pipe.unet.config.sample_size]
    heat = torch.nn.functional.interpolate(heat / heat.max(), size, mode="bilinear")
    return heat[0] > 0.4


# %%
def keep_old(x, maps, old, new, subjects):
    """The last quarter of the latents becomes the first where both maps are dark."""
    n = len(old)
    for i, (a, b) in enumerate(subjects):
        here = bright(maps[i], old[i], a) | bright(maps[n + i], new[i], b)
        x[3 * n + i] = torch.where(here, x[3 * n + i], x[i])


def edit(old, new, subjects, seed):
    """Pictures of A, of B, of B with maps, of B with keep: four lists."""
    total, n = [], len(old)

    def each(pipe, step, t, now):
        total.append(layers[last].processor.maps.chunk(2)[1].mean(1))
        keep_old(now["latents"], sum(total), old, new, subjects)
        return now

    noise = [torch.Generator().manual_seed(seed + i) for i in [*range(n)] * 4]
    settings = {"generator": noise, "callback_on_step_end": each, "guidance_scale": 2.0}
    for layer in layers.values():
        layer.processor.change = inject
    found = pipe(old + 3 * new, num_inference_steps=profile.steps, **settings).images
    for layer in layers.values():
        layer.processor.change = None
    return [found[i : i + n] for i in range(0, 4 * n, n)]


# %% [markdown] lang="zh"
# 量 {{ profile.edits }} 次修改：主体和地点随机抽，两个主体字数一样（这样字的位置一一对应）。两个数：
# * **背景变了多少**：两个主体都盖不到的像素，A 和新图平均差几个灰度（0–255）；主体该在哪里，世界知道；
# * **新主体看得见吗**：裁判（第 13 课）说了算。
#
# 旧图自己留着不动，背景一点也不变，新主体也就没有：两个数要一起看。
#
# **先猜**：`maps` 和 `keep`，哪个让背景变得少？各少几成？新主体还在吗？
# %% [markdown] lang="en"
# We measure {{ profile.edits }} edits: subjects and places drawn at random, both subjects of equal length (so that characters stand at the same places). Two figures:
# * **how much the background changes**: over pixels that neither subject covers, the mean difference of A and the new picture in grey levels (0–255); the world knows where subjects stand;
# * **is the new subject there?** The judge decides (lesson 13).
#
# Leaving the old picture alone would change no background and show no new subject: the two figures belong together.
#
# **Predict**: which changes the background less, `maps` or `keep`? By how much? Is the new subject still there?
# %%
from PIL import ImageFilter
from paidiff_world.judge import hits

rs, jobs = np.random.RandomState(12), []
while len(jobs) < profile.edits:
    a, b = rs.choice(list(SUBJECTS), 2, replace=False)
    if len(a) == len(b):
        jobs.append((str(a), str(b), str(rs.choice(list(BACKGROUNDS)))))

drawn = [[], [], [], []]
for i in range(0, len(jobs), 6):
    group = jobs[i : i + 6]
    old, new = ([f"{job[k]},{job[2]}" for job in group] for k in (0, 1))
    for found, pictures in zip(
        drawn, edit(old, new, [job[:2] for job in group], seed=i)
    ):
        found += pictures


# %%
def outside(a, b, place):
    """Pixels that neither subject covers, six pixels from both: (side, side)."""
    specs = [Spec(name, place, grid=True, size=12 / 16) for name in (a, b)]
    masks = [paint(spec, np.random.RandomState(0), profile.size)[1] for spec in specs]
    union = Image.fromarray(np.uint8(255 * (np.maximum(*masks) > 0.05)))
    return np.asarray(union.filter(ImageFilter.MaxFilter(13))) == 0


def change(picture, other, free):
    return np.abs(np.subtract(picture, other, dtype=float))[free].mean()


free = [outside(*job) for job in jobs]
wanted = [Spec(b, place, grid=True) for _, b, place in jobs]
ways, moved, there = ["B", "maps", "keep"], {}, {}
for way, pictures in zip(ways, drawn[1:]):
    moved[way] = [change(*each) for each in zip(drawn[0], pictures, free)]
    there[way] = paidiff.wilson(hits(pictures, wanted)["subject"].sum(), len(jobs))
    spread = paidiff.interval(moved[way])
    print(f"{way:5} background {spread:.1f}   new subject {there[way]:.0%}")
# %%
picked = range(min(6, len(jobs)))
rows = [picture for pictures in drawn for picture in [pictures[i] for i in picked]]
titles = [
    f"{name} {jobs[i][0 if name == 'A' else 1]}"
    for name in ["A", *ways]
    for i in picked
]
show(rows, titles, columns=len(picked), alt="四行：旧图、新图、换权重、留背景")

ratio = {way: np.mean(moved[way]) / np.mean(moved["B"]) for way in ways}
less = sum(k < b for k, b in zip(moved["keep"], moved["B"]))
print(f"maps {ratio['maps']:.0%} · keep {ratio['keep']:.0%} of B")
print(f"keep changes less in {less}/{len(jobs)}")
if profile.judged:
    assert ratio["keep"] <= 0.5 and there["keep"].mean >= 0.8
    assert ratio["maps"] > 0.75  # the weights alone keep nothing here


# %% [markdown] lang="zh"
# `keep` 把背景的变化压到不加时的 {{ f"{ratio['keep']:.0%}" }}（{{ len(jobs) }} 次里有 {{ less }} 次变少），新主体还看得见 {{ f"{there['keep']:.0%}" }}。剩下的来自两处：热图亮的地方比主体大一圈；解码时，一格潜变量也影响旁边的像素。再看图上的边：旧东西有时留下一点，汽车的轮子、青蛙的眼睛还在新主体旁边。裁判不为这个扣分，你的眼睛会。
#
# `maps` 却几乎没有用：{{ f"{ratio['maps']:.0%}" }}。论文里它是主角，为什么在 mini 上不灵？可能的原因：
# * 权重 $A$ 只管“在哪里”，而 12.6 说了，换一个主体词，热图还指同一处：两边的 $A$ 本来就差不多；
# * 颜色和形状是 $V$ 带来的，$V$ 是新词的；
# * Stable Diffusion 在 64×64 到 8×8 都有交叉注意力，mini 最细只有 8×8；
# * 字还有第二条路，绕过了注意力。下一节讲。
#
# ## 12.8 第二条路：时间嵌入
#
# UNet 的每一块都要知道现在是第几步，所以有一个**时间嵌入**（time embedding）：把 $t$ 变成一个向量，送到每个残差块，调节它的每个通道。mini 的配置里有一行 `addition_embed_type: "text"`：整句话先汇成一个向量，**加到时间嵌入上**。这样字不经过交叉注意力，也能影响画面的每一处，但是分不出哪里：一整张图只有这一个向量。
#
# 两条路能分开换：交叉注意力读 A，时间嵌入读 B，再反过来。钩子（hook）三行就够。A 和 B 的主体、地点、画风都不同；裁判看每一样听了谁的。
#
# **先猜**：主体、地点、画风，各由哪条路决定？
# %% [markdown] lang="en"
# `keep` brings the change of the background down to {{ f"{ratio['keep']:.0%}" }} of what it is without (less in {{ less }} of {{ len(jobs) }} edits), and the new subject is still seen in {{ f"{there['keep']:.0%}" }}. The rest has two sources: the bright part of a map is a little larger than the subject, and in decoding a cell of the latents also reaches the pixels beside it. And look at the rims: some of the old thing stays now and then, wheels of the car or an eye of the frog beside the new subject. The judge does not mind, your eyes do.
#
# `maps`, though, does next to nothing: {{ f"{ratio['maps']:.0%}" }}. In the paper it is the main actor; why not on mini? Possible reasons:
# * The weights $A$ only say where, and 12.6 has shown that the map of another subject's word points to the same place: the two $A$ were alike to begin with;
# * colours and shapes come with $V$, and the $V$ are those of the new word;
# * Stable Diffusion has cross-attention from 64×64 to 8×8, mini has 8×8 at the finest;
# * and words have a second way in, around attention. That is the next section.
#
# ## 12.8 The second path: the time embedding
#
# Every block of a UNet has to know how far sampling has come, hence the **time embedding**: $t$ becomes a vector that goes to every residual block and adjusts each of its channels. The configuration of mini has a line `addition_embed_type: "text"`: the whole prompt is pooled into one vector and **added to the time embedding**. So words reach all of the picture without cross-attention; but they cannot tell places apart, for there is just one vector for the whole picture.
#
# The two paths can be exchanged separately: cross-attention reads A while the time embedding reads B, and the other way round. A hook of three lines will do. A and B differ in subject, place and style; the judge says which of them each was taken from.
#
# **Predict**: which path decides the subject, which the place, which the style?
# %%
def random_spec(rs):
    pick = lambda names: str(rs.choice(list(names)))
    return Spec(pick(SUBJECTS), pick(BACKGROUNDS), pick(STYLES), grid=True)


def differ(a, b):
    parts = ("subject", "background", "style")
    return all(getattr(a, part) != getattr(b, part) for part in parts)


rs, couples = np.random.RandomState(5), []
while len(couples) < profile.pairs:
    couple = random_spec(rs), random_spec(rs)
    couples += [couple] if differ(*couple) else []
print(getattr(pipe.unet, "add_embedding", None))


# %%
def swap(module, given):
    """The time embedding reads the text of the picture half a batch away."""
    without, along = given[0].chunk(2)
    return (torch.cat([without, along.roll(len(along) // 2, 0)]),)


def draw_couples(size=4):
    """[(picture, spec whose words attention reads, spec of its partner)]."""
    found = []
    for i in range(0, len(couples), size):
        first, second = map(list, zip(*couples[i : i + size]))
        read, other = first + second, second + first
        texts = [f"{s.subject},{s.background},{s.style}" for s in read]
        noise = [torch.Generator().manual_seed(i) for _ in texts]
        settings = {"generator": noise, "num_inference_steps": profile.steps}
        found += zip(pipe(texts, guidance_scale=2.0, **settings).images, read, other)
    return found


# %%
normal = draw_couples()
exchanged = normal  # for a model without this path
if hasattr(pipe.unet, "add_embedding"):
    hook = pipe.unet.add_embedding.register_forward_pre_hook(swap)
    exchanged = draw_couples()
    hook.remove()


def follows(found, who):
    """{head: Estimate}: how often the judge sees what spec `who` (1 or 2) says."""
    seen = hits([each[0] for each in found], [each[who] for each in found])
    heads = ("subject", "background", "style")
    return {h: paidiff.wilson(seen[h].sum() / 2, len(couples)) for h in heads}


paths = {"cross": follows(exchanged, 1), "time": follows(exchanged, 2)}
for name, found in {"normal": follows(normal, 1), **paths}.items():
    print(
        f"{name:7}", *(f"{head} {rate:.0%}" for head, rate in found.items()), sep="  "
    )
# %%
chosen = [exchanged[i] for i in range(min(6, len(exchanged)))]
texts = [[f"{s.subject},{s.background},{s.style}" for s in each[1:]] for each in chosen]
alone = [each[0] for each in normal[: len(chosen)]]
show(alone, [a for a, _ in texts], columns=6, alt="交换之前")
show([each[0] for each in chosen], [b for _, b in texts], columns=6, alt="交换之后")
if profile.judged:
    cross, time = paths["cross"], paths["time"]
    assert cross["subject"].low > time["subject"].high
    assert cross["background"].low > time["background"].high
    assert time["style"].low > cross["style"].high
# %% [markdown] lang="zh"
# 上面一行没有交换，标题是整句话；下面一行同样的字走交叉注意力，标题里的话走时间嵌入。主体还是上面的，画风却是标题里的。
#
# | 看见了谁的 | 交叉注意力里的话 | 时间嵌入里的话 |
# |---|---|---|
# | 主体 | {{ f"{paths['cross']['subject']:.0%}" }} | {{ f"{paths['time']['subject']:.0%}" }} |
# | 地点 | {{ f"{paths['cross']['background']:.0%}" }} | {{ f"{paths['time']['background']:.0%}" }} |
# | 画风 | {{ f"{paths['cross']['style']:.0%}" }} | {{ f"{paths['time']['style']:.0%}" }} |
#
# **在 mini 里，主体和地点走交叉注意力，画风走时间嵌入。** 有道理：主体和地点要知道“在哪里”，画风处处一样，一个向量就够。所以 12.4 里“水彩画”的热图没有说明任何事：它的作用几乎不从那里走。两列加起来不到一：两条路说的不一样时，模型两边都画不好，主体和地点比不交换时少见。
#
# 这是 mini 的事。Stable Diffusion 1.5 和文章里的 1B 模型没有这第二条路，所有的字都走交叉注意力；SDXL 有（`text_time`），SD3、FLUX 这样的 DiT 也有。
#
# ## 12.9 这一课没有说明的事
#
# * 热图说一个位置**听**了哪个字，没有说它**因此**画成什么：权重小的 $V$ 也可能很长。12.6 和 12.8 才是因果：换掉，看结果。
# * 裁判的话也会错（第 13 课有它的混淆矩阵）；画风、主体都是它学过的。
# * 全是 mini 和它的图画世界：主体总在中间一带，一格 16 个像素。文章里的大模型没有在这台机器上验证过。
#
# | 看到 | 因为 | 怎么办 |
# |---|---|---|
# | `ValueError: substring not found` | 这个词不在提示词里 | `places` 的第二个参数要照抄提示词里的字 |
# | `AttributeError: 'AttnProcessor2_0' object has no attribute 'maps'` | 重新 `load` 过，`Watch` 不在了 | 再运行 12.1 的 `set_processor` |
# | 热图像别人的 | `guidance_scale` 不大于 1 时没有“不带词的一半”，`chunk(2)` 切错了 | 这一课的引导都用 2 |
#
# ## 12.10 你学到了
#
# * 注意力是加权平均：$\mathrm{softmax}(QK^\top/\sqrt d)\,V$；交叉注意力里 $Q$ 来自图，$K$、$V$ 来自话。
# * 一个字的热图是 $A$ 的一列；mini 最细是 8×8。
# * 最后一层的热图指得准（{{ f"{aim['subject'].mean:.0%}" }}，瞎指 {{ f"{chance:.0%}" }}），第一层不准；可是没有图，也有 {{ f"{hard['noise'].mean:.0%}" }}：它是打算，不是看见。
# * 用热图当遮罩，改一个词，背景只变 {{ f"{ratio['keep']:.0%}" }}；只换权重，在 mini 上没有用。
# * 字有两条路：主体、地点走交叉注意力，画风走时间嵌入。
# %% [markdown] lang="en"
# The upper row is not exchanged, the titles are its prompts; in the lower row the same words go through cross-attention, and the words in the title through the time embedding. The subjects are those of the row above, the styles those of the titles.
#
# | whose was seen | words in cross-attention | words in the time embedding |
# |---|---|---|
# | subject | {{ f"{paths['cross']['subject']:.0%}" }} | {{ f"{paths['time']['subject']:.0%}" }} |
# | place | {{ f"{paths['cross']['background']:.0%}" }} | {{ f"{paths['time']['background']:.0%}" }} |
# | style | {{ f"{paths['cross']['style']:.0%}" }} | {{ f"{paths['time']['style']:.0%}" }} |
#
# **In mini, subject and place go through cross-attention, style through the time embedding.** It makes sense: subject and place need a "where", a style is the same everywhere and one vector is enough. So the map of 水彩画 in 12.4 told us nothing: hardly any of its effect goes that way. The two columns do not add up to one: when the paths disagree, the model draws neither well, and subjects and places are seen less often than without the exchange.
#
# This is true of mini. Stable Diffusion 1.5 and the article's 1B model have no second path, all words go through cross-attention; SDXL has one (`text_time`), and so have DiTs such as SD3 and FLUX.
#
# ## 12.9 What this lesson has not shown
#
# * A map says which character a place **listens** to, not what it draws **because of** it: a $V$ with a small weight may still be long. 12.6 and 12.8 are about cause: exchange something, and see.
# * The judge makes mistakes too (its confusion matrix is in lesson 13); the styles and subjects are those that it was taught.
# * All of this is mini and its picture world: subjects around the middle, cells of 16 pixels. The article's large models have not been checked on this machine.
#
# | you see | because | what to do |
# |---|---|---|
# | `ValueError: substring not found` | the word is not in the prompt | copy the word from the prompt into `places` |
# | `AttributeError: 'AttnProcessor2_0' object has no attribute 'maps'` | after another `load`, `Watch` is gone | run `set_processor` of 12.1 again |
# | the maps seem to be another prompt's | with `guidance_scale` of 1 or less there is no half without words, `chunk(2)` cuts in the wrong place | keep the guidance at 2 in this lesson |
#
# ## 12.10 What you have learnt
#
# * Attention is a weighted mean: $\mathrm{softmax}(QK^\top/\sqrt d)\,V$; in cross-attention $Q$ comes from the picture, $K$ and $V$ from the words.
# * The map of a character is a column of $A$; in mini 8×8 is the finest.
# * The last layer's maps aim well ({{ f"{aim['subject'].mean:.0%}" }}, luck {{ f"{chance:.0%}" }}), the first layer's do not; but without any picture they hit {{ f"{hard['noise'].mean:.0%}" }} too: a plan, not a finding.
# * With a map as mask you change a word and the background changes {{ f"{ratio['keep']:.0%}" }} as much; exchanging weights alone does nothing on mini.
# * Words take two paths: subject and place through cross-attention, style through the time embedding.
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
# 1. **别的时间步**。把 `noised` 和 `look` 的 `t` 换成 50、200、800、950，画出指中率随 $t$ 的曲线。和 `noise` 的对照合得上吗？
# 2. **哪个头**。`maps.mean(1)` 取了各头的平均。每个头单独比：最准的头比平均还准吗？在 `some` 上挑，在 `others` 上报。
# 3. **阈值**。把 `bright` 里的 0.4 换成 0.1、0.2、0.6、0.8，记下背景的变化和新主体。画成一条线：你会选哪一点？

# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see.
#
# 1. **Other timesteps**. Give `noised` and `look` a `t` of 50, 200, 800, 950 and plot the hits against $t$. Does it agree with the control `noise`?
# 2. **Which head**. `maps.mean(1)` is the mean over heads. Compare each head on its own: is the best head better than the mean? Choose on `some`, report on `others`.
# 3. **The threshold**. Replace the 0.4 in `bright` by 0.1, 0.2, 0.6, 0.8 and note the change of the background and the new subject. Draw them as one line: which point would you choose?
