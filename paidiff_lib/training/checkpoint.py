"""Checkpoints that survive anything: a kill at any moment leaves the newest one that was finished, whole.

A checkpoint is a folder `checkpoint-<step>`. It is written in a staging folder, the manifest with the sha256 of each file
comes last, everything is flushed to the disk, and one rename puts the folder in its place. Only then is an older one
deleted. What does not match its manifest is passed over when a run is resumed.

Other trainers call theirs `checkpoint-<step>` too. Only a folder that holds what its manifest lists, and nothing else,
is ever deleted or replaced: what is not ours, or no longer as we wrote it, stays.
"""

import json
import os
import re
import shutil
from pathlib import Path

from ..errors import NotFound, PaidiffError, Refused
from ..files import digest, flush, replace_folder
from .notices import say_passed_over

MANIFEST = "manifest.json"


class Store:
    """The checkpoints of one run, in `folder`. The newest `keep` are kept, one at least."""

    def __init__(self, folder, keep=2):
        self.folder, self.keep = Path(folder), max(1, keep)

    def names(self):
        """The checkpoints there are, newest first, verified or not."""
        found = [p.name for p in self.folder.glob("checkpoint-*") if p.name[11:].isdecimal()]
        return sorted(found, key=step_of, reverse=True)

    def newest(self):
        """The newest checkpoint that verifies, as a Path; None if there is none."""
        return next((self.folder / name for name in self.names() if verifies(self.folder / name)), None)

    def find(self, name):
        """The checkpoint `name`, its name or its path, as a Path. Raises PaidiffError if it is not there or damaged."""
        path = next((p for p in (self.folder / name, Path(name).expanduser()) if p.is_dir()), self.folder / name)
        if not verifies(path):
            en = f"no intact checkpoint {name} in {self.folder}; 有 there are"
            raise NotFound(f"没有完好的检查点 {name}", en, ", ".join(self.names()) or "-")
        return path

    def ours(self):
        """Those that have a manifest of ours, newest first."""
        return [name for name in self.names() if listed(self.folder / name)]

    def check(self, config):
        """Raise Refused if a run with this TrainingConfig would come to a checkpoint of another program."""
        begun = str(config.resume) if isinstance(config.resume, str) else next(iter(self.ours()), "")
        first = step_of(Path(begun).name) if Path(begun).name.startswith("checkpoint-") else 0
        for name in set(self.names()) - set(self.ours()):
            step = step_of(name)
            if first < step <= config.steps and (step % config.save_every == 0 or step == config.steps):
                zh = f"{self.folder / name} 不是这里写的,训练到那一步会碰上它"
                en = "is not of paidiff, and this run would come to it"
                raise Refused(zh, en, "换一个 output 文件夹,或先移走它 · choose another output folder, or move it away")

    def to_resume(self, resume):
        """The checkpoint that a run goes on from, a Path, or None. resume: see TrainingConfig. Raises PaidiffError."""
        if resume is False and self.ours():
            en = f"{self.folder} already holds checkpoints: choose another folder or move them away"
            raise Refused(f"{self.folder} 里已有检查点,换一个文件夹或先移走", en)
        if resume is False or isinstance(resume, str):
            return self.find(resume) if resume is not False else None
        found = self.newest()
        passed = self.names() if found is None else self.names()[: self.names().index(found.name)]
        passed and say_passed_over(self.folder, passed, self.ours())
        return found

    def save(self, step, write):
        """Make checkpoint-<step> from what `write(folder)` puts there. Returns its path. Raises PaidiffError."""
        staging = self.folder / f".staging-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._tidy()
            staging.mkdir()
            write(staging)
            seal(staging)
            target = self._place(step)
            replace_folder(staging, target)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            en = "the checkpoint was not saved, the one before it is still there"
            raise PaidiffError("检查点没有存成,上一个还在", en, str(error)) from error
        if verifies(target):
            self._rotate(target)
        return target

    def _tidy(self):
        """Remove what a run that was killed left behind."""
        for leftover in self.folder.glob(".staging-*"):
            if leftover.name[9:].isdecimal():
                shutil.rmtree(leftover)

    def _place(self, step):
        """Where checkpoint-<step> goes. What has that name and is not as we wrote it keeps it; ours is then 0<step>."""
        target = self.folder / f"checkpoint-{step}"
        while target.exists() and not as_written(target):
            target = target.with_name(f"checkpoint-0{target.name[11:]}")
        return target

    def _rotate(self, newest):
        """Delete what is older than the newest `keep`, of those that are as we wrote them."""
        older = [self.folder / name for name in self.names() if name != newest.name]
        for path in [path for path in older if as_written(path)][self.keep - 1 :]:
            shutil.rmtree(path)


def step_of(name):
    """checkpoint-500 -> 500"""
    return int(name[11:]) if name[11:].isdecimal() else 0


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
    files = listed(folder)
    try:
        return bool(files) and all(digest(folder / name) == found for name, found in files.items())
    except OSError:
        return False


def as_written(folder):
    """True if it holds what its manifest lists, and nothing else."""
    inside = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return inside == {MANIFEST, *listed(folder)} and verifies(folder)


def listed(folder):
    """{file: sha256} that the manifest of a checkpoint says; empty if there is none, or it is another program's."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return listed if all(re.fullmatch("[0-9a-f]{64}", found) for found in listed.values()) else {}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
