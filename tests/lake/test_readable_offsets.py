"""Up to which offsets readers see every row: whatever ingest, a kill or a merge leaves at that moment."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from nextreel.lake import commit as committing
from nextreel.lake.commit import commit, recover
from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.lake.ledger import Intake, fold, readable_offsets
from nextreel.lake.tables import read_table
from nextreel.lake.write import StagedFile, stage

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def staged(lake: Lake, *offsets: int, partition: int = 0, topic: str = "t") -> StagedFile:
    lineage = {"kafka_topic": topic, "kafka_partition": partition, "kafka_timestamp": NOW, "ingested_at": NOW}
    rows = [{"id": f"u{n}", "type": "user", "timestamp": NOW, "kafka_offset": n} | lineage for n in offsets]
    return stage(lake, "users", "2026-01-31", pa.Table.from_pylist(rows, SCHEMAS["users"]))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def put(lake: Lake, batch: int, *offsets: int) -> None:
    commit(lake, "query", batch, [staged(lake, *offsets)], {"t": {"0": max(offsets) + 1}}, Intake())


def test_an_empty_lake_ends_before_its_first_message(lake: Lake) -> None:
    assert readable_offsets(lake) == {}


def test_a_lake_without_records_says_nothing_of_its_end(lake: Lake) -> None:
    put(lake, 0, 0, 1)
    for record in lake.commits.glob("*"):
        record.unlink()
    assert readable_offsets(lake) is None


def test_a_batch_counts_once_its_files_are_in_their_tables(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    put(lake, 0, 0, 1)
    put(lake, 1, 2)
    assert readable_offsets(lake) == {"t": {"0": 3}}
    with monkeypatch.context() as killed:
        killed.setattr(committing, "_move", lambda *_: None)  # killed right after the record
        put(lake, 2, 3, 4)
    assert readable_offsets(lake) == {"t": {"0": 3}}
    recover(lake)
    assert readable_offsets(lake) == {"t": {"0": 5}}


def test_records_that_are_added_up_count(lake: Lake) -> None:
    for batch in range(5):
        put(lake, batch, batch)
    fold(lake)
    assert len(list(lake.commits.glob("*.json"))) == 2
    assert readable_offsets(lake) == {"t": {"0": 5}}


def test_a_topic_that_later_batches_do_not_name_keeps_its_end(lake: Lake) -> None:
    put(lake, 0, 0, 1)
    commit(lake, "query", 1, [staged(lake, 0, topic="other")], {"other": {"0": 1}}, Intake())
    assert readable_offsets(lake) == {"t": {"0": 2}, "other": {"0": 1}}


def test_rows_at_and_above_the_offsets_are_left_out(spark: SparkSession, lake: Lake) -> None:
    files = [staged(lake, 0, 1, 2), staged(lake, 0, 1, partition=3), staged(lake, 5, topic="other")]
    commit(lake, "query", 0, files, {"t": {"0": 3, "3": 2}}, Intake())

    def read(until: dict[str, dict[str, int]] | None) -> list[tuple[str, int, int]]:
        found = read_table(spark, lake, "users", until).select("kafka_topic", "kafka_partition", "kafka_offset")
        return sorted(tuple(row) for row in found.collect())

    assert read({"t": {"0": 2, "3": 1}}) == [("t", 0, 0), ("t", 0, 1), ("t", 3, 0)]
    assert read({"t": {"3": 9}, "other": {"0": 6}}) == [("other", 0, 5), ("t", 3, 0), ("t", 3, 1)]
    assert read({}) == []
    assert len(read(None)) == 6
