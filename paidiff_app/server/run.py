"""Everything together: the model, the worker, the routes, the guard, the socket."""

import socket

import uvicorn

from paidiff_lib.errors import PaidiffError
from paidiff_lib.models import load as zoo

from .routes import Metrics, make_app
from .security import Guard, ImpatientProtocol, is_loopback
from .worker import Worker

CONNECTIONS = 256
LAST_SECONDS = 10  # to answer what is under way when the service is told to stop
TOKEN_LENGTH = 16


def run(host="127.0.0.1", port=7860, model=None, lora=None, token=None, queue=64, say=print):
    """Serve until stopped. Raises PaidiffError on anything that keeps it from starting.

    token: needed to listen anywhere but on this machine. queue: how many pictures may wait. say: is told the address.
    """
    check(host, token, queue)
    with listen(host, port) as listening:  # before the model: a port in use is known at once
        name = zoo.model_name(model)
        pipe = zoo.load(name)
        if lora:
            from paidiff_lib.methods.lora_files import load_lora

            load_lora(pipe, lora)
        metrics = Metrics()
        worker = Worker(pipe, _short(name), queue, metrics.batch)
        shown, chosen = listening.getsockname()[:2]
        shown = f"[{shown}]" if ":" in shown else shown
        say(f"模型 model {worker.name} · http://{shown}:{chosen} · /openapi.json · Ctrl-C 停 stops")
        try:
            make_server(worker, metrics, token).run(sockets=[listening])
        finally:
            worker.close()


def make_server(worker, metrics, token=None):
    """A uvicorn server before `worker`; `run(sockets=[...])` starts it."""
    app = Guard(make_app(worker, metrics), token, metrics.answer)
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    return uvicorn.Server(config)


def check(host, token, queue):
    """Raise PaidiffError on settings that would be unsafe or of no use."""
    if token is None and not is_loopback(host):
        raise PaidiffError(
            f"要在 {host} 上监听必须有令牌 · listening on {host} needs a token: --token 或 or PAIDIFF_TOKEN"
        )
    if token is not None and not (token.isascii() and token.isprintable() and len(token) >= TOKEN_LENGTH):
        raise PaidiffError(
            f"令牌至少 {TOKEN_LENGTH} 个 ASCII 字符 · a token has at least {TOKEN_LENGTH} ASCII characters"
        )
    if queue not in range(8, 10001):
        raise PaidiffError(f"queue 要在 8 到 10000 之间 · must be from 8 to 10000: {queue}")


def listen(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PaidiffError(f"不能在 {host}:{port} 上监听 · cannot listen there: {reason}") from error


def _short(name):
    """A model's folder is nobody's business: clients see its last part."""
    return name.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
