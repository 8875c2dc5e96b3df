"""The model of other titles and users: rows in their places, and the rest as it was."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tests.model.models import knows_traits, make_model

from nextreel.model.foldin import FoldIn
from nextreel.model.model import Biases, Factors, Newcomers
from nextreel.model.refresh import TitlesNow, UsersNow, refreshed, with_titles, with_users
from nextreel.model.solve import Rows
from nextreel.model.traits import Traits, without_traits


def f32(rows: Any) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


TRAITS = ["genres Drama", "genres War"]
MODEL = make_model(
    user_ids=pa.array(["u1", "u2"]),
    title_ids=pa.array(["t1", "t2", "t4"]),
    biases=Biases(3.0, f32([0.25, -0.25]), f32([0.1, 0.2, 0.4])),
    rating_factors=Factors(f32([[1], [2]]), f32([[0.5], [0.25], [0.125]])),
    ranking_factors=Factors(f32([[1, 0], [0, 1]]), f32([[1, 2], [2, 3], [4, 5]])),
    popularity=f32([5, 6, 7]),
    newcomers=Newcomers(*(knows_traits(np.random.default_rng(seed), TRAITS, 2, 1) for seed in (1, 2))),
)


def genres(*values: list[str] | None) -> Traits:
    return {**without_traits(len(values)), "genres": pa.array(values, pa.list_(pa.string()))}


TITLES = TitlesNow(pa.array(["t0", "t2", "t3", "t4"]), genres(["War"], ["War"], None, None), f32([1, 2, 3, 4]))


def of(*cells: tuple[int, int, float]) -> Rows:
    user, title, stars = (np.array([cell[i] for cell in cells]) for i in range(3))
    return Rows.of(user, title, stars, 3)


USERS = UsersNow(
    pa.array(["u0", "u2", "u3"]),
    genres(["Drama"], ["War"], None),
    of((1, 3, 5.0), (1, 0, 1.0), (2, 1, 4.0)),
    of((1, 3, 5.0), (1, 0, 1.0)),
    np.array([0, 2, 1]),
)


def test_titles_keep_what_was_learned_and_new_ones_have_what_is_expected() -> None:
    found = with_titles(MODEL, TITLES)
    expected = MODEL.newcomers.titles.expect(genres(["War"], None))
    assert found.title_ids.to_pylist() == ["t0", "t2", "t3", "t4"]
    np.testing.assert_array_equal(found.titles.ranking, [expected.ranking[0], [2, 3], [0, 0], [4, 5]])
    np.testing.assert_array_equal(found.titles.rating, [expected.rating[0], [0.25], [0], [0.125]])
    np.testing.assert_array_equal(found.titles.bias, f32([expected.bias[0], 0.2, 0, 0.4]))
    assert found.popularity.tolist() == [1, 2, 3, 4]
    assert (len(found.user_ids), found.biases.mean, found.feedback) == (0, 3.0, MODEL.feedback)


def test_users_are_those_that_are_given_solved_for_and_weighed() -> None:
    found = refreshed(MODEL, TITLES, USERS)
    new, titles = MODEL.newcomers.users, with_titles(MODEL, TITLES).titles
    solved = FoldIn.of(titles, 3.0, MODEL.feedback).solve(USERS.liking, USERS.ratings)
    expected = new.weigh(solved, np.array([0, 2, 1]), np.array([0, 2, 0]), new.expect(USERS.traits))
    assert found.user_ids.to_pylist() == ["u0", "u2", "u3"]
    assert found.activity.tolist() == [0, 2, 1]
    for part in ("ranking", "rating", "bias"):
        np.testing.assert_array_equal(getattr(found.users, part), getattr(expected, part))
        np.testing.assert_array_equal(getattr(found.titles, part), getattr(titles, part))


def test_some_of_the_users_are_as_among_all_to_the_last_bit() -> None:
    titles = with_titles(MODEL, TITLES)
    fold = FoldIn.of(titles.titles, 3.0, MODEL.feedback)
    everybody = with_users(titles, USERS)
    own = Rows.of(np.zeros(2, int), np.array([0, 3]), f32([1, 5]), 1)
    alone = UsersNow(USERS.ids[1:2], genres(["War"]), own, own, np.array([2]))
    found = with_users(titles, alone, fold, threads=1)
    for part in ("ranking", "rating", "bias"):
        np.testing.assert_array_equal(getattr(found.users, part)[0], getattr(everybody.users, part)[1])
