"""The workshop's slides, question cards and handout as pages for a browser, which prints them: build/workshop/{zh,en}/.

    python tools/build_workshop.py

Slides are workshop/slides.LANG.md, parted by lines of ---; `![](figure:01/c04)` is the picture that cell c04 of notebook 01
has stored, `<!-- ... -->` a note for the speaker. Cards come from lessons/quiz, the handout from lessons/glossary.yml.
"""

import html
import json
import re
from pathlib import Path

import yaml
from draw_diagrams import embed
from markdown_it import MarkdownIt
from run_lesson import FORMULA, PLACE, _place, find

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build/workshop"
FIGURE = re.compile(r"!\[\]\(figure:(\d\d)/(\w+)\)")
NOTE = re.compile(r"<!--(.*?)-->", re.S)
WORDS = {
    "zh": {"cards": "题卡", "handout": "讲义", "notes": "讲", "answer": "答", "lesson": "课"},
    "en": {"cards": "Question cards", "handout": "Handout", "notes": "Say", "answer": "Answer", "lesson": "Lesson"},
}
STYLE = """
body { font: 22px/1.5 "Noto Sans CJK SC", "Noto Sans SC", "PingFang SC", "Microsoft YaHei", sans-serif; margin: 0; color: #1b1b1b; }
.slide { box-sizing: border-box; height: 7.5in; display: flex; flex-direction: column; padding: .45in .8in; font-size: 34px; line-height: 1.35; border-bottom: 1px solid #ccc; break-inside: avoid; overflow: hidden; }
.slide h1 { font-size: 1.5em; margin: 0 0 .5em; color: #0b4f8a; }
.slide p { margin: .4em 0; }
.slide p:has(img) { flex: 1; position: relative; }
.slide img { position: absolute; width: 100%; height: 100%; object-fit: contain; }
.slide:first-child { padding-top: 2.6in; text-align: center; }
.note { font-size: .5em; color: #555; border-left: 4px solid #bbb; padding-left: 1em; margin-top: 2em; }
.card { display: grid; grid-template-columns: 1fr 1fr; gap: 2em; padding: 1.2em 2em; border-bottom: 1px dashed #999; font-size: 17px; break-inside: avoid; }
.terms { columns: 2; padding: 2em; font-size: 13px; }
.terms p { margin: 0 0 .5em; break-inside: avoid; }
@media (max-width: 700px) { .card { grid-template-columns: 1fr; } .terms { columns: 1; } }
@media print { .note { display: none; } }
"""
WIDE = "@page { size: 13.33in 7.5in; margin: 0; }"  # a slide is a page


def figure(match):
    """The stored picture of one cell, within the page. Raises SystemExit if that cell has none."""
    number, cell_id = match.groups()
    cells = json.loads(find(number).read_text(encoding="utf-8"))["cells"]
    for output in (output for cell in cells if cell["id"] == cell_id for output in cell.get("outputs", ())):
        for kind in (kind for kind in output.get("data", ()) if kind.startswith("image/")):
            alt = output["metadata"].get("alt") or output["metadata"][kind]["alt"]
            data = "".join("".join(output["data"][kind]).split())
            return f'<p><img alt="{html.escape(alt)}" src="data:{kind};base64,{data}"></p>'
    raise SystemExit(f"没有这幅图 · no such figure: {match[0]}")


def rendered(text, lang):
    """Markdown with figures, diagrams and formulas as HTML that asks nothing of the network."""
    formulas = []
    text = FORMULA.sub(lambda match: match[1] or _place(match, formulas), embed(text, lang))
    markdown = MarkdownIt("commonmark", {"html": True})
    markdown.validateLink = lambda _: True  # it takes no SVG within a page, and diagrams are that
    page = markdown.render(FIGURE.sub(figure, text))
    return PLACE.sub(lambda match: formulas[int(match[1])], page)


def page(title, body, lang, style=STYLE):
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return f'<!doctype html><html lang="{lang}"><head>{head}<style>{style}</style></head><body>{body}</body></html>'


def slides(lang):
    parts = []
    for text in (ROOT / f"workshop/slides.{lang}.md").read_text(encoding="utf-8").split("\n---\n"):
        notes = [
            f'<div class="note">{WORDS[lang]["notes"]}: {html.escape(n.strip())}</div>' for n in NOTE.findall(text)
        ]
        parts.append(f'<section class="slide">{rendered(NOTE.sub("", text), lang)}{"".join(notes)}</section>')
    return page("paidiff", "".join(parts), lang, STYLE + WIDE)


def cards(lang):
    """A question at the left, its answer at the right: fold or cut between."""
    words, rows = WORDS[lang], []
    for file in sorted((ROOT / "lessons/quiz").glob("*.yml")):
        for one in yaml.safe_load(file.read_text(encoding="utf-8")):
            question = f"<b>{words['lesson']} {file.stem}</b> {rendered(one['question'][lang], lang)}"
            rows.append(
                f'<div class="card"><div>{question}</div><div>{rendered(one["answer"][lang], lang)}</div></div>'
            )
    return page(words["cards"], "".join(rows), lang)


def handout(lang):
    """Every term of the course with its sentence, in the order of the lessons."""
    terms = yaml.safe_load((ROOT / "lessons/glossary.yml").read_text(encoding="utf-8"))
    other = {"zh": "en", "en": "zh"}[lang]
    lines = [
        f"<p><b>{html.escape(t[lang])}</b> ({html.escape(t[other])}) {html.escape(t[f'means_{lang}'])}</p>"
        for t in sorted(terms, key=lambda t: t["lesson"])
    ]
    return page(WORDS[lang]["handout"], f'<div class="terms">{"".join(lines)}</div>', lang)


def main():
    for lang in WORDS:
        (PAGES / lang).mkdir(parents=True, exist_ok=True)
        for make in (slides, cards, handout):
            (PAGES / lang / f"{make.__name__}.html").write_text(make(lang), encoding="utf-8")
    print(PAGES.relative_to(ROOT))


if __name__ == "__main__":
    main()
