"""Exercises of lesson 14: three instruments, and the nine cases to be diagnosed."""

import numpy as np

from paidiff_course.exercise import Exercise, Wrong

# --- 14.1 a smooth curve --------------------------------------------------------------------------------------------


def smooth(losses, beta):
    mean, found = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = beta * mean + (1 - beta) * loss
        found.append(mean / (1 - beta**step))
    return found


def smooth_by_weights(losses, beta):
    weights = [beta ** np.arange(step)[::-1] for step in range(1, len(losses) + 1)]
    return [np.average(losses[: len(each)], weights=each) for each in weights]


def smooth_by_sums(losses, beta):
    total = weight = 0.0
    found = []
    for loss in losses:
        total, weight = beta * total + loss, beta * weight + 1
        found.append(total / weight)
    return np.array(found)


def follow(losses, beta, start):
    found = []
    for loss in losses:
        start = beta * start + (1 - beta) * loss
        found.append(start)
    return found


def some_losses(rs):
    return list(0.2 + 0.8 * np.exp(-np.arange(24) / 6) + 0.1 * rs.rand(24)), float(rs.uniform(0.6, 0.9))


def window(losses, beta):
    width = round(1 / (1 - beta))
    return [np.mean(losses[max(0, k - width + 1) : k + 1]) for k in range(len(losses))]


# --- 14.2 the loss in tenths of the timesteps -----------------------------------------------------------------------


