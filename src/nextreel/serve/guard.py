"""Who may ask for what, and how much: keys and roles, limits, other origins, and the headers of every response."""

import logging
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Depends, Request, Response
from fastapi.security import APIKeyHeader
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nextreel.serve.keys import Keys, Role
from nextreel.serve.limits import RateLimit, budget_of
from nextreel.serve.metrics import Metrics
from nextreel.serve.problems import SECURITY_HEADERS, problem
from nextreel.serve.proxies import Proxies, loggable_path, route_path
from nextreel.settings import ServeSettings

_LOG = logging.getLogger("nextreel.access")

#: What needs no key: it says nothing of anybody. The dashboard's page asks for one, and what it shows needs it.
_OPEN = {"/", "/healthz", "/readyz", "/openapi.json"}
_OPEN_FOLDER = "/static/"
#: What is answered however busy the server is.
_HEALTH = {"/healthz", "/readyz", "/metrics"}
#: Routes that take nothing off the budget of an address: they cost little, and monitoring asks for them.
_UNLIMITED = {"/healthz", "/readyz"}
#: Characters of a path, decoded: two ids of 256 and what is around them. Routes take time with the square of it.
_LONGEST_PATH = 1_024
#: Characters of a header Host: a name of the DNS has 253, and a port 5.
_LONGEST_HOST = 261

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
#: Keys are shorter: what is longer is not worth a hash.
_LONGEST_KEY = 256

#: What a page of another origin may send and see, where its origin is allowed.
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT",
    "Access-Control-Allow-Headers": "Content-Type, Idempotency-Key, X-API-Key",
    "Access-Control-Max-Age": "600",
}
_EXPOSED = b"Idempotency-Key, Retry-After"

_RANK: dict[Role, int] = {"read": 0, "write": 1, "admin": 2}

_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="where the server asks for keys")


def role(least: Literal["read", "write", "admin"]) -> Any:
    """Return the dependency of a route that asks for a role at least, where the server asks for keys."""

    async def allowed(request: Request, _: Annotated[str | None, Depends(_KEY)]) -> None:
        held: Role | None = request.scope["state"].get("role")
        if held is not None and _RANK[held] < _RANK[least]:
            raise HTTPException(403, f"this takes a key of the role {least}; yours has {held}")

    return Depends(allowed)


@dataclass(frozen=True)
class Turned:
    """Why a request is refused before it is read: status, reason for the metric, detail, headers."""

    status: int
    reason: str
    detail: str
    headers: dict[str, str]


