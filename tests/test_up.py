"""`nextreel up`: all processes together, one killed after the other, and all gone after Ctrl-C."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest
from tests.kafka.apache import apache_jars_or_reason
from tests.processes import kill, tree
from tests.waiting import until

from nextreel.kafka.watermarks import WatermarkReader
from nextreel.settings import load
from nextreel.up import embedded

pytestmark = pytest.mark.slow

GENRES = ("Drama", "War", "Comedy")


class Running:
    """The whole system, and its API."""

    def __init__(self, home: Path, more: Mapping[str, object] = MappingProxyType({}), broker: str = "--embedded"):
        sets = {
            "home": home,
            "serve.port": 0,
            "up.train_after_events": 100,
            "up.train_every_seconds": 5,
            "train.factors": 8,
            "spark.driver_memory": "512m",
        } | dict(more)
        flags = [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NEXTREEL_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nextreel", *flags, "up", "--broker", broker],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.home = home
        self.lines: list[str] = []
        self.urls: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("http://"):
                self.urls.append(line.strip())

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.urls[-1] + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except OSError as error:
            return 0, str(error)

    def until(self, true: Callable[[], bool]) -> None:
        def told() -> str:
            return "".join(self.lines)

        def is_so() -> bool:
            assert self.process.poll() is None, told()
            return true()

        until(is_so, told, pause=0.1)

    def pid(self, name: str) -> int | None:
        try:
            parts = json.loads((self.home / "up.json").read_text())["parts"]
        except (OSError, ValueError):
            return None
        found: int | None = next(part["pid"] for part in parts if part["name"] == name)
        return found

    def model(self) -> str | None:
        status, found = self.ask("GET", "/v1/model")
        return found["version"] if status == 200 else None


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """The system with its embedded broker."""
    system = Running(tmp_path / "home")
    yield system
    kill(system.process)
    system.process.wait()


@pytest.fixture
def best(tmp_path: Path) -> Iterator[Running]:
    """The system with Apache Kafka if that can be had, otherwise with its embedded broker."""
    jars = apache_jars_or_reason()
    if isinstance(jars, str):
        system = Running(tmp_path / "home")
    else:
        system = Running(tmp_path / "home", {"kafka.distribution": jars}, "--apache")
    yield system
    kill(system.process)
    system.process.wait()


@pytest.fixture
def durable(apache_jars: Path, best: Running) -> Running:
    """The system with Apache Kafka."""
    return best


def write(running: Running, users: range, deeds: int) -> None:
    for n in range(20):
        title = {"content_id": f"t{n}", "type": "movie", "title": f"Title {n}", "genres": [GENRES[n % 3]]}
        assert running.ask("PUT", "/v1/titles", title)[0] == 202
    for n in users:
        assert running.ask("PUT", "/v1/users", {"user_id": f"u{n}", "genres": [GENRES[n % 3]]})[0] == 202
        for k in range(deeds):
            stars = 4.5 if (n + k) % 3 == n % 3 else 2.0
            rated = {"user_id": f"u{n}", "content_id": f"t{(n + k) % 20}", "event": "rate", "rating": stars}
            assert running.ask("POST", "/v1/interactions", rated)[0] == 202


def test_the_whole_system(best: Running) -> None:
    best.until(lambda: bool(best.urls))
    best.until(lambda: best.ask("GET", "/healthz")[0] == 200)
    assert f"broker listens on {embedded(best.home)};" in "".join(best.lines)
    write(best, range(15), 8)
    best.until(lambda: best.model() is not None)
    first = best.model()
    # An event changes the next answer.
    seen = best.ask("GET", "/v1/users/u1/recommendations")[1]["items"][0]["content_id"]
    best.ask("POST", "/v1/interactions", {"user_id": "u1", "content_id": seen, "event": "complete"})
    best.until(
        lambda: seen not in [i["content_id"] for i in best.ask("GET", "/v1/users/u1/recommendations")[1]["items"]]
    )
    # Nobody else keeps another system best in the same home.
    second = Running(best.home)
    assert second.process.wait() == 1
    assert best.pid("serve") is not None
    # New events become a new model, and the server follows.
    write(best, range(15, 30), 8)
    best.until(lambda: best.model() not in (None, first))
    # What is killed comes back.
    for name in ("serve", "ingest"):
        killed = best.pid(name)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        best.until(lambda name=name, killed=killed: best.pid(name) not in (None, killed))  # type: ignore[misc]
    best.until(lambda: len(best.urls) == 2)
    best.until(lambda: best.ask("GET", "/readyz")[0] == 200)
    # Ctrl-C ends all of it.
    everything = tree(best.process.pid)[1:]
    assert len(everything) > 4
    best.process.send_signal(signal.SIGINT)
    assert best.process.wait() in (0, 130)
    _, left = psutil.wait_procs(everything, timeout=30)
    assert left == []
    assert not (best.home / "up.json").exists()


def test_settings_that_a_part_refuses_end_all(tmp_path: Path) -> None:
    system = Running(tmp_path / "home", {"serve.host": "0.0.0.0"})
    assert system.process.wait() == 2
    system.reader.join()
    assert any("which others may reach, and there are no keys" in line for line in system.lines)
    assert system.lines[-1] == "error: serve cannot run with these settings; what it said stands above\n"


def test_without_its_broker_it_ends_and_says_so(running: Running) -> None:
    running.until(lambda: bool(running.urls))
    running.until(lambda: running.ask("PUT", "/v1/users", {"user_id": "u"})[0] == 202)
    everything = tree(running.process.pid)[1:]
    (broker,) = [p for p in psutil.Process(running.process.pid).children() if "tansu" in p.name()]
    broker.kill()
    assert running.process.wait() == 1
    _, left = psutil.wait_procs(everything, timeout=30)
    assert left == []
    running.reader.join()
    assert running.lines[-1].startswith("error: the embedded broker has ended")


def test_apache_kafka_is_started_again_and_keeps_its_topics(durable: Running) -> None:
    durable.until(lambda: bool(durable.urls))
    durable.until(lambda: durable.ask("PUT", "/v1/users", {"user_id": "before"})[0] == 202)
    (broker,) = [p for p in psutil.Process(durable.process.pid).children() if "kafka.Kafka" in p.cmdline()]
    broker.kill()
    durable.until(lambda: any("The broker is started again in 1 s" in line for line in durable.lines))
    durable.until(lambda: durable.ask("PUT", "/v1/users", {"user_id": "after"})[0] == 202)
    kafka = load({"kafka.bootstrap": embedded(durable.home) or ""}, {}).kafka
    assert sum(high for _, high in WatermarkReader(kafka.client_config).read([kafka.users])[kafka.users].values()) >= 2


def test_a_broker_that_cannot_be_started_again_at_once_is_tried_again(durable: Running) -> None:
    """Its address is taken by another process for a while; ingest, training and the server go on running."""
    durable.until(lambda: bool(durable.urls))
    durable.until(lambda: durable.ask("PUT", "/v1/users", {"user_id": "before"})[0] == 202)
    (broker,) = [p for p in psutil.Process(durable.process.pid).children() if "kafka.Kafka" in p.cmdline()]
    host, _, port = (embedded(durable.home) or "").rpartition(":")
    broker.kill()
    broker.wait()
    with socket.create_server((host, int(port))):
        durable.until(lambda: any("The broker is started again in 2 s" in line for line in durable.lines))
        assert durable.ask("GET", "/healthz")[0] == 200
    durable.until(lambda: durable.ask("PUT", "/v1/users", {"user_id": "after"})[0] == 202)


def test_which_broker_needs_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nextreel", "--set", f"home={tmp_path}", "up", "--apache"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "add --broker" in done.stderr
