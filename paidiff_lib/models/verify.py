"""Is this folder whole, and is it safe to open? Asked of every model folder before a library opens it.

Only classes of diffusers and transformers, no code from the folder, no file outside it, safetensors before pickles, and
pickles only as plain weights. Reads headers and names, not the weights themselves: milliseconds, also for gigabytes.
"""

import json
import re
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

from ..errors import Refused, first_line

TORCH = (2, 10)  # the oldest that reads a pickle's weights safely: CVE-2025-32434, CVE-2026-24747
CHECKER = "safety_checker"
WEIGHTY = ("unet", "vae", "text_encoder", CHECKER)  # the components that hold weights
# Whole weights and shards, but no variants (.fp16., .non_ema.): the names a library opens if nothing else is asked for.
STEMS = "diffusion_pytorch_model|pytorch_model|model|pytorch_lora_weights"
WEIGHT = re.compile(rf"({STEMS})(-\d+-of-\d+)?\.(safetensors|bin)")
LORA_NAMES = ("pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin", "pytorch_model.bin")
MARKS = {"base": ["model_index.json"], "controlnet": ["config.json"], "lora": LORA_NAMES}  # what a folder is known by
OUTSIDE = "模型要读文件夹外面的东西,不打开", "refused, it leads out of the folder"
OWN_CODE = "模型要用自带的代码,不打开", "refused, it wants code of its own"
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
SHARED = ".huggingface-shared-blobs"  # the mark of huggingface_hub's own store
LFS = b"version https://git-lfs"  # how a pointer begins that git left in a file's place


def missing(folder, kind="base", safety_checker=False):
    """What a folder lacks to be a whole model, as text; None if nothing. Looks at names only.

    kind: "base" (a pipeline), "controlnet" or "lora". Raises Refused if model_index.json is no good.
    """
    if not has_mark(folder, kind):
        return MARKS[kind][0]
    if kind == "base":
        lacks = ((part, _lacks(folder / part, part in WEIGHTY)) for part in components(folder, safety_checker))
        return next((f"{part}/{lack}" for part, lack in lacks if lack), None)
    return _lacks(folder, weighty=True) if kind == "controlnet" else None


def has_mark(folder, kind):
    """True if a folder has the file that such a model is known by."""
    return any((folder / name).is_file() for name in MARKS[kind])


def components(folder, safety_checker=False):
    """{component: [library, class]} of model_index.json, empty ones left out; the safety checker only if asked for.

    Raises Refused for a file that is not such a list, and for a component outside the folder.
    """
    found = {
        part: value
        for part, value in _json(folder / "model_index.json").items()
        if isinstance(value, list) and any(value) and part[0] != "_" and (safety_checker or part != CHECKER)
    }
    for part in found:
        if not PLAIN.fullmatch(part):
            raise Refused(*OUTSIDE, f"{folder}: {part}")
    return found


def has_checker(folder):
    """True if the model was published with a safety checker."""
    return CHECKER in components(folder, safety_checker=True)


def check(folder, kind="base", safety_checker=False):
    """Raise Refused, one line, unless a base model's or ControlNet's folder is whole and safe to open.

    Returns True if safetensors alone are enough: no .bin is then to be opened.
    """
    folder = Path(folder)
    lack = missing(folder, kind, safety_checker)
    if lack:
        raise Refused("模型不完整", "the model is not whole", f"{folder}: 缺 missing: {lack}")
    parts = [folder]
    if kind == "base":
        _require_stock(folder, safety_checker)
        parts = [folder / part for part in components(folder, safety_checker)]
    for part in parts:
        _require_inside(part, _roots(folder))
        require_no_code(part)
    weighty = [part for part in parts if kind != "base" or part.name in WEIGHTY]
    safe_only = all(any(path.suffix == ".safetensors" for path in _weights(part)) for part in weighty)
    for path in [path for part in weighty for path in _weights(part)]:
        if path.suffix == ".safetensors" or not safe_only:
            require_readable(path)
    return safe_only


