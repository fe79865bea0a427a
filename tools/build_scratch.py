"""Make lessons/scratch.py of the cells of lesson 11 that are tagged "scratch": the whole model in one file, trained whole.

python tools/build_scratch.py
"""

from pathlib import Path

import jupytext

LESSONS = Path(__file__).resolve().parents[1] / "lessons"
HEAD = '"""A Chinese text-to-image model from scratch. Made by tools/build_scratch.py of lesson 11; `make scratch` runs it."""'
LESSON_ONLY, WHOLE = "TRAIN_ALL = False", "TRAIN_ALL = True"


def scratch(source):
    """The text of scratch.py from the path of the lesson's source, with the English headings as comments."""
    parts, heading = [], None
    for cell in jupytext.read(source, fmt="py:percent").cells:
        if cell.cell_type == "markdown" and cell.metadata.get("lang") == "en":
            titles = [line[3:] for line in cell.source.split("\n") if line.startswith("## ")]
            heading = titles[-1] if titles else heading
        elif "scratch" in cell.metadata.get("tags", ()):
            code = cell.source.replace(LESSON_ONLY, WHOLE)
            parts.append(f"# {heading}\n{code}" if heading else code)
            heading = None
    return HEAD + "\n\n" + "\n\n\n".join(parts) + "\n"


if __name__ == "__main__":
    (LESSONS / "scratch.py").write_text(scratch(LESSONS / "11_from_scratch.py"), encoding="utf-8")
