"""Where events come from: the synthetic world or a data set, as batches for the producers."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextreel.events import movielens
from nextreel.events.contract import EVENT_TYPES, TABLES, EventType
from nextreel.events.faults import broken
from nextreel.events.world import World, WorldConfig

_BLOCK = 2_000


def at_speed(batches: Iterator[pa.RecordBatch], speed_up: float) -> Iterator[pa.RecordBatch]:
    """Yield events as their time comes: an hour between two becomes 1 / ``speed_up`` hours."""
    began, origin = time.monotonic(), None
    for batch in batches:
        if batch.num_rows == 0:
            continue
        moments = batch.column("timestamp").cast(pa.int64()).to_numpy() / 1e6
        origin = moments[0] if origin is None else origin
        due = began + (moments - origin) / speed_up
        sent = 0
        while sent < len(due):
            time.sleep(max(0.0, due[sent] - time.monotonic()))
            ready = max(sent + 1, int(np.searchsorted(due, time.monotonic(), side="right")))
            yield batch.slice(sent, ready - sent)
            sent = ready


class Feed(Protocol):
    """Events of each type: those that there are, then those that keep coming; and messages that break the contract."""

    def history(self, event_type: EventType) -> Iterator[pa.RecordBatch]:
        """Yield what there is, in event-time order."""

    def live(self, event_type: EventType) -> Iterator[pa.RecordBatch]:
        """Yield what follows, without end; nothing where the data set has an end."""

    def faulty(self, event_type: EventType) -> list[bytes]:
        """Return broken messages to mix in."""


class WorldFeed:
    """The synthetic world's events, with ``n_faulty`` broken messages a topic."""

    def __init__(self, config: WorldConfig, n_faulty: int = 0):
        self._world = World(config)
        self._n_faulty = n_faulty

    def history(self, event_type: EventType) -> Iterator[pa.RecordBatch]:
        """Yield the population, or the interactions of the past."""
        size = self._world.size(event_type)
        return self.rows(event_type, 0, size)

    def live(self, event_type: EventType) -> Iterator[pa.RecordBatch]:
        """Yield profile updates, or interactions from the world's present on."""
        return self.rows(event_type, self._world.size(event_type), None)

    def rows(self, event_type: EventType, start: int, count: int | None) -> Iterator[pa.RecordBatch]:
        """Yield ``count`` events from row ``start`` on (None: without end).

        None lies in the future: where the world's own time is ahead of the clock, its events happen now.
        """
        row, stop = start, None if count is None else start + count
        while stop is None or row < stop:
            size = _BLOCK if stop is None else min(_BLOCK, stop - row)
            yield _by_now(self._world.events(event_type, row, size))
            row += size

    def faulty(self, event_type: EventType) -> list[bytes]:
        """Return broken versions of the first events."""
        if not self._n_faulty:
            return []
        events = self._world.events(event_type, 0, self._n_faulty).to_pylist()
        return [raw for _, raw in broken(events, seed=EVENT_TYPES.index(event_type))]


def _by_now(events: pa.RecordBatch) -> pa.RecordBatch:
    at, moments = events.schema.get_field_index("timestamp"), events.column("timestamp")
    now = pa.scalar(datetime.now(UTC), moments.type)
    return events.set_column(at, events.schema.field(at), pc.if_else(pc.greater(moments, now), now, moments))


class MovieLensFeed:
    """A MovieLens directory's events. Raises `nextreel.errors.InputError` for one that is none."""

    def __init__(self, directory: Path):
        self._data = movielens.read(directory)

    def history(self, event_type: EventType) -> Iterator[pa.RecordBatch]:
        """Yield all there is."""
        return iter(self._data.events(event_type).to_batches(max_chunksize=_BLOCK))

    def live(self, event_type: EventType) -> Iterator[pa.RecordBatch]:
        """Yield nothing: the data set is over."""
        return iter(())

    def faulty(self, event_type: EventType) -> list[bytes]:
        """Return nothing: real data are not spoilt on purpose."""
        return []

    def __str__(self) -> str:
        return ", ".join(f"{self._data.events(e).num_rows:,} {TABLES[e]}" for e in EVENT_TYPES)
