"""Recommendations for many users: personal or popular, without what is seen or not offered."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tests.model.models import make_model

from nextreel.model.model import Biases, Factors
from nextreel.model.rank import Pairs
from nextreel.model.recommend import Recommender, most_alike, recommend


def f32(rows: Any) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


#: The first and the last user like low and high rows; nothing is known of the second.
MODEL = make_model(
    user_ids=pa.array(["u1", "u2", "u3"]),
    title_ids=pa.array(["t1", "t2", "t3", "t4", "t5"]),
    biases=Biases(3.0, f32([0.5, 0.0, -0.5]), f32([0.1, 0.2, 0.3, 0.4, 9.0])),
    rating_factors=Factors(f32([[1], [0], [-1]]), f32([[0.5], [0], [0], [0], [0]])),
    ranking_factors=Factors(f32([[-1], [0], [1]]), f32([[1], [2], [3], [4], [5]])),
    popularity=f32([1, 7, 3, 7, 0]),
)
EVERYTHING = np.ones(5, np.bool_)
NOTHING_SEEN = Pairs.of(np.array([], np.int64), np.array([], np.int64), 3)


def seen(*pairs: tuple[int, int]) -> Pairs:
    return Pairs.of(np.array([u for u, _ in pairs]), np.array([t for _, t in pairs]), 3)


def test_personal_where_the_user_is_known_and_popular_where_not() -> None:
    found = recommend(MODEL, np.arange(3), 3, NOTHING_SEEN, EVERYTHING)
    assert found.titles.tolist() == [[0, 1, 2], [1, 3, 2], [4, 3, 2]]
    assert found.strategy.tolist() == ["personal", "popular", "personal"]


def test_ratings_are_those_that_the_model_predicts() -> None:
    found = recommend(MODEL, np.arange(3), 2, NOTHING_SEEN, EVERYTHING)
    expected = [[3 + 0.5 + 0.1 + 0.5, 3 + 0.5 + 0.2], [3 + 0.2, 3 + 0.4], [5.0, 3 - 0.5 + 0.4]]
    np.testing.assert_allclose(found.ratings, expected, rtol=1e-6)


def test_some_users_in_any_order_and_twice() -> None:
    pairs = seen((2, 4), (0, 0))
    found = recommend(MODEL, np.array([2, 1, 2, 0]), 2, pairs, EVERYTHING)
    assert found.titles.tolist() == [[3, 2], [1, 3], [3, 2], [1, 2]]
    assert found.strategy.tolist() == ["personal", "popular", "personal", "personal"]


def test_what_is_seen_is_left_out_for_that_user_alone() -> None:
    found = recommend(MODEL, np.arange(3), 2, seen((0, 1), (1, 1), (2, 4), (2, 2)), EVERYTHING)
    assert found.titles.tolist() == [[0, 2], [3, 2], [3, 1]]


def test_only_what_is_offered() -> None:
    offered = np.array([False, True, False, False, True])
    found = recommend(MODEL, np.arange(3), 2, seen((2, 4), (0, 0)), offered)
    assert found.titles.tolist() == [[1, 4], [1, 4], [1, -1]]
    assert np.isnan(found.ratings).tolist() == [[False, False], [False, False], [False, True]]


def test_lists_that_run_out() -> None:
    found = recommend(MODEL, np.array([0, 1]), 7, seen((0, 2), *((1, t) for t in range(5))), EVERYTHING)
    assert found.titles.tolist() == [[0, 1, 3, 4, -1, -1, -1], [-1] * 7]
    assert np.isnan(found.ratings).sum(1).tolist() == [3, 7]


def test_nothing_offered_and_nobody_asked_for() -> None:
    assert np.all(recommend(MODEL, np.arange(3), 2, NOTHING_SEEN, ~EVERYTHING).titles == -1)
    assert recommend(MODEL, np.array([], np.int64), 2, NOTHING_SEEN, EVERYTHING).titles.shape == (0, 2)


def test_most_alike_is_by_angle_not_by_length() -> None:
    directions = f32([[1, 0], [9, 9], [0.2, 0.02], [-5, 0], [0, 0]])
    model = replace(MODEL, ranking_factors=Factors(f32(np.zeros((3, 2))), directions))
    assert most_alike(model, 0, np.array([4, 3, 1, 2])) == 2
    assert most_alike(model, 0, np.array([3, 4])) == 4  # unlike beats opposite
    assert most_alike(model, 4, np.array([2, 1])) == 2  # nothing is known: the first


def test_diverse_lists_hold_fewer_titles_of_a_kind() -> None:
    """Twelve titles of one direction score highest, six of another a little less."""
    rng = np.random.default_rng(0)
    one, other = np.array([1.0, 0.0]), np.array([0.0, 0.9])
    titles = np.vstack([one + rng.normal(0, 0.01, (12, 2)), other + rng.normal(0, 0.01, (6, 2))])
    names = [f"t{n:02d}" for n in range(18)]
    nothing = Factors(f32(np.zeros((1, 1))), f32(np.zeros((18, 1))))
    model = make_model(
        pa.array(["u"]), pa.array(names), Biases(3.0, f32([0]), f32(np.zeros(18))), nothing,
        Factors(f32([[1, 1]]), f32(titles)), f32(np.zeros(18)),
    )  # fmt: skip
    seen = Pairs.of(np.array([0]), np.array([3]), 1)
    plain, diverse = (Recommender(model, np.ones(18, np.bool_), d).recommend(np.array([0]), 4, seen) for d in (0, 0.5))
    assert (plain.titles < 12).all()
    assert set(diverse.titles[0] < 12) == {True, False}
    assert diverse.titles[0, 0] == plain.titles[0, 0], "the best stays first"
    assert 3 not in diverse.titles
