"""Does the lake hold what its records say? Files, rows, and in depth every single message."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.lake.ledger import LakeFile, Ledger, read_ledger
from nextreel.lake.locks import keeper

_PLACE = ["kafka_topic", "kafka_partition", "kafka_offset"]
_BLOCK_ROWS = 65_536

#: So long a file may be between its record and its place while an ingest runs.
_PATIENCE_SECONDS = 5.0
#: So long whoever merges files is waited for.
_KEEPER_SECONDS = 30.0


@dataclass(frozen=True)
class Verdict:
    """What was looked at, and what is wrong with it; nothing where ``problems`` is empty."""

    files: int
    rows: int
    messages: int
    absent: int
    removed: int
    problems: list[str]


def verify(lake: Lake, deep: bool = False) -> Verdict:
    """Recount the lake against its commit records, under a running ingest too.

    Files are compared by name, size and the rows in their footers. ``deep`` reads all of them, checksums included, and
    looks each message up: none may be there twice, and none be missing. It takes a byte of memory a message. Raises
    `nextreel.errors.LakeError` where files are being merged for half a minute.
    """
    with keeper(lake, _KEEPER_SECONDS):
        found = {_name(lake, f): f for table in SCHEMAS for f in lake.files(table)}
        ledger = read_ledger(lake)  # after the listing: what has a place has a record
        problems = [f"{name} is in no record" for name in found if name not in ledger.files]
        for file in ledger.files.values():
            problems += _wrong(lake, file)
        rows = sum(f.rows for f in ledger.files.values())
        problems += _sums(ledger, rows)
        if deep:
            problems += _places(lake, ledger)
    return Verdict(
        len(ledger.files),
        rows,
        sum(map(_total, ledger.intake.messages.values())),
        _absent(ledger),
        sum(ledger.removed.values()),
        problems,
    )


def _wrong(lake: Lake, file: LakeFile) -> Iterator[str]:
    path = lake.root / file.path
    until = time.monotonic() + _PATIENCE_SECONDS
    while not path.exists() and any(lake.staging.glob("*.staged")) and time.monotonic() < until:
        time.sleep(0.1)  # an ingest may be about to move it to its place
    if not path.exists():
        yield f"{file.path} is missing: {file.rows:,} rows"
        return
    if path.stat().st_size != file.bytes:
        yield f"{file.path} has {path.stat().st_size:,} bytes of {file.bytes:,}"
    try:
        rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowInvalid) as error:
        yield f"{file.path} cannot be read: {error}"
        return
    if rows != file.rows:
        yield f"{file.path} has {rows:,} rows of {file.rows:,}"


def _sums(ledger: Ledger, rows: int) -> Iterator[str]:
    """Compare what was read from Kafka, what was written, and what is there."""
    messages = sum(map(_total, ledger.intake.messages.values()))
    brought, removed = sum(ledger.rows.values()), sum(ledger.removed.values())
    if messages != brought:
        yield f"{messages:,} messages were read and {brought:,} rows written"
    if rows != brought - removed:
        yield f"files have {rows:,} rows; {brought:,} were written and {removed:,} removed"
    for topic, partitions in ledger.absent().items():
        for partition, n in partitions.items():
            if n < 0:
                yield f"{topic} partition {partition}: {-n:,} messages more than offsets"


def _places(lake: Lake, ledger: Ledger) -> Iterator[str]:
    """Look each message up. Offsets that hold no message and rows that were removed are allowed to be missing."""
    begins = {
        (topic, int(p)): begin for topic, partitions in ledger.intake.begins.items() for p, begin in partitions.items()
    }
    seen = {(t, p): np.zeros(max(0, ledger.offsets[t][str(p)] - begin), np.uint8) for (t, p), begin in begins.items()}
    for file in ledger.files.values():
        try:
            for (topic, partition), offsets in _offsets(lake.root / file.path):
                begin, times = begins.get((topic, partition), 0), seen.get((topic, partition), np.zeros(0, np.uint8))
                inside = (offsets >= begin) & (offsets < begin + len(times))
                np.add.at(times, offsets[inside] - begin, 1)
                if not inside.all():
                    yield f"{file.path} has offset {offsets[~inside][0]:,} of {topic} partition {partition}: never read"
        except (OSError, pa.ArrowInvalid) as error:
            yield f"{file.path} cannot be read: {error}"
    for (topic, partition), times in seen.items():
        twice = np.flatnonzero(times > 1)
        if len(twice):
            first = twice[0] + begins[topic, partition]
            yield f"{topic} partition {partition}: {len(twice):,} messages twice, the first at offset {first:,}"
    missing = sum(int(np.count_nonzero(times == 0)) for times in seen.values())
    allowed = _absent(ledger) + sum(ledger.removed.values())
    if missing != allowed:
        yield f"{missing:,} offsets have no row; {allowed:,} were expected to have none"


def _offsets(path: Path) -> Iterator[tuple[tuple[str, int], NDArray[np.int64]]]:
    """Yield the offsets in a file, by topic and partition. All columns are read, for their checksums' sake."""
    for batch in pq.ParquetFile(path, page_checksum_verification=True).iter_batches(_BLOCK_ROWS):
        places = pa.Table.from_batches([batch]).select(_PLACE)
        partitions = places.group_by(["kafka_topic", "kafka_partition"], use_threads=False).aggregate([])
        for topic, partition in zip(*(partitions[name].to_pylist() for name in _PLACE[:2]), strict=True):
            same = pc.and_(pc.equal(places["kafka_topic"], topic), pc.equal(places["kafka_partition"], partition))
            yield (topic, partition), places.filter(same)["kafka_offset"].to_numpy()


def _name(lake: Lake, file: Path) -> str:
    return file.relative_to(lake.root).as_posix()


def _absent(ledger: Ledger) -> int:
    """Return how many offsets held no message. A partition of more messages than offsets has none: it is a problem."""
    return sum(max(0, n) for partitions in ledger.absent().values() for n in partitions.values())


def _total(partitions: dict[str, int]) -> int:
    return sum(partitions.values())
