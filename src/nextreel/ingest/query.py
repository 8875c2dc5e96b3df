"""The running stream: one query reads all topics and writes every table of the lake."""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from nextreel.durable import sync
from nextreel.errors import LakeError, SettingsError
from nextreel.ingest import source
from nextreel.ingest.gaps import check_topics
from nextreel.ingest.stage import stage_messages
from nextreel.ingest.upkeep import start_upkeep
from nextreel.kafka.topics import cluster_id, topic_ids, topics_by_type
from nextreel.kafka.watermarks import TANSU
from nextreel.lake.commit import check_whole, commit, is_committed, recover
from nextreel.lake.layout import QUARANTINE, Lake, local_url
from nextreel.lake.ledger import Intake, Offsets
from nextreel.lake.locks import lock_writer
from nextreel.lake.write import StagedFile
from nextreel.settings import Settings

_NAME = "nextreel-ingest"


@dataclass
class Batch:
    """What one micro-batch brought into the lake: rows and bytes by table, and what was read for it."""

    batch_id: int
    rows: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    intake: Intake = field(default_factory=Intake)
    seconds: dict[str, float] = field(default_factory=dict)  # of the phases that are ours: stage, commit

    @property
    def accepted(self) -> int:
        """Messages that became rows of an event table."""
        return sum(n for table, n in self.rows.items() if table != QUARANTINE)

    @property
    def rejected(self) -> int:
        """Messages in quarantine."""
        return self.rows.get(QUARANTINE, 0)


@dataclass
class Totals:
    """What a stream has brought into the lake since it started."""

    rows: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    unknown_fields: int = 0
    batches: int = 0

    def add(self, batch: Batch) -> None:
        """Take one micro-batch in."""
        self.rows.update(batch.rows)
        self.bytes += batch.bytes
        self.unknown_fields += batch.intake.unknown_fields
        self.batches += 1


def start_ingest(
    spark: SparkSession,
    settings: Settings,
    on_batch: Callable[[Batch], None] = lambda _: None,
    available_now: bool = False,
) -> StreamingQuery:
    """Start the stream from the four topics to the lake, and the thread that looks after the lake's files.

    ``available_now`` ends it when everything that Kafka holds at the start is in the lake. ``on_batch`` is called after
    each commit. Raises `nextreel.errors.LakeError` where another query or another process writes to this lake, or it
    is not of one piece with its checkpoint, `nextreel.errors.DataLossError` where a topic was made anew, and
    `nextreel.errors.SettingsError` for a connector that cannot read from this Kafka.
    """
    lake = Lake(settings.lake.absolute())
    if any(running.name == _NAME for running in spark.streams.active):
        raise LakeError(f"this Spark session has a running {_NAME} already. Stop it first.")
    check_connector(settings)
    lock_writer(lake)
    recover(lake)
    check_whole(lake)

    def check() -> None:
        ids = topic_ids(settings.kafka.client_config, topics_by_type(settings.kafka).values())
        check_topics(lake, ids, settings.ingest.fail_on_data_loss)

    check()
    trigger: dict[str, Any] = {"availableNow": True}
    if not available_now:
        trigger = {"processingTime": f"{settings.ingest.trigger_seconds} seconds"}
    # Spark's own connector would read on in a topic that was made anew meanwhile, at the old one's offsets.
    writer = _LakeWriter(lake, on_batch, check if settings.ingest.connector == "jvm" else lambda: None)
    query = (
        _staged(spark, settings, lake)
        .writeStream.queryName(_NAME)
        .option("checkpointLocation", local_url(lake.checkpoint))
        .trigger(**trigger)
        .foreachBatch(writer.write)
        .start()
    )
    start_upkeep(lake, settings.upkeep, query)
    return query


def check_connector(settings: Settings) -> None:
    """Raise `SettingsError` where Spark's own connector is to read from the embedded broker."""
    if settings.ingest.connector == "jvm" and cluster_id(settings.kafka.client_config) == TANSU:
        raise SettingsError(
            "ingest.connector = 'jvm' leaves messages of the embedded broker unread, which tells Spark's own connector "
            "wrongly where topics end. Use 'python' with it."
        )


