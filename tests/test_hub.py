"""Downloads by the official clients, from real servers on loopback that cut, lie, refuse and send elsewhere."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest
import torch
from fake_hub import SMALL, FakeHub

import paidiff_lib
from paidiff_lib.models import download as hub, load as zoo, verify as safe
from paidiff_lib.models.registry import FAMILY

REPO = "alibaba-pai/pai-diffusion-artist-large-zh"
SCOPE = "PAI/pai-diffusion-artist-large-zh"
SNAPSHOTS = f"models/{SCOPE.replace('/', '--')}/snapshots"
UNET = "unet/diffusion_pytorch_model.safetensors"
CUT = 40_000  # bytes; the tiny UNet is three times as large
PIECE = 2**12  # bytes that a client reads at a time


@pytest.fixture
def network(published, tmp_path, monkeypatch, waits):
    """network(scope=..., mirror=..., hub=...) starts those servers, and sets the variables as a user would."""
    import huggingface_hub.constants
    import modelscope_hub.config

    started, home = [], tmp_path / "home"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(home))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(modelscope_hub.config, "_default_config", None)
    for variable, value in environment(tmp_path).items():
        monkeypatch.setenv(variable, value)

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

    start.old = home / "paidiff/alibaba-pai--pai-diffusion-artist-large-zh"
    start.folder = {"scope": tmp_path / "scope" / SNAPSHOTS / "master"}
    repo = home / "hub" / f"models--{REPO.replace('/', '--')}"
    start.folder |= dict.fromkeys(("mirror", "hub"), repo / "snapshots" / FakeHub({REPO: published}).commit(REPO))
    yield start
    for server in started:
        server.__exit__()


def environment(folder):
    """The variables of one who may download, and whose caches are below `folder`."""
    places = {"HF_HOME": folder / "home", "MODELSCOPE_CACHE": folder / "scope", "MODELSCOPE_HOME": folder / "login"}
    return {"HF_HUB_OFFLINE": "0", **{variable: str(place) for variable, place in places.items()}}


@pytest.fixture
def waits(monkeypatch):
    """The seconds that a client would have waited. And the clients read in small pieces, for these files are small."""
    import huggingface_hub.constants
    import modelscope_hub._download
    import tqdm

    waited = []
    clock = SimpleNamespace(**{**vars(time), "sleep": waited.append})
    for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download", "modelscope_hub._legacy_api"):
        monkeypatch.setattr(f"{module}.time", clock)
    monkeypatch.setattr(modelscope_hub._download._DownloadControl, "sleep", lambda _, seconds: waited.append(seconds))
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", PIECE)
    monkeypatch.setattr(modelscope_hub._download, "DOWNLOAD_CHUNK_SIZE", PIECE)
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)  # its thread may stumble over bars that come and go
    return waited


def refused(words, call=lambda: zoo.find("artist-large")):
    return conftest.refused(words, call)


def test_modelscope_first_and_nothing_that_is_not_needed(network, published, capsys):
    servers = network(scope={}, mirror={}, hub={})
    folder = network.folder["scope"]
    pipe = paidiff_lib.load("artist-large")
    assert servers["mirror"].asked == servers["hub"].asked == []
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"model_index.json", "README.md", UNET, "text_encoder/pytorch_model.bin", "tokenizer/vocab.txt"} <= files
    unwanted = ("safety_checker", "ckpt", "fp16", ".py", ".png", "unet/diffusion_pytorch_model.bin")
    assert [file for file in files for word in unwanted if word in file] == []
    for file in files:
        assert (folder / file).read_bytes() == (published / file).read_bytes()
    assert servers["scope"].fetched()[-1] == "model_index.json"  # what it is known by comes last
    said = capsys.readouterr().out
    size = sum((folder / file).stat().st_size for file in files) / 1e6
    for word in (REPO, f"{len(files)} 个文件", f"{size:.2f} MB", "from ModelScope", "AIGC模型开源特别条款"):
        assert word in said, said
    assert "without the safety checker" in said and "safety checker not loaded" in said
    assert paidiff_lib.draw(pipe, "一只猫", steps=2).size == (64, 64) and pipe.safety_checker is None
    before = len(servers["scope"].asked)
    paidiff_lib.load(REPO)  # by hub id, and from the cache this time
    assert len(servers["scope"].asked) == before


@pytest.mark.parametrize("place", ["mirror", "hub"])
def test_then_the_mirror_then_the_hub(network, place):
    from huggingface_hub import hf_hub_download

    servers = network(**{place: {}})
    assert zoo.find("artist-large") == network.folder[place]
    order = ["scope", "mirror", "hub"]
    for earlier in order[: order.index(place)]:
        assert servers[earlier].asked and not servers[earlier].sent
    assert servers[place].fetched()[-1] == "model_index.json"
    for later in order[order.index(place) + 1 :]:
        assert servers[later].asked == []
    shared = hf_hub_download(REPO, UNET, local_files_only=True)  # what from_pretrained(id) would open
    assert shared == str(network.folder[place] / UNET)


def test_all_that_was_tried_is_listed(network, monkeypatch):
    servers = network(scope={"status": 404}, mirror={"status": 503}, hub={"status": 401})
    monkeypatch.setenv("HF_ENDPOINT", servers["mirror"].url.replace("//", "//me:secret@"))
    message = refused(["404", "mirror 127.0.0.1", "503", "401"])
    assert message.index("ModelScope") < message.index("mirror") < message.index("hub 127")
    assert "secret" not in message
    assert zoo.at_hand("artist-large") is None


def test_nobody_there(network, monkeypatch):
    """And an address without https:// is one with it."""
    network()
    for variable in ("MODELSCOPE_ENDPOINT", "HF_ENDPOINT"):
        monkeypatch.setenv(variable, "127.0.0.1:9")
    monkeypatch.setattr(hub, "HUB", "http://127.0.0.1:9")
    message = refused(
        ["ModelScope: NetworkError", "HTTPSConnectionPool", "mirror 127.0.0.1:9: ConnectError", "hub 127"]
    )
    assert "\n" not in message
    assert hub.sources(FAMILY["artist-large"])[1][1].args[0] == "https://127.0.0.1:9"


