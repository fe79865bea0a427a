"""Everything that is wrong or doubtful in a folder of training pictures, in one report.

    report = audit("pictures")        # paidiff audit pictures
    print(report.table())
    report.sheet().save("faults.png")

A *fault* cannot be trained on as it stands: training refuses the folder, or leaves the entry out where it is told to
skip faults. A *hint* can be trained on, but look at it. Nothing is ever changed, moved or deleted.
"""

import codecs
import hashlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from ..arguments import explicit
from ..datasets.images import decode, read_picture
from ..datasets.layouts import entries, left_out
from ..datasets.picture import FilePicture
from ..display import grid
from ..errors import DataError, Fault, Refused, one_line
from ..models.load import find, model_name
from ..prompts import too_long, unknown_characters
from .near_duplicates import NEAR, nearest_before, thumbnail

FAULTS = {
    "line": "清单里看不懂的行 · lines that cannot be read",
    "leaves": "路径离开文件夹 · paths that leave the folder",
    "missing": "图片不存在 · pictures that are not there",
    "repeat": "重复登记 · listed more than once",
    "collide": "文件名相撞 · names that collide",
    "hidden": "隐藏的或系统的文件 · hidden or of the system",
    "no_caption": "没有说明文字 · no caption",
    "empty_caption": "说明文字是空的 · empty captions",
    "encoding": "不是 UTF-8 · not UTF-8",
    "empty": "零字节 · zero bytes",
    "truncated": "文件不完整 · cut short",
    "bomb": "像素太多 · too many pixels",
    "unreadable": "图片读不出来 · unreadable pictures",
}
HINTS = {
    "left_out": "没有用上的图 · pictures that are not trained on",
    "bom": "文件开头有 BOM · byte order marks",
    "extension": "扩展名不对 · wrong extensions",
    "animated": "不止一帧 · more than one frame",
    "tiny": "太小 · tiny",
    "aspect": "太长 · extreme aspect",
    "copy": "完全相同 · exact duplicates",
    "near": "几乎相同 · near duplicates",
    "long_caption": "说明文字太长 · captions too long",
    "unknown": "不认识的字 · unknown characters",
}
TINY = 64  # pixels of the shorter side: half of what the smallest model draws
LONG = 3  # times as long as wide: the middle square is a third of the picture
THUMB = 128


@dataclass
class Finding:
    """One thing that is wrong (a fault) or doubtful (a hint). where: the file, or the line that lists it."""

    kind: str
    where: str
    text: str
    entry: object = None  # the picture, where there is one to show

    @property
    def fault(self):
        return self.kind in FAULTS

    def line(self):
        return f"{'✗' if self.fault else '·'} {self.where}: {self.text}"


@dataclass
class Report:
    """What `audit` found. pictures: entries of the folder; good: of these, the ones that can be trained on."""

    folder: str
    pictures: int
    good: int
    faults: list
    hints: list

    @property
    def findings(self):
        return self.faults + self.hints

    def counts(self):
        """{kind: how many}, in the order of FAULTS and HINTS."""
        kinds = [finding.kind for finding in self.findings]
        return {kind: kinds.count(kind) for kind in (*FAULTS, *HINTS) if kind in kinds}

    def as_dict(self):
        """The report as JSON holds it."""
        rows = lambda findings: [{"kind": f.kind, "where": f.where, "text": f.text} for f in findings]
        numbers = {"pictures": self.pictures, "good": self.good, "counts": self.counts()}
        return {"folder": self.folder, **numbers, "faults": rows(self.faults), "hints": rows(self.hints)}

    def summary(self):
        found = f"{len(self.faults)} 处问题 faults · {len(self.hints)} 处提示 hints"
        return f"{self.folder}: {self.pictures} 张图 pictures · {self.good} 张可用 good · {found}"

    def table(self):
        """A rich table, one row a finding."""
        table = Table("", "哪里 · where", "怎么了 · what", box=None, pad_edge=False)
        for finding in self.findings:
            table.add_row(Text("✗", "red") if finding.fault else Text("·"), Text(finding.where), Text(finding.text))
        return table

    def sheet(self, limit=48):
        """The first `limit` findings as one PIL picture; a grey cross where there is no picture to be shown."""
        chosen = self.findings[:limit]
        if not chosen:
            raise DataError("没有可看的,一切正常", "nothing to show, all is well", self.folder)
        titles = [f"{finding.where} {(FAULTS | HINTS)[finding.kind].split(' · ')[0]}" for finding in chosen]
        return grid([_thumb(finding.entry) for finding in chosen], titles)


