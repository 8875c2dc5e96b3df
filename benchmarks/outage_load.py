"""The load of `outages`: API writes, reads, health checks, events, bad messages and idle connections, for a time.

Run as ``python -m benchmarks.outage_load`` with a JSON object of `Plan` on standard input; prints one JSON object.
Writes and reads are an open loop: a latency counts from the moment at which the request was due.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvloop
from confluent_kafka import KafkaError, Message, Producer

from nextreel.settings import load

_HEALTH_SECONDS = 0.2
_BAD_MESSAGE_SECONDS = 60.0
#: A broker takes 1,048,588 bytes by default; the contract takes 1,000,000.
_OVERSIZED_BYTES = 1_030_000
_ANSWER_SECONDS = 60.0
#: Idle connections are opened in groups, and again when the server has closed them.
_IDLE_GROUP, _IDLE_SECONDS = 100, 1.0


@dataclass(frozen=True)
class Plan:
    """What is asked of the server and sent to Kafka, per second where it is a rate."""

    url: str
    bootstrap: str
    seconds: float
    writes: float
    reads: float
    events: float
    idle: int
    users: int
    titles: list[str]
    label: str
    acknowledged: str  # path of a file to which ids of acknowledged events are written, one a line


class Load:
    """One run of a plan."""

    def __init__(self, plan: Plan):
        self._plan = plan
        to = urlsplit(plan.url)
        self._host, self._port = str(to.hostname), int(to.port or 80)
        self._began = time.perf_counter()
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._seconds: dict[str, list[tuple[float, float]]] = {"write": [], "read": [], "health": []}
        self._statuses: dict[str, Counter[int]] = {kind: Counter() for kind in self._seconds}
        self._good_writes: list[float] = []
        self._acknowledged: list[str] = []
        self._silent_refusals = 0
        self._bad_sent = Counter[str]()
        self._idle_opened = 0

    async def run(self) -> dict[str, Any]:
        """Run the plan; return counts, and latencies in seconds with the moment at which each request was due."""
        plan = self._plan
        await asyncio.gather(
            asyncio.to_thread(self._send_events),
            self._open_loop("write", plan.writes, self._write),
            self._open_loop("read", plan.reads, self._read),
            self._open_loop("health", 1 / _HEALTH_SECONDS, self._health),
            self._hold_idle_connections(),
        )
        Path(plan.acknowledged).write_text("\n".join(self._acknowledged))
        return {
            "statuses": {kind: dict(counts) for kind, counts in self._statuses.items()},
            "seconds": self._seconds,
            "good_writes": self._good_writes,
            "acknowledged": len(self._acknowledged),
            "silent_refusals": self._silent_refusals,
            "bad_sent": dict(self._bad_sent),
            "idle_opened": self._idle_opened,
        }

    async def _open_loop(self, kind: str, rate: float, request: Callable[[int], Awaitable[int]]) -> None:
        if rate <= 0:
            return
        under_way: set[asyncio.Task[None]] = set()
        for number in range(int(rate * self._plan.seconds)):
            due = self._began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self._timed(kind, request, number, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def _timed(self, kind: str, request: Callable[[int], Awaitable[int]], number: int, due: float) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                status = await request(number)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            status = 0
        self._statuses[kind][status] += 1
        self._seconds[kind].append((due - self._began, time.perf_counter() - due))

    async def _write(self, number: int) -> int:
        plan, own = self._plan, f"{self._plan.label}-api-{number}"
        event = {
            "id": own,
            "user_id": f"u{1 + number % plan.users:06d}",
            "content_id": plan.titles[number % len(plan.titles)],
            "event": "play",
        }
        status, body = await self._request("POST", "/v1/interactions", json.dumps(event).encode())
        if status == 202:
            self._acknowledged.append(own)
            self._good_writes.append(time.perf_counter() - self._began)
        elif b"may have been written" not in body and b"not written" not in body and b"nothing was written" not in body:
            self._silent_refusals += 1
        return status

    async def _read(self, number: int) -> int:
        path = f"/v1/users/u{1 + number % self._plan.users:06d}/recommendations"
        return (await self._request("GET", path))[0]

    async def _health(self, _: int) -> int:
        return (await self._request("GET", "/healthz"))[0]

    async def _request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        reader, writer = await self._connection()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        try:
            writer.write(head.encode() + b"\r\n" + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            headers = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
            answer = await reader.readexactly(int(headers[b"content-length"]))
        except BaseException:
            writer.close()
            raise
        if headers.get(b"connection") == b"close":
            writer.close()
        else:
            self._free.append((reader, writer))
        return int(lines[0].split()[1]), answer

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            reader, writer = self._free.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)

    async def _hold_idle_connections(self) -> None:
        held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        while time.perf_counter() < self._began + self._plan.seconds:
            for reader, writer in held:
                if reader.at_eof():
                    writer.close()
            held = [(reader, writer) for reader, writer in held if not writer.is_closing()]
            missing = min(_IDLE_GROUP, self._plan.idle - len(held))
            with suppress(OSError):
                for _ in range(missing):
                    held.append(await asyncio.open_connection(self._host, self._port))
                    self._idle_opened += 1
            await asyncio.sleep(_IDLE_SECONDS)
        for _, writer in held:
            writer.close()

    def _send_events(self) -> None:
        plan, kafka = self._plan, load({}, {}).kafka
        settings = {"enable.idempotence": "true", "linger.ms": "20", "message.max.bytes": "2000000"}
        producer = Producer(kafka.client_config | settings | {"bootstrap.servers": plan.bootstrap})
        next_bad = self._began + _BAD_MESSAGE_SECONDS / 2
        for number in range(int(plan.events * plan.seconds)):
            wait = self._began + number / plan.events - time.perf_counter()
            if wait > 0:
                producer.poll(wait)
            own, user = f"{plan.label}-event-{number}", f"u{1 + number * 7 % plan.users:06d}"
            event = {
                "type": "interaction",
                "id": own,
                "timestamp": datetime.now(UTC).isoformat(),
                "id_usuario": user,
                "id_contenido": plan.titles[number * 13 % len(plan.titles)],
                "evento": "complete",
            }
            self._produce(producer, kafka.interactions, user.encode(), orjson.dumps(event), own)
            if time.perf_counter() >= next_bad:
                next_bad += _BAD_MESSAGE_SECONDS
                self._send_bad(producer, kafka.interactions, kafka.movies)
        producer.flush(300.0)

    def _send_bad(self, producer: Producer, interactions: str, movies: str) -> None:
        """Send one message of each kind that must end in quarantine."""
        title = {"type": "movie", "id": f"{self._plan.label}-bad-{time.time_ns()}", "timestamp": "2026-01-01T00:00:00Z"}
        many = orjson.dumps(title | {"titulo": "x", "generos": [f"g{n}" for n in range(60_000)]})
        self._produce(producer, movies, b"bad", many, "poison", "poison")
        large = b'{"type":"interaction","id":"' + b"x" * _OVERSIZED_BYTES + b'"}'
        self._produce(producer, interactions, b"bad", large, "oversized", "oversized")

    def _produce(self, producer: Producer, topic: str, key: bytes, value: bytes, own: str, bad: str = "") -> None:
        def report(error: KafkaError | None, _: Message) -> None:
            if error is None and bad:
                self._bad_sent[bad] += 1
            elif error is None:
                self._acknowledged.append(own)

        while True:
            try:
                return producer.produce(topic, value, key=key, on_delivery=report)  # type: ignore[no-any-return]
            except BufferError:
                producer.poll(0.1)


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    json.dump(uvloop.run(Load(plan).run()), sys.stdout)


if __name__ == "__main__":
    main()
