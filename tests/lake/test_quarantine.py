"""What is in quarantine, counted by reason."""

from pathlib import Path

import pyarrow as pa

from nextreel.lake.commit import commit
from nextreel.lake.layout import QUARANTINE, SCHEMAS, Lake
from nextreel.lake.quarantine import reasons
from nextreel.lake.write import stage


def write(lake: Lake, batch: int, date: str, *given: str) -> None:
    rows = pa.Table.from_pylist([{"reason": r, "raw": b"\xff"} for r in given], SCHEMAS[QUARANTINE])
    commit(lake, "test-query", batch, [stage(lake, QUARANTINE, date, rows)], {})


def test_nothing_there(tmp_path: Path) -> None:
    assert reasons(Lake(tmp_path / "nowhere")) == {}


def test_most_first_then_by_name_over_all_days(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    write(lake, 0, "2026-01-01", "not JSON", "empty", "wrong type", "wrong type")
    write(lake, 1, "2026-01-02", "wrong type", "empty", "not JSON", "bad timestamp")
    found = reasons(lake)
    assert list(found.items()) == [("wrong type", 3), ("empty", 2), ("not JSON", 2), ("bad timestamp", 1)]


def test_only_what_is_committed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    rows = pa.Table.from_pylist([{"reason": "empty"}], SCHEMAS[QUARANTINE])
    stage(lake, QUARANTINE, "2026-01-01", rows)
    assert reasons(lake) == {}


def test_an_empty_file(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    write(lake, 0, "2026-01-01")
    assert reasons(lake) == {}
