"""Exercises of lesson 17."""

import io
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load, save
from torch import ones, zeros

from paidiff_course.exercise import Exercise, Goal, Wrong

# --- 17.1 which prompts are fair to measure with ------------------------------------------------------------------


def fair(prompts, captions):
    taught, before, found = [set(caption.split(",")) for caption in captions], [], []
    for i, prompt in enumerate(prompts):
        words = set(prompt.split(","))
        if words not in before and not any(words <= caption for caption in taught):
            found.append(i)
        before.append(words)
    return found


def fair_by_sorting(prompts, captions):
    scenes = [tuple(sorted(prompt.split(","))) for prompt in prompts]
    first = [scenes.index(scene) == i for i, scene in enumerate(scenes)]
    known = [any(all(w in c.split(",") for w in scene) for c in captions) for scene in scenes]
    return [i for i in range(len(prompts)) if first[i] and not known[i]]


def fair_by_sets(prompts, captions):
    first = {}
    for i, prompt in enumerate(prompts):
        first.setdefault(frozenset(prompt.split(",")), i)
    taught = [frozenset(caption.split(",")) for caption in captions]
    return sorted(i for words, i in first.items() if all(words - caption for caption in taught))


def some_prompts(rs):
    """Prompts and captions: some are a caption's words in another order, some lack one word of it, some come twice."""
    things, places = rs.permutation(list("猫狗鸟鱼马牛羊虎")), rs.permutation(["草地", "雪地", "沙滩", "森林"])
    captions = [f"{thing},青花瓷,{place},精细" for thing, place in zip(things[:4], places)]
    taught = [f"青花瓷,{things[0]},{places[0]}", f"{places[1]},青花瓷,精细,{things[1]}", captions[2]]
    new = [f"{things[k]},{places[k - 4]},青花瓷" for k in (4, 5, 6)] + [f"{things[0]},{places[1]},青花瓷"]
    again = [f"{places[0]},{things[4]},青花瓷", new[1]]
    return list(rs.permutation(taught + new + again)), captions


def words(text):
    return set(text.split(","))


# --- 17.2 an effect beyond the control's --------------------------------------------------------------------------


def beyond(asked, others):
    gain = [np.mean(on) - np.mean(off) for off, on in (asked, others)]
    return gain[0] - gain[1]


def beyond_by_pairs(asked, others):
    return np.subtract(asked[1], asked[0]).mean() - np.subtract(others[1], others[0]).mean()


def beyond_by_counting(asked, others):
    (off, on), (plain, leaked) = ([sum(row) for row in group] for group in (asked, others))
    return (on - off) / len(asked[0]) - (leaked - plain) / len(others[0])


def two_groups(rs):
    """Whether the word was seen, off and on, in two groups of prompts of different numbers."""
    chance = lambda n, p: (rs.rand(n) < p).astype(int)
    asked = chance(12, 0.15), np.r_[np.ones(6, int), chance(6, 0.6)]
    others = np.r_[1, chance(6, 0.1)], np.r_[1, 1, 1, chance(4, 0.3)]
    return asked, others


# --- 17.4 what is handed in ---------------------------------------------------------------------------------------

WANTED = ("README.md", "measures.json", "sheet.png", "pytorch_lora_weights.safetensors", "served.png")
SECTIONS = ("数据 · Data", "怎么做的 · How it was made", "测量 · Figures", "限制 · Limits", "许可 · Licence")


def files(answer):
    """{name: bytes} of a folder, or of what already is one."""
    if isinstance(answer, dict):
        return answer
    return {path.name: path.read_bytes() for path in sorted(Path(answer).iterdir()) if path.is_file()}


