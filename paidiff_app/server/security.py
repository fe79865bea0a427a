"""Who may ask, and how much: everything that is decided before a request is understood."""

import asyncio
import base64
import binascii
import hmac
import ipaddress

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from .schemas import MAX_BODY

BODY_SECONDS = 30  # for the whole body: a picture over a slow line takes ten
HEAD_SECONDS = 10  # for a request's first lines, and for a connection that says nothing
ALL_BODIES = 8 * MAX_BODY  # bytes of all the requests under way together
OPEN = ("/health",)  # what a platform's probe asks without a token
TOO_LARGE = 413, f"请求太大,最多 {MAX_BODY} 字节 · the body is too large, at most {MAX_BODY} bytes"


class Guard:
    """ASGI middleware: token, origin, size and speed of the body. The application gets a body that is whole.

    With one, a browser asks for it as a password (any name). Without a token only this machine may ask: the Host must be a loopback name (no DNS rebinding), and a page of
    another origin in the user's browser is turned away.
    """

    def __init__(self, app, token=None, count=lambda status: None):
        self.app, self.token, self.count = app, token, count
        self.held = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        send = self._counted(send)
        refusal = self.refusal_of_strangers(scope) or self._too_long(Headers(scope=scope))
        if refusal:
            return await refuse(*refusal)(scope, receive, send)
        taken = [0]  # how many bytes this request holds
        try:
            body = await self._whole(receive, taken)
            if isinstance(body, tuple):
                return await refuse(*body)(scope, receive, send)
            # Every body here is JSON; the platform's own examples send it without saying so.
            said = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
            scope = {**scope, "headers": [*said, (b"content-type", b"application/json")]}
            await self.app(scope, _replay(body, receive), send)
        finally:
            self.held -= taken[0]

    def refusal_of_strangers(self, scope):
        """(status, line) for someone who may not ask, else None."""
        path, headers = scope["path"], Headers(scope=scope)
        if self.token:
            sent = _token(headers.get("authorization", ""))
            if path not in OPEN and not hmac.compare_digest(sent, self.token.encode()):
                return 401, "令牌不对 · wrong or missing token"
            return self._of_another_page(headers) if headers.get("authorization", "")[:5].lower() == "basic" else None
        host = headers.get("host", "")
        if not is_loopback(_hostname(host)):
            return 403, "没有令牌时只接受本机的名字 · without a token only loopback names are answered"
        return self._of_another_page(headers)

    def _of_another_page(self, headers):
        """(status, line) for what another page in the user's browser sends: with a password that the browser keeps, too."""
        if "origin" in headers and headers["origin"].partition("://")[2] != headers.get("host", ""):
            return 403, "不接受别的网页发来的请求 · requests of other web pages are refused"
        return None

    def _too_long(self, headers):
        length = headers.get("content-length", "0")
        return TOO_LARGE if length.isdecimal() and int(length[:20]) > MAX_BODY else None

    async def _whole(self, receive, taken):
        """The whole body, or (status, line)."""
        body, message = bytearray(), {"more_body": True}
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while message.get("more_body"):  # not after a disconnect: nobody is left to be answered
                    message = await receive()
                    part = message.get("body", b"")
                    body += part
                    taken[0] += len(part)
                    self.held += len(part)
                    if taken[0] > MAX_BODY:
                        return TOO_LARGE
                    if self.held > ALL_BODIES:
                        return 503, "服务太忙,等一会儿再试 · the service is busy, try again later"
        except TimeoutError:
            return 408, f"{BODY_SECONDS} 秒内没有发完 · the body did not arrive in {BODY_SECONDS} s"
        return bytes(body)

    def _counted(self, send):
        async def counted(message):
            if message["type"] == "http.response.start":
                self.count(message["status"])
            await send(message)

        return counted


class ImpatientProtocol(H11Protocol):
    """uvicorn's own, which also hangs up on a connection that takes too long to say what it wants."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self._look(None)

    def _look(self, before):
        """Looks every HEAD_SECONDS; idle with the same request behind it twice is too long."""
        if self.transport.is_closing():
            return
        idle = self.cycle is None or self.cycle.response_complete
        now = ("idle", self.cycle) if idle else None
        if now and now == before:
            if self.cycle is None:
                self.transport.write(_LATE)
            self.transport.close()
            return
        self.loop.call_later(HEAD_SECONDS, self._look, now)


def refuse(status, line, headers=None):
    """The answer to whoever is refused: an ASGI application. line: why."""
    extra = {401: {"www-authenticate": 'Bearer, Basic realm="paidiff"'}, 503: {"retry-after": "5"}}.get(status, {})
    return JSONResponse({"detail": " ".join(line.split())}, status, {**(headers or {}), **extra})


_LATE_BODY = refuse(408, f"{HEAD_SECONDS} 秒内没有问什么 · no request within {HEAD_SECONDS} s").body
_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_LATE_BODY), _LATE_BODY)
)


def _replay(body, receive):
    """A `receive` that gives the body at once, then what comes after it: the client's going away."""
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay():
        return first.pop() if first else await receive()

    return replay


def _token(header):
    """The token in an Authorization header: "Bearer X", "Basic base64(anyone:X)" (the WebUI's clients), or bare X."""
    kind, _, rest = header.partition(" ")
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return (rest.strip() if kind.lower() == "bearer" else header.strip()).encode()


def is_loopback(host):
    """True if only this machine can reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hostname(host):
    """ "127.0.0.1:7860" -> "127.0.0.1"; an address of version 6 stands in brackets."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).strip("[]").lower()
