"""What `paidiff doctor` looks at: one finding a line, and what to do about each fault."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from paidiff_lib import __version__
from paidiff_lib.display import FONT
from paidiff_lib.errors import PaidiffError
from paidiff_lib.files import data_folder
from paidiff_lib.models.download import online
from paidiff_lib.models.load import at_hand, model_name
from paidiff_lib.models.registry import FAMILY, short_name
from paidiff_lib.models.verify import TORCH, missing

from .install import in_checkout, install_command

# The oldest versions without a known hole in reading model files.
FLOOR = {"torch": TORCH, "diffusers": (0, 38), "transformers": (5, 0)}
PACKAGES = "torch diffusers transformers accelerate peft huggingface_hub modelscope_hub safetensors".split()
MEMORY_GB = 4  # the mini model draws in about 1.5 GB; the rest is for a browser and JupyterLab
WEIGHTS = "paidiff-mini-zh"  # the wheel with the small model
DISK_GB = 2  # checkpoints and caches of one lesson


@dataclass
class Finding:
    """One line of the report; `fault` marks what must be put right, `advice` says how."""

    text: str
    fault: bool = False
    advice: str = ""

    def line(self):
        return f"{'✗' if self.fault else '✓'} {self.text}" + (f"\n    → {self.advice}" if self.advice else "")


def examine():
    """Every finding, in the order of reading."""
    return [*_versions(), *_machine(), _font(), *_models(), _network()]


def _versions():
    yield Finding(f"paidiff {__version__} · Python {sys.version.split()[0]}")
    for name in PACKAGES:
        yield _package(name)


def _package(name):
    install = f"重新安装 · install again: {'make lab, 或 or: ' if in_checkout() else ''}{install_command()}"
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(f"没有装 · not installed: {name}", True, install)
    if _number(found) < FLOOR.get(name, ()):
        floor = ".".join(map(str, FLOOR[name]))
        return Finding(f"{name} {found} 太旧 · older than {floor}", True, install)
    return Finding(f"{name} {found}")


def _number(text):
    """ "2.13.0+cpu" -> (2, 13)."""
    return tuple(int("".join(filter(str.isdigit, part)) or 0) for part in text.split(".")[:2])


def _machine():
    import psutil

    yield Finding(f"设备 · device: {_device()}")
    memory = psutil.virtual_memory()
    yield _enough("内存 · memory", memory.available, memory.total, MEMORY_GB, "关掉别的程序 · close other programs")
    disk = shutil.disk_usage(".")
    yield _enough("磁盘 · disk", disk.free, disk.total, DISK_GB, "清出一些空间 · free some space")


def _device():
    import torch

    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        return f"cuda, {gpu.name}, {gpu.total_memory / 2**30:.0f} GB"
    return f"cpu, {os.cpu_count()} 核 cores, {torch.get_num_threads()} 线程 threads"


def _enough(what, free, total, needed, advice):
    text = f"{what}: {free / 2**30:.1f} / {total / 2**30:.1f} GB 可用 free"
    short = free < needed * 2**30
    return Finding(text, short, f"至少要 {needed} GB · {needed} GB needed; {advice}" if short else "")


def _font():
    if FONT.is_file():
        return Finding(f"中文字体 · Chinese font: {FONT.name}")
    advice = "git checkout paidiff_lib/assets/fonts" if in_checkout() else f"{install_command()} --force-reinstall"
    return Finding("缺中文字体 · the Chinese font is missing", True, advice)


def _models():
    """The mini model must be there, PAIDIFF_MODEL must lead somewhere; the real ones are mentioned where they are."""
    chosen = model_name()
    for name in dict.fromkeys(["mini", chosen]):
        yield _model(name)
    there = [name for name, model in FAMILY.items() if at_hand(name, model.kind)]
    yield Finding(f"本机的真实模型 · real models at hand: {', '.join(there) or '无 none'}")
    yield Finding(f"PAIDIFF_MODEL={os.environ.get('PAIDIFF_MODEL', '')} → {chosen}")


def _model(name):
    try:
        folder = at_hand(name)
        lack = missing(folder) if folder else None
        if folder and not lack:
            return Finding(f"模型 · model {name}: {folder}")
        whole = f"模型不完整 · the model is not whole: {folder}: 缺 missing: {lack}"
        text = whole if folder else f"没有找到模型 {name} · no model {name} on this machine"
    except PaidiffError as error:
        text = str(error)
    return Finding(text, True, _model_advice(name))


def _model_advice(name):
    """What brings a model here: a checkout has the small one in git, else it lies in the data folder."""
    if name == "mini":
        try:
            data_folder()
        except PaidiffError as error:
            return "git checkout data/models" if in_checkout() else str(error)
        return "git checkout data/models" if in_checkout() else f"pip install --force-reinstall {WEIGHTS}"
    model = FAMILY.get(short_name(name))
    download = f"HF_HUB_OFFLINE=0 下载 downloads it, 约 about {model.gigabytes:.1f} GB; 或 or " if model else ""
    return f"{download}改 PAIDIFF_MODEL · change it"


def _network():
    offline = "离线 · offline (HF_HUB_OFFLINE=0 允许下载 allows downloads)"
    return Finding(f"网络 · network: {'允许下载 · downloads allowed' if online() else offline}")
