"""What the pages name is there: links, pictures, commands, make targets, modules and files; both editions say the same."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest
import typer.main

from paidiff_app.cli import app

ROOT = Path(__file__).resolve().parents[1]
CHINESE = ".zh-CN.md"
ENGLISH = [ROOT / "README.md", *sorted(path for path in ROOT.glob("docs/*.md") if not path.name.endswith(CHINESE))]
PAGES = [path for page in ENGLISH for path in (page, page.with_name(page.stem + CHINESE))]
OTHERS = [ROOT / "data/README.md", ROOT / "deploy/README.md", *sorted(ROOT.glob("benchmarks/*.md"))]
OTHERS += sorted(
    path
    for path in ROOT.glob("*.md")
    if path not in PAGES and path.name != "CHANGELOG.md"  # it names what is gone
)
FOLDERS = r"(?:paidiff_\w+|scripts|tools|benchmarks|tests|data|docs|deploy|notebooks)"

every_page = pytest.mark.parametrize("path", PAGES + OTHERS, ids=lambda path: str(path.relative_to(ROOT)))
every_pair = pytest.mark.parametrize("path", ENGLISH, ids=lambda path: path.name)


def text_of(path):
    return path.read_text(encoding="utf-8")


def links(text):
    """The targets of every link and picture that stays in the repository, without what follows a #."""
    found = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    return [link.partition("#")[0] for link in found if not re.match(r"https?:|mailto:|#", link)]


def code(text):
    """All that stands in code blocks and between backquotes: what a reader copies."""
    fences = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    return "\n".join(fences + re.findall(r"`([^`\n]+)`", re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.M | re.S)))


def commands(text):
    """The words after `paidiff`, where it is a command: at the start of a line or of a quotation, or in .venv/bin."""
    return re.findall(r"(?:^|\.venv/bin/|&& |[A-Z_]+=\S+ )paidiff (\w+)", code(text), re.M)


def targets(text):
    """The words after `make`."""
    return re.findall(r"(?:^|&& |[A-Z_]+=\S+ )make ([a-z][\w-]*)", code(text), re.M)


def modules(text):
    """Every dotted name that begins with a package of ours."""
    return re.findall(r"\bpaidiff_(?:lib|app|world|course)(?:\.\w+)*(?!\w*/)", code(text))


def is_there(dotted):
    """Whether it is a module, or a public name of one."""
    for split in range(dotted.count(".") + 1):
        module, *names = dotted.rsplit(".", split) if split else [dotted]
        try:
            if importlib.util.find_spec(module):
                return not names or hasattr(importlib.import_module(module), names[0]) and len(names) == 1
        except ModuleNotFoundError:
            continue
    return False


def files(text):
    """Every path below a folder of the repository, as in paidiff_lib/generate.py or data/porcelain."""
    found = re.findall(rf"(?<![\w./-]){FOLDERS}(?:/[\w.-]+)*/?", code(text))
    return [name for name in found if "/" in name]


def python_blocks(text):
    return re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)


def one_name(link):
    """A page, lesson or diagram, whichever the language."""
    return re.sub(r"\.zh-CN|/(zh|en)(?=/)", "", link)


def figures(text):
    return re.findall(r"\d[\d,.]*\d|\d", text)


@every_page
def test_every_link_and_picture_is_there(path):
    places = [link for link in links(text_of(path)) if not link.startswith("diagram:")]  # embedded in a lesson
    missing = [link for link in places if not (path.parent / link).exists()]
    assert not missing


@every_page
def test_every_command_and_make_target_is_there(path):
    known = set(typer.main.get_command(app).commands)
    rules = set(re.findall(r"^([a-z][\w-]*):", text_of(ROOT / "Makefile"), re.M))
    assert not set(commands(text_of(path))) - known
    assert not set(targets(text_of(path))) - rules


