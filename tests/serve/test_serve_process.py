"""`nextreel serve` as a process: killed, started again, given another model, and told who may ask."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from tests.serve.living import N_TITLES, live, ratings
from tests.waiting import HANG_SECONDS, until

from nextreel.errors import ModelError
from nextreel.events.contract import EVENT_TYPES
from nextreel.kafka.topics import topics_by_type
from nextreel.model.store import ModelStore
from nextreel.serve.keys import ROLES, Role, add_key
from nextreel.serve.live import Live
from nextreel.settings import Settings

pytestmark = pytest.mark.slow

NAMES = [f"u{n:02d}" for n in range(60)] + [f"new{n}" for n in range(940)]


class Server:
    """A server's process and where it answers."""

    def __init__(self, settings: Settings, *flags: str):
        given = {"home": str(settings.home), "kafka.bootstrap": settings.kafka.bootstrap}
        given |= {f"kafka.{name}": topic for name, topic in _topics(settings)}
        sets = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nextreel", *sets, *flags, "serve", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def get(self, path: str, key: str | None = None) -> tuple[int, Any]:
        return self._answer(urllib.request.Request(self.url + path, headers={"X-API-Key": key} if key else {}))

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"}
        return self._answer(urllib.request.Request(self.url + path, json.dumps(body).encode(), headers))

    @staticmethod
    def _answer(request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=HANG_SECONDS) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def until(self, path: str, true: Any, key: str | None = None) -> Any:
        answer: tuple[int, Any] = 0, "no answer"

        def is_so() -> bool:
            nonlocal answer
            try:
                answer = self.get(path, key)
            except OSError:
                answer = 0, "no answer"
                return False
            return bool(true(*answer))

        until(is_so, lambda: answer)
        return answer[1]

    def ready(self) -> None:
        self.until("/readyz", lambda status, _: status == 200)


def _topics(settings: Settings) -> list[tuple[str, str]]:
    kinds = {"user": "users", "movie": "movies", "series": "series", "interaction": "interactions"}
    return [(kinds[kind], topic) for kind, topic in topics_by_type(settings.kafka).items()]


@contextmanager
def server(settings: Settings, *flags: str) -> Iterator[Server]:
    running = Server(settings, *flags)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def produce(settings: Settings, n: int, seed: int) -> None:
    """Invent events: newcomers, new titles, and what all of them do."""
    rng = np.random.default_rng(seed)
    topics = topics_by_type(settings.kafka)
    assert set(topics) == set(EVENT_TYPES)
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap})
    event: dict[str, Any]
    for k in range(n):
        at = f"2026-03-02T{k // 3600 % 24:02d}:{k // 60 % 60:02d}:{k % 60:02d}Z"
        draw = rng.random()
        if draw < 0.1:
            genre = ["Drama", "War", "Comedy"][rng.integers(3)]
            event = {"type": "user", "id": f"new{rng.integers(940)}", "timestamp": at, "generos": [genre]}
        elif draw < 0.15:
            genre = ["Drama", "War", "Comedy"][rng.integers(3)]
            event = {"type": "movie", "id": f"n{rng.integers(8)}", "timestamp": at, "titulo": "New", "generos": [genre]}
        else:
            title = f"t{rng.integers(N_TITLES):02d}" if rng.random() < 0.9 else f"n{rng.integers(8)}"
            event = {
                "type": "interaction",
                "id": f"e{seed}-{k}",
                "timestamp": at,
                "id_usuario": NAMES[rng.integers(len(NAMES))],
                "id_contenido": title,
                "evento": "rate",
                "calificacion": float(rng.integers(1, 11)) / 2,
            }
        producer.produce(topics[event["type"]], json.dumps(event).encode(), key=str(event["id"]))
        if rng.random() < 0.05:  # twice
            producer.produce(topics[event["type"]], json.dumps(event).encode(), key=str(event["id"]))
    producer.produce(topics["interaction"], b"{broken")
    producer.flush()


def answers(running: Server) -> dict[str, Any]:
    found = {name: running.get(f"/v1/users/{name}/recommendations?count=40")[1] for name in NAMES}
    for page in found.values():
        del page["model"]
    return found


def test_after_a_kill_answers_are_those_of_a_server_that_was_never_killed(served: Settings) -> None:
    produce(served, 4000, seed=1)
    with server(served) as steady, server(served) as killed:
        for each in (steady, killed):
            each.ready()
        produce(served, 1500, seed=2)
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
        produce(served, 500, seed=3)
        with server(served) as again:
            again.ready()
            n = again.get("/v1/model")[1]["events_applied"]
            steady.until("/v1/model", lambda _, found: found["events_applied"] >= n)
            assert n > 6_000
            found = answers(again)
            until(lambda: answers(steady) == found, pause=0.2)  # it has settled the last events
            assert len(found) == 1_000
            assert sum(page["strategy"] != "popular" for page in found.values()) > 800


