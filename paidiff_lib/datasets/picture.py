"""One picture of a training set, wherever it lies, and its captions."""

import base64
from typing import Any

from ..errors import Fault


class Picture:
    """A picture with its captions, one or several. name: its path below the folder; where: what lists it, a line or itself."""

    def __init__(self, path, name, where):
        self.path, self.name, self.where, self.texts = path, name, where, ("",)
        self.condition: Any = None

    @property
    def text(self):
        """Its caption; the first of several."""
        return self.texts[0]

    @text.setter
    def text(self, caption):
        self.texts = (caption,)

    def read(self):
        """The bytes of its file. Raises a Fault."""
        raise NotImplementedError


class FilePicture(Picture):
    """A picture in a file of its own. condition: the FilePicture that steers a ControlNet, where there is one."""

    def read(self):
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise Fault("unreadable", self.name, f"文件打不开 · cannot open the file: {error.strerror}") from error


class PartPicture(Picture):
    """A picture that is a part of a file, such as a .tar. Only its place is kept: such files are gigabytes."""

    def __init__(self, path, name, start, length):
        super().__init__(path, name, name)
        self.start, self.length = start, length

    def read(self):
        with open(self.path, "rb") as file:
            file.seek(self.start)
            return file.read(self.length)


class LinePicture(PartPicture):
    """A picture in a line of a TSV, in base64."""

    def read(self):
        coded = super().read().strip().translate(bytes.maketrans(b"-_", b"+/"))  # either alphabet
        try:
            return base64.b64decode(coded, validate=True)
        except ValueError as error:
            raise Fault("unreadable", self.name, "第三列不是 base64 图片 · column 3 is no base64 picture") from error


def with_captions(entry, captions):
    """`entry` with what captions() gives; a Fault on the way knows which picture it was for."""
    try:
        entry.texts = captions()
    except Fault as fault:
        fault.entry = entry
        raise
    return entry


def captions_of(row, where, needed, columns):
    """The captions of a row, a tuple; [""] where none is needed and there is none."""
    try:
        found = row[columns.caption_of(row)]
    except KeyError as error:
        if needed or columns.caption:
            text = f"说明文字是空的,没有这一列 · the caption is empty: there is no column {error.args[0]}"
            raise Fault("empty_caption", where, f"{text}; caption_column 指定 names it") from error
        return ("",)
    several = found if isinstance(found, list) and found else [found]
    return tuple(caption(text, where, needed) for text in several)


def caption(text, where, needed):
    text = text.strip() if isinstance(text, str) else ""
    if needed and not text:
        raise Fault("empty_caption", where, "说明文字是空的 · the caption is empty")
    if any("\ud800" <= char <= "\udfff" for char in text):  # JSON can say it, no encoding can
        raise Fault("encoding", where, "说明文字里有半个字符 · the caption holds half a character (a lone surrogate)")
    return text
