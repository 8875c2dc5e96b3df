"""Users by how much they have rated."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextreel.train.segments import activity_segments


def rows(n_ratings: list[int], users: list[bool] | None = None) -> dict[str, list[int]]:
    mask = np.ones(len(n_ratings), np.bool_) if users is None else np.array(users)
    return {name: np.flatnonzero(of).tolist() for name, of in activity_segments(np.array(n_ratings), mask).items()}


def test_by_hand() -> None:
    assert rows([9, 0, 1, 2, 5, 90]) == {"new": [1], "light": [2, 3], "medium": [0, 4], "heavy": [5]}


def test_as_many_ratings_are_one_segment() -> None:
    assert rows([4, 4, 4, 4]) == {"light": [0, 1, 2, 3]}
    assert rows([1, 4, 4, 4, 4, 4]) == {"light": [0, 1, 2, 3, 4, 5]}


def test_only_those_asked_for() -> None:
    assert rows([3, 0, 1], [True, False, False]) == {"light": [0]}
    assert rows([3, 0, 1], [False] * 3) == {}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.data())
def test_everyone_is_in_one_segment(n_ratings: list[int], data: st.DataObject) -> None:
    users = data.draw(st.lists(st.booleans(), min_size=len(n_ratings), max_size=len(n_ratings)))
    found = rows(n_ratings, users)
    assert sorted(u for of in found.values() for u in of) == np.flatnonzero(users).tolist()
    most = [max(n_ratings[u] for u in of) for of in found.values()]
    least = [min(n_ratings[u] for u in of) for of in found.values()]
    assert all(a < b for a, b in zip(most[:-1], least[1:], strict=True)), "in order, without overlap"
