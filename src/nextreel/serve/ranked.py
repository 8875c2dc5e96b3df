"""Titles in the order of a value, the same for everybody."""

import numpy as np

from nextreel.model.arrays import Doubles, Ints
from nextreel.serve.choices import Chosen

#: Titles that are looked at at a time, from the top.
_LOOK = 1024
#: So many titles are put in order ahead; of the rest only those that somebody asks for.
_AHEAD = 20_000


class Ranked:
    """Titles by a value (n,), highest first, among equals by their ``places`` (n,); those of 0 are left out."""

    _least: float
    _first: Ints

    def __init__(self, values: Doubles, places: Ints, before: "Ranked | None" = None):
        """Take what is not changed from now on. The order ``before``, of values much like these, makes it quicker."""
        self._values = values
        self._places = places
        self._least, expected = (0.0, 0) if before is None else (before._least, len(before._first))
        rows = np.flatnonzero(values > self._least)
        if not expected / 2 <= len(rows) <= 2 * _AHEAD:
            enough = len(values) > _AHEAD
            self._least = max(0.0, float(np.partition(values, -_AHEAD)[-_AHEAD])) if enough else 0.0
            rows = np.flatnonzero(values > self._least)
        self._first = self._ordered(rows)

    def _ordered(self, rows: Ints) -> Ints:
        found: Ints = rows[np.lexsort((self._places[rows], -self._values[rows]))]
        return found

    def top(self, k: int, chosen: Chosen, exclude: Ints) -> Ints:
        """Return the first ``k`` titles that are ``chosen`` and not to ``exclude`` (ascending)."""
        found: list[Ints] = []
        n = 0
        for begin in range(0, len(self._first), _LOOK):
            rows = _kept(self._first[begin : begin + _LOOK], chosen, exclude)
            found.append(rows[: k - n])
            n += len(found[-1])
            if n == k:
                return np.concatenate(found)
        rows = chosen.rows()
        rows = rows[rows < len(self._values)]
        return _without(self._ordered(rows[self._values[rows] > 0]), exclude)[:k]


def _kept(rows: Ints, chosen: Chosen, exclude: Ints) -> Ints:
    return _without(rows[chosen.allows(rows)], exclude)


def _without(rows: Ints, exclude: Ints) -> Ints:
    found: Ints = rows[~np.isin(rows, exclude)] if len(exclude) else rows
    return found
