"""Cold start: judged on users and titles of a synthetic world with few ratings in training or none, and odd cases."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nextreel.events.world import World, WorldConfig
from nextreel.model.arrays import Floats, Ints, Mask
from nextreel.model.cold import Side, learn_titles, learn_users
from nextreel.model.estimate import Estimate, TraitModel
from nextreel.model.model import Model
from nextreel.model.rank import Catalogue
from nextreel.model.traits import Traits, aligned, take
from nextreel.settings import TrainSettings
from nextreel.train.dataset import Dataset, Profiles, dataset
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine

SETTINGS = TrainSettings()
N_INTERACTIONS = 100_000
K = 10


@dataclass(frozen=True)
class Judged:
    """A model that has seen the ratings of ``train`` alone, one that knows of no traits besides, and what was held out.

    ``cold`` are the rows, of users or of titles, whose ratings were held out.
    """

    model: Model
    traitless: Model
    train: Dataset
    test: Dataset
    cold: Mask

    @property
    def who(self) -> Ints:
        """Users for whom there is something to find."""
        return np.unique(self.test.user[self.test.rating >= SETTINGS.relevant_rating]).astype(np.int64)


@dataclass(frozen=True)
class Everything:
    """All ratings of a world and the traits of its users and titles, by the rows of the ratings' ids."""

    ratings: Dataset
    profiles: Profiles

    def held_out(self, out: Mask, cold: Mask) -> Judged:
        train = self.ratings.where(~out)
        fit = partial(fit_model, train, SETTINGS, local_engine())
        return Judged(fit(profiles=self.profiles), fit(), train, self.ratings.where(out), cold)


@pytest.fixture(scope="module")
def everything() -> Everything:
    config = WorldConfig(n_users=800, n_movies=300, n_series=150, n_interactions=N_INTERACTIONS)
    world = World(config)
    said = world.events("interaction", 0, N_INTERACTIONS)
    said = pa.Table.from_batches([said.filter(pc.equal(said["evento"], "rate"))])
    newest = said.group_by(["id_usuario", "id_contenido"], use_threads=False).aggregate([("calificacion", "last")])
    rated = newest.rename_columns(["user_id", "content_id", "rating"])
    rated = rated.append_column("source", pa.repeat("observed", rated.num_rows))
    ratings = dataset(rated, world.user_ids.to_pylist(), world.title_ids.to_pylist())
    users = traits(pa.Table.from_batches([world.events("user", 0, config.n_users)]))
    movies = traits(pa.Table.from_batches([world.events("movie", 0, config.n_movies)]))
    series = traits(pa.Table.from_batches([world.events("series", 0, config.n_series)]))
    titles = pa.concat_tables([movies, series])
    return Everything(
        ratings, Profiles(aligned(users, "id", ratings.user_ids), aligned(titles, "id", ratings.title_ids))
    )


def traits(events: pa.Table) -> pa.Table:
    lists = {"genres": "generos", "directors": "directores", "actors": "actores", "decades": "decadas_favoritas"}
    found = {"id": events["id"], "age_rating": events["clasificacion"]}
    found |= {trait: events[name] for trait, name in lists.items() if name in events.column_names}
    if "decades" not in found:
        decade = events["decada_lanzamiento"].to_pylist()
        found["decades"] = pa.chunked_array([pa.array([[d] if d else None for d in decade], pa.list_(pa.string()))])
    return pa.table(found)


@pytest.fixture(scope="module")
def cold_users(everything: Everything) -> Judged:
    cold = np.random.default_rng(0).random(everything.ratings.n_users) < 0.25
    return everything.held_out(cold[everything.ratings.user], cold)


@pytest.fixture(scope="module")
def cold_titles(everything: Everything) -> Judged:
    cold = np.random.default_rng(0).random(everything.ratings.n_titles) < 0.2
    return everything.held_out(cold[everything.ratings.title], cold)


def ndcg(judged: Judged, lists: Ints) -> float:
    """Mean nDCG@10 with binary gains of lists for `Judged.who`."""
    relevant = judged.test.where(judged.test.rating >= SETTINGS.relevant_rating)
    wanted = relevant.user.astype(np.int64) * relevant.n_titles + relevant.title
    hits = np.isin(judged.who[:, None] * relevant.n_titles + lists, wanted) & (lists >= 0)
    discount = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(discount)[np.minimum(np.bincount(relevant.user)[judged.who], K) - 1]
    return float(((hits * discount).sum(1) / ideal).mean())


def rmse(model: Model, test: Dataset) -> float:
    return float(np.sqrt(np.mean((model.predict(test.user, test.title) - test.rating) ** 2)))


def personal_or_popular(model: Model, users: Ints) -> Ints:
    """Lists of the model's factors, popular ones for who has none."""
    own = Catalogue.of(model.ranking_factors.titles).top_k(model.ranking_factors.users[users], K)[0]
    return np.where(model.known_users[users, None], own, popular(model, users))


