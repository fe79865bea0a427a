"""The teacher's editions and the answer key: every answer behind its own exercise, in both languages, and only there."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from test_project import ROOT, script

answers = script(ROOT / "tools/build_answers.py")
LESSONS = answers.lessons()
both = pytest.mark.parametrize("lang", ["zh", "en"])


def stored(path, lang):
    return nbformat.read(answers.targets(path, ROOT / "notebooks")[lang], as_version=4)


@both
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_teachers_edition_is_the_lesson_with_every_answer_below_its_exercise(path, lang):
    book = stored(path, lang)
    taught = answers.teachers(book, path, lang)
    nbformat.validate(taught)
    added = {cell.id: place for place, cell in enumerate(taught.cells) if cell.id.startswith("answer-")}
    assert list(added) == [f"answer-{each.number.replace('.', '-')}" for each in answers.asked(path)]
    for exercise, place in zip(answers.asked(path), added.values()):
        assert f'check("{exercise.number}"' in taught.cells[place - 1].source
        assert answers.solution(exercise) in taught.cells[place].source
    for before, after in zip(book.cells, (cell for cell in taught.cells if cell.id not in added)):
        assert after.source.endswith(before.source) and after.get("outputs") == before.get("outputs")


@both
def test_no_lesson_of_the_students_holds_a_solution(lang):
    for path in LESSONS:
        text = "\n".join(cell.source for cell in stored(path, lang).cells)
        assert "<details" not in text
        for exercise in answers.asked(path):
            assert answers.solution(exercise).removeprefix("```python\n").removesuffix("```") not in text


def test_the_key_has_all_answers_once_in_the_courses_order_and_needs_no_network(tmp_path):
    answers.build(tmp_path)
    pages = [(tmp_path / f"answers-{lang}/key.html").read_text(encoding="utf-8") for lang in ("zh", "en")]
    numbers = [exercise.number for path in LESSONS for exercise in answers.asked(path)]
    for page in pages:
        assert re.findall(r"<h3>\D*([\d.]+)</h3>", page) == numbers
        assert page.count("<pre>") >= len(numbers) and not re.search(r"\$|(?:src|href)=(?!.data:)", page)
    assert len({len(re.findall("<ol>|<h2>", page)) for page in pages}) == 1


def test_numbers_are_short_and_what_is_measured_is_left_open():
    found = {exercise.number: exercise for path in LESSONS for exercise in answers.asked(path)}
    assert "answer = 12.3656\n" in answers.solution(found["9.3"])
    assert "要四句，你写了 … 句" in answers.wrong(found["3.3"], "zh")
    assert not any(re.search(r"\{[a-z]+\}", answers.wrong(each, "en")) for each in found.values())


@both
def test_a_teachers_edition_runs_where_it_lies(tmp_path, lang):
    """Its first cell finds the course from a folder of build/, and `check` speaks its language."""
    (tmp_path / "paidiff_lib").mkdir()
    (tmp_path / f"build/answers-{lang}").mkdir(parents=True)
    boot = next(c for c in answers.teachers(stored(LESSONS[0], lang), LESSONS[0], lang).cells if c.id == "boot")
    code = boot.source + "\nprint(os.environ['PAIDIFF_LANG'], os.path.isdir('../paidiff_lib'))"
    where = {key: value for key, value in os.environ.items() if key != "PAIDIFF_LANG"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path / f"build/answers-{lang}", env=where, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [lang, "True"]
