# %% [markdown] lang="zh"
# # 11 · 从零写一个中文文生图模型
#
# **离线 · CPU · 不用 GPU**
#
# **用时**：全部运行约两分钟，不需要 GPU，也不需要网络；把 `TRAIN_ALL` 改成 `True`，从头训练全部五个部件，一个线程约一刻钟。
#
# **你需要**：[第 00 课](00_what_is_diffusion.ipynb)的公式和记号（$x_0$、$x_t$、$\epsilon$、$\bar\alpha_t$，以及损失、批、学习率、EMA），[第 1 课](01_inference.ipynb)的引导。
#
# **学完你会**：用约 300 行代码写出文生图模型的每一个部件：分词器、注意力、CLIP、VAE、带交叉注意力的 UNet、引导、采样器和一个训练循环，只用 torch、numpy 和 Pillow；*量出*它会不会画从没见过的组合；指出每个部件在 diffusers 里叫什么、在 10 亿参数的模型里有多大；改两行，把它变成今天的模型用的整流流（rectified flow）。
#
# **先回想**：1. 第 00 课里，$x_t$ 由哪两样东西、按什么比例混成？ 2. 精确的“最佳猜测”为什么只会还原训练数据，而网络能画出新的？

# %% [markdown] lang="en"
# # 11 · A Chinese text-to-image model from scratch
#
# **Offline · CPU · no GPU needed**
#
# **Time**: about two minutes for Run All, without a GPU and without a network; with `TRAIN_ALL` set to `True`, all five parts are trained from nothing, in about a quarter of an hour on one thread.
#
# **You need**: the formulas and symbols of [lesson 00](00_what_is_diffusion.ipynb) ($x_0$, $x_t$, $\epsilon$, $\bar\alpha_t$; loss, batch, learning rate, EMA), and the guidance of [lesson 1](01_inference.ipynb).
#
# **You will**: write every part of a text-to-image model in some 300 lines: tokenizer, attention, CLIP, VAE, UNet with cross-attention, guidance, sampler and one training loop, with nothing but torch, numpy and Pillow; *measure* whether it draws combinations that it has never seen; name each part's class in diffusers and its size in a model of a billion parameters; change two lines and have a rectified flow, which is what today's models are.
#
# **Recall first**: 1. In lesson 00, which two things is $x_t$ mixed from, and in what shares? 2. Why can the exact "best guess" only give back its training data, while a network draws new pictures?

# %% tags=["boot"]
import paidiff_course

paidiff_course.setup()

# %% [markdown] lang="zh"
# ## 11.1 先看结果
#
# 下面 72 张都是这一课的模型画的：12 种事物（列）× 6 个地方（行），每张 32×32 像素。带红框的 18 种组合，训练时*一次也没出现过*：模型见过熊猫，见过沙滩，没见过沙滩上的熊猫。

# %% [markdown] lang="en"
# ## 11.1 The result first
#
# All 72 pictures below were drawn by this lesson's model: 12 subjects (columns) × 6 places (rows), 32×32 pixels each. The 18 combinations in red frames *never occurred* in training: the model has seen pandas and it has seen beaches, but no panda on a beach.

# %%
from PIL import Image, ImageOps

import paidiff_lib as paidiff
from paidiff_lib import show

FOLDER = paidiff.data("models", "from-scratch")  # what TRAIN_ALL = True made
show(
    Image.open(FOLDER / "sheet.png"),
    alt="12 种事物乘 6 个地方，多半认得出，没学过的 18 对带红框 · 12 subjects in 6"
    " places, most of them easily recognised; the 18 pairs never seen have red frames",
)

# %% [markdown] lang="zh"
# 一句话怎样变成一张图？这是全课的路线图，括号里是张量的形状（B 是一批的大小）：
#
# | 步 | 部件 | 输入 | 输出 |
# |---|---|---|---|
# | 1 | 分词器 | `"猫,草地"` | 编号 (B, 8) |
# | 2 | 文本编码器（CLIP 的一半） | 编号 (B, 8) | 词的向量 (B, 8, 64) |
# | 3 | UNet，25 步，每步问两次 | 噪声 $x_t$ (B, 4, 8, 8)，时间步 $t$，词的向量 | 猜出的噪声 $\epsilon$ (B, 4, 8, 8) |
# | 4 | 采样器，25 步 | $x_t$ 和猜出的 $\epsilon$ | 噪声少一些的 $x_s$ (B, 4, 8, 8) |
# | 5 | VAE 的解码器 | $x_0$ (B, 4, 8, 8) | 图 (B, 3, 32, 32) |
#
# 模型只用三样东西：torch、numpy、Pillow。`paidiff_world` 只用来画训练图片，模型里没有它。

# %% [markdown] lang="en"
# How does a sentence become a picture? This is the route of the whole lesson, with the shapes of the tensors (B is the size of a batch):
#
# | step | part | in | out |
# |---|---|---|---|
# | 1 | tokenizer | `"猫,草地"` (cat, grass) | ids (B, 8) |
# | 2 | text encoder (one half of CLIP) | ids (B, 8) | vectors of the words (B, 8, 64) |
# | 3 | UNet, 25 steps, asked twice in each | noise $x_t$ (B, 4, 8, 8), timestep $t$, vectors of the words | guessed noise $\epsilon$ (B, 4, 8, 8) |
# | 4 | sampler, 25 steps | $x_t$ and the guessed $\epsilon$ | $x_s$ with less noise (B, 4, 8, 8) |
# | 5 | decoder of the VAE | $x_0$ (B, 4, 8, 8) | picture (B, 3, 32, 32) |
#
# The model is made of three things only: torch, numpy, Pillow. `paidiff_world` paints the training pictures and is no part of it.

# %% tags=["scratch"]
import math
import os

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from paidiff_world.scenes import Spec, render

TRAIN_ALL = False  # True: train everything, a quarter of an hour on one thread
SEED = int(os.environ.get("SEED", 0))

# %% [markdown] lang="zh"
# ## 11.2 数据：图和一句话
#
# **先猜**：72 种组合里留出四分之一不给模型看，模型还能画出来吗？写下你的猜测：18 张里对几张？
#
# “留出”要留得公平：每种事物、每个地方都还要在别的组合里见到。下面这条规则就是这样（每行、每列都只缺一部分）。

# %% [markdown] lang="en"
# ## 11.2 Data: pictures and a sentence each
#
# **Predict**: a quarter of the combinations is held out. Will the model draw them all the same? Write down your guess: how many of the 18 come out right?
#
# Holding out has to be fair: each subject and each place must still be seen in other combinations. The rule below does that (each row and each column lacks a part only).

