"""What the processes of one run settle between them: who encodes what, and which checkpoint all of them go on from."""

import os
import time
import uuid
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..errors import PaidiffError, Refused
from .checkpoint import listed, step_of, verifies

ROUND = 20  # seconds that a process works alone before all of them meet: that one has died is noticed then
CHUNK = 2**26  # bytes of a file in a message


def gather(accelerator, value):
    """[value of process 0, value of process 1, ...]"""
    from accelerate.utils import gather_object

    return gather_object([value]) if accelerator.num_processes > 1 else [value]


def from_main(accelerator, value):
    """The value of process 0, in every process."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0] if accelerator.num_processes > 1 else value


def share(accelerator, cache):
    """(number, count): this process encodes what has that number of `count`. cache: a folder, or None for memory.

    Where the processes' folders are not one, each machine has to encode all of it for itself, and a line says so.
    """
    if cache and not _is_common(accelerator, Path(cache)):
        zh, en = (
            "几台机器的缓存文件夹不是同一个,每台各编码一遍",
            "the machines have no cache folder in common: each encodes",
        )
        accelerator.is_main_process and print(f"{zh} · {en} all pictures: {cache}")
        return accelerator.local_process_index, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return accelerator.process_index, accelerator.num_processes


def _is_common(accelerator, folder):
    """Whether every process sees what process 0 puts into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / from_main(accelerator, f".seen-{uuid.uuid4().hex}")
    accelerator.is_main_process and note.touch()
    accelerator.wait_for_everyone()
    seen = gather(accelerator, note.exists())
    accelerator.is_main_process and note.unlink()
    return all(seen)


def rounds(accelerator, jobs):
    """Do this process's jobs, functions without arguments; yield whenever all processes have met, until all are done."""
    jobs, working = iter(jobs), True
    while working:
        until, done = time.monotonic() + ROUND, True
        for job in jobs:
            job()
            if time.monotonic() > until:
                done = False
                break
        working = not all(gather(accelerator, done))
        yield


def require_alike(accelerator, identity):
    """Raise Refused unless every process was given the same settings, method and data."""
    different = {one for one in gather(accelerator, identity) if one != identity}
    if different:
        zh, en = "各进程的数据或设置不一样", "the processes were given different data or settings"
        raise Refused(zh, en, "每台机器上放一样的数据 · put the same data on every machine")


def agree(accelerator, store, resume):
    """The checkpoint to go on from, as Store.to_resume gives it: process 0 chooses. A machine without it is sent it.

    The path is this machine's own; None if there is nothing to go on from. Raises PaidiffError.
    """
    if accelerator.num_processes == 1:
        return store.to_resume(resume)
    chosen, manifest = _chosen(accelerator, store, resume)
    if chosen is None:
        return None
    there = _like(store, chosen, manifest)
    if not all(gather(accelerator, there is not None)):
        writes = there is None and accelerator.is_local_main_process
        send = lambda folder=None: _send(accelerator, chosen, sorted(manifest), folder)
        store.save(step_of(chosen.name), send) if writes else send()
        accelerator.wait_for_everyone()
    return there or _like(store, chosen, manifest)


def _chosen(accelerator, store, resume) -> Any:
    """(path, {file: sha256}) of process 0's checkpoint, (None, None) if there is none. Its PaidiffError is everybody's."""
    answer = None, None, None
    if accelerator.is_main_process:
        try:
            path = store.to_resume(resume)
            answer = path, path and listed(path), None
        except PaidiffError as error:
            answer = None, None, (error.zh, error.en, error.detail)
    path, manifest, fault = from_main(accelerator, answer)
    if fault:
        raise Refused(*fault)
    return path, manifest


def _like(store, chosen, manifest):
    """This machine's copy of a checkpoint, as a Path: a folder with the same files. None if it has none."""
    places = [chosen, *(store.folder / name for name in store.names())]
    return next((path for path in places if listed(path) == manifest and verifies(path)), None)


def _send(accelerator, source, names, folder):
    """Process 0 reads files of its folder `source`; whoever has a `folder` writes them there. All have to call it."""
    for name in names:
        path = folder and folder / name
        path and path.parent.mkdir(parents=True, exist_ok=True)
        with (
            open(source / name, "rb") if accelerator.is_main_process else nullcontext() as file,
            open(path, "wb") if path else nullcontext() as target,
        ):
            while raw := from_main(accelerator, file and file.read(CHUNK)):
                target and target.write(raw)
