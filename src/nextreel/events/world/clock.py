"""When interactions happen: their number as the time.

The history keeps hours and days as an audience does, and more of it is near its end; live interactions come
at a steady rate.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextreel.events.world.config import WorldConfig

_HOUR: Final = 3_600_000_000

#: How much is watched in each hour of the day (UTC), and on each day from Monday.
_OF_DAY: Final = np.array([5, 3, 2, 1, 1, 1, 2, 3, 4, 4, 4, 5, 6, 7, 7, 7, 8, 10, 13, 17, 21, 22, 17, 10], float)
_OF_WEEK: Final = np.array([0.85, 0.85, 0.9, 0.95, 1.2, 1.45, 1.3])
_WEEKEND_DAYTIME: Final = 1.4

#: How much more is watched at the history's end than at its start.
_GROWTH: Final = 0.5


class Clock:
    """The times of the interactions of a world."""

    def __init__(self, config: WorldConfig) -> None:
        self._end, self._gap, self._n_past = config.end_micros, config.gap_micros, config.n_interactions
        self._start = config.start_micros
        hours = config.days * 24
        self._edges = self._start + np.arange(hours + 1) * _HOUR
        at = (self._edges[:-1] // _HOUR) % 24
        # 1970 began on a Thursday.
        weekday = (self._edges[:-1] // (24 * _HOUR) + 3) % 7
        daytime = np.where((weekday >= 5) & (at >= 9) & (at < 18), _WEEKEND_DAYTIME, 1.0)
        amount = _OF_DAY[at] * _OF_WEEK[weekday] * daytime * (1.0 + _GROWTH * np.arange(hours) / hours)
        self._share = np.concatenate([[0.0], np.cumsum(amount)]) / amount.sum()

    def times(self, rows: NDArray[np.int64], jitter: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return when interactions happen, in microseconds since 1970; never earlier for a later row.

        ``rows`` are numbers of interactions, all of the history or all live; ``jitter`` says where between a
        row's neighbours it falls, from 0 to 1, and is for the history only. Shapes (n,).
        """
        if rows.size == 0 or rows[0] >= self._n_past:
            return self._end + (rows - self._n_past) * self._gap
        share = (rows + jitter) / self._n_past
        offset = np.interp(share, self._share, self._edges - self._start)
        return np.minimum(self._start + offset.astype(np.int64), self._end - 1)
