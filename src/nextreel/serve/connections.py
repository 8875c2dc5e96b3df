"""All open connections of a server: how many there may be, how long each may take, and which one gives way.

A connection is idle (it has sent nothing since its last answer), reading (a request has begun and is not complete) or
busy (a request is being answered). Idle and reading connections cost a file descriptor and a few kilobytes. When
`serve.max_connections` is reached, the connection that has been idle longest is closed for a new one, then the one that
has been reading longest. Where all connections are busy, a new one is still accepted, so that health routes are
answered; its other requests get 503.
"""

import asyncio
import logging
import sys
from typing import Protocol

from nextreel.serve.metrics import Metrics
from nextreel.settings import ServeSettings

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_LOG = logging.getLogger(__name__)

#: Bytes taken from a connection at a time: what a client has sent beyond its current request waits in the kernel.
_READ_BYTES = 16_384
#: Bytes of incomplete requests over all connections.
_HELD_BYTES = 24 * 2**20
#: Connections above `serve.max_connections`, for health routes while all others are busy.
_EXTRA = 64
#: Files that the process needs for other things: Kafka, the lake, the model.
_OTHER_FILES = 256


class Bounded(Protocol):
    """A connection, as far as its bounds are concerned; times are the event loop's."""

    loop: asyncio.AbstractEventLoop
    held: int
    read_deadline: float
    write_deadline: float

    def refuse(self, status: int, reason: str, detail: str) -> None:
        """Answer a request that the app does not see, and close after it."""

    def give_up(self) -> None:
        """Close as soon as possible."""

    def time_out(self, now: float) -> None:
        """End what has passed its deadline."""


class Connections:
    """The connections of one server."""

    def __init__(self, settings: ServeSettings, metrics: Metrics):
        self.settings = settings
        self.metrics = metrics
        self.max_open = _allowed(settings.max_connections)
        #: Where all connections read into, one at a time: only Windows' event loop reads ahead.
        self.shared_buffer = None if sys.platform == "win32" else bytearray(_READ_BYTES)
        #: In the order in which they became so.
        self.idle: dict[Bounded, None] = {}
        self.reading: dict[Bounded, None] = {}
        self._open: set[Bounded] = set()
        self._leaving: set[Bounded] = set()
        self._held = 0
        self._sweeping = False
        timeouts = (
            settings.header_timeout_seconds,
            settings.body_timeout_seconds,
            settings.idle_timeout_seconds,
            settings.send_timeout_seconds,
        )
        self._sweep_seconds = min(1.0, max(0.02, min(timeouts) / 5))
        metrics.connections.set_function(lambda: len(self._open))

    def new_buffer(self) -> bytearray:
        """Return the memory that a connection reads into."""
        return self.shared_buffer or bytearray(_READ_BYTES)

    def add(self, connection: Bounded) -> bool:
        """Take in a new connection. Return whether it is within `serve.max_connections`."""
        self._open.add(connection)
        is_within = len(self._open) - len(self._leaving) <= self.max_open or self._make_room()
        if len(self._open) - len(self._leaving) > self.max_open + _EXTRA:
            self.closed("all busy")
            connection.give_up()
            return False
        self.idle[connection] = None
        if not self._sweeping:
            self._sweeping = True
            connection.loop.call_later(self._sweep_seconds, self._sweep, connection.loop)
        return is_within

    def leave(self, connection: Bounded) -> None:
        """Do not count a connection any more that is about to be closed."""
        self._leaving.add(connection)
        self.idle.pop(connection, None)
        self.reading.pop(connection, None)
        self.hold(connection, 0)

    def remove(self, connection: Bounded) -> None:
        """Forget a connection that is closed."""
        self.leave(connection)
        self._leaving.discard(connection)
        self._open.discard(connection)

    def hold(self, connection: Bounded, n_bytes: int) -> None:
        """Note how many bytes of an incomplete request a connection holds; of too many, the oldest are given up."""
        self._held += n_bytes - connection.held
        connection.held = n_bytes
        while n_bytes and self._held > _HELD_BYTES and self.reading:  # a refused one calls this again with 0
            oldest = next(iter(self.reading))
            oldest.refuse(503, "memory", "Incomplete requests take too much memory. Try again.")
            oldest.give_up()

    def closed(self, reason: str) -> None:
        """Count a connection that the server closes by itself."""
        self.metrics.connections_closed.labels(reason).inc()

    def _make_room(self) -> bool:
        """Close the connection that has waited longest. Return False where all are busy."""
        for waiting in (self.idle, self.reading):
            oldest = next(iter(waiting), None)
            if oldest is not None:
                self.closed("made room")
                if oldest in self.reading:
                    oldest.refuse(503, "connections", "The server has as many connections as it may have. Try again.")
                oldest.give_up()
                return True
        return False

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what has taken too long; again as long as there are connections."""
        now = loop.time()
        for connection in [c for c in self._open if c.read_deadline < now or c.write_deadline < now]:
            connection.time_out(now)
        if self._open:
            loop.call_later(self._sweep_seconds, self._sweep, loop)
        else:
            self._sweeping = False


def raise_file_limit() -> None:
    """Let this process open as many files as it is allowed to: each connection is one."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):  # macOS has a lower limit of its own
            _LOG.warning("the limit of open files stays at %d", soft)


def _allowed(wanted: int) -> int:
    """Return how many connections there may be: those wanted, as far as the process may open files."""
    if sys.platform == "win32":
        return wanted
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    most = max(soft // 2, soft - _OTHER_FILES) - _EXTRA
    if most < wanted:
        _LOG.warning(
            "serve.max_connections is %d, and this process may open %d files: the server keeps at most %d connections. "
            "Raise the limit of open files (ulimit -n, LimitNOFILE).",
            wanted,
            soft,
            most,
        )
    return max(1, min(wanted, most))
