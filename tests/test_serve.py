"""paidiff serve, asked over real sockets: by a WebUI client, by many clients at once, by hostile ones."""

import base64
import io
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import diffusers
import httpx
import numpy as np
import pytest
import webuiapi
from PIL import Image
from typer.main import get_command

import paidiff_lib as paidiff
from paidiff_app import cli, engine
from paidiff_app.engine import Engine, GenerationRequest, Job, Rejected
from paidiff_app.server import run as server, schemas, security as guard
from paidiff_app.server.routes import Metrics
from paidiff_lib import PaidiffError
from paidiff_lib.generate import sample

TOKEN = "correct-horse-battery"
# A new connection for each request: the service hangs up on an idle one.
WEB = httpx.Client(verify=False, timeout=600, limits=httpx.Limits(max_keepalive_connections=0))
QUICK = {"prompt": "猫", "steps": 2, "seed": 1}


@contextmanager
def serving(pipe, token=None, queue=64, loras=None):
    """A service on a free port of this machine; gives an object with url, port, engine."""
    metrics = Metrics()
    owner = fixed(pipe, loras=loras, queue_size=queue, on_batch=metrics.batch)
    listening = socket.create_server(("127.0.0.1", 0))
    running = server.make_server(owner, metrics, token)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    running.port, running.engine = listening.getsockname()[1], owner
    running.url = f"http://127.0.0.1:{running.port}"
    try:
        yield running
    finally:
        running.should_exit = True
        thread.join()
        owner.close()
        listening.close()


def fixed(pipe, **settings):
    """An engine as the service has it."""
    return Engine(pipe, fixed=True, name="tiny", **settings)


def small(prompt="猫", steps=1, size=(64, 64), n=1):
    return Job(GenerationRequest(prompt, seed=1, steps=steps, guidance=3.0, size=size, n=n))


@pytest.fixture(scope="module")
def service(tiny_folder):
    with serving(paidiff.load(tiny_folder)) as running:
        yield running


@pytest.fixture
def gate(monkeypatch):
    """While it is closed, the drawing thread stands still before its first step."""
    opened = threading.Event()
    monkeypatch.setattr(engine, "check_prompt", lambda pipe, text: opened.wait(600) and [])
    yield opened
    opened.set()


def post(service, path="/sdapi/v1/txt2img", **wanted):
    return WEB.post(service.url + path, json=wanted)


def pictures(answer):
    return [Image.open(io.BytesIO(base64.b64decode(image))) for image in answer.json()["images"]]


