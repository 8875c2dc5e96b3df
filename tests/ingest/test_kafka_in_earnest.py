"""The running stream where Kafka is not as it should be: cut off, restarted, behind TLS."""

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from pydantic import SecretStr
from pyspark.sql import DataFrame, Row, SparkSession
from tests.kafka.proxy import Proxy, certificate, free_port, proxied_broker
from tests.waiting import until

from nextreel.events.contract import TABLES
from nextreel.events.world import World, WorldConfig
from nextreel.ingest.query import start_ingest
from nextreel.ingest.source import KafkaSource
from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics
from nextreel.lake.layout import Lake
from nextreel.settings import Settings

N = 40_000
WORLD = World(WorldConfig(n_users=200, n_movies=80, n_series=40, n_interactions=N))


def at(settings: Settings, address: str, client: dict[str, str] | None = None) -> Settings:
    secret = {name: SecretStr(value) for name, value in (client or {}).items()}
    kafka = settings.kafka.model_copy(update={"bootstrap": address, "client": secret})
    ingest = settings.ingest.model_copy(update={"max_offsets_per_trigger": 1_000})
    return settings.model_copy(update={"kafka": kafka, "ingest": ingest})


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxied_broker() as found:
        yield found


def send(settings: Settings, n: int) -> None:
    producer = EventProducer(settings.kafka)
    for start in range(0, n, 5_000):
        producer.send(settings.kafka.interactions, WORLD.events("interaction", start, min(5_000, n - start)))
    producer.flush()


def places(lake: Lake) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for file in lake.files(TABLES["interaction"]):
        columns = pq.read_table(file, columns=["kafka_partition", "kafka_offset"])
        found.update(zip(*(columns[name].to_pylist() for name in columns.column_names), strict=True))
    return found


@pytest.mark.slow
def test_a_stream_lives_through_cuts_and_a_restart(spark: SparkSession, settings: Settings, proxy: Proxy) -> None:
    given = at(settings, proxy.address)
    create_topics(given.kafka)
    send(given, N)
    batches: list[int] = []
    query = start_ingest(spark, given, lambda batch: batches.append(batch.accepted))
    try:
        until(lambda: bool(batches))
        cut = 0
        while cut <= 10:
            cut += proxy.cut()
            time.sleep(0.1)
            assert len(batches) < N / 1_000  # they were cut while there was something to read
        proxy.refuse(5.0)
        assert query.isActive
        until(lambda: sum(batches) >= N)
        send(given, 5_000)
        until(lambda: sum(batches) >= N + 5_000)
        time.sleep(1.0)
        assert query.isActive
    finally:
        query.stop()
    found = places(Lake(given.lake))
    assert set(found.values()) == {1}
    assert len(found) == sum(batches) == N + 5_000


@pytest.mark.slow
def test_a_stream_through_tls(spark: SparkSession, settings: Settings, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    port = free_port()
    with Proxy(f"127.0.0.1:{port}", certificate(tmp_path)) as tls, embedded_broker(port, tls.address):
        client = {"security.protocol": "ssl", "ssl.ca.location": str(tmp_path / "authority.pem")}
        given = at(settings, tls.address, client)
        create_topics(given.kafka)
        send(given, 5_000)
        query = start_ingest(spark, given, available_now=True)
        try:
            assert query.awaitTermination(120)
        finally:
            query.stop()
        tls.refuse()
    found = places(Lake(given.lake))
    assert set(found.values()) == {1}
    assert len(found) == 5_000


@pytest.mark.slow
def test_the_plain_source_in_spark(spark: SparkSession, settings: Settings) -> None:
    """Its columns, headers included, and a limit of bytes alone."""
    create_topics(settings.kafka)
    producer = Producer(settings.kafka.client_config)
    for i in range(100):
        headers = [("trace", b"%d" % i)] if i % 2 else None
        producer.produce(settings.kafka.users, b"%d" % i, key=b"k", partition=0, headers=headers)
    producer.flush()
    spark.dataSource.register(KafkaSource)
    options = {"kafka.bootstrap.servers": settings.kafka.bootstrap, "subscribe": settings.kafka.users}
    stream = spark.readStream.format("nextreel_kafka").options(**options, maxBytesPerTrigger="30000").load()
    sizes: list[int] = []
    rows: list[Row] = []

    def take(batch: DataFrame, _: int) -> None:
        found = batch.collect()
        sizes.append(len(found))
        rows.extend(found)

    query = stream.writeStream.foreachBatch(take).trigger(availableNow=True).start()
    try:
        assert query.awaitTermination(120)
    finally:
        query.stop()
    assert sizes == [30, 30, 30, 10]
    assert [(row.offset, row.value) for row in rows] == [(i, b"%d" % i) for i in range(100)]
    expected = [[Row(key="trace", value=b"%d" % i)] if i % 2 else None for i in range(100)]
    assert [row.headers for row in rows] == expected
