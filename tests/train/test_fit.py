"""One training: what each part of the model is learned from, and that live updates end where training does."""

import numpy as np
import pyarrow as pa
import pytest

from nextreel.model.estimate import Estimate
from nextreel.model.foldin import FoldIn
from nextreel.model.model import Model
from nextreel.model.solve import Rows
from nextreel.model.traits import Traits, take, without_traits
from nextreel.settings import TrainSettings
from nextreel.train.dataset import Dataset, Profiles, dataset
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine

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
