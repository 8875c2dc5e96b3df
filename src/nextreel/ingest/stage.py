"""What a task does with its messages: parse them, and write complete Parquet files into the lake's staging."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from nextreel.events.contract import EventType
from nextreel.ingest.parse import parse
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import LakeWriter, StagedFile, staging_path

#: What travels to the driver, as `nextreel.ingest.source.STAGED` says it to Spark.
STAGED = pa.schema(
    [
        ("name", pa.string()),
        ("table", pa.string()),
        ("date", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("intake", pa.string()),
    ]
)


def stage_messages(
    messages: Iterator[pa.RecordBatch], root: Path, topics: Mapping[str, EventType], max_skew_seconds: float
) -> Iterator[pa.RecordBatch]:
    """Write messages (the columns of Spark's Kafka source) as one file a table; yield the files as rows of `STAGED`.

    ``max_skew_seconds`` is `contract.max_clock_skew_seconds`.
    """
    now = datetime.now(UTC)
    writers: dict[str, LakeWriter] = {}
    intake = Intake()
    try:
        for batch in messages:
            parsed = parse(batch, topics, now, max_skew_seconds)
            intake.add(_intake(batch, parsed.unknown_fields.total()))
            for table, rows in parsed.tables.items():
                if table not in writers:
                    writers[table] = LakeWriter(staging_path(Lake(root)), table, now.date().isoformat())
                writers[table].write(rows)
        files = [writer.close() for writer in writers.values()]
    except BaseException:
        for writer in writers.values():
            writer.abandon()
        raise
    if files:
        yield _as_rows(files, intake)


def _intake(batch: pa.RecordBatch, unknown_fields: int) -> Intake:
    """Return what a block of messages is: from where on, and how many."""
    places = pa.table({name: batch.column(name) for name in ("topic", "partition", "offset")})
    found = places.group_by(["topic", "partition"], use_threads=False).aggregate(
        [("offset", "min"), ("offset", "count")]
    )
    intake = Intake(
        raw_bytes=pc.sum(pc.binary_length(batch.column("value"))).as_py() or 0, unknown_fields=unknown_fields
    )
    for row in found.to_pylist():
        partition = str(row["partition"])
        intake.begins.setdefault(row["topic"], {})[partition] = row["offset_min"]
        intake.messages.setdefault(row["topic"], {})[partition] = row["offset_count"]
    return intake


def _as_rows(files: list[StagedFile], intake: Intake) -> pa.RecordBatch:
    """Return files as rows; what the task has read stands beside the first."""
    told = [json.dumps(asdict(intake)), *[None] * (len(files) - 1)]
    rows = [(f.name, f.table, f.date, f.rows, f.bytes, text) for f, text in zip(files, told, strict=True)]
    arrays = [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), STAGED, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=STAGED)
