"""Exercises asked and answered: `check("3.2", answer)`, and the file that remembers it.

    from paidiff_course import check
    check("3.2", answer)     # ✓, or one line that says what is wrong; a hint after each miss; never the solution

../out/progress.json keeps the tries of each exercise; nothing leaves the machine.
"""

import json
import os
import re
import runpy
from functools import lru_cache
from pathlib import Path

import paidiff_lib as paidiff
from paidiff_lib.errors import PaidiffError
from paidiff_lib.files import atomic_file

from .exercise import NotWritten

FOLDER = Path(__file__).resolve().parents[1] / "lessons/exercises"
PROGRESS = Path("../out/progress.json")  # a lesson runs in notebooks/
LANGUAGE = "PAIDIFF_LANG"
EMPHASIS = re.compile(r"(`[^`]*`)|\*(\S(?:[^*`]*\S)?)\*")  # markdown's: what is printed goes without


def check(number, answer=...):
    """Print ✓ or one line that says what is wrong with an answer to an exercise, and, after a miss, the next hint."""
    exercise = find(str(number))
    try:
        fault = exercise.fault(answer, draw=_draw)
    except NotWritten:
        return print(f"… {number} 还没写 · not written yet")
    record = _record(exercise.number, right=fault is None)
    if fault is None:
        return print(f"✓ {number}")
    print(f"✗ {number} {said(fault)}")
    hint = exercise.hints[min(record["misses"], len(exercise.hints)) - 1]
    print(f"💡 {said(hint)}")


def find(number):
    """The Exercise of that number. Raises PaidiffError, with the numbers there are, for any other."""
    file = FOLDER / f"{number.split('.')[0]:0>2}.py"
    found = {e.number: e for e in exercises(file)} if file.is_file() else {}
    if number not in found:
        there = ", ".join(found) or ", ".join(sorted(path.stem for path in FOLDER.glob("*.py")))
        raise PaidiffError("没有这道练习", "no such exercise", f"{number}; {there}")
    return found[number]


@lru_cache
def exercises(file):
    """The exercises of one lesson, in their order."""
    return tuple(runpy.run_path(str(file))["EXERCISES"])


def said(both):
    """A sentence in the reader's language; in both, where it is not known which edition is open."""
    language = os.environ.get(LANGUAGE)
    text = both[language == "en"] if language in ("zh", "en") else " · ".join(both)
    return EMPHASIS.sub(lambda found: found[1] or found[2], text)


def read(path=PROGRESS):
    """{number: {"tries", "misses", "right"}}. A file that cannot be read is kept beside the new one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        path.replace(path.with_suffix(".broken"))
        return {}


def _record(number, right):
    done = read()
    record = done.setdefault(number, {"tries": 0, "misses": 0, "right": False})
    record["tries"] += 1
    record["misses"] += not right
    record["right"] |= right
    PROGRESS.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(PROGRESS) as staging:
        staging.write_text(json.dumps(done, indent=1), encoding="utf-8")
    return record


@lru_cache(1)
def _pipe():
    return paidiff.load()


def _draw(prompts, **settings):
    return paidiff.draw(_pipe(), prompts, **settings)
