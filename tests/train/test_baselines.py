"""Lists of the popular, the well rated, and of anything."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nextreel.model.model import Biases
from nextreel.model.rank import Pairs
from nextreel.train.baselines import baseline_lists, random_lists


def seen(*titles: list[int]) -> Pairs:
    users = np.repeat(np.arange(len(titles)), [len(own) for own in titles])
    return Pairs.of(users, np.array([t for own in titles for t in own], np.int64), len(titles))


def test_by_hand() -> None:
    biases = Biases(3.0, np.zeros(9, np.float32), np.array([-1.0, 0.5, -0.25, 0.5, 0.0], np.float32))
    found = baseline_lists(
        np.array([7, 0, 9, 1, 7]), biases, seen([], [2, 3], [0, 1, 2, 4]), 3, 1, np.ones(5, np.bool_)
    )
    assert found["popularity"].tolist() == [[2, 0, 4], [0, 4, 1], [3, -1, -1]]
    assert found["bias"].tolist() == [[1, 3, 4], [1, 4, 0], [3, -1, -1]]
    assert found["random"][2].tolist() == [3, -1, -1]
    assert list(found) == ["popularity", "bias", "random"]


def test_only_what_is_offered_is_listed() -> None:
    biases = Biases(3.0, np.zeros(9, np.float32), np.array([-1.0, 0.5, -0.25, 0.5, 0.0], np.float32))
    offered = np.array([True, False, False, True, True])
    found = baseline_lists(np.array([7, 0, 9, 1, 7]), biases, seen([], [2, 3], [0, 1, 3]), 3, 1, offered)
    assert found["popularity"].tolist() == [[0, 4, 3], [0, 4, -1], [4, -1, -1]]
    assert found["bias"].tolist() == [[3, 4, 0], [4, 0, -1], [4, -1, -1]]
    assert [sorted(row) for row in found["random"].tolist()] == [[0, 3, 4], [-1, 0, 4], [-1, -1, 4]]


@given(st.lists(st.sets(st.integers(0, 14)), max_size=6), st.integers(1, 20), st.integers(0, 99))
def test_random_lists_hold_unseen_titles_once(known: list[set[int]], k: int, seed: int) -> None:
    lists = random_lists(seen(*(list(own) for own in known)), np.ones(15, np.bool_), k, seed)
    assert lists.shape == (len(known), k)
    for own, row in zip(known, lists.tolist(), strict=True):
        listed = [t for t in row if t >= 0]
        assert row == listed + [-1] * (k - len(listed))
        assert len(listed) == len(set(listed)) == min(k, 15 - len(own))
        assert set(listed) <= set(range(15)) - own


def test_random_lists_are_even() -> None:
    counted = Counter(random_lists(seen(*[[1, 4]] * 3000), np.ones(6, np.bool_), 2, seed=1).ravel().tolist())
    assert counted.keys() == {0, 2, 3, 5}
    assert all(abs(n - 1500) < 150 for n in counted.values())


def test_random_lists_by_seed() -> None:
    one, same, other = (random_lists(seen([], [2]), np.ones(50, np.bool_), 5, seed).tolist() for seed in (1, 1, 2))
    assert one == same != other
