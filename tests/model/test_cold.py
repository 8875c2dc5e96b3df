"""Cold start: judged on users and titles of a synthetic world whose ratings training has not seen, and odd cases."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nextreel.events.world import World, WorldConfig
from nextreel.model.arrays import Floats, Ints, Mask
from nextreel.model.cold import Guess, Side, TraitModel, learn_titles, learn_users, with_titles, with_users
from nextreel.model.model import Biases, Factors, Model
from nextreel.model.rank import Catalogue
from nextreel.model.traits import Traits, aligned, take
from nextreel.settings import TrainSettings
from nextreel.train.dataset import Dataset, dataset
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine

SETTINGS = TrainSettings()
N_INTERACTIONS = 100_000
K = 10


@dataclass(frozen=True)
class Judged:
    """A model that has seen the ratings of ``train`` alone, and what was held out."""

    model: Model
    train: Dataset
    test: Dataset
    users: Side
    titles: Side

    @property
    def who(self) -> Ints:
        """Users for whom there is something to find."""
        return np.unique(self.test.user[self.test.rating >= SETTINGS.relevant_rating]).astype(np.int64)


@dataclass(frozen=True)
class Everything:
    """All ratings of a world and the traits of its users and titles, by the rows of the ratings' ids."""

    ratings: Dataset
    users: Traits
    titles: Traits

    def held_out(self, out: Mask) -> Judged:
        train, test = self.ratings.where(~out), self.ratings.where(out)
        users = Side(np.bincount(train.user, minlength=train.n_users), self.users)
        titles = Side(np.bincount(train.title, minlength=train.n_titles), self.titles)
        return Judged(fit_model(train, SETTINGS, local_engine()), train, test, users, titles)


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
    return Everything(ratings, aligned(users, "id", ratings.user_ids), aligned(titles, "id", ratings.title_ids))


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
    return everything.held_out(cold[everything.ratings.user])


@pytest.fixture(scope="module")
def cold_titles(everything: Everything) -> Judged:
    cold = np.random.default_rng(0).random(everything.ratings.n_titles) < 0.2
    return everything.held_out(cold[everything.ratings.title])


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


def guessing_users(judged: Judged) -> Model:
    """The model with a guess of all users who have no ratings."""
    cold = np.flatnonzero(judged.users.n_ratings == 0)
    learned = learn_users(judged.model, judged.users, judged.titles)
    return with_users(judged.model, cold, learned.guess(take(judged.users.traits, cold)))


def personal_or_popular(model: Model, users: Ints) -> Ints:
    """Lists of the model's factors, popular ones for who has none."""
    own = Catalogue.of(model.ranking_factors.titles).top_k(model.ranking_factors.users[users], K)[0]
    return np.where(model.known_users[users, None], own, popular(model, users))


def popular(model: Model, users: Ints) -> Ints:
    return Catalogue.of(model.popularity[:, None]).top_k(np.ones((len(users), 1), np.float32), K)[0]


def test_users_without_ratings_are_ranked_better_than_by_popularity(cold_users: Judged) -> None:
    model = guessing_users(cold_users)
    users = cold_users.who
    assert not cold_users.model.known_users[users].any()
    assert model.known_users[users].mean() > 0.8  # all but those who declare nothing
    by_guess = ndcg(cold_users, personal_or_popular(model, users))
    assert by_guess > 1.5 * ndcg(cold_users, popular(model, users))


def test_ratings_of_users_without_ratings_are_predicted_better_than_by_biases(cold_users: Judged) -> None:
    assert rmse(guessing_users(cold_users), cold_users.test) < 0.95 * rmse(cold_users.model, cold_users.test)


def test_few_users_with_ratings_are_enough(everything: Everything) -> None:
    order = np.random.default_rng(0).permutation(everything.ratings.n_users)
    judged = everything.held_out(~np.isin(everything.ratings.user, order[:60]))
    lists = personal_or_popular(guessing_users(judged), judged.who)
    assert ndcg(judged, lists) > 1.3 * ndcg(judged, popular(judged.model, judged.who))


@pytest.fixture(scope="module")
def with_guessed_titles(cold_titles: Judged) -> Model:
    cold = np.flatnonzero(cold_titles.titles.n_ratings == 0)
    learned = learn_titles(cold_titles.model, cold_titles.titles)
    return with_titles(cold_titles.model, cold, learned.guess(take(cold_titles.titles.traits, cold)))