class Guard:
    """The rules. ``hosts`` are the names by which the server may be asked, in small letters, all where it is empty.

    A page elsewhere whose own name is made to lead here (DNS rebinding) asks by that name. With ``always`` keys are
    asked for even where there are none.
    """

    def __init__(self, settings: ServeSettings, keys: Keys, hosts: set[str], always: bool, metrics: Metrics):
        self.metrics = metrics
        self.max_body_bytes = settings.max_body_bytes
        self.proxies = Proxies(settings.trusted_proxies, settings.root_path)
        self.origins = frozenset(origin.encode() for origin in settings.cors_origins)
        self._settings = settings
        self._keys = keys
        self._hosts = hosts
        self._always = always
        self._in_progress = 0
        self._by_client = RateLimit(settings.requests_per_second)
        self._by_address = RateLimit(settings.address_requests_per_second)
        self._without_key = RateLimit(settings.failed_keys_per_second)
        metrics.in_progress.set_function(lambda: self._in_progress)

    def middleware(self, app: ASGIApp) -> "Guarded":
        """Return an app behind the rules."""
        return Guarded(app, self)

    def refusal(self, scope: Scope, path: str) -> Turned | None:
        """Return why a request is refused before it is read; None where it is not.

        What costs least comes first, and the look-up of a key after the budget of the client's address.
        """
        if path not in _HEALTH and (busy := self._busy(scope)):
            return busy
        if len(path) > _LONGEST_PATH:
            return Turned(414, "target too long", f"a path has at most {_LONGEST_PATH:,} characters", {})
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = _name(host) if len(host) <= _LONGEST_HOST else None
        if name is None:
            return Turned(400, "host", "the header Host must be a name or an address, with a port or without", {})
        if self._hosts and name not in self._hosts:
            return Turned(421, "host", "this server is not known by that name (header Host)", {})
        address = budget_of(scope["client"][0]) if scope.get("client") else ""
        if path not in _UNLIMITED and not self._by_address.spend(address):
            return _too_many(self._by_address, "address rate", "of one address")
        if _is_preflight(scope, headers):
            if headers["origin"].encode("latin-1") in self.origins:
                return None
            if self.origins:
                return Turned(403, "origin", "this origin is not one of serve.cors_origins", {})
        return self._body(headers) or self._key(scope, path, headers.get("x-api-key"), address)

    def _busy(self, scope: Scope) -> Turned | None:
        if scope["state"].get("beyond_connections"):
            detail = "The server has as many connections as it may have. Try again."
            return Turned(503, "connections", detail, {"Retry-After": "1"})
        if self._in_progress >= self._settings.max_concurrent_requests:
            detail = f"The server answers {self._settings.max_concurrent_requests:,} requests already. Try again."
            return Turned(503, "requests", detail, {"Retry-After": "1"})
        return None

    def _body(self, headers: Headers) -> Turned | None:
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.max_body_bytes:
            return Turned(413, "body too large", f"a body has at most {self.max_body_bytes:,} bytes", {})
        if headers.get("content-encoding", "identity").lower() != "identity":
            detail = "a body must not be compressed (header Content-Encoding)"
            return Turned(415, "content coding", detail, {"Accept-Encoding": "identity"})
        has_body = int(length) > 0 or "transfer-encoding" in headers
        if has_body and _media_type(headers) != "application/json":
            return Turned(415, "media type", "send application/json", {})
        return None

    def _key(self, scope: Scope, path: str, key: str | None, address: str) -> Turned | None:
        """Look a key up, and take the request off its budget, or off that of the address where there are no keys."""
        if _is_open(path):
            return None
        client = address
        if self._keys.needed or self._always:
            known = self._keys.find(key) if key and len(key) <= _LONGEST_KEY else None
            if known is None:
                if not self._without_key.spend(address):
                    return _too_many(self._without_key, "unknown keys", "of one address without a known key")
                return Turned(401, "key", "send a known key as X-API-Key", {"WWW-Authenticate": "X-API-Key"})
            scope["state"]["role"], client = known.role, f"key {known.name}"
        return None if self._by_client.spend(client) else _too_many(self._by_client, "rate", "of one client")

    def began(self) -> None:
        """Count a request that the app answers."""
        self._in_progress += 1

    def ended(self) -> None:
        """Count it no more."""
        self._in_progress -= 1

    def told(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered, and log it where that is asked for: no query, no key."""
        route = scope.get("route")
        path = scope.get("fast_route") or getattr(route, "path_format", None) or "other"
        self.metrics.request(method, path, status, seconds)
        if self._settings.access_log:
            client = scope["client"][0] if scope.get("client") else "-"
            _LOG.info("%s %s %s %d %.1f ms", client, method, loggable_path(scope), status, 1000 * seconds)


class Guarded:
    """An app behind a guard's rules. It answers HEAD wherever there is GET."""

    def __init__(self, app: ASGIApp, guard: Guard):
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guard, method = self._guard, scope["method"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
            send = _without_body(send)
        answer = _Answer(send, guard.origins, scope)
        scope.setdefault("state", {})
        guard.proxies.apply(scope)
        refused = guard.refusal(scope, route_path(scope))
        if refused is not None:
            guard.metrics.requests_refused.labels(refused.reason).inc()
            await problem(refused.status, refused.detail, refused.headers)(scope, receive, answer.send)
        elif guard.origins and _is_preflight(scope, Headers(scope=scope)):
            await Response(status_code=204, headers=_PREFLIGHT)(scope, receive, answer.send)
        else:
            guard.began()
            try:
                await self._app(scope, self._limited(receive), answer.send)
            except Exception:  # its handler has logged it, and answered, unless an answer had begun
                if not answer.has_begun:
                    detail = "The server made a mistake; its log says which."
                    await problem(500, detail)(scope, receive, answer.send)
            finally:
                guard.ended()
        guard.told(scope, method, answer.status, time.perf_counter() - answer.began_at)

    def _limited(self, receive: Receive) -> Receive:
        """Return what reads a body that may not say its length, and ends it where it is too long."""
        most, read = self._guard.max_body_bytes, 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > most:
                    raise HTTPException(413, f"a body has at most {most:,} bytes")
            return message

        return limited


class _Answer:
    """An answer on its way out: gets the headers that every answer has."""

    def __init__(self, send: Send, origins: frozenset[bytes], scope: Scope):
        self.began_at = time.perf_counter()
        self.status = 500
        self.has_begun = False
        self._send = send
        self._origins = origins
        self._scope = scope

    async def send(self, message: Message) -> None:
        """Send a part of it."""
        if message["type"] == "http.response.start":
            self.status, self.has_begun = message["status"], True
            own = {name.lower() for name, _ in message["headers"]}
            more = [header for header in SECURITY_HEADERS.items() if header[0] not in own]
            if self._origins:
                more += self._for_origin()
            headers = [*message["headers"], *more]
            if HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST:
                headers = [(name, _path_of(value) if name == b"location" else value) for name, value in headers]
            message = {**message, "headers": headers}
        await self._send(message)

    def _for_origin(self) -> list[tuple[bytes, bytes]]:
        origin = next((value for name, value in self._scope["headers"] if name == b"origin"), b"")
        if origin not in self._origins:
            return [(b"vary", b"Origin")]
        allowed = b"access-control-allow-origin", origin
        return [(b"vary", b"Origin"), allowed, (b"access-control-expose-headers", _EXPOSED)]


def _without_body(send: Send) -> Send:
    """Return what sends the head of an answer alone, which ends it: a stream, too."""
    is_over = False

    async def head_alone(message: Message) -> None:
        nonlocal is_over
        if is_over:
            return
        await send(message)
        if message["type"] == "http.response.start":
            is_over = True
            await send({"type": "http.response.body", "body": b""})

    return head_alone


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def _too_many(limit: RateLimit, reason: str, whose: str) -> Turned:
    return Turned(429, reason, f"more than {limit.rate:g} requests a second {whose}", {"Retry-After": "1"})


def _path_of(location: bytes) -> bytes:
    """Return a redirect's target without the server's name, which only a proxy knows that is before it."""
    whole = re.fullmatch(rb"https?://[^/]*(/(?!/).*)", location)
    return whole[1] if whole else location


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith(_OPEN_FOLDER)


@lru_cache(1024)
def _name(host: str) -> str | None:
    """Return the name in a header Host, without the port; None where it has anything else, as a user's name."""
    known = _HOST.fullmatch(host)
    return known[1].lower() if known else None if host else ""


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