def handed_in(answer, draw):
    """What is in the folder of a project, as far as a program can tell."""
    there = answer if isinstance(answer, dict) else Path(str(answer))
    found = {"folder": str(answer), "is_folder": isinstance(there, dict) or there.is_dir(), "missing": WANTED}
    if found["is_folder"]:
        there = files(there)
        found["missing"] = ", ".join(name for name in WANTED if not there.get(name))
    if found["missing"]:
        return found
    card, rates = there["README.md"].decode(), rates_of(there["measures.json"])
    return found | {
        "weights": any(bool(tensor.abs().sum()) for tensor in load(there[WANTED[3]]).values()),
        "sheet": Image.open(io.BytesIO(there["sheet.png"])).width,
        "groups": ", ".join(f"{g} {s}" for g in ("asked", "others") for s in ("off", "on") if (g, s) not in rates),
        "points": ", ".join(" ".join(name) for name, rate in rates.items() if not is_interval(rate)),
        "sections": ", ".join(name for name in SECTIONS if len(section(card, name)) < 20),
        "head": all(re.search(rf"^{key}: *\S+", card, re.M) for key in ("license", "base_model")),
        "copied": ", ".join(
            " ".join(n) for n, rate in rates.items() if is_interval(rate) and written(rate) not in card
        ),
        "marks": sorted({"parameters", "AIGC"} - set(Image.open(io.BytesIO(there["served.png"])).info)),
    }


def rates_of(text):
    """{(group, state): what was measured} of measures.json."""
    return {(g, s): rate for g, states in json.loads(text)["rates"].items() for s, rate in states.items()}


def is_interval(rate):
    return isinstance(rate, list) and len(rate) == 3 and rate[1] <= rate[0] <= rate[2] and rate[1] < rate[2]


def written(rate):
    """A rate as the lesson's card has it: 75% [47%, 91%]"""
    return "{:.0%} [{:.0%}, {:.0%}]".format(*rate)


def section(card, name):
    """The text below a heading of the card, up to the next; "" where there is none."""
    match = re.search(rf"^## {name}\s*\n(.*?)(?=^## |\Z)", card, re.M | re.S)
    return match[1].strip() if match else ""


def _png(size, **notes):
    """The bytes of a PNG with these notes in its metadata."""
    note, data = PngInfo(), io.BytesIO()
    for name, text in notes.items():
        note.add_itxt(name, text)
    Image.new("RGB", size, "white").save(data, "PNG", pnginfo=note)
    return data.getvalue()


RATES = {"asked": {"off": [0.0, 0.0, 0.28], "on": [0.6, 0.31, 0.83]}, "others": {"off": [0.0, 0.0, 0.28]}}
RATES["others"]["on"] = [0.2, 0.06, 0.51]
ROWS = "\n".join(f"| {g} | {s} | {written(rate)} |" for g, states in RATES.items() for s, rate in states.items())
CARD = "---\nlicense: Apache-2.0\nbase_model: paidiff-mini-zh\n---\n# 青花瓷\n\n" + "\n\n".join(
    f"## {name}\n\n{text}"
    for name, text in zip(
        SECTIONS,
        (
            "Fourteen pictures by the course's own picture world, nobody real; all kept.",
            "LoRA of rank 8, 110 steps of 4 pictures, a learning rate of 0.003.",
            ROWS,
            "Prompts without the word turn into porcelain at times.",
            "Apache-2.0; what is drawn carries the AI label.",
        ),
    )
)
GOOD = {
    "README.md": CARD.encode(),
    "measures.json": json.dumps({"rates": RATES}).encode(),
    "sheet.png": _png((640, 256)),
    "pytorch_lora_weights.safetensors": save({"unet.A": ones(2)}),
    "served.png": _png((64, 64), parameters="猫\nSteps: 20", AIGC='{"Label": "1"}'),
}


def spoilt(name, content):
    """The good folder with one file exchanged; without it, where content is None."""
    return {key: value for key, value in (GOOD | {name: content}).items() if value is not None}


def measured(**groups):
    return spoilt("measures.json", json.dumps({"rates": RATES | groups}).encode())