def test_without_modelscopes_client_one_line_says_so_and_the_hub_is_asked(network, monkeypatch):
    network(scope={}, hub={"status": 404})
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    refused(["ModelScope: 没有装 not installed: pip install modelscope-hub; 镜像 mirror 127"])


@pytest.mark.parametrize("place", ["scope", "hub"])
def test_a_broken_download_goes_on_where_it_broke(network, published, place):
    servers = network(**{place: {"cut": CUT, "cuts": 2}})
    assert zoo.find("artist-large") == network.folder[place]
    starts = [start for path, start in servers[place].sent if path == UNET]
    assert len(starts) == 3 and 0 == starts[0] < starts[1] <= CUT and starts[1] < starts[2]
    assert (network.folder[place] / UNET).read_bytes() == (published / UNET).read_bytes()


@pytest.mark.parametrize("place", ["scope", "hub"])
def test_pages_redirects_and_a_server_that_is_busy(network, published, place, waits):
    """308 absolute for everything, 307 relative for small files of the hub, 302 to another host for large ones."""
    servers = network(**{place: {"page": 4, "moved": True, "busy": 2}})
    assert zoo.find("artist-large") == network.folder[place]
    for path in servers[place].fetched():
        assert (network.folder[place] / path).read_bytes() == (published / path).read_bytes()
    assert len([second for second in waits if second >= 7]) == 2, waits
    assert (UNET, 0) in servers[place].sent and any(asked.elsewhere for asked in servers[place].asked)
    may_be_packed = [
        "gzip" in asked.headers["accept-encoding"] for asked in servers[place].asked if SMALL in asked.path
    ]
    assert any(may_be_packed) or place == "scope"  # ModelScope's client wants the plain bytes


@pytest.mark.parametrize("place, variable", [("scope", "MODELSCOPE_API_TOKEN"), ("hub", "HF_TOKEN")])
def test_the_clients_bring_the_users_token_and_show_it_to_no_other_host(network, monkeypatch, place, variable):
    servers = network(**{place: {"token": "secret"}})
    refused(["401"] if place == "hub" else ["Authentication"])
    monkeypatch.setenv(variable, "secret")
    assert zoo.find("artist-large") == network.folder[place]
    elsewhere = [asked.headers for asked in servers[place].asked if asked.elsewhere]
    assert elsewhere and not any("authorization" in headers for headers in elsewhere)
    assert any(asked.headers.get("authorization") == "Bearer secret" for asked in servers[place].asked)


def test_a_server_that_always_starts_again_and_breaks_is_given_up(network):
    network(scope={"cut": CUT, "cuts": 99, "ranges": False})
    refused(["ModelScope: "])
    assert zoo.at_hand("artist-large") is None


@pytest.mark.parametrize("place", ["scope", "hub"])
def test_a_server_without_ranges_is_asked_for_the_whole_file(network, published, place):
    network(**{place: {"cut": CUT, "ranges": False}})
    zoo.find("artist-large")
    assert (network.folder[place] / UNET).read_bytes() == (published / UNET).read_bytes()