def popular(model: Model, users: Ints) -> Ints:
    return Catalogue.of(model.popularity[:, None]).top_k(np.ones((len(users), 1), np.float32), K)[0]


def test_users_without_ratings_are_ranked_better_than_by_popularity(cold_users: Judged) -> None:
    model, users = cold_users.model, cold_users.who
    assert not cold_users.traitless.known_users[users].any()
    assert model.known_users[users].mean() > 0.8  # all but those who declare nothing
    assert ndcg(cold_users, personal_or_popular(model, users)) > 1.5 * ndcg(cold_users, popular(model, users))


def test_ratings_of_users_without_ratings_are_predicted_better_than_by_biases(cold_users: Judged) -> None:
    assert rmse(cold_users.model, cold_users.test) < 0.95 * rmse(cold_users.traitless, cold_users.test)


def test_few_users_with_ratings_are_enough(everything: Everything) -> None:
    order = np.random.default_rng(0).permutation(everything.ratings.n_users)
    cold = ~np.isin(np.arange(everything.ratings.n_users), order[:60])
    judged = everything.held_out(cold[everything.ratings.user], cold)
    lists = personal_or_popular(judged.model, judged.who)
    assert ndcg(judged, lists) > 1.3 * ndcg(judged, popular(judged.model, judged.who))


@pytest.mark.parametrize("n_kept", [1, 3, 8])
def test_few_ratings_do_not_make_lists_worse_than_none(everything: Everything, cold_users: Judged, n_kept: int) -> None:
    """As they did when a user's first ratings alone decided: `nextreel.model.estimate`."""
    ratings = everything.ratings
    order = np.random.default_rng(1).permutation(len(ratings))
    place = np.empty(len(ratings), np.int64)
    by_user = order[np.argsort(ratings.user[order], kind="stable")]
    place[by_user] = np.arange(len(ratings)) - np.searchsorted(ratings.user[by_user], ratings.user[by_user])
    judged = everything.held_out(cold_users.cold[ratings.user] & (place >= n_kept), cold_users.cold)
    users = judged.who

    def of(model: Model) -> float:
        seen = judged.train.pairs().rows(users)
        return ndcg(
            judged, Catalogue.of(model.ranking_factors.titles).top_k(model.ranking_factors.users[users], K, seen)[0]
        )

    without_them = ndcg(judged, personal_or_popular(cold_users.model, users))
    assert of(judged.model) > 0.95 * without_them
    assert of(judged.model) > of(judged.traitless)


def test_titles_without_ratings_find_who_likes_them(cold_titles: Judged) -> None:
    """Among themselves; their popularity is 0 for all, which leaves an order of chance."""
    cold, users = cold_titles.cold, cold_titles.who
    ours = cold_titles.model.ranking_factors

    def best(titles: Floats, of: Floats) -> float:
        catalogue = Catalogue.of(titles)
        return ndcg(cold_titles, catalogue.top_k(of, K, None, catalogue.filter(cold))[0])

    by_traits = best(ours.titles, ours.users[users])
    by_popularity = best(cold_titles.model.popularity[:, None], np.ones((len(users), 1), np.float32))
    drawn = np.random.default_rng(0).random((len(users), cold.sum())).argsort(axis=1)[:, :K]
    by_chance = ndcg(cold_titles, np.flatnonzero(cold)[drawn])
    assert by_traits > 2.5 * by_chance
    assert by_traits > 2 * by_popularity


def shown(judged: Judged, model: Model) -> Ints:
    """Everybody's lists."""
    factors, users = model.ranking_factors, np.flatnonzero(model.known_users)
    return Catalogue.of(factors.titles).top_k(factors.users[users], K, judged.train.pairs().rows(users))[0]


def test_a_boost_gives_titles_without_ratings_about_their_part_of_the_places(
    everything: Everything, cold_titles: Judged
) -> None:
    cold = cold_titles.cold
    boosted, plain = (
        fit_model(
            cold_titles.train,
            SETTINGS.model_copy(update={"new_title_boost": boost}),
            local_engine(),
            profiles=everything.profiles,
        )
        for boost in (1.0, 0.0)
    )
    lists = shown(cold_titles, boosted)
    assert 0.4 * cold.mean() < cold[lists].mean() < 2 * cold.mean()
    most = np.bincount(lists.ravel()).max()
    assert np.bincount(lists[cold[lists]]).max() < most
    assert len(np.unique(lists[cold[lists]])) > 0.4 * cold.sum()
    assert cold[shown(cold_titles, plain)].mean() < cold[lists].mean()


def test_ratings_of_titles_without_ratings_are_predicted_better_than_by_biases(cold_titles: Judged) -> None:
    assert rmse(cold_titles.model, cold_titles.test) < 0.95 * rmse(cold_titles.traitless, cold_titles.test)


