"""How much a lesson does, for every kind of model: one small table, so that the same notebook is right on all of them.

    pipe = load()
    profile = paidiff.profile("03", pipe)                    # prints, in one line, what was chosen
    for step in train(LoRA(pipe), data, **profile.lora): ...

The column is found from the loaded model. "mini" is the model of this repository; "tiny" a skeleton with next to no
weights, on which a lesson only has to run; "512" and "768" are the published models. The figures in the last two columns
are the article's rates, over as many steps as a GPU takes in a few minutes: enough to see a change, not a good result. They
have not run on the published weights yet.
"""

from dataclasses import dataclass, field
from pathlib import Path

from paidiff_lib.errors import PaidiffError
from paidiff_lib.memory import fitting, free, is_small, size
from paidiff_lib.models.encode import native_size
from paidiff_lib.models.registry import MARK

KINDS = ("mini", "tiny", "512", "768")
TINY = 5e6  # weights of a UNet: below, it is a skeleton for tests


def training(method, steps, learning_rate, batch_size):
    return {"method": method, "steps": steps, "learning_rate": learning_rate, "batch_size": batch_size}


LESSONS = {  # each row: mini, tiny, 512, 768
    "01": {
        "seeds": (64, 6, 16, 8),  # pictures for each side of a comparison
        "steps": (4, 2, 10, 10),  # of their sampling
        "sweep": ([2, 5, 10, 20, 40], [1, 2, 4], [5, 10, 20, 50], [5, 10, 20, 50]),  # steps tried
        "sizes": (
            [(96, 96), (128, 128), (192, 128), (128, 192)],
            [(64, 64), (96, 64)],
            [(384, 384), (512, 512), (768, 512), (512, 768)],
            [(576, 576), (768, 768), (1024, 768), (768, 1024)],
        ),
        "gallery": (36, 6, 36, 36),  # pictures of it
        "schedulers": (12, 4, 20, 20),  # steps of each; PNDM wants four or more
        "many": (8, 2, 20, 20),  # steps where many pictures are drawn
        "scenes": (32, 4, 24, 12),  # prompts that are judged
    },
    "02": {"seeds": (16, 2, 8, 4), "steps": (12, 6, 20, 20)},
    "03": {
        "lora": training("lora", (240, 2, 150, 60), (3e-3, 1e-3, 2e-4, 2e-4), (4, 2, 4, 4)),
        "kitten": training("lora", (60, 2, 40, 20), (3e-3, 1e-3, 2e-4, 2e-4), (4, 2, 4, 4)),
        "things": (12, 3, 12, 8),  # scenes to measure with
        "seeds": (3, 1, 1, 1),  # for each of them
        "steps": (10, 2, 20, 20),  # of the pictures that are measured
    },
    "04": {
        "word": training("word", (150, 2, 150, 60), (2e-2, 1e-3, 2e-3, 2e-3), (4, 2, 4, 4)),
        "places": (8, 2, 8, 8),  # to measure in
        "seeds": (3, 1, 1, 1),
        "steps": (10, 2, 20, 20),  # of the pictures that are measured
    },
    "05": {
        "lora": training("lora", (200, 2, 150, 60), (3e-3, 1e-3, 2e-4, 2e-4), (4, 2, 4, 4)),
        "alone": training("lora", (100, 2, 75, 30), (3e-3, 1e-3, 2e-4, 2e-4), (4, 2, 4, 4)),
        "whole": training("full", (60, 2, 60, 30), (5e-4, 1e-4, 2e-6, 2e-6), (4, 2, 4, 4)),
        "bears": (40, 8, 40, 40),  # pictures of the class
        "seeds": (3, 1, 1, 1),
        "steps": (10, 2, 20, 20),  # of the pictures that are measured
    },
    "06": {
        "control": training("control", (140, 2, 100, 40), (1.5e-3, 1e-3, 1e-5, 1e-5), (6, 2, 4, 4)),
        "scenes": (300, 8, 300, 300),  # pictures to train on
        "things": (12, 2, 12, 8),  # scenes to measure with
        "seeds": (3, 1, 1, 1),
        "steps": (10, 2, 20, 20),  # of the pictures that are measured
    },
    "07": {
        "food": training("full", (140, 2, 130, 50), (4e-4, 1e-4, 1e-5, 1e-5), (12, 2, 4, 4)),
        "careless": training("full", (50, 2, 65, 25), (4e-4, 1e-4, 1e-5, 1e-5), (12, 2, 4, 4)),
        "lora": training("lora", (100, 2, 60, 30), (3e-3, 1e-3, 2e-4, 2e-4), (4, 2, 4, 4)),
        "dishes": (240, 12, 240, 240),  # pictures to train on, of the dishes
        "known": (320, 8, 320, 320),  # of the old world
        "namesakes": (160, 4, 160, 160),  # and of what sounds like a dish
        "places": (3, 1, 1, 1),  # where each dish is drawn to be judged
        "things": (28, 4, 28, 28),  # old things to be judged
        "steps": (10, 2, 20, 20),  # of the pictures that are measured
    },
    "08": {
        "tune": training("full", (100, 2, 100, 40), (6e-4, 1e-4, 1e-5, 1e-5), (12, 2, 4, 4)),
        "pictures": (480, 48, 240, 160),  # of the dirty set
        "prompts": (48, 4, 24, 12),  # to be judged
        "steps": (10, 2, 20, 20),  # of their sampling
    },
    "09": {
        "steps": ((50, 10), (4, 2), (50, 20), (50, 20)),  # the plain way and the quick one
        "prompts": (24, 4, 8, 8),  # to be judged
        "repeats": (3, 1, 3, 3),  # of a time
    },
    "10": {
        "lora": training("lora", (120, 2, 150, 60), (3e-3, 1e-3, 2e-4, 2e-4), (4, 2, 4, 4)),
        "steps": (12, 2, 20, 20),
    },
}


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
            raise PaidiffError(
                f"内存放不下这个训练 · this training does not fit the memory: {name} 要 needs {self.refused[name] / 1e9:.0f} GB"
            )
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
    kind = kind_of(pipe)
    column, folder = KINDS.index(kind), Path(pipe.tokenizer.name_or_path).parent
    real = not (folder / MARK).is_file()
    if not is_small(pipe):
        pipe.vae.enable_slicing()  # a picture at a time, for the lessons that call it themselves
    judged = real and (folder / "words.json").is_file()
    found = Profile(lesson, kind, native_size(pipe), real, judged, exact=kind == "mini" and pipe.device.type == "cpu")
    told = []
    for name, row in LESSONS[lesson].items():
        if isinstance(row, dict):
            told.append(
                _choose(found, name, {key: v if key == "method" else v[column] for key, v in row.items()}, pipe)
            )
        else:
            found.values[name] = row[column]
    print(" · ".join([f"{kind} {found.size}x{found.size}", *told]))
    return found


