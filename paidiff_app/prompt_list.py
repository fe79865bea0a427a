"""Prompts from a file, and names with scales."""

from pathlib import Path

from paidiff_lib.errors import NotFound, PaidiffError, one_line


def read_prompts(path):
    """[(line number, prompt or the PaidiffError of a line that cannot be drawn)] of a UTF-8 file; empty lines are no prompts.

    Raises NotFound if there is no such file, PaidiffError if there is nothing in it.
    """
    try:
        lines = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise NotFound("读不了提示词文件", f"cannot read the prompts in {path}", error.strerror) from error
    found = [(number, _prompt(line)) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise PaidiffError("提示词文件是空的", "there are no prompts in the file", str(path))
    return found


def _prompt(line):
    try:
        return line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return PaidiffError("不是 UTF-8", "not UTF-8", one_line(line.decode("gb18030", "replace").strip())[:40])


def name_and_scale(text):
    r"""out/porcelain:0.8 -> ("out/porcelain", 0.8). Only a number at the very end is a scale: C:\loras\x is a path."""
    name, colon, scale = text.rpartition(":")
    try:
        return (name, float(scale)) if colon and name else (text, 1.0)
    except ValueError:
        return text, 1.0