def read_topics(spark: SparkSession, settings: Settings) -> DataFrame:
    """Return the four topics as one stream, with the columns of Spark's Kafka source."""
    if settings.ingest.connector == "jvm":
        java = {f"kafka.{key}": value.get_secret_value() for key, value in settings.ingest.java_client.items()}
        return spark.readStream.format("kafka").options(**_options(settings) | java).load()
    spark.dataSource.register(source.KafkaSource)
    return spark.readStream.format(source.FORMAT).options(**_planned(spark, settings)).load()


def _staged(spark: SparkSession, settings: Settings, lake: Lake) -> DataFrame:
    """Return the topics as staged files: rows of `nextreel.ingest.source.STAGED`."""
    types = {topic: event_type for event_type, topic in topics_by_type(settings.kafka).items()}
    if settings.ingest.connector == "jvm":
        root, skew = lake.root, settings.contract.max_clock_skew_seconds
        return read_topics(spark, settings).mapInArrow(
            lambda found: stage_messages(found, root, types, skew), source.STAGED
        )
    spark.dataSource.register(source.LakeSource)
    options = _planned(spark, settings) | {
        "lake": str(lake.root),
        "eventTypes": json.dumps(types),
        "maxClockSkewSeconds": str(settings.contract.max_clock_skew_seconds),
    }
    return spark.readStream.format(source.LAKE_FORMAT).options(**options).load()


def _planned(spark: SparkSession, settings: Settings) -> dict[str, str]:
    return _options(settings) | {"maxTasks": str(spark.sparkContext.defaultParallelism)}


def _options(settings: Settings) -> dict[str, str]:
    client = {f"kafka.{key}": value for key, value in settings.kafka.client_config.items()}
    return client | {
        "subscribe": ",".join(topics_by_type(settings.kafka).values()),
        "startingOffsets": settings.ingest.starting_offsets,
        "maxOffsetsPerTrigger": str(settings.ingest.max_offsets_per_trigger),
        "failOnDataLoss": str(settings.ingest.fail_on_data_loss).lower(),
        # Spark's own connector knows headers by this one, and nothing of the others.
        "includeHeaders": "true",
        "maxBytesPerTrigger": str(settings.ingest.max_bytes_per_trigger),
        "patienceSeconds": str(settings.ingest.patience_seconds),
    }


class _LakeWriter:
    """Commits micro-batches: their files are written by the tasks, and named here; ``check`` may still forbid it."""

    def __init__(self, lake: Lake, on_batch: Callable[[Batch], None], check: Callable[[], None]):
        self._lake = lake
        self._on_batch = on_batch
        self._check = check

    def write(self, staged: DataFrame, batch_id: int) -> None:
        query_id = staged.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId") or ""
        ends = _ends(self._lake, batch_id)
        if is_committed(self._lake, query_id, batch_id, ends):
            return
        began = time.monotonic()
        found = staged.collect()
        self._check()
        staged_at = time.monotonic()
        files = [StagedFile(r.name, r.table, r.date, r.rows, r.bytes) for r in found]
        batch = Batch(batch_id)
        for row in found:
            if row.intake is not None:
                batch.intake.add(Intake(**json.loads(row.intake)))
        commit(self._lake, query_id, batch_id, files, ends, batch.intake)
        batch.seconds = {"stage": staged_at - began, "commit": time.monotonic() - staged_at}
        for file in files:
            batch.rows[file.table] = batch.rows.get(file.table, 0) + file.rows
            batch.bytes += file.bytes
        self._on_batch(batch)


def _ends(lake: Lake, batch_id: int) -> Offsets:
    """Return where a micro-batch ends in Kafka, which Spark has written down before it began.

    It is made durable here: Spark does not, and a commit must not outlive its plan.
    """
    log = lake.checkpoint / "offsets" / str(batch_id)
    version, _metadata, offsets = log.read_text("utf-8").splitlines()
    sync(log)
    sync(log.parent)
    assert version == "v1"  # noqa: S101 (the log's format, of every Spark 3 and 4)
    found: Offsets = json.loads(offsets)
    return found
