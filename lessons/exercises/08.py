"""Exercises of lesson 08."""

import ast
import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from paidiff_course.exercise import Exercise, Goal, Wrong
from paidiff_lib.cleaning.rule import Rule
from paidiff_lib.errors import PaidiffError

# --- 8.1 the cheapest threshold -------------------------------------------------------------------------------------


def cheapest(limits, lost, left, good, wrong, per_lost, per_left):
    price = per_lost * good * lost + per_left * wrong * left
    return limits[price.argmin()]


def cheapest_by_loop(limits, lost, left, good, wrong, per_lost, per_left):
    prices = [a * good * per_lost + b * wrong * per_left for a, b in zip(lost, left)]
    return limits[prices.index(min(prices))]


def cheapest_by_ratio(limits, lost, left, good, wrong, per_lost, per_left):
    worth = (per_left * wrong) / (per_lost * good)
    return min(zip(lost + worth * left, limits))[1]


def two_curves(rs):
    """Thresholds, the share of good ones lost and of wrong captions left at each, two counts, two prices."""
    limits = np.linspace(-0.2, 0.7, 400)
    lost = 1 / (1 + np.exp((rs.uniform(0.45, 0.55) - limits) * rs.uniform(10, 20)))
    left = 1 / (1 + np.exp((limits - rs.uniform(0.15, 0.3)) * rs.uniform(8, 15)))
    return limits, lost, left, rs.randint(80, 150), rs.randint(200, 300), rs.uniform(2.5, 4), rs.uniform(5, 9)


# --- 8.2 near duplicates --------------------------------------------------------------------------------------------


def near(thumbnails):
    found = []
    for i in range(1, len(thumbnails)):
        squares = (thumbnails[:i] - thumbnails[i]) ** 2
        found.append(squares.mean((1, 2)).min() ** 0.5)
    return np.array(found)


def near_by_table(thumbnails):
    flat = thumbnails.reshape(len(thumbnails), -1)
    apart = np.sqrt(((flat[:, None] - flat[None]) ** 2).mean(2))
    apart[np.triu_indices(len(flat))] = np.inf
    return apart.min(1)[1:]


def near_by_loops(thumbnails):
    distance = lambda a, b: np.sqrt(np.mean(np.square(a - b)))
    found = [min(distance(one, other) for other in thumbnails[:i]) for i, one in enumerate(thumbnails) if i]
    return np.asarray(found)


def table(thumbnails):
    """All distances, (N, N)."""
    return np.sqrt(((thumbnails[:, None] - thumbnails[None]) ** 2).mean((2, 3)))


def others(thumbnails):
    apart = table(thumbnails) + np.diag(np.full(len(thumbnails), np.inf))
    return apart.min(1)[1:]


def after(thumbnails):
    apart = table(thumbnails)
    apart[np.tril_indices(len(apart))] = np.inf
    return apart.min(1)[:-1]


def some_thumbnails(rs):
    """Eight thumbnails (8, 8, 8); the sixth and the last are copies of earlier ones."""
    found = 20 * rs.randn(8, 8, 8)
    found[5], found[7] = found[1] + rs.randn(8, 8), found[4] + rs.randn(8, 8)
    return (found,)


# --- 8.3 a rule of three comparisons --------------------------------------------------------------------------------


@lru_cache
def scored():
    """Another dirty set, made like that of 8.1: (what is wrong with each picture, {score: its values})."""
    file = Path(__file__).with_name("scores") / "08.json"
    columns = {name: np.array(values) for name, values in json.loads(file.read_text(encoding="utf-8")).items()}
    return columns.pop("kind"), columns


def kept_by(text, draw):
    """What a rule keeps of it."""
    kinds, scores = scored()
    found = {"refused": "", "comparisons": 0, "spared": 0.0, "good": 0.0, "left": {}}
    if not isinstance(text, str):
        return found | {"refused": "要一个字符串 · a string is wanted"}
    try:
        rule = Rule(text, list(scores))
    except PaidiffError as error:
        return found | {"refused": str(error)}
    tree = ast.parse(text.strip(), mode="eval")
    found["comparisons"] = sum(len(node.ops) for node in ast.walk(tree) if isinstance(node, ast.Compare))
    kept = np.logical_and.reduce(list(rule.each(scores).values()))
    left = {str(kind): int((kept & (kinds == kind)).sum()) for kind in np.unique(kinds) if kind}
    found["spared"] = float((kept & (kinds == "")).sum() / (kinds == "").sum())
    found["good"] = float((kept & (kinds == "")).sum() / max(kept.sum(), 1))
    return found | {"left": {kind: count for kind, count in left.items() if count}}


