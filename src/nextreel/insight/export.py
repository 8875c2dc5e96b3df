"""Everyone's recommendations as files: ``final_recommendations.csv``, and the same as Parquet.

Each takes its place when it is whole. Until then it lies beside, in a folder ``.final_recommendations.…``, which goes
in the end; what a kill leaves of one goes with the next export.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from nextreel.durable import sync
from nextreel.errors import LakeError
from nextreel.lake.exchange import exchange
from nextreel.locks import changing, in_use, unused
from nextreel.model.lists import SCHEMA

FILE_NAME = "final_recommendations.csv"
#: A file, or a folder of files that are one table: whichever it is, pandas, Arrow and Spark read it by this name.
PARQUET = "final_recommendations.parquet"
#: Which model version recommends.
ABOUT = "final_recommendations.json"

_BESIDE = ".final_recommendations."
_KEPT = "kept"

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
    """Return the model version whose recommendations a folder has; None where it does not say."""
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
    """Give a folder for the CSV and the Parquet, which take their places when the block has ended well."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{_BESIDE}{uuid4().hex}"
    with ExitStack() as ours:
        with changing(folder):
            _remove_leftovers(folder)
            fresh.mkdir()
            ours.callback(shutil.rmtree, fresh, ignore_errors=True)
            (fresh / _KEPT).touch()
            ours.enter_context(in_use(fresh / _KEPT))
        yield fresh
        (fresh / ABOUT).write_text(json.dumps({"model_version": version}))
        for path in (*fresh.rglob("*"), fresh):
            sync(path)
        for name in (ABOUT, PARQUET, FILE_NAME):
            _take_place(fresh / name, folder / name)
        sync(folder)


def _take_place(fresh: Path, path: Path) -> None:
    """Put a file or a folder where another may be, in one step; what was there is beside then, or gone.

    Where the file system knows no such step for folders, it is two: for a moment there is nothing.
    """
    if not (path.is_dir() or (fresh.is_dir() and path.exists())):
        fresh.replace(path)
        return
    try:
        exchange(fresh, path)
    except LakeError:
        path.rename(fresh.with_suffix(".old"))
        fresh.rename(path)


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes have left: nobody keeps it."""
    for left in folder.glob(f"{_BESIDE}*"):
        with suppress(OSError), unused(left / _KEPT) as free:  # it may be another user's
            if free:
                shutil.rmtree(left)


def _flat(table: pa.Table) -> pa.Table:
    """Return a table of plain cells, harmless in a spreadsheet."""
    rounded = pc.round(table["predicted_rating"].cast(pa.float64()), 3)
    columns = {"genres": pc.binary_join(table["genres"], "|"), "predicted_rating": rounded}
    found = {name: columns.get(name, table[name]) for name in table.column_names}
    return pa.table({n: _harmless(pc.fill_null(c, "")) if pa.types.is_string(c.type) else c for n, c in found.items()})


def harmless(cell: str) -> str:
    """Return a cell's text as no spreadsheet runs it, as `_harmless` does columns."""
    return f"'{cell}" if re.match(_FORMULA, cell) else cell


def _harmless(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text that no spreadsheet runs: an apostrophe stands before what would be a formula."""
    return pc.if_else(pc.match_substring_regex(cells, _FORMULA), pc.binary_join_element_wise("'", cells, ""), cells)
