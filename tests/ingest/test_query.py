"""The running stream: every message is in the lake exactly once, whatever it is and whatever is killed."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from tests.ingest.ingesting import ingest, rows

from nextreel.errors import DataLossError, LakeError, SettingsError
from nextreel.events.contract import EVENT_TYPES, TABLES, EventType
from nextreel.events.faults import broken
from nextreel.events.world import World, WorldConfig
from nextreel.ingest import source
from nextreel.ingest.query import _LakeWriter, start_ingest
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.lake.commit import committed_offsets
from nextreel.lake.layout import QUARANTINE, SCHEMAS, Lake
from nextreel.settings import Settings

CONFIG = WorldConfig(n_users=120, n_movies=50, n_series=30, n_interactions=1_500)
WORLD = World(CONFIG)
N_BROKEN = 25

Place = tuple[str, int, int]


def send(settings: Settings) -> Counter[str]:
    """Send the world and some broken messages; returns the reasons to expect in quarantine."""
    producer = EventProducer(settings.kafka)
    reasons: Counter[str] = Counter()
    for event_type, topic in topics_by_type(settings.kafka).items():
        for reason, raw in spoilt(event_type):
            reasons[reason] += 1
            producer.send_raw(topic, [(b"broken", raw)])
        producer.send(topic, WORLD.events(event_type, 0, WORLD.size(event_type)))
    producer.flush()
    return reasons


def spoilt(event_type: EventType) -> list[tuple[str, bytes]]:
    return [(str(r), raw) for r, raw in broken(WORLD.events(event_type, 0, N_BROKEN).to_pylist(), seed=3)]


SENT = sum(WORLD.size(e) for e in EVENT_TYPES) + 4 * N_BROKEN


def places(lake: Lake) -> Counter[Place]:
    """Return how often each message is in the lake, over all tables and files."""
    everything = [row for table in SCHEMAS for row in rows(lake, table)]
    return Counter((r["kafka_topic"], r["kafka_partition"], r["kafka_offset"]) for r in everything)


def assert_all_once(lake: Lake, n: int) -> None:
    """Every message is there once: no place twice, and the offsets of each partition without a gap from 0 on."""
    found = places(lake)
    assert [place for place, times in found.items() if times > 1] == []
    assert len(found) == n
    ends: Counter[tuple[str, int]] = Counter((topic, partition) for topic, partition, _ in found)
    assert {(t, p): max(o for a, b, o in found if (a, b) == (t, p)) + 1 for t, p in ends} == ends


@pytest.mark.slow
def test_every_message_is_in_the_lake_once(spark: SparkSession, settings: Settings) -> None:
    create_topics(settings.kafka)
    reasons = send(settings)
    lake = Lake(settings.lake)

    batches = ingest(spark, settings)

    assert_all_once(lake, SENT)
    assert sum(b.accepted for b in batches) == SENT - 4 * N_BROKEN
    assert sum(b.rejected for b in batches) == 4 * N_BROKEN
    files = [file for table in SCHEMAS for file in lake.files(table)]
    assert sum(b.bytes for b in batches) == sum(file.stat().st_size for file in files)
    for table, schema in SCHEMAS.items():
        assert [f for f in lake.files(table) if pq.read_schema(f) != schema] == []
    assert list(lake.staging.iterdir()) == []

    quarantined = rows(lake, QUARANTINE)
    assert Counter(row["reason"] for row in quarantined) == reasons
    given = Counter((topic, raw) for e, topic in topics_by_type(settings.kafka).items() for _, raw in spoilt(e))
    assert Counter((row["kafka_topic"], row["raw"] or b"") for row in quarantined) == given
    assert {row["key"] for row in quarantined} == {b"broken"}

    for event_type, topic in topics_by_type(settings.kafka).items():
        events = WORLD.events(event_type, 0, WORLD.size(event_type))
        found = {row["id"]: row for row in rows(lake, TABLES[event_type])}
        assert {row["kafka_topic"] for row in found.values()} == {topic}
        expected = {row["id"]: row for row in events.to_pylist()}
        assert {i: {k: row[k] for k in expected[i]} for i, row in found.items()} == expected

    assert sum(sum(ends.values()) for ends in committed_offsets(lake).values()) == SENT

    # The same lake again: nothing new, nothing done.
    assert sum(b.accepted + b.rejected for b in ingest(spark, settings)) == 0
    # And with new messages in all topics: those, and only those.
    send(settings)
    more = ingest(spark, settings)
    assert sum(b.accepted + b.rejected for b in more) == SENT
    assert_all_once(lake, 2 * SENT)


@pytest.mark.slow
def test_small_batches_lose_nothing(spark: SparkSession, settings: Settings) -> None:
    create_topics(settings.kafka)
    send(settings)
    limit = 400
    limited = settings.ingest.model_copy(update={"max_offsets_per_trigger": limit})
    batches = ingest(spark, settings.model_copy(update={"ingest": limited}))
    sizes = [b.accepted + b.rejected for b in batches]
    assert sum(sizes) == SENT
    assert max(sizes) <= limit
    assert [b.batch_id for b in batches] == list(range(len(batches)))
    assert_all_once(Lake(settings.lake), SENT)


@pytest.mark.slow
def test_lake_and_checkpoint_of_two_moments_are_refused_before_anything_is_planned(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    """Also where Kafka has nothing new: what a restore has put together must not pass for whole."""
    create_topics(settings.kafka)
    lake, older, newer = Lake(settings.lake), tmp_path / "older", tmp_path / "newer"
    limited = settings.ingest.model_copy(update={"max_offsets_per_trigger": 500})
    few = settings.model_copy(update={"ingest": limited})
    send(settings)
    ingest(spark, few)
    shutil.copytree(lake.root, older)
    send(settings)
    ingest(spark, few)
    shutil.copytree(lake.root, newer)
    inside = lake.checkpoint.relative_to(lake.root)

    def restore(of_lake: Path, of_checkpoint: Path | None) -> None:
        shutil.rmtree(lake.root)
        shutil.copytree(of_lake, lake.root)
        shutil.rmtree(lake.checkpoint)
        if of_checkpoint is not None:
            shutil.copytree(of_checkpoint / inside, lake.checkpoint)

    for parts, says in (
        ((newer, older), "already holds another micro-batch"),
        ((newer, None), "already holds another micro-batch 0"),
        ((older, newer), "has no micro-batch"),
    ):
        restore(*parts)
        with pytest.raises(LakeError, match=says):
            start_ingest(spark, settings)
    restore(newer, newer)
    shutil.rmtree(lake.root / inside.parts[0])
    with pytest.raises(LakeError, match="has files that are in no record"):
        start_ingest(spark, settings)
    restore(newer, newer)
    assert ingest(spark, settings) == []
    assert_all_once(lake, 2 * SENT)


@pytest.mark.parametrize("files", [0, 1])
def test_what_is_forbidden_at_the_last_moment_is_not_committed(
    spark: SparkSession, settings: Settings, files: int
) -> None:
    """Spark's own connector reads on in a topic that was made anew: what it has read must not come in."""
    lake = Lake(settings.lake)
    plan = lake.checkpoint / "offsets" / "0"
    plan.parent.mkdir(parents=True)
    plan.write_text('v1\n{}\n{"users":{"0":3}}', "utf-8")
    row = {"name": "a.staged", "table": "users", "date": "2026-01-01", "rows": 3, "bytes": 9, "intake": None}
    staged = spark.createDataFrame([row] * files, source.STAGED)

    def forbid() -> None:
        raise DataLossError("made anew")

    with pytest.raises(DataLossError, match="made anew"):
        _LakeWriter(lake, lambda _: None, forbid).write(staged, 0)
    assert committed_offsets(lake) == {}


