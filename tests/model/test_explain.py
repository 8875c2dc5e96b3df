"""Explanations: shares that add up, and the exact score by a float64 solution written out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nextreel.model.arrays import Floats
from nextreel.model.explain import ByPreferences, ByTitles, Met, by_preferences, by_titles
from nextreel.model.solve import Rows, Scaling, Systems, explicit, implicit, solve
from nextreel.model.traits import Traits
from nextreel.ratings.affinity import affinity
from nextreel.settings import AffinityWeights

WEIGHTS = AffinityWeights()
N_TITLES, K = 12, 4


def factors(seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 0.6, (N_TITLES, K)).astype(np.float32)


def rows(*values: dict[int, float]) -> Rows:
    """Each user's value of titles."""
    cells = [(user, title, value) for user, given_ in enumerate(values) for title, value in given_.items()]
    user, title, value = np.array(cells, float).reshape(-1, 3).T
    return Rows.of(user.astype(int), title.astype(int), value, len(values))


def by_hand(y: Floats, values: dict[int, float], alpha: float, shrink: float, title: int) -> dict[int, float]:
    """What each rated title adds to a score of implicit feedback, after Hu, Koren, Volinsky 2008, over all cells."""
    y64 = y.astype(np.float64)
    value = np.array([values.get(t, 0.0) for t in range(len(y))])
    confidence, liked = 1 + alpha * np.abs(value), value > 0
    inverse = np.linalg.inv(y64.T @ np.diag(confidence) @ y64 + shrink * np.eye(y.shape[1]))
    return {t: float(y64[title] @ inverse @ y64[t] * confidence[t] * liked[t]) for t in values}


def everything(found: ByTitles) -> float:
    return float(found.shares.sum()) + found.expected + found.rest


USER = {7: 2.0, 2: 0.5, 5: -1.5, 9: 3.0}


@pytest.mark.parametrize(("scaling", "shrink"), [("positive", 0.3 * 3), ("none", 0.3), ("all", 0.3 * (12 + 2 * 4))])
def test_each_rated_title_adds_its_part(scaling: Scaling, shrink: float) -> None:
    y = factors()
    systems = implicit(rows({1: 1.0}, USER), y, 0.3, 2.0, scaling)
    found = by_titles(systems, 1, y, np.arange(N_TITLES), 9)
    exact = solve(systems, y)[1]
    for title, why in enumerate(found):
        parts = by_hand(y, USER, 2.0, shrink, title)
        assert why.score == pytest.approx(sum(parts.values()), rel=1e-4, abs=1e-6)
        assert why.score == pytest.approx(float(exact @ y[title]), rel=1e-4, abs=1e-5)
        assert everything(why) == pytest.approx(1)
        if why.score > 0:
            carried = sorted((t for t in parts if parts[t] > 0), key=lambda t: -parts[t])
            assert why.titles.tolist() == carried
            np.testing.assert_allclose(why.shares * why.score, [parts[t] for t in carried], rtol=1e-3, atol=1e-6)
    assert {why.score > 0 for why in found} == {True, False}


@pytest.mark.parametrize("trust", [0.0, 0.3, 1.0])
def test_what_was_expected_before_any_rating_has_its_share(trust: float) -> None:
    y, expected = factors(), np.array([0.9, -0.2, 0.4, 0.1], np.float32)
    systems = implicit(rows(USER), y, 0.3, 2.0)
    user = trust * solve(systems, y)[0] + (1 - trust) * expected
    for title, why in enumerate(by_titles(systems, 0, y, np.arange(N_TITLES), 9, trust, expected)):
        assert why.score == pytest.approx(float(user @ y[title]), rel=1e-3, abs=1e-5)
        assert everything(why) == pytest.approx(1)
        if why.score > 0:
            assert why.expected * why.score == pytest.approx((1 - trust) * float(expected @ y[title]), abs=1e-5)


def test_who_rated_nothing_is_explained_by_what_was_expected() -> None:
    y, expected = factors(), np.array([0.9, -0.2, 0.4, 0.1], np.float32)
    best = int((y @ expected).argmax())
    (why,) = by_titles(implicit(rows({}), y, 0.3, 2.0), 0, y, np.array([best]), 9, 0.0, expected)
    assert (why.expected, why.rest, len(why.titles)) == (1.0, 0.0, 0)


