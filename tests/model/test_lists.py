"""Everyone's recommendations as a table: complete, in order, with the names that the catalogue gives."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from tests.model.models import make_model

from nextreel.model.lists import recommendations, recommendations_table
from nextreel.model.model import Biases, Factors
from nextreel.model.rank import Pairs

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
def test_users_without_a_profile_have_lists_but_no_name(users: pa.Table) -> None:
    found = recommendations_table(MODEL, seen(), users, TITLES, 1)
    names = dict(zip(users["user_id"].to_pylist(), users["username"].to_pylist(), strict=True))
    assert found["user_id"].to_pylist() == ["u1", "u2", "u3"]
    assert found["username"].to_pylist() == [names.get(u) for u in ("u1", "u2", "u3")]


def test_an_empty_catalogue() -> None:
    found = recommendations_table(MODEL, seen(), USERS, TITLES.slice(0, 0), 3)
    assert found.num_rows == 0
    assert found.schema.equals(SCHEMA)


@pytest.mark.parametrize("block_users", [1, 2, 3, 100])
def test_blocks_of_users_make_one_table(block_users: int) -> None:
    found = list(recommendations(MODEL, seen((0, 3)), USERS, TITLES, 2, block_users=block_users))
    assert len(found) == -(-3 // block_users)
    assert pa.concat_tables(found).equals(recommendations_table(MODEL, seen((0, 3)), USERS, TITLES, 2))
