"""How much a lesson does, for every kind of model: one small table, so that the same notebook is right on all of them.

    pipe = load()
    profile = paidiff_course.profile("03", pipe)             # prints, in one line, what was chosen
    for step in train(LoRA(pipe), data, **profile.lora): ...

The table is settings.toml beside this file; its column is found from the loaded model.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from paidiff_lib.errors import Refused
from paidiff_lib.memory import fitting, free, is_small, size
from paidiff_lib.models.encode import native_size
from paidiff_lib.models.registry import MARK

KINDS = ("mini", "tiny", "512", "768")  # the columns
TINY = 5e6  # weights of a UNet: below, it is a skeleton for tests
LESSONS = tomllib.loads(Path(__file__).with_name("settings.toml").read_text(encoding="utf-8"))


@dataclass
class Profile:
    """The budgets of one lesson on one model. Each row of the table is an attribute; a training is keywords of `train`.

    kind: the column. size: the model's own side, in pixels. real: the weights mean something, so effects can be asserted.
    judged: it draws the picture world, so the judge's figures can be asserted.
    """

    lesson: str
    kind: str
    size: int
    real: bool
    judged: bool
    exact: bool  # whether the same weights give the same picture to the last bit, wherever they come from
    values: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)  # trainings that do not fit: what they would need, in bytes

    def __getattr__(self, name):
        if name in self.__dict__.get("refused", {}):
            need = f"{name} 要 needs {self.refused[name] / 1e9:.0f} GB"
            raise Refused("内存放不下这个训练", "this training does not fit the memory", need)
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(f"no {name} in lesson {self.lesson}") from None

    def fits(self, name):
        """Whether there is memory for a training."""
        return name not in self.refused

    def same(self, *pictures):
        """Whether PIL pictures are one picture: to the last bit where that can be, else to the eye.

        A GPU sums in any order; and weights read from a .bin file lie otherwise in memory, which rounds otherwise.
        """
        from paidiff_lib.metrics import distance

        return all(distance(pictures[0], other) <= (0 if self.exact else 4) for other in pictures[1:])


def profile(lesson, pipe):
    """The Profile of a lesson ("03") for a loaded pipeline. Looks at the memory that is free now, and prints one line."""
    found = _recognised(lesson, pipe)
    if not is_small(pipe):
        pipe.vae.enable_slicing()  # a picture at a time, for the lessons that call it themselves
    column, line = KINDS.index(found.kind), [f"{found.kind} {found.size}x{found.size}"]
    for name, row in LESSONS[lesson].items():
        if isinstance(row, dict):
            settings = {key: value if key == "method" else value[column] for key, value in row.items()}
            line.append(_fit_training(found, name, settings, pipe))
        else:
            found.values[name] = row[column]
    print(" · ".join(line))
    return found


def _recognised(lesson, pipe):
    """A Profile without its figures: what kind of model this is."""
    kind, folder = kind_of(pipe), Path(pipe.tokenizer.name_or_path).parent
    real = not (folder / MARK).is_file()
    judged = real and (folder / "words.json").is_file()
    return Profile(lesson, kind, native_size(pipe), real, judged, exact=kind == "mini" and pipe.device.type == "cpu")


def _fit_training(found, name, settings, pipe):
    """Put the settings of one training that fit into `found`. Returns what to say about them."""
    fit, need = fitting(pipe, settings.pop("method"), settings["batch_size"], found.size)
    if fit is None:
        found.refused[name] = need
        return f"{name} does not fit: {need / 1e9:.0f} GB / {free(pipe.device) / 1e9:.0f} GB"
    at_once, updates, again = fit["batch_size"], fit["gradient_accumulation_steps"], fit["gradient_checkpointing"]
    changed = {"gradient_accumulation_steps": updates} if updates > 1 else {}
    changed |= {"gradient_checkpointing": True} if again else {}
    found.values[name] = {**settings, "batch_size": at_once, **changed}
    text = f"{name} {settings['steps']} steps, lr {settings['learning_rate']:g}, batch {at_once}"
    text += f" x {updates}" if updates > 1 else ""
    text += ", gradient checkpointing" if again else ""
    return text + (f" ({free(pipe.device) / 1e9:.0f} GB free)" if changed else "")


def kind_of(pipe):
    """The column of the table for a loaded pipeline."""
    if is_small(pipe):
        return "tiny" if size(pipe.unet) < TINY else "mini"
    return "768" if native_size(pipe) >= 640 else "512"