def close_to(one, other):
    """Equal but for rounding, which a batch may change."""
    one, other = (np.asarray(picture, dtype=int) for picture in (one, other))
    return one.shape == other.shape and np.abs(one - other).max() <= 1


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def noise(width=64, height=64, mode="RGB", kind="PNG"):
    """A picture of noise as base64."""
    pixels = np.random.RandomState(0).randint(0, 255, (height, width, 4 if mode == "RGBA" else 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(data, kind)
    return base64.b64encode(data.getvalue()).decode()


# --- a WebUI client ---------------------------------------------------------------------------------------------


@pytest.fixture
def client(service):
    return webuiapi.WebUIApi(host="127.0.0.1", port=service.port)


def test_webuiapi_draws_what_the_library_draws(client, tiny):
    drawn = client.txt2img(
        prompt="雪地里的企鹅", negative_prompt="模糊", seed=5, steps=3, cfg_scale=4, width=72, height=64, batch_size=2
    )
    tiny.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(tiny.scheduler.config)  # its default
    expected = sample(tiny, ["雪地里的企鹅"], 5, 3, 4, "模糊", (72, 64), n=2)
    assert len(drawn.images) == 2 and all(map(close_to, drawn.images, expected))
    assert not close_to(*drawn.images)
    assert drawn.info["all_seeds"] == [5, 6] and drawn.parameters["steps"] == 3
    written = drawn.image.info["parameters"]
    assert written.startswith(
        "雪地里的企鹅\nNegative prompt: 模糊\nSteps: 3, Sampler: Euler a, CFG scale: 4, Seed: 5, Size: 72x64"
    )


def test_webuiapi_draws_from_a_picture(client, tiny_folder):
    start = Image.open(io.BytesIO(base64.b64decode(noise(100, 80))))
    drawn = client.img2img(
        [start], prompt="猫", seed=5, steps=4, denoising_strength=0.5, width=64, height=64, sampler_name="DPM++ 2M"
    )
    pipe = paidiff.load(tiny_folder, task="img2img")
    start = start.resize((64, 64), Image.Resampling.LANCZOS)
    expected = sample(pipe, ["猫"], 5, 4, 7.0, "", images=[start], strength=0.5)[0]
    assert close_to(drawn.image, expected) and drawn.image.size == (64, 64)
    other = client.img2img([Image.new("RGB", (64, 64), "red")], prompt="猫", seed=5, steps=4, width=64, height=64)
    assert not close_to(drawn.image, other.image)


def test_what_a_client_asks_for_at_start(client, service):
    assert client.util_get_model_names() == ["tiny"] and client.util_get_current_model() == "tiny"
    assert "Euler a" in client.util_get_sampler_names() and client.util_get_scheduler_names() == ["automatic", "karras"]
    client.util_set_model("tiny")
    client.util_wait_for_ready()
    assert client.get_loras() == client.get_upscalers() == client.get_sd_vae() == []
    assert client.interrupt() == client.skip() == {}
    assert client.get_embeddings() == {"loaded": {}, "skipped": {}}
    refused = post(service, "/sdapi/v1/options", sd_model_checkpoint="/etc/passwd")
    assert refused.status_code == 422 and "tiny" in refused.json()["detail"]


@pytest.mark.parametrize("name", schemas.SAMPLERS)
def test_every_sampler_draws_and_depends_on_the_seed(service, name):
    drawn = [
        post(service, prompt="猫", steps=steps, seed=seed, sampler_name=name)
        for steps, seed in ((3, 1), (3, 1), (3, 2), (1, 1))
    ]
    first, again, other, quick = (answer.json()["images"] for answer in drawn)
    assert first == again != other and quick != first


def test_the_platforms_form(service, tiny):
    body = json.dumps({"text": "两只企鹅", "num_inference_steps": 2, "num_images": 2, "seed": 3}).encode()
    answer = WEB.post(service.url, content=body).json()  # as its examples: no content type
    assert (answer["text"], answer["num_images"]) == ("两只企鹅", 2)
    drawn = [Image.open(io.BytesIO(base64.b64decode(image))) for image in answer["images_base64"]]
    assert all(map(close_to, drawn, sample(tiny, ["两只企鹅"], 3, 2, n=2)))


def test_nothing_sent_is_the_models_own_and_a_random_seed(service):
    one, two = (json.loads(post(service, prompt="变形金刚", steps=1).json()["info"]) for _ in range(2))
    assert one["seed"] != two["seed"] and (one["width"], one["height"]) == (64, 64)
    assert "没学过" in one["hints"][0]


def test_formats_and_transparency(service):
    for mode, kind in (("RGB", "JPEG"), ("RGB", "WEBP"), ("RGBA", "PNG"), ("L", "PNG"), ("P", "PNG")):
        sent = f"data:image/{kind.lower()};base64,{noise(mode=mode, kind=kind)}"
        answer = post(service, "/sdapi/v1/img2img", init_images=[sent], **QUICK)
        assert answer.status_code == 200 and "init_images" not in str(answer.json()["info"]), (mode, kind)


# --- many clients -----------------------------------------------------------------------------------------------


def test_many_at_once_are_drawn_together_and_each_gets_its_own(service, tiny):
    prompts = ["猫", "狗", "雪地里的企鹅", "水墨画"]
    asked = [(prompts[i % 4], i) for i in range(24)]
    before = WEB.get(service.url + "/metrics").text
    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(lambda job: post(service, prompt=job[0], seed=job[1], steps=2), asked))
    assert all(answer.status_code == 200 for answer in answers)
    for (prompt, seed), answer in [*zip(asked, answers)][::3]:
        assert close_to(pictures(answer)[0], sample(tiny, [prompt], seed, 2)[0]), (prompt, seed)  # drawn alone
    after = WEB.get(service.url + "/metrics").text
    drawn, batches = (_count(after, name) - _count(before, name) for name in ("pictures_total", "batch_size_count"))
    assert drawn == 24 and batches < 24


def _count(text, name):
    return float(re.search(rf"^paidiff_{name} (\S+)$", text, re.M)[1])


def test_only_the_same_settings_share_a_batch(tiny, gate, monkeypatch):
    monkeypatch.setattr(engine, "BATCH_PIXELS", 2 * 128 * 128)
    sizes = []
    owner = fixed(tiny, on_batch=lambda size, seconds: sizes.append(size))
    jobs = [small("狗"), *(small(steps=steps) for steps in (1, 2, 1, 2, 1))]
    jobs.append(small(size=(128, 128), n=3))  # large: two at a time
    owner.submit(jobs[0])
    wait_for(lambda: owner.progress()[0])
    for job in jobs[1:]:
        owner.submit(job)
    gate.set()
    for job in jobs:
        job.future.result(300)
    owner.close()
    assert sizes == [1, 3, 2, 2, 1]


def test_a_full_queue_refuses_and_loses_nothing(tiny_folder, gate):
    with serving(paidiff.load(tiny_folder), queue=8) as service, ThreadPoolExecutor(20) as clients:
        first = clients.submit(post, service, **QUICK)
        wait_for(lambda: service.engine.progress()[0])
        answers = [clients.submit(post, service, **QUICK) for _ in range(12)]
        wait_for(lambda: sum(answer.done() for answer in answers) == 4)
        gate.set()
        statuses = sorted(answer.result().status_code for answer in [first, *answers])
        refused = next(answer.result() for answer in answers if answer.result().status_code == 503)
        assert statuses == [200] * 9 + [503] * 4
        assert refused.headers["retry-after"] and "queue of 8 is full" in refused.json()["detail"]
        assert service.engine.waiting() == 0


# --- cancelling -------------------------------------------------------------------------------------------------


def test_cancel_what_waits_and_what_is_drawn(service, gate):
    with ThreadPoolExecutor(2) as clients:
        drawing = clients.submit(post, service, **QUICK, force_task_id="task(one)")
        wait_for(lambda: service.engine.progress()[0])
        waiting = clients.submit(post, service, **QUICK | {"steps": 3}, force_task_id="two")
        wait_for(lambda: service.engine.waiting())
        state = WEB.get(service.url + "/tasks/two").json()
        assert state == {"state": "waiting", "step": 0, "steps": 3, "before": 0}
        assert WEB.get(service.url + "/tasks/task(one)").json()["state"] == "drawing"
        assert post(service, **QUICK, force_task_id="two").status_code == 409
        assert WEB.delete(service.url + "/tasks/two").status_code == 200
        assert waiting.result().json() == {"detail": "已取消 · cancelled"}
        post(service, "/sdapi/v1/interrupt")
        assert drawing.result().status_code == 409
    assert WEB.delete(service.url + "/tasks/two").status_code == 404
    gate.set()
    assert post(service, **QUICK).status_code == 200


def test_a_client_that_goes_away_is_forgotten_and_its_neighbour_is_not(service, gate):
    def ask(**wanted):
        body = json.dumps(wanted).encode()
        sent = socket.create_connection(("127.0.0.1", service.port))
        sent.sendall(
            b"POST /sdapi/v1/txt2img HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        return sent

    first = ask(**QUICK)
    wait_for(lambda: service.engine.progress()[0])
    going = ask(**QUICK, batch_size=3)
    with ThreadPoolExecutor(1) as clients:
        staying = clients.submit(post, service, **QUICK)
        wait_for(lambda: service.engine.waiting() == 4)
        going.close()
        wait_for(lambda: service.engine.waiting() == 1)
        first.close()
        gate.set()
        assert staying.result().status_code == 200


def test_guidance_is_what_suits_the_model(tiny, monkeypatch):
    found = []
    for small in (None, 0):  # 0: as large as the published ones
        if small is not None:
            monkeypatch.setattr("paidiff_lib.memory.SMALL", small)
        owner = fixed(tiny)
        found.append(owner.suits()[1])
        owner.close()
    assert found == [2, 5]


def test_a_batch_is_stopped_when_nobody_waits_for_it(tiny, monkeypatch):
    owner, job, seen = fixed(tiny), small(steps=1000), []
    real = owner._after_step
    monkeypatch.setattr(owner, "_after_step", lambda pipe, index, *rest: seen.append(index) or real(pipe, index, *rest))
    owner.submit(job)
    wait_for(lambda: owner.progress()[1] > 2)
    drawing, step, steps, seconds, waiting = owner.progress()
    assert (drawing, steps, waiting) == (1, 1000, 0) and 2 < step and seconds > 0
    owner.cancel(job)
    at = len(seen)
    wait_for(lambda: not owner.progress()[0])
    assert len(seen) <= at + 2 and len(seen) < 1000  # not drawn to its end
    again = small()
    owner.submit(again)
    again.future.result(300)
    owner.close()
    with pytest.raises(Rejected, match="closing"):
        owner.submit(small())


def test_a_batch_that_fails_is_answered_and_the_next_is_drawn(service, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(engine, "sample", lambda *_, **__: 1 / 0)
        answer = post(service, **QUICK)
        assert answer.status_code == 500 and "ZeroDivision" not in answer.text and answer.json()["detail"]
    assert post(service, **QUICK).status_code == 200


# --- who may ask ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tiny_folder):
    with serving(paidiff.load(tiny_folder), token=TOKEN) as running:
        yield running


BASIC = base64.b64encode(f"me:{TOKEN}".encode()).decode()
WRONG = [
    None,
    "",
    "Bearer",
    "Bearer wrong",
    TOKEN[:-1],
    f"Bearer {TOKEN}x",
    "Basic !!!",
    "Basic bWU6eA==",
    "Bearer 令牌",
]


@pytest.mark.parametrize("header", [f"Bearer {TOKEN}", TOKEN, f"Basic {BASIC}"])
def test_the_token_opens(guarded, header):
    headers = {"authorization": header, "host": "pictures.example"}
    assert WEB.get(guarded.url + "/sdapi/v1/options", headers=headers).status_code == 200


@pytest.mark.parametrize("header", WRONG)
def test_a_wrong_token_is_401(guarded, header):
    headers = {} if header is None else {"authorization": header.encode()}
    for path in ("/sdapi/v1/options", "/metrics", "/openapi.json", "/no-such"):
        answer = WEB.get(guarded.url + path, headers=headers)
        assert answer.status_code == 401 and TOKEN not in answer.text
    assert WEB.get(guarded.url + "/health").status_code == 200


def test_webuiapi_with_a_token(guarded):
    client = webuiapi.WebUIApi(port=guarded.port, username="me", password=TOKEN)
    assert client.txt2img(prompt="猫", steps=1, width=64, height=64).image.size == (64, 64)
    with pytest.raises(RuntimeError, match="401"):
        webuiapi.WebUIApi(port=guarded.port).txt2img(prompt="猫")


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://["}]
)
def test_without_a_token_only_this_machine(service, headers):
    assert WEB.get(service.url + "/sdapi/v1/options", headers=headers).status_code == 403
    own = {"origin": service.url}
    assert WEB.get(service.url + "/sdapi/v1/options", headers=own).status_code == 200


def test_the_command_does_not_start_openly(paidiff):
    done = paidiff("serve", "--port", 0, "--model", "no-such", "--host", "0.0.0.0")
    assert done.returncode == 1 and done.stderr.count("\n") == 2 and "PAIDIFF_TOKEN" in done.stderr.splitlines()[1]
    assert "no-such" not in done.stderr and done.stdout == ""  # said before the model is looked for


REFUSED = [
    ({"host": "::"}, "PAIDIFF_TOKEN"),
    ({"host": "pictures.example"}, "PAIDIFF_TOKEN"),
    ({"token": "short"}, "16"),
    ({"token": ""}, "16"),
    ({"token": "令牌令牌令牌令牌令牌令牌令牌令牌"}, "ASCII"),
    ({"queue": 1}, "queue"),
    ({"host": "203.0.113.1", "token": TOKEN}, "listen"),
]


@pytest.mark.parametrize("settings, words", REFUSED)
def test_unsafe_settings_do_not_start(settings, words):
    with pytest.raises(PaidiffError, match=words) as caught:
        server.run(port=0, model="no-such", **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "host, near",
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.2", False),
        ("", False),
    ],
)
def test_what_is_loopback(host, near):
    assert guard.is_loopback(host) is near


def test_a_port_in_use_is_one_line(service):
    with pytest.raises(PaidiffError, match="cannot listen"):
        server.run(port=service.port, model="no-such")


def test_the_command_serves_and_stops(tiny_folder):
    command = [str(Path(sys.executable).with_name("paidiff")), "serve", "--port", "0", "--model", str(tiny_folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # in a background shell SIGINT is ignored, and children inherit that
    listens = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, preexec_fn=listens, **pipes) as process:
        try:
            line = process.stdout.readline()
            url = re.search(r"http://\S+", line)[0]
            assert line.startswith("模型 model model · http://127.0.0.1:")  # the folder's name, not where it lies
            answer = WEB.post(url + "/sdapi/v1/txt2img", json=QUICK)
            assert answer.status_code == 200 and str(tiny_folder.parent) not in answer.text
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=600)
            assert "Traceback" not in err and out == ""
        finally:
            process.kill()  # nothing, if it has ended


# --- hostile requests -------------------------------------------------------------------------------------------


def png(width, height, *, body=b"", between=b""):
    """A PNG by hand, whose header may lie."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + between + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def b64(raw):
    return base64.b64encode(raw).decode()


def bomb():
    """20000 x 20000 white pixels in a few hundred kilobytes."""
    squeeze = zlib.compressobj(9)
    row = b"\0" + b"\xff" * 3 * 20000
    return png(20000, 20000, body=b"".join(squeeze.compress(row) for _ in range(4000)) + squeeze.flush())


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n%%EOF"
HOSTILE = {
    "huge width": {"width": 10**6},
    "huge everything": {"width": 2**31, "height": 2**31, "steps": 2**31, "batch_size": 2**31},
    "a side beyond 64 bits": {"height": 10**40},
    "too wide for this model": {"width": 512},
    "no width": {"width": 0},
    "negative width": {"width": -512},
    "width not a multiple": {"width": 100},
    "width a fraction": {"width": 64.5},
    "width a list": {"width": [64]},
    "width a text": {"width": "wide"},
    "too many steps": {"steps": 1001},
    "no steps": {"steps": 0},
    "steps an object": {"steps": {}},
    "too many pictures": {"batch_size": 8, "n_iter": 8},
    "minus one picture": {"n_iter": -1},
    "nan guidance": {"cfg_scale": float("nan")},
    "infinite guidance": {"cfg_scale": float("inf")},
    "nan seed": {"seed": float("nan")},
    "guidance beyond a float": {"cfg_scale": 10**400},
    "seed too large": {"seed": 2**64},
    "seed below -1": {"seed": -2},
    "prompt a number": {"prompt": 5},
    "prompt a list": {"prompt": ["猫"]},
    "prompt null": {"prompt": None},
    "prompt too long": {"prompt": "猫" * 2001},
    "negative too long": {"negative_prompt": "猫" * 10**6},
    "half a character": {"prompt": "\ud800"},
    "sampler unknown": {"sampler_name": "__class__"},
    "sampler too long": {"sampler_name": "a" * 10**5},
    "task a path": {"force_task_id": "../../etc/passwd"},
    "hires fix": {"enable_hr": True},
    "tiling": {"tiling": True},
    "a script": {"script_name": "/etc/passwd"},
    "styles": {"styles": ["x"]},
}
PICTURES = {
    "a path": "/etc/passwd",
    "a path that is base64 too": "/etc/hostname/00",
    "a file url": "file:///etc/passwd",
    "a link": "http://127.0.0.1:1/x.png",
    "a link inside": "data:image/png;base64,http://127.0.0.1:1/x.png",
    "unc path": r"\\server\share\x.png",
    "bad base64": "!!!!",
    "base64 cut": noise()[:-3],
    "base64 url alphabet": "-_-_",
    "nothing": "",
    "data url without data": "data:image/png;base64,",
    "text": b64(b"hello, world"),
    "zeros": b64(bytes(10000)),
    "half a picture": b64(base64.b64decode(noise())[:2000]),
    "no pixels": b64(png(0, 0)),
    "a header that lies": b64(png(1000, 1000, body=zlib.compress(b"\0" * 10))),
    "not deflated": b64(png(64, 64, body=b"garbage")),
    "a decompression bomb": b64(bomb()),
    "a bomb in the header": b64(png(2**31 - 1, 2**31 - 1)),
    "a text bomb": b64(png(64, 64, between=b"")[:33] + struct.pack(">I", 0) + b"zTXt" + b"\0" * 4),
    "postscript": b64(EPS),
    "svg": b64(b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'),
    "tiff": b64(b"II*\0" + bytes(100)),
    "gif": noise(kind="GIF"),
}
BODIES = {
    "empty": b"",
    "not json": b"prompt=cat",
    "half json": b'{"prompt": "x"',
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "a text": b'"x"',
    "not utf-8": b'{"prompt": "\xff\xfe"}',
    "utf-16": '{"prompt": 5}'.encode("utf-16"),
    "deep lists": b"[" * 200000,
    "deep json": b'{"prompt": 5, "alwayson_scripts": ' + b'{"a":' * 50000 + b"1" + b"}" * 50001,
    "deep and closed": b'{"styles": ' + b"[" * 900 + b"]" * 900 + b"}",
    "a number of a million digits": b'{"seed": ' + b"9" * 10**6 + b"}",
}
LARGE = {"100 MB": b"x" * 100 * 10**6, "9 MB of json": b'{"prompt": "' + b"x" * 9 * 10**6 + b'"}'}


def assert_refused(service, answer):
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    line = answer.json()["detail"]
    assert line and "\n" not in line and len(line) < 400 and " · " in line and "Traceback" not in line
    assert WEB.get(service.url + "/health").status_code == 200


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_settings(service, name):
    body = json.dumps({"prompt": "猫", "steps": 1} | HOSTILE[name]).encode()
    assert_refused(service, WEB.post(service.url + "/sdapi/v1/txt2img", content=body))


@pytest.mark.parametrize("name", PICTURES)
def test_hostile_pictures(service, name):
    assert_refused(service, post(service, "/sdapi/v1/img2img", init_images=[PICTURES[name]], **QUICK))


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"init_images": []},
        {"init_images": "x"},
        {"init_images": [noise()] * 2},
        {"init_images": [5]},
        {"init_images": [noise()], "denoising_strength": 0},
        {"init_images": [noise()], "denoising_strength": 0.1},
        {"init_images": [noise()], "mask": "/etc/passwd"},
    ],
)
def test_hostile_img2img(service, wanted):
    assert_refused(service, post(service, "/sdapi/v1/img2img", **QUICK, **wanted))


@pytest.mark.parametrize("path", ["/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/"])
@pytest.mark.parametrize("name", BODIES)
def test_hostile_bodies(service, name, path):
    assert_refused(service, WEB.post(service.url + path, content=BODIES[name]))


@pytest.mark.parametrize("name", LARGE)
def test_large_bodies(service, name):
    answer = WEB.post(service.url + "/sdapi/v1/txt2img", content=LARGE[name])
    assert answer.status_code == 413
    assert_refused(service, answer)


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/sdapi/v1/txt2img"),
        ("PUT", "/sdapi/v1/txt2img"),
        ("BREW", "/"),
        ("DELETE", "/sdapi/v1/options"),
        ("GET", "/../../etc/passwd"),
        ("GET", "/docs"),
        ("GET", "/tasks/%2e%2e%2fpasswd"),
        ("GET", "/file=/etc/passwd"),
        ("POST", "/sdapi/v1/reload-checkpoint"),
        ("DELETE", "/tasks/none"),
    ],
)
def test_wrong_methods_and_paths(service, method, path):
    assert_refused(service, WEB.request(method, service.url + path))
    assert WEB.put(service.url + "/sdapi/v1/options").headers["allow"] == "GET, POST"


def talk(service, *pieces, pause=0.0):
    """Everything the service says to raw bytes, until it hangs up."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=600) as line:
        try:
            for piece in pieces:
                line.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass
        said = b""
        try:
            while part := line.recv(65536):
                said += part
        except ConnectionResetError:  # it hung up before it had read everything
            pass
        return said


HEAD = b"POST /sdapi/v1/txt2img HTTP/1.1\r\nhost: localhost\r\n"
SLOW = {
    "a slow body": ((HEAD + b"content-length: 100\r\n\r\n", *[b"{"] * 20), b"408"),
    "a body that never comes": ((HEAD + b"content-length: 100\r\n\r\n",), b"408"),
    "a slow chunked body": ((HEAD + b"transfer-encoding: chunked\r\n\r\n", *[b"1\r\n{\r\n"] * 20), b"408"),
    "slow headers": ((HEAD, *[b"x: y\r\n"] * 40), b"408"),
    "nothing": ((), b"408"),
    "headers without end": ((HEAD + b"x: " + b"y" * 200000,), b""),
    "not http": ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",), b"400"),
    "two lengths": ((HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",), b"400"),
    "a chunked body of 9 MB": ((HEAD + b"transfer-encoding: chunked\r\n\r\n900000\r\n", b" " * 0x900000), b"413"),
    "a wrong length": ((HEAD + b"content-length: -5\r\n\r\n{}",), b"400"),
}


@pytest.mark.parametrize("name", SLOW)
def test_slow_and_broken_senders(service, monkeypatch, name):
    """The limits are 1 s where they are what is tested, and long where they are not: a machine may be busy."""
    pieces, status = SLOW[name]
    monkeypatch.setattr(guard, "HEAD_SECONDS", 1 if status == b"408" else 5)
    monkeypatch.setattr(guard, "BODY_SECONDS", 1 if status == b"408" else 600)
    said = talk(service, *pieces, pause=0.1 if len(pieces) > 2 else 0)
    assert not status or said.startswith(b"HTTP/1.1 " + status), said[:300]
    assert WEB.get(service.url + "/health").status_code == 200


def test_all_bodies_together_are_bounded(service, monkeypatch):
    monkeypatch.setattr(guard, "ALL_BODIES", 1000)
    answer = post(service, **QUICK | {"prompt": "猫" * 1000})
    assert answer.status_code == 503 and "busy" in answer.json()["detail"]
    for _ in range(5):  # what a request held is given back
        assert post(service, **QUICK).status_code == 200


def test_no_file_and_no_link_is_opened(service):
    """Everything Python opens on a request's behalf would show in the audit events."""
    seen, watching = [], [True]
    sys.addaudithook(lambda event, args: watching and event in ("open", "socket.getaddrinfo") and seen.append(args[0]))
    for sent in PICTURES.values():
        assert post(service, "/sdapi/v1/img2img", init_images=[sent]).status_code == 422
    watching.clear()
    assert [name for name in seen if "passwd" in str(name) or "hostname" in str(name)] == []


def test_the_description_is_whole(service):
    described = WEB.get(service.url + "/openapi.json").json()
    assert {"/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/", "/tasks/{name}", "/health", "/metrics"} <= set(
        described["paths"]
    )
    wanted = described["components"]["schemas"]["Txt2Img"]["properties"]
    assert wanted["prompt"]["maxLength"] == schemas.MAX_PROMPT
    assert wanted["steps"]["anyOf"][0]["maximum"] == schemas.MAX_STEPS
    answers = described["paths"]["/sdapi/v1/txt2img"]["post"]["responses"]
    assert {"200", "401", "413", "422", "503"} <= set(answers)
    assert answers["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/Refusal")


def test_the_deployment_files_agree_with_the_command():
    root = Path(__file__).resolve().parents[1] / "deploy"
    container = json.loads((root / "eas.json").read_text())["containers"][0]
    words = container["command"].split()
    text = (root / "Containerfile").read_text(encoding="utf-8")
    assert json.dumps(words) in text and f"EXPOSE {container['port']}" in text
    assert words[:2] == ["paidiff", "serve"] and words[-1] == str(container["port"])
    options = {option for parameter in get_command(cli.app).commands["serve"].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    assert "Untested" in (root / "README.md").read_text(encoding="utf-8")
