"""Checkpoints that survive anything: a kill at any moment leaves the newest one that was finished, whole.

A checkpoint is a folder `checkpoint-<step>`. It is written in a staging folder, every file is flushed to the disk, the
manifest with the sha256 of each file comes last, and one rename puts the folder in its place. Only then is an older one
deleted. What does not match its manifest is passed over when a run is resumed.
"""

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

from .errors import PaidiffError

MANIFEST = "manifest.json"


class Store:
    """The checkpoints of one run, in `folder`. The newest `keep` are kept, one at least."""

    def __init__(self, folder, keep=2):
        self.folder, self.keep = Path(folder), max(1, keep)

    def names(self):
        """The checkpoints there are, newest first, verified or not."""
        found = [p for p in self.folder.glob("checkpoint-*") if p.name[11:].isdigit()]
        return [p.name for p in sorted(found, key=lambda p: int(p.name[11:]), reverse=True)]

    def newest(self):
        """The newest checkpoint that verifies, as a Path; None if there is none."""
        return next((self.folder / name for name in self.names() if verifies(self.folder / name)), None)

    def find(self, name):
        """The checkpoint `name`, as a Path. Raises PaidiffError if it is not there or damaged."""
        path = self.folder / name
        if not verifies(path):
            there = ", ".join(self.names()) or "-"
            raise PaidiffError(
                f"没有完好的检查点 {name} · no intact checkpoint {name} in {self.folder}; 有 there are: {there}"
            )
        return path

    def save(self, step, write):
        """Make checkpoint-<step> from what `write(folder)` puts there. Returns its path. Raises PaidiffError."""
        target = self.folder / f"checkpoint-{step}"
        staging = self.folder / f".staging-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob("*.staging-*"):  # of a run that was killed
                shutil.rmtree(left)
            staging.mkdir()
            write(staging)
            seal(staging)
            move(staging, target)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise PaidiffError(
                f"检查点没有存成,上一个还在 · the checkpoint was not saved, the one before it is still there: {error}"
            ) from error
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
    """Flush every file of `folder` to the disk, then write the manifest."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    listed = {p.relative_to(folder).as_posix(): digest(p) for p in files}
    for path in files:
        flush(path)
    (folder / MANIFEST).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    flush(folder / MANIFEST)
    for inner in [p for p in folder.rglob("*") if p.is_dir()] + [folder]:
        flush(inner)


def verifies(folder):
    """True if a manifest is there and every file it lists has its hash."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return bool(listed) and all(digest(folder / name) == found for name, found in listed.items())
    except (OSError, ValueError, AttributeError):
        return False


def digest(path):
    """sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path):
    """fsync a file or a folder: a rename must not reach the disk before what it names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def move(staging, target):
    """Put a sealed folder in its place. One that is there already (the same step, saved again) goes afterwards."""
    stale = target.with_name(f".stale-{target.name}")
    shutil.rmtree(stale, ignore_errors=True)
    if target.exists():
        os.replace(target, stale)
    os.replace(staging, target)
    flush(target.parent)
    shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def written_whole(folder):
    """A staging folder beside `folder`; when the block ends well, its files move into `folder`, one rename each.

    Files in `folder` that the block did not write stay. After an error nothing has changed.
    """
    folder = Path(folder)
    staging = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        for path in sorted(p for p in staging.rglob("*") if p.is_file()):
            flush(path)
            target = folder / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_finite(weights):
    """Raise PaidiffError, naming one, if a tensor of {name: tensor} holds NaN or infinity."""
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise PaidiffError(f"权重不是有限数,不保存 · not finite, not saved: {name}")