# %% tags=["scratch"]
SUBJECTS = "猫 企鹅 熊猫 汽车 房子 蘑菇 西瓜 向日葵 帆船 松树 气球 火箭".split()
PLACES = "草地 雪地 沙滩 星空 落日 粉色背景".split()
PAIRS = [(s, p) for s in SUBJECTS for p in PLACES]  # 72
HELD = [(i // 6 + i % 6) % 4 == 0 for i in range(72)]  # 18 that training never sees
SEEN = [pair for pair, held in zip(PAIRS, HELD) if not held]  # 54
FORMS = "{0},{1}", "{1},{0}", "{1}里的{0}"


# %% tags=["scratch"]
def make_pictures(pairs, seed):
    """x (N, 3, 32, 32) in -1..1, and a caption for each."""
    rs, pictures, captions = np.random.RandomState(seed), [], []
    for subject, place in pairs:
        spec = Spec(subject, place, size=0.75, grid=True)  # moved by 4 pixels
        picture = render(spec, rs, 32, "places")
        pictures.append(np.asarray(picture, np.float32) / 127.5 - 1)
        captions.append(FORMS[rs.randint(3)].format(subject, place))
    x = torch.tensor(np.stack(pictures))  # (N, 32, 32, 3)
    return x.permute(0, 3, 1, 2).contiguous(), captions


x, captions = make_pictures(SEEN * 30, SEED)  # 1,620 pictures


# %% tags=["scratch"]
def picture(x, size=96):  # (3, 32, 32) in -1..1 -> PIL
    array = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array).resize((size, size), Image.Resampling.LANCZOS)


# %%
some = range(0, 36, 3)
show(
    [picture(x[i]) for i in some],
    titles=[captions[i] for i in some],
    alt="12 张训练图和它们的句子 · 12 training pictures, their captions above",
)
assert {s for s, _ in SEEN} == set(SUBJECTS) and {p for _, p in SEEN} == set(PLACES)
assert (len(SEEN), sum(HELD)) == (54, 18)

# %% [markdown] lang="zh"
# 每种组合在训练集里有 30 张，左中右、高低、云和星的位置都不一样（上面每种只给你看了一张）：所以同一句提示词换一个种子，会画出另一张图。事物总是挪整整 4 个像素，也就是 11.7 的潜变量（图的一份小稿）的一格：挪了整格，潜变量还是那些数，只换了地方，要学的就少得多。训练集共 {{ f"{len(x):,}" }} 张。

# %% [markdown] lang="en"
# Each combination has 30 pictures in the training set (you see one of some above); in them the subject stands left, right, higher or lower, and clouds and stars vary: so the same prompt with another seed will give another picture. Subjects are always moved by 4 pixels, which will be one cell of the latent, the small draft of 11.7: moved by whole cells, a subject has the same latents in another place, and far less is to be learnt. There are {{ f"{len(x):,}" }} pictures to train on.

# %% [markdown] lang="zh"
# ## 11.3 分词器
#
# 计算机不认识字，只认识编号。最简单的中文分词器：一个字一个编号，0 留给“没有”和“没见过”。`mini` 和 PAI-Diffusion 用 `BertTokenizer`，中文也是一字一号，只是词表长得多（PAI-Diffusion 有两万多行）。

# %% [markdown] lang="en"
# ## 11.3 The tokenizer
#
# A computer knows numbers, not characters. The simplest Chinese tokenizer: one number for each character, and 0 for "nothing here" and "never seen". `BertTokenizer`, which `mini` and PAI-Diffusion use, also takes Chinese one character at a time; its table is just much longer (more than twenty thousand rows in PAI-Diffusion).

# %% tags=["scratch"]
LENGTH = 8  # characters of a caption; what is more is cut
CHARACTERS = sorted(set("".join(SUBJECTS + PLACES) + ",里的"))
IDS = {character: i for i, character in enumerate(CHARACTERS, start=1)}


def tokenize(texts):
    """Texts -> ids (B, 8)."""
    return torch.tensor([[IDS.get(c, 0) for c in t[:8].ljust(8)] for t in texts])


# %%
print(len(IDS), tokenize(["猫,草地", "草地里的猫", "老虎,草地"]).tolist())

# %% [markdown] lang="zh"
# 第三行：“老”“虎”不在这 12 种事物里，得到 0。模型不会报错，只会画出没有老虎的草地：词表之外的字，模型看不见。
#
# ## 11.4 注意力：从公式写起
#
# 注意力只做一件事：每个*查询* $q$ 和所有的*键* $k$ 比一比，按像的程度把*值* $v$ 平均起来：
#
# $$\text{Attention}(Q, K, V) = \text{softmax}\!\left(\frac{Q K^\top}{\sqrt{d}}\right) V$$
#
# softmax 把一行分数变成和为 1 的权重；除以 $\sqrt d$，是因为 $d$ 个数的乘积之和会随 $d$ 变大，太大时 softmax 只剩一个 1。查询和键来自同一处，叫*自注意力*；查询来自图、键和值来自词，叫*交叉注意力*：图的每个位置问每个词“你和我有关吗”。一个类两用。

# %% [markdown] lang="en"
# Third line: the characters of 老虎 (tiger) are in none of the 12 subjects and get 0. The model will not complain; it will draw grass without a tiger: it cannot see what its table lacks.
#
# ## 11.4 Attention, from the formula
#
# Attention does one thing: each *query* $q$ is compared with every *key* $k$, and the *values* $v$ are averaged by how alike they are:
#
# $$\text{Attention}(Q, K, V) = \text{softmax}\!\left(\frac{Q K^\top}{\sqrt{d}}\right) V$$
#
# The softmax turns a row of scores into weights that sum to 1; it is divided by $\sqrt d$ because a sum of $d$ products grows with $d$, and a softmax of large numbers is a single 1. If queries and keys come from one place, it is *self-attention*; if the queries come from the picture and keys and values from the words, it is *cross-attention*: every place of the picture asks every word "do you concern me?". One class serves both.


# %% tags=["scratch"]
class Attention(nn.Module):
    def __init__(self, width, context_width=None, heads=4):
        super().__init__()
        self.heads, context_width = heads, context_width or width
        self.q, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.k, self.v = (nn.Linear(context_width, width) for _ in "kv")

    def forward(self, x, context=None):  # x (B, N, width), context (B, M, ...)
        context = x if context is None else context
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = split(self.q(x)), split(self.k(context)), split(self.v(context))
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)  # (B, heads, N, M)
        return self.out((weights @ v).transpose(1, 2).flatten(2))  # (B, N, width)


# %% [markdown] lang="zh"
# 对一对答案：torch 自带的 `scaled_dot_product_attention` 应当给出同样的数。

# %% [markdown] lang="en"
# Check the answer: torch's own `scaled_dot_product_attention` must give the same numbers.

# %%
torch.manual_seed(0)
attend, h, w = Attention(32, 64), torch.randn(2, 9, 32), torch.randn(2, 8, 64)
split = lambda y: y.unflatten(-1, (4, -1)).transpose(1, 2)
qkv = split(attend.q(h)), split(attend.k(w)), split(attend.v(w))
theirs = F.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2)
assert torch.allclose(attend(h, w), attend.out(theirs), atol=1e-5)

# %% [markdown] lang="zh"
# ## 11.5 一个训练循环，给所有部件用
#
# 第 00 课讲过的每样东西都在下面这几行里：取一批、算损失、求梯度、走一步，学习率先升后降（`OneCycleLR`），梯度太大就截短，权重的指数滑动平均（EMA）记在 `smooth` 里，最后用它。CLIP、VAE、UNet 都用这一个循环，只有 `loss_of` 不同。

# %% [markdown] lang="en"
# ## 11.5 One training loop for all parts
#
# Everything that lesson 00 explained is in the lines below: take a batch, compute the loss, its gradients, make a step; the learning rate rises and falls (`OneCycleLR`), gradients that are too long are shortened, the exponential moving average (EMA) of the weights is kept in `smooth` and used in the end. CLIP, VAE and UNet share this loop; only `loss_of` differs.


# %% tags=["scratch"]
def follow(slow, fast, share):  # slow += share (fast - slow)
    for s, f in zip(slow, fast):
        s.data.lerp_(f.data, share)


# %% tags=["scratch"]
def train(parameters, loss_of, steps, lr, batch, ema=0.0):
    parameters, losses = list(parameters), []
    smooth = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.1)
    for _ in range(steps):
        loss = loss_of(torch.randint(len(x), (batch,)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step(), rate.step(), losses.append(loss.item())
        follow(smooth, parameters, 1 - ema)
    follow(parameters, smooth, 1.0)
    return losses


# %% [markdown] lang="zh"
# 下面这个小函数不属于模型：课里每个部件只练 100 步，让你看到损失在降；然后它把练完的权重（`TRAIN_ALL = True` 的结果）装进来，后面的部件才有好的输入。

# %% [markdown] lang="en"
# The small function below is no part of the model: the lesson trains each part for 100 steps only, so that you see the loss fall; then it loads the fully trained weights (what `TRAIN_ALL = True` makes), so that the next parts have good inputs.

# %%
from safetensors.torch import load_file


def load(name, part):
    if not TRAIN_ALL:
        part.load_state_dict(load_file(FOLDER / f"{name}.safetensors"))


# %% [markdown] lang="zh"
# ## 11.6 CLIP：两座塔学会说同一种话
#
# 文本编码器是一个两层的 transformer：字的向量加上位置的向量，然后每层先互相看（自注意力），再各自想（两个全连接层）。`x +` 是残差：每层只学“该改多少”。

# %% [markdown] lang="en"
# ## 11.6 CLIP: two towers learn one language
#
# The text encoder is a transformer of two layers: a vector for each character plus one for its position; then in each layer the characters look at each other (self-attention) and each thinks for itself (two linear layers). `x +` is a residual: a layer learns only what to change.


# %% tags=["scratch"]
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width)
        self.norm2, self.wide = nn.LayerNorm(width), nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x):  # (B, 8, width)
        x = x + self.attention(self.norm1(x))
        return x + self.narrow(F.gelu(self.wide(self.norm2(x))))


