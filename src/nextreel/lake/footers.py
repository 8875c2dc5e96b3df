"""What the footers of Parquet files say: without reading a row, and so quickly for large files too."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.lake.locks import names_kept

_SENT, _ARRIVED = "kafka_timestamp", "ingested_at"

#: The least and the greatest value of a column of times.
Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class _Group:
    """A row group of messages: when they were sent, by their Kafka timestamps, and when they arrived."""

    file: Path
    number: int
    sent: Span | None
    arrived: Span | None

    @property
    def latest(self) -> datetime:
        """No message of it was sent later."""
        known = self.arrived or self.sent
        assert known is not None  # noqa: S101 (`_groups` leaves out what has neither)
        return known[1]


def sent(files: Iterable[Path]) -> Span | None:
    """Return the first and the last Kafka timestamp of messages, None where none says when its message was sent.

    Producers may set any time: one ahead of its message's arrival is left out. Where there are such, rows are read.
    """
    found = [times for group in _groups(files) if (times := _sent(group))]
    return (min(first for first, _ in found), max(last for _, last in found)) if found else None


def newest_message(lake: Lake) -> datetime | None:
    """Return when the newest message was sent, as `sent` says it of each table's last day.

    Where that says nothing it is the last arrival, and None where there is no message.
    """
    newest = None
    with names_kept(lake):
        groups = list(_groups(file for table in SCHEMAS for file in _last_day(lake, table)))
        groups.sort(key=lambda group: group.latest, reverse=True)
        for group in groups:
            if newest is not None and group.latest <= newest:
                break
            times = _sent(group)
            if times is not None:
                newest = times[1] if newest is None else max(newest, times[1])
    return groups[0].latest if newest is None and groups else newest


def _sent(group: _Group) -> Span | None:
    """Return when messages were sent. A time ahead of its own arrival, but not of all others', is not noticed."""
    if group.sent is None or group.arrived is None or group.sent[1] <= group.arrived[1]:
        return group.sent
    try:
        with pq.ParquetFile(group.file) as parquet:
            rows = parquet.read_row_group(group.number, [_SENT, _ARRIVED])
    except (OSError, pa.ArrowInvalid):  # damaged, or merged into another file meanwhile
        return None
    found = pc.min_max(rows[_SENT].filter(pc.less_equal(rows[_SENT], rows[_ARRIVED]))).as_py()
    return None if found["max"] is None else (found["min"], found["max"])


def _last_day(lake: Lake, table: str) -> list[Path]:
    files = lake.files(table)
    return [f for f in files if f.parent == files[-1].parent]


def filled(files: Iterable[Path]) -> tuple[int, Counter[str]]:
    """Return the number of rows and, by column, in how many of them it is neither null nor an empty list.

    Columns whose files keep no count of nulls are left out.
    """
    rows = 0
    nulls: Counter[str] = Counter()
    known: set[str] = set()
    for _, metadata in _footers(files):
        rows += metadata.num_rows
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for chunk in map(group.column, range(group.num_columns)):
                if chunk.statistics is not None and chunk.statistics.has_null_count:
                    name = chunk.path_in_schema.partition(".")[0]
                    nulls[name] += chunk.statistics.null_count
                    known.add(name)
    return rows, Counter({name: rows - nulls[name] for name in known})


def _groups(files: Iterable[Path]) -> Iterator[_Group]:
    """Yield the row groups whose footers tell of times."""
    for file, metadata in _footers(files):
        for number in range(metadata.num_row_groups):
            spans = [_span(metadata.row_group(number), column) for column in (_SENT, _ARRIVED)]
            if any(spans):
                yield _Group(file, number, *spans)


def _span(group: pq.RowGroupMetaData, column: str) -> Span | None:
    for chunk in map(group.column, range(group.num_columns)):
        if chunk.path_in_schema == column and chunk.statistics is not None and chunk.statistics.has_min_max:
            return chunk.statistics.min, chunk.statistics.max
    return None


def _footers(files: Iterable[Path]) -> Iterator[tuple[Path, pq.FileMetaData]]:
    """Yield the footers; a file that has been merged into another meanwhile is left out."""
    for file in files:
        try:
            yield file, pq.read_metadata(file)
        except FileNotFoundError:
            continue
        except pa.ArrowInvalid:  # a file that is damaged has no footer to tell of
            continue
