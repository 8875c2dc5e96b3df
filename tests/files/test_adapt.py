"""Files of anybody's become events: what is read is what ingest accepts, what is not says why, row by row."""

import csv
import io
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nextreel.errors import InputError
from nextreel.events.contract import FIELDS
from nextreel.events.encode import encode
from nextreel.files import adapt, delimited
from nextreel.files.adapt import Table
from nextreel.files.cells import columns_of, first_rows, rows_of
from nextreel.files.mapping import Kind, Mapping, TypeRule, as_toml, read_mapping
from nextreel.files.outcome import Read
from nextreel.files.source import FileFormat
from nextreel.ingest.parse import parse

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def read(path: Path, kind: Kind, mapping: Mapping | None = None) -> tuple[list[dict[str, Any]], Read]:
    found = Read()
    table = Table(path, kind, mapping, MOMENT)
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
    assert {name: each.kept for name, each in found.left_out.items()} == {"clasificacion": [(4, "74 min")]}
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
    mapping = Table(path, kind, None if kind == "catalogue" else read_mapping(EXAMPLES / "views.toml")).mapping
    file = tmp_path / "m.toml"
    file.write_text(as_toml(mapping, kind), "utf-8")
    again = read_mapping(file)
    assert mapping.separators.items() <= again.separators.items()
    assert set(again.separators.values()) <= {"[]", *mapping.separators.values()}
    assert Table(path, kind, again).mapping == mapping.model_copy(update={"separators": again.separators})


def test_a_written_mapping_keeps_the_kind_that_was_given(tmp_path: Path) -> None:
    path = tmp_path / "titles.txt"
    path.write_text('{"id",title\nm1,A\n', "utf-8")
    rules = {"columns": {"id": '{"id"', "titulo": "title"}, "file": {"kind": "csv", "quote": ""}}
    table = Table(path, "catalogue", Mapping.model_validate(rules | {"type": {"always": "movie"}}))
    written = tmp_path / "m.toml"
    written.write_text(as_toml(table.mapping, "catalogue", table.has_file_kind), "utf-8")
    again = read_mapping(written)
    assert again.file == table.mapping.file
    assert [event["titulo"] for event in read(path, "catalogue", again)[0]] == ["A"]
    assert "kind" not in as_toml(Table(EXAMPLES / "titles.csv", "catalogue").mapping, "catalogue")


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
    mapping = Mapping(columns={name: name for name in names}, timestamp=form, scale=(0.5, 5.0))
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


def test_a_file_of_utf_16_is_recognised(tmp_path: Path) -> None:
    """As spreadsheets write it: "Unicode text"."""
    path = tmp_path / "titles.txt"
    path.write_text("show_id\ttype\ttitle\ns1\tMovie\tAño\n", "utf-16")
    file, columns, rows = first_rows(path)
    assert (file.encoding, file.delimiter) == ("utf-16", "\t")
    assert columns == ["show_id", "type", "title"]
    assert [row.cells["title"] for row in rows] == ["Año"]


def test_a_header_that_is_not_divided_asks_for_the_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text("show_id;type\ns1;Movie\n")
    comma = {"columns": {"id": "show_id", "type": "type"}, "file": {"delimiter": ","}}
    mapping = Mapping.model_validate(comma)
    with pytest.raises(InputError, match=r"no column 'show_id'.*Is ',' between its cells\? \[file\] delimiter"):
        Table(path, "catalogue", mapping)


def rows_and_faults(tmp_path: Path, text: str) -> list[tuple[str | None, str]]:
    path = tmp_path / "titles.csv"
    path.write_text(text)
    file = FileFormat(quote='"')
    return [(str(row.cells["id"]) if row.cells else None, row.fault) for row in rows_of(path, file)]


def test_a_quote_that_is_never_closed_takes_its_own_row_alone(tmp_path: Path) -> None:
    lines = [f"m{n},Title {n},1999\n" for n in range(1000)]
    lines[9], lines[899] = 'm9,"Crocodile,1999\n', 'm899,"Dundee,1999\n'
    found = rows_and_faults(tmp_path, "id,title,year\n" + "".join(lines))
    assert [each for each, _ in found] == [None if n in (9, 899) else f"m{n}" for n in range(1000)]
    assert [fault for _, fault in found if fault] == [
        f"{error}; a quote is missing, or is not doubled; if quotes are part of the text, set [file] quote = ''"
        for error in ("',' expected after '\"'", "unexpected end of data")
    ]


def test_a_quoted_cell_of_many_lines_is_one_cell(tmp_path: Path) -> None:
    prose = "".join(f"line{n},is prose,not a title\n" for n in range(20_000))
    found = rows_and_faults(tmp_path, f'id,title,about\nm1,A,"{prose}"\nm2,B,\n')
    assert found == [("m1", ""), ("m2", "")]


def test_a_cell_without_an_end_takes_its_own_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_CELL_MOST", 1_000)
    found = rows_and_faults(tmp_path, 'id,title\nm1,"A, a"\nm2,"' + "x,y\n" * 500)
    assert (len(found), found[0], found[2]) == (501, ("m1", ""), ("x", ""))
    assert "a quoted cell of more than 1,000 characters" in found[1][1]


