"""Names -> folders -> stock diffusers pipelines. Offline first."""

import os
from pathlib import Path

from .errors import PaidiffError

ROOT = Path(__file__).resolve().parents[1]
MINI = ROOT / "data/models/paidiff-mini-zh"

# Short names of the real family. Sizes and components are read from the loaded model, never written down here.
FAMILY = {
    "artist-large": "alibaba-pai/pai-diffusion-artist-large-zh",
    "artist-xlarge": "alibaba-pai/pai-diffusion-artist-xlarge-zh",
    "anime-large": "alibaba-pai/pai-diffusion-anime-large-zh",
    "food-large": "alibaba-pai/pai-diffusion-food-large-zh",
    "general-large": "alibaba-pai/pai-diffusion-general-large-zh",
    "general-xlarge": "alibaba-pai/pai-diffusion-general-xlarge-zh",
}

CONTROLS = ("canny", "depth")  # published beside the real family; the small model has the first

TASKS = {
    "text2img": "StableDiffusionPipeline",
    "img2img": "StableDiffusionImg2ImgPipeline",
    "inpaint": "StableDiffusionInpaintPipeline",
    "controlnet": "StableDiffusionControlNetPipeline",
}


def load(name=None, task="text2img", control="canny"):
    """A stock diffusers pipeline, ready to draw.

    name: "mini", a short name of the real family ("artist-large", ...), or a folder in diffusers' layout;
        None takes the environment variable PAIDIFF_MODEL, and "mini" if that is unset.
    task: "text2img", "img2img", "inpaint" or "controlnet".
    control: for the last, "canny", "depth" (the real family's), a ControlNet's folder, or a list of these.
    It runs in half precision on a GPU, in single precision on a CPU. Raises PaidiffError.
    """
    name = model_name(name)
    source = find(name)
    pipeline_class = _pipeline_class(task)
    try:
        extra = {"controlnet": load_control(control, name)} if task == "controlnet" else {}
        pipe = _from_pretrained(pipeline_class, source, name, **extra)
        _check_controls(pipe)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PaidiffError(f"模型 {name} 读不出来 · cannot read model {name}: {source}: {reason}") from error
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device())


def model_name(name=None):
    """The name asked for, else PAIDIFF_MODEL, else "mini"."""
    return str(name or os.environ.get("PAIDIFF_MODEL") or "mini")


def find(name):
    """The folder of a model, as a Path. Raises PaidiffError that lists what was tried."""
    if name in FAMILY:
        return _hub_folder(name)
    folder = MINI if name == "mini" else Path(name).expanduser()
    if (folder / "model_index.json").is_file():
        return folder
    known = ", ".join(known_names())
    raise PaidiffError(
        f"没有找到模型 {name} · no model {name}; 试过 tried: {folder}; 已知的名字 known names: {known}, 或一个文件夹 or a folder"
    )


def known_names():
    return ["mini", *FAMILY]


def device():
    """"cuda" where there is a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def online():
    """True if the user has allowed the network with HF_HUB_OFFLINE=0."""
    return os.environ.get("HF_HUB_OFFLINE", "1").lower() in ("0", "false", "no", "off", "")


def in_cache(name):
    """True if a model of the real family has been downloaded. Looks at files only."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(FAMILY[name], "model_index.json"), str)


def _hub_folder(name):
    """The cached snapshot of a model of the real family; downloaded only if the user allowed the network."""
    from diffusers import StableDiffusionPipeline

    quiet()
    for local_only in [True, False] if online() else [True]:
        try:
            return Path(StableDiffusionPipeline.download(FAMILY[name], local_files_only=local_only))
        except (OSError, ValueError):  # the hub's errors for "not in the cache" and "not reachable"
            continue
    tried = "缓存 the cache, 网络 the network" if online() else "缓存 the cache; 加 HF_HUB_OFFLINE=0 才会下载 to download"
    raise PaidiffError(f"没有找到模型 {name} · no model {name} ({FAMILY[name]}); 试过 tried: {tried}")


def _pipeline_class(task):
    import diffusers

    if task not in TASKS:
        raise PaidiffError(f"没有这个任务 · no task {task}; 可选 choose from: {', '.join(TASKS)}")
    return getattr(diffusers, TASKS[task])


def load_control(control, name):
    """The ControlNet of that name or folder for the model `name`, or a list of them. Raises PaidiffError."""
    if isinstance(control, (list, tuple)):
        return [load_control(one, name) for one in control]
    from diffusers import ControlNetModel

    quiet()
    folder = Path(f"{MINI}-controlnet-{control}") if control in CONTROLS else Path(control).expanduser()
    if control in CONTROLS and name in FAMILY:
        folder = f"{FAMILY[name]}-controlnet-{control}"
    elif not (folder / "config.json").is_file():
        raise PaidiffError(
            f"没有找到 ControlNet {control} · no ControlNet {control}; 试过 tried: {folder}; "
            f"可用的名字 names: canny, 或一个文件夹 or a folder"
        )
    try:
        return ControlNetModel.from_pretrained(folder, dtype=_dtype(), local_files_only=not online())
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise PaidiffError(f"ControlNet 读不出来 · cannot read the ControlNet {folder}: {reason}") from error


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


def _dtype():
    """Weights are stored in half precision; a CPU computes in single precision."""
    import torch

    return torch.float16 if device() == "cuda" else torch.float32


def _from_pretrained(pipeline_class, folder, name, **parts):
    quiet()
    # The mini model cannot draw anything that would need a safety checker, and has none.
    extra = {"safety_checker": None, "requires_safety_checker": False} if name == "mini" else {}
    return pipeline_class.from_pretrained(folder, dtype=_dtype(), local_files_only=True, **extra, **parts)


def quiet():
    """No bars and no advice from the libraries: a notebook's stderr stays empty."""
    import diffusers.utils.logging
    import transformers.utils.logging

    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.disable_progress_bar()
        logging.set_verbosity_error()