def test_a_wrong_hash_is_refused_and_removed(network):
    network(scope={"lie": True}, mirror={"lie": True}, hub={"lie": True})
    message = refused(["ModelScope: FileIntegrityError: ", "Hash mismatch"])
    assert message.count("wrong hash, removed") == 2
    assert zoo.at_hand("artist-large") is None
    for folder in network.folder.values():
        assert [path for path in folder.rglob("*.bin*") if path.is_file()] == []
    network(hub={})
    assert zoo.find("artist-large") == network.folder["hub"]


def test_what_a_cache_holds_damaged_is_named_and_fetched_anew(network, published, capsys):
    servers = network(hub={})
    folder = zoo.find("artist-large")
    os.truncate((folder / UNET).resolve(), 1000)
    servers["hub"].sent.clear()
    assert zoo.find("artist-large") == folder and servers["hub"].fetched() == [UNET]
    assert "passed over" in (said := capsys.readouterr().err) and str(folder / UNET) in said
    assert (folder / UNET).read_bytes() == (published / UNET).read_bytes()


DOWNLOAD = f"""
import resource, sys
import huggingface_hub.constants, modelscope_hub._download
from paidiff_lib.models import download, load
huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = modelscope_hub._download.DOWNLOAD_CHUNK_SIZE = {PIECE}
download.HUB = sys.argv[1]
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    print(load.find("artist-large"))
except download.PaidiffError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def downloading(network):
    """downloading(servers, *arguments): a process of its own that downloads."""

    def start(servers, *arguments):
        command = [sys.executable, "-c", DOWNLOAD, servers["hub"].url, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


@pytest.mark.parametrize("place", ["scope", "hub"])
def test_a_killed_download_is_resumed_and_never_taken_for_a_model(network, downloading, tmp_path, place):
    """The server stops in mid-file and the process is killed with SIGKILL. ModelScope's client goes on in that file, the
    hub's begins it again; what was whole neither fetches twice."""
    servers = network(**{place: {"cut": CUT}})
    server = servers[place]
    server.hold = UNET
    process = downloading(servers)
    parts = lambda: [part.stat().st_size for part in tmp_path.rglob("*.incomplete")]
    written = lambda: all(parts() or [0])  # also what was sent last
    while not (server.held and written()) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert server.held == UNET
    assert zoo.at_hand("artist-large") is None and not (network.folder[place] / "model_index.json").exists()
    whole = {path.relative_to(network.folder[place]).as_posix() for path in network.folder[place].rglob("*")}
    server.hold, server.sent = None, []
    finished = downloading(servers)
    out, err = finished.communicate()
    assert finished.returncode == 0, err
    assert safe.check(network.folder[place]) is False  # the text encoder is a .bin
    assert out.splitlines()[-1] == str(network.folder[place])
    again = dict(server.sent)
    assert 0 < again[UNET] <= CUT if place == "scope" else again[UNET] == 0
    assert whole & set(again) == set()  # what was whole is not fetched twice


def test_a_server_that_refuses_to_go_on_in_a_file(network):
    """ModelScope's client asks for the rest of what lies there, is answered 416, and begins the file again."""
    server = network(scope={"ranges": "refused"})["scope"]
    part = network.folder["scope"] / f"{UNET}.incomplete"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(CUT))
    assert zoo.find("artist-large") == network.folder["scope"]
    assert {one.headers["range"] for one in server.asked if "range" in one.headers} == {f"bytes={CUT}-"}
    assert dict(server.sent)[UNET] == 0 and not part.exists()


def test_a_full_disk(network):
    """/dev/full is a real device that is always full."""
    servers = network(scope={})
    part = network.folder["scope"] / f"{UNET}.incomplete"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    refused(["cannot write, the files that have come are kept", "No space left on device"])
    assert zoo.at_hand("artist-large") is None
    part.unlink()
    servers["scope"].sent.clear()
    assert zoo.find("artist-large") == network.folder["scope"]
    assert servers["scope"].fetched() == [UNET, "model_index.json"]


def test_a_file_that_cannot_be_written(network, downloading):
    """The system lets the process write so many bytes a file and no more."""
    process = downloading(network(hub={}), str(CUT))
    _, said = process.communicate()
    assert process.returncode == 1 and "Traceback" not in said, said
    assert "cannot write, the files that have come are kept" in said and "File too large" in said
    assert zoo.at_hand("artist-large") is None
    assert zoo.find("artist-large") == network.folder["hub"]


