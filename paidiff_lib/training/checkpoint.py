"""Checkpoints that survive anything: a kill at any moment leaves the newest one that was finished, whole.

A checkpoint is a folder `checkpoint-<step>`. It is written in a staging folder, the manifest with the sha256 of each file
comes last, everything is flushed to the disk, and one rename puts the folder in its place. Only then is an older one
deleted. What does not match its manifest is passed over when a run is resumed.
"""

import json
import os
import shutil
from pathlib import Path

from ..errors import NotFound, PaidiffError, Refused
from ..files import digest, flush, replace_folder

MANIFEST = "manifest.json"


class Store:
    """The checkpoints of one run, in `folder`. The newest `keep` are kept, one at least."""

    def __init__(self, folder, keep=2):
        self.folder, self.keep = Path(folder), max(1, keep)

    def names(self):
        """The checkpoints there are, newest first, verified or not."""
        found = [p.name for p in self.folder.glob("checkpoint-*") if p.name[11:].isdigit()]
        return sorted(found, key=lambda name: int(name[11:]), reverse=True)

    def newest(self):
        """The newest checkpoint that verifies, as a Path; None if there is none."""
        return next((self.folder / name for name in self.names() if verifies(self.folder / name)), None)

    def find(self, name):
        """The checkpoint `name`, as a Path. Raises PaidiffError if it is not there or damaged."""
        path = self.folder / name
        if not verifies(path):
            en = f"no intact checkpoint {name} in {self.folder}; 有 there are"
            raise NotFound(f"没有完好的检查点 {name}", en, ", ".join(self.names()) or "-")
        return path

    def to_resume(self, resume):
        """The checkpoint that a run goes on from, a Path, or None. resume: see TrainingConfig. Raises PaidiffError."""
        if resume is False and self.names():
            en = f"{self.folder} already holds checkpoints: choose another folder or move them away"
            raise Refused(f"{self.folder} 里已有检查点,换一个文件夹或先移走", en)
        return self.find(resume) if isinstance(resume, str) else self.newest()

    def save(self, step, write):
        """Make checkpoint-<step> from what `write(folder)` puts there. Returns its path. Raises PaidiffError."""
        target = self.folder / f"checkpoint-{step}"
        staging = self.folder / f".staging-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for leftover in self.folder.glob("*.staging-*"):  # of a run that was killed
                shutil.rmtree(leftover)
            staging.mkdir()
            write(staging)
            seal(staging)
            replace_folder(staging, target)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            en = "the checkpoint was not saved, the one before it is still there"
            raise PaidiffError("检查点没有存成,上一个还在", en, str(error)) from error
        if verifies(target):
            self._rotate(target)
        return target

    def _rotate(self, newest):
        """Delete what is older than the newest `keep`. Damaged ones do not count as kept."""
        older = [self.folder / name for name in self.names() if name != newest.name]
        intact = [path for path in older if verifies(path)]
        for path in set(older) - set(intact[: self.keep - 1]):
            shutil.rmtree(path)


def seal(folder):
    """Write the manifest of `folder`, then flush everything in it to the disk."""
    inside = sorted(folder.rglob("*"))
    files = [path for path in inside if path.is_file()]
    listed = {path.relative_to(folder).as_posix(): digest(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    for path in [*files, folder / MANIFEST, *(path for path in inside if path.is_dir()), folder]:
        flush(path)


def verifies(folder):
    """True if a manifest is there and every file it lists has its hash."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return bool(listed) and all(digest(folder / name) == found for name, found in listed.items())
    except (OSError, ValueError, AttributeError):
        return False
