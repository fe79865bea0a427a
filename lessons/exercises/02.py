"""Exercises of lesson 02."""

import math

import numpy as np

from paidiff_course.exercise import Exercise, Wrong

# --- 2.1 where it begins ------------------------------------------------------------------------------------------


def where_it_begins(strength, times):
    taken = int(strength * len(times))
    return taken, times[len(times) - taken]


def begins_at_the_skipped(strength, times):
    skipped = math.ceil((1 - strength) * len(times) - 1e-9)
    return len(times) - skipped, times[skipped]


def begins_from_behind(strength, times):
    taken = math.floor(len(times) * strength)
    return taken, times[-taken:][0]


def a_strength(rs):
    """A strength at which strength * steps is not whole, and falling timesteps, no two gaps of which need be alike."""
    steps = int(rs.randint(15, 40))
    taken = rs.randint(steps // 2 + 2, steps - 3) if rs.rand() < 0.6 else rs.randint(3, steps // 2 - 2)
    times = sorted((int(t) for t in rs.choice(980, steps, replace=False)), reverse=True)
    return (taken + rs.uniform(0.55, 0.9)) / steps, times


# --- 2.2 inpainting -----------------------------------------------------------------------------------------------


def put_back(x_t, x_0, noise, m, a):
    outside = np.sqrt(a) * x_0 + np.sqrt(1 - a) * noise
    return m * x_t + (1 - m) * outside


def put_back_where(x_t, x_0, noise, m, a):
    return np.where(m > 0, x_t, a**0.5 * x_0 + (1 - a) ** 0.5 * noise)


def put_back_in_place(x_t, x_0, noise, m, a):
    new, black = x_t.copy(), m == 0
    new[:, black] = (np.sqrt(a) * x_0 + np.sqrt(1 - a) * noise)[:, black]
    return new


def a_mask(rs):
    """Latents in the loop, those of the input, noise, a mask of 0 and 1, alpha bar."""
    m = np.zeros((16, 16))
    top, left = rs.randint(2, 6, 2)
    m[top : top + 7, left : left + 8] = 1
    return *rs.randn(3, 8, 16, 16), m, rs.uniform(0.2, 0.7)


def noisy(x_0, noise, a):
    return np.sqrt(a) * x_0 + np.sqrt(1 - a) * noise


EXERCISES = [
    Exercise(
        number="2.1",
        kind="function",
        zh="写出 2.2 的 `begins`，不用流水线：`times` 是文生图要走的全部时间步，从大到小的列表，几个都行，间隔不一定相等；`strength` 是强度。返回两个数：走几步，第一步的时间步（列表里的一个）。",
        en="Write `begins` of 2.2 without the pipeline: `times` is the list of all timesteps that text-to-image would take, falling,"
        " of any length and not always evenly spaced; `strength` is the strength. Return two numbers: how many steps are taken,"
        " and the timestep of the first, which is one of the list.",
        hints=(
            (
                "强度小，是少加噪声；那么走的是前面几步，还是后面几步？",
                "Less strength is less noise: are the steps that are taken at the beginning of the list, or at its end?",
            ),
            (
                "走几步：strength 乘总步数，去掉小数。走的是列表的*最后*这么多个。",
                "How many: strength times the number of steps, rounded down. They are the *last* so many of the list.",
            ),
            (
                "前面跳过 len(times) - taken 个，所以第一步是 times[len(times) - taken]。",
                "len(times) - taken are skipped at the beginning, so the first is times[len(times) - taken].",
            ),
        ),
        solution=where_it_begins,
        also=(begins_at_the_skipped, begins_from_behind),
        inputs=a_strength,
        tolerance=0,
        wrong=(
            Wrong(
                lambda strength, times: (int(strength * len(times)), times[0]),
                "走的是最后几步，不是头几步：从 times[0] 走起就是从纯噪声走起",
                "it is the last steps that are taken, not the first: times[0] would begin with pure noise",
            ),
            Wrong(
                lambda strength, times: (
                    round(strength * len(times)),
                    times[len(times) - round(strength * len(times))],
                ),
                "去掉小数，不是四舍五入，也不是往上取",
                "rounded down, neither to the nearest nor up",
            ),
            Wrong(
                lambda strength, times: (
                    int(strength * len(times)),
                    times[len(times) - int(strength * len(times)) - 1],
                ),
                "第一步早了一个：跳过 n 个之后是 times[n]，列表从 0 数起",
                "the first is one too early: after n are skipped comes times[n], as lists count from 0",
            ),
            Wrong(
                lambda strength, times: (
                    int(strength * len(times)),
                    times[len(times) - int(strength * len(times)) + 1],
                ),
                "第一步晚了一个：跳过 n 个之后是 times[n]，列表从 0 数起",
                "the first is one too late: after n are skipped comes times[n], as lists count from 0",
            ),
            Wrong(
                lambda strength, times: (int(strength * len(times)), times[int(strength * len(times))]),
                "times 是从大到小的：times[走几步] 是从前面数的，要从后面数",
                "times falls: times[steps taken] counts from the front, and it should be counted from the end",
            ),
            Wrong(
                lambda strength, times: (
                    len(times) - int(strength * len(times)),
                    times[len(times) - int(strength * len(times))],
                ),
                "第一个数是跳过的步数；要走的步数",
                "the first number is how many are skipped; it should be how many are taken",
            ),
            Wrong(
                lambda strength, times: (int(strength * len(times)), int(strength * 999)),
                "时间步要从 times 里取：只走得到列表里的那些",
                "the timestep comes out of times: no other is ever visited",
            ),
            Wrong(
                lambda strength, times: (
                    int((1 - strength) * len(times)),
                    times[len(times) - int((1 - strength) * len(times))],
                ),
                "反了：强度越大，走的步数越多",
                "the wrong way round: more strength is more steps",
            ),
            Wrong(
                lambda strength, times: (int(strength * len(times)), min(times, key=lambda t: abs(t - 999 * strength))),
                "时间步不是由强度算出来的：跳过前面几个，从列表里数",
                "the timestep is not computed from the strength: skip the first ones and count in the list",
            ),
            Wrong(
                lambda strength, times: (int(strength * len(times)), int(strength * 1000)),
                "时间步要从 times 里取，不是 1000 × strength",
                "the timestep comes out of times, it is not 1000 × strength",
            ),
            Wrong(
                lambda strength, times: (int((1 - strength) * len(times)), times[int((1 - strength) * len(times))]),
                "(1 - strength) × 总步数是跳过的；要的是走的",
                "(1 - strength) × steps are skipped; how many are taken is wanted",
            ),
            Wrong(
                lambda strength, times: times[len(times) - int(strength * len(times))],
                "要返回两个数：走几步，第一步的时间步",
                "two numbers are wanted: how many steps, and the timestep of the first",
            ),
            Wrong(
                lambda strength, times: (strength * len(times), times[len(times) - int(strength * len(times))]),
                "步数要是整数：去掉小数",
                "the number of steps is whole: round it down",
            ),
            Wrong(
                lambda strength, times: (times[len(times) - int(strength * len(times))], int(strength * len(times))),
                "两个数放反了：先是走几步，再是时间步",
                "the two have changed places: first how many steps, then the timestep",
            ),
        ),
    ),
    Exercise(
        number="2.2",
        kind="function",
        zh="写出 2.7 局部重绘的一步：`x_t` 是走完这一步的潜变量，`x_0` 是原图的潜变量，`noise` 是噪声，形状都是 (8, 16, 16)；`m` 是蒙版，形状 (16, 16)，1 重画，0 不动；`a` 是这一步的 $\\bar\\alpha_t$。都是 numpy 数组，`a` 是一个小数。返回换好的潜变量，形状 (8, 16, 16)。",
        en="Write the step of inpainting in 2.7: `x_t` are the latents after a step, `x_0` those of the input, `noise` the noise, all"
        " of shape (8, 16, 16); `m` is the mask, shape (16, 16), 1 to be redrawn, 0 to stay; `a` is $\\bar\\alpha_t$ of this step,"
        " a number; the others are numpy arrays. Return the new latents, shape (8, 16, 16).",
        hints=(
            (
                "蒙版里面（1）留 x_t；外面（0）换成什么？那里干净的原图行吗？",
                "Inside the mask (1), x_t stays; what comes outside (0)? Would the clean input do?",
            ),
            (
                "外面要和里面一样脏：原图加上这一步该有的噪声，就是 2.2 的公式。",
                "Outside should be as noisy as inside: the input with the noise that belongs to this step, the formula of 2.2.",
            ),
            (
                "两份相加：m 乘里面的，1 - m 乘外面的；外面是 √a x_0 + √(1-a) noise。",
                "Two parts are added: m times the inside, 1 - m times the outside, which is √a x_0 + √(1-a) noise.",
            ),
        ),
        solution=put_back,
        also=(put_back_where, put_back_in_place),
        inputs=a_mask,
        wrong=(
            Wrong(
                lambda x_t, x_0, noise, m, a: (1 - m) * x_t + m * noisy(x_0, noise, a),
                "蒙版反了：1 的地方重画，应留着 x_t",
                "the mask is inverted: where it is 1 the picture is redrawn, so x_t stays",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t + (1 - m) * x_0,
                "外面放了干净的原图：UNet 以为这一步到处都有一样多的噪声，外面也要加",
                "outside is the clean input: the UNet expects as much noise everywhere, so outside needs it too",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t + (1 - m) * np.sqrt(a) * x_0,
                "外面的原图只缩小了，没有加噪声",
                "the input outside is made smaller, but no noise is added",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t + (1 - m) * (a * x_0 + (1 - a) * noise),
                "忘了根号：是 √a 和 √(1-a)",
                "the square roots are forgotten: √a and √(1-a)",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t + (1 - m) * (np.sqrt(a) * x_0 + (1 - a) * noise),
                "噪声的系数忘了根号：√(1-a)",
                "the square root is forgotten with the noise: √(1-a)",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t + (1 - m) * noisy(x_t, noise, a),
                "外面用了 x_t：要换回*原图*的，x_0",
                "outside is made of x_t: it is the *input* that is put back, x_0",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: (1 - m) * x_t + m * x_0,
                "蒙版反了，换回去的还忘了加噪声",
                "the mask is inverted, and what is put back has no noise",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t + (1 - m) * noisy(noise, x_0, a),
                "√a 乘的是原图 x_0，你乘给了噪声",
                "√a goes with the input x_0; here it goes with the noise",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t + noisy(x_0, noise, a),
                "忘了乘 1 - m：里面也加上了原图",
                "1 - m is forgotten: the input is added inside as well",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: x_t + (1 - m) * noisy(x_0, noise, a),
                "x_t 忘了乘 m：外面应当换掉，不是加上去",
                "m is forgotten with x_t: outside it should be replaced, not added to",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t + (1 - m) * np.sqrt(a) * x_0 + np.sqrt(1 - a) * noise,
                "括号没有括住噪声：里面也多了一份噪声",
                "the brackets leave the noise out: inside there is now some more of it",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: noisy(x_0, noise, a),
                "整张都换回了原图：蒙版里面要留着 x_t",
                "everything is put back: inside the mask x_t should stay",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t + (1 - m) * (x_0 + noise),
                "x_0 和噪声要按比例混：√a 和 √(1-a)",
                "x_0 and noise are mixed in proportion: √a and √(1-a)",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: np.sqrt(a) * (m * x_t + (1 - m) * x_0) + np.sqrt(1 - a) * noise,
                "里面也加了噪声：x_t 已经够脏了，只给外面的原图加",
                "noise is added inside as well: x_t has enough, only the input outside needs it",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: (1 - m) * noisy(x_0, noise, a),
                "里面成了 0：m * x_t 丢了",
                "inside is 0 now: m * x_t is lost",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t + (1 - m) * (x_0 + np.sqrt(1 - a) * noise),
                "x_0 忘了乘 √a",
                "√a is forgotten with x_0",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m / 255 * x_t + (1 - m / 255) * noisy(x_0, noise, a),
                "m 已经是 0 和 1，不用再除以 255",
                "m is 0 and 1 already: do not divide by 255",
            ),
            Wrong(
                lambda x_t, x_0, noise, m, a: m * x_t,
                "外面成了 0：要换成加了噪声的原图",
                "outside is 0 now: the noisy input belongs there",
            ),
        ),
    ),
    Exercise(
        number="2.3",
        kind="predict",
        zh="`strength=0.6`，想让它真的走满 30 步，`steps` 最少要写多少？先写下来，再用 `begins(0.6, steps=…)` 查。",
        en="At `strength=0.6` you want 30 steps to be taken in fact. What is the least `steps` to ask for? Write it down, then check"
        " with `begins(0.6, steps=…)`.",
        hints=(
            ("写 `steps=30` 的话，走几步？", "With `steps=30`, how many are taken?"),
            (
                "走的步数 = 0.6 × steps，去掉小数。现在知道的是左边。",
                "The steps taken are 0.6 × steps, rounded down. It is the left side that is known here.",
            ),
            ("用除法，不是乘法：30 除以 0.6。", "Divide, do not multiply: 30 by 0.6."),
        ),
        solution=round(30 / 0.6),
        tolerance=0,
        wrong=(
            Wrong(
                30,
                "steps=30 只走 18 步：strength 会跳过前面的",
                "with steps=30 only 18 are taken: strength skips those at the beginning",
            ),
            Wrong(
                round(30 * 0.6),
                "18 是 steps=30 时走的步数；问题倒过来：走的是 30",
                "18 is what is taken of steps=30; the question is the other way round: 30 are taken",
            ),
            Wrong(
                round(30 / 0.4),
                "除的是跳过的那一份（0.4）：走的是 0.6",
                "this divides by the share that is skipped (0.4); 0.6 is taken",
            ),
            Wrong(round(30 * 0.4), "12 是 steps=30 时跳过的步数", "12 is how many are skipped of steps=30"),
            Wrong(
                round(30 * 1.4),
                "多写 40 % 不够：0.6 × 42 是 25.2。跳过的是 steps 的 40 %，不是 30 的",
                "40 % more is not enough: 0.6 × 42 is 25.2. What is skipped is 40 % of steps, not of 30",
            ),
            Wrong(
                round(30 * 1.6),
                "0.6 × 48 是 28.8，还差一点：该除以 0.6，不是乘 1.6",
                "0.6 × 48 is 28.8, not quite: divide by 0.6, do not multiply by 1.6",
            ),
            Wrong(
                51,
                "51 也走 30 步（30.6 去掉小数），但不是最少的",
                "51 gives 30 steps too (30.6, rounded down), but it is not the least",
            ),
            Wrong(49, "0.6 × 49 是 29.4，去掉小数只有 29", "0.6 × 49 is 29.4, which is 29 when rounded down"),
        ),
    ),
]
