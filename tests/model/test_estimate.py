"""What ratings and traits say together."""

import numpy as np
import pyarrow as pa
from tests.model.models import knows_traits

from nextreel.model.arrays import Floats
from nextreel.model.estimate import HALF, Estimate
from nextreel.model.traits import Traits, without_traits

KNOWN = knows_traits(np.random.default_rng(3), ["genres Drama", "genres War"], 3, 2)


def genres(*values: list[str] | None) -> Traits:
    return {**without_traits(len(values)), "genres": pa.array(values, pa.list_(pa.string()))}


def some(n: int) -> Estimate:
    rng = np.random.default_rng(n)
    return Estimate(*(rng.normal(size=shape).astype(np.float32) for shape in ((n, 3), (n, 2), (n,))))


def between(one: Floats, other: Floats, n: int) -> Floats:
    """n ratings of weight 1 beside ten of what is expected."""
    found: Floats = ((n * one + HALF * other) / (n + HALF)).astype(np.float32)
    return found


def test_a_row_without_ratings_is_what_its_traits_let_expect() -> None:
    expected = KNOWN.expect(genres(["Drama"], None))
    found = KNOWN.weigh(some(2), np.array([0, 0]), np.array([0, 0]), expected)
    for name in ("ranking", "rating", "bias"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.ranking[0].any()
    assert not found.ranking[1].any(), "of whom nothing is known"


def test_ratings_and_traits_are_weighed_by_the_number_of_ratings() -> None:
    solved, expected = some(3), KNOWN.expect(genres(["Drama"], ["War", "Drama"], None))
    found = KNOWN.weigh(solved, np.array([1, 90, 10]), np.array([1, 90, 10]), expected)
    np.testing.assert_allclose(found.ranking[0], between(solved.ranking[0], expected.ranking[0], 1), rtol=1e-5)
    np.testing.assert_allclose(found.ranking[1], between(solved.ranking[1], expected.ranking[1], 90), rtol=1e-5)
    np.testing.assert_allclose(found.ranking[2], (solved.ranking[2] + KNOWN.average) / 2, rtol=1e-5)
    np.testing.assert_array_equal(found.rating, solved.rating)
    np.testing.assert_array_equal(found.bias, solved.bias)


def test_who_has_watched_but_not_rated_is_expected_to_rate_as_their_traits_say() -> None:
    solved, expected = some(1), KNOWN.expect(genres(["Drama"]))
    found = KNOWN.weigh(solved, np.array([5]), np.array([0]), expected)
    np.testing.assert_allclose(found.ranking[0], between(solved.ranking[0], expected.ranking[0], 5), rtol=1e-5)
    np.testing.assert_array_equal(found.rating, expected.rating)
    np.testing.assert_array_equal(found.bias, expected.bias)


def test_factors_are_stretched_up_to_a_length() -> None:
    plain = KNOWN.ranking(KNOWN.vocabulary.indicators(genres(["Drama"])))
    length = float(np.linalg.norm(plain))
    np.testing.assert_allclose(
        KNOWN.expect(genres(["Drama"])).ranking, plain * min(KNOWN.stretch, KNOWN.longest / length), rtol=1e-5
    )


def test_one_row_is_expected_as_many_are() -> None:
    table = {
        **genres(["Drama"], ["War", "Drama", "War", "Opera"], [], None),
        "age_rating": pa.array(["PG", None, "PG", None]),
    }
    whole = KNOWN.expect(table)
    for row in range(4):
        values = {"genres": table["genres"][row].as_py() or [], "age_rating": [table["age_rating"][row].as_py() or "?"]}
        one = KNOWN.expect_one(values)
        np.testing.assert_allclose(one.ranking[0], whole.ranking[row], rtol=1e-5)
        np.testing.assert_allclose(one.rating[0], whole.rating[row], rtol=1e-5)
        np.testing.assert_allclose(one.bias[0], whole.bias[row], rtol=1e-5)
