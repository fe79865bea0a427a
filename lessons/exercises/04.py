"""Exercises of lesson 04."""

from functools import lru_cache

import numpy as np

import paidiff_lib as paidiff
from paidiff_course.exercise import Exercise, Goal, Wrong
from paidiff_lib import CaptionFolder
from paidiff_lib.errors import PaidiffError
from paidiff_world import Spec, measure, render
from paidiff_world.judge import similarity
from paidiff_world.measures import choose

# --- 4.1 cosines --------------------------------------------------------------------------------------------------


def cosine_table(vectors, table):
    lengths = np.linalg.norm(vectors, axis=1)[:, None] * np.linalg.norm(table, axis=1)
    return vectors @ table.T / lengths


def cosines_of_unit_rows(vectors, table):
    a = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    b = table / np.linalg.norm(table, axis=1, keepdims=True)
    return a @ b.T


def cosines_in_a_loop(vectors, table):
    return np.array([[v @ w / np.sqrt((v**2).sum() * (w**2).sum()) for w in table] for v in vectors])


def some_rows(rs):
    """Two learnt vectors (2, 6) and a table (9, 6), with rows of all lengths."""
    return 3 * rs.randn(2, 6), rs.randn(9, 6) * rs.uniform(0.3, 3, (9, 1))


# --- 4.2 a step ---------------------------------------------------------------------------------------------------


def step(table, gradient, ids, rate):
    new = table.copy()
    new[ids] -= rate * gradient[ids]
    return new


def step_under_a_mask(table, gradient, ids, rate):
    trained = np.isin(np.arange(len(table)), ids)[:, None]
    return table - rate * trained * gradient


def step_row_by_row(table, gradient, ids, rate):
    rows = [row - rate * slope if i in ids else row for i, (row, slope) in enumerate(zip(table, gradient))]
    return np.stack(rows)


def a_table(rs):
    """A table (8, 5) whose last two rows are the new word, the gradient of all of it, the new ids, and a rate."""
    return *rs.randn(2, 8, 5), [6, 7], rs.uniform(0.05, 0.3)


def moved(table, change, ids):
    new = table.copy()
    new[ids] += change[ids]
    return new


# --- 4.3 what the first ruler takes for the kitten ------------------------------------------------------------------

PLACES = "草地", "沙发", "湖面", "星空"
YELLOW = "小奶猫 猫 老虎 狐狸 狮子 小鸡 骆驼 橘子 香蕉 向日葵 王冠 灯泡".split()


@lru_cache(1)
def _options():
    def real(name):
        specs = [Spec(name, place, size=0.75, grid=True) for place in PLACES]
        return [render(spec, np.random.RandomState(100 + i)) for i, spec in enumerate(specs)]

    return {name: real(name) for name in YELLOW}


def two_rulers(phrase, draw):
    """What is drawn for a phrase in four places: the judge's cosine, and how often CLIP chooses the kitten."""
    if not isinstance(phrase, str):
        return {"text": False}
    try:
        spec = measure.parse(phrase)
    except PaidiffError as error:
        return {"text": True, "refused": str(error)}
    found = {
        "text": True,
        "refused": "",
        "phrase": phrase,
        "subject": spec.subject,
        "place": spec.background,
        "cosine": 1,
        "chosen": 0,
    }
    if spec.subject in (None, "猫", "狐狸") or spec.background:
        return found
    pictures = draw([f"{phrase},{place}" for place in PLACES], seed=1)
    kitten = CaptionFolder(paidiff.data("kitten"), captions=False)
    kittens = [kitten.image(i, 256) for i in range(len(kitten))]
    found["cosine"] = float(np.mean(similarity(pictures, kittens)))
    found["chosen"] = choose(pictures, _options()).count("小奶猫")
    return found


