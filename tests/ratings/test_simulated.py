"""Simulated ratings: on the scale, after the formula, distributed as real ones, one user's whatever others' are."""

from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from nextreel.ratings.affinity import affinity
from nextreel.ratings.simulated import TRAITS, Simulator, normal_scores
from nextreel.settings import RatingsSettings

STRINGS = pa.list_(pa.string())
GENRES = np.array([f"genre {i}" for i in range(10)])
PEOPLE = np.array([f"person {i}" for i in range(40)])
AGES = np.array(["G", "PG", "PG-13", "R", "NC-17"])


def side(key: str, prefix: str, n: int, seed: int) -> pa.Table:
    """Users or titles with random traits, some of them null."""
    rng = np.random.default_rng(seed)

    def lists(choices: NDArray[np.str_], most: int) -> pa.Array:
        drawn = [rng.choice(choices, rng.integers(0, most + 1), replace=False).tolist() for _ in range(n)]
        return pa.array([own or None for own in drawn], STRINGS)

    return pa.table(
        {
            key: [f"{prefix}{i}" for i in range(n)],
            "genres": lists(GENRES, 4),
            "directors": lists(PEOPLE, 2),
            "actors": lists(PEOPLE, 3),
            "decades": lists(np.array(["1980s", "1990s", "2000s"]), 1),
            "age_rating": pa.array(rng.choice(AGES, n).tolist(), mask=rng.random(n) < 0.2),
        }
    )


USERS, TITLES = side("user_id", "u", 150, 1), side("content_id", "t", 300, 2)


def batch(users: pa.Table) -> pa.RecordBatch:
    return users.combine_chunks().to_batches()[0]


def simulate(users: pa.Table = USERS, titles: pa.Table = TITLES, **settings: float) -> pa.RecordBatch:
    return Simulator.of(titles, RatingsSettings(**settings)).ratings(batch(users))


def by_pair(ratings: pa.RecordBatch, value: str = "rating") -> dict[tuple[str, str], float]:
    rows = zip(*(ratings.column(c).to_pylist() for c in ("user_id", "content_id", value)), strict=True)
    found = {(user, title): rating for user, title, rating in rows}
    assert len(found) == ratings.num_rows
    return found


def fit(ratings: pa.RecordBatch) -> NDArray[np.float64]:
    """The affinity of the rated pairs."""
    users = USERS.take(pc.index_in(ratings.column("user_id"), USERS["user_id"].combine_chunks()))
    titles = TITLES.take(pc.index_in(ratings.column("content_id"), TITLES["content_id"].combine_chunks()))
    return affinity({t: users[t] for t in TRAITS}, {t: titles[t] for t in TRAITS}, RatingsSettings().weights)


def test_on_the_scale_in_half_stars() -> None:
    ratings = simulate(noise=2.0, simulated_spread=2.0)
    assert ratings.schema.names == ["user_id", "content_id", "rating", "liking"]
    for name in ("rating", "liking"):
        assert set(ratings.column(name).to_numpy().tolist()) == {i / 2 for i in range(1, 11)}


def test_without_noise_liking_is_the_formula() -> None:
    ratings = simulate(noise=0.0)
    expected = np.round((0.5 + 4.5 * fit(ratings)) * 2) / 2
    assert ratings.column("liking").to_numpy().tolist() == expected.tolist()
    assert len(set(expected.tolist())) > 5


def test_stars_are_distributed_as_those_that_people_give() -> None:
    stars = simulate().column("rating").to_numpy()
    assert stars.mean() == pytest.approx(3.54, abs=0.05)  # ml-latest-small's, and its standard deviation
    assert stars.std() == pytest.approx(1.06, abs=0.07)


def test_mean_and_spread_of_stars_are_as_set() -> None:
    stars = simulate(simulated_mean=2.75, simulated_spread=0.5).column("rating").to_numpy()
    assert stars.mean() == pytest.approx(2.75, abs=0.02)
    assert stars.std() == pytest.approx(np.sqrt(0.5**2 + 0.5**2 / 12), abs=0.03)  # with the rounding's own
    assert set(simulate(simulated_spread=0.0, simulated_mean=4.0).column("rating").to_pylist()) == {4.0}


def test_a_user_s_titles_keep_their_order() -> None:
    ratings = simulate(noise=0.0, per_user=40)
    users, affinities, stars = ratings.column("user_id").to_pylist(), fit(ratings), ratings.column("rating").to_numpy()
    for user in set(users):
        own = np.array([u == user for u in users])
        in_order = stars[own][np.argsort(affinities[own])]
        assert np.all(np.diff(in_order) >= 0)
        assert in_order[-1] > in_order[0] or len(set(affinities[own].tolist())) < 3


