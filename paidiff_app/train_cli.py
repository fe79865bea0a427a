"""What the training scripts share: flags from a dataclass, and the run between reading them and saving the result.

The flags have the names that diffusers' own example scripts and the PAI-Diffusion article use.
"""

import gc
import os
import signal
import sys
from contextlib import closing
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path

from paidiff_lib.data.folder import CaptionFolder
from paidiff_lib.environment import set_defaults
from paidiff_lib.errors import NotFound, PaidiffError, unknown
from paidiff_lib.training.config import TrainingConfig

SETTINGS = [setting for setting in fields(TrainingConfig) if setting.metadata["flag"]]  # those that are flags


def flag(default, text):
    return field(default=default, metadata={"help": text})


def required(text, *aliases):
    return field(metadata={"help": text, "aliases": list(aliases)})


def _flag_of(setting):
    """(name, type, field) of the flag that sets one setting of a training."""
    kind, default = setting.metadata.get("as_flag", (setting.type, setting.default))
    return setting.metadata["flag"], kind, flag(default, setting.metadata["help"])


@dataclass(kw_only=True)
class DataFlags:
    """What is trained on, from where to where."""

    train_data_dir: str = required(
        "训练图片的文件夹 · folder of pictures: metadata.jsonl, .txt beside, or .tsv", "--instance_data_dir"
    )
    output_dir: str = required("结果和检查点写到哪里 · where the result and the checkpoints go")
    pretrained_model_name_or_path: str = flag("mini", "模型名或文件夹 · a model's name or folder")
    resolution: int | None = flag(None, "边长,像素 · side in pixels; the model's own unless given")
    center_crop: bool = flag(False, "取正中的方块 · the middle square; else one of three squares by chance")
    random_flip: bool = flag(False, "随机左右翻转 · mirrored half of the time, unless the caption says 左 or 右")
    skip_faults: bool = flag(
        False, "跳过有问题的图,并说跳过了什么 · leave out what is at fault, and say what was left out"
    )
    scale_lr: bool = flag(False, "学习率乘以总批量 · learning rate times pictures an update, over all devices")
    report_to: str | None = flag(None, "tensorboard")


TrainingFlags = make_dataclass("TrainingFlags", map(_flag_of, SETTINGS), kw_only=True)


@dataclass(kw_only=True)
class Flags(TrainingFlags, DataFlags):
    """The flags of every training script."""

    def settings(self):
        """These flags as keywords of `train`."""
        settings = {setting.name: getattr(self, setting.metadata["flag"]) for setting in SETTINGS}
        resume, prompt = self.resume_from_checkpoint, self.validation_prompt
        return settings | {
            "output": self.output_dir,
            "learning_rate": self.learning_rate * (self._images_an_update() if self.scale_lr else 1),
            "snr_gamma": self.snr_gamma or None,
            "resume": {"latest": True, "none": False}.get(resume, resume),
            "sample_every": self.validation_steps if prompt else 0,
            "sample_prompts": [prompt] if prompt else [],
        }

    def _images_an_update(self):
        return self.train_batch_size * self.gradient_accumulation_steps * int(os.environ.get("WORLD_SIZE", "1"))

    def data(self, captions=True):
        settings = self.resolution, self.center_crop, self.random_flip, captions, self.skip_faults
        return CaptionFolder(self.train_data_dir, *settings)

    def complete(self, pipe, data):
        """`data`, with what the model itself adds to it."""
        return data


def main(flags_class, make, save, captions=True, arguments=None):
    """Read the flags, train `make(pipe, flags)`, `save(method, folder)`; ends the program.

    arguments: of the command line; None takes the program's own.
    Exit codes: 0 done, 1 refused (one line, no traceback), 2 wrong usage, 130 or 143 interrupted, after saving.
    """
    set_defaults()
    gc.disable()  # imports make a million objects that all stay; looking for garbage among them takes a seventh of the time
    from transformers import HfArgumentParser

    parser = HfArgumentParser(flags_class)
    flags, rest = parser.parse_args_into_dataclasses(arguments, return_remaining_strings=True)
    if rest:  # transformers itself would raise a ValueError
        parser.error(f"没有这个参数 · no such flag: {' '.join(rest)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leaves the loop, which then saves
    try:
        run(flags, make, save, captions)
    except PaidiffError as error:
        sys.exit(f"错误 · error: {error}")  # exit code 1
    except KeyboardInterrupt:
        sys.exit(130)


def run(flags, make, save, captions):
    from accelerate import PartialState

    from paidiff_lib.models import load as models
    from paidiff_lib.training.api import train

    data = flags.data(captions)  # before the model: a fault in the data should not cost minutes
    _import_the_rest()
    pipe = models.load(flags.pretrained_model_name_or_path)
    data = flags.complete(pipe, data)
    method = make(pipe, flags)
    with closing(train(method, data, **flags.settings())) as steps:  # joins the other processes, if there are any
        report = reporter(flags)
        for step in steps:
            report(step)
    if PartialState().is_main_process:
        save(method, Path(flags.output_dir))
        _draw_last(method, data, flags)
        print(f"完成,写到 {flags.output_dir} · done, written to {flags.output_dir}")
    PartialState().destroy_process_group()  # a process that ends with its threads still running may abort


def _import_the_rest():
    """What loading and training need, before anything large is made; then garbage is collected again, among new objects only."""
    from accelerate import Accelerator  # noqa: F401
    from diffusers import DDPMScheduler, StableDiffusionPipeline  # noqa: F401

    gc.freeze()
    gc.enable()


def reporter(flags):
    """report(step): a progress bar with the time left, validation pictures, and TensorBoard where it was asked for."""
    from accelerate import PartialState
    from tqdm.auto import tqdm

    if not PartialState().is_main_process:
        return lambda step: None
    board, bar = _board(flags), tqdm(total=flags.max_train_steps, unit="step")

    def report(step):
        bar.initial = bar.initial or step.index - 1
        bar.update(step.index - bar.n)
        bar.set_postfix(loss=f"{step.loss:.4f}", lr=f"{step.learning_rate:.2e}", skipped=step.skipped, refresh=False)
        for image in step.images:
            _keep(image, flags, step.index)
        if board:
            board.add_scalar("loss", step.loss, step.index)
            board.add_scalar("lr", step.learning_rate, step.index)
        if step.index == flags.max_train_steps:
            bar.close()
            board and board.close()

    return report


def _board(flags):
    if flags.report_to not in (None, "none", "tensorboard"):
        raise unknown("报告的去处", "place to report to", flags.report_to, ["tensorboard"])
    if flags.report_to != "tensorboard":
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise NotFound("没有装 tensorboard", "tensorboard is not installed", "pip install tensorboard") from error
    return SummaryWriter(Path(flags.output_dir) / "logs")


def _draw_last(method, data, flags):
    if flags.validation_prompt:
        _keep(method.sample([flags.validation_prompt], flags.seed, data)[0], flags, flags.max_train_steps)


def _keep(image, flags, index):
    folder = Path(flags.output_dir) / "validation"
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / f"step-{index}.png")
