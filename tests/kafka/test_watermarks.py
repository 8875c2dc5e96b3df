"""Watermarks: equal to what was produced, on the embedded broker too, which lists them wrongly."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Producer
from tests.kafka.apache import cluster
from tests.kafka.deleting import delete_topic
from tests.waiting import HANG_SECONDS, until

from nextreel.errors import KafkaError
from nextreel.kafka.topics import create_topics
from nextreel.kafka.watermarks import WatermarkReader, Watermarks
from nextreel.settings import Settings, load


def send(settings: Settings, topic: str, partition: int, count: int, size: int = 10) -> None:
    """Produce ``count`` messages as few large batches."""
    producer = Producer(settings.kafka.client_config | {"linger.ms": "200", "batch.num.messages": "10000"})
    for i in range(count):
        producer.produce(topic, b"%d" % i + b"x" * size, partition=partition)
    producer.flush()


def read(settings: Settings, *topics: str) -> Watermarks:
    reader = WatermarkReader(settings.kafka.client_config)
    return reader.read(topics)


@pytest.fixture
def ready(settings: Settings) -> Settings:
    create_topics(settings.kafka)
    return settings


def test_empty_topics(ready: Settings) -> None:
    k = ready.kafka
    assert read(ready, k.users, k.movies) == {k.users: {0: (0, 0), 1: (0, 0)}, k.movies: {0: (0, 0), 1: (0, 0)}}


@pytest.mark.parametrize("count", [1, 2, 1_000, 12_345])
def test_one_large_batch_counts_whole(ready: Settings, count: int) -> None:
    send(ready, ready.kafka.users, 1, count)
    assert read(ready, ready.kafka.users) == {ready.kafka.users: {0: (0, 0), 1: (0, count)}}


def test_several_topics_and_partitions_at_once(settings: Settings) -> None:
    kafka = settings.kafka.model_copy(update={"partitions": 3})
    create_topics(kafka)
    counts = {(kafka.users, 0): 700, (kafka.users, 2): 1, (kafka.series, 0): 20, (kafka.series, 1): 5_000}
    for (topic, partition), count in counts.items():
        send(settings, topic, partition, count)
    found = read(settings, kafka.users, kafka.series, kafka.movies)
    assert {(t, p): marks[1] for t, ps in found.items() for p, marks in ps.items() if marks[1]} == counts
    assert {t: sorted(ps) for t, ps in found.items()} == {t: [0, 1, 2] for t in found}


def test_one_reader_follows_what_comes(ready: Settings) -> None:
    topic = ready.kafka.interactions
    reader = WatermarkReader(ready.kafka.client_config)
    total = 0
    for count in (300, 1, 2_500, 40):
        send(ready, topic, 0, count)
        total += count
        assert reader.read([topic]) == {topic: {0: (0, total), 1: (0, 0)}}
        assert reader.read([topic]) == {topic: {0: (0, total), 1: (0, 0)}}


def test_a_topic_made_anew_is_told_as_it_is_now(ready: Settings) -> None:
    """And librdkafka, which crashes when a consumer's topic is made anew, has none at that moment."""
    topic = ready.kafka.users
    reader = WatermarkReader(ready.kafka.client_config, patience_seconds=20)
    for count in (50, 3, 200, 0):
        send(ready, topic, 0, count)
        assert reader.read([topic])[topic][0] == (0, count)
        assert reader.read([topic])[topic][0] == (0, count)
        delete_topic(ready, topic)
        create_topics(ready.kafka)


def test_a_transaction_s_marker_may_come_last(ready: Settings) -> None:
    producer = Producer(ready.kafka.client_config | {"transactional.id": ready.kafka.users})
    producer.init_transactions(30)
    producer.begin_transaction()
    for i in range(5):
        producer.produce(ready.kafka.users, b"%d" % i, partition=0)
    producer.commit_transaction(30)
    until(lambda: read(ready, ready.kafka.users)[ready.kafka.users][0] == (0, 6))  # Kafka writes it after its answer


def test_large_messages(ready: Settings) -> None:
    send(ready, ready.kafka.users, 0, 40, size=200_000)
    assert read(ready, ready.kafka.users)[ready.kafka.users][0] == (0, 40)


def test_a_missing_topic_says_what_to_do(ready: Settings) -> None:
    with pytest.raises(KafkaError, match=r"topic 'no-such-topic': .*`nextreel topics` creates the topics"):
        read(ready, ready.kafka.users, "no-such-topic")


def test_a_broker_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.kafka.watermarks._SECONDS", 1.0)
    with pytest.raises(KafkaError, match=r"Kafka at 127\.0\.0\.1:1: "):
        read(load({"kafka.bootstrap": "127.0.0.1:1"}, {}), "users")


@pytest.mark.slow
def test_a_broker_that_was_killed_is_asked_by_a_new_client_once_it_is_back(apache_jars: Path, tmp_path: Path) -> None:
    """The client of before can wait for the cluster's controller for as long as it lives."""
    with cluster(apache_jars, tmp_path) as given:
        settings = load({"kafka.bootstrap": given.bootstrap}, {})
        create_topics(settings.kafka)
        reader = WatermarkReader(settings.kafka.client_config, patience_seconds=HANG_SECONDS)
        before = reader.read([settings.kafka.users])
        client = reader._admin
        given.brokers[0].kill()
        with ThreadPoolExecutor(1) as beside:
            asked = beside.submit(reader.read, [settings.kafka.users])
            until(lambda: reader._admin is not client)
            given.brokers[0].restart()  # by this thread: a broker ends with the one that started it
            assert asked.result(HANG_SECONDS) == before
