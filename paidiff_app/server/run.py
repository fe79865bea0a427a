"""Everything together: the engine, the routes, the guard, the socket."""

import socket

import uvicorn

from paidiff_lib.errors import PaidiffError
from paidiff_lib.methods.lora_files import load_lora
from paidiff_lib.models.load import load, model_name

from ..engine import Engine
from ..infotext import last_part
from .routes import Metrics, make_app
from .security import Guard, ImpatientProtocol, is_loopback

CONNECTIONS = 256
LAST_SECONDS = 10  # to answer what is under way when the service is told to stop
TOKEN_LENGTH = 16
UVICORN = {"ws": "none", "log_level": "warning", "access_log": False, "server_header": False, "proxy_headers": False}
UVICORN["timeout_graceful_shutdown"] = LAST_SECONDS


def run(host="127.0.0.1", port=7860, model=None, lora=None, token=None, queue=64, say=print, loras=None):
    """Serve until stopped. Raises PaidiffError on anything that keeps it from starting.

    lora: always on. loras: a folder of LoRAs and embeddings that a request may ask for. token: needed to listen anywhere but on this machine. queue: how many pictures may wait. say: is told the address.
    """
    check(host, token, queue)
    with listen(host, port) as listening:  # before the model: a port in use is known at once
        name = model_name(model)
        pipe = load(name)
        if lora:
            load_lora(pipe, lora, last_part(lora).split(".")[0] or "lora")  # how <lora:name:scale> calls it
        metrics = Metrics()
        engine = Engine(pipe, loras, fixed=True, name=name, queue_size=queue, on_batch=metrics.batch)
        try:
            engine.suits()
            say(f"模型 model {engine.models[0]} · {address(listening)} · /openapi.json · Ctrl-C 停 stops")
            make_server(engine, metrics, token).run(sockets=[listening])
        finally:
            engine.close()


def make_server(engine, metrics, token=None):
    """A uvicorn server before `engine`; `run(sockets=[...])` starts it."""
    app = Guard(make_app(engine, metrics), token, metrics.answer)
    return uvicorn.Server(uvicorn.Config(app, http=ImpatientProtocol, limit_concurrency=CONNECTIONS, **UVICORN))


def check(host, token, queue):
    """Raise PaidiffError on settings that would be unsafe or of no use."""
    if token is None and not is_loopback(host):
        zh, en = f"要在 {host} 上监听必须有令牌", f"listening on {host} needs a token"
        raise PaidiffError(zh, en, "--token 或 or PAIDIFF_TOKEN")
    if token is not None and not (token.isascii() and token.isprintable() and len(token) >= TOKEN_LENGTH):
        zh, en = f"令牌至少 {TOKEN_LENGTH} 个 ASCII 字符", f"a token has at least {TOKEN_LENGTH} ASCII characters"
        raise PaidiffError(zh, en)
    if type(queue) is not int or not 8 <= queue <= 10000:
        raise PaidiffError("queue 要在 8 到 10000 之间", "must be a whole number from 8 to 10000", str(queue))


def listen(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PaidiffError(f"不能在 {host}:{port} 上监听", "cannot listen there", str(reason)) from error


def address(listening):
    """The address that a socket listens at, as a browser takes it."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
