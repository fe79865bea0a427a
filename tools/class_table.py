"""The progress of a class as one table: a line for each student's progress.json, a column for each exercise.

    python tools/class_table.py collected/*.json

A student is the file's name, or its folder's where the file is called progress.json. `2` is right at the second try, `-3` not
right after three, nothing is not tried. The last lines: how many have it right, and how many tries that took on average.
"""

import json
import sys
from pathlib import Path


def load(paths):
    """{student: {number: record}}. Ends the program with the name of a file that is none."""
    found = {}
    for path in map(Path, paths):
        try:
            records = json.loads(path.read_text(encoding="utf-8"))
            tries = {
                number: (record["tries"] if record["right"] else -record["tries"]) for number, record in records.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise SystemExit(f"不是 progress.json · not a progress.json: {path}: {error}") from None
        found[path.parent.name if path.name == "progress.json" else path.stem] = tries
    return found


def table(students):
    """Lines of text, tab-separated, so that a spreadsheet takes them."""
    numbers = sorted(
        {n for tries in students.values() for n in tries}, key=lambda n: [int(part) for part in n.split(".")]
    )
    yield "\t".join(["", *numbers, "right"])
    for name, tries in sorted(students.items()):
        yield "\t".join([name, *(str(tries.get(n, "")) for n in numbers), str(sum(t > 0 for t in tries.values()))])
    right = {n: [tries[n] for tries in students.values() if tries.get(n, 0) > 0] for n in numbers}
    yield "\t".join(["right", *(str(len(right[n])) for n in numbers)])
    yield "\t".join(["tries", *(f"{sum(right[n]) / len(right[n]):.1f}" if right[n] else "" for n in numbers)])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    print("\n".join(table(load(sys.argv[1:]))))
