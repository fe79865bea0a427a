"""Exercises of lesson 01."""

import numpy as np

from paidiff_course.exercise import Exercise, Goal, Wrong
from paidiff_lib.errors import PaidiffError
from paidiff_world import measure

# --- 1.1 guidance -------------------------------------------------------------------------------------------------


def guide(empty, wanted, g):
    return empty + g * (wanted - empty)


def guide_mixed(empty, wanted, g):
    return (1 - g) * empty + g * wanted


def guide_in_steps(empty, wanted, g):
    difference = wanted - empty
    difference = difference * g
    return difference + empty


def two_noises(rs):
    """Two guesses of one shape and a guidance."""
    return *rs.randn(2, 4, 8, 8), rs.uniform(1.5, 8)


# --- 1.3 three prompts that come out --------------------------------------------------------------------------------


def drawn_as_asked(prompts, draw):
    """What the three prompts name, and what the judge sees in their pictures."""
    try:
        specs = [measure.parse(prompt) for prompt in prompts]
    except PaidiffError as error:
        return {"refused": str(error), "count": 3}
    named = all(s.subject and s.background and s.style != "扁平" for s in specs)
    found = {"count": len(prompts), "named": named, "subjects": len({s.subject for s in specs}), "refused": ""}
    if len(prompts) == found["subjects"] == 3 and named:
        hits = measure.Rates(draw(list(prompts), seed=0), prompts).hits
        found |= {"right": int(np.sum(hits["all"])), "missed": [p for p, hit in zip(prompts, hits["all"]) if not hit]}
    return found


