"""Prompts that pre-training never saw."""

from dataclasses import replace

import numpy as np

from .captions import describe
from .scenes import CELLS, sample as sample_spec


def held_out(count, seed=7):
    """[(spec, caption)]: whole triples that pre-training never saw, captions that name every part, no flaws.

    Captions leave open where a subject stands and who drew it, as most prompts do: a seed decides that.
    """
    rs = np.random.RandomState(seed)
    chosen = []
    while len(chosen) < count:
        spec = sample_spec(rs, grid=True)
        if spec.held_out:
            spec = replace(spec, flaw=None, place=0, size=(12 if spec.count == 1 else 7) / CELLS)
            chosen.append((spec, describe(spec, rs, full=True)))
    return chosen
