"""Published models -> whole, verified folders: from ModelScope, a mirror, or the hub, in this order.

Written here and not left to the hub's own library, which knows no ModelScope, compares sizes but no hashes, decides
at its import whether it is offline, and leaves a folder that looks like a model when it is interrupted. Here a file is
compared with the listing's size and sha256, a broken download goes on where it stopped, and a folder has no name that
anybody would open until all of it is there.

APIs: https://www.modelscope.cn/api/v1/models/<id>/repo/files and /repo (as the modelscope package calls them),
https://huggingface.co/api/models/<id>/tree/main and /<id>/resolve/main/<path> (as huggingface_hub calls them).
"""

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from ..errors import NotFound, PaidiffError, Refused
from ..files import add_files, digest, replace_file, replace_folder
from .registry import CHECKER_GB
from .verify import CHECKER, LORA_NAMES, WEIGHT, check, missing

HUB = "https://huggingface.co"
MODELSCOPE = "https://www.modelscope.cn"
BLOCK = 2**14  # bytes; of a broken line less than this is lost
PARTS = ("feature_extractor", "scheduler", "text_encoder", "tokenizer", "unet", "vae", CHECKER)
PAPERS = re.compile(r"README\.md|LICENSE(\.\w+)?")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(json|txt)")


class File(NamedTuple):
    """What a listing says of a file; sha256 is None where it does not say."""

    size: int
    sha256: str | None


class Source(NamedTuple):
    """Where a model can come from: `files()` lists it, {path: File}; `url(path)` is where a file lies."""

    label: str
    files: Callable
    url: Callable


class NotDelivered(Exception):
    """A source that did not deliver; the message is the reason, a few words."""


def online():
    """True if the user has allowed the network with HF_HUB_OFFLINE=0."""
    return os.environ.get("HF_HUB_OFFLINE", "1").lower() in ("0", "false", "no", "off", "")


def home():
    """The folder of downloaded models: `paidiff` beside the hub's own cache, so HF_HOME moves both."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "paidiff"


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
    """Where to look, in order. Variables: MODELSCOPE_ENDPOINT, HF_ENDPOINT."""
    found = []
    if model.modelscope:
        found.append(_modelscope(_endpoint("MODELSCOPE_ENDPOINT", MODELSCOPE), model.modelscope))
    mirror = _endpoint("HF_ENDPOINT", HUB)
    return found + [_hub(endpoint, model.repo) for endpoint in dict.fromkeys([mirror, HUB])]


def download(model, safety_checker=False):
    """Fetch what a model needs, from the first source that delivers. Returns its folder.

    Only called when the user has allowed the network. Raises PaidiffError, with every source and its reason.
    """
    from filelock import FileLock, Timeout

    target = _target(model)
    tried = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock"), timeout=0):
            for source in sources(model):  # another process may have finished it while this one came here
                if (whole := cached(model, safety_checker)) is not None:
                    return whole
                try:
                    return _download_from(source, model, target, safety_checker)
                except NotDelivered as error:
                    tried.append(f"{source.label}: {error}")
    except Timeout as error:
        raise Refused("另一个程序正在下载", "another program is downloading it", model.repo) from error
    except OSError as error:
        reason = "写不了,下载好的部分留着,下次接着下", "cannot write, what has come is kept for the next time"
        raise Refused(*reason, f"{target.parent}: {error.strerror or error}") from error
    raise NotFound("没有下载到", f"could not download {model.repo}", f"试过 tried: {'; '.join(tried)}")


def needed(files, kind, safety_checker=False):
    """The part of a listing that a model needs to be opened, and its card with the licence. Raises NotDelivered.

    One kind of weights a folder: safetensors, or .bin where there are none.
    """
    mark = {"base": "model_index.json", "controlnet": "config.json"}.get(kind)
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
    return {path: files[path] for path in chosen}


def _refused(folder, kind, safety_checker):
    """Why a folder is not to be opened, one line; None if it is."""
    try:
        check(folder, kind, safety_checker)
    except PaidiffError as error:
        return str(error)
    return None


def _caches(model):
    from huggingface_hub import constants

    yield _target(model)
    repo = Path(constants.HF_HUB_CACHE) / f"models--{model.repo.replace('/', '--')}"
    yield from (repo / "snapshots" / ref.read_text().strip() for ref in [repo / "refs/main"] if ref.is_file())
    if model.modelscope:
        yield from _modelscope_caches(model.modelscope)


def _modelscope_caches(repo):
    """Where the modelscope client keeps a model: as snapshots (modelscope-hub 0.5), before that in one folder, also below hub/."""
    cache = Path(os.environ.get("MODELSCOPE_CACHE", "~/.cache/modelscope")).expanduser()
    snapshots = cache / "models" / repo.replace("/", "--") / "snapshots"
    named = [snapshots / "master", snapshots / "main"]
    others = [path for path in snapshots.glob("*") if path.is_dir()]
    yield from [folder for folder in named if folder.is_dir()] or (others if len(others) == 1 else [])
    older = repo.replace(".", "___")  # as those clients wrote it
    yield from (base / place / older for base in (cache, cache / "hub") for place in ("models", ""))


def _target(model):
    return home() / model.repo.replace("/", "--")


def _modelscope(endpoint, repo):
    place = f"{endpoint}/api/v1/models/{repo}/repo"

    def files():
        listed = _get_json(f"{place}/files?Revision=master&Recursive=true")["Data"]["Files"]
        return {f["Path"]: File(int(f["Size"]), f.get("Sha256") or None) for f in listed if f.get("Type") != "tree"}

    url = lambda path: f"{place}?Revision=master&FilePath={quote(path, safe='')}"
    return Source(f"ModelScope {_host(endpoint)}", files, url)


def _hub(endpoint, repo):
    def files():
        listed = _get_json(f"{endpoint}/api/models/{repo}/tree/main?recursive=true&expand=false")
        return {f["path"]: File(f["size"], (f.get("lfs") or {}).get("oid")) for f in listed if f["type"] == "file"}

    label = "hub" if endpoint == HUB else "镜像 mirror"
    return Source(f"{label} {_host(endpoint)}", files, lambda path: f"{endpoint}/{repo}/resolve/main/{quote(path)}")


def _endpoint(variable, default):
    """A server's address from the environment; https:// where only a host is said, as the clients of today read it."""
    address = os.environ.get(variable) or default
    return (address if "://" in address else f"https://{address}").rstrip("/")


