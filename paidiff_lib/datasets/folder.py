"""A folder of pictures with captions, as a data set: captions, crops, mirrors.

data = CaptionFolder("../data/porcelain", random_flip=True)
data.caption(0), data.image(0, size=128)
"""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from ..arguments import explicit, require_int
from ..errors import DataError, Fault
from .images import bucket, cut, read_picture
from .layouts import entries, left_out
from .manifests import Columns

SIDES = "左右"  # a caption with one of these is wrong in the mirror
MOST_PIXELS = 4096  # of a side
EVERYWHERE = (0.0, 0.5, 1.0)  # where a "random" crop may lie: a few places, so that each can be encoded once


class CaptionFolder:
    """A folder of pictures and captions, in one of four layouts:

    metadata.jsonl    one {"file_name": ..., "text": ...} a line, the ImageFolder convention, or the same as
                      metadata.csv or .json, in the folder, in its train/ or in each folder below it; `folder` may also
                      be another .jsonl file that lies in it. "text" may be a list of captions: one by chance each time.
                      "conditioning_image" steers a ControlNet; a folder *.jsonl of such files is one manifest too;
    pictures          with a .txt or .caption file of the same name beside each;
    *.tsv             one `idx <tab> text <tab> base64 picture` a line; `folder` may also be that file;
    packed            *.parquet, a folder that `datasets` saved, or webdataset's *.tar (0.jpg, 0.txt or 0.json of each
                      sample); `folder` may also be such a file. Only where no list and no loose pictures are there.

    What is hidden, of the system, or not listed is not trained on: `left_out` names it.
    size: pixels of a side; None takes the model's own. center_crop: the middle square, else one of three squares by
    chance. random_flip: mirrored half of the time. captions=False: pictures may do without, and have empty ones;
    captions="一只猫" is the caption of all of them. image_column, caption_column, conditioning_image_column: what these
    are called in the manifest, where they have other names than the usual. buckets: a picture that is no square is trained
    on in the nearest of nine shapes, whose short side is `size` and whose long side is half as long again at most.
    Pictures are opened when they are asked for; paths and captions are checked now. The first fault raises a Fault, a
    PaidiffError; with skip_faults=True every picture is opened now, and what is at fault is left out and listed in
    `skipped`.
    """

    @explicit()
    def __init__(
        self,
        folder: str | Path,
        size: int | None = None,
        center_crop: bool = True,
        random_flip: bool = False,
        captions: bool | str = True,
        skip_faults: bool = False,
        image_column: str | None = None,
        caption_column: str | None = None,
        conditioning_image_column: str | None = None,
        buckets: bool = False,
    ):
        self.size = None if size is None else require_int(size, 8, MOST_PIXELS, "边长", "the size")
        self.folder, self.skipped, self.buckets = Path(folder).expanduser(), [], buckets
        self.places = (0.5,) if center_crop else EVERYWHERE
        self.flips = (False, True) if random_flip else (False,)
        refuse = self.skipped.append if skip_faults else self._refuse
        columns = Columns(image_column, caption_column, conditioning_image_column)
        self.items: list[Any] = list(entries(self.folder, captions is True, refuse, columns))
        self._listed = self.items
        if skip_faults:
            self.items = [item for item in self.items if self._open(item, refuse)]
        if not self.items:
            left_out = f" ({len(self.skipped)} 处有问题 at fault)" if self.skipped else ""
            raise DataError(f"{self.folder} 里没有图片", f"no pictures in {self.folder}{left_out}")
        for item in self.items if isinstance(captions, str) else ():
            item.text = captions
        steered = sum(item.condition is not None for item in self.items)
        if 0 < steered < len(self.items):
            zh, en = "有的图有条件图,有的没有", "some pictures have a conditioning image and some have none"
            raise DataError(zh, en, f"{self.folder}: {steered} / {len(self.items)}")
        self.has_conditions = steered > 0

    def _refuse(self, fault):
        advice = f"全部问题 all faults: paidiff audit {self.folder}; 跳过 to skip: skip_faults"
        raise Fault(fault.kind, fault.where, f"{fault.text}; {advice}")

    def _open(self, item, refuse):
        """A picture in RGB, upright, of its own size. refuse: called with the Fault if it cannot be read."""
        try:
            return read_picture(item.read(), item.name)
        except Fault as fault:
            refuse(fault)

    def __len__(self):
        return len(self.items)

    def caption(self, index):
        """Its caption; the first of several."""
        return self.items[index].text

    def captions(self, index):
        """All its captions, a tuple."""
        return self.items[index].texts

    @cached_property
    def left_out(self):
        """[(name, why)] of the pictures below the folder that are not trained on; empty where `folder` is a manifest."""
        faulty = [fault.entry for fault in self.skipped if fault.entry]
        return list(left_out(self.folder, [*self._listed, *faulty]))

    def variants(self, index):
        """The (place, mirrored) pairs that picture `index` is trained in; never mirrored if its caption names a side."""
        flips = (False,) if set(SIDES) & set("".join(self.captions(index))) else self.flips
        one = len(self.places) == 1 or self._is_whole(index)  # all three crops would be the same
        return [(place, flip) for place in ((0.5,) if one else self.places) for flip in flips]

    def _is_whole(self, index):
        (width, height), (across, down) = self._sizes[index], self._eighths(index)
        return width * down == height * across

    def _eighths(self, index):
        return bucket(self._sizes[index]) if self.buckets else (8, 8)

    @cached_property
    def _sizes(self):
        opened: list[Any] = [self._open(item, self._refuse) for item in self.items]
        return [image.size for image in opened]

    def shape(self, index, size):
        """(width, height) that picture `index` is trained in: size x size, unless there are buckets."""
        if not self.buckets:
            return size, size
        across, down = self._eighths(index)
        return round(size * across / 64) * 8, round(size * down / 64) * 8

    def image(self, index, size, variant=(0.5, False)):
        """Picture `index` as a PIL picture in RGB of its `shape`. variant: (place of the crop 0..1, mirrored)."""
        return cut(self._open(self.items[index], self._refuse), self.shape(index, size), *variant)

    def condition(self, index, size, variant=(0.5, False)):
        """The picture that steers picture `index`, cut as that one is; None if the folder has none."""
        own = self.items[index].condition
        return own and cut(self._open(own, self._refuse), self.shape(index, size), *variant)

    def digest(self, index):
        """sha256 of the picture's bytes."""
        return self._digests[index]

    @cached_property
    def _digests(self):
        return [hashlib.sha256(item.read()).hexdigest() for item in self.items]

    @cached_property
    def fingerprint(self):
        """One hash of every picture, caption and setting: a run can only be continued on the same data."""
        texts = [item.text if len(item.texts) == 1 else list(item.texts) for item in self.items]
        parts: list[Any] = [self._digests, texts, self.size, self.places, self.flips]
        if self.buckets:
            parts.append("buckets")
        if self.has_conditions:
            parts.append([hashlib.sha256(item.condition.read()).hexdigest() for item in self.items])
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def hash_of(*parts):
    """One hash of strings, numbers and lists of them: a name for what is made from all of these."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
