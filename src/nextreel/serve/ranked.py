"""Titles in the order of a value, the same for everybody."""

import numpy as np

from nextreel.model.arrays import Doubles, Ints, Mask

#: Titles that are looked at at a time, from the top.
_LOOK = 1024


class Ranked:
    """Titles by a value (n,), highest first, among equals by their ``places`` (n,); those of 0 are left out."""

    def __init__(self, values: Doubles, places: Ints):
        order = np.lexsort((places, -values))
        self._order: Ints = order[values[order] > 0]

    def top(self, k: int, allowed: Mask, exclude: Ints) -> Ints:
        """Return the first ``k`` titles that are ``allowed`` (a mask over rows) and not to ``exclude`` (ascending)."""
        found: list[Ints] = []
        n = 0
        for begin in range(0, len(self._order), _LOOK):
            rows = self._order[begin : begin + _LOOK]
            rows = rows[rows < len(allowed)]
            rows = rows[allowed[rows]]
            if len(exclude):
                rows = rows[~np.isin(rows, exclude)]
            found.append(rows[: k - n])
            n += len(found[-1])
            if n == k:
                break
        return np.concatenate([np.zeros(0, np.int64), *found])
