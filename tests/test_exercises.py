"""The checkers of the exercises: what is right passes, every listed mistake is told apart, mutants are caught.

Pictures that a goal draws are stored in lessons/exercises/pictures/, for the solution and for each wrong answer:
`python tools/draw_exercises.py` draws them anew.
"""

import ast
import json
import re
from itertools import islice

import numpy as np
import pytest
from mutants import mutants, passes
from test_lessons import BANNED, CODE, HALF_WIDTH
from test_project import ROOT, script

from paidiff_course import check, progress
from paidiff_course.exercise import unlike
from paidiff_lib.errors import PaidiffError

FILES = sorted((ROOT / "lessons/exercises").glob("[0-9][0-9].py"))
ALL = [each for file in FILES for each in progress.exercises(file)]
FUNCTIONS = [each for each in ALL if each.kind == "function"]
CAUGHT = 0.95  # of the mutants, those listed as equivalent aside
SEEDS = 20

names = dict(ids=lambda each: each.number)
stored = script(ROOT / "tools/draw_exercises.py").stored
scorer = script(ROOT / "tools/score_exercises.py")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("PAIDIFF_LANG", "en")


@pytest.mark.parametrize("each", ALL, **names)
def test_an_exercise_is_whole(each):
    assert len(each.hints) == 3 and len(each.wrong) >= 5
    assert each.kind != "function" or (each.inputs and len(each.also) >= 2)
    texts = [each.zh, *(zh for zh, _ in each.hints), *(w.zh for w in (*each.wrong, *each.goals))]
    for text in (CODE.sub("", text) for text in texts):
        assert not HALF_WIDTH.search(text) and not [word for word in BANNED if re.search(word, text)]
    assert not [text for text in texts[1:] if "$" in text], "what check prints is no markdown"
    pairs = [(each.zh, each.en), *each.hints, *((w.zh, w.en) for w in (*each.wrong, *each.goals))]
    assert all(zh and en for zh, en in pairs)


@pytest.mark.parametrize("each", ALL, **names)
def test_what_is_right_passes(each):
    seeds = range(SEEDS) if each.kind == "function" else [0]
    for answer in (each.solution, *each.also):
        assert [each.fault(answer, seed, draw=stored(each.number)) for seed in seeds] == [None] * len(seeds)


@pytest.mark.parametrize("each", ALL, **names)
def test_every_listed_mistake_gets_its_own_sentence(each):
    for wrong in each.wrong:
        zh, en = each.fault(wrong.answer, draw=stored(each.number))
        assert wrong.zh in zh and wrong.en in en
    assert each.kind == "goal" or len({wrong.zh for wrong in each.wrong}) == len(each.wrong)


