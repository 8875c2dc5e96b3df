"""Maximal marginal relevance: known answers, every choice judged in plain Python, and what it does to lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.model import diversify
from nextreel.model.arrays import Floats, Ints
from nextreel.model.diversify import diversified, intra_list_diversity
from nextreel.model.rank import top_k

#: Titles 0 and 1 point the same way, 2 at a right angle to them, 3 the other way, 4 is like none, 5 between 0 and 2.
FACTORS = np.array([[1, 0], [5, 0], [0, 2], [-3, 0], [0, 0], [1, 1]], np.float32)


def lists(*rows: list[float]) -> tuple[Ints, Floats]:
    """Lists of titles 0, 1 … by their scores; they are given best first."""
    scores = np.array(rows, np.float32)
    return np.tile(np.arange(scores.shape[1]), (len(rows), 1)), scores


def test_a_double_falls_behind_what_is_new() -> None:
    """With scores that go to 1, 0.75, 0.5 and 0, title 1 is worth 0.375 - 0.5 after 0, and 2 is worth 0.25 - 0.

    Title 3 points away from 0, which is better than at a right angle: 0 + 0.5. After it and 0, 2 is the next.
    """
    titles, scores = lists([2.0, 1.75, 1.5, 1.0])
    rows, found = diversified(titles, scores, FACTORS, 4, 0.5)
    assert rows.tolist() == [[0, 3, 2, 1]]
    assert found.tolist() == [[2.0, 1.0, 1.5, 1.75]]
    assert diversified(titles, scores, FACTORS, 3, 0.7)[0].tolist() == [[0, 2, 1]]


def test_relevance_1_leaves_lists_as_they_are() -> None:
    rng = np.random.default_rng(0)
    titles, scores = top_k(rng.normal(size=(50, 3)).astype(np.float32), rng.normal(size=(90, 3)).astype(np.float32), 20)
    rows, found = diversified(titles, scores, rng.normal(size=(90, 3)).astype(np.float32), 20, 1.0)
    np.testing.assert_array_equal(rows, titles)
    np.testing.assert_array_equal(found, scores)


def test_relevance_0_looks_at_likeness_alone_after_the_first() -> None:
    titles, scores = lists([1.0, 0.9, 0.8, 0.0])
    assert diversified(titles, scores, FACTORS, 4, 0.0)[0].tolist() == [[0, 3, 2, 1]]


def test_equal_values_go_to_the_title_that_is_earlier() -> None:
    titles, scores = np.array([[4, 1, 0], [1, 4, 0]]), np.ones((2, 3), np.float32)
    assert diversified(titles, scores, FACTORS, 3, 0.5)[0].tolist() == [[4, 1, 0], [1, 4, 0]]


def test_lists_that_run_out() -> None:
    titles = np.array([[2, 0, -1], [-1, -1, -1], [3, -1, -1]])
    scores = np.where(titles >= 0, np.array([[2, 1, 0]], np.float32), np.float32(-np.inf))
    rows, found = diversified(titles, scores, FACTORS, 5, 0.3)
    assert rows.tolist() == [[2, 0, -1, -1, -1], [-1] * 5, [3, -1, -1, -1, -1]]
    assert found[0].tolist() == [2, 1, -np.inf, -np.inf, -np.inf]
    assert (found[1] == -np.inf).all()


@pytest.mark.parametrize(("n", "m", "n_titles"), [(0, 5, 6), (3, 0, 6), (3, 4, 0)])
def test_nobody_and_nothing(n: int, m: int, n_titles: int) -> None:
    titles, scores = np.full((n, m), -1, np.int64), np.full((n, m), -np.inf, np.float32)
    rows, found = diversified(titles, scores, FACTORS[:n_titles], 2, 0.5)
    assert (rows == -1).all()
    assert rows.shape == found.shape == (n, 2)
    assert np.isnan(intra_list_diversity(titles, FACTORS[:n_titles])).all()


def assert_greedy(found: list[int], titles: list[int], scores: list[float], factors: Floats, relevance: float) -> None:
    """Each title that was chosen had the highest value of those left, but for rounding."""
    pool = {t: s for t, s in zip(titles, scores, strict=True) if t >= 0}
    low, high = min(pool.values(), default=0), max(pool.values(), default=0)

    def cosine(a: int, b: int) -> float:
        norms = float(np.linalg.norm(factors[a]) * np.linalg.norm(factors[b]))
        return float(factors[a] @ factors[b]) / norms if norms else 0.0

    chosen: list[int] = []
    while pool and len(chosen) < len(found):
        values = {
            t: relevance * ((s - low) / (high - low) if high > low else 0.0)
            - (1 - relevance) * max((cosine(t, c) for c in chosen), default=0.0)
            for t, s in pool.items()
        }
        chosen.append(found[len(chosen)])
        assert values[chosen[-1]] > max(values.values()) - 1e-6
        del pool[chosen[-1]]
    assert found == chosen + [-1] * (len(found) - len(chosen))


@given(st.integers(0, 999), st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]), st.integers(1, 6), st.integers(1, 60))
def test_every_choice_is_the_best_left(seed: int, relevance: float, k: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.integers(-2, 3, (9, 2)).astype(np.float32)
    titles, scores = top_k(rng.integers(-2, 3, (7, 2)).astype(np.float32), factors, 5)
    titles[rng.random(7) < 0.3, 2:] = -1
    scores[titles < 0] = -np.inf
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diversify, "_BLOCK", block)
        found, _ = diversified(titles, scores, factors, k, relevance)
    for row, chosen in enumerate(found.tolist()):
        assert_greedy(chosen, titles[row].tolist(), scores[row].tolist(), factors, relevance)


def test_intra_list_diversity() -> None:
    titles = np.array([[0, 1, -1], [0, 2, -1], [0, 3, -1], [0, 1, 2], [0, 5, -1], [0, 4, 1], [2, -1, -1]])
    half = 1 - 2**-0.5
    np.testing.assert_allclose(intra_list_diversity(titles, FACTORS), [0, 1, 2, 2 / 3, half, 2 / 3, np.nan], atol=1e-6)


def test_less_relevance_is_more_diversity() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(0.5, 1, (300, 8)).astype(np.float32)
    titles, scores = top_k(rng.normal(0.5, 1, (40, 8)).astype(np.float32), factors, 50)
    found = [diversified(titles, scores, factors, 10, r) for r in (1.0, 0.7, 0.4, 0.1)]
    diversity = [float(intra_list_diversity(rows, factors).mean()) for rows, _ in found]
    assert diversity == sorted(diversity)
    means = [float(scores.mean()) for _, scores in found]
    assert means == sorted(means, reverse=True)
