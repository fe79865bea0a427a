"""What the training scripts share: flags from a dataclass, and the run between reading them and saving the result.

The flags have the names that diffusers' own example scripts and the PAI-Diffusion article use.
"""

import gc
import itertools
import json
import math
import os
import random
import signal
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path

from paidiff_lib.arguments import require_int
from paidiff_lib.datasets.folder import MOST_PIXELS, CaptionFolder
from paidiff_lib.datasets.shards import EncodedShards, is_encoded
from paidiff_lib.environment import set_defaults
from paidiff_lib.errors import NotFound, PaidiffError, Refused
from paidiff_lib.files import output_folder, require_ours
from paidiff_lib.training.checkpoint import Store
from paidiff_lib.training.config import MOST, TrainingConfig
from paidiff_lib.training.samples import seeds_of

from .flags import sort_out
from .trackers import check_trackers, start_trackers

RESUME = {"latest": True, "true": True, "none": False}  # anything else is a checkpoint's name or path
FROM_1 = {"max_train_samples", "num_train_epochs", "validation_epochs", "num_validation_images", "rank", "num_vectors"}
FROM_1 |= {"repeats", "num_class_images"}
LOOKS = ("resolution", "center_crop", "random_flip", "aspect_ratio_buckets", "image_column", "caption_column")
SETTINGS = [setting for setting in fields(TrainingConfig) if setting.metadata["flag"]]  # those that are flags


def flag(default, text):
    return field(default=default, metadata={"help": text})  # argparse gets the metadata: nothing else may be in it


def required(text, *aliases):
    return field(metadata={"help": text, "aliases": list(aliases)})


def _flag_of(setting):
    """(name, type, field) of the flag that sets one setting of a training."""
    kind, default = setting.metadata.get("as_flag", (setting.type, setting.default))
    return setting.metadata["flag"], kind, flag(default, setting.metadata["help"])


@dataclass(kw_only=True)
class DataFlags:
    """What is trained on, from where to where."""

    train_data_dir: str | None = field(
        default=None,
        metadata={
            "help": "训练图片:文件夹,或者 .tsv, .parquet, .tar · pictures: a folder with metadata.jsonl or .txt beside, or a .tsv, .parquet, .tar",
            "aliases": ["--instance_data_dir"],
        },
    )
    dataset_name: str | None = flag(
        None,
        "同上,也可以是 datasets 存的文件夹;不下载 · the same, or a folder that datasets saved; nothing is downloaded",
    )
    image_column: str | None = flag(None, "清单里图片那一列 · the manifest's column of pictures; file_name, image")
    caption_column: str | None = flag(None, "清单里说明那一列 · the column of captions; text, caption, prompt")
    max_train_samples: int | None = flag(None, "只用几张图,随机选 · so many of the pictures, by chance")
    output_dir: str = required("结果和检查点写到哪里 · where the result and the checkpoints go")
    also_bin: bool = flag(
        False,
        "另写 .bin,给旧程序和 ModelScope · .bin files beside, for older programs and ModelScope: docs/elsewhere.md",
    )
    pretrained_model_name_or_path: str = flag("mini", "模型名或文件夹 · a model's name or folder")
    resolution: int | None = flag(None, "边长,像素 · side in pixels; the model's own unless given")
    center_crop: bool = flag(False, "取正中的方块 · the middle square; else one of three squares by chance")
    aspect_ratio_buckets: bool = flag(
        False,
        "不是方的图用最近的形状练,最长 2:3 · pictures that are no squares in the nearest shape, up to 2:3; no squares cut",
    )
    random_flip: bool = flag(False, "随机左右翻转 · mirrored half of the time, unless the caption says 左 or 右")
    skip_faults: bool = flag(
        False, "跳过有问题的图,并说跳过了什么 · leave out what is at fault, and say what was left out"
    )
    num_train_epochs: int | None = flag(None, "每张图练几遍 · times each picture is trained on; steps come first")
    validation_epochs: int | None = flag(None, "每几遍画一次 · epochs between sample pictures; before steps")
    num_validation_images: int = flag(1, "每次画几张 · sample pictures of the prompt, each of its own seed")
    validation_prompts: list[str] | None = flag(None, "画这几句 · several prompts to draw on the way")
    scale_lr: bool = flag(False, "学习率乘以总批量 · learning rate times pictures an update, over all devices")
    report_to: str | None = flag(
        None,
        "记录到哪里:none, tensorboard, wandb, swanlab, comet_ml, all · where to record: none, tensorboard, wandb, swanlab, comet_ml, all",
    )
    logging_dir: str = flag("logs", "记录放在 output_dir 下哪里 · where the records go, below output_dir")
    tracker_project_name: str = flag("paidiff", "记录里的项目名 · the project's name there")


