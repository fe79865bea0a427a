"""Make the notebooks of both languages from the lessons' sources: lessons/NN_name.py, in jupytext's percent format.

    python tools/build_notebooks.py             every lesson
    python tools/build_notebooks.py 03 04       these
    python tools/build_notebooks.py 03 --keep   only text has changed: take the stored outputs, execute nothing

A lesson is executed once; notebooks/NN_name.ipynb (Chinese) and notebooks/en/NN_name.ipynb (English) share its outputs;
build/lessons/ gets both as HTML pages, for the eye.
Blocks say lang="zh" or lang="en"; one that says neither is in both. `{{ expression }}` in markdown is evaluated where it
stands. The boot cell comes from lessons/boot.py, the links at the end from lessons/order.yml.
"""

import argparse
import ast
import copy
import io
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path

import jupytext
import nbformat
import yaml
from draw_diagrams import embed
from nbclient.exceptions import CellExecutionError
from nbclient.util import ensure_async
from run_lesson import Lesson, find, write_page
from set_address import ADDRESS, badges, with_address

from paidiff_course.progress import exercises

ROOT = Path(__file__).resolve().parents[1]
HOUR = 3600  # for one cell: nobody waits before the screen, and the machine may be busy
LESSONS = ROOT / "lessons"
PAGES = ROOT / "build/lessons"
EXPRESSION = re.compile(r"\{\{ (.+?) \}\}")
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
KINDS = {
    "function": {"zh": "写函数", "en": "Write"},
    "predict": {"zh": "先猜", "en": "Predict"},
    "goal": {"zh": "做到", "en": "Reach"},
}
WORDS = {
    "zh": {"before": "上一课：", "after": "下一课：", "other": "[English](en/{name}.ipynb)"},
    "en": {"before": "Before: ", "after": "Next: ", "other": "[中文](../{name}.ipynb)"},
}


def read(path):
    """The cells of a source, both languages, with the boot cell, badges and links in their places."""
    cells = jupytext.read(path, fmt="py:percent").cells
    for cell in cells:
        cell.metadata.setdefault("lang", None)
        if "boot" in cell.metadata.get("tags", ()):
            cell.source = boot()
            cell.metadata["jupyter"] = {"source_hidden": True}
    cells = with_exercises(cells, path)
    for lang in WORDS:
        first = next(c for c in cells if c.metadata["lang"] == lang)
        title, *rest = first.source.split("\n")
        first.source = "\n".join([title, "", badges(ADDRESS, path.stem, lang), *rest])
        cells.append(nbformat.v4.new_markdown_cell(links(path, lang), metadata={"lang": lang}))
    return cells


def with_exercises(cells, path):
    """The lesson's cells, with those of lessons/exercises/NN.py after its last block that is tagged "exercise"."""
    file = path.parent / f"exercises/{path.name[:2]}.py"
    if not file.is_file():
        return cells
    last = max(place for place, cell in enumerate(cells) if "exercise" in cell.metadata.get("tags", ()))
    asked = [cell for number, each in enumerate(exercises(file)) for cell in exercise_cells(each, number == 0)]
    return [*cells[: last + 1], *asked, *cells[last + 1 :]]


def exercise_cells(exercise, first):
    """What is asked, in both languages, and the stub that is checked. first: whether `check` is to be imported."""
    for lang in WORDS:
        text = f"### {KINDS[exercise.kind][lang]} {exercise.number}\n\n{getattr(exercise, lang)}"
        yield nbformat.v4.new_markdown_cell(text, metadata={"lang": lang})
    name, stub = exercise.stub()
    code = ["from paidiff_course import check\n"] if first else []
    code += [stub, "\n" if exercise.kind == "function" else "", f'check("{exercise.number}", {name})']
    yield nbformat.v4.new_code_cell("\n".join(code), metadata={"lang": None, "tags": ["exercise"]})


def boot():
    """The first code of every lesson."""
    return with_address((LESSONS / "boot.py").read_text(encoding="utf-8"), ADDRESS).strip()


def title(path, lang):
    """The title of a lesson in one of its languages."""
    cells = jupytext.read(path, fmt="py:percent").cells
    return next(c.source for c in cells if c.metadata.get("lang") == lang).split("\n")[0].removeprefix("# ")


def order(folder=LESSONS):
    """The numbers of the lessons, as lessons/order.yml has them."""
    parts = yaml.safe_load((folder / "order.yml").read_text(encoding="utf-8"))
    return [number for part in parts for number in part["lessons"]]


def links(path, lang):
    """The last line of a lesson: the lessons before and after it, and its other language."""
    there = [found for number in order(path.parent) for found in sorted(path.parent.glob(f"{number}_*.py"))]
    here = there.index(path)
    beside = {"before": there[here - 1 : here] if here else [], "after": there[here + 1 : here + 2]}
    words = [
        f"{WORDS[lang][side]}[{title(other, lang)}]({other.stem}.ipynb)"
        for side, others in beside.items()
        for other in others
    ]
    return "---\n\n" + " · ".join([*words, WORDS[lang]["other"].format(name=path.stem)])


