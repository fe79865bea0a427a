"""Exercises of lesson 13."""

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from paidiff_course.exercise import Exercise, Goal, Wrong
from paidiff_world import Spec, render
from paidiff_world.judge import batches, judge

# --- 13.1 precision and recall --------------------------------------------------------------------------------------


def precision_recall(true, seen, name):
    both = sum(t == name and s == name for t, s in zip(true, seen))
    return both / seen.count(name), both / true.count(name)


def precision_recall_by_matrix(true, seen, name):
    t, s = np.array(true) == name, np.array(seen) == name
    matrix = np.array([[(~t & ~s).sum(), (~t & s).sum()], [(t & ~s).sum(), (t & s).sum()]])
    return matrix[1, 1] / matrix[:, 1].sum(), matrix[1, 1] / matrix[1].sum()


def precision_recall_by_lists(true, seen, name):
    called = [t for t, s in zip(true, seen) if s == name]
    found = [s for t, s in zip(true, seen) if t == name]
    return called.count(name) / len(called), found.count(name) / len(found)


def hits(true, seen, name):
    return sum(t == s == name for t, s in zip(true, seen))


def pictures(rs):
    """What pictures are, what a judge saw, and one class, which is seen more often than it is there."""
    names = ["无", "红色", "蓝色", "绿色"]
    true = ["红色"] * rs.randint(5, 9) + list(rs.choice(names, 40, p=[0.5, 0.1, 0.2, 0.2]))
    seen = [t if rs.rand() < 0.7 else names[rs.randint(4)] for t in true]
    return [*true, *["无"] * 5], [*seen, *["红色"] * 5], "红色"


# --- 13.2 a paired difference, counted by scenes --------------------------------------------------------------------


def paired(a, b):
    gain = (b - a).mean(0)
    return gain.mean(), gain.std(ddof=1) / len(gain) ** 0.5


def paired_by_hand(a, b):
    gain = b.mean(axis=0) - a.mean(axis=0)
    n, mean = gain.size, gain.sum() / gain.size
    return mean, np.sqrt(((gain - mean) ** 2).sum() / (n - 1) / n)


def paired_by_loop(a, b):
    gains = [np.mean(b[:, scene] - a[:, scene]) for scene in range(a.shape[1])]
    return np.mean(gains), np.sqrt(np.var(gains, ddof=1) / len(gains))


def two_measurements(rs):
    """Sharpness at guidance 1 and 2, (3 seeds, 12 scenes): scenes differ a lot, seeds little."""
    scenes = 8 + 3 * rs.randn(12)
    a = scenes + 0.3 * rs.randn(3, 12)
    return a, a + 0.4 + 0.8 * rs.randn(12) + 0.3 * rs.randn(3, 12)


def apart(a, b):
    n = a.shape[1]
    error = np.sqrt(a.mean(0).var(ddof=1) / n + b.mean(0).var(ddof=1) / n)
    return (b - a).mean(), error


# --- 13.3 a judge that shrinks its pictures -------------------------------------------------------------------------


