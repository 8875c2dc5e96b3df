"""The lake is looked after while a stream fills it."""

import threading
import time

import pytest
from pyspark.sql import SparkSession
from tests.waiting import until

from nextreel.events.world import World, WorldConfig
from nextreel.ingest.query import start_ingest
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics
from nextreel.lake.layout import Lake
from nextreel.lake.verify import verify
from nextreel.settings import Settings

WORLD = World(WorldConfig(n_users=100, n_movies=50, n_series=30, n_interactions=1_000))


@pytest.mark.slow
def test_small_files_are_merged_while_the_stream_runs(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nextreel.ingest.upkeep._EVERY_SECONDS", 1.0)
    monkeypatch.setattr("nextreel.lake.compact._LISTING_SECONDS", 0.1)
    upkeep = settings.upkeep.model_copy(update={"merge_from_files": 3})
    create_topics(settings.kafka)
    lake = Lake(settings.lake)
    producer, sent = EventProducer(settings.kafka), 0
    query = start_ingest(spark, settings.model_copy(update={"upkeep": upkeep}))
    try:
        while not any(f.name.startswith("merged-") for f in lake.files("users")):
            producer.send(settings.kafka.users, WORLD.events("user", 0, 20))
            producer.flush()
            sent += 20
            time.sleep(0.3)
    finally:
        query.stop()
    again = start_ingest(spark, settings, available_now=True)
    again.awaitTermination()
    verdict = verify(lake, deep=True)
    assert (verdict.problems, verdict.messages) == ([], sent)


def test_the_thread_ends_with_its_query(spark: SparkSession, settings: Settings) -> None:
    create_topics(settings.kafka)
    query = start_ingest(spark, settings)
    assert "nextreel-upkeep" in {t.name for t in threading.enumerate()}
    query.stop()
    until(lambda: "nextreel-upkeep" not in {t.name for t in threading.enumerate()})
