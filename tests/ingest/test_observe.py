"""A stream that is watched: its metrics, its table and its live line say what was sent."""

import socket
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from pyspark.sql import SparkSession
from tests.ingest.test_metrics import scraped
from tests.waiting import until

from nextreel.events.contract import EVENT_TYPES, TABLES, EventType
from nextreel.events.faults import broken
from nextreel.events.world import World, WorldConfig
from nextreel.ingest.metrics import served
from nextreel.ingest.observe import Observer, _Table
from nextreel.ingest.query import start_ingest
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.lake import batches
from nextreel.lake.footers import newest_message
from nextreel.lake.layout import BATCHES, BATCHES_SCHEMA, PHASES, QUARANTINE, Lake
from nextreel.settings import Settings

WORLD = World(WorldConfig(n_users=60, n_movies=40, n_series=20, n_interactions=500))
N_BROKEN = 25
SENT = {TABLES[e]: WORLD.size(e) for e in EVENT_TYPES} | {QUARANTINE: 4 * N_BROKEN}
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


def spoilt(event_type: EventType) -> list[tuple[str, bytes]]:
    return [(str(r), raw) for r, raw in broken(WORLD.events(event_type, 0, N_BROKEN).to_pylist(), seed=3)]


def send(settings: Settings) -> None:
    producer = EventProducer(settings.kafka)
    for event_type, topic in topics_by_type(settings.kafka).items():
        producer.send_raw(topic, [(b"broken", raw) for _, raw in spoilt(event_type)])
        producer.send(topic, WORLD.events(event_type, 0, WORLD.size(event_type)))
    producer.flush()


def wait_for(metrics_port: int, n: int) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}

    def have_come() -> bool:
        found.update(scraped(metrics_port))
        return sum(v for (name, _), v in found.items() if name == "nextreel_ingest_messages_total") >= n

    until(have_come, lambda: found, pause=0.2)
    return found


@pytest.mark.slow
def test_a_running_stream_says_what_was_sent(
    spark: SparkSession, settings: Settings, request: pytest.FixtureRequest
) -> None:
    interval = "spark.sql.streaming.noDataProgressEventInterval"
    spark.conf.set(interval, "100")  # an idle query reports too, which is none of a micro-batch
    request.addfinalizer(lambda: spark.conf.unset(interval))
    create_topics(settings.kafka)
    send(settings)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lake, total = Lake(settings.lake), sum(SENT.values())

    with served(port) as metrics, Observer(settings, metrics) as observer:
        query = observer.watch(start_ingest(spark, settings, observer.batch))
        try:
            found = wait_for(port, total)
            time.sleep(1.0)
            send(settings)
            found = wait_for(port, 2 * total)
            assert query.isActive
            now = observer.now
        finally:
            query.stop()
        running = batches.read(lake, YESTERDAY)

    by_table = {labels: v for (name, labels), v in found.items() if name == "nextreel_ingest_messages_total"}
    assert by_table == {table: 2 * n for table, n in SENT.items()}
    why = Counter(reason for e in EVENT_TYPES for reason, _ in spoilt(e))
    by_reason = {labels: v for (name, labels), v in found.items() if name.endswith("quarantined_messages_total")}
    assert by_reason == {reason: 2 * n for reason, n in why.items()}
    lag = {labels: v for (name, labels), v in found.items() if name == "nextreel_ingest_kafka_lag_messages"}
    assert lag.keys() == {f"{p},{t}" for t in topics_by_type(settings.kafka).values() for p in ("0", "1")}
    assert 0 < found["nextreel_ingest_newest_message_age_seconds", ""] < 120
    n_batches = found["nextreel_ingest_batches_total", ""]
    for phase in (*PHASES, "trigger_execution"):
        assert found["nextreel_ingest_batch_duration_seconds_count", phase] == n_batches, phase
    assert (now.accepted, now.quarantined) == (2 * (total - 4 * N_BROKEN), 8 * N_BROKEN)
    assert f"{2 * total:,} rows · 200 quarantined" in str(now)

    assert len(running) == 0  # a minute has not passed
    rows = batches.read(lake, YESTERDAY)
    assert rows.schema == BATCHES_SCHEMA
    assert rows["batch_id"].to_pylist() == list(range(int(n_batches)))
    assert {table: sum(rows[table].to_pylist()) for table in SENT} == by_table
    assert sum(rows["parquet_bytes"].to_pylist()) == found["nextreel_ingest_parquet_bytes_total", ""]
    last = rows.to_pylist()[-1]
    assert {name for name, value in last.items() if value is None} == set()
    assert last["started_at"] < last["committed_at"]
    assert last["stage_seconds"] + last["commit_seconds"] <= last["add_batch_seconds"] <= last["seconds"]
    assert len(lake.files(BATCHES)) == 1
    assert list(lake.staging.iterdir()) == []


