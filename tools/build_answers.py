"""The teacher's editions and the answer key, in both languages, from lessons/exercises: build/answers-{zh,en}/.

    python tools/build_answers.py

A teacher's edition is the lesson's notebook with hints, solution and known mistakes folded below each exercise; it runs where
it lies. key.html holds the same of all lessons on one page, which prints.
"""

import copy
import inspect
import re

import nbformat
from build_notebooks import KINDS, LESSONS, ROOT, order, targets
from build_workshop import page, rendered

from paidiff_course.progress import exercises

BUILD = ROOT / "build"
WORDS = {
    "zh": {"key": "练习答案", "hints": "提示", "solution": "答案", "wrong": "检查器认得的错误"},
    "en": {"key": "Answers", "hints": "Hints", "solution": "Solution", "wrong": "Known mistakes"},
}
MEASURED = re.compile(r"\{\w*(?::[^}]*)?\}")
STYLE = """
body { font: 16px/1.6 "Noto Sans CJK SC", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", sans-serif; max-width: 48em; margin: 2em auto; padding: 0 1em; }
pre { background: #f4f4f4; padding: .6em; overflow-x: auto; } code { font-size: .9em; } h3 { break-after: avoid; }
"""


def lessons():
    """The sources of all lessons that are there, in the course's order."""
    return [path for number in order() for path in LESSONS.glob(f"{number}_*.py")]


def asked(path):
    """The exercises of one lesson."""
    file = LESSONS / f"exercises/{path.name[:2]}.py"
    return exercises(file) if file.is_file() else ()


def hints(exercise, lang):
    return "\n".join(f"{place}. {hint[lang == 'en']}" for place, hint in enumerate(exercise.hints, 1))


def solution(exercise):
    """The right answer as code, whole numbers and short decimals where it is a number, ... for what a file holds."""
    answer = exercise.solution
    short = repr(_short(answer)).replace("Ellipsis", "...")
    code = inspect.getsource(answer) if callable(answer) else f"answer = {short}\n"
    return f"```python\n{code}```"


def _short(value):
    if isinstance(value, list | tuple):
        return type(value)(map(_short, value))
    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}
    if isinstance(value, bytes):
        return ...
    return float(f"{value:.6g}") if isinstance(value, float) else value


def wrong(exercise, lang):
    """Each mistake that the checker knows, as it says it; a goal's sentences have … where the measurement goes."""
    said = dict.fromkeys(getattr(each, lang) for each in exercise.goals or exercise.wrong)
    return "\n".join(f"* {MEASURED.sub('…', each)}" for each in said)


def answers(exercise, lang):
    """(kind, heading, markdown) of what is behind an exercise."""
    words = WORDS[lang]
    yield "hints", words["hints"], hints(exercise, lang)
    yield "solution", words["solution"], solution(exercise)
    yield "wrong", words["wrong"], wrong(exercise, lang)


def folded(kind, heading, markdown):
    """Markdown that opens when its heading is clicked: in JupyterLab, on GitHub, in the book."""
    return f'<details class="{kind}"><summary>{heading}</summary>\n\n{markdown}\n\n</details>'


def teachers(book, path, lang):
    """A lesson's notebook with the answers folded below each exercise. It runs in a folder of build/."""
    book, behind = copy.deepcopy(book), iter(asked(path))
    cells = []
    for cell in book.cells:
        cells.append(cell)
        if cell.id == "boot":
            cell.source = f'import os\n\nos.environ.setdefault("PAIDIFF_LANG", "{lang}")\n{cell.source}'
        if cell.cell_type == "code" and "exercise" in cell.metadata.get("tags", ()):
            exercise = next(behind)
            text = "\n\n".join(folded(*part) for part in answers(exercise, lang))
            cells.append(nbformat.v4.new_markdown_cell(text, id=f"answer-{exercise.number.replace('.', '-')}"))
    book.cells = cells
    return book


def key(path, lang, level="##"):
    """The answers of one lesson as markdown."""
    book = nbformat.read(targets(path, ROOT / "notebooks")[lang], as_version=4)
    parts = [f"{level} {book.cells[0].source.splitlines()[0].removeprefix('# ')}"]
    for exercise in asked(path):
        parts += [f"{level}# {KINDS[exercise.kind][lang]} {exercise.number}", getattr(exercise, lang)]
        parts += [f"**{heading}**\n\n{text}" for _, heading, text in answers(exercise, lang)]
    return "\n\n".join(parts)


def build(folder=BUILD):
    for lang, words in WORDS.items():
        to = folder / f"answers-{lang}"
        to.mkdir(parents=True, exist_ok=True)
        for path in lessons():
            book = nbformat.read(targets(path, ROOT / "notebooks")[lang], as_version=4)
            nbformat.write(teachers(book, path, lang), to / f"{path.stem}.ipynb")
        text = "\n\n".join([f"# {words['key']}", *(key(path, lang) for path in lessons() if asked(path))])
        (to / "key.html").write_text(page(words["key"], rendered(text, lang), lang, STYLE), encoding="utf-8")
        print(to)


if __name__ == "__main__":
    build()
