"""Give every picture of a training folder its scores and keep those that a rule says. Nothing is moved or deleted.

    found = curate("pictures", keep="clip > 0.3 and watermark < 0.5")     # paidiff curate pictures --keep "..."
    data = CaptionFolder(found.write())                                   # pictures/kept.jsonl

| score | |
|---|---|
| clip | how well the caption fits: the cosine of the embedded Chinese CLIP (scorers.Embedded), or of a real one by name |
| blur, noise, watermark | how surely there is one, 0..1: detectors that learnt on the picture world |
| nsfw | the same of what is banned: on the embedded model a STAND-IN, the world's skull; the real checker by name |
| aesthetic | (1 - blur) * (1 - noise): is it sharp and clean; no taste in it |
| near | how far the nearest picture before it is: below near_duplicates.NEAR it is a near duplicate; of very large sets only near ones have a number |
| width, height | in pixels, upright |

Scores are appended to a file as they come, so a run that was killed goes on where it was, and adding a picture costs
one picture. Memory: some hundred bytes a picture, whatever its size.
"""

import base64
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..arguments import explicit
from ..datasets.images import read_picture
from ..datasets.layouts import entries
from ..datasets.picture import FilePicture
from ..errors import DataError, Fault, PaidiffError, Refused
from ..files import atomic_file, output_folder, require_ours
from .near_duplicates import NEAR, SIDE, nearest_before, thumbnail
from .quality_model import curator
from .rule import Rule
from .scorers import Embedded, RealClip, SafetyChecker

SCORED = ("clip", "blur", "noise", "watermark", "nsfw", "width", "height")  # in the file; the others follow from these
NAMES = (*SCORED, "aesthetic", "near")
KEPT, SCORES = "kept.jsonl", "scores.jsonl"
START = b'\n{"key": "'  # of a file of scores
BATCH = 64  # always so many at once, the last one filled up: a score must not depend on where a run was stopped
LARGE = 512  # pixels of the shorter side that the scorers are given at most: bounds the memory
THUMBNAIL = "glance"  # its key in the file


@dataclass
class Curated:
    """Every picture's scores, and which are kept."""

    folder: Path
    source: Path  # the folder, or the list that was read
    items: list  # FilePicture
    scores: dict  # {name: (N,) float32}, NaN where a picture cannot be read
    rule: Rule
    kept: np.ndarray  # (N,) bool
    dropped: dict  # {clause of the rule: how many pictures fail it}
    faults: list  # what cannot be used, as `audit` says it

    def summary(self):
        lines = [f"✗ {fault}" for fault in self.faults]
        lines += [f"· {clause}: 不符合 fail {count}" for clause, count in self.dropped.items()]
        return "\n".join([*lines, f"{len(self.items)} 张图 pictures · 留下 kept {int(self.kept.sum())}"])

    def write(self, name=None):
        """Write the manifest of what is kept beside the pictures, with the scores; returns its path. Raises Refused.

        name: a file that may be replaced; kept.jsonl unless given, which is replaced only if it is as it was written here.
        """
        require_output(self.source, name)
        if name:
            with atomic_file(self.folder / name) as staging:
                self._write(staging)
        else:
            with output_folder(self.folder) as staging:
                self._write(staging / KEPT)
        return self.folder / (name or KEPT)

    def _write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            for i in np.flatnonzero(self.kept):
                scores = {name: float(values[i]) for name, values in self.scores.items()}
                numbers = {name: round(value, 4) for name, value in scores.items() if np.isfinite(value)}
                row = {**reference(self.items[i]), **numbers}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def require_output(source, name=None):
    """Raise PaidiffError unless the manifest of what is kept of `source`, a folder or its list, may have that name."""
    source = Path(source).expanduser()
    folder, read = (source.parent, source.name) if source.is_file() else (source, "metadata.jsonl")
    if name is None:
        return require_ours(folder, [KEPT])
    if not name.endswith(".jsonl") or Path(name).name != name or name in (read, "metadata.jsonl", SCORES):
        zh, en = "清单要叫别的 .jsonl 名字,放在图片旁边", "name it otherwise, .jsonl, beside the pictures"
        raise PaidiffError(zh, en, name)


