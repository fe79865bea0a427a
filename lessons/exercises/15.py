"""Exercises of lesson 15."""

import math

import numpy as np

from paidiff_course.exercise import Exercise, Wrong

# --- 15.1 how high a label has to be ---------------------------------------------------------------------------------


def label_height(width, height):
    return math.ceil(min(width, height) / 20)


def label_height_in_integers(width, height):
    return -(-min(width, height) // 20)


def label_height_by_search(width, height):
    return next(h for h in range(1, height + width) if 20 * h >= min(width, height))


def sizes(rs):
    """A width and a height, either of them the shorter; 5 % of it is no whole number, a little above one or below."""
    flip = rs.randint(2)
    short = 20 * rs.randint(10, 40) + (5, 15)[rs.randint(2)]
    return (short, 1805) if flip else (1805, short)


# --- 15.2 which of the drawn pictures are copies ---------------------------------------------------------------------


def copied(drawn, trained, threshold):
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (drawn, trained)]
    return ((unit[0] @ unit[1].T).max(1) > threshold).nonzero()[0]


def copied_by_loop(drawn, trained, threshold):
    def cosine(a, b):
        return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())

    return [i for i, a in enumerate(drawn) if max(cosine(a, b) for b in trained) > threshold]


def copied_by_norms(drawn, trained, threshold):
    lengths = np.sqrt(np.outer((drawn**2).sum(1), (trained**2).sum(1)))
    return np.flatnonzero((drawn @ trained.T / lengths > threshold).any(axis=1))


def features(rs):
    """Vectors of any length of 8 drawn and 30 training pictures, and a threshold: some are copies, some are lonely."""
    trained, drawn = rs.randn(30, 6), rs.randn(8, 6)
    drawn[rs.permutation(8)[:3]] = trained[rs.choice(30, 3, replace=False)] + 0.05 * rs.randn(3, 6)
    scale = np.exp(rs.randn(30, 1)), np.exp(rs.randn(8, 1))
    return drawn * scale[1], trained * scale[0], 0.97


def cosines(drawn, trained):
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (drawn, trained)]
    return unit[0] @ unit[1].T