def test_predicted_ratings_are_explained_alike() -> None:
    y = factors()
    systems = explicit(rows({0: -0.4, 3: 1.1, 8: 0.6}), 0.2)
    found = by_titles(systems, 0, y, np.array([3, 6]), 9)
    scores = y[[3, 6]] @ solve(systems, y)[0]
    assert [why.score for why in found] == pytest.approx(scores.tolist(), rel=1e-4)
    assert [everything(why) for why in found] == pytest.approx([1, 1])


def test_the_most_important_titles_and_the_rest() -> None:
    y = factors()
    systems = implicit(rows(USER), y, 0.3, 2.0)
    whole, top, none = (by_titles(systems, 0, y, np.array([9]), n)[0] for n in (9, 1, 0))
    assert top.titles.tolist() == whole.titles[:1].tolist() == [9]
    assert top.rest == pytest.approx(1 - whole.shares[0])
    assert (none.titles.tolist(), none.rest) == ([], 1.0)


def test_a_disliked_title_adds_nothing_but_shapes_what_the_others_add() -> None:
    y = factors()
    liked = {t: v for t, v in USER.items() if v > 0}
    found, without = (by_titles(implicit(rows(v), y, 0.3, 2.0), 0, y, np.array([9]), 9)[0] for v in (USER, liked))
    assert 5 not in found.titles
    assert found.score != pytest.approx(without.score, rel=1e-3)


def test_equal_parts_in_the_order_of_titles() -> None:
    y = np.ones((N_TITLES, K), np.float32)
    assert by_titles(implicit(rows({8: 1.0, 3: 1.0}), y, 0.3, 2.0), 0, y, np.array([0]), 2)[0].titles.tolist() == [3, 8]


def test_nothing_liked_and_nothing_rated() -> None:
    y = factors()
    systems: Systems = implicit(rows({}, {4: -1.0}), y, 0.3, 2.0)
    for user in (0, 1):
        why = by_titles(systems, user, y, np.array([2]), 3)[0]
        assert (why.score, why.titles.tolist(), why.rest) == (0.0, [], 1.0)
    assert by_titles(systems, 1, y, np.array([], np.int64), 3) == []


@given(st.dictionaries(st.integers(0, N_TITLES - 1), st.floats(-3, 3, width=16), max_size=N_TITLES), st.integers(0, 9))
def test_shares_add_up_whatever_was_rated(values: dict[int, float], seed: int) -> None:
    y = factors(seed)
    systems = implicit(rows(values), y, 0.3, 2.0)
    for why in by_titles(systems, 0, y, np.arange(N_TITLES), 3):
        assert everything(why) == pytest.approx(1)
        assert len(why.titles) <= 3
        assert (why.shares > 0).all()


LISTS = ("genres", "directors", "actors", "decades")


def values(side: dict[str, Any]) -> dict[str, list[str]]:
    """The values of each trait, as profiles and cards give them."""
    rating = side.get("age_rating")
    return {t: side.get(t) or [] for t in LISTS} | {"age_rating": [] if rating is None else [rating]}


def columns(*sides: dict[str, Any]) -> Traits:
    lists = {t: pa.array([s.get(t) for s in sides], pa.list_(pa.string())) for t in LISTS}
    return lists | {"age_rating": pa.array([s.get("age_rating") for s in sides], pa.string())}


LIKES = {"genres": ["Drama", "Crime", "War"], "actors": ["Pacino"], "decades": ["1990s"], "age_rating": "R"}
HEAT = {
    "genres": ["Crime", "Thriller", "Drama"],
    "directors": ["Mann"],
    "actors": ["Pacino", "De Niro"],
    "decades": ["1990s"],
    "age_rating": "PG-13",
}


def test_preferences_met_have_their_shares_of_the_affinity() -> None:
    """Genres overlap by 2 / 3, actors and decades wholly: 0.4 · 2/3 + 0.2 + 0.1 + 0.1 = 2/3, of a known 0.8."""
    found = by_preferences(values(LIKES), [values(HEAT)], WEIGHTS, 9)[0]
    assert [(m.trait, m.value) for m in found.met] == [
        ("actors", "Pacino"),
        ("genres", "Crime"),
        ("genres", "Drama"),
        ("decades", "1990s"),
        ("age_rating", "PG-13"),
    ]
    assert [m.share for m in found.met] == pytest.approx([0.3, 0.2, 0.2, 0.15, 0.15])
    assert found.rest == pytest.approx(0)


