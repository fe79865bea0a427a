"""Chance in a training run: the order of the pictures, and the state of every random number generator."""

import itertools
import math
import random
from collections import defaultdict
from contextlib import contextmanager
from typing import Any


def make_sampler(shapes, count, seed):
    """The order of pictures of these shapes, of which `count` are taken at a time: all of one shape."""
    several = len(set(shapes)) > 1
    return BucketSampler(shapes, count, seed) if several else ResumableSampler(len(shapes), seed)


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
            self.permutation = self.shuffled(chance)
        self.position += 1
        return self.permutation[self.position - 1]

    def shuffled(self, chance):
        """What an epoch goes through. chance: torch's generator."""
        import torch

        return torch.randperm(self.count, generator=chance).tolist()


class BucketSampler(ResumableSampler):
    """As above, but every `size` pictures that follow each other have one shape: what a shape lacks, it repeats."""

    def __init__(self, shapes, size, seed):
        super().__init__(len(shapes), seed)
        self.shapes, self.size = [list(shape) for shape in shapes], size

    def shuffled(self, chance):
        import torch

        alike, batches = defaultdict(list), []
        for index in super().shuffled(chance):
            alike[tuple(self.shapes[index])].append(index)
        for indices in alike.values():
            count = math.ceil(len(indices) / self.size) * self.size
            repeated = list(itertools.islice(itertools.cycle(indices), count))
            batches += [repeated[start : start + self.size] for start in range(0, count, self.size)]
        order = torch.randperm(len(batches), generator=chance).tolist()
        return [index for batch in order for index in batches[batch]]


class StreamSampler(ResumableSampler):
    """An order for shards that are read from start to end, as webdataset has it: the shards by chance, and a buffer of
    `size` samples, of which one by chance is next. counts: samples in each shard.

    Only numbers are in the buffer: a sample is read when it is its turn.
    """

    def __init__(self, counts, seed, size=1000):
        super().__init__(sum(counts), seed)
        self.counts, self.size, self.shard, self.place, self.buffer = list(counts), size, 0, 0, []
        self.starts = list(itertools.accumulate(counts, initial=0))

    def _next(self):
        import torch

        if not self.buffer and self.shard == len(self.permutation):
            self.epoch, self.shard, self.place = self.epoch + 1, 0, 0
            chance = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            self.permutation = torch.randperm(len(self.counts), generator=chance).tolist()
        while len(self.buffer) < self.size and self.shard < len(self.permutation):
            self._fill(self.permutation[self.shard])
        self.position += 1
        chosen = random.Random(f"{self.seed} {self.position}").randrange(len(self.buffer))
        self.buffer[chosen], self.buffer[-1] = self.buffer[-1], self.buffer[chosen]
        return self.buffer.pop()

    def _fill(self, shard):
        """Take as many samples of a shard into the buffer as there is room for."""
        count = min(self.size - len(self.buffer), self.counts[shard] - self.place)
        first = self.starts[shard] + self.place
        self.buffer += range(first, first + count)
        self.place += count
        if self.place == self.counts[shard]:
            self.shard, self.place = self.shard + 1, 0


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


@contextmanager
def seeded(seed):
    """Inside, torch's chance comes from `seed`; afterwards it goes on where it was."""
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed % 2**63)
        yield
