"""Affinity: asymmetric answers worked out by hand, and properties against a plain-Python implementation."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.events.contract import MATURITY
from nextreel.ratings.affinity import affinity, flat, overlap
from nextreel.settings import AffinityWeights

STRINGS = pa.list_(pa.string())
LISTS = ("genres", "directors", "actors", "decades")
WEIGHTS = AffinityWeights()

Row = dict[str, Any]


def columns(rows: list[Row]) -> dict[str, pa.Array]:
    """Rows as columns; traits that a row lacks are null."""
    lists = {t: pa.array([row.get(t) for row in rows], STRINGS) for t in LISTS}
    return lists | {"age_rating": pa.array([row.get("age_rating") for row in rows], pa.string())}


def one(user: Row, title: Row, weights: AffinityWeights = WEIGHTS) -> float:
    return float(affinity(columns([user]), columns([title]), weights)[0])


def in_plain_python(user: Row, title: Row, weights: AffinityWeights) -> float:
    total = known = 0.0
    for trait in LISTS:
        wanted = {v for v in user.get(trait) or [] if v is not None}
        given_ = {v for v in title.get(trait) or [] if v is not None}
        weight = weights.decade if trait == "decades" else getattr(weights, trait)
        if wanted and given_:
            total += weight * len(wanted & given_) / min(len(wanted), len(given_))
            known += weight
    allowed, level = MATURITY.get(user.get("age_rating") or ""), MATURITY.get(title.get("age_rating") or "")
    if allowed is not None and level is not None:
        total += weights.age_rating * (level <= allowed)
        known += weights.age_rating
    return total / known if known else math.nan


# Worked out by hand, with the default weights 0.4 genres, 0.2 directors, 0.2 actors, 0.1 decade, 0.1 age rating


def test_all_traits_known() -> None:
    user = {
        "genres": ["Drama", "Crime", "Comedy"],
        "directors": ["Mann"],
        "actors": ["Pacino", "Kilmer"],
        "decades": ["1990s", "2000s"],
        "age_rating": "PG-13",
    }
    title = {
        "genres": ["Crime", "Action"],
        "directors": ["Scott", "Mann", "Lynch"],
        "actors": ["De Niro", "Judd", "Voight"],
        "decades": ["1990s"],
        "age_rating": "R",
    }
    # genres 1 of min(3, 2); directors 1 of 1; actors 0 of 2; decade 1 of 1; R is more mature than PG-13: 0
    assert one(user, title) == pytest.approx(0.4 / 2 + 0.2 + 0 + 0.1 + 0)
    # The other way round only the age rating differs.
    assert one(title, user) == pytest.approx(0.4 / 2 + 0.2 + 0 + 0.1 + 0.1)


def test_only_traits_that_both_declare_count() -> None:
    user = {"genres": ["Drama"], "actors": ["Judd"], "age_rating": "R"}
    title = {"genres": ["Drama", "War"], "directors": ["Mann"], "actors": ["Pacino"]}
    assert one(user, title) == pytest.approx(0.4 * 1 / (0.4 + 0.2))


def test_rows_do_not_leak_into_each_other() -> None:
    users = columns([{"genres": ["A"]}, {"genres": ["B", "C"]}, {"genres": None}, {"genres": ["C"]}])
    titles = columns([{"genres": ["B"]}, {"genres": ["C", "D", "E"]}, {"genres": ["C"]}, {"genres": ["C"]}])
    assert affinity(users, titles, WEIGHTS).tolist() == pytest.approx([0.0, 0.5, math.nan, 1.0], nan_ok=True)


def test_repeated_values_count_once() -> None:
    assert one({"genres": ["A", "A", "A"]}, {"genres": ["B", "A", "B"]}) == 1.0
    assert one({"genres": ["A", "A", "C"]}, {"genres": ["B", "A", "B"]}) == 0.5


def test_nulls_within_lists_do_not_count() -> None:
    assert one({"genres": [None, "A", "C"]}, {"genres": [None, "A", "B", "D"]}) == 0.5
    assert math.isnan(one({"genres": [None]}, {"genres": [None]}))


@pytest.mark.parametrize("nothing", [{}, {"genres": []}, {"genres": [None]}, {"age_rating": "unrated"}])
def test_nothing_comparable_is_unknown(nothing: Row) -> None:
    full = {"genres": ["A"], "directors": ["B"], "actors": ["C"], "decades": ["1990s"], "age_rating": "G"}
    assert math.isnan(one(nothing, full))
    assert math.isnan(one(full, nothing))


@pytest.mark.parametrize(
    ("allowed", "given_", "fits"),
    [("G", "G", 1), ("PG-13", "TV-14", 1), ("TV-MA", "R", 1), ("R", "G", 1), ("G", "PG", 0), ("R", "NC-17", 0)],
)
def test_age_ratings_of_film_and_television_are_one_scale(allowed: str, given_: str, fits: int) -> None:
    assert one({"age_rating": allowed}, {"age_rating": given_}) == fits


def test_the_same_word_in_two_traits_is_two_things() -> None:
    assert one({"directors": ["Eastwood"], "genres": ["X"]}, {"actors": ["Eastwood"], "genres": ["Y"]}) == 0.0


def test_weights_are_each_trait_s_own() -> None:
    weights = AffinityWeights(genres=0, directors=1, actors=2, decade=4, age_rating=8)
    user = {"genres": ["A"], "directors": ["B"], "actors": ["C"], "decades": ["D"], "age_rating": "R"}
    for trait, expected in zip((*LISTS, "age_rating"), (0, 1, 2, 4, 8), strict=True):
        title = {t: ["other"] for t in LISTS} | {"age_rating": "NC-17"} | {trait: user[trait]}
        assert one(user, title, weights) == expected / 15


def test_a_trait_of_weight_zero_alone_is_nothing() -> None:
    assert math.isnan(one({"genres": ["A"]}, {"genres": ["A"]}, AffinityWeights(genres=0)))


def test_chunked_and_sliced_columns() -> None:
    users: list[Row] = [{"genres": ["A", "B"], "age_rating": "R"}, {}, {"genres": ["C"], "age_rating": "G"}]
    titles: list[Row] = [
        {"genres": ["B", "C", "D"], "age_rating": "PG"},
        {"genres": ["A"]},
        {"genres": ["C"], "age_rating": "R"},
    ]
    expected = [in_plain_python(u, t, WEIGHTS) for u, t in zip(users, titles, strict=True)]
    assert expected == pytest.approx([0.3 / 0.5, math.nan, 0.4 / 0.5], nan_ok=True)
    left, right = ({k: pa.chunked_array([c[:1], c[1:]]) for k, c in columns(s).items()} for s in (users, titles))
    assert affinity(left, right, WEIGHTS).tolist() == pytest.approx(expected, nan_ok=True)
    left, right = ({k: c.slice(1) for k, c in columns(s).items()} for s in (users, titles))
    assert affinity(left, right, WEIGHTS).tolist() == pytest.approx(expected[1:], nan_ok=True)


def test_values_behind_a_null_list_do_not_count() -> None:
    masked = pa.ListArray.from_arrays(
        pa.array([0, 2, 3, 5], pa.int32()), pa.array(["A", "B", "C", "D", "E"]), mask=pa.array([False, True, False])
    )
    assert masked.to_pylist() == [["A", "B"], None, ["D", "E"]]
    rows, values = flat(masked)
    assert rows.tolist() == [0, 0, 2, 2]
    assert values.to_pylist() == ["A", "B", "D", "E"]
    score, comparable = overlap(masked, pa.array([["B"], ["C"], ["D", "X"]]))
    assert score.tolist() == [1.0, 0.0, 0.5]
    assert comparable.tolist() == [True, False, True]


def test_no_pairs() -> None:
    assert affinity(columns([]), columns([]), WEIGHTS).shape == (0,)


# Properties

values = st.one_of(st.none(), st.lists(st.one_of(st.none(), st.sampled_from("ABCDE")), max_size=6))
sides = st.fixed_dictionaries(
    dict.fromkeys(LISTS, values) | {"age_rating": st.sampled_from([None, "unrated", *MATURITY])}
)
pairs = st.lists(st.tuples(sides, sides), max_size=8)
weightings = st.lists(st.sampled_from([0.0, 0.1, 0.25, 1.0, 3.0]), min_size=5, max_size=5).filter(any)


def weighted(weights: list[float]) -> AffinityWeights:
    return AffinityWeights(**dict(zip(AffinityWeights.model_fields, weights, strict=True)))


@given(pairs, weightings)
def test_equals_plain_python_and_lies_within_0_and_1(rows: list[tuple[Row, Row]], weights: list[float]) -> None:
    found = affinity(columns([u for u, _ in rows]), columns([t for _, t in rows]), weighted(weights))
    assert found.tolist() == pytest.approx([in_plain_python(u, t, weighted(weights)) for u, t in rows], nan_ok=True)
    assert np.all(((found >= 0) & (found <= 1)) | np.isnan(found))


@given(pairs, st.randoms(use_true_random=False))
def test_independent_of_row_order(rows: list[tuple[Row, Row]], random: Any) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    found = affinity(columns([u for u, _ in rows]), columns([t for _, t in rows]), WEIGHTS)
    shuffled = affinity(columns([rows[i][0] for i in order]), columns([rows[i][1] for i in order]), WEIGHTS)
    assert np.array_equal(found[order], shuffled, equal_nan=True)


@given(sides, sides, st.sampled_from(LISTS), st.sampled_from("ABCDE"))
def test_one_more_match_never_lowers_it(user: Row, title: Row, trait: str, value: str) -> None:
    title = title | {trait: [*(title[trait] or []), value]}
    more = user | {trait: [*(user[trait] or []), value]}
    assert one(more, title) >= np.nan_to_num(one(user, title)) - 1e-12
