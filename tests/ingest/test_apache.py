"""Ingest from Apache Kafka: what the embedded broker does not have, by both connectors where they differ."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)
from pydantic import SecretStr
from pyspark.sql import SparkSession
from tests.ingest.ingesting import ingest, rows
from tests.kafka.apache import (
    KafkaCluster,
    allow,
    certificate_of,
    client_of,
    cluster,
    connector_jars,
    is_ci,
    secure_broker,
    zookeeper_broker,
)
from tests.kafka.damaging import send_unreadable, unpacking_little
from tests.waiting import until

from nextreel.errors import BrokerError, DataLossError
from nextreel.events.contract import TABLES, EventType
from nextreel.events.world import World, WorldConfig
from nextreel.ingest.consume import KafkaRange, read_ranges
from nextreel.ingest.query import start_ingest
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.lake.commit import committed_offsets
from nextreel.lake.layout import Lake
from nextreel.lake.verify import verify
from nextreel.settings import Settings

WORLD = World(WorldConfig(n_users=2_000, n_movies=80, n_series=40, n_interactions=2_000))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own(apache_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A broker that tests of this module may stall and kill."""
    with cluster(apache_jars, tmp_path_factory.mktemp("kafka")) as found:
        yield found


@pytest.fixture
def there(settings: Settings, apache_bootstrap: str) -> Settings:
    """Settings for the run's Apache Kafka, with the topics made."""
    create_topics(settings.kafka)
    return settings


def at(settings: Settings, **kafka: Any) -> Settings:
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update=kafka)})


def messages(event_type: EventType, begin: int, n: int) -> list[bytes]:
    """Return some events as the producers send them."""
    return [orjson.dumps(event) for event in WORLD.events(event_type, begin, n).to_pylist()]


def users(begin: int, n: int) -> list[bytes]:
    return messages("user", begin, n)


def send(settings: Settings, begin: int, n: int, **client: str) -> None:
    producer = Producer(settings.kafka.client_config | {key.replace("_", "."): value for key, value in client.items()})
    for k, value in enumerate(users(begin, n)):
        producer.produce(settings.kafka.users, value, key=b"%d" % (begin + k))
    assert producer.flush(120) == 0


def places(settings: Settings) -> Counter[tuple[int, int]]:
    """Return how often each partition and offset of the users' topic is in the lake."""
    found = rows(Lake(settings.lake), TABLES["user"])
    return Counter((row["kafka_partition"], row["kafka_offset"]) for row in found)


def by_python(settings: Settings, spark: SparkSession) -> None:
    ingest(spark, settings)


