"""Make the book from the executed lessons: a site in two languages, dist/book/{zh,en}/, that needs no network.

    python tools/build_book.py          the site, and its PDFs where there is chromium
    python tools/build_book.py --site   the site alone

Nothing is executed: pictures and numbers are those stored in notebooks/. What Sphinx reads is written to build/book/{zh,en}/:
the lessons with their answers folded, an index by the parts of lessons/order.yml, the glossary, the public names of the
packages with their docstrings. book/ has the settings. A warning of Sphinx ends the build.
"""

import base64
import importlib
import inspect
import re
import shutil
import subprocess
import sys

import nbformat
import yaml
from build_answers import WORDS as ANSWERS, answers, asked, folded, key, lessons
from build_notebooks import LESSONS, ROOT, targets

SOURCES, SITE = ROOT / "build/book", ROOT / "dist/book"
PACKAGES = ("paidiff_lib", "paidiff_world", "paidiff_course", "paidiff_app")
PICTURE = re.compile(r"!\[([^\]]*)\]\(data:image/svg\+xml;base64,([^)]+)\)")
WORDS = {
    "zh": {"glossary": "术语", "api": "接口参考", "lesson": "第 {} 课", "language": "zh_CN", "end": "查阅"},
    "en": {"glossary": "Glossary", "api": "API reference", "lesson": "Lesson {}", "language": "en", "end": "Reference"},
}
API = {"zh": "公开的名字和它们的说明，说明是英文的。", "en": "The public names, with their docstrings."}


# --- a lesson -----------------------------------------------------------------------------------------------------


def lesson(path, lang, folder):
    """Write one lesson as the book has it: no boot code to read, pictures with alt texts, answers folded."""
    book = nbformat.read(targets(path, ROOT / "notebooks")[lang], as_version=4)
    cells, behind = book.cells[:-1], iter(asked(path))  # the last one has links, which a book has at every page
    book.cells = []
    for cell in cells:
        book.cells.append(cell)
        if cell.cell_type == "markdown":
            cell.source = markdown(cell.source, f"{path.stem}-{cell.id}", folder)
            continue
        if cell.metadata.get("jupyter"):
            cell.metadata["tags"] = ["hide-input"]
        if "exercise" in cell.metadata.get("tags", ()):
            cell.outputs = []
            text = "\n\n".join(folded(*part) for part in answers(next(behind), lang))
            book.cells.append(nbformat.v4.new_markdown_cell(text))
        elif shown := "\n\n".join(figures(cell, f"{path.stem}-{cell.id}", lang, folder)):
            book.cells.append(nbformat.v4.new_markdown_cell(shown))
    nbformat.write(book, folder / f"{path.stem}.ipynb")


def markdown(text, name, folder):
    """Markdown whose diagrams are files, as Sphinx wants them."""

    def image(match):
        file = folder / f"img/{name}-{match.start()}.svg"
        file.write_bytes(base64.b64decode(match[2]))
        return f"![{match[1]}](img/{file.name})"

    return PICTURE.sub(image, text).replace("](../lessons/", "](")


def figures(cell, name, lang, folder):
    """The pictures among a code cell's outputs, as markdown with the alt text in one language; they leave the outputs."""
    outputs, cell.outputs = cell.outputs, []
    for place, output in enumerate(outputs):
        kind = next((kind for kind in output.get("data", ()) if kind.startswith("image/")), None)
        if kind:
            file = folder / f"img/{name}-{place}.{kind.removeprefix('image/')}"
            file.write_bytes(base64.b64decode(output.data[kind]))
            alt = re.sub(r"([][])", r"\\\1", output.metadata[kind]["alt"]).split(" · ")
            yield f"![{alt[0 if lang == 'zh' else -1]}](img/{file.name})"
        elif output.output_type == "stream" or output.data.get("text/plain"):  # not an empty progress bar
            cell.outputs.append(output)


# --- the other pages ----------------------------------------------------------------------------------------------


def index(lang, pdf):
    """The first page: what the course is, and the lessons by their parts."""
    there = {path.name[:2]: path.stem for path in lessons()}
    parts = yaml.safe_load((LESSONS / "order.yml").read_text(encoding="utf-8"))
    groups = {part[lang]: [f"{there[number]}.ipynb" for number in part["lessons"] if number in there] for part in parts}
    groups[WORDS[lang]["end"]] = ["answers.md", "glossary.md", "api.md"]
    groups = {caption: pages for caption, pages in groups.items() if pages}
    about = (ROOT / f"book/index.{lang}.md").read_text(encoding="utf-8")
    link = f'<p class="pdf"><a href="../paidiff-{lang}.pdf">PDF</a></p>' if pdf else ""
    return "\n\n".join([about, link, *(listed(*g) for g in groups.items()), *(toctree(*g) for g in groups.items())])


def listed(caption, pages):
    """Links to pages, for the eye and for paper."""
    return "\n".join([f"**{caption}**", "", *(f"* [](./{page})" for page in pages)])


def toctree(caption, pages):
    """The same for the sidebar."""
    names = [page.partition(".")[0] for page in pages]
    return "\n".join([":::{toctree}", ":hidden:", f":caption: {caption}", "", *names, ":::"])


