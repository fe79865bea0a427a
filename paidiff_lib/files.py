"""Files and folders that are written whole: a reader sees all of it or nothing, whenever the power fails."""

import hashlib
import json
import os
import shutil
import sys
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path

from .errors import NotFound, Refused, first_line

ASSETS = Path(__file__).with_name("assets")  # the font and the gallery's prompts, package data
LISTING = ".paidiff.json"  # in a folder of results: what paidiff has written there
PACKAGE = "paidiff_mini_zh"  # of the wheel that carries the small model and the lessons' sets


def data_folder() -> Path:
    """The folder with models/ and the lessons' small sets, as a Path. Raises NotFound if there is none.

    In order: $PAIDIFF_DATA, the checkout that this package lies in, the installed wheel paidiff-mini-zh, the cache.
    """
    named = os.environ.get("PAIDIFF_DATA")
    places = [Path(named).expanduser()] if named else list(_data_places())
    for place in places:
        if (place / "models").is_dir():
            return place
    raise NotFound(
        "没有找到课程的数据和小模型,装上它,或用 PAIDIFF_DATA 指一个文件夹",
        "no data and no small model: pip install paidiff-mini-zh, or name a folder in PAIDIFF_DATA",
        f"找过 looked in: {', '.join(map(str, places))}",
    )


def data(*names: str) -> Path:
    """A file or folder of the course's data, as a Path: data("porcelain"). Raises NotFound if it is not there."""
    path = data_folder().joinpath(*names)
    if not path.exists():
        raise NotFound("课程的数据里没有它", "not in the course's data", str(path))
    return path


def _data_places():
    yield Path(__file__).resolve().parents[1] / "data"
    here = Path.cwd()  # where a stranger may have written, and where Python looks for modules: not we
    wheel = PathFinder.find_spec(PACKAGE, [place for place in sys.path if place and Path(place).resolve() != here])
    yield from (Path(place) / "data" for place in (wheel and wheel.submodule_search_locations or ()))
    yield Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "paidiff/data"


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


def replace_file(staging, path):
    """Put a finished file in its place, whatever was there."""
    _share([staging])
    flush(staging)
    os.replace(staging, path)


def _share(files):
    """Let others read finished files where the umask does, as open() would have: safetensors writes them 0600."""
    for path in files:
        fresh = path.with_name(f".mode-{os.getpid()}")  # the umask cannot be asked for without being changed
        fresh.touch()
        mode = fresh.stat().st_mode & 0o777
        fresh.unlink()
        path.chmod(mode)


def replace_folder(staging, target):
    """Put a sealed folder in its place. One that is there already (the same step, saved again) goes afterwards."""
    stale = target.with_name(f".stale-{target.name}")
    shutil.rmtree(stale, ignore_errors=True)
    _share([path for path in staging.rglob("*") if path.is_file()])
    if target.exists():
        os.replace(target, stale)
    os.replace(staging, target)
    flush(target.parent)
    shutil.rmtree(stale, ignore_errors=True)


def add_files(staging, folder, names):
    """Move files from one folder to another, one rename each; what else is there stays."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        replace_file(staging / name, folder / name)
    flush(folder)


@contextmanager
def atomic_file(path):
    """A staging path beside the file `path`, which it replaces when the block ends well. After an error nothing has changed."""
    staging = _beside(path, ".part")
    try:
        yield staging
        replace_file(staging, path)
    finally:
        staging.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder):
    """A staging folder in or beside `folder`; when the block ends well, its files move into `folder`, one rename each.

    Files in `folder` that the block did not write stay. After an error nothing has changed.
    """
    folder = Path(folder).absolute()
    inside = (
        folder.is_dir()
    )  # what it lies in may be read-only, or another disk: only the folder itself is ours to write
    with _staging_folder(folder / "saving" if inside else folder) as staging:
        yield staging
        add_files(staging, folder, sorted(p.relative_to(staging) for p in staging.rglob("*") if p.is_file()))


@contextmanager
def output_folder(folder):
    """As atomic_folder, for what a user may keep beside files of his own: only what paidiff wrote is replaced. Raises Refused."""
    with _staging_folder(folder) as staging:
        yield staging
        folder = Path(folder)
        names = sorted(p.relative_to(staging).as_posix() for p in staging.rglob("*") if p.is_file())
        known = listing(folder)
        same = [name for name in names if (folder / name).is_file() and digest(folder / name) == digest(staging / name)]
        require_ours(folder, set(names) - set(same))
        for name in names:  # the one that is replaced stays in the list: a kill may come before the rename
            known[name] = [*known.get(name, [])[-1:], digest(staging / name)]
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / LISTING) as file:
            file.write_text(_as_json(known), encoding="utf-8")
        add_files(staging, folder, names)


def listing(folder):
    """{name: [sha256, ...]} of what paidiff has written into a folder of results."""
    try:
        known = json.loads((Path(folder) / LISTING).read_text(encoding="utf-8"))
        return {name: list(found) for name, found in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def require_ours(folder, names):
    """Raise Refused if one of these files is in `folder` and is not as paidiff wrote it: it is somebody else's."""
    folder, known = Path(folder), listing(folder)
    for path in (folder / name for name in names):
        found = known.get(path.relative_to(folder).as_posix(), [])
        if path.exists() and not (path.is_file() and digest(path) in found):
            zh, en = "已经有这个文件,不是这里写的,不覆盖", "is there already, is not of paidiff, and stays"
            raise Refused(zh, en, f"{path}; 换一个文件夹,或先移走它 · choose another folder, or move it away")


def require_only_ours(folder):
    """Raise Refused if `folder` is a file, or holds one that is not as paidiff wrote it: it is to be replaced whole."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder} 是一个文件,换一个新文件夹", "is a file: choose a new folder")
    inside = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir()]
    require_ours(folder, [name for name in inside if name != LISTING])


def list_all(folder):
    """Write the listing of a folder of results that paidiff has written alone."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    known = {path.relative_to(folder).as_posix(): [digest(path)] for path in files}
    (folder / LISTING).write_text(_as_json(known), encoding="utf-8")


def _as_json(listing):
    return json.dumps(listing, ensure_ascii=False, indent=1) + "\n"


@contextmanager
def new_folder(folder, size):
    """A staging folder that takes the place of `folder` when the block ends well. size: bytes that it needs.

    Raises Refused if there is something already, or if it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} 已经有东西了,换一个新文件夹", "already holds something: choose a new folder")
    try:
        with _staging_folder(folder) as staging:
            free = shutil.disk_usage(staging).free
            if free < size * 1.02:
                want, left = f"{size / 1e9:.1f} GB", f"{free / 1e9:.1f} GB"
                raise Refused(f"磁盘放不下:要 {want},只有 {left}", f"the disk is too full: {want} needed, {left} free")
            yield staging
            _share([path for path in staging.rglob("*") if path.is_file()])
            os.replace(staging, folder)
    except (OSError, RuntimeError) as error:  # torch says RuntimeError where a file cannot be written
        reason = getattr(error, "strerror", None) or first_line(error)
        raise Refused(f"写不了 {folder}", "cannot write it", reason) from error


@contextmanager
def _staging_folder(folder):
    staging = _beside(folder)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _beside(path, suffix=""):
    """A hidden name in the same folder, so that a rename is enough, and this process's own."""
    path = Path(path).absolute()
    return path.with_name(f".{path.name}-{os.getpid()}{suffix}")
