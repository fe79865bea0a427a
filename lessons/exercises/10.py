"""Exercises of lesson 10."""

from paidiff_course.exercise import Exercise, Goal, Wrong
from paidiff_lib.metrics import distance

# --- 10.1 what is drawn together ------------------------------------------------------------------------------------

ALIKE = ("steps", "guidance", "size")


def next_batch(waiting, most):
    settings = [(one["steps"], one["guidance"], one["size"]) for one in waiting]
    batch = [one["number"] for one, its in zip(waiting, settings) if its == settings[0]][:most]
    return batch, [one["number"] for one in waiting if one["number"] not in batch]


def next_batch_by_loop(waiting, most):
    batch, rest = [], []
    for one in waiting:
        alike = all(one[key] == waiting[0][key] for key in ("steps", "guidance", "size"))
        (batch if alike and len(batch) < most else rest).append(one["number"])
    return batch, rest


def next_batch_by_removal(waiting, most):
    waiting, batch = list(waiting), []
    first = waiting[0]
    for one in list(waiting):
        if len(batch) < most and {key: one[key] for key in ALIKE} == {key: first[key] for key in ALIKE}:
            batch.append(one["number"])
            waiting.remove(one)
    return batch, [one["number"] for one in waiting]


def alike(one, other, keys=ALIKE):
    return all(one[key] == other[key] for key in keys)


def numbers(requests):
    return [one["number"] for one in requests]


def split(waiting, chosen):
    return numbers(chosen), numbers(one for one in waiting if one not in chosen)


def only_neighbours(waiting, most):
    """Stops at the first that differs."""
    count = next((i for i, one in enumerate(waiting) if not alike(one, waiting[0])), len(waiting))
    return split(waiting, waiting[: min(count, most)])


def beyond_is_lost(waiting, most):
    fits = [one for one in waiting if alike(one, waiting[0])]
    return numbers(fits[:most]), numbers(one for one in waiting if one not in fits)


def requests_themselves(waiting, most):
    batch = [one for one in waiting if alike(one, waiting[0])][:most]
    return batch, [one for one in waiting if one not in batch]


def a_queue(rs):
    """Twelve requests, the oldest first, and how many make a batch."""
    waiting = [
        {
            "number": 101 + i,
            "prompt": ["猫,草地", "狗,雪地"][rs.randint(2)],
            "seed": int(rs.randint(3)),
            "steps": [20, 20, 10][rs.randint(3)],
            "guidance": [2.0, 2.0, 5.0][rs.randint(3)],
            "size": [(128, 128), (128, 128), (192, 128)][rs.randint(3)],
        }
        for i in range(12)
    ]
    first, *others = waiting
    same = {key: first[key] for key in ALIKE}
    others[0]["steps"] = 30 - first["steps"]
    others[2] |= same | {"size": (192, 192)}
    others[3] |= same | {"guidance": 3.0}
    for one in (others[1], others[4], others[6], others[9]):
        one |= same
    others[-1]["steps"] = 15
    return waiting, int(rs.randint(3, 5))


# --- 10.2 what is refused -------------------------------------------------------------------------------------------


def statuses(bodies):
    found = []
    for body in bodies:
        prompt, steps, width = body["prompt"], body["steps"], body["width"]
        good = 0 < len(prompt) <= 2000
        good = good and isinstance(steps, int) and 1 <= steps <= 100
        good = good and 64 <= width <= 1024 and width % 8 == 0
        found.append(200 if good else 422)
    return found


def statuses_by_faults(bodies):
    def faults(prompt, steps, width):
        yield not prompt or len(prompt) > 2000
        yield type(steps) is not int or steps < 1 or steps > 100
        yield width not in range(64, 1025, 8)

    return [422 if any(faults(**body)) else 200 for body in bodies]


def statuses_by_return(bodies):
    def status(body):
        if len(body["prompt"]) not in range(1, 2001):
            return 422
        if not isinstance(body["steps"], int) or body["steps"] not in range(1, 101):
            return 422
        if body["width"] % 8 or body["width"] < 64 or body["width"] > 1024:
            return 422
        return 200

    return list(map(status, bodies))


def checked(prompt=lambda p: 0 < len(p) <= 2000, steps=lambda s: _whole(s), width=lambda w: _fits(w)):
    """Statuses by one test for each field."""
    good = lambda body: prompt(body["prompt"]) and steps(body["steps"]) and width(body["width"])
    return lambda bodies: [200 if good(body) else 422 for body in bodies]


def _whole(steps):
    return isinstance(steps, int) and 1 <= steps <= 100


