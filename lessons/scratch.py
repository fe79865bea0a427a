"""A Chinese text-to-image model from scratch. Made by tools/build_scratch.py of lesson 11; `make scratch` runs it."""

# 11.1 The result first
import math
import os

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from paidiff_world.scenes import Spec, render

TRAIN_ALL = True  # True: train everything, a quarter of an hour on one thread
SEED = int(os.environ.get("SEED", 0))


# 11.2 Data: pictures and a sentence each
SUBJECTS = "猫 企鹅 熊猫 汽车 房子 蘑菇 西瓜 向日葵 帆船 松树 气球 火箭".split()
PLACES = "草地 雪地 沙滩 星空 落日 粉色背景".split()
PAIRS = [(s, p) for s in SUBJECTS for p in PLACES]  # 72
HELD = [(i // 6 + i % 6) % 4 == 0 for i in range(72)]  # 18 that training never sees
SEEN = [pair for pair, held in zip(PAIRS, HELD) if not held]  # 54
FORMS = "{0},{1}", "{1},{0}", "{1}里的{0}"


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


def picture(x, size=96):  # (3, 32, 32) in -1..1 -> PIL
    array = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array).resize((size, size), Image.Resampling.LANCZOS)


# 11.3 The tokenizer
LENGTH = 8  # characters of a caption; what is more is cut
CHARACTERS = sorted(set("".join(SUBJECTS + PLACES) + ",里的"))
IDS = {character: i for i, character in enumerate(CHARACTERS, start=1)}


def tokenize(texts):
    """Texts -> ids (B, 8)."""
    return torch.tensor([[IDS.get(c, 0) for c in t[:8].ljust(8)] for t in texts])


# 11.4 Attention, from the formula
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


# 11.5 One training loop for all parts
def follow(slow, fast, share):  # slow += share (fast - slow)
    for s, f in zip(slow, fast):
        s.data.lerp_(f.data, share)


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


# 11.6 CLIP: two towers learn one language
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width)
        self.norm2, self.wide = nn.LayerNorm(width), nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x):  # (B, 8, width)
        x = x + self.attention(self.norm1(x))
        return x + self.narrow(F.gelu(self.wide(self.norm2(x))))


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


def clip_loss(texts, pictures, scale):  # (B, 64), (B, 64)
    logits = scale.exp() * texts @ pictures.T  # (B, B)
    same = torch.arange(len(texts))  # caption i belongs to picture i
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


torch.manual_seed(SEED)
ids = tokenize(captions)  # (N, 8)
text, vision, scale = TextEncoder(), PictureEncoder(), nn.Parameter(torch.tensor(2.0))
clip_parts = [*text.parameters(), *vision.parameters(), scale]
clip_step = lambda i: clip_loss(text.vector(ids[i]), vision(x[i]), scale)
clip_losses = train(clip_parts, clip_step, 300 if TRAIN_ALL else 100, 2e-3, 64)


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


# 11.7 VAE: 3072 numbers become 256
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


def vae_loss(i):
    mean, logvar = vae.encode(x[i])
    z = mean + (logvar / 2).exp() * torch.randn_like(mean)
    kl = (mean**2 + logvar.exp() - 1 - logvar).mean() / 2
    return F.l1_loss(vae.up(z), x[i]) + 1e-3 * kl


torch.manual_seed(SEED)
vae = VAE()
vae_losses = train(vae.parameters(), vae_loss, 800 if TRAIN_ALL else 100, 3e-3, 32)


with torch.no_grad():
    latents = torch.cat([vae.encode(part)[0] for part in x.split(256)])
    MEAN, STD = latents.mean((0, 2, 3), keepdim=True), latents.std()
    X_0 = (latents - MEAN) / STD  # (N, 4, 8, 8), about as wide as the noise
    WORDS, EMPTY = text(ids), text(tokenize([""]))  # (N, 8, 64), (1, 8, 64)
    error = F.mse_loss(vae.up(latents[:256]), x[:256]).item()
