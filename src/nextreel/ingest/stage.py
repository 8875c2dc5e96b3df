"""What a task does with its messages: parse them, and write complete Parquet files into the lake's staging."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from nextreel.events.contract import EventType
from nextreel.ingest.parse import parse
from nextreel.lake.layout import Lake
from nextreel.lake.write import StagedFile, StagedWriter

#: What travels to the driver, as `nextreel.ingest.source.STAGED` says it to Spark.
STAGED = pa.schema(
    [
        ("name", pa.string()),
        ("table", pa.string()),
        ("date", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("unknown_fields", pa.int64()),
    ]
)


def stage_messages(
    messages: Iterator[pa.RecordBatch], root: Path, topics: Mapping[str, EventType]
) -> Iterator[pa.RecordBatch]:
    """Write messages (the columns of Spark's Kafka source) as one file a table; yield the files as rows of `STAGED`."""
    now = datetime.now(UTC)
    writers: dict[str, StagedWriter] = {}
    unknown = 0
    try:
        for batch in messages:
            parsed = parse(batch, topics, now)
            unknown += parsed.unknown_fields.total()
            for table, rows in parsed.tables.items():
                if table not in writers:
                    writers[table] = StagedWriter(Lake(root), table, now.date().isoformat())
                writers[table].write(rows)
        files = [writer.close() for writer in writers.values()]
    except BaseException:
        for writer in writers.values():
            writer.abandon()
        raise
    if files:
        yield _as_rows(files, unknown)


def _as_rows(files: list[StagedFile], unknown: int) -> pa.RecordBatch:
    rows = [(f.name, f.table, f.date, f.rows, f.bytes, 0 if i else unknown) for i, f in enumerate(files)]
    arrays = [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), STAGED, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=STAGED)
