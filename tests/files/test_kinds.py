"""Kinds of file: JSON, Excel, Parquet, compressed ones, and those that cannot be read, which say what they are."""

import bz2
import gzip
import json
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.files.reading import read_file

from nextreel.errors import InputError
from nextreel.files import records, workbook
from nextreel.files.adapt import Table
from nextreel.files.cells import first_rows, rows_of
from nextreel.files.outcome import KEPT_MOST, Occurrences, Read, digest_of
from nextreel.files.source import FileFormat

CSV = "id,title,genres\n1,Año,Drama|War\n2,Luz,\n"

SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), text)
    return path


def workbook_of(path: Path, rows: str, strings: str = "") -> Path:
    """Write a workbook of two sheets, of which the first has ``rows``; style 1 is a date, 2 a moment."""
    styles = (
        f'<styleSheet xmlns="{SHEET}"><numFmts><numFmt numFmtId="170" formatCode="yyyy\\-mm\\-dd hh:mm"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="170"/></cellXfs></styleSheet>'
    )
    book = (
        f'<workbook xmlns="{SHEET}" xmlns:r="{RELATIONS}"><sheets><sheet name="Titles" sheetId="1" r:id="rId1"/>'
        '<sheet name="Other" sheetId="2" r:id="rId2"/></sheets></workbook>'
    )
    parts = {
        "xl__workbook_DOT_xml": book,
        "xl___rels__workbook_DOT_xml_DOT_rels": "<Relationships>"
        '<Relationship Id="rId1" Target="worksheets/sheet1.xml"/>'
        '<Relationship Id="rId2" Target="/xl/worksheets/s2.xml"/>'
        "</Relationships>",
        "xl__worksheets__sheet1_DOT_xml": f'<worksheet xmlns="{SHEET}"><sheetData>{rows}</sheetData></worksheet>',
        "xl__worksheets__s2_DOT_xml": f'<worksheet xmlns="{SHEET}"><sheetData><row><c t="inlineStr"><is><t>id</t></is>'
        "</c></row><row><c><v>7</v></c></row></sheetData></worksheet>",
        "xl__styles_DOT_xml": styles,
        "xl__sharedStrings_DOT_xml": f'<sst xmlns="{SHEET}">{strings}</sst>',
    }
    return zipped(path, **parts)


STRINGS = (
    "<si><t>id</t></si><si><t>title</t></si><si><t>updated_at</t></si><si><r><t>Two </t></r><r><t>Runs</t></r></si>"
)
ROWS = (
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="s"><v>2</v></c></row>'
    '<row r="2"><c r="A2"><v>862</v></c><c r="B2" t="s"><v>3</v></c><c r="C2" s="2"><v>45413.75</v></c></row>'
    '<row r="3"/><row r="4"><c r="A4"><v>9</v></c><c r="C4" s="1"><v>45413</v></c></row>'
    '<row r="5"><c r="A5" t="e"><v>#N/A</v></c><c r="B5" t="inlineStr"><is><t>x</t></is></c></row>'
)


def test_a_workbook_is_read_with_dates_gaps_and_texts_in_runs(tmp_path: Path) -> None:
    path = workbook_of(tmp_path / "titles.xlsx", ROWS, STRINGS)
    events, read, table = read_file(path, "catalogue")
    assert [(e["id"], e.get("titulo"), e["timestamp"].isoformat()) for e in events] == [
        ("862", "Two Runs", "2024-05-01T18:00:00+00:00"), ("9", None, "2024-05-01T00:00:00+00:00")
    ]  # fmt: skip
    assert [(each.row, each.detail) for each in read.refused] == [(3, "id is blank")]
    assert "the file is excel" in table.notes
    other = first_rows(path, FileFormat(sheet="Other"))
    assert [row.cells for row in other[2]] == [{"id": "7"}]
    with pytest.raises(InputError, match="has no sheet 'Films'; there are 'Titles', 'Other'"):
        first_rows(path, FileFormat(sheet="Films"))


def test_a_workbook_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook_of(tmp_path / "bomb.xlsx", ROWS, "<si><t>" + "x" * 3_000_000 + "</t></si>")
    monkeypatch.setattr(workbook, "_TEXTS_MOST", 1_000_000)
    with pytest.raises(InputError, match="too large when unpacked"):
        first_rows(path)
    entity = '<!DOCTYPE x [<!ENTITY a "aaaa">]><sst>&a;</sst>'
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("xl/sharedStrings.xml", entity)
    with pytest.raises(InputError, match="has a DTD"):
        first_rows(path)


