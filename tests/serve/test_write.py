"""Writes: what a client hears of each of them while Kafka stalls, fails for good and comes back."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from tests.kafka.proxy import free_port
from tests.serve.conftest import until_ready
from tests.waiting import until

from nextreel.app import create_app
from nextreel.kafka.broker import LOOPBACK, embedded_broker
from nextreel.kafka.topics import create_topics
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.model.store import ModelStore
from nextreel.serve.live import Live
from nextreel.settings import Settings, load


class Stalling:
    """A broker of a test's own, which can be stopped where it is; and settings with a served model and its topics."""

    def __init__(self, settings: Settings, process: psutil.Process):
        self.settings = settings
        self._process = process

    def stall(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def client(self, **more: str) -> Iterator[TestClient]:
        """Ask a server; ``more`` are settings with "__" for "."."""
        flags = {"home": str(self.settings.home), "kafka.bootstrap": self.settings.kafka.bootstrap}
        given = load(flags | {name.replace("__", "."): value for name, value in more.items()}, {})
        with TestClient(create_app(given), base_url="http://127.0.0.1") as asking:
            until_ready(asking)
            until(lambda: write(asking, id="first").status_code == 202)
            yield asking


@pytest.fixture
def stalling(settings: Settings, trained: Live) -> Iterator[Stalling]:
    port = free_port()
    with embedded_broker(port):
        address = f"{LOOPBACK}:{port}"
        process = next(p for p in psutil.Process().children() if f"tcp://{address}" in p.cmdline())
        given = load({"home": str(settings.home), "kafka.bootstrap": address}, {})
        create_topics(given.kafka)
        store = ModelStore(given.models)
        store.promote(store.save(trained.model, {"kafka_offsets": {}}, snapshot=trained.snapshot))
        found = Stalling(given, process)
        try:
            yield found
        finally:
            found.go_on()


def write(client: TestClient, user: str = "u01", key: str | None = None, **more: Any) -> Any:
    body = {"user_id": user, "content_id": "t01", "event": "play"} | more
    return client.post("/v1/interactions", json=body, headers={} if key is None else {"Idempotency-Key": key})


def held(settings: Settings) -> Counter[str]:
    """Return how often each event id is in the interactions' topic."""
    topic = settings.kafka.interactions
    marks = WatermarkReader(settings.kafka.client_config).read([topic])[topic]
    consumer = Consumer(settings.kafka.client_config | {"group.id": "test", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in marks])
    found: Counter[str] = Counter()
    while found.total() < sum(high for _, high in marks.values()):
        found.update(json.loads(message.value())["id"] for message in consumer.consume(1000, timeout=0.2))
    consumer.close()
    return found


def metric(client: TestClient, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    raise AssertionError(f"no metric {name} {labels}")


@pytest.mark.slow
def test_after_a_long_stall_writes_are_good_again_and_none_is_doubled(stalling: Stalling) -> None:
    with stalling.client() as client:
        assert write(client, id="before").status_code == 202
        stalling.stall()
        refused = write(client, id="within")  # in flight for longer than the server waits
        assert refused.status_code == 503
        assert write(client, id="later").status_code == 503
        stalling.go_on()
        until(lambda: write(client, id="after").status_code == 202)
        assert write(client, id="again").status_code == 202
        found = held(stalling.settings)
        assert (found["before"], found["again"]) == (1, 1)


def test_a_write_that_is_not_acknowledged_in_time_may_have_been_written(stalling: Stalling) -> None:
    with stalling.client(serve__write_timeout_seconds="0.5") as client:
        stalling.stall()
        told = write(client, key="k1")
        said = told.json()
        assert (told.status_code, said["may_be_written"], told.headers["retry-after"]) == (503, True, "1")
        assert "may have been written" in said["detail"]
        stalling.go_on()
        again = until(lambda: (answer := write(client, key="k1")).status_code == 202 and answer)
        assert again.json()["id"] == said["event_id"]
        until(lambda: metric(client, "nextreel_serve_writes_failing") == 0)
        assert metric(client, "nextreel_serve_writes_total", outcome="unknown") >= 1


def test_readiness_names_writes_apart_from_reads_and_they_recover_by_themselves(stalling: Stalling) -> None:
    with stalling.client(serve__write_timeout_seconds="0.5", kafka__client__message__timeout__ms="1000") as client:
        assert client.get("/readyz").json() == {"status": "ready", "reads": "ready", "writes": "ready"}
        stalling.stall()
        assert write(client).status_code == 503
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["reads"], ready.json()["writes"]) == (200, "ready", "failing")
        assert metric(client, "nextreel_serve_writes_failing") == 1
        stalling.go_on()
        until(lambda: client.get("/readyz").json()["writes"] == "ready")  # nobody writes meanwhile
        assert metric(client, "nextreel_serve_writes_failing") == 0


@pytest.mark.slow
def test_a_producer_that_failed_for_good_is_replaced(stalling: Stalling) -> None:
    # A message that times out in flight makes librdkafka ask for a new epoch, which the embedded broker fences.
    client_settings = {"kafka__client__message__timeout__ms": "1500", "kafka__client__socket__timeout__ms": "60000"}
    with stalling.client(serve__write_timeout_seconds="3", **client_settings) as client:
        stalling.stall()
        assert write(client).status_code == 503
        stalling.go_on()
        until(lambda: write(client).status_code == 202)
        assert [write(client).status_code for _ in range(5)] == [202] * 5
        assert metric(client, "nextreel_serve_producer_replacements_total") >= 1


def test_writes_are_bounded_apart_from_reads(stalling: Stalling) -> None:
    with stalling.client(serve__max_outstanding_writes="3") as client:
        stalling.stall()
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(write, client) for _ in range(3)]
            until(lambda: metric(client, "nextreel_serve_writes_outstanding") == 3)
            refused = write(client)
            said = refused.json()
            assert (refused.status_code, said["may_be_written"], refused.headers["retry-after"]) == (503, False, "1")
            assert "was not written" in said["detail"]
            assert client.get("/v1/users/u01/recommendations").status_code == 200
            assert metric(client, "nextreel_serve_writes_total", outcome="not_written") == 1
            assert not any(each.done() for each in waiting)
            stalling.go_on()
            assert {each.result().status_code for each in waiting} <= {202, 503}
        until(lambda: write(client).status_code == 202)
        assert said["event_id"] not in held(stalling.settings)


def test_the_same_key_of_the_same_user_is_the_same_event(client: TestClient) -> None:
    first, again, other = (write(client, user, key="order-1").json()["id"] for user in ("u01", "u01", "u02"))
    assert first == again != other
    assert write(client, key="order-2").json()["id"] not in (first, other)
    assert write(client, key="order-1", content_id="t02").json()["id"] == first
    assert write(client, key="order-1", id="mine").json()["id"] == "mine"
    assert write(client).json()["id"] != write(client).json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "clé", "a\tb"])
def test_a_key_is_printable_and_short(client: TestClient, key: str) -> None:
    body = {"user_id": "u01", "content_id": "t01", "event": "play"}
    headers = {"Idempotency-Key": key.encode("latin-1")}
    refused = client.post("/v1/interactions", json=body, headers=headers)  # type: ignore[arg-type]
    assert refused.status_code == 422
    assert "dempotency" in refused.json()["detail"]


def test_all_interactions_of_a_user_are_in_one_partition(client: TestClient) -> None:
    places = {
        user: {write(client, user).json()["partition"] for _ in range(8)} for user in map("u{:02d}".format, range(12))
    }
    assert all(len(found) == 1 for found in places.values())
    assert len(set.union(*places.values())) == 2
