"""Downloads, against real servers on loopback that cut, hang, lie and refuse."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import conftest
import pytest
import torch
from fake_hub import FakeHub

import paidiff_lib
from paidiff_lib.models import download as hub, load as zoo, verify as safe
from paidiff_lib.models.registry import FAMILY

REPO = "alibaba-pai/pai-diffusion-artist-large-zh"
SCOPE = "PAI/pai-diffusion-artist-large-zh"
SNAPSHOTS = f"models/{SCOPE.replace('/', '--')}/snapshots"
UNET = "unet/diffusion_pytorch_model.safetensors"
CUT = 40_000  # bytes; the tiny UNet is three times as large


@pytest.fixture
def network(published, tmp_path, monkeypatch):
    """network(scope=..., mirror=..., hub=...) starts those servers, and sets the variables as a user would."""
    import huggingface_hub.constants

    started, home = [], tmp_path / "home"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(home))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "scope"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "600")  # a machine under load may be slow to answer

    def start(**wanted):
        servers = {}
        for place in ("scope", "mirror", "hub"):
            options = wanted.get(place, {"status": 404})
            servers[place] = FakeHub({REPO: published, SCOPE: published}, **options).__enter__()
        started.extend(servers.values())
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", servers["scope"].url)
        monkeypatch.setenv("HF_ENDPOINT", servers["mirror"].url)
        monkeypatch.setattr(hub, "HUB", servers["hub"].url)
        return servers

    start.target = home / "paidiff/alibaba-pai--pai-diffusion-artist-large-zh"
    yield start
    for server in started:
        server.__exit__()


def refused(words, call=lambda: zoo.find("artist-large")):
    return conftest.refused(words, call)


def test_modelscope_first_and_nothing_that_is_not_needed(network, published, capsys):
    servers = network(scope={}, mirror={}, hub={})
    pipe = paidiff_lib.load("artist-large")
    assert servers["mirror"].asked == servers["hub"].asked == []
    files = {path.relative_to(network.target).as_posix() for path in network.target.rglob("*") if path.is_file()}
    assert {"model_index.json", "README.md", UNET, "text_encoder/pytorch_model.bin", "tokenizer/vocab.txt"} <= files
    unwanted = ("safety_checker", "ckpt", "fp16", ".py", ".png", "unet/diffusion_pytorch_model.bin")
    assert [file for file in files for word in unwanted if word in file] == []
    for file in files:
        assert (network.target / file).read_bytes() == (published / file).read_bytes()
    said = capsys.readouterr().out
    size = sum((network.target / file).stat().st_size for file in files) / 1e6
    for word in (REPO, f"{len(files)} 个文件", f"{size:.2f} MB", "from ModelScope 127.0.0.1", "AIGC模型开源特别条款"):
        assert word in said, said
    assert "without the safety checker" in said and "safety checker not loaded" in said
    assert paidiff_lib.draw(pipe, "一只猫", steps=2).size == (64, 64) and pipe.safety_checker is None
    before = len(servers["scope"].asked)
    paidiff_lib.load(REPO)  # by hub id, and from the cache this time
    assert len(servers["scope"].asked) == before


@pytest.mark.parametrize("place", ["mirror", "hub"])
def test_then_the_mirror_then_the_hub(network, place):
    servers = network(**{place: {}})
    assert zoo.find("artist-large") == network.target
    order = ["scope", "mirror", "hub"]
    for earlier in order[: order.index(place)]:
        assert len(servers[earlier].asked) == 1
    assert servers[place].fetched()
    for later in order[order.index(place) + 1 :]:
        assert servers[later].asked == []


def test_all_that_was_tried_is_listed(network, monkeypatch):
    """The last server never answers: only the variable ends that."""
    servers = network(scope={"status": 404}, mirror={"status": 503}, hub={"hang": True})
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1")
    message = refused(["404", "mirror 127.0.0.1", "503", "1 秒没有回答 · no answer"])
    assert message.index("ModelScope") < message.index("mirror") < message.index("hub 127")
    assert [len(server.asked) for server in servers.values()] == [1, 1, 1]
    assert not network.target.exists()


def test_nobody_there(network, monkeypatch):
    network()
    for variable in ("MODELSCOPE_ENDPOINT", "HF_ENDPOINT"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setattr(hub, "HUB", "http://127.0.0.1:9")
    refused(["连不上 · cannot connect", "ModelScope 127.0.0.1:9"])


def test_a_broken_download_goes_on_where_it_broke(network, published):
    servers = network(scope={"cut": CUT, "cuts": 2})
    zoo.find("artist-large")
    ranges = [wanted for path, wanted in servers["scope"].asked if path.endswith(UNET)]
    assert ranges[0] is None and len(ranges) == 3
    starts = [int(wanted.removeprefix("bytes=").rstrip("-")) for wanted in ranges[1:]]
    assert 0 < starts[0] <= CUT and starts[0] < starts[1]
    assert (network.target / UNET).read_bytes() == (published / UNET).read_bytes()
    assert list(network.target.parent.glob(".*.part")) == []


def test_a_server_that_always_starts_again_and_breaks_is_given_up(network):
    network(scope={"cut": CUT, "cuts": 99, "ranges": False})
    refused(["连接断了 · the connection broke"])
    assert not network.target.exists() and zoo.at_hand("artist-large") is None


def test_a_server_without_ranges_is_asked_for_the_whole_file(network, published):
    network(scope={"cut": CUT, "ranges": False})
    zoo.find("artist-large")
    assert (network.target / UNET).read_bytes() == (published / UNET).read_bytes()


def test_a_wrong_hash_is_refused_and_removed(network):
    servers = network(scope={"lie": True}, mirror={"lie": True})
    message = refused(["wrong hash, removed", "404"])
    assert message.count("wrong hash") == 2
    assert not network.target.exists()
    assert [path for path in network.target.parent.rglob("*.bin*") if path.is_file()] == []
    assert len(servers["hub"].asked) == 1


DOWNLOAD = """
import sys, paidiff_lib
from paidiff_lib.models import download, load
download.HUB = sys.argv[1]
print(load.find("artist-large"))
"""


def test_a_killed_download_is_resumed_and_never_taken_for_a_model(network, published):
    """The server stops in mid-file and the process is killed with SIGKILL; the next process sends Range."""
    servers = network(scope={"cut": CUT})
    server = servers["scope"]
    environment = {**os.environ, "HF_HOME": str(network.target.parents[1])}
    command = [sys.executable, "-c", DOWNLOAD, servers["hub"].url]
    server.hold = UNET
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    written = lambda: any(part.stat().st_size for part in network.target.parent.rglob("*.safetensors.part"))
    while not (server.held and written()) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert server.held == UNET
    assert not network.target.exists() and zoo.at_hand("artist-large") is None
    part = next(network.target.parent.rglob("*.safetensors.part"))
    assert 0 < part.stat().st_size <= CUT
    done_before = set(server.fetched()[:-1])
    server.hold, server.asked = None, []
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert safe.check(network.target) is False  # the text encoder is a .bin
    again = dict((path, wanted) for path, wanted in server.asked)
    assert again[next(path for path in again if path.endswith(UNET))].startswith("bytes=")
    assert not done_before & set(server.fetched())  # what was whole is not fetched twice


def test_a_full_disk(network):
    """/dev/full is a real device that is always full."""
    network(scope={})
    staging = network.target.parent / f".{network.target.name}.{_label()}.part"
    (staging / "unet").mkdir(parents=True)
    (staging / f"{UNET}.part").symlink_to("/dev/full")
    refused(["cannot write, what has come is kept", "No space left on device"])
    assert not network.target.exists()
    (staging / f"{UNET}.part").unlink()
    assert zoo.find("artist-large") == network.target


def _label():
    import re

    return re.sub(r"[^A-Za-z0-9]+", "-", hub.sources(FAMILY["artist-large"])[0].label)


def test_a_disk_that_is_too_small_is_noticed_before(network, monkeypatch):
    servers = network(scope={})
    real = shutil.disk_usage(network.target.anchor)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=1000))
    refused(["disk too small"])
    assert servers["scope"].fetched() == []


def test_the_safety_checker_is_added_when_it_is_asked_for(network):
    servers = network(scope={})
    zoo.find("artist-large")
    servers["scope"].asked = []
    pipe = paidiff_lib.load("artist-large", safety_checker=True)
    assert type(pipe.safety_checker).__name__ == "StableDiffusionSafetyChecker"
    fetched = servers["scope"].fetched()
    assert len(fetched) == 2 and all("FilePath=safety_checker/" in path for path in fetched)
    assert paidiff_lib.load("artist-large").safety_checker is None


def test_offline_nothing_is_asked(network, monkeypatch):
    servers = network(scope={})
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(["HF_HUB_OFFLINE=0", "4.2 GB"])
    assert servers["scope"].asked == []


@pytest.mark.parametrize(
    "place",
    [f"models/{SCOPE}", f"hub/models/{SCOPE}", SCOPE, *(f"{SNAPSHOTS}/{r}" for r in ("master", "main", "v1.2"))],
)
def test_a_folder_of_the_modelscope_package_is_found(network, published, tmp_path, place):
    servers = network()
    shutil.copytree(published, tmp_path / "scope" / place)
    (tmp_path / "scope" / place).with_name("a-file").touch()  # is no revision
    assert zoo.find("artist-large") == tmp_path / "scope" / place
    assert servers["scope"].asked == []


def test_of_several_unnamed_revisions_none_is_guessed(network, published, tmp_path):
    network()
    for revision in ("v1", "v2"):
        shutil.copytree(published, tmp_path / "scope" / SNAPSHOTS / revision)
    assert zoo.at_hand("artist-large") is None


def hub_snapshot(published, home, commit="0123456789abcdef0123456789abcdef01234567"):
    """The hub library's cache of a model: links to blobs, as `hf download` leaves them."""
    repo = home / "hub" / f"models--{REPO.replace('/', '--')}"
    for path in (path for path in published.rglob("*") if path.is_file()):
        link = repo / "snapshots" / commit / path.relative_to(published)
        blob = repo / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(commit)
    return repo / "snapshots" / commit


