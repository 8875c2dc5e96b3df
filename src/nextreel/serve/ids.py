"""Ids and their rows: those of a model, and those that came after it."""

import numpy as np
import pyarrow as pa


class Ids:
    """Rows of ids: those ``known`` first, in their order, then those that are added.

    Known ids stay in Arrow's memory, and are found by their hashes, 16 bytes an id: a dictionary would take ten times
    as much.
    """

    def __init__(self, known: pa.StringArray):
        hashes = np.fromiter((hash(name) for name in known.to_pylist()), np.int64, len(known))
        self._known = known
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
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
        own = hash(name)
        place = int(self._hashes.searchsorted(own))
        while place < len(self._hashes) and self._hashes[place] == own:
            row = int(self._order[place])
            if self._known[row].as_py() == name:
                return row
            place += 1
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
