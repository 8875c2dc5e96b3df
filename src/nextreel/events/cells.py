"""Files of anybody's rows, as CSV or Parquet: each row with its number, its cells by column."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from nextreel.errors import InputError

#: Of these a CSV file's header has the most of that which it is written with.
_DELIMITERS = ",;\t|"
_HEADER, _SOME = 100_000, 50

#: What a cell may hold: nothing, a text, or several.
Cell = str | list[str] | None


class FileFormat(BaseModel):
    """How a CSV file is written. Parquet says so itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Literal["utf-8", "latin-1", "cp1252", "utf-16"] = "utf-8"


@dataclass(frozen=True)
class Row:
    """One row: its number, from 1 on without the header; ``fault`` says why it has no cells."""

    number: int
    cells: dict[str, Cell]
    fault: str = ""


def columns_of(path: Path, file: FileFormat) -> list[str]:
    """Return a file's columns. Raises `InputError` where it cannot be read or has none, or two of one name."""
    try:
        if _is_parquet(path):
            found = pq.ParquetFile(path).schema_arrow.names
        else:
            with path.open(encoding=_encoding(file), errors="surrogateescape", newline="") as text:
                found = next(csv.reader(text, delimiter=file.delimiter), [])
    except (OSError, pa.ArrowException, UnicodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not found or not any(name.strip() for name in found):
        raise InputError(f"{path} is empty: its first row must name the columns")
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise InputError(f"{path} has two columns {twice!r}")
    return list(found)


def first_rows(path: Path) -> tuple[FileFormat, list[str], list[Row]]:
    """Return how a file seems to be written, its columns, and some of its rows. Raises `InputError`."""
    file = FileFormat()
    if not _is_parquet(path):
        with path.open(encoding=_encoding(file), errors="replace") as text:
            header = text.readline(_HEADER)
        file = FileFormat(delimiter=max(_DELIMITERS, key=header.count))
    return file, columns_of(path, file), list(islice(rows_of(path, file), _SOME))


def rows_of(path: Path, file: FileFormat) -> Iterator[Row]:
    """Yield a file's rows. One that cannot be read has a fault. Raises `InputError` as `columns_of` does."""
    columns = columns_of(path, file)
    if _is_parquet(path):
        yield from _parquet_rows(path)
        return
    with path.open(encoding=_encoding(file), errors="surrogateescape", newline="") as text:
        lines = csv.reader(text, delimiter=file.delimiter)
        next(lines)
        number = 0
        while True:
            try:
                line = next(lines, None)
            except csv.Error as error:
                number += 1
                yield Row(number, {}, str(error))
                continue
            except UnicodeError as error:
                raise InputError(f"{path} is not {file.encoding}: {error}") from None
            if line is None:
                return
            if not line:  # a line with nothing in it
                continue
            number += 1
            yield _row(number, columns, line, file.encoding)


def _row(number: int, columns: list[str], line: list[str], encoding: str) -> Row:
    if len(line) != len(columns):
        return Row(number, {}, f"{len(line)} cells, and the header has {len(columns)}")
    if any("\udc80" <= c <= "\udcff" for cell in line if not cell.isascii() for c in cell):
        return Row(number, {}, f"not {encoding}")
    return Row(number, dict(zip(columns, line, strict=True)))


def _parquet_rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(path) as found:
            for batch in found.iter_batches(10_000):
                for cells in batch.to_pylist():
                    number += 1
                    yield Row(number, {name: _cell(value) for name, value in cells.items()})
    except (OSError, pa.ArrowException, ValueError) as error:
        raise InputError(f"{path} cannot be read after row {number:,}: {error}") from None


def _cell(value: Any) -> Cell:
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [text for each in value if isinstance(text := _cell(each), str)]
    if isinstance(value, date):  # and moments
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _encoding(file: FileFormat) -> str:
    return "utf-8-sig" if file.encoding == "utf-8" else file.encoding