def test_weights_in_the_store_that_repositories_of_a_cache_share_are_opened(network, published, tmp_path):
    shared_blobs = pytest.importorskip("huggingface_hub.utils._shared_blobs")
    network()
    snapshot = hub_snapshot(published, tmp_path / "home")
    blob = (snapshot / UNET).resolve()
    size = blob.stat().st_size
    assert shared_blobs.publish_blob_to_shared_store(
        blob_path=str(blob), xet_hash=blob.name, cache_dir=tmp_path / "home/hub", expected_size=size
    )
    assert blob.is_symlink() and blob.resolve().is_relative_to(tmp_path / "home/hub/blobs")
    assert zoo.find("artist-large") == snapshot
    assert paidiff_lib.load("artist-large").unet.config.sample_size
    (tmp_path / "home/hub/blobs/.huggingface-shared-blobs").unlink()  # any other folder of that name is outside
    refused(["leads out of the folder"], lambda: safe.check(snapshot))


def test_a_cached_folder_that_is_refused_is_named_and_the_next_is_taken(network, published, tmp_path, capsys):
    network()
    snapshot = hub_snapshot(published, tmp_path / "home")
    pointer = snapshot / UNET
    pointer.unlink()
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    assert zoo.at_hand("artist-large") is None
    said = capsys.readouterr().err
    assert "passed over" in said and "git lfs pull" in said and str(pointer) in said
    whole = tmp_path / "scope/models" / SCOPE
    shutil.copytree(published, whole)
    assert zoo.find("artist-large") == whole
    refused(["只有 git-lfs 的指针", "git lfs pull"], lambda: safe.check(snapshot))