def test_titles_without_ratings_find_who_likes_them(cold_titles: Judged, with_guessed_titles: Model) -> None:
    """Among themselves; their popularity is 0 for all, which leaves an order of chance."""
    cold, users = cold_titles.titles.n_ratings == 0, cold_titles.who
    ours = with_guessed_titles.ranking_factors
    by_guess = ndcg(cold_titles, Catalogue.of(ours.titles).top_k(ours.users[users], K, None, cold)[0])
    ones = np.ones((len(users), 1), np.float32)
    by_popularity = ndcg(cold_titles, Catalogue.of(cold_titles.model.popularity[:, None]).top_k(ones, K, None, cold)[0])
    drawn = np.random.default_rng(0).random((len(users), cold.sum())).argsort(axis=1)[:, :K]
    by_chance = ndcg(cold_titles, np.flatnonzero(cold)[drawn])
    assert by_guess > 2.5 * by_chance
    assert by_guess > 2 * by_popularity


def test_titles_without_ratings_get_about_their_part_of_the_places(
    cold_titles: Judged, with_guessed_titles: Model
) -> None:
    cold, factors = cold_titles.titles.n_ratings == 0, with_guessed_titles.ranking_factors
    users = np.flatnonzero(with_guessed_titles.known_users)
    lists = Catalogue.of(factors.titles).top_k(factors.users[users], K, cold_titles.train.pairs().rows(users))[0]
    assert 0.5 * cold.mean() < cold[lists].mean() < 2 * cold.mean()
    most = np.bincount(lists.ravel()).max() / len(users)
    assert np.bincount(lists[cold[lists]]).max() / len(users) < most
    assert len(np.unique(lists[cold[lists]])) > 0.5 * cold.sum()


def test_ratings_of_titles_without_ratings_are_predicted_better_than_by_biases(
    cold_titles: Judged, with_guessed_titles: Model
) -> None:
    assert rmse(with_guessed_titles, cold_titles.test) < 0.95 * rmse(cold_titles.model, cold_titles.test)


def test_who_is_known_stays_as_they_are(cold_users: Judged, cold_titles: Judged, with_guessed_titles: Model) -> None:
    warm = cold_titles.titles.n_ratings > 0
    for before, after in (
        (cold_titles.model.ranking_factors.titles, with_guessed_titles.ranking_factors.titles),
        (cold_titles.model.rating_factors.titles, with_guessed_titles.rating_factors.titles),
        (cold_titles.model.biases.titles, with_guessed_titles.biases.titles),
    ):
        np.testing.assert_array_equal(after[warm], before[warm])
        assert (before[~warm] == 0).all()
        assert after[~warm].any(axis=-1).all()
    guessed, known = guessing_users(cold_users), cold_users.users.n_ratings > 0
    np.testing.assert_array_equal(guessed.ranking_factors.users[known], cold_users.model.ranking_factors.users[known])
    assert guessed.ranking_factors.titles is cold_users.model.ranking_factors.titles


def test_the_same_model_is_learned_each_time(cold_users: Judged) -> None:
    one, other = (learn_users(cold_users.model, cold_users.users, cold_users.titles) for _ in range(2))
    np.testing.assert_array_equal(one.ranking.coefficients, other.ranking.coefficients)
    assert one.vocabulary.names.equals(other.vocabulary.names)


def assert_0(guess: Guess) -> None:
    assert not any(values.any() for values in (guess.ranking, guess.rating, guess.bias))


def test_nothing_known_is_guessed_as_0(cold_users: Judged) -> None:
    lists = pa.nulls(2, pa.list_(pa.string()))
    strangers = {
        "genres": pa.array([["Opera buffa"], None], pa.list_(pa.string())),
        **dict.fromkeys(("directors", "actors", "decades"), lists),
        "age_rating": pa.array([None, "X"]),
    }
    assert_0(learn_users(cold_users.model, cold_users.users, cold_users.titles).guess(strangers))


# Odd cases: a model of three users and four titles, with two factors that rank and one that predicts


def f32(values: object) -> Floats:
    return np.array(values, np.float32)