@explicit(model_name="model", path="folder")
def audit(folder: str | Path, model: str | Path | None = None, captions: bool = True) -> Report:
    """Look at every entry of a training folder and decode every picture; returns a Report.

    model: the model that is to read the captions, by name or folder; PAIDIFF_MODEL or the small one unless given.
    captions=False: pictures may do without. Raises PaidiffError if there is no such folder, nothing in it, or no such
    model.
    """
    folder, faults, inspector = Path(folder).expanduser(), [], Inspector(_tokenizer(model))
    listed = list(entries(folder, captions, faults.append))
    if not listed and not faults:
        raise DataError(f"{folder} 里没有图片", f"no pictures in {folder}")
    for fault in faults:
        inspector.find(fault.kind, fault.where, fault.text, fault.entry)
    for path in _marked(folder):
        text = "开头有 BOM,有些程序读不了 · starts with a byte order mark: some programs cannot read it"
        inspector.find("bom", path.name, text)
    shortened = [fault.entry for fault in faults if fault.entry and fault.kind not in ("repeat", "collide")]
    for entry in tqdm(listed + shortened, disable=None, leave=False, unit="picture"):  # no bar outside a terminal
        inspector.inspect(entry)
    inspector.compare()
    for name, why in _left_out(folder, listed, faults):
        inspector.find("left_out", name, why)
    found, doubtful = ([f for f in inspector.findings if f.fault is fault] for fault in (True, False))
    good = len(listed) - len({id(entry) for entry in listed} & {id(finding.entry) for finding in found})
    return Report(one_line(folder), len(listed) + len(faults), good, found, doubtful)


class Inspector:
    """Looks at one picture after the other and keeps what it found."""

    def __init__(self, tokenizer):
        self.tokenizer, self.findings = tokenizer, []
        self.first, self.thumbnails = {}, []  # {sha256 of a file: the first entry with it}, and a thumbnail of each

    def find(self, kind, where, text, entry=None):
        self.findings.append(Finding(kind, one_line(where), one_line(text), entry))

    def inspect(self, entry):
        """Find what is wrong with one entry: with its file, its picture, its caption; is it a copy of an earlier one?"""
        try:
            raw = entry.read()
            picture, kind, several = decode(raw, entry.name)
        except Fault as fault:
            return self.find(fault.kind, fault.where, fault.text, entry)
        hints = [
            *_picture_hints(entry, picture, kind, several),
            *(hint for text in entry.texts for hint in _caption_hints(self.tokenizer, text)),
        ]
        for hint, text in hints:
            self.find(hint, entry.name, text, entry)
        first = self.first.setdefault(hashlib.sha256(raw).digest(), entry)
        if first is entry:
            self.thumbnails.append(thumbnail(picture))
        elif first.name != entry.name:
            self.find("copy", entry.name, f"内容完全一样 · exactly the same picture as {first.name}", entry)

    def compare(self):
        """Find near duplicates among the pictures seen; exact ones are known already."""
        seen = list(self.first.values())
        for entry, far, index in zip(seen, *nearest_before(self.thumbnails, NEAR)):
            if far < NEAR:
                self.find("near", entry.name, f"几乎一样 · nearly the same picture as {seen[index].name}", entry)


def _left_out(folder, listed, faults):
    """(name, why) of what lies below a folder and is not trained on. A manifest was chosen: it leaves out on purpose."""
    used = [*listed, *(fault.entry for fault in faults if fault.entry)]
    yield from left_out(folder, used)
    conditions = {entry.condition.name for entry in used if entry.condition and folder.is_dir()}
    yield from ((name, "条件图,只有 ControlNet 看 · a condition, for a ControlNet only") for name in conditions)


def _picture_hints(entry, picture, kind, several):
    """(kind of hint, text) for a picture that can be read. kind: its format; several: it has more than one frame."""
    suffix = Path(entry.name).suffix.lower() if isinstance(entry, FilePicture) else ""
    size = f"{picture.width}x{picture.height}"
    if suffix and Image.registered_extensions().get(suffix) != kind:
        yield "extension", f"扩展名是 {suffix},其实是 {kind} · named {suffix}, but is {kind}"
    if several:
        yield "animated", "不止一帧,只用第一帧 · more than one frame, only the first is used"
    if min(picture.size) < TINY:
        yield "tiny", f"太小,要放大 · tiny, would be scaled up: {size}"
    if max(picture.size) > LONG * min(picture.size):
        yield "aspect", f"太长,要裁掉大半 · extreme aspect, most of it is cut off: {size}"


def _caption_hints(tokenizer, caption):
    yield from (("long_caption", text) for text in too_long(tokenizer, caption))
    yield from (("unknown", text) for text in unknown_characters(tokenizer, caption))


def _tokenizer(model):
    from transformers import AutoTokenizer

    folder = find(model_name(model)) / "tokenizer"
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise Refused("词表读不出来", "cannot read the tokenizer", str(folder)) from error


def _marked(folder):
    """The files with captions that start with a byte order mark."""
    listed = [*folder.rglob("*.jsonl"), *folder.glob("*.tsv"), *folder.rglob("*.csv"), *folder.rglob("*.txt")]
    for path in filter(Path.is_file, [folder] if folder.is_file() else sorted(listed)):
        with open(path, "rb") as file:
            if file.read(3) == codecs.BOM_UTF8:
                yield path


def _thumb(entry):
    try:
        picture = read_picture(entry.read(), entry.name)
        picture.thumbnail((THUMB, THUMB))
        return picture
    except (AttributeError, Fault):  # nothing there, or nothing readable
        blank = Image.new("RGB", (THUMB, THUMB), "#e4e4e4")
        pen = ImageDraw.Draw(blank)
        for start in (40, 88):
            pen.line((start, 40, 128 - start, 88), fill="#b03030", width=5)
        return blank