def _host(endpoint):
    return urlsplit(endpoint).netloc.rpartition("@")[2]  # never a password that somebody put there


def _download_from(source, model, target, safety_checker):
    """All files of one source into its own staging folder, which then becomes the target. Raises NotDelivered, OSError."""
    from tqdm.auto import tqdm

    try:
        files = needed(source.files(), model.kind, safety_checker)
    except (KeyError, TypeError, AttributeError) as error:
        raise NotDelivered("答非所问 · not the answer of such a server") from error
    # Per source: the same name may hold other bytes elsewhere, and files of two sources must never be mixed.
    staging = target.with_name(f".{target.name}.{re.sub(r'[^A-Za-z0-9]+', '-', source.label)}.part")
    files = {path: file for path, file in files.items() if not (target / path).is_file()}
    staging.mkdir(exist_ok=True)
    here = {path for path, file in files.items() if _matches(staging / path, file)}
    left = sum(file.size - _size(_part(staging / path)) for path, file in files.items() if path not in here)
    _announce(source, model, target, files, left, safety_checker)
    with tqdm(total=left, unit="B", unit_scale=True, desc=target.name, leave=False) as bar:
        for path in sorted(set(files) - here):
            _fetch(source.url(path), staging / path, files[path], bar)
    if target.exists():
        add_files(staging, target, sorted(files))
    elif lack := missing(staging, model.kind, safety_checker):
        raise NotDelivered(f"不完整 · not whole: {lack}")
    else:
        replace_folder(staging, target)
    for other in target.parent.glob(f".{target.name}.*.part"):
        shutil.rmtree(other)
    return target


def _announce(source, model, target, files, left, safety_checker):
    """Say what is about to be downloaded, before it is."""
    checker = ""
    if model.kind == "base" and not safety_checker:
        checker = f"不含安全检查器 without the safety checker ({CHECKER_GB} GB); "
    print(
        f"下载 · downloading {model.repo}: {len(files)} 个文件 files, {_amount(left)}, {checker}"
        f"从 from {source.label}, 到 into {target}; 许可 licence: {model.notice}",
        flush=True,
    )
    free = shutil.disk_usage(target.parent).free
    if free < left:
        raise OSError(errno.ENOSPC, f"磁盘不够 · disk too small: 要 {_amount(left)} needed, 剩 {_amount(free)} free")


def _amount(size):
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"


def _fetch(url, path, file, bar):
    """One file, verified. As long as each try brings something, a broken line is tried again from where it broke."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _part(path)
    if _size(part) > file.size:
        part.unlink()
    most = -1
    while _size(part) < file.size or not part.exists():
        if _size(part) <= most:
            raise NotDelivered(f"连接断了 · the connection broke: {path.name}, {_size(part)} / {file.size} B")
        most = _size(part)
        _continue(url, part, file, bar)
    if file.sha256 and digest(part) != file.sha256.lower():
        part.unlink()
        raise NotDelivered(f"哈希不对,已删掉 · wrong hash, removed: {path.name}")
    replace_file(part, path)


def _continue(url, part, file, bar):
    """Add to `part` what the server sends from there on. A broken connection is no error: the caller looks at the size."""
    import requests

    have = _size(part)
    with _get(url, {"Range": f"bytes={have}-"} if have else {}) as answer:
        if have and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0  # the server begins again
        with open(part, "ab" if have else "wb") as out:
            try:
                for block in answer.iter_content(BLOCK):
                    out.write(block)
                    have += len(block)
                    bar.update(len(block))
                    if have > file.size:
                        raise NotDelivered(f"比清单里的大 · larger than listed: {part.stem}")
            except requests.RequestException:  # broken or silent: the caller sees how far it came
                pass


def _get(url, headers=None):
    """The open answer of a server. Raises NotDelivered."""
    import requests

    seconds = int(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", 30))  # of silence, not of the whole
    try:
        # identity: a compressed answer has other bytes than the listing's size and hash
        headers = {"Accept-Encoding": "identity", **(headers or {})}
        answer = requests.get(url, headers=headers, stream=True, timeout=seconds)
    except requests.Timeout as error:
        raise NotDelivered(f"{seconds} 秒没有回答 · no answer in {seconds} s") from error
    except requests.RequestException as error:
        raise NotDelivered(f"连不上 · cannot connect: {type(error).__name__}") from error
    if answer.status_code not in (200, 206):
        answer.close()
        raise NotDelivered(f"HTTP {answer.status_code}")
    return answer


def _get_json(url):
    import requests

    try:
        with _get(url) as answer:
            return answer.json()
    except requests.RequestException as error:  # broken off, or not JSON
        raise NotDelivered(f"清单读不出来 · cannot read the listing: {type(error).__name__}") from error


def _matches(path, file):
    """True if a file of an earlier, interrupted download is the listed one."""
    return _size(path) == file.size and path.is_file() and (not file.sha256 or digest(path) == file.sha256.lower())


def _part(path):
    return path.with_name(path.name + ".part")


def _size(path):
    return path.stat().st_size if path.is_file() else 0