def loss_by_time(t, losses):
    return [losses[t // 100 == tenth].mean() for tenth in range(10)]


def by_histogram(t, losses):
    edges = np.arange(0, 1001, 100)
    return np.histogram(t, edges, weights=losses)[0] / np.histogram(t, edges)[0]


def by_loop(t, losses):
    piles = [[] for _ in range(10)]
    for time, loss in zip(t, losses):
        piles[int(time / 100)].append(loss)
    return [sum(pile) / len(pile) for pile in piles]


def timed_losses(rs):
    """Every tenth has its first and its last timestep, and some between."""
    ends = [100 * k + edge for k in range(10) for edge in (0, 99)]
    t = rs.permutation([*ends, *rs.randint(0, 1000, 30)])
    return t, np.exp(-t / 300) + 0.1 * rs.rand(len(t))


# --- 14.3 does the caption matter -----------------------------------------------------------------------------------


def caption_gain(own, other):
    return other.mean() / own.mean() - 1, (own < other).mean()


def gain_by_sums(own, other):
    wins = sum(a < b for a, b in zip(own, other))
    return (sum(other) - sum(own)) / sum(own), wins / len(own)


def gain_by_difference(own, other):
    more = other - own
    return more.mean() / own.mean(), np.count_nonzero(more > 0) / len(more)


def two_losses(rs):
    own = rs.gamma(2, 0.1, 40)
    return own, own * (1 + rs.uniform(-0.3, 1.0, 40))


# --- the nine cases -------------------------------------------------------------------------------------------------

LOOKS = {  # what each fault looks like: said to who takes another one for it
    "sorted_data": (
        "`sorted_data` 的损失（粗线）成锯齿，橙点高出一大截；练到最后，六句提示词都染上最后学的那一种的颜色",
        "with `sorted_data` the loss (thick) is a saw, with the orange dots far above; in the end all six prompts have the"
        " colours of the kind that came last",
    ),
    "mixed_captions": (
        "`mixed_captions` 的曲线是健康的，图里的却不是提示词说的；同一句话换个种子，题材也换了；`captions` 的两个数一样大",
        "with `mixed_captions` the curves are healthy, and the pictures not what was asked for; another seed of one prompt"
        " has another subject; both numbers of `captions` are equal",
    ),
    "few_pictures": (
        "`few_pictures` 的训练损失比健康的低得多，橙点（没练过的图）却高上去；换种子还是同一张图",
        "with `few_pictures` the training loss is far below the healthy one, while the orange dots (pictures not trained"
        " on) go up; another seed gives the same picture",
    ),
    "lr_too_high": (
        "`lr_too_high` 的损失先降，再冲到 1 以上，然后停在 1 附近；梯度范数先冲高，后来几乎是 0",
        "with `lr_too_high` the loss falls, shoots above 1 and stays near 1; the gradient norm shoots up too, and is next"
        " to 0 afterwards",
    ),
    "ema_too_slow": (
        "`ema_too_slow` 只坏在平均上：“no EMA” 那一行是好的",
        "`ema_too_slow` spoils the average alone: the row “no EMA” is good",
    ),
    "wrong_range": (
        "`wrong_range` 画得出东西，但颜色发白；“VAE” 那一行的真图也发白，黑的成了灰的",
        "with `wrong_range` there are things in the pictures, but pale; so are the real ones in the row “VAE”, where black"
        " is grey",
    ),
    "wrong_target": (
        "`wrong_target` 的曲线是健康的，图却每一步都坏，“no EMA” 也坏，只有 “VAE” 那一行是好的",
        "with `wrong_target` the curves are healthy, and the pictures bad at each step and in “no EMA” too; only the row"
        " “VAE” is good",
    ),
    "nan_batch": (
        "`nan_batch` 的曲线断在半路，从那以后图全是黑的",
        "with `nan_batch` the curves end midway, and all pictures after that are black",
    ),
    "late_timesteps_only": (
        "`late_timesteps_only` 的训练损失比健康的还低，`by_t` 里却有几段高得反常",
        "with `late_timesteps_only` the training loss is below the healthy one, and yet some parts of `by_t` are much"
        " too high",
    ),
    "lr_too_low": (
        "`lr_too_low` 的损失慢慢地降，到头离健康的还很远，梯度范数一直不小；图从头到尾是噪声",
        "with `lr_too_low` the loss creeps down and ends far above the healthy one; the pictures are noise from first"
        " to last",
    ),
    "not_loaded": (
        "`not_loaded` 的损失在降，四个步数的图却一模一样",
        "with `not_loaded` the loss falls, while the pictures of all four steps are the same",
    ),
    "broken_vae": (
        "`broken_vae` 的曲线是健康的，“VAE” 那一行的真图却已经坏了",
        "with `broken_vae` the curves are healthy, and real pictures are already bad in the row “VAE”",
    ),
}

HINTS = {  # of each case: (the letter, three hints)
    "lr_too_high": (
        "D",
        (
            "看损失的头五十步：先降到 0.6 以下，然后呢？",
            "Look at the first fifty steps of the loss: it falls below 0.6, and then?",
        ),
        (
            "梯度范数先冲到 10，后来不到 0.1；损失停在 1 附近：网络只会给出 0 了。",
            "The gradient norm shoots to 10 and ends below 0.1; the loss stays near 1: the network gives nothing but 0.",
        ),
        ("一步迈过了谷底，落在再也走不出来的地方。", "One step leapt across the valley, to where there is no way out."),
    ),
    "ema_too_slow": (
        "E",
        ("曲线和健康的一样，所以训练是好的。", "The curves are the healthy ones, so the training is good."),
        ("四个对照里有一行好图，是哪一行？", "One row of the four controls has good pictures. Which?"),
        (
            "画图用的不是训练着的权重，而是跟在它后面的一份。",
            "What draws is not the weights that are trained but a copy that follows them.",
        ),
    ),
    "wrong_range": (
        "F",
        (
            "认得出东西，颜色不对。黑的地方成了什么颜色？",
            "Things can be recognised, colours are wrong. What became of black?",
        ),
        ("“VAE” 那一行里没有 UNet 的事。", "The UNet has no part in the row “VAE”."),
        ("真图送进去的时候，像素在哪个范围里？", "Which range were the pixels in when the real pictures went in?"),
    ),
    "wrong_target": (
        "G",
        ("曲线和健康的一样，所以训练是好的。", "The curves are the healthy ones, so the training is good."),
        (
            "“no EMA” 坏，“VAE” 好：权重和解码器都没事，剩下的是什么？",
            "“no EMA” is bad, “VAE” is good: neither average nor decoder. What is left between them?",
        ),
        ("采样器怎么知道网络猜的是什么？", "How does a sampler know what it is that the network guesses?"),
    ),
    "nan_batch": (
        "H",
        ("曲线到哪一步为止？", "Up to which step do the curves go?"),
        (
            "在那之前一切健康；前三行图里，哪几行在它之前？",
            "Before it all is healthy. Which rows of pictures come before it?",
        ),
        ("打印那一步的损失。", "Print the loss of that step."),
    ),
    "late_timesteps_only": (
        "I",
        ("损失比健康的还低，橙点却不低。", "The loss is below the healthy one, the orange dots are not."),
        ("看表里 `by_t` 的十个数。", "Look at the ten numbers of `by_t`."),
        (
            "图的大样是对的，噪声没有去干净：哪一段时间步管最后这几步？",
            "The layout is right, the noise was not removed to the end: which timesteps are the last ones of the way back?",
        ),
    ),
    "lr_too_low": (
        "J",
        ("损失没有乱跳，就是慢。", "The loss does not jump about; it is slow."),
        (
            "和 D 比梯度范数：D 的几乎是 0，它的一直不小。",
            "Compare the gradient norm with that of D, which is next to 0.",
        ),
        ("梯度指着路，步子太小。", "The gradient shows the way, the steps are too short."),
    ),
    "not_loaded": (
        "K",
        (
            "这是接着健康的模型微调的，要学的东西在 “VAE” 那一行。",
            "This one goes on from the healthy model; what it is to learn is in the row “VAE”.",
        ),
        ("比较第 30 步和第 480 步的图。", "Compare the pictures of step 30 and of step 480."),
        (
            "损失降了，所以有权重变了；画图的是它们吗？",
            "The loss fell, so some weights did change. Are they the ones that draw?",
        ),
    ),
    "broken_vae": (
        "L",
        ("曲线和健康的一样，所以训练是好的。", "The curves are the healthy ones, so the training is good."),
        ("六句话画出来的大样是对的吗？", "Is the layout of the six pictures right?"),
        ("“VAE” 那一行没有经过 UNet，它好吗？", "The row “VAE” has not been through the UNet. Is it good?"),
    ),
}


def diagnosis(number, cause):
    """The exercise of one case: its answer is the name of the fault, and every other name is told apart."""
    case, *hints = HINTS[cause]
    return Exercise(
        number=f"14.{number}",
        kind="predict",
        zh=f'病例 {case}（14.7）坏在哪里？`answer` 是 14.6 的表里的一个名字，比如 `"few_pictures"`。',
        en=f"What is wrong with case {case} (14.7)? `answer` is one of the names in the table of 14.6, such as"
        ' `"few_pictures"`.',
        hints=tuple(hints),
        solution=cause,
        wrong=tuple(Wrong(name, *said) for name, said in LOOKS.items() if name != cause),
    )


EXERCISES = [
    Exercise(
        number="14.1",
        kind="function",
        zh="一步的损失跳得厉害（时间步和噪声是随机抽的），要抹平了看。写出 TensorBoard 那样的平滑：第 k 步的值是到这一步为止的损失的"
        "加权平均，这一步的权重是 1，前一步是 `beta`，再前一步是 `beta` 的平方，依此类推，最后除以权重之和。返回和 `losses` 一样长的一列数。",
        en="The loss of a step jumps about, as timesteps and noise are drawn at random; it has to be smoothed to be read. Write"
        " what TensorBoard does: the value at step k is a weighted mean of the losses up to there; the loss of the step"
        " itself has weight 1, that of the step before `beta`, that before it `beta` squared, and so on, divided by the sum"
        " of the weights. Return as many numbers as there are `losses`.",
        hints=(
            ("它是损失的 EMA，只是开头要修正。", "It is an EMA of the losses, but for its beginning."),
            (
                "从 0 开始的 EMA，前几步太小：少了一份 `beta` 的 k 次方。",
                "An EMA that starts at 0 is too small in the first steps: a share of `beta` to the power of k is missing.",
            ),
            (
                "`mean = beta * mean + (1 - beta) * loss`，再除以 `1 - beta**k`，k 从 1 数起。",
                "`mean = beta * mean + (1 - beta) * loss`, then divide by `1 - beta**k`, counting k from 1.",
            ),
        ),
        solution=smooth,
        also=(smooth_by_weights, smooth_by_sums),
        inputs=some_losses,
        wrong=(
            Wrong(
                lambda losses, beta: follow(losses, beta, 0.0),
                "开头太小：从 0 开始的 EMA 没有除以权重之和，前几步像是损失在上升",
                "too small at the start: an EMA from 0, not divided by the sum of its weights, seems to rise at first",
            ),
            Wrong(
                lambda losses, beta: follow(losses, beta, losses[0]),
                "第一个损失的权重太大：从它开始的 EMA 把开头的高值拖得很远",
                "the first loss weighs too much: an EMA that starts from it drags the high start along",
            ),
            Wrong(
                lambda losses, beta: smooth(losses, 1 - beta),
                "`beta` 和 `1 - beta` 换了位置：`beta` 越大应当越平",
                "`beta` and `1 - beta` are exchanged: the larger `beta`, the smoother it should be",
            ),
            Wrong(
                lambda losses, beta: list(np.cumsum(losses) / np.arange(1, len(losses) + 1)),
                "这是从头到现在的平均：每一步权重相同，老的损失忘不掉",
                "this is the mean since the start: all steps weigh the same, and old losses are never forgotten",
            ),
            Wrong(
                window,
                "这是最近几步的平均：窗口里权重相同，窗口外是 0；这里的权重要一步步变小",
                "this is the mean of the last steps: equal weights in a window, none outside; here they have to fade",
            ),
            Wrong(
                lambda losses, beta: smooth(losses[::-1], beta)[::-1],
                "方向反了：第 k 步只能用到这一步为止的损失，后面的还没发生",
                "backwards: step k may use the losses up to there; the later ones have not happened yet",
            ),
        ),
    ),
    Exercise(
        number="14.2",
        kind="function",
        zh="写出 14.2 的 `by_t`：`t` 是每张图的时间步（0 到 999 的整数），`losses` 是它们的损失，都是数组。返回十个数："
        "时间步 0 到 99、100 到 199……900 到 999 的图的平均损失。",
        en="Write `by_t` of 14.2: `t` holds each picture's timestep (integers from 0 to 999), `losses` their losses, both"
        " arrays. Return ten numbers: the mean loss of the pictures with timesteps 0 to 99, 100 to 199 … 900 to 999.",
        hints=(
            (
                "每张图先分到一段里，再在段里求平均。",
                "First sort the pictures into ten parts, then take the mean in each.",
            ),
            ("`t // 100` 是段的编号。", "`t // 100` is the number of the part."),
            ("`losses[t // 100 == k].mean()`，k 从 0 到 9。", "`losses[t // 100 == k].mean()` for k from 0 to 9."),
        ),
        solution=loss_by_time,
        also=(by_histogram, by_loop),
        inputs=timed_losses,
        wrong=(
            Wrong(
                lambda t, losses: [losses[t // 100 == k].sum() for k in range(10)],
                "这是和，不是平均：图多的一段会显得坏",
                "these are sums, not means: a part with more pictures would look worse",
            ),
            Wrong(
                lambda t, losses: [losses[t % 10 == k].mean() if (t % 10 == k).any() else 0.0 for k in range(10)],
                "`t % 10` 是个位数，不是段：要用 `t // 100`",
                "`t % 10` is the last digit, not the part: use `t // 100`",
            ),
            Wrong(
                lambda t, losses: [each.mean() for each in np.array_split(losses[np.argsort(t, kind="stable")], 10)],
                "这是按图数等分：每段的图一样多，时间步却不一样宽",
                "these are ten equal piles of pictures: their timesteps are not a hundred each",
            ),
            Wrong(
                lambda t, losses: loss_by_time(t, losses)[::-1],
                "顺序反了：第一个数是时间步 0 到 99",
                "the order is reversed: the first number is for timesteps 0 to 99",
            ),
            Wrong(
                lambda t, losses: [losses[t < 100 * (k + 1)].mean() for k in range(10)],
                "这是累积的平均：每一段只要它自己的一百个时间步",
                "these means accumulate: each part has its own hundred timesteps only",
            ),
            Wrong(
                lambda t, losses: [losses[t // 100 == k].sum() / len(t) for k in range(10)],
                "除以了全部的图数：要除以这一段里的图数",
                "divided by the number of all pictures: divide by that of the part",
            ),
        ),
    ),
    Exercise(
        number="14.3",
        kind="function",
        zh="文字有没有用？`own` 和 `other` 是同样的图、同样的时间步和噪声，配自己的文字和配别人的文字时各张图的损失（两个一样长的数组）。"
        "返回两个数：换成别人的文字，平均损失*大了几成*（0.3 就是三成）；有*多大比例*的图，配自己的文字损失更小。文字没用时，两个数大约是 0 和 0.5。",
        en="Does the caption matter? `own` and `other` hold the losses of the same pictures, at the same timesteps and noise,"
        " with their own captions and with others' (two arrays of equal length). Return two numbers: *by what share* the"
        " mean loss grows with others' captions (0.3 is 30 %); and for *which share* of the pictures the own caption gives"
        " the smaller loss. If captions do not matter, they are about 0 and 0.5.",
        hints=(
            (
                "第一个数比两个平均数，第二个数一张一张地比。",
                "The first compares two means, the second picture by picture.",
            ),
            (
                "大了几成：新的除以旧的，再减 1；旧的是 `own`。",
                "By what share: the new over the old, minus 1; the old is `own`.",
            ),
            (
                "`other.mean() / own.mean() - 1` 和 `(own < other).mean()`。",
                "`other.mean() / own.mean() - 1` and `(own < other).mean()`.",
            ),
        ),
        solution=caption_gain,
        also=(gain_by_sums, gain_by_difference),
        inputs=two_losses,
        wrong=(
            Wrong(
                lambda own, other: caption_gain(other, own),
                "两个放反了：从自己的文字出发，看换了以后大多少",
                "the two are exchanged: start from the own captions, and see what the exchange adds",
            ),
            Wrong(
                lambda own, other: (other.mean() - own.mean(), (own < other).mean()),
                "第一个数是差，不是几成：还要除以 `own` 的平均",
                "the first number is a difference, not a share: divide it by the mean of `own`",
            ),
            Wrong(
                lambda own, other: ((other / own).mean() - 1, (own < other).mean()),
                "第一个数是各张图的比的平均，损失小的图会说了算；先平均，再相除",
                "the first number is the mean of the pictures' ratios, ruled by those of small loss: average first, then"
                " divide",
            ),
            Wrong(
                lambda own, other: (other.mean() / own.mean(), (own < other).mean()),
                "第一个数没有减 1：一样大的时候应当是 0",
                "the first number lacks the minus 1: it should be 0 where both are equal",
            ),
            Wrong(
                lambda own, other: (other.mean() / own.mean() - 1, (own > other).mean()),
                "第二个数数反了：要的是配自己的文字损失更小的",
                "the second number counts the wrong side: those with the smaller loss for their own caption are wanted",
            ),
            Wrong(
                lambda own, other: (other.mean() / own.mean() - 1, int((own < other).sum())),
                "第二个数是张数：还要除以总数",
                "the second number is a count: divide by the number of pictures",
            ),
            Wrong(
                lambda own, other: (1 - own.mean() / other.mean(), (own < other).mean()),
                "第一个数除错了：大了几成是和 `own` 比，不是和 `other` 比",
                "the first number divides by the wrong mean: growth is measured against `own`, not against `other`",
            ),
        ),
    ),
    *(diagnosis(number, cause) for number, cause in enumerate(HINTS, 4)),
]