GOALS = (
    Goal(lambda m: m["is_folder"], "没有这个文件夹：{folder}", "there is no such folder: {folder}"),
    Goal(lambda m: not m["missing"], "文件夹里少了：{missing}", "missing in the folder: {missing}"),
    Goal(lambda m: m["weights"], "权重全是 0：什么也没有训练", "the weights are all 0: nothing was trained"),
    Goal(
        lambda m: m["sheet"] >= 128,
        "sheet.png 只有 {sheet} 像素宽，看不出什么：要几句提示词，训练前后各一行",
        "sheet.png is only {sheet} pixels wide and shows little: several prompts, a row before and a row after",
    ),
    Goal(
        lambda m: not m["groups"],
        "measures.json 里没有：{groups}；没有对照，就不知道是学会的还是本来就有的",
        "not in measures.json: {groups}; without a control nobody knows what was learnt",
    ),
    Goal(
        lambda m: not m["points"],
        "没有区间：{points}；每个率要写成 [率, 下端, 上端]",
        "no interval: {points}; write each rate as [rate, low, high]",
    ),
    Goal(
        lambda m: m["head"],
        "模型卡开头要有 license 和 base_model 两行",
        "the card has to begin with the lines license and base_model",
    ),
    Goal(
        lambda m: not m["sections"],
        "模型卡里这几节没有，或者几乎是空的：{sections}",
        "sections of the card that are missing or all but empty: {sections}",
    ),
    Goal(
        lambda m: not m["copied"],
        "模型卡里的数和 measures.json 对不上，或者少了区间：{copied}",
        "figures of the card that are not those of measures.json, or lack their interval: {copied}",
    ),
    Goal(
        lambda m: not m["marks"],
        "served.png 的元数据里少了：{marks}（设置是 parameters，标识是 AIGC）",
        "missing in the metadata of served.png: {marks} (the settings are parameters, the label is AIGC)",
    ),
)