def test_a_server_named_without_https(monkeypatch):
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "www.modelscope.ai/")
    monkeypatch.setenv("HF_ENDPOINT", "")
    scope, main = hub.sources(FAMILY["artist-large"])
    assert scope.url("a").startswith("https://www.modelscope.ai/api") and main.url("a").startswith(hub.HUB)


def test_doctor_says_what_is_at_hand_and_never_downloads(network, published, tmp_path, monkeypatch):
    from paidiff_app import doctor

    servers = network(scope={}, mirror={}, hub={})
    monkeypatch.setenv("PAIDIFF_MODEL", "artist-large")
    findings = list(doctor._models())
    missing = next(finding for finding in findings if finding.fault)
    assert "no model artist-large" in missing.text and "4.2 GB" in missing.advice
    assert any("at hand: 无 none" in finding.text for finding in findings)
    shutil.copytree(published, network.target)
    findings = list(doctor._models())
    assert not any(finding.fault for finding in findings)
    assert any("at hand: artist-large" in finding.text for finding in findings)
    (network.target / "unet/diffusion_pytorch_model.safetensors").unlink()
    (network.target / "unet/diffusion_pytorch_model.bin").unlink()
    assert any(finding.fault for finding in doctor._models())
    (network.target / "model_index.json").write_text("not JSON")
    assert any("at hand: 无 none" in finding.text for finding in doctor._models())
    assert [server.asked for server in servers.values()] == [[], [], []]


