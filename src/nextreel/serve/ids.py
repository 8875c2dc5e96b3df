"""Ids and their rows: those of a model, and those that came after it."""

from bisect import bisect_left, bisect_right

import pyarrow as pa
import pyarrow.compute as pc

from nextreel.errors import ModelError

#: One id of so many is at hand as it is, to look for the others after it.
_EVERY = 64
#: Ids found before that are at hand: those who come, come again.
_MOST_FOUND = 100_000


class Ids:
    """Rows of ids: those ``known`` first, ascending as they are in every model, then those that are added.

    Known ids stay in Arrow's memory, and are found by halving: a dictionary would take a hundred bytes an id.
    """

    def __init__(self, known: pa.StringArray):
        """Raise `ModelError` where known ids do not ascend."""
        if not pc.all(pc.less(known[:-1], known[1:])).as_py() and len(known) > 1:
            raise ModelError("the ids of the model do not ascend")
        _, offsets, data = known.buffers()
        self._known = known
        self._offsets = memoryview(offsets or b"").cast("B").cast("i")[known.offset :]
        self._bytes = memoryview(data or b"")
        self._some = [self._encoded(row) for row in range(0, len(known), _EVERY)]
        self._found: dict[str, int] = {}
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
        row = self._found.get(name)
        if row is None and (row := self._halving(name)) is not None:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            self._found[name] = row
        return self._rows.get(name) if row is None else row

    def _halving(self, name: str) -> int | None:
        wanted = name.encode("utf-8", "surrogatepass")
        n = len(self._known)
        begin = max(0, bisect_right(self._some, wanted) - 1) * _EVERY
        row = bisect_left(range(n), wanted, begin, min(n, begin + _EVERY), key=self._encoded)
        return row if row < n and self._encoded(row) == wanted else None

    def _encoded(self, row: int) -> bytes:
        return bytes(self._bytes[self._offsets[row] : self._offsets[row + 1]])

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
        return self._encoded(row).decode() if row < n else self._added[row - n]
