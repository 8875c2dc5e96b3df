"""Who may ask for what, and how much: keys and roles, limits, and the headers of every response."""

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextreel.serve.keys import Keys, Role
from nextreel.serve.metrics import Metrics
from nextreel.serve.problems import problem
from nextreel.settings import ServeSettings

_LOG = logging.getLogger("nextreel.access")

#: Those who come after so many others have their allowance anew.
_CLIENTS = 10_000

#: Nothing is loaded from elsewhere, nothing embeds this, nothing guesses types, and nobody keeps an answer.
_HEADERS = {
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}
#: What needs no key: it says nothing of anybody. The dashboard's page asks for one, and what it shows needs it.
_OPEN = {"/", "/healthz", "/readyz", "/openapi.json"}
_OPEN_FOLDER = "/static/"

_RANK: dict[Role, int] = {"read": 0, "write": 1, "admin": 2}

_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="where the server asks for keys")


def role(least: Literal["read", "write", "admin"]) -> Any:
    """Return the dependency of a route that asks for a role at least, where the server asks for keys."""

    async def allowed(request: Request, _: Annotated[str | None, Depends(_KEY)]) -> None:
        held: Role | None = request.scope["state"].get("role")
        if held is not None and _RANK[held] < _RANK[least]:
            raise HTTPException(403, f"this takes a key of the role {least}; yours has {held}")

    return Depends(allowed)


@dataclass
class _Allowance:
    """What a client may still ask for: refilled with time, up to a second's worth."""

    left: float
    at: float


class Guard:
    """The rules. ``hosts`` are the names by which the server may be asked, in small letters, all where it is empty.

    A page elsewhere whose own name is made to lead here (DNS rebinding) asks by that name. With ``always`` keys are
    asked for even where there are none.
    """

    def __init__(self, settings: ServeSettings, keys: Keys, hosts: set[str], always: bool, metrics: Metrics):
        self._settings = settings
        self._keys = keys
        self._hosts = hosts
        self._always = always
        self._metrics = metrics
        self._clients: OrderedDict[str, _Allowance] = OrderedDict()

    def middleware(self, app: ASGIApp) -> "Guarded":
        """Return an app behind the rules."""
        return Guarded(app, self)

    def refusal(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        """Return why a request is refused before it is read: status, detail and headers; None where it is not."""
        headers = Headers(scope=scope)
        if self._hosts and _name(headers.get("host", "")) not in self._hosts:
            return 421, "this server is not known by that name (header Host)", {}
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._settings.max_body_bytes:
            return 413, f"a body has at most {self._settings.max_body_bytes:,} bytes", {}
        has_body = int(length) > 0 or "transfer-encoding" in headers
        if has_body and _media_type(headers) != "application/json":
            return 415, "send application/json", {}
        key = headers.get("x-api-key")
        client = scope["client"][0] if scope.get("client") else ""
        if (self._keys.needed or self._always) and not _is_open(scope["path"]):
            found = self._keys.find(key) if key else None
            if found is None:
                return 401, "send a known key as X-API-Key", {"WWW-Authenticate": "X-API-Key"}
            scope["state"]["role"], client = found.role, found.name
        if not _is_open(scope["path"]) and not self._spend(client):
            return 429, f"more than {self._settings.requests_per_second:g} requests a second", {"Retry-After": "1"}
        return None

    def _spend(self, client: str) -> bool:
        rate = self._settings.requests_per_second
        if rate == 0:
            return True
        now = time.monotonic()
        most = max(1.0, rate)
        known = self._clients.pop(client, None) or _Allowance(most, now)
        known.left, known.at = min(most, known.left + (now - known.at) * rate), now
        self._clients[client] = known
        if len(self._clients) > _CLIENTS:
            self._clients.popitem(last=False)
        if known.left < 1:
            return False
        known.left -= 1
        return True

    def told(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request that was answered, and log it where that is asked for: no query, no key."""
        route = scope.get("route")
        path = scope.get("fast_route") or getattr(route, "path_format", None) or "other"
        self._metrics.request(scope["method"], path, status, seconds)
        if self._settings.access_log:
            client = scope["client"][0] if scope.get("client") else "-"
            _LOG.info("%s %s %s %d %.1f ms", client, scope["method"], path, status, 1000 * seconds)


class Guarded:
    """An app behind a guard's rules."""

    def __init__(self, app: ASGIApp, guard: Guard):
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, begun = time.perf_counter(), 500, False
        scope.setdefault("state", {})

        async def sent(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                own = {name.lower() for name, _ in message["headers"]}
                more = [header for header in _HEADERS.items() if header[0] not in own]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        refused = self._guard.refusal(scope)
        if refused is not None:
            code, detail, more = refused
            await problem(code, detail, more)(scope, receive, sent)
        else:
            try:
                await self._app(scope, self._limited(receive), sent)
            except Exception:  # its handler has logged it, and answered, unless an answer had begun
                if not begun:
                    await problem(500, "The server made a mistake; its log says which.")(scope, receive, sent)
        self._guard.told(scope, status, time.perf_counter() - began)

    def _limited(self, receive: Receive) -> Receive:
        """Return what reads a body that may not say its length, and ends it where it is too long."""
        most, read = self._guard._settings.max_body_bytes, 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > most:
                    raise HTTPException(413, f"a body has at most {most:,} bytes")
            return message

        return limited


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_FOLDER)


def _name(host: str) -> str:
    """Return the name in a header Host, without the port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
