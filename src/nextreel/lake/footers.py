"""What the footers of Parquet files say: without reading a row, and so quickly for large files too."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nextreel.lake.layout import SCHEMAS, Lake
from nextreel.lake.locks import names_kept


def span(files: Iterable[Path], column: str) -> tuple[datetime, datetime] | None:
    """Return the least and the greatest value of a column of times, None where there is none."""
    lows, highs = [], []
    for metadata in _footers(files):
        for chunk in _chunks(metadata, column):
            if chunk.statistics is not None and chunk.statistics.has_min_max:
                lows.append(chunk.statistics.min)
                highs.append(chunk.statistics.max)
    return (min(lows), max(highs)) if lows else None


def newest_message(lake: Lake) -> datetime | None:
    """Return the newest message's Kafka timestamp: by the footers of each table's last day."""
    with names_kept(lake):
        newest = [span(_last_day(lake, table), "kafka_timestamp") for table in SCHEMAS]
    return max((found[1] for found in newest if found), default=None)


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
    for metadata in _footers(files):
        rows += metadata.num_rows
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for chunk in map(group.column, range(group.num_columns)):
                if chunk.statistics is not None and chunk.statistics.has_null_count:
                    name = chunk.path_in_schema.partition(".")[0]
                    nulls[name] += chunk.statistics.null_count
                    known.add(name)
    return rows, Counter({name: rows - nulls[name] for name in known})


def _footers(files: Iterable[Path]) -> Iterator[pq.FileMetaData]:
    """Yield the footers; a file that has been merged into another meanwhile is left out."""
    for file in files:
        try:
            yield pq.read_metadata(file)
        except FileNotFoundError:
            continue
        except pa.ArrowInvalid:  # a file that is damaged has no footer to tell of
            continue


def _chunks(metadata: pq.FileMetaData, column: str) -> Iterator[pq.ColumnChunkMetaData]:
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema == column:
                yield chunk
