"""Titles that a movie or series event described after training: their slots, and what is estimated of them.

A title that only interactions name has a row, because users' histories hold it, but no slot. It cannot be recommended,
and requests cost the same however many such titles there are.
"""

import numpy as np

from nextreel.model.arrays import Ints
from nextreel.model.estimate import Estimate
from nextreel.serve.grown import Grown


class Arrivals:
    """Slots 0 to n - 1 of described titles, in the order of their first events. Their rows begin at ``n_known``."""

    def __init__(self, n_known: int, like: Estimate | None = None):
        """Take estimates of as many factors as ``like`` has."""
        self._n_known = n_known
        self._slots: Grown[np.int32] = Grown.empty(np.int32)  # by row - n_known: the slot + 1, or 0
        self._rows: Grown[np.int64] = Grown.empty(np.int64)
        parts = [] if like is None else [Grown(values[:0]) for values in vars(like).values()]
        self._estimates: list[Grown[np.float32]] = parts
        self._is_estimated: Grown[np.bool_] = Grown.empty(np.bool_)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Ints:
        """The row of each slot, (n,)."""
        return self._rows.rows

    def add(self, row: int) -> int:
        """Return the slot of a title's row, a new one where it has none."""
        slot = self.slot(row)
        if slot is None:
            slot = len(self._rows)
            self._rows[slot] = row
            self._slots[row - self._n_known] = slot + 1
            self._is_estimated.grow(slot + 1)
            for values in self._estimates:
                values.grow(slot + 1)
        return slot

    def slot(self, row: int) -> int | None:
        """Return the slot of a title's row, or None."""
        place = row - self._n_known
        slot = int(self._slots.rows[place]) if 0 <= place < len(self._slots) else 0
        return slot - 1 if slot else None

    def slots(self, rows: Ints) -> Ints:
        """Return the slots of rows (m,), all at least ``n_known``; -1 where a title has none."""
        slots, places = np.full(len(rows), -1, np.int64), rows - self._n_known
        there = places < len(self._slots)
        slots[there] = self._slots.rows[places[there]].astype(np.int64) - 1
        return slots

    @property
    def estimates(self) -> Estimate:
        """What is estimated of the titles by slot, n rows; 0 before the first estimate."""
        return Estimate(*(values.rows for values in self._estimates))

    def is_estimated(self, row: int) -> bool:
        """Tell whether a title has an estimate."""
        slot = self.slot(row)
        return slot is not None and bool(self._is_estimated.rows[slot])

    def estimated(self, slots: Ints) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Tell which slots (m,) have an estimate; those of -1 have none."""
        if not len(self._is_estimated):
            return np.zeros(len(slots), np.bool_)
        return (slots >= 0) & self._is_estimated.rows[slots]

    def estimate(self, slots: Ints, estimate: Estimate) -> None:
        """Replace the estimates of some slots (m,), by m rows."""
        for held, values in zip(self._estimates, vars(estimate).values(), strict=True):
            held.rows[slots] = values
        self._is_estimated.rows[slots] = True
