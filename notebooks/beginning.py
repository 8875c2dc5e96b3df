"""What every notebook begins with: a broker, a home of its own, and a small world whose events it sends."""

import atexit
import os
import shutil
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pandas as pd

from nextreel.errors import DataLossError, LakeError
from nextreel.events.contract import EVENT_TYPES, TABLES, EventType
from nextreel.events.world import WorldConfig
from nextreel.feed import WorldFeed
from nextreel.ingest.gaps import check_topics
from nextreel.ingest.query import start_ingest
from nextreel.kafka.broker import embedded_broker
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topic_ids, topics_by_type
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.lake.layout import Lake
from nextreel.lake.locks import writer
from nextreel.lake.session import running_spark
from nextreel.model.store import ModelStore
from nextreel.settings import Settings, load
from nextreel.train.job import train

BOOTSTRAP, HOME_VARIABLE = "NEXTREEL_KAFKA_BOOTSTRAP", "NEXTREEL_HOME"
HOME = Path(__file__).parents[1] / "nextreel-data" / "notebooks"

#: Everything follows from the seed and the sizes: each run has the same events.
WORLD = WorldConfig(n_users=400, n_movies=150, n_series=75, n_interactions=12_000)

#: How many events of each type the notebooks send: everybody once, then some updates; interactions of the past.
COUNTS: dict[EventType, int] = {"user": 440, "movie": 165, "series": 85, "interaction": 12_000}

#: Messages to each topic that break the contract.
N_FAULTY = 3

#: A model of the size of the world. What the environment says goes before.
_DEFAULTS = {HOME_VARIABLE: str(HOME), "NEXTREEL_TRAIN_FACTORS": "16", "NEXTREEL_EVALUATION_RESAMPLES": "200"}

# Texts in tables are shown whole.
pd.set_option("display.max_colwidth", None)

_until_the_end = ExitStack()
atexit.register(_until_the_end.close)


def begin() -> Settings:
    """Find a broker, see to it that the four topics are there, and return the settings.

    The broker is that of the variable `BOOTSTRAP`, else an embedded one, which ends with the notebook. What lies in
    `HOME` from a broker that is gone is removed: ingest would refuse to go on from it.
    """
    if BOOTSTRAP not in os.environ:
        os.environ[BOOTSTRAP] = _until_the_end.enter_context(embedded_broker())
    settings = _settings()
    create_topics(settings.kafka)
    try:
        check_topics(Lake(settings.lake), topic_ids(settings.kafka.client_config, settings.kafka.topics), fail=True)
    except DataLossError:
        if settings.home != HOME:  # that is somebody's own
            raise
        if writer(Lake(settings.lake)) not in (None, os.getpid()):
            raise LakeError(
                f"another notebook is at work in {HOME}: shut its kernel down, or name a {HOME_VARIABLE}"
            ) from None
        shutil.rmtree(HOME)
    return settings


def begin_with_lake() -> Settings:
    """Return the settings of a home with a lake: that which is there, else one that is filled now."""
    settings = _settings()
    if not Lake(settings.lake).files(TABLES["interaction"]):
        settings = begin()
        produce_missing(settings, EVENT_TYPES)
        with running_spark(settings) as spark:
            start_ingest(spark, settings, available_now=True).awaitTermination()
    return settings


def begin_with_model() -> Settings:
    """Return the settings of a home with a lake and a model: those which are there, else made now."""
    settings = begin_with_lake()
    if ModelStore(settings.models).current() is None:
        with running_spark(settings) as spark:
            train(spark, settings)
    return settings


def held(settings: Settings) -> dict[EventType, int]:
    """Return how many messages Kafka holds of each event type."""
    topics = topics_by_type(settings.kafka)
    marks = WatermarkReader(settings.kafka.client_config).read(topics.values())
    return {kind: sum(high - low for low, high in marks[topic].values()) for kind, topic in topics.items()}


def produce_missing(settings: Settings, types: Collection[EventType]) -> None:
    """Send the world's events of those types that Kafka holds nothing of, as fast as it takes them."""
    feed, producer = WorldFeed(WORLD, N_FAULTY), EventProducer(settings.kafka)
    topics, there = topics_by_type(settings.kafka), held(settings)
    for kind in types:
        if not there[kind]:
            for batch in feed.rows(kind, 0, COUNTS[kind]):
                producer.send(topics[kind], batch)
            producer.send_raw(topics[kind], [(None, raw) for raw in feed.faulty(kind)])
    producer.flush()


def pyplot() -> ModuleType:
    """Return matplotlib's pyplot, set to small pictures."""
    from matplotlib import pyplot

    pyplot.rc("figure", dpi=70, figsize=(7, 3.2))
    pyplot.rc("figure.constrained_layout", use=True)
    pyplot.rc("font", size=9)
    pyplot.rc("axes", titlesize=10)
    pyplot.rc("axes.spines", top=False, right=False)
    return pyplot


def _settings() -> Settings:
    return load(environ=_DEFAULTS | os.environ)
