"""Chance in a training run: the order of the pictures, and the state of every random number generator."""

import random
from typing import Any


class ResumableSampler:
    """The order of the pictures: a permutation, a place in it, and a new permutation when it is used up."""

    def __init__(self, count, seed):
        self.count, self.seed, self.epoch, self.position, self.permutation = count, seed, -1, 0, []

    def take(self, count):
        """The next `count` indices."""
        return [self._next() for _ in range(count)]

    def _next(self):
        import torch

        if self.position == len(self.permutation):
            self.epoch, self.position = self.epoch + 1, 0
            chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            self.permutation = torch.randperm(self.count, generator=chance).tolist()
        self.position += 1
        return self.permutation[self.position - 1]


class RngState:
    """Every random number generator, as a run's own: inside `with` it goes on where it stopped.

    What a notebook draws between two steps changes nothing in the run, and the run nothing in the notebook.
    """

    def __init__(self, seed):
        from accelerate.utils import set_seed

        self.inside = None
        with self:
            set_seed(seed)

    def __enter__(self):
        self._outside = self.now()
        if self.inside:
            self._set(self.inside)

    def __exit__(self, *_):
        self.inside = self.now()
        self._set(self._outside)

    @staticmethod
    def now():
        import numpy
        import torch

        state: Any = numpy.random.get_state()
        name, keys, *rest = state
        return {
            "python": random.getstate(),
            "numpy": (name, keys.tolist(), *rest),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    @staticmethod
    def _set(states):
        import numpy
        import torch

        random.setstate(states["python"])
        numpy.random.set_state(states["numpy"])
        torch.set_rng_state(states["torch"])
        if len(states["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states["cuda"])
