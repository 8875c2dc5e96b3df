"""One training: what each part of the model is learned from, and that what comes after it ends where training does."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from nextreel.model.estimate import Estimate
from nextreel.model.foldin import FoldIn
from nextreel.model.model import Model
from nextreel.model.recommend import recommend
from nextreel.model.solve import Rows
from nextreel.model.traits import Traits, take, without_traits
from nextreel.ratings.sources import SOURCES
from nextreel.settings import TrainSettings
from nextreel.train.dataset import Dataset, Profiles, dataset
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine
from nextreel.train.now import up_to_date

SETTINGS = TrainSettings(factors=8, iterations=4)
N_USERS, N_TITLES, GENRES = 60, 40, ("Drama", "War", "Comedy")


def table(rng: np.random.Generator, source: str, share: float) -> pa.Table:
    """Ratings of users who like one genre: the title's number modulo three, like the user's."""
    user, title = np.nonzero(rng.random((N_USERS, N_TITLES)) < share)
    rating = np.where(user % 3 == title % 3, 4.5, 2.0) + rng.integers(-1, 2, len(user)) / 2
    return pa.table(
        {
            "user_id": [f"u{u:02d}" for u in user],
            "content_id": [f"t{t:02d}" for t in title],
            "rating": rating,
            "source": pa.repeat(source, len(user)),
        }
    )


def likes(n: int) -> Traits:
    """Every fourth declares nothing."""
    values = [None if row % 4 == 3 else [GENRES[row % 3]] for row in range(n)]
    return {**without_traits(n), "genres": pa.array(values, pa.list_(pa.string()))}


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Some users and titles have no ratings, some users have only watched."""
    rng = np.random.default_rng(5)
    said, done = table(rng, "observed", 0.2), table(rng, "implicit", 0.1)
    ids = [[f"{kind}{n:02d}" for n in range(size)] for kind, size in (("u", N_USERS), ("t", N_TITLES))]
    both = dataset(pa.concat_tables([said, done]), *ids)
    _, first = np.unique(both.user.astype(np.int64) * N_TITLES + both.title, return_index=True)
    kept = np.isin(np.arange(len(both)), first) & (both.title >= 3) & (both.user >= 2)
    return both.where(kept & (both.implicit | (both.user >= 5)))


PROFILES = Profiles(likes(N_USERS), likes(N_TITLES))


@pytest.fixture(scope="module")
def model(data: Dataset) -> Model:
    return fit_model(data, SETTINGS, local_engine(), profiles=PROFILES)


def live(model: Model, data: Dataset, user: int) -> Estimate:
    """What the live path makes of one user, who comes with all that they rated and declare."""
    own = data.where(data.user == user)
    liking, stars = (Rows.of(np.zeros(len(d), int), d.title, d.rating, 1) for d in (own, own.where(~own.implicit)))
    new, solved = model.newcomers.users, FoldIn.of(model.titles, model.biases.mean, model.feedback).solve(liking, stars)
    return new.weigh(solved, liking.counts, stars.counts, new.expect(take(PROFILES.users, np.array([user]))))


def test_a_user_folded_in_is_as_trained(model: Model, data: Dataset) -> None:
    for user in range(N_USERS):
        found, expected = live(model, data, user), model.users.take(np.array([user]))
        np.testing.assert_allclose(found.ranking, expected.ranking, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.rating, expected.rating, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.bias, expected.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scaling", ["none", "all"])
def test_whatever_regularization_is_multiplied_with_a_user_folded_in_is_as_trained(data: Dataset, scaling: str) -> None:
    settings = SETTINGS.model_copy(update={"ranking_scaling": scaling, "ranking_regularization": 0.05})
    other = fit_model(data, settings, local_engine(), profiles=PROFILES)
    assert other.feedback.ranking_scaling == scaling
    for user in range(N_USERS):
        np.testing.assert_allclose(live(other, data, user).ranking[0], other.users.ranking[user], rtol=1e-3, atol=1e-4)
    own = np.unique(data.title[data.user == 20]).astype(np.int64)
    whole = FoldIn.of(other.titles, other.biases.mean, other.feedback)
    cells = Rows(np.array([0, len(own)]), own.astype(np.int32), np.full(len(own), 4.5, np.float32))
    among = Rows(cells.start, np.arange(len(own), dtype=np.int32), cells.values)
    given_own = whole.given(other.titles.take(own)).solve(among, among)
    np.testing.assert_allclose(given_own.ranking, whole.solve(cells, cells).ranking, rtol=1e-5, atol=1e-6)


def test_what_users_did_moves_the_order_but_no_predicted_rating(model: Model, data: Dataset) -> None:
    said_alone = fit_model(data.where(~data.implicit), SETTINGS, local_engine(), profiles=PROFILES)
    np.testing.assert_array_equal(said_alone.rating_factors.titles, model.rating_factors.titles)
    np.testing.assert_array_equal(said_alone.biases.users, model.biases.users)
    assert not np.allclose(said_alone.ranking_factors.titles, model.ranking_factors.titles, atol=1e-3)


def test_where_nobody_rates_deeds_are_what_there_is(data: Dataset) -> None:
    deeds = fit_model(data.where(data.implicit), SETTINGS, local_engine(), profiles=PROFILES)
    assert 2.0 < deeds.biases.mean < 4.5
    assert deeds.known_users[deeds.activity > 0].all()


def test_activity_and_popularity_count_what_users_said_and_did(model: Model, data: Dataset) -> None:
    np.testing.assert_array_equal(model.activity, np.bincount(data.user, minlength=N_USERS))
    np.testing.assert_array_equal(model.popularity, np.bincount(data.title, minlength=N_TITLES))
    assert (model.activity[:2] == 0).all()
    assert model.known_users[0], "by what they declare"


def test_preferences_decide_where_there_is_nothing_else(model: Model) -> None:
    scores = model.ranking_factors.users[0] @ model.ranking_factors.titles[3:].T
    genre = np.arange(3, N_TITLES) % 3
    assert scores[genre == 0].mean() > scores[genre != 0].mean()
    own = model.ranking_factors.users[30] @ model.ranking_factors.titles[:3].T
    assert own.argmax() == 0, "titles without ratings are ordered by their genres"


# What comes after it


def with_newcomers(data: Dataset) -> tuple[Dataset, Profiles]:
    """The data, three users and two titles later: of each the first has the traits of group 1, the second none.

    The third user has no traits, but likes the titles of group 2. The first user of all has come to like group 0.
    """
    users = pa.concat_arrays([data.user_ids, pa.array(["u97", "u98", "u99"])])
    titles = pa.concat_arrays([data.title_ids, pa.array(["t98", "t99"])])
    their = [(u, t) for u, group in ((N_USERS + 2, 2), (0, 0)) for t in range(3, N_TITLES) if t % 3 == group]
    ratings = pa.table(
        {
            "user_id": users.take(pa.array([u for u, _ in their])),
            "content_id": titles.take(pa.array([t for _, t in their])),
            "rating": [5.0] * len(their),
            "source": ["observed"] * len(their),
        }
    )
    now = replace(data, user_ids=users, title_ids=titles)
    return now.plus(now.among(ratings)), Profiles(
        longer(PROFILES.users, [["War"], None, None]), longer(PROFILES.titles, [["War"], None])
    )


def longer(traits: Traits, genres: list[list[str] | None]) -> Traits:
    more = {**without_traits(len(genres)), "genres": pa.array(genres, pa.list_(pa.string()))}
    return {name: pa.concat_arrays([column, more[name]]) for name, column in traits.items()}


def test_refreshed_with_what_it_was_trained_with_a_model_is_itself(model: Model, data: Dataset) -> None:
    found = up_to_date(model, data, PROFILES)
    assert (found.user_ids, found.title_ids) == (model.user_ids, model.title_ids)
    for side in ("users", "titles"):
        for part in ("ranking", "rating", "bias"):
            old, new = (getattr(getattr(m, side), part) for m in (model, found))
            np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.popularity, model.popularity)
    np.testing.assert_array_equal(found.activity, model.activity)
    assert found.newcomers is model.newcomers


