"""What users and titles that a model does not know cost a server: a restart, one user of many titles, a new title.

Interactions name unknown users and titles, each once; the server is started after them, and timed until it is ready.
Then, while more of them flow, new titles are described one by one, and timed until they are recommended. Last, one user
interacts with thousands of unknown titles, and the events that the server applies a second are counted while that user
goes on between others. There is no peer to run beside it, so ``peers`` is empty.
"""

import argparse
import json
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import psutil
from confluent_kafka import Producer

from benchmarks.catalogue import GENRES
from benchmarks.serve import Server, stored
from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.topics import create_topics
from nextreel.settings import load

_TITLE_SECONDS = 60.0


def run(arguments: list[str]) -> dict[str, Any]:
    """Make a model, fill the topic, start the server, and time it."""
    parser = argparse.ArgumentParser(prog="./run bench cold-ids")
    parser.add_argument("--titles", type=int, default=10_000, help="of the model")
    parser.add_argument("--users", type=int, default=10_000, help="of the model")
    parser.add_argument("--draws", type=int, default=400_000, help="ratings of the model")
    parser.add_argument("--ids", type=int, default=100_000, help="unknown users and titles before the restart, of each")
    parser.add_argument("--rate", type=float, default=1_000.0, help="unknown ids a second while new titles come")
    parser.add_argument("--new-titles", type=int, default=5)
    parser.add_argument("--heavy", type=int, default=20_000, help="titles of one user")
    parser.add_argument("--events", type=int, default=20_000, help="events that are counted a second")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds to wait for the server at the most")
    given = parser.parse_args(arguments)
    with embedded_broker() as bootstrap, tempfile.TemporaryDirectory() as home:
        settings = load({"kafka.bootstrap": bootstrap, "home": home}, {})
        create_topics(settings.kafka)
        stored(settings, given.users, given.titles, given.draws)
        source = _Source(bootstrap, settings.kafka.interactions, settings.kafka.movies)
        source.unknown(given.ids)
        source.flush()
        began = time.perf_counter()
        server = Server(bootstrap, home)
        try:
            _until(lambda: _is_ready(server), given.patience, "the server is not ready")
            restart, process = time.perf_counter() - began, psutil.Process(server.pid)
            memory = process.memory_info().rss
            new_titles = _new_titles(server, source, given)
            heavy = _heavy(server, source, given)
            grown = process.memory_info().rss - memory
        finally:
            server.__exit__()
    return {
        "ours": {
            "restart_seconds": round(restart, 1),
            "new_title_seconds": [round(seconds, 2) for seconds in new_titles],
            "events_per_second": round(heavy),
            "resident_mb": round(memory / 1e6),
            "grown_mb": round(grown / 1e6),
        },
        "peers": {},
        "ratios": {},
    }


class _Source:
    """Produces events."""

    def __init__(self, bootstrap: str, interactions: str, movies: str):
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": "5"})
        self._interactions, self._movies = interactions, movies
        self._n = self.sent = 0

    def watched(self, user: str, title: str) -> None:
        self._n += 1
        event = {"id": f"e{self._n}", "type": "interaction", "evento": "play"}
        self._send(self._interactions, event | {"id_usuario": user, "id_contenido": title})

    def unknown(self, n: int) -> None:
        for _ in range(n):
            self.watched(f"unknown user {self._n}", f"unknown title {self._n}")

    def movie(self, title: str, *genres: str) -> None:
        self._send(self._movies, {"id": title, "type": "movie", "titulo": title, "generos": genres})

    def flush(self) -> None:
        self._producer.flush(60)

    def _send(self, topic: str, event: dict[str, Any]) -> None:
        self.sent += 1
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1e6) % 1_000_000:06d}Z"
        while True:
            try:
                self._producer.produce(topic, json.dumps(event | {"timestamp": stamp}).encode(), key=event["id"])
                break
            except BufferError:
                self._producer.poll(0.05)
        self._producer.poll(0)


def _new_titles(server: Server, source: _Source, given: argparse.Namespace) -> list[float]:
    """Return the seconds until each new title is recommended, `_TITLE_SECONDS` for those that take longer."""
    taken = []
    with _flowing(source, given.rate):
        time.sleep(2.0)
        for n in range(given.new_titles):
            own = f"Own {n}"
            began = time.perf_counter()
            source.movie(f"premiere {n}", GENRES[n % len(GENRES)], own)
            path = f"/v1/users/u{n:07d}/recommendations?genre=Own%20{n}"
            with suppress(TimeoutError):
                _until(partial(_has_items, server, path), _TITLE_SECONDS, "")
            taken.append(time.perf_counter() - began)
    return taken


def _heavy(server: Server, source: _Source, given: argparse.Namespace) -> float:
    """Return the events that are applied a second while every other one is of a user of many titles."""
    for n in range(given.heavy):
        source.watched("heavy", f"heavy title {n}")
    source.flush()
    _until(lambda: _lag(server, source) <= 0, given.patience, "events are not applied")
    rng = np.random.default_rng(1)
    began = time.perf_counter()
    for n in range(given.events):
        user = "heavy" if n % 2 else f"u{rng.integers(given.users):07d}"
        source.watched(user, f"t{rng.integers(given.titles):07d}")
    source.flush()
    _until(lambda: _lag(server, source) <= 0, given.patience, "events are not applied")
    return float(given.events / (time.perf_counter() - began))


def _lag(server: Server, source: _Source) -> int:
    applied: int = server.get("/v1/model")["events_applied"]
    return source.sent - applied


@contextmanager
def _flowing(source: _Source, rate: float) -> Iterator[None]:
    """Have interactions of unknown users with unknown titles come at a rate."""
    stopping = threading.Event()

    def flow() -> None:
        while not stopping.wait(0.05):
            source.unknown(round(rate * 0.05))

    thread = threading.Thread(target=flow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _has_items(server: Server, path: str) -> bool:
    return bool(server.get(path)["items"])


def _is_ready(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/readyz") as answer:
            return bool(answer.status == 200)
    except OSError:  # 503, or it does not listen yet
        return False


def _until(true: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.perf_counter() + seconds
    while not true():
        if time.perf_counter() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.02)


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    ours = result["ours"]
    titles = ", ".join(f"{seconds:.2f}" for seconds in ours["new_title_seconds"])
    print(f"  restart with unknown ids: ready after {ours['restart_seconds']:.1f} s, {ours['resident_mb']:,} MB")
    print(f"  a new title while unknown ids flow: {titles} s")
    print(f"  beside a user of many titles: {ours['events_per_second']:,} events/s")
    print(f"  memory grown since the restart: {ours['grown_mb']:,} MB")