EXERCISES = [
    Exercise(
        number="17.1",
        kind="function",
        zh="写 17.5 之前的一道检查：`prompts` 是准备拿来测量的提示词，`captions` 是训练图的说明，词用逗号隔开，顺序不算数。返回*可以用*的提示词的编号（从 0"
        " 数）：训练说明里没有一句含有它*全部*的词，并且它不是前面某一句换了顺序（重复的只留第一句）。",
        en="Write a check to run before 17.5: `prompts` are to be measured with, `captions` are those of the training pictures;"
        " words are parted by commas, and their order does not count. Return the numbers (from 0) of the prompts that *may be"
        " used*: no caption holds *all* of its words, and it is not an earlier prompt in another order (of those that come"
        " again, keep the first).",
        hints=(
            (
                '顺序不算数，就把一句话变成词的集合：`set(prompt.split(","))`。',
                'If order does not count, make a set of the words: `set(prompt.split(","))`.',
            ),
            (
                "说明可以比提示词多几个词（“精细”）：要问的是子集，`<=`。",
                "A caption may hold more words (精细): ask for a subset, `<=`.",
            ),
            (
                "`words not in before and not any(words <= taught for taught in ...)`，每看一句，记进 `before`。",
                "`words not in before and not any(words <= taught for taught in ...)`; note each in `before`.",
            ),
        ),
        solution=fair,
        also=(fair_by_sorting, fair_by_sets),
        inputs=some_prompts,
        tolerance=0,
        wrong=(
            Wrong(
                lambda prompts, captions: [i for i, p in enumerate(prompts) if p not in captions],
                "比的是整句的字：换了顺序，或者说明多一个词，就漏过去了",
                "this compares the text: another order, or one more word in the caption, slips through",
            ),
            Wrong(
                lambda prompts, captions: [
                    i for i, p in enumerate(prompts) if not any(words(p) <= words(c) for c in captions)
                ],
                "重复的提示词还在：同一个场景量了两次，不是两次独立的测量",
                "prompts that come again are still there: one scene measured twice is not two measurements",
            ),
            Wrong(
                lambda prompts, captions: [
                    i
                    for i, p in enumerate(prompts)
                    if words(p) not in [words(q) for q in prompts[:i]]
                    and not any(words(p) == words(c) for c in captions)
                ],
                "只拦住了词完全一样的：说明多写一个“精细”，还是同一张训练图",
                "only equal words are stopped: with one more word in its caption it is the same training picture",
            ),
            Wrong(
                lambda prompts, captions: [
                    i for i, p in enumerate(prompts) if not any(words(p) & words(c) for c in captions)
                ],
                "太严了：共用一个词不要紧，新的搭配正是要量的",
                "too strict: a word in common does no harm, new combinations are what is measured",
            ),
            Wrong(
                lambda prompts, captions: [prompts[i] for i in fair(prompts, captions)],
                "这是提示词；要的是编号",
                "these are the prompts; their numbers are wanted",
            ),
            Wrong(
                lambda prompts, captions: [i for i in range(len(prompts)) if i not in fair(prompts, captions)],
                "反了：这是不能用的",
                "the other way round: these may not be used",
            ),
            Wrong(
                lambda prompts, captions: len(fair(prompts, captions)),
                "这是有几句；要的是哪几句",
                "this is how many; which ones are wanted",
            ),
        ),
    ),
    Exercise(
        number="17.2",
        kind="function",
        zh="“写了词的，率升了五成”：可对照也升了一成呢？写出扣掉对照的效果。`asked` 和 `others` 都是两行 0 和 1，`(关, 开)`：LoRA"
        " 关着、开着，每张图里看没看见新东西；两组的张数可以不同。返回一个数：`asked` 的率升了多少，减去 `others` 的率升了多少。",
        en="“With the word, the rate rose by a half”: and if the control rose by a tenth? Take the control away. `asked` and"
        " `others` each hold two rows of 0 and 1, `(off, on)`: whether the new thing is seen in each picture, with the LoRA off"
        " and on; the groups may differ in number. Return one number: how much the rate of `asked` rose, less how much that of"
        " `others` rose.",
        hints=(
            ("率是平均：几个 1 除以几张。", "A rate is a mean: how many 1s of how many."),
            ("每组先自己减：开的率减关的率。", "Within each group first: the rate on less the rate off."),
            (
                "`(np.mean(on) - np.mean(off))`，两组各算一个，相减。",
                "`(np.mean(on) - np.mean(off))` for each group, then the difference.",
            ),
        ),
        solution=beyond,
        also=(beyond_by_pairs, beyond_by_counting),
        inputs=two_groups,
        wrong=(
            Wrong(
                lambda asked, others: np.mean(asked[1]) - np.mean(asked[0]),
                "没有扣对照：没写词的图也变了，那一部分不是这个词教的",
                "the control is not taken away: prompts without the word changed too, and that is not the word's doing",
            ),
            Wrong(
                lambda asked, others: np.mean(asked[1]) - np.mean(others[1]),
                "没有看 LoRA 关着的时候：两组本来就可能不一样",
                "the LoRA's being off was left out: the groups may differ without it",
            ),
            Wrong(
                lambda asked, others: np.mean(asked[1]) - np.mean(asked[0]) + np.mean(others[1]) - np.mean(others[0]),
                "对照要减去，这里加上了",
                "the control is to be taken away, and was added",
            ),
            Wrong(
                lambda asked, others: -beyond(asked, others), "方向反了：开的减关的", "the sign is wrong: on less off"
            ),
            Wrong(
                lambda asked, others: np.sum(asked[1]) - np.sum(asked[0]) - np.sum(others[1]) + np.sum(others[0]),
                "这是张数的差：两组张数不同，先除成率",
                "these are counts: the groups differ in number, so divide first",
            ),
            Wrong(
                lambda asked, others: 100 * beyond(asked, others), "要 0 到 1 的数，不是百分数", "a share, no per cent"
            ),
            Wrong(
                lambda asked, others: (
                    (np.mean(asked[1]) - np.mean(asked[0])) / (np.mean(others[1]) - np.mean(others[0]))
                ),
                "这是倍数；要的是差。对照没变的时候，倍数没有意义",
                "this is a ratio; a difference is wanted. Where the control has not changed, a ratio means nothing",
            ),
            Wrong(
                lambda asked, others: (np.mean(asked[1]) - np.mean(asked[0]), np.mean(others[1]) - np.mean(others[0])),
                "两组各升了多少都有了，还差一步：相减",
                "both rises are there, one step is left: their difference",
            ),
        ),
    ),
    Exercise(
        number="17.3",
        kind="predict",
        zh="训练 120 步，每批 6 张，其中平均两成是复习图；你自己的图有 8 张。每张图平均被看几遍？（先算，再想：第三个样本只有 4 张图，会怎样？）",
        en="A training of 120 steps, 6 pictures a batch, a fifth of which are pictures to rehearse; there are 8 pictures of your"
        " own. How often is each of them seen on average? (Compute it, then think of the third sample with its 4 pictures.)",
        hints=(
            ("一共看多少张图？", "How many pictures are seen in all?"),
            ("其中只有八成是你的。", "Only four fifths of them are yours."),
            ("120 × 6 × 0.8，平分给 8 张。", "120 × 6 × 0.8, shared among 8."),
        ),
        solution=72,
        also=(72.0,),
        tolerance=0,
        wrong=(
            Wrong(
                90, "复习图也算进去了：你的图只占八成", "the pictures to rehearse are counted: yours are four fifths"
            ),
            Wrong(12, "一步看的是 6 张，不是 1 张", "a step sees 6 pictures, not 1"),
            Wrong(576, "这是你的图一共被看的次数；要平分给 8 张", "this is for all of your pictures; share it among 8"),
            Wrong(18, "这是复习图的那两成；要的是你的八成", "this is the fifth of rehearsal; yours are the other four"),
            Wrong(15, "步数除以张数：一步看 6 张，还有复习", "steps over pictures: a step sees 6, and some rehearse"),
            Wrong(120, "不是每一步都看到每一张", "not every step sees every picture"),
            Wrong(720, "这是一共看的张数，连复习图在内", "these are all pictures seen, those to rehearse included"),
        ),
    ),
    Exercise(
        number="17.4",
        kind="goal",
        zh="交上你的项目：把 `answer` 写成你的 `hand_in` 文件夹。程序能查的都查：五样东西在不在，权重训练过没有，每个率有没有区间和对照，模型卡的五节、许可和数对不对得上，画的图带不带设置和标识。图好不好、卡老不老实，要人来看：用"
        " 17.1 的评分表。",
        en="Hand in your project: let `answer` be your folder `hand_in`. What a program can look at is looked at: whether the five"
        " things are there, the weights trained, every rate with its interval and its control; the card's five sections, its"
        " licence, whether its figures are those that were measured; whether the picture carries its settings and the label."
        " Whether pictures are good and the card is honest, people have to say, with the rubric of 17.1.",
        hints=(
            ("先把 17.2 到 17.7 全部运行一遍。", "Run everything from 17.2 to 17.7 first."),
            (
                "它查的是文件夹，不是变量：改了要再存一遍。",
                "It looks at the folder, not at variables: save again what you change.",
            ),
            ("`answer = hand_in`", "`answer = hand_in`"),
        ),
        solution=GOOD,
        measure=handed_in,
        goals=GOALS,
        wrong=(
            Wrong("../out/nowhere", "没有这个文件夹", "there is no such folder"),
            Wrong(spoilt("README.md", None), "少了：README.md", "missing in the folder: README.md"),
            Wrong(spoilt(WANTED[3], save({"A": zeros(2)})), "权重全是 0", "the weights are all 0"),
            Wrong(spoilt("sheet.png", _png((64, 64))), "看不出什么", "shows little"),
            Wrong(measured(others={}), "others off, others on；没有对照", "others off, others on; without a control"),
            Wrong(measured(asked={"off": 0.0, "on": 0.6}), "没有区间：asked off", "no interval: asked off"),
            Wrong(
                measured(others={"off": [0.0, 0.0, 0.0], "on": [0.2, 0.06, 0.51]}),
                "没有区间：others off",
                "no interval: others off",
            ),
            Wrong(spoilt("README.md", CARD.replace("license:", "").encode()), "license 和", "lines license"),
            Wrong(
                spoilt("README.md", re.sub("Prompts without.*", "...", CARD).encode()),
                "几乎是空的：限制 · Limits",
                "all but empty: 限制 · Limits",
            ),
            Wrong(
                spoilt("README.md", CARD.replace("[31%, 83%]", "").encode()),
                "对不上，或者少了区间：asked on",
                "asked on",
            ),
            Wrong(spoilt("served.png", _png((64, 64), parameters="猫")), "AIGC", "AIGC"),
        ),
    ),
]