def test_spark_s_own_connector_is_refused_on_the_embedded_broker(
    spark: SparkSession, settings: Settings, embedded_bootstrap: str
) -> None:
    embedded = settings.kafka.model_copy(update={"bootstrap": embedded_bootstrap})
    settings = settings.model_copy(update={"kafka": embedded})
    create_topics(settings.kafka)
    by_jvm = settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"connector": "jvm"})})
    with pytest.raises(SettingsError, match="leaves messages of the embedded broker unread"):
        start_ingest(spark, by_jvm)
    ingest(spark, settings)  # nothing is held


CHILD = """
import json, sys
from nextreel.ingest.query import start_ingest
from nextreel.lake.session import spark_session
from nextreel.settings import load

settings = load(json.loads(sys.argv[1]), {})
stream = start_ingest(spark_session(settings), settings, available_now=True)
print("started", flush=True)
stream.awaitTermination(120)
sys.stdin.read()
"""


def child(settings: Settings) -> "subprocess.Popen[str]":
    kafka = settings.kafka
    flags = {"home": str(settings.home), "kafka.bootstrap": kafka.bootstrap}
    flags |= {f"kafka.{t}": getattr(kafka, t) for t in ("users", "movies", "series", "interactions")}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(flags)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_ingest_of_the_same_session_is_refused(spark: SparkSession, settings: Settings) -> None:
    create_topics(settings.kafka)
    query = start_ingest(spark, settings)
    try:
        with pytest.raises(LakeError, match="has a running nextreel-ingest already"):
            start_ingest(spark, settings)
        assert query.isActive
    finally:
        query.stop()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")
def test_a_second_ingest_on_the_same_lake_is_refused(spark: SparkSession, settings: Settings) -> None:
    create_topics(settings.kafka)
    send(settings)
    with child(settings) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "started\n"
        with pytest.raises(LakeError, match="another process is writing"):
            start_ingest(spark, settings, available_now=True)
        first.communicate()
    assert_all_once(Lake(settings.lake), SENT)
    assert sum(b.accepted + b.rejected for b in ingest(spark, settings)) == 0