@pytest.mark.parametrize("place", ["cell", "cells", "attribute", "text", "before the rows", "styles"])
def test_one_element_of_a_workbook_cannot_fill_the_memory(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "_ELEMENT_MOST", 100_000)
    monkeypatch.setattr(workbook, "_PARTS_MOST", 100_000)
    many = "x" * 4_000_000
    rows, strings = ROWS, STRINGS
    if place == "cell":
        rows += f'<row><c t="inlineStr"><is><t>{many}</t></is></c></row>'
    elif place == "cells":
        rows += f"<row>{'<c/>' * 300_000}</row>"
    elif place == "attribute":
        rows += f'<row><c r="{many}"/></row>'
    elif place == "text":
        strings += f"<si><t>{many}</t></si>"
    elif place == "before the rows":
        rows = f"{'<c/>' * 300_000}{rows}"
    path = workbook_of(tmp_path / "bomb.xlsx", rows, strings)
    if place == "styles":
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("xl/styles.xml", "<styleSheet>" + "<xf/>" * 300_000 + "</styleSheet>")
    rows = many = ""
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="when unpacked"):
            list(rows_of(path, FileFormat(kind="excel")))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_a_workbook_without_a_sheet_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an Excel workbook without a sheet"):
        first_rows(zipped(tmp_path / "titles.xlsx", xl__workbook_DOT_xml="<workbook/>"))


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, bz2.compress, lzma.compress, lambda data: pa.compress(data, "zstd", asbytes=True)],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
def test_compressed_files_are_unpacked_as_they_are_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "titles.csv.packed"
    path.write_bytes(pack(CSV.encode()))
    assert [event["titulo"] for event in read_file(path, "catalogue")[0]] == ["Año", "Luz"]
    path.write_bytes(pack(CSV.encode("utf-16")))
    assert [event["titulo"] for event in read_file(path, "catalogue")[0]] == ["Año", "Luz"]


def test_a_zip_archive_of_one_file_is_unpacked(tmp_path: Path) -> None:
    path = zipped(tmp_path / "titles.zip", titles_DOT_csv=CSV, __MACOSX__x="")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("titles.csv", CSV)
        archive.writestr("__MACOSX/titles.csv", "x")
    assert [event["titulo"] for event in read_file(path, "catalogue")[0]] == ["Año", "Luz"]
    two = zipped(tmp_path / "two.zip", a=CSV, b=CSV)
    with pytest.raises(InputError, match=r"a zip archive of 2 files \('a', 'b'\)"):
        first_rows(two)


