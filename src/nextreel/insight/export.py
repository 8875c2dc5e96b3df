"""Everyone's recommendations as files: ``final_recommendations.csv``, and the same as Parquet."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from nextreel.insight.place import taking_place
from nextreel.model.lists import SCHEMA

FILE_NAME = "final_recommendations.csv"
#: A file, or a folder of files that are one table: whichever it is, pandas, Arrow and Spark read it by this name.
PARQUET = "final_recommendations.parquet"
#: Which model version recommends.
ABOUT = "final_recommendations.json"

#: A cell that begins with one of these, full-width forms included, is a formula to a spreadsheet (OWASP, "CSV
#: injection").
_FORMULA = "^[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"

_BLOCK_ROWS = 100_000


def write_recommendations(tables: Iterable[pa.Table], folder: Path, version: str) -> Path:
    """Write the recommendations of a model version as CSV and as a Parquet file, each there whole or not.

    Returns the CSV's path. The CSV is UTF-8, genres joined by ``|``; Parquet has them as they are.
    """
    with (
        _taking_place(folder, version) as fresh,
        (fresh / FILE_NAME).open("wb") as text,
        (fresh / PARQUET).open("wb") as binary,
        pq.ParquetWriter(binary, SCHEMA, compression="zstd") as groups,
    ):
        for table in _lines(text, tables):
            groups.write_table(table)
    return folder / FILE_NAME


def write_parts(
    write: Callable[[Path], object],
    folder: Path,
    version: str,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Path:
    """Do the same with recommendations that ``write`` leaves as Parquet files in the folder that it is given.

    The names of the files are in the order of their rows. ``progress`` is told how many rows of how many the CSV has.
    """
    with _taking_place(folder, version) as fresh:
        write(fresh / PARQUET)
        parts = sorted((fresh / PARQUET).glob("*.parquet"))
        n_rows = sum(pq.read_metadata(part).num_rows for part in parts)
        done = 0
        with (fresh / FILE_NAME).open("wb") as text:
            for table in _lines(text, _blocks(parts)):
                done += len(table)
                progress(done, n_rows)
    return folder / FILE_NAME


def exported_version(folder: Path) -> str | None:
    """Return the model version whose recommendations a folder has; None where it does not say, or has none."""
    if not (folder / PARQUET).exists():
        return None
    try:
        found: str | None = json.loads((folder / ABOUT).read_bytes()).get("model_version")
    except (OSError, ValueError):
        return None
    return found


def _blocks(parts: Iterable[Path]) -> Iterator[pa.Table]:
    for part in parts:
        with pq.ParquetFile(part) as file:
            yield from (pa.Table.from_batches([batch]) for batch in file.iter_batches(_BLOCK_ROWS))


def _lines(text: BinaryIO, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Write tables as CSV, and yield each when it is written."""
    options = csv.WriteOptions(quoting_style="needed")
    with csv.CSVWriter(text, _flat(SCHEMA.empty_table()).schema, write_options=options) as lines:
        for table in tables:
            lines.write_table(_flat(table))
            yield table


@contextmanager
def _taking_place(folder: Path, version: str) -> Iterator[Path]:
    with taking_place(folder, (ABOUT, PARQUET, FILE_NAME)) as fresh:
        yield fresh
        (fresh / ABOUT).write_text(json.dumps({"model_version": version}), "utf-8")


def _flat(table: pa.Table) -> pa.Table:
    """Return a table of plain cells, harmless in a spreadsheet."""
    rounded = pc.round(table["predicted_rating"].cast(pa.float64()), 3)
    columns = {"genres": pc.binary_join(table["genres"], "|"), "predicted_rating": rounded}
    found = {name: columns.get(name, table[name]) for name in table.column_names}
    return pa.table(
        {n: harmless_column(pc.fill_null(c, "")) if pa.types.is_string(c.type) else c for n, c in found.items()}
    )


def harmless(cell: str) -> str:
    """Return a cell's text as no spreadsheet runs it, as `harmless_column` does columns."""
    return f"'{cell}" if re.match(_FORMULA, cell) else cell


def harmless_column(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text that no spreadsheet runs: an apostrophe stands before what would be a formula."""
    return pc.if_else(pc.match_substring_regex(cells, _FORMULA), pc.binary_join_element_wise("'", cells, ""), cells)
