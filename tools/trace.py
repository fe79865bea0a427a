"""Which of our files does one action enter, and how many lines would a reader open to follow it?

python tools/trace.py [--root DIR] [--functions]     DIR: a checkout, of this house or of an older one

A file is entered if at least one function of it runs during the action itself. What runs because a module is imported
does not count, nor does what comes before the action: loading the model, making the LoRA, reading the folder. The lines
are those of the whole file; "that ran" are those of the functions entered. "imported by then" is the other way to count:
our modules that this process has imported since its start, to load, draw and train.
"""

import argparse
import contextlib
import inspect
import io
import os
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


class Tracer:
    """with Tracer(root) as tracer: ...; then tracer.entered: {file: {code object, ...}} of packages below `root`."""

    def __init__(self, root):
        self.root, self.entered, self.known = str(root) + os.sep, {}, {}

    def __enter__(self):
        threading.setprofile(self._event)
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)
        threading.setprofile(None)

    def _event(self, frame, event, _):
        code = frame.f_code
        if event == "call" and self._ours(code) and not _importing(frame):
            self.entered.setdefault(code.co_filename, set()).add(code)

    def _ours(self, code):
        if code not in self.known:
            inside = code.co_filename.startswith(self.root + "paidiff_")
            self.known[code] = inside and bool(code.co_flags & inspect.CO_OPTIMIZED)  # a function, no module or class
        return self.known[code]


def _importing(frame):
    """Whether `frame` runs because a module is being imported."""
    while frame := frame.f_back:
        if frame.f_code.co_name == "_find_and_load":
            return True
    return False


def actions(root):
    """Yields (title, what to do) one after another, each made ready when it is asked for."""
    import torch

    torch.set_num_threads(1)
    from paidiff_lib import draw, load

    pipe = load("mini")
    yield "one drawn picture", lambda: draw(pipe, "雪地里的两只企鹅", seed=1, steps=2)
    # Here and not above: a lazy package has imported no more than drawing needs until now.
    from paidiff_lib import CaptionFolder, LoRA, train

    lora, data = LoRA(pipe, rank=8), CaptionFolder(root / "data/porcelain")
    running = train(lora, data, steps=3, seed=0)
    next(running)
    yield "one LoRA step", lambda: next(running)
    list(running)
    yield "a LoRA training of one step", lambda: list(train(lora, data, steps=1, seed=0))


def measure(root):
    """[(title, {file: (its lines, lines of the functions that ran, their names)}, our files imported by then)]."""
    found = []
    for title, act in actions(root):
        with contextlib.redirect_stdout(io.StringIO()), Tracer(root) as tracer:
            act()
        files = {file: _counted(Path(file), codes) for file, codes in sorted(tracer.entered.items())}
        found.append((title, files, _imported(root)))
    return found


def _imported(root):
    """Our files that are imported now."""
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    return [Path(file) for file in files if file.startswith(f"{root}{os.sep}paidiff_")]


def _counted(path, codes):
    ran = {line for code in codes for line in _span(code)}
    names = sorted({code.co_qualname for code in codes if "<" not in code.co_name})
    return _lines(path), len(ran), names


def _span(code):
    lines = [line for *_, line in code.co_lines() if line]
    return range(code.co_firstlineno, max(lines) + 1)


def _lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def show(root, measured, functions=False):
    for title, files, imported in measured:
        lines, ran = (sum(counts[n] for counts in files.values()) for n in (0, 1))
        print(f"{title}: {len(files)} files, {lines} lines, {ran} that ran")
        for file, (lines, ran, names) in files.items():
            print(f"    {Path(file).relative_to(root)!s:44}{lines:5}{ran:5}")
            functions and print("        " + ", ".join(names))
        print(f"    imported by then: {len(imported)} files, {sum(map(_lines, imported))} lines")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=HERE)
    parser.add_argument("--functions", action="store_true", help="name the functions too")
    options = parser.parse_args()
    root = options.root.resolve()
    sys.path[:] = [str(root), *(place for place in sys.path if not (Path(place) / "paidiff_lib").is_dir())]
    show(root, measure(root), options.functions)


if __name__ == "__main__":
    main()
