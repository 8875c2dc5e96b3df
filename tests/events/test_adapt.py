"""Files of anybody's become events: what is read is what ingest accepts, what is not says why, row by row."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextreel.errors import InputError
from nextreel.events.adapt import Read, Table
from nextreel.events.cells import FileFormat, columns_of, first_rows, rows_of
from nextreel.events.contract import FIELDS
from nextreel.events.encode import encode
from nextreel.events.mapping import Kind, Mapping, TypeRule, as_toml, guess, read_mapping
from nextreel.ingest.parse import parse

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def read(path: Path, kind: Kind, mapping: Mapping | None = None) -> tuple[list[dict[str, Any]], Read]:
    found = Read()
    table = Table(path, kind, mapping or guess(*first_rows(path), kind), MOMENT)
    batches = [batch for _, batch in table.events(found)]
    events = [{k: v for k, v in row.items() if v is not None} for batch in batches for row in batch.to_pylist()]
    return events, found


def refused(found: Read) -> list[tuple[int, str]]:
    return [(each.row, each.reason) for each in found.refused]


def test_a_catalogue_with_blanks_and_odd_cells() -> None:
    events, found = read(EXAMPLES / "titles.csv", "catalogue")
    by_id = {event["id"]: event for event in events}
    assert list(by_id) == ["s1", "s4", "s5", "s8", "s2", "s3"]
    assert by_id["s1"] == {
        "id": "s1", "type": "movie", "timestamp": MOMENT, "titulo": "The Long Tide",
        "generos": ["Dramas", "International Movies"], "directores": ["Ana Ruiz"],
        "actores": ["Luis Vega", "Marta Sol"], "clasificacion": "PG-13", "decada_lanzamiento": "2010s",
    }  # fmt: skip
    assert by_id["s2"]["numero_temporadas"] == "2"
    assert by_id["s2"]["type"] == "series"
    assert "directores" not in by_id["s2"]
    assert "numero_temporadas" not in by_id["s5"]
    assert by_id["s3"]["titulo"] == "Bread, and Other Crimes"
    assert by_id["s8"]["actores"] == ["Luis Vega", "Ines Prat"]
    assert by_id["s8"]["generos"] == ["Comedies"]
    assert "clasificacion" not in by_id["s4"]
    assert found.left_out == {"clasificacion": [(4, "74 min")]}
    assert refused(found) == [(6, "unknown type"), (7, "duplicate id"), (8, "missing field"), (9, "unreadable row")]
    assert (found.rows, sum(found.events.values())) == (10, 6)


def test_interactions_by_a_mapping() -> None:
    mapping = read_mapping(EXAMPLES / "views.toml")
    events, found = read(EXAMPLES / "views.csv", "interactions", mapping)
    with (EXAMPLES / "views.csv").open() as file:
        rows = list(csv.DictReader(file, delimiter=";"))[:60]
    assert [event["id_usuario"] for event in events] == [row["profile"] for row in rows]
    verbs = {"watched": "complete", "started": "play", "rated": "rate", "saved": "list"}
    assert [event["evento"] for event in events] == [verbs[row["did"]] for row in rows]
    stars = [0.5 + (float(row["stars"]) - 1) / 2 for row in rows if row["stars"]]
    assert [event["calificacion"] for event in events if "calificacion" in event] == pytest.approx(stars)
    moments = [datetime.strptime(row["watched"], "%d/%m/%Y %H:%M").replace(tzinfo=UTC) for row in rows]
    assert [event["timestamp"] for event in events] == moments
    assert refused(found) == [
        (61, "missing field"), (62, "bad timestamp"), (63, "out of range"), (64, "out of range")
    ]  # fmt: skip


def test_an_interaction_without_an_id_has_the_same_one_every_time() -> None:
    mapping = read_mapping(EXAMPLES / "views.toml")
    first, again = ([e["id"] for e in read(EXAMPLES / "views.csv", "interactions", mapping)[0]] for _ in range(2))
    assert first == again
    assert len(set(first)) == 60


def test_movielens_ratings_need_no_mapping(movielens_small: Path) -> None:
    events, found = read(movielens_small / "ratings.csv", "interactions")
    assert len(events) == found.rows == 100_004
    assert (events[0]["id_usuario"], events[0]["calificacion"], events[0]["evento"]) == ("1", 2.5, "rate")
    assert events[0]["timestamp"] == datetime.fromtimestamp(1260759144, UTC)


def test_parquet_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "titles.parquet"
    moment = datetime(2025, 6, 1, 12, tzinfo=UTC)
    columns = {
        "id": [1, 2], "title": ["One", None], "genres": [["Drama", "War"], []], "year": [1999.0, None],
        "updated_at": [moment, None],
    }  # fmt: skip
    pq.write_table(pa.table(columns), path)
    events, _ = read(path, "catalogue")
    assert events == [
        {"id": "1", "type": "movie", "timestamp": moment, "titulo": "One", "generos": ["Drama", "War"],
         "decada_lanzamiento": "1990s"},
        {"id": "2", "type": "movie", "timestamp": MOMENT},
    ]  # fmt: skip


def test_users_have_preferences(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text('user_id,name,country,favourite_genres\n7,Ada,Peru,"Drama, War"\n8,,unknown,\n', "utf-8")
    events, _ = read(path, "users")
    assert events[0]["generos"] == ["Drama", "War"]
    assert events[1] == {"id": "8", "type": "user", "timestamp": MOMENT}


@pytest.mark.parametrize(("delimiter", "start"), [(",", ""), (";", ""), ("\t", "\ufeff"), ("|", "\ufeff")])
def test_delimiters_and_a_byte_order_mark_are_seen(tmp_path: Path, delimiter: str, start: str) -> None:
    path = tmp_path / "titles.csv"
    path.write_text(start + delimiter.join(["id", "title", "genres"]) + "\n" + delimiter.join(["1", "x", "y"]), "utf-8")
    assert read(path, "catalogue")[0][0]["titulo"] == "x"


def test_rows_that_are_not_in_the_encoding_are_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_bytes("id,title\n1,é\n".encode() + "2,é\n".encode("latin-1") + b"3,e\n")
    events, found = read(path, "catalogue")
    assert ([event["id"] for event in events], refused(found)) == (["1", "3"], [(2, "unreadable row")])
    columns, always = {"id": "id", "titulo": "title"}, TypeRule(always="movie")
    latin = Mapping(columns=columns, file=FileFormat(encoding="latin-1"), type=always)
    assert len(read(path, "catalogue", latin)[0]) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("a,a\n", "two columns 'a'"),
        ("a,b\n1,2\n", "no column looks like id"),
    ],
)
def test_a_file_that_is_none_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "file.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read(path, "catalogue")


def test_a_damaged_parquet_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    path.write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(InputError, match="cannot be read"):
        read(path, "catalogue")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[columns]\nnombre = 'x'", "columns.nombre: the contract has no such field"),
        ("[columns]\n[patterns]\ntitulo = '('", "no regular expression"),
        ("[columns]\n[patterns]\ntitulo = 'a'", "needs a group"),
        ("[columns]\n[separators]\ntitulo = ','", "it is no list"),
        ("scale = [5, 1]\n[columns]", "the least rating comes first"),
        ("[columns]\n[file]\ndelimiter = '::'", "file.delimiter"),
        ("[column]\nid = 'x'", "column: Extra inputs"),
        ("columns = ", "cannot be read"),
    ],
)
def test_a_mapping_that_is_wrong_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_mapping(path)


def test_a_column_that_there_is_not_is_said() -> None:
    with pytest.raises(InputError, match="no column 'name', which is to be titulo; there are 'show_id'"):
        Table(EXAMPLES / "titles.csv", "catalogue", Mapping(columns={"titulo": "name"}))


@pytest.mark.parametrize("path", [EXAMPLES / "titles.csv", EXAMPLES / "views.csv"], ids=lambda p: p.name)
def test_a_guess_can_be_written_down_and_read(tmp_path: Path, path: Path) -> None:
    kind: Kind = "catalogue" if path.name == "titles.csv" else "interactions"
    mapping = guess(*first_rows(path), kind) if kind == "catalogue" else read_mapping(EXAMPLES / "views.toml")
    file = tmp_path / "m.toml"
    file.write_text(as_toml(mapping, kind), "utf-8")
    again = read_mapping(file)
    assert again.columns == mapping.columns
    assert again.patterns == mapping.patterns
    assert (again.file, again.timestamp) == (mapping.file, mapping.timestamp)


CELL = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["n/a", "", "nan", "1e400", "-1", "3.5", "0", "2020", "9999-12-31", "1700000000", "rate", "play"]),
    st.sampled_from(["2026-01-01", "2026-01-01T25:00", "0001-01-01", "10000-01-01", "Movie", "TV Show", "a,b", ",,"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    kind=st.sampled_from(["catalogue", "users", "interactions"]),
    rows=st.lists(st.lists(CELL, min_size=9, max_size=10), max_size=6),
    form=st.sampled_from(["iso", "seconds", "milliseconds", "%d/%m/%Y"]),
)
def test_what_is_read_is_what_ingest_accepts(tmp_path: Path, kind: Kind, rows: list[list[str]], form: str) -> None:
    event_type = {"catalogue": "series", "users": "user", "interactions": "interaction"}[kind]
    names = [f.name for f in FIELDS if event_type in f.types]
    text = io.StringIO()
    csv.writer(text).writerows([names, *([*row, *row][: len(names)] for row in rows)])
    path = tmp_path / "any.csv"
    path.write_bytes(text.getvalue().encode("utf-8", "replace"))
    mapping = Mapping(columns={name: name for name in names}, timestamp=form)
    found = Read()
    now = datetime.now(UTC)
    for event_type, batch in Table(path, kind, mapping, MOMENT).events(found):
        n = batch.num_rows
        messages = pa.record_batch(
            {
                "key": batch.column("id").cast(pa.binary()),
                "value": encode(batch),
                "topic": pa.repeat("t", n),
                "partition": pa.array([0] * n, pa.int32()),
                "offset": pa.array(range(n), pa.int64()),
                "timestamp": pa.array([now] * n, pa.timestamp("us", "UTC")),
            }
        )
        assert parse(messages, {"t": event_type}, now).rejected.to_pylist() == []
    assert sum(found.events.values()) + len(found.refused) == found.rows
    assert found.rows == len(list(rows_of(path, FileFormat())))
    assert columns_of(path, FileFormat()) == names
