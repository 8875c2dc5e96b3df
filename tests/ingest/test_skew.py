"""The setting of the contract reaches the tasks that parse: an end-to-end run with Kafka timestamps of all kinds."""

import json
import time
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer
from pyspark.sql import SparkSession
from tests.ingest.ingesting import ingest, rows

from nextreel.kafka.topics import create_topics
from nextreel.lake.layout import QUARANTINE, Lake
from nextreel.settings import ContractSettings, Settings


def test_the_setting_decides_how_far_ahead_an_event_may_be(spark: SparkSession, settings: Settings) -> None:
    contract = ContractSettings(max_clock_skew_seconds=7_200)
    settings = settings.model_copy(update={"contract": contract})
    create_topics(settings.kafka)
    now, producer = time.time(), Producer({"bootstrap.servers": settings.kafka.bootstrap})
    for name, kafka_ms, ahead in (
        ("right", now * 1e3, 0), ("seconds", now, 0), ("one", 1, 0), ("micros", now * 1e6, 0),
        ("hour", now * 1e3, 3_600), ("three hours", now * 1e3, 10_800), ("year", (now + 3e7) * 1e3, 3e7),
        ("seconds and a day", now, 86_400),
    ):  # fmt: skip
        at = (datetime.fromtimestamp(now, UTC) + timedelta(seconds=ahead)).isoformat()
        value = json.dumps({"id": name, "type": "user", "timestamp": at})
        producer.produce(settings.kafka.users, value, timestamp=int(kafka_ms))
    assert producer.flush(30) == 0
    ingest(spark, settings)
    lake = Lake(settings.lake)
    assert sorted(row["id"] for row in rows(lake, "users")) == ["hour", "micros", "one", "right", "seconds"]
    refused = [json.loads(row["raw"])["id"] for row in rows(lake, QUARANTINE)]
    assert sorted(refused) == ["seconds and a day", "three hours", "year"]
