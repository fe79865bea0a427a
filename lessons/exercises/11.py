"""Exercises of lesson 11."""

from math import ceil, log

import numpy as np

from paidiff_course.exercise import Exercise, Wrong

# --- 11.1 one step of the rectified flow ----------------------------------------------------------------------------


def euler_step(x_t, empty, prompt, g, tau, tau_s):
    guess = empty + g * (prompt - empty)
    return x_t + (tau_s - tau) * guess


def flow_step_by_mixing(x_t, empty, prompt, g, tau, tau_s):
    guess = (1 - g) * empty + g * prompt
    x_0, eps = x_t - tau * guess, x_t + (1 - tau) * guess
    return (1 - tau_s) * x_0 + tau_s * eps


def flow_step_general(x_t, empty, prompt, g, tau, tau_s):
    a, b, c, d = 1 - tau, tau, -1, 1
    guess = empty + g * (prompt - empty)
    x_0 = (d * x_t - b * guess) / (a * d - b * c)
    return (1 - tau_s) * x_0 + tau_s * (a * guess - c * x_t) / (a * d - b * c)


def guided(empty, prompt, g):
    return empty + g * (prompt - empty)


def one_step(rs):
    """x_t, both guesses of one shape, the guidance, tau at t and at s < t."""
    tau = rs.uniform(0.5, 0.9)
    return *rs.randn(3, 4, 8, 8), rs.uniform(1.5, 5), tau, tau - rs.uniform(0.1, 0.35)


# --- 11.2 the contrastive loss --------------------------------------------------------------------------------------


