"""The picture world: a generator of captioned scenes, from which the embedded model is made."""

from .captions import describe
from .scenes import Spec, render, sample, scene

__all__ = ["Spec", "describe", "render", "sample", "scene"]