# %% tags=["scratch"]
class TextEncoder(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.words = nn.Embedding(len(IDS) + 1, width)
        self.positions = nn.Parameter(torch.randn(LENGTH, width) * 0.02)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.norm, self.project = nn.LayerNorm(width), nn.Linear(width, 64)

    def forward(self, ids):  # (B, 8) -> (B, 8, width), for the UNet
        return self.norm(self.blocks(self.words(ids) + self.positions))

    def vector(self, ids):  # (B, 8) -> (B, 64), length 1, for CLIP
        return F.normalize(self.project(self(ids).mean(1)), dim=-1)


# %% tags=["scratch"]
conv = lambda a, b, stride=1: nn.Conv2d(a, b, 3, stride, 1)
act = lambda c: nn.Sequential(nn.GroupNorm(8, c), nn.SiLU())


class PictureEncoder(nn.Module):
    def __init__(self, w=32):
        super().__init__()
        half = lambda a, b: nn.Sequential(conv(a, b, 2), act(b))
        layers = half(3, w), half(w, 2 * w), half(2 * w, 2 * w)  # 32 -> 16 -> 8 -> 4
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * w * 16, 64))

    def forward(self, x):  # (B, 3, 32, 32) -> (B, 64), length 1
        return F.normalize(self.net(x), dim=-1)


# %% [markdown] lang="zh"
# ![](diagram:clip)
#
# 图和文都变成长度为 1 的向量 $u_i$、$v_j$，点积就是相似度，$s$ 是学出来的放大倍数。一批 64 张图、64 句话排成 64×64 的表；对角线是原配。损失要求每一行、每一列都把最大的分数给原配（对比学习，Radford 等 2021）：
#
# $$L = \tfrac12\Big[-\tfrac1B\sum_i \log\frac{e^{s\,u_i\cdot v_i}}{\sum_j e^{s\,u_i\cdot v_j}} \;-\; \tfrac1B\sum_i \log\frac{e^{s\,u_i\cdot v_i}}{\sum_j e^{s\,u_j\cdot v_i}}\Big]$$

# %% [markdown] lang="en"
# ![](diagram:clip)
#
# Pictures and texts both become vectors of length 1, $u_i$ and $v_j$, and a dot product is their similarity; $s$ is a scale that is learnt. A batch of 64 pictures and 64 sentences is a table of 64×64 with the true couples on its diagonal. The loss asks every row and every column to give its highest score to the true partner (contrastive learning, Radford et al. 2021):
#
# $$L = \tfrac12\Big[-\tfrac1B\sum_i \log\frac{e^{s\,u_i\cdot v_i}}{\sum_j e^{s\,u_i\cdot v_j}} \;-\; \tfrac1B\sum_i \log\frac{e^{s\,u_i\cdot v_i}}{\sum_j e^{s\,u_j\cdot v_i}}\Big]$$


# %% tags=["scratch"]
def clip_loss(texts, pictures, scale):  # (B, 64), (B, 64)
    logits = scale.exp() * texts @ pictures.T  # (B, B)
    same = torch.arange(len(texts))  # caption i belongs to picture i
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


# %% tags=["scratch", "nbval-ignore-output"]
torch.manual_seed(SEED)
ids = tokenize(captions)  # (N, 8)
text, vision, scale = TextEncoder(), PictureEncoder(), nn.Parameter(torch.tensor(2.0))
clip_parts = [*text.parameters(), *vision.parameters(), scale]
clip_step = lambda i: clip_loss(text.vector(ids[i]), vision(x[i]), scale)
clip_losses = train(clip_parts, clip_step, 300 if TRAIN_ALL else 100, 2e-3, 64)

# %% [markdown] lang="zh"
# **先猜**：随便猜的损失是 $\ln 64 \approx 4.2$。练好以后会降到 0 吗？（想一想：一批 64 句话，只有 54 种组合。）

# %% [markdown] lang="en"
# **Predict**: guessing at random costs $\ln 64 \approx 4.2$. Will training bring it to 0? (Think: a batch has 64 sentences, and there are but 54 combinations.)

# %%
from paidiff_lib.display import curve

show(
    curve({"CLIP": clip_losses}, "step", "loss", window=5),
    alt="CLIP 的损失往下走 · the loss of CLIP falls",
)
load("text", text), load("vision", vision)
assert np.mean(clip_losses[-20:]) < 0.7 * np.mean(clip_losses[:5])

# %% [markdown] lang="zh"
# 不会：一批里常有两张“猫，雪地”，它们的话都对得上，却只有一句算原配。损失的底不是 0，所以只看损失不知道好坏；要看它认得对不对。我们拿*留出的* 18 种组合的新图（CLIP 也没见过）考它：

# %% [markdown] lang="en"
# It will not: a batch often holds two cats in snow; both sentences fit, but only one counts as the partner. The floor of this loss is not 0, so the loss alone does not tell good from bad; we have to see whether it recognises pictures. Its exam are new pictures of the 18 combinations that were *held out* (CLIP has not seen them either):

# %% tags=["scratch"]
PROMPTS = [f"{subject},{place}" for subject, place in PAIRS]  # 72


@torch.no_grad()
def own_clip(pictures):
    """(72, 3, 32, 32) -> the pair of the nearest of the 72 prompts, for each."""
    likeness = vision(pictures) @ text.vector(tokenize(PROMPTS)).T  # (72, 72)
    return [PAIRS[i] for i in likeness.argmax(1)]


def right(found):
    """What is right, (3, 72): the subject, the place, both."""
    parts = [[f[k] == p[k] for f, p in zip(found, PAIRS)] for k in (0, 1)]
    return np.array([*parts, np.all(parts, 0)])


# %%
real, _ = make_pictures(PAIRS, SEED + 1000)  # new pictures, one of each pair
clip_ceiling = right(own_clip(real))
print((clip_ceiling[:, HELD].mean(1)).round(2))
assert clip_ceiling[:, HELD].mean(1).min() > 0.8

# %% [markdown] lang="zh"
# 三个数是：事物对、地方对、两样都对的比例，18 张留出的真图。CLIP 把“熊猫”和“沙滩”当两件事来学，所以没见过的组合也认得。这也是后面用它打分的*上限*。

# %% [markdown] lang="en"
# The three numbers are the shares of right subjects, right places and both, on 18 real held-out pictures. CLIP learnt "panda" and "beach" as two things, so it recognises a pair it has not met. It is also the *ceiling* of the scores that we shall take with it.

# %% [markdown] lang="zh"
# ## 11.7 VAE：3072 个数变成 256 个
#
# 在像素上扩散太贵。VAE（变分自编码器，Kingma 与 Welling 2013）先把 3×32×32 的图压成 4×8×8 的*潜变量*：少 12 倍。编码器给出均值 $\mu$ 和方差 $\sigma^2$，加一点噪声再解码；损失是解码出来的图 $\hat x$ 像不像 $x$，加上一小份 KL 散度（这个正态分布离标准正态分布多远），让潜变量不要跑远；每一项都对所有的数取平均：
#
# $$L = |x - \hat x| + 0.001 \cdot \tfrac12\,(\mu^2 + \sigma^2 - 1 - \ln \sigma^2)$$
#
# **先猜**：少了 12 倍，画面先丢掉什么：颜色、位置，还是细节？

# %% [markdown] lang="en"
# ## 11.7 VAE: 3072 numbers become 256
#
# Diffusion on pixels is dear. A VAE (variational autoencoder, Kingma and Welling 2013) first presses a picture of 3×32×32 into a *latent* of 4×8×8: 12 times fewer numbers. The encoder gives a mean $\mu$ and a variance $\sigma^2$, a little noise is added, the decoder draws; the loss is the difference of the decoded picture $\hat x$ to $x$, plus a small share of the KL divergence (how far this normal distribution is from the standard one), which keeps latents from running away; each term is a mean over all numbers:
#
# $$L = |x - \hat x| + 0.001 \cdot \tfrac12\,(\mu^2 + \sigma^2 - 1 - \ln \sigma^2)$$
#
# **Predict**: with 12 times fewer numbers, what is lost first: colour, position, or detail?


