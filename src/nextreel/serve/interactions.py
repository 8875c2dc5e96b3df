"""What one user rated and did since training, bounded.

A user rates a title and does something with it: of both the newest counts. The newest ``most`` of these are kept; of
titles beyond them only that the user had to do with them, in four bytes each, so that they are not recommended again.

What is kept depends on the set of interactions, not on the order in which they came: the newest of a title can only
become newer, so that what falls out for being older than ``most`` others would fall out in any order.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextreel.model.arrays import Ints


class Interaction(NamedTuple):
    """When an interaction happened, Kafka's time, the event's id, and the stars that it gives or stands for.

    In this order they decide which of two is newer.
    """

    #: Microseconds since 1970.
    time: int
    #: Milliseconds since 1970.
    kafka_time: int
    id: str
    stars: float


class Change(NamedTuple):
    """When the newest interaction with a title (row) happened, before and after a change; None: none is kept."""

    title: int
    before: int | None
    after: int | None


#: Titles that have fallen out are sorted into the others in batches.
_BATCH = 1024
#: What orders interactions of a user, and their key.
_Aged = tuple[int, int, str, str, bool, int]


class Interactions:
    """A user's interactions by title (row). ``has_new`` says whether any is of a title that the model does not have."""

    __slots__ = ("_aged", "_fallen", "_newest", "_older", "has_new")

    def __init__(self) -> None:
        # By 2 · title + 1 for a rating, + 0 for what else was done: an integer takes less than a tuple.
        self._newest: dict[int, Interaction] = {}
        self._aged: list[_Aged] | None = None
        self._older: NDArray[np.int32] | None = None
        self._fallen: set[int] | None = None
        self.has_new = False

    def add(
        self, title: int, is_rating: bool, what: Interaction, most: int, name: Callable[[int], str]
    ) -> list[Change]:
        """Take an interaction, which may be older than what is known. ``name`` returns a title's id.

        Returns what changed: nothing, the title, or the title and then that whose interaction fell out.
        """
        key = 2 * title + is_rating
        known = self._newest.get(key)
        if known is not None and what <= known:
            return []
        before = self.time(title)
        self._newest[key] = what
        changes = [Change(title, before, self.time(title))]
        if self._aged is not None:
            heappush(self._aged, _aged(key, what, name))
        if (self._aged is None and len(self._newest) > most) or len(self._aged or ()) > 2 * most + _BATCH:
            self._order(name)  # for the first time, or because what is no longer true piles up
        if len(self._newest) > most:
            changes.append(self._drop_oldest())
        return changes

    def _order(self, name: Callable[[int], str]) -> None:
        self._aged = [_aged(key, what, name) for key, what in self._newest.items()]
        heapify(self._aged)

    def _drop_oldest(self) -> Change:
        assert self._aged is not None  # noqa: S101 (called with an order)
        while True:
            time, kafka_time, event_id, *_, key = heappop(self._aged)
            what = self._newest.get(key)
            if what is not None and what[:3] == (time, kafka_time, event_id):
                break
        title = key >> 1
        before = self.time(title)
        del self._newest[key]
        if self._fallen is None:
            self._fallen, self._older = set(), np.zeros(0, np.int32)
        self._fallen.add(title)
        if len(self._fallen) >= _BATCH:
            self._sort_fallen()
        return Change(title, before, self.time(title))

    def _sort_fallen(self) -> NDArray[np.int32]:
        older = np.zeros(0, np.int32) if self._older is None else self._older
        if self._fallen:
            older = self._older = np.union1d(older, np.fromiter(self._fallen, np.int32, len(self._fallen)))
            self._fallen = set()
        return older

    def __contains__(self, title: int) -> bool:
        """Tell whether the user had to do with a title, however long ago."""
        if self.holds(title):
            return True
        if self._fallen is None or self._older is None:
            return False
        place = int(self._older.searchsorted(title))
        return title in self._fallen or (place < len(self._older) and int(self._older[place]) == title)

    def holds(self, title: int) -> bool:
        """Tell whether an interaction with a title is kept."""
        return 2 * title in self._newest or 2 * title + 1 in self._newest

    def counts(self, title: int) -> tuple[float, bool, int]:
        """Return the stars that count of a title, whether they were given, and when; a rating goes before the rest.

        Raises `KeyError` where nothing is kept.
        """
        rating = self._newest.get(2 * title + 1)
        what = self._newest[2 * title] if rating is None else rating
        return what.stars, rating is not None, what.time

    def time(self, title: int) -> int | None:
        """Return when the newest interaction with a title happened; None where none is kept."""
        either = self._newest.get(2 * title), self._newest.get(2 * title + 1)
        newest = max((each for each in either if each is not None), default=None)
        return None if newest is None else newest.time

    def titles(self) -> Iterator[int]:
        """Yield the titles with interactions that are kept, each once."""
        for key in self._newest:
            if key & 1 == 0 or key - 1 not in self._newest:
                yield key >> 1

    def seen(self) -> Ints:
        """Return all titles that the user had to do with, in any order, some perhaps twice."""
        own = np.fromiter(self._newest, np.int64, len(self._newest)) >> 1
        return own if self._fallen is None else np.concatenate([own, self._sort_fallen()])


def _aged(key: int, what: Interaction, name: Callable[[int], str]) -> _Aged:
    # By the title's id, since rows of titles that came after training differ between servers.
    return (what.time, what.kafka_time, what.id, name(key >> 1), bool(key & 1), key)
