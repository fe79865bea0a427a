"""Names -> folders -> stock diffusers pipelines. Offline first."""

import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from ..environment import DEFAULTS
from ..errors import PaidiffError
from ..files import data_folder
from .download import cached, download, home, online
from .registry import CHECKER_GB, FAMILY, names, short_name
from .verify import LORA_NAMES, check, has_checker

MINI = "models/paidiff-mini-zh"  # below the data folder
EXPORT_MARK = "export.json"  # what a folder of `paidiff export` is known by
CONTROLS = ("canny", "depth")  # published beside the real family; the small model has the first

KINDS = {"base": ("模型", "model"), "controlnet": (" ControlNet", "ControlNet"), "lora": (" LoRA", "LoRA")}
# What a folder of each kind is known by.
MARKS = {"base": ["model_index.json"], "controlnet": ["config.json"], "lora": LORA_NAMES}

TASKS = {
    "text2img": "StableDiffusionPipeline",
    "img2img": "StableDiffusionImg2ImgPipeline",
    "inpaint": "StableDiffusionInpaintPipeline",
    "controlnet": "StableDiffusionControlNetPipeline",
}


def load(name=None, task="text2img", control="canny", safety_checker=False):
    """A stock diffusers pipeline, ready to draw.

    name: "mini", a model of the real family by short name or hub id ("artist-large", ...: registry.py), or a folder in
        diffusers' layout; None takes the environment variable PAIDIFF_MODEL, else "mini".
    task: "text2img", "img2img", "inpaint" or "controlnet".
    control: for the last, "canny", "depth" (the real family's), a ControlNet or its folder, or a list of these.
    safety_checker: True loads the published model's own, which looks at the finished pictures and blackens some.
    It runs in half precision on a GPU, in single precision on a CPU. Raises PaidiffError.
    """
    if "torch" not in sys.modules:  # its threads wait by spinning, see environment.py; read when torch is imported
        os.environ.setdefault("GOMP_SPINCOUNT", DEFAULTS["GOMP_SPINCOUNT"])
    name = model_name(name)
    if is_export(name):
        raise PaidiffError(
            f"这是导出的模型,用 paidiff_app.open_model 打开 · an exported model: open it with paidiff_app.open_model: {name}"
        )
    folder = find(name, safety_checker=safety_checker)  # before diffusers is imported: a wrong name is told at once
    _require_task(task)
    safe_only = check(folder, safety_checker=safety_checker)
    extra = {"controlnet": load_control(control, name)} if task == "controlnet" else {}
    extra |= _checker(folder, safety_checker)
    with quiet(), _one_line(f"模型 {name} 读不出来 · cannot read model {name}: {folder}"):
        import diffusers

        pipe = getattr(diffusers, TASKS[task]).from_pretrained(folder, **_settings(safe_only), **extra)
        _check_controls(pipe)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device())


def load_control(control, name):
    """The ControlNet of that name or folder for the model `name`, or a list of them. Raises PaidiffError."""
    if isinstance(control, (list, tuple)):
        return [load_control(one, name) for one in control]
    if hasattr(control, "controlnet_cond_embedding"):  # a ControlNetModel
        return control
    folder = _find_control(str(control), name)
    safe_only = check(folder, "controlnet")
    with quiet(), _one_line(f"ControlNet 读不出来 · cannot read the ControlNet {folder}"):
        from diffusers import ControlNetModel

        return ControlNetModel.from_pretrained(folder, **_settings(safe_only))


def model_name(name=None):
    """The name asked for, else PAIDIFF_MODEL, else "mini"."""
    return str(name or os.environ.get("PAIDIFF_MODEL") or "mini")