def _choose(found, name, row, pipe):
    """Put the settings of one training that fit into `found`. Returns what to say about them."""
    method, batch = row.pop("method"), row["batch_size"]
    fit, need = fitting(pipe, method, batch, found.size)
    if fit is None:
        found.refused[name] = need
        return f"{name} 放不下 does not fit: {need / 1e9:.0f} GB / {free(pipe.device) / 1e9:.0f} GB"
    several = fit["gradient_accumulation_steps"]
    changed = {"gradient_accumulation_steps": several} if several > 1 else {}
    changed |= {"gradient_checkpointing": True} if fit["gradient_checkpointing"] else {}
    found.values[name] = {**row, "batch_size": fit["batch_size"], **changed}
    text = f"{name} {row['steps']} 步 steps, lr {row['learning_rate']:g}, batch {fit['batch_size']}"
    text += f" x {several}" if several > 1 else ""
    text += ", gradient checkpointing" if "gradient_checkpointing" in changed else ""
    return text + (f" ({free(pipe.device) / 1e9:.0f} GB 可用 free)" if changed else "")


def kind_of(pipe):
    """The column of the table for a loaded pipeline."""
    if is_small(pipe):
        return "tiny" if size(pipe.unet) < TINY else "mini"
    return "768" if native_size(pipe) >= 640 else "512"
