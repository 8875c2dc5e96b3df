"""What the lake's tables weigh."""

from dataclasses import dataclass
from pathlib import Path

from nextreel.lake.layout import Lake
from nextreel.lake.ledger import read_ledger


@dataclass(frozen=True)
class TableStats:
    """One table: its files, how many of them are small, rows and bytes, its first and last day of arrival."""

    table: str
    files: int
    small_files: int
    rows: int
    bytes: int
    first_day: str
    last_day: str


def stats(lake: Lake, small_bytes: int) -> list[TableStats]:
    """Return what each table of messages weighs, by the records; files below ``small_bytes`` are counted as small."""
    by_table: dict[str, list[tuple[str, int, int]]] = {}
    for file in read_ledger(lake).files.values():
        table, day, _ = Path(file.path).parts
        by_table.setdefault(table, []).append((day.removeprefix("date="), file.rows, file.bytes))
    found = []
    for table, files in sorted(by_table.items()):
        days, rows, sizes = zip(*files, strict=True)
        small = sum(size < small_bytes for size in sizes)
        found.append(TableStats(table, len(files), small, sum(rows), sum(sizes), min(days), max(days)))
    return found
