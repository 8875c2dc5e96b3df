"""Writes of the server while Apache Kafka stalls, is killed and loses leaders: none is lost or doubled."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from tests.kafka.apache import cluster
from tests.waiting import until

from nextreel.errors import WriteError
from nextreel.kafka.topics import create_topics
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.serve.metrics import Metrics
from nextreel.serve.write import Writer
from nextreel.settings import KafkaSettings, Settings, load

#: A dead broker is noticed sooner than by default (9 s), as docs/serving.md advises.
SOON = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
USERS = 97


@dataclass
class Told:
    """What became of each event: its id and, of those acknowledged, when (monotonic)."""

    acknowledged: dict[str, float] = field(default_factory=dict)
    perhaps: set[str] = field(default_factory=set)
    not_written: set[str] = field(default_factory=set)

    def is_good_after(self, moment: float) -> bool:
        return any(at > moment for at in list(self.acknowledged.values()))


def write_during(settings: Settings, rate: float, script: Callable[[Told], None]) -> Told:
    """Write ``rate`` events a second, in a thread, while a script runs; return what the writer told of each."""
    writer, told, is_over = Writer(settings.kafka, settings.serve, Metrics()), Told(), threading.Event()

    async def one(number: int) -> None:
        event = {"id": f"e{number}", "type": "interaction", "id_usuario": f"u{number % USERS}", "evento": "play"}
        try:
            await writer.send("interaction", event)
            told.acknowledged[event["id"]] = time.monotonic()
        except WriteError as error:
            (told.perhaps if error.may_be_written else told.not_written).add(error.event_id)

    async def go() -> None:
        tasks, began, number = set(), time.monotonic(), 0
        while not is_over.is_set():
            task = asyncio.create_task(one(number))
            tasks.add(task)
            number += 1
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        await asyncio.gather(*tasks)

    # Not the script: brokers end with the thread that started them.
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(asyncio.run, go())
        try:
            script(told)
        finally:
            is_over.set()
        writing.result()
    until(lambda: len(writer._producer) == 0)
    writer.close()
    return told


def held(kafka: KafkaSettings) -> Counter[str]:
    """Return how often each event id is in the interactions' topic."""
    topic = kafka.interactions
    marks = until(lambda: WatermarkReader(kafka.client_config, 60.0).read([topic])[topic])
    consumer = Consumer(kafka.client_config | {"group.id": "test", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in marks])
    found: Counter[str] = Counter()
    while found.total() < sum(high for _, high in marks.values()):
        found.update(json.loads(message.value())["id"] for message in consumer.consume(1000, timeout=0.2))
    consumer.close()
    return found


def check(told: Told, found: Counter[str]) -> None:
    """What was acknowledged is there once; what was surely not written is not there."""
    assert told.acknowledged
    assert {event: n for event in told.acknowledged if (n := found[event]) != 1} == {}
    assert not told.not_written & found.keys()
    assert found.keys() <= told.acknowledged.keys() | told.perhaps


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [5.0, 12.0, 30.0])
def test_a_stalled_broker(apache_jars: Path, tmp_path: Path, seconds: float) -> None:
    with cluster(apache_jars, tmp_path) as given:
        settings = load({"home": str(tmp_path), "kafka.bootstrap": given.bootstrap}, {})
        create_topics(settings.kafka)

        def script(told: Told) -> None:
            until(lambda: len(told.acknowledged) > 100)
            given.brokers[0].stall()
            time.sleep(seconds)
            given.brokers[0].go_on()
            back = time.monotonic()
            until(lambda: told.is_good_after(back + 1.0))

        check(write_during(settings, 200.0, script), held(settings.kafka))


@pytest.mark.slow
def test_a_killed_broker(apache_jars: Path, tmp_path: Path) -> None:
    with cluster(apache_jars, tmp_path) as given:
        settings = load({"home": str(tmp_path), "kafka.bootstrap": given.bootstrap}, {})
        create_topics(settings.kafka)

        def script(told: Told) -> None:
            until(lambda: len(told.acknowledged) > 100)
            for _ in range(2):
                given.brokers[0].kill()
                given.brokers[0].restart()
                back = time.monotonic()
                until(lambda back=back: told.is_good_after(back + 1.0))  # type: ignore[misc]

        check(write_during(settings, 200.0, script), held(settings.kafka))


@pytest.mark.slow
def test_leaders_killed_in_turn(apache_jars: Path, tmp_path: Path) -> None:
    with cluster(apache_jars, tmp_path, 3, SOON) as given:
        flags = {"kafka.bootstrap": given.bootstrap, "kafka.replication": "3", "kafka.partitions": "6"}
        settings = load({"home": str(tmp_path)} | flags, {})
        create_topics(settings.kafka)
        resource = ConfigResource(ResourceType.TOPIC, settings.kafka.interactions)
        admin = AdminClient(given.admin)
        described = admin.describe_configs([resource])[resource].result(20)
        assert described["min.insync.replicas"].value == "2"

        def script(told: Told) -> None:
            until(lambda: len(told.acknowledged) > 50)
            for broker in given.brokers:
                broker.kill()
                gone = time.monotonic()
                until(lambda gone=gone: told.is_good_after(gone + 5.0))  # type: ignore[misc]
                broker.restart()
                back = time.monotonic()
                until(lambda back=back: told.is_good_after(back + 5.0))  # type: ignore[misc]

        check(write_during(settings, 30.0, script), held(settings.kafka))