@pytest.mark.parametrize("cut", [20, 30])
def test_a_damaged_archive_is_said(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "titles.csv.gz"
    path.write_bytes(gzip.compress(CSV.encode())[:cut] + b"\0" * 10)
    with pytest.raises(InputError, match="cannot be read"):
        read_file(path, "catalogue")


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook"),
        (b"%PDF-1.7", "a PDF document"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"PK\x03\x04damaged", "a damaged zip archive"),
        (b"ORC\x12\x1c\x0a", "an ORC file"),
        (bz2.compress(b""), "is empty"),
        (b"BZh91AY&SYdamaged", "cannot be read"),
    ],
)
def test_other_kinds_are_named(tmp_path: Path, begin: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(begin)
    with pytest.raises(InputError, match=says):
        first_rows(path)


@pytest.mark.parametrize("name", ["PK", "PK_title", "ORC", "ORCID", "BZh", "BZh9", "PAR1", "Rar!", "Obj"])
def test_a_header_that_begins_as_an_archive_does_is_a_header(tmp_path: Path, name: str) -> None:
    path = tmp_path / "titles.csv"
    path.write_text(f"{name},title\nm1,A\n", "utf-8")
    rules = {"columns": {"id": name, "titulo": "title"}, "type": {"always": "movie"}}
    assert [event["id"] for event in read_file(path, "catalogue", rules)[0]] == ["m1"]


RECORDS = [
    {"reviewerID": "A1", "asin": "B1", "overall": 4.0, "unixReviewTime": 1704110400, "more": {"tags": ["x"]}},
    {"reviewerID": "A2", "asin": "B2", "overall": 5.0, "unixReviewTime": 1704110401},
]


@pytest.mark.parametrize("form", ["lines", "array", "pretty array"])
def test_json_is_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / "reviews.json"
    lines = "\n".join(map(json.dumps, RECORDS))
    path.write_text(
        {"lines": lines, "array": json.dumps(RECORDS)}.get(form, json.dumps(RECORDS, indent=2)), "utf-8-sig"
    )
    events, _, table = read_file(path, "interactions")
    assert [(e["id_usuario"], e["id_contenido"], e["calificacion"]) for e in events] == [
        ("A1", "B1", 4),
        ("A2", "B2", 5),
    ]
    assert "more.tags" in table.columns


def test_lines_that_are_no_objects_are_refused_by_number(tmp_path: Path) -> None:
    path = tmp_path / "titles.jsonl"
    path.write_text('{"id": 1, "genres": [{"name": "Drama"}]}\n{"id": 2,\n\n[3]\n{"id": 4}\n', "utf-8")
    events, read, _ = read_file(path, "catalogue")
    assert [(event["id"], event.get("generos")) for event in events] == [("1", ["Drama"]), ("4", None)]
    assert [each.row for each in read.refused] == [2, 3]


@pytest.mark.parametrize("form", ["lines", "array"])
@pytest.mark.parametrize("depth", [990, 5_000])
def test_an_object_nested_too_deeply_is_refused_alone(tmp_path: Path, form: str, depth: int) -> None:
    path = tmp_path / "titles.json"
    deep = '{"id": 2, "genres": ["]\\"", ' + "[" * depth + "]" * depth + "]}"
    objects = ['{"id": 1}', deep, "[" * depth + "]" * depth, '{"id": 4}']
    path.write_text(f"[{', '.join(objects)}]" if form == "array" else "\n".join(objects), "utf-8")
    events, read, _ = read_file(path, "catalogue")
    assert [event["id"] for event in events] == ["1", "4"]
    assert [(each.row, each.reason) for each in read.refused] == [(2, "unreadable row"), (3, "unreadable row")]


@pytest.mark.parametrize("form", ["lines", "parquet"])
def test_whole_numbers_too_large_for_a_float_are_no_ids(tmp_path: Path, form: str) -> None:
    path = tmp_path / "views"
    large = 2**64 + 1
    if form == "parquet":
        users = pa.array([float(large), 7.0], pa.float64())
        nanos = pa.array([1.7041104e18, 1.7041104e18], pa.float64())
        pq.write_table(pa.table({"user": users, "item": ["a", "b"], "rating": [4.0, 3.0], "time": nanos}), path)
    else:
        record = '{{"user": {}, "item": "a", "rating": 4, "time": 1704110400000000000, "budget": 1e20}}\n'
        path.write_text(record.format(large) + record.format(7), "utf-8")
    events, read, _ = read_file(path, "interactions")
    assert [(each.row, each.reason) for each in read.refused] == [(1, "wrong type")]
    assert [each.detail for each in read.refused] == [
        "id_usuario: expected a string; a number this large cannot be read exactly"
    ]
    assert [(event["id_usuario"], event["timestamp"].year) for event in events] == [("7", 2024)]


def test_a_large_integer_of_an_array_is_read_exactly(tmp_path: Path) -> None:
    path = tmp_path / "titles.json"
    path.write_text(f'[{{"id": {2**64 + 1}, "genres": [1e300, "Drama"]}}, {{"id": {2**63 + 1}}}]', "utf-8")
    events, read, _ = read_file(path, "catalogue")
    assert [event["id"] for event in events] == [str(2**63 + 1)]
    assert [each.detail[:8] for each in read.refused] == ["generos:"]


def test_an_array_is_read_without_copying_what_follows_each_object(tmp_path: Path) -> None:
    path = tmp_path / "titles.json"
    path.write_text("[" + ",".join(f'{{"id": {n}}}' for n in range(100_000)) + "]", "utf-8")
    copies: list[int] = []

    class Counted(str):
        __slots__ = ()

        def __getitem__(self, key: Any) -> str:
            copies.append(len(self))
            return Counted(super().__getitem__(key))

        def lstrip(self, *args: Any) -> str:
            copies.append(len(self))
            return Counted(super().lstrip(*args))

    with path.open(encoding="utf-8") as text:

        class Pieces:
            def read(self, size: int) -> str:
                return Counted(text.read(size))

        assert sum(1 for _ in records._of_array(path, Pieces())) == 100_000
    assert len(copies) < 100


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{'id': 1}\n{'id': 2}\n", "none of its first 2 rows is a JSON object with fields; row 1 is not JSON: "),
        ("{}\n", "row 1 is an object without fields"),
        ("[]", "is empty"),
    ],
)
def test_a_file_of_no_records_quotes_its_first_row_s_fault(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "titles.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=says):
        first_rows(path)


def test_an_array_that_is_cut_off_is_said(tmp_path: Path) -> None:
    path = tmp_path / "titles.json"
    path.write_text('[{"id": 1}, {"id": 2', "utf-8")
    with pytest.raises(InputError, match="after row 1: it is cut off"):
        list(rows_of(path, FileFormat()))


def test_objects_with_names_in_parquet_are_lists_of_names(tmp_path: Path) -> None:
    path = tmp_path / "titles.parquet"
    pq.write_table(pa.table({"id": ["m1"], "genres": [[{"id": 1, "name": "Drama"}]]}), path)
    assert read_file(path, "catalogue")[0][0]["generos"] == ["Drama"]


def test_a_file_without_a_header_is_said_and_read_by_place(tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("AX1,B001,5.0,1704110400\nAX2,B002,3.0,1704110500\n", "utf-8")
    with pytest.raises(InputError, match=r"the first row must name the columns.*\[file\] header = false"):
        read_file(path, "interactions")
    columns = {"id_usuario": "1", "id_contenido": "2", "calificacion": "3", "timestamp": "4"}
    events, _, _ = read_file(path, "interactions", {"columns": columns, "file": {"header": False}})
    assert [(event["id_usuario"], event["calificacion"]) for event in events] == [("AX1", 5.0), ("AX2", 3.0)]


def test_refused_rows_are_counted_and_not_held(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("id,type\nm,movie\n")
        file.writelines(f"m{n},a concert that is neither movie nor series\n" for n in range(60_000))
    tracemalloc.start()
    try:
        _, read, _ = read_file(path, "catalogue")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(read.refused), len(list(read.refused))) == (60_000, KEPT_MOST)
    assert peak < 25e6  # 1 MB sample and 2,000 rows; each refused row held would be 400 bytes more


def test_occurrences_are_counted_in_the_order_of_the_file() -> None:
    occurrences = Occurrences()
    digests = [digest_of([str(n)]) for n in range(1_000)]
    assert [occurrences.add(digest) for digest in digests] == [1] * 1_000
    assert [occurrences.add(digest) for digest in digests[:3]] == [2] * 3
    assert occurrences.add(digests[0]) == 3


def test_an_id_that_repeats_far_behind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "titles.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("id\n")
        file.writelines(f"a title's quite long id {n}\n" for n in range(20_000))
        file.write("a title's quite long id 7\n")
    read, n = Read(), 0
    for _, batch in Table(path, "catalogue").events(read):
        n += len(batch)
    assert (n, [(each.row, each.reason) for each in read.refused]) == (20_000, [(20_001, "duplicate id")])


def test_a_scale_that_has_minus_one_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "views.csv"
    path.write_text("user,film,stars,when\nu,a,-1,2024-05-01\nu,b,4,2024-05-01\n", "utf-8")
    columns = {"id_usuario": "user", "id_contenido": "film", "calificacion": "stars", "timestamp": "when"}
    events, _, _ = read_file(path, "interactions", {"columns": columns, "scale": [-1, 4]})
    assert [event["calificacion"] for event in events] == [0.5, 5.0]


@pytest.mark.parametrize("form", ["array", "workbook", "list in a cell", "undecodable array"])
def test_a_row_with_a_lone_surrogate_is_refused_alone(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("titles.xlsx" if form == "workbook" else "titles")
    if form == "workbook":
        texts = ["id", "title", "1", "x_xD83D_", "2", "good"]
        strings = "".join(f"<si><t>{text}</t></si>" for text in texts)
        cells = [f'<c t="s"><v>{n}</v></c>' for n in range(6)]
        workbook_of(path, "".join(f"<row>{cells[n]}{cells[n + 1]}</row>" for n in (0, 2, 4)), strings)
    elif form == "list in a cell":
        path.write_text("id,genres\n1,\"['x\\ud83d']\"\n2,Drama\n", "utf-8")
    elif form == "array":
        path.write_text(r'[{"id": 1, "title": "x\ud83d"}, {"id": 2}, {"id": 3, "\ud83d": 1}, {"id": "\ud83d"}]')
    else:
        path.write_bytes('[{"id": 1, "title": "é"}, {"id": 2}]'.encode("latin-1"))
    events, read, table = read_file(path, "catalogue")
    assert [event["id"] for event in events] == ["2"]
    assert {each.reason for each in read.refused} == {"unreadable row"}
    assert [each.row for each in read.refused] == ([1, 3, 4] if form == "array" else [1])
    assert all("lone surrogate U+D" in each.detail for each in read.refused)
    json.dumps([table.columns, [each.detail for each in read.refused]], ensure_ascii=False).encode()


def test_an_interaction_with_a_lone_surrogate_is_refused_before_its_id_is_made(tmp_path: Path) -> None:
    path = tmp_path / "views.json"
    record = r'{"user": "%s", "item": "m", "rating": 4, "time": "2024-05-01"}'
    path.write_text("[" + record % "a" + "," + record % r"x\udc00" + "," + record % r"\ud83d\ude00" + "]")
    events, read, _ = read_file(path, "interactions")
    assert [event["id_usuario"] for event in events] == ["a", "\U0001f600"]
    assert [(each.row, each.reason) for each in read.refused] == [(2, "unreadable row")]