def test_normal_scores_by_hand() -> None:
    normal = NormalDist()
    group, values = np.array([0, 0, 0, 0, 2, 2, 2, 5]), np.array([0.3, 0.1, 0.9, 0.2, 7.0, 7.0, -1.0, 4.0])
    shares = [5 / 8, 1 / 8, 7 / 8, 3 / 8, 4 / 6, 4 / 6, 1 / 6, 1 / 2]
    assert normal_scores(group, values).tolist() == [normal.inv_cdf(share) for share in shares]
    assert normal_scores(group[:0], values[:0]).shape == (0,)


def test_known_answers_without_noise() -> None:
    titles = pa.table(
        {
            "content_id": ["t1", "t2", "t3"],
            "genres": pa.array([["A"], ["B"], ["A", "B", "C"]], STRINGS),
            **{t: pa.nulls(3, STRINGS) for t in ("directors", "actors", "decades")},
            "age_rating": ["R", "G", "R"],
        }
    )
    user = pa.table(
        {
            "user_id": ["u1"],
            "genres": pa.array([["A", "X"]], STRINGS),
            **{t: pa.nulls(1, STRINGS) for t in ("directors", "actors", "decades")},
            "age_rating": ["PG"],
        }
    )
    found = by_pair(simulate(user, titles, noise=0.0, per_user=1000))
    # The best of three, the worst, and the one between, of N(3.6, 1.1): 3.6 ± 1.1 · 0.967 = 4.66, 2.54
    assert found == {("u1", "t1"): 4.5, ("u1", "t2"): 2.5, ("u1", "t3"): 3.5}
    # (0.4 · 1 + 0.1 · 0) / 0.5 = 0.8: 4.1; (0.4 · 0 + 0.1 · 1) / 0.5 = 0.2: 1.4; (0.4 / 2 + 0) / 0.5 = 0.4: 2.3
    liking = by_pair(simulate(user, titles, noise=0.0, per_user=1000), "liking")
    assert liking == {("u1", "t1"): 4.0, ("u1", "t2"): 1.5, ("u1", "t3"): 2.5}


def test_liking_follows_affinity_and_noise_is_as_large_as_set() -> None:
    ratings = simulate(noise=0.35)
    affinities, stars = fit(ratings), ratings.column("liking").to_numpy()
    assert np.corrcoef(affinities, stars)[0, 1] > 0.9
    inside = (affinities > 0.35) & (affinities < 0.65)  # far from where the scale cuts off
    off = (stars - 0.5 - 4.5 * affinities)[inside]
    assert abs(off.mean()) < 0.06
    assert off.std() == pytest.approx(np.sqrt(0.35**2 + 0.5**2 / 12), abs=0.05)  # with the rounding's own


def test_the_same_whatever_the_order_of_users_and_titles() -> None:
    rng = np.random.default_rng(3)
    users, titles = USERS.take(rng.permutation(150)), TITLES.take(rng.permutation(300))
    assert by_pair(simulate(users, titles)) == by_pair(simulate())


def test_the_same_however_users_are_batched() -> None:
    simulator = Simulator.of(TITLES, RatingsSettings())
    parts = [by_pair(simulator.ratings(batch(USERS.slice(start, 40)))) for start in range(0, 150, 40)]
    assert {pair: rating for part in parts for pair, rating in part.items()} == by_pair(simulate())


def test_the_seed_changes_pairs_and_noise() -> None:
    first, second = by_pair(simulate(seed=1)), by_pair(simulate(seed=2))
    both = first.keys() & second.keys()
    assert first.keys() != second.keys()
    assert any(first[pair] != second[pair] for pair in both)


def test_what_cannot_be_compared_is_not_rated() -> None:
    silent = USERS.slice(0, 2).to_pylist()
    silent[0] |= dict.fromkeys(TRAITS)
    bare = TITLES.slice(0, 3).to_pylist()
    bare[0] |= dict.fromkeys(TRAITS)
    users, titles = pa.Table.from_pylist(silent, USERS.schema), pa.Table.from_pylist(bare, TITLES.schema)
    found = by_pair(simulate(users, titles, per_user=100))
    assert {user for user, _ in found} == {silent[1]["user_id"]}
    assert {title for _, title in found} <= {t["content_id"] for t in bare[1:]}
    assert found


def test_no_more_than_per_user() -> None:
    ratings = simulate(per_user=4)
    counts = [c["counts"] for c in ratings.column("user_id").value_counts().to_pylist()]
    assert max(counts) == 4
    assert len(counts) == 150


def test_a_catalogue_in_chunks() -> None:
    assert by_pair(simulate(titles=pa.concat_tables([TITLES.slice(100), TITLES.slice(0, 100)]))) == by_pair(simulate())


def test_no_users_and_no_titles() -> None:
    assert simulate(titles=TITLES.slice(0, 0)).num_rows == 0
    none = pa.RecordBatch.from_arrays([c.combine_chunks()[:0] for c in USERS.columns], names=USERS.column_names)
    assert Simulator.of(TITLES, RatingsSettings()).ratings(none).num_rows == 0