@every_page
def test_every_module_and_file_is_there(path):
    text, base = text_of(path), path.parent
    assert [name for name in modules(text) if not is_there(name)] == []
    assert [name for name in files(text) if not any((place / name).exists() for place in (ROOT, base))] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_blocks_use_names_that_are_there(path):
    """Imports work, and what is asked of an imported package is in it."""
    for block in python_blocks(text_of(path)):
        known = {}
        exec("\n".join(line for line in block.splitlines() if re.match(r"import|from", line)), known)
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
                assert hasattr(known[node.value.id], node.attr), ast.unparse(node)


@every_pair
def test_both_editions_say_the_same(path):
    english, chinese = text_of(path), text_of(path.with_name(path.stem + CHINESE))
    assert [len(mark) for mark in re.findall(r"^(#+) ", english, re.M)] == [
        len(mark) for mark in re.findall(r"^(#+) ", chinese, re.M)
    ]
    assert figures(english) == figures(chinese)
    assert python_blocks(english) == python_blocks(chinese)
    assert [one_name(link) for link in links(english)[1:]] == [one_name(link) for link in links(chinese)[1:]]


@every_pair
def test_each_edition_leads_to_the_other_first(path):
    other = path.with_name(path.stem + CHINESE)
    assert other.name in links(text_of(path))[:2] and path.name in links(text_of(other))[:2]


def test_the_readme_is_one_page_and_leads_to_every_other():
    assert {ROOT / link for link in links(text_of(ROOT / "README.md"))} >= set(ENGLISH[1:])
    assert len(text_of(ROOT / "README.md").splitlines()) <= 125


@pytest.mark.parametrize("edition", [".md", CHINESE])
def test_every_command_has_its_row(edition):
    """Those of paidiff, with options that it has; make targets; the training commands, by both of their names."""
    text, known = text_of(ROOT / f"docs/commands{edition}"), typer.main.get_command(app).commands
    rows = dict(re.findall(r"^\| `paidiff (\w+)(.*)$", text, re.M))
    assert rows.keys() == known.keys()
    for name, row in rows.items():
        options = {option for parameter in known[name].params for option in parameter.opts}
        own = re.sub(r"`paidiff [^`]*`", "", row)  # not those of another command
        assert set(re.findall(r"(?<!\S)`?(--?[a-z]+)", own)) <= options, name
    phony = re.search(r"^\.PHONY: (.*)$", text_of(ROOT / "Makefile"), re.M)[1]
    assert set(re.findall(r"^\| `make ([\w-]+)", text, re.M)) >= set(re.findall(r"(?<!\S)[a-z][\w-]*", phony))


@pytest.mark.parametrize("edition", [".md", CHINESE])
def test_every_training_command_has_its_row(edition):
    from paidiff_app.train import COMMANDS

    rows = re.findall(
        r"^\| `scripts/(\w+)\.py` \| `python -m paidiff_app\.train (\w+)`",
        text_of(ROOT / f"docs/commands{edition}"),
        re.M,
    )
    assert {script for script, _ in rows} == {path.stem for path in ROOT.glob("scripts/*.py")}
    assert [script.removeprefix("train_") for script, _ in rows] == [name for _, name in rows]
    assert {name for _, name in rows} == set(COMMANDS)


WRONG = [
    (links, "[x](no/such.md) and [y](https://example.org)", ["no/such.md"]),
    (commands, "```bash\n.venv/bin/paidiff drawn x\n```\n`paidiff wep`", ["drawn", "wep"]),
    (targets, "`make tea` and make sense", ["tea"]),
    (modules, "`python -m paidiff_world.pretrayn`", ["paidiff_world.pretrayn"]),
    (files, "`tools/make_tea.py`, `out/tools/x.py`", ["tools/make_tea.py"]),
]


@pytest.mark.parametrize("find, text, found", WRONG, ids=lambda value: getattr(value, "__name__", None))
def test_what_is_wrong_would_be_seen(find, text, found):
    assert find(text) == found
    assert not is_there("paidiff_world.pretrayn") and not is_there("paidiff_lib.faster")
    assert is_there("paidiff_lib.data_folder") and is_there("paidiff_world.pretrain.evaluate")
