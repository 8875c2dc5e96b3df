"""What footers say: when messages were sent, and how many rows are filled."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from nextreel.lake.commit import commit
from nextreel.lake.compact import compact
from nextreel.lake.footers import filled, newest_message, sent
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import stage
from nextreel.settings import UpkeepSettings

TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("kafka_timestamp", TIME), ("ingested_at", TIME), ("names", pa.list_(pa.string())), ("n", pa.float64()),
        ("text", pa.string()),
    ]
)  # fmt: skip
END_OF_TIME = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def moment(second: int) -> datetime:
    return datetime(2026, 1, 31, 12, 0, second, tzinfo=UTC)


def written(lake: Lake, *rows: tuple[Any, ...]) -> Path:
    table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=False)) for row in rows], SCHEMA)
    return lake.staging / stage(lake, "t", "2026-01-31", table).name


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    lake = Lake(tmp_path)
    return [
        written(lake, (moment(5), moment(9), ["a", "b", "c"], None, "x"), (moment(3), moment(9), None, 1.0, "y")),
        written(lake, (None, moment(9), [], 2.0, "z")),
        written(lake, (moment(9), moment(9), ["d"]), (moment(7), moment(9), None, None, "w")),
    ]


def test_the_first_and_the_last_time(files: list[Path]) -> None:
    assert sent(files) == (moment(3), moment(9))
    assert sent(files[1:2]) is None
    assert sent([]) is None


@pytest.mark.parametrize("ahead", [moment(10), moment(10) + timedelta(days=366), END_OF_TIME])
def test_a_time_ahead_of_its_arrival_is_left_out(files: list[Path], tmp_path: Path, ahead: datetime) -> None:
    lake = Lake(tmp_path)
    other = written(lake, (ahead, moment(9)), (moment(2), moment(9)), (None, moment(9)), (moment(4), moment(9)))
    alone = written(lake, (ahead, moment(9)))
    assert sent([other]) == (moment(2), moment(4))
    assert sent([alone]) is None
    assert sent([*files, other, alone]) == (moment(2), moment(9))


def test_how_many_rows_are_filled(files: list[Path]) -> None:
    assert filled(files) == (5, {"kafka_timestamp": 4, "ingested_at": 5, "names": 2, "n": 2, "text": 4})
    assert filled([]) == (0, {})


def test_files_that_are_gone_or_damaged_say_nothing(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"PAR1 half a fi")
    damaged = written(Lake(tmp_path), (END_OF_TIME, moment(9)), (moment(1), moment(9)))
    content = damaged.read_bytes()
    damaged.write_bytes(b"PAR1" + bytes(30) + content[34:])  # its footer is whole, and its rows are not
    assert sent([tmp_path / "gone", tmp_path / "damaged", damaged, *files]) == (moment(3), moment(9))


def bring(lake: Lake, batch: int, day: int, *times: tuple[datetime | None, datetime], table: str = "users") -> None:
    """Commit a micro-batch of messages: each one's Kafka timestamp and arrival."""
    rows = pa.table([list(column) for column in zip(*times, strict=True)], SCHEMA.names[:2]).cast(
        pa.schema([SCHEMA.field(0), SCHEMA.field(1)])
    )
    file = stage(lake, table, f"2026-01-{day:02}", rows)
    commit(lake, "test-query", batch, [file], {"t": {"0": batch + 1}}, Intake({"t": {"0": 0}}, {"t": {"0": 1}}, 9))


def test_the_newest_message_of_a_lake(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    assert newest_message(lake) is None
    bring(lake, 0, 30, (moment(30), moment(31)))
    assert newest_message(lake) == moment(30)
    bring(lake, 1, 31, (moment(1), moment(40)), (moment(2), moment(40)))
    bring(lake, 2, 31, (moment(20), moment(21)), table="movies")
    assert newest_message(lake) == moment(20)  # of each table's last day


def test_the_newest_message_is_none_of_those_that_are_ahead(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    bring(lake, 0, 31, (END_OF_TIME, moment(40)), (moment(5), moment(40)))
    bring(lake, 1, 31, (moment(59), moment(50)))
    assert newest_message(lake) == moment(5)
    bring(lake, 2, 31, (moment(8), moment(9)), table="movies")
    assert newest_message(lake) == moment(8)


@pytest.mark.parametrize("unknown", [END_OF_TIME, None])
def test_where_no_time_can_be_believed_the_newest_message_is_the_last_arrival(
    tmp_path: Path, unknown: datetime | None
) -> None:
    lake = Lake(tmp_path / "lake")
    bring(lake, 0, 31, (unknown, moment(7)))
    bring(lake, 1, 31, (unknown, moment(6)), table="movies")
    assert newest_message(lake) == moment(7)


@pytest.mark.skipif(os.name == "nt", reason="files are removed on POSIX systems alone")
@pytest.mark.parametrize("with_another", [True, False])
def test_a_message_from_the_future_does_not_make_everything_old(tmp_path: Path, with_another: bool) -> None:
    lake, settings = Lake(tmp_path / "lake"), UpkeepSettings(interactions_days=7)
    others = [(moment(5), moment(6))] if with_another else []
    bring(lake, 0, 30, (moment(1), moment(2)), table="interactions")
    bring(lake, 1, 31, (END_OF_TIME, moment(6)), *others, table="interactions")
    assert compact(lake, settings, date(2050, 1, 1), least=99) == []