def test_newcomers_have_what_their_traits_let_expect(model: Model, data: Dataset) -> None:
    now, profiles = with_newcomers(data)
    found = up_to_date(model, now, profiles)
    for side, first in (("users", N_USERS), ("titles", N_TITLES)):
        rows = np.arange(first, first + 2)
        expected = getattr(model.newcomers, side).expect(take(getattr(profiles, side), rows))
        for part in ("ranking", "rating", "bias"):
            np.testing.assert_array_equal(getattr(getattr(found, side).take(rows), part), getattr(expected, part))
    assert found.known_users[-3:].tolist() == [True, False, True]
    np.testing.assert_array_equal(found.titles.take(np.arange(N_TITLES)).ranking, model.titles.ranking)


def test_new_ratings_count_and_nobody_elses(model: Model, data: Dataset) -> None:
    found = up_to_date(model, *with_newcomers(data))
    genre = np.arange(3, N_TITLES) % 3

    def share(m: Model, user: int) -> list[float]:
        scores = m.ranking_factors.users[user] @ m.ranking_factors.titles[3:N_TITLES].T
        return [float(scores[genre == g].mean()) for g in range(3)]

    assert np.argmax(share(found, N_USERS + 2)) == 2
    assert share(found, 0)[0] > share(model, 0)[0]
    assert found.activity[[0, N_USERS, N_USERS + 2]].tolist() == [13, 0, 12]
    assert found.popularity.sum() == model.popularity.sum() + 25
    # What predicts ratings depends on own ones alone; what ranks on all titles, the new ones too.
    np.testing.assert_allclose(found.rating_factors.users[1:N_USERS], model.rating_factors.users[1:], atol=1e-5)


def test_a_new_title_is_recommended_to_somebody_who_likes_its_kind(model: Model, data: Dataset) -> None:
    now, profiles = with_newcomers(data)
    found = recommend(up_to_date(model, now, profiles), np.arange(now.n_users), 10, now.pairs(), np.ones(42, np.bool_))
    given = np.flatnonzero((found.titles == N_TITLES).any(axis=1))
    assert len(given) > 3
    assert np.mean(given % 3 == 1) > 0.5
    assert not (found.titles == N_TITLES + 1).any(), "nothing is known of the other"
    assert found.strategy[-3:].tolist() == ["preferences", "popular", "personal"]


def test_who_is_gone_is_left_out(model: Model, data: Dataset) -> None:
    kept = (data.user != 7) & (data.title != 9)
    ratings = pa.table(
        {
            "user_id": data.user_ids.take(pa.array(data.user[kept])),
            "content_id": data.title_ids.take(pa.array(data.title[kept])),
            "rating": data.rating[kept],
            "source": pa.array(SOURCES).take(pa.array(data.source[kept])),
        }
    )
    fewer = dataset(ratings)
    found = up_to_date(model, fewer, Profiles.unknown(fewer.n_users, fewer.n_titles))
    assert "u07" not in found.user_ids.to_pylist()
    assert "t09" not in found.title_ids.to_pylist()
    row = [model.title_ids.index(title).as_py() for title in found.title_ids]
    np.testing.assert_array_equal(found.titles.ranking, model.titles.ranking[row])
