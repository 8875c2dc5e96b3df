"""Traits as numbers: known answers, worked out by hand."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.model.ridge import dense
from nextreel.model.traits import Traits, Vocabulary, aligned, take

LISTS = ("genres", "directors", "actors", "decades")


def columns(*rows: dict[str, Any]) -> Traits:
    """Rows as columns; traits that a row lacks are null."""
    lists = {t: pa.array([row.get(t) for row in rows], pa.list_(pa.string())) for t in LISTS}
    return lists | {"age_rating": pa.array([row.get("age_rating") for row in rows], pa.string())}


def matrix(vocabulary: Vocabulary, table: Traits) -> list[list[float]]:
    rows = vocabulary.indicators(table)
    found: list[list[float]] = dense(rows, np.arange(len(rows)), len(vocabulary)).tolist()
    return found


TITLES = columns(
    {"genres": ["Drama", "Crime"], "directors": ["Mann"], "age_rating": "R"},
    {"genres": ["Drama", "Drama", None], "actors": ["Mann"], "age_rating": "PG"},
    {"genres": [], "directors": ["Mann"], "decades": ["1990s"]},
    {"genres": ["Drama", "Crime", "War", "Noir"], "actors": ["Mann", "Kilmer"], "age_rating": "R"},
    {},
)


def test_traits_are_those_of_two_rows_or_more_the_most_frequent_first() -> None:
    found = Vocabulary.of(TITLES, most=100).names.to_pylist()
    assert found == ["genres Drama", "actors Mann", "age_rating R", "directors Mann", "genres Crime"]


def test_there_are_no_more_of_them_than_asked_for() -> None:
    assert Vocabulary.of(TITLES, most=2).names.to_pylist() == ["genres Drama", "actors Mann"]


def test_several_tables_count_as_one() -> None:
    users = columns({"genres": ["Noir"], "decades": ["1990s"]}, {"decades": ["1990s"]})
    found = Vocabulary.of(TITLES, users, most=4).names.to_pylist()
    assert found == ["decades 1990s", "genres Drama", "actors Mann", "age_rating R"]


def test_indicators_of_a_kind_have_length_1_where_all_its_values_count() -> None:
    vocabulary = Vocabulary(pa.array(["genres Drama", "genres Crime", "directors Mann", "age_rating R"]))
    half, quarter = pytest.approx(2**-0.5), pytest.approx(0.5)
    assert matrix(vocabulary, TITLES) == [
        [half, half, 1, 1],
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [quarter, quarter, 0, 1],
        [0, 0, 0, 0],
    ]


def test_no_rows_and_no_traits() -> None:
    vocabulary = Vocabulary.of(columns(), columns({}), most=5)
    assert len(vocabulary) == 0
    assert len(vocabulary.indicators(columns())) == 0
    assert vocabulary.indicators(TITLES).counts.tolist() == [0] * 5


def test_the_rows_of_ids() -> None:
    table = pa.table({"content_id": ["b", "a"], **take(TITLES, np.array([1, 0]))})
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 1)])
    found = aligned(chunked, "content_id", pa.array(["a", "c", "b"]))
    assert found["genres"].to_pylist() == [["Drama", "Crime"], None, ["Drama", "Drama", None]]
    assert found["age_rating"].to_pylist() == ["R", None, "PG"]


VALUES = st.lists(st.sampled_from(["a", "b", "c", "d"]) | st.none(), max_size=5) | st.none()
ROW = st.fixed_dictionaries({"genres": VALUES, "actors": VALUES, "age_rating": st.sampled_from("ab")})


@given(st.lists(ROW, min_size=1))
def test_indicators_in_plain_python(rows: list[dict[str, Any]]) -> None:
    table = columns(*rows)
    vocabulary = Vocabulary.of(table, most=6)
    for row, found in zip(rows, matrix(vocabulary, table), strict=True):
        for name, value in zip(vocabulary.names.to_pylist(), found, strict=True):
            kind, trait = name.split()
            own = {v for v in row[kind] or [] if v}
            assert value == pytest.approx(len(own) ** -0.5 if trait in own else 0)
