"""The lake as Spark reads it: schemas, and the latest state of users and titles."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from nextreel.lake import tables
from nextreel.lake.commit import commit
from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import stage

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def event(key: str, minute: int, offset: int, **cells: Any) -> dict[str, Any]:
    """An event of minute ``minute`` that lies in Kafka at ``offset``."""
    lineage = {"kafka_topic": "topic", "kafka_partition": 0, "kafka_offset": offset}
    times = {"timestamp": START + timedelta(minutes=minute), "kafka_timestamp": START + timedelta(days=1)}
    return {"id": key} | times | lineage | cells


def write(lake: Lake, batch: int, table: str, *events: dict[str, Any], date: str = "2026-01-02") -> None:
    commit(
        lake,
        "test-query",
        batch,
        [stage(lake, table, date, pa.Table.from_pylist(list(events), SCHEMAS[table]))],
        {},
        Intake(),
    )


def by_id(frame: Any, key: str) -> dict[str, dict[str, Any]]:
    found = frame.toArrow().to_pylist()
    assert len({r[key] for r in found}) == len(found)
    return {r[key]: r for r in found}


@pytest.mark.parametrize("table", SCHEMAS)
def test_an_absent_table_is_empty_with_the_columns_of_a_full_one(spark: SparkSession, lake: Lake, table: str) -> None:
    absent = tables.read_table(spark, lake, table)
    assert absent.count() == 0
    cells = {"raw": b"?"} if table == "quarantine" else {"id": "x"}
    write(lake, 0, table, cells)
    full = tables.read_table(spark, lake, table)
    assert full.count() == 1
    columns = [(f.name, f.dataType) for f in full.schema]
    assert columns == [(f.name, f.dataType) for f in absent.schema]
    assert [name for name, _ in columns] == [*SCHEMAS[table].names, "date"]
    assert dict(columns)["date"].simpleString() == "date"


def test_all_days_are_read_and_what_is_not_committed_is_not(spark: SparkSession, lake: Lake) -> None:
    write(lake, 0, "users", event("u1", 1, 0), date="2026-01-02")
    write(lake, 1, "users", event("u2", 1, 1), date="2026-02-03")
    stage(lake, "users", "2026-02-03", pa.Table.from_pylist([event("u3", 1, 2)], SCHEMAS["users"]))
    found = by_id(tables.read_table(spark, lake, "users"), "id")
    assert {key: str(r["date"]) for key, r in found.items()} == {"u1": "2026-01-02", "u2": "2026-02-03"}
    assert found["u1"]["timestamp"] == START + timedelta(minutes=1)


def test_a_path_of_glob_characters_means_itself(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "a{b,c}[d]*é ?")
    write(lake, 0, "users", event("u1", 1, 0))
    assert by_id(tables.users(spark, lake), "user_id").keys() == {"u1"}


def test_files_with_fewer_columns_are_read_as_null(spark: SparkSession, lake: Lake) -> None:
    older = SCHEMAS["users"].remove(SCHEMAS["users"].get_field_index("pais"))
    rows = pa.Table.from_pylist([event("u1", 1, 0)], older)
    commit(lake, "test-query", 0, [stage(lake, "users", "2026-01-02", rows)], {}, Intake())
    write(lake, 1, "users", event("u2", 1, 1, pais="ES"))
    found = by_id(tables.read_table(spark, lake, "users"), "id")
    assert {key: r["pais"] for key, r in found.items()} == {"u1": None, "u2": "ES"}


def test_users_as_they_are_now(spark: SparkSession, lake: Lake) -> None:
    write(
        lake,
        0,
        "users",
        event("u1", 9, 0, nombre_usuario="Ann", generos=["Drama"], decadas_favoritas=["1990s"], clasificacion="R"),
        event("u1", 5, 8, nombre_usuario="Old Ann", generos=["War"], directores=["Mann"]),  # late, not newer
        event("u2", 1, 3, nombre_usuario="Bo", actores=["Judd", "Pacino"]),
    )
    write(lake, 1, "users", event("u2", 2, 9, nombre_usuario="Bo II"), date="2026-01-01")
    found = by_id(tables.users(spark, lake), "user_id")
    assert found == {
        "u1": {
            "user_id": "u1",
            "username": "Ann",
            "genres": ["Drama"],
            "directors": None,
            "actors": None,
            "decades": ["1990s"],
            "age_rating": "R",
            "updated_at": START + timedelta(minutes=9),
        },
        # An update is the whole of what is known: the actors are gone.
        "u2": dict.fromkeys(["genres", "directors", "actors", "decades", "age_rating"])
        | {"user_id": "u2", "username": "Bo II", "updated_at": START + timedelta(minutes=2)},
    }


def test_equal_event_times_go_to_the_later_in_kafka(spark: SparkSession, lake: Lake) -> None:
    later = START + timedelta(days=2)
    write(
        lake,
        0,
        "users",
        event("offset", 1, 10, nombre_usuario="new"),
        event("offset", 1, 9, nombre_usuario="old"),
        event("partition", 1, 1, nombre_usuario="new", kafka_partition=1),
        event("partition", 1, 2, nombre_usuario="old"),
        event("kafka time", 1, 1, nombre_usuario="new", kafka_timestamp=later),
        event("kafka time", 1, 2, nombre_usuario="old", kafka_partition=1),
    )
    found = by_id(tables.latest(tables.read_table(spark, lake, "users")), "id")
    assert {key: r["nombre_usuario"] for key, r in found.items()} == {
        "offset": "new",
        "partition": "new",
        "kafka time": "new",
    }


def test_titles_are_movies_and_series_together(spark: SparkSession, lake: Lake) -> None:
    write(
        lake,
        0,
        "movies",
        event("m1", 1, 0, type="movie", titulo="Heat?", decada_lanzamiento="1980s"),
        event("m1", 2, 1, type="movie", titulo="Heat", decada_lanzamiento="1990s", generos=["Crime", "Drama"]),
    )
    write(
        lake,
        1,
        "series",
        event("s1", 1, 0, type="series", titulo="Lost", clasificacion="TV-14", numero_temporadas="6", actores=["Fox"]),
    )
    found = by_id(tables.titles(spark, lake), "content_id")
    assert found == {
        "m1": {
            "content_id": "m1",
            "type": "movie",
            "title": "Heat",
            "genres": ["Crime", "Drama"],
            "directors": None,
            "actors": None,
            "decades": ["1990s"],
            "age_rating": None,
            "seasons": None,
            "episodes": None,
            "updated_at": START + timedelta(minutes=2),
        },
        "s1": {
            "content_id": "s1",
            "type": "series",
            "title": "Lost",
            "genres": None,
            "directors": None,
            "actors": ["Fox"],
            "decades": None,
            "age_rating": "TV-14",
            "seasons": "6",
            "episodes": None,
            "updated_at": START + timedelta(minutes=1),
        },
    }


@pytest.mark.parametrize(("table", "key"), [("movies", "m1"), ("series", "s1")])
def test_titles_of_one_kind_alone(spark: SparkSession, lake: Lake, table: str, key: str) -> None:
    write(lake, 0, table, event(key, 1, 0, titulo="Title"))
    assert list(by_id(tables.titles(spark, lake), "content_id")) == [key]


def test_an_empty_lake_has_nobody_and_nothing(spark: SparkSession, lake: Lake) -> None:
    assert tables.users(spark, lake).count() == 0
    assert tables.titles(spark, lake).columns == [
        "content_id", "type", "title", "genres", "directors", "actors", "decades", "age_rating",
        "seasons", "episodes", "updated_at",
    ]  # fmt: skip
    assert tables.titles(spark, lake).count() == 0
