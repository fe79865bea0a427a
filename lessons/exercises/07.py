"""Exercises of lesson 07."""

import tomllib
from pathlib import Path

import numpy as np

import paidiff_course
from paidiff_course.exercise import Exercise, Wrong

# --- 7.1 the loss with rehearsal ------------------------------------------------------------------------------------


def rehearsed(errors, is_new, s):
    new, old = errors[is_new], errors[~is_new]
    return (1 - s) * new.mean() + s * old.mean()


def rehearsed_by_weights(errors, is_new, s):
    weights = np.where(is_new, (1 - s) / is_new.sum(), s / (~is_new).sum())
    return weights @ errors


def rehearsed_by_loop(errors, is_new, s):
    new = [error for error, yes in zip(errors, is_new) if yes]
    old = [error for error, yes in zip(errors, is_new) if not yes]
    return sum(new) / len(new) - s * (sum(new) / len(new) - sum(old) / len(old))


def a_batch(rs):
    """The squared errors of fifteen pictures, which of them are new, the share of rehearsal."""
    is_new = rs.permutation(15) < rs.randint(4, 7)
    return rs.rand(15) + 2 * is_new, is_new, rs.uniform(0.6, 0.8)


# --- 7.2 what is forgotten ------------------------------------------------------------------------------------------


def forgotten(before, after):
    kept = (before & after).sum()
    return 1 - kept / before.sum()


def forgotten_by_index(before, after):
    return np.mean(~after[before])


def forgotten_by_loop(before, after):
    lost = [not now for then, now in zip(before, after) if then]
    return sum(lost) / len(lost)


def two_verdicts(rs):
    """Whether the judge recognised each of forty things, before and after; some are new gains."""
    before = rs.permutation(40) < rs.randint(26, 32)
    return before, np.where(before, rs.rand(40) < 0.6, rs.rand(40) < 0.5)


# --- 7.3 a fair number of steps -------------------------------------------------------------------------------------

SETTINGS = tomllib.loads((Path(paidiff_course.__file__).parent / "settings.toml").read_text(encoding="utf-8"))["07"]
STEPS, BATCH = SETTINGS["food"]["steps"][0], SETTINGS["food"]["batch_size"][0]
SHARE, OTHER = 0.55, 0.2  # of rehearsal: in 7.1, and asked for
SEEN = STEPS * BATCH * (1 - SHARE)


