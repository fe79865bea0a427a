"""Write docs/flags.md and docs/flags.zh-CN.md: every flag of the scripts that people copy commands from, and what it does here.

python tools/flags_page.py

tools/upstream_flags.json has the flags of diffusers' example scripts (as of August 2026; DreamBooth: with and without LoRA)
and of PAI's own lora.py and finetune.py (alibaba/EasyNLP), by the names of our commands.
"""

import json
from collections import Counter
from dataclasses import fields
from pathlib import Path

from paidiff_app.flags import NO_EFFECT, REFUSED
from paidiff_app.train import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
UPSTREAM = json.loads(Path(__file__).with_name("upstream_flags.json").read_text(encoding="utf-8"))
STATES = {"works": "有用 · works", "no effect": "没有作用 · no effect", "refused": "不支持 · refused"}
HEADS = {
    "flags.md": "[README](../README.md) · **[中文](flags.zh-CN.md)** · English",
    "flags.zh-CN.md": "[README](../README.zh-CN.md) · 中文 · **[English](flags.md)**",
}
TEXT = """# 训练命令的参数 · Flags of the training commands

教程里的训练命令可以原样复制:diffusers 的示例脚本和 PAI 自己的 lora.py、finetune.py 的每个参数,在这里要么有用,要么没有作用并且会说一声,要么不支持并且会说改用什么。「用在」后面是有这个参数的命令。 · Training commands can be copied from tutorials: every flag of diffusers' example scripts and of PAI's own lora.py and finetune.py works here, or has no effect and says so, or is refused with what to use in its place. "In" names the commands that have it.

| 参数 · flag | 用在 · in | | 说明 · note |
|---|---|---|---|
"""


def state(command, name):
    """(works, no effect or refused; the note in both languages) of an upstream flag in one of our commands."""
    ours = {one.name: one.metadata["help"] for one in fields(COMMANDS[command][0])}
    ours |= {"instance_data_dir": ours["train_data_dir"]}
    for kind, notes in (("works", ours), ("no effect", NO_EFFECT), ("refused", REFUSED)):
        if name in notes:
            return kind, notes[name]
    raise KeyError(f"{command}: {name}")


def table():
    """{(flag, state, note): the commands it is so in}, by name."""
    found = {}
    for command, names in UPSTREAM.items():
        for name in names:
            found.setdefault((name, *state(command, name)), []).append(command)
    return dict(sorted(found.items()))


def page(name):
    """The text of one of the two pages."""
    language = 0 if "zh" in name else 1
    pick = lambda text: text.split(" · ")[language] if " · " in text else text
    rows = table()
    lines = [HEADS[name], ""] + ["" if not line else _line(line, pick) for line in TEXT.splitlines()]
    for (flag, kind, note), commands in rows.items():
        where = "五个命令 · all five" if len(commands) == len(UPSTREAM) else ", ".join(f"`{one}`" for one in commands)
        lines.append(f"| `--{flag}` | {pick(where)} | {pick(STATES[kind])} | {pick(note)} |")
    counts = Counter(kind for _, kind, _ in rows)
    total = "; ".join(f"{pick(title)}: {counts[kind]}" for kind, title in STATES.items())
    return "\n".join([*lines, "", total, ""])


def _line(line, pick):
    if line.startswith("# "):
        return f"# {pick(line[2:])}"
    if line.startswith("| "):
        return "|".join(f" {pick(cell.strip())} " if cell.strip() else cell for cell in line.split("|"))
    return pick(line)


if __name__ == "__main__":
    for file in HEADS:
        (ROOT / "docs" / file).write_text(page(file), encoding="utf-8")