TrainingFlags = make_dataclass("TrainingFlags", map(_flag_of, SETTINGS), kw_only=True)


@dataclass(kw_only=True)
class Flags(TrainingFlags, DataFlags):
    """The flags of every training script."""

    results, bins = (), ()  # files that the result has in output_dir, at its top; those that it has with --also_bin

    def settings(self):
        """These flags as keywords of `train`."""
        settings = {setting.name: getattr(self, setting.metadata["flag"]) for setting in SETTINGS}
        resume, prompts = self.resume_from_checkpoint, self.prompts()
        return settings | {
            "steps": TrainingConfig.steps if self.max_train_steps is None else self.max_train_steps,
            "output": self.output_dir,
            "learning_rate": self.learning_rate * (self._images_an_update() if self.scale_lr else 1),
            "resume": RESUME.get(str(resume).lower(), resume),
            "sample_every": self.validation_steps if prompts else 0,
            "sample_prompts": prompts,
        }

    def prompts(self):
        """What is drawn on the way, each as often as it was asked for."""
        asked = self.validation_prompts or ([self.validation_prompt] if self.validation_prompt else [])
        return [prompt for prompt in asked for _ in range(self.num_validation_images)]

    def _images_an_update(self):
        return self.train_batch_size * self.gradient_accumulation_steps * int(os.environ.get("WORLD_SIZE", "1"))

    def config(self):
        """The TrainingConfig that these flags mean."""
        return TrainingConfig(**{name: value for name, value in self.settings().items() if name != "output"})

    def check(self):
        """Raise PaidiffError on a flag that cannot work: before anything is read, and before torch is imported."""
        self.config().check()
        for name in (one.name for one in fields(self) if one.name in FROM_1):
            value = getattr(self, name)
            if value is not None:
                require_int(value, 1, MOST, f"--{name} ", f"--{name}")
        if self.resolution is not None and (not 8 <= self.resolution <= MOST_PIXELS or self.resolution % 8):
            zh, en = f"--resolution 要是 8 的倍数,最多 {MOST_PIXELS}", f"must be a multiple of 8, at most {MOST_PIXELS}"
            raise PaidiffError(zh, en, str(self.resolution))
        if not (self.train_data_dir or self.dataset_name):
            raise PaidiffError("没有说用什么图训练", "nothing to train on", "--train_data_dir")
        if self.train_data_dir and self.dataset_name:
            zh, en = "训练图片说了两处", "two places to train from"
            raise PaidiffError(zh, en, f"--train_data_dir {self.train_data_dir}, --dataset_name {self.dataset_name}")
        if not self.train_data_dir and not Path(self.dataset_name).expanduser().exists():
            zh, en = "这里不下载数据集", "data sets are not downloaded here: download it, then give its folder"
            raise NotFound(zh, en, f"--train_data_dir; {self.dataset_name}")
        check_trackers(self.report_to)

    def needs(self):
        """(whether it holds, what some flags need, in both languages; which) of flags that act beside others only."""
        prompts, records = bool(self.prompts()), self.report_to not in (None, "none")
        drawn = "num_validation_images", "validation_epochs", "validation_steps"
        yield prompts, "要有 --validation_prompt · without --validation_prompt", drawn
        yield records, "要有 --report_to · without --report_to", ("logging_dir", "tracker_project_name")
        yield not self.max_train_steps, "有 --max_train_steps · beside --max_train_steps", ("num_train_epochs",)
        yield (
            not self.validation_prompts,
            "有 --validation_prompts · beside --validation_prompts",
            ("validation_prompt",),
        )

    def say_without_effect(self):
        """Print which flags were given and change nothing, for they need another."""
        usual = {one.name: one.default for one in fields(self)}
        for holds, why, names in self.needs():
            for name in names if not holds else ():
                if getattr(self, name) != usual[name]:
                    print(f"--{name}: 没有作用,{why.replace(' · ', ' · no effect ')}")

    def data(self, captions=True):
        place = self.train_data_dir or self.dataset_name
        if is_encoded(place):
            return self._encoded(place)
        settings = self.resolution, self.center_crop, self.random_flip, captions, self.skip_faults
        data = CaptionFolder(
            place, *settings, self.image_column, self.caption_column, buckets=self.aspect_ratio_buckets
        )
        if self.max_train_samples and self.max_train_samples < len(data):
            print(
                f"{len(data)} 张图用 {self.max_train_samples} 张 · {self.max_train_samples} of {len(data)} pictures used"
            )
            data.items = random.Random(self.seed).sample(data.items, self.max_train_samples)
        return data

    def _encoded(self, place):
        """What `paidiff encode` wrote; a line for each flag about pictures, which came too late."""
        usual = {one.name: one.default for one in fields(self)}
        for name in (*LOOKS, "max_train_samples"):
            if getattr(self, name) != usual[name]:
                why = "图已经编码好了,要在 paidiff encode 时说 · no effect: the pictures are encoded, say it to paidiff encode"
                print(f"--{name}: 没有作用,{why}")
        return EncodedShards(place)

    def plan(self, data):
        """Say in steps what was said in epochs. An epoch is every picture once."""
        epoch = math.ceil(len(data) * self.repeats / self._images_an_update())
        if self.max_train_steps is None and self.num_train_epochs:
            self.max_train_steps = self.num_train_epochs * epoch
            print(f"{self.num_train_epochs} 遍是 {self.max_train_steps} 步 · epochs are {self.max_train_steps} steps")
        if self.validation_epochs:
            self.validation_steps = self.validation_epochs * epoch

    # What only some of the commands have as flags.
    repeats = 1  # of each picture in an epoch
    conditioning_image_column = None

    def complete(self, pipe, data):
        """`data`, with what the model itself adds to it."""
        return data

    def opening(self):
        """Two lines of Python that open the result as `pipe`."""
        folder = literal(self.output_dir)
        return (
            "from diffusers import StableDiffusionPipeline",
            f"pipe = StableDiffusionPipeline.from_pretrained({folder})",
        )


