"""Files of rows, whatever they are written as: columns, and each row with its number and its cells by column."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nextreel.errors import InputError
from nextreel.files.delimited import delimited_columns, delimited_rows, has_strays
from nextreel.files.dialect import recognised_dialect
from nextreel.files.records import NAME_KEYS, json_rows, row_of
from nextreel.files.source import READ_ERRORS, FileFormat, Row, encoding_of, kind_of, surrogate_of
from nextreel.files.workbook import sheet_columns, sheet_rows

#: Rows from which a mapping is guessed.
SAMPLE_ROWS = 2_000


def recognised(path: Path, file: FileFormat | None = None) -> FileFormat:
    """Return how a file is written: what ``file`` says, the rest by its bytes. Raises `InputError`."""
    file = file or FileFormat()
    try:
        kind = file.kind or kind_of(path)
        file = file.model_copy(update={"kind": kind})
        if kind == "csv":
            return recognised_dialect(path, file)
        if kind in ("json", "json lines"):
            return file.model_copy(update={"encoding": file.encoding or encoding_of(path)})
    except READ_ERRORS as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    return file


def columns_of(path: Path, file: FileFormat) -> list[str]:
    """Return a file's columns. Raises `InputError` where it cannot be read or has none, or two of one name."""
    file = _complete(path, file)
    try:
        if file.kind == "parquet":
            columns = pq.ParquetFile(path).schema_arrow.names
        elif file.kind == "excel":
            columns = sheet_columns(path, file)
        elif file.kind == "csv":
            columns = delimited_columns(path, file)
        else:
            columns = _names_of_records(path, file)
    except READ_ERRORS as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    named = [name for name in columns if name]
    if not named:
        raise InputError(f"{path} is empty: its first row must name the columns")
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise InputError(f"{path} has two columns {twice!r}; {_NO_HEADER}")
    if file.kind != "csv" and (name := next(filter(surrogate_of, named), None)):
        raise InputError(f"{path}: the column name {name!r} holds a lone surrogate, which UTF-8 cannot encode")
    if any(map(has_strays, named)):
        raise InputError(
            f"{path}: its header is not {file.encoding}; if it is another encoding, the mapping's [file] says so"
        )
    return named


def _names_of_records(path: Path, file: FileFormat) -> list[str]:
    rows = list(islice(json_rows(path, file), SAMPLE_ROWS))
    columns = list(dict.fromkeys(name for row in rows for name in row.cells))
    if rows and not columns:
        why = rows[0].fault or "an object without fields"
        raise InputError(f"{path}: none of its first {len(rows):,} rows is a JSON object with fields; row 1 is {why}")
    return columns


def first_rows(path: Path, file: FileFormat | None = None) -> tuple[FileFormat, list[str], list[Row]]:
    """Return how a file is written, its columns, and some of its rows. Raises `InputError`."""
    file = recognised(path, file)
    return file, columns_of(path, file), list(islice(rows_of(path, file), SAMPLE_ROWS))


def rows_of(path: Path, file: FileFormat) -> Iterator[Row]:
    """Yield a file's rows. One that cannot be read has a fault. Raises `InputError` as `columns_of` does."""
    file = _complete(path, file)
    columns_of(path, file)
    if file.kind == "parquet":
        yield from _parquet_rows(path)
    elif file.kind == "excel":
        yield from sheet_rows(path, file)
    elif file.kind == "csv":
        yield from delimited_rows(path, file, delimited_columns(path, file))
    else:
        yield from json_rows(path, file)


def nested(path: Path, file: FileFormat, columns: Iterable[str]) -> str | None:
    """Return which of a Parquet file's columns has cells within cells, and its type; None where none has.

    Lists of objects that have a name are lists of these names.
    """
    if file.kind != "parquet":
        return None
    schema = pq.ParquetFile(path).schema_arrow
    for name in columns:
        kind = schema.field(name).type
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        inner = kind.value_type if is_list else kind
        if is_list and pa.types.is_struct(inner) and any(inner.get_field_index(key) >= 0 for key in NAME_KEYS):
            continue
        if pa.types.is_nested(inner):
            return f"{name!r}, {kind}"
    return None


_NO_HEADER = 'if the first row is data, say [file] header = false, and name columns by their place: "1", "2"'


def _complete(path: Path, file: FileFormat) -> FileFormat:
    is_complete = file.kind in ("parquet", "excel") or (file.kind is not None and file.encoding is not None)
    if file.kind == "csv" and None in (file.delimiter, file.quote, file.escape):
        is_complete = False
    return file if is_complete else recognised(path, file)


def _parquet_rows(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(10_000):
                for cells in batch.to_pylist():
                    number += 1
                    yield row_of(number, cells)
    except (OSError, pa.ArrowException, ValueError, OverflowError, LookupError) as error:  # times that Python lacks
        raise InputError(f"{path} cannot be read after row {number:,}: {error}") from None
