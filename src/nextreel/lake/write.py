"""Parquet files as the lake has them: complete and durable before anybody hears of them."""

import os
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nextreel.lake.layout import Lake

#: Rows are collected to groups of about this size, which readers skip by their statistics.
_GROUP_BYTES = 32_000_000


@dataclass(frozen=True)
class StagedFile:
    """A complete Parquet file in staging, and the table and day that it is for."""

    name: str
    table: str
    date: str
    rows: int
    bytes: int


def stage(lake: Lake, table: str, date: str, rows: pa.Table) -> StagedFile:
    """Write ``rows`` as one file."""
    writer = LakeWriter(staging_path(lake), table, date)
    writer.write(rows)
    return writer.close()


def staging_path(lake: Lake) -> Path:
    """Return a path in staging that no other file has."""
    return lake.staging / f"{uuid.uuid4().hex}.staged"


class LakeWriter:
    """Writes one Parquet file, in row groups: what it holds in memory is one of them."""

    def __init__(self, path: Path, table: str, date: str):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._table, self._date = table, date
        self._path = path
        self._file = path.open("wb")
        self._parquet: pq.ParquetWriter | None = None
        self._held: list[pa.Table] = []
        self._held_bytes = self._rows = 0

    @property
    def bytes(self) -> int:
        """What has been written so far, without the rows that are still held."""
        return self._file.tell()

    def write(self, rows: pa.Table) -> None:
        """Take rows; those of the first call are the file's schema."""
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        self._rows += rows.num_rows
        if self._held_bytes >= _GROUP_BYTES:
            self._flush()

    def close(self) -> StagedFile:
        """Complete the file, make it durable and return it."""
        self._flush()
        assert self._parquet is not None  # noqa: S101 (something was written)
        self._parquet.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return StagedFile(self._path.name, self._table, self._date, self._rows, self._path.stat().st_size)

    def abandon(self) -> None:
        """Remove what was written, however little of it the disk took."""
        with suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._parquet is None:
            schema = self._held[0].schema
            self._parquet = pq.ParquetWriter(self._file, schema, **_layout(schema))
        if self._held:
            self._parquet.write_table(pa.concat_tables(self._held))
        self._held, self._held_bytes = [], 0


def _layout(schema: pa.Schema) -> dict[str, Any]:
    """Return how columns are encoded: what rises as deltas, ids by what they share with the one before, the rest by
    dictionaries. A third smaller and up to twice as fast to write as dictionaries for all (docs/performance.md)."""
    rising = [f.name for f in schema if pa.types.is_integer(f.type) or pa.types.is_timestamp(f.type)]
    encodings = dict.fromkeys(rising, "DELTA_BINARY_PACKED") | {"id": "DELTA_BYTE_ARRAY"}
    lists = [f"{f.name}.list.element" for f in schema if pa.types.is_list(f.type)]
    plain = [f.name for f in schema if f.name not in encodings and not pa.types.is_list(f.type)]
    return {
        "compression": "zstd",
        "write_page_checksum": True,
        "use_dictionary": plain + lists,
        "column_encoding": {name: encoding for name, encoding in encodings.items() if name in schema.names},
    }