def require_readable(path):
    """Raise Refused if a weights' file is cut short or, for a pickle, holds anything but weights."""
    import torch
    from safetensors import SafetensorError, safe_open

    with suppress(OSError), open(path, "rb") as file:  # a file that cannot be read is refused below
        if file.read(len(LFS)) == LFS:
            raise Refused("只有 git-lfs 的指针,没有权重", "only a git-lfs pointer, no weights: git lfs pull", str(path))
    if path.suffix != ".safetensors":
        require_torch(path)
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt"):
                return  # it compares the length its header promises with the file's
        with warnings.catch_warnings(action="ignore"):  # of unusual pickles: they are refused below, in one line
            torch.load(path, weights_only=True, map_location="meta", mmap=zipfile.is_zipfile(path))
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, AttributeError, KeyError) as error:
        raise Refused("文件被截断或损坏", "cut short or damaged", f"{path}: {first_line(error)}") from error
    except Exception as error:  # pickle has no common error; torch's own for code in it is pickle.UnpicklingError
        # the rest of torch's message advises to open it all the same
        name = next(iter(re.findall(r"GLOBAL [\w.]+", str(error))), "?")
        reason = "文件里有代码,不打开;请用 safetensors", "refused, it holds code, use safetensors"
        raise Refused(*reason, f"{path}: {name}") from error


def require_torch(path):
    """Raise Refused if the installed torch is too old to open a pickle safely."""
    import torch

    version = tuple(map(int, re.findall(r"\d+", torch.__version__)[:2]))
    if version < TORCH:
        zh = f"torch {torch.__version__} 读 .bin 不安全,要 %d.%d 以上,或用 safetensors" % TORCH
        raise Refused(zh, "not safe for a .bin, update torch to %d.%d or take safetensors" % TORCH, str(path))


def read_weights(path):
    """{name: tensor} of a .safetensors file or a pickle, on the CPU. Raises Refused."""
    import torch
    from safetensors.torch import load_file

    require_readable(path)
    if path.suffix == ".safetensors":
        return load_file(path)
    state = torch.load(path, weights_only=True, map_location="cpu")
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise Refused("文件里不是一张权重表", "no table of weights", str(path))
    return state


def _lacks(part, weighty):
    if not part.is_dir() or not any(part.iterdir()):
        return "*"
    if weighty and not _weights(part):
        return "*.safetensors"
    if weighty and not (part / "config.json").is_file():
        return "config.json"
    return next((name for name in _shards(part) if not (part / name).is_file()), None)


def _require_stock(folder, safety_checker):
    """Only classes that the installed libraries bring: a list in place of a name means code from the folder."""
    import diffusers
    import transformers

    stock = {
        "diffusers": dir(diffusers),
        # not dir(), which takes half a second; and what published folders call CLIPImageProcessor: diffusers knows
        "transformers": {*vars(transformers)["__all__"], "CLIPFeatureExtractor"},
        "stable_diffusion": ["StableDiffusionSafetyChecker"],  # how every Stable Diffusion names its checker
    }
    pipeline = {"_class_name": ["diffusers", _json(folder / "model_index.json").get("_class_name")]}
    for part, value in {**pipeline, **components(folder, safety_checker)}.items():
        if len(value) != 2 or value[1] not in stock.get(str(value[0]), ()):
            raise Refused(*OWN_CODE, f"{folder}: {part}: {value}")


def _roots(folder):
    """Where a folder's files may lie: in it, or, for a snapshot of the hub's cache, which is links, in its repository and
    in what huggingface_hub 2 keeps once for all repositories of a cache.
    """
    folder = folder.resolve()
    if folder.parent.name != "snapshots" or not folder.parents[1].name.startswith("models--"):
        return [folder]
    shared = folder.parents[2] / "blobs"
    return [folder.parents[1]] + [shared] * (shared / SHARED).is_file()


def _require_inside(part, roots):
    for path in [part, *part.rglob("*")]:
        if not any(path.resolve().is_relative_to(root) for root in roots):
            raise Refused(*OUTSIDE, f"{path}")


def require_no_code(part):
    """Raise Refused if a component's folder names code, or another model."""
    if (part / "adapter_config.json").exists():  # names another model, which transformers would fetch as well
        raise Refused(*OUTSIDE, f"{part}/adapter_config.json")
    for path in part.glob("*.json"):
        if "auto_map" in _json(path):
            raise Refused(*OWN_CODE, f"{path}: auto_map")


def _weights(part):
    """The files of a component that a library would open for its weights."""
    return sorted(path for path in part.iterdir() if WEIGHT.fullmatch(path.name))


def _shards(part):
    """The files that the index files of a component name. Raises Refused for a name that is more than a name."""
    for index in part.glob("*.index.json"):
        listed = _json(index).get("weight_map")
        for name in sorted(set(map(str, listed.values()))) if isinstance(listed, dict) else []:
            if not PLAIN.fullmatch(name):
                raise Refused(*OUTSIDE, f"{index}: {name}")
            yield name


def _json(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"读不了 {path}", "cannot read it", first_line(error)) from error
    return content if isinstance(content, dict) else {}
