"""A synthetic streaming service: its users, its titles and all that happens, as events without end.

Everything follows from the seed. Any stretch of a feed can be asked for, in any order and in pieces of any
size, and is the same each time.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.events.contract import EventType, event_schema
from nextreel.events.world.audience import Audience
from nextreel.events.world.catalogue import Catalogue
from nextreel.events.world.config import WorldConfig
from nextreel.events.world.taste import Taste
from nextreel.events.world.viewing import Viewing

_PROFILE_ROWS = 1024

#: Live interactions to one update of a user's, a movie's or a series' profile.
_INTERACTIONS_AN_UPDATE = {"user": 50, "movie": 1000, "series": 500}


class World:
    """A synthetic world: events in the contract's schema, and the truth behind them.

    Attributes
    ----------
    user_ids, title_ids
        Ids by position: of users, and of titles (movies first, then series).
    """

    def __init__(self, config: WorldConfig = WorldConfig()) -> None:  # noqa: B008 (it is frozen)
        self.config = config
        self._catalogue = Catalogue(config)
        self._audience = Audience(config)
        self._taste = Taste.of(config.rng("taste"), self._audience.directions, self._catalogue.directions)
        self._viewing = Viewing(config, self._audience, self._catalogue, self._taste)
        self.user_ids: pa.StringArray = self._audience.ids
        self.title_ids: pa.StringArray = self._catalogue.ids
        self._latest: dict[EventType, tuple[int, pa.RecordBatch]] = {}

    def size(self, event_type: EventType) -> int:
        """Return how many users, movies or series there are, or interactions in the history."""
        c = self.config
        return {
            "user": c.n_users,
            "movie": c.n_movies,
            "series": c.n_series,
            "interaction": c.n_interactions,
        }[event_type]

    def true_rating(self, user: NDArray[np.int64], title: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what users would rate titles if there were no noise and no rounding, from 0.5 to 5.

        ``user`` and ``title`` are positions in ``user_ids`` and ``title_ids``, of shape (n,).
        """
        return self._taste.true_rating(user, title)

    def events(self, event_type: EventType, start: int, count: int) -> pa.RecordBatch:
        """Return rows ``start`` to below ``start + count`` of a type's endless feed.

        Users, movies and series come once each, in the order in which they joined, then as updates with later
        timestamps, time and again. Interactions are the history and then, from ``config.end`` on, live;
        always in the order of their timestamps.

        Raises
        ------
        ValueError
            If ``start`` or ``count`` is negative.
        """
        if start < 0 or count < 0:
            raise ValueError(f"rows {start} to {start + count}: a feed starts at row 0")
        parts = []
        while count > 0:
            number, place = self._place(event_type, start)
            part = self._block(event_type, number).slice(place, count)
            parts.append(part)
            start, count = start + part.num_rows, count - part.num_rows
        if len(parts) == 1:
            return parts[0]
        table = pa.Table.from_batches(parts, event_schema(event_type)).combine_chunks()
        return table.to_batches()[0] if parts else pa.RecordBatch.from_pylist([], table.schema)

    def _place(self, event_type: EventType, row: int) -> tuple[int, int]:
        return self._viewing.place(row) if event_type == "interaction" else divmod(row, _PROFILE_ROWS)

    def _block(self, event_type: EventType, number: int) -> pa.RecordBatch:
        """Return a whole block: always made whole, so that rounding cannot depend on what was asked for."""
        latest = self._latest.get(event_type)
        if latest is None or latest[0] != number:
            made = self._viewing.block(number) if event_type == "interaction" else self._profiles(event_type, number)
            self._latest[event_type] = latest = (number, made)
        return latest[1]

    def _profiles(self, event_type: EventType, block: int) -> pa.RecordBatch:
        n = self.size(event_type)
        edition, turn = np.divmod(np.arange(block * _PROFILE_ROWS, (block + 1) * _PROFILE_ROWS), n)
        # Updates go round in another order than sign-ups.
        stride = next(s for s in range(int(0.618 * n) + 1, 2 * n + 2) if np.gcd(s, n) == 1)
        position = np.where(edition == 0, turn, turn * stride % n)
        joined = self._audience.joined if event_type == "user" else self._catalogue.added
        if event_type == "series":
            position = position + self.config.n_movies
        updates = (edition - 1) * n + turn + 1
        live = self.config.end_micros + updates * _INTERACTIONS_AN_UPDATE[event_type] * self.config.gap_micros
        micros = np.where(edition == 0, joined[position], live)
        if event_type == "user":
            return self._audience.events(self._taste, self._catalogue, position, edition, micros)
        return self._catalogue.events(event_type, position, edition, micros)