@pytest.mark.parametrize(
    ("columns", "rules", "line", "expected"),
    [
        ("id,type,titulo", {"values": {"type": {"F": "movie"}}}, "m1,F,A", {"type": "movie"}),
        ("id,type,titulo", {"patterns": {"type": r"(\w+)/"}}, "m1,movie/x,A", {"type": "movie"}),
        (
            "id,type,timestamp",
            {"patterns": {"timestamp": r"on (\S+)"}},
            "m1,movie,on 2020-01-02",
            {"timestamp": datetime(2020, 1, 2, tzinfo=UTC)},
        ),
        (
            "id,type,generos",
            {"patterns": {"generos": r"\[(.*)\]"}},
            'm1,movie,"[Drama, War]"',
            {"generos": ["Drama", "War"]},
        ),
        ("id,type,titulo", {"blank": ["?"]}, "m1,movie,", {"id": "m1"}),
    ],
)
def test_each_rule_holds_for_each_field(
    tmp_path: Path, columns: str, rules: dict[str, Any], line: str, expected: dict[str, Any]
) -> None:
    path = tmp_path / "titles.csv"
    path.write_text(f"{columns}\n{line}\n")
    mapping = Mapping.model_validate({"columns": {name: name for name in columns.split(",")}} | rules)
    ((event,), found) = read(path, "catalogue", mapping)
    assert not found.refused
    assert {name: event[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"timestamp": "%d/%m/%d"}, "redefinition of group"),
        ({"timestamp": "second"}, "has no %"),
        ({"patterns": {"titulo": "(a){99999999999999999999}"}}, "no regular expression"),
        ({"patterns": {"titulo": "(" * 5000 + ")" * 5000}}, "no regular expression"),
    ],
)
def test_rules_that_cannot_be_are_refused(rules: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Mapping.model_validate({"columns": {"id": "id"}} | rules)


def test_a_column_of_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text("id,title\nu1,x\n")
    with pytest.raises(InputError, match=r"columns\.titulo: users have no such field; there are actores"):
        Table(path, "users", Mapping(columns={"id": "id", "titulo": "title"}))


@pytest.mark.parametrize("value", [[["Drama"]], {"name": "Drama"}, [{"id": 1}]])
def test_cells_within_cells_are_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "titles.parquet"
    pq.write_table(pa.table({"id": ["m1"], "generos": [value]}), path)
    with pytest.raises(InputError, match=r"'generos', .*, has cells within cells"):
        Table(path, "catalogue", Mapping(columns={"id": "id", "generos": "generos"}))


def test_times_that_python_does_not_have_are_said(tmp_path: Path) -> None:
    path = tmp_path / "titles.parquet"
    pq.write_table(pa.table({"id": ["m1"], "timestamp": pa.array([2**61], pa.timestamp("us"))}), path)
    with pytest.raises(InputError, match="cannot be read after row 0"):
        list(rows_of(path, FileFormat()))


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\x1f\x8b\x08x", "Compressed file ended"), ("id,a\u00f1o\n".encode("latin-1"), "its header is not utf-8")],
)
def test_files_that_are_none_are_said(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "titles.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        first_rows(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no file that can be read more than once"):
        first_rows(tmp_path / "pipe")


def test_blank_times_do_not_spoil_the_guess(tmp_path: Path) -> None:
    path = tmp_path / "views.csv"
    path.write_text("user,item,time\nu1,m1,NULL\nu1,m2,1700000000\n")
    assert Table(path, "interactions").mapping.timestamp == "seconds"


def test_an_interaction_s_own_id_is_the_same_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "views.csv"
    path.write_text("user,item,time,rating\nu1,m1,1700000000,4\n")
    ((event,), _) = read(path, "interactions")
    assert event["id"] == "ba8edc265547ac01f3b6f893"


def test_a_mapping_by_which_nothing_is_an_event_is_not_followed_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapt, "_HOPELESS", 5)
    path = tmp_path / "titles.csv"
    lines = [f"m{n},concert\n" for n in range(20)]
    path.write_text("id,type\n" + "".join(lines))
    with pytest.raises(
        InputError, match="none of the first 5 rows is an event; the last one's unknown type: 'concert'"
    ):
        read(path, "catalogue")
    path.write_text("id,type\nm,movie\n" + "".join(lines))
    assert len(read(path, "catalogue")[1].refused) == 20


@pytest.mark.parametrize(("title", "genres"), [("x" * 5_000, "Drama"), ("x", ",".join(map(str, range(101))))])
def test_values_beyond_the_contract_s_bounds_are_refused_before_they_are_sent(
    tmp_path: Path, title: str, genres: str
) -> None:
    path = tmp_path / "titles.csv"
    path.write_text(f'id,title,genres\n1,{title},"{genres}"\n2,y,War\n')
    events, found = read(path, "catalogue")
    assert ([event["id"] for event in events], refused(found)) == (["2"], [(1, "too long")])


def test_a_mapping_without_a_type_leaves_it_to_the_guess(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text("id,title\n1,A film\n2,Another\n")
    table = Table(path, "catalogue", Mapping.model_validate({"columns": {"id": "id", "titulo": "title"}}))
    assert "no column is the type: every title is a movie ([type] always)" in table.notes
    assert table.mapping.type.always == "movie"


def test_spanish_headers_are_known_with_accents_and_without(tmp_path: Path) -> None:
    path = tmp_path / "valoraciones.csv"
    path.write_text("Usuario,ID_Película,Puntuación,Fecha\nu1,m1,4.5,2024-01-31\n")
    columns = Table(path, "interactions", None).mapping.columns
    assert columns == {
        "id_usuario": "Usuario", "id_contenido": "ID_Película", "calificacion": "Puntuación", "timestamp": "Fecha",
    }  # fmt: skip
