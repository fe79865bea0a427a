"""The PNG files that commands write: whether they can be written, and writing them whole."""

import os
import tempfile

from paidiff_lib.errors import NotFound, PaidiffError
from paidiff_lib.files import atomic_file


def check_writable(path):
    """Raise PaidiffError, in one line, if a PNG file cannot be written there."""
    if path.suffix.lower() != ".png":
        raise PaidiffError("输出文件名要以 .png 结尾", "the output must end in .png", str(path))
    if not path.parent.is_dir():
        raise NotFound("没有这个文件夹", "no such folder", str(path.parent))
    if path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
        raise PaidiffError("不能写这个文件", "cannot write this file", str(path))
    try:
        tempfile.TemporaryFile(dir=path.parent).close()  # the only sure test: permissions do not tell the whole truth
    except OSError as error:
        raise PaidiffError(f"不能写到 {path.parent}", "cannot write there", error.strerror) from error


def write_png(image, path, text=None):
    """Write the whole picture or nothing. text: its settings. Raises PaidiffError."""
    from .infotext import png

    try:
        with atomic_file(path) as staging:
            staging.write_bytes(png(image, text))
    except OSError as error:
        raise PaidiffError(f"写不了 {path}", "cannot write it", error.strerror) from error