def literal(path):
    """A path or name as Python and a Windows user can paste it: in double quotes, without backslashes."""
    return json.dumps(Path(path).as_posix(), ensure_ascii=False)


def main(flags_class, make, save, captions=True, arguments=None):
    """Read the flags, train `make(pipe, flags)`, `save(method, folder, also_bin)`; ends the program.

    arguments: of the command line; None takes the program's own.
    Exit codes: 0 done, 1 refused (one line, no traceback), 2 wrong usage, 130 or 143 interrupted, after saving.
    """
    set_defaults()
    gc.disable()  # imports make a million objects that all stay; looking for garbage among them takes a seventh of the time
    from transformers import HfArgumentParser

    parser = HfArgumentParser(flags_class, allow_abbrev=False)
    parser.error = wrong_usage  # argparse prints some thirty lines before the one that matters
    flags, rest = parser.parse_args_into_dataclasses(arguments, return_remaining_strings=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leaves the loop, which then saves
    try:
        if unknown := sort_out(rest, [one.name for one in fields(flags_class)]):
            parser.error(f"没有这个参数 · no such flag: {' '.join(unknown)}")
        flags.check()
        flags.say_without_effect()
        run(flags, make, save, captions)
    except PaidiffError as error:
        sys.exit(f"错误 · error: {error}")  # exit code 1
    except KeyboardInterrupt:
        sys.exit(130)
    except RuntimeError as error:
        if not is_lost(error):
            raise
        en = "another process of this run has ended, and so does this one; start all of them again to go on"
        print(f"错误 · error: 别的进程断了,这个也停下;全部重新运行就接着练 · {en}", file=sys.stderr, flush=True)
        os._exit(1)  # the group of processes is no more: leaving it properly would wait for the one that is gone


def is_lost(error):
    """Whether an error of torch means that another process of the run is gone."""
    from torch.distributed import DistError

    of_torch = isinstance(error, DistError) or any(name in str(error).lower() for name in ("gloo", "nccl"))
    return of_torch and "WORLD_SIZE" in os.environ


def wrong_usage(message):
    """End the program with one line about its usage."""
    print(f"用法不对 · wrong usage: {message}; 全部参数 all flags: --help", file=sys.stderr)
    sys.exit(2)


def run(flags, make, save, captions):
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # torch takes seconds, and a fault in the data should be quick
        from paidiff_lib.training.accelerator import meet

        meet()
    data = flags.data(captions)  # before the model: a fault in the data should not cost minutes
    flags.plan(data)
    Store(flags.output_dir).check(flags.config())
    require_ours(flags.output_dir, flags.results + (flags.bins if flags.also_bin else ()))
    _train(flags, data, make, save)


def _train(flags, data, make, save):
    from accelerate import PartialState

    from paidiff_lib.models import load as models
    from paidiff_lib.training.api import train

    _import_the_rest()
    _suit_the_device(flags)
    pipe = models.load(flags.pretrained_model_name_or_path)
    data = flags.complete(pipe, data)
    method = make(pipe, flags)
    with closing(train(method, data, **flags.settings())) as steps:  # joins the other processes, if there are any
        report = reporter(flags)
        for step in steps:
            report(step)
    if PartialState().is_main_process:
        save(method, Path(flags.output_dir), flags.also_bin)
        _draw_last(method, data, flags)
        print(f"完成,写到 {flags.output_dir} · done, written to {flags.output_dir}; 这样打开 to open it:")
        print(*flags.opening(), sep="\n")
    PartialState().destroy_process_group()  # a process that ends with its threads still running may abort


def _suit_the_device(flags):
    """What only a GPU can do, said elsewhere."""
    from paidiff_lib.models.load import device

    if device() == "cpu" and flags.mixed_precision == "fp16":
        flags.mixed_precision = "no"
        print("--mixed_precision=fp16: CPU 不能用,改用单精度 · a CPU cannot: single precision in its place")


def _import_the_rest():
    """What loading and training need, before anything large is made; then garbage is collected again, among new objects only."""
    from accelerate import Accelerator  # noqa: F401
    from diffusers import DDPMScheduler, StableDiffusionPipeline  # noqa: F401

    gc.freeze()
    gc.enable()


def reporter(flags):
    """report(step): a progress bar with the time left, validation pictures, and trackers where they were asked for."""
    from accelerate import PartialState
    from tqdm.auto import tqdm

    if not PartialState().is_main_process:
        return lambda step: None
    steps = flags.config().steps
    log, bar = start_trackers(flags), tqdm(total=steps, unit="step")

    def report(step):
        bar.initial = bar.initial or step.index - 1
        bar.update(step.index - bar.n)
        bar.set_postfix(loss=f"{step.loss:.4f}", lr=f"{step.learning_rate:.2e}", skipped=step.skipped, refresh=False)
        _keep(step.images, flags, step.index)
        log(step, last=step.index == steps)
        if step.index == steps:
            bar.close()

    return report


def _draw_last(method, data, flags):
    prompts = flags.prompts()
    if prompts:
        images = method.sample(prompts, seeds_of(prompts, flags.seed), data)
        _keep(images, flags, flags.config().steps)


def _keep(images, flags, index):
    """Write sample pictures: step-3.png, step-3-2.png, ... What is there and not ours stays."""
    folder = Path(flags.output_dir) / "validation"
    for number, image in enumerate(images, 1):
        name = _free(folder, f"step-{index}" + (f"-{number}" if number > 1 else ""))
        with output_folder(folder) as staging:
            image.save(staging / name)


def _free(folder, stem):
    """A name that nobody else's picture has."""
    for name in (f"{stem}{mark}.png" for mark in itertools.chain([""], map("-new{}".format, itertools.count(1)))):
        with suppress(Refused):
            require_ours(folder, [name])
            return name
