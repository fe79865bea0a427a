"""Exercises of lesson 03."""

import numpy as np

import paidiff_lib as paidiff
from paidiff_course.exercise import Exercise, Goal, Wrong
from paidiff_lib import CaptionFolder
from paidiff_lib.errors import PaidiffError
from paidiff_world import measure

# --- 3.1 merge ----------------------------------------------------------------------------------------------------


def merge(W, loras):
    for A, B, alpha, scale in loras:
        W = W + scale * alpha / len(A) * B @ A
    return W


def merge_at_once(W, loras):
    return W + sum(scale * (alpha / B.shape[1]) * (B @ A) for A, B, alpha, scale in loras)


def merge_by_columns(W, loras):
    ways = [np.einsum("ir,rj->ij", B, A) * (scale * alpha / A.shape[0]) for A, B, alpha, scale in loras]
    return np.sum([W, *ways], axis=0)


def two_loras(rs):
    """W (8, 8), and two LoRAs (A, B, alpha, scale) of different rank."""
    pairs = [(rs.randn(r, 8), rs.randn(8, r), float(rs.randint(5, 17)), rs.uniform(0.3, 1.5)) for r in (2, 4)]
    return rs.randn(8, 8), pairs


def added(W, loras, term):
    """W plus a term of each LoRA: what the listed mistakes have in common."""
    return W + sum(term(*lora) for lora in loras)


# --- 3.2 how much is trained --------------------------------------------------------------------------------------


def trained_share(shapes, r):
    trained = sum(r * (m + n) for m, n in shapes)
    return trained / sum(m * n for m, n in shapes)


def trained_share_in_a_loop(shapes, r):
    trained, whole = 0, 0
    for m, n in shapes:
        trained += m * r + r * n
        whole += m * n
    return trained / whole


def trained_share_of_arrays(shapes, r):
    shapes = np.array(shapes)
    return r * shapes.sum() / shapes.prod(axis=1).sum()


def some_layers(rs):
    """The shapes of four layers' W, and a rank."""
    return [tuple(map(int, shape)) for shape in 8 * rs.randint(6, 40, (4, 2))], int(rs.randint(2, 9))


# --- 3.3 prompts that can show a leak -----------------------------------------------------------------------------


def fit_for_a_leak(prompts, draw):
    """Whether four prompts can show a leak: what they name, and what the judge sees when no LoRA is there."""
    prompts = [prompts] if isinstance(prompts, str) else prompts
    try:
        specs = [measure.parse(prompt) for prompt in prompts]
        taught = [measure.parse(caption) for caption in _captions()]
    except PaidiffError as error:
        return {"refused": str(error)}
    scenes = {(spec.subject, spec.background) for spec in taught}
    found = {
        "refused": "",
        "count": len(prompts),
        "worded": [p for p, spec in zip(prompts, specs) if spec.style == "青花瓷"],
        "bare": [p for p, spec in zip(prompts, specs) if not (spec.subject and spec.background)],
        "subjects": len({spec.subject for spec in specs}),
        "taught": [p for p, spec in zip(prompts, specs) if (spec.subject, spec.background) in scenes],
        "styled": sum(spec.style != "扁平" for spec in specs),
        "missed": [],
    }
    if all(goal.passes(found) for goal in LEAK_GOALS):  # only then is it worth drawing
        hits = measure.Rates(draw(list(prompts), seed=0), prompts).hits
        found["missed"] = [p for p, right in zip(prompts, hits["all"]) if right != 1]
    return found


def _captions():
    data = CaptionFolder(paidiff.data("porcelain"))
    return [data.caption(i) for i in range(len(data))]


LEAK_GOALS = (
    Goal(lambda m: not m["refused"], "有一句读不懂：{refused}", "one cannot be read: {refused}"),
    Goal(lambda m: m["count"] == 4, "要四句，你写了 {count} 句", "four are wanted, there are {count}"),
    Goal(
        lambda m: not m["worded"],
        "写了青花瓷，就量不出泄漏，那是学到的：{worded}",
        "where 青花瓷 is asked for, porcelain is no leak, it is what was learnt: {worded}",
    ),
    Goal(lambda m: not m["bare"], "少了主体或地点：{bare}", "a subject or a place is missing: {bare}"),
    Goal(
        lambda m: m["subjects"] == 4,
        "只有 {subjects} 种主体：换成四种，不然一种事物的运气就算了不止一次",
        "different subjects: {subjects}; take four, or one thing's luck counts more than once",
    ),
    Goal(
        lambda m: not m["taught"],
        "这个搭配在训练图里：背下那张图也会画成青花瓷，分不清：{taught}",
        "this combination is among the training pictures; a picture learnt by heart would look like a leak: {taught}",
    ),
    Goal(
        lambda m: m["styled"] == 2,
        "写了别的画风的有 {styled} 句，要两句，另两句不写：两种都可能漏，不一样多",
        "{styled} of them name another style; two should, and two should name none: both may leak, not equally",
    ),
)
DRAWN_RIGHT = Goal(
    lambda m: not m["missed"],
    "没有 LoRA 就已经画错：{missed}。开了再错，怪不到它",
    "wrong even without a LoRA: {missed}; what is wrong with it on could not be blamed on it",
)


