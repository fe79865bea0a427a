"""Published models -> the official clients' own caches: from ModelScope, a mirror, or the hub, in this order.

The clients download (modelscope-hub, huggingface_hub): tokens, pages, waiting when a server says so and going on where
a line broke are theirs, and `from_pretrained(id)` finds what they fetched. Here stands what they lack: which files a
model needs, how much comes from where and under which licence before it comes, and hashes compared before it counts.
The file that a model is known by is fetched last, so half a download is never taken for a model.
"""

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ..errors import NotFound, PaidiffError, Refused, first_line
from ..files import digest
from .registry import CHECKER_GB
from .verify import CHECKER, LORA_NAMES, WEIGHT, check, missing

HUB = "https://huggingface.co"
MARK = {"base": "model_index.json", "controlnet": "config.json"}  # without it a folder is no model
PARTS = ("feature_extractor", "scheduler", "text_encoder", "tokenizer", "unet", "vae", CHECKER)
PAPERS = re.compile(r"README\.md|LICENSE(\.\w+)?")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(json|txt)")


class File(NamedTuple):
    """What a listing says of a file; sha256 is None where it does not say."""

    size: int
    sha256: str | None


class Source(NamedTuple):
    """A server through its client."""

    cache: Path  # where the client keeps its models
    files: Callable  # () -> its listing, {path: File}
    here: Callable  # path -> True if the client has that file already
    fetch: Callable  # {path: File} -> the folder that holds them then


class NotDelivered(Exception):
    """A source that did not deliver; the message is the reason, a few words."""


def online():
    """True if the user has allowed the network with HF_HUB_OFFLINE=0."""
    return os.environ.get("HF_HUB_OFFLINE", "1").lower() in ("0", "false", "no", "off", "")


def cached(model, safety_checker=False):
    """The folder of a model that is on this machine, whole and safe: ours, the hub library's or ModelScope's; else None.

    One that is whole and yet refused is named, with the reason, and the next place is looked at.
    """
    for folder in _caches(model):
        with suppress(PaidiffError):  # what is no model is passed over
            if folder.is_dir() and not missing(folder, model.kind, safety_checker):
                if model.kind == "lora" or not (reason := _refused(folder, model.kind, safety_checker)):
                    return folder
                print(f"不用这个缓存,接着找 · this cached folder is passed over: {reason}", file=sys.stderr, flush=True)
    return None


def sources(model):
    """[(label, function that opens the Source)], in the order to try. HF_ENDPOINT: a mirror; ModelScope's client has its own."""
    found = [("ModelScope", partial(_modelscope, model.modelscope))] if model.modelscope else []
    mirror = os.environ.get("HF_ENDPOINT") or HUB
    mirror = (mirror if "://" in mirror else f"https://{mirror}").rstrip("/")  # the hub's client wants it whole
    for endpoint in dict.fromkeys([mirror, HUB]):
        host = urlsplit(endpoint).netloc.rpartition("@")[2]
        label = f"{'hub' if endpoint == HUB else '镜像 mirror'} {host}"
        found.append((label, partial(_hub, endpoint, model.repo)))
    return found


def download(model, safety_checker=False):
    """Fetch what a model needs, from the first source that delivers. Returns its folder.

    Only called when the user has allowed the network. Raises PaidiffError, with every source and its reason.
    """
    tried = []
    for label, open_source in sources(model):
        try:
            with _client():
                return _download_from(open_source(), label, model, safety_checker)
        except NotDelivered as error:
            tried.append(f"{label}: {error}")
        except OSError as error:
            reason = "写不了,下载好的文件留着", "cannot write, the files that have come are kept for the next time"
            raise Refused(*reason, f"{error.filename or model.repo}: {error.strerror}") from error
    raise NotFound("没有下载到", f"could not download {model.repo}", f"试过 tried: {'; '.join(tried)}")


def needed(files, kind, safety_checker=False):
    """The part of a listing that a model needs to be opened, and its card with the licence. Raises NotDelivered.

    One kind of weights a folder: safetensors, or .bin where there are none.
    """
    mark = MARK.get(kind)
    places = [part for part in PARTS if safety_checker or part != CHECKER] if kind == "base" else [""]
    chosen = {path for path in files if path == mark or PAPERS.fullmatch(path)}
    for place in places:
        names = {path.rpartition("/")[2]: path for path in files if path.rpartition("/")[0] == place}
        best = ".safetensors" if any(WEIGHT.fullmatch(n) and n.endswith(".safetensors") for n in names) else ".bin"
        for name, path in names.items():
            plain = NAME.fullmatch(name) and (".index." not in name or f"{best}.index." in name)
            if plain or WEIGHT.fullmatch(name) and name.endswith(best):
                chosen.add(path)
    if mark and mark not in chosen or not any(path.endswith((".safetensors", ".bin")) for path in chosen):
        raise NotDelivered(f"没有 no {mark or LORA_NAMES[0]}")
    return {path: files[path] for path in sorted(chosen)}


def _refused(folder, kind, safety_checker):
    """Why a folder is not to be opened, one line; None if it is."""
    try:
        check(folder, kind, safety_checker)
    except PaidiffError as error:
        return str(error)
    return None