# %% tags=["scratch"]
class VAE(nn.Module):
    def __init__(self, w=24):
        super().__init__()
        down = [conv(3, w, 2), act(w), conv(w, 2 * w, 2), act(2 * w)]  # 32 -> 16 -> 8
        self.down = nn.Sequential(*down, conv(2 * w, 8))
        up = [conv(4, 2 * w), act(2 * w), conv(2 * w, 2 * w), act(2 * w)]
        up += [conv(2 * w, 4 * w), nn.PixelShuffle(2), act(w)]  # 8 -> 16
        self.up = nn.Sequential(*up, conv(w, 12), nn.PixelShuffle(2))  # 16 -> 32

    def encode(self, x):  # (B, 3, 32, 32) -> mean, logvar: (B, 4, 8, 8) each
        mean, logvar = self.down(x).chunk(2, 1)
        return mean, logvar.clamp(-20, 10)


# %% tags=["scratch"]
def vae_loss(i):
    mean, logvar = vae.encode(x[i])
    z = mean + (logvar / 2).exp() * torch.randn_like(mean)
    kl = (mean**2 + logvar.exp() - 1 - logvar).mean() / 2
    return F.l1_loss(vae.up(z), x[i]) + 1e-3 * kl


# %% tags=["scratch", "nbval-ignore-output"]
torch.manual_seed(SEED)
vae = VAE()
vae_losses = train(vae.parameters(), vae_loss, 800 if TRAIN_ALL else 100, 3e-3, 32)

# %% tags=["nbval-ignore-output"]
again = lambda: vae.up(vae.encode(real[:60:10])[0]).detach()
rows = [*real[:60:10], *again()]  # real; after 100 steps (or all)
load("vae", vae)
show(
    [picture(p) for p in [*rows, *again()]],
    columns=6,
    alt="真图；100 步后糊成一团；练完几乎一样 · real; after 100 steps a blur; fully"
    " trained, nearly the same",
)
assert np.mean(vae_losses[-20:]) < 0.7 * np.mean(vae_losses[:5])

# %% [markdown] lang="zh"
# 第一行是真图，第二行是刚练的 100 步，第三行是练完的。细节先丢：后面画得再好，也不会比第三行更清楚。
#
# 解码后的误差用峰值信噪比（PSNR，越大越好）记下；然后把所有训练图编码一次，减去均值、除以标准差，让 $x_0$ 和噪声一样“宽”：第 00 课的 $\bar\alpha_t$ 说的是多少噪声，前提是两者的方差都约为 1。词的向量也只算一次：从这里起，文本编码器不再变。

# %% [markdown] lang="en"
# First row: real; second: after the 100 steps of just now; third: fully trained. Detail goes first: whatever we draw later cannot be sharper than the third row.
#
# The decoder's error is kept as a peak signal-to-noise ratio (PSNR, more is better). Then all training pictures are encoded once, less their mean, divided by their deviation, so that $x_0$ is as wide as the noise: lesson 00's $\bar\alpha_t$ says how much noise there is only if both have a variance of about 1. The vectors of the words are computed once too: from here on the text encoder stays as it is.

# %% tags=["scratch"]
with torch.no_grad():
    latents = torch.cat([vae.encode(part)[0] for part in x.split(256)])
    MEAN, STD = latents.mean((0, 2, 3), keepdim=True), latents.std()
    X_0 = (latents - MEAN) / STD  # (N, 4, 8, 8), about as wide as the noise
    WORDS, EMPTY = text(ids), text(tokenize([""]))  # (N, 8, 64), (1, 8, 64)
    error = F.mse_loss(vae.up(latents[:256]), x[:256]).item()
psnr = 10 * math.log10(4 / error)

# %% [markdown] lang="zh"
# PSNR 是 {{ f"{psnr:.1f}" }} dB；标准差 {{ f"{STD:.2f}" }} 本来就在 1 附近，是 KL 那一小份的功劳。别的 VAE 不一定：Stable Diffusion 的潜变量要乘 0.18215（配置里的 `scaling_factor`），忘了乘，噪声就几乎看不见。

# %% [markdown] lang="en"
# The PSNR is {{ f"{psnr:.1f}" }} dB; the deviation, {{ f"{STD:.2f}" }}, was near 1 anyway, thanks to the small share of KL. Other VAEs differ: Stable Diffusion's latents are multiplied by 0.18215 (`scaling_factor` in its config); without it the noise would hardly show.

# %% [markdown] lang="zh"
# ## 11.8 UNet：这团噪声里，噪声是什么样的？
#
# 输入三样：有噪声的 $x_t$、有多吵（$t$）、要画什么（词的向量）。输出和 $x_t$ 一样大：猜出的噪声。
#
# * `Res`：两个卷积，中间加上时间，旁边留一条直路（残差）。
# * `Look`：图的每个位置向每个词提问，就是 11.4 的交叉注意力。*文字只从这里进来*。
# * `waves`：把一个数 $t$ 变成 64 个数，像 32 根快慢不同的钟针（正弦、余弦），网络才分得清 500 和 501 差得少、500 和 900 差得多。
# * U 形：8×8 → 4×4 → 8×8，`torch.cat` 是跨过去的*跳线*，把细处直接送到对岸。

# %% [markdown] lang="en"
# ## 11.8 UNet: what is the noise in this noise?
#
# Three inputs: the noisy $x_t$, how noisy it is ($t$), what to draw (the vectors of the words). One output as large as $x_t$: the guessed noise.
#
# * `Res`: two convolutions, the time added between, a straight way beside them (the residual).
# * `Look`: every place of the picture asks every word; the cross-attention of 11.4. *Text comes in here and nowhere else.*
# * `waves`: makes 64 numbers of one, $t$, like 32 clock hands of different speed (sines and cosines), so that the network can tell that 500 and 501 differ little, 500 and 900 much.
# * The U: 8×8 → 4×4 → 8×8; `torch.cat` is a *skip connection* that carries the fine parts straight across.


# %% tags=["scratch"]
class Res(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.act1, self.conv1, self.time = act(a), conv(a, b), nn.Linear(128, b)
        self.act2, self.conv2, self.skip = act(b), conv(b, b), nn.Conv2d(a, b, 1)

    def forward(self, h, time):  # (B, a, H, W), (B, 128) -> (B, b, H, W)
        y = self.conv1(self.act1(h)) + self.time(time)[:, :, None, None]
        return self.skip(h) + self.conv2(self.act2(y))


# %% tags=["scratch"]
class Look(nn.Module):
    def __init__(self, c, words=64):
        super().__init__()
        self.norm, self.words = nn.GroupNorm(8, c), Attention(c, words)

    def forward(self, h, words):  # (B, c, H, W), (B, 8, 64) -> (B, c, H, W)
        places = self.norm(h).flatten(2).mT  # (B, H * W, c): every place asks
        return h + self.words(places, words).mT.unflatten(2, h.shape[2:])


# %% tags=["scratch"]
class Stage(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.res, self.look = Res(a, b), Look(b)

    def forward(self, h, time, words):
        return self.look(self.res(h, time), words)


def waves(t):  # (B,) -> (B, 64): 32 clock hands, each slower than the one before
    angle = t[:, None] * torch.exp(-math.log(10000) * torch.arange(32) / 32)
    return torch.cat([angle.sin(), angle.cos()], 1)


# %% tags=["scratch"]
class UNet(nn.Module):
    def __init__(self, c=48):
        super().__init__()
        self.clock = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128))
        self.first, self.down1 = conv(4, c), Stage(c, c)
        self.shrink, self.down2 = conv(c, c, 2), Stage(c, 2 * c)
        self.middle, self.up2 = Res(2 * c, 2 * c), Stage(4 * c, 2 * c)
        self.up1, self.last = Stage(3 * c, c), nn.Sequential(act(c), conv(c, 4))

    def forward(self, x_t, t, words):  # (B, 4, 8, 8), (B,), (B, 8, 64)
        time = F.silu(self.clock(waves(t)))  # (B, 128)
        h1 = self.down1(self.first(x_t), time, words)  # (B, c, 8, 8)
        h2 = self.down2(self.shrink(h1), time, words)  # (B, 2c, 4, 4)
        h = self.up2(torch.cat([self.middle(h2, time), h2], 1), time, words)
        h = torch.cat([F.interpolate(h, scale_factor=2.0), h1], 1)  # (B, 3c, 8, 8)
        return self.last(self.up1(h, time, words))  # (B, 4, 8, 8)


