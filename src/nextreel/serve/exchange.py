"""One request and its answer, between a connection and the app (ASGI)."""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Scope

from nextreel.serve.problems import raw_problem
from nextreel.serve.proxies import loggable_path

_LOG = logging.getLogger(__name__)

_STATUS_LINE = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in HTTPStatus}
_WITHOUT_BODY = (204, 304)


class Sending(Protocol):
    """A connection, as far as an answer is concerned."""

    transport: asyncio.Transport
    server_state: Any

    async def drain(self) -> None:
        """Wait until the client has read most of what it was sent."""

    def finished(self, exchange: "Exchange") -> None:
        """Go on after an answer that is complete."""


class Exchange:
    """A request that is whole, and the answer that an app gives to it."""

    def __init__(self, connection: Sending, scope: Scope, body: bytes, keep_alive: bool):
        self.keep_alive = keep_alive
        self.has_begun = False
        self._connection = connection
        self._scope = scope
        self._body: bytes | None = body
        self._has_gone = self._is_complete = False
        self._over: asyncio.Future[None] | None = None
        self._head = b""
        self._is_chunked = False
        self._sends_body = scope["method"] != "HEAD"

    async def run(self, app: ASGIApp) -> None:
        """Let the app answer. Where it fails, the client gets 500, or loses the connection if an answer had begun."""
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            _LOG.exception("%s %s failed", self._scope["method"], loggable_path(self._scope))
        if self._is_complete or self._has_gone:
            return
        transport = self._connection.transport
        if self._head or not self.has_begun:
            transport.write(raw_problem(500, "The server made a mistake; its log says which."))
        self.keep_alive = False
        self._finish()

    def disconnect(self) -> None:
        """Note that the client has gone."""
        self._has_gone = True
        self._end_waiting()

    async def receive(self) -> Message:
        """Return the whole body, then wait until the client has gone or has its answer."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if not (self._has_gone or self._is_complete):
            self._flush()
            self._over = self._over or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._over)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Send a part of the answer; wait while the client does not read."""
        await self._connection.drain()
        if self._has_gone or self._connection.transport.is_closing():
            return
        if not self.has_begun:
            self._begin(message)
            self.has_begun = True
        elif self._is_complete:
            raise RuntimeError("an answer that is complete cannot go on")
        else:
            self._continue(message.get("body", b""), message.get("more_body", False))

    def _begin(self, message: Message) -> None:
        status: int = message["status"]
        lines, ends, has_length = [_STATUS_LINE[status]], 1, False
        for name, value in (*self._connection.server_state.default_headers, *message["headers"]):
            name = name.lower()
            if name == b"content-length":
                has_length = True
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
                continue
            lines.append(b"%b: %b\r\n" % (name, value))
            ends += 1
        if status in _WITHOUT_BODY:
            self._sends_body = False
        elif not has_length:
            self._is_chunked = self._scope["http_version"] == "1.1"
            self.keep_alive = self.keep_alive and self._is_chunked
            if self._is_chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
                ends += 1
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
            ends += 1
        head = b"".join(lines)
        if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
            raise RuntimeError("a header of an answer has a line break")
        self._head = head + b"\r\n"

    def _continue(self, body: bytes, more: bool) -> None:
        if not self._sends_body:
            body = b""
        elif self._is_chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        if self._head:
            body, self._head = self._head + body, b""
        if body:
            self._connection.transport.write(body)
        if not more:
            self._finish()

    def _flush(self) -> None:
        """Send a head whose body is late."""
        if self._head:
            self._connection.transport.write(self._head)
            self._head = b""

    def _finish(self) -> None:
        self._is_complete = True
        self._end_waiting()
        self._connection.finished(self)

    def _end_waiting(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)
