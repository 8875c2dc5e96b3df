"""The size, the seed and the time of a synthetic world."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from nextreel.errors import SettingsError

_LEAST: Final = {"seed": 0, "n_users": 1, "n_movies": 1, "n_series": 1, "n_interactions": 0, "days": 1}
_MOST: Final = {"seed": 2**63 - 1, "days": 36_500}
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_END, _LAST_END = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

#: How long before the history starts the service opened.
_YEARS_BEFORE: Final = 3


@dataclass(frozen=True)
class WorldConfig:
    """How large a synthetic world is and when its history lies.

    ``n_interactions`` lie in the ``days`` before ``end``, which has a time zone; from then on they go on for
    ever, ``live_gap`` apart. A value that cannot be raises ``SettingsError``.
    """

    seed: int = 7
    n_users: int = 2000
    n_movies: int = 600
    n_series: int = 300
    n_interactions: int = 120_000
    end: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    days: int = 365
    live_gap: timedelta = timedelta(milliseconds=100)

    def __post_init__(self) -> None:
        for key, least in _LEAST.items():
            value, most = getattr(self, key), _MOST.get(key, 2**31)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise _refused(key, value, f"a whole number from {least} to {most}")
        if not isinstance(self.end, datetime) or self.end.tzinfo is None or not _FIRST_END <= self.end <= _LAST_END:
            raise _refused("end", self.end, "a time with a zone, from 1970 to 2200")
        if not isinstance(self.live_gap, timedelta) or not _MICROSECOND <= self.live_gap <= timedelta(days=1):
            raise _refused("live_gap", self.live_gap, "from one microsecond to one day")

    @property
    def n_titles(self) -> int:
        """Movies and series together."""
        return self.n_movies + self.n_series

    @property
    def end_micros(self) -> int:
        """The end of the history, in microseconds since 1970."""
        return (self.end - _EPOCH) // _MICROSECOND

    @property
    def start_micros(self) -> int:
        """The start of the history, in microseconds since 1970."""
        return self.end_micros - self.days * 86_400_000_000

    @property
    def opening_micros(self) -> int:
        """When the first user signed up and the first titles came, in microseconds since 1970."""
        return self.start_micros - _YEARS_BEFORE * 365 * 86_400_000_000

    @property
    def gap_micros(self) -> int:
        """The time from one live interaction to the next, in microseconds."""
        return self.live_gap // _MICROSECOND

    def rng(self, purpose: str) -> np.random.Generator:
        """Return a generator that depends on the seed and what it is for."""
        return np.random.default_rng([self.seed, int.from_bytes(purpose.encode(), "big")])


def _refused(key: str, value: Any, allowed: str) -> SettingsError:
    return SettingsError(f"{key} = {value!r} is not possible in a synthetic world: it must be {allowed}")