def test_the_same_is_learned_each_time(everything: Everything, cold_users: Judged) -> None:
    again = everything.held_out(cold_users.cold[everything.ratings.user], cold_users.cold).model.newcomers.users
    known = cold_users.model.newcomers.users
    np.testing.assert_array_equal(again.ranking.coefficients, known.ranking.coefficients)
    assert again.vocabulary.names.equals(known.vocabulary.names)


def assert_0(found: Estimate) -> None:
    assert not any(values.any() for values in (found.ranking, found.rating, found.bias))


def test_of_nothing_known_0_is_expected(cold_users: Judged) -> None:
    lists = pa.nulls(2, pa.list_(pa.string()))
    strangers = {
        "genres": pa.array([["Opera buffa"], None], pa.list_(pa.string())),
        **dict.fromkeys(("directors", "actors", "decades"), lists),
        "age_rating": pa.array([None, "X"]),
    }
    assert_0(cold_users.model.newcomers.users.expect(strangers))


# Odd cases: three users and four titles, with two factors that rank and one that predicts


def f32(values: object) -> Floats:
    return np.array(values, np.float32)


USERS = Estimate(f32([[-1, 1], [0, 0], [0, 0]]), f32([[1], [0], [0]]), f32([0.5, 0.0, 0.0]))
TITLES = Estimate(f32([[1, 0.2], [2, 0.1], [0, 0], [0, 0]]), f32([[0.5], [0.1], [0], [0]]), f32([0.1, 0.2, 0.0, 0.0]))


def genres(*values: list[str] | None) -> Traits:
    n = len(values)
    none = dict.fromkeys(("directors", "actors", "decades"), pa.nulls(n, pa.list_(pa.string())))
    return {"genres": pa.array(values, pa.list_(pa.string())), **none, "age_rating": pa.nulls(n, pa.string())}


def assert_expects_0(learned: TraitModel, n: int) -> None:
    found = learned.expect(genres(*[["Drama"]] * n))
    assert (found.ranking.shape, found.rating.shape, found.bias.shape) == ((n, 2), (n, 1), (n,))
    assert_0(found)


DRAMAS, UNKNOWN = genres(*[["Drama"]] * 4), genres(*[None] * 4)


@pytest.mark.parametrize(
    ("n_ratings", "traits"), [([0, 0, 0, 0], DRAMAS), ([5, 0, 0, 0], DRAMAS), ([5, 3, 1, 0], UNKNOWN)]
)
def test_too_little_to_learn_from(n_ratings: list[int], traits: Traits) -> None:
    """No title has ratings, one has, or they have no traits."""
    titles = Side(np.array(n_ratings), traits, TITLES)
    users = Side(np.array(n_ratings[:3]), take(traits, np.arange(3)), USERS)
    assert_expects_0(learn_titles(titles, 1.0), 2)
    assert_expects_0(learn_users(users, titles), 2)


def test_users_can_be_learned_without_titles_that_have_ratings() -> None:
    users = Side(np.array([4, 2, 0]), genres(["Drama"], ["Drama", "War"], None), USERS)
    found = learn_users(users, Side(np.zeros(4, np.int64), DRAMAS, TITLES)).expect(genres(["Drama"]))
    assert np.isfinite(found.ranking).all()
    assert found.ranking.any()


def test_of_titles_of_one_trait_their_weighted_mean_is_expected() -> None:
    """With 5 and 3 ratings weights are 1/3 and 3/13; lengths go up to that of the weighted median title, the first."""
    learned = learn_titles(Side(np.array([5, 3, 0, 0]), DRAMAS, TITLES), 1.0)
    found = learned.expect(genres(["Drama"]))
    first = (1 / 3) / (1 / 3 + 3 / 13)
    mean = first * TITLES.ranking[0] + (1 - first) * TITLES.ranking[1]
    np.testing.assert_allclose(learned.average, mean, rtol=1e-5)
    np.testing.assert_allclose(found.ranking[0], mean * np.sqrt(1.04) / np.linalg.norm(mean), rtol=1e-5)
    np.testing.assert_allclose(found.rating, [[first * 0.5 + (1 - first) * 0.1]], rtol=1e-5)
    np.testing.assert_allclose(found.bias, [first * 0.1 + (1 - first) * 0.2], rtol=1e-5)


def test_traits_that_say_nothing_are_not_made_as_long_as_titles_are() -> None:
    rng = np.random.default_rng(0)
    n = 400
    titles = rng.normal(size=(n, 8)).astype(np.float32)
    drawn = genres(*[[f"g{g}"] for g in rng.integers(0, 20, n)])
    learned = learn_titles(Side(np.full(n, 9), drawn, Estimate(titles, titles, np.zeros(n, np.float32))), 1.0)
    assert learned.stretch == 2.0
    assert np.linalg.norm(learned.expect(drawn).ranking, axis=1).max() < 0.5 * np.linalg.norm(titles, axis=1).mean()
