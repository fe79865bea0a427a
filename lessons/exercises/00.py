"""Exercises of lesson 00."""

import numpy as np

from paidiff_course.exercise import Exercise, Wrong

# --- 0.1 the best guess -------------------------------------------------------------------------------------------


def best_grey(x_t, a, greys, counts):
    misfit = (x_t - np.sqrt(a) * greys) ** 2 / (2 * (1 - a))
    weights = counts * np.exp(-misfit)
    return (weights * greys).sum() / weights.sum()


def best_grey_of_all(x_t, a, greys, counts):
    data = np.repeat(greys, counts)
    weights = np.exp(-((x_t - a**0.5 * data) ** 2) / (1 - a) / 2)
    return np.average(data, weights=weights)


def best_grey_in_a_loop(x_t, a, greys, counts):
    total, above = 0, 0
    for grey, count in zip(greys, counts):
        weight = count * np.exp(-((x_t - np.sqrt(a) * grey) ** 2) / (2 * (1 - a)))
        total, above = total + weight, above + weight * grey
    return above / total


def a_grey_seen(rs):
    """A noisy grey, alpha bar, five greys and how often each occurs."""
    return rs.randn(), rs.uniform(0.3, 0.8), rs.uniform(-1, 1, 5), rs.randint(2, 9, 5)


def weighed(misfit, a, greys, counts):
    """The mean of the greys under weights of that misfit: what the listed mistakes have in common."""
    weights = counts * np.exp(-misfit / (2 * (1 - a)))
    return (weights * greys).sum() / weights.sum()


def fit(x_t, a, greys, counts):
    return counts * np.exp(-((x_t - np.sqrt(a) * greys) ** 2) / (2 * (1 - a)))


# --- 0.2 a step back, from v --------------------------------------------------------------------------------------


def step_back(x_t, v, a_t, a_s):
    x_0 = np.sqrt(a_t) * x_t - np.sqrt(1 - a_t) * v
    noise = np.sqrt(1 - a_t) * x_t + np.sqrt(a_t) * v
    return np.sqrt(a_s) * x_0 + np.sqrt(1 - a_s) * noise


def step_back_by_x_0(x_t, v, a_t, a_s):
    x_0 = a_t**0.5 * x_t - (1 - a_t) ** 0.5 * v
    noise = (x_t - a_t**0.5 * x_0) / (1 - a_t) ** 0.5
    return a_s**0.5 * x_0 + (1 - a_s) ** 0.5 * noise


def turned(x_t, v, a_t, a_s):
    angle = np.arccos(np.sqrt(a_t)) - np.arccos(np.sqrt(a_s))
    return np.cos(angle) * x_t - np.sin(angle) * v


def a_step(rs):
    """A noisy picture, v, alpha bar now and after the step, when less noise is left."""
    a_t = rs.uniform(0.1, 0.6)
    return *rs.randn(2, 4, 8, 8), a_t, a_t + rs.uniform(0.1, 0.3)


def mixed(x_0, noise, a):
    return np.sqrt(a) * x_0 + np.sqrt(1 - a) * noise


def clean_of(x_t, v, a):
    return np.sqrt(a) * x_t - np.sqrt(1 - a) * v


def noise_of(x_t, v, a):
    return np.sqrt(1 - a) * x_t + np.sqrt(a) * v


