"""The running stream: one query reads all topics and writes every table of the lake."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from nextreel.errors import LakeError
from nextreel.events.contract import EventType
from nextreel.ingest import source
from nextreel.ingest.parse import parse
from nextreel.kafka.topics import topics_by_type
from nextreel.lake.commit import Offsets, StagedFile, commit, is_committed, lock, recover, stage
from nextreel.lake.layout import QUARANTINE, Lake
from nextreel.settings import Settings

_NAME = "nextreel-ingest"
_STAGED = "name string, table string, date string, rows bigint, bytes bigint, unknown_fields bigint"
_STAGED_ARROW = pa.schema(
    [
        ("name", pa.string()),
        ("table", pa.string()),
        ("date", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("unknown_fields", pa.int64()),
    ]
)


@dataclass
class Batch:
    """What one micro-batch brought into the lake: rows and bytes by table."""

    batch_id: int
    rows: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    unknown_fields: int = 0

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
        self.unknown_fields += batch.unknown_fields
        self.batches += 1


def start_ingest(
    spark: SparkSession,
    settings: Settings,
    on_batch: Callable[[Batch], None] = lambda _: None,
    available_now: bool = False,
) -> StreamingQuery:
    """Start the stream from the four topics to the lake.

    ``available_now`` ends it when everything that Kafka holds at the start is in the lake. ``on_batch`` is called after
    each commit. Raises `nextreel.errors.LakeError` where another query or another process writes to this lake.
    """
    lake = Lake(settings.lake.absolute())
    if any(running.name == _NAME for running in spark.streams.active):
        raise LakeError(f"this Spark session has a running {_NAME} already; one lake has one ingest. Stop it first.")
    lock(lake)
    recover(lake)
    trigger: dict[str, Any] = {"availableNow": True}
    if not available_now:
        trigger = {"processingTime": f"{settings.ingest.trigger_seconds} seconds"}
    writer = _LakeWriter(lake, {t: e for e, t in topics_by_type(settings.kafka).items()}, on_batch)
    return (
        read_topics(spark, settings)
        .writeStream.queryName(_NAME)
        .option("checkpointLocation", str(lake.checkpoint))
        .trigger(**trigger)
        .foreachBatch(writer.write)
        .start()
    )


def read_topics(spark: SparkSession, settings: Settings) -> DataFrame:
    """Return the four topics as one stream, with the columns of Spark's Kafka source."""
    options = {f"kafka.{key}": value for key, value in settings.kafka.client_config.items()} | {
        "subscribe": ",".join(topics_by_type(settings.kafka).values()),
        "startingOffsets": settings.ingest.starting_offsets,
        "maxOffsetsPerTrigger": str(settings.ingest.max_offsets_per_trigger),
        "failOnDataLoss": str(settings.ingest.fail_on_data_loss).lower(),
    }
    connector = "kafka"
    if settings.ingest.connector == "python":
        spark.dataSource.register(source.KafkaSource)
        connector = source.FORMAT
    return spark.readStream.format(connector).options(**options).load()


class _LakeWriter:
    """Writes micro-batches to the lake: parsing and Parquet in the tasks, the commit on the driver."""

    def __init__(self, lake: Lake, topics: Mapping[str, EventType], on_batch: Callable[[Batch], None]):
        self._lake = lake
        self._topics = dict(topics)
        self._on_batch = on_batch

    def write(self, messages: DataFrame, batch_id: int) -> None:
        query_id = messages.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId") or ""
        ends = _ends(self._lake, batch_id)
        if is_committed(self._lake, query_id, batch_id, ends):
            return
        task = _stager(self._lake.root, self._topics, datetime.now(UTC))
        found = messages.mapInArrow(task, _STAGED).collect()
        files = [StagedFile(r.name, r.table, r.date, r.rows, r.bytes) for r in found]
        commit(self._lake, query_id, batch_id, files, ends)
        batch = Batch(batch_id, unknown_fields=sum(r.unknown_fields for r in found))
        for file in files:
            batch.rows[file.table] = batch.rows.get(file.table, 0) + file.rows
            batch.bytes += file.bytes
        self._on_batch(batch)


def _ends(lake: Lake, batch_id: int) -> Offsets:
    """Return where a micro-batch ends in Kafka, which Spark has written down before it began."""
    version, _metadata, offsets = (lake.checkpoint / "offsets" / str(batch_id)).read_text("utf-8").splitlines()
    assert version == "v1"  # noqa: S101 (the log's format, of every Spark 3 and 4)
    found: Offsets = json.loads(offsets)
    return found


def _stager(
    root: Path, topics: Mapping[str, EventType], now: datetime
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the task: messages in; one staged file a table out, by name."""

    def stage_messages(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts: dict[str, list[pa.Table]] = {}
        unknown = 0
        for batch in batches:
            parsed = parse(batch, topics, now)
            unknown += parsed.unknown_fields.total()
            for table, rows in parsed.tables.items():
                parts.setdefault(table, []).append(rows)
        rows_out = []
        for table, tables in parts.items():
            file = stage(Lake(root), table, now.date().isoformat(), pa.concat_tables(tables))
            rows_out.append((file.name, file.table, file.date, file.rows, file.bytes, unknown))
            unknown = 0
        if rows_out:
            arrays = [pa.array(c, f.type) for c, f in zip(zip(*rows_out, strict=True), _STAGED_ARROW, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=_STAGED_ARROW)

    return stage_messages
