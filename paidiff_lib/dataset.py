"""Pictures with captions -> what the denoiser is trained on: latents and embeddings, made once and kept.

data = CaptionFolder("../data/porcelain", random_flip=True)
data.caption(0), data.picture(0, size=128)
encoded = Encoded(pipe, data, cache="out/cache")
"""

import base64
import hashlib
import io
import json
import math
import os
import unicodedata
import warnings
from functools import cached_property
from pathlib import Path, PureWindowsPath

from .errors import Fault, PaidiffError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SIDES = "左右"  # a caption with one of these is wrong in the mirror
VECTORS = {"EPS", "WMF"}  # formats that Pillow gives to another program
TRUNCATED = ("truncated", "not enough image data")  # Pillow's words for a file cut short
EVERYWHERE = (0.0, 0.5, 1.0)  # where a "random" crop may lie: a few places, so that each can be encoded once


class CaptionFolder:
    """A folder of pictures and captions, in one of three layouts:

    metadata.jsonl    one {"file_name": ..., "text": ...} a line, the ImageFolder convention; `folder` may also be
                      another .jsonl file that lies in it;
    pictures          with a .txt file of the same name beside each;
    *.tsv             one `idx <tab> text <tab> base64 picture` a line; `folder` may also be that file.

    size: pixels of a side; None takes the model's own. center_crop: the middle square, else one of three squares by
    chance. random_flip: mirrored half of the time. captions=False: pictures may do without, and have empty ones;
    captions="一只猫" is the caption of all of them.
    Pictures are opened when they are asked for; paths and captions are checked now. The first fault raises a Fault, a
    PaidiffError; with skip_faults=True every picture is opened now, and what is at fault is left out and listed in
    `skipped`.
    """

    def __init__(self, folder, size=None, center_crop=True, random_flip=False, captions=True, skip_faults=False):
        self.folder, self.size = Path(folder).expanduser(), size
        places = (0.5,) if center_crop else EVERYWHERE
        self.places, self.flips = places, (False, True) if random_flip else (False,)
        self._squares = {}
        self.skipped, self._captions = [], captions
        self.items = list(entries(self.folder, captions is True, self.skipped.append if skip_faults else self._refuse))
        if skip_faults:
            self.items = [item for item in self.items if self._readable(item)]
        if not self.items:
            left_out = f" ({len(self.skipped)} 处有问题 at fault)" if self.skipped else ""
            raise PaidiffError(f"{self.folder} 里没有图片 · no pictures in {self.folder}{left_out}")
        for item in self.items if isinstance(captions, str) else ():
            item.text = captions

    def audit(self, model=None):
        """Everything that is wrong or doubtful in this folder, skipped entries included: see `audit`."""
        from .audit import audit

        return audit(self.folder, model, self._captions is True)

    def _refuse(self, fault):
        advice = f"全部问题 all faults: paidiff audit {self.folder}; 跳过 to skip: skip_faults"
        raise Fault(fault.kind, fault.where, f"{fault.text}; {advice}")

    def _readable(self, item):
        try:
            return read_picture(item.read(), item.name)
        except Fault as fault:
            self.skipped.append(fault)

    def _open(self, index):
        """Picture `index` in RGB, upright, of its own size."""
        try:
            return read_picture(self.items[index].read(), self.items[index].name)
        except Fault as fault:
            self._refuse(fault)

    def __len__(self):
        return len(self.items)

    def caption(self, index):
        return self.items[index].text

    def variants(self, index):
        """The (place, mirrored) pairs that picture `index` is trained in; never mirrored if its caption names a side."""
        flips = (False,) if set(SIDES) & set(self.caption(index)) else self.flips
        places = (0.5,) if len(self.places) > 1 and self._square(index) else self.places  # all three would be the same
        return [(place, flip) for place in places for flip in flips]

    def _square(self, index):
        if index not in self._squares:
            width, height = self._open(index).size
            self._squares[index] = width == height
        return self._squares[index]

    def picture(self, index, size, variant=(0.5, False)):
        """Picture `index` as a PIL picture in RGB of size x size. variant: (place of the crop 0..1, mirrored)."""
        place, flip = variant
        return square(self._open(index), size, place, flip)

    def digest(self, index):
        """sha256 of the picture's bytes."""
        return self._digests[index]

    @cached_property
    def _digests(self):
        return [hashlib.sha256(item.read()).hexdigest() for item in self.items]

    @cached_property
    def fingerprint(self):
        """One hash of every picture, caption and setting: a run can only be continued on the same data."""
        parts = [self._digests, [item.text for item in self.items], self.size, self.places, self.flips]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class Mixed:
    """Two data sets as one: `share` of the pictures in training come from `second`, each set gone through evenly.

    What a model should keep is shown to it beside what it should learn: prior preservation, rehearsal.
    Raises PaidiffError.
    """

    def __init__(self, first, second, share=0.5):
        if not 0 < share < 1:
            raise PaidiffError(f"share 要大于 0、小于 1 · must be above 0 and below 1: {share}")
        if first.size != second.size:
            raise PaidiffError(f"两组图要一样大 · both sets need the same size: {first.size}, {second.size}")
        count = math.ceil(max(len(first) / (1 - share), len(second) / share))
        kept = min(max(round(count * share), 1), count - 1)
        self.size, self.skipped = first.size, first.skipped + second.skipped
        self.places = [(second, i % len(second)) for i in range(kept)]
        self.places += [(first, i % len(first)) for i in range(count - kept)]
        self.fingerprint = _key("mixed", first.fingerprint, second.fingerprint, count, kept)

    def __len__(self):
        return len(self.places)

    def caption(self, index):
        data, place = self.places[index]
        return data.caption(place)

    def variants(self, index):
        data, place = self.places[index]
        return data.variants(place)

    def picture(self, index, size, variant=(0.5, False)):
        data, place = self.places[index]
        return data.picture(place, size, variant)

    def digest(self, index):
        data, place = self.places[index]
        return data.digest(place)


