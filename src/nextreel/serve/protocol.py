"""HTTP/1.1 on one connection, bounded before anything of a request is believed.

One request is parsed, answered and sent before the next one is parsed: what a client sends meanwhile stays in the
kernel, which makes the client wait. A request reaches the app when all of it is there, so a slow client costs a
connection and no more. What is malformed, ambiguous or too large is answered with a problem document, and the
connection is closed.
"""

import asyncio
import logging
import re
from collections import deque
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uvicorn
from starlette.types import ASGIApp

from nextreel.serve.connections import Connections
from nextreel.serve.exchange import Exchange
from nextreel.serve.problems import raw_problem

_LOG = logging.getLogger(__name__)
_NEVER = float("inf")
_END = b"\r\n\r\n"
#: Bytes of chunk sizes, chunk extensions and trailers beyond the body itself.
_FRAMING_BYTES = 65_536
#: A refused client has this long to read why, and may send this many bytes meanwhile.
_LINGER_SECONDS, _LINGER_BYTES = 1.0, 2**20
#: Bytes that a header takes besides its own.
_HEADER_COST = 150
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)([^#]*)", re.IGNORECASE)
_SPECIAL = frozenset(
    (b"host", b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"expect")
)
#: A length of more digits than this is too large for any body, and costs time to read.
_LENGTH_DIGITS = 19


class RequestRefused(Exception):  # noqa: N818 (a refusal is an answer)
    """A request that is not answered by the app: status, reason for the metric, and what is wrong with it."""

    def __init__(self, status: int, reason: str, detail: str):
        super().__init__(status, reason, detail)
        self.status, self.reason, self.detail = status, reason, detail


class HttpConnection(asyncio.BufferedProtocol):
    """One connection, from which requests are read one at a time."""

    _in_body: bool
    _body_timed: bool

    def __init__(
        self,
        connections: Connections,
        app: ASGIApp,
        server_state: Any,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ):
        self.loop = loop
        self.held = 0
        self.read_deadline = self.write_deadline = _NEVER
        self.server_state = server_state
        self._connections = connections
        self._settings = connections.settings
        self._app = app
        self._app_state = app_state
        self._buffer = connections.new_buffer()
        self._parser = httptools.HttpRequestParser(self)
        self._exchange: Exchange | None = None
        self._ready: deque[Exchange] = deque()
        self._unparsed = b""
        self._reading_paused = False
        self._writable: asyncio.Future[None] | None = None
        self._is_last = False  # whatever follows is not parsed
        self._lingering = -1  # bytes that may still come from a client that was refused
        self._refusal: RequestRefused | None = None  # is sent after the answer under way
        self._refused: RequestRefused | None = None  # why the parser has stopped
        self._is_within = True
        self._new_message()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=65_536)
        self._client = _address(transport.get_extra_info("peername"))
        self._server = _address(transport.get_extra_info("sockname"))
        self.server_state.connections.add(self)
        self.read_deadline = self.loop.time() + self._settings.idle_timeout_seconds
        self._is_within = self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End, whatever is under way."""
        self.server_state.connections.discard(self)
        self._connections.remove(self)
        self.read_deadline = self.write_deadline = _NEVER
        self._is_last = True
        self._unparsed = b""
        self._ready.clear()
        if self._exchange is not None:
            self._exchange.disconnect()
        self._let_write()
        # Nothing refers to itself any more: the memory is free at once, whenever Python looks for cycles.
        self._exchange = self._refusal = None
        self._new_message()
        del self._parser

    def eof_received(self) -> bool:
        """Answer what was asked; a client that reads a stream and hangs up has gone."""
        self._is_last = True
        return self._exchange is not None and not self._exchange.has_begun

    def get_buffer(self, sizehint: int) -> bytearray:
        """Return where the event loop puts what comes next."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come."""
        if self._lingering >= 0:
            self._lingering -= nbytes
            if self._lingering < 0:
                self.give_up()
            return
        if self._is_last:
            return
        data = bytes(memoryview(self._buffer)[:nbytes])
        if self._exchange is not None or self._writable is not None:
            self._unparsed += data
            self._pause_reading()
            return
        self._feed(data)

    def pause_writing(self) -> None:
        """Wait for a client that does not read what it asked for, for a while."""
        self._writable = self.loop.create_future()
        self.write_deadline = self.loop.time() + self._settings.send_timeout_seconds

    def resume_writing(self) -> None:
        """Go on: the client has read."""
        self.write_deadline = _NEVER
        self._let_write()
        if self._exchange is None:
            self._go_on()

    # What others call.

    async def drain(self) -> None:
        """Wait until the client has read most of what it was sent."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def give_up(self) -> None:
        """Close as soon as possible: a client that has not read what it was sent loses it."""
        self._is_last = True
        self._connections.leave(self)
        if self._writable is not None:
            self.transport.abort()
            return
        self.transport.close()
        self.read_deadline, self.write_deadline = _NEVER, self.loop.time() + _LINGER_SECONDS

    def close(self) -> None:
        """Close when all that was written is sent, or when that takes too long."""
        self._is_last = True
        self.transport.close()
        if self.transport.get_write_buffer_size() and self.write_deadline == _NEVER:
            self.write_deadline = self.loop.time() + self._settings.send_timeout_seconds

    def shutdown(self) -> None:
        """Close after the request under way: the server stops (uvicorn calls this)."""
        if self._exchange is None:
            self.close()
        else:
            self._exchange.keep_alive = False

    def time_out(self, now: float) -> None:
        """End what has passed its deadline."""
        if self.write_deadline < now:
            self._connections.closed("send time-out")
            self.read_deadline = self.write_deadline = _NEVER
            self.transport.abort()
        elif self._lingering >= 0:
            self.give_up()
        elif self in self._connections.reading:
            part, seconds = "header", self._settings.header_timeout_seconds
            if self._in_body:
                part, seconds = "body", self._settings.body_timeout_seconds
            self.refuse(408, f"{part} time-out", f"the request's {part} did not arrive within {seconds:g} seconds")
        else:
            self._connections.closed("idle time-out")
            self.give_up()

    def refuse(self, status: int, reason: str, detail: str) -> None:
        """Answer a request that the app does not see, and close after it."""
        if self.transport.is_closing() or self._lingering >= 0:
            return
        self._is_last = True
        self._unparsed = b""
        self._refused = None
        if self._exchange is not None:  # an earlier request is still being answered
            self._refusal = RequestRefused(status, reason, detail)
            return
        self._connections.metrics.requests_refused.labels(reason).inc()
        self._connections.hold(self, 0)
        self._connections.idle.pop(self, None)
        self._connections.reading[self] = self._connections.reading.pop(self, None)
        self.transport.write(raw_problem(status, detail))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._lingering = _LINGER_BYTES
        self.read_deadline = self.loop.time() + _LINGER_SECONDS
        self._resume_reading()

    def finished(self, exchange: Exchange) -> None:
        """Go on after an answer that is complete."""
        self.server_state.total_requests += 1
        self._exchange = None
        if self.transport.is_closing():
            return
        if self._refusal is not None:
            refusal = self._refusal
            self.refuse(refusal.status, refusal.reason, refusal.detail)
        elif not exchange.keep_alive or (self._is_last and not self._ready):
            self.close()
        elif self._ready:
            self._start(self._ready.popleft())
        else:
            self.read_deadline = self.loop.time() + self._settings.idle_timeout_seconds
            self._connections.idle[self] = None
            self._go_on()

    # Parsing.

    def _go_on(self) -> None:
        """Take what has come meanwhile, as long as the client reads its answers."""
        if self._writable is not None or self._is_last:
            return
        if self._unparsed:
            data, self._unparsed = self._unparsed, b""
            self._feed(data)
        if not self._unparsed:
            self._resume_reading()

    def _feed(self, data: bytes) -> None:
        """Parse up to the end of a request, and keep the rest for later.

        The parser cannot be stopped, so it is given no more than one head, or one end of a body, at a time.
        """
        start, size = 0, len(data)
        while start < size:
            if self._is_last:
                return
            if self._exchange is not None or self._writable is not None:
                self._unparsed = data[start:]
                self._pause_reading()
                return
            end = data.find(_END, start) + len(_END)
            if end < len(_END):
                end = size
            if not self._parse(data if start == 0 and end == size else data[start:end]):
                return
            start = end
        if self._exchange is None:
            self._note_incomplete()

    def _parse(self, data: bytes) -> bool:
        """Give the parser some bytes, within the bounds. Return False where the request was refused."""
        self._seen += len(data)
        try:
            if self._in_body:
                if self._seen > self._settings.max_body_bytes + _FRAMING_BYTES:
                    raise RequestRefused(413, "body too large", "the body's chunks have too much besides the body")
            elif self._seen > self._settings.max_header_bytes:
                raise self._head_too_large(data)
            self._parser.feed_data(data)
        except RequestRefused as refused:
            self.refuse(refused.status, refused.reason, refused.detail)
            return False
        except httptools.HttpParserUpgrade:
            self._is_last = True
            return self._exchange is not None
        except httptools.HttpParserError as error:
            if self._refused is None and isinstance(error, httptools.HttpParserCallbackError):
                _LOG.error("a request could not be read", exc_info=error)
            why = self._refused or RequestRefused(400, "malformed", f"this is not HTTP/1.1: {error}")
            self.refuse(why.status, why.reason, why.detail)
            return False
        return True

    def _head_too_large(self, data: bytes) -> RequestRefused:
        most = f"at most {self._settings.max_header_bytes:,} bytes"
        if 2 * len(self._url) > self._seen or (not self._url and b"\r\n" not in data):
            return RequestRefused(414, "target too long", f"the request line and the headers have {most}")
        return RequestRefused(431, "headers too large", f"the request line and the headers have {most}")

    def _note_incomplete(self) -> None:
        """Note that a request has begun, and since when."""
        waiting = self._connections
        if self not in waiting.reading:
            if not self._seen and not self._in_body:
                return
            waiting.idle.pop(self, None)
            waiting.reading[self] = None
            self.read_deadline = self.loop.time() + self._settings.header_timeout_seconds
            self._body_timed = False
        if self._in_body and not self._body_timed:
            self._body_timed = True
            self.read_deadline = self.loop.time() + self._settings.body_timeout_seconds
        waiting.hold(self, self._head_bytes + self._seen + _HEADER_COST * len(self._headers))

    def _new_message(self) -> None:
        self._head_bytes = self._seen = 0
        self._in_body = self._body_timed = False
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._special: dict[bytes, bytes] = {}
        self._body = b""
        self._refused = None

    def _refusing(self, status: int, reason: str, detail: str) -> RequestRefused:
        """Remember why parsing ends: the parser raises an error of its own for what its callbacks raise."""
        refused = self._refused = RequestRefused(status, reason, detail)
        return refused

    # What the parser calls.

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. One behind the body (a trailer) counts for nothing."""
        if self._in_body:
            return
        name = name.lower()
        if len(self._headers) >= self._settings.max_header_fields:
            most = self._settings.max_header_fields
            raise self._refusing(431, "too many headers", f"a request has at most {most} headers")
        value = value.rstrip(b" \t")  # optional white space is no part of it (RFC 9110, section 5.5)
        if name in _SPECIAL:
            if name == b"content-length":
                value = value.lstrip(b"0") or b"0"
            if name in self._special:
                raise self._refusing(400, "ambiguous", f"the header {name.decode()} is there twice")
            self._special[name] = value
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Judge the head: what is ambiguous, or will be too long, is refused before its body comes."""
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise self._refusing(505, "version", f"HTTP/{version} is not HTTP/1.1 or HTTP/1.0")
        special = self._special
        if version == "1.1" and b"host" not in special:
            raise self._refusing(400, "ambiguous", "the header Host is missing")
        self._version = version
        has_body = False
        if b"transfer-encoding" in special:
            has_body = True
            if version == "1.0" or special[b"transfer-encoding"].lower() != b"chunked":
                raise self._refusing(
                    501, "transfer coding", "Transfer-Encoding must be chunked, and the request HTTP/1.1"
                )
        elif b"content-length" in special:
            digits = special[b"content-length"]
            length = int(digits) if len(digits) <= _LENGTH_DIGITS else 10**_LENGTH_DIGITS
            has_body = length > 0
            if length > self._settings.max_body_bytes:
                raise self._refusing(
                    413, "body too large", f"a body has at most {self._settings.max_body_bytes:,} bytes"
                )
        if self._parser.should_upgrade() and has_body:
            raise self._refusing(400, "ambiguous", "a request with a body cannot change the protocol (Upgrade)")
        self._target()
        if b"expect" in special:
            if special[b"expect"].lower() != b"100-continue":
                raise self._refusing(417, "expectation", "the only expectation that is met is 100-continue")
            if has_body and version == "1.1" and self._exchange is None:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._keep_alive = version == "1.1" and self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._in_body = True
        self._head_bytes, self._seen = self._seen, 0

    def _target(self) -> None:
        """Take the target's path. A whole URL must have the name that the header Host has."""
        target = self._url
        if not target.startswith(b"/"):
            whole = _ABSOLUTE.fullmatch(target)
            if whole is None or whole[1].lower() != self._special.get(b"host", b"").strip().lower():
                raise self._refusing(400, "ambiguous", "the target must be a path, or a URL with the name in Host")
            target = whole[2] if whole[2].startswith(b"/") else b"/" + whole[2]
        if b"#" in target:
            raise self._refusing(400, "malformed", "the target must not have a fragment (#)")
        self._raw_path, _, self._query = target.partition(b"?")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body += body
        if len(self._body) > self._settings.max_body_bytes:
            raise self._refusing(413, "body too large", f"a body has at most {self._settings.max_body_bytes:,} bytes")

    def on_message_complete(self) -> None:
        """Give a request that is whole to the app, or let it wait for the one before it."""
        path = self._raw_path.decode("ascii")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self._version,
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "method": self._parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": self._raw_path,
            "query_string": self._query,
            "headers": self._headers,
            "state": {**self._app_state, "beyond_connections": not self._is_within},
        }
        exchange = Exchange(self, scope, self._body, self._keep_alive and self._is_within)
        self._new_message()
        if self._exchange is None:
            self._start(exchange)
        else:
            self._ready.append(exchange)

    def _start(self, exchange: Exchange) -> None:
        self._exchange = exchange
        waiting = self._connections
        waiting.idle.pop(self, None)
        if self in waiting.reading:
            del waiting.reading[self]
            waiting.hold(self, 0)
        self.read_deadline = _NEVER
        task = self.loop.create_task(exchange.run(self._app))
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    # Flow.

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    def _let_write(self) -> None:
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None


def protocol_of(connections: Connections) -> type[asyncio.Protocol]:
    """Return what uvicorn takes as its protocol class (``http``): it is called for each connection."""

    def connect(
        config: uvicorn.Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> HttpConnection:
        loop = _loop or asyncio.get_running_loop()
        return HttpConnection(connections, config.loaded_app, server_state, app_state, loop)

    return cast(type[asyncio.Protocol], connect)


def _address(name: Any) -> tuple[str, int] | None:
    """Return host and port of a socket's name; None where it has neither."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None
