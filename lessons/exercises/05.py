"""Exercises of lesson 05."""

import numpy as np

from paidiff_course.exercise import Exercise, Wrong

# --- 5.1 the loss with prior preservation -------------------------------------------------------------------------


def prior_loss(toy, v_toy, bear, v_bear, lam):
    return ((toy - v_toy) ** 2).mean() + lam * ((bear - v_bear) ** 2).mean()


def prior_loss_step_by_step(toy, v_toy, bear, v_bear, lam):
    learn = np.mean(np.square(v_toy - toy))
    keep = np.mean(np.square(v_bear - bear))
    return learn + keep * lam


def prior_loss_by_norms(toy, v_toy, bear, v_bear, lam):
    return np.linalg.norm(toy - v_toy) ** 2 / toy.size + lam * np.linalg.norm(bear - v_bear) ** 2 / bear.size


def two_piles(rs):
    """Guess and target of the toy, (2, 8, 8), and of bears, (3, 8, 8), further off; and lambda."""
    toy, v_toy = rs.randn(2, 2, 8, 8)
    bear, v_bear = 2 * rs.randn(2, 3, 8, 8)
    return toy, v_toy, bear, v_bear, rs.uniform(0.3, 0.8)


def mse(a, b):
    return ((a - b) ** 2).mean()


# --- 5.2 names that are fit ---------------------------------------------------------------------------------------


def fit_names(tokens, words):
    return [name for name, t in tokens.items() if len(t) == 1 and t != ["[UNK]"] and name not in words]


def fit_names_in_a_loop(tokens, words):
    fit = []
    for name in tokens:
        if len(tokens[name]) != 1 or tokens[name][0] == "[UNK]":
            continue
        if name not in words:
            fit.append(name)
    return fit


def fit_names_by_leaving_out(tokens, words):
    learnt, pieces = set(words), {name for name, t in tokens.items() if len(t) > 1}
    unknown = {name for name, t in tokens.items() if "[UNK]" in t}
    return [name for name in tokens if name not in learnt | pieces | unknown]


KNOWN, RARE, UNKNOWN = "红猫熊狗雪", "淼焱磊垚鑫", "犇骉羴"
PIECES = {"sks": ["s", "##k", "##s"], "小熊": ["小", "熊"], "犇犇": ["[UNK]", "[UNK]"], "abc": ["ab", "##c"]}
WHOLE = {"ok": ["ok"], "dog": ["dog"]}  # one token, more than one character


def some_names(rs):
    """{name: its tokens}, some of every kind, in any order; and the words that the model was taught, among them "小熊"."""
    names = {name: [name] for name in rs.permutation([*KNOWN])[:2]}
    names |= {name: [name] for name in rs.permutation([*RARE])[:3]} | WHOLE
    names |= {name: ["[UNK]"] for name in rs.permutation([*UNKNOWN])[:2]} | PIECES
    order = [str(name) for name in rs.permutation([*names])]
    return {name: [str(t) for t in names[name]] for name in order}, [*KNOWN, "小熊", "dog"]


def kept(tokens, words, rule):
    """The names that a rule (name, its tokens, whether it was taught) lets through."""
    return [name for name, t in tokens.items() if rule(name, t, name in words)]


# --- 5.3 as many looks at the toy ---------------------------------------------------------------------------------

STEPS, BATCH, HALF, SHARE = 60, 4, 0.5, 0.7  # 5.7's command, and another share
LOOKS = STEPS * BATCH * HALF