MODEL = Model(
    user_ids=pa.array(["u1", "u2", "u3"]),
    title_ids=pa.array(["t1", "t2", "t3", "t4"]),
    biases=Biases(3.0, f32([0.5, 0.0, 0.0]), f32([0.1, 0.2, 0.0, 0.0])),
    rating_factors=Factors(f32([[1], [0], [0]]), f32([[0.5], [0.1], [0], [0]])),
    ranking_factors=Factors(f32([[-1, 1], [0, 0], [0, 0]]), f32([[1, 0.2], [2, 0.1], [0, 0], [0, 0]])),
    popularity=f32([2, 3, 0, 0]),
)


def genres(*values: list[str] | None) -> Traits:
    n = len(values)
    none = dict.fromkeys(("directors", "actors", "decades"), pa.nulls(n, pa.list_(pa.string())))
    return {"genres": pa.array(values, pa.list_(pa.string())), **none, "age_rating": pa.nulls(n, pa.string())}


def assert_guesses_0(learned: TraitModel, n: int) -> None:
    guess = learned.guess(genres(*[["Drama"]] * n))
    assert (guess.ranking.shape, guess.rating.shape, guess.bias.shape) == ((n, 2), (n, 1), (n,))
    assert_0(guess)


DRAMAS, UNKNOWN = genres(*[["Drama"]] * 4), genres(*[None] * 4)


@pytest.mark.parametrize(
    ("n_ratings", "traits"), [([0, 0, 0, 0], DRAMAS), ([5, 0, 0, 0], DRAMAS), ([5, 3, 1, 0], UNKNOWN)]
)
def test_too_little_to_learn_from(n_ratings: list[int], traits: Traits) -> None:
    """No title has ratings, one has, or they have no traits."""
    titles = Side(np.array(n_ratings), traits)
    users = Side(np.array(n_ratings[:3]), take(traits, np.arange(3)))
    assert_guesses_0(learn_titles(MODEL, titles), 2)
    assert_guesses_0(learn_users(MODEL, users, titles), 2)


def test_users_can_be_learned_without_titles_that_have_ratings() -> None:
    users = Side(np.array([4, 2, 0]), genres(["Drama"], ["Drama", "War"], None))
    guess = learn_users(MODEL, users, Side(np.zeros(4, np.int64), DRAMAS)).guess(genres(["Drama"]))
    assert np.isfinite(guess.ranking).all()
    assert guess.ranking.any()


def test_titles_of_one_trait_are_guessed_as_their_weighted_mean() -> None:
    """With 5 and 3 ratings weights are 1/3 and 3/13; lengths go up to that of the weighted median title, the first."""
    guess = learn_titles(MODEL, Side(np.array([5, 3, 0, 0]), DRAMAS)).guess(genres(["Drama"]))
    first = (1 / 3) / (1 / 3 + 3 / 13)
    mean = first * MODEL.ranking_factors.titles[0] + (1 - first) * MODEL.ranking_factors.titles[1]
    np.testing.assert_allclose(guess.ranking[0], mean * np.sqrt(1.04) / np.linalg.norm(mean), rtol=1e-5)
    np.testing.assert_allclose(guess.rating, [[first * 0.5 + (1 - first) * 0.1]], rtol=1e-5)
    np.testing.assert_allclose(guess.bias, [first * 0.1 + (1 - first) * 0.2], rtol=1e-5)


def test_traits_that_say_nothing_are_not_made_as_long_as_titles_are() -> None:
    rng = np.random.default_rng(0)
    n = 400
    none, titles = np.zeros((3, 8), np.float32), rng.normal(size=(n, 8)).astype(np.float32)
    ids = pa.array([f"{i:03d}" for i in range(n)])
    biases, factors = Biases(3.0, MODEL.biases.users, np.zeros(n, np.float32)), Factors(none, titles)
    model = Model(MODEL.user_ids, ids, biases, factors, factors, np.ones(n, np.float32))
    drawn = genres(*[[f"g{g}"] for g in rng.integers(0, 20, n)])
    learned = learn_titles(model, Side(np.full(n, 9), drawn))
    assert learned.stretch == 2.0
    assert np.linalg.norm(learned.guess(drawn).ranking, axis=1).max() < 0.5 * np.linalg.norm(titles, axis=1).mean()
