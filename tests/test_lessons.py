"""The lessons' sources, and that the notebooks of both languages are what the builder makes of them."""

import io
import re
import subprocess
import sys
import tokenize
import unicodedata

import nbformat
import pytest
import yaml
from markdown_it import MarkdownIt
from test_project import ROOT, script

builder = script(ROOT / "tools/build_notebooks.py")
SOURCES = sorted((ROOT / "lessons").glob("[0-9][0-9]_*.py"))
HAN = "\u4e00-\u9fff“”「」《》"
CODE = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)|\{\{ .*? \}\}|<[^>]*>", re.S)
HALF_WIDTH = re.compile(f"[{HAN}][*]*[,:;()!?][*]*[{HAN}]")
BANNED = {  # in Chinese text: what to write instead
    "格子": "单元格",
    "笔记(?!本)": "笔记本",
    "门槛": "阈值",
    "管线": "流水线",
    "真相": "真实值",
    "先验保持": "先验保留",
    "(?<!指数)滑动平均": "指数滑动平均",
    r"准确率\W*precision": "查准率",
    r"召回率": "查全率",
    "您": "你",
    "诚实地说": "未在真权重上验证",
    "叫一声": "调用",
    "这一格": "这个单元格",
    "就是字面的意思": "说要怎么办",
}
WIDTH = 88


def faults(path):
    """Every fault of a source, one line each."""
    cells = builder.jupytext.read(path, fmt="py:percent").cells
    for place, cell in enumerate(cells):
        found = _code_faults(cell) if cell.cell_type == "code" else _text_faults(cell, cells[place + 1 : place + 2])
        yield from (f"{cell.source.splitlines()[0][:40] if cell.source else place}: {fault}" for fault in found)
    languages = [None, *(cell.metadata.get("lang") for cell in cells)]
    if any(lang == "en" and before != "zh" for before, lang in zip(languages, languages[1:])):
        yield "an English block without its Chinese one"


def _code_faults(cell):
    if any(_columns(line) > WIDTH for line in cell.source.splitlines()):
        yield f"a line of more than {WIDTH} columns"
    for token in tokenize.generate_tokens(io.StringIO(cell.source).readline):
        if token.type == tokenize.COMMENT and re.search(f"[{HAN}]", token.string):
            yield "a comment that is not English"


def _columns(line):
    """Chinese characters are two columns wide, as for ruff."""
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in line)


def _text_faults(cell, following):
    text = CODE.sub("", cell.source)
    for match in HALF_WIDTH.finditer(text):
        yield f"half-width punctuation: {match[0]}"
    blocks = MarkdownIt("js-default").parse(CODE.sub("x", cell.source))
    if left := [child.content for block in blocks for child in block.children or () if "*" in child.content]:
        yield f"asterisks that are not read as emphasis: {left[0]}"
    if cell.metadata.get("lang") != "zh":
        return
    yield from (f"{word}: write {better}" for word, better in BANNED.items() if re.search(word, text))
    twin = following[0] if following else None
    if not twin or twin.cell_type != "markdown" or twin.metadata.get("lang") != "en":
        yield "no English block after it"
    else:
        yield from (
            f"the English block has other {what}" for what, found in PARTS.items() if found(cell) != found(twin)
        )