psnr = 10 * math.log10(4 / error)


# 11.8 UNet: what is the noise in this noise?
class Res(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.act1, self.conv1, self.time = act(a), conv(a, b), nn.Linear(128, b)
        self.act2, self.conv2, self.skip = act(b), conv(b, b), nn.Conv2d(a, b, 1)

    def forward(self, h, time):  # (B, a, H, W), (B, 128) -> (B, b, H, W)
        y = self.conv1(self.act1(h)) + self.time(time)[:, :, None, None]
        return self.skip(h) + self.conv2(self.act2(y))


class Look(nn.Module):
    def __init__(self, c, words=64):
        super().__init__()
        self.norm, self.words = nn.GroupNorm(8, c), Attention(c, words)

    def forward(self, h, words):  # (B, c, H, W), (B, 8, 64) -> (B, c, H, W)
        places = self.norm(h).flatten(2).mT  # (B, H * W, c): every place asks
        return h + self.words(places, words).mT.unflatten(2, h.shape[2:])


class Stage(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.res, self.look = Res(a, b), Look(b)

    def forward(self, h, time, words):
        return self.look(self.res(h, time), words)


def waves(t):  # (B,) -> (B, 64): 32 clock hands, each slower than the one before
    angle = t[:, None] * torch.exp(-math.log(10000) * torch.arange(32) / 32)
    return torch.cat([angle.sin(), angle.cos()], 1)


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


# 11.9 Diffusion: mix, guess, walk back
def mix(t):
    """x_t = a x_0 + b eps."""
    abar = torch.cos((t + 1) / 1000 * math.pi / 2).square().clamp(min=1e-3)
    return abar.sqrt(), (1 - abar).sqrt()


def target(t):
    """What the network guesses, c x_0 + d eps: here eps."""
    return torch.zeros_like(t), torch.ones_like(t)


def diffusion_loss(unet, i, mix, target):
    t, eps = torch.randint(1000, (len(i),)).float(), torch.randn(len(i), 4, 8, 8)
    words = torch.where(torch.rand(len(i), 1, 1) < 0.1, EMPTY, WORDS[i])
    (a, b), (c, d) = ([w[:, None, None, None] for w in f(t)] for f in (mix, target))
    return F.mse_loss(unet(a * X_0[i] + b * eps, t, words), c * X_0[i] + d * eps)


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


# 11.10 Train the UNet, then draw
torch.manual_seed(SEED)
unet = UNet()
steps = 2500 if TRAIN_ALL else 100
unet_step = lambda i: diffusion_loss(unet, i, mix, target)
unet_losses = train(unet.parameters(), unet_step, steps, 2e-3, 32, ema=0.995)


# 11.11 Measure: are the pairs it never saw right?
drawn = {g: sample(unet, PROMPTS, guidance=g) for g in (1.0, 3.0)}  # 72 pictures each


def check(pictures):
    hits = right(own_clip(pictures))[:, HELD].mean(1)
    print("held out: subject %.2f, place %.2f, both %.2f" % tuple(hits))
    assert hits.min() > 0.7


check(drawn[3.0])


# 11.13 Change two lines: a rectified flow
def straight(t):
    """x_t = (1 - tau) x_0 + tau eps."""
    tau = (t + 1) / 1000
    return 1 - tau, tau


def velocity(t):
    """What the network guesses: eps - x_0."""
    return -torch.ones_like(t), torch.ones_like(t)


torch.manual_seed(SEED)
flow = UNet()
flow_step = lambda i: diffusion_loss(flow, i, straight, velocity)
flow_losses = train(flow.parameters(), flow_step, steps, 2e-3, 32, ema=0.995)


FLOW = dict(mix=straight, target=velocity)
few = {("eps", n): sample(unet, PROMPTS, n) for n in (4, 10)}
few |= {("flow", n): sample(flow, PROMPTS, n, **FLOW) for n in (4, 10, 25)}
few["eps", 25] = drawn[3.0]
