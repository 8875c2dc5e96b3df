"""What is popular and what is trending: by all that users rated and did, and by what they do these days.

A title is popular by the number of users who rated or did something with it, and trending by the same number with each
user counting 2^(-age / half-life) for the last that they did. Both count a user and title once, so that an event that
comes twice, or late, changes nothing: the order of events does not matter.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from nextreel.model.arrays import Doubles, Floats, Ints
from nextreel.model.snapshot import NO_TIME, History
from nextreel.serve.grown import Grown
from nextreel.serve.ranked import Ranked

#: Pairs of the history that are weighed at a time: 32 MB.
_BLOCK = 4_000_000
_HOUR = 3_600_000_000
#: Weights are told apart to so many digits: sums do not depend on the order of what they add up.
_DIGITS = 9
#: Half-lives beyond which a weight is as good as none, or as one.
_MOST = 500.0


class Popular:
    """How popular titles are, and how much they trend; both change with every event."""

    def __init__(self, popularity: Floats, history: History, half_life_hours: float, latest: int | None = None):
        """Weigh a history, none of which counts as later than ``latest``, in microseconds since 1970."""
        self._half_life = half_life_hours * _HOUR
        newest = max(int(history.times.max(initial=NO_TIME)), 0)
        self._reference = newest if latest is None else min(newest, latest)
        self._latest = latest
        self._popularity: Grown[np.float64] = Grown(popularity.astype(np.float64))
        self._trend: Grown[np.float64] = Grown(self._weighed(history, len(popularity)))
        self._dirty = True
        self.popular = self.trending = Ranked(np.zeros(0), np.zeros(0, np.int64))
        self.ranking(np.arange(len(popularity)))()

    def _weighed(self, history: History, n_titles: int) -> Doubles:
        found = np.zeros(n_titles)
        for begin in range(0, len(history.titles), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            times = history.times[part]
            there = times != NO_TIME
            weights = self._weight(times[there] if self._latest is None else np.minimum(times[there], self._latest))
            found += np.bincount(history.titles[part][there], weights, n_titles)
        return found

    def _weight(self, times: Ints) -> Doubles:
        ages = (times - self._reference) / self._half_life
        found: Doubles = np.exp2(np.clip(ages, -_MOST, _MOST))
        return found

    def count(self, title: int) -> None:
        """Record that one more user had to do with a title."""
        self._popularity.add(title, 1.0)
        self._dirty = True

    def reorder(self) -> None:
        """Have titles ordered again: what they are among equals has changed."""
        self._dirty = True

    def move(self, title: int, before: int | None, after: int | None) -> None:
        """Record that a user's latest interaction with a title moved from ``before`` to ``after``; None is none."""
        if before != after:
            self._trend.add(title, self._weight_of(after) - self._weight_of(before))
            self._dirty = True

    def _weight_of(self, time: int | None) -> float:
        if time is None or time == NO_TIME:
            return 0.0
        return float(2.0 ** min(max((time - self._reference) / self._half_life, -_MOST), _MOST))

    def ranking(self, places: Ints) -> Callable[[], None]:
        """Return what orders titles again, where anything has changed; ``places`` (n,) is their order among equals.

        A title whose place is n is left out: nothing but interactions is known of it.
        It may be called while events come, and takes everything as it is now.
        """
        if not self._dirty:
            return lambda: None
        self._dirty = False
        return partial(self._rank, self._popularity.rows.copy(), self._trend.rows.copy(), places)

    def _rank(self, popularity: Doubles, trend: Doubles, places: Ints) -> None:
        n = len(popularity)
        popularity[places[:n] >= len(places)] = trend[places[:n] >= len(places)] = 0.0  # those that have no place
        # Rounded, and what is left of sums that should be 0 is 0.
        highest = float(trend.max(initial=0.0))
        shares = np.round(trend / highest, _DIGITS) if highest > 0 else np.zeros(len(trend))
        self.popular = Ranked(popularity, places[: len(popularity)], self.popular)
        self.trending = Ranked(shares, places[: len(shares)], self.trending)

    def popularity(self, rows: Ints) -> Doubles:
        """Return how many users rated titles or did something with them, (n,)."""
        held = self._popularity.rows
        found = np.zeros(len(rows))
        there = rows < len(held)
        found[there] = held[rows[there]]
        return found