EXERCISES = [
    Exercise(
        number="3.1",
        kind="function",
        zh="写出 3.8 的 `merge`，两个 LoRA 一起并（3.7）：`W` 的形状是 (8, 8)；`loras` 是一个列表，每项是 `(A, B, alpha, scale)`，`A` 的形状是 (r, 8)，`B` 是 (8, r)，每个 LoRA 的秩 r 各不相同。返回并好的矩阵 (8, 8)。",
        en="Write `merge` of 3.8 for two LoRAs together (3.7): `W` has shape (8, 8); `loras` is a list of `(A, B, alpha, scale)`,"
        " with `A` of shape (r, 8) and `B` of shape (8, r); each LoRA has a rank r of its own. Return the merged matrix, (8, 8).",
        hints=(
            (
                "3.7 的公式把 x 提出来以后，x 前面的就是并好的矩阵。",
                "Take x out of the formula of 3.7: what is left in the brackets before it is the merged matrix.",
            ),
            (
                "每个 LoRA 添一项：scale × alpha / r × B A。秩 r 从 A 的哪一维看出来？",
                "Each LoRA adds a term: scale × alpha / r × B A. Which dimension of A is the rank r?",
            ),
            (
                "循环里写 W = W + scale * alpha / len(A) * B @ A；`@` 是矩阵乘法。",
                "In a loop: W = W + scale * alpha / len(A) * B @ A, where `@` multiplies matrices.",
            ),
        ),
        solution=merge,
        also=(merge_at_once, merge_by_columns),
        inputs=two_loras,
        wrong=(
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: B @ A),
                "只加了 B @ A：还要乘 scale 和 α/r",
                "only B @ A is added: it is multiplied by scale and by α/r",
            ),
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: scale * alpha / len(loras[0][0]) * B @ A),
                "用了第一个 LoRA 的秩：每个 LoRA 除以自己的 r",
                "this takes the rank of the first LoRA: each is divided by its own r",
            ),
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: scale / len(A) * B @ A),
                "除了 r，忘了乘 α",
                "divided by r, but not multiplied by α",
            ),
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: scale * alpha / len(A) * A @ B),
                "是 B @ A，(8, r) 乘 (r, 8) 才是 (8, 8)；A @ B 是 (r, r)",
                "it is B @ A: (8, r) times (r, 8) is (8, 8), while A @ B is (r, r)",
            ),
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: scale * B @ A),
                "忘了 α/r：不写 α 时它才等于 1",
                "α/r is forgotten: it is 1 only where α is left out",
            ),
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: scale * alpha * B @ A),
                "乘了 α，忘了除以秩 r",
                "multiplied by α, but not divided by the rank r",
            ),
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: scale * len(A) / alpha * B @ A),
                "α/r 上下颠倒了",
                "α/r is upside down",
            ),
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: scale * alpha / A.shape[1] * B @ A),
                "除的是宽度 8，不是秩：r 是 A 的*第一*维",
                "divided by the width, 8, not by the rank: r is the *first* dimension of A",
            ),
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: alpha / len(A) * B @ A),
                "忘了用的时候的强度 scale",
                "the scale in use is forgotten",
            ),
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: scale * alpha / len(A) * A.T @ B.T),
                "A 和 B 换了位置（转置了才乘得起来）：x 先经过 A，再经过 B，所以是 B @ A",
                "A and B have changed places (which only multiply when transposed): x goes through A first, then B, so it is"
                " B @ A",
            ),
            Wrong(
                lambda W, loras: added(W, loras, lambda A, B, alpha, scale: -scale * alpha / len(A) * B @ A),
                "减掉了：窄路是*加*在 W 旁边的",
                "this takes it away: the narrow path is *added* beside W",
            ),
            Wrong(
                lambda W, loras: added(0, loras, lambda A, B, alpha, scale: scale * alpha / len(A) * B @ A),
                "只剩下窄路，W 丢了",
                "only the narrow paths are left, W is lost",
            ),
            Wrong(
                lambda W, loras: added(W, loras[:1], lambda A, B, alpha, scale: scale * alpha / len(A) * B @ A),
                "只并了第一个：return 写进循环里了吗？",
                "only the first is merged: is the return inside the loop?",
            ),
            Wrong(
                lambda W, loras: added(W, loras[-1:], lambda A, B, alpha, scale: scale * alpha / len(A) * B @ A),
                "只并了最后一个：每一次都要加在上一次的结果上，不是加在原来的 W 上",
                "only the last is merged: each has to be added to the result so far, not to the W you began with",
            ),
            Wrong(
                lambda W, loras: added(2 * W, loras, lambda A, B, alpha, scale: scale * alpha / len(A) * B @ A),
                "W 加了两遍：每个 LoRA 只添自己那一项",
                "W is added twice: each LoRA adds its own term only",
            ),
        ),
    ),
    Exercise(
        number="3.2",
        kind="function",
        zh="3.2 说 LoRA 训练的数只有 UNet 的一小部分。写出来：`shapes` 是几层的 $W$ 的形状，每项 `(m, n)`；每层旁边都放一个秩是 `r` 的 LoRA。返回训练的数是这几层 $W$ 里的数的几分之几（不是百分数）。",
        en="3.2 says that a LoRA trains a small part of the UNet's numbers. Write it: `shapes` are the shapes `(m, n)` of some"
        " layers' $W$, and each has a LoRA of rank `r` beside it. Return how many numbers are trained, as a share of those in"
        " these $W$ (not in per cent).",
        hints=(
            (
                "W 是 (m, n)，那么 A 和 B 各是什么形状？看 3.2 打印的那一行。",
                "W is (m, n): which shapes do A and B have? See the line that 3.2 prints.",
            ),
            ("B 是 (m, r)，A 是 (r, n)：一共多少个数？", "B is (m, r) and A is (r, n): how many numbers is that?"),
            (
                "每层训练 r (m + n) 个，W 有 m n 个；先各自对所有层求和，再相除。",
                "A layer trains r (m + n), its W has m n; add up each over all layers, then divide.",
            ),
        ),
        solution=trained_share,
        also=(trained_share_in_a_loop, trained_share_of_arrays),
        inputs=some_layers,
        wrong=(
            Wrong(
                lambda shapes, r: r,
                "你数的是 r × m × n；LoRA 用两个瘦矩阵，就是为了不要那么多",
                "this counts r × m × n; a LoRA has two thin matrices in order not to need so many",
            ),
            Wrong(
                lambda shapes, r: sum(r * n for _, n in shapes) / sum(m * n for m, n in shapes),
                "只数了 A，还有 B：(m, r)",
                "only A is counted; there is B as well: (m, r)",
            ),
            Wrong(
                lambda shapes, r: sum(r * m for m, _ in shapes) / sum(m * n for m, n in shapes),
                "只数了 B，还有 A：(r, n)",
                "only B is counted; there is A as well: (r, n)",
            ),
            Wrong(
                lambda shapes, r: sum(m + n for m, n in shapes) / sum(m * n for m, n in shapes),
                "忘了秩：A 有 r 行，B 有 r 列",
                "the rank is forgotten: A has r rows, B has r columns",
            ),
            Wrong(
                lambda shapes, r: np.mean([r * (m + n) / (m * n) for m, n in shapes]),
                "这是每层比例的平均；大的层该占得多：先求和，再相除",
                "this is the mean of the layers' shares; large layers should count for more: add up first, then divide",
            ),
            Wrong(
                lambda shapes, r: sum(r * (m + n) / (m * n) for m, n in shapes),
                "比例不能直接相加：先把数加起来，再相除",
                "shares cannot be added: add up the numbers first, then divide",
            ),
            Wrong(
                lambda shapes, r: sum(r * (m + n) for m, n in shapes),
                "这是训练的数的个数，还没有除以 W 的",
                "this is how many numbers are trained; it is not divided by those in W yet",
            ),
            Wrong(
                lambda shapes, r: sum(m * n for m, n in shapes) / sum(r * (m + n) for m, n in shapes),
                "除反了：问的是训练的占 W 的几分之几",
                "upside down: it is the trained ones as a share of those in W",
            ),
            Wrong(
                lambda shapes, r: sum(r * (m + n) for m, n in shapes) / sum(m * n + r * (m + n) for m, n in shapes),
                "分母里不算 LoRA 自己：只算 W 里的数",
                "the LoRA itself does not belong below the line: only the numbers of W do",
            ),
            Wrong(
                lambda shapes, r: 100 * trained_share(shapes, r),
                "这是百分数；要的是比例，0 到 1 之间",
                "this is in per cent; the share itself is wanted, between 0 and 1",
            ),
            Wrong(
                lambda shapes, r: sum(r * r + m + n for m, n in shapes) / sum(m * n for m, n in shapes),
                "r 和 m、n 是相乘：B 有 m × r 个数，A 有 r × n 个",
                "r is multiplied with m and with n: B has m × r numbers, A has r × n",
            ),
        ),
    ),
    Exercise(
        number="3.3",
        kind="goal",
        zh="设计一组能量出泄漏的 `others`（3.3），四句提示词的列表：都不写青花瓷；主体和地点都写，四种不同的主体；搭配都不在训练图里；两句不写画风，两句写别的画风。最后一条最要紧：*没有* LoRA 的模型要画得对（裁判看四张图，种子 0），不然以后画错了，怪不到 LoRA。",
        en="Set up `others` by which a leak can be measured (3.3): a list of four prompts. None asks for 青花瓷; each names a"
        " subject and a place, four different subjects; no combination is among the training pictures; two name no style, two"
        " name another one. The last condition matters most: the model *without* any LoRA draws them right (by the judge, seed"
        " 0), or what is wrong later could not be blamed on a LoRA.",
        hints=(
            (
                "先看训练图的说明：`[data.caption(i) for i in range(len(data))]`。",
                "Look at the training captions first: `[data.caption(i) for i in range(len(data))]`.",
            ),
            (
                "先关掉 LoRA（`paidiff.set_scales(pipe, {})`）自己画一遍，挑模型拿手的东西和画风。",
                "Draw them yourself with the LoRA off (`paidiff.set_scales(pipe, {})`), and take things and styles that the"
                " model is good at.",
            ),
            (
                "轮廓简单的主体加白、绿、黄的地面（雪地、草地、沙滩）；画风试水墨画、像素画。",
                "Subjects of a plain outline on white, green or yellow ground (雪地, 草地, 沙滩); for styles try 水墨画 and 像素画.",
            ),
        ),
        solution=["狗,草地", "一朵向日葵,沙滩", "一辆汽车,草地,水墨画", "一只熊猫,草地,像素画"],
        measure=fit_for_a_leak,
        goals=(*LEAK_GOALS, DRAWN_RIGHT),
        wrong=(
            Wrong(["狗,草地", "一朵向日葵,沙滩", "一辆汽车,草地,水墨画"], "你写了 3 句", "there are 3"),
            Wrong(
                ["狗和猫,草地", "一朵向日葵,沙滩", "一辆汽车,草地,水墨画", "一只熊猫,草地,像素画"],
                "有一句读不懂",
                "one cannot be read",
            ),
            Wrong(
                ["狗,草地", "一朵向日葵,沙滩", "一辆汽车,草地,水墨画", "一只熊猫,草地,青花瓷"],
                "就量不出泄漏",
                "it is what was learnt",
            ),
            Wrong(
                ["狗,草地", "一朵向日葵", "一辆汽车,草地,水墨画", "一只熊猫,草地,像素画"],
                "少了主体或地点",
                "a place is missing",
            ),
            Wrong(["狗,草地", "狗,沙滩", "狗,草地,水墨画", "狗,雪地,像素画"], "只有 1 种主体", "different subjects: 1"),
            Wrong(
                ["猫,悬崖", "一朵向日葵,沙滩", "一辆汽车,草地,水墨画", "一只熊猫,草地,像素画"],
                "在训练图里",
                "among the training pictures",
            ),
            Wrong(
                ["狗,草地", "一朵向日葵,沙滩", "一辆汽车,草地", "一只熊猫,草地"],
                "写了别的画风的有 0 句",
                "0 of them name another style",
            ),
            Wrong(
                ["一条龙,彩虹", "一把伞,星空", "一只蜜蜂,海底,剪纸", "狗,草地,浮雕"],
                "没有 LoRA 就已经画错",
                "wrong even without a LoRA",
            ),
        ),
    ),
]
