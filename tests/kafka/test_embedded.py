"""The embedded broker, one smoke test of each kind: where there is no Apache Kafka all of nextreel runs on it.

The demonstration's tests run on it too, and those of `up` write through the API to it.
"""

from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from pyspark.sql import SparkSession
from tests.ingest.ingesting import ingest, rows
from tests.waiting import until

from nextreel.events.contract import TABLES
from nextreel.events.world import World, WorldConfig
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topic_ids
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.lake.layout import Lake
from nextreel.settings import Settings, load

WORLD = World(WorldConfig(n_users=500, n_interactions=1_000))


@pytest.fixture
def embedded(embedded_bootstrap: str, tmp_path: Path) -> Settings:
    run = uuid4().hex[:8]
    topics = {f"kafka.{name}": f"{name}-{run}" for name in ("users", "movies", "series", "interactions")}
    return load({"home": str(tmp_path), "kafka.bootstrap": embedded_bootstrap} | topics, {})


def test_topics_producers_watermarks_and_transactions(embedded: Settings) -> None:
    kafka = embedded.kafka
    assert set(create_topics(kafka).values()) == {True}
    assert set(create_topics(kafka).values()) == {False}
    assert all(topic_ids(kafka.client_config, kafka.topics).values())
    events = EventProducer(kafka)
    events.send(kafka.users, WORLD.events("user", 0, 500))
    assert events.flush().delivered == 500
    producer = Producer(kafka.client_config | {"transactional.id": kafka.movies})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(kafka.movies, b"x", partition=0)
    producer.commit_transaction(60)
    reader = WatermarkReader(kafka.client_config)
    until(lambda: reader.read([kafka.movies])[kafka.movies][0] == (0, 2))
    assert sum(high for _, high in reader.read([kafka.users])[kafka.users].values()) == 500


def test_ingest(embedded: Settings, spark: SparkSession) -> None:
    create_topics(embedded.kafka)
    producer = EventProducer(embedded.kafka)
    producer.send(embedded.kafka.interactions, WORLD.events("interaction", 0, 1_000))
    producer.flush()
    ingest(spark, embedded)
    assert len(rows(Lake(embedded.lake), TABLES["interaction"])) == 1_000