EXERCISES = [
    Exercise(
        number="8.1",
        kind="function",
        zh="8.4 末尾的问题：阈值放在哪里最便宜？`limits` 是一排阈值，`lost`、`left` 是每个阈值误伤的好图的*比例*和漏掉的错说明的*比例*（和课里的一样，三个数组一样长）；"
        "`good`、`wrong` 是好图和错说明各有多少；误伤一张赔 `per_lost` 元，漏掉一条赔 `per_left` 元。返回总价最低的阈值。",
        en="The question at the end of 8.4: where is the threshold cheapest? `limits` are thresholds, `lost` and `left` the *shares*"
        " of good pictures lost and of wrong captions left at each (as in the lesson, three arrays of one length); `good`"
        " and `wrong` are how many good pictures and wrong captions there are; a picture lost costs `per_lost`, a caption"
        " left `per_left`. Return the threshold at which the total is lowest.",
        hints=(
            (
                "比例乘上个数是几张，几张乘上单价是多少钱。",
                "A share times a count is how many; how many times a price is money.",
            ),
            (
                "两种错的钱加起来，得到和 `limits` 一样长的一排总价。",
                "Add the money of both errors: totals, as many as `limits`.",
            ),
            (
                "`argmin()` 说最小的在第几个；用它去 `limits` 里取。",
                "`argmin()` says where the smallest is; take that one of `limits`.",
            ),
        ),
        solution=cheapest,
        also=(cheapest_by_loop, cheapest_by_ratio),
        inputs=two_curves,
        wrong=(
            Wrong(
                lambda limits, lost, left, good, wrong, a, b: limits[(a * lost + b * left).argmin()],
                "`lost` 和 `left` 是比例：要各乘上有多少张，好图和错说明不一样多",
                "`lost` and `left` are shares: multiply by how many there are, which is not the same for both",
            ),
            Wrong(
                lambda limits, lost, left, good, wrong, a, b: limits[(b * good * lost + a * wrong * left).argmin()],
                "两个单价放反了：误伤的是 `per_lost`，漏掉的是 `per_left`",
                "the prices are exchanged: `per_lost` is for good pictures lost, `per_left` for captions left",
            ),
            Wrong(
                lambda limits, lost, left, good, wrong, a, b: limits[(a * wrong * lost + b * good * left).argmin()],
                "个数放反了（或者除以了个数）：误伤的是好图，乘 `good`；漏掉的是错说明，乘 `wrong`",
                "the counts are exchanged (or you divide by them): good pictures are lost, times `good`; wrong captions are left, times `wrong`",
            ),
            Wrong(
                lambda limits, lost, left, good, wrong, a, b: limits[(good * lost + wrong * left).argmin()],
                "只数了错，没有算钱：两种错的单价不同",
                "this counts errors, not money: the two have different prices",
            ),
            Wrong(
                lambda limits, lost, left, good, wrong, a, b: limits[(a * good * lost + b * wrong * left).argmax()],
                "这是最低的阈值，好图一张不误伤，错说明全漏掉：要两种钱*加*起来的最小，`argmin`",
                "this is the lowest threshold, where no good picture is lost and every wrong caption is left: take the smallest of both *added*, by `argmin`",
            ),
            Wrong(
                lambda limits, lost, left, good, wrong, a, b: (a * good * lost + b * wrong * left).argmin(),
                "这是第几个，不是阈值：到 `limits` 里取",
                "this is its place, not the threshold: take it from `limits`",
            ),
            Wrong(
                lambda limits, lost, left, good, wrong, a, b: (a * good * lost + b * wrong * left).min(),
                "这是最低的总价，问的是在哪个阈值",
                "this is the lowest total; asked is the threshold",
            ),
            Wrong(
                lambda limits, lost, left, good, wrong, a, b: limits[abs(lost - left).argmin()],
                "这是两条曲线的交点：那里两种错的*比例*相同，不是总价最低",
                "this is where the curves cross: the *shares* are equal there, the total is not lowest",
            ),
            Wrong(
                lambda limits, lost, left, good, wrong, a, b: limits[(b * wrong * left).argmin()],
                "这是最高的阈值，错说明一条不漏，好图全误伤了：误伤的钱是 `lost` 的，要一起算",
                "this is the highest threshold, where no wrong caption is left and every good picture is lost: the money of `lost` counts as well",
            ),
        ),
    ),
    Exercise(
        number="8.2",
        kind="function",
        zh="写出 8.3 的 `near`：`thumbnails` 是 N 张缩略图，形状 (N, 8, 8)。对第二张起的每一张，返回它和*之前*最像的一张的距离（均方根）：一个有 N - 1 个数的数组。",
        en="Write the `near` of 8.3: `thumbnails` are N thumbnails, of shape (N, 8, 8). For every one from the second on, return its"
        " distance (root mean square) from the most similar one *before* it: an array of N - 1 numbers.",
        hints=(
            (
                "为什么只和之前的比？两张一样的，应当留下几张？",
                "Why compare with those before only? Of two equal ones, how many should stay?",
            ),
            (
                "第 i 张和 `thumbnails[:i]` 比；平方之后在两个轴上取平均，再取最小。",
                "Compare number i with `thumbnails[:i]`; squares, their mean over two axes, then the smallest.",
            ),
            (
                "`((thumbnails[:i] - thumbnails[i]) ** 2).mean((1, 2))` 是它和之前每一张的均方；取最小，开方，收进一个列表，最后 `np.array(...)`。",
                "`((thumbnails[:i] - thumbnails[i]) ** 2).mean((1, 2))` is the mean square to each before; take the smallest,"
                " its root, collect them in a list, at last `np.array(...)`.",
            ),
        ),
        solution=near,
        also=(near_by_table, near_by_loops),
        inputs=some_thumbnails,
        wrong=(
            Wrong(
                others,
                "和后面的也比了：两张一样的会互相点名，两张都丢掉；只和之前的比，原图留下",
                "later ones are compared too: of two equal ones both would go; compare with those before, and the first stays",
            ),
            Wrong(
                lambda t: table(t).min(1)[1:],
                "和自己也比了，距离当然是 0：只和之前的比",
                "each is compared with itself, at a distance of 0: compare with those before",
            ),
            Wrong(
                after,
                "和之后的比了：这样丢的是原图，留的是翻版",
                "compared with those after: the original would go and the copy stay",
            ),
            Wrong(
                lambda t: np.array([table(t)[i, :i].max() for i in range(1, len(t))]),
                "取了最远的一张：要最像的，距离最小",
                "the furthest one is taken: the most similar has the smallest distance",
            ),
            Wrong(
                lambda t: np.array([table(t)[i, :i].mean() for i in range(1, len(t))]),
                "取了平均：只要有*一张*很像，就是翻版",
                "the mean is taken: *one* that is very similar makes it a copy",
            ),
            Wrong(
                lambda t: np.array([table(t)[i, i - 1] for i in range(1, len(t))]),
                "只和前一张比了：翻版可能隔着很多张",
                "compared with the one just before only: a copy may come much later",
            ),
            Wrong(
                lambda t: np.array([table(t)[i, :i].argmin() for i in range(1, len(t))]),
                "这是最像的是第几张，问的是距离有多大",
                "this says which one is the most similar; asked is its distance",
            ),
            Wrong(
                lambda t: np.array([((t[:i] - t[i]) ** 2).mean() ** 0.5 for i in range(1, len(t))]),
                "和之前所有的一起平均了：要先和每一张各算一个，再取最小",
                "averaged over all those before: take one number for each of them, then the smallest",
            ),
            Wrong(
                lambda t: near(t) ** 2,
                "忘了开方：这是均方，不是均方根",
                "the root is forgotten: this is the mean square",
            ),
            Wrong(
                lambda t: near(t) * 8,
                "加起来了，没有平均：除以 64 个数再开方",
                "summed, not averaged: divide by the 64 numbers before the root",
            ),
            Wrong(
                lambda t: np.array([abs(t[:i] - t[i]).mean((1, 2)).min() for i in range(1, len(t))]),
                "这是绝对值的平均：均方根是平方、平均、开方",
                "this is the mean of absolute values: root mean square is square, mean, root",
            ),
            Wrong(
                lambda t: np.array([abs((t[:i] - t[i]).mean((1, 2))).min() for i in range(1, len(t))]),
                "忘了平方：正负会互相抵消",
                "the square is forgotten: plus and minus cancel",
            ),
            Wrong(
                lambda t: np.array([0, *near(t)]),
                "第一张之前没有图，不要为它写一个数：要 N - 1 个",
                "nothing comes before the first, so no number for it: N - 1 are wanted",
            ),
        ),
    ),
    Exercise(
        number="8.3",
        kind="goal",
        zh="给*另一份*脏数据写一条规则（和 8.1 的做法一样，种子不同，120 张，分数已经打好）。最多三次比较，留下的图里九成以上是好的，好图留下九成五以上。`answer` 是一个字符串，"
        '像 `"clip > 0.3 and near > 3"`。先在课里的 `scores` 上试：`curate(out / "dirty", keep=answer)`。',
        en="Write a rule for *another* dirty set (made as in 8.1, with another seed, 120 pictures, scored already). At most three"
        " comparisons; of what is kept at least 90 % is good, and at least 95 % of the good ones are kept. `answer` is a"
        ' string such as `"clip > 0.3 and near > 3"`. Try it on the lesson\'s own set first:'
        ' `curate(out / "dirty", keep=answer)`.',
        hints=(
            (
                "六种坏图，三次比较：有几种要放在同一次比较里。规则里可以做四则运算。",
                "Six kinds of bad pictures and three comparisons: some kinds have to share one. A rule may hold arithmetic.",
            ),
            (
                "`blur`、`noise`、`watermark`、`nsfw` 都是 0 到 1 的概率，好图上四个都小。",
                "`blur`, `noise`, `watermark` and `nsfw` are probabilities from 0 to 1; on a good picture all four are small.",
            ),
            (
                "四个概率加起来小于 0.5；`near` 和 `clip` 各用一次比较，阈值看 8.3 的中位数和 8.4 的图。",
                "Their sum below 0.5; one comparison each for `near` and `clip`, with thresholds from the medians of 8.3 and"
                " the plot of 8.4.",
            ),
        ),
        solution="clip > 0.35 and near > 3.4 and blur + noise + watermark + nsfw < 0.5",
        also=(
            "not (clip < 0.4 or near < 4) and aesthetic - watermark - nsfw > 0.5",
            "near > 3 and clip > 0.3 and (1 - blur) * (1 - noise) * (1 - watermark) * (1 - nsfw) > 0.5",
        ),
        measure=kept_by,
        goals=(
            Goal(lambda m: not m["refused"], "规则读不懂：{refused}", "the rule cannot be read: {refused}"),
            Goal(
                lambda m: m["comparisons"] <= 3,
                "最多三次比较，你用了 {comparisons} 次：几种毛病可以加起来，放进同一次比较",
                "three comparisons at most, there are {comparisons}: several faults can be added up in one",
            ),
            Goal(
                lambda m: m["spared"] >= 0.95,
                "好图只留下了 {spared:.0%}：有一条太严，或者方向反了",
                "only {spared:.0%} of the good ones are kept: one clause is too strict, or its direction is wrong",
            ),
            Goal(
                lambda m: m["good"] >= 0.9,
                "留下的里面只有 {good:.0%} 是好的；坏的还有：{left}",
                "only {good:.0%} of what is kept is good; still there: {left}",
            ),
        ),
        wrong=(
            Wrong("clip > 0.3, near > 3", "规则读不懂", "cannot be read"),
            Wrong("clip > 0.3 and sharp > 0.5", "规则读不懂", "cannot be read"),
            Wrong(
                "clip > 0.38 and near > 3.4 and blur < 0.5 and noise < 0.5 and watermark < 0.5 and nsfw < 0.4",
                "你用了 6 次",
                "there are 6",
            ),
            Wrong("clip < 0.3 and near > 3", "方向反了", "its direction is wrong"),
            Wrong("clip > 0.6 and near > 3 and blur + noise + watermark + nsfw < 0.5", "太严", "too strict"),
            Wrong("clip > 0.3 and near > 20 and blur + noise + watermark + nsfw < 0.5", "太严", "too strict"),
            Wrong("clip > 0.3 and near > 3 and aesthetic > 0.5", "'nsfw': 12", "'watermark': 7"),
            Wrong("clip > 0.3 and blur + noise + watermark + nsfw < 0.5", "'near': 5", "'near': 5"),
            Wrong("clip > 0 and near > 3 and blur + noise + watermark + nsfw < 0.5", "'caption'", "'caption'"),
            Wrong("clip > 0.3 or near > 3", "只有", "only"),
        ),
    ),
]
