"""The book: what Sphinx is given, and, where Sphinx is installed and the book was made, the site itself."""

import re
import subprocess
from urllib.parse import quote

import nbformat
import pytest
import yaml
from markdown_it import MarkdownIt
from packaging.requirements import Requirement
from test_project import PROJECT, ROOT, script

book = script(ROOT / "tools/build_book.py")
both = pytest.mark.parametrize("lang", ["zh", "en"])
PAGES = sorted((ROOT / "dist/book").glob("[ze]?/*.html"))
made = pytest.mark.skipif(not PAGES, reason="make book")


@pytest.fixture(scope="module", params=["zh", "en"])
def source(request, tmp_path_factory):
    """(language, folder): what is written for Sphinx."""
    folder = tmp_path_factory.mktemp("book") / request.param
    book.write(request.param, folder, pdf=True)
    return request.param, folder


def test_every_lesson_is_whole_in_its_part(source):
    lang, folder = source
    index = (folder / "index.md").read_text(encoding="utf-8")
    captions = re.findall(r":caption: (.+)", index)
    parts = yaml.safe_load((book.LESSONS / "order.yml").read_text(encoding="utf-8"))
    there = {path.name[:2] for path in book.lessons()}
    assert captions[:-1] == [part[lang] for part in parts if there & set(part["lessons"])]
    assert re.findall(r"^(\d\d_\w+)$", index, re.M) == [path.stem for path in book.lessons()]
    assert f"paidiff-{lang}.pdf" in index


def test_no_picture_and_no_number_is_lost(source):
    """Each stored picture is a file, with an alt text in one language; each printed line is where it was."""
    lang, folder = source
    for path in book.lessons():
        stored = nbformat.read(book.targets(path, ROOT / "notebooks")[lang], as_version=4)
        made = nbformat.read(folder / f"{path.stem}.ipynb", as_version=4)
        nbformat.validate(made)
        text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
        shown = re.findall(r"!\[((?:\\.|[^]\\])+)\]\((img/[^)]+)\)", text)
        outputs = [out for cell in stored.cells if cell.cell_type == "code" for out in cell.outputs]
        drawn = [out for out in outputs if any(kind.startswith("image/") for kind in out.get("data", ()))]
        diagrams = sum(cell.source.count("](data:image/svg+xml") for cell in stored.cells)
        assert len(shown) == len(drawn) + diagrams and text.count("![") == len(shown) and "data:image" not in text
        assert all((folder / file).stat().st_size for _, file in shown)
        assert not any(" · " in alt and re.search("[a-z]{4}", alt) and re.search("[一-龥]", alt) for alt, _ in shown)
        said = [
            c.outputs for c in stored.cells if c.cell_type == "code" and "exercise" not in c.metadata.get("tags", ())
        ]
        kept = [c.outputs for c in made.cells if c.cell_type == "code" and "exercise" not in c.metadata.get("tags", ())]
        assert [[o for o in some if o.output_type == "stream"] for some in said] == [
            [o for o in some if o.output_type == "stream"] for some in kept
        ]
        assert text.count('<details class="solution">') == len(book.asked(path))


def test_the_glossary_and_the_api_are_whole(source):
    _, folder = source
    glossary, api = ((folder / f"{name}.md").read_text(encoding="utf-8") for name in ("glossary", "api"))
    assert glossary.count("\n  ") == len(book.terms())
    for package in map(book.importlib.import_module, book.PACKAGES):
        for name in getattr(package, "__all__", []):
            assert f"}} {package.__name__}.{name}(" in api
    assert "paidiff_app.open_model(name=None)" in api and " at 0x" not in api and "(self" not in api


def test_a_lesson_can_be_opened_elsewhere_once_the_address_is_known():
    """The line below a title is links, in a notebook and in the book: no comment before it makes it plain text."""
    address = script(ROOT / "tools/set_address.py")
    for known, links in (("https://github.com/someone/paidiff", 3), ("https://gitee.com/someone/paidiff", 2), ("", 0)):
        line = address.badges(known, "01_inference")
        assert MarkdownIt("commonmark").render(f"# 01\n\n{line}\n\ntext").count("<a href") == links


def test_what_the_book_needs_is_pinned():
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    )
    for line in PROJECT["optional-dependencies"]["book"]:
        wanted = Requirement(line)
        assert wanted.name == "paidiff" or wanted.specifier.contains(pins[wanted.name]), line


def test_the_book_is_published_by_its_own_workflow():
    job = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text())["jobs"]
    assert {"run": "make book"} in job["build"]["steps"]
    assert "book" not in (ROOT / ".ci/run").read_text()


# --- the site, where it was made ----------------------------------------------------------------------------------


def loads(path):
    """What a page or a style asks for by itself, from another host."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^)\"']+)", text)
    tags = "".join(re.findall(r"<(?:script|link|img|iframe|source|video|audio|object|embed)\b[^>]*>", text))
    return re.findall(r"(?:src|href|data|srcset)=\"((?:https?:)?//[^\"]+)", tags)


@pytest.mark.parametrize(
    "name, text",
    [
        ("x.html", '<script src="https://cdn.example.org/x.js"></script>'),
        ("x.html", '<link rel="stylesheet" href="//fonts.example.org/css">'),
        ("x.css", "@font-face { src: url(https://fonts.example.org/x.woff2) }"),
    ],
)
def test_a_foreign_host_would_be_seen(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert len(loads(tmp_path / name)) == 1


@made
def test_the_site_asks_nothing_of_another_host():
    files = [*PAGES, *(ROOT / "dist/book").rglob("*.css")]
    assert len(PAGES) > 30 and [(path.name, found) for path in files if (found := loads(path))] == []


@made
@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_link_within_the_site_leads_somewhere(path):
    for link in set(re.findall(r'(?:href|src)="([^":]*)"', path.read_text(encoding="utf-8"))):
        file, _, anchor = link.partition("#")
        target = path.parent / file.partition("?")[0] if file.partition("?")[0] else path
        assert target.exists(), link
        if anchor and target.suffix == ".html":
            assert f'id="{anchor}"' in target.read_text(encoding="utf-8"), link


def dom(url):
    """A page as chromium has made it, without any network. Skips where there is none."""
    browser = book.chromium() or pytest.skip("chromium")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--log-level=3", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command = [browser, *quiet, "--virtual-time-budget=60000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=300).stdout


@made
@both
def test_formulas_are_set_in_a_browser_without_network(lang):
    page = dom((ROOT / f"dist/book/{lang}/03_lora.html").as_uri())
    assert (
        page.count("<mjx-container") == len(re.findall('class="math ', page)) > 30
        and '<g data-mml-node="merror"' not in page
    )


@made
@pytest.mark.parametrize(
    "lang, query, lesson",
    [
        ("zh", "交叉注意力", "12_attention"),
        ("zh", "什么是先验保留", "05_dreambooth"),
        ("zh", "训练 LoRA", "03_lora"),
        ("en", "cross-attention", "12_attention"),
    ],
)
def test_the_search_finds_without_network(lang, query, lesson):
    page = dom((ROOT / f"dist/book/{lang}/search.html").as_uri() + f"?q={quote(query)}")
    results = page.partition('id="search-results"')[2]
    assert f"{lesson}.html" in results
