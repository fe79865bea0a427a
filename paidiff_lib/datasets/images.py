"""One picture file -> an upright RGB picture; a square of it, or another shape."""

import io
import math
import warnings

from ..errors import Fault, first_line

VECTORS = {"EPS", "WMF"}  # formats that Pillow gives to another program

TRUNCATED = ("truncated", "not enough image data")  # Pillow's words for a file cut short


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
    most = Image.MAX_IMAGE_PIXELS or math.inf
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(raw)) as opened:
            if opened.width * opened.height > most:  # Pillow alone only warns here
                raise Image.DecompressionBombError
            if opened.format in VECTORS:  # Pillow would start an outside program for these
                raise ValueError(f"{opened.format} is drawn by a program")
            several = getattr(opened, "is_animated", False) and opened.format != "MPO"  # a phone's depth map
            opened.load()
            return _to_rgb(ImageOps.exif_transpose(opened)), str(opened.format).replace("MPO", "JPEG"), several
    except Image.DecompressionBombError as error:
        raise Fault(
            "bomb", name, f"图片读不出来,像素太多 · cannot read the picture, over {most / 1e6:.0f} M pixels"
        ) from error
    except Exception as error:  # on damaged files Pillow raises nearly anything
        reason = first_line(error).split("<")[0].strip() or type(error).__name__  # not "<_io.BytesIO object at 0x...>"
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
    return cut(picture, (size, size), place, flip)


def cut(picture, shape, place=0.5, flip=False):
    """As much of a picture as a shape, (width, height), can show, at `place` as in `square`, scaled to it."""
    from PIL import Image, ImageOps

    picture = picture.resize(shape, Image.Resampling.LANCZOS, box=_box(picture.size, shape, place))
    return ImageOps.mirror(picture) if flip else picture


def _box(size, shape, place):
    width, height = size
    wide = width * shape[1] > height * shape[0]  # wider than the shape
    across, down = (
        (round(height * shape[0] / shape[1]), height) if wide else (width, round(width * shape[1] / shape[0]))
    )
    left, top = round((width - across) * place), round((height - down) * place)
    return left, top, left + across, top + down


def bucket(size):
    """(width, height) in eighths of the short side: of nine shapes from 8:12 to 12:8, the nearest to a picture's size.

    Aspect-ratio buckets, as NovelAI trains with them (2022); here the short side stays, so the shape tells the area.
    """
    long = min(max(round(8 * max(size) / min(size)), 8), 12)
    return (8, long) if size[1] > size[0] else (long, 8)
