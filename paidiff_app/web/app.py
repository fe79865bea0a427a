"""The page as a server: one call that runs it all."""

import secrets

import gradio as gr
import uvicorn
from fastapi import FastAPI

from ..engine import Engine
from ..server.run import UVICORN, address, check, listen
from ..server.security import Guard, refuse
from .page import make_page

USER = "paidiff"  # who logs in; the password is the token
UPLOAD = "20mb"
QUEUE = 64  # drawings that may wait


def run(host="127.0.0.1", port=7861, model=None, loras=None, token=None, output=None, say=print):
    """Serve the page until stopped. Raises PaidiffError on anything that keeps it from starting.

    token: needed to listen anywhere but on this machine; it is the password of the user "paidiff".
    output: a folder that keeps every picture with its settings; made where it is missing.
    """
    check(host, token, QUEUE)
    with listen(host, port) as listening:  # before the model: a port in use is known at once
        engine = Engine(model, loras)
        try:
            app = make_app(engine, token, output)
            who = f" · 用户 user {USER}, 密码是令牌 the token is the password" if token else ""
            kept = f" · 图存在 kept in {output}" if output else ""
            say(f"模型 model {engine.models[0]} · {address(listening)}{who}{kept} · Ctrl-C 停 stops")
            make_server(app).run(sockets=[listening])
        finally:
            engine.close()


def make_server(app):
    """A uvicorn server before the page; `run(sockets=[...])` starts it."""
    return uvicorn.Server(uvicorn.Config(app, **UVICORN))


def make_app(engine, token=None, output=None):
    """The page as an ASGI application, at "/"."""
    page, settings = make_page(engine, output)
    settings |= {"max_file_size": UPLOAD, "ssr_mode": False, "footer_links": [], "show_error": False}
    if token:
        settings["auth"] = lambda user, password: secrets.compare_digest(password.encode(), token.encode())
        settings["auth_message"] = f"用户 user: {USER} · 密码 password: 令牌 the token"
    bare = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app = gr.mount_gradio_app(bare, page.queue(max_size=QUEUE), path="/", **settings)
    return app if token else LocalOnly(app)


class LocalOnly(Guard):
    """Without a token only this machine's own pages may ask. Of Guard's questions only this: uploads are no JSON."""

    async def __call__(self, scope, receive, send):
        refusal = self.refusal_of_strangers(scope) if scope["type"] == "http" else None
        await (refuse(*refusal) if refusal else self.app)(scope, receive, send)