def reference(item):
    """A picture as a manifest lists it: with all its captions, and with what steers it."""
    text = item.text if len(item.texts) == 1 else list(item.texts)
    steered = {"conditioning_image": item.condition.name} if item.condition else {}
    return {"file_name": item.name, "text": text, **steered}


@explicit(rule="keep", clip_model="clip", safety_checker="nsfw")
def curate(
    folder: str | Path, keep: str | None = None, clip: str | Path | None = None, nsfw: str | Path | None = None
) -> Curated:
    """Score the pictures of a folder and apply a rule; returns a Curated. Raises PaidiffError.

    keep: one expression over the scores (see rule.Rule); None takes the embedded model's own. clip, nsfw: names or
    folders of a real Chinese CLIP and of the real safety checker.
    """
    source, rule = Path(folder).expanduser(), rule_of(keep)  # before the work: a typing error should not cost hours
    folder, items, faults = listed(source)
    try:
        scores = score(items, folder / SCORES, open_scorers(clip, nsfw), faults, reach(rule))
    except OSError as error:
        raise Refused("写不了分数", "cannot write the scores", f"{folder}: {error.strerror}") from error
    each, readable = holds(rule, scores), np.isfinite(scores["width"])
    dropped = {clause: int((readable & ~kept).sum()) for clause, kept in each.items()}
    return Curated(folder, source, items, scores, rule, np.logical_and.reduce([*each.values()]), dropped, faults)


def rule_of(keep=None):
    """The Rule of an expression over the scores; None is the embedded model's own. Raises PaidiffError."""
    return Rule(keep or curator()[1]["keep"], NAMES)


def reach(rule):
    """How near pictures must be for a rule to see it."""
    return max(NEAR, rule.reach("near"))


def holds(rule, scores):
    """{clause: (N,) True where it holds}; nothing holds where a picture cannot be read."""
    readable = np.isfinite(scores["width"])
    return {clause: np.broadcast_to(kept, readable.shape) & readable for clause, kept in rule.each(scores).items()}


def listed(source):
    """(the folder that pictures lie in, the FilePictures listed, the Faults of others) of a folder or its list. Raises DataError."""
    source, faults = Path(source).expanduser(), []
    folder = source.parent if source.is_file() else source
    items = list(entries(source, True, faults.append))
    if not items:
        raise DataError(f"{folder} 里没有可用的图片", f"no usable pictures in {folder}")
    if not all(isinstance(item, FilePicture) for item in items):
        raise DataError(
            "打包的图(TSV、parquet、tar)没有文件名,不能筛选",
            "pictures in a TSV, parquet or tar have no file to point to",
            str(folder),
        )
    return folder, items, faults


def open_scorers(clip=None, nsfw=None):
    return [Embedded(), *([RealClip(clip)] if clip else []), *([SafetyChecker(nsfw)] if nsfw else [])]


def score(items, path, scorers, faults, within=np.inf):
    """The scores of all items, {name: (N,) float32}; read from `path` where they are, else made and appended there.

    A picture that cannot be read has NaN for its scores, and its Fault is added to `faults`. within: of `nearest_before`.
    """
    with open(path, "a+b") as file, ThreadPoolExecutor(2) as pool:
        _require_scores(file)
        known = Known(file, items, scorers)
        missing = [i for i in range(len(items)) if np.isnan(known.table[i, -1]) and i not in known.faults]
        for part in tqdm(_batches(missing, items, pool), disable=None, unit="batch", leave=False):
            rows = score_batch(part, items, scorers)
            for i, row in rows.items():
                known.take(i, row)
            lines = [json.dumps({"key": known.keys[i], **row}, ensure_ascii=False) for i, row in rows.items()]
            file.write(("\n" + "\n".join(lines) + "\n").encode())  # a killed run may have left half a line before
            file.flush()
    faults += [known.faults[i] for i in sorted(known.faults)]
    return known.columns(within)


