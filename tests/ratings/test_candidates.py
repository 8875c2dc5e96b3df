"""Candidates: which pairs get a simulated rating."""

import tracemalloc
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from nextreel.ratings.candidates import TitleFiles, candidates, hashed

STRINGS = pa.list_(pa.string())
GENRES = [f"genre {i}" for i in range(12)]
SEED = 3

Lists = list[list[str] | None]


def traits(genres: Lists, actors: Lists | None = None) -> dict[str, pa.Array]:
    nothing = pa.nulls(len(genres), STRINGS)
    given = nothing if actors is None else pa.array(actors, STRINGS)
    return {"genres": pa.array(genres, STRINGS), "directors": nothing, "actors": given, "decades": nothing}


def ids(prefix: str, n: int) -> pa.StringArray:
    return pa.array([f"{prefix}{i}" for i in range(n)])


def some(n: int, most: int, rng: np.random.Generator) -> Lists:
    lists: Lists = [rng.choice(GENRES, rng.integers(0, most + 1), replace=False).tolist() for _ in range(n)]
    return [own or None for own in lists]


@pytest.fixture(scope="module")
def files() -> TitleFiles:
    return TitleFiles.of(traits(some(500, 3, np.random.default_rng(1))))


def test_files_hold_each_title_under_each_of_its_traits_and_everything() -> None:
    files = TitleFiles.of(traits([["War", "Drama"], None, ["Drama", None]], [["Judd"], ["Judd"], []]))  # type: ignore[list-item]
    found = {
        name: files.titles[files.start[i] : files.start[i + 1]].tolist()
        for i, name in enumerate(files.names.to_pylist())
    }
    assert found == {"everything": [0, 1, 2], "genres War": [0], "genres Drama": [0, 2], "actors Judd": [0, 1]}


@pytest.mark.parametrize("per_user", [1, 2, 7, 40])
def test_distinct_and_at_most_per_user(files: TitleFiles, per_user: int) -> None:
    users = traits(some(200, 5, np.random.default_rng(2)))
    user, title = candidates(ids("u", 200), users, files, per_user, SEED)
    pairs = list(zip(user.tolist(), title.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert pairs == sorted(pairs)
    counts = Counter(user.tolist())
    assert set(counts) == set(range(200))
    assert max(counts.values()) <= per_user
    assert np.all((title >= 0) & (title < 500))


def test_users_get_mostly_what_they_like_and_some_of_the_rest() -> None:
    titles = traits([[GENRES[i % 12]] for i in range(1200)])  # a twelfth of the titles each
    users = traits([[GENRES[i % 12]] for i in range(300)])
    user, title = candidates(ids("u", 300), users, TitleFiles.of(titles), 40, SEED)
    liked = title % 12 == user % 12
    assert 0.6 < liked.mean() < 0.85
    assert len(user) > 0.85 * 40 * 300


def test_users_without_preferences_get_contrast(files: TitleFiles) -> None:
    user, _ = candidates(ids("u", 30), traits([None] * 30), files, 10, SEED)
    counts = np.bincount(user, minlength=30)
    assert np.all((counts >= 1) & (counts <= 3))  # three tenths of ten draws, repeats dropped


def test_preferences_that_no_title_has_are_no_preferences(files: TitleFiles) -> None:
    unknown = candidates(ids("u", 30), traits([["no such genre"]] * 30), files, 10, SEED)
    without = candidates(ids("u", 30), traits([None] * 30), files, 10, SEED)
    assert [a.tolist() for a in unknown] == [a.tolist() for a in without]


def test_independent_of_the_order_of_users_and_of_who_else_is_there(files: TitleFiles) -> None:
    rng = np.random.default_rng(4)
    genres = some(100, 5, rng)
    order = rng.permutation(100)[:60]
    user, title = candidates(ids("u", 100), traits(genres), files, 12, SEED)
    names = [f"u{i}" for i in order]
    few, of_few = candidates(pa.array(names), traits([genres[i] for i in order]), files, 12, SEED)
    expected = {(f"u{u}", t) for u, t in zip(user.tolist(), title.tolist(), strict=True) if u in set(order.tolist())}
    assert {(names[u], t) for u, t in zip(few.tolist(), of_few.tolist(), strict=True)} == expected


def test_the_seed_and_the_user_change_them(files: TitleFiles) -> None:
    users = traits([["genre 1", "genre 2"]] * 2)
    user, title = candidates(ids("u", 2), users, files, 20, SEED)
    _, other = candidates(ids("u", 2), users, files, 20, SEED + 1)
    assert title.tolist() != other.tolist()
    assert title[user == 0].tolist() != title[user == 1].tolist()


def test_no_users_or_no_titles(files: TitleFiles) -> None:
    for users, catalogue in ((traits([]), files), (traits([["genre 1"]]), TitleFiles.of(traits([])))):
        user, title = candidates(ids("u", len(users["genres"])), users, catalogue, 5, SEED)
        assert (user.shape, title.shape) == ((0,), (0,))


def test_fewer_titles_than_draws_gives_each_at_most_once() -> None:
    files = TitleFiles.of(traits([["genre 1"], ["genre 1"], ["genre 2"]]))
    user, title = candidates(ids("u", 50), traits([["genre 1"]] * 50), files, 40, SEED)
    assert np.bincount(user).max() <= 3
    assert set(title.tolist()) == {0, 1, 2}


def test_work_does_not_grow_with_users_times_titles() -> None:
    n_users, n_titles = 2_000, 40_000
    rng = np.random.default_rng(5)
    files = TitleFiles.of(traits([[GENRES[i]] for i in rng.integers(0, 12, n_titles)]))
    users = traits([[GENRES[i]] for i in rng.integers(0, 12, n_users)])
    tracemalloc.start()
    try:
        user, _ = candidates(ids("u", n_users), users, files, 10, SEED)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(user) <= 10 * n_users
    assert peak < n_users * n_titles / 4  # not even a quarter of a byte for each of all pairs


def test_hashes_are_the_same_on_every_machine() -> None:
    assert hashed(pa.array(["u1", "ü", ""])).tolist() == hashed(pa.chunked_array([["u1"], ["ü", ""]])).tolist()
    assert len(set(hashed(ids("u", 10_000)).tolist())) == 10_000


def test_a_new_title_hardly_changes_what_others_are_drawn() -> None:
    genres: Lists = [[GENRES[i % 12]] for i in range(1200)]
    users = traits([[GENRES[i % 12]] for i in range(100)])
    user, title = candidates(ids("u", 100), users, TitleFiles.of(traits(genres)), 40, SEED)
    newer = TitleFiles.of(traits([["a new genre"], *genres]))
    user_now, title_now = candidates(ids("u", 100), users, newer, 40, SEED)
    before = {(u, t) for u, t in zip(user.tolist(), title.tolist(), strict=True) if u % 12 == t % 12}
    now = set(zip(user_now.tolist(), (title_now - 1).tolist(), strict=True))
    assert len(before & now) > 0.9 * len(before)
