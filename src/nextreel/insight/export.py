"""``final_recommendations.csv``: everyone's recommendations, written whole or not at all; the same as Parquet."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from nextreel.model.model import Model
from nextreel.model.rank import Pairs
from nextreel.model.recommend import Recommendations, Recommender

FILE_NAME = "final_recommendations.csv"

#: A cell that begins with one of these, full-width forms included, is a formula to a spreadsheet (OWASP, "CSV
#: injection").
_FORMULA = "^[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"


def recommendations_table(model: Model, seen: Pairs, users: pa.Table, titles: pa.Table, k: int) -> pa.Table:
    """Return everyone's recommendations in one table: see `recommendations`."""
    return pa.concat_tables(recommendations(model, seen, users, titles, k))


def recommendations(
    model: Model, seen: Pairs, users: pa.Table, titles: pa.Table, k: int, block_users: int = 50_000
) -> Iterator[pa.Table]:
    """Yield the ``k`` best titles of every user of the model, ordered by user, then rank, a block of users at a time.

    ``users`` names them (user_id, username), ``titles`` is the catalogue (content_id, title, type, genres); titles
    that the catalogue does not have are not recommended. Columns: user_id, username, rank, content_id, title, type,
    genres (list), predicted_rating.
    """
    entry = pc.index_in(model.title_ids, titles["content_id"].combine_chunks())
    recommender = Recommender(model, pc.is_valid(entry).to_numpy(zero_copy_only=False))
    for begin in range(0, max(1, len(model.user_ids)), block_users):
        rows = np.arange(begin, min(begin + block_users, len(model.user_ids)))
        found = recommender.recommend(rows, k, seen)
        user, rank, title = _long(found)
        catalogue = titles.take(entry.take(pa.array(title)))
        user_ids = model.user_ids.take(pa.array(rows[user]))
        columns = {
            "user_id": user_ids,
            "username": users["username"].take(pc.index_in(user_ids, users["user_id"].combine_chunks())),
            "rank": pa.array(rank, pa.int32()),
            "content_id": model.title_ids.take(pa.array(title)),
            "title": catalogue["title"],
            "type": catalogue["type"],
            "genres": catalogue["genres"],
            "predicted_rating": pa.array(found.ratings[found.titles >= 0], pa.float32()),
        }
        yield pa.table(columns)


def _long(found: Recommendations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lists as columns: user row, rank from 1, title row."""
    user, place = np.nonzero(found.titles >= 0)
    return user, place + 1, found.titles[user, place]


def write_recommendations(tables: Iterable[pa.Table], folder: Path) -> Path:
    """Write recommendations as CSV and as Parquet, each there whole or not, and return the CSV's path.

    The CSV is UTF-8, genres joined by ``|``; Parquet has them as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    blocks = iter(tables)
    first = next(blocks)
    flat = _flat(first)
    with (
        _whole(folder / FILE_NAME) as text,
        _whole((folder / FILE_NAME).with_suffix(".parquet")) as binary,
        csv.CSVWriter(text, flat.schema, write_options=csv.WriteOptions(quoting_style="needed")) as lines,
        pq.ParquetWriter(binary, first.schema, compression="zstd") as groups,
    ):
        lines.write_table(flat)
        groups.write_table(first)
        for table in blocks:
            lines.write_table(_flat(table))
            groups.write_table(table)
    return folder / FILE_NAME


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Give a file that takes a path's place when the block has ended well, and goes when not."""
    fresh = path.with_suffix(f"{path.suffix}.{os.getpid()}.tmp")
    try:
        with fresh.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _flat(table: pa.Table) -> pa.Table:
    """Return a table of plain cells, harmless in a spreadsheet."""
    rounded = pc.round(table["predicted_rating"].cast(pa.float64()), 3)
    columns = {"genres": pc.binary_join(table["genres"], "|"), "predicted_rating": rounded}
    found = {name: columns.get(name, table[name]) for name in table.column_names}
    return pa.table({n: _harmless(pc.fill_null(c, "")) if pa.types.is_string(c.type) else c for n, c in found.items()})


def _harmless(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text that no spreadsheet runs: an apostrophe stands before what would be a formula."""
    return pc.if_else(pc.match_substring_regex(cells, _FORMULA), pc.binary_join_element_wise("'", cells, ""), cells)