class FilePicture:
    """A picture in a file of its own. name: its path below the folder; where: what lists it, a line or itself."""

    def __init__(self, path, name, where, text):
        self.path, self.name, self.where, self.text = path, name, where, text

    def read(self):
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise Fault("unreadable", self.name, f"文件打不开 · cannot open the file: {error.strerror}") from error


class LinePicture:
    """A picture in a line of a TSV. Only its place is kept: such files are gigabytes."""

    def __init__(self, path, number, start, length, text):
        self.path, self.start, self.length, self.text = path, start, length, text
        self.name = self.where = f"{path.name}:{number}"

    def read(self):
        with open(self.path, "rb") as file:
            file.seek(self.start)
            coded = file.read(self.length).strip().translate(bytes.maketrans(b"-_", b"+/"))  # either alphabet
        try:
            return base64.b64decode(coded, validate=True)
        except ValueError as error:
            raise Fault("unreadable", self.name, "第三列不是 base64 图片 · column 3 is no base64 picture") from error


# --- the three layouts ------------------------------------------------------------------------------------------


def entries(folder, captions, refuse):
    """The pictures of a folder with their captions, in its order: FilePicture or LinePicture.

    captions: True if every picture needs one. refuse: called with the Fault of each entry that cannot be used, which
    is then left out. Raises PaidiffError if there is no such folder.
    """
    kept = {}
    for entry in _layout(folder, captions):
        if isinstance(entry, Fault):
            refuse(entry)
            continue
        key = unicodedata.normalize("NFC", entry.name).lower()
        twin = kept.get(key)
        if twin is None:
            kept[key] = entry.name
            yield entry
        elif twin == entry.name:
            refuse(Fault("repeat", entry.where, f"重复登记 · listed more than once: {twin}"))
        else:
            text = f"到了 Windows 或 Mac 上就是同一个文件 · one file on Windows or a Mac: {entry.name}, {twin}"
            refuse(Fault("collide", entry.where, text))


def _layout(folder, captions):
    """Entries, and the Faults of those that cannot be used."""
    if folder.is_file() and folder.suffix == ".tsv":
        return _from_tsv(folder)
    if folder.is_file() and folder.suffix == ".jsonl":
        return _from_manifest(folder, captions)
    if not folder.is_dir():
        raise PaidiffError(f"没有这个文件夹 · no such folder: {folder}")
    if (folder / "metadata.jsonl").is_file():
        return _from_manifest(folder / "metadata.jsonl", captions)
    tables = sorted(folder.glob("*.tsv"))
    if tables:
        return (entry for table in tables for entry in _from_tsv(table))
    return _from_pairs(folder, captions)


