"""The quizzes: lessons/quiz/NN.yml, questions that a lesson's page answers and a reader without it misses."""

import re

import pytest
import yaml
from test_project import ROOT

QUIZZES = sorted((ROOT / "lessons/quiz").glob("*.yml"))


@pytest.mark.parametrize("path", QUIZZES, ids=lambda path: path.stem)
def test_a_quiz_asks_in_both_languages_what_its_lesson_answers(path):
    (lesson,) = (ROOT / "lessons").glob(f"{path.stem}_*.py")
    source = lesson.read_text(encoding="utf-8")
    questions = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert len(questions) >= 3
    for one in questions:
        assert one.keys() == {"cell", "question", "answer"} and one["cell"] in source
        for text in (one["question"], one["answer"]):
            assert text.keys() == {"zh", "en"} and re.search("[一-龥]", text["zh"]) and len(text["en"]) > 20
