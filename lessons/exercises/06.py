"""Exercises of lesson 06."""

import numpy as np

from paidiff_course.exercise import Exercise, Goal, Wrong
from paidiff_lib import canny
from paidiff_world import Spec, render

# --- 6.1 a block with its ControlNet ------------------------------------------------------------------------------


def block(x, c, F, copy, E, Z, s):
    return F(x) + s * Z(copy(x + E(c)))


def block_step_by_step(x, c, F, copy, E, Z, s):
    pushed = copy(E(c) + x)
    return s * Z(pushed) + F(x)


def block_in_place(x, c, F, copy, E, Z, s):
    y = F(x).copy()
    y += Z(copy(x + E(c))) * s
    return y


def a_block(rs):
    """x and c (4, 8, 8), the four maps, bent so that none can be taken for another, and a scale."""
    w = rs.uniform(0.5, 1.5, 8)

    def layer(k):
        return lambda x: np.tanh(w[k] * x) + w[k + 4]

    return *rs.randn(2, 4, 8, 8), layer(0), layer(1), layer(2), layer(3), rs.uniform(0.3, 0.8)


# --- 6.2 edge agreement -------------------------------------------------------------------------------------------


def edge_f1(edges, lines, near_edges, near_lines):
    P = near_lines[edges].mean()
    R = near_edges[lines].mean()
    return 2 * P * R / (P + R)


def agreement_by_counting(edges, lines, near_edges, near_lines):
    P = (edges & near_lines).sum() / edges.sum()
    R = (lines & near_edges).sum() / lines.sum()
    return 2 / (1 / P + 1 / R)


def agreement_by_products(edges, lines, near_edges, near_lines):
    P = np.sum(edges * near_lines) / np.count_nonzero(edges)
    R = np.average(near_edges, weights=lines)
    return P * R / np.mean([P, R])


def near(m):
    """Within two pixels."""
    return np.any([np.roll(m, (dy, dx), (0, 1)) for dy in range(-2, 3) for dx in range(-2, 3)], 0)


def two_drawings(rs):
    """Edges and lines, (32, 32) booleans, of different number, in part the same; and each widened by two pixels."""
    edges, lines = rs.rand(32, 32) < 0.07, rs.rand(32, 32) < 0.01
    edges[8, 4:20] = lines[9, 6:26] = lines[20, 4:24] = edges[26, 4:14] = lines[26, 4:14] = True
    return edges, lines, near(edges), near(lines)


# --- 6.3 thresholds -----------------------------------------------------------------------------------------------

PAINTED = "房子", "汽车", "茶壶"


def lines_of_paintings(answer, _):
    """Precision and recall of an oil painting's lines, against those of the same scene without brush strokes."""
    if np.shape(answer) != (2,):
        return {"pair": False}
    low, high = map(float, answer)
    found, wanted = zip(*(_edges(name, low, high) for name in PAINTED))
    precision = [near(w)[f].mean() if f.any() else 0 for f, w in zip(found, wanted)]
    recall = [near(f)[w].mean() for f, w in zip(found, wanted)]
    return {"pair": True, "low": low, "high": high, "P": float(np.mean(precision)), "R": float(np.mean(recall))}


def _edges(name, low, high):
    scenes = [Spec(name, "草地", style, size=0.7) for style in ("油画", "扁平")]
    painting, plain = (render(scene, np.random.RandomState(3)) for scene in scenes)
    return [np.asarray(canny(*each))[..., 0] > 127 for each in ((painting, low, high), (plain,))]