def _from_manifest(manifest, captions):
    with open(manifest, "rb") as lines:  # splitlines() of the text would also cut at U+2028, inside a caption
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _or_fault(_from_line, manifest.parent, line, f"{manifest.name}:{number}", captions)


def _or_fault(make, *arguments):
    try:
        return make(*arguments)
    except Fault as fault:
        return fault


def _from_line(folder, line, where, captions):
    line = _decode(line, where)
    try:
        row = json.loads(line)
        name, text = row["file_name"], row.get("text", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Fault(
            "line", where, f'要写成 · must be {{"file_name": ..., "text": ...}}: {line.strip()[:60]}'
        ) from error
    path = inside(folder, name, where)
    entry = FilePicture(path, path.relative_to(folder).as_posix(), where, "")
    return _with_caption(entry, lambda: _caption(text, where, captions))


def _from_pairs(folder, captions):
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")):
        yield _or_fault(_from_pair, folder, path.relative_to(folder), captions)


def _from_pair(folder, relative, captions):
    name, beside = relative.as_posix(), relative.with_suffix(".txt").as_posix()
    entry = FilePicture(inside(folder, name, name), name, name, "")
    return _with_caption(entry, lambda: _beside(folder, name, beside, captions))


def _beside(folder, name, beside, captions):
    """The caption in the text file of a picture."""
    if (folder / beside).is_file():
        raw = inside(folder, beside, beside).read_bytes()
        return _caption(_decode(raw, beside), beside, captions)
    if captions:
        advice = f"需要 needs metadata.jsonl 或 or {beside} ({folder})"
        raise Fault("no_caption", name, f"没有说明文字 · has no caption; {advice}")
    return ""


def _with_caption(entry, caption):
    """`entry` with what caption() gives; a Fault on the way knows which picture it was for."""
    try:
        entry.text = caption()
    except Fault as fault:
        fault.entry = entry
        raise
    return entry


def _from_tsv(path):
    with open(path, "rb") as file:
        start = 0
        for number, line in enumerate(file, 1):
            if line.strip():
                yield _or_fault(_from_row, path, number, start, line)
            start += len(line)


def _from_row(path, number, start, line):
    where, columns = f"{path.name}:{number}", line.split(b"\t")
    if len(columns) != 3:
        raise Fault("line", where, "要有三列 · needs three columns: idx, text, base64")
    start += len(columns[0]) + len(columns[1]) + 2
    entry = LinePicture(path, number, start, len(columns[2]), "")
    return _with_caption(entry, lambda: _caption(_decode(columns[1], where), where, True))


def inside(folder, name, where):
    """The path of `name` below `folder`. Raises a Fault if it is absolute, leads out (a link too) or is no file."""
    windows = PureWindowsPath(name) if isinstance(name, str) else None  # it knows / and \, and C:
    if windows is None or windows.drive or windows.root or ".." in windows.parts:
        raise Fault("leaves", where, f"路径不能离开文件夹 · the path may not leave the folder: {name}")
    path = folder / name
    try:
        within, there = path.resolve().is_relative_to(folder.resolve()), path.is_file()
    except (OSError, ValueError, RuntimeError):  # a name too long, with a NUL, or links in a circle
        within, there = True, False
    if not within:
        raise Fault("leaves", where, f"链接指向文件夹外面 · a link leads out of the folder: {name}")
    if not there:
        raise Fault("missing", where, f"没有这张图片 · no such picture: {name}")
    return path


def _decode(raw, where):
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault("encoding", where, f"不是 UTF-8 编码 · is not UTF-8{_likely_encoding(raw)}") from error


def _likely_encoding(raw):
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "; 像是 probably UTF-16"
    try:
        raw.decode("gb18030")
    except UnicodeDecodeError:
        return ""
    return "; 像是 probably GBK: iconv -f gb18030 -t utf-8"


def _caption(text, where, needed):
    text = text.strip() if isinstance(text, str) else ""
    if needed and not text:
        raise Fault("empty_caption", where, "说明文字是空的 · the caption is empty")
    if any("\ud800" <= char <= "\udfff" for char in text):  # JSON can say it, no encoding can
        raise Fault("encoding", where, "说明文字里有半个字符 · the caption holds half a character (a lone surrogate)")
    return text


# --- one picture ------------------------------------------------------------------------------------------------


def read_picture(raw, name="picture"):
    """The bytes of a picture file -> a PIL picture in RGB, upright, on white where it is transparent.

    The first frame of an animation. Raises a Fault.
    """
    return decode(raw, name)[0]


def decode(raw, name="picture"):
    """(RGB picture as `read_picture` gives it, its format by Pillow's name, whether it has more than one frame)."""
    from PIL import Image, ImageOps

    if not raw:
        raise Fault("empty", name, "文件是空的,零字节 · the file is empty, zero bytes")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(raw)) as opened:
            if opened.width * opened.height > (Image.MAX_IMAGE_PIXELS or math.inf):  # Pillow alone only warns here
                raise Image.DecompressionBombError
            if opened.format in VECTORS:  # Pillow would start an outside program for these
                raise ValueError(f"{opened.format} is drawn by a program")
            several = getattr(opened, "is_animated", False) and opened.format != "MPO"  # a phone's depth map
            opened.load()
            return _to_rgb(ImageOps.exif_transpose(opened)), opened.format.replace("MPO", "JPEG"), several
    except Image.DecompressionBombError as error:
        limit = f"{Image.MAX_IMAGE_PIXELS / 1e6:.0f} M"
        raise Fault("bomb", name, f"图片读不出来,像素太多 · cannot read the picture, over {limit} pixels") from error
    except Exception as error:  # on damaged files Pillow raises nearly anything
        reason = (str(error).splitlines() or [""])[0].split("<")[0].strip()  # not "<_io.BytesIO object at 0x...>"
        reason = reason or type(error).__name__
        kind = "truncated" if any(word in reason.lower() for word in TRUNCATED) else "unreadable"
        raise Fault(kind, name, f"图片读不出来 · cannot read the picture: {reason}") from error