EXERCISES = [
    Exercise(
        number="4.1",
        kind="function",
        zh="写出 4.2 里学到的向量和整张表的余弦。`vectors` 的形状是 (2, 6)，新词的两个向量；`table` 的形状是 (9, 6)，九个旧词元的向量，长短不一；都是 numpy 数组（课里的是 torch 张量）。返回形状 (2, 9)：每个新向量和每个旧向量的余弦。",
        en="Write the cosines of 4.2, of the learnt vectors with the whole table. `vectors` has shape (2, 6), two vectors of the new"
        " word; `table` has shape (9, 6), the vectors of nine old tokens, of all lengths; both are numpy arrays"
        " (the lesson's are torch tensors). Return shape (2, 9): the cosine of each"
        " new vector with each old one.",
        hints=(
            (
                "余弦只问方向，不问长短：向量长一倍，余弦变吗？",
                "A cosine asks for the direction only: does it change if a vector is twice as long?",
            ),
            (
                "点积除以两边的长度；一行的长度是这一行的平方和开平方。",
                "The dot product, divided by both lengths; the length of a row is the root of the sum of its squares.",
            ),
            (
                "每一行除以 np.linalg.norm(…, axis=1, keepdims=True)，再 a @ b.T。",
                "Divide each row by np.linalg.norm(…, axis=1, keepdims=True), then a @ b.T.",
            ),
        ),
        solution=cosine_table,
        also=(cosines_of_unit_rows, cosines_in_a_loop),
        inputs=some_rows,
        wrong=(
            Wrong(
                lambda vectors, table: vectors / vectors.norm(dim=1, keepdim=True) @ table.T,
                "这是 torch 的写法；这里是 numpy 数组：np.linalg.norm(…, axis=1, keepdims=True)",
                "this is torch; these are numpy arrays: np.linalg.norm(…, axis=1, keepdims=True)",
            ),
            Wrong(
                lambda vectors, table: vectors / np.linalg.norm(vectors, axis=1) @ table.T,
                "两行各有一个长度，形状 (2,)，除不了 (2, 6)：加上 keepdims=True，长度就是 (2, 1)",
                "the lengths have shape (2,), which does not divide (2, 6): with keepdims=True it is (2, 1)",
            ),
            Wrong(
                lambda vectors, table: np.cos(vectors @ table.T),
                "余弦不是对点积求 cos：点积除以两边的长度就是余弦",
                "a cosine is not the cos of the dot product: that product divided by both lengths is the cosine",
            ),
            Wrong(
                lambda vectors, table: vectors @ table.T,
                "这是点积，没有除以长度：长的向量和谁都“像”",
                "this is the dot product, not divided by the lengths: a long vector would be “like” every other",
            ),
            Wrong(
                lambda vectors, table: vectors @ table.T / np.linalg.norm(table, axis=1),
                "只除了表里向量的长度，新向量的也要除",
                "divided by the lengths in the table only; those of the new vectors are missing",
            ),
            Wrong(
                lambda vectors, table: vectors @ table.T / np.linalg.norm(vectors, axis=1, keepdims=True),
                "只除了新向量的长度，表里的也要除",
                "divided by the lengths of the new vectors only; those in the table are missing",
            ),
            Wrong(
                lambda vectors, table: vectors @ table.T / (vectors**2).sum(1, keepdims=True) / (table**2).sum(1),
                "长度忘了开平方",
                "the square root of the lengths is forgotten",
            ),
            Wrong(
                lambda vectors, table: (
                    (vectors / np.linalg.norm(vectors, axis=0)) @ (table / np.linalg.norm(table, axis=0)).T
                ),
                "轴错了：一*行*是一个向量，长度沿 axis=1 求",
                "the wrong axis: a *row* is a vector, its length is along axis=1",
            ),
            Wrong(
                lambda vectors, table: vectors @ table.T / np.linalg.norm(vectors) / np.linalg.norm(table),
                "你用了整个数组的长度：每一行有自己的长度（axis=1）",
                "this is the length of the whole array: each row has its own (axis=1)",
            ),
            Wrong(
                lambda vectors, table: cosine_table(table, vectors),
                "转置了：新向量是行，旧词元是列，形状 (2, 9)",
                "transposed: a row for each new vector, a column for each old token, shape (2, 9)",
            ),
            Wrong(
                lambda vectors, table: np.abs(cosine_table(vectors, table)),
                "不要取绝对值：方向相反是 -1，一点不像",
                "no absolute value: opposite directions are -1, which is not alike",
            ),
            Wrong(
                lambda vectors, table: 1 - cosine_table(vectors, table),
                "这是余弦距离；余弦越大越像",
                "this is the cosine distance; the larger the cosine, the more alike",
            ),
            Wrong(
                lambda vectors, table: np.degrees(np.arccos(cosine_table(vectors, table))),
                "这是夹角，要的是它的余弦：不必再取反余弦",
                "this is the angle; its cosine is wanted: leave out the arc cosine",
            ),
            Wrong(
                lambda vectors, table: vectors @ table.T / np.linalg.norm(vectors @ table.T, axis=1, keepdims=True),
                "要除的是*向量*的长度，不是点积那一行的长度",
                "divide by the lengths of the *vectors*, not by that of a row of dot products",
            ),
            Wrong(
                lambda vectors, table: cosine_table(vectors, table).argmax(1),
                "这是最像的那一行的行号；要的是全部余弦",
                "this is the row of the one most alike; all the cosines are wanted",
            ),
            Wrong(
                lambda vectors, table: np.linalg.norm(vectors[:, None] - table, axis=2),
                "这是两点的距离，长短也算进去了；余弦只问方向",
                "this is the distance of two points, to which lengths matter; a cosine asks for the direction only",
            ),
            Wrong(
                lambda vectors, table: vectors @ table.T / np.abs(vectors).sum(1, keepdims=True) / np.abs(table).sum(1),
                "长度是平方和开平方，不是绝对值的和",
                "a length is the root of the sum of squares, not the sum of absolute values",
            ),
            Wrong(
                lambda vectors, table: cosine_table(
                    vectors - vectors.mean(1, keepdims=True), table - table.mean(1, keepdims=True)
                ),
                "不要减平均：那是相关系数",
                "do not take away the mean: that is a correlation",
            ),
        ),
    ),
    Exercise(
        number="4.2",
        kind="function",
        zh="写出 Textual Inversion 的一步（4.2）。`table` 是嵌入表，形状 (8, 5)；`gradient` 是损失对整张表的梯度，形状 (8, 5)；`ids` 是新词占的行号的列表，例如 [6, 7]；`rate` 是学习率。走一步最简单的梯度下降，返回新的表 (8, 5)：哪些行动，哪些行不动？",
        en="Write one step of Textual Inversion (4.2). `table` is the table of embeddings, shape (8, 5); `gradient` is the gradient of"
        " the loss for all of the table, shape (8, 5); `ids` is the list of the rows of the new word, such as [6, 7]; `rate` is"
        " the learning rate. Take a step of plain gradient descent and return the new table, (8, 5): which rows move, and which"
        " do not?",
        hints=(
            (
                "4.4 说别的提示词一个像素都没变。这张表的哪些行才做得到？",
                "By 4.4 no other prompt changed by a pixel. Of this table, what must therefore not move?",
            ),
            (
                "梯度指向损失*变大*的方向；步子的大小是 rate。",
                "The gradient points to where the loss *grows*; the size of the step is rate.",
            ),
            (
                "new = table.copy()，然后 new[ids] -= rate * gradient[ids]。",
                "new = table.copy(), then new[ids] -= rate * gradient[ids].",
            ),
        ),
        solution=step,
        also=(step_under_a_mask, step_row_by_row),
        inputs=a_table,
        wrong=(
            Wrong(
                lambda table, gradient, ids, rate: table - rate * gradient,
                "整张表都动了：旧词的行一动，别的提示词就变了",
                "the whole table moved: with the rows of old words, every other prompt changes",
            ),
            Wrong(
                lambda table, gradient, ids, rate: moved(table, rate * gradient, ids),
                "符号反了：沿梯度走，损失变大",
                "the sign is wrong: along the gradient the loss grows",
            ),
            Wrong(
                lambda table, gradient, ids, rate: moved(table, -gradient, ids),
                "忘了学习率 rate",
                "the learning rate is forgotten",
            ),
            Wrong(
                lambda table, gradient, ids, rate: moved(table, -rate * gradient, ids[:1]),
                "只动了第一行：一个新词可以占几行，每一行都要学",
                "only the first row moved: a word may have several, and each is learnt",
            ),
            Wrong(
                lambda table, gradient, ids, rate: moved(table, -rate * gradient, ids[-1:]),
                "只动了最后一行：一个新词可以占几行，每一行都要学",
                "only the last row moved: a word may have several, and each is learnt",
            ),
            Wrong(
                lambda table, gradient, ids, rate: moved(table, -rate * gradient, [i - 1 for i in ids]),
                "行号差了一个：行从 0 数起，ids 可以直接用",
                "the rows are off by one: they count from 0, and ids can be used as they are",
            ),
            Wrong(
                lambda table, gradient, ids, rate: moved(
                    table, -rate * gradient, [i for i in range(len(table)) if i not in ids]
                ),
                "反了：动的是旧词，新词没动",
                "the wrong way round: the old words moved, the new one did not",
            ),
            Wrong(
                lambda table, gradient, ids, rate: moved(table, -table - rate * gradient, ids),
                "新的行成了梯度本身：要从原来的向量上*减*，写 -=，不是 =",
                "the new rows are the gradient itself: it is taken *from* the vectors, -=, not =",
            ),
            Wrong(
                lambda table, gradient, ids, rate: table[ids] - rate * gradient[ids],
                "只还回了新词的行：要整张表，旧的行照旧",
                "only the rows of the new word came back: the whole table is wanted, with the old rows as they were",
            ),
            Wrong(
                lambda table, gradient, ids, rate: moved(
                    table, -rate * np.tile(gradient[ids].mean(0), (len(table), 1)), ids
                ),
                "每一行有自己的梯度，不要取平均",
                "each row has a gradient of its own: no mean over them",
            ),
            Wrong(
                lambda table, gradient, ids, rate: moved(table, -gradient / rate, ids),
                "是乘学习率，不是除",
                "times the learning rate, not divided by it",
            ),
            Wrong(lambda table, gradient, ids, rate: table.copy(), "什么也没动", "nothing has moved"),
        ),
    ),
    Exercise(
        number="4.3",
        kind="goal",
        zh="4.3 的对照里，狐狸骗过了裁判的余弦。再找一样：`answer` 是一句话（只写东西，不写地点，例如 `'汽车'`），不许是狐狸或猫。画在四个地方（草地、沙发、湖面、星空，种子 1），裁判的余弦平均在 0.5 以上；而 CLIP 做 4.3 的选择题，*一次也不*选小奶猫。",
        en="In the control of 4.3 a fox took in the judge's cosine. Find something else that does: `answer` is a phrase (the thing"
        " alone, without a place, such as `'汽车'`), neither fox nor cat. Drawn in four places (草地, 沙发, 湖面, 星空, seed 1), its"
        " mean cosine by the judge is above 0.5; and in the choice of 4.3 CLIP does *not once* choose the kitten.",
        hints=(
            (
                "裁判把小奶猫看成“有点像这个、有点像那个”：是哪一类东西？",
                "Of the kitten the judge says “something of this, something of that”: of which kind of thing?",
            ),
            (
                "试别的动物的脸：`similarity(draw(pipe, ['…,草地'], seed=1), pictures)`。太像小奶猫的，CLIP 会选中它。",
                "Try the faces of other animals: `similarity(draw(pipe, ['…,草地'], seed=1), pictures)`. What is too much like the"
                " kitten CLIP will choose.",
            ),
            (
                "圆耳朵的大动物，自己的颜色，不要加“黄色的”。",
                "Large animals with round ears, in their own colour: do not ask for yellow.",
            ),
        ),
        solution="小熊",
        also=("狮子",),
        measure=two_rulers,
        goals=(
            Goal(lambda m: m["text"], "要一句话，一个字符串", "one phrase is wanted, a string"),
            Goal(lambda m: not m["refused"], "读不懂：{refused}", "cannot be read: {refused}"),
            Goal(
                lambda m: m["subject"],
                "“{phrase}”里没有裁判认识的东西",
                "the judge knows nothing that is in “{phrase}”",
            ),
            Goal(
                lambda m: m["subject"] not in ("猫", "狐狸"),
                "狐狸和猫 4.3 已经量过，换别的",
                "fox and cat were measured in 4.3, take something else",
            ),
            Goal(
                lambda m: not m["place"],
                "不要写地点（{place}）：地点由检查器加",
                "name no place ({place}): the checker adds them",
            ),
            Goal(
                lambda m: m["cosine"] >= 0.5,
                "裁判的余弦只有 {cosine:.2f}：它没有上当",
                "the judge's cosine is only {cosine:.2f}: it was not taken in",
            ),
            Goal(
                lambda m: m["chosen"] == 0,
                "裁判的余弦 {cosine:.2f}，可是 CLIP 四次里有 {chosen} 次也选了小奶猫：两把尺子还没有分开",
                "the judge's cosine is {cosine:.2f}, but CLIP chose the kitten too, in {chosen} of four: the rulers do not"
                " disagree yet",
            ),
        ),
        wrong=(
            Wrong("狐狸", "4.3 已经量过", "were measured in 4.3"),
            Wrong("小奶猫", "读不懂", "cannot be read"),
            Wrong("小熊,草地", "不要写地点", "name no place"),
            Wrong(["小熊"], "要一句话", "one phrase is wanted"),
            Wrong("汽车", "它没有上当", "it was not taken in"),
            Wrong("黄色的考拉", "也选了小奶猫", "chose the kitten too"),
            Wrong("黄黄的一团", "没有裁判认识的东西", "the judge knows nothing"),
        ),
    ),
]
