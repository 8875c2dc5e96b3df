"""Ids and their rows: those of a model, and those that came after it."""

from bisect import bisect_left

import pyarrow as pa


class Ids:
    """Rows of ids. Those ``known`` are ascending, as a model has them; others are added behind them."""

    def __init__(self, known: pa.StringArray):
        self._known = known
        self._added: list[str] = []
        self._rows: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._known) + len(self._added)

    @property
    def n_known(self) -> int:
        """How many there were in the beginning."""
        return len(self._known)

    def find(self, name: str) -> int | None:
        """Return the row of an id, or None."""
        row = bisect_left(range(len(self._known)), name.encode(), key=self._bytes)
        if row < len(self._known) and self._known[row].as_py() == name:
            return row
        return self._rows.get(name)

    def add(self, name: str) -> int:
        """Return the row of an id, a new one where it has none."""
        row = self.find(name)
        if row is None:
            row = self._rows[name] = len(self)
            self._added.append(name)
        return row

    def name(self, row: int) -> str:
        """Return the id of a row."""
        n = len(self._known)
        found: str = self._known[row].as_py() if row < n else self._added[row - n]
        return found

    def _bytes(self, row: int) -> bytes:
        """Return an id as Arrow orders it: by its bytes in UTF-8."""
        found: bytes = self._known[row].as_py().encode()
        return found
