"""Execute one lesson, a line for each cell, and write it to build/lessons/ as .ipynb and .html.

python tools/run_lesson.py 01
"""

import copy
import re
import sys
import time
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbconvert.preprocessors import TagRemovePreprocessor

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 600  # for one cell
FORMULA = re.compile(r"(```.*?```|`[^`\n]*`)|\$\$(.+?)\$\$|\$([^$\n]+)\$", re.S)
PLACE = re.compile(r"\ue000(\d+)\ue001(?![^<>]*>)")  # not those in an attribute, as in a heading's anchor
SCRIPT = re.compile(r"<script.*?</script>", re.S)


class Lesson(NotebookClient):
    """A notebook client that reports each code cell with its time."""

    async def async_execute_cell(self, cell, cell_index, **kwargs):
        if cell.cell_type != "code":
            return await super().async_execute_cell(cell, cell_index, **kwargs)
        code = [c for c in self.nb.cells if c.cell_type == "code"]
        position = next(i for i, c in enumerate(code, 1) if c is cell)
        print(f"[{position:2}/{len(code)}] {_first_line(cell):60.60}", end="", flush=True)
        start = time.perf_counter()
        try:
            return await super().async_execute_cell(cell, cell_index, **kwargs)
        finally:
            print(f" {time.perf_counter() - start:6.1f} s", flush=True)


def run(path, target):
    """Execute the notebook `path`, write it below `target` even if a cell fails. Returns the error or None."""
    book = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(path.parent)}}
    quiet = ["--IPKernelApp.log_level=ERROR"]
    client = Lesson(book, timeout=SECONDS, kernel_name="python3", resources=where, extra_arguments=quiet)
    error = None
    try:
        client.execute()
    except CellExecutionError as failed:
        error = failed
    book.metadata.pop("widgets", None)  # breaks the preview on code hosts
    target.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, target / path.name)
    write_page(book, (target / path.name).with_suffix(".html"))
    return error


def write_page(book, path, language="zh"):
    """Write a notebook as one HTML file that asks nothing of the network: pictures within, formulas as MathML, no script."""
    book, formulas = copy.deepcopy(book), []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = FORMULA.sub(lambda match: match[1] or _place(match, formulas), cell.source)
    boot = TagRemovePreprocessor(remove_input_tags={"boot"}, enabled=True)
    exporter = HTMLExporter(embed_images=True, template_name="classic", language_code=language)  # lab drops alt texts
    exporter.register_preprocessor(boot, enabled=True)
    page, _ = exporter.from_notebook_node(book, {"metadata": {"name": path.stem, "path": str(ROOT / "notebooks")}})
    page = PLACE.sub(lambda match: formulas[int(match[1])], SCRIPT.sub("", page))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _place(match, formulas):
    """A mark where a $formula$ stands, so that Markdown leaves it alone; its MathML goes into `formulas`."""
    _, block, inline = match.groups()
    formulas.append(convert(block or inline, display="block" if block else "inline"))
    return f"\ue000{len(formulas) - 1}\ue001"


def find(number, folder=ROOT / "notebooks", suffix=".ipynb"):
    """The one lesson with this number; "1" is "01". Ends the program with a clear line if there is none."""
    books = sorted(folder.glob(f"{number.zfill(2)}_*{suffix}"))
    if not books:
        known = ", ".join(p.name[:2] for p in sorted(folder.glob(f"[0-9][0-9]_*{suffix}")))
        raise SystemExit(f"没有这一课 · no lesson {number}; 有 there are: {known or '-'}")
    return books[0]


def _first_line(cell):
    lines = [line.strip() for line in cell.source.splitlines() if line.strip()]
    return lines[0] if lines else ""


def main(number):
    path = find(number)
    target = ROOT / "build/lessons"
    print(f"第 {number} 课 · lesson {number}: {path.name}")
    start = time.perf_counter()
    error = run(path, target)
    print(f"用时 · took {time.perf_counter() - start:.0f} s")
    for suffix in (".ipynb", ".html"):
        print(f"  {(target / path.name).with_suffix(suffix).relative_to(ROOT)}")
    if error:
        raise SystemExit(f"有一个单元格出错 · a cell failed:\n{error}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(sys.argv[1])