def glossary(lang):
    """Every term with its sentence and the lesson that brings it, in the lessons' order."""
    there = {path.name[:2]: path.stem for path in lessons()}
    words, other = WORDS[lang], {"zh": "en", "en": "zh"}[lang]
    lines = [f"# {words['glossary']}", "", ":::{glossary}"]
    for term in sorted(terms(), key=lambda term: list(there).index(term["lesson"])):
        where = f"[{words['lesson'].format(term['lesson'])}]({there[term['lesson']]}.ipynb)"
        lines += [term[lang], f"  {term[other]} · {term[f'means_{lang}']} {where}", ""]
    return "\n".join([*lines, ":::"])


def terms():
    return yaml.safe_load((LESSONS / "glossary.yml").read_text(encoding="utf-8"))


def api(lang):
    """The public names of every package, as Sphinx's Python domain has them."""
    lines = [f"# {WORDS[lang]['api']}", API[lang]]
    for package in map(importlib.import_module, PACKAGES):
        names = getattr(package, "__all__", None) or _functions(package)
        lines += [f"## {package.__name__}", *(entry(package, name) for name in names)]
    return "\n\n".join(lines)


def _functions(module):
    return [name for name, value in vars(module).items() if inspect.isfunction(value) and name[0] != "_"]


def entry(owner, name, kind=None):
    """One function or class as a directive with its docstring; a class holds its public methods."""
    thing = getattr(owner, name)
    kind = kind or ("class" if inspect.isclass(thing) else "function")
    full = name if kind == "method" else f"{owner.__name__}.{name}"
    inner = [entry(thing, each, "method") for each in _functions(thing)] if kind == "class" else []
    fence = ":" * (3 if kind == "method" else 4)
    body = "\n\n".join([inspect.getdoc(thing) or "", *inner])
    return f"{fence}{{py:{kind}}} {full}{_signature(thing)}\n\n{body}\n{fence}"


def _signature(thing):
    """As it is written: without self, the modules of types, the addresses of functions."""
    text = re.sub(
        r"<function (\w+) at \w+>", r"\1", str(inspect.signature(thing)).replace("(self, ", "(").replace("(self)", "()")
    )
    return re.sub(r"\b(?:[a-zA-Z_]\w*\.)+(?=[A-Z])", "", text)


# --- both together ------------------------------------------------------------------------------------------------


def write(lang, folder, pdf=False):
    """Write what Sphinx reads for one language."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "img").mkdir(parents=True)
    for path in lessons():
        lesson(path, lang, folder)
    shutil.copy(ROOT / "data/sheet.jpg", folder)
    shutil.copy(LESSONS / "scratch.py", folder)
    heading = f"# {ANSWERS[lang]['key']}\n\n"
    pages = {"index": index(lang, pdf), "glossary": glossary(lang), "api": api(lang)}
    pages["answers"] = heading + "\n\n".join(key(path, lang) for path in lessons() if asked(path))
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    (folder / "words.txt").write_text("\n".join(term["zh"].replace(" ", "") for term in terms()), encoding="utf-8")


def sphinx(builder, lang, *options):
    """Run Sphinx in a process of its own, for it keeps the words of its first language; every warning is an error."""
    source, to = SOURCES / lang, SOURCES / f"{lang}-{builder}"
    shutil.rmtree(to, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", builder, "-c", ROOT / "book"]
    command += ["-D", f"language={WORDS[lang]['language']}", "-d", SOURCES / f"{lang}-doctrees", *options, source, to]
    if subprocess.run(command).returncode:
        raise SystemExit(f"书没有做成,原因在上面 · the book failed, the reason stands above: {lang} {builder}")
    return to


def chromium():
    """The browser that prints, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def print_pdf(lang, browser):
    """The whole edition on one page, printed: dist/book/paidiff-LANG.pdf."""
    page, pdf = sphinx("singlehtml", lang, "-t", "print") / "index.html", SITE / f"paidiff-{lang}.pdf"
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--log-level=3", "--host-resolver-rules=MAP * ~NOTFOUND"]
    done = ["--virtual-time-budget=600000", "--generate-pdf-document-outline", "--no-pdf-header-footer"]
    subprocess.run([browser, *quiet, *done, f"--print-to-pdf={pdf}", page.as_uri()], check=True, capture_output=True)
    return pdf


def main(site_only=False):
    browser = None if site_only else chromium()
    for lang in WORDS:
        write(lang, SOURCES / lang, pdf=bool(browser))
        page = sphinx("html", lang)
        shutil.rmtree(SITE / lang, ignore_errors=True)
        shutil.copytree(page, SITE / lang, ignore=shutil.ignore_patterns(".buildinfo*", "objects.inv"))
        if browser:
            print(print_pdf(lang, browser).relative_to(ROOT))
    if not (browser or site_only):
        print("没有 chromium,所以没有 PDF · no chromium, so no PDF")
    shutil.copy(ROOT / "book/index.html", SITE)
    (SITE / ".nojekyll").touch()  # GitHub Pages would drop _static
    print(SITE.relative_to(ROOT))


if __name__ == "__main__":
    main("--site" in sys.argv)
