"""Edges of pictures: what the Canny ControlNet is steered by, and how well a picture keeps to them."""

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


def interval(values, seed=0, draws=2000):
    """(mean, low, high): the mean and its 95 % bootstrap interval."""
    values = np.asarray(values, np.float64)
    means = np.random.RandomState(seed).choice(values, (draws, len(values))).mean(1)
    return float(values.mean()), *(float(q) for q in np.percentile(means, (2.5, 97.5)))
