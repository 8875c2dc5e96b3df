"""A training's data is what model.json says, and a server goes on from there, while events flow."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pyspark.sql import SparkSession
from tests.ingest.ingesting import rows
from tests.waiting import HANG_SECONDS, until

from nextreel.events.contract import EVENT_TYPES, TABLES
from nextreel.events.world import World, WorldConfig
from nextreel.ingest.query import start_ingest
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.lake.commit import committed_offsets
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Offsets, read_ledger
from nextreel.model.store import ModelStore
from nextreel.serve.follow import Follower
from nextreel.serve.serving import load_live
from nextreel.settings import Settings
from nextreel.train.job import Training, train

pytestmark = pytest.mark.slow

WORLD = World(WorldConfig(n_users=400, n_movies=160, n_series=80, n_interactions=100_000))
#: Events of each type that are there at first, and that flow at a time.
FIRST, FLOWING = 40, 20


@contextmanager
def flow(settings: Settings) -> Iterator[None]:
    """Send events of all types within the block, some tens at a time."""
    stopping = threading.Event()
    topics = topics_by_type(settings.kafka)

    def send() -> None:
        producer, begin = EventProducer(settings.kafka), dict.fromkeys(EVENT_TYPES, 0)
        while not stopping.wait(0.02):
            for kind in EVENT_TYPES:
                n = 10 * FLOWING if kind == "interaction" else 1
                n = n if begin[kind] else FIRST
                n = min(n, WORLD.size(kind) - begin[kind])
                producer.send(topics[kind], WORLD.events(kind, begin[kind], n))
                begin[kind] += n
            producer.flush()

    sending = threading.Thread(target=send)
    sending.start()
    try:
        yield
    finally:
        stopping.set()
        sending.join()


def below(offsets: Offsets, row: dict[str, Any]) -> bool:
    return bool(row["kafka_offset"] < offsets.get(row["kafka_topic"], {}).get(str(row["kafka_partition"]), 0))


def ends(settings: Settings) -> Offsets:
    marks = WatermarkReader(settings.kafka.client_config).read(settings.kafka.topics)
    return {topic: {str(p): high for p, (_, high) in ps.items()} for topic, ps in marks.items()}


@pytest.fixture
def quick(settings: Settings) -> Settings:
    train = settings.train.model_copy(update={"factors": 4, "iterations": 1})
    ratings = settings.ratings.model_copy(update={"simulate": "never"})
    upkeep = settings.upkeep.model_copy(update={"merge_from_files": 4})
    return settings.model_copy(update={"train": train, "ratings": ratings, "upkeep": upkeep})


def test_the_data_of_a_training_ends_at_the_offsets_it_records(spark: SparkSession, quick: Settings) -> None:
    create_topics(quick.kafka)
    lake = Lake(quick.lake)
    trainings: list[Training] = []
    query = start_ingest(spark, quick, lambda _: None)
    try:
        with flow(quick):
            for _ in range(3):
                batch = read_ledger(lake).batch
                until(lambda: read_ledger(lake).batch > batch + 1)  # noqa: B023
                trainings.append(train(spark, quick))
        until(lambda: committed_offsets(lake) == ends(quick), lambda: (committed_offsets(lake), ends(quick)))
    finally:
        query.stop()
    held = {kind: rows(lake, TABLES[kind]) for kind in EVENT_TYPES}
    store = ModelStore(quick.models)
    for training in trainings:
        offsets = store.facts(training.version)["kafka_offsets"]
        known = {kind: [row for row in found if below(offsets, row)] for kind, found in held.items()}
        pairs = {(row["id_usuario"], row["id_contenido"]) for row in known["interaction"]}
        data = training.data
        users, titles = data.user_ids.to_pylist(), data.title_ids.to_pylist()
        learned = {(users[u], titles[t]) for u, t in zip(data.user.tolist(), data.title.tolist(), strict=True)}
        assert learned == pairs
        assert set(training.users["user_id"].to_pylist()) == {row["id"] for row in known["user"]}
        named = {row["id"] for kind in ("movie", "series") for row in known[kind]}
        assert set(training.titles["content_id"].to_pylist()) == named
        assert store.facts(training.version)["data"]["ratings"] == len(pairs)
    assert len({len(training.data) for training in trainings}) == 3, "events flowed between trainings"

    version = trainings[-1].version
    live, facts = load_live(store, version, quick)
    offsets = facts["kafka_offsets"]
    follower = Follower(quick.kafka, live, offsets)
    follower.start()
    assert follower.wait(HANG_SECONDS)
    follower.stop()
    follower.join(HANG_SECONDS)
    everything = [row for found in held.values() for row in found]
    assert follower.applied == sum(not below(offsets, row) for row in everything) > 0
    for user in {row["id_usuario"] for row in held["interaction"]}:
        row = live.people.ids.find(user)
        assert row is not None
        seen = {live.titles.ids.name(title) for title in live.people.seen(row).tolist()}
        assert seen == {r["id_contenido"] for r in held["interaction"] if r["id_usuario"] == user}