def fool(picture, name, levels, steps=20):
    """As in 13.3 of the lesson."""
    target = torch.tensor([judge().classes["subject"].index(name)])
    start, level = next(batches([picture])), 2 / 255
    x = start.clone()
    for _ in range(steps):
        loss = cross_entropy(judge()(x.requires_grad_())["subject"], target)
        (slope,) = torch.autograd.grad(loss, x)
        x = x.detach() - level * slope.sign()
        x = x.clamp(start - levels * level, start + levels * level).clamp(-1, 1)
    return Image.fromarray(((x[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy())


def fooled(levels, draw):
    """P(panda) of the lesson's cat after `fool`, as it is and shrunk and enlarged again."""
    whole = isinstance(levels, int | np.integer) and levels > 0
    found = {"levels": levels, "whole": whole, "few": whole and levels <= 20, "plain": 0.0, "small": 0.0}
    if found["few"]:
        picture = fool(render(Spec("猫"), np.random.RandomState(1)), "熊猫", levels)
        small = picture.resize((64, 64), Image.BOX).resize((128, 128), Image.BICUBIC)
        found["plain"], found["small"] = judge().probability([picture, small], "subject", "熊猫")
    return found


EXERCISES = [
    Exercise(
        number="13.1",
        kind="function",
        zh="写出 13.2 的查准率和查全率：`true` 是每张图的真实值，`seen` 是裁判看到的，两个一样长的列表，里面是颜色的名字；`name`"
        " 是其中一种颜色。返回两个数：`(查准率, 查全率)`。",
        en="Write precision and recall of 13.2: `true` holds the truth about each picture, `seen` what the judge saw, two"
        " lists of equal length of names of colours; `name` is one of the colours. Return two numbers:"
        " `(precision, recall)`.",
        hints=(
            ("两个数的分子是同一个。", "Both fractions have the same numerator."),
            (
                "分子：真的是 `name`，裁判也说是 `name` 的图有几张。",
                "The numerator: pictures that are `name`, and that the judge calls `name`.",
            ),
            (
                "查准率除以“裁判说是”的张数，`seen.count(name)`；查全率除以“真的是”的张数。",
                "Precision divides by how often the judge says it, `seen.count(name)`; recall by how often it is true.",
            ),
        ),
        solution=precision_recall,
        also=(precision_recall_by_matrix, precision_recall_by_lists),
        inputs=pictures,
        equivalent=("zip(seen, true)",),  # both have to be `name`
        wrong=(
            Wrong(
                lambda true, seen, name: [100 * rate for rate in precision_recall(true, seen, name)],
                "要 0 到 1 的数，不是百分数",
                "numbers from 0 to 1 are wanted, no per cent",
            ),
            Wrong(
                lambda true, seen, name: (true == name).sum(),
                "`true` 和 `seen` 是列表，`true == name` 只有一个真假：要一项一项地比",
                "`true` and `seen` are lists, and `true == name` is one True or False: compare item by item",
            ),
            Wrong(
                lambda true, seen, name: precision_recall(seen, true, name),
                "两个放反了：查准率的分母是裁判说了几次，查全率的分母是真的有几张",
                "the two are exchanged: precision divides by what the judge says, recall by what is there",
            ),
            Wrong(
                lambda true, seen, name: (sum(map(str.__eq__, true, seen)) / len(true),) * 2,
                "这是准确率：所有颜色答对的占全部，和 `name` 无关",
                "this is accuracy: right answers of all colours, whatever `name` is",
            ),
            Wrong(
                lambda true, seen, name: (hits(true, seen, name) / len(true),) * 2,
                "分母不是全部的图：一个只看裁判说是的，一个只看真的是的",
                "do not divide by all pictures: one looks at those so called, the other at those that are",
            ),
            Wrong(
                lambda true, seen, name: (seen.count(name) / true.count(name), true.count(name) / seen.count(name)),
                "只数了各有多少，没有数对上的：分子要两边都是 `name`",
                "this counts how many there are on each side, not how many meet: both have to be `name`",
            ),
            Wrong(
                lambda true, seen, name: (hits(true, seen, name), hits(true, seen, name)),
                "这是张数，还要除：要的是占多少",
                "this is a count and still has to be divided: a share is wanted",
            ),
            Wrong(
                lambda true, seen, name: (seen.count(name) / len(seen), true.count(name) / len(true)),
                "这是 `name` 各占全部的多少，没有看对不对得上",
                "these are the shares of `name` among all, right or wrong",
            ),
            Wrong(
                lambda true, seen, name: (
                    seen.count(name) / hits(true, seen, name),
                    true.count(name) / hits(true, seen, name),
                ),
                "分子和分母颠倒了：占的比例不会超过 1",
                "the fractions are upside down: a share is never above 1",
            ),
            Wrong(
                lambda true, seen, name: (
                    sum(map(str.__eq__, true, seen)) / seen.count(name),
                    sum(map(str.__eq__, true, seen)) / true.count(name),
                ),
                "分子数了所有颜色答对的：只要 `name` 这一种",
                "the numerator counts right answers of every colour: only `name` is wanted",
            ),
        ),
    ),
    Exercise(
        number="13.2",
        kind="function",
        zh="成对地比（13.6），按场景数（13.5）。`a` 和 `b` 是引导 1 和引导 2 的清晰度，形状都是（种子，场景）。返回两个数：`b` 比 `a`"
        " 平均多多少；这个平均的*标准误*，也就是各场景之差的标准差（`ddof=1`）除以场景数的平方根。平均加减 1.96 个标准误，就是差不多的"
        " 95 % 区间。",
        en="Compare in pairs (13.6) and count by scenes (13.5). `a` and `b` are the sharpness at guidance 1 and 2, both of shape"
        " (seeds, scenes). Return two numbers: by how much `b` is above `a` on average; and the *standard error* of that"
        " mean, which is the standard deviation (`ddof=1`) of the scenes' differences over the square root of the number"
        " of scenes. The mean ± 1.96 standard errors is about the 95 % interval.",
        hints=(
            ("先减，后平均：每个场景自己和自己比。", "Subtract first: each scene is compared with itself."),
            (
                "种子是第 0 个轴；对它取平均，一个场景就只剩一个数。",
                "Seeds are axis 0; a mean over it leaves one number for each scene.",
            ),
            (
                "`gain = (b - a).mean(0)`；标准误是 `gain.std(ddof=1)` 除以 `len(gain)` 的平方根。",
                "`gain = (b - a).mean(0)`; the standard error is `gain.std(ddof=1)` over the square root of `len(gain)`.",
            ),
        ),
        solution=paired,
        also=(paired_by_hand, paired_by_loop),
        inputs=two_measurements,
        wrong=(
            Wrong(
                lambda a, b: ((b - a).mean(), (b - a).std(ddof=1) / (b - a).size ** 0.5),
                "把 36 张当成 36 次独立测量：同一场景的几个种子几乎是一张图，先对种子取平均",
                "36 pictures are taken for 36 independent measurements: the seeds of a scene are nearly one picture, so"
                " take their mean first",
            ),
            Wrong(
                apart,
                "没有成对：两边各算各的标准差，场景之间的差别没有减掉；先减，再算标准差",
                "not paired: with a deviation for each side the scenes' differences stay in; subtract first",
            ),
            Wrong(
                lambda a, b: ((b - a).mean(), (b - a).mean(1).std(ddof=1) / len(a) ** 0.5),
                "轴错了：平均掉了场景，剩下种子；要对种子（第 0 个轴）取平均",
                "the wrong axis: this averages scenes away and leaves the seeds; average over the seeds, axis 0",
            ),
            Wrong(
                lambda a, b: ((b - a).mean(), (b - a).std(ddof=1) / a.shape[1] ** 0.5),
                "标准差里混进了种子之间的差别：先对种子取平均，再算 12 个场景的标准差",
                "the deviation has the seeds' differences in it: take the mean over seeds first, then the deviation of the 12 scenes",
            ),
            Wrong(
                lambda a, b: ((b - a).mean(), (b - a).mean(0).std(ddof=1) / len(a) ** 0.5),
                "`len(a)` 是种子数；场景是第 1 个轴，`a.shape[1]`",
                "`len(a)` is the number of seeds; scenes are axis 1, `a.shape[1]`",
            ),
            Wrong(
                lambda a, b: ((b - a).mean(), (b - a).std() / (b - a).size ** 0.5),
                "把 36 张当成 36 次独立测量（还少了 `ddof=1`）：先对种子取平均",
                "36 pictures are taken for 36 measurements (and `ddof=1` is missing): take the mean over seeds first",
            ),
            Wrong(
                lambda a, b: paired(a, b)[::-1],
                "两个数放反了：先是平均，再是标准误",
                "the two numbers are exchanged: first the mean, then its standard error",
            ),
            Wrong(
                lambda a, b: (paired(a, b)[0] - 1.96 * paired(a, b)[1], paired(a, b)[0] + 1.96 * paired(a, b)[1]),
                "这是区间的两端；要平均和它的标准误",
                "these are the ends of the interval; the mean and its standard error are wanted",
            ),
            Wrong(
                lambda a, b: ((b - a).mean(), (b - a).mean(0).var(ddof=1) / a.shape[1]),
                "这是标准误的平方：还要开方",
                "this is the square of the standard error: take the root",
            ),
            Wrong(
                lambda a, b: (paired(a, b)[0], 1.96 * paired(a, b)[1]),
                "第二个数已经乘了 1.96，那是区间的半宽；要标准误本身",
                "the second number has 1.96 in it already, half the interval; the standard error itself is wanted",
            ),
            Wrong(
                lambda a, b: (paired(b, a)[0], paired(a, b)[1]),
                "方向反了：要的是 b 比 a 多多少",
                "the sign is wrong: by how much is b above a",
            ),
            Wrong(
                lambda a, b: ((b - a).mean(), (b - a).mean(0).std(ddof=1)),
                "第二个数是标准差，不是标准误：还要除以场景数的平方根",
                "the second number is the deviation, not the standard error: divide by the root of the number of scenes",
            ),
            Wrong(
                lambda a, b: ((b - a).mean(), (b - a).mean(0).std(ddof=1) / a.shape[1]),
                "忘了开方：标准误随场景数的*平方根*变小",
                "the root is forgotten: the standard error shrinks with the *root* of the number of scenes",
            ),
            Wrong(
                lambda a, b: ((b - a).mean(), (b - a).mean(0).std() / a.shape[1] ** 0.5),
                "标准差少了 `ddof=1`：numpy 默认除以 n，这里除以 n - 1",
                "the deviation lacks `ddof=1`: numpy divides by n unless told, here it is n - 1",
            ),
            Wrong(
                lambda a, b: ((b - a).mean(), (b - a).mean(0).std(ddof=1) / a.size**0.5),
                "除错了数：独立的是场景，不是图，开方的应是场景数",
                "divided by the wrong number: scenes are independent, pictures are not; take the root of the scenes",
            ),
        ),
    ),
    Exercise(
        number="13.3",
        kind="goal",
        zh='裁判换了防守：先把图缩到 64×64，再放大回来，然后才看。13.3 的 `fool(cat, "熊猫", 8)` 就骗不了它了。找一个 `levels`（正整数，不超过'
        ' 20，再多人眼就看出来了），使 `fool(cat, "熊猫", levels)` 缩小、放大之后裁判还有九成以上把握说是熊猫。自己先量：\n\n'
        '```python\npicture = fool(cat, "熊猫", 8)\nsmall = picture.resize((64, 64), Image.BOX).resize((128, 128), Image.BICUBIC)\n'
        'judge().probability([picture, small], "subject", "熊猫")\n```',
        en='The judge defends itself: it shrinks a picture to 64×64 and enlarges it again before it looks. `fool(cat, "熊猫", 8)`'
        " of 13.3 fools it no more. Find a `levels` (a whole number, at most 20, beyond which the eye sees it) with which"
        ' the judge still says panda with more than 0.9 after `fool(cat, "熊猫", levels)` was shrunk and enlarged. Measure'
        " it yourself first:\n\n"
        '```python\npicture = fool(cat, "熊猫", 8)\nsmall = picture.resize((64, 64), Image.BOX).resize((128, 128), Image.BICUBIC)\n'
        'judge().probability([picture, small], "subject", "熊猫")\n```',
        hints=(
            (
                "缩小抹掉了细的花纹。要它剩下一些，原来的就得更强。",
                "Shrinking wipes out a fine pattern. For some of it to be left it has to be stronger.",
            ),
            (
                "在 1 到 20 之间对半找：10 骗得了吗？骗不了就看 15。",
                "Halve 1 to 20: does 10 fool it? If not, look at 15.",
            ),
            ("比 12 多，不超过 20。", "More than 12, and 20 at most."),
        ),
        solution=16,
        also=(20,),
        measure=fooled,
        goals=(
            Goal(lambda m: m["whole"], "`levels` 要是正整数", "`levels` has to be a whole number above 0"),
            Goal(
                lambda m: m["few"],
                "{levels} 级太多了，猫的身上看得出花纹：不超过 20",
                "{levels} levels are too many, the pattern is seen: 20 at most",
            ),
            Goal(
                lambda m: m["plain"] > 0.9,
                "级数太少：不缩小，熊猫的概率也只有 {plain:.2f}",
                "too few levels: even before it is shrunk the probability of a panda is {plain:.2f}",
            ),
            Goal(
                lambda m: m["small"] > 0.9,
                "缩小之后就骗不了了：熊猫的概率从 {plain:.2f} 掉到 {small:.2f}",
                "shrunk, it fools no more: the probability of a panda falls from {plain:.2f} to {small:.2f}",
            ),
        ),
        wrong=(
            Wrong(0, "要是正整数", "has to be a whole number"),
            Wrong(16.5, "要是正整数", "has to be a whole number"),
            Wrong(32, "32 级太多了", "32 levels are too many"),
            Wrong(4, "级数太少", "too few levels"),
            Wrong(8, "缩小之后就骗不了了", "shrunk, it fools no more"),
            Wrong(12, "缩小之后就骗不了了", "shrunk, it fools no more"),
        ),
    ),
]