def symmetric_loss(u, v, s):
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
        zh="写出 11.13 的流走的一步。混法是 $x_t=(1-\\tau)\\,x_0+\\tau\\,\\epsilon$，网络猜的是 $\\epsilon-x_0$：`empty` 是用空提示词猜的，`prompt` 是用你的提示词猜的，`g` 是引导。"
        "先按 11.9 把两个猜测合起来，再从 `tau` 走到小一些的 `tau_s`。数组的形状都一样；返回 $x_s$，形状不变。",
        en="Write one step of the flow of 11.13. The mix is $x_t=(1-\\tau)\\,x_0+\\tau\\,\\epsilon$, and the network guesses $\\epsilon-x_0$:"
        " `empty` is its guess with the empty prompt, `prompt` with yours, `g` the guidance. First combine both guesses as"
        " in 11.9, then walk from `tau` to the smaller `tau_s`. All arrays have one shape; return $x_s$ in that shape.",
        hints=(
            (
                "沿直线走：τ 变化 1，x_t 变化多少？",
                "You walk along a straight line: if τ changes by 1, by how much does x_t?",
            ),
            (
                "x_t = x_0 + τ (ε - x_0)：所以 x_s - x_t = (τ_s - τ)(ε - x_0)。",
                "x_t = x_0 + τ (ε - x_0), and so x_s - x_t = (τ_s - τ)(ε - x_0).",
            ),
            (
                "合起来的猜测是 `empty + g * (prompt - empty)`；乘上 `tau_s - tau`（负的），加到 `x_t` 上。",
                "The combined guess is `empty + g * (prompt - empty)`; times `tau_s - tau` (which is negative), added to `x_t`.",
            ),
        ),
        solution=euler_step,
        also=(flow_step_by_mixing, flow_step_general),
        inputs=one_step,
        wrong=(
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: x_t + (tau - tau_s) * guided(empty, prompt, g),
                "方向反了：这样是往噪声那边走；tau 变小，步长是 tau_s - tau",
                "the wrong direction, towards the noise: tau becomes smaller, the step is tau_s - tau",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: (
                    (1 - tau_s) * (x_t - tau * guided(empty, prompt, g)) / (1 - tau) + tau_s * guided(empty, prompt, g)
                ),
                "把猜测当成噪声了：这里猜的是 ε - x_0",
                "the guess is taken for the noise: here it is ε - x_0",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: (
                    (1 - tau_s) * (x_t - tau * guided(empty, prompt, g)) + tau_s * guided(empty, prompt, g)
                ),
                "x_0 解对了，可是混回去的是猜测，不是噪声：ε = x_t + (1 - tau) 倍的猜测",
                "x_0 is right, but the guess was mixed in where the noise belongs: ε is x_t + (1 - tau) times the guess",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: x_t + (tau_s - tau) * g * prompt,
                "引导不是把 prompt 放大 g 倍：放大的是两个猜测之差",
                "guidance does not enlarge prompt by g: it is the difference of both guesses",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: x_t + (tau_s - tau) * (empty + g * prompt),
                "放大的是两个猜测之差，g 乘 (prompt - empty)",
                "what is enlarged is the difference of both guesses, g times (prompt - empty)",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: x_t - tau * guided(empty, prompt, g),
                "这是 x_0：一步只走到 tau_s，不是一直走到 0",
                "this is x_0: one step leads to tau_s only, not all the way to 0",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: x_t - tau_s * guided(empty, prompt, g),
                "步长是两个 tau 之差，不是 tau_s",
                "the step is the difference of both taus, not tau_s",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: x_t - guided(empty, prompt, g),
                "没有乘步长：ε - x_0 是走完全程的路",
                "the length of the step is missing: ε - x_0 is the whole way",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: x_t + (tau_s - tau) * prompt,
                "没有引导：`empty` 和 g 没有用上",
                "no guidance: `empty` and g are not used",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: x_t + (tau_s - tau) * (prompt + g * (prompt - empty)),
                "引导的起点错了：从 empty 出发",
                "guidance starts in the wrong place: start at empty",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: x_t + (tau_s - tau) * guided(prompt, empty, g),
                "引导的方向反了：离提示词越来越远",
                "guidance has the wrong sign: away from the prompt",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: x_t + (tau_s - tau) * g * (prompt - empty),
                "引导少了起点 empty",
                "guidance lacks its start, empty",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: (
                    (1 - tau_s) * (x_t - tau * guided(empty, prompt, g)) + tau_s * x_t
                ),
                "混回去的是 x_t，要混噪声：它是 x_t + (1 - tau) 倍的猜测",
                "x_t is mixed in where the noise belongs: that is x_t + (1 - tau) times the guess",
            ),
            Wrong(
                lambda x_t, empty, prompt, g, tau, tau_s: (
                    tau_s * (x_t - tau * guided(empty, prompt, g))
                    + (1 - tau_s) * (x_t + (1 - tau) * guided(empty, prompt, g))
                ),
                "两个份额放反了：x_0 乘 1 - tau_s，噪声乘 tau_s",
                "the shares are exchanged: 1 - tau_s goes with x_0, tau_s with the noise",
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
                "先做出 B×B 的表：第 i 行第 j 列是 exp(s u_i · v_j)。",
                "First make the table of B×B: row i, column j is exp(s u_i · v_j).",
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
        solution=symmetric_loss,
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
                lambda u, v, s: symmetric_loss(u, v, 1),
                "忘了放大倍数 s：点积最多是 1，不放大就分不开",
                "the scale s is forgotten: dot products are 1 at most and are hardly told apart without it",
            ),
            Wrong(
                lambda u, v, s: symmetric_loss(u, v, np.exp(s)),
                "s 已经是放大倍数：课里的 `scale.exp()` 就是它，不要再取指数",
                "s is the scale already: it is the lesson's `scale.exp()`, so no exponential again",
            ),
            Wrong(
                lambda u, v, s: -symmetric_loss(u, v, s),
                "符号反了：概率的对数是负的，损失要取相反数",
                "the sign is wrong: logarithms of chances are negative, the loss is their opposite",
            ),
            Wrong(
                lambda u, v, s: 2 * symmetric_loss(u, v, s),
                "忘了前面的二分之一：两半加起来以后要取一半",
                "the factor of one half is forgotten: the two halves are added, then halved",
            ),
            Wrong(
                lambda u, v, s: len(u) * symmetric_loss(u, v, s),
                "加起来了，没有除以 B：公式里是平均",
                "summed, and not divided by B: the formula has a mean",
            ),
            Wrong(
                lambda u, v, s: symmetric_loss(u, v, s) / np.log(10),
                "用了 `log10`：公式里是自然对数，`np.log`",
                "this is `log10`: the formula has the natural logarithm, `np.log`",
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
            ("要解的是 0.995ⁿ < 0.01：两边取对数。", "Solve 0.995ⁿ < 0.01: take the logarithm of both sides."),
            ("n > ln 0.01 / ln 0.995。", "n > ln 0.01 / ln 0.995."),
        ),
        solution=left_after(0.01),
        tolerance=0,
        wrong=(
            Wrong(
                left_after(0.01) - 1,
                "还差一步：这时是 1.004 %，往上取整",
                "one step short: 1.004 % are left then, round up",
            ),
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