def _to_rgb(picture):
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _to_8_bit(picture)
    if "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _to_8_bit(picture):
    """16-bit, 32-bit and float grey -> 8-bit grey. Pillow's own convert cuts everything above 255 to white."""
    import numpy as np
    from PIL import Image

    values = np.asarray(picture).astype(np.float64)
    whole = 1.0 if picture.mode == "F" and values.max() <= 1 else 255.0
    if picture.mode.startswith("I;16") or values.max() > 255:
        whole = 65535.0
    return Image.fromarray(np.clip(np.rint(values * (255 / whole)), 0, 255).astype(np.uint8))


def square(picture, size, place=0.5, flip=False):
    """The square of a picture that lies at `place` (0 left or top, 1 right or bottom), scaled to size x size."""
    from PIL import Image, ImageOps

    picture = picture.resize((size, size), Image.Resampling.LANCZOS, box=_box(picture.size, place))
    return ImageOps.mirror(picture) if flip else picture


def _box(size, place):
    width, height = size
    side = min(width, height)
    left, top = round((width - side) * place), round((height - side) * place)
    return left, top, left + side, top + side


# --- what the encoders make of it -------------------------------------------------------------------------------


class Cache:
    """Tensors by key, in memory, or in `folder` where they outlive the process.

    A file is its own sha256 and the tensors; it is written beside its place and then moved there, so a reader sees
    all of it or nothing, and a damaged one is made again.
    """

    def __init__(self, folder=None):
        self.folder, self.memory = folder and Path(folder), {}

    def get(self, key, make):
        """The tensor kept under `key`; `make()` is called if there is none."""
        kept = self._read(key) if self.folder else self.memory.get(key)
        if kept is None:
            kept = make()
            self._write(key, kept) if self.folder else self.memory.update({key: kept})
        return kept

    def _path(self, key):
        return self.folder / key[:2] / f"{key}.tensor"

    def _read(self, key):
        from safetensors.torch import load

        try:
            raw = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        return load(raw[32:])["tensor"] if hashlib.sha256(raw[32:]).digest() == raw[:32] else None

    def _write(self, key, tensor):
        from safetensors.torch import save

        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = save({"tensor": tensor.contiguous()})
        staging = path.with_suffix(f".{os.getpid()}.part")  # two processes may fill one cache
        staging.write_bytes(hashlib.sha256(raw).digest() + raw)
        os.replace(staging, path)


