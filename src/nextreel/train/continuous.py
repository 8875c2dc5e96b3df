"""Training again and again: after enough new events, or after a while where any came."""

import time
from collections.abc import Callable

from pyspark.sql import SparkSession

from nextreel.errors import ModelError
from nextreel.lake.commit import committed_offsets
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Offsets
from nextreel.locks import HAS_LOCKS
from nextreel.model.store import ModelStore
from nextreel.settings import Settings
from nextreel.train.job import Training, train

#: How often the lake is looked at.
_LOOK_SECONDS = 1.0


def keep_training(
    spark: SparkSession,
    settings: Settings,
    wait: Callable[[float], bool],
    tell: Callable[[str], None],
    done: Callable[[Training], None],
) -> None:
    """Train whenever it is due, until ``wait`` (seconds) says to stop; old versions are pruned.

    What is learned goes on from the current model. A lake that there is nothing to learn from yet is waited for.
    """
    lake = Lake(settings.lake.absolute())
    warm = settings.model_copy(update={"train": settings.train.model_copy(update={"warm_start": True})})
    store = ModelStore(settings.models)
    seen, began = reached_by_current(store), time.monotonic()
    while not wait(_LOOK_SECONDS):
        held = committed_offsets(lake)
        why = why_train(settings, unseen_messages(held, seen), time.monotonic() - began, store.current() is None)
        if why is None:
            continue
        tell(why)
        began = time.monotonic()
        try:
            training = train(spark, warm, tell)
        except ModelError as error:
            tell(str(error))
        else:
            done(training)
            if HAS_LOCKS:
                store.prune(settings.versions.keep)
        seen = held


def why_train(settings: Settings, new_messages: int, seconds: float, is_first: bool) -> str | None:
    """Return why it is time to train, ``seconds`` after the last time; None where it is not."""
    if new_messages <= 0:
        return None
    if is_first:
        return f"{new_messages:,} messages, and no model yet"
    enough = 0 < settings.up.train_after_events <= new_messages
    if enough or seconds >= settings.up.train_every_seconds:
        return f"{new_messages:,} messages that the current model has not seen"
    return None


def reached_by_current(store: ModelStore) -> Offsets:
    """Return the offsets up to which the current version has seen messages; none where there is no version."""
    current = store.current()
    if current is None:
        return {}
    try:
        offsets: Offsets = store.facts(current).get("kafka_offsets", {})
    except ModelError:
        return {}
    return offsets


def unseen_messages(held: Offsets, seen: Offsets) -> int:
    """Return the number of messages up to ``held`` that are not below ``seen``."""
    return sum(
        max(0, end - seen.get(topic, {}).get(partition, 0))
        for topic, partitions in held.items()
        for partition, end in partitions.items()
    )
