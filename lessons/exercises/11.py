"""Exercises of lesson 11."""

from math import ceil, log

import numpy as np

from paidiff_course.exercise import Exercise, Wrong

# --- 11.1 one DDIM step from a guessed v ----------------------------------------------------------------------------


def step_v(x_t, v, a, b, a_s, b_s):
    x_0 = a * x_t - b * v
    eps = b * x_t + a * v
    return a_s * x_0 + b_s * eps


def step_v_general(x_t, v, a, b, a_s, b_s):
    c, d = -b, a
    x_0 = (d * x_t - b * v) / (a * d - b * c)
    eps = (a * v - c * x_t) / (a * d - b * c)
    return a_s * x_0 + b_s * eps


def step_v_by_noise(x_t, v, a, b, a_s, b_s):
    eps = b * x_t + a * v
    return a_s * (x_t - b * eps) / a + b_s * eps


def two_shares(rs):
    """x_t and v of one shape, the shares at t and at s < t, on the arc of lesson 00."""
    t, s = rs.uniform(0.8, 1.3), rs.uniform(0.2, 0.7)
    return *rs.randn(2, 4, 8, 8), np.cos(t), np.sin(t), np.cos(s), np.sin(s)


# --- 11.2 the contrastive loss --------------------------------------------------------------------------------------


def contrastive(u, v, s):
    table = np.exp(s * u @ v.T)
    true = np.diag(table)
    rows = -np.log(true / table.sum(1)).mean()
    columns = -np.log(true / table.sum(0)).mean()
    return (rows + columns) / 2


def contrastive_by_loop(u, v, s):
    total, n = 0, len(u)
    for i in range(n):
        texts = [np.exp(s * u[i] @ v[j]) for j in range(n)]
        pictures = [np.exp(s * u[j] @ v[i]) for j in range(n)]
        total -= np.log(texts[i] / sum(texts)) + np.log(pictures[i] / sum(pictures))
    return total / n / 2


def contrastive_by_logs(u, v, s):
    scores = s * np.einsum("id,jd->ij", u, v)
    spread = [np.log(np.exp(scores).sum(axis)).mean() for axis in (0, 1)]
    return np.mean(spread) - np.trace(scores) / len(scores)


def one_side(u, v, s, axis=1):
    table = np.exp(s * u @ v.T)
    return -np.log(np.diag(table) / table.sum(axis)).mean()


def not_normalised(u, v, s):
    return -(s * u @ v.T).diagonal().mean()


def whole_table(u, v, s):
    table = np.exp(s * u @ v.T)
    return -np.log(np.diag(table) / table.sum()).mean()


def negatives_only(u, v, s):
    table = np.exp(s * u @ v.T)
    true = np.diag(table)
    return -(np.log(true / (table.sum(1) - true)) + np.log(true / (table.sum(0) - true))).mean() / 2


def mean_inside(u, v, s):
    table = np.exp(s * u @ v.T)
    shares = np.diag(table) / table.sum(1), np.diag(table) / table.sum(0)
    return -(np.log(shares[0].mean()) + np.log(shares[1].mean())) / 2


def couples(rs):
    """Six pictures and six texts, vectors of length 1, and a scale."""
    both = rs.randn(2, 6, 5)
    return *both / np.linalg.norm(both, axis=2, keepdims=True), rs.uniform(2, 4)


# --- 11.3 how long an EMA remembers ---------------------------------------------------------------------------------

EMA = 0.995


def left_after(share):
    """Steps until less than this share is left of what an average began with."""
    return ceil(log(share) / log(EMA))


