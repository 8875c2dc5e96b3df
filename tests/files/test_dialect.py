"""Dialects of delimited text: what any writer wrote is read back, or refused by its row; nothing is merged or lost."""

import csv
import io
import string
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.files.reading import read_file

from nextreel.errors import InputError
from nextreel.files.cells import first_rows, recognised, rows_of
from nextreel.files.source import FileFormat


def titles(path: Path) -> list[str]:
    return [event["titulo"] for event in read_file(path, "catalogue")[0]]


def test_quotes_are_text_in_a_file_of_tabs(tmp_path: Path) -> None:
    path = tmp_path / "basics.tsv"
    path.write_text(
        "tconst\ttitleType\tprimaryTitle\tstartYear\n"
        'tt1\tmovie\t"Blue" Lagoon Road\t1980\n'
        'tt2\ttvSeries\t"Half\t1981\n'
        'tt3\tmovie\tOther half"\t1982\n'
        'tt4\ttvMiniSeries\t"Whole"\t\\N\n',
        "utf-8",
    )
    events, read, _ = read_file(path, "catalogue")
    assert {event["id"]: event["titulo"] for event in events} == {
        "tt1": '"Blue" Lagoon Road', "tt2": '"Half', "tt3": 'Other half"', "tt4": '"Whole"'
    }  # fmt: skip
    assert {event["id"]: event["type"] for event in events}["tt4"] == "series"
    assert (read.rows, len(read.refused)) == (4, 0)


def test_quotes_around_tabs_and_doubled_ones_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "sheet.tsv"
    path.write_text('id\ttitle\n1\t"a\tb"\n2\t"a ""b"" c"\n3\tplain\n', "utf-8")
    assert titles(path) == ["a\tb", 'a "b" c', "plain"]