def _caches(model):
    from huggingface_hub import constants

    name = model.repo.replace("/", "--")
    yield Path(constants.HF_HOME) / "paidiff" / name  # where paidiff kept its downloads before the clients did
    repo = Path(constants.HF_HUB_CACHE) / f"models--{name}"
    yield from (repo / "snapshots" / ref.read_text().strip() for ref in [repo / "refs/main"] if ref.is_file())
    if model.modelscope:
        yield from _modelscope_caches(model.modelscope)


def _modelscope_caches(repo):
    """Where the modelscope client keeps a model: as snapshots (modelscope-hub 0.5), before that in one folder, also below hub/."""
    cache = Path(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope").expanduser()
    snapshots = cache / "models" / repo.replace("/", "--") / "snapshots"
    named = [snapshots / "master", snapshots / "main"]
    others = [path for path in snapshots.glob("*") if path.is_dir()]
    yield from [folder for folder in named if folder.is_dir()] or (others if len(others) == 1 else [])
    older = repo.replace(".", "___")  # as those clients wrote it
    yield from (base / place / older for base in (cache, cache / "hub") for place in ("models", ""))


def _modelscope(repo):
    from modelscope_hub import HubApi, HubConfig
    from modelscope_hub.errors import CacheNotFound

    api = HubApi(config := HubConfig())  # reads the environment now

    def files():
        listed = api.list_repo_files(repo, "model")
        return {file.path: File(file.size, file.sha256) for file in listed if file.type != "tree"}

    def here(path):
        try:
            return bool(api.download_file(repo, "model", path, local_files_only=True))
        except CacheNotFound:
            return False

    def fetch(files):
        listed = [{"Path": path, "Size": file.size, "Sha256": file.sha256} for path, file in files.items()]
        return api.download_repo(repo, "model", file_list=listed)

    return Source(config.cache_dir, files, here, fetch)


def _hub(endpoint, repo):
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.hf_api import RepoFile
    from tqdm.auto import tqdm

    api = HfApi(endpoint=endpoint)

    def files():
        listed = [file for file in api.list_repo_tree(repo, recursive=True) if isinstance(file, RepoFile)]
        return {file.path: File(file.size, file.lfs.sha256 if file.lfs else None) for file in listed}

    def here(path):
        return isinstance(try_to_load_from_cache(repo, path), str)

    def fetch(files):
        return Path(api.snapshot_download(repo, allow_patterns=list(files), tqdm_class=tqdm))

    return Source(Path(constants.HF_HUB_CACHE), files, here, fetch)


@contextmanager
def _client():
    """While a client works. What it raises becomes NotDelivered; a full disk and its like stay OSError."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False  # read at its import; allowed since
    try:
        yield
    except NotDelivered:
        raise
    except ImportError as error:
        raise NotDelivered(f"没有装 not installed: pip install {str(error.name).replace('_', '-')}") from error
    except Exception as error:  # the clients' errors have no class in common
        cause = next(iter(getattr(error, "failed_files", {}).values()), error)  # ModelScope's, of several files
        if isinstance(cause, OSError) and cause.errno:
            raise cause from error
        said = re.sub(r"//[^/\s]*@", "//", first_line(cause))  # never a password that stands in an address
        raise NotDelivered(f"{type(cause).__name__}: {said}") from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _download_from(source, label, model, safety_checker):
    """What a model needs, from one source. Returns its folder. Raises whatever a client raises, and NotDelivered."""
    files = needed(source.files(), model.kind, safety_checker)
    _announce(source, label, model, files, safety_checker)
    mark = {path: file for path, file in files.items() if path == MARK.get(model.kind)}
    rest = {path: file for path, file in files.items() if path not in mark}
    for _ in range(2):  # once more for what a cache held damaged
        folder = source.fetch(rest)
        wrong = [path for path, file in rest.items() if file.sha256 and digest(folder / path) != file.sha256.lower()]
        for path in wrong:
            (folder / path).resolve().unlink(missing_ok=True)  # in the hub's cache a link, and equal files are one
        if not wrong:
            break
    else:
        raise NotDelivered(f"哈希不对,已删掉 · wrong hash, removed: {wrong[0]}")
    if mark:
        source.fetch(mark)
    if lack := missing(folder, model.kind, safety_checker):
        raise NotDelivered(f"不完整 · not whole: {lack}")
    return folder


def _announce(source, label, model, files, safety_checker):
    """Say what is about to be downloaded, before it is. Raises OSError if the disk is too small."""
    left = sum(file.size for path, file in files.items() if not source.here(path))
    checker = ""
    if model.kind == "base" and not safety_checker:
        checker = f"不含安全检查器 without the safety checker ({CHECKER_GB} GB); "
    print(
        f"下载 · downloading {model.repo}: {len(files)} 个文件 files, {_amount(left)}, {checker}"
        f"从 from {label}, 到 into {source.cache}; 许可 licence: {model.notice}",
        flush=True,
    )
    source.cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(source.cache).free
    if free < left:
        raise OSError(errno.ENOSPC, f"磁盘不够 · disk too small: 要 {_amount(left)} needed, 剩 {_amount(free)} free")


def _amount(size):
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"
