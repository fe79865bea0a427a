"""Exercises of lesson 09."""

import numpy as np

from paidiff_course.exercise import Exercise, Wrong

# --- 9.1 how far pictures are apart ---------------------------------------------------------------------------------


def mean_distance(pictures, others):
    difference = pictures.astype(float) - others
    return ((difference**2).mean((1, 2, 3)) ** 0.5).mean()


def mean_distance_by_loop(pictures, others):
    found = []
    for a, b in zip(pictures, others):
        square = np.subtract(a, b, dtype=float) ** 2
        found.append(np.sqrt(np.mean(square)))
    return sum(found) / len(found)


def mean_distance_by_norm(pictures, others):
    flat = pictures.reshape(len(pictures), -1).astype(int) - others.reshape(len(others), -1).astype(int)
    return np.mean(np.linalg.norm(flat, axis=1) / np.sqrt(flat.shape[1]))


def two_sets(rs):
    """Five pictures (5, 8, 8, 3) and five more, uint8; some pairs are near and some far."""
    pictures = rs.randint(0, 256, (5, 8, 8, 3))
    noise = rs.randn(5, 8, 8, 3) * rs.permutation([2, 5, 15, 40, 80])[:, None, None, None]
    return pictures.astype(np.uint8), np.clip(pictures + noise, 0, 255).astype(np.uint8)


# --- 9.2 guidance without the empty half ----------------------------------------------------------------------------


def guide_again(prompt, g, last_empty, last_prompt):
    difference = last_empty - last_prompt
    return prompt + (1 - g) * difference


def guide_again_by_empty(prompt, g, last_empty, last_prompt):
    empty = prompt + last_empty - last_prompt
    return empty + g * (prompt - empty)


def guide_again_forward(prompt, g, last_empty, last_prompt):
    return prompt - (last_prompt - last_empty) + g * (last_prompt - last_empty)


def three_noises(rs):
    """The guess with the prompt, a guidance, both guesses of the step before."""
    prompt, last_empty, last_prompt = rs.randn(3, 4, 8, 8)
    return prompt, rs.uniform(1.5, 8), last_empty, last_prompt


# --- 9.3 what guidance_every saves ----------------------------------------------------------------------------------

ONE, TWO, STEPS = 70, 93, 10  # ms of a pass with one picture, with two; steps
PLAIN = STEPS * TWO
EVERY = STEPS // 2 * TWO + STEPS // 2 * ONE


def percent(part, whole):
    return 100 * part / whole


