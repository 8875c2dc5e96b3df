"""The recommendations as CSV: complete, in order, harmless, and written whole or not at all."""

import csv
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.model.models import make_model

from nextreel.insight.export import FILE_NAME, recommendations, recommendations_table, write_recommendations
from nextreel.model.model import Biases, Factors
from nextreel.model.rank import Pairs

COLUMNS = ["user_id", "username", "rank", "content_id", "title", "type", "genres", "predicted_rating"]
FILES = [FILE_NAME, "final_recommendations.parquet"]
STRINGS = pa.list_(pa.string())
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("username", pa.string()),
        ("rank", pa.int32()),
        ("content_id", pa.string()),
        ("title", pa.string()),
        ("type", pa.string()),
        ("genres", STRINGS),
        ("predicted_rating", pa.float32()),
    ]
)


def f32(rows: Any) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


#: The first user likes late titles, the second early ones; nothing is known of the third.
MODEL = make_model(
    user_ids=pa.array(["u1", "u2", "u3"]),
    title_ids=pa.array(["t1", "t2", "t3", "t4"]),
    biases=Biases(3.0, f32([0.25, -0.25, 0]), f32([0, 0.125, 0.5, 5])),
    rating_factors=Factors(f32(np.zeros((3, 1))), f32(np.zeros((4, 1)))),
    ranking_factors=Factors(f32([[1], [-1], [0]]), f32([[1], [2], [3], [4]])),
    popularity=f32([2, 9, 5, 1]),
)
USERS = pa.table({"user_id": ["u3", "u2", "u1"], "username": ["Cleo", "Bo", "Ann"]})
TITLES = pa.table(
    {
        "content_id": ["t4", "t2", "t3", "t1"],
        "title": ["Four", "Two", "Three", "One"],
        "type": ["movie", "series", "movie", "movie"],
        "genres": pa.array([["War"], ["Drama", "Crime"], None, []], STRINGS),
    }
)


def seen(*pairs: tuple[int, int]) -> Pairs:
    users, titles = (np.array([p[i] for p in pairs], np.int64) for i in (0, 1))
    return Pairs.of(users, titles, 3)


def write_csv(found: pa.Table, folder: Path) -> Path:
    return write_recommendations([found], folder)


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def row(**cells: Any) -> dict[str, Any]:
    usual = {"user_id": "u1", "username": "Ann", "rank": 1, "content_id": "t1", "title": "One", "type": "movie"}
    return usual | {"genres": ["War"], "predicted_rating": 4.0} | cells


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCHEMA)


# The table


def test_everyone_in_order_of_user_and_rank() -> None:
    found = recommendations_table(MODEL, seen(), USERS, TITLES, 2)
    assert found.schema.equals(SCHEMA)
    assert [tuple(r.values()) for r in found.to_pylist()] == [
        ("u1", "Ann", 1, "t4", "Four", "movie", ["War"], 5.0),
        ("u1", "Ann", 2, "t3", "Three", "movie", None, 3.75),
        ("u2", "Bo", 1, "t1", "One", "movie", [], 2.75),
        ("u2", "Bo", 2, "t2", "Two", "series", ["Drama", "Crime"], 2.875),
        ("u3", "Cleo", 1, "t2", "Two", "series", ["Drama", "Crime"], 3.125),
        ("u3", "Cleo", 2, "t3", "Three", "movie", None, 3.5),
    ]


def lists(found: pa.Table) -> dict[str, list[str]]:
    own: dict[str, list[str]] = {}
    for user, title in zip(found["user_id"].to_pylist(), found["content_id"].to_pylist(), strict=True):
        own.setdefault(user, []).append(title)
    return own


def test_what_a_user_has_rated_is_not_recommended() -> None:
    found = recommendations_table(MODEL, seen((0, 3), (1, 1), (2, 1), (2, 2)), USERS, TITLES, 3)
    assert lists(found) == {"u1": ["t3", "t2", "t1"], "u2": ["t1", "t3", "t4"], "u3": ["t1", "t4"]}