def test_a_first_line_that_says_the_delimiter_is_no_header(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text("sep=;\nid;title\n1;a,b\n2;c,d\n", "utf-8")
    assert titles(path) == ["a,b", "c,d"]


def test_a_delimiter_is_what_divides_the_rows_not_what_the_header_has_most(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text("id;title (as said, in full, here)\n1;a\n2;b\n", "utf-8")
    assert recognised(path).delimiter == ";"


def test_blank_columns_behind_the_header_or_rows_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text("id,title\r\n1,a,,\r\n2,b,x,\r\n3,c\r\n", "utf-8")
    events, read, _ = read_file(path, "catalogue")
    assert [event["id"] for event in events] == ["1", "3"]
    assert [(each.row, each.detail) for each in read.refused] == [(2, "4 cells, and the header has 2")]
    path.write_text("id,title,,\r\n1,a,,\r\n", "utf-8")
    assert titles(path) == ["a"]


def test_blanks_around_names_and_before_quotes_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text('id, title , genres\n1, "Salt, and Sand" , "Drama, War"\n2, x, y\n', "utf-8")
    events, _, _ = read_file(path, "catalogue", {"columns": {"id": "id", "titulo": "title", "generos": "genres"},
                                                 "type": {"always": "movie"}})  # fmt: skip
    assert [(e["titulo"], e["generos"]) for e in events] == [("Salt, and Sand", ["Drama", "War"]), ("x", ["y"])]


def test_backslashes_that_escape_quotes_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text('id,title,year\n1,"a \\"b\\", c",\\N\n2,"d",1990\n', "utf-8")
    events, _, table = read_file(path, "catalogue")
    assert [event["titulo"] for event in events] == ['a "b", c', "d"]
    assert "decada_lanzamiento" not in events[0]
    assert any("backslash" in note for note in table.notes)


def test_rows_within_stray_quotes_are_not_lost_where_other_cells_are_quoted(tmp_path: Path) -> None:
    """Quotes are evident here, so they are no text: the rows of the stray ones are refused, those between read."""
    path = tmp_path / "titles.csv"
    path.write_text(
        'id,title,genres\n1,"A, b",Drama\n2,"Open,Comedy\n3,Between,Drama\n4,Close",Crime\n5,Last,Drama\n', "utf-8"
    )
    events, read, _ = read_file(path, "catalogue")
    assert [event["id"] for event in events] == ["1", "3", "5"]
    assert [each.row for each in read.refused] == [2, 4]
    assert "[file] quote = ''" in read.refused.kept("unreadable row")[0].detail


def test_stray_quotes_are_text_where_nothing_else_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text('id,title,genres\n1,"Open,Comedy\n2,Between,Drama\n3,Close",Crime\n', "utf-8")
    events, _, table = read_file(path, "catalogue")
    assert [event["titulo"] for event in events] == ['"Open', "Between", 'Close"']
    assert any("quotes are part of the texts" in note for note in table.notes)


def test_a_mapping_has_the_last_word_on_cells_of_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text('id,title\n1,"one\n2,two"\n3,"x, y"\n', "utf-8")
    rules = {"columns": {"id": "id", "titulo": "title"}, "type": {"always": "movie"}, "file": {"multiline": True}}
    assert [event["titulo"] for event in read_file(path, "catalogue", rules)[0]] == ["one\n2,two", "x, y"]
    assert [each.row for each in read_file(path, "catalogue")[1].refused] == [1, 2]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_line_ends_and_encodings(tmp_path: Path, end: str, encoding: str, delimiter: str) -> None:
    path = tmp_path / "titles.csv"
    rows = [["id", "title", "genres"], ["1", "Año", "Drama"], ["2", "Grüße", "War"]]
    path.write_bytes("".join(delimiter.join(row) + end for row in rows).encode(encoding))
    assert titles(path) == ["Año", "Grüße"]


def test_a_row_with_a_nul_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_bytes(b"id,title\n1,a\0b\n2,c\n")
    events, read, _ = read_file(path, "catalogue")
    assert ([event["id"] for event in events], [each.row for each in read.refused]) == (["2"], [1])


def test_a_line_of_many_megabytes_is_refused_alone(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("id,title\n1,a\n2,")
        for _ in range(50):
            file.write("x" * 1_000_000)
        file.write("\n3,c\n")
    assert [(row.number, bool(row.fault)) for row in rows_of(path, FileFormat())] == [(1, False), (2, True), (3, False)]


#: Titles as people write them, and worse: no line ends, for a file of lines that are rows cannot be told from a cell.
TITLE = st.text(string.ascii_letters + string.digits + " \"'\t,;|\\&éñ—", min_size=1, max_size=15)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    names=st.lists(TITLE.filter(lambda t: t.strip() not in ("", '"')), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_csv_writers_write_is_read_back_or_refused(
    tmp_path: Path, names: list[str], delimiter: str, quoting: int, end: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerows([["id", "title", "genres"], *([f"t{n}", name, "Drama"] for n, name in enumerate(names))])
    path = tmp_path / "written.csv"
    path.write_bytes(text.getvalue().encode())
    _check_read_back(path, names)
    if quoting != csv.QUOTE_MINIMAL:
        assert not any(row.fault for row in first_rows(path)[2])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    names=st.lists(TITLE.filter(lambda t: t.strip()), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
)
def test_what_is_written_without_quoting_is_read_back_or_refused(
    tmp_path: Path, names: list[str], delimiter: str
) -> None:
    names = [name.replace(delimiter, " ") for name in names]
    # A quote that opens one title and one that closes a later title make one cell of several lines, by CSV's own rules.
    assume(not any(a.strip().startswith('"') and b.strip().endswith('"') for a, b in combinations(names, 2)))
    lines = [delimiter.join((f"t{n}", name, "Drama")) for n, name in enumerate(names)]
    path = tmp_path / "written.csv"
    path.write_text("\n".join([delimiter.join(("id", "title", "genres")), *lines, ""]), "utf-8")
    file, _, rows = first_rows(path)
    assert len(rows) == len(names)
    if delimiter == "\t":
        _check_read_back(path, names)
        return
    # A text that is quoted whole, or that doubles its quotes, is what CSV has it for: that is its title.
    for row, name in zip(rows, names, strict=True):
        if not row.fault:
            assert str(row.cells["title"]).strip().replace('"', "") == name.strip().replace('"', "")
    assert file.delimiter == delimiter


def _check_read_back(path: Path, names: list[str]) -> None:
    rows = first_rows(path)[2]
    assert len(rows) == len(names)
    for row, name in zip(rows, names, strict=True):
        if not row.fault:
            assert (str(row.cells["title"]).strip(), row.cells["genres"]) == (name.strip(), "Drama")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(lines=st.lists(st.text('ab1,"\t\\ ', max_size=12), min_size=1, max_size=12))
def test_every_line_of_any_file_is_in_a_row_or_refused(tmp_path: Path, lines: list[str]) -> None:
    """Characters of all rows, and of those of a refused one, add up: no line is within another one's fault."""
    path = tmp_path / "any.csv"
    path.write_text("\n".join(["id,title", *lines, ""]), "utf-8")
    for quote in ('"', ""):
        file = FileFormat(delimiter=",", quote=quote, escape="")
        rows = list(rows_of(path, file))
        read = Counter(c for row in rows for cell in row.cells.values() for c in str(cell) if c in "ab1")
        faults = sum(bool(row.fault) for row in rows)
        whole = Counter(c for line in lines for c in line if c in "ab1")
        assert not read - whole
        if not faults:
            assert read == whole
        assert [row.number for row in rows] == list(range(1, len(rows) + 1))


def test_an_odd_quote_in_the_header_is_text_or_an_error_that_advises(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    path.write_text('id,"title,genres\n1,A,Drama\n', "utf-8")
    events, read, table = read_file(path, "catalogue")
    assert table.columns == ["id", '"title', "genres"]
    assert [(event["id"], event["generos"]) for event in events] == [("1", ["Drama"])]
    assert not len(read.refused)
    for content in ('id,"title,genres\n1,A,Drama\n', 'id,"ti"tle,genres\n1,A,Drama\n'):
        path.write_text(content, "utf-8")
        with pytest.raises(InputError, match=r"titles.csv: the first row, .*set \[file\] quote = ''"):
            first_rows(path, FileFormat(quote='"'))


@pytest.mark.parametrize("length", [30, 1_100_000])
def test_a_header_whose_quote_is_never_closed_is_an_error(tmp_path: Path, length: int) -> None:
    path = tmp_path / "titles.csv"
    path.write_text('id,"title,genres\n' + "1,A,Drama\n" * (length // 10) + '2,"x, y",War\n', "utf-8")
    with pytest.raises(InputError, match="the first row, which must name the columns"):
        first_rows(path, FileFormat(quote='"'))
