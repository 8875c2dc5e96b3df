"""The training job: lake in; an evaluated model version out."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from nextreel.errors import ModelError
from nextreel.events.contract import TABLES
from nextreel.lake import tables
from nextreel.lake.commit import topic_ids
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Offsets, readable_offsets
from nextreel.lake.locks import names_kept
from nextreel.model.described import Undescribed
from nextreel.model.journal import Verdict
from nextreel.model.model import Model
from nextreel.model.snapshot import Snapshot, by_rows
from nextreel.model.store import ModelStore
from nextreel.ratings.sources import SOURCES
from nextreel.ratings.table import ratings, simulator
from nextreel.settings import RatingsSettings, Settings, TrainSettings
from nextreel.train.dataset import Dataset, Profiles, dataset
from nextreel.train.engine import Engine
from nextreel.train.evaluate import Evaluation, evaluate
from nextreel.train.fit import fit_model
from nextreel.train.local import local_engine
from nextreel.train.mllib import mllib_engine
from nextreel.train.promote import promote_if_good
from nextreel.train.splits import split


@dataclass(frozen=True)
class Found:
    """What the lake has to learn from: ratings, users (user_id, username …), catalogue (content_id, type, title …).

    ``offsets`` are the ends, by topic and partition, of the messages that all of it is from.
    """

    data: Dataset
    users: pa.Table
    titles: pa.Table
    offsets: Offsets

    @property
    def undescribed(self) -> Undescribed:
        """How much of it is of titles, or by users, that no event describes."""
        said, offered = self.data.where(~self.data.simulated), self.data.offered
        has_profile = pc.is_in(self.data.user_ids, self.users["user_id"].combine_chunks())
        known = has_profile.to_numpy(zero_copy_only=False)
        titles, users = said.title[~offered[said.title]], said.user[~known[said.user]]
        return Undescribed(len(said), len(titles), len(np.unique(titles)), len(users), len(np.unique(users)))


def read_lake(spark: SparkSession, lake: Lake, settings: RatingsSettings) -> Found:
    """Read users, titles and ratings on the driver, all of them up to the same offsets.

    Micro-batches that are committed meanwhile are left out of every table, and files are not merged.
    """
    with names_kept(lake):
        until = readable_offsets(lake)
        titles = tables.titles(spark, lake, until).toArrow()
        known = tables.users(spark, lake, until).persist()
        interactions = tables.read_table(spark, lake, TABLES["interaction"], until)
        with ratings(interactions, known, titles, settings) as frame:
            rated = frame.toArrow()
        users = known.toArrow()
        known.unpersist()
    data = dataset(rated, users["user_id"].to_pylist(), titles["content_id"].to_pylist())
    described = pc.is_in(data.title_ids, titles["content_id"].combine_chunks()).to_numpy(zero_copy_only=False)
    return Found(replace(data, described=described), users, titles, until or {})


@dataclass(frozen=True)
class Training:
    """What one training came to: the version, the model, its data and the catalogue (content_id, type, title …).

    ``verdict`` says whether it became the current version, and why.
    """

    version: str
    model: Model
    data: Dataset
    evaluation: Evaluation
    users: pa.Table
    titles: pa.Table
    seconds: dict[str, float]
    verdict: Verdict
    undescribed: Undescribed


def train(spark: SparkSession, settings: Settings, progress: Callable[[str], None] = lambda _: None) -> Training:
    """Read the lake, judge a model on held-out ratings, then learn from all of them, store it, and make it current.

    It becomes current only where it is good enough: `nextreel.train.promote`.

    Raises `ModelError` where the lake has no ratings and nothing to simulate any from.
    """
    watch = _Watch(progress)
    lake = Lake(settings.lake.absolute())
    with watch.step("reading ratings"):
        found = read_lake(spark, lake, settings.ratings)
        data = found.data
    if len(data) == 0:
        raise ModelError(f"{lake.root} has no ratings, and no users and titles to simulate any from")
    name, engine = choose_engine(spark, settings.train, len(data))
    store = ModelStore(settings.models)
    known = _current(store, progress) if settings.train.warm_start else None
    progress(f"{name} ALS, {settings.train.factors} factors, {len(data):,} ratings")
    with watch.step("evaluating on held-out ratings"):
        parts = split(data, found.users, simulator(spark, found.titles, settings.ratings), settings)
        profiles = Profiles.of(data, found.users, found.titles)
        judged = fit_model(parts.train, settings.train, engine, profiles=profiles)
        evaluation = evaluate(judged, parts, settings)
    with watch.step("learning from all ratings"):
        model = fit_model(data, settings.train, engine, known, profiles)
    with watch.step("storing the model"):
        snapshot = Snapshot(
            by_rows(found.users, "user_id", data.user_ids),
            by_rows(found.titles, "content_id", data.title_ids),
            data.history(),
        )
        facts = {"engine": name, "kafka_offsets": found.offsets, "kafka_topic_ids": topic_ids(lake)} | _facts(
            settings, found, evaluation
        )
        version = store.save(model, facts, snapshot=snapshot)
        verdict = promote_if_good(store, version, settings.versions)
    return Training(
        version, model, data, evaluation, found.users, found.titles, watch.seconds, verdict, found.undescribed
    )


def choose_engine(spark: SparkSession, settings: TrainSettings, n_ratings: int) -> tuple[str, Engine]:
    """Return the ALS engine for so many ratings, and its name: this machine's unless there are too many, or as set."""
    fits = n_ratings <= settings.local_ratings
    if settings.engine == "local" or (settings.engine == "auto" and fits):
        return "local", local_engine()
    return "mllib", mllib_engine(spark)


def _current(store: ModelStore, progress: Callable[[str], None]) -> Model | None:
    """Return the model to go on from; None where there is none, or it cannot be read."""
    try:
        return store.load() if store.current() else None
    except ModelError as error:
        progress(f"beginning anew: {error}")
        return None


def _facts(settings: Settings, found: Found, evaluation: Evaluation) -> dict[str, Any]:
    data = found.data
    return {
        "parameters": settings.train.model_dump(),
        "data": {
            "users": data.n_users,
            "titles": data.n_titles,
            "ratings": len(data),
            **{source: int(np.count_nonzero(data.source == n)) for n, source in enumerate(SOURCES)},
            "undescribed": found.undescribed.as_dict(),
        },
        "evaluation": evaluation.as_dict(),
    }


class _Watch:
    """Times named steps and tells of each when it begins."""

    def __init__(self, progress: Callable[[str], None]):
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._name = ""
        self._began = 0.0

    def step(self, name: str) -> "_Watch":
        self._name = name
        return self

    def __enter__(self) -> None:
        self._progress(self._name)
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.seconds[self._name] = time.monotonic() - self._began
