"""What is predicted where users and titles are all there is, as from the original's three producers alone."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from nextreel.events.contract import EventType
from nextreel.events.world import World, WorldConfig
from nextreel.model.model import Model
from nextreel.model.recommend import Recommendations, recommend
from nextreel.ratings.simulated import TRAITS, Simulator
from nextreel.ratings.sources import LIKING
from nextreel.settings import RatingsSettings, TrainSettings
from nextreel.train.dataset import Dataset, Profiles, dataset
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine

WORLD = World(WorldConfig(end=datetime(2026, 11, 30, tzinfo=UTC), n_users=400, n_movies=150, n_series=80))
SPANISH = {"genres": "generos", "directors": "directores", "actors": "actores", "age_rating": "clasificacion"}


def side(event_type: EventType, key: str) -> pa.Table:
    """Users or titles as the lake has them."""
    events = pa.Table.from_batches([WORLD.events(event_type, 0, WORLD.size(event_type))])
    if key == "user_id":
        decades = events["decadas_favoritas"]
    else:
        values = events["decada_lanzamiento"].to_pylist()
        decades = pa.array([None if value is None else [value] for value in values], pa.list_(pa.string()))
    columns = {key: events["id"]} | {name: events[column] for name, column in SPANISH.items()}
    return pa.table(columns | {"decades": decades}).select([key, *TRAITS])


USERS = side("user", "user_id")
TITLES = pa.concat_tables([side("movie", "content_id"), side("series", "content_id")])


@pytest.fixture(scope="module")
def simulated() -> pa.Table:
    rows = Simulator.of(TITLES, RatingsSettings()).ratings(USERS.combine_chunks().to_batches()[0])
    return pa.Table.from_batches([rows]).append_column("source", pa.array(["simulated"] * rows.num_rows))


def trained(ratings: pa.Table) -> tuple[Dataset, Model]:
    data = dataset(ratings, USERS["user_id"].to_pylist(), TITLES["content_id"].to_pylist())
    return data, fit_model(data, TrainSettings(), local_engine(), profiles=Profiles.of(data, USERS, TITLES))


def lists(data: Dataset, model: Model) -> Recommendations:
    return recommend(model, np.arange(data.n_users), 10, data.pairs(), np.ones(data.n_titles, np.bool_))


def test_people_s_ten_best_titles_are_predicted_above_4(simulated: pa.Table) -> None:
    best = lists(*trained(simulated)).ratings
    assert best.mean() > 4.1
    assert best[:, 0].mean() > 4.2
    assert np.mean(best.mean(axis=1) > 4) > 0.75
    assert best.min() >= 2.0


def test_titles_are_in_the_order_of_how_well_they_fit(simulated: pa.Table) -> None:
    as_liked = simulated.drop_columns(["rating", LIKING]).append_column("rating", simulated[LIKING])
    by_stars, by_liking = (lists(*trained(ratings)) for ratings in (simulated, as_liked))
    assert np.array_equal(by_stars.titles, by_liking.titles)
    assert by_liking.ratings.mean() < 3.5  # what a mean of affinities on the scale of stars comes to