def test_the_most_important_preferences_and_the_rest() -> None:
    found = by_preferences(values(LIKES), [values({}), values(HEAT)], WEIGHTS, 1)
    assert found[0] == ByPreferences([], 1.0)
    assert [(m.trait, m.value) for m in found[1].met] == [("actors", "Pacino")]
    assert found[1].met[0].share == pytest.approx(0.3)
    assert found[1].rest == pytest.approx(0.7)


def test_what_is_not_met() -> None:
    other = {"genres": ["Comedy"], "actors": ["Pacino"], "age_rating": "NC-17"}
    found = by_preferences(values(LIKES), [values(other)], WEIGHTS, 9)[0]
    assert found.met == [Met("actors", "Pacino", 1.0)]
    assert by_preferences(values(LIKES), [values({"genres": ["Comedy"]})], WEIGHTS, 9) == [ByPreferences([], 1.0)]
    assert by_preferences(values(LIKES), [], WEIGHTS, 9) == []


def by_affinity(
    likes: dict[str, Any], titles: list[dict[str, Any]], weights: AffinityWeights, most: int
) -> list[ByPreferences]:
    """The same explanations from the affinity of each trait alone, pair by pair: slow, and plain to read."""
    pairs = columns(*[likes] * len(titles)), columns(*titles)
    scores = {}
    for trait in (*LISTS, "age_rating"):
        name = "decade" if trait == "decades" else trait
        alone = AffinityWeights(**{n: float(n == name) for n in AffinityWeights.model_fields})
        scores[trait] = getattr(weights, name) * np.nan_to_num(affinity(*pairs, alone))
    total = np.sum(list(scores.values()), axis=0)
    explained = []
    for row, title in enumerate(titles):
        met = []
        for trait in (t for t in scores if scores[t][row] > 0):
            both = set(values(likes)[trait]) & set(values(title)[trait])
            shared = values(title)[trait] if trait == "age_rating" else sorted(both)
            met += [Met(trait, value, float(scores[trait][row] / total[row] / len(shared))) for value in shared]
        met = sorted(met, key=lambda each: -each.share)[:most]
        explained.append(ByPreferences(met, 1.0 - sum(each.share for each in met)))
    return explained


VALUES = st.lists(st.sampled_from("abcdéZ"), max_size=9) | st.none()
SIDE = st.fixed_dictionaries(
    dict.fromkeys(LISTS, VALUES) | {"age_rating": st.sampled_from(["G", "PG", "PG-13", "R", "NC-17", None, "?"])}
)
WEIGHT = st.floats(0, 1, allow_subnormal=False)
SOME_WEIGHTS = (
    st.fixed_dictionaries(dict.fromkeys(AffinityWeights.model_fields, WEIGHT))
    .filter(lambda weights: any(weights.values()))
    .map(lambda weights: AffinityWeights(**weights))
)


@given(SIDE, st.lists(SIDE, min_size=1, max_size=5), st.just(WEIGHTS) | SOME_WEIGHTS, st.integers(0, 30))
def test_preferences_met_are_those_of_the_affinity_to_the_bit(
    likes: dict[str, Any], titles: list[dict[str, Any]], weights: AffinityWeights, most: int
) -> None:
    explained = by_preferences(values(likes), [values(title) for title in titles], weights, most)
    assert explained == by_affinity(likes, titles, weights, most)


def test_many_preferences_are_read_once_for_all_titles() -> None:
    """The cost of an explanation is that of the profile plus the titles, not their product."""
    reads = 0

    class Counted(list[str]):
        def __iter__(self) -> Iterator[str]:
            nonlocal reads
            reads += len(self)
            return super().__iter__()

    genres = Counted(f"genre {n}" for n in range(100))
    by_preferences(values({"genres": genres}), [values(HEAT)] * 100, WEIGHTS, 3)
    assert reads == len(genres)


@given(SIDE, st.lists(SIDE, min_size=1, max_size=5))
def test_shares_of_preferences_are_the_parts_of_the_affinity(
    likes: dict[str, Any], titles: list[dict[str, Any]]
) -> None:
    fit: NDArray[np.float64] = np.nan_to_num(affinity(columns(*[likes] * len(titles)), columns(*titles), WEIGHTS))
    explained = by_preferences(values(likes), [values(title) for title in titles], WEIGHTS, 99)
    for why, score in zip(explained, fit, strict=True):
        assert sum(m.share for m in why.met) + why.rest == pytest.approx(1)
        assert why.rest == pytest.approx(0 if score > 0 else 1)
        assert len({(m.trait, m.value) for m in why.met}) == len(why.met)