EXERCISES = [
    Exercise(
        number="6.1",
        kind="function",
        zh="写出 6.3 的公式：UNet 的一块接上 ControlNet 之后的输出。`x` 和 `c` 是同样形状的数组；`F`（UNet 的一块）、`copy`（它的副本 F'）、`E`、`Z` 是四个函数，各收一个数组，返回同样形状的一个；`s` 是强度。返回 `y`，形状和 `x` 一样。",
        en="Write the formula of 6.3: what a block of the UNet puts out with its ControlNet. `x` and `c` are arrays of one shape; `F`"
        " (the UNet's block), `copy` (its copy, F'), `E` and `Z` are four functions, each of one array, returning one of the same"
        " shape; `s` is the scale. Return `y`, of the shape of `x`.",
        hints=(
            (
                "s = 0 时应该剩下什么？线稿 c 从哪个函数进去？",
                "What should be left at s = 0? Through which function does the drawing c come in?",
            ),
            (
                "UNet 自己的一块只看 x；副本看的是 x 加上线稿的特征。",
                "The UNet's own block sees x alone; the copy sees x plus the features of the drawing.",
            ),
            (
                "从里往外：E(c)，加 x，进 copy，进 Z，乘 s，再加上 F(x)。",
                "From the inside out: E(c), plus x, through copy, through Z, times s; then add F(x).",
            ),
        ),
        solution=block,
        also=(block_step_by_step, block_in_place),
        inputs=a_block,
        wrong=(
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x) + s * copy(x + E(c)),
                "没有经过零卷积 Z：没训练时就不再是“什么也不改变”了",
                "Z, the zero convolution, is left out: untrained, it would no longer change nothing",
            ),
            Wrong(lambda x, c, F, copy, E, Z, s: F(x) + Z(copy(x + E(c))), "忘了强度 s", "the scale s is forgotten"),
            Wrong(
                lambda x, c, F, copy, E, Z, s: s * (F(x) + Z(copy(x + E(c)))),
                "s 只乘 ControlNet 那一项；连 F(x) 也乘了，s = 0 时 UNet 也没了",
                "s belongs to the ControlNet's part alone: here F(x) is multiplied too, and at s = 0 the UNet is gone",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x) + s * Z(copy(E(c))),
                "副本也要看 x：它的输入是 x + E(c)，不只是线稿",
                "the copy sees x as well: what goes in is x + E(c), not the drawing alone",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x) + s * Z(copy(x + c)),
                "线稿没有经过 E：要先变成同样大小的特征",
                "the drawing did not go through E, which turns it into features of the same size",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x + E(c)) + s * Z(copy(x + E(c))),
                "线稿也进了 UNet 自己的一块：F 不动，只看 x",
                "the drawing went into the UNet's own block too: F is frozen and sees x alone",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x) + s * Z(F(x + E(c))),
                "线稿走的是副本 copy，不是 F 自己",
                "the drawing goes through the copy, not through F itself",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x) + Z(s * copy(x + E(c))),
                "s 乘早了：Z 有偏置，要在 Z 的*外面*乘，s = 0 才真的什么也不加",
                "s comes too early: Z has a bias, so s must be *outside* of Z, or something is added even at s = 0",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x) + s * copy(Z(x + E(c))),
                "Z 和 copy 的先后反了：零卷积在副本*之后*",
                "Z and copy are in the wrong order: the zero convolution comes *after* the copy",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: s * Z(copy(x + E(c))),
                "少了 F(x)：ControlNet 的输出是*加到* UNet 上的",
                "F(x) is missing: what the ControlNet puts out is *added* to the UNet",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: x + s * Z(copy(x + E(c))),
                "加到了 x 上：应加到 F(x) 上",
                "this is added to x: it should be F(x)",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x) + s * Z(copy(E(x + c))),
                "E 只看线稿：是 x + E(c)，不是 E(x + c)",
                "E sees the drawing alone: x + E(c), not E(x + c)",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x + s * Z(copy(x + E(c)))),
                "加早了：加到 F 的输出上，不是输入上",
                "added too early: to what comes out of F, not to what goes in",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x) + s * Z(copy(x) + E(c)),
                "线稿要在进副本*之前*加上：copy(x + E(c))",
                "the drawing is added *before* the copy: copy(x + E(c))",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: F(x) - s * Z(copy(x + E(c))),
                "是加上，不是减去",
                "it is added, not taken away",
            ),
            Wrong(
                lambda x, c, F, copy, E, Z, s: (1 - s) * F(x) + s * Z(copy(x + E(c))),
                "不是两者的加权平均：F(x) 总是整个的，再往上加",
                "it is no weighted mean of the two: all of F(x) stays, and the rest is added",
            ),
        ),
    ),
    Exercise(
        number="6.2",
        kind="function",
        zh="写出 6.5 的边缘吻合度 $F_1$。四张 (32, 32) 的布尔数组：`edges` 是画的边缘，`lines` 是线稿的线；`near_edges` 和 `near_lines` 是它们各自加宽两个像素之后的（两个像素以内有边缘、有线的地方）。返回一个数。",
        en="Write the edge agreement $F_1$ of 6.5. Four boolean arrays (32, 32): `edges` are the edges of what was drawn, `lines` the"
        " lines of the drawing; `near_edges` and `near_lines` are both widened by two pixels (where an edge, or a line, is within"
        " two pixels). Return a number.",
        hints=(
            (
                "查准率 P 是*画的边缘*里的几成？查全率 R 又是谁里面的几成？",
                "Of what is the precision P a share: of the *edges that were drawn*. And the recall R?",
            ),
            (
                "`near_lines[edges]` 挑出画的边缘所在的地方：那里两个像素以内有没有线。",
                "`near_lines[edges]` picks the places of the drawn edges: is there a line within two pixels?",
            ),
            (
                "P = near_lines[edges].mean()，R 把两样对调；最后 2PR / (P + R)。",
                "P = near_lines[edges].mean(), for R exchange the two; at the end 2PR / (P + R).",
            ),
        ),
        solution=edge_f1,
        also=(agreement_by_counting, agreement_by_products),
        inputs=two_drawings,
        wrong=(
            Wrong(
                lambda edges, lines, near_edges, near_lines: (near_lines[edges].mean() + near_edges[lines].mean()) / 2,
                "这是 P 和 R 的算术平均；F1 是 2PR / (P + R)，一头很低就整个低",
                "this is the arithmetic mean of P and R; F1 is 2PR / (P + R), which is low if either is",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: (
                    2 / (lines.sum() / (edges & near_lines).sum() + edges.sum() / (lines & near_edges).sum())
                ),
                "分母换了：P 除以画的边缘有多少，R 除以线有多少",
                "below the line they are exchanged: for P it is how many edges, for R how many lines",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: 100 * edge_f1(edges, lines, near_edges, near_lines),
                "要 0 到 1 的数，不是百分数",
                "a number from 0 to 1 is wanted, no per cent",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: near_lines[edges].mean(),
                "这只是查准率 P：只画最有把握的一点点，也可以很高；还要查全率",
                "this is the precision P alone, which can be high for somebody who draws next to nothing; recall is needed too",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: near_edges[lines].mean(),
                "这只是查全率 R：到处乱画，也可以很高；还要查准率",
                "this is the recall R alone, which can be high for somebody who scribbles everywhere; precision is needed too",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: edge_f1(edges, lines, edges, lines),
                "没有让出两个像素：要用加宽的那两张",
                "no two pixels were allowed: use the two that are widened",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: edge_f1(near_edges, near_lines, edges, lines),
                "加宽的放反了：分母数的是原来的线，不是加宽的",
                "the widened ones are in the wrong place: what is counted below the line is what was not widened",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: edge_f1(near_edges, near_lines, near_edges, near_lines),
                "两边都加宽了：只加宽要去碰的那一边",
                "both are widened: widen only the side that is to be met",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: edge_f1(edges, lines, near_lines, near_edges),
                "问了边缘附近有没有边缘：P 要看边缘附近有没有*线*",
                "this asks for edges near edges: P asks for *lines* near edges",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: edge_f1(edges, lines, near_edges, near_lines) / 2,
                "少了 2：P 和 R 都是 1 时，F1 应是 1",
                "the 2 is missing: where P and R are 1, F1 should be 1",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: (
                    3 * near_edges[lines].mean()  # 2 * P * R / P + R
                ),
                "除号后面少了括号：是除以 (P + R)",
                "brackets are missing below the line: divide by (P + R)",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: (
                    2 / (1 / near_lines[edges].sum() + 1 / near_edges[lines].sum())
                ),
                "P 和 R 是比例：取平均（mean），不是个数（sum）",
                "P and R are shares: the mean, not the sum",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: near_lines[edges].mean() * near_edges[lines].mean(),
                "只乘了 P 和 R，没有除以它们的平均",
                "P times R, but not divided by their mean",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: (
                    (2 * (near_lines & edges).mean() * (near_edges & lines).mean())
                    / ((near_lines & edges).mean() + (near_edges & lines).mean())
                ),
                "除的是全部像素：P 的分母是画的边缘，R 的分母是线",
                "divided by all pixels: for P it should be the drawn edges, for R the lines",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: (edges == lines).mean(),
                "这是一样的像素占多少：大片空白都算对了，什么都不画也有九成",
                "this is the share of equal pixels: all the empty ground counts as right, nine tenths for drawing nothing",
            ),
            Wrong(
                lambda edges, lines, near_edges, near_lines: (
                    ((near_lines & edges).sum() / lines.sum() + (near_edges & lines).sum() / edges.sum()) / 2
                ),
                "分母对调了：P 除以边缘的个数，R 除以线的个数",
                "the denominators are exchanged: P is divided by the number of edges, R by that of lines",
            ),
        ),
    ),
    Exercise(
        number="6.3",
        kind="goal",
        zh="6.2 的两个阈值：给三张油画（房子、汽车、茶壶，草地上）挑一对。好的线稿没有笔触，轮廓也不断：和*没有笔触*的同一个场景的线比，查准率 $P\\ge0.9$，查全率 $R\\ge0.85$（三张的平均，让出两个像素）。`answer` 是 `(低, 高)`。",
        en="The two thresholds of 6.2: choose a pair for three oil paintings (a house, a car and a teapot on grass). Good lines have no"
        " brush strokes and no broken outlines: against the lines of the same scenes *without* brush strokes, the precision is"
        " $P\\ge0.9$ and the recall $R\\ge0.85$ (means of the three, within two pixels). `answer` is `(low, high)`.",
        hints=(
            (
                "先试论文的 100 和 200，看 `check` 说是哪一头不够。",
                "Try the paper's 100 and 200 first, and see which side `check` finds wanting.",
            ),
            (
                "笔触太多（P 低）就提高阈值，轮廓断了（R 低）就降低；两个一起动，保持大约一比二。",
                "Too many strokes (a low P): raise the thresholds. Broken outlines (a low R): lower them. Move both, at about one to"
                " two.",
            ),
            ("在 100, 200 和 200, 400 之间。", "Between 100, 200 and 200, 400."),
        ),
        solution=(150, 300),
        also=((140, 290), [150, 320]),
        measure=lines_of_paintings,
        goals=(
            Goal(lambda m: m["pair"], "要两个数：先低后高", "two numbers are wanted, (low, high)"),
            Goal(
                lambda m: 0 <= m["low"] < m["high"],
                "先低后高：{low:g} 不比 {high:g} 低",
                "the low one first: {low:g} is not lower than {high:g}",
            ),
            Goal(
                lambda m: m["R"] >= 0.85,
                "轮廓断了：查全率只有 {R:.3f}（查准率 {P:.3f}）。阈值太高",
                "outlines are broken: the recall is {R:.3f} (the precision {P:.3f}). The thresholds are too high",
            ),
            Goal(
                lambda m: m["P"] >= 0.9,
                "笔触也成了线：查准率只有 {P:.3f}（查全率 {R:.3f}）。阈值太低",
                "brush strokes became lines: the precision is {P:.3f} (the recall {R:.3f}). The thresholds are too low",
            ),
        ),
        wrong=(
            Wrong((300, 150), "先低后高", "the low one first"),
            Wrong((100, 200), "笔触也成了线：查准率只有 0.8", "brush strokes became lines: the precision is 0.8"),
            Wrong((25, 50), "笔触也成了线", "brush strokes became lines"),
            Wrong((400, 800), "轮廓断了", "outlines are broken"),
            Wrong((200, 400), "轮廓断了：查全率只有 0.8", "outlines are broken: the recall is 0.8"),
            Wrong(150, "要两个数：", "two numbers are wanted"),
        ),
    ),
]
