"""Whatever is sent, the server answers, stays alive, keeps its memory, and makes no mistake that it calls its own."""

import asyncio
import subprocess
import sys
from collections import Counter
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from tests.serve.hostile import broken, request
from tests.serve.test_serve_process import server

from nextreel.settings import Settings

pytestmark = pytest.mark.slow

_CONNECTIONS = 8
#: Of so many requests one has no right form: its connection ends with it.
_BROKEN_EVERY = 50


async def _answered(reader: asyncio.StreamReader, method: str) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if method != "HEAD" and lengths:
        await reader.readexactly(int(lengths[0].split(b":")[1]))
    return status


async def _ask(host: str, port: int, n: int, seed: int, statuses: Counter[int]) -> None:
    rng = np.random.default_rng(seed)
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    for number in range(n):
        if number % _BROKEN_EVERY == 0:
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(broken(rng))
                writer.write_eof()
                found = await asyncio.wait_for(reader.read(100), 30)
                statuses[int(found.split(b" ", 2)[1]) if found.startswith(b"HTTP/1.1 ") else 0] += 1
            except ConnectionError:
                statuses[0] += 1
            writer.close()
            continue
        method, sent = request(rng)
        for _ in range(2):  # a connection that the server has closed is opened anew
            connection = connection or await asyncio.open_connection(host, port)
            try:
                connection[1].write(sent)
                statuses[await asyncio.wait_for(_answered(connection[0], method), 60)] += 1
                break
            except (ConnectionError, asyncio.IncompleteReadError):
                connection[1].close()
                connection = None
    if connection is not None:
        connection[1].close()


async def _storm(url: str, n: int, seed: int) -> Counter[int]:
    to, statuses = urlsplit(url), Counter[int]()
    each = -(-n // _CONNECTIONS)
    asking = (_ask(str(to.hostname), to.port or 80, each, seed + i, statuses) for i in range(_CONNECTIONS))
    await asyncio.gather(*asking)
    return statuses


def test_a_storm_of_hostile_requests(served: Settings, n_hostile: int) -> None:
    with server(served, "--set", "serve.requests_per_second=0") as running:
        running.ready()
        asyncio.run(_storm(running.url, n_hostile // 5, 0))  # until all that it keeps ready is there
        process = psutil.Process(running.process.pid)
        before = process.memory_info().rss
        statuses = asyncio.run(_storm(running.url, n_hostile, 100))
        grown = (process.memory_info().rss - before) / 1e6
        print(f"by status {dict(sorted(statuses.items()))}, grown by {grown:.0f} MB")  # noqa: T201 (shown where it fails)
        assert sum(statuses.values()) > 0.95 * n_hostile
        assert not [status for status in statuses if status >= 500]
        assert {200, 202, 404, 405, 413, 415, 421, 422} <= set(statuses)
        assert grown < 50
        assert running.get("/v1/users/u10/recommendations")[1]["strategy"] == "personal"
        assert running.process.poll() is None


def test_who_sends_nothing_holds_nobody_up(served: Settings) -> None:
    """Connections that begin a request and do not end it."""
    with server(served) as running:
        running.ready()
        to = urlsplit(running.url)
        slow = f"""
import socket, time
held = [socket.create_connection(({to.hostname!r}, {to.port})) for _ in range(200)]
for each in held:
    each.sendall(b"GET /v1/popular HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nX-Slow: ")
print("held", flush=True)
time.sleep(60)
"""
        with subprocess.Popen([sys.executable, "-c", slow], stdout=subprocess.PIPE, text=True) as holding:
            assert holding.stdout is not None
            assert holding.stdout.readline() == "held\n"
            assert running.get("/v1/users/u10/recommendations")[0] == 200
            holding.kill()
