"""Exercises of lesson 12."""

import numpy as np

from paidiff_course.exercise import Exercise, Goal, Wrong

# --- 12.1 attention -------------------------------------------------------------------------------------------------


def answers(Q, K, V):
    scores = np.exp(Q @ K.T / np.sqrt(Q.shape[1]))
    A = scores / scores.sum(1, keepdims=True)
    return A @ V


def answers_by_place(Q, K, V):
    found = []
    for q in Q:
        scores = [np.exp(np.dot(q, k) / len(q) ** 0.5) for k in K]
        found.append(sum(w * v for w, v in zip(scores, V)) / sum(scores))
    return np.array(found)


def answers_by_torch(Q, K, V):
    import torch

    A = (torch.tensor(Q) @ torch.tensor(K).T / K.shape[1] ** 0.5).softmax(dim=1)
    return A @ torch.tensor(V)


def softmax(scores, axis=1):
    return np.exp(scores) / np.exp(scores).sum(axis, keepdims=True)


def places_and_words(rs):
    """Q of five places, K and V of three words; d is 4, a row of V is 2 long."""
    return 1.5 * rs.randn(5, 4), 1.5 * rs.randn(3, 4), rs.randn(3, 2)


# --- 12.2 keep the old picture where both maps are dark ---------------------------------------------------------------


def keep(old, new, old_map, new_map, share):
    bright = (old_map >= share * old_map.max()) | (new_map >= share * new_map.max())
    return np.where(bright, new, old)


def keep_by_mask(old, new, old_map, new_map, share):
    dark = (old_map / old_map.max() < share) * (new_map / new_map.max() < share)
    return old * dark + new * (1 - dark)


def keep_in_place(old, new, old_map, new_map, share):
    mixed = old.copy()
    for one in (old_map, new_map):
        mixed[:, one / np.max(one) >= share] = new[:, one / np.max(one) >= share]
    return mixed


def light(one, share):
    return one >= share * one.max()


def latents_and_maps(rs):
    """Two latents (4, 8, 8), the maps of two words (8, 8) whose maxima differ, and a share that some cells just reach."""
    old_map, new_map = 6 * rs.randint(5, 15, (8, 8)) / 256, 8 * rs.randint(5, 15, (8, 8)) / 256
    old_map[0, 0], new_map[7, 7] = 96 / 256, 128 / 256
    return *rs.randn(2, 4, 8, 8), old_map, new_map, rs.choice([0.5, 0.75])


# --- 12.3 keys for wanted weights -------------------------------------------------------------------------------------

WANTED = (0.7, 0.2, 0.1)
ROOTS = np.sqrt(WANTED) / np.sqrt(WANTED).sum()  # what the logarithms alone give


def keys(weights):
    """Keys whose first number gives a question (1, 0, 0, 0) these weights."""
    return [[float(np.log(w)) * 4**0.5, 0.0, 0.0, 0.0] for w in weights]


def weights_of(K, draw):
    """The weights that a question (1, 0, 0, 0) gives to three words of these keys."""
    K = np.asarray(getattr(K, "tolist", lambda: K)(), float)
    found = {"shape": K.shape, "weights": [0.0] * 3}
    if K.shape == (3, 4):
        scores = np.exp(K[:, 0] / 4**0.5 - K[:, 0].max() / 4**0.5)
        found["weights"] = [float(round(w, 3)) for w in scores / scores.sum()]
    return found


# --- 12.4 attention that looks nowhere --------------------------------------------------------------------------------

TOKENS = 32  # the length of a prompt that mini reads, padding included
SUBJECT = 2  # 狐狸
ALL = len("狐狸,雪地,水彩画") + 2  # with [CLS] and [SEP]


