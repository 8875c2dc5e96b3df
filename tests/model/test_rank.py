"""The top K: against brute force, in one block and in many."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextreel.model import rank
from nextreel.model.rank import Catalogue, Pairs, top_k

NONE = -math.inf


def f32(rows: Any) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def brute_force(users: NDArray[Any], titles: NDArray[Any], k: int, exclude: list[set[int]]) -> list[list[int]]:
    """Rows of the best titles, ties to the lower row, -1 behind the end."""
    lists = []
    for user, out in zip(users.tolist(), exclude, strict=True):
        scores = [sum(a * b for a, b in zip(user, title, strict=True)) for title in titles.tolist()]
        best = sorted((t for t in range(len(scores)) if t not in out), key=lambda t: (-scores[t], t))[:k]
        lists.append(best + [-1] * (k - len(best)))
    return lists


def pairs_of(exclude: list[set[int]]) -> Pairs:
    flat = [(u, t) for u, out in enumerate(exclude) for t in out]
    users, titles = ([p[i] for p in flat] for i in (0, 1))
    return Pairs.of(np.array(users, np.int64), np.array(titles, np.int64), len(exclude))


def test_known_answer() -> None:
    users = f32([[1, 0], [-1, 2]])
    titles = f32([[3, 1], [0, 4], [5, 0]])
    rows, scores = top_k(users, titles, 2)
    assert rows.tolist() == [[2, 0], [1, 0]]  # scores 3, 0, 5 and -1, 8, -5
    assert scores.tolist() == [[5, 3], [8, -1]]
    assert scores.dtype == np.float32


def test_ties_go_to_the_lower_row_also_at_the_cut() -> None:
    rows, _ = top_k(f32([[1]]), f32([[2], [3], [2], [2], [3]]), 3)
    assert rows.tolist() == [[1, 4, 0]]


def test_lists_run_out() -> None:
    rows, scores = top_k(f32([[1], [1]]), f32([[2], [3]]), 4, pairs_of([{1}, {0, 1}]))
    assert rows.tolist() == [[0, -1, -1, -1], [-1, -1, -1, -1]]
    assert scores.tolist() == [[2, NONE, NONE, NONE], [NONE] * 4]


def test_negative_zero_ties_with_zero() -> None:
    assert top_k(f32([[1]]), f32([[-0.0], [0.0], [-0.0]]), 2)[0].tolist() == [[0, 1]]


@pytest.mark.parametrize(("n_users", "n_titles"), [(0, 3), (2, 0), (0, 0)])
def test_nobody_or_nothing(n_users: int, n_titles: int) -> None:
    rows, scores = top_k(np.ones((n_users, 2), np.float32), np.ones((n_titles, 2), np.float32), 3)
    assert rows.shape == scores.shape == (n_users, 3)
    assert np.all(rows == -1)


@st.composite
def problems(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], int, list[set[int]]]:
    """Small whole factors: their products are exact, and ties are frequent."""
    n_users, n_titles, k = draw(st.integers(0, 6)), draw(st.integers(1, 9)), draw(st.integers(1, 12))
    whole = st.lists(st.integers(-2, 2), min_size=2, max_size=2)
    users = draw(st.lists(whole, min_size=n_users, max_size=n_users))
    titles = draw(st.lists(whole, min_size=n_titles, max_size=n_titles))
    exclude = draw(st.lists(st.sets(st.integers(0, n_titles - 1)), min_size=n_users, max_size=n_users))
    return f32(users).reshape(n_users, 2), f32(titles), k, exclude


@pytest.mark.parametrize("part_users", [1, 4, 128])
@given(problem=problems())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_equals_brute_force(part_users: int, problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    users, titles, k, exclude = problem
    monkeypatch.setattr(rank, "_PART_USERS", part_users)
    rows, scores = top_k(users, titles, k, pairs_of(exclude))
    assert rows.tolist() == brute_force(users, titles, k, exclude)
    exact = users @ titles.T
    for user, place in np.ndindex(*rows.shape):
        title = rows[user, place]
        assert scores[user, place] == (exact[user, title] if title >= 0 else NONE)
    unfiltered, _ = top_k(users, titles, k)
    assert unfiltered.tolist() == brute_force(users, titles, k, [set() for _ in exclude])


def long_tailed(rng: np.random.Generator, n: int, k: int) -> NDArray[np.float32]:
    """Factors whose norms vary by orders of magnitude, as those of ALS do with popularity."""
    found: NDArray[np.float32] = (rng.normal(size=(n, k)) * (1 + rng.pareto(1.2, (n, 1)))).astype(np.float32)
    return found


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("n_titles", [1, 63, 64, 65, 3_000])
def test_real_scores_equal_brute_force(n_titles: int, masked: bool) -> None:
    rng = np.random.default_rng(n_titles)
    users, titles = long_tailed(rng, 150, 24), long_tailed(rng, n_titles, 24)
    users[7] = 0
    out = [set(rng.integers(0, n_titles, 20).tolist()) for _ in users]
    allowed = rng.random(n_titles) < 0.1 if masked else np.ones(n_titles, np.bool_)
    catalogue = Catalogue.of(titles)
    words = catalogue.filter(allowed)
    assert catalogue.allows(words, np.arange(n_titles)).tolist() == allowed.tolist()
    rows, scores = catalogue.top_k(users, 10, pairs_of(out), words if masked else None)
    exact = users.astype(np.float64) @ titles.T
    exact[:, ~allowed] = NONE
    for user, titles_out in enumerate(out):
        exact[user, list(titles_out)] = NONE
    best = np.sort(exact, axis=1)[:, ::-1][:, :10]
    filled = rows[:, : best.shape[1]] >= 0
    assert (filled == (best > NONE)).all()
    assert (rows[:, best.shape[1] :] == -1).all()
    picked = np.take_along_axis(exact, np.maximum(rows[:, : best.shape[1]], 0), axis=1)
    np.testing.assert_allclose(picked[filled], best[filled], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(scores[:, : best.shape[1]][filled], best[filled], rtol=1e-5, atol=1e-3)
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in rows)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.5])
def test_scores_do_not_depend_on_how_many_titles_are_allowed(share: float) -> None:
    rng = np.random.default_rng(4)
    users, titles = long_tailed(rng, 50, 40), long_tailed(rng, 5_000, 40)
    catalogue, allowed = Catalogue.of(titles), rng.random(5_000) < share
    everything, scores = catalogue.top_k(users, 5_000)
    some, found = catalogue.top_k(users, 20, None, catalogue.filter(allowed))
    for user in range(len(users)):
        kept = allowed[everything[user]]
        assert some[user].tolist() == everything[user][kept][:20].tolist()
        assert found[user].tolist() == scores[user][kept][:20].tolist()


def test_titles_most_alike_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(6)
    titles = long_tailed(rng, 700, 12)
    titles[[3, 600]] = 0
    titles[20] = 2 * titles[10]
    catalogue, allowed = Catalogue.of(titles), rng.random(700) < 0.6
    allowed[[3, 10, 20]] = True
    norms = np.linalg.norm(titles.astype(np.float64), axis=1)
    for title in (10, 40, 650):
        cosines = np.divide(
            titles @ titles[title].astype(np.float64), norms * norms[title], where=norms > 0, out=norms * 0
        )
        exclude = np.unique(np.append(rng.integers(0, 700, 30), title))
        cosines[~allowed], cosines[exclude] = -2, -2
        rows, found = catalogue.most_alike(titles[title], 25, exclude, catalogue.filter(allowed))
        np.testing.assert_allclose(found, np.sort(cosines)[::-1][:25], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found, cosines[rows], rtol=1e-5, atol=1e-6)
    everything = catalogue.most_alike(titles[10], 1_000, np.array([10]), catalogue.filter(allowed))[0]
    assert sorted(everything.tolist()) == [t for t in np.flatnonzero(allowed).tolist() if t != 10]
    assert everything[0] == 20
    assert len(catalogue.most_alike(titles[10], 0, np.zeros(0, np.int64), catalogue.filter(allowed))[0]) == 0


def test_one_user_gets_what_many_get() -> None:
    rng = np.random.default_rng(2)
    users, catalogue = long_tailed(rng, 300, 16), Catalogue.of(long_tailed(rng, 2_000, 16))
    rows, scores = catalogue.top_k(users, 20, threads=3)
    for i in range(len(users)):
        alone = catalogue.top_k(users[i : i + 1], 20)
        assert (alone[0][0] == rows[i]).all()
        assert (alone[1][0] == scores[i]).all()


def test_a_list_of_nothing() -> None:
    assert top_k(np.ones((3, 2), np.float32), np.ones((4, 2), np.float32), 0)[0].shape == (3, 0)


# Pairs


def test_pairs_are_grouped_by_user_in_any_order() -> None:
    pairs = Pairs.of(np.array([2, 0, 2, 4], np.int32), np.array([7, 1, 3, 0], np.int32), 5)
    assert pairs.start.tolist() == [0, 1, 1, 3, 3, 4]
    assert pairs.titles.tolist() == [1, 3, 7, 0]


def test_rows_of_pairs_in_the_order_asked_for() -> None:
    pairs = Pairs.of(np.array([2, 0, 2, 4]), np.array([7, 1, 3, 0]), 5)
    some = pairs.rows(np.array([4, 2, 1, 2]))
    assert some.start.tolist() == [0, 1, 3, 3, 5]
    assert some.titles.tolist() == [0, 3, 7, 3, 7]


def test_rows_of_nobody_and_of_no_pairs() -> None:
    nobody = Pairs.of(np.array([1]), np.array([5]), 2).rows(np.array([], np.int64))
    assert (nobody.start.tolist(), nobody.titles.tolist()) == ([0], [])
    empty = Pairs.of(np.array([], np.int32), np.array([], np.int32), 3).rows(np.array([2, 0]))
    assert (empty.start.tolist(), empty.titles.tolist()) == ([0, 0, 0], [])