EXERCISES = [
    Exercise(
        number="15.1",
        kind="function",
        zh="写 15.2 的尺子：一张 `width`×`height` 的图，字至少要多少像素高（整数），才不低于最短边的 5 %？",
        en="Write the ruler of 15.2: in a picture of `width`×`height`, how many pixels (a whole number) have the characters"
        " to be high at least, so that they are no lower than 5 % of the shorter side?",
        hints=(
            ("先找最短边。", "Find the shorter side first."),
            ("5 % 是二十分之一。除不尽的时候，往哪边取整？", "5 % is a twentieth. Which way is it rounded?"),
            (
                "`math.ceil(... / 20)`，里面是 `min(width, height)`。",
                "`math.ceil(... / 20)`, with `min(width, height)`.",
            ),
        ),
        solution=label_height,
        also=(label_height_in_integers, label_height_by_search),
        inputs=sizes,
        tolerance=0,
        equivalent=("min(height, width)",),
        wrong=(
            Wrong(
                lambda width, height: min(width, height) // 20,
                "往下取整了：差一点也是低于 5 %，要往上取",
                "rounded down: a little less is still below 5 %, round up",
            ),
            Wrong(
                lambda width, height: round(min(width, height) / 20),
                "四舍五入会舍掉一点：不低于，就要往上取",
                "rounding to the nearest may cut a little off: no lower means up",
            ),
            Wrong(
                lambda width, height: math.ceil(max(width, height) / 20),
                "这是最长边的 5 %；标准说的是最短边",
                "these are 5 % of the longer side; the standard says the shorter",
            ),
            Wrong(
                lambda width, height: math.ceil(width / 20),
                "宽不一定是最短边",
                "the width need not be the shorter side",
            ),
            Wrong(
                lambda width, height: math.ceil(height / 20),
                "高不一定是最短边",
                "the height need not be the shorter side",
            ),
            Wrong(
                lambda width, height: min(width, height) / 20, "像素是整数：还要往上取整", "pixels are whole: round up"
            ),
            Wrong(
                lambda width, height: math.ceil(min(width, height) / 5),
                "除以 5 是 20 %；5 % 是除以 20",
                "a fifth is 20 %; 5 % is a twentieth",
            ),
        ),
    ),
    Exercise(
        number="15.2",
        kind="function",
        zh="写 15.4 的检查：`drawn` 是画的图的特征 `(N, D)`，`trained` 是训练图的 `(M, D)`，长度*不一定*是 1。返回哪几张画的图（从 0"
        " 数的编号）和最近的训练图的余弦大于 `threshold`。",
        en="Write the check of 15.4: `drawn` holds features of drawn pictures `(N, D)`, `trained` those of training pictures"
        " `(M, D)`, *not* all of length 1. Return which of the drawn pictures (numbered from 0) have a cosine above"
        " `threshold` with the nearest training picture.",
        hints=(
            ("余弦是两个长度为 1 的向量的内积。", "The cosine is the inner product of two vectors of length 1."),
            (
                "所有的余弦是一个 `(N, M)` 的矩阵；“最近的”是每一行里最大的。",
                "All cosines are a matrix `(N, M)`; the nearest is the greatest of each row.",
            ),
            (
                "`a = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)`，`b` 也这样；`(a @ b.T).max(1) > threshold`，再"
                " `.nonzero()[0]`。",
                "`a = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)`, `b` alike; `(a @ b.T).max(1) > threshold`, then"
                " `.nonzero()[0]`.",
            ),
        ),
        solution=copied,
        also=(copied_by_loop, copied_by_norms),
        inputs=features,
        wrong=(
            Wrong(
                lambda drawn, trained, threshold: ((drawn @ trained.T).max(1) > threshold).nonzero()[0],
                "没有除以长度：这是内积，不是余弦",
                "not divided by the lengths: this is the inner product, not the cosine",
            ),
            Wrong(
                lambda drawn, trained, threshold: (cosines(drawn, trained).max(0) > threshold).nonzero()[0],
                "这是哪些训练图被抄了；要的是哪些画的图",
                "these are the training pictures that were copied; the drawn ones are wanted",
            ),
            Wrong(
                lambda drawn, trained, threshold: cosines(drawn, trained).argmax(1),
                "这是每张图最近的是哪一张；还没有看它有多近",
                "this says which one is the nearest of each, not how near it is",
            ),
            Wrong(
                lambda drawn, trained, threshold: (cosines(drawn, trained).mean(1) > threshold).nonzero()[0],
                "平均是和所有训练图有多像；抄一张就够了，要最大的",
                "the mean says how near all training pictures are; one is enough, take the greatest",
            ),
            Wrong(
                lambda drawn, trained, threshold: (cosines(drawn, trained).max(1) <= threshold).nonzero()[0],
                "反了：这是没有抄的那几张",
                "the other way round: these were not copied",
            ),
            Wrong(
                lambda drawn, trained, threshold: cosines(drawn, trained).max(1) > threshold,
                "这是每张图的是和否；要的是编号",
                "this is a yes or no for each; their numbers are wanted",
            ),
            Wrong(
                lambda drawn, trained, threshold: int((cosines(drawn, trained).max(1) > threshold).sum()),
                "这是有几张；要的是哪几张",
                "this is how many; which ones are wanted",
            ),
        ),
    ),
    Exercise(
        number="15.3",
        kind="predict",
        zh="安全检查器看了 90 张不该放的图，一张也没有漏。它漏网的率，95 % 区间的上端是百分之几？（写 0 到 100 的数，一位小数。先写，再用"
        " `paidiff.wilson(0, 90)` 看。）",
        en="A safety checker was shown 90 pictures that must not pass, and missed none. What is the upper end of the 95 %"
        " interval of its rate of misses, in per cent? (A number from 0 to 100, one decimal. Write it down, then look at"
        " `paidiff.wilson(0, 90)`.)",
        hints=(
            ("90 次里 0 次，和 9000 次里 0 次一样吗？", "Is none of 90 the same as none of 9000?"),
            ("威尔逊区间的上端大约是 4/n。", "The upper end of Wilson's interval is about 4/n."),
            ("z² / (n + z²)，z = 1.96，n = 90。", "z² / (n + z²) with z = 1.96 and n = 90."),
        ),
        solution=4.1,
        also=(4.0935,),
        tolerance=0.02,
        wrong=(
            Wrong(0, "0 是看到的率；换 90 张图就可能漏", "0 is what was seen; another 90 pictures may show a miss"),
            Wrong(
                100, "100 是 0 张图的时候：什么都没看，什么都可能", "100 is for no picture at all: anything is possible"
            ),
            Wrong(1.1, "这是 1/90：再漏一张就是这么多，可区间还要宽", "this is 1/90, one miss; the interval is wider"),
            Wrong(
                3.3,
                "这是“三法则”3/n，单侧的 95 %；威尔逊的区间两侧各留 2.5 %，上端更高",
                "this is the rule of three, 3/n, one-sided; Wilson leaves 2.5 % on each side and ends higher",
            ),
            Wrong(
                5,
                "5 % 是区间容许装不住的机会，和漏网的率无关",
                "5 % is how often an interval may fail, not a rate of misses",
            ),
            Wrong(0.041, "要的是百分之几：乘 100", "in per cent: times 100"),
            Wrong(
                2.1,
                "忘了平方：是 z 的平方除以 n 加 z 的平方",
                "the square is forgotten: z squared over n plus z squared",
            ),
        ),
    ),
]