EXERCISES = [
    Exercise(
        number="1.1",
        kind="function",
        zh="写出 1.5 的引导：`empty` 是空提示词的猜测，`wanted` 是你的提示词的猜测，`g` 是引导的强度。返回同样形状的一个猜测。",
        en="Write the guidance of 1.5: `empty` is the guess for the empty prompt, `wanted` the guess for yours, `g` the"
        " guidance scale. Return one guess of the same shape.",
        hints=(
            ("g = 0 时应该剩下哪一个？g = 1 呢？", "Which of the two should be left at g = 0? And at g = 1?"),
            (
                "从 empty 出发，朝 wanted 走。走一整步是 g = 1。",
                "Start at empty and walk towards wanted; g = 1 is one whole step.",
            ),
            (
                "这一步是 wanted - empty，乘上 g，再加到起点上。",
                "The step is wanted - empty; times g, added to where you start.",
            ),
        ),
        solution=guide,
        also=(guide_mixed, guide_in_steps),
        inputs=two_noises,
        wrong=(
            Wrong(
                lambda empty, wanted, g: wanted + g * (wanted - empty),
                "起点错了：应从 empty 出发，你从 wanted 出发，多走了一步",
                "the start is wrong: begin at empty; beginning at wanted goes one step too far",
            ),
            Wrong(
                lambda empty, wanted, g: empty + g * (empty - wanted),
                "方向反了：这样是离提示词越来越远",
                "the sign is wrong: this walks away from the prompt",
            ),
            Wrong(
                lambda empty, wanted, g: empty + g * wanted,
                "忘了减去 empty：要放大的是两个猜测之差",
                "empty is not subtracted: it is the difference of the two that is enlarged",
            ),
            Wrong(
                lambda empty, wanted, g: g * (wanted - empty),
                "少了起点 empty：只剩下差了",
                "the start, empty, is missing: only the difference is left",
            ),
            Wrong(
                lambda empty, wanted, g: g * empty + (1 - g) * wanted,
                "g 和 1 - g 放反了：g = 1 时应只剩 wanted",
                "g and 1 - g are exchanged: at g = 1 only wanted should be left",
            ),
            Wrong(
                lambda empty, wanted, g: (empty + g * wanted) / (1 + g),
                "这是加权平均，只会落在两者之间；引导要走到 wanted 的外面去",
                "this is a weighted mean, between the two; guidance goes beyond wanted",
            ),
        ),
    ),
    Exercise(
        number="1.2",
        kind="predict",
        zh="`draw(pipe, prompt, steps=20, guidance=2)` 画一张图，UNet 一共要猜多少次噪声？一批里的两句话算两次。先写下来，再用 1.10 的循环数一数。",
        en="How often does the UNet guess the noise for one picture of `draw(pipe, prompt, steps=20, guidance=2)`? Two prompts"
        " in one batch count twice. Write it down first, then count it in the loop of 1.10.",
        hints=(
            (
                "每一步，循环里的 `unet(...)` 收到几句话？",
                "How many prompts does `unet(...)` get in each turn of the loop?",
            ),
            (
                "引导要比较两个猜测：有提示词的，和没有的。",
                "Guidance compares two guesses: with the prompt, and without it.",
            ),
            ("步数 × 每步的句数。", "Steps times prompts a step."),
        ),
        solution=40,
        tolerance=0,
        wrong=(
            Wrong(
                20,
                "忘了引导：每一步还要猜一次空提示词的",
                "guidance is forgotten: each step also guesses for the empty prompt",
            ),
            Wrong(60, "空提示词只猜一次，不是两次", "the empty prompt is guessed once a step, not twice"),
            Wrong(
                80,
                "guidance=2 是放大的倍数，不是次数",
                "guidance=2 is how much the difference is enlarged, not a count",
            ),
            Wrong(41, "第一步之前和最后一步之后都不再猜", "nothing is guessed before the first step or after the last"),
            Wrong(
                1,
                "一步只去掉一点噪声，走二十步要猜二十回",
                "a step removes a little noise; twenty steps are twenty guesses",
            ),
            Wrong(
                1000,
                "1000 是训练时的时间步数；画图只走其中 20 步",
                "1000 are the timesteps of training; a picture takes 20 of them",
            ),
        ),
    ),
    Exercise(
        number="1.3",
        kind="goal",
        zh="写三句提示词，各有一样不同的东西、一个地方和一种画风（不要“扁平”），要画得对：裁判看三张图（种子 0），东西、地方、画风全都认得出来。`answer` 是三句话的列表。",
        en="Write three prompts, each with another subject, a place and a style (not 扁平), that come out: the judge sees the three"
        " pictures (seed 0) and recognises every subject, place and style. `answer` is a list of three strings.",
        hints=(
            ("用 `check_prompt` 看看模型没学过哪些词。", "Ask `check_prompt` which words the model never learnt."),
            (
                "一句里只放一样东西、一个地方、一种画风，用逗号隔开。",
                "One subject, one place, one style a prompt, with commas between.",
            ),
            (
                "挑轮廓简单、颜色和背景分得开的东西；没画对的那句换一样。",
                "Take subjects of a plain outline whose colour differs from the ground; exchange the one that fails.",
            ),
        ),
        solution=["一只企鹅,雪地,像素画", "一朵向日葵,草地,水彩画", "一艘帆船,沙滩,水墨画"],
        measure=drawn_as_asked,
        goals=(
            Goal(lambda m: not m["refused"], "有一句读不懂：{refused}", "one cannot be read: {refused}"),
            Goal(lambda m: m["count"] == 3, "要三句，你写了 {count} 句", "three are wanted, there are {count}"),
            Goal(lambda m: m["named"], "有一句少了东西、地方或画风", "one names no subject, no place or no style"),
            Goal(lambda m: m["subjects"] == 3, "三句里要有三样不同的东西", "three different subjects are wanted"),
            Goal(
                lambda m: m["right"] == 3,
                "画对了 {right} 句；没画对：{missed}",
                "{right} came out; not these: {missed}",
            ),
        ),
        wrong=(
            Wrong(["一只猫和一只狗,草地,油画", "一只鸟,雪地,油画", "一只熊猫,草地,油画"], "读不懂", "cannot be read"),
            Wrong(["一只企鹅,沙漠,像素画", "一朵向日葵,雪地,油画"], "你写了 2 句", "there are 2"),
            Wrong(["一只企鹅,沙漠", "一朵向日葵,雪地,油画", "一只熊猫,草地,水墨画"], "少了东西", "names no subject"),
            Wrong(
                ["一只企鹅,沙漠,像素画", "一只企鹅,雪地,油画", "一只熊猫,草地,水墨画"], "三样不同", "three different"
            ),
            Wrong(["一条龙,彩虹,浮雕", "一把伞,星空,素描", "一只蜜蜂,海底,剪纸"], "没画对", "not these"),
        ),
    ),
]
