"""Metrics of lists: by hand, against frozen values of other libraries, and what must always hold."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextreel.model.rank import Pairs, top_k
from nextreel.train import metrics

N_TITLES = 12
NEVER = -1.0
FALLING = [float(N_TITLES - t) for t in range(N_TITLES)]

#: Scores of twelve titles, some of which are not to be listed, and which are relevant.
CASES: dict[str, tuple[list[float], list[int]]] = {
    "first, third and last place": (FALLING, [0, 2, 9]),
    "no hit": (FALLING, [10, 11]),
    "ties": ([5, 5, 5, 5, 1, 1, 1, 9, 9, 1, 0, 0], [1, 3, 8, 9]),
    "all tied": ([1] * N_TITLES, [4, 11]),
    "a list of three": ([NEVER] * 9 + [3, 1, 2], [9, 10, 0]),
    "an empty list": ([NEVER] * N_TITLES, [3]),
    "more relevant than places": (FALLING, list(range(11))),
}
#: nDCG, recall, precision, average precision, reciprocal rank at k.
FROZEN = {
    ("first, third and last place", 3): (0.7039180890341347, 2 / 3, 2 / 3, 0.5555555555555555, 1.0),
    ("first, third and last place", 5): (0.7039180890341347, 2 / 3, 0.4, 0.5555555555555555, 1.0),
    ("first, third and last place", 10): (0.8395700624665824, 1.0, 0.3, 0.6555555555555556, 1.0),
    ("no hit", 3): (0.0, 0.0, 0.0, 0.0, 0.0),
    ("no hit", 10): (0.0, 0.0, 0.0, 0.0, 0.0),
    ("ties", 3): (0.2960819109658652, 0.25, 0.3333333333333333, 0.125, 0.5),
    ("ties", 5): (0.4144299250118475, 0.5, 0.4, 0.25, 0.5),
    ("ties", 10): (0.6663312458715583, 1.0, 0.4, 0.475, 0.5),
    ("all tied", 3): (0.0, 0.0, 0.0, 0.0, 0.0),
    ("all tied", 5): (0.23719771276929622, 0.5, 0.2, 0.1, 0.2),
    ("all tied", 10): (0.23719771276929622, 0.5, 0.1, 0.1, 0.2),
    ("a list of three", 3): (0.7039180890341347, 2 / 3, 2 / 3, 0.5555555555555555, 1.0),
    ("a list of three", 10): (0.7039180890341347, 2 / 3, 0.2, 0.5555555555555555, 1.0),
    ("an empty list", 3): (0.0, 0.0, 0.0, 0.0, 0.0),
    ("an empty list", 10): (0.0, 0.0, 0.0, 0.0, 0.0),
    ("more relevant than places", 3): (1.0, 0.2727272727272727, 1.0, 0.2727272727272727, 1.0),
    ("more relevant than places", 10): (1.0, 0.9090909090909091, 1.0, 0.9090909090909091, 1.0),
}


def pairs(*titles: list[int]) -> Pairs:
    users = np.repeat(np.arange(len(titles)), [len(own) for own in titles])
    return Pairs.of(users, np.array([t for own in titles for t in own], np.int64), len(titles))


def measured(hits: NDArray[np.bool_], n_relevant: NDArray[np.int64]) -> NDArray[np.float64]:
    """All metrics of relevance, (n, 5)."""
    by_relevant = (metrics.ndcg, metrics.recall, metrics.average_precision)
    ndcg, recall, map_ = (metric(hits, n_relevant) for metric in by_relevant)
    return np.stack([ndcg, recall, metrics.precision(hits), map_, metrics.reciprocal_rank(hits)], axis=1)


@pytest.mark.parametrize(("case", "k"), FROZEN)
def test_equals_other_libraries(case: str, k: int) -> None:
    """The values are pytrec_eval-terrier 0.5.11's: ndcg_cut, recall, P, map_cut, recip_rank (of the list cut at k).

    ranx 0.3.21 and ir_measures 0.4.3 gave the same to 1e-6. trec_eval breaks ties by falling names of documents; they
    were named so that the lower title comes first, as here.
    """
    scores, relevant = CASES[case]
    unlisted = pairs([t for t, score in enumerate(scores) if score == NEVER])
    lists, _ = top_k(np.ones((1, 1), np.float32), np.array(scores, np.float32)[:, None], k, unlisted)
    hits = metrics.hits(lists, pairs(relevant))
    assert measured(hits, np.array([len(relevant)]))[0] == pytest.approx(FROZEN[case, k])


def test_hits_are_each_users_own() -> None:
    lists = np.array([[3, 0, 1], [0, 3, -1], [1, 2, 3]])
    found = metrics.hits(lists, pairs([0, 3], [1], [2]))
    assert found.tolist() == [[True, True, False], [False, False, False], [False, True, False]]


def test_no_users() -> None:
    hits = metrics.hits(np.zeros((0, 4), np.int64), pairs())
    assert hits.shape == (0, 4)
    assert measured(hits, np.zeros(0, np.int64)).shape == (0, 5)


# What must always hold


@st.composite
def some_hits(draw: st.DrawFn) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    k = draw(st.integers(1, 12))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1, max_size=8))
    hits = np.array(rows)
    missed = draw(st.lists(st.integers(0, 20), min_size=len(rows), max_size=len(rows)))
    return hits, np.maximum(hits.sum(1) + missed, 1)


@given(some_hits())
def test_between_zero_and_one(drawn: tuple[NDArray[np.bool_], NDArray[np.int64]]) -> None:
    found = measured(*drawn)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-12
    assert ((found == 0).all(1) == ~drawn[0].any(1)).all(), "zero without a hit, and only then"


@given(st.integers(1, 12), st.integers(1, 30))
def test_a_perfect_list(k: int, n_relevant: int) -> None:
    hits = np.arange(k)[None] < n_relevant
    ndcg, recall, precision, ap, rr = measured(hits, np.array([n_relevant]))[0]
    reached = min(k, n_relevant)
    assert (ndcg, rr) == (pytest.approx(1.0), 1.0)
    assert (recall, precision, ap) == pytest.approx((reached / n_relevant, reached / k, reached / n_relevant))


@given(some_hits())
def test_a_hit_that_moves_up_is_never_worse(drawn: tuple[NDArray[np.bool_], NDArray[np.int64]]) -> None:
    hits, n_relevant = drawn
    better = -np.sort(-hits.astype(np.int8), axis=1) > 0
    assert (measured(better, n_relevant) >= measured(hits, n_relevant) - 1e-12).all()
    for a, b in pairwise(range(hits.shape[1])):
        swapped = hits.copy()
        swapped[:, a], swapped[:, b] = hits[:, a] | hits[:, b], hits[:, a] & hits[:, b]
        assert (measured(swapped, n_relevant) >= measured(hits, n_relevant) - 1e-12).all()


# What is recommended


def test_self_information_by_hand() -> None:
    # Eight users: all know the first title, half the second, one the third; the last one counts as known by one.
    assert metrics.self_information(np.array([8, 4, 1, 0]), 8).tolist() == [0.0, 1.0, 3.0, 3.0]
    assert metrics.self_information(np.zeros(2, np.int64), 0).tolist() == [0.0, 0.0]


def test_sums_over_lists_that_may_be_short() -> None:
    lists = np.array([[2, 0, 1], [1, -1, -1], [-1, -1, -1]])
    assert metrics.listed_sum(lists, np.array([1.0, 10.0, 100.0])).tolist() == [111.0, 10.0, 0.0]


def test_coverage_by_hand() -> None:
    lists = np.array([[2, 0], [0, -1]])
    assert metrics.coverage(lists, 5) == 0.4
    assert metrics.coverage(np.full((2, 3), -1), 5) == 0.0
    assert metrics.coverage(np.zeros((0, 3), np.int64), 0) == 0.0
