"""Plots of the lessons as PIL pictures, for `paidiff_lib.show`."""

import io

import numpy as np
from PIL import Image

from paidiff_lib.display import use_chinese_font

WIDE, TALL = 10, 3  # inches: of a whole row, and of its panels at most


def panels(count):
    """(matplotlib Figure, its `count` axes in a row)."""
    from matplotlib.figure import Figure

    use_chinese_font()
    side = min(WIDE / count, TALL)
    figure = Figure((side * count, side), dpi=96, layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def picture(figure):
    """A matplotlib Figure as a PIL picture."""
    data = io.BytesIO()
    figure.savefig(data)
    return Image.open(data).convert("RGB")


def clouds(points, titles=None, behind=None):
    """Sets of points in the plane, each (n, 2), in a row, as a PIL picture; `behind` is one more set, grey, below each."""
    figure, axes = panels(len(points))
    for plot, cloud, title in zip(axes, points, titles or [""] * len(points)):
        if behind is not None:
            plot.scatter(*np.transpose(behind), s=9, color="#c8c8c8", linewidths=0)
        plot.scatter(*np.transpose(cloud), s=7, color="#0072b2", linewidths=0)
        plot.set(title=title, xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal")
    return picture(figure)
