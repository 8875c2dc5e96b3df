"""The lake's layout: what other people's readers rely on."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextreel.events.contract import EVENT_TYPES, TABLES, EventType, event_schema
from nextreel.lake.commit import commit
from nextreel.lake.layout import LINEAGE, QUARANTINE, SCHEMAS, Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.quarantine import reasons
from nextreel.lake.write import stage


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_event_tables_are_the_contract_and_then_the_lineage(event_type: EventType) -> None:
    assert list(SCHEMAS[TABLES[event_type]]) == [*event_schema(event_type), *LINEAGE]


def test_the_quarantine_keeps_the_message_and_its_lineage() -> None:
    assert SCHEMAS[QUARANTINE].names[:5] == ["reason", "detail", "key", "headers", "raw"]
    assert SCHEMAS[QUARANTINE].field("raw").type == pa.binary()
    assert list(SCHEMAS[QUARANTINE])[5:] == list(LINEAGE)


def test_there_are_these_tables() -> None:
    assert set(SCHEMAS) == {"users", "movies", "series", "interactions", "quarantine"}


def test_the_lineage_says_which_message_a_row_is() -> None:
    assert LINEAGE.names == ["kafka_topic", "kafka_partition", "kafka_offset", "kafka_timestamp", "ingested_at"]
    assert LINEAGE.field("kafka_offset").type == pa.int64()


def test_all_that_is_not_data_lies_behind_an_underscore() -> None:
    lake = Lake(Path("/lake"))
    inner = [lake.checkpoint, lake.commits, lake.staging, lake.lock]
    assert {path.relative_to(lake.root).parts[0] for path in inner} == {"_ingest"}
    assert len({*inner}) == 4
    assert lake.table("users") == Path("/lake/users")


def test_a_table_s_files_are_those_of_its_days(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert lake.files("users") == []
    for place in (
        "users/date=2026-01-02/b.parquet",
        "users/date=2026-01-01/a.parquet",
        "movies/date=2026-01-01/c.parquet",
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    (tmp_path / "users" / "date=2026-01-01" / "notes.txt").touch()
    (tmp_path / "users" / "elsewhere.parquet").touch()
    assert [f.name for f in lake.files("users")] == ["a.parquet", "b.parquet"]


def test_reasons_are_counted_over_all_files_most_first(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert reasons(lake) == {}
    for batch, given in enumerate((["not JSON", "empty", "not JSON"], ["wrong type", "empty", "not JSON"])):
        rows = pa.Table.from_pylist([{"reason": reason} for reason in given], SCHEMAS[QUARANTINE])
        commit(lake, "query", batch, [stage(lake, QUARANTINE, "2026-01-31", rows)], {}, Intake())
    assert list(reasons(lake).items()) == [("not JSON", 3), ("empty", 2), ("wrong type", 1)]
    assert pq.read_schema(lake.files(QUARANTINE)[0]) == SCHEMAS[QUARANTINE]
