"""Names -> folders -> stock diffusers pipelines. Offline first."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from ..arguments import explicit
from ..environment import DEFAULTS
from ..errors import NotFound, Refused, unknown
from ..files import data_folder
from .opening import opening
from .registry import CHECKER_GB, names, published, short_name
from .save import require_finite
from .verify import WEIGHTY, check, components, has_checker, has_mark

MINI = "models/paidiff-mini-zh"  # below the data folder
EXPORT_MARK = "export.json"  # what a folder of `paidiff export` is known by
CONTROLS = ("canny", "depth")  # published beside the real family; the small model has the first
ALIGNED = 64  # bytes: where torch puts what it makes itself
KINDS = {"base": ("模型", "model"), "controlnet": (" ControlNet", "ControlNet"), "lora": (" LoRA", "LoRA")}
TASKS = {
    "text2img": "StableDiffusionPipeline",
    "img2img": "StableDiffusionImg2ImgPipeline",
    "inpaint": "StableDiffusionInpaintPipeline",
    "controlnet": "StableDiffusionControlNetPipeline",
}


@explicit(model="name", controlnet="control")
def load(
    name: str | Path | None = None, task: str = "text2img", control: Any = "canny", safety_checker: bool = False
) -> Any:
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
    if task not in TASKS:
        raise unknown("任务", "task", task, TASKS)
    if Path(name).expanduser().is_file():
        en = "a single-file checkpoint is not opened here: open it with diffusers' from_single_file, save_pretrained(folder)"
        raise Refused("单文件模型这里不打开,先用 diffusers 存成文件夹", en, f"{name}; load(文件夹 folder)")
    folder = find(name, safety_checker=safety_checker)  # before diffusers is imported: a wrong name is said at once
    safe_only = check(folder, safety_checker=safety_checker)
    parts = {"controlnet": load_control(control, name)} if task == "controlnet" else {}
    parts |= _checker(folder, safety_checker)
    with opening(f"模型 {name} 读不出来", f"cannot read model {name}", folder):
        import diffusers

        for part, (library, kind) in components(folder).items():
            if part in WEIGHTY:
                parts[part] = _whole(getattr(import_module(library), kind), folder, safe_only, subfolder=part)
        pipe = getattr(diffusers, TASKS[task]).from_pretrained(folder, **_settings(safe_only), **parts)
    check_controls(pipe)
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
    with opening("ControlNet 读不出来", "cannot read the ControlNet", folder):
        from diffusers import ControlNetModel

        return _whole(ControlNetModel, folder, safe_only)


def _whole(kind, folder, safe_only, **where):
    """A network of that class. Raises Refused if a weight is missing, left over or not finite: the libraries only log it."""
    network, found = kind.from_pretrained(folder, output_loading_info=True, **_settings(safe_only), **where)
    place = "/".join(map(str, (folder, *where.values())))
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found[what]:
            zh, en = "权重文件与模型对不上", "the file of weights does not fit the model"
            raise Refused(zh, en, f"{place}: {what}: {len(found[what])}, {sorted(map(str, found[what]))[0]}")
    require_finite(network.state_dict(), place)
    for weight in network.parameters():
        if weight.data_ptr() % ALIGNED:  # it lies in the file: torch would round otherwise than with the weights saved
            weight.data = weight.data.clone()
    return network


def model_name(name=None):
    """The name asked for, else PAIDIFF_MODEL, else "mini"."""
    return str(name or os.environ.get("PAIDIFF_MODEL") or "mini")


def find(name, kind="base", safety_checker=False):
    """The folder of a model, as a Path; downloaded if need be and the user has allowed the network.

    In order: a local folder, embedded, the caches, ModelScope, the mirror, the hub. safety_checker: it must be there too.
    kind: "base", "controlnet" or "lora". Raises NotFound, which lists what was tried.
    """
    if is_export(name):
        zh, en = (
            "导出的模型只能画,别的用原来的模型",
            "an exported model only draws (open_model, paidiff draw), use the model itself",
        )
        raise Refused(zh, en, str(name))
    if (folder := at_hand(name, kind, safety_checker)) is not None:
        return folder
    model = published(name, kind)
    if model is None:
        raise _no_such(name, kind)
    from .download import download, online

    if online():
        return download(model, safety_checker)
    gigabytes = model.gigabytes + (CHECKER_GB if safety_checker else 0)
    tried = "试过 tried: 本地文件夹 a local folder, 缓存 the caches"
    advice = f"加 HF_HUB_OFFLINE=0 才会下载 to download, 约 about {gigabytes:.1f} GB"
    raise NotFound(f"没有找到模型 {name}", f"no model {name} ({model.repo})", f"{tried}; {advice}")


def at_hand(name, kind="base", safety_checker=False):
    """The folder of a model that is on this machine, else None. Never uses the network."""
    folder = Path(name).expanduser()
    if has_mark(folder, kind):
        return folder
    if name == "mini" and kind == "base":
        mini = data_folder() / MINI
        return mini if has_mark(mini, kind) else None
    if model := published(name, kind):
        from .download import cached

        return cached(model, safety_checker)
    return None


def is_export(folder):
    """True if `folder` holds a model of `paidiff export`, which draws without torch."""
    return (Path(folder).expanduser() / EXPORT_MARK).is_file()


def device():
    """ "cuda" where there is a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _no_such(name, kind):
    zh, en = KINDS[kind]
    places = [str(Path(name).expanduser()), *([str(data_folder() / MINI)] if name == "mini" else [])]
    known = ", ".join((["mini"] if kind == "base" else []) + names(kind))
    detail = f"试过 tried: {', '.join(places)}; 已知的名字 known names: {known}, 或一个文件夹 or a folder"
    return NotFound(f"没有找到{zh} {name}", f"no {en} {name}", detail)


def _find_control(control, name):
    """The folder of a ControlNet: a model's own stands beside it under its name, as on the hub. Raises NotFound."""
    if control not in CONTROLS:
        return find(control, "controlnet")
    base = short_name(name)
    beside = f"{base or Path(name).expanduser()}-controlnet-{control}"
    if not base and not at_hand(beside, "controlnet"):
        beside = f"{data_folder() / MINI}-controlnet-{control}"
    return find(beside, "controlnet")


def _checker(folder, wanted):
    """What to tell diffusers about the safety checker, and the user, where the model was published with one."""
    has_one = has_checker(folder)
    if wanted and not has_one:
        raise NotFound("这个模型没有安全检查器", "this model has no safety checker", str(folder))
    if wanted:
        return {}
    if has_one:
        print("没有装载安全检查器,要就写 · safety checker not loaded; to have it: load(..., safety_checker=True)")
    return {"safety_checker": None, "requires_safety_checker": False}


def check_controls(pipe):
    """Raise Refused if a ControlNet was made for another model."""
    nets = getattr(pipe, "controlnet", None)
    for net in getattr(nets, "nets", [nets] if nets else []):
        for size in ("in_channels", "block_out_channels", "cross_attention_dim"):
            theirs, ours = (str(part.config[size]).strip("[()]") for part in (net, pipe.unet))
            if theirs != ours:
                found = f"{size} {theirs}, {ours}"
                raise Refused("这个 ControlNet 是给别的模型的", "this ControlNet is for another model", found)


def _settings(safe_only):
    """Weights are stored in half precision; a CPU computes in single precision. No pickle where safetensors suffice."""
    import torch

    dtype = torch.float16 if device() == "cuda" else torch.float32
    return {"dtype": dtype, "local_files_only": True, "use_safetensors": True if safe_only else None}
