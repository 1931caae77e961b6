"""Who may talk to the studio: host, origin and password, checked on every request before anything else sees it.

Knows HTTP headers; does not know what the routes behind it do. It covers all of them alike: pages, frames, Gradio's own
API and queue. Only STOP is never throttled.
"""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import re
import time
from collections import deque
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlm2vla.config import StudioConfig
from vlm2vla.errors import ConfigError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
# Doors of Gradio that the studio has no use for: remote tools, server-side fetches, files by path, uploads, ...
CLOSED = re.compile(r"/(gradio_api/)?(mcp|proxy=|deep_link|file[=/]|stream/|upload|vibe|undo-vibe|dev/|monitoring)")
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::\d{1,5})?", re.ASCII)
MAX_FAILURES = 10  # wrong passwords from one address within FAILURE_WINDOW_S before it has to wait
FAILURE_WINDOW_S = 60.0
MAX_NAME = 60
STOP = "/drive/stop"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def check_bind(config: StudioConfig) -> None:
    """Refuse an address that others can reach while there is no password.

    Raises:
        ConfigError: `config.host` is not this computer's own address and no password is set.
    """
    if config.host not in LOOPBACK and not config.password:
        raise ConfigError(
            f"{config.host} can be reached by other computers: set a password (VLM2VLA_PASSWORD), "
            "or listen on 127.0.0.1 and use an SSH tunnel"
        )


def split_host(value: str) -> str:
    """The name or address in a Host header, without the port, in lower case; "" when it is not a plain one."""
    found = HOST.fullmatch(value)
    return found[1].strip("[]").lower() if found else ""


class Guard:
    """ASGI middleware that lets through only what the studio's own page, seen by somebody allowed, would send.

    Attributes:
        app: The application behind it.
        config: Address, password and further host names.
    """

    def __init__(self, app: ASGIApp, config: StudioConfig):
        check_bind(config)
        self.app, self.config = app, config
        self._hosts = LOOPBACK | {config.host.lower()} | {name.lower() for name in config.allow_hosts}
        self._failures: dict[str, deque[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with a status, or pass on with the reader's name in `request.state.user` ("" without a password)."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = self._refusal(connection) or self._login(connection)
        if refusal is None:
            await self.app(scope, receive, send if scope["type"] == "websocket" else _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            if refusal.status_code == 401 and "authorization" in connection.headers:
                await asyncio.sleep(0.3)
            await refusal(scope, receive, _with_headers(send))

    def _refusal(self, connection: HTTPConnection) -> PlainTextResponse | None:
        """What is wrong with the request whoever sends it: host, origin, a closed door."""
        host = connection.headers.get("host", "")
        if not self._known(split_host(host)):
            return PlainTextResponse("Unknown host name; add it with --allow-hosts.", 421)
        scope = connection.scope
        changing = scope["type"] == "websocket" or scope["method"] not in READING
        if changing and _origin(connection) != host.lower():
            return PlainTextResponse("Changes are taken only from the studio's own page.", 403)
        if connection.headers.get("sec-fetch-site") == "cross-site" and connection.headers.get(
            "sec-fetch-dest", ""
        ) not in ("document", ""):
            return PlainTextResponse("Other sites may not embed the studio.", 403)
        if CLOSED.match(scope["path"]):
            return PlainTextResponse("Not found", 404)
        return None

    def _known(self, name: str) -> bool:
        """True for an allowed name; also for a literal address when the studio listens beyond this computer."""
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.config.host not in LOOPBACK  # a rebinding attack needs a name, and a password is set here

    def _login(self, connection: HTTPConnection) -> PlainTextResponse | None:
        """None when the password is right or none is needed; the name given goes to `request.state.user`."""
        state = connection.scope.setdefault("state", {})
        state["user"] = ""
        if not self.config.password:
            return None
        name, password = _credentials(connection.headers.get("authorization", ""))
        address = connection.client.host if connection.client else ""
        if self._blocked(address):
            if connection.scope["path"] == STOP:
                return None  # not judged: nobody is locked out, and nobody learns whether a guess was right
            return PlainTextResponse("Too many wrong passwords; wait a minute.", 429, {"retry-after": "60"})
        if hmac.compare_digest(password.encode(), self.config.password.encode()):
            state["user"] = name or "reviewer"
            return None
        if password:
            self._failures.setdefault(address, deque()).append(time.monotonic())
        ask = {"www-authenticate": 'Basic realm="VLM2VLA Studio", charset="UTF-8"'}
        return PlainTextResponse("Give your name and the studio's password.", 401, ask)

    def _blocked(self, address: str) -> bool:
        """True while `address` has given too many wrong passwords; forgets old ones."""
        recent = self._failures.get(address, deque())
        while recent and time.monotonic() - recent[0] > FAILURE_WINDOW_S:
            recent.popleft()
        if not recent:
            self._failures.pop(address, None)
        return len(recent) >= MAX_FAILURES


def _origin(connection: HTTPConnection) -> str:
    """Host and port of the page that sent the request, from Origin or else Referer; "" when neither is there."""
    value = connection.headers.get("origin") or connection.headers.get("referer") or ""
    return urlsplit(value).netloc.lower()


def _credentials(header: str) -> tuple[str, str]:
    """Name and password of a Basic Authorization header; empty when it is not one."""
    kind, _, coded = header.partition(" ")
    if kind.lower() != "basic":
        return "", ""
    try:
        name, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return "".join(letter for letter in name if letter.isprintable()).strip()[:MAX_NAME], password


def _with_headers(send: Send) -> Send:
    """Add the security headers to the response."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
