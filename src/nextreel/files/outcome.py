"""What becomes of a file's rows: counted, with a bounded number of rows kept to be shown."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nextreel.events.contract import EventType

#: Rows of each reason, and cells of each field, that are kept to be shown; the rest are counted.
KEPT_MOST = 1_000


@dataclass(frozen=True)
class Refused:
    """A row that is no event: its number, the reason (as quarantine has it) and what it is about."""

    row: int
    reason: str
    detail: str


class Refusals:
    """Refused rows: all are counted and handed to ``sink``, the first `KEPT_MOST` of each reason are kept."""

    def __init__(self, sink: Callable[[Refused], None] | None = None):
        self.by_reason: Counter[str] = Counter()
        self._kept: dict[str, list[Refused]] = {}
        self._sink = sink

    def append(self, refused: Refused) -> None:
        """Add a refused row."""
        self.by_reason[refused.reason] += 1
        kept = self._kept.setdefault(refused.reason, [])
        if len(kept) < KEPT_MOST:
            kept.append(refused)
        if self._sink is not None:
            self._sink(refused)

    def kept(self, reason: str) -> list[Refused]:
        """Return the kept rows of a reason, in the order in which they were refused."""
        return self._kept.get(reason, [])

    def __len__(self) -> int:
        return self.by_reason.total()

    def __iter__(self) -> Iterator[Refused]:
        return iter(sorted((each for kept in self._kept.values() for each in kept), key=lambda each: each.row))


class LeftOut:
    """Cells that no rule reads, of one field: all are counted, the first `KEPT_MOST` kept as (row, cell)."""

    def __init__(self) -> None:
        self.count = 0
        self.kept: list[tuple[int, str]] = []

    def append(self, row: int, cell: str) -> None:
        """Add a cell."""
        self.count += 1
        if len(self.kept) < KEPT_MOST:
            self.kept.append((row, cell))


@dataclass
class Read:
    """What has been read of a file: rows, events by type, values by field, what was refused or left out.

    ``repeated`` counts rows that say what an earlier row says, ``undescribed`` interactions of titles that no event
    describes, where the titles are known.
    """

    rows: int = 0
    events: Counter[EventType] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    refused: Refusals = field(default_factory=Refusals)
    repeated: int = 0
    undescribed: Counter[str] = field(default_factory=Counter)
    n_undescribed: int = 0


class Occurrences:
    """How often each digest was seen, in bounded memory: a Bloom filter of 16 MB, and a count of what it has seen.

    At ten million distinct digests one in two hundred counts once too often; the same digests in the same order count
    the same.
    """

    _BITS = 27

    def __init__(self) -> None:
        self._seen = bytearray()
        self._again: dict[bytes, int] = {}

    def add(self, digest: bytes) -> int:
        """Return how often a digest of 16 bytes or more was added, this time included."""
        if not self._seen:  # not before it is needed: catalogues have ids
            self._seen = bytearray(1 << (self._BITS - 3))
        is_new = False
        for start in (0, 4, 8, 12):
            bit = int.from_bytes(digest[start : start + 4], "little") >> (32 - self._BITS)
            if not self._seen[bit >> 3] >> (bit & 7) & 1:
                is_new = True
                self._seen[bit >> 3] |= 1 << (bit & 7)
        if is_new:
            return 1
        self._again[digest[:16]] = self._again.get(digest[:16], 1) + 1
        return self._again[digest[:16]]


def digest_of(parts: list[str]) -> bytes:
    """Return what an event's id is made of: a hash of what its row says."""
    return hashlib.sha256("\0".join(parts).encode()).digest()
