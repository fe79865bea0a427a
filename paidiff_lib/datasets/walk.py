"""Which files below a data folder are pictures, and which of them are never trained on."""

import os
from pathlib import Path, PurePath

SUFFIXES = {
    ".png",
    ".apng",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".webp",
    ".avif",
    ".bmp",
    ".dib",
    ".gif",
    ".tif",
    ".tiff",
}
UNREAD = {
    ".heic",
    ".heif",
    ".jxl",
    ".jp2",
    ".psd",
    ".svg",
    ".tga",
    ".ppm",
    ".ico",
    ".raw",
    ".dng",
    ".cr2",
    ".nef",
    ".arw",
}
SPLIT = "train"  # of a folder with train/ and test/, the ImageFolder convention
PACKED = {".parquet", ".arrow", ".tar", ".zip"}  # of many pictures
SYSTEM = {"__macosx", "$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle", "__pycache__"}


def why_hidden(name):
    """Why a file of that name below a data folder is never trained on, in both languages; None if it may be."""
    for part in PurePath(name).parts:
        if part.startswith("._"):
            return "苹果系统的附属文件 · an AppleDouble file, not a picture"
        if part.startswith("."):
            return "隐藏的 · hidden"
        if part.lower() in SYSTEM:
            return f"在系统文件夹 {part} 里 · in a system folder"


def files(folder):
    """The path of every file below a folder, relative to it, in order. Links to folders are given, not followed."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        yield from (Path(place, name).relative_to(folder) for name in sorted([*names, *links]))


def pictures(folder):
    """Those of them that are pictures and may be trained on."""
    found = (path for path in files(folder) if path.suffix.lower() in SUFFIXES and not why_hidden(path))
    return [path for path in found if not (folder / path).is_dir()]


def left_out(folder, used):
    """(name, why, in both languages) of each picture below a folder that is not trained on. used: names that are."""
    packs = {name.partition(":")[0] for name in used}  # a picture in a pack is called pack:its name
    for path in files(folder):
        name, suffix = path.as_posix(), path.suffix.lower()
        if (folder / path).is_dir():
            yield name, "是指向文件夹的链接,不进去看 · a link to a folder, which is not followed"
        elif name in used or suffix not in SUFFIXES | UNREAD | PACKED or not (folder / path).is_file():
            continue
        elif why := why_hidden(path):
            yield name, why
        elif suffix in PACKED:
            if name not in packs and Path(folder.name, path.parent).as_posix() not in packs:
                yield name, "是打包的,没有用上 · holds many files, and is not used"
        elif suffix in UNREAD:
            yield name, f"读不了 {suffix},换成 PNG 或 JPEG · cannot read {suffix}: convert it to PNG or JPEG"
        else:
            yield name, "清单里没有它 · not listed in the manifest"