@pytest.mark.parametrize("place", ["scope", "hub"])
def test_two_at_once_fetch_each_file_once(network, downloading, place):
    servers = network(**{place: {}})
    for process in [downloading(servers), downloading(servers)]:
        out, err = process.communicate()
        assert process.returncode == 0 and out.splitlines()[-1] == str(network.folder[place]), err
    assert len(servers[place].fetched()) == len(set(servers[place].fetched()))


def test_a_disk_that_is_too_small_is_noticed_before(network, monkeypatch):
    servers = network(scope={})
    real = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real._replace(free=1000))
    refused(["disk too small"])
    assert servers["scope"].sent == []


def test_the_safety_checker_is_added_when_it_is_asked_for(network):
    servers = network(scope={})
    zoo.find("artist-large")
    servers["scope"].sent = []
    pipe = paidiff_lib.load("artist-large", safety_checker=True)
    assert type(pipe.safety_checker).__name__ == "StableDiffusionSafetyChecker"
    fetched = servers["scope"].fetched()
    assert len(fetched) == 2 and all(path.startswith("safety_checker/") for path in fetched)
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


def test_a_variable_set_to_nothing_is_the_cache_of_modelscopes_client(network, published, tmp_path, monkeypatch):
    network()
    monkeypatch.setenv("MODELSCOPE_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    place = tmp_path / ".cache/modelscope" / SNAPSHOTS / "master"
    shutil.copytree(published, place)
    assert zoo.at_hand("artist-large") == place


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


def test_weights_in_the_store_that_repositories_of_a_cache_share_are_opened(network, published, tmp_path, monkeypatch):
    """Only the transfer from Xet's own storage is replaced: it puts the file's bytes where the client wants them."""
    import huggingface_hub.file_download

    stored = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in published.rglob("*") if path.is_file()}
    moved = lambda incomplete_path, xet_file_data, **_: shutil.copy(stored[xet_file_data.file_hash], incomplete_path)
    monkeypatch.setattr(huggingface_hub.file_download, "xet_get", moved)
    servers = network(hub={"xet": True})
    snapshot = network.folder["hub"]
    assert zoo.find("artist-large") == snapshot
    assert not [path for path in servers["hub"].fetched() if path.endswith((".bin", ".safetensors"))]
    assert (snapshot / UNET).resolve().is_relative_to(tmp_path / "home/hub/blobs")
    assert paidiff_lib.load("artist-large").unet.config.sample_size
    (tmp_path / "home/hub/blobs/.huggingface-shared-blobs").unlink()  # any other folder of that name is outside
    refused(["leads out of the folder"], lambda: safe.check(snapshot))


@pytest.mark.parametrize("client", ["huggingface_hub", "modelscope"])
def test_what_an_official_client_fetched_by_itself_is_drawn_with_offline(network, tmp_path, monkeypatch, client):
    """Whole repositories, with what nobody needs; then paidiff's command, in a process of its own."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    servers = network(scope={}, mirror={})
    if client == "modelscope":
        from modelscope_hub.compat import snapshot_download

        folder = snapshot_download(SCOPE)
    else:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(REPO, endpoint=servers["mirror"].url)
    assert zoo.at_hand("artist-large") == Path(folder)
    asked = [len(server.asked) for server in servers.values()]
    picture = tmp_path / "cat.png"
    command = ("-m", "paidiff_app.cli", "draw", "一只猫", "--model", "artist-large", "--steps", "1", "-o", str(picture))
    drawn = subprocess.run([sys.executable, *command], env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True)
    assert drawn.returncode == 0 and picture.stat().st_size, drawn.stderr.decode()
    assert [len(server.asked) for server in servers.values()] == asked


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


def test_doctor_says_what_is_at_hand_and_never_downloads(network, published, tmp_path, monkeypatch):
    from paidiff_app import doctor

    servers = network(scope={}, mirror={}, hub={})
    monkeypatch.setenv("PAIDIFF_MODEL", "artist-large")
    findings = list(doctor._models())
    missing = next(finding for finding in findings if finding.fault)
    assert "no model artist-large" in missing.text and "4.2 GB" in missing.advice
    assert any("at hand: 无 none" in finding.text for finding in findings)
    shutil.copytree(published, network.old)
    findings = list(doctor._models())
    assert not any(finding.fault for finding in findings)
    assert any("at hand: artist-large" in finding.text for finding in findings)
    (network.old / "unet/diffusion_pytorch_model.safetensors").unlink()
    (network.old / "unet/diffusion_pytorch_model.bin").unlink()
    assert any(finding.fault for finding in doctor._models())
    (network.old / "model_index.json").write_text("not JSON")
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
    (repo / "snapshots" / commit / "unet/config.json").unlink()  # fetched after the weights, or not
    assert zoo.at_hand("artist-large") is None


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
