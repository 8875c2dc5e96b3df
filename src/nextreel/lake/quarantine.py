"""What is in quarantine, read in batches: neither all rows nor many large ones are in memory at a time."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import and_, or_
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from nextreel.lake.layout import QUARANTINE, SCHEMAS, Lake
from nextreel.lake.locks import names_kept
from nextreel.lake.place import Place
from nextreel.lake.replays import Replays

#: Rows at a time: of small columns, and of messages; of large ones fewer, since a batch ends with its row group.
_ROWS, _MESSAGES = 65_536, 1_000

_PLACE = ["kafka_topic", "kafka_partition", "kafka_offset"]
_TOLD = ["reason", *_PLACE, "ingested_at"]

#: So many bytes of a message are taken as an example of it.
_EXAMPLE_BYTES = 1_000


Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Quarantined:
    """One message in quarantine; of an edited export, with its ``line`` and the ``topic`` that it is to be sent to."""

    place: Place
    reason: str
    detail: str
    key: bytes | None
    headers: Headers
    value: bytes | None
    sent_at: datetime | None = None
    ingested_at: datetime | None = None
    line: int = 0
    topic: str = ""

    @property
    def target(self) -> str:
        """The topic that it is to be sent to: its own, unless another one was named."""
        return self.topic or self.place.topic


@dataclass(frozen=True)
class Selection:
    """Some of the quarantine: everything where nothing is said."""

    reasons: Collection[str] = ()
    topics: Collection[str] = ()
    places: Collection[Place] = ()

    def has(self, message: Quarantined) -> bool:
        """Tell whether a message is one of them."""
        return (
            (not self.reasons or message.reason in self.reasons)
            and (not self.topics or message.place.topic in self.topics)
            and (not self.places or message.place in self.places)
        )

    @property
    def filter(self) -> pc.Expression | None:
        """The same for Parquet, which passes over row groups by it."""
        found = []
        if self.reasons:
            found.append(pc.field("reason").isin(list(self.reasons)))
        if self.topics:
            found.append(pc.field("kafka_topic").isin(list(self.topics)))
        if self.places:
            found.append(_at(self.places))
        return reduce(and_, found) if found else None


EVERYTHING = Selection()


@dataclass(frozen=True)
class Example:
    """A message as an example: how it begins, and how many bytes it has (None: it has no value)."""

    place: Place
    detail: str
    start: bytes
    bytes: int | None


@dataclass
class Held:
    """What is in quarantine for one reason; ``first`` and ``last`` are moments of arrival."""

    reason: str
    messages: int = 0
    replayed: int = 0
    first: datetime | None = None
    last: datetime | None = None
    topics: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)


def reasons(lake: Lake) -> dict[str, int]:
    """Return how many messages are in quarantine for each reason, most first."""
    return reasons_in(lake.files(QUARANTINE))


def reasons_in(files: Iterable[Path]) -> dict[str, int]:
    """Return how many messages files of the quarantine hold for each reason, most first."""
    paths = [str(f) for f in files]
    if not paths:
        return {}
    counted: Counter[str] = Counter()
    for batch in ds.dataset(paths, format="parquet").to_batches(columns=["reason"]):
        counted.update({c["values"]: c["counts"] for c in batch["reason"].value_counts().to_pylist()})
    return dict(sorted(counted.items(), key=lambda c: (-c[1], c[0])))


def held(lake: Lake, selection: Selection = EVERYTHING, n_examples: int = 3) -> list[Held]:
    """Return what is in quarantine by reason, most first, each with its newest messages as examples."""
    replays = Replays(lake)
    found: dict[str, Held] = {}
    newest: dict[str, list[tuple[datetime, Place]]] = {}
    for rows in _batches(lake, selection, _TOLD, _ROWS):
        for reason in pc.unique(rows["reason"]).to_pylist():
            same = rows.filter(pc.equal(rows["reason"], reason))
            _add(found.setdefault(reason, Held(reason)), same, replays)
            latest = newest.get(reason, []) + _newest(same, n_examples)
            newest[reason] = sorted(latest, reverse=True)[:n_examples]
    _exemplify(lake, found, newest)
    return sorted(found.values(), key=lambda h: (-h.messages, h.reason))


def messages(lake: Lake, selection: Selection = EVERYTHING) -> Iterator[Quarantined]:
    """Yield the messages in quarantine in the order of their arrival, day by day and file by file."""
    for rows in _batches(lake, selection, SCHEMAS[QUARANTINE].names, _MESSAGES):
        yield from map(_message, rows.to_pylist())


def find(lake: Lake, place: Place) -> Quarantined | None:
    """Return the message of a place, None where it is not in quarantine."""
    return next(messages(lake, Selection(places=[place])), None)


def absent(lake: Lake, places: Collection[Place]) -> set[Place]:
    """Return those of some places that are not in quarantine."""
    left = set(places)
    selection = Selection(topics={place.topic for place in left})
    for rows in _batches(lake, selection, _PLACE, _ROWS) if left else ():
        left -= {Place(*row) for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)}
    return left


def _batches(lake: Lake, selection: Selection, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
    """Yield rows of the quarantine. Columns that older files lack are null."""
    with names_kept(lake):
        files = [str(file) for file in lake.files(QUARANTINE)]
        if not files:
            return
        yield from ds.dataset(files, schema=SCHEMAS[QUARANTINE], format="parquet").to_batches(
            columns=columns, filter=selection.filter, batch_size=size, batch_readahead=1, fragment_readahead=1,
            # Read ahead, a file would be in memory as a whole.
            fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=False), use_threads=False,
        )  # fmt: skip


def _add(told: Held, rows: pa.RecordBatch, replays: Replays) -> None:
    told.messages += len(rows)
    moments = pc.min_max(rows["ingested_at"]).as_py()
    known = [m for m in (told.first, told.last, moments["min"], moments["max"]) if m is not None]
    told.first, told.last = (min(known), max(known)) if known else (None, None)
    told.topics.update({c["values"]: c["counts"] for c in pc.value_counts(rows["kafka_topic"]).to_pylist()})
    if replays:
        told.replayed += sum(map(replays.has, *(rows[name].to_pylist() for name in _PLACE)))


def _newest(rows: pa.RecordBatch, n: int) -> list[tuple[datetime, Place]]:
    order = [("ingested_at", "descending"), ("kafka_offset", "descending")]
    known = rows.filter(rows["ingested_at"].is_valid())
    latest = known.take(pc.select_k_unstable(known, min(n, len(known)), order)) if n and len(known) else known[:0]
    return [(row["ingested_at"], _place(row)) for row in latest.to_pylist()]


def _exemplify(lake: Lake, found: dict[str, Held], newest: dict[str, list[tuple[datetime, Place]]]) -> None:
    reason_of = {place: reason for reason, latest in newest.items() for _, place in latest}
    examples = {}
    for message in messages(lake, Selection(places=reason_of)) if reason_of else ():
        size = None if message.value is None else len(message.value)
        examples[message.place] = Example(message.place, message.detail, (message.value or b"")[:_EXAMPLE_BYTES], size)
    for reason, latest in newest.items():
        found[reason].examples = [examples[place] for _, place in latest if place in examples]


def _message(row: dict[str, Any]) -> Quarantined:
    headers = [(h["key"], h["value"]) for h in row["headers"] or []]
    moments = row["kafka_timestamp"], row["ingested_at"]
    return Quarantined(_place(row), row["reason"], row["detail"], row["key"], headers, row["raw"], *moments)


def _place(row: dict[str, Any]) -> Place:
    return Place(*(row[name] for name in _PLACE))


def _at(places: Collection[Place]) -> pc.Expression:
    offsets: dict[tuple[str, int], list[int]] = {}
    for place in sorted(places):
        offsets.setdefault((place.topic, place.partition), []).append(place.offset)
    return reduce(
        or_,
        (
            (pc.field("kafka_topic") == topic) & (pc.field("kafka_partition") == partition)
            & pc.field("kafka_offset").isin(among)
            for (topic, partition), among in offsets.items()
        ),
    )  # fmt: skip
