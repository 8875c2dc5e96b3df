"""Cells as values: lists in brackets, numbers and scales, moments and zones, and words that are blank or are not."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.files.reading import MOMENT, read_file

from nextreel.errors import InputError
from nextreel.files.adapt import Table
from nextreel.files.lists import in_brackets, separator_of
from nextreel.files.mapping import Mapping, as_toml, read_mapping
from nextreel.files.moments import MomentReader, forms_of
from nextreel.files.numbers import Survey, decimal_of, number_of, rating_on
from nextreel.files.outcome import Read

HEADER = "user_id,movie_id,rating,timestamp"
COLUMNS = {"id_usuario": "user_id", "id_contenido": "movie_id", "calificacion": "rating", "timestamp": "timestamp"}


def views(tmp_path: Path, lines: list[str], header: str = HEADER) -> Path:
    path = tmp_path / "views.csv"
    path.write_text("\n".join([header, *lines, ""]), "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['drama', 'crime']", ["drama", "crime"]),
        ('["drama", "it\'s"]', ["drama", "it's"]),
        ("[]", []),
        ('[{"id": 18, "name": "Drama"}, {"id": 2, "name": "War, Peace"}]', ["Drama", "War, Peace"]),
        ("[{'id': 80, 'name': 'Crime'}]", ["Crime"]),
        ('{"id": 1, "name": "Saga"}', ["Saga"]),
        ("['Drama' 'War']", ["Drama", "War"]),
        ("('Drama',)", ["Drama"]),
        ('{Drama,"Science Fiction"}', ["Drama", "Science Fiction"]),
        ("[Drama, War]", ["Drama", " War"]),
        ("[1, null, 2.0]", ["1", "2"]),
        ("(no genres listed)", None),
        ("Drama", None),
        ("[Drama", None),
        ("[" * 5_000 + "]" * 5_000, None),
    ],
)
def test_lists_in_brackets(text: str, expected: list[str] | None) -> None:
    assert in_brackets(text) == expected


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["Drama|War", "Crime"], "|"),
        (["Drama; War", "Crime"], ";"),
        (["Action &amp; War, Drama"], ","),
        (["Drama, War"], ","),
        (["['a']", "[]"], "[]"),
        (["Drama, Comedy"] * 100 + ["Action|War"], ","),
        (["Drama|Comedy"] * 100 + ["Action, War", "Action; War", "[]", "['Drama']"], "|"),
        (["Drama;Comedy"] * 100 + ["Action|War", "[]"], ";"),
        (["Drama", "['Drama', 'War']", "War, Action"], "[]"),
        ([], ","),
    ],
)
def test_separators(cells: list[str], expected: str) -> None:
    assert separator_of(cells) == expected


def test_separators_of_a_mapping_have_the_last_word(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text("id,genres\n1,Drama|War\n", "utf-8")
    rules: dict[str, Any] = {"columns": {"id": "id", "generos": "genres"}, "type": {"always": "movie"}}
    assert read_file(path, "catalogue", rules)[0][0]["generos"] == ["Drama", "War"]
    assert read_file(path, "catalogue", rules | {"separators": {"generos": ","}})[0][0]["generos"] == ["Drama|War"]


@pytest.mark.parametrize("mark", [", ", "|", ";"])
def test_one_cell_of_another_shape_does_not_divide_a_column(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "titles.tsv"
    odd = "Action|War" if mark == ", " else "[]"
    cells = [f"Drama{mark}Comedy"] * 100 + [odd, "['Drama', 'War']"]
    path.write_text("id\tgenres\n" + "".join(f"{n}\t{cell}\n" for n, cell in enumerate(cells)), "utf-8")
    events, _, table = read_file(path, "catalogue")
    genres = [event.get("generos") for event in events]
    assert genres[:100] == [["Drama", "Comedy"]] * 100
    assert genres[100:] == [["Action|War"] if mark == ", " else None, ["Drama", "War"]]
    written = tmp_path / "m.toml"
    written.write_text(as_toml(table.mapping, "catalogue"), "utf-8")
    again = [event for _, batch in Table(path, "catalogue", read_mapping(written)).events(Read()) for event in
             batch.column("generos").to_pylist()]  # fmt: skip
    assert again == genres


def test_a_cell_nested_too_deeply_is_no_list() -> None:
    assert in_brackets("[" + "[" * 990 + "]" * 990 + "]") is None


def test_seasons_and_age_ratings_as_justwatch_has_them(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text(
        "id,title,type,age_certification,genres,seasons,imdb_score\n"
        "ts9,A,SHOW,TV-14,\"['drama', 'war']\",3.0,8.1\ntm9,B,MOVIE,PG-13,[],,7.2\n",
        "utf-8",
    )
    events, _, _ = read_file(path, "catalogue")
    by_id = {event["id"]: event for event in events}
    assert (by_id["ts9"]["type"], by_id["ts9"]["numero_temporadas"]) == ("series", "3")
    assert (by_id["ts9"]["generos"], by_id["ts9"]["clasificacion"]) == (["drama", "war"], "TV-14")
    assert "generos" not in by_id["tm9"]


def test_a_column_of_scores_is_no_age_rating_and_minutes_are_no_seasons(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text("id,type,rating,duration\n1,tv,7.1,95\n2,tv,8,60\n", "utf-8")
    _, _, table = read_file(path, "catalogue")
    assert set(table.mapping.columns) == {"id", "type"}


def test_a_decimal_comma_is_guessed_from_all_numbers_and_exchanges_still_hold(tmp_path: Path) -> None:
    path = views(tmp_path, ["u;m;2,5;2024-05-01", "u;n;4;2024-05-01"], HEADER.replace(",", ";"))
    assert [event["calificacion"] for event in read_file(path, "interactions")[0]] == [2.5, 4.0]
    rules = {"columns": COLUMNS, "values": {"calificacion": {"2,5": "3.5"}}}
    assert [event["calificacion"] for event in read_file(path, "interactions", rules)[0]] == [3.5, 4.0]
    rules = {"columns": COLUMNS, "file": {"decimal": "."}}
    assert len(read_file(path, "interactions", rules)[1].refused) == 1


@pytest.mark.parametrize(
    ("text", "decimal", "expected"),
    [("3,5", ",", 3.5), ("87,5 %", ",", 87.5), ("40%", ".", 40.0), ("3.5", ",", 3.5), ("1.234,5", ",", math.nan),
     ("1_0", ".", math.nan), ("3,5", ".", math.nan)],
)  # fmt: skip
def test_numbers(text: str, decimal: str, expected: float) -> None:
    assert number_of(text, decimal) == pytest.approx(expected, nan_ok=True)


def test_decimal_marks() -> None:
    assert [decimal_of(cells) for cells in (["1,5", "2"], ["1,5", "2.5"], ["1", "2"], [])] == [",", ".", ".", "."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("up", 4.0), ("Thumbs_Down", 1.0), ("two thumbs up", 5.0), ("1", 4.0), ("-1", 1.0), ("0", 1.0), ("1.0", 4.0)],
)
def test_thumbs(text: str, expected: float) -> None:
    assert rating_on("thumbs", text, ".") == expected


def survey(ratings: list[float]) -> Survey:
    found = Survey()
    for rating in ratings:
        found.add(rating)
    return found


def test_ten_point_ratings_are_seen() -> None:
    assert survey([1, 4, 7, 10, 5]).scale() == (1.0, 10.0)
    assert survey([0.5, 4, 9.5]).scale() == (0.5, 10.0)
    assert survey([1, 5, 3.5]).scale() is None
    assert survey([4.0] * 99 + [7.0]).scale() is None  # a mistake in one row is refused with its row


@pytest.mark.parametrize(
    ("ratings", "says"),
    [
        ([0, 5, 10], r"scale = \[0, 10\]"),
        ([1, 6, 7], r"scale = \[1, 7\]"),
        ([55, 80, 100], r"scale = \[0, 100\]"),
        ([1, 500], r"scale = \[1, 500\]"),
        ([0, 1] * 10, 'scale = "thumbs"'),
        ([-1, 1] * 10, 'scale = "thumbs"'),
        ([0.25, 0.75] * 10, r"scale = \[0, 1\]"),
    ],
)
def test_a_scale_that_is_not_evident_is_asked_for(ratings: list[float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        survey(ratings).scale()


def test_no_event_is_made_before_the_scale_is_known(tmp_path: Path) -> None:
    """Ratings above 5 come after the first rows: the whole file is looked at first."""
    lines = [f"u{n},m{n},{3 if n < 5_000 else 70},2024-05-01" for n in range(10_000)]
    with pytest.raises(InputError, match=r"scale = \[0, 100\]"):
        read_file(views(tmp_path, lines), "interactions")
    lines = [f"u{n},m{n},{3 if n < 5_000 else 10},2024-05-01" for n in range(10_000)]
    events, read, table = read_file(views(tmp_path, lines), "interactions")
    assert (len(events), len(read.refused), events[-1]["calificacion"]) == (10_000, 0, 5.0)
    assert any("scale = [1, 10]" in note for note in table.notes)


def test_minus_one_is_no_rating_unless_the_mapping_says_so(tmp_path: Path) -> None:
    path = views(tmp_path, ["u,a,9,2024-05-01", "u,b,-1,2024-05-01", "u,c,1,2024-05-01"])
    events, read, table = read_file(path, "interactions", {"columns": COLUMNS, "scale": [1, 10]})
    assert [(event["evento"], event.get("calificacion")) for event in events] == [
        ("rate", 4.5), ("play", None), ("rate", 0.5)
    ]  # fmt: skip
    assert (len(read.refused), read.left_out) == (0, {})
    assert any("-1" in note for note in table.notes)
    own = {"columns": COLUMNS, "scale": [1, 10], "values": {"calificacion": {"-1": "-1"}}}
    assert [each.row for each in read_file(path, "interactions", own)[1].refused] == [2]


@pytest.mark.parametrize("spelling", ["-1,0", "-1,00", "-1"])
def test_minus_one_is_no_rating_however_it_is_written(tmp_path: Path, spelling: str) -> None:
    lines = ["u;a;4,5;2024-05-01", f"u;b;{spelling};2024-05-01", "u;c;3,0;2024-05-01"]
    events, read, table = read_file(views(tmp_path, lines, HEADER.replace(",", ";")), "interactions")
    assert [(e["evento"], e.get("calificacion")) for e in events] == [("rate", 4.5), ("play", None), ("rate", 3.0)]
    assert not len(read.refused)
    assert table.mapping.values["calificacion"][spelling] == ""
    lines = ["u,a,4.50,2024-05-01", "u,b,-1.00,2024-05-01", "u,c,-1.0,2024-05-01", "u,c,-1,2024-05-01"]
    events, read, _ = read_file(views(tmp_path, lines), "interactions")
    assert ([event["evento"] for event in events], len(read.refused)) == (["rate", "play", "play", "play"], 0)


def test_a_decimal_comma_behind_the_first_rows_is_seen_before_the_scale_is_judged(tmp_path: Path) -> None:
    header = HEADER.replace(",", ";") + ";progress"
    lines = [f"u;m{n};4;2024-05-01;50" for n in range(2_100)] + [f"u;n{n};9,5;2024-05-01;50" for n in range(1_000)]
    events, read, table = read_file(views(tmp_path, lines, header), "interactions")
    assert (len(events), len(read.refused), table.mapping.file.decimal) == (3_100, 0, ",")
    assert table.mapping.scale == (1.0, 10.0)
    assert "numbers have a decimal comma ([file] decimal)" in table.notes
    mixed = [*lines, "u;x;3.5;2024-05-01;50"]
    _, read, table = read_file(views(tmp_path, mixed, header), "interactions")
    assert (len(read.refused), table.mapping.file.decimal) == (1_000, ".")
    columns = COLUMNS | {"porcentaje_visto": "progress"}
    given = {"columns": columns, "file": {"decimal": "."}}
    assert len(read_file(views(tmp_path, lines, header), "interactions", given)[1].refused) == 1_000
    shares = [*lines, "u;x;3;2024-05-01;50.5"]
    assert read_file(views(tmp_path, shares, header), "interactions")[2].mapping.file.decimal == "."


def test_shares_become_percentages(tmp_path: Path) -> None:
    path = views(tmp_path, ["u,a,0.25,2024-05-01", "u,b,1,2024-05-01"], "user_id,movie_id,progress,timestamp")
    assert [event["porcentaje_visto"] for event in read_file(path, "interactions")[0]] == [25.0, 100.0]
    columns = {"id_usuario": "user_id", "id_contenido": "movie_id", "porcentaje_visto": "progress",
               "timestamp": "timestamp"}  # fmt: skip
    rules = {"columns": columns, "watched_scale": [0, 100]}
    assert [event["porcentaje_visto"] for event in read_file(path, "interactions", rules)[0]] == [0.25, 1.0]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("%Y-%m-%d %H:%M:%S %z", "2024-05-01 20:00:00 +0200", "2024-05-01T18:00:00"),
        ("%a %b %d %H:%M:%S %z %Y", "Wed May 01 20:00:00 +0200 2024", "2024-05-01T18:00:00"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-05-01 20:00:00 UTC", "2024-05-01T20:00:00"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-05-01 20:00:00 CEST", "2024-05-01T18:00:00"),
        ("%a %b %d %H:%M:%S %Z %Y", "Wed May 01 20:00:00 EDT 2024", "2024-05-02T00:00:00"),
        ("%Y-%m-%d %H:%M:%S %Z", "2024-05-01 20:00:00 Europe/Madrid", "2024-05-01T18:00:00"),
        ("iso", "2024-05-01 20:00:00 UTC", "2024-05-01T20:00:00"),
        ("iso", "2024-05-01 20:00:00 +0200", "2024-05-01T18:00:00"),
        ("iso", "2024-05-01T20:00:00Z", "2024-05-01T20:00:00"),
        ("seconds", "1704110400", "2024-01-01T12:00:00"),
        ("nanoseconds", "1704110400000001000", "2024-01-01T12:00:00.000001"),
    ],
)
def test_moments_with_zones(form: str, text: str, expected: str) -> None:
    assert Mapping(columns={}, timestamp=form).timestamp == form
    assert MomentReader(form).read(text) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_moments_without_a_zone_are_in_the_stated_one(tmp_path: Path) -> None:
    path = views(tmp_path, ["u,a,4,2024-05-01 20:00:00", "u,b,4,2024-12-01 20:00:00"])
    events, _, _ = read_file(path, "interactions", {"columns": COLUMNS, "zone": "Europe/Madrid"})
    assert [event["timestamp"].hour for event in events] == [18, 19]


def test_a_zone_that_is_not_known_is_refused_until_it_is_said(tmp_path: Path) -> None:
    path = views(tmp_path, ["u,a,4,2024-05-01 20:00:00 IST"])
    rules: dict[str, Any] = {"columns": COLUMNS, "timestamp": "%Y-%m-%d %H:%M:%S %Z"}
    (refused,) = read_file(path, "interactions", rules)[1].refused
    assert '[zones] IST = "+05:30"' in refused.detail
    events, _, _ = read_file(path, "interactions", rules | {"zones": {"IST": "+05:30"}})
    assert events[0]["timestamp"] == datetime(2024, 5, 1, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["25/12/2024 20:00", "01/02/2024 10:00"], ["%d/%m/%Y %H:%M"]),
        (["12/25/24", "01/02/24"], ["%m/%d/%y"]),
        (["01/02/2024", "03/04/2024"], ["%d/%m/%Y", "%m/%d/%Y"]),
        (["May 1, 2020", "December 24, 2021"], ["%B %d, %Y"]),
        (["10/Oct/2000:13:55:36 -0700"], ["%d/%b/%Y:%H:%M:%S %z"]),
        (["2024-05-01"], ["iso"]),
        (["1704110400000"], ["milliseconds"]),
        ([*(str(1704110400 + n) for n in range(50)), "0"], ["seconds"]),
        ([*(str(1704110400 + n) for n in range(50)), "yesterday", "1704110400000"], ["seconds"]),
        (["0", "1.7041104e9"], ["seconds"]),
        (["1.7041104E+12", "1704110400000.5"], ["milliseconds"]),
        (["0"], []),
        (["20240501"], ["iso"]),
        (["1704110400", "1704110400000"], []),
        (["soon"], []),
    ],
)
def test_forms_of_moments(cells: list[str], expected: list[str]) -> None:
    assert forms_of(cells) == expected


def test_an_odd_moment_among_counts_of_seconds_is_refused_alone(tmp_path: Path) -> None:
    lines = [f"u,m{n},4,{1704110400 + n}" for n in range(60)]
    path = views(tmp_path, [*lines, "u,x,4,0", "u,y,4,1.7041104e9", "u,z,4,yesterday", "u,w,4,1704110400.5"])
    events, read, _ = read_file(path, "interactions")
    assert [(each.row, each.reason) for each in read.refused] == [(63, "bad timestamp")]
    assert events[60]["timestamp"].year == 1970
    assert events[61]["timestamp"] == datetime.fromtimestamp(1704110400, UTC)
    assert events[62]["timestamp"].microsecond == 500_000


def test_forms_that_read_every_moment_alike_are_not_asked_for(tmp_path: Path) -> None:
    path = views(tmp_path, ["u\ta\t4\tMay 01, 2024", "u\tb\t4\tMay 30, 2024"], HEADER.replace(",", "\t"))
    events, _, _ = read_file(path, "interactions")
    assert [event["timestamp"].day for event in events] == [1, 30]


def test_days_that_may_be_months_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"fit '%d/%m/%Y' and '%m/%d/%Y'"):
        read_file(views(tmp_path, ["u,a,4,01/02/2024", "u,b,4,03/04/2024"]), "interactions")


def test_a_file_without_times_says_so_in_its_mapping(tmp_path: Path) -> None:
    path = views(tmp_path, ["u,a,4", "u,b,3", "u,c,5"], "user_id,movie_id,rating")
    with pytest.raises(InputError, match=r'\[constants\] timestamp = "now"'):
        read_file(path, "interactions")
    columns = {name: column for name, column in COLUMNS.items() if name != "timestamp"}
    by_moment = {
        moment: read_file(path, "interactions", {"columns": columns, "constants": {"timestamp": moment}})[0]
        for moment in ("now", "order", "2024-01-31")
    }
    assert {event["timestamp"] for event in by_moment["now"]} == {MOMENT}
    seconds = [MOMENT - event["timestamp"] for event in by_moment["order"]]
    assert seconds == [timedelta(seconds=2), timedelta(seconds=1), timedelta(0)]
    assert {event["timestamp"] for event in by_moment["2024-01-31"]} == {datetime(2024, 1, 31, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("moment", "zone"),
    [("0001-01-01", "+02:00"), ("9999-12-31T23:59:59", "-02:00"), ("1899-12-31", "UTC"), ("2099-01-01", "UTC")],
)
def test_a_constant_time_that_no_event_may_have_is_an_error(tmp_path: Path, moment: str, zone: str) -> None:
    path = views(tmp_path, ["u,a,4"], "user_id,movie_id,rating")
    columns = {name: column for name, column in COLUMNS.items() if name != "timestamp"}
    rules = {"columns": columns, "constants": {"timestamp": moment}, "zone": zone}
    with pytest.raises(InputError, match=f"constants.timestamp is '{moment}'; event times must lie between 1900"):
        read_file(path, "interactions", rules)


@pytest.mark.parametrize("moment", ["now", "order"])
def test_a_file_without_times_counts_once_whenever_it_is_sent(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = views(tmp_path, ["u,a,4", "u,b,3", "u,a,4"], "user_id,movie_id,rating")
    columns = {name: column for name, column in COLUMNS.items() if name != "timestamp"}
    rules = {"columns": columns, "constants": {"timestamp": moment}}
    first = [event["id"] for event in read_file(path, "interactions", rules)[0]]
    monkeypatch.setattr("tests.files.reading.MOMENT", MOMENT + timedelta(days=1))
    assert [event["id"] for event in read_file(path, "interactions", rules)[0]] == first
    assert len(set(first)) == 3


def test_constants_fill_fields_without_a_column_and_blank_cells(tmp_path: Path) -> None:
    path = views(tmp_path, ["a,4,", "b,3,2024-05-02"], "movie_id,rating,timestamp")
    columns = {name: column for name, column in COLUMNS.items() if name != "id_usuario"}
    rules = {"columns": columns, "constants": {"id_usuario": "me", "timestamp": "2024-05-01", "dispositivo": "tv"}}
    events, _, _ = read_file(path, "interactions", rules)
    assert [(e["id_usuario"], e["timestamp"].day, e["dispositivo"]) for e in events] == [
        ("me", 1, "tv"),
        ("me", 2, "tv"),
    ]
    with pytest.raises(InputError, match=r'\[constants\] id_usuario = "me"'):
        read_file(path, "interactions")


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"zone": "Mars/Olympus"}, "is no zone; examples"),
        ({"zones": {"IST": "5"}}, "is no zone"),
        ({"constants": {"timestamp": "soon"}}, "now, order or a moment"),
        ({"constants": {"x": "y"}}, "constants.x: the contract has no such field"),
        ({"watched_scale": [1, 0]}, "watched_scale: the least"),
        ({"file": {"encoding": "klingon"}}, "is no text encoding"),
    ],
)
def test_rules_that_cannot_be_are_refused_with_what_may_be(rules: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Mapping.model_validate({"columns": {"id": "id"}} | rules)


def test_words_for_blank_are_names_where_names_are(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text('id,title,cast,rated\n1,None,Null,NA\n2,Unknown,"NA, nan",None\n3,\\N,\\N,R\nNA,x,y,R\n', "utf-8")
    events, _, _ = read_file(path, "catalogue")
    assert [(e["id"], e.get("titulo"), e.get("actores"), e.get("clasificacion")) for e in events] == [
        ("1", "None", ["Null"], None),
        ("2", "Unknown", ["NA"], None),
        ("3", None, None, "R"),
        ("NA", "x", ["y"], "R"),
    ]


def test_a_word_that_many_cells_are_is_blank(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    lines = [f"{n},Title {n},{'Unknown' if n % 5 == 0 else f'Person {n}'}" for n in range(30)]
    path.write_text("\n".join(["id,title,director", *lines]), "utf-8")
    events, _, table = read_file(path, "catalogue")
    assert sum("directores" not in event for event in events) == 6
    assert any("'unknown'" in note for note in table.notes)
    rules = {"columns": {"id": "id", "directores": "director"}, "type": {"always": "movie"},
             "blanks": {"directores": [""]}}  # fmt: skip
    assert all("directores" in event for event in read_file(path, "catalogue", rules)[0])


def test_namibia_is_a_country(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text("user_id,country\n1,NA\n2,unknown\n", "utf-8")
    assert [event.get("pais") for event in read_file(path, "users")[0]] == ["NA", None]


def test_whole_numbers_written_as_floats_are_ids_as_the_catalogue_has_them(tmp_path: Path) -> None:
    path = views(tmp_path, ["1,862.0,4,2024-05-01", "2,9.0,3,2024-05-01"])
    events, _, table = read_file(path, "interactions", {"columns": COLUMNS})
    assert [event["id_contenido"] for event in events] == ["862", "9"]
    assert any("'862.0'" in note for note in table.notes)
    kept = {"columns": COLUMNS, "patterns": {"id_contenido": "(.*)"}}
    assert read_file(path, "interactions", kept)[0][0]["id_contenido"] == "862.0"


def test_numbers_of_rows_are_no_ids_of_events(tmp_path: Path) -> None:
    """January's row 1 and February's are two events; the same file again has the same ids."""
    header = "id," + HEADER
    january = views(tmp_path, ["1,u,a,4,2024-01-01", "2,v,b,3,2024-01-02", "3,v,b,3,2024-01-02"], header)
    first, read, table = read_file(january, "interactions")
    assert [event["id"] for event in read_file(january, "interactions")[0]] == [event["id"] for event in first]
    assert read.repeated == 1
    assert any("numbers the rows" in note for note in table.notes)
    february = views(tmp_path, ["1,u,c,4,2024-02-01", "2,v,d,3,2024-02-02", "3,w,b,3,2024-02-03"], header)
    second, _, _ = read_file(february, "interactions")
    assert len({event["id"] for event in [*first, *second]}) == 6
    own = {"columns": COLUMNS | {"id": "id"}}
    assert [event["id"] for event in read_file(february, "interactions", own)[0]] == ["1", "2", "3"]


def test_ids_of_events_that_are_no_numbers_are_kept(tmp_path: Path) -> None:
    path = views(tmp_path, ["e-7,u,a,4,2024-01-01", "e-9,u,b,4,2024-01-01"], "id," + HEADER)
    assert [event["id"] for event in read_file(path, "interactions")[0]] == ["e-7", "e-9"]


def test_times_ahead_are_refused_beyond_the_clock_skew_that_is_set(tmp_path: Path) -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    path = tmp_path / "ahead.csv"
    path.write_text(f"user_id,content_id,event,timestamp\nu1,m1,play,{ahead}\n")
    counts = []
    for seconds in (900.0, 7200.0):
        table, read = Table(path, "interactions", max_skew_seconds=seconds), Read()
        counts.append((sum(len(batch) for _, batch in table.events(read)), len(read.refused)))
    assert counts == [(0, 1), (1, 0)]