def find(name, kind="base", safety_checker=False):
    """The folder of a model, as a Path; downloaded if need be and the user has allowed the network.

    In order: a local folder, embedded, the caches, ModelScope, the mirror, the hub. safety_checker: it must be there too.
    kind: "base", "controlnet" or "lora". Raises PaidiffError that lists what was tried.
    """
    folder = at_hand(name, kind, safety_checker)
    if folder is not None:
        return folder
    model = FAMILY.get(short_name(name))
    if model is None or model.kind != kind:
        chinese, english = KINDS[kind]
        known = ", ".join((["mini"] if kind == "base" else []) + names(kind))
        places = dict.fromkeys([Path(name).expanduser(), *([data_folder() / MINI] if name == "mini" else [])])
        raise PaidiffError(
            f"没有找到{chinese} {name} · no {english} {name}; 试过 tried: {', '.join(map(str, places))}; "
            f"已知的名字 known names: {known}, 或一个文件夹 or a folder"
        )
    if online():
        return download(model, safety_checker)
    gigabytes = model.gigabytes + (CHECKER_GB if safety_checker else 0)
    raise PaidiffError(
        f"没有找到模型 {name} · no model {name} ({model.repo}); 试过 tried: 本地文件夹 a local folder, 缓存 the caches "
        f"(也在 also {home()}); 加 HF_HUB_OFFLINE=0 才会下载 to download, 约 about {gigabytes:.1f} GB"
    )


def at_hand(name, kind="base", safety_checker=False):
    """The folder of a model that is on this machine, else None. Never uses the network."""
    folder = Path(name).expanduser()
    if any((folder / mark).is_file() for mark in MARKS[kind]):
        return folder
    if name == "mini" and kind == "base":
        mini = data_folder() / MINI
        return mini if (mini / "model_index.json").is_file() else None
    model = FAMILY.get(short_name(name))
    return cached(model, safety_checker) if model and model.kind == kind else None


def is_export(folder):
    """True if `folder` holds a model of `paidiff export`, which draws without torch."""
    return (Path(folder).expanduser() / EXPORT_MARK).is_file()


def device():
    """ "cuda" where there is a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _require_task(task):
    if task not in TASKS:
        raise PaidiffError(f"没有这个任务 · no task {task}; 可选 choose from: {', '.join(TASKS)}")


def _find_control(control, name):
    """The folder of a ControlNet: a model's own stands beside it under its name, as on the hub. Raises PaidiffError."""
    if control not in CONTROLS:
        return find(control, "controlnet")
    base = short_name(name)
    beside = f"{base or Path(name).expanduser()}-controlnet-{control}"
    return find(
        beside if base or at_hand(beside, "controlnet") else f"{data_folder() / MINI}-controlnet-{control}",
        "controlnet",
    )


def _checker(folder, wanted):
    """What to tell diffusers about the safety checker, and the user, where the model was published with one."""
    published = has_checker(folder)
    if wanted and not published:
        raise PaidiffError(f"这个模型没有安全检查器 · this model has no safety checker: {folder}")
    if wanted:
        return {}
    if published:
        print("没有装载安全检查器,要就写 · safety checker not loaded; to have it: load(..., safety_checker=True)")
    return {"safety_checker": None, "requires_safety_checker": False}


@contextmanager
def _one_line(what):
    """Whatever the libraries say about a file they cannot open becomes one PaidiffError.

    What they log is left out: a line for each .bin, because it is no .safetensors.
    """
    before = logging.root.manager.disable
    logging.disable(max(before, logging.ERROR))
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PaidiffError(f"{what}: {reason}") from error
    finally:
        logging.disable(before)


def _check_controls(pipe):
    """Raise PaidiffError if a ControlNet was made for another model."""
    nets = getattr(pipe, "controlnet", None)
    for net in getattr(nets, "nets", [nets] if nets else []):
        for size in ("in_channels", "block_out_channels", "cross_attention_dim"):
            theirs, ours = (str(part.config[size]).strip("[()]") for part in (net, pipe.unet))
            if theirs != ours:
                raise PaidiffError(
                    f"这个 ControlNet 是给别的模型的 · this ControlNet is for another model: {size} {theirs}, {ours}"
                )


def _settings(safe_only):
    """Weights are stored in half precision; a CPU computes in single precision. No pickle where safetensors suffice."""
    import torch

    dtype = torch.float16 if device() == "cuda" else torch.float32
    return {"dtype": dtype, "local_files_only": True, "use_safetensors": True if safe_only else None}


@contextmanager
def quiet():
    """No bars and no advice from the libraries while they open a model; afterwards they are as the user has set them."""
    import diffusers.utils.logging
    import transformers.utils.logging

    libraries = [library.utils.logging for library in (diffusers, transformers)]
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, (verbosity, bars) in zip(libraries, before):
            library.set_verbosity(verbosity)
            library.enable_progress_bar() if bars else library.disable_progress_bar()
