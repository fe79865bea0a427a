"""What `train` gives its caller: an iterator, and a Step from it after every update of the weights."""

import sys
from dataclasses import dataclass
from inspect import GEN_CREATED, getgeneratorstate


@dataclass
class Step:
    """What `train` yields after every update."""

    index: int  # 1 is the first
    loss: float
    learning_rate: float
    seconds: float
    seconds_left: float  # until the end, at the pace so far
    skipped: int  # updates left out so far, because something was not finite
    images: list  # samples, where they were asked for


class Steps:
    """An iterator of the steps of a run. It says so if nobody has ever asked it for one."""

    def __init__(self, trainer):
        self.total, self._steps = trainer.config.steps, trainer.run()

    def __iter__(self) -> "Steps":
        return self

    def __next__(self) -> Step:
        return next(self._steps)

    def close(self):
        """End the run, as leaving the loop does: it is saved where it has an output."""
        self._steps.close()

    def __del__(self, state=getgeneratorstate, ending=sys.is_finalizing):  # as the process ends, a module's names go
        if not ending() and state(self._steps) == GEN_CREATED:
            en = "this training has not begun: train(...) belongs in a for loop; fit(...) runs by itself"
            print(f"训练还没有开始:train(...) 要写在 for 里,或改用 fit(...) · {en}")
