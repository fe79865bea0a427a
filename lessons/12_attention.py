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
# 一句话先变成词元（token，见第 01 课），一个汉字大多就是一个；一个词的热图，是它各个字的热图之和。`finest` 是格点最多的几层：只有它们的热图细到能看。
# %% [markdown] lang="en"
# A prompt first becomes tokens (lesson 01), mostly one for each Chinese character; the map of a word is the sum of the maps of its characters. `finest` are the layers with the most places: only their maps are fine enough to look at.
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
last = list(finest)[-1]  # layers stand in the order in which they run
print(paidiff.tokens(pipe.tokenizer, prompt), *finest, sep="\n")
# %%
def heat(picture, weights):
    """A map over a picture: dark where a word does not look, bright where it does."""
    low, high = weights.min(), weights.max()
    grey = Image.fromarray(np.uint8(255 * (weights - low) / (high - low)))
    grey = grey.resize(picture.size, Image.Resampling.BICUBIC)
    colours = Image.fromarray(np.uint8(255 * colormaps["inferno"](grey)[..., :3]))
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
# $$\mathrm{attention}(Q,K,V)=\underbrace{\mathrm{softmax}\!\left(QK^\top/\sqrt{d}\right)}_{A}V$$
#
# $d$ 是 $Q$ 一行的长度。$d$ 越长，点积越大，softmax 就越像“只听一个的”；除以 $\sqrt d$ 把它拉回来。
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
# $$\mathrm{attention}(Q,K,V)=\underbrace{\mathrm{softmax}\!\left(QK^\top/\sqrt{d}\right)}_{A}V$$
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
# ![左边是带噪声的图和提示词的各个字。图经过权重矩阵成为 Q，字成为 K 和 V。Q 和 K 算出每个位置对每个字的权重 A，一个字的权重排成方形就是热图；A 乘 V 回到图里。](../docs/diagrams/zh/attention.svg)
#
# 所以 $A$ 有两种读法：横着读，一个位置听哪些字；竖着读，一个字被哪些位置听见，排成方形，就是热图。
# %% [markdown] lang="en"
# The weights are {{ ", ".join(f"{a:.2f}" for a in A[0]) }}: softmax never gives 0, so the other two words have a little say as well. The last line compares with torch's own `scaled_dot_product_attention`: the same.
#
# ## 12.3 Cross-attention: the picture asks, the words answer
#
# In *self-attention* all three come from the picture; in **cross-attention** $Q$ comes from the picture, $K$ and $V$ from the words. Every place of the picture asks: "which character concerns me?"
#
# ![On the left a noisy picture and the characters of a prompt. A weight matrix turns the picture into Q, others turn the characters into K and V. Q and K give the weights A of every place for every character; the weights of one character, laid out as a square, are its heat map; A times V goes back into the picture.](../docs/diagrams/en/attention.svg)
#
# So $A$ can be read in two ways: along a row, which characters a place listens to; down a column, which places a character is heard by. The column laid out as a square is the heat map.
# %%
print(f"{'layer':38}{'places':>8}{'heads':>6}{'d':>4}{'tokens':>8}")
for name, layer in layers.items():
    _, heads, asked, tokens = layer.processor.maps.shape
    side, d = int(asked**0.5), layer.to_q.out_features // heads
    print(f"{name.split('.transformer')[0]:38}{side:>5}x{side}{heads:>7}{d:>4}{tokens:>8}")
print("attn2.to_q", tuple(layers[last].to_q.weight.shape), "from the picture")
print("attn2.to_k", tuple(layers[last].to_k.weight.shape), "from the words")
totals = [layer.processor.maps.sum(-1) for layer in layers.values()]
assert all(torch.allclose(total, torch.ones(1), atol=1e-4) for total in totals)
# %% [markdown] lang="zh"
# mini 的潜变量是 16×16，可是那一层没有交叉注意力：它从 8×8 才开始，往下是 4×4 和 2×2。8×8 的一格是图上 16×16 个像素，热图不可能比这更细。头（head）是几组各算各的 Q、K、V，下面都取它们的平均。提示词不满 {{ pipe.tokenizer.model_max_length }} 个词元时，后面补的是空位，它们也有权重。
#
# 采样是一步一步走的，热图也一步一步变。
#
# **先猜**：第一步时，$x_t$ 几乎全是噪声。“狐狸”的热图这时会在中间，还是到处都是？
# %% [markdown] lang="en"
# The latents of mini are 16×16, but at that level there is no cross-attention: it begins at 8×8, and goes on at 4×4 and 2×2. One cell of 8×8 is 16×16 pixels of the picture; no map can be finer. Heads are several sets of Q, K, V, each computed on its own; we take their mean below. Where a prompt has fewer than {{ pipe.tokenizer.model_max_length }} tokens, the rest are padding, and they get weights too.
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
show([heat(drawn, m) for m in maps], titles, columns=len(chosen), alt="四个词的热图随步数变化")