def _fits(width):
    return 64 <= width <= 1024 and width % 8 == 0


def stop_at_the_first(bodies):
    found = statuses(bodies)
    first = found.index(422)
    return found[:first] + [422] * (len(found) - first)


def any_field(bodies):
    return [200 if 0 < len(b["prompt"]) <= 2000 or _whole(b["steps"]) or _fits(b["width"]) else 422 for b in bodies]


GOOD = {"prompt": "猫,草地", "steps": 20, "width": 128}
PROMPTS = ["", "猫", "猫" * 2000, "猫" * 2001, "猫" * 10_000]
STEPS = ["许多", "20", 20.5, -3, 0, 1, 100, 101]
WIDTHS = [0, 56, 64, 100, 132, 136, 1016, 1024, 1032, 100_000]
LAST = {"prompt": "", "steps": 0, "width": 1}  # wrong in every field


def requests(rs):
    """Requests, most of them good but for one field that is at a limit or past it; in random order."""
    fields = {"prompt": PROMPTS, "steps": STEPS, "width": WIDTHS}
    bodies = [GOOD | {key: value} for key, values in fields.items() for value in values]
    order = rs.permutation(len(bodies))
    return ([GOOD, *(bodies[i] for i in order), LAST, GOOD],)


# --- 10.3 the same picture, from its settings -------------------------------------------------------------------------

TARGET = {"prompt": "一只企鹅,沙滩,水彩画", "seed": 11, "steps": 12, "guidance": 3, "negative_prompt": "模糊"}
INFOTEXT = """\
一只企鹅,沙滩,水彩画
Negative prompt: 模糊
Steps: 12, CFG scale: 3, Seed: 11, Size: 128x128, Model: mini"""


def redrawn(answer, draw):
    """How far the picture of some settings is from the one that INFOTEXT belongs to."""
    given = isinstance(answer, dict)
    found = {"given": given, "unknown": "", "missing": "", "distance": 0.0}
    if given:
        found["unknown"] = ", ".join(str(key) for key in answer if key not in TARGET)
        found["missing"] = ", ".join(key for key in TARGET if key not in answer)
    if given and not found["unknown"] and not found["missing"]:
        pictures = [draw([one["prompt"]], **{k: one[k] for k in one if k != "prompt"})[0] for one in (TARGET, answer)]
        found["distance"] = float(distance(*pictures))
    return found