def edition(cells, lang):
    """The notebook in one language; the cells' ids are their places in it."""
    chosen = [copy.deepcopy(cell) for cell in cells if cell.metadata["lang"] in (None, lang)]
    for place, cell in enumerate(chosen):
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in ("tags", "jupyter", "values")}
        if cell.cell_type == "markdown":
            cell.source = embed(cell.source, lang)
        cell.id = "boot" if "boot" in cell.metadata.get("tags", ()) else f"c{place:02}"
    return nbformat.v4.new_notebook(cells=chosen, metadata=KERNEL)


class Build(Lesson):
    """Executes a lesson, and evaluates the expressions in its markdown where they stand."""

    async def async_execute_cell(self, cell, cell_index, **kwargs):
        if cell.cell_type == "code":
            return await super().async_execute_cell(cell, cell_index, **kwargs)
        try:
            return fill(cell, {text: await self.value(text) for text in EXPRESSION.findall(cell.source)})
        except ValueError as failed:
            raise SystemExit(f"{failed}\n{cell.source}") from None

    async def value(self, expression):
        """The value of one expression in the kernel, as text. Raises ValueError with the kernel's error."""
        wanted = {"value": f"str({expression})"}
        asked = await ensure_async(self.kc.execute("", silent=True, user_expressions=wanted))
        while True:
            reply = await ensure_async(self.kc.shell_channel.get_msg(timeout=HOUR))
            if reply["parent_header"].get("msg_id") == asked:
                break
        found = reply["content"]["user_expressions"]["value"]
        if found["status"] != "ok":
            raise ValueError(f"{{{{ {expression} }}}}: {found['ename']}: {found['evalue']}")
        return ast.literal_eval(found["data"]["text/plain"])


def fill(cell, values):
    """Put values in the places of a markdown cell's expressions, and keep them beside it."""
    if values:
        cell.metadata["values"] = values
        cell.source = EXPRESSION.sub(lambda match: values[match[1]], cell.source)
    return cell


def execute(cells):
    """Run a lesson's cells in place. Ends the program with the cell and its error, if one fails."""
    book = nbformat.v4.new_notebook(cells=cells, metadata=KERNEL)
    quiet = ["--IPKernelApp.log_level=ERROR"]
    where = {"metadata": {"path": str(ROOT / "notebooks")}}
    client = Build(book, timeout=HOUR, kernel_name="python3", resources=where, extra_arguments=quiet)
    client.record_timing, client.coalesce_streams = False, True
    try:
        client.execute()
    except CellExecutionError as failed:
        raise SystemExit(f"有一个单元格出错 · a cell failed:\n{failed}") from None
    for cell in cells:
        if "nbval-ignore-output" in cell.metadata.get("tags", ()):  # a widget without its state is an empty box
            cell.outputs = [o for o in cell.outputs if not any("widget" in kind for kind in o.get("data", ()))]


def keep(cells, stored):
    """Give cells the outputs and values of `stored` notebooks. Ends the program if their code has changed."""
    code, old = (
        [cell for cell in some if cell.cell_type == "code" and "exercise" not in cell.metadata.get("tags", ())]
        for some in (cells, stored[0].cells)
    )
    for cell, before in zip(code, old):
        if cell.source != before.source and before.id != "boot":
            raise SystemExit(f"代码变了,要重新执行 · code has changed, it has to run: {cell.source[:200]}")
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    if len(code) != len(old):
        raise SystemExit("代码单元格的数目变了,要重新执行 · the number of code cells has changed: it has to run")
    ask(cells)
    values = [pair for book in stored for c in book.cells for pair in c.metadata.get("values", {}).items()]
    for cell in (cell for cell in cells if cell.cell_type == "markdown"):
        wanted = EXPRESSION.findall(cell.source)
        found = {expression: {value for name, value in values if name == expression} for expression in wanted}
        if unknown := [expression for expression, seen in found.items() if len(seen) != 1]:
            raise SystemExit(f"这些值要重新执行才有 · these have to run: {unknown}")
        fill(cell, {expression: seen.pop() for expression, seen in found.items()})


def ask(cells):
    """Run the exercises' stubs here, which need nothing of their lesson, and number all code cells by their places."""
    names = {}
    for place, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        cell.execution_count = place
        if "exercise" in cell.metadata.get("tags", ()):
            with redirect_stdout(io.StringIO()) as said:
                exec(cell.source, names)
            cell.outputs = [nbformat.v4.new_output("stream", text=said.getvalue())]


def targets(path, folder):
    """Where the editions of a source go, by language."""
    return {"zh": folder / f"{path.stem}.ipynb", "en": folder / "en" / f"{path.stem}.ipynb"}


def build(path, folder, kept=False):
    """Write both editions of one source below `folder`."""
    cells, to = read(path), targets(path, folder)
    if kept:
        keep(cells, [nbformat.read(file, as_version=4) for file in to.values()])
    else:
        execute(cells)
    for lang, file in to.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        book = edition(cells, lang)
        nbformat.write(book, file)
        write_page(book, (PAGES / file.relative_to(folder)).with_suffix(".html"), lang)


def main(arguments=None):
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("numbers", nargs="*")
    parser.add_argument("--out", type=Path, default=ROOT / "notebooks")
    parser.add_argument("--keep", action="store_true")
    asked = parser.parse_args(arguments)
    paths = [find(number, LESSONS, ".py") for number in asked.numbers] or sorted(LESSONS.glob("[0-9][0-9]_*.py"))
    for path in paths:
        print(path.name)
        build(path, asked.out, asked.keep)


if __name__ == "__main__":
    sys.exit(main())