EXERCISES = [
    Exercise(
        number="9.1",
        kind="function",
        zh="写出 9.3 的 `apart`（这里叫 `mean_distance`）：`pictures` 和 `others` 各是 N 张图，numpy 数组，形状 (N, H, W, 3)，类型 `uint8`（0 到 255 的整数）。先算每一对的距离（均方根：差的平方，在一张图的所有数上平均，开方），再取 N 个距离的平均，返回一个数。",
        en="Write the `apart` of 9.3 (called `mean_distance` here): `pictures` and `others` are N pictures each, numpy arrays of shape (N, H, W, 3) and type"
        " `uint8` (whole numbers from 0 to 255). Take the distance of each pair (root mean square: square the differences, average all numbers of a picture, take"
        " the root), then the mean of the"
        " N distances; return one number.",
        hints=(
            ("`np.uint8(3) - np.uint8(5)` 是多少？试一下。", "What is `np.uint8(3) - np.uint8(5)`? Try it."),
            (
                "先 `astype(float)` 再减；平方，在一张图的三个轴上取平均，开方。",
                "`astype(float)` before you subtract; square, the mean over the three axes of a picture, the root.",
            ),
            (
                "`((pictures.astype(float) - others) ** 2).mean((1, 2, 3))` 是 N 个均方；各自开方，再取平均。",
                "`((pictures.astype(float) - others) ** 2).mean((1, 2, 3))` are N mean squares; take the root of each, then"
                " their mean.",
            ),
        ),
        solution=mean_distance,
        also=(mean_distance_by_loop, mean_distance_by_norm),
        inputs=two_sets,
        wrong=(
            Wrong(
                lambda a, b: (((a - b) ** 2).mean((1, 2, 3)) ** 0.5).mean(),
                "`uint8` 里 3 - 5 是 254：先用 `astype(float)` 变成小数再减",
                "in `uint8` 3 - 5 is 254: turn into floats by `astype(float)` before subtracting",
            ),
            Wrong(
                lambda a, b: (((a - b).astype(float) ** 2).mean((1, 2, 3)) ** 0.5).mean(),
                "变成小数变得太晚：减的时候还是 `uint8`，3 - 5 已经成了 254；先变再减",
                "turned into floats too late: the subtraction was in `uint8`, where 3 - 5 is 254; turn first, then subtract",
            ),
            Wrong(
                lambda a, b: ((a - b) ** 2).mean() ** 0.5,
                "两处：`uint8` 里 3 - 5 是 254，先 `astype(float)`；每一对各自开方，再平均",
                "two things: in `uint8` 3 - 5 is 254, so `astype(float)` first; and take the root of each pair, then the mean",
            ),
            Wrong(
                lambda a, b: abs(a - b).mean(),
                "`uint8` 里 3 - 5 是 254：先 `astype(float)`；而且均方根是平方、平均、开方",
                "in `uint8` 3 - 5 is 254: `astype(float)` first; and root mean square is square, mean, root",
            ),
            Wrong(
                lambda a, b: (((a.astype(np.int16) - b.astype(np.int16)) ** 2).mean((1, 2, 3)) ** 0.5).mean(),
                "`int16` 装得下差，装不下它的平方（255 的平方是 65025）：用 float",
                "`int16` holds the differences but not their squares (255² is 65025): use float",
            ),
            Wrong(
                lambda a, b: (((a.astype(float) - b) ** 2).mean((1, 2)) ** 0.5).mean(),
                "每种颜色各自开方了：先把一张图的三个轴都平均掉",
                "each colour got a root of its own: average over all three axes of a picture first",
            ),
            Wrong(
                lambda a, b: ((a.astype(float) - b) ** 2).mean((1, 2, 3)) ** 0.5,
                "这是 N 个距离；再取一次平均",
                "these are the N distances; take their mean",
            ),
            Wrong(
                lambda a, b: (((a.astype(float) - b) ** 2).mean()) ** 0.5,
                "所有的图一起开方了：先每一对开方，再平均，不然最远的一对说了算",
                "one root for all pictures: take the root of each pair first, or the furthest pair decides",
            ),
            Wrong(
                lambda a, b: ((a.astype(float) - b) ** 2).mean((1, 2, 3)).mean(),
                "忘了开方：这是均方，单位是灰度级的平方",
                "the root is forgotten: this is the mean square, in grey levels squared",
            ),
            Wrong(
                lambda a, b: abs(a.astype(float) - b).mean(),
                "这是绝对值的平均：均方根是平方、平均、开方",
                "this is the mean of absolute values: root mean square is square, mean, root",
            ),
            Wrong(
                lambda a, b: (a.astype(float) - b).mean(),
                "没有平方：正负会抵消，两张很不一样的图也能得 0",
                "nothing is squared: plus and minus cancel, and very different pictures may get 0",
            ),
            Wrong(
                lambda a, b: (((a.astype(float) - b) ** 2).sum((1, 2, 3)) ** 0.5).mean(),
                "加起来了，没有平均：图越大这个数越大",
                "summed, not averaged: it grows with the size of the picture",
            ),
            Wrong(
                lambda a, b: (((a.astype(float) - b) ** 2).mean(0) ** 0.5).mean(),
                "轴错了：第 0 个轴是图，要在一张图的三个轴上取平均",
                "the wrong axis: axis 0 counts pictures; average over the three axes of a picture",
            ),
            Wrong(
                lambda a, b: (((a.astype(float) - b) ** 2).mean(3) ** 0.5).mean(),
                "只在颜色上取了平均，开方就太早了：先把一张图的所有数平均掉",
                "averaged over colours only, and the root came too early: first average all numbers of a picture",
            ),
            Wrong(
                lambda a, b: (((a / 255 - b / 255) ** 2).mean((1, 2, 3)) ** 0.5).mean(),
                "多除了 255：课里的距离用灰度级，0 到 255",
                "divided by 255: the lesson's distance is in grey levels, 0 to 255",
            ),
        ),
    ),
    Exercise(
        number="9.2",
        kind="function",
        zh="写出 9.4 里省下来的那一步：这一步只算了有提示词的猜测 `prompt`；`last_empty`、`last_prompt` 是*上一步*两种提示词的猜测，`g` 是引导。"
        "用上一步的差 $\\Delta$，返回这一步带引导的猜测，形状不变。",
        en="Write the step that 9.4 saves: only the guess with the prompt, `prompt`, was computed; `last_empty` and `last_prompt` are"
        " both guesses of the step *before*, `g` is the guidance. With the last difference, $\\Delta$, return the guided"
        " guess of this step, in the same shape.",
        hints=(
            ("g = 1 时不用空提示词，应当剩下什么？", "At g = 1 the empty prompt does not matter: what should be left?"),
            (
                "Δ = 空提示词的猜测 - 有提示词的猜测，两个都用上一步的。",
                "Δ is the guess for the empty prompt minus that for yours, both of the step before.",
            ),
            ("从这一步的 `prompt` 出发，加上 (1 - g) Δ。", "Start at this step's `prompt` and add (1 - g) Δ."),
        ),
        solution=guide_again,
        also=(guide_again_by_empty, guide_again_forward),
        inputs=three_noises,
        wrong=(
            Wrong(
                lambda prompt, g, empty, last: prompt + (1 - g) * (last - empty),
                "Δ 的方向反了：空的减有提示词的；这样是离提示词越来越远",
                "Δ has the wrong sign: the empty one minus the other; this walks away from the prompt",
            ),
            Wrong(
                lambda prompt, g, empty, last: prompt + g * (empty - last),
                "系数是 1 - g，不是 g：g = 1 时应只剩 `prompt`",
                "the factor is 1 - g, not g: at g = 1 only `prompt` should be left",
            ),
            Wrong(
                lambda prompt, g, empty, last: prompt + g * (last - empty),
                "多走了一步：从 `prompt` 出发只要再走 g - 1，起点是空的那边才走 g",
                "one step too far: from `prompt` walk g - 1; g is for those who start at the empty one",
            ),
            Wrong(
                lambda prompt, g, empty, last: empty + g * (prompt - empty),
                "把上一步的空猜测当成这一步的了，差里就混了两步：猜测每步都在变，几乎不变的是同一步里的*差*",
                "the last empty guess is taken for this step's, which mixes two steps: guesses change; what hardly does is the *difference* within a step",
            ),
            Wrong(
                lambda prompt, g, empty, last: empty + g * (last - empty),
                "这是上一步的结果，这一步的 `prompt` 没有用上：要从它出发",
                "this is the last step's result, and `prompt` of this step is not used: start there",
            ),
            Wrong(
                lambda prompt, g, empty, last: prompt,
                "没有引导了：这样等于这一步的 g 是 1",
                "no guidance is left: this is a step with a g of 1",
            ),
            Wrong(
                lambda prompt, g, empty, last: prompt + empty - last,
                "这是空提示词在这一步的猜测（估出来的），还没有引导：g 没有用上",
                "this estimates the guess for the empty prompt at this step; g is not used, so nothing is guided yet",
            ),
            Wrong(
                lambda prompt, g, empty, last: (1 - g) * (empty - last),
                "少了起点 `prompt`",
                "the start, `prompt`, is missing",
            ),
        ),
    ),
    Exercise(
        number="9.3",
        kind="predict",
        zh=f"一台机器上，UNet 一遍过一张图要 {ONE} 毫秒，过两张要 {TWO} 毫秒。{STEPS} 步的图，`guidance_every(pipe, 2)` 能省 UNet 时间的百分之几？先凭感觉写一个数，再算。"
        "`answer` 写百分数（十就是 10 %）。",
        en=f"On some machine a pass of the UNet takes {ONE} ms with one picture and {TWO} ms with two. For a picture of {STEPS} steps,"
        " what percentage of the UNet's time does `guidance_every(pipe, 2)` save? Write down a hunch first, then work it"
        " out. `answer` is in per cent (ten means 10 %).",
        hints=(
            ("有几步过两张，几步过一张？", "How many steps take two pictures, how many one?"),
            (
                f"不算空提示词的一步，省的是 {TWO} - {ONE} 毫秒，不是一半。",
                f"A step without the empty prompt saves {TWO} - {ONE} ms, which is not half.",
            ),
            (
                f"省下的是 {STEPS // 2} 步的；除以*原来*的 {STEPS} × {TWO} 毫秒。",
                f"So much is saved in {STEPS // 2} steps; divide by the time *before*, {STEPS} × {TWO} ms.",
            ),
        ),
        solution=percent(PLAIN - EVERY, PLAIN),
        tolerance=0.04,
        wrong=(
            Wrong(
                10,
                f"10 % 左右是 9.4 那台机器的；这里用 {ONE} 和 {TWO} 毫秒算，只算 UNet",
                f"about 10 % is what the machine of 9.4 saved; use {ONE} and {TWO} ms here, and the UNet only",
            ),
            Wrong(
                25,
                "这是少过的*图*的份额，四分之一；过一张的时间不是过两张的一半（也许你算的是每一步都省）",
                "this is the share of *pictures* left out, a quarter; one does not take half the time of two (or did you save"
                " at every step?)",
            ),
            Wrong(
                50,
                "一半的步数少的是半遍，不是整遍：那些步照样要过有提示词的一张",
                "half of the steps leave out half a pass, not all of it: the picture with the prompt still goes through",
            ),
            Wrong(
                percent(STEPS // 2 * ONE, PLAIN),
                "你减掉了整遍：不算空提示词的步还要过一张，省的只是两张和一张之差",
                "you took off whole passes: those steps still take one picture; what is saved is the difference of two and one",
            ),
            Wrong(
                percent(PLAIN - EVERY, EVERY),
                "除错了：省百分之几，是和*原来*的时间比",
                "the wrong denominator: a saving is compared with the time *before*",
            ),
            Wrong(percent(EVERY, PLAIN), "这是剩下的，问的是省下的", "this is what is left; asked is what is saved"),
            Wrong(
                percent(TWO - ONE, ONE),
                "这是两张比一张多多少：要算十步里省了几步的差，除以原来的时间",
                "this is how much more two take than one: count the steps that save it, and divide by the time before",
            ),
            Wrong(
                (PLAIN - EVERY) / PLAIN,
                "数对了，写成百分数：乘 100",
                "the right share; write it in per cent, times 100",
            ),
            Wrong(
                PLAIN - EVERY,
                "这是省下的毫秒数，还要除以原来的",
                "these are the milliseconds saved; divide by those before",
            ),
        ),
    ),
]
