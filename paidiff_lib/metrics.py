"""Pictures as figures: edges, sharpness, distance; and figures with the interval that their number allows."""

from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from PIL import Image

LOW, HIGH = 100, 200  # as the published PAI-Diffusion Canny models


def canny(image: Image.Image, low: int = LOW, high: int = HIGH) -> Image.Image:
    """A PIL picture -> its edges, white on black, PIL RGB of the same size (Canny 1986, OpenCV's)."""
    import cv2

    grey = np.asarray(image.convert("L"))
    return Image.fromarray(cv2.Canny(grey, low, high)).convert("RGB")


def edge_agreement(image: Image.Image, condition: Image.Image, tolerance: int = 2) -> float:
    """F1, 0..1, of an image's Canny edges and the white pixels of `condition`, a PIL picture of the same size.

    An edge counts as met if there is one of the other within `tolerance` pixels in both directions. 1 if neither has any.
    """
    import cv2

    found, wanted = (np.asarray(p.convert("L")) > 127 for p in (canny(image), condition))
    if not found.any() or not wanted.any():
        return float(found.any() == wanted.any())
    square = np.ones((2 * tolerance + 1,) * 2, np.uint8)
    near_found, near_wanted = (cv2.dilate(edges.astype(np.uint8), square) > 0 for edges in (found, wanted))
    precision, recall = near_wanted[found].mean(), near_found[wanted].mean()
    return float(2 * precision * recall / max(precision + recall, 1e-9))


def sharpness(image: Image.Image) -> float:
    """Mean length of the brightness gradient, in grey levels a pixel: low where a picture is blurred."""
    grey = np.asarray(image.convert("L"), np.float32)
    dy, dx = np.gradient(grey)
    return float(np.sqrt(dx * dx + dy * dy).mean())


def distance(a: Image.Image, b: Image.Image) -> float:
    """Root mean square difference of two pictures, in grey levels 0..255."""
    left, right = (np.asarray(image.convert("RGB"), np.float32) for image in (a, b))
    return float(np.sqrt(((left - right) ** 2).mean()))


class Estimate(NamedTuple):
    """A figure with its 95 % interval: f"{estimate:.2f}" is 0.94 [0.80, 0.99], f"{estimate:.0%}" is 94% [80%, 99%]."""

    mean: float
    low: float
    high: float

    def __format__(self, spec: str = "") -> str:
        mean, low, high = (format(value, spec or ".2f") for value in self)
        return f"{mean} [{low}, {high}]"

    __str__ = __format__


def wilson(successes: float, n: float, level: float = 0.95) -> Estimate:
    """How often something happens, from `successes` in `n` independent trials. Wilson 1927.

    It stays within 0 and 1 and has a width at both ends: 0 of 12 is 0 to 24 %. n = 0 is nan, 0 to 1.
    """
    if n == 0:
        return Estimate(float("nan"), 0.0, 1.0)
    z2, rate = NormalDist().inv_cdf(0.5 + level / 2) ** 2, successes / n
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = (z2 * rate * (1 - rate) / n + (z2 / (2 * n)) ** 2) ** 0.5 / (1 + z2 / n)
    return Estimate(rate, max(0.0, middle - half), min(1.0, middle + half))


def interval(
    values: Sequence[float], clusters: Sequence[Hashable] | None = None, seed: int = 0, draws: int = 2000
) -> Estimate:
    """The mean of measured values and its 95 % percentile bootstrap interval. Efron 1979.

    clusters: what each value belongs to, such as its prompt; whole clusters are drawn then, for three pictures of one
    prompt are not three independent ones. For rates near 0 or 1 use `wilson`: equal values have no width here.
    """
    labels = range(len(values)) if clusters is None else clusters
    number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    of = [number[label] for label in labels]
    sums, sizes = np.bincount(of, values), np.bincount(of)
    drawn = np.random.RandomState(seed).choice(len(sums), (draws, len(sums)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    return Estimate(float(np.mean(values)), *(float(q) for q in np.percentile(means, (2.5, 97.5))))