EXERCISES = [
    Exercise(
        number="11.1",
        kind="function",
        zh="`mini` 猜的不是噪声，是 $v = a\\,\\epsilon - b\\,x_0$；混法还是 $x_t = a\\,x_0 + b\\,\\epsilon$，并且 $a^2+b^2=1$。写出采样器的一步："
        "从 $x_t$ 和猜出的 `v` 解出 $x_0$ 和 $\\epsilon$，再按下一个时间步的比例 `a_s`、`b_s` 混回去。`x_t` 和 `v` 形状相同，`a`、`b`、`a_s`、`b_s`"
        " 是数；返回 $x_s$，形状不变。",
        en="What `mini` guesses is not the noise but $v = a\\,\\epsilon - b\\,x_0$; the mix is $x_t = a\\,x_0 + b\\,\\epsilon$ as before, and"
        " $a^2+b^2=1$. Write one step of the sampler: solve $x_t$ and the guessed `v` for $x_0$ and $\\epsilon$, then mix"
        " again in the shares of the next timestep, `a_s` and `b_s`. `x_t` and `v` have one shape, `a`, `b`, `a_s`, `b_s`"
        " are numbers; return $x_s$ of the same shape.",
        hints=(
            (
                "11.9 的采样器写的是一般的样子：猜测 $= c\\,x_0 + d\\,\\epsilon$。这里 $c$、$d$ 是什么？",
                "The sampler of 11.9 is written for a guess $= c\\,x_0 + d\\,\\epsilon$. What are $c$ and $d$ here?",
            ),
            (
                "$c=-b$，$d=a$，所以分母 $ad-bc = a^2+b^2 = 1$，可以不写。",
                "$c=-b$ and $d=a$, so the denominator $ad-bc = a^2+b^2 = 1$ need not be written.",
            ),
            (
                "$x_0 = a\\,x_t - b\\,v$，$\\epsilon = b\\,x_t + a\\,v$；还差把它们混起来。",
                "$x_0 = a\\,x_t - b\\,v$ and $\\epsilon = b\\,x_t + a\\,v$; what is left is to mix them.",
            ),
        ),
        solution=step_v,
        also=(step_v_general, step_v_by_noise),
        inputs=two_shares,
        wrong=(
            Wrong(
                lambda x_t, v, a, b, a_s, b_s: a_s * (x_t - b * v) / a + b_s * v,
                "把 v 当成了噪声：先用 v 和 x_t 解出噪声",
                "v is taken for the noise: first solve v and x_t for the noise",
            ),
            Wrong(
                lambda x_t, v, a, b, a_s, b_s: a_s * (a * x_t + b * v) + b_s * (b * x_t + a * v),
                "解 x_0 时符号错了：v 里的 x_0 带负号，应是 a x_t - b v",
                "the sign in x_0 is wrong: v holds x_0 with a minus, so it is a x_t - b v",
            ),
            Wrong(
                lambda x_t, v, a, b, a_s, b_s: a_s * (a * x_t - b * v) + b_s * (b * x_t - a * v),
                "解噪声时符号错了：应是 b x_t + a v",
                "the sign in the noise is wrong: it is b x_t + a v",
            ),
            Wrong(
                lambda x_t, v, a, b, a_s, b_s: a * (a * x_t - b * v) + b * (b * x_t + a * v),
                "混回去用的还是 a 和 b，这样又回到 x_t：要用 a_s 和 b_s",
                "mixed again with a and b, which gives x_t back: use a_s and b_s",
            ),
            Wrong(
                lambda x_t, v, a, b, a_s, b_s: b_s * (a * x_t - b * v) + a_s * (b * x_t + a * v),
                "a_s 和 b_s 放反了，或者把 x_0 和噪声叫反了：a_s 乘画面，b_s 乘噪声",
                "a_s and b_s are exchanged, or x_0 and the noise are: a_s goes with the picture, b_s with the noise",
            ),
            Wrong(
                lambda x_t, v, a, b, a_s, b_s: a * x_t - b * v,
                "这是 x_0：一步只走到 s，还要把噪声按 b_s 混回去",
                "this is x_0: one step leads to s only, with noise mixed in again by b_s",
            ),
            Wrong(
                lambda x_t, v, a, b, a_s, b_s: a_s * (x_t - b * v) + b_s * (x_t + (1 - b) * v),
                "这是整流流的解法：那里猜的是 ε - x_0，这里的 v 还带着 a 和 b",
                "this solves the rectified flow, whose guess is ε - x_0; the v here has a and b in it",
            ),
        ),
    ),
    Exercise(
        number="11.2",
        kind="function",
        zh="不用 `F.cross_entropy`，照 11.6 的公式写出 CLIP 的损失。`u` 是一批图的向量，`v` 是它们的话的向量，都是 numpy 数组，形状 (B, D)，每行长度为 1，第 i"
        " 张图配第 i 句话；`s` 是放大倍数（公式里的 $s$，不用再取指数）。返回一个数。",
        en="Write the loss of CLIP by the formula of 11.6, without `F.cross_entropy`. `u` holds the vectors of a batch of pictures,"
        " `v` those of their sentences, numpy arrays of shape (B, D) with rows of length 1; picture i belongs to sentence"
        " i. `s` is the scale (the $s$ of the formula, no further exponential). Return one number.",
        hints=(
            (
                "先做出 B×B 的表：第 i 行第 j 列是 $e^{s\\,u_i\\cdot v_j}$。",
                "First make the table of B×B: row i, column j is $e^{s\\,u_i\\cdot v_j}$.",
            ),
            (
                "对角线除以它那一行的和，是“这张图选对了话”的概率；除以那一列的和，是“这句话选对了图”的概率。",
                "The diagonal over the sum of its row is the chance that a picture picks its sentence; over the sum of its"
                " column, that a sentence picks its picture.",
            ),
            (
                "两组概率各取 `-np.log(...)`，各自平均，再取两个平均的一半之和。",
                "Take `-np.log(...)` of both sets of chances, the mean of each, and half of their sum.",
            ),
        ),
        solution=contrastive,
        also=(contrastive_by_loop, contrastive_by_logs),
        inputs=couples,
        wrong=(
            Wrong(
                lambda u, v, s: one_side(u, v, s),
                "只算了一半：每张图选话之外，每句话还要选图",
                "only one half: besides each picture picking its sentence, each sentence has to pick its picture",
            ),
            Wrong(
                lambda u, v, s: one_side(u, v, s, 0),
                "只算了一半：每句话选图之外，每张图还要选话",
                "only one half: besides each sentence picking its picture, each picture has to pick its sentence",
            ),
            Wrong(
                lambda u, v, s: contrastive(u, v, 1),
                "忘了放大倍数 s：点积最多是 1，不放大就分不开",
                "the scale s is forgotten: dot products are 1 at most and are hardly told apart without it",
            ),
            Wrong(
                lambda u, v, s: contrastive(u, v, np.exp(s)),
                "s 已经是放大倍数：课里的 `scale.exp()` 就是它，不要再取指数",
                "s is the scale already: it is the lesson's `scale.exp()`, so no exponential again",
            ),
            Wrong(
                lambda u, v, s: -contrastive(u, v, s),
                "符号反了：概率的对数是负的，损失要取相反数",
                "the sign is wrong: logarithms of chances are negative, the loss is their opposite",
            ),
            Wrong(
                lambda u, v, s: 2 * contrastive(u, v, s),
                "忘了前面的二分之一：两半加起来以后要取一半",
                "the factor of one half is forgotten: the two halves are added, then halved",
            ),
            Wrong(
                lambda u, v, s: len(u) * contrastive(u, v, s),
                "加起来了，没有除以 B：公式里是平均",
                "summed, and not divided by B: the formula has a mean",
            ),
            Wrong(
                whole_table,
                "除以了整张表的和：要除以自己那一行的和、自己那一列的和",
                "divided by the sum of the whole table: divide by the sum of its own row, and of its own column",
            ),
            Wrong(
                negatives_only,
                "分母里少了原配：和是对所有的 j，包括 i 自己",
                "the true partner is missing below: the sum is over all j, i itself among them",
            ),
            Wrong(
                mean_inside,
                "先平均后取对数了：每一对先取对数，再平均",
                "the mean is taken before the logarithm: take each couple's logarithm first",
            ),
            Wrong(
                not_normalised,
                "只看了原配的分数，没有和别的比：要除以一行、一列的和",
                "this looks at the true couples alone; compare with the others: divide by the sum of a row, of a column",
            ),
        ),
    ),
    Exercise(
        number="11.3",
        kind="predict",
        zh="11.10 说：练了 100 步，EMA（0.995）的权重里还有 $0.995^{100}\\approx 61\\,\\%$ 是没练过的。练到多少步，没练过的才不到 1 %？先估一个数，再用计算器或 Python"
        " 算，`answer` 写步数。",
        en="11.10 says that after 100 steps $0.995^{100}\\approx 61\\,\\%$ of the EMA's weights (0.995) is what was never trained. After"
        " how many steps is it less than 1 %? Guess first, then work it out with a calculator or Python; `answer` is the"
        " number of steps.",
        hints=(
            (
                "每走一步，没练过的部分乘 0.995，不是减 0.005。",
                "Each step multiplies the untrained share by 0.995; it does not subtract 0.005.",
            ),
            ("要解的是 $0.995^n < 0.01$：两边取对数。", "Solve $0.995^n < 0.01$: take the logarithm of both sides."),
            ("$n > \\ln 0.01 / \\ln 0.995$。", "$n > \\ln 0.01 / \\ln 0.995$."),
        ),
        solution=left_after(0.01),
        tolerance=0.002,
        wrong=(
            Wrong(
                round(0.99 / (1 - EMA)),
                "你每步减了 0.005；每步是*乘* 0.995，越到后面减得越慢",
                "you subtract 0.005 a step; each step *multiplies* by 0.995, and takes less and less",
            ),
            Wrong(
                round(1 / (1 - EMA)),
                "1/0.005 = 200 步是它大约记多久：那时还剩 37 %",
                "1/0.005 = 200 steps is about how long it remembers: 37 % are left then",
            ),
            Wrong(left_after(0.1), "这时还剩 10 %，不是 1 %", "this leaves 10 %, not 1 %"),
            Wrong(left_after(0.001), "这时只剩 0.1 % 了，1 % 来得更早", "this leaves 0.1 %; 1 % comes earlier"),
            Wrong(
                left_after(0.99), "这时练过的才到 1 %：问的是没练过的", "only 1 % is trained then; asked is the rest"
            ),
            Wrong(left_after(0.5), "这是半衰期：还剩一半", "this is the half-life: one half is left"),
            Wrong(
                2500,
                "2500 步是全部训练；那时没练过的只有百万分之四",
                "2500 steps are the whole training; four millionths are left then",
            ),
        ),
    ),
]
