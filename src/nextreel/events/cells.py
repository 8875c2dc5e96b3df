"""Files of anybody's rows, as CSV or Parquet: each row with its number, its cells by column."""

import codecs
import csv
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from nextreel.errors import InputError

#: The delimiter of a CSV file is guessed as that of these which is the most frequent in its header.
_DELIMITERS = ",;\t|"
_HEADER_CHARACTERS, _SAMPLE_ROWS = 100_000, 50
#: Characters of a CSV file's cell, at the most: in a longer one, a quote is missing.
_CELL_MOST = 10_000_000
_GZIP = b"\x1f\x8b"

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
    if not path.is_file():
        raise InputError(f"{path} is no file that can be read more than once")
    try:
        if _is_parquet(path):
            found = pq.ParquetFile(path).schema_arrow.names
        else:
            with path.open(encoding=_encoding(file), errors="surrogateescape", newline="") as text:
                found = next(_reader(text, file), [])
    except (OSError, pa.ArrowException, UnicodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not found or not any(name.strip() for name in found):
        raise InputError(f"{path} is empty: its first row must name the columns")
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise InputError(f"{path} has two columns {twice!r}")
    if any(map(_has_strays, found)):
        raise InputError(
            f"{path}: its header is not {file.encoding}; if it is another encoding, the mapping's [file] says so"
        )
    return list(found)


def first_rows(path: Path) -> tuple[FileFormat, list[str], list[Row]]:
    """Return how a file seems to be written, its columns, and some of its rows. Raises `InputError`."""
    file = FileFormat()
    if path.is_file() and not _is_parquet(path):
        with path.open("rb") as raw:
            begin = raw.read(2)
        if begin == _GZIP:
            raise InputError(f"{path} is compressed by gzip: unpack it first")
        is_utf_16 = begin in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        file = FileFormat(encoding="utf-16" if is_utf_16 else "utf-8")
        with path.open(encoding=_encoding(file), errors="replace") as text:
            header = text.readline(_HEADER_CHARACTERS)
        file = FileFormat(delimiter=max(_DELIMITERS, key=header.count), encoding=file.encoding)
    return file, columns_of(path, file), list(islice(rows_of(path, file), _SAMPLE_ROWS))


def rows_of(path: Path, file: FileFormat) -> Iterator[Row]:
    """Yield a file's rows. One that cannot be read has a fault. Raises `InputError` as `columns_of` does."""
    columns = columns_of(path, file)
    if _is_parquet(path):
        yield from _parquet_rows(path)
        return
    with path.open(encoding=_encoding(file), errors="surrogateescape", newline="") as text:
        lines = _Lines(text)
        cells = _reader(lines, file)
        next(cells)
        number = 0
        while True:
            lines.begin()
            try:
                line = next(cells, None)
            except csv.Error as error:
                number += 1
                if sum(map(len, lines.taken)) > _CELL_MOST:
                    raise InputError(f"{path}, row {number:,}: {error}; is a quote missing there?") from None
                yield Row(number, {}, f"{error}; a quote is missing, or is not doubled")
                lines.put_back()  # a quote that is never closed takes what follows with it
                cells = _reader(lines, file)
                continue
            except UnicodeError as error:
                raise InputError(f"{path} is not {file.encoding}: {error}") from None
            if line is None:
                return
            if not line:  # a line with nothing in it
                continue
            number += 1
            yield _row(number, columns, line, file.encoding)


class _Lines:
    """A file's lines. Those that one row has taken can be read again, but for the first."""

    def __init__(self, text: Iterator[str]):
        self._text = text
        self._again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._text)
        self.taken.append(line)
        return line

    def begin(self) -> None:
        """Begin a row."""
        self.taken.clear()

    def put_back(self) -> None:
        """Have all lines of this row but the first one read again."""
        self._again.extendleft(reversed(self.taken[1:]))


def _reader(lines: Iterator[str], file: FileFormat) -> Iterator[list[str]]:
    csv.field_size_limit(_CELL_MOST)  # of the whole process
    return csv.reader(lines, delimiter=file.delimiter, strict=True)


def _has_strays(text: str) -> bool:
    """Tell whether there are bytes in a text that its encoding does not have."""
    return not text.isascii() and any("\udc80" <= c <= "\udcff" for c in text)


def _row(number: int, columns: list[str], line: list[str], encoding: str) -> Row:
    if len(line) != len(columns):
        return Row(number, {}, f"{len(line)} cells, and the header has {len(columns)}")
    if any(map(_has_strays, line)):
        return Row(number, {}, f"not {encoding}; if it is another encoding, the mapping's [file] says so")
    return Row(number, dict(zip(columns, line, strict=True)))


def _parquet_rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(path) as found:
            for batch in found.iter_batches(10_000):
                for cells in batch.to_pylist():
                    number += 1
                    yield Row(number, {name: _cell(value) for name, value in cells.items()})
    except (OSError, pa.ArrowException, ValueError, OverflowError, LookupError) as error:  # times that Python lacks
        raise InputError(f"{path} cannot be read after row {number:,}: {error}") from None


def nested(path: Path, columns: Iterable[str]) -> str | None:
    """Return which of a file's columns has cells within cells, and its type; None where none has."""
    if not _is_parquet(path):
        return None
    schema = pq.ParquetFile(path).schema_arrow
    for name in columns:
        kind = schema.field(name).type
        inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
        if pa.types.is_nested(inner):
            return f"{name!r}, {kind}"
    return None


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