@pytest.mark.parametrize("each", ALL, **names)
def test_the_stub_is_not_written_yet(each, capsys):
    name, code = each.stub()
    exec(code, scope := {})
    check(each.number, scope[name])
    assert capsys.readouterr().out == f"… {each.number} 还没写 · not written yet\n"
    assert not progress.PROGRESS.exists()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_stub_takes_no_name_that_its_lesson_uses(file):
    """Else a learner who goes back and runs a cell again meets the exercise's function in its place."""
    (lesson,) = (ROOT / "lessons").glob(f"{file.stem}_*.py")
    used = {node.id for node in ast.walk(ast.parse(lesson.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
    assert not used & {each.stub()[0] for each in progress.exercises(file) if each.kind == "function"}


@pytest.mark.parametrize("each", FUNCTIONS, **names)
def test_mutants_of_the_solution_are_caught(each):
    found = mutants(each.solution)
    left = [line for line, mutant in found if passes(each, mutant)]
    assert set(each.equivalent) <= set(left), "listed as equivalent, and caught"
    wrong = [line for line in left if line not in each.equivalent]
    assert len(wrong) <= (1 - CAUGHT) * len(found), wrong


def test_the_scores_of_8_3_are_those_of_its_set():
    """The first of them; `python tools/score_exercises.py` scores them all anew."""
    kinds = [kind for _, _, kind in islice(scorer.dirty.scenes(**scorer.SET), 8)]
    assert json.loads(scorer.FILE.read_text(encoding="utf-8"))["kind"][:8] == kinds


def test_the_table_of_exercises():
    """Forty or more, two or more a lesson; the kinds as promised."""
    kinds = [each.kind for each in ALL]
    assert len(ALL) >= 40 and all(len(progress.exercises(file)) >= 2 for file in FILES)
    assert {file.stem for file in FILES} == {path.name[:2] for path in (ROOT / "lessons").glob("[0-9][0-9]_*.py")}
    assert len({each.number for each in ALL}) == len(ALL)
    assert all(each.number.split(".")[0] == str(int(f.stem)) for f in FILES for each in progress.exercises(f))
    assert kinds.count("function") >= 24 and kinds.count("goal") >= 8 and kinds.count("predict") >= 8


def test_check_counts_gives_hints_and_keeps_to_one_language(capsys):
    exercise = progress.find("1.1")
    for miss in range(4):
        check("1.1", exercise.wrong[0].answer)
        said = capsys.readouterr().out.splitlines()
        assert said == [f"✗ 1.1 {exercise.wrong[0].en}", f"💡 {exercise.hints[min(miss, 2)][1]}"]
    check("1.1", exercise.solution)
    assert capsys.readouterr().out == "✓ 1.1\n"
    assert progress.read() == {"1.1": {"tries": 5, "misses": 4, "right": True}}


def test_where_the_edition_is_unknown_both_languages_are_said(capsys, monkeypatch):
    monkeypatch.delenv("PAIDIFF_LANG")
    wrong = progress.find("1.1").wrong[0]
    check("1.1", wrong.answer)
    assert f"{wrong.zh} · {wrong.en}" in capsys.readouterr().out


def test_an_unknown_number_is_named():
    with pytest.raises(PaidiffError, match="1.99; 1.1, 1.2"):
        check("1.99", 3)
    with pytest.raises(PaidiffError, match="99.1; .*01"):
        check("99.1", 3)


def test_a_broken_progress_file_is_kept(capsys):
    progress.PROGRESS.parent.mkdir()
    progress.PROGRESS.write_text("{", encoding="utf-8")
    check("1.2", 40)
    assert json.loads(progress.PROGRESS.read_text(encoding="utf-8"))["1.2"]["right"]
    assert progress.PROGRESS.with_suffix(".broken").read_text(encoding="utf-8") == "{"


def test_of_an_answer_in_parts_the_first_wrong_one_is_named(capsys):
    check("13.1", lambda true, seen, name: (progress.find("13.1").solution(true, seen, name)[0], 5.0))
    assert "number 2: a wrong value: " in capsys.readouterr().out


def test_what_differs_by_rounding_is_not_what_is_named():
    assert unlike([1 + 1e-7, 2.0], [1.0, 3.0], 1e-4)[1].endswith("got 2, wanted 3")


def test_a_list_of_the_right_numbers_is_right():
    assert progress.find("1.1").fault(lambda *given: progress.find("1.1").solution(*given).tolist()) is None


BEGINNERS = [  # what else learners hand in to 1.1
    (lambda empty, wanted, g: None, "returns nothing"),
    (lambda empty, wanted: wanted, "TypeError"),
    (lambda empty, wanted, g: wanted.norm(), "has no attribute 'norm' (the arguments are numpy arrays"),
    (lambda empty, wanted, g: float(wanted.sum()), "wanted are 256 number(s), not 1"),
    (lambda empty, wanted, g: wanted[0], "the shape is (8, 8), wanted (4, 8, 8)"),
    (lambda empty, wanted, g: wanted / 0, "nan or an inf"),
    (lambda empty, wanted, g: "x", "a number or an array is wanted, got str"),
    (lambda empty, wanted, g: wanted, "a wrong value"),
    (3.0, "a function is wanted"),
]


@pytest.mark.filterwarnings("ignore:divide")
@pytest.mark.parametrize("answer, said", BEGINNERS)
def test_beginners_mistakes_are_one_line(answer, said, capsys):
    check("1.1", answer)
    line, hint = capsys.readouterr().out.splitlines()
    assert said in line and hint.startswith("💡")


def test_an_answer_that_raises_gets_its_sentence_too(capsys):
    check("4.1", lambda vectors, table: vectors / np.linalg.norm(vectors, axis=1) @ table.T)
    assert "keepdims=True" in capsys.readouterr().out.splitlines()[0]


def test_rounding_is_no_mistake(capsys):
    """60 * 0.5 / (1 - 0.7) is 99.99999999999999; and print gives nothing to check."""
    check("5.3", 60 * 0.5 / (1 - 0.7))
    check("11.3", 919 + 1e-12)
    assert capsys.readouterr().out == "✓ 5.3\n✓ 11.3\n"
    check("5.3", 60 * 0.7 / 0.5)  # its sentence has *emphasis* in the source
    assert "*" not in capsys.readouterr().out
    check("5.3", None)
    assert "answer is None" in capsys.readouterr().out
