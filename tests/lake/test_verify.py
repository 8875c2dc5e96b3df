"""Verification: what is right passes, and whatever was done to a lake is named."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextreel.errors import LakeError
from nextreel.lake.commit import commit
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Intake, record_path
from nextreel.lake.locks import keeper
from nextreel.lake.stats import TableStats, stats
from nextreel.lake.verify import verify
from nextreel.lake.write import stage


def messages(*offsets: int) -> pa.Table:
    n = len(offsets)
    return pa.table(
        {
            "kafka_topic": pa.array(["t"] * n),
            "kafka_partition": pa.array([3] * n, pa.int32()),
            "kafka_offset": pa.array(offsets, pa.int64()),
        }
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Offsets 5 to 15 of one partition, of which 9 holds no message."""
    lake = Lake(tmp_path / "lake")
    files = [stage(lake, "users", "2026-01-30", messages(5, 6, 7, 8))]
    commit(lake, "query", 0, files, {"t": {"3": 10}}, Intake({"t": {"3": 5}}, {"t": {"3": 4}}, 400))
    files = [
        stage(lake, "users", "2026-01-31", messages(10, 12)),
        stage(lake, "movies", "2026-01-31", messages(11, 13, 14)),
    ]
    commit(lake, "query", 1, files, {"t": {"3": 15}}, Intake({"t": {"3": 10}}, {"t": {"3": 5}}, 500))
    return lake


@pytest.mark.parametrize("deep", [False, True])
def test_what_is_right_passes(lake: Lake, deep: bool) -> None:
    verdict = verify(lake, deep)
    assert verdict.problems == []
    assert (verdict.files, verdict.rows, verdict.messages, verdict.absent, verdict.removed) == (3, 9, 9, 1, 0)


def test_no_lake_is_an_empty_one(tmp_path: Path) -> None:
    verdict = verify(Lake(tmp_path / "none"), deep=True)
    assert (verdict.files, verdict.rows, verdict.problems) == (0, 0, [])


def test_a_partition_that_kafka_has_no_more_stays_verified(lake: Lake) -> None:
    commit(lake, "query", 2, [], {"t": {"0": 7}}, Intake({"t": {"0": 7}}, {"t": {"0": 0}}, 0))
    assert verify(lake, deep=True).problems == []


def first(lake: Lake) -> Path:
    return lake.files("users")[0]


def replaced(lake: Lake, *offsets: int) -> None:
    pq.write_table(messages(*offsets), first(lake))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = pq.read_metadata(path).row_group(0).column(2)
    content[place.data_page_offset + place.total_compressed_size - 1] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda lake: first(lake).unlink(), "is missing: 4 rows"),
        (lambda lake: first(lake).write_bytes(b""), "cannot be read"),
        (lambda lake: first(lake).write_bytes(first(lake).read_bytes()[:-9]), "cannot be read"),
        (lambda lake: replaced(lake, 5, 6, 7), "has 3 rows of 4"),
        (
            lambda lake: pq.write_table(messages(1), lake.table("users") / "date=2026-01-30" / "x.parquet"),
            "in no record",
        ),
        (lambda lake: record_path(lake, 1).unlink(), "is in no record"),
    ],
)
def test_a_file_that_is_not_as_recorded_is_named(lake: Lake, harm: Callable[[Lake], None], named: str) -> None:
    harm(lake)
    assert any(named in problem for problem in verify(lake).problems)


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda lake: replaced(lake, 5, 6, 7, 7), "t partition 3: 1 messages twice, the first at offset 7"),
        (lambda lake: replaced(lake, 5, 6, 7, 12), "t partition 3: 1 messages twice, the first at offset 12"),
        (lambda lake: replaced(lake, 5, 6, 7, 99), "offset 99 of t partition 3: never read"),
        (lambda lake: replaced(lake, 5, 6, 7, 4), "offset 4 of t partition 3: never read"),
        (lambda lake: replaced(lake, 5, 6, 7, 7), "2 offsets have no row; 1 were expected"),
        (lambda lake: flipped(first(lake)), "cannot be read"),
    ],
)
def test_in_depth_every_message_is_looked_up(lake: Lake, harm: Callable[[Lake], None], named: str) -> None:
    harm(lake)
    assert any(named in problem for problem in verify(lake, deep=True).problems)


def test_rows_that_are_not_the_messages_read_are_named(lake: Lake) -> None:
    file = stage(lake, "users", "2026-01-31", messages(15, 16))
    commit(lake, "query", 2, [file], {"t": {"3": 18}}, Intake({"t": {"3": 15}}, {"t": {"3": 3}}, 10))
    assert "12 messages were read and 11 rows written" in verify(lake).problems


def test_more_messages_than_offsets_are_named(lake: Lake) -> None:
    file = stage(lake, "users", "2026-01-31", messages(15, 16))
    commit(lake, "query", 2, [file], {"t": {"3": 15}}, Intake({"t": {"3": 15}}, {"t": {"3": 2}}, 10))
    verdict = verify(lake, deep=True)
    assert "t partition 3: 1 messages more than offsets" in verdict.problems
    assert verdict.absent == 0
    assert not any(" -" in problem for problem in verdict.problems)


def test_not_while_files_are_merged(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.lake.verify._KEEPER_SECONDS", 0.2)
    with keeper(lake), pytest.raises(LakeError, match="being merged"):
        verify(lake)


def test_what_the_tables_weigh(lake: Lake) -> None:
    sizes = {table: [f.stat().st_size for f in lake.files(table)] for table in ("users", "movies")}
    assert stats(lake, max(sizes["movies"]) + 1) == [
        TableStats("movies", 1, 1, 3, sum(sizes["movies"]), "2026-01-31", "2026-01-31"),
        TableStats("users", 2, 2, 6, sum(sizes["users"]), "2026-01-30", "2026-01-31"),
    ]
    assert [t.small_files for t in stats(lake, 1)] == [0, 0]