EXERCISES = [
    Exercise(
        number="0.1",
        kind="function",
        zh="写出 0.3 的最好猜测，这回像素不止黑白两种：`greys` 是五种灰度（形状 (5,)），数据里各出现 `counts` 次（形状 (5,)）。你看见了一个带噪声的数 `x_t`，这时的 $\\bar\\alpha_t$ 是 `a`。参数都是 numpy 的。返回 $\\hat x_0$，一个数。",
        en="Write the best guess of 0.3, for pixels that are not only black or white: `greys` are five greys, shape (5,), which"
        " occur `counts` times each in the data, shape (5,). You see one noisy number, `x_t`; `a` is $\\bar\\alpha_t$. All are numpy's."
        " Return $\\hat x_0$, a number.",
        hints=(
            (
                "如果没有噪声的线索，最好的猜测是哪个平均？有了线索，谁该更重？",
                "With no clue at all, which mean would be the best guess? And with one, which greys should weigh more?",
            ),
            (
                "0.3 的和是对数据里的*每一张图*求的；出现 8 次的灰度，同一项就加 8 遍。",
                "The sums of 0.3 run over *every picture* of the data; a grey that occurs 8 times adds the same term 8 times.",
            ),
            (
                "w = counts * np.exp(-(x_t - √a · greys)² / (2 (1 - a)))，再拿 w 给 greys 取加权平均。",
                "w = counts * np.exp(-(x_t - √a · greys)² / (2 (1 - a))); then the mean of greys, weighted by w.",
            ),
        ),
        solution=best_grey,
        also=(best_grey_of_all, best_grey_in_a_loop),
        inputs=a_grey_seen,
        wrong=(
            Wrong(
                lambda x_t, a, greys, counts: weighed((x_t - np.sqrt(a) * greys) ** 2, a, greys, 1),
                "没有用 counts：常见的灰度应该更重",
                "counts is not used: a grey that is frequent should weigh more",
            ),
            Wrong(
                lambda x_t, a, greys, counts: (counts * greys).sum() / counts.sum(),
                "各种灰度的权重一样，像什么都没看见时的平均：没有用 x_t，或者把五个距离加到了一起（`.sum(-1)`）",
                "all greys weigh alike, as for somebody who has seen nothing: x_t is not used, or the five distances were added"
                " up (`.sum(-1)`)",
            ),
            Wrong(
                lambda x_t, a, greys, counts: weighed((x_t - greys) ** 2, a, greys, counts),
                "灰度没有乘 √a：加噪声时干净的值缩小了，要和缩小了的比",
                "the greys are not multiplied by √a: noise comes with a smaller clean value, and that is what x_t is near",
            ),
            Wrong(
                lambda x_t, a, greys, counts: weighed((x_t - a * greys) ** 2, a, greys, counts),
                "乘的是 a，不是 √a：加噪声的公式里有根号",
                "this multiplies by a, not by √a: adding noise takes the square root",
            ),
            Wrong(
                lambda x_t, a, greys, counts: weighed(np.abs(x_t - np.sqrt(a) * greys), a, greys, counts),
                "距离没有平方：钟形曲线里是距离的平方",
                "the distance is not squared: in the bell curve it is",
            ),
            Wrong(
                lambda x_t, a, greys, counts: weighed(2 * (x_t - np.sqrt(a) * greys) ** 2, a, greys, counts),
                "分母少了 2：是 2 (1 - a)，不是 1 - a",
                "the 2 below the line is missing: it is 2 (1 - a), not 1 - a",
            ),
            Wrong(
                lambda x_t, a, greys, counts: weighed((1 - a) / a * (x_t - np.sqrt(a) * greys) ** 2, a, greys, counts),
                "分母里是噪声的方差 1 - a，不是 a",
                "what belongs below the line is the variance of the noise, 1 - a, not a",
            ),
            Wrong(
                lambda x_t, a, greys, counts: weighed((1 - a) ** 2 * (x_t - np.sqrt(a) * greys) ** 2, a, greys, counts),
                "除号后面少了括号：`/ 2 * (1 - a)` 是除以 2 再*乘* 1 - a",
                "brackets are missing below the line: `/ 2 * (1 - a)` divides by 2 and *multiplies* by 1 - a",
            ),
            Wrong(
                lambda x_t, a, greys, counts: weighed(
                    np.sqrt(1 - a) * (x_t - np.sqrt(a) * greys) ** 2, a, greys, counts
                ),
                "分母里是噪声的方差 1 - a，不要再开平方",
                "what belongs below the line is the variance of the noise, 1 - a, without a square root",
            ),
            Wrong(
                lambda x_t, a, greys, counts: weighed(-((x_t - np.sqrt(a) * greys) ** 2), a, greys, counts),
                "exp 里少了负号：这样离得越远反而越重",
                "the minus sign inside exp is missing: like this, what is farther away weighs more",
            ),
            Wrong(
                lambda x_t, a, greys, counts: (
                    (counts * fit(x_t, a, greys, 1) * greys).sum() / fit(x_t, a, greys, 1).sum()
                ),
                "counts 乘晚了：先乘进权重，再让权重加起来是 1",
                "counts comes too late: it belongs in the weights before they are made to add up to 1",
            ),
            Wrong(
                lambda x_t, a, greys, counts: (fit(x_t, a, greys, counts) * greys).sum(),
                "没有除以权重的和：权重要加起来是 1",
                "not divided by the sum of the weights: they should add up to 1",
            ),
            Wrong(
                lambda x_t, a, greys, counts: (fit(x_t, a, greys, counts) * greys).sum() / counts.sum(),
                "除的是 counts 的和：应除以权重的和，权重才加起来是 1",
                "this divides by the sum of counts; dividing by the sum of the weights makes them add up to 1",
            ),
            Wrong(
                lambda x_t, a, greys, counts: (fit(x_t, a, greys, counts) * greys).mean(),
                "这是不加权的平均：应除以权重的和，不是除以灰度的种数",
                "this divides by how many greys there are; it should be the sum of the weights",
            ),
            Wrong(
                lambda x_t, a, greys, counts: weighed((x_t - np.sqrt(a) * greys) ** 2, a, greys, counts) / len(greys),
                "权重已经加起来是 1，要的是和（sum），不是再取平均（mean）",
                "the weights add up to 1 already: take the sum, not the mean",
            ),
            Wrong(
                lambda x_t, a, greys, counts: (x_t - np.sqrt(a) * best_grey(x_t, a, greys, counts)) / np.sqrt(1 - a),
                "这是猜的噪声；要的是猜的干净的灰度",
                "this is the guess of the noise; that of the clean grey is wanted",
            ),
            Wrong(
                lambda x_t, a, greys, counts: greys[np.argmax(fit(x_t, a, greys, counts))],
                "你挑了最像的那一种；按平方误差，最好的猜测是平均，不是最可能的一种",
                "this picks the most likely grey; by squared error the best guess is a mean, not the most likely one",
            ),
        ),
    ),
    Exercise(
        number="0.2",
        kind="function",
        zh="`mini` 猜的是 `v`（0.8）。写出 0.4 的一步 DDIM：从 `x_t` 走到噪声少一点的 $x_s$，形状不变；都是 numpy 数组。`a_t` 和 `a_s` 是 $\\bar\\alpha_t$ 和 $\\bar\\alpha_s$。",
        en="`mini` guesses `v` (0.8). Write one DDIM step of 0.4 with it: from `x_t` to $x_s$, which has a little less noise and"
        " the same shape; both are numpy arrays. `a_t` and `a_s` are $\\bar\\alpha_t$ and $\\bar\\alpha_s$.",
        hints=(
            (
                "两件事：先由 v 换算出猜的 x_0 和猜的噪声，再按 a_s 重新混。",
                "Two things: turn v into the guessed x_0 and the guessed noise, then mix them again by a_s.",
            ),
            (
                "0.8 的单元格里有两行 assert，就是这两个换算；一个是减，一个是加。",
                "Two asserts in the cell of 0.8 are these two conversions; one subtracts, the other adds.",
            ),
            (
                "x_0 = √a_t x_t - √(1-a_t) v，noise = √(1-a_t) x_t + √a_t v；再用 a_s 代进加噪声的公式。",
                "x_0 = √a_t x_t - √(1-a_t) v, noise = √(1-a_t) x_t + √a_t v; then the formula that adds noise, with a_s.",
            ),
        ),
        solution=step_back,
        also=(step_back_by_x_0, turned),
        inputs=a_step,
        wrong=(
            Wrong(
                lambda x_t, v, a_t, a_s: clean_of(x_t, v, a_t),
                "这是 x_0，一步走到了底：还要按 a_s 把噪声混回去",
                "this is x_0, all the way at once: the noise has to be mixed in again, by a_s",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: np.sqrt(a_s) * clean_of(x_t, v, a_t),
                "没有把噪声混回去：少了 √(1-a_s) 那一项",
                "the noise is not mixed in again: the term with √(1-a_s) is missing",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: mixed(clean_of(x_t, v, a_t), noise_of(x_t, v, a_t), a_t),
                "原地没动：换算用 a_t，重新混要用 a_s",
                "this leads back to x_t: convert with a_t, and mix again with a_s",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: mixed((x_t - np.sqrt(1 - a_t) * v) / np.sqrt(a_t), v, a_s),
                "你把 v 当成了噪声：先用 0.8 的公式换算",
                "v is taken for the noise here: convert it first, by the formulas of 0.8",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: mixed((x_t - np.sqrt(1 - a_t) * v) / np.sqrt(a_t), noise_of(x_t, v, a_t), a_s),
                "算 x_0 时把 v 当成了噪声：由 v 换算是 √a_t x_t - √(1-a_t) v",
                "for x_0, v is taken for the noise: from v it is √a_t x_t - √(1-a_t) v",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: (
                    np.sqrt(a_s) * clean_of(x_t, v, a_t) + np.sqrt(1 - a_t) * noise_of(x_t, v, a_t)
                ),
                "噪声还是按 a_t 混的：混回去的要少一点，是 √(1-a_s)",
                "the noise is still mixed in by a_t: less of it goes back in, √(1-a_s)",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: mixed(clean_of(x_t, v, a_t), v, a_s),
                "混回去的是 v，不是噪声：noise = √(1-a_t) x_t + √a_t v",
                "what is mixed in again is v, not the noise: noise = √(1-a_t) x_t + √a_t v",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: mixed(clean_of(x_t, -v, a_t), noise_of(x_t, v, a_t), a_s),
                "x_0 的符号反了：是 √a_t x_t 减去 √(1-a_t) v",
                "the sign in x_0 is wrong: √a_t x_t minus √(1-a_t) v",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: mixed(clean_of(x_t, v, a_t), noise_of(x_t, -v, a_t), a_s),
                "噪声的符号反了：是 √(1-a_t) x_t 加上 √a_t v",
                "the sign in the noise is wrong: √(1-a_t) x_t plus √a_t v",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: mixed(noise_of(x_t, v, a_t), clean_of(x_t, v, a_t), a_s),
                "x_0 和噪声反了：换算时认反了，或者混的时候放反了；√a_s 乘的是 x_0",
                "x_0 and the noise are exchanged, in the conversion or in mixing: √a_s goes with x_0",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: step_back(x_t, v, a_s, a_t),
                "a_t 和 a_s 用反了：换算用 a_t，重新混用 a_s",
                "a_t and a_s are exchanged: convert with a_t, mix again with a_s",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: a_s * (a_t * x_t - (1 - a_t) * v) + (1 - a_s) * ((1 - a_t) * x_t + a_t * v),
                "到处都忘了根号：换算和混都是 √a 和 √(1-a)",
                "no square root anywhere: it is √a and √(1-a), in the conversion and in mixing",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: mixed(clean_of(x_t, v, a_t), x_t, a_s),
                "混回去的是 x_t，不是噪声：noise = √(1-a_t) x_t + √a_t v",
                "what is mixed in again is x_t, not the noise: noise = √(1-a_t) x_t + √a_t v",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: mixed(clean_of(x_t, v, a_t), (v + np.sqrt(1 - a_t) * x_t) / np.sqrt(a_t), a_s),
                "v = √a ε - √(1-a) x_0 里的是 x_0，你代了 x_t",
                "it is x_0 that stands in v = √a ε - √(1-a) x_0; here x_t was put in",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: a_s * clean_of(x_t, v, a_t) + (1 - a_s) * noise_of(x_t, v, a_t),
                "重新混时忘了根号：是 √a_s 和 √(1-a_s)",
                "the square roots are forgotten in mixing: √a_s and √(1-a_s)",
            ),
            Wrong(
                lambda x_t, v, a_t, a_s: mixed(a_t * x_t - (1 - a_t) * v, (1 - a_t) * x_t + a_t * v, a_s),
                "换算时忘了根号：是 √a_t 和 √(1-a_t)",
                "the square roots are forgotten in the conversion: √a_t and √(1-a_t)",
            ),
        ),
    ),
    Exercise(
        number="0.3",
        kind="predict",
        zh="0.2 说，方差是 1 的数据加多少噪声方差都是 1。有人忘了缩放，喂进来的数大了一倍：`2 * pixels`。在 $\\bar\\alpha_t=0.25$ 的时间步，$x_t$ 的方差是多少？先写下来，再量：`t = abs(abar - 0.25).argmin()`，`add_noise(2 * pixels, t, rng.standard_normal(len(pixels))).var()`。",
        en="0.2 says that data of variance 1 keep variance 1 whatever the noise. Somebody forgot to scale, and feeds in numbers"
        " twice as large: `2 * pixels`. At the timestep with $\\bar\\alpha_t=0.25$, what is the variance of $x_t$? Write it"
        " down, then measure: `t = abs(abar - 0.25).argmin()`,"
        " `add_noise(2 * pixels, t, rng.standard_normal(len(pixels))).var()`.",
        hints=(
            ("`2 * pixels` 自己的方差是多少？", "What is the variance of `2 * pixels` itself?"),
            (
                "方差随系数的*平方*变；x_0 的系数是 √0.25。",
                "A variance goes with the *square* of the factor, and the factor of x_0 is √0.25.",
            ),
            (
                "两份方差相加：0.25 × (x_0 的方差) + 0.75 × (噪声的方差)。",
                "Two variances are added: 0.25 times that of x_0, and 0.75 times that of the noise.",
            ),
        ),
        solution=0.25 * 4 + 0.75,
        tolerance=0.01,
        wrong=(
            Wrong(
                1,
                "总是 1 的前提是数据的方差是 1，这里的数大了一倍（如果你只算了 x_0 那一份，还要加上噪声的）",
                "it is always 1 only if the data have variance 1; these numbers are twice as large (if you took the share of x_0 alone: add that of the noise)",
            ),
            Wrong(
                0.25 * 2 + 0.75,
                "数大一倍，方差大四倍：方差随系数的平方变",
                "twice the numbers are four times the variance: it goes with the square",
            ),
            Wrong(
                0.5 * 2 + 0.75**0.5, "相加的是方差，不是标准差", "it is variances that add up, not standard deviations"
            ),
            Wrong(
                0.25**2 * 4 + 0.75**2,
                "系数是 √0.25 和 √0.75，平方一次就是 0.25 和 0.75；你平方了两次",
                "the factors are √0.25 and √0.75, whose squares are 0.25 and 0.75; you squared twice",
            ),
            Wrong(
                0.5 * 4 + 0.75**0.5,
                "系数忘了平方：方差要乘 0.25 和 0.75",
                "the factors are not squared: the variances are multiplied by 0.25 and 0.75",
            ),
            Wrong(
                4 + 0.75,
                "x_0 也缩小了：它的系数是 √0.25，不是 1",
                "x_0 is made smaller as well: its factor is √0.25, not 1",
            ),
            Wrong(
                4,
                "噪声挤走了一部分原来的东西：4 是还没加噪声时的方差",
                "noise takes the place of part of the data: 4 is the variance before any is added",
            ),
            Wrong(1.75**0.5, "这是标准差，问的是方差", "this is the standard deviation; the variance is asked for"),
            Wrong(
                0.75 * 4 + 0.25,
                "两个系数放反了：剩下的原图是 0.25，噪声是 0.75",
                "the two are exchanged: 0.25 is left of the data, 0.75 is noise",
            ),
        ),
    ),
]
