"""What a training run has to remember: the order of the pictures, chance, a signal that came; and all of it in a folder."""

import json
import random
import signal
import threading

from ..errors import Refused
from .config import OLD_NAMES


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


def write_state(trainer, folder, random_states):
    """Write everything that a run goes on from into `folder`. random_states: of every process."""
    import torch
    from safetensors.torch import save_file

    weights = {name: p.detach().cpu().contiguous() for name, p in trainer.parameters.items()}
    save_file(weights, folder / "weights.safetensors")
    state = {
        "index": trainer.index,
        "bad": trainer.bad,
        "skipped": trainer.skipped,
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.lr_scheduler.state_dict(),
        "average": trainer.average and trainer.average.state_dict(),
        "scaler": trainer.accelerator.scaler and trainer.accelerator.scaler.state_dict(),
        "order": vars(trainer.sampler),
        "random": random_states,
    }
    torch.save(state, folder / "state.pt")
    identity = json.dumps(trainer.identity(), ensure_ascii=False, indent=1)
    (folder / "run.json").write_text(identity, encoding="utf-8")
    trainer.method.save(folder)


def read_state(trainer, folder):
    """Put a run where write_state left it."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(folder / "weights.safetensors")
    for name, parameter in trainer.parameters.items():
        parameter.data.copy_(weights[name])
    state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.lr_scheduler.load_state_dict(state["schedule"])
    if trainer.average:
        trainer.average.load_state_dict(state["average"])
        trainer.average.to(trainer.accelerator.device)
    if trainer.accelerator.scaler:
        trainer.accelerator.scaler.load_state_dict(state["scaler"])
    vars(trainer.sampler).update(state["order"])
    trainer.random.inside = state["random"][trainer.accelerator.process_index]
    trainer.index, trainer.bad, trainer.skipped = state["index"], state["bad"], state["skipped"]
    trainer.method.after_step()


def require_same_run(folder, identity):
    """Raise Refused, which names what differs, if the checkpoint in `folder` is not of a run with this identity."""
    before = _flat(json.loads((folder / "run.json").read_text(encoding="utf-8")))
    now = _flat(json.loads(json.dumps(identity)))
    differ = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if differ:
        changes = ", ".join(f"{name}: {str(before.get(name))[:20]} -> {str(now.get(name))[:20]}" for name in differ)
        raise Refused(
            f"{folder} 是另一次训练的,接不上",
            "is of another run and cannot be continued",
            f"{changes}; 换一个 output 文件夹,或改回来 · choose another output folder, or change it back",
        )


def _flat(identity):
    """{name: value} of a run, under the names of today."""
    settings = {OLD_NAMES.get(name, name): value for name, value in identity["settings"].items()}
    return {"data": identity["data"], "processes": identity["processes"], **settings, **identity["method"]}