EXERCISES = [
    Exercise(
        number="5.1",
        kind="function",
        zh="写出 5.3 带先验保留的损失。`toy` 是对玩具熊猜的 v，`v_toy` 是它的目标，形状相同；`bear` 和 `v_bear` 是模型自己画的熊的，形状也相同（张数可以和前面不同）；`lam` 是 λ。每一项都取平均。返回一个数。",
        en="Write the loss with prior preservation of 5.3. `toy` is the v guessed for the toy and `v_toy` its target, of one shape;"
        " `bear` and `v_bear` are those of the bears that the model drew itself, of one shape too (there may be more or fewer of"
        " them); `lam` is λ. Each part is a mean. Return a number.",
        hints=(
            (
                "两项是同一种东西：猜的减目标，平方，平均。",
                "Both parts are of one kind: guess minus target, squared, and the mean.",
            ),
            ("λ 乘在哪一项上？哪一项是“别变”？", "Which part does λ multiply? Which one says “stay as you are”?"),
            (
                "((toy - v_toy) ** 2).mean() 加上 lam 乘另一项。",
                "((toy - v_toy) ** 2).mean(), plus lam times the other part.",
            ),
        ),
        solution=prior_loss,
        also=(prior_loss_step_by_step, prior_loss_by_norms),
        inputs=two_piles,
        wrong=(
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: mse(toy, v_toy),
                "没有第二项：这就是没有先验保留，熊都会变成它",
                "the second part is missing: this is no prior preservation, and every bear becomes the toy",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: mse(toy, v_toy) + mse(bear, v_bear),
                "忘了 λ：这只在 λ = 1 时对",
                "λ is forgotten: this is right at λ = 1 only",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: lam * mse(toy, v_toy) + mse(bear, v_bear),
                "λ 乘错了一项：它管的是“别变”，不是“学会”",
                "λ multiplies the wrong part: it goes with staying, not with learning",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: lam * (mse(toy, v_toy) + mse(bear, v_bear)),
                "λ 乘了两项：只乘第二项",
                "λ multiplies both parts: only the second",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: (1 - lam) * mse(toy, v_toy) + lam * mse(bear, v_bear),
                "λ 不是份额：第一项的系数是 1。（份额 s 对应的 λ 是 s / (1 - s)）",
                "λ is no share: the first part has a factor of 1. (A share s stands for λ = s / (1 - s).)",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: mse(toy, v_toy) - lam * mse(bear, v_bear),
                "第二项是加，不是减：减了，熊变得越多损失越小",
                "the second part is added: taken away, the loss would be less the more the bears change",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: ((toy - v_toy) ** 2).sum() + lam * ((bear - v_bear) ** 2).sum(),
                "取平均，不是求和：图多的那一堆会压过另一堆",
                "the mean, not the sum: the larger pile would outweigh the other",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: np.abs(toy - v_toy).mean() + lam * np.abs(bear - v_bear).mean(),
                "是差的平方，不是绝对值",
                "it is the square of the difference, not its absolute value",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: (toy - v_toy).mean() ** 2 + lam * (bear - v_bear).mean() ** 2,
                "先平方，再平均：先平均的话，正负的错互相抵消了",
                "square first, then take the mean: otherwise errors of both signs cancel",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: mse(toy, v_toy) + (lam * (bear - v_bear) ** 2).sum(),
                "第二项没有取平均",
                "the mean of the second part is missing",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: mse(toy, v_toy) + mse(lam * bear, lam * v_bear),
                "λ 乘进了平方里面，成了 λ²",
                "λ is inside the square, and becomes λ²",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: (mse(toy, v_toy) + lam * mse(bear, v_bear)) / (1 + lam),
                "不必除以 1 + λ：公式里是两项之和",
                "no need to divide by 1 + λ: the formula is a sum of the two",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: mse(toy, v_toy) + lam / (1 - lam) * mse(bear, v_bear),
                "lam 已经是 λ，不是份额：不必再换算",
                "lam is λ already, not a share: nothing to convert",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: mse(toy, -v_toy) + lam * mse(bear, -v_bear),
                "是猜的*减*目标，不是加",
                "it is the guess *minus* the target, not plus",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: (mse(toy, v_toy) + lam * mse(bear, v_bear)) / 2,
                "不必除以 2：公式里是两项之和",
                "no need to halve it: the formula is a sum of the two",
            ),
            Wrong(
                lambda toy, v_toy, bear, v_bear, lam: mse(toy, v_toy) ** 0.5 + lam * mse(bear, v_bear) ** 0.5,
                "不开平方：损失是均方误差",
                "no square root: the loss is the mean squared error",
            ),
        ),
    ),
    Exercise(
        number="5.2",
        kind="function",
        zh="写出 5.2 的三个条件。`tokens` 是一个字典，名字 → 它的词元的列表，例如 `{'淼': ['淼'], 'sks': ['s', '##k', '##s'], '犇': ['[UNK]']}`；`words` 是模型学过的词的列表。返回合格的名字的列表，次序和字典里一样。",
        en="Write the three conditions of 5.2. `tokens` is a dictionary from a name to the list of its tokens, such as `{'淼': ['淼'],"
        " 'sks': ['s', '##k', '##s'], '犇': ['[UNK]']}`; `words` is the list of words that the model was taught. Return the list"
        " of names that are fit, in the order of the dictionary.",
        hints=(
            (
                "三条都要：一个词元、认识、没学过。`tokens` 是整个字典，一个名字的词元是 `tokens[name]`。",
                "All three: one token, known, never taught. `tokens` is the whole dictionary; the tokens of a name are `tokens[name]`.",
            ),
            ("`犇` 的列表也只有一项，可那一项是 `[UNK]`。", "The list of 犇 has one item too, but that is `[UNK]`."),
            (
                'len(t) == 1 and t != ["[UNK]"] and name not in words，对 tokens.items() 里的每个 name, t。',
                'len(t) == 1 and t != ["[UNK]"] and name not in words, for each name, t of tokens.items().',
            ),
        ),
        solution=fit_names,
        also=(fit_names_in_a_loop, fit_names_by_leaving_out),
        inputs=some_names,
        wrong=(
            Wrong(
                lambda tokens, words: kept(tokens, words, lambda name, t, taught: len(t) == 1 and not taught),
                "`[UNK]` 也是一个词元，可所有不认识的字都是它：名字分不开。（写了条件还这样？t 是列表，要和 `['[UNK]']` 比）",
                "`[UNK]` is one token too, but it stands for every unknown character: such names cannot be told apart."
                " (You did exclude it? t is a list: compare it with `['[UNK]']`.)",
            ),
            Wrong(
                lambda tokens, words: kept(tokens, words, lambda name, t, taught: len(t) == 1 and t != ["[UNK]"]),
                "学过的字也留下了：它会把自己的意思带进来。（写了条件还这样？t 是列表，要查 name）",
                "characters that were taught are left in: they bring a meaning of their own. (You did exclude them? t is a list:"
                " look for name.)",
            ),
            Wrong(
                lambda tokens, words: kept(tokens, words, lambda name, t, taught: len(t) == 1),
                "只数了词元：还有两条，不是 `[UNK]`，没学过",
                "only the tokens are counted: two conditions are left, not `[UNK]` and never taught",
            ),
            Wrong(
                lambda tokens, words: kept(tokens, words, lambda name, t, taught: t != ["[UNK]"]),
                "只去掉了 `[UNK]`：还有两条，正好一个词元，没学过",
                "only `[UNK]` is left out: two conditions are left, exactly one token and never taught",
            ),
            Wrong(
                lambda tokens, words: [],
                "一个也没有留下：`tokens` 是整个字典，一个名字的词元是 `tokens[name]`，对每个名字查一遍",
                "none is left: `tokens` is the whole dictionary; the tokens of one name are `tokens[name]`, to be looked at for each",
            ),
            Wrong(
                lambda tokens, words: kept(
                    tokens, words, lambda name, t, taught: len(t[1:-1]) == 1 and t[1:-1] != ["[UNK]"] and not taught
                ),
                "这里的列表没有 `[CLS]` 和 `[SEP]`，不用 `[1:-1]`",
                "these lists hold no `[CLS]` and `[SEP]`: leave `[1:-1]` out",
            ),
            Wrong(
                lambda tokens, words: {name: tokens[name] for name in fit_names(tokens, words)},
                "要名字的列表，不是字典",
                "a list of names is wanted, not a dictionary",
            ),
            Wrong(
                lambda tokens, words: fit_names(tokens, words)[:1],
                "只有第一个：return 写进循环里了吗？",
                "only the first: is the return inside the loop?",
            ),
            Wrong(
                lambda tokens, words: kept(tokens, words, lambda name, t, taught: "[UNK]" not in t and not taught),
                "碎成几片的名字也留下了：要正好一个词元",
                "names in several pieces are left in: it has to be exactly one token",
            ),
            Wrong(
                lambda tokens, words: kept(tokens, words, lambda name, t, taught: not taught),
                "只查了学没学过；还要正好一个词元，而且不是 `[UNK]`",
                "this only asks whether it was taught; it should also be exactly one token, and not `[UNK]`",
            ),
            Wrong(
                lambda tokens, words: sorted(fit_names(tokens, words)),
                "次序变了：照字典里的次序",
                "the order has changed: keep that of the dictionary",
            ),
            Wrong(
                lambda tokens, words: set(fit_names(tokens, words)),
                "要列表，不是集合：集合没有次序",
                "a list is wanted, not a set, which has no order",
            ),
            Wrong(
                lambda tokens, words: kept(tokens, words, lambda name, t, taught: t != ["[UNK]"] and not taught),
                "没有数词元：碎成几片的、含有 `[UNK]` 的都留下了",
                "the tokens are not counted: names in pieces, even of `[UNK]`, are left in",
            ),
            Wrong(
                lambda tokens, words: kept(
                    tokens, words, lambda name, t, taught: len(name) == 1 and t != ["[UNK]"] and not taught
                ),
                "数的是字，不是词元：`ok` 有两个字母，是一个词元",
                "this counts characters, not tokens: `ok` has two letters and is one token",
            ),
            Wrong(
                lambda tokens, words: kept(
                    tokens, words, lambda name, t, taught: len(t) == 1 and t != ["[UNK]"] and taught
                ),
                "最后一条反了：要*没*学过的",
                "the last condition is the wrong way round: it should *not* have been taught",
            ),
            Wrong(
                lambda tokens, words: kept(
                    tokens, words, lambda name, t, taught: not (len(t) == 1 and t != ["[UNK]"] and not taught)
                ),
                "反了：这些是不合格的",
                "the wrong way round: these are the ones that are not fit",
            ),
            Wrong(
                lambda tokens, words: kept(
                    tokens, words, lambda name, t, taught: len(t) == 1 or t != ["[UNK]"] or not taught
                ),
                "是“并且”，不是“或者”：三条都要合格",
                "it is “and”, not “or”: all three have to hold",
            ),
            Wrong(
                lambda tokens, words: kept(
                    tokens, words, lambda name, t, taught: len(t) == 1 and t == ["[UNK]"] and not taught
                ),
                "`[UNK]` 那一条反了：要的是*不是* `[UNK]` 的",
                "the condition on `[UNK]` is the wrong way round: it must *not* be `[UNK]`",
            ),
            Wrong(
                lambda tokens, words: [
                    t[0] != "[UNK]" and len(t) == 1 and name not in words for name, t in tokens.items()
                ],
                "这是一列真假；要的是名字",
                "this is a list of True and False; the names are wanted",
            ),
        ),
    ),
    Exercise(
        number="5.3",
        kind="predict",
        zh=f"5.7 的命令练 {STEPS} 步，一批 {BATCH} 张，两堆一半对一半。改成 `share={SHARE}`（平均每批有七成是模型自己画的熊），要练多少步，看淼熊的次数才和原来一样多？",
        en=f"The command of 5.7 takes {STEPS} steps with batches of {BATCH}, half and half. With `share={SHARE}` (on average seven"
        " tenths of each batch are bears that the model drew itself), how many steps does it take to see 淼熊 as often as"
        " before?",
        hints=(
            ("原来一共看了淼熊多少次？", "How often was 淼熊 seen before, in all?"),
            (
                f"原来每批 {BATCH * HALF:g} 张是淼熊。现在每批平均几张？",
                f"Before, {BATCH * HALF:g} of each batch were 淼熊. How many are there now, on average?",
            ),
            (
                f"{LOOKS:g} 次，除以每步 {BATCH} × {1 - SHARE:.1f} 张。",
                f"{LOOKS:g} looks, divided by {BATCH} × {1 - SHARE:.1f} a step.",
            ),
        ),
        solution=round(LOOKS / (BATCH * (1 - SHARE))),
        tolerance=0.003,
        wrong=(
            Wrong(
                STEPS,
                "步数不变，淼熊就看得少了：一批里只剩三成",
                "with as many steps 淼熊 is seen less often: only three tenths of a batch are left",
            ),
            Wrong(
                round(STEPS * HALF / SHARE * 10) / 10,
                "share 是熊的那一份，不是淼熊的：淼熊是 1 - share",
                "share is the part of the bears, not that of 淼熊, which is 1 - share",
            ),
            Wrong(
                round(STEPS * SHARE / HALF),
                "你让*熊*的次数跟着变了；淼熊的份额从 0.5 变成 0.3",
                "this follows the *bears*; the share of 淼熊 goes from 0.5 to 0.3",
            ),
            Wrong(
                round(STEPS * (1 - SHARE) / HALF),
                "除反了：淼熊的份额小了，步数要多",
                "upside down: with a smaller share of 淼熊 it takes more steps",
            ),
            Wrong(
                round(STEPS * SHARE / (1 - SHARE)),
                "你乘了 λ（0.7 时是 2.33）；要比的是淼熊的份额，0.5 和 0.3",
                "this multiplies by λ (2.33 at 0.7); compare the shares of 淼熊, 0.5 and 0.3",
            ),
            Wrong(
                round(HALF / (1 - SHARE), 2),
                "这是倍数；要的是步数，再乘原来的步数",
                "this is how many times as many; the number of steps is wanted",
            ),
            Wrong(round(STEPS / (1 - SHARE)), "忘了原来也只有一半是淼熊", "before, too, only half of them were 淼熊"),
            Wrong(
                round(LOOKS),
                "120 是原来看淼熊的次数；还要除以每步的张数",
                "120 is how often 淼熊 was seen before; divide by how many there are in a step",
            ),
            Wrong(
                round(LOOKS / (1 - SHARE)),
                "这是要看的图的总数；一步看 4 张",
                "this is how many pictures are seen in all; a step sees 4",
            ),
            Wrong(
                round(STEPS / SHARE, 1),
                "60 除以 0.7 是让*熊*补齐；而且原来也只有一半",
                "60 divided by 0.7 would make up for the *bears*; and before, too, it was only half",
            ),
        ),
    ),
]