class Encoded:
    """A data set through the frozen encoders of a pipeline: latents, and embeddings of the captions.

    cache: a folder to keep them in; None keeps them in memory. text=False leaves the captions alone. condition: what
    makes a picture (PIL) into the picture that steers it, for a ControlNet.
    Everything is made on the way in, one picture at a time, so that a value never depends on its neighbours.
    """

    def __init__(self, pipe, data, cache=None, text=True, captions=(), condition=None):
        self.pipe, self.data, self.cache, self.conditioned = pipe, data, Cache(cache), condition
        self.size = data.size or native_size(pipe)
        if self.size % pipe.vae_scale_factor:
            raise PaidiffError(
                f"边长要是 {pipe.vae_scale_factor} 的倍数 · the size must be a multiple of {pipe.vae_scale_factor}: {self.size}"
            )
        halves = filter(
            None, (pipe.vae.encoder, pipe.vae.quant_conv)
        )  # a better decoder leaves the latents as they are
        self._vae = _key(*map(digest_of, halves))
        self._encoder = digest_of(pipe.text_encoder) if text else None
        for index in range(len(data)):
            for variant in data.variants(index):
                self.moments(index, variant)
                condition and self.condition(index, variant)
        if text:
            for caption in dict.fromkeys([*captions, *map(data.caption, range(len(data)))]):
                self.embedding(caption)

    def moments(self, index, variant):
        """Mean and std of the latent of a picture, (2, C, h, w) float32 on the CPU: a sample is mean + std * noise."""
        key = _key("latent", self.data.digest(index), variant, self.size, self._vae)
        return self.cache.get(key, lambda: encode_picture(self.pipe, self.data.picture(index, self.size, variant)))

    def condition(self, index, variant):
        """What steers a picture, (3, H, W) uint8."""
        key = _key("condition", self.data.digest(index), variant, self.size, self.conditioned.__name__)
        return self.cache.get(key, lambda: _to_bytes(self.conditioned(self.data.picture(index, self.size, variant))))

    def embedding(self, caption):
        """Hidden states of a caption, (tokens, width) float32 on the CPU."""
        pipe = self.pipe
        key = _key("text", caption, self._encoder, pipe.tokenizer.get_added_vocab(), str(pipe.text_encoder.dtype))
        return self.cache.get(key, lambda: _frozen_embedding(self.pipe, caption))


def native_size(pipe):
    """The side of the square that a pipeline draws when it is not told, in pixels."""
    size = pipe.unet.config.sample_size
    return (size if isinstance(size, int) else min(size)) * pipe.vae_scale_factor


def encode_picture(pipe, picture):
    """A PIL picture -> mean and std of its latent, (2, C, h, w). In float32: a VAE in half precision makes NaN."""
    import numpy as np
    import torch

    vae, dtype = pipe.vae, next(pipe.vae.parameters()).dtype
    x = torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    cast = (
        vae.to if dtype != torch.float32 else lambda _: vae
    )  # to() takes a fifth of the time even if there is nothing to do
    try:
        with torch.no_grad():
            moments = cast(torch.float32).encode(x.to(vae.device)).latent_dist
    finally:
        cast(dtype)
    return torch.stack([moments.mean[0], moments.std[0]]).cpu()


def _to_bytes(picture):
    import numpy as np
    import torch

    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).contiguous()


def encode_captions(pipe, captions):
    """Hidden states (B, tokens, width), made by the pipeline itself: training sees what drawing will see.

    Gradients flow where the caller has not switched them off.
    """
    return pipe.encode_prompt(list(captions), pipe.text_encoder.device, 1, False)[0]


def _frozen_embedding(pipe, caption):
    import torch

    with torch.no_grad():
        return encode_captions(pipe, [caption])[0].float().cpu()


def digest_of(module):
    """sha256 of a module's weights and configuration, the same in every precision that holds the weights exactly."""
    import torch

    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return found.hexdigest()


def _key(*parts):
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()