# %% [markdown] lang="zh"
# ## 11.9 扩散：混、猜、往回走
#
# **混**（第 00 课）：$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon$，写成 $x_t = a\,x_0 + b\,\epsilon$。$t$ 从 0 到 999，$-1$ 表示完全干净。**猜什么**也写成一般的样子：$c\,x_0 + d\,\epsilon$；猜噪声就是 $c=0, d=1$。写成这样，最后一节改两行就够了。

# %% [markdown] lang="en"
# ## 11.9 Diffusion: mix, guess, walk back
#
# **Mix** (lesson 00): $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon$, written $x_t = a\,x_0 + b\,\epsilon$. $t$ runs from 0 to 999, and $-1$ stands for quite clean. **What to guess** is written in general too: $c\,x_0 + d\,\epsilon$; to guess the noise is $c=0, d=1$. Written so, the last section will have to change two lines only.


# %% tags=["scratch"]
def mix(t):
    """x_t = a x_0 + b eps."""
    abar = torch.cos((t + 1) / 1000 * math.pi / 2).square().clamp(min=1e-3)
    return abar.sqrt(), (1 - abar).sqrt()


def target(t):
    """What the network guesses, c x_0 + d eps: here eps."""
    return torch.zeros_like(t), torch.ones_like(t)


# %% [markdown] lang="zh"
# **损失**：随机取图、时间步、噪声，混好，让网络猜，量均方误差。十次里有一次把词换成空提示词，网络就同时学会“有词”和“没词”两种猜法，引导才有得比（Ho 与 Salimans 2022）。

# %% [markdown] lang="en"
# **Loss**: take pictures, timesteps and noise at random, mix, let the network guess, take the mean square of its error. One time in ten the words are replaced by the empty prompt: so the network learns to guess with words and without, which is what guidance compares (Ho and Salimans 2022).


# %% tags=["scratch"]
def diffusion_loss(unet, i, mix, target):
    t, eps = torch.randint(1000, (len(i),)).float(), torch.randn(len(i), 4, 8, 8)
    words = torch.where(torch.rand(len(i), 1, 1) < 0.1, EMPTY, WORDS[i])
    (a, b), (c, d) = ([w[:, None, None, None] for w in f(t)] for f in (mix, target))
    return F.mse_loss(unet(a * X_0[i] + b * eps, t, words), c * X_0[i] + d * eps)


# %% [markdown] lang="zh"
# **采样器**：从纯噪声出发，每步问 UNet 两次，一次用空提示词，一次用你的提示词，按引导的公式合起来：$\hat\epsilon = \epsilon_\text{empty} + g\,(\epsilon_\text{prompt} - \epsilon_\text{empty})$，$g$ 是引导的大小。
#
# $x_t = a\,x_0 + b\,\epsilon$ 和猜测 $= c\,x_0 + d\,\epsilon$ 是两个方程、两个未知数，解出 $x_0$ 和 $\epsilon$；再用*同样的*噪声、下一个时间步的比例混回去，这就是 DDIM（Song 等 2020）。采样器和调度器（diffusers 的 scheduler）说的是一样东西。

# %% [markdown] lang="en"
# **Sampler**: start from pure noise; at each step ask the UNet twice, with the empty prompt and with yours, and combine both by the formula of guidance: $\hat\epsilon = \epsilon_\text{empty} + g\,(\epsilon_\text{prompt} - \epsilon_\text{empty})$, where $g$ is how much guidance.
#
# $x_t = a\,x_0 + b\,\epsilon$ and guess $= c\,x_0 + d\,\epsilon$ are two equations with two unknowns: solve them for $x_0$ and $\epsilon$, and mix again with the *same* noise, in the shares of the next timestep. That is DDIM (Song et al. 2020). Sampler and scheduler (diffusers' word) are one thing.


# %% tags=["scratch"]
@torch.no_grad()
def sample(unet, prompts, steps=25, guidance=3.0, seed=0, mix=mix, target=target):
    start = torch.Generator().manual_seed(seed)
    x_t = torch.randn(len(prompts), 4, 8, 8, generator=start)
    words = torch.cat([EMPTY.expand(len(x_t), -1, -1), text(tokenize(prompts))])
    times = torch.linspace(999, -1, steps + 1).round()
    for t, s in zip(times, times[1:]):  # from t to s
        both = unet(torch.cat([x_t, x_t]), t.expand(len(words)), words)
        empty, prompt = both.chunk(2)  # (B, 4, 8, 8) each
        guess = empty + guidance * (prompt - empty)
        (a, b), (c, d), (a_s, b_s) = mix(t), target(t), mix(s)
        x_0 = ((d * x_t - b * guess) / (a * d - b * c)).clamp(-4, 4)
        eps = (a * guess - c * x_t) / (a * d - b * c)
        x_t = a_s * x_0 + b_s * eps  # the same noise, less of it
    return vae.up(x_t * STD + MEAN).clamp(-1, 1)  # (B, 3, 32, 32)


# %% [markdown] lang="zh"
# 检查采样器：如果有人*准确*说出噪声，一步就该回到 $x_0$。

# %% [markdown] lang="en"
# Check the sampler: if somebody tells it the noise *exactly*, one step must lead back to $x_0$.

# %%
x_0, start = (
    X_0[:6],
    torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(7)),
)
t = torch.tensor(999.0)
a, b = mix(t)
exact = lambda x_t, t, words: (x_t - a * torch.cat([x_0, x_0])) / b
back = sample(exact, captions[:6], steps=1, seed=7)
assert torch.allclose(back, vae.up(x_0 * STD + MEAN).clamp(-1, 1), atol=0.02)

# %% [markdown] lang="zh"
# ## 11.10 训练 UNet，然后画
#
# **先猜**：练 100 步的 UNet 会画出什么：噪声、颜色对了的一团、还是企鹅？

# %% [markdown] lang="en"
# ## 11.10 Train the UNet, then draw
#
# **Predict**: what will a UNet draw after 100 steps: noise, blobs of the right colour, or a penguin?

# %% tags=["scratch", "nbval-ignore-output"]
torch.manual_seed(SEED)
unet = UNet()
steps = 2500 if TRAIN_ALL else 100
unet_step = lambda i: diffusion_loss(unet, i, mix, target)
unet_losses = train(unet.parameters(), unet_step, steps, 2e-3, 32, ema=0.995)

# %% tags=["nbval-ignore-output"]
prompts = "企鹅,雪地 汽车,草地 房子,落日 松树,星空 气球,沙滩 熊猫,粉色背景".split()
hundred = [*sample(unet, prompts)]
load("unet", unet)
pictures = [picture(p) for p in [*hundred, *sample(unet, prompts)]]
show(
    pictures,
    titles=prompts * 2,
    columns=6,
    alt="100 步后只有噪声；练完画出提示词 · 100 steps: noise; all steps: the prompts",
)

# %% [markdown] lang="zh"
# 上面一行是 100 步以后：还是一团噪声。画图用的是 EMA 的权重，走了 100 步，里面还有 $0.995^{100} \approx 61\,\%$ 是没练过的。下面一行是练完以后，同一个种子；画得最差的 `房子,落日` 和 `松树,星空` 正是留出的组合。
#
# 引导起什么作用？**先猜**：$g=1$ 就是不引导，只用提示词的猜测；$g=3$ 把“词带来的差别”放大三倍。哪一行更像提示词？哪一行更像真图？

# %% [markdown] lang="en"
# Above, after 100 steps: still noise. The weights that draw are the EMA's, and after 100 steps $0.995^{100} \approx 61\,\%$ of them is what was never trained. Below: fully trained, with the same seed; the worst, `房子,落日` and `松树,星空`, are pairs that were held out.
#
# What does guidance do? **Predict**: $g=1$ is no guidance, the guess with the prompt and nothing else; $g=3$ takes the difference that the words make three times. Which row follows its prompts better? Which looks more like real pictures?