def test_a_promoted_model_takes_over_and_a_broken_one_is_refused(served: Settings, trained: Live) -> None:
    store = ModelStore(served.models)
    other = live(ratings(seed=6))
    with server(served) as running:
        running.ready()
        first = running.get("/v1/model")[1]["version"]
        second = store.save(other.model, {"kafka_offsets": {}}, snapshot=other.snapshot)
        store.promote(second)
        running.until("/v1/model", lambda _, found: found["version"] == second)
        assert first != second
        third = store.save(trained.model, {"kafka_offsets": {}}, snapshot=trained.snapshot)
        (served.models / third / "history-start.npy").write_bytes(b"broken")
        with pytest.raises(ModelError):
            store.promote(third)
        (served.models / "current").write_text(third)  # by hand
        time.sleep(3)
        assert running.get("/v1/model")[1]["version"] == second
        assert running.get("/v1/users/u10/recommendations")[0] == 200
        bare = store.save(trained.model, {"kafka_offsets": {}})
        store.promote(bare)
        time.sleep(2)
        assert running.get("/readyz")[0] == 200


def test_before_the_first_model_it_says_what_is_missing(settings: Settings) -> None:
    with server(settings) as running:
        status, said = running.until("/readyz", lambda status, _: status == 503), None
        assert status
        code, said = running.get("/v1/popular")
        assert code == 503
        assert "nextreel train" in said["detail"]
        assert running.get("/healthz") == (200, {"status": "ok"})


def test_keys_may_change_while_it_runs(served: Settings) -> None:
    def keys(*arguments: str) -> str:
        command = [sys.executable, "-m", "nextreel", "--set", f"home={served.home}", "keys", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    reader = keys("add", "reader")
    with server(served) as running:
        running.until("/v1/popular", lambda status, _: status == 200, reader)
        assert running.get("/v1/popular")[0] == 401
        assert running.get("/v1/popular", reader + "x")[0] == 401
        assert running.get("/metrics")[0] == 401
        body = json.dumps({"user_id": "u", "content_id": "t01", "event": "play"}).encode()
        headers = {"X-API-Key": reader, "Content-Type": "application/json"}
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(urllib.request.Request(f"{running.url}/v1/interactions", body, headers))
        writer = keys("add", "writer", "--role", "write")
        running.until("/v1/popular", lambda status, _: status == 200, writer)
        with urllib.request.urlopen(
            urllib.request.Request(f"{running.url}/v1/interactions", body, headers | {"X-API-Key": writer})
        ) as answer:
            assert answer.status == 202
        keys("revoke", "reader")
        running.until("/v1/popular", lambda status, _: status == 401, reader)
        text = (served.home / "api-keys.json").read_text()
        assert writer not in text
        assert os.stat(served.home / "api-keys.json").st_mode & 0o077 == 0


def test_ctrl_c_ends_it_although_somebody_listens(served: Settings) -> None:
    with server(served) as running:
        running.ready()
        with urllib.request.urlopen(f"{running.url}/v1/insight/changes") as changes:
            changes.readline()
            running.process.send_signal(signal.SIGINT)
            assert running.process.wait() in (0, 130)


def test_others_reach_it_with_keys_alone(served: Settings) -> None:
    command = [sys.executable, "-m", "nextreel", "--set", f"home={served.home}", "serve", "--host", "0.0.0.0"]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 2
    assert "nextreel keys add" in told.stderr


def test_nobody_opens_a_server_whose_keys_are_there(served: Settings) -> None:
    add_key(served.keys, "app", "read")
    command = [sys.executable, "-m", "nextreel", "--set", f"home={served.home}", "--set", "serve.without_keys=true"]
    told = subprocess.run([*command, "serve"], capture_output=True, text=True)
    assert told.returncode == 2
    assert "serve.without_keys is set" in told.stderr


def test_an_admin_makes_a_version_current(served: Settings, trained: Live) -> None:
    store = ModelStore(served.models)
    first = store.current()
    second = store.save(trained.model, {"kafka_offsets": {}}, snapshot=trained.snapshot)
    keys = {name: add_key(served.keys, name, name) for name in ROLES}
    with server(served) as running:
        running.until("/readyz", lambda status, _: status == 200)

        said: list[str] = []

        def promote(version: str, who: Role) -> int:
            body = json.dumps({"version": version}).encode()
            headers = {"X-API-Key": keys[who], "Content-Type": "application/json"}
            try:
                with urllib.request.urlopen(
                    urllib.request.Request(f"{running.url}/v1/model", body, headers, method="PUT")
                ) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                said.append(error.read().decode())
                return error.code

        assert [promote(second, who) for who in ("read", "write")] == [403, 403]
        assert [promote(name, "admin") for name in ("nothing", "../..")] == [409, 409]
        assert str(served.home) not in "".join(said)
        assert store.current() == first
        assert promote(second, "admin") == 202
        found = running.until("/v1/model", lambda _, found: found.get("version") == second, keys["read"])
        assert found["version"] == store.current() == second
        told = running.get("/v1/models", keys["read"])[1]
        assert (told["current"], told["versions"]) == (second, [first, second])
        assert [(d["version"], d["deed"]) for d in told["decisions"]][-1] == (second, "promoted")


def test_probes_are_answered_whatever_a_client_has_used_up(served: Settings) -> None:
    with server(served, "--set", "serve.requests_per_second=2") as running:
        running.until("/readyz", lambda status, _: status == 200)
        asked = [running.get("/v1/popular")[0] for _ in range(10)]
        assert set(asked) == {200, 429}
        assert {running.get("/healthz")[0] for _ in range(10)} == {200}


def test_a_foreign_name_is_refused(served: Settings) -> None:
    with server(served) as running:
        running.ready()
        port = int(running.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(b"GET /v1/popular HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
            assert b" 421 " in line.recv(100)