@pytest.mark.slow
def test_a_stream_that_ends_by_itself_leaves_every_row(spark: SparkSession, settings: Settings) -> None:
    create_topics(settings.kafka)
    send(settings)
    limited = settings.ingest.model_copy(update={"max_offsets_per_trigger": 100})
    settings = settings.model_copy(update={"ingest": limited})
    with served(0) as metrics, Observer(settings, metrics) as observer:
        query = observer.watch(start_ingest(spark, settings, observer.batch, available_now=True))
        assert query.awaitTermination(120)
    rows = batches.read(Lake(settings.lake), YESTERDAY)
    assert len(rows) > 5
    assert sum(rows["messages"].to_pylist()) == sum(SENT.values())
    assert rows["seconds"].null_count == 0
    lag = [sum(row[f"lag_{TABLES[e]}"] for e in EVENT_TYPES) for row in rows.to_pylist()]
    assert lag == sorted(lag, reverse=True)
    assert lag[-1] == 0


@pytest.mark.slow
def test_messages_from_the_future_do_not_make_others_young(spark: SparkSession, settings: Settings) -> None:
    create_topics(settings.kafka)
    now = datetime.now(UTC)
    for topic, times in (
        (settings.kafka.users, [now - timedelta(hours=1), now + timedelta(days=366), datetime(9999, 1, 1, tzinfo=UTC)]),
        (settings.kafka.movies, [now + timedelta(days=1)]),
    ):
        producer = Producer(settings.kafka.client_config)
        for at in times:
            producer.produce(topic, b"no event", timestamp=int(at.timestamp() * 1000))
        producer.flush()
    with served(0) as metrics, Observer(settings, metrics) as observer:
        query = observer.watch(start_ingest(spark, settings, observer.batch, available_now=True))
        assert query.awaitTermination(120)
    (row,) = batches.read(Lake(settings.lake), YESTERDAY).to_pylist()
    assert row["messages"] == 4
    assert abs(row["newest_kafka_timestamp"] - (now - timedelta(hours=1))) < timedelta(seconds=1)
    assert 3_600 <= row["newest_age_seconds"] < 3_800
    assert newest_message(Lake(settings.lake)) == row["newest_kafka_timestamp"]


def test_kafka_is_asked_where_spark_says_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.ingest.observe._LAG_SECONDS", 0.0)
    create_topics(settings.kafka)
    send(settings)
    with served(0) as metrics, Observer(settings, metrics) as observer:
        until(lambda: observer.now.lag is not None)
        lag = observer.now.lag
    assert lag is not None
    assert sum(sum(partitions.values()) for partitions in lag.values()) == sum(SENT.values())


def test_kafka_that_does_not_answer_is_a_lag_that_is_not_known(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nextreel.ingest.observe._LAG_SECONDS", 0.0)
    monkeypatch.setattr("nextreel.ingest.observe._KAFKA_SECONDS", 0.5)
    gone = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": "127.0.0.1:1"})})
    with served(0) as metrics, Observer(gone, metrics) as observer:
        time.sleep(2)
        assert observer.now.lag is None


def test_a_day_that_is_written_does_not_come_again_where_the_next_fails(settings: Settings) -> None:
    lake, table = Lake(settings.lake), _Table(settings)
    for batch_id, day in enumerate((1, 1, 2)):
        at = datetime(2026, 1, day, tzinfo=UTC)
        table._rows.append(dict.fromkeys(BATCHES_SCHEMA.names) | {"batch_id": batch_id, "committed_at": at})
    lake.table(BATCHES).mkdir(parents=True)
    in_the_way = lake.table(BATCHES) / "date=2026-01-02"
    in_the_way.touch()
    for _ in range(2):
        with pytest.raises(OSError, match="date=2026-01-02"):
            table.write()
    in_the_way.unlink()
    table.write()
    assert batches.read(lake, datetime(2026, 1, 1, tzinfo=UTC))["batch_id"].to_pylist() == [0, 1, 2]


def test_rows_that_cannot_be_written_are_kept_and_the_stream_goes_on(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    lake.root.mkdir()
    lake.table(BATCHES).touch()  # a file where the table's directory belongs
    row = dict.fromkeys(BATCHES_SCHEMA.names) | {"batch_id": 1, "committed_at": datetime.now(UTC)}
    rows = pa.Table.from_pylist([row], BATCHES_SCHEMA)
    with pytest.raises(OSError, match=BATCHES):
        batches.append(lake, rows)
    lake.table(BATCHES).unlink()
    batches.append(lake, rows)
    assert batches.read(lake, YESTERDAY)["batch_id"].to_pylist() == [1]