# %% tags=["nbval-ignore-output"]
rows = [p for g in (0, 1, 3, 8) for p in sample(unet, prompts, guidance=g)]
show(
    [picture(p) for p in rows],
    columns=6,
    alt="引导 0、1、3、8：越往下颜色越重 · downwards, stronger colours",
)

# %% [markdown] lang="zh"
# 从上到下：$g=0$（不看词）、1、3、8。$g=0$ 画的是“随便什么”；$g=8$ 颜色过了头。引导不是越大越好；$g=1$ 和 $g=3$ 谁更听话，11.11 来量，谁更像真图，是课末“再试试”的第 1 题。
#
# 换种子，同一句话：

# %% [markdown] lang="en"
# From above: $g=0$ (words unseen), 1, 3, 8. $g=0$ draws "anything"; at $g=8$ the colours are overdone. More guidance is not always better; which of $g=1$ and $g=3$ obeys better is measured in 11.11, which looks more like real pictures is question 1 of “Try further” at the end.
#
# Other seeds, one prompt:

# %% tags=["nbval-ignore-output"]
seeds = [sample(unet, ["猫,雪地"], seed=k)[0] for k in range(6)]
show(
    [picture(p) for p in seeds],
    titles=[f"seed={k}" for k in range(6)],
    alt="同一句话的六只猫 · six cats of one prompt",
)

# %% [markdown] lang="zh"
# ## 11.11 量一量：没见过的组合，画对了吗？
#
# 两个裁判：
#
# * 自己的 CLIP：在 72 句话里选最近的一句。它和模型用同一批训练图，会偏心。
# * `paidiff` 的裁判：一个和这一课无关的分类器（[第 13 课](13_evaluation.ipynb)讲它），图放大到 128×128 给它看，在这 12 种事物、6 个地方里选。
#
# 两个数要放在一起看：*上限*是真图经过同一道工序（缩到 32×32）的得分；区间是 Wilson 区间（比例的 95 % 区间，在 0 % 和 100 % 处也有宽度，第 13 课讲），每种组合一张图，互不相干。
#
# **先猜**：留出的 18 种，两样都对的有百分之几？

# %% [markdown] lang="en"
# ## 11.11 Measure: are the pairs it never saw right?
#
# Two judges:
#
# * Its own CLIP picks the nearest of the 72 prompts. It was trained on the same pictures as the model, so it is partial.
# * `paidiff`'s judge, a classifier that has nothing to do with this lesson ([lesson 13](13_evaluation.ipynb) is about it), sees the pictures enlarged to 128×128 and picks among these 12 subjects and 6 places.
#
# Two more numbers belong to each: the *ceiling* is the score of real pictures that went the same way (down to 32×32); the interval is Wilson's (the 95 % interval of a rate, which has a width even at 0 % and 100 %; lesson 13), from one picture of each pair, independent of each other.
#
# **Predict**: of the 18 pairs held out, in how many per cent are both right?

# %%
from paidiff_world.judge import judge


def paidiff_judge(pictures):
    seen = judge().evidence([picture(p, 32) for p in pictures])  # {head: logits}
    best = []
    for head, names in (("subject", SUBJECTS), ("background", PLACES)):
        among = [judge().classes[head].index(name) for name in names]
        best.append([names[i] for i in seen[head][:, among].argmax(1)])
    return list(zip(*best))


# %%
def rate(hits):
    """A rate and its 95 % interval."""
    return f"{paidiff.wilson(hits.sum(), len(hits)):.0%}"


def line(name, hits):
    print(f"{name:26}", *(f"{rate(part):>16}" for part in hits), sep="  ")


# %% tags=["scratch", "nbval-ignore-output"]
drawn = {g: sample(unet, PROMPTS, guidance=g) for g in (1.0, 3.0)}  # 72 pictures each


# %% tags=["scratch"]
def check(pictures):
    hits = right(own_clip(pictures))[:, HELD].mean(1)
    print("held out: subject %.2f, place %.2f, both %.2f" % tuple(hits))
    assert hits.min() > 0.7


check(drawn[3.0])

# %% tags=["nbval-ignore-output"]
print(" " * 26, *(f"{name:>16}" for name in ("subject", "place", "both")), sep="  ")
held, seen = np.array(HELD), ~np.array(HELD)
scores = {}
for name, decide in (("clip", own_clip), ("judge", paidiff_judge)):
    for source, pictures in {"real": real, **drawn}.items():
        scores[name, source] = hits = right(decide(pictures))
        line(f"{name} {source} seen n=54", hits[:, seen])
        line(f"{name} {source} held out n=18", hits[:, held])

# %% [markdown] lang="zh"
# `real` 是上限，`1.0` 和 `3.0` 是引导的大小。按裁判，引导 3 时留出的组合两样都对的占 {{ rate(scores["judge", 3.0][2, held]) }}，见过的组合 {{ rate(scores["judge", 3.0][2, seen]) }}，全部 72 张真图 {{ rate(scores["judge", "real"][2]) }}。
#
# 所以网络没有只背下 54 种组合：它能把学过的“事物”和学过的“地方”拼成没见过的一对。这正是第 00 课留下的问题：精确的猜测只会还原数据，网络却会*推广*。为什么会，这张表回答不了；[第 12 课](12_attention.ipynb)把交叉注意力打开来看。

# %% [markdown] lang="en"
# `real` is the ceiling; `1.0` and `3.0` are the guidance. By the judge, at guidance 3, both are right in {{ rate(scores["judge", 3.0][2, held]) }} of the pairs held out, in {{ rate(scores["judge", 3.0][2, seen]) }} of those seen, and in {{ rate(scores["judge", "real"][2]) }} of all 72 real pictures.
#
# So the network has not just learnt 54 combinations by heart: it puts a subject and a place that it knows together into a pair that it has not met. That is the question that lesson 00 left open: the exact guess gives back its data, a network *generalises*. This table does not say why; [lesson 12](12_attention.ipynb) opens the cross-attention and looks.

# %% tags=["nbval-ignore-output"]
frame = lambda p, held: ImageOps.expand(picture(p, 60), 2, "red" if held else "white")
order = [i * 6 + j for j in range(6) for i in range(12)]  # places down, subjects across
pictures = [frame(drawn[3.0][k], HELD[k]) for k in order]
show(
    pictures,
    columns=12,
    alt="12 种事物乘 6 个地方；没学过的带红框 · 12 subjects, 6 places; red: never seen",
)

# %% [markdown] lang="zh"
# 再看一遍全部 72 张（引导 3，红框是留出的）。分数高不等于画得好：和 11.2 的真图比一比边缘和小细节。

# %% [markdown] lang="en"
# Once more all 72 (guidance 3, held-out pairs in red). A good score is not a good picture: compare edges and small things with the real ones of 11.2.

# %% [markdown] lang="zh"
# ## 11.12 和真的模型一件一件比
#
# ![](diagram:pipeline)
#
# 同样的部件，diffusers 里都有。左边是我们的，中间是随课的 `mini`，右边是 PAI-Diffusion 那样的 10 亿参数模型：它的形状由配置得出（文件大小推断的，见 `paidiff skeleton`），这里只搭空架子数参数，不装权重。

# %% [markdown] lang="en"
# ## 11.12 Part by part beside the real ones
#
# ![](diagram:pipeline)
#
# diffusers has all these parts. On the left ours, in the middle this course's `mini`, on the right a model of a billion parameters such as PAI-Diffusion: its shape comes from its configuration (inferred from the sizes of its files, see `paidiff skeleton`); here only the empty frame is built to count parameters, without weights.

# %%
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

words = dict(vocab_size=21128, max_position_embeddings=32, hidden_size=768)
words |= dict(intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
words |= dict(bos_token_id=101, eos_token_id=102, pad_token_id=0)
levels = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2)
levels |= dict(down_block_types=["DownEncoderBlock2D"] * 4)
levels |= dict(up_block_types=["UpDecoderBlock2D"] * 4)
with torch.device("meta"):  # shapes without numbers
    big_text = CLIPTextModel(CLIPTextConfig(**words))
    big_vae = AutoencoderKL(latent_channels=4, **levels)
    big_unet = UNet2DConditionModel(cross_attention_dim=768)