def by_jvm(settings: Settings, _: SparkSession) -> None:
    """Ingest by Spark's own connector, which a session must have been started with."""
    given = {"home": settings.home, "kafka.bootstrap": settings.kafka.bootstrap, "ingest.connector": "jvm"}
    given |= {"spark.conf.spark.jars": connector_jars()}
    given |= {f"kafka.{name}": getattr(settings.kafka, name) for name in ("users", "movies", "series", "interactions")}
    sets = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
    done = subprocess.run([sys.executable, "-m", "nextreel", *sets, "ingest", "--once"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


CONNECTORS = pytest.mark.parametrize("bring", [by_python, by_jvm])
Bring = Callable[[Settings, SparkSession], None]


@CONNECTORS
def test_transactions_compaction_and_all_types_by_both_connectors(
    there: Settings, spark: SparkSession, bring: Bring
) -> None:
    """Committed messages are in the lake once, aborted and compacted ones are not, and offsets without one add up."""
    producer = Producer(there.kafka.client_config | {"transactional.id": there.kafka.users})
    producer.init_transactions(60)
    for k in range(6):
        producer.begin_transaction()
        for value in users(50 * k, 50):
            producer.produce(there.kafka.users, value, partition=0)
        assert producer.flush(60) == 0
        producer.commit_transaction(60) if k % 2 else producer.abort_transaction(60)
    kept = compacted(there, there.kafka.movies)
    events = EventProducer(there.kafka)
    events.send(there.kafka.series, WORLD.events("series", 0, 30))
    events.send(there.kafka.interactions, WORLD.events("interaction", 0, 500))
    events.send_raw(there.kafka.interactions, [(None, b"no JSON")])
    events.flush()
    reader = WatermarkReader(there.kafka.client_config)
    until(lambda: reader.read([there.kafka.users])[there.kafka.users][0] == (0, 306))  # with 6 control records
    bring(there, spark)
    lake = Lake(there.lake)
    expected = [each["id"] for k in (1, 3, 5) for each in WORLD.events("user", 50 * k, 50).to_pylist()]
    assert sorted(row["id"] for row in rows(lake, TABLES["user"])) == sorted(expected)
    assert {(row["kafka_partition"], row["kafka_offset"]) for row in rows(lake, TABLES["movie"])} == kept
    assert [len(rows(lake, table)) for table in (TABLES["series"], TABLES["interaction"])] == [30, 500]
    verdict = verify(lake, deep=True)
    assert verdict.problems == []


def compacted(settings: Settings, topic: str) -> set[tuple[int, int]]:
    """Send movies under one key until Kafka has compacted some away; return the places of those that are left."""
    alter(settings, topic, {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"})
    producer, reader = Producer(settings.kafka.client_config), WatermarkReader(settings.kafka.client_config)
    values = messages("movie", 0, 4)

    def left() -> set[tuple[int, int]]:
        _, end = reader.read([topic])[topic][0]
        ranges = [KafkaRange(topic, 0, 0, end)]
        blocks = read_ranges(settings.kafka.client_config, ranges)
        return {(0, offset) for block in blocks for offset in block.column("offset").to_pylist()}

    def has_gaps() -> bool:
        for value in values:  # a new segment: the last one is never compacted
            producer.produce(topic, value, key=b"same", partition=0)
        assert producer.flush(60) == 0
        return len(left()) < reader.read([topic])[topic][0][1]

    until(has_gaps, pause=0.5)
    alter(settings, topic, {"cleanup.policy": "delete", "segment.ms": "604800000"})
    return left()


def alter(settings: Settings, topic: str, config: dict[str, str]) -> None:
    """Set a topic's configuration."""
    admin = AdminClient(settings.kafka.client_config)
    entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in config.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


def test_partitions_that_are_added_are_read_from_their_beginning(there: Settings, spark: SparkSession) -> None:
    send(there, 0, 100)
    query = start_ingest(spark, there)
    try:
        until(lambda: len(places(there)) == 100)
        admin = AdminClient(there.kafka.client_config)
        admin.create_partitions([NewPartitions(there.kafka.users, 5)])[there.kafka.users].result(20)
        producer = Producer(there.kafka.client_config)
        for k, value in enumerate(users(100, 200)):
            producer.produce(there.kafka.users, value, partition=k % 5)
        assert producer.flush(60) == 0
        until(lambda: len(places(there)) == 300)
    finally:
        query.stop()
    assert set(places(there).values()) == {1}
    assert {partition for partition, _ in places(there)} == {0, 1, 2, 3, 4}


def test_retention_that_overtakes_the_reader_stops_it_or_is_written_down(there: Settings, spark: SparkSession) -> None:
    producer = Producer(there.kafka.client_config)

    def fill(begin: int, n: int) -> None:
        for value in users(begin, n):
            producer.produce(there.kafka.users, value, partition=0)
        assert producer.flush(60) == 0

    fill(0, 100)
    ingest(spark, there)
    fill(100, 100)
    admin = AdminClient(there.kafka.client_config)
    for future in admin.delete_records([TopicPartition(there.kafka.users, 0, 150)]).values():
        future.result(20)
    with pytest.raises(Exception, match="messages 100 to 150 were deleted") as raised:
        ingest(spark, there)
    assert DataLossError.__name__ in str(raised.value)
    lenient = there.ingest.model_copy(update={"fail_on_data_loss": False})
    ingest(spark, there.model_copy(update={"ingest": lenient}))
    assert sorted(offset for _, offset in places(there)) == [*range(100), *range(150, 200)]
    assert [file.name for file in (there.lake / "_ingest" / "gaps").iterdir()] == [
        f"{there.kafka.users}-0-100-150.json"
    ]


@pytest.mark.parametrize("fail_on_data_loss", [True, False])
def test_a_batch_that_cannot_be_read_is_written_down_and_ingest_goes_on(
    there: Settings, spark: SparkSession, fail_on_data_loss: bool
) -> None:
    lenient = there.ingest.model_copy(update={"fail_on_data_loss": fail_on_data_loss})
    given = unpacking_little(there.model_copy(update={"ingest": lenient}))
    topic, lake = there.kafka.users, Lake(there.lake)
    first = send_unreadable(there, topic, 20)
    ingest(spark, given)  # of nothing else
    producer = Producer(there.kafka.client_config)
    for value in users(0, 100):
        producer.produce(topic, value, partition=0)
    assert producer.flush(60) == 0
    send_unreadable(there, topic, 30)
    ingest(spark, given)
    ingest(spark, given)
    assert (first, sorted(offset for _, offset in places(there))) == (0, list(range(20, 120)))
    gaps = {file.name: orjson.loads(file.read_bytes()) for file in lake.gaps.iterdir()}
    assert gaps.keys() == {f"{topic}-0-0-20.json", f"{topic}-0-120-150.json"}
    assert "the messages at offsets 0 to 19 cannot be read: Decompression" in gaps[f"{topic}-0-0-20.json"]["why"]
    assert committed_offsets(lake)[topic]["0"] == 150
    assert verify(lake, deep=True).problems == []


def test_a_stream_lives_through_a_broker_that_stalls_and_one_that_is_killed(
    settings: Settings, spark: SparkSession, own: KafkaCluster
) -> None:
    given = at(settings, bootstrap=own.bootstrap)
    (broker,) = own.brokers
    create_topics(given.kafka)
    send(given, 0, 500)
    query = start_ingest(spark, given)
    try:
        until(lambda: len(places(given)) == 500)
        broker.stall()
        until(lambda: query.isActive, pause=5.0)
        broker.go_on()
        send(given, 500, 500)
        until(lambda: len(places(given)) == 1_000)
        broker.kill()
        broker.restart()
        send(given, 1_000, 500)
        until(lambda: len(places(given)) == 1_500)
        broker.stop()
        broker.restart()
        send(given, 1_500, 500)
        until(lambda: len(places(given)) == 2_000)
        assert query.isActive
    finally:
        query.stop()
    assert set(places(given).values()) == {1}


def test_a_user_who_may_not_create_topics_ingests_over_scram_and_tls(
    apache_jars: Path, settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    """And who has no right to any consumer group: offsets are in the lake's checkpoint."""
    with secure_broker(apache_jars, tmp_path / "kafka", {"nextreel": "nextreel-secret"}) as kafka:

        def of(client: dict[str, str]) -> Settings:
            secret = {name: SecretStr(value) for name, value in client.items() if name != "bootstrap.servers"}
            return at(settings, bootstrap=kafka.bootstrap, client=secret)

        create_topics(of(kafka.admin).kafka)
        given = of(client_of("nextreel", "nextreel-secret", certificate_of(tmp_path / "kafka")))
        for topic in given.kafka.topics:
            allow(kafka, "nextreel", ResourceType.TOPIC, topic, AclOperation.READ, AclOperation.WRITE)
        send(given, 0, 200)
        ingest(spark, given)
    assert len(places(given)) == 200


def test_kafka_3_9_with_zookeeper_as_the_original_had_it(
    apache_jars: Path, settings: Settings, spark: SparkSession, tmp_path: Path
) -> None:
    try:
        with zookeeper_broker(tmp_path / "old") as kafka:
            given = at(settings, bootstrap=kafka.bootstrap)
            create_topics(given.kafka)
            send(given, 0, 300)
            ingest(spark, given)
    except BrokerError as error:
        if is_ci() or "Maven" not in str(error):
            raise
        pytest.skip(f"needs Apache Kafka: {error}")
    assert set(places(given).values()) == {1}
    assert len(places(given)) == 300
