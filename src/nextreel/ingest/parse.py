"""Messages in; valid and rejected records out. Pure: no Kafka, no Spark, no clock.

Blocks are read in columns; what those do not accept is judged row by row.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextreel.events.arrival import (
    DATES_BEGIN,
    DATES_END,
    MAX_CLOCK_SKEW_SECONDS,
    Micros,
    latest_event_times,
    moment_of,
)
from nextreel.events.contract import FIELDS, TABLES, EventType
from nextreel.ingest.columns import accept
from nextreel.ingest.rows import Rejected, read
from nextreel.lake.layout import LINEAGE, QUARANTINE, SCHEMAS

_KNOWN = {f.name for f in FIELDS}


@dataclass
class Parsed:
    """What a block of messages became, by table: rows with the columns of `nextreel.lake.layout.SCHEMAS`."""

    tables: dict[str, pa.Table]
    unknown_fields: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> pa.Table:
        """The rows of the quarantine."""
        return self.tables.get(QUARANTINE, SCHEMAS[QUARANTINE].empty_table())


def parse(
    messages: pa.RecordBatch | pa.Table,
    topics: Mapping[str, EventType],
    ingested_at: datetime,
    max_skew_seconds: float = MAX_CLOCK_SKEW_SECONDS,
) -> Parsed:
    """Parse and validate Kafka messages.

    ``messages`` has the columns of Spark's Kafka source (key, value, topic, partition, offset, timestamp; headers where
    it was asked for them);
    ``topics`` says which event type each topic carries. Every message is in exactly one table of the result. An event
    time may be ``max_skew_seconds`` ahead of its message's arrival (`nextreel.events.arrival`).
    """
    found = Parsed({})
    for batch in messages.to_batches() if isinstance(messages, pa.Table) else [messages]:
        for topic in pc.unique(batch.column("topic")).to_pylist():
            same = pc.equal(batch.column("topic"), topic)
            own = batch.filter(same)
            kafka_ms = pc.fill_null(own.column("timestamp").cast(pa.int64()), -1).to_numpy(zero_copy_only=False) // 1000
            latest = latest_event_times(kafka_ms, ingested_at, max_skew_seconds)
            _parse_topic(own, topic, topics.get(topic), latest, ingested_at, found)
    return found


def _parse_topic(
    batch: pa.RecordBatch,
    topic: str,
    event_type: EventType | None,
    latest: Micros,
    ingested_at: datetime,
    found: Parsed,
) -> None:
    accepted = accept(batch.column("value"), event_type, latest) if event_type else None
    if accepted is not None and event_type is not None:
        columns = accepted.columns
        for lineage, name in zip(LINEAGE, _lineage(batch, ingested_at), strict=True):
            columns = columns.append_column(lineage, name.take(pa.array(accepted.rows)))
        _add(found, TABLES[event_type], columns.cast(SCHEMAS[TABLES[event_type]]))
        found.unknown_fields.update(accepted.unknown_fields)
        left = np.setdiff1d(np.arange(len(batch)), accepted.rows, assume_unique=True)
        batch, latest = batch.take(pa.array(left)), latest[left]
    if len(batch):
        _judge(batch, topic, event_type, latest, ingested_at, found)


def _judge(
    batch: pa.RecordBatch,
    topic: str,
    event_type: EventType | None,
    latest: Micros,
    ingested_at: datetime,
    found: Parsed,
) -> None:
    rows: dict[str, list[tuple[Any, ...]]] = {}
    lineage = zip(*(column.to_pylist() for column in _lineage(batch, ingested_at)), strict=True)
    keys, raws, headers = (_pylist(batch, name) for name in ("key", "value", "headers"))
    moments = map(moment_of, latest.tolist())
    for key, raw, sent_with, place, last in zip(keys, raws, headers, lineage, moments, strict=True):
        try:
            kind, values, record = read(raw, topic, event_type, last)
        except Rejected as rejected:
            rows.setdefault(QUARANTINE, []).append((rejected.reason, rejected.detail, key, sent_with, raw, *place))
        else:
            found.unknown_fields.update(record.keys() - _KNOWN)
            rows.setdefault(TABLES[kind], []).append((*values, *place))
    for table, tuples in rows.items():
        columns = zip(*tuples, strict=True)
        arrays = [pa.array(column, f.type) for f, column in zip(SCHEMAS[table], columns, strict=True)]
        _add(found, table, pa.Table.from_arrays(arrays, schema=SCHEMAS[table]))


def _pylist(batch: pa.RecordBatch, name: str) -> list[Any]:
    return batch.column(name).to_pylist() if name in batch.schema.names else [None] * len(batch)


def _add(found: Parsed, table: str, rows: pa.Table) -> None:
    found.tables[table] = pa.concat_tables([found.tables[table], rows]) if table in found.tables else rows


def _lineage(batch: pa.RecordBatch, ingested_at: datetime) -> list[pa.Array]:
    """Return the columns of `LINEAGE`. Timestamps beyond the years that dates have, as producers may set, are null."""
    sent = batch.column("timestamp").cast(pa.int64())
    dated = pc.and_(pc.greater_equal(sent, DATES_BEGIN), pc.less(sent, DATES_END))
    sent = pc.if_else(dated, sent, pa.scalar(None, pa.int64())).cast(LINEAGE.field("kafka_timestamp").type)
    arrived = pa.repeat(pa.scalar(ingested_at, LINEAGE.field("ingested_at").type), len(batch))
    return [*(batch.column(name) for name in ("topic", "partition", "offset")), sent, arrived]