# %%
mini = paidiff.load("mini")
millions = lambda part: sum(p.numel() for p in part.parameters()) / 1e6
TABLE = [
    (text, mini.text_encoder, big_text),
    (vae, mini.vae, big_vae),
    (unet, mini.unet, big_unet),
]
for ours, small, big in TABLE:
    sizes = "".join(f"{millions(part):9.2f} M" for part in (ours, small, big))
    print(f"{type(ours).__name__:12}{type(small).__name__:22}{sizes}")
print(f"{'':34}" + "".join(f"{sum(map(millions, c)):9.2f} M" for c in zip(*TABLE)))

# %% [markdown] lang="zh"
# | 我们的 | diffusers / transformers | 差别 |
# |---|---|---|
# | `tokenize` | `BertTokenizer` | 词表长；开头 [CLS]，结尾 [SEP]；`mini` 最多 32 个编号 |
# | `Attention` | `Attention`（`attn1` 自注意力，`attn2` 交叉注意力） | 一样的公式 |
# | `TextEncoder` | `CLIPTextModel` | PAI-Diffusion：12 层，768 宽；字只能看前面的字（因果掩码） |
# | `VAE` | `AutoencoderKL` | 边长压 8 倍，我们压 4 倍；一层层的 `ResnetBlock2D` |
# | `Res` | `ResnetBlock2D` | 一样的想法 |
# | `Look` | `Transformer2DModel` | 交叉注意力之前还有自注意力，之后还有两个全连接层 |
# | `waves` + `clock` | `Timesteps` + `TimestepEmbedding` | 一样的想法 |
# | `mix` | `scheduler.add_noise` | 噪声调度不同：`scaled_linear` |
# | `sample` | `DDIMScheduler.step` 加上流水线的循环 | 一样；`mini` 用 DPM-Solver++，步数更省 |
#
# `mix` 和 `DDIMScheduler` 真的一样吗？把我们的 $\bar\alpha_t$ 交给它，走一步，对一对：

# %% [markdown] lang="en"
# | ours | diffusers / transformers | what differs |
# |---|---|---|
# | `tokenize` | `BertTokenizer` | a long table; [CLS] in front, [SEP] behind; 32 ids at most in `mini` |
# | `Attention` | `Attention` (`attn1` self, `attn2` cross) | the same formula |
# | `TextEncoder` | `CLIPTextModel` | PAI-Diffusion: 12 layers, 768 wide; a character sees only those before it (a causal mask) |
# | `VAE` | `AutoencoderKL` | 8 times smaller a side, ours 4 times; levels of `ResnetBlock2D` |
# | `Res` | `ResnetBlock2D` | the same idea |
# | `Look` | `Transformer2DModel` | self-attention before the cross-attention, two linear layers after it |
# | `waves` + `clock` | `Timesteps` + `TimestepEmbedding` | the same idea |
# | `mix` | `scheduler.add_noise` | another noise schedule: `scaled_linear` |
# | `sample` | `DDIMScheduler.step` and the pipeline's loop | the same; `mini` uses DPM-Solver++, which needs fewer steps |
#
# Is our sampler really diffusers' `DDIMScheduler`? Give it our $\bar\alpha_t$, take one step with both, compare:

# %%
from diffusers import DDIMScheduler

ddim = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=0)
ddim.alphas_cumprod = mix(torch.arange(1000.0))[0] ** 2
ddim.set_timesteps(2)  # t = 500, then 0
x_t, guess = torch.randn(2, 1, 4, 8, 8)
(a, b), (a_s, b_s) = mix(torch.tensor(500.0)), mix(torch.tensor(0.0))
ours = a_s * (x_t - b * guess) / a + b_s * guess
assert torch.allclose(ddim.step(guess, 500, x_t).prev_sample, ours, atol=1e-4)

# %% [markdown] lang="zh"
# ## 11.13 改两行：整流流
#
# 第 00 课的混法走的是一段圆弧（$a^2+b^2=1$）。整流流（rectified flow；Liu 等、Lipman 等 2022，SD3 用的就是它）走直线：
#
# $$x_t = (1-\tau)\,x_0 + \tau\,\epsilon, \qquad \text{target} = \epsilon - x_0, \qquad \tau = (t+1)/1000$$
#
# $\epsilon - x_0$ 就是直线的方向（速度）。改的只有这两行；UNet、训练循环、采样器一个字不动：采样器解的还是那两个方程。

# %% [markdown] lang="en"
# ## 11.13 Change two lines: a rectified flow
#
# The mix of lesson 00 runs along an arc ($a^2+b^2=1$). A rectified flow (Liu et al., Lipman et al. 2022; SD3 is one) runs along a straight line:
#
# $$x_t = (1-\tau)\,x_0 + \tau\,\epsilon, \qquad \text{target} = \epsilon - x_0, \qquad \tau = (t+1)/1000$$
#
# $\epsilon - x_0$ is the direction of the line (the velocity). These two lines are all that changes; UNet, training loop and sampler stay to the letter: the sampler solves the same two equations.


# %% tags=["scratch"]
def straight(t):
    """x_t = (1 - tau) x_0 + tau eps."""
    tau = (t + 1) / 1000
    return 1 - tau, tau


def velocity(t):
    """What the network guesses: eps - x_0."""
    return -torch.ones_like(t), torch.ones_like(t)


# %% tags=["scratch", "nbval-ignore-output"]
torch.manual_seed(SEED)
flow = UNet()
flow_step = lambda i: diffusion_loss(flow, i, straight, velocity)
flow_losses = train(flow.parameters(), flow_step, steps, 2e-3, 32, ema=0.995)

# %%
load("flow", flow)

# %% [markdown] lang="zh"
# **先猜**：$\epsilon$ 和流，各走 4 步、10 步、25 步。步数少时哪一个更好？为什么？

# %% [markdown] lang="en"
# **Predict**: $\epsilon$ and the flow, with 4, 10 and 25 steps: which is better when steps are few, and why?

# %% tags=["scratch", "nbval-ignore-output"]
FLOW = dict(mix=straight, target=velocity)
few = {("eps", n): sample(unet, PROMPTS, n) for n in (4, 10)}
few |= {("flow", n): sample(flow, PROMPTS, n, **FLOW) for n in (4, 10, 25)}
few["eps", 25] = drawn[3.0]

# %% tags=["nbval-ignore-output"]
from paidiff_world.measures import judge_features, kernel_distance

reference = judge_features([picture(p, 32) for p in x[::6]])
print(
    f"{'':20}{'look':>6}", *(f"{n:>16}" for n in ("subject", "place", "both")), sep="  "
)
looks = {}
for (name, n), pictures in sorted(few.items()):
    features = judge_features([picture(p, 32) for p in pictures])
    looks[name, n] = kernel_distance(features, reference)
    hits = right(paidiff_judge(pictures))
    line(f"{name} steps={n:2} {looks[name, n]:9.2f}", hits)
assert looks["flow", 4] < looks["eps", 4]

# %% tags=["nbval-ignore-output"]
show(
    [picture(few[k][i]) for k in sorted(few) for i in range(0, 72, 13)],
    alt="ε 的 4、10、25 步，流的 4、10、25 步 · 4, 10, 25 steps of ε, then of the flow",
    columns=6,
)

# %% [markdown] lang="zh"
# `look` 是核距离（第 13 课）：画出的 72 张和真图的样子差多少，0 是一样。从上到下依次是 $\epsilon$ 的 4、10、25 步，流的 4、10、25 步。
#
# 只走 4 步时，流的 `look` 是 {{ f"{looks['flow', 4]:.2f}" }}，$\epsilon$ 是 {{ f"{looks['eps', 4]:.2f}" }}；走 25 步时是 {{ f"{looks['flow', 25]:.2f}" }} 和 {{ f"{looks['eps', 25]:.2f}" }}。步数少，路直的一方占便宜：沿直线走一大步，错得少。两样都对的比例差得不多，区间还叠着，只看它分不出高下。
#
# 小心下结论：两行是*一起*改的，这张表分不出是直线的功劳，还是换了猜测的目标。课末“再试试”的第 2 题把两样分开。

