"""What every open page has drawn: newest first, for a click that brings one back; and the folder that keeps it all."""

import re
import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from paidiff_lib.errors import PaidiffError

from ..infotext import png
from ..output import write_png

KEPT = 60  # pictures that a page shows again
PAGES = 64  # open pages that are remembered; beyond, the oldest that draws nothing is forgotten
NUMBERED = re.compile(r"(\d+)-(\d+)(-stopped)?\.png")


@dataclass
class Page:
    """One open page. pictures, shown: [(path, caption)], the history and what is in the gallery. at: the chosen one of `shown`.

    stop: ends the running drawing. pinned: what the chosen picture is compared with.
    """

    folder: Path
    pictures: list = field(default_factory=list)
    shown: list = field(default_factory=list)
    at: int = 0
    pinned: tuple | None = None
    stop: threading.Event | None = None

    def chosen(self):
        """(path, caption) of the picture that was clicked or drawn last, or None."""
        return self.shown[min(self.at, len(self.shown) - 1)] if self.shown else None

    def add(self, frame):
        """Put a finished image with its settings before the others."""
        seed = f"{frame.seed}{'-stopped' if frame.stopped else ''}"
        path = Path(tempfile.mkdtemp(dir=self.folder)) / f"paidiff-{seed}.png"
        path.write_bytes(png(frame.image, frame.text))
        one = (str(path), f"{'停在 stopped · ' if frame.stopped else ''}seed {frame.seed}")
        self.shown.append(one)
        self.pictures.insert(0, one)
        for old, _ in self.pictures[KEPT:]:
            shutil.rmtree(Path(old).parent, ignore_errors=True)
        del self.pictures[KEPT:]


class Pages(dict):
    """{session: Page}. output: the folder that keeps every picture, or None. Raises PaidiffError where it cannot be made."""

    def __init__(self, output=None):
        super().__init__()
        self.output, self._lock = output and Path(output), threading.Lock()
        self._root = tempfile.TemporaryDirectory(prefix="paidiff-web-")
        if self.output:
            try:
                self.output.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise PaidiffError(f"不能写到 {output}", "cannot write there", error.strerror) from error

    def __missing__(self, session):
        """A page that was just opened: what the folder keeps is its history."""
        idle = [session for session, page in self.items() if page.stop is None]
        for old in idle[: max(0, len(self) + 1 - PAGES)]:
            self.forget(old)
        page = self[session] = Page(Path(tempfile.mkdtemp(dir=self._root.name)))
        for path in sorted(self.output.glob("*.png"), key=_number)[-KEPT:] if self.output else ():
            copy = Path(tempfile.mkdtemp(dir=page.folder)) / path.name  # gradio hands out no file from elsewhere
            shutil.copyfile(path, copy)
            found = NUMBERED.fullmatch(path.name)
            page.pictures.insert(0, (str(copy), f"seed {found[2]}" if found else path.stem))
        return page

    def keep(self, frame):
        """Write a finished image into the folder, under the next number. Raises PaidiffError."""
        if self.output:
            with self._lock:
                number = max(map(_number, self.output.glob("*.png")), default=0) + 1
                name = f"{number:05}-{frame.seed}{'-stopped' if frame.stopped else ''}.png"
                write_png(frame.image, self.output / name, frame.text)

    def forget(self, session):
        """Stop what a page is drawing; its files go."""
        page = self.pop(session, None)
        if page and page.stop:
            page.stop.set()
        if page:
            shutil.rmtree(page.folder, ignore_errors=True)


def _number(path):
    """The number in the name of a picture of ours; one of another name comes first."""
    found = NUMBERED.fullmatch(path.name)
    return int(found[1]) if found else 0