class Known:
    """What is known of each item: numbers in arrays, so that 100,000 pictures are some 25 MB."""

    def __init__(self, file, items, scorers):
        identity = "".join(scorer.identity for scorer in scorers)
        self.keys, self.faults = [_key(item, identity) for item in items], {}
        self.table = np.full((len(items), len(SCORED)), np.nan, np.float32)
        self.thumbnails = np.zeros((len(items), SIDE * SIDE * 3), np.int8)
        places = {key: i for i, key in enumerate(self.keys)}
        for row in _rows(file):
            if row.get("key") in places:
                self.take(places[row["key"]], row)

    def take(self, i, row):
        if "fault" in row:
            self.faults[i] = Fault(*row["fault"])
        else:
            self.table[i] = [row[name] for name in SCORED]
            self.thumbnails[i] = bytes_of(row[THUMBNAIL])

    def columns(self, within):
        columns = dict(zip(SCORED, self.table.T))
        near, readable = np.full(len(self.keys), np.nan, np.float32), np.isfinite(columns["width"])
        near[readable] = nearest_before(self.thumbnails[readable], within)[0]
        return with_aesthetic(columns | {"near": near})


def with_aesthetic(columns):
    return columns | {"aesthetic": (1 - columns["blur"]) * (1 - columns["noise"])}


def bytes_of(text):
    """A thumbnail as a file of scores has it -> (192,) int8."""
    return np.frombuffer(base64.b64decode(text), np.int8)


def _key(item, identity):
    """What a score depends on: the file, by its name, size and time; the caption; the scorers."""
    found = os.stat(item.path)
    parts = [item.name, found.st_size, found.st_mtime_ns, item.text, identity]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _require_scores(file):
    """Raise Refused if a file of scores is somebody else's. Ours grows, and so has no hash: it is known by its start."""
    file.seek(0)
    start = file.read(len(START))
    if start != START[: len(start)]:
        zh, en = "已经有这个文件,不是这里写的,不接着写", "is there already, is not of paidiff, and stays"
        raise Refused(zh, en, f"{file.name}; 先移走它 · move it away")


def _rows(file):
    """The whole lines of a score file; half a line is passed over."""
    file.seek(0)
    for line in file:
        with suppress(ValueError):
            yield json.loads(line)


def _batches(missing, items, pool):
    """[(index, what `open_picture` gives)] in batches; the next one is decoded while this one is used."""
    coming = []
    for start in range(0, len(missing) + BATCH, BATCH):
        ready = coming
        coming = [(i, pool.submit(open_picture, items[i])) for i in missing[start : start + BATCH]]
        if ready:
            yield [(i, future.result()) for i, future in ready]


def open_picture(item):
    """(picture, its shorter side at most LARGE; width, height and thumbnail), or the Fault."""
    try:
        picture = read_picture(item.read(), item.name)
    except Fault as fault:
        return fault
    seen = {"width": picture.width, "height": picture.height, THUMBNAIL: base64.b64encode(thumbnail(picture)).decode()}
    scale = LARGE / min(picture.size)
    if scale < 1:
        picture = picture.resize([max(round(side * scale), 1) for side in picture.size], Image.Resampling.BOX)
    return picture, seen


def score_batch(part, items, scorers):
    """{index: what goes into the file} of one batch."""
    rows = {i: {"fault": [found.kind, found.where, found.text]} for i, found in part if isinstance(found, Fault)}
    good = [(i, *found) for i, found in part if i not in rows]
    if good:
        full = [good[k % len(good)] for k in range(BATCH)]
        pictures, captions = [picture for _, picture, _ in full], [items[i].text for i, _, _ in full]
        numbers = {name: values for scorer in scorers for name, values in scorer(pictures, captions).items()}
        for k, (i, _, seen) in enumerate(good):
            rows[i] = {name: round(float(values[k]), 4) for name, values in numbers.items()} | seen
    return rows