# %% [markdown] lang="en"
# `look` is the kernel distance (lesson 13): how far the 72 drawn pictures are from the look of real ones; 0 is no difference. From above: $\epsilon$ at 4, 10, 25 steps, the flow at 4, 10, 25.
#
# With 4 steps the flow's `look` is {{ f"{looks['flow', 4]:.2f}" }}, that of $\epsilon$ {{ f"{looks['eps', 4]:.2f}" }}; with 25 steps {{ f"{looks['flow', 25]:.2f}" }} and {{ f"{looks['eps', 25]:.2f}" }}. When steps are few, the straighter way gains: one long step along a straight line goes less astray. The share of pictures with both right differs little, and the intervals overlap; it alone would not tell them apart.
#
# Mind the conclusion: both lines were changed *together*; this table cannot tell the merit of the straight line from that of the other target. Question 2 of “Try further” at the end parts them.

# %% [markdown] lang="zh"
# ## 11.14 今天的模型，是这三样的不同选法
#
# 下面打印的每一行都由程序从 diffusers 的类里读出来：用什么网络去噪、什么调度器、什么文本编码器；再下面的表还加上猜什么，和几个没有打印的模型。

# %% [markdown] lang="en"
# ## 11.14 Today's models choose differently in three places
#
# Each line printed below is read from diffusers' own classes by a program: which network removes the noise, which scheduler, which text encoder; the table after it adds what is guessed, and some models that are not printed.

# %%
import inspect

import diffusers

for model in "StableDiffusion StableDiffusion3 Flux CogView4 QwenImage".split():
    made = inspect.signature(getattr(diffusers, f"{model}Pipeline").__init__).parameters
    wanted = ("unet", "transformer", "scheduler", "text_encoder")
    parts = [part.annotation for name, part in made.items() if name.startswith(wanted)]
    print(f"{model:18}", *(getattr(part, "__name__", part) for part in parts))
print("mini", mini.scheduler.config.prediction_type)

# %% [markdown] lang="zh"
# | 模型 | 去噪的网络 | 猜什么 | 文本编码器 |
# |---|---|---|---|
# | 这一课 | UNet | $\epsilon$；改两行是流 | 自己的 CLIP |
# | `mini` | UNet | $v$ | 自己的中文 CLIP |
# | PAI-Diffusion | UNet | $\epsilon$ | 中文 CLIP |
# | Stable Diffusion 1.5 | UNet | $\epsilon$ | CLIP |
# | Kolors | UNet | $\epsilon$ | 大语言模型 ChatGLM |
# | Stable Diffusion 3 | DiT | 流 | 两个 CLIP 和 T5 |
# | FLUX.1 | DiT | 流 | CLIP 和 T5 |
# | CogView4 | DiT | 流 | 大语言模型 GLM |
# | Qwen-Image | DiT | 流 | 大语言模型 Qwen2.5-VL |
#
# DiT 把 UNet 换成 transformer：图切成小块，当作一串词来读（Peebles 与 Xie 2022）。三处都换过，但*骨架没变*：文字变成向量，注意力把它带进图里，网络去噪，采样器往回走，VAE 解码。你写的 300 行，就是这副骨架。

# %% [markdown] lang="en"
# | model | network | guesses | text encoder |
# |---|---|---|---|
# | this lesson | UNet | $\epsilon$; flow with two lines changed | its own CLIP |
# | `mini` | UNet | $v$ | its own Chinese CLIP |
# | PAI-Diffusion | UNet | $\epsilon$ | a Chinese CLIP |
# | Stable Diffusion 1.5 | UNet | $\epsilon$ | CLIP |
# | Kolors | UNet | $\epsilon$ | ChatGLM, a language model |
# | Stable Diffusion 3 | DiT | flow | two CLIPs and T5 |
# | FLUX.1 | DiT | flow | CLIP and T5 |
# | CogView4 | DiT | flow | GLM, a language model |
# | Qwen-Image | DiT | flow | Qwen2.5-VL, a language model |
#
# A DiT puts a transformer in the UNet's place: the picture is cut into patches and read like a row of words (Peebles and Xie 2022). All three were exchanged, *the skeleton was not*: text becomes vectors, attention brings them into the picture, a network removes noise, a sampler walks back, a VAE decodes. Your 300 lines are that skeleton.

# %% [markdown] lang="zh"
# ## 11.15 你学到了
#
# * 一个文生图模型有五个部件，合起来约 300 行；形状从 (B, 8) 的编号到 (B, 3, 32, 32) 的图，每一步你都写过。
# * 文字只从交叉注意力进入图里；空提示词也要练，引导才有东西可比。
# * 没见过的组合也画得出：用留出的组合、上限和区间来说话，不用好看的例子。
# * VAE 定清晰度的上限，CLIP 定听懂多少，UNet 定画得像不像：坏了先找是哪一个。
# * 换成整流流只改两行；今天的大模型换了网络、目标和文本编码器，骨架一样。
#
# 整课的模型也在一个文件里：[`lessons/scratch.py`](../lessons/scratch.py)，由上面的单元格生成；`make scratch` 从头训练并检查它，`SEED=1 make scratch` 换一个种子。
#
# **坏了怎么办**
#
# | 你看到 | 多半是 |
# |---|---|
# | 画里没有你写的东西 | 字不在词表里，编号是 0（11.3） |
# | 画得出，却不听话 | 词和图没有对上：`WORDS[i]` 和 `X_0[i]` 的 `i` 不是同一个 |
# | 颜色过头 | 引导太大（11.10） |
# | 糊 | VAE 只有这么清楚（11.7 的第三行） |

# %% [markdown] lang="en"
# ## 11.15 What you have learnt
#
# * A text-to-image model has five parts, some 300 lines together; from ids of (B, 8) to a picture of (B, 3, 32, 32), you have written each step.
# * Text enters the picture by cross-attention alone; the empty prompt is trained too, so that guidance has something to compare.
# * Pairs never seen can be drawn: held-out pairs, a ceiling and an interval say so, not a pretty example.
# * The VAE limits how sharp, CLIP how much is understood, the UNet how true to shape: when something is wrong, first find out which.
# * A rectified flow is two lines away; today's large models exchanged the network, the target and the text encoder, and kept the skeleton.
#
# The whole model is in one file too: [`lessons/scratch.py`](../lessons/scratch.py), generated from the cells above; `make scratch` trains it from nothing and checks it, `SEED=1 make scratch` with another seed.
#
# **When it goes wrong**
#
# | you see | most likely |
# |---|---|
# | what you wrote is missing | its characters are not in the table, their id is 0 (11.3) |
# | pictures, but not what was asked | words and pictures do not match: the `i` of `WORDS[i]` is not that of `X_0[i]` |
# | colours overdone | too much guidance (11.10) |
# | blur | the VAE is no sharper (third row of 11.7) |

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
# 1. 量引导：$g$ = 0、1、2、3、5、8，各画 72 张，用裁判和 `kernel_distance` 各画一条曲线。哪个 $g$ 最听话？哪个最像真图？是同一个吗？
# 2. $v$ 预测：`mix` 不变，`target` 换成 $c=-b,\ d=a$（第 00 课的 $v=\sqrt{\bar\alpha_t}\,\epsilon-\sqrt{1-\bar\alpha_t}\,x_0$）。训练（`TRAIN_ALL = True`），在 4 步时和 11.13 的两个比：功劳在直线，还是在目标？
# 3. 把 `FORMS` 里没有的句子“沙滩上的熊猫”给 `sample`（“上”不在词表里）。画对了吗？为什么可以？再试“企鹅企鹅企鹅”。

# %% [markdown] lang="en"
# ### Try further
#
# There is no one answer to these; write down what you see.
#
# 1. Measure guidance: draw 72 pictures each with $g$ = 0, 1, 2, 3, 5, 8 and plot the judge's rate and `kernel_distance`. Which $g$ obeys best? Which looks most like real pictures? Is it the same?
# 2. $v$-prediction: keep `mix`, make `target` $c=-b,\ d=a$ (lesson 00: $v=\sqrt{\bar\alpha_t}\,\epsilon-\sqrt{1-\bar\alpha_t}\,x_0$). Train (`TRAIN_ALL = True`), and compare with both of 11.13 at 4 steps: is it the line, or the target?
# 3. Give `sample` a sentence whose form is not in `FORMS`, 沙滩上的熊猫 (a panda on the beach; 上 is not in the table). Is it right? Why can it be? Then try 企鹅企鹅企鹅.
