"""The table of micro-batches: whole files, by the day of the commit."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from nextreel.lake.batches import append, read
from nextreel.lake.layout import BATCHES, BATCHES_SCHEMA, SCHEMAS, Lake

MIDNIGHT = datetime(2026, 2, 1, tzinfo=UTC)


def rows(*minutes: int) -> pa.Table:
    """Return micro-batches, committed so many minutes after midnight and numbered by them."""
    found = [{"batch_id": m, "committed_at": MIDNIGHT + timedelta(minutes=m)} for m in minutes]
    return pa.Table.from_pylist([dict.fromkeys(BATCHES_SCHEMA.names) | row for row in found], BATCHES_SCHEMA)


def numbers(lake: Lake, since: int) -> list[int]:
    return read(lake, MIDNIGHT + timedelta(minutes=since))["batch_id"].to_pylist()  # type: ignore[no-any-return]


def test_rows_lie_by_the_day_of_their_commit(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    append(lake, rows(-2, -1, 0, 1))
    append(lake, rows(2))
    days = [f.parent.name for f in lake.files(BATCHES)]
    assert days == ["date=2026-01-31", "date=2026-02-01", "date=2026-02-01"]
    assert list(lake.staging.iterdir()) == []


def test_reading_from_a_moment_on(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert numbers(lake, -60) == []
    append(lake, rows(2, 3))
    append(lake, rows(-2, -1, 0, 1))
    assert numbers(lake, -60) == [-2, -1, 0, 1, 2, 3]
    assert numbers(lake, -1) == [-1, 0, 1, 2, 3]
    assert numbers(lake, 1) == [1, 2, 3]
    assert read(lake, MIDNIGHT).schema == BATCHES_SCHEMA


def test_it_is_no_table_of_messages() -> None:
    assert BATCHES not in SCHEMAS