EXERCISES = [
    Exercise(
        number="10.1",
        kind="function",
        zh="写出 10.4 的引擎怎样取下一批。`waiting` 是排队的请求，先来的在前；每个是一个字典，有 `number`、`prompt`、`seed`、`steps`、`guidance`、`size`。"
        "取最早的一个，和队里所有与它步数、引导、尺寸都相同的，最多 `most` 个，先来的优先。返回两个列表，写它们的 `number`：`(这一批, 继续等的)`，各自保持原来的次序。",
        en="Write how the engine of 10.4 takes its next batch. `waiting` are the requests in the queue, the oldest first; each is a"
        " dictionary with `number`, `prompt`, `seed`, `steps`, `guidance`, `size`. Take the oldest, and all in the queue"
        " whose steps, guidance and size are the same as its, at most `most` of them, older ones first. Return two lists"
        " of their `number`s, `(the batch, those that go on waiting)`, each in the old order.",
        hints=(
            ("提示词和种子不同，可以一起画吗？", "May requests with other prompts and seeds be drawn together?"),
            (
                "走完整条队，把和 `waiting[0]` 三样都相同的挑出来；不要在第一个不同的地方停下。",
                "Go through the whole queue and pick those that equal `waiting[0]` in all three; do not stop at the first"
                " that differs.",
            ),
            (
                "挑出来以后再 `[:most]`；没进这一批的，包括超出 `most` 的，都继续等。",
                "Cut by `[:most]` after picking; whoever is not in the batch, those beyond `most` too, goes on waiting.",
            ),
        ),
        solution=next_batch,
        also=(next_batch_by_loop, next_batch_by_removal),
        inputs=a_queue,
        wrong=(
            Wrong(
                only_neighbours,
                "遇到第一个不同的就停了：后面设置相同的也可以进这一批",
                "this stops at the first that differs: later ones with the same settings may join as well",
            ),
            Wrong(
                lambda waiting, most: split(waiting, [one for one in waiting if alike(one, waiting[0])]),
                "忘了最多 `most` 个：一批太大，内存装不下",
                "`most` is forgotten: too large a batch does not fit the memory",
            ),
            Wrong(
                beyond_is_lost,
                "超出 `most` 的丢了：它们设置相同，可是这一批满了，要继续等",
                "those beyond `most` are lost: the batch is full, so they have to go on waiting",
            ),
            Wrong(
                lambda waiting, most: split(waiting, [one for one in waiting[:most] if alike(one, waiting[0])]),
                "先截了 `most` 个再挑：应先在整条队里挑，再截",
                "cut to `most` first, then picked: pick in the whole queue, then cut",
            ),
            Wrong(
                lambda waiting, most: split(
                    waiting, [one for one in waiting if alike(one, waiting[0], (*ALIKE, "prompt"))][:most]
                ),
                "提示词不同也可以一起画：UNet 一批里每张图看自己的话",
                "prompts may differ: each picture of a batch sees its own words",
            ),
            Wrong(
                lambda waiting, most: split(
                    waiting, [one for one in waiting if alike(one, waiting[0], (*ALIKE, "seed"))][:most]
                ),
                "种子不同也可以一起画：它只决定各自的起点",
                "seeds may differ: they only decide where each begins",
            ),
            Wrong(
                lambda waiting, most: split(
                    waiting, [one for one in waiting if alike(one, waiting[0], (*ALIKE, "prompt", "seed"))][:most]
                ),
                "提示词和种子都可以不同：要相同的是步数、引导、尺寸",
                "both prompt and seed may differ: steps, guidance and size have to be the same",
            ),
            Wrong(
                lambda waiting, most: split(
                    waiting, [one for one in waiting if one["steps"] == waiting[0]["steps"]][:most]
                ),
                "只比了步数：引导和尺寸不同也不能一起画",
                "only steps are compared: with another guidance or size they cannot be drawn together",
            ),
            Wrong(
                lambda waiting, most: split(
                    waiting, [one for one in waiting if alike(one, waiting[0], ("steps", "guidance"))][:most]
                ),
                "没有比尺寸：一批里的图要一样大",
                "size is not compared: the pictures of a batch have to be equally large",
            ),
            Wrong(
                lambda waiting, most: split(
                    waiting, [one for one in waiting if alike(one, waiting[0], ("steps", "size"))][:most]
                ),
                "没有比引导：一批只有一个引导的强度",
                "guidance is not compared: a batch has one guidance scale",
            ),
            Wrong(
                lambda waiting, most: split(waiting, waiting[:most]),
                "没有比设置：先来的几个不一定能一起画",
                "no settings are compared: the first few cannot always be drawn together",
            ),
            Wrong(
                lambda waiting, most: split(waiting, [one for one in waiting if alike(one, waiting[-1])][:most]),
                "跟最后来的比了：要从最早的一个开始，不然它永远轮不到",
                "compared with the newest: begin with the oldest, or its turn never comes",
            ),
            Wrong(
                lambda waiting, most: next_batch(waiting, most)[::-1],
                "两个列表放反了：先是这一批，再是继续等的",
                "the two lists are exchanged: first the batch, then those that go on waiting",
            ),
            Wrong(
                requests_themselves,
                "这是请求本身：要它们的 `number`",
                "these are the requests themselves: their `number`s are wanted",
            ),
            Wrong(
                lambda waiting, most: split(waiting, [one for one in waiting if alike(one, waiting[0])][:most])[0],
                "只返回了这一批：还要返回继续等的",
                "only the batch is returned: those that go on waiting are wanted too",
            ),
        ),
    ),
    Exercise(
        number="10.2",
        kind="function",
        zh="写一个会拒绝的服务（10.4）。`bodies` 是一个接一个来的请求，每个是字典，有 `prompt`（字符串）、`steps`、`width`（整数）。返回一样长的列表：好的答 200，做不到的答 422。规矩："
        '提示词 1 到 2000 个字；`steps` 是整数，1 到 100；`width` 是 8 的倍数，64 到 1024。`steps` 里什么都可能有：`"许多"`、`"20"`、`20.5`。',
        en="Write a service that knows how to refuse (10.4). `bodies` are requests, one after the other, dictionaries with `prompt` (a"
        " string), `steps` and `width` (a whole number). Return a list as long: 200 for a good one, 422 for what cannot be"
        " done. The rules: a prompt of 1 to 2000 characters; `steps` a whole number from 1 to 100; `width` a multiple of"
        ' 8 from 64 to 1024. Anything may turn up in `steps`: `"许多"`, `"20"`, `20.5`.',
        hints=(
            (
                "字符串和数比大小会出错：先看它是不是整数。",
                "Comparing a string with a number raises an error: first see whether it is a whole number.",
            ),
            (
                "`isinstance(steps, int) and 1 <= steps <= 100`；三样都好才是 200，用 `and`。",
                "`isinstance(steps, int) and 1 <= steps <= 100`; 200 only if all three are good, so `and`.",
            ),
            (
                "`width % 8 == 0` 是“8 的倍数”。每个请求各答各的：拒绝一个以后，下一个照样看。",
                "`width % 8 == 0` is “a multiple of 8”. Every request has its own answer: after a refusal look at the next one.",
            ),
        ),
        solution=statuses,
        also=(statuses_by_faults, statuses_by_return),
        inputs=requests,
        equivalent=("1025",),  # no multiple of 8
        wrong=(
            Wrong(
                checked(steps=lambda s: str(s).isdigit() and 1 <= int(s) <= 100),
                '`"20"` 是字符串，不是整数：不要替别人转换，说清楚更好',
                '`"20"` is a string and no whole number: do not convert for others, tell them',
            ),
            Wrong(
                checked(steps=lambda s: isinstance(s, int | float) and 1 <= s <= 100),
                "20.5 步做不到：要整数，`isinstance(steps, int)`",
                "20.5 steps cannot be done: a whole number is wanted, `isinstance(steps, int)`",
            ),
            Wrong(
                checked(width=lambda w: 64 <= w <= 1024),
                "没有看是不是 8 的倍数：VAE 把边长缩小 8 倍",
                "multiples of 8 are not looked for: the VAE shrinks the sides by 8",
            ),
            Wrong(
                checked(width=lambda w: w <= 1024 and w % 8 == 0),
                "宽也有下限：0 和 56 也是 8 的倍数",
                "the width has a lower limit too: 0 and 56 are multiples of 8",
            ),
            Wrong(
                checked(width=lambda w: w >= 64 and w % 8 == 0),
                "宽没有上限：100000 会把内存吃光",
                "the width has no upper limit: 100000 would fill the memory",
            ),
            Wrong(
                checked(steps=lambda s: isinstance(s, int) and s <= 100),
                "步数也有下限：0 步和 -3 步做不到",
                "steps have a lower limit too: 0 or -3 cannot be done",
            ),
            Wrong(
                checked(steps=lambda s: isinstance(s, int) and 1 <= s < 100),
                "100 步是可以的：用 `<=`",
                "100 steps are fine: use `<=`",
            ),
            Wrong(
                checked(steps=lambda s: isinstance(s, int) and 1 < s <= 100),
                "1 步是可以的：用 `1 <=`",
                "1 step is fine: use `1 <=`",
            ),
            Wrong(
                checked(prompt=lambda p: 0 < len(p) < 2000),
                "2000 个字是可以的：用 `<=`",
                "2000 characters are fine: use `<=`",
            ),
            Wrong(
                checked(prompt=lambda p: len(p) <= 2000),
                "空的提示词要拒绝：至少 1 个字",
                "an empty prompt is to be refused: 1 character at least",
            ),
            Wrong(
                checked(prompt=lambda p: len(p) > 0),
                "提示词没有上限：一万个字要拒绝",
                "the prompt has no upper limit: ten thousand characters are to be refused",
            ),
            Wrong(
                checked(width=lambda w: w in range(64, 1024, 8)),
                "宽 1024 是可以的：`range` 的右端不算在内",
                "a width of 1024 is fine: the end of a `range` is not in it",
            ),
            Wrong(
                checked(width=lambda w: 64 < w <= 1024 and w % 8 == 0),
                "宽 64 是可以的：用 `64 <=`",
                "a width of 64 is fine: use `64 <=`",
            ),
            Wrong(
                lambda bodies: [200] * len(bodies),
                "什么也没有拒绝：三条规矩都要查",
                "nothing is refused: all three rules are to be checked",
            ),
            Wrong(
                lambda bodies: [622 - status for status in statuses(bodies)],
                "200 和 422 放反了：200 是好",
                "200 and 422 are exchanged: 200 is fine",
            ),
            Wrong(
                any_field,
                "一样好就放行了：三样都好才是 200，用 `and`，不用 `or`",
                "one good field is enough here: all three have to be good, so `and`, not `or`",
            ),
            Wrong(
                stop_at_the_first,
                "拒绝了一个，后面的就都拒绝了：服务要活着，每个请求各答各的",
                "after one refusal all are refused: a service lives on, and every request has its own answer",
            ),
            Wrong(
                lambda bodies: [s == 200 for s in statuses(bodies)],
                "这是真假：要状态码，200 或 422",
                "these are truths: status codes are wanted, 200 or 422",
            ),
            Wrong(
                lambda bodies: [{422: 400}.get(s, s) for s in statuses(bodies)],
                "400 是“看不懂”；看懂了但不行，是 422",
                "400 is “not understood”; understood, but no, is 422",
            ),
            Wrong(
                lambda bodies: [{422: 503}.get(s, s) for s in statuses(bodies)],
                "503 是“满了，等一会儿”；这些等多久也不行，是 422",
                "503 is “full, come back later”; these will not do however long one waits: 422",
            ),
        ),
    ),
    Exercise(
        number="10.3",
        kind="goal",
        zh=f"朋友发来一张 `mini` 画的图，图里带着这些设置（尺寸就是 `mini` 自己的，不用写）：\n\n```text\n{INFOTEXT}\n```\n\n"
        '画出同一张图，一个像素也不差。`answer` 是一个字典，写 `paidiff.draw` 的参数，像 `{"prompt": "猫", "seed": 3}`；可以先用 `paidiff.draw(paidiff.load(), **answer)` 看一看（课里的 `pipe` 带着 LoRA）。',
        en="A friend sends a picture that `mini` drew, with these settings in it (the size is the one that `mini` takes by"
        f" itself, leave it out):\n\n```text\n{INFOTEXT}\n```\n\n"
        "Draw the same picture, to the very pixel. `answer` is a dictionary of the arguments of `paidiff.draw`, such as"
        ' `{"prompt": "猫", "seed": 3}`; look at it by `paidiff.draw(paidiff.load(), **answer)` first (the `pipe` of the lesson wears a LoRA).',
        hints=(
            ("除了尺寸和模型，还有五样决定这张图。", "Besides size and model five things decide this picture."),
            (
                "WebUI 的 `CFG scale` 是引导，`Negative prompt` 是反向提示词；`draw` 里叫什么？看 `help(paidiff.draw)`。",
                "The WebUI's `CFG scale` is guidance; what are it and the `Negative prompt` called in `draw`? See"
                " `help(paidiff.draw)`.",
            ),
            (
                "五个键：`prompt`、`negative_prompt`、`steps`、`guidance`、`seed`。不写的会用默认值，那是另一张图。",
                "Five keys: `prompt`, `negative_prompt`, `steps`, `guidance`, `seed`. What is left out takes its default, and"
                " that is another picture.",
            ),
        ),
        solution=TARGET,
        measure=redrawn,
        goals=(
            Goal(
                lambda m: m["given"],
                "要一个字典，键是 `draw` 的参数名",
                "a dictionary is wanted, whose keys are arguments of `draw`",
            ),
            Goal(
                lambda m: not m["unknown"],
                "`draw` 的这些参数这里用不着，或名字不对：{unknown}",
                "of no use here, or not the name that `draw` has for it: {unknown}",
            ),
            Goal(
                lambda m: not m["missing"],
                "还缺：{missing}。不写就用默认值，画出另一张图",
                "still missing: {missing}. Left out they take their defaults, and another picture is drawn",
            ),
            Goal(
                lambda m: m["distance"] < 0.5,
                "不是同一张：差 {distance:.1f} 个灰度级，有一个值和设置里写的不一样",
                "it is another picture, {distance:.1f} grey levels off: some value is not that of the settings",
            ),
        ),
        wrong=(
            Wrong("一只企鹅,沙滩,水彩画", "要一个字典", "a dictionary is wanted"),
            Wrong(
                {"prompt": TARGET["prompt"], "seed": 11},
                "还缺：steps, guidance, negative_prompt",
                "missing: steps, guidance, negative_prompt",
            ),
            Wrong(
                {key: value for key, value in TARGET.items() if key != "guidance"},
                "还缺：guidance",
                "missing: guidance",
            ),
            Wrong(
                {key: value for key, value in TARGET.items() if key != "guidance"} | {"cfg_scale": 3},
                "名字不对：cfg_scale",
                "has for it: cfg_scale",
            ),
            Wrong(TARGET | {"size": (192, 128)}, "用不着，或名字不对：size", "of no use here"),
            Wrong(TARGET | {"seed": 12}, "不是同一张", "another picture"),
            Wrong(TARGET | {"steps": 3, "guidance": 12}, "不是同一张", "another picture"),
            Wrong(TARGET | {"negative_prompt": ""}, "不是同一张", "another picture"),
        ),
    ),
]
