"""From an event that Kafka has acknowledged to a changed answer, while a thousand other events flow a second.

Three kinds: a user watches the title at the top of their list, which must then be gone; a user who is new declares a
genre, and must get a list that follows it; a title that is new must be recommended to somebody who asks for a genre
that it alone has. The server is asked again and again until its answer has changed. There is no peer to run beside it,
so ``peers`` is empty.
"""

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from confluent_kafka import Producer

from benchmarks.catalogue import GENRES
from benchmarks.serve import Server, stored
from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.topics import create_topics
from nextreel.settings import load

_WARM_UP_SECONDS, _PATIENCE_SECONDS = 3.0, 30.0


def run(arguments: list[str]) -> dict[str, Any]:
    """Serve a model, let events flow, and time changes one by one."""
    parser = argparse.ArgumentParser(prog="./run bench freshness")
    parser.add_argument("--titles", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=4_000_000)
    parser.add_argument("--events", type=float, default=1_000.0, help="other events a second")
    parser.add_argument("--changes", type=int, default=200, help="changes of each kind")
    given = parser.parse_args(arguments)
    with embedded_broker() as bootstrap, tempfile.TemporaryDirectory() as home:
        settings = load({"kafka.bootstrap": bootstrap, "home": home}, {})
        create_topics(settings.kafka)
        stored(settings, given.users, given.titles, given.draws)
        with Server(bootstrap, home) as server:
            feed = [sys.executable, "-m", "benchmarks.serve", bootstrap, str(given.events)]
            feeding = subprocess.Popen([*feed, str(given.titles), str(given.users)])
            try:
                time.sleep(_WARM_UP_SECONDS)
                found = _Changes(server.url, bootstrap).all(given.changes, given.users)
            finally:
                feeding.terminate()
                feeding.wait(30)
    return {
        "ours": {
            "interaction_p50_ms": _percentile(found["interaction"], 50),
            "interaction_p95_ms": _percentile(found["interaction"], 95),
            "new_user_p95_ms": _percentile(found["new user"], 95),
            "new_title_seconds": round(_percentile(found["new title"], 95) / 1e3, 3),
            "changes": given.changes,
        },
        "peers": {},
        "ratios": {},
    }


class _Changes:
    """Makes changes and waits until answers show them."""

    def __init__(self, url: str, bootstrap: str):
        to = urlsplit(url)
        self._line = http.client.HTTPConnection(str(to.hostname), to.port)
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": "1"})
        self._topics = load({}, {}).kafka
        self._rng = np.random.default_rng(7)

    def all(self, n: int, n_users: int) -> dict[str, list[float]]:
        users = [f"u{k:07d}" for k in self._rng.permutation(n_users)[:n]]
        return {
            "interaction": [self._interaction(user) for user in users],
            "new user": [self._new_user(k) for k in range(n)],
            "new title": [self._new_title(k) for k in range(n)],
        }

    def _interaction(self, user: str) -> float:
        first = self._list(user)[0]
        event = {"type": "interaction", "id": f"fresh {user}", "id_usuario": user, "id_contenido": first}
        acknowledged = self._send(self._topics.interactions, event | {"evento": "complete"})
        return self._until(acknowledged, lambda: first not in self._list(user))

    def _new_user(self, k: int) -> float:
        user, genre = f"fresh{k}", GENRES[k % len(GENRES)]
        acknowledged = self._send(self._topics.users, {"type": "user", "id": user, "generos": [genre]})
        return self._until(
            acknowledged, lambda: self._get(f"/v1/users/{user}/recommendations")["strategy"] == "preferences"
        )

    def _new_title(self, k: int) -> float:
        """In a list of a user who likes its genre, among titles of another genre that it has alone."""
        title, genre, own = f"fresh{k}", GENRES[k % len(GENRES)], f"Fresh{k}"
        event = {"type": "movie", "id": title, "titulo": title, "generos": [genre, own]}
        acknowledged = self._send(self._topics.movies, event)
        user = f"fresh{k % len(GENRES)}"
        return self._until(acknowledged, lambda: title in self._list(user, f"?genre={own}"))

    def _send(self, topic: str, event: dict[str, Any]) -> float:
        """Produce one event; return when Kafka had it."""
        at: list[float] = []
        said = event | {"timestamp": datetime.now(UTC).isoformat()}
        self._producer.produce(
            topic, json.dumps(said).encode(), key=event["id"], on_delivery=lambda *_: at.append(time.perf_counter())
        )
        while not at:
            self._producer.poll(0.001)
        return at[0]

    def _until(self, since: float, true: Callable[[], bool]) -> float:
        while not true():
            if time.perf_counter() > since + _PATIENCE_SECONDS:
                raise TimeoutError("an answer did not change")
        return (time.perf_counter() - since) * 1e3

    def _list(self, user: str, query: str = "") -> list[str]:
        return [item["content_id"] for item in self._get(f"/v1/users/{user}/recommendations{query}")["items"]]

    def _get(self, path: str) -> Any:
        self._line.request("GET", path)
        return json.loads(self._line.getresponse().read())


def _percentile(values: list[float], p: float) -> float:
    return round(float(np.percentile(values, p)), 1)


def show(result: dict[str, Any]) -> None:
    """Print the figures."""
    ours = result["ours"]
    print(
        f"  interaction: p50 {ours['interaction_p50_ms']:.1f}, p95 {ours['interaction_p95_ms']:.1f} ms; "
        f"a new user: p95 {ours['new_user_p95_ms']:.1f} ms; a new title: p95 {ours['new_title_seconds']:.3f} s "
        f"({ours['changes']} of each)"
    )