def test_titles_that_the_catalogue_lacks_are_not_recommended() -> None:
    found = recommendations_table(MODEL, seen((1, 1)), USERS, TITLES.slice(1, 2), 3)
    assert lists(found) == {"u1": ["t3", "t2"], "u2": ["t3"], "u3": ["t2", "t3"]}
    assert found["rank"].to_pylist() == [1, 2, 1, 1, 2]


def test_titles_that_the_model_lacks_are_no_trouble() -> None:
    newer = pa.concat_tables([TITLES.slice(0, 2), TITLES.slice(2).set_column(0, "content_id", pa.array(["t9", "t1"]))])
    assert lists(recommendations_table(MODEL, seen(), USERS, newer, 9))["u1"] == ["t4", "t2", "t1"]


@pytest.mark.parametrize("users", [USERS.slice(1, 1), USERS.slice(0, 0)], ids=["one profile", "no profile"])
def test_users_without_a_profile_have_lists_but_no_name(users: pa.Table, tmp_path: Path) -> None:
    found = recommendations_table(MODEL, seen(), users, TITLES, 1)
    names = dict(zip(users["user_id"].to_pylist(), users["username"].to_pylist(), strict=True))
    assert found["user_id"].to_pylist() == ["u1", "u2", "u3"]
    assert found["username"].to_pylist() == [names.get(u) for u in ("u1", "u2", "u3")]
    assert [r[1] for r in read(write_csv(found, tmp_path))[1:]] == [names.get(u, "") for u in ("u1", "u2", "u3")]


def test_an_empty_catalogue(tmp_path: Path) -> None:
    found = recommendations_table(MODEL, seen(), USERS, TITLES.slice(0, 0), 3)
    assert found.num_rows == 0
    assert read(write_csv(found, tmp_path)) == [COLUMNS]


@pytest.mark.parametrize("block_users", [1, 2, 3, 100])
def test_blocks_of_users_make_one_table(block_users: int) -> None:
    found = list(recommendations(MODEL, seen((0, 3)), USERS, TITLES, 2, block_users))
    assert len(found) == -(-3 // block_users)
    assert pa.concat_tables(found).equals(recommendations_table(MODEL, seen((0, 3)), USERS, TITLES, 2))


# The file


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    blocks = list(recommendations(MODEL, seen(), USERS, TITLES, 2, 2))
    path = write_recommendations(blocks, tmp_path)
    assert len(read(path)) == 1 + 6
    assert pq.read_table(path.with_suffix(".parquet")).equals(pa.concat_tables(blocks))


def test_what_fails_on_the_way_leaves_the_old_files(tmp_path: Path) -> None:
    path = write_csv(table(row()), tmp_path)
    old = path.read_bytes()

    def broken() -> Iterator[pa.Table]:
        yield table(row(title="Other"))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_recommendations(broken(), tmp_path)
    assert path.read_bytes() == old
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES


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
    assert sorted(p.name for p in path.parent.iterdir()) == FILES


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
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES


KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from nextreel.insight.export import write_recommendations

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

folder, moment = sys.argv[1:]
if moment == "before the file is durable":
    os.fsync = kill
else:
    Path.replace = kill
rows = {name: ["new"] * 10_000 for name in ("user_id", "username", "content_id", "title", "type")}
lists = pa.array([["new"]] * 10_000)
write_recommendations([pa.table(rows | {"genres": lists, "predicted_rating": [1.0] * 10_000})], Path(folder))
"""


@pytest.mark.parametrize("moment", ["before the file is durable", "before it is replaced"])
def test_a_kill_leaves_the_old_file(tmp_path: Path, moment: str) -> None:
    path = write_csv(table(row()), tmp_path)
    old = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), moment], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 4  # what the killed process left
    assert path.read_bytes() == old
    assert read(write_csv(table(row(title="Other")), tmp_path))[1][4] == "Other"