EXERCISES = [
    Exercise(
        number="7.1",
        kind="function",
        zh="写出 7.2 的损失。`errors` 是一批图各自的误差 $\\|v_\\theta-v\\|^2$，长度 N 的数组；`is_new` 是同样长的布尔数组，`True` 是新图（菜），`False` 是复习的旧图；"
        "`s` 是复习的份额。这一批里新旧各有几张是碰巧的，不该影响损失：两部分各自平均，再按份额相加。返回一个数。",
        en="Write the loss of 7.2. `errors` are the errors $\\|v_\\theta-v\\|^2$ of the pictures of a batch, an array of length N;"
        " `is_new` is an array of booleans as long, `True` for new pictures (dishes), `False` for old ones that are"
        " rehearsed; `s` is the share of rehearsal. How many of each are in this batch is chance and should not count:"
        " average each part, then add them by their shares. Return one number.",
        hints=(
            ("s = 0 是不复习：这时只剩哪一部分？", "s = 0 is no rehearsal: which part alone is left then?"),
            (
                "`errors[is_new]` 是新图的误差，`errors[~is_new]` 是旧图的。",
                "`errors[is_new]` are the errors of new pictures, `errors[~is_new]` those of old ones.",
            ),
            (
                "各自 `.mean()`；新的乘 1 - s，旧的乘 s，相加。",
                "Take `.mean()` of each; the new one times 1 - s, the old one times s, added.",
            ),
        ),
        solution=rehearsed,
        also=(rehearsed_by_weights, rehearsed_by_loop),
        inputs=a_batch,
        wrong=(
            Wrong(
                lambda errors, is_new, s: rehearsed(errors, ~is_new, s),
                "份额放反了：s 是*复习*的份额，乘旧图的误差",
                "the shares are exchanged: s is the share of *rehearsal*, it goes with the old pictures",
            ),
            Wrong(
                lambda errors, is_new, s: errors.mean(),
                "整批一起平均了：这样份额是这一批碰巧抽到的，不是 s",
                "one mean of the whole batch: the share is then what this batch happened to hold, and not s",
            ),
            Wrong(
                lambda errors, is_new, s: (1 - s) * errors[is_new].sum() + s * errors[~is_new].sum(),
                "各自加起来了，没有平均：哪边抽得多，哪边就重",
                "sums in place of means: whichever part has more pictures weighs more",
            ),
            Wrong(
                lambda errors, is_new, s: errors[is_new].mean() + errors[~is_new].mean(),
                "没有乘份额：新的乘 1 - s，旧的乘 s",
                "the shares are missing: 1 - s for the new part, s for the old",
            ),
            Wrong(
                lambda errors, is_new, s: errors[is_new].mean() + s * errors[~is_new].mean(),
                "新的那一部分少乘了 1 - s：两个份额加起来要是 1",
                "the new part lacks its 1 - s: the two shares have to add up to 1",
            ),
            Wrong(
                lambda errors, is_new, s: (errors[is_new].mean() + errors[~is_new].mean()) / 2,
                "一半一半了：份额是 s，不是二分之一",
                "half and half: the share is s, not one half",
            ),
            Wrong(
                lambda errors, is_new, s: np.where(is_new, (1 - s) * errors, s * errors).mean(),
                "乘了份额再整批平均：两部分要先*各自*平均，分母是各自的张数",
                "weighted, then averaged over the batch: each part has a mean of its *own*, over its own pictures",
            ),
            Wrong(
                lambda errors, is_new, s: (1 - s) * errors[is_new].mean() - s * errors[~is_new].mean(),
                "旧的那一部分减掉了：这样忘得越多损失越小；要加",
                "the old part is subtracted, so that forgetting lowers the loss: add it",
            ),
            Wrong(
                lambda errors, is_new, s: errors[is_new].mean(),
                "只有新图的：这是不复习",
                "the new part alone: this is no rehearsal",
            ),
        ),
    ),
    Exercise(
        number="7.2",
        kind="function",
        zh="量遗忘。`before`、`after` 是布尔数组，一个数一种旧的东西：训练之前、之后，裁判认不认得出它。返回*忘掉的份额*：原来认得出的东西里，有几成现在认不出了（0 到 1）。",
        en="Measure forgetting. `before` and `after` are arrays of booleans, one for each old thing: does the judge recognise it"
        " before and after training? Return the *share that is forgotten*: of the things recognised before, how many are"
        " not recognised now (0 to 1)?",
        hints=(
            ("原来就认不出的东西，能忘掉吗？", "Can a thing be forgotten that was never recognised?"),
            (
                "分母是原来认得出的个数，`before.sum()`。",
                "Below the line is how many were recognised before, `before.sum()`.",
            ),
            (
                "两次都认得出的是 `before & after`；1 减去它们在 `before` 里占的份额。",
                "Recognised both times are `before & after`; take 1 less their share of `before`.",
            ),
        ),
        solution=forgotten,
        also=(forgotten_by_index, forgotten_by_loop),
        inputs=two_verdicts,
        wrong=(
            Wrong(
                lambda before, after: (before & ~after).mean(),
                "除以了全部：原来就认不出的忘不掉，分母是 `before.sum()`",
                "divided by all things: what was never recognised cannot be forgotten; divide by `before.sum()`",
            ),
            Wrong(
                lambda before, after: before.mean() - after.mean(),
                "两个率相减，新认出的会把忘掉的抵消：要一样一样地看",
                "a difference of rates, where gains hide losses: look at thing by thing",
            ),
            Wrong(
                lambda before, after: 1 - after.sum() / before.sum(),
                "`after` 里有原来认不出、现在认得出的，它们抵消了忘掉的：分子要两次都认得出",
                "`after` holds things that were not recognised before, and they hide losses: count what is recognised both times",
            ),
            Wrong(
                lambda before, after: (before & after).sum() / before.sum(),
                "这是还记得的份额，问的是忘掉的",
                "this is the share that is kept; asked is what is forgotten",
            ),
            Wrong(
                lambda before, after: 1 - after.mean(),
                "这是现在认不出的全部，其中有原来就认不出的",
                "this is all that is not recognised now, and some of it never was",
            ),
            Wrong(
                lambda before, after: (~before & after).sum() / before.sum(),
                "方向反了：这是新认出的，要的是原来认得出、现在认不出的",
                "the wrong way round: these are gains; asked is what was recognised and is not now",
            ),
            Wrong(
                lambda before, after: (before != after).mean(),
                "变了的不都是忘掉的：新认出的也算进来了",
                "not all that changed is forgotten: gains are counted too",
            ),
            Wrong(
                lambda before, after: (before & ~after).sum(),
                "这是个数，还要除以原来认得出的",
                "this is a count; divide by how many were recognised before",
            ),
            Wrong(
                lambda before, after: 100 * forgotten(before, after),
                "这是百分数：要 0 到 1 的份额，不乘 100",
                "this is in per cent: a share from 0 to 1 is wanted, without the 100",
            ),
            Wrong(
                lambda before, after: np.mean(~before[after]),
                "前后反了：这是现在认得出的里面，有几成是新认出的",
                "before and after are exchanged: of what is recognised now, this share is new",
            ),
            Wrong(
                lambda before, after: (before & ~after).sum() / (~after).sum(),
                "分母错了：这是现在认不出的里面忘掉的占几成，要除以原来认得出的",
                "the wrong denominator: this is a share of what is not recognised now; divide by what was recognised before",
            ),
        ),
    ),
    Exercise(
        number="7.3",
        kind="predict",
        zh=f"7.1 把 `mini` 练了 {STEPS} 步，每批 {BATCH} 张，`share = {SHARE}`。把 `share` 改成 {OTHER}，要公平地比（看菜的次数不变，每批还是 {BATCH} 张），该练多少步？先猜是多是少，再算；"
        "`answer` 写步数，四舍五入。",
        en=f"7.1 trained `mini` for {STEPS} steps of {BATCH} pictures, with `share = {SHARE}`. If `share` is changed to {OTHER}, how many steps make a"
        f" fair comparison (the dishes seen equally often, {BATCH} pictures a step as before)? Guess first whether it is"
        " more or fewer, then work it out; `answer` is the number of steps, rounded.",
        hints=(
            (
                "`share` 是*复习*的份额。改小了，一批里的菜变多还是变少？",
                "`share` is the share of *rehearsal*. If it is smaller, are there more dishes in a batch, or fewer?",
            ),
            (
                f"原来看了几次菜：{STEPS} × {BATCH} × (1 - {SHARE})。",
                f"How often dishes were seen: {STEPS} × {BATCH} × (1 - {SHARE}).",
            ),
            (f"现在一步看 {BATCH} × (1 - {OTHER}) 次；相除。", f"One step now sees {BATCH} × (1 - {OTHER}); divide."),
        ),
        solution=SEEN / (BATCH * (1 - OTHER)),
        tolerance=0.015,
        wrong=(
            Wrong(
                STEPS,
                "步数一样，菜看得就多了：一批里的菜从四成半变成八成",
                "in as many steps more dishes are seen: a batch held 45 % of them, and holds 80 % now",
            ),
            Wrong(
                STEPS * (1 - OTHER) / (1 - SHARE),
                "乘除反了：一批里菜变多，步数要变*少*",
                "upside down: with more dishes in a batch, *fewer* steps are needed",
            ),
            Wrong(
                STEPS * SHARE / OTHER,
                "你让*复习*的次数不变了；要不变的是看菜的次数，菜占 1 - share",
                "this keeps *rehearsal* equal; dishes should be, and their share is 1 - share",
            ),
            Wrong(
                STEPS * OTHER / SHARE,
                "用了 share 本身：菜在一批里占 1 - share",
                "this uses share itself: dishes are 1 - share of a batch",
            ),
            Wrong(
                STEPS * (1 - SHARE),
                "这是完全不复习（share = 0）时的步数：现在还有两成复习",
                "this is for no rehearsal at all (share = 0): a fifth of a batch is still rehearsal",
            ),
            Wrong(
                SEEN / BATCH / OTHER,
                f"除错了份额：一步看的菜占 1 - {OTHER}，不是 {OTHER}",
                f"the wrong share: dishes are 1 - {OTHER} of a step, not {OTHER}",
            ),
            Wrong(
                SEEN,
                "这是看菜的次数，还要除以一步看几次",
                "this is how often dishes are seen; divide by how many a step sees",
            ),
            Wrong(SEEN / (1 - OTHER), f"忘了一批有 {BATCH} 张", f"the {BATCH} pictures of a batch are forgotten"),
            Wrong(
                STEPS * SHARE / (1 - OTHER),
                f"原来一批里的菜占 1 - {SHARE}，不是 {SHARE}",
                f"dishes were 1 - {SHARE} of a batch, not {SHARE}",
            ),
        ),
    ),
]