EXERCISES = [
    Exercise(
        number="12.1",
        kind="function",
        zh="用 numpy 写出 12.2 的注意力（不用 torch 的 `softmax`）：`Q` 是 (位置, d)，`K` 是 (词, d)，`V` 是 (词, m)。返回每个位置的答案，形状 (位置, m)。",
        en="Write the attention of 12.2 in numpy (without torch's `softmax`): `Q` is (places, d), `K` is (words, d), `V` is"
        " (words, m). Return the answer of every place, of shape (places, m).",
        hints=(
            (
                "三步：点积，softmax，加权平均。写好后看看：一个位置的权重加起来是不是 1？",
                "Three steps: dot products, softmax, weighted mean. Then look: do the weights of a place add up to 1?",
            ),
            (
                "`Q @ K.T` 的形状是（位置，词）；除以 d 的平方根，d 是 `Q` 一行的长度。",
                "`Q @ K.T` is (places, words); divide by the root of d, the length of a row of `Q`.",
            ),
            (
                "softmax：先 `np.exp`，再除以这一行的和（`sum(1, keepdims=True)`）；最后 `@ V`。",
                "Softmax: `np.exp`, then divide by the sum of the row (`sum(1, keepdims=True)`); at last `@ V`.",
            ),
        ),
        solution=answers,
        also=(answers_by_place, answers_by_torch),
        inputs=places_and_words,
        wrong=(
            Wrong(
                lambda Q, K, V: softmax(Q @ K.T) @ V,
                "忘了除以 √d：点积随 d 变大，softmax 就只听一个的",
                "not divided by √d: dot products grow with d, and softmax listens to one word only",
            ),
            Wrong(
                lambda Q, K, V: softmax(Q @ K.T / Q.shape[1]) @ V,
                "除以了 d，要除以它的平方根",
                "divided by d in place of its square root",
            ),
            Wrong(
                lambda Q, K, V: softmax(Q @ K.T / len(Q) ** 0.5) @ V,
                "d 是一行的长度，`Q.shape[1]`；`len(Q)` 是位置的个数",
                "d is the length of a row, `Q.shape[1]`; `len(Q)` is the number of places",
            ),
            Wrong(
                lambda Q, K, V: softmax(Q @ K.T / len(K) ** 0.5) @ V,
                "d 是一行的长度，`K.shape[1]`；`len(K)` 是词的个数",
                "d is the length of a row, `K.shape[1]`; `len(K)` is the number of words",
            ),
            Wrong(
                lambda Q, K, V: softmax(Q @ K.T / Q.shape[1] ** 0.5, 0) @ V,
                "softmax 的轴错了：一个*位置*的权重加起来是 1，不是一个词的",
                "softmax over the wrong axis: the weights of a *place* add up to 1, not those of a word",
            ),
            Wrong(
                lambda Q, K, V: softmax(Q @ K.T / Q.shape[1] ** 0.5),
                "这是权重 A，还没有取平均：还要 `@ V`",
                "these are the weights A, nothing is averaged yet: `@ V` is missing",
            ),
            Wrong(
                lambda Q, K, V: np.exp(Q @ K.T / Q.shape[1] ** 0.5) @ V,
                "没有除以每行的和：权重加起来要是 1",
                "not divided by the sum of each row: weights have to add up to 1",
            ),
            Wrong(
                lambda Q, K, V: Q @ K.T / Q.shape[1] ** 0.5 @ V,
                "少了 softmax：点积可以是负的，不是权重",
                "softmax is missing: dot products may be negative and are no weights",
            ),
            Wrong(
                lambda Q, K, V: np.exp(Q @ K.T / Q.shape[1] ** 0.5) / np.exp(Q @ K.T / Q.shape[1] ** 0.5).sum() @ V,
                "除以了整张表的和：每个位置的权重各自加起来是 1，`sum(1, keepdims=True)`",
                "divided by the sum of the whole table: the weights of each place add up to 1, `sum(1, keepdims=True)`",
            ),
            Wrong(
                lambda Q, K, V: (Q @ K.T) / (Q @ K.T).sum(1, keepdims=True) @ V,
                "没有取指数：softmax 先 `np.exp`，权重才不会是负的",
                "no exponential: a softmax begins with `np.exp`, so that no weight is negative",
            ),
            Wrong(
                lambda Q, K, V: V[(Q @ K.T).argmax(1)],
                "这是只听最像的那个词；softmax 让每个词都有一点声音",
                "this hears the best word alone; softmax gives every word some say",
            ),
        ),
    ),
    Exercise(
        number="12.2",
        kind="function",
        zh="写出 12.7 的 `keep`：`old`、`new` 是旧图和新图的潜变量，形状 (4, 8, 8)，和热图一样大，不用缩放；`old_map`、`new_map` 是旧主体词和新主体词的热图，形状 (8, 8)；"
        "热图不低于*自己最大值*的 `share` 倍的地方算亮。返回潜变量：两张热图都暗的地方用旧的，其余用新的。",
        en="Write the `keep` of 12.7: `old` and `new` are the latents of the old picture and the new one, (4, 8, 8), as large as the maps; `old_map` and"
        " `new_map` the maps of the old subject's word and the new one's, (8, 8); a map is bright where it is at least"
        " `share` times *its own maximum*. Return latents: the old ones where both maps are dark, the new ones elsewhere.",
        hints=(
            (
                "先把每张热图变成亮或暗（布尔数组），再合起来。",
                "First turn each map into bright or dark (an array of booleans), then combine them.",
            ),
            (
                "“都暗才用旧的”等于“有一张亮就用新的”：`|`。",
                "“Old where both are dark” is the same as “new where one of them is bright”: `|`.",
            ),
            (
                "亮：`old_map >= share * old_map.max()`；合起来以后 `np.where(亮, new, old)`，(8, 8) 会自动用到四个通道上。",
                "Bright: `old_map >= share * old_map.max()`; combined, `np.where(bright, new, old)`, where (8, 8) serves all"
                " four channels.",
            ),
        ),
        solution=keep,
        also=(keep_by_mask, keep_in_place),
        inputs=latents_and_maps,
        wrong=(
            Wrong(
                lambda old, new, a, b, share: np.where(light(a, share) & light(b, share), new, old),
                "用了“都亮”：只要有一张亮，就要画新的，否则旧主体会留在原处",
                "this asks for both to be bright: one is enough for the new picture, or the old subject stays where it was",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where(light(a, share) | light(b, share), old, new),
                "新旧放反了：亮的地方用新的，暗的地方留旧的",
                "old and new are exchanged: new where it is bright, old where it is dark",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where(light(a, share) & light(b, share), old, new),
                "两处：新旧放反了；“都暗才用旧的”是有一张亮就用新的，`|`",
                "two things: old and new are exchanged; and “old where both are dark” is new where one is bright, `|`",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where((a > 0.4 * a.max()) | (b > 0.4 * b.max()), new, old),
                "0.4 是课里的数：这里用 `share`",
                "0.4 is the lesson's number: use `share`",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where(light(a - a.min(), share) | light(b - b.min(), share), new, old),
                "不用减最小值：只和最大值比",
                "do not take the minimum off: compare with the maximum only",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where(
                    (a >= share * a.max(1, keepdims=True)) | (b >= share * b.max(1, keepdims=True)), new, old
                ),
                "每一行用了自己的最大值：一张热图只有一个最大值",
                "each row has a maximum of its own here: a map has one",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where((a >= share) | (b >= share), new, old),
                "阈值没有乘最大值：权重要分给许多词元，热图到不了 1",
                "the threshold lacks the maximum: weights are shared among many tokens, a map never reaches 1",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where(light(b, share), new, old),
                "只看了新词的热图：旧主体的地方也要改，否则它会露出来",
                "only the new word's map: the old subject's place has to change as well, or it will show",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where(light(a, share), new, old),
                "只看了旧词的热图：新主体可能比旧的大",
                "only the old word's map: the new subject may be larger than the old one",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where(light(a + b, share), new, old),
                "先加后比了：两张热图的最大值不同，要各和自己的最大值比",
                "added, then compared: their maxima differ, and each is compared with its own",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where(np.maximum(a, b) >= share * max(a.max(), b.max()), new, old),
                "两张共用了一个最大值：淡的那张就没有亮处了，要各和自己的最大值比",
                "one maximum for both: the fainter map has no bright place then; each is compared with its own",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where((a >= share * a.mean()) | (b >= share * b.mean()), new, old),
                "和平均值比了，要和最大值比",
                "compared with the mean in place of the maximum",
            ),
            Wrong(
                lambda old, new, a, b, share: np.where((a > share * a.max()) | (b > share * b.max()), new, old),
                "“不低于”包括相等：用 `>=`",
                "“at least” includes equal: use `>=`",
            ),
            Wrong(
                lambda old, new, a, b, share: new * (light(a, share) | light(b, share)),
                "暗的地方成了 0：那里要用旧的",
                "zero where it is dark: the old ones belong there",
            ),
            Wrong(
                lambda old, new, a, b, share: light(a, share) | light(b, share),
                "这是遮罩，还没有用它来选潜变量",
                "this is the mask; it still has to choose between the latents",
            ),
        ),
    ),
    Exercise(
        number="12.3",
        kind="goal",
        zh="一个位置的问题是 $q=(1,0,0,0)$，$d=4$。给三个词各写一行 $K$，使这个位置听它们的权重是 0.7、0.2、0.1（差不超过 0.005）。`answer` 是三行、每行四个数的列表。",
        en="The question of a place is $q=(1,0,0,0)$, with $d=4$. Write a row of $K$ for each of three words so that the place gives them"
        " the weights 0.7, 0.2, 0.1 (within 0.005). `answer` is a list of three rows of four numbers.",
        hints=(
            (
                "q 只看每行的第一个数，别的写 0。权重是 softmax 出来的，所以不会等于那个数。",
                "q sees the first number of each row, put 0 elsewhere. The weights come out of a softmax, so they are not"
                " those numbers themselves.",
            ),
            (
                "softmax 先取指数；倒过来走，从 0.7 取自然对数 `np.log`。",
                "A softmax begins with an exponential; go backwards, with the natural logarithm of 0.7, `np.log`.",
            ),
            (
                "softmax 之前还除以了 √4，所以对数要乘 2。",
                "Before the softmax comes a division by √4, so multiply the logarithms by 2.",
            ),
        ),
        solution=keys(WANTED),
        also=([[k + 5, 1.0, -2.0, 3.0] for k, *_ in keys(WANTED)], np.array(keys(WANTED))),
        measure=weights_of,
        goals=(
            Goal(
                lambda m: m["shape"] == (3, 4),
                "要三行、每行四个数，你的形状是 {shape}",
                "three rows of four numbers are wanted, the shape is {shape}",
            ),
            Goal(
                lambda m: not np.allclose(m["weights"], ROOTS, atol=0.005),
                "权重是 {weights}：忘了 softmax 之前还除以 √d",
                "the weights are {weights}: the division by √d before the softmax is forgotten",
            ),
            Goal(
                lambda m: np.allclose(m["weights"], WANTED, atol=0.005),
                "权重是 {weights}，要的是 0.7、0.2、0.1",
                "the weights are {weights}, wanted are 0.7, 0.2, 0.1",
            ),
        ),
        wrong=(
            Wrong([[w, 0, 0, 0] for w in WANTED], "[0.397, 0.309, 0.294]", "[0.397, 0.309, 0.294]"),
            Wrong([[float(np.log(w)), 0, 0, 0] for w in WANTED], "忘了 softmax 之前还除以 √d", "division by √d"),
            Wrong([[2 * x for x in row] for row in keys(WANTED)], "权重是", "the weights are"),
            Wrong([[float(np.log2(w)) * 2, 0, 0, 0] for w in WANTED], "权重是", "the weights are"),
            Wrong(keys(WANTED[::-1]), "[0.1, 0.2, 0.7]", "[0.1, 0.2, 0.7]"),
            Wrong([[*k[1:], k[0]] for k in keys(WANTED)], "[0.333, 0.333, 0.333]", "[0.333, 0.333, 0.333]"),
            Wrong([[-x for x in row] for row in keys(WANTED)], "权重是", "the weights are"),
            Wrong(np.array(keys(WANTED)).T.tolist(), "形状是 (4, 3)", "the shape is (4, 3)"),
            Wrong([0.7, 0.2, 0.1], "形状是 (3,)", "the shape is (3,)"),
        ),
    ),
    Exercise(
        number="12.4",
        kind="predict",
        zh='假设有一层什么也不看：每个位置给每个词元同样的权重。用 12.1 的提示词 `狐狸,雪地,水彩画`，`map_of(weights, prompt, "狐狸")` 的每一格是多少？`answer` 写一个数（分数也可以，如'
        " `1/7`，不加引号）。先写下来，再和你看到的热图的数值比一比。",
        en="Suppose a layer looks at nothing: every place gives every token the same weight. With the prompt of 12.1, `狐狸,雪地,水彩画`,"
        ' what is each cell of `map_of(weights, prompt, "狐狸")`? `answer` is one number (or a fraction such as `1/7`, without quotes).'
        " Write it down first, then compare with the values of the maps you have seen.",
        hints=(
            (
                "一个位置的权重加起来是 1。它分给多少个词元？看 12.3 的表，`tokens` 那一列。",
                "The weights of a place add up to 1. Among how many tokens? See the column `tokens` in the table of 12.3.",
            ),
            (
                "提示词后面补的空位也有权重（12.3 的末尾）。",
                "The padding after the prompt gets weights too (the end of 12.3).",
            ),
            (
                "一个词的热图是它各个字的图之*和*：“狐狸”有几个字？",
                "The map of a word is the *sum* of those of its characters: how many has 狐狸?",
            ),
        ),
        solution=SUBJECT / TOKENS,
        tolerance=0.045,
        wrong=(
            Wrong(
                1 / TOKENS,
                "这是一个词元的权重；“狐狸”是两个字，两张图要加起来",
                "this is the weight of one token; 狐狸 is two characters, and their maps are added",
            ),
            Wrong(
                SUBJECT / ALL,
                "忘了空位：提示词后面补满 32 个词元，空位也分走权重",
                "the padding is forgotten: prompts are filled up to 32 tokens, and padding takes its share",
            ),
            Wrong(
                SUBJECT / (ALL - 2),
                "只数了提示词的字：还有 [CLS]、[SEP] 和空位",
                "only the prompt's characters are counted: there are [CLS], [SEP] and padding too",
            ),
            Wrong(
                1 / 64,
                "权重在*词元*之间分，一个位置加起来是 1；不是在 64 个位置之间分",
                "weights are shared among *tokens* and add up to 1 at each place; not among the 64 places",
            ),
            Wrong(
                0,
                "softmax 从不给 0：不看，也是每个词元一样多",
                "softmax never gives 0: to look at nothing is to give each token the same",
            ),
            Wrong(
                SUBJECT / (ALL - 1),
                "少数了：前后的 [CLS]、[SEP] 之外，还有补到 32 个的空位",
                "too few are counted: beside [CLS] and [SEP] there is the padding, up to 32",
            ),
            Wrong(1, "1 是一个位置给*所有*词元的权重之和", "1 is what a place gives to *all* tokens together"),
            Wrong(
                1 / 4,
                "不是四个词各四分之一：权重给的是词元，词元有 32 个",
                "not a quarter for each of four words: weights go to tokens, and there are 32",
            ),
            Wrong(
                1 / 3,
                "不是三段各三分之一：权重给的是词元，词元有 32 个",
                "not a third for each of three parts: weights go to tokens, and there are 32",
            ),
        ),
    ),
]
