"""A load of HTTP requests at a steady rate: an open loop, whose latencies count from when a request was due.

Run as ``python -m benchmarks.load URL RATE SECONDS CONNECTIONS`` with one path a line on standard input; prints JSON.
What waits for a connection, or for a server that is slow, is late: nothing is left out (no coordinated omission).
"""

import asyncio
import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import cycle
from typing import cast
from urllib.parse import urlsplit

import numpy as np
import uvloop

#: Beyond the time of the last request, what is not answered is an error.
_PATIENCE_SECONDS = 30.0


@dataclass
class Tally:
    """What came back: seconds from due to whole, and when, by request; statuses that are not 200."""

    seconds: list[float] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    errors: int = 0


class Connection(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(self, idle: "deque[Connection]", tally: Tally):
        self._idle = idle
        self._tally = tally
        self._due = 0.0
        self._left = -1
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._idle.append(self)

    def ask(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if self._left < 0:
            end = self._held.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._held[:end].lower()
            self._ok = head[9:12] == b"200"
            begin = head.index(b"content-length:") + 15
            self._left = end + 4 + int(head[begin:].split(b"\r\n", 1)[0])
        if len(self._held) >= self._left:
            now = time.perf_counter()
            self._tally.seconds.append(now - self._due)
            self._tally.at.append(now)
            self._tally.errors += not self._ok
            self._held, self._left = b"", -1
            self._idle.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        else:
            self._tally.errors += 1


async def load(url: str, paths: list[str], rate: float, seconds: float, connections: int) -> Tally:
    """Ask for paths, in turn, ``rate`` times a second."""
    to, tally, idle = urlsplit(url), Tally(), deque[Connection]()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Connection(idle, tally), str(to.hostname), to.port or 80)
    requests = cycle([f"GET {path} HTTP/1.1\r\nHost: {to.netloc}\r\n\r\n".encode() for path in paths])
    gaps = np.random.default_rng(0).exponential(1 / rate, int(rate * seconds))
    due = time.perf_counter() + np.cumsum(gaps)
    sent = 0
    waiting: deque[float] = deque()
    while sent < len(due) or waiting:
        now = time.perf_counter()
        if now > due[-1] + _PATIENCE_SECONDS:
            break
        while sent < len(due) and due[sent] <= now:
            waiting.append(float(due[sent]))
            sent += 1
        while waiting and idle:
            idle.popleft().ask(next(requests), waiting.popleft())
        if sent == len(due) and not waiting:
            break
        # Until the next is due; while some wait for a connection, until one may be free.
        await asyncio.sleep(0.0005 if waiting else max(0.0, due[sent] - time.perf_counter()))
    for _ in range(2_000):
        if len(tally.seconds) >= len(due):
            break
        await asyncio.sleep(0.005)
    tally.errors += len(due) - len(tally.seconds)
    return tally


def main() -> None:
    url, rate, seconds, connections = sys.argv[1], *map(float, sys.argv[2:5])
    paths = sys.stdin.read().split()
    tally = uvloop.run(load(url, paths, rate, seconds, int(connections)))
    took = np.array(tally.seconds) * 1e3
    began = min(tally.at)
    print(
        json.dumps(
            {
                "requests": len(took),
                "errors": tally.errors,
                "requests_per_second": round(len(took) / (max(tally.at) - began), 1),
                **{f"p{p:g}_ms": round(float(np.percentile(took, p)), 3) for p in (50, 95, 99, 99.9)},
                "most_ms": round(float(took.max()), 3),
                "by_second": [
                    round(float(np.percentile(part, 99)), 2)
                    for part in np.split(took, np.searchsorted(np.array(tally.at) - began, np.arange(1, seconds)))
                    if len(part)
                ],
            }
        )
    )


if __name__ == "__main__":
    main()
