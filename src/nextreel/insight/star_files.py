"""The star as files: ``star/<table>.parquet``, the same as CSV, and ``star/star.json``, which says what they are.

All of it takes its place at once, and shows one moment of the warehouse. A table that has not changed since the last
export is not written again.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from nextreel.insight.export import exported_version, harmless_column
from nextreel.insight.place import taking_place
from nextreel.insight.star import STAR, Table
from nextreel.insight.warehouse import Warehouse

FOLDER = "star"
ABOUT = "star.json"
_BLOCK_ROWS = 100_000


def write_star(warehouse: Warehouse, exports: Path) -> Path:
    """Write all tables of the star below ``exports`` and return their folder."""
    cursor = warehouse.cursor()
    with taking_place(exports, (FOLDER,)) as beside, _one_moment(cursor):
        before, fresh = exports / FOLDER, beside / FOLDER
        fresh.mkdir()
        known = _about(before).get("tables", {})
        tables: dict[str, Any] = {}
        for table in STAR:
            tables[table.name] = about = _fingerprint(cursor, table)
            if known.get(table.name) != about or not _linked(before, fresh, table.name):
                _write(cursor, table, fresh)
        said = {
            "written_at": datetime.now(UTC).isoformat(),
            "model_version": exported_version(exports),
            "tables": tables,
        }
        (fresh / ABOUT).write_text(json.dumps(said, indent=2) + "\n", "utf-8")
    return exports / FOLDER


@contextmanager
def _one_moment(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    cursor.execute("BEGIN")
    try:
        yield
    finally:
        cursor.execute("ROLLBACK")


def _about(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / ABOUT).read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def _fingerprint(cursor: duckdb.DuckDBPyConnection, table: Table) -> dict[str, Any]:
    """Return the number of rows, and what changes with any cell and column whatever the order of rows."""
    names = [column.name for column in table.columns]
    ((rows, mixed),) = cursor.execute(
        f"SELECT count(*), coalesce(sum(hash({', '.join(names)})::HUGEINT), 0)::VARCHAR FROM {table.name}"
    ).fetchall()
    return {"rows": rows, "columns": names, "hash": mixed}


def _linked(before: Path, fresh: Path, name: str) -> bool:
    """Let a table's files be those that were there before; tell whether they were."""
    try:
        for suffix in (".parquet", ".csv"):
            os.link(before / f"{name}{suffix}", fresh / f"{name}{suffix}")
    except OSError:  # not there, or a file system without links
        for suffix in (".parquet", ".csv"):
            (fresh / f"{name}{suffix}").unlink(missing_ok=True)
        return False
    return True


def _write(cursor: duckdb.DuckDBPyConnection, table: Table, folder: Path) -> None:
    rows = cursor.execute(f"FROM {table.name}").to_arrow_reader(_BLOCK_ROWS)
    options = csv.WriteOptions(quoting_style="needed")
    with (
        (folder / f"{table.name}.parquet").open("wb") as binary,
        (folder / f"{table.name}.csv").open("wb") as text,
        pq.ParquetWriter(binary, rows.schema, compression="zstd") as groups,
        csv.CSVWriter(text, rows.schema, write_options=options) as lines,
    ):
        for batch in rows:
            groups.write_batch(batch)
            lines.write_table(_harmless(batch))


def _harmless(batch: pa.RecordBatch) -> pa.Table:
    table = pa.Table.from_batches([batch])
    cells = {
        n: harmless_column(table[n]) if pa.types.is_string(table[n].type) else table[n] for n in table.column_names
    }
    return pa.table(cells)
