"""The recommendations as files: complete, in order, harmless, and written whole or not at all."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.model.test_lists import MODEL, TITLES, USERS, seen

from nextreel.errors import LakeError
from nextreel.events.contract import (
    ENTRIES_MAX,
    ENTRY_CHARACTERS_MAX,
    ID_CHARACTERS_MAX,
    TEXT_CHARACTERS_MAX,
)
from nextreel.insight.export import ABOUT, FILE_NAME, PARQUET, exported_version, write_parts, write_recommendations
from nextreel.model.lists import SCHEMA, recommendations, recommendations_table

COLUMNS = ["user_id", "username", "rank", "content_id", "title", "type", "genres", "predicted_rating"]
FILES = sorted([ABOUT, FILE_NAME, PARQUET])
VERSION = "20260301T120000-000"


def write_csv(found: pa.Table, folder: Path) -> Path:
    return write_recommendations([found], folder, VERSION)


def in_parts(tables: Iterable[pa.Table], folder: Path) -> None:
    """Write a Parquet file for each table."""
    folder.mkdir()
    for number, part in enumerate(tables):
        with (folder / f"part-{number:05}-{uuid4()}.parquet").open("wb") as file:
            pq.write_table(part, file)


#: How recommendations become files: on this machine, and on Spark.
WRITERS: dict[str, Callable[[Iterable[pa.Table], Path], Path]] = {
    "file": lambda tables, folder: write_recommendations(tables, folder, VERSION),
    "parts": lambda tables, folder: write_parts(partial(in_parts, tables), folder, VERSION),
}


def shown(folder: Path) -> list[str]:
    """What a folder has that is not hidden, and of what is hidden, what a kill has left."""
    return sorted(p.name for p in folder.iterdir() if p.name != ".lock")


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def row(**cells: Any) -> dict[str, Any]:
    usual = {"user_id": "u1", "username": "Ann", "rank": 1, "content_id": "t1", "title": "One", "type": "movie"}
    return usual | {"genres": ["War"], "predicted_rating": 4.0} | cells


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCHEMA)


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    blocks = list(recommendations(MODEL, seen(), USERS, TITLES, 2, 2))
    path = write_recommendations(blocks, tmp_path, VERSION)
    assert len(read(path)) == 1 + 6
    assert pq.read_table(path.with_suffix(".parquet")).equals(pa.concat_tables(blocks))


def test_what_fails_on_the_way_leaves_the_old_files(tmp_path: Path) -> None:
    path = write_csv(table(row()), tmp_path)
    old = path.read_bytes()

    def broken() -> Iterator[pa.Table]:
        yield table(row(title="Other"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_recommendations(broken(), tmp_path, VERSION)
    assert path.read_bytes() == old
    assert shown(tmp_path) == FILES


def test_file(tmp_path: Path) -> None:
    path = write_csv(recommendations_table(MODEL, seen(), USERS, TITLES, 2), tmp_path / "new" / "exports")
    assert path == tmp_path / "new" / "exports" / "final_recommendations.csv"
    assert read(path) == [
        COLUMNS,
        ["u1", "Ann", "1", "t4", "Four", "movie", "War", "5"],
        ["u1", "Ann", "2", "t3", "Three", "movie", "", "3.75"],
        ["u2", "Bo", "1", "t1", "One", "movie", "", "2.75"],
        ["u2", "Bo", "2", "t2", "Two", "series", "Drama|Crime", "2.875"],
        ["u3", "Cleo", "1", "t2", "Two", "series", "Drama|Crime", "3.125"],
        ["u3", "Cleo", "2", "t3", "Three", "movie", "", "3.5"],
    ]
    assert shown(path.parent) == FILES


def test_predicted_ratings_have_three_decimals(tmp_path: Path) -> None:
    rows = [row(predicted_rating=r) for r in (0.5, 3.14159, 4.9996, 5.0)]
    assert [float(r[-1]) for r in read(write_csv(table(*rows), tmp_path))[1:]] == [0.5, 3.142, 5.0, 5.0]


FORMULAS = ["=cmd|'/C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=", '=HYPERLINK("http://x","y")']
HARMLESS = [
    'say "hi"',
    "a,b;c",
    "two\nlines",
    "two\r\nlines",
    "é ñ 中文",
    "🎬👩‍👩‍👧",
    "\u202eright to left",
    "مرحبا",
    "'quoted",
    "1=1",
    "a-b",
    " =not at the start",
    "C:\\path\\",
    "",
]


@pytest.mark.parametrize("column", [1, 3, 4, 6], ids=[COLUMNS[i] for i in (1, 3, 4, 6)])
def test_hostile_cells_come_back_harmless_and_others_as_they_were(tmp_path: Path, column: int) -> None:
    cells = FORMULAS + HARMLESS
    name = COLUMNS[column]
    rows = [row(**{name: [cell, "second"] if name == "genres" else cell}) for cell in cells]
    found = read(write_csv(table(*rows), tmp_path))
    tail = "|second" if name == "genres" else ""
    expected = [f"'{c}{tail}" for c in FORMULAS] + [f"{c}{tail}" for c in HARMLESS]
    assert [r[column] for r in found[1:]] == expected
    assert all(len(r) == len(COLUMNS) for r in found)


text = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@given(st.lists(text, min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_text_survives(tmp_path: Path, cells: list[str]) -> None:
    found = read(write_csv(table(*(row(title=cell, username=cell) for cell in cells)), tmp_path))
    expected = [f"'{c}" if c.startswith(tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")) else c for c in cells]
    assert [r[4] for r in found[1:]] == expected
    assert [r[1] for r in found[1:]] == expected


def test_the_old_file_is_replaced(tmp_path: Path) -> None:
    write_csv(table(row(), row(rank=2)), tmp_path)
    path = write_csv(table(row(title="Other")), tmp_path)
    assert [r[4] for r in read(path)] == ["title", "Other"]
    assert shown(tmp_path) == FILES


@pytest.mark.parametrize("kind", ["file", "parts"])
def test_no_users_are_a_header(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind]([SCHEMA.empty_table()], tmp_path)
    assert read(path) == [COLUMNS]
    assert pq.read_table(tmp_path / PARQUET).schema.equals(SCHEMA)


# Parts


def test_parts_are_one_table_and_one_csv(tmp_path: Path) -> None:
    found = recommendations_table(MODEL, seen(), USERS, TITLES, 2)
    told: list[tuple[int, int]] = []
    path = write_parts(
        partial(in_parts, [found.slice(0, 4), found.slice(4)]), tmp_path / "parts", VERSION, lambda *n: told.append(n)
    )
    assert path.read_bytes() == write_csv(found, tmp_path / "file").read_bytes()
    assert pq.read_table(tmp_path / "parts" / PARQUET).equals(found)
    assert told == [(4, 6), (6, 6)]


@pytest.mark.parametrize("before", ["file", "parts"])
@pytest.mark.parametrize("after", ["file", "parts"])
def test_a_file_takes_the_place_of_parts_and_the_other_way_round(tmp_path: Path, before: str, after: str) -> None:
    WRITERS[before]([table(row(), row(rank=2))], tmp_path)
    path = WRITERS[after]([table(row(title="Other"))], tmp_path)
    assert [r[4] for r in read(path)] == ["title", "Other"]
    assert pq.read_table(tmp_path / PARQUET)["title"].to_pylist() == ["Other"]
    assert (tmp_path / PARQUET).is_dir() == (after == "parts")
    assert shown(tmp_path) == FILES


def test_where_folders_cannot_be_exchanged_they_follow_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Path) -> None:
        raise LakeError("the file system cannot exchange two directories")

    monkeypatch.setattr("nextreel.insight.place.exchange", refused)
    for before, after in (("parts", "parts"), ("parts", "file"), ("file", "parts")):
        WRITERS[before]([table(row())], tmp_path)
        WRITERS[after]([table(row(title="Other"))], tmp_path)
        assert pq.read_table(tmp_path / PARQUET)["title"].to_pylist() == ["Other"]
        assert shown(tmp_path) == FILES


# Kills


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    def slow() -> Iterator[pa.Table]:
        yield table(row())
        write_csv(table(row(title="Other")), tmp_path)
        yield table(row(rank=2))

    assert [r[4] for r in read(write_recommendations(slow(), tmp_path, VERSION))] == ["title", "One", "One"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file", "parts"])
def test_a_kill_at_any_step_leaves_old_files_or_new_ones_whole(tmp_path: Path, kind: str) -> None:
    program = [sys.executable, "-m", "tests.insight.killing", str(tmp_path), kind]
    done = subprocess.run(program, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["old"] > 20
    assert found["new"] > 2


# Of which version


def test_files_say_whose_recommendations_they_are(tmp_path: Path) -> None:
    assert exported_version(tmp_path) is None
    write_csv(table(row()), tmp_path)
    assert exported_version(tmp_path) == VERSION
    (tmp_path / ABOUT).write_text("{")
    assert exported_version(tmp_path) is None


@pytest.mark.parametrize("character", ["x", "|", '"', "\n", ",", "🎬"])
def test_the_longest_texts_of_the_contract_are_read_by_python_s_csv(character: str, tmp_path: Path) -> None:
    name, text, entry = (character * n for n in (ID_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, ENTRY_CHARACTERS_MAX))
    longest = row(user_id=name, username=text, content_id=name, title=text, genres=[entry] * ENTRIES_MAX)
    path = write_csv(pa.Table.from_pylist([longest], SCHEMA), tmp_path)
    before = csv.field_size_limit(131_072)  # Python's own limit; another test may have raised this process's
    try:
        _, cells = read(path)
    finally:
        csv.field_size_limit(before)
    found = {column: cell.removeprefix("'") for column, cell in zip(COLUMNS, cells, strict=True)}
    assert len(found["genres"]) == ENTRIES_MAX * (ENTRY_CHARACTERS_MAX + 1) - 1
    assert (found["user_id"], found["title"]) == (name, text)
