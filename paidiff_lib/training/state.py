"""The parts of a training run that remember something: the order of the pictures, chance, and a signal that came."""

import random
import signal
import threading


class Order:
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


class RandomState:
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

        name, keys, *rest = numpy.random.get_state()
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


class Signals:
    """Inside `with`, the first Ctrl-C or SIGTERM is only noted, in `caught`; a second one acts at once.

    One object serves a whole run, so that what comes during a save is still known after the next step.
    """

    def __init__(self):
        self.caught, self._before = 0, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.caught = number
        signal.signal(number, self._before[number])

    def reraise(self):
        """What the signal would have done: KeyboardInterrupt, or the end of the program."""
        raise SystemExit(128 + signal.SIGTERM) if self.caught == signal.SIGTERM else KeyboardInterrupt
