"""How good a trained model is: clearly better than its baselines, and only where there is something to learn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nextreel.events import movielens
from nextreel.events.world import World, WorldConfig
from nextreel.model.model import Model
from nextreel.settings import Settings
from nextreel.train.dataset import Dataset, dataset
from nextreel.train.evaluate import Evaluation, evaluate
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine
from nextreel.train.splits import hold_out

SETTINGS = Settings()

#: About 28,000 ratings, 35 a user.
N_INTERACTIONS = 100_000

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Judged:
    model: Model
    test: Dataset
    evaluation: Evaluation


def learned(ratings: pa.Table) -> Judged:
    parts = hold_out(dataset(ratings), SETTINGS)
    model = fit_model(parts.train, SETTINGS.train, local_engine())
    return Judged(model, parts.test, evaluate(model, parts, SETTINGS))


def rates(interactions: pa.Table) -> pa.Table:
    """The ``rate`` events, the last of each user and title, as a ratings table."""
    said = interactions.filter(pc.equal(interactions["evento"], "rate"))
    columns = {"user_id": said["id_usuario"], "content_id": said["id_contenido"], "rating": said["calificacion"]}
    last = pa.table(columns).group_by(["user_id", "content_id"], use_threads=False).aggregate([("rating", "last")])
    ratings = last.rename_columns(["user_id", "content_id", "rating"])
    return ratings.append_column("source", pa.repeat("observed", ratings.num_rows))


def shuffled(ratings: pa.Table) -> pa.Table:
    """The same users, titles and stars as often as before, but who watched and liked what is chance."""
    rng = np.random.default_rng(1)
    for i, name in enumerate(ratings.column_names):
        if name in ("content_id", "rating"):
            ratings = ratings.set_column(i, name, ratings[name].take(rng.permutation(ratings.num_rows)))
    pair = ratings.group_by(["user_id", "content_id"], use_threads=False)
    return pair.aggregate([("rating", "first"), ("source", "first")]).rename_columns(ratings.column_names)


def assert_good(judged: Judged) -> None:
    """Ratings at least 5 % nearer than biases, lists at least a third better than popularity's."""
    accuracy, ranking = judged.evaluation.accuracy, judged.evaluation.ranking
    assert accuracy["als"].rmse <= 0.95 * accuracy["bias"].rmse
    assert accuracy["bias"].rmse < accuracy["mean"].rmse
    assert ranking["als"].ndcg >= 1.33 * ranking["popularity"].ndcg
    assert ranking["als"].recall >= 1.33 * ranking["popularity"].recall
    assert ranking["popularity"].ndcg > ranking["random"].ndcg


def assert_on_the_scale(judged: Judged) -> None:
    users, titles = np.divmod(np.arange(100_000), judged.test.n_titles)
    known = users < judged.test.n_users
    predicted = judged.model.predict(users[known], titles[known])
    assert np.isfinite(predicted).all()
    assert predicted.min() >= 0.5
    assert predicted.max() <= 5.0


@pytest.fixture(scope="module")
def world_ratings() -> pa.Table:
    world = World(WorldConfig(n_users=800, n_movies=300, n_series=150, n_interactions=N_INTERACTIONS))
    return rates(pa.Table.from_batches([world.events("interaction", 0, N_INTERACTIONS)]))


@pytest.fixture(scope="module")
def of_the_world(world_ratings: pa.Table) -> Judged:
    return learned(world_ratings)


def test_synthetic_world(of_the_world: Judged) -> None:
    assert_good(of_the_world)
    assert_on_the_scale(of_the_world)
    assert not of_the_world.evaluation.simulated


def test_shuffled_ratings_are_not_good(world_ratings: pa.Table) -> None:
    chance = learned(shuffled(world_ratings))
    assert_on_the_scale(chance)
    accuracy, ranking = chance.evaluation.accuracy, chance.evaluation.ranking
    assert accuracy["als"].rmse > 0.98 * accuracy["mean"].rmse
    assert ranking["als"].ndcg < 1.1 * ranking["popularity"].ndcg
    with pytest.raises(AssertionError):
        assert_good(chance)


def test_movielens(movielens_small: Path) -> None:
    judged = learned(rates(movielens.read(movielens_small).interactions))
    assert len(judged.test) > 19_000
    accuracy, ranking = judged.evaluation.accuracy, judged.evaluation.ranking
    assert 0.84 <= accuracy["als"].rmse <= 0.90
    assert accuracy["als"].rmse <= accuracy["bias"].rmse
    assert ranking["als"].ndcg > ranking["popularity"].ndcg > ranking["random"].ndcg
    assert_on_the_scale(judged)