def test_half_a_snapshot_of_the_hub_library_is_not_taken_for_a_model(network, published, tmp_path):
    network()
    commit = "0123456789abcdef0123456789abcdef01234567"
    repo = tmp_path / "home/hub" / f"models--{REPO.replace('/', '--')}"
    shutil.copytree(published, repo / "snapshots" / commit)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text(commit)
    assert zoo.at_hand("artist-large")
    shutil.rmtree(repo / "snapshots" / commit / "vae")
    assert zoo.at_hand("artist-large") is None


def test_two_at_once(network):
    from filelock import FileLock

    network(scope={})
    network.target.parent.mkdir(parents=True)
    with FileLock(network.target.with_name(f".{network.target.name}.lock")):
        refused(["另一个程序正在下载 · another program"])


LISTING = """
import json, sys
from huggingface_hub import HfApi
files = [f for f in HfApi().list_repo_tree(sys.argv[1], recursive=True) if hasattr(f, "size") and hasattr(f, "lfs")]
print(json.dumps({f.path: [f.size, f.lfs and f.lfs.sha256] for f in files}))
"""


def test_the_servers_listing_reads_the_same_through_the_hubs_own_library(network, published):
    """So the imitation is a fair one."""
    servers = network(mirror={})
    environment = {**os.environ, "HF_ENDPOINT": servers["mirror"].url}
    done = subprocess.run([sys.executable, "-c", LISTING, REPO], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    mirror = hub.sources(FAMILY["artist-large"])[1]
    assert json.loads(done.stdout) == {path: list(file) for path, file in mirror.files().items()}


WHERE = [
    "unet/../../x.json",
    "/etc/x.json",
    "unet/..",
    "unet/.hidden.json",
    "unet/a\\b.json",
    "other/x.json",
    "unet/x.py",
]


@pytest.mark.parametrize("path", WHERE)
def test_a_listing_cannot_write_elsewhere(path):
    good = {"model_index.json": hub.File(2, None), "unet/diffusion_pytorch_model.bin": hub.File(2, None)}
    assert hub.needed({**good, path: hub.File(2, None)}, "base") == good


def test_weights_of_one_kind_only():
    names = ["model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    bins = ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"]
    index = {"model_index.json": hub.File(1, None)}
    both = {f"text_encoder/{name}": hub.File(1, None) for name in ["config.json", *names, *bins]}
    chosen = set(hub.needed({**index, **both}, "base"))
    assert chosen == {"model_index.json", "text_encoder/config.json", *(f"text_encoder/{name}" for name in names)}


def test_a_lora_is_downloaded_by_name_and_takes_effect(network, tiny, tmp_path, monkeypatch):
    plain = paidiff_lib.draw(tiny, "一只猫", steps=2)
    lora = paidiff_lib.LoRA(tiny, rank=2, seed=1)
    for parameter in lora.parameters().values():
        torch.nn.init.normal_(parameter)
    lora.save(tmp_path / "lora")
    tiny.unload_lora_weights()
    with FakeHub({FAMILY["artist-large-lora-poem"].repo: tmp_path / "lora"}) as server:
        network()
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        paidiff_lib.load_lora(tiny, "artist-large-lora-poem")
    assert paidiff_lib.draw(tiny, "一只猫", steps=2).tobytes() != plain.tobytes()


def test_a_controlnet_is_downloaded_with_its_model(network, published, tiny, tmp_path, monkeypatch):
    from diffusers import ControlNetModel

    small = ControlNetModel.from_unet(tiny.unet, conditioning_channels=3)
    small.save_pretrained(tmp_path / "net", safe_serialization=False)  # a .bin, as it was published
    repo = FAMILY["artist-large-controlnet-canny"].repo
    with FakeHub({repo: tmp_path / "net", REPO: published}) as server:
        network()
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        pipe = paidiff_lib.load("artist-large", "controlnet", control="canny")
    assert type(pipe.controlnet).__name__ == "ControlNetModel"