PARTS = {  # what both languages of a block have in common
    "headings": lambda cell: re.findall("^#+(?= )", CODE.sub("", cell.source), re.M),
    "formulas": lambda cell: sorted(re.findall(r"\$\$.*?\$\$|\$[^$]+\$", re.sub("`[^`]*`", "", cell.source), re.S)),
    "expressions": lambda cell: sorted(builder.EXPRESSION.findall(cell.source)),
    "tags": lambda cell: cell.metadata.get("tags"),
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_source_has_no_faults(path):
    assert list(faults(path)) == []


def editions(path, folder=ROOT / "notebooks"):
    return {lang: nbformat.read(file, as_version=4) for lang, file in builder.targets(path, folder).items()}


def differences(path, books):
    """Where the stored notebooks are not what the builder would make of the source, outputs and values aside."""
    cells = builder.read(path)
    for lang, book in books.items():
        wanted = builder.edition(cells, lang).cells
        if len(wanted) != len(book.cells):
            yield f"{lang}: {len(book.cells)} cells, the source has {len(wanted)}"
        for new, stored in zip(wanted, book.cells):
            values = stored.metadata.pop("values", {})
            if set(values) == set(builder.EXPRESSION.findall(new.source)):
                new = builder.fill(new, values)
            new.metadata.pop("values", None)
            if (new.id, new.cell_type, new.source, new.metadata) != (
                stored.id,
                stored.cell_type,
                stored.source,
                stored.metadata,
            ):
                yield f"{lang} {new.id}: {new.source[:60]}"
    code = [
        [(c.source, c.outputs, c.execution_count) for c in b.cells if c.cell_type == "code"] for b in books.values()
    ]
    if code[0] != code[1]:
        yield "the two languages have other code or outputs"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_notebooks_are_those_of_the_source(path):
    assert list(differences(path, editions(path))) == []


def test_every_notebook_has_a_source():
    there = {path.relative_to(ROOT / "notebooks") for path in (ROOT / "notebooks").rglob("*.ipynb")}
    wanted = {file for path in SOURCES for file in builder.targets(path, ROOT / "notebooks").values()}
    assert there == {file.relative_to(ROOT / "notebooks") for file in wanted}
    books = {path: builder.nbformat.read(ROOT / "notebooks" / path, as_version=4) for path in there}
    texts = {path: [c.source for c in book.cells if c.cell_type == "markdown"] for path, book in books.items()}
    assert not [path for path in there if "{{" in "".join(texts[path])]


def test_the_order_names_every_lesson_once():
    numbers = builder.order()
    assert len(numbers) == len(set(numbers)) and {path.name[:2] for path in SOURCES} <= set(numbers)
    assert numbers[:3] == ["01", "02", "00"]


def test_the_glossary_names_every_term_once_with_its_lesson():
    rows = yaml.safe_load((ROOT / "lessons/glossary.yml").read_text(encoding="utf-8"))
    assert len(rows) >= 150
    assert {tuple(row) for row in rows} == {("zh", "en", "lesson", "means_zh", "means_en")}
    for lang in ("zh", "en"):
        terms = [row[lang].casefold() for row in rows]
        assert [term for term in terms if terms.count(term) > 1] == []
    order = builder.order()
    assert [row["lesson"] for row in rows] == sorted((row["lesson"] for row in rows), key=order.index)
    for row in rows:
        text = row["zh"] + "。" + row["means_zh"]
        assert text.endswith("。") and row["means_en"].endswith(".") and not HALF_WIDTH.search(text), row
        assert [word for word in BANNED if re.search(word, text)] == [], row


SOURCE = """# %% [markdown] lang="zh"
# # 98 · 玩具
#
# 一句话，$x_t$，`猫,草地`。
# %% [markdown] lang="en"
# # 98 · Toy
#
# A line, $x_t$, `猫,草地`.
# %% tags=["boot"]
import paidiff_course
# %%
from paidiff_lib import show
from PIL import Image

rate = 0.625
show(Image.new("RGB", (64, 64), "red"), alt="a red square")
# %% [markdown] lang="zh"
# 一共 {{ f"{rate:.0%}" }}。
# %% [markdown] lang="en"
# In all {{ f"{rate:.0%}" }}.
# %%
print("猫")
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A small lesson in a folder of its own, with a neighbour on each side."""
    monkeypatch.setattr(builder, "LESSONS", tmp_path)
    monkeypatch.setattr(builder, "PAGES", tmp_path / "pages")
    for number in ("97", "98", "99"):
        (tmp_path / f"{number}_toy.py").write_text(SOURCE.replace("98", number), encoding="utf-8")
    (tmp_path / "order.yml").write_text('[{zh: 会用, en: Using, lessons: ["97", "98", "99"]}]', encoding="utf-8")
    (tmp_path / "boot.py").write_text('ADDRESS = ""\n', encoding="utf-8")
    return tmp_path / "98_toy.py"


BAD_SOURCES = [
    ("一句话，", "一句话,句", "half-width"),
    ("一句话", "门槛", "阈值"),
    ("一句话", "准确率(precision)", "查准率"),
    ("# A line, $x_t$", "# A line, $x$", "formulas"),
    ("# A line", "# ## A line", "headings"),
    ("一句话，", "**一句。**话", "asterisks"),
    ('{{ f"{rate:.0%}" }}.', "62 %.", "expressions"),
    ("rate = 0.625", "rate = 0.625" + " " * 80 + "# half", "88"),
    ("rate = 0.625", "rate = 0.625  # 一半", "not English"),
    ('# %% [markdown] lang="en"\n# In all {{ f"{rate:.0%}" }}.\n', "", "no English"),
    ('# %% [markdown] lang="zh"\n# 一共 {{ f"{rate:.0%}" }}。\n', "", "without its Chinese"),
]


@pytest.mark.parametrize("old, new, words", BAD_SOURCES)
def test_every_fault_of_a_source_is_found(toy, old, new, words):
    assert old in SOURCE and list(faults(toy)) == []
    toy.write_text(SOURCE.replace(old, new), encoding="utf-8")
    assert any(words in fault for fault in faults(toy)), list(faults(toy))


def test_a_lesson_is_built_in_both_languages_and_kept(toy, tmp_path):
    """Executed once; then the text is changed and the outputs stay; then the code, which needs a run."""
    builder.build(toy, tmp_path / "out")
    books = editions(toy, tmp_path / "out")
    assert list(differences(toy, books)) == []
    zh, en = (editions(toy, tmp_path / "out")[lang].cells for lang in ("zh", "en"))
    assert (zh[3].source, en[3].source) == ("一共 62%。", "In all 62%.")
    assert zh[2].outputs[0].data["text/plain"].startswith("1 picture 64x64")
    assert zh[-1].source.startswith("---\n\n上一课：[97 · 玩具](97_toy.ipynb) · 下一课：[99 · 玩具](99_toy.ipynb)")
    assert en[-1].source.endswith("[99 · Toy](99_toy.ipynb) · [中文](../98_toy.ipynb)")
    toy.write_text(SOURCE.replace("一句话", "一行字"), encoding="utf-8")
    assert list(differences(toy, editions(toy, tmp_path / "out"))) == [
        "zh c00: # 98 · 玩具\n\n<!-- badges -->\n\n一行字，$x_t$，`猫,草地`。"
    ]
    builder.build(toy, tmp_path / "out", kept=True)
    kept = editions(toy, tmp_path / "out")
    assert list(differences(toy, editions(toy, tmp_path / "out"))) == [] and kept["zh"].cells[2] == zh[2]
    for old, new in (("rate = 0.625", "rate = 0.5"), ('# 一共 {{ f"{rate:.0%}" }}', "# 一共 {{ rate }}")):
        toy.write_text(SOURCE.replace(old, new), encoding="utf-8")
        assert list(differences(toy, editions(toy, tmp_path / "out")))
        with pytest.raises(SystemExit, match="run"):
            builder.build(toy, tmp_path / "out", kept=True)


def test_a_page_shows_its_formulas_without_a_network(toy, tmp_path):
    """MathML needs no script; so the page has none, and no foreign host. The boot cell is for machines."""
    text = "## 公式 $x_t$\n\n$$ \\bar\\alpha_t $$\n\n`$HOME` 和 `$PATH`"
    cells = [nbformat.v4.new_markdown_cell(text), *builder.read(toy)[2:4]]
    builder.write_page(nbformat.v4.new_notebook(cells=cells), tmp_path / "toy.html")
    page = (tmp_path / "toy.html").read_text(encoding="utf-8")
    assert page.count("<math ") == 2 and 'display="block"' in page and "$HOME" in page and "\ue000" not in page[-9000:]
    assert "<script" not in page and not re.search(r"(src|import|href)[^>\n]{1,9}https?:", page)
    assert "a red square" in page and "ADDRESS" not in page and 'lang="zh"' in page


@pytest.mark.parametrize("old, new", [("{{ f", "{{ none + f"), ('print("猫")', "print(none)")])
def test_a_failing_expression_or_cell_ends_the_build(toy, tmp_path, old, new):
    toy.write_text(SOURCE.replace(old, new), encoding="utf-8")
    with pytest.raises(SystemExit, match="none"):
        builder.build(toy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("colour, failed", [("red", False), ("blue", True)])
def test_nbval_sees_another_picture(toy, tmp_path, colour, failed):
    """The picture's digest is its plain text, which nbval compares; the JPEG itself it does not."""
    builder.build(toy, tmp_path / "out")
    file = tmp_path / "out/98_toy.ipynb"
    file.write_text(file.read_text(encoding="utf-8").replace('\\"red\\"', f'\\"{colour}\\"'), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode == 1) == failed and ("mean colour" in done.stdout) == failed, done.stdout
