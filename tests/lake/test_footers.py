"""What footers say: times, and how many rows are filled."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nextreel.lake.footers import filled, span
from nextreel.lake.layout import Lake
from nextreel.lake.write import stage

SCHEMA = pa.schema(
    [("at", pa.timestamp("us", tz="UTC")), ("names", pa.list_(pa.string())), ("n", pa.float64()), ("text", pa.string())]
)


def moment(second: int) -> datetime:
    return datetime(2026, 1, 31, 12, 0, second, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    lake = Lake(tmp_path)
    given: list[list[tuple[Any, ...]]] = [
        [(moment(5), ["a", "b", "c"], None, "x"), (moment(3), None, 1.0, "y")],
        [(None, [], 2.0, "z")],
        [(moment(9), ["d"], None, None), (moment(7), None, None, "w")],
    ]
    tables = [pa.Table.from_pylist([dict(zip(SCHEMA.names, r, strict=True)) for r in rows], SCHEMA) for rows in given]
    return [lake.staging / stage(lake, "t", "2026-01-31", table).name for table in tables]


def test_the_first_and_the_last_time(files: list[Path]) -> None:
    assert span(files, "at") == (moment(3), moment(9))
    assert span(files[1:2], "at") is None
    assert span([], "at") is None


def test_how_many_rows_are_filled(files: list[Path]) -> None:
    assert filled(files) == (5, {"at": 4, "names": 2, "n": 2, "text": 4})
    assert filled([]) == (0, {})


def test_files_that_are_gone_or_damaged_say_nothing(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"PAR1 half a fi")
    assert span([tmp_path / "gone", tmp_path / "damaged", *files], "at") == (moment(3), moment(9))
