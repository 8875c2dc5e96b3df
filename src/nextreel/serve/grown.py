"""Arrays that rows are added to."""

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Number = TypeVar("Number", bound=np.generic)


class Grown(Generic[Number]):
    """An array whose first axis grows; room is doubled, so that a row costs the same however many there are."""

    def __init__(self, first: NDArray[Number]):
        self._held = first
        self._n = len(first)

    @classmethod
    def empty(cls, dtype: DTypeLike, *columns: int) -> "Grown[Number]":
        """Return one without rows."""
        return cls(np.zeros((0, *columns), dtype))

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> NDArray[Number]:
        """What it holds. Later rows do not show in it; later values do, until it grows."""
        return self._held[: self._n]

    def grow(self, n: int) -> None:
        """Have ``n`` rows at least; new ones are 0."""
        if n > len(self._held):
            more = np.zeros((max(n, 2 * len(self._held), 64), *self._held.shape[1:]), self._held.dtype)
            more[: self._n] = self.rows
            self._held = more
        self._n = max(n, self._n)

    def __setitem__(self, row: int, value: ArrayLike) -> None:
        self.grow(row + 1)
        if not self._held.flags.writeable:  # mapped from a file
            self._held = self._held.copy()
        self._held[row] = value

    def add(self, row: int, value: float) -> None:
        """Add to the value of a row."""
        self.grow(row + 1)
        self._held[row] += value
