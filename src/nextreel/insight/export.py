"""``final_recommendations.csv``: everyone's recommendations, written whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from nextreel.model.model import Model
from nextreel.model.rank import Pairs
from nextreel.model.recommend import Recommendations, recommend

FILE_NAME = "final_recommendations.csv"

#: A cell that begins with one of these, full-width forms included, is a formula to a spreadsheet (OWASP, "CSV
#: injection").
_FORMULA = "^[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"


def recommendations_table(model: Model, seen: Pairs, users: pa.Table, titles: pa.Table, k: int) -> pa.Table:
    """Return the ``k`` best titles of every user of the model, ordered by user, then rank.

    ``users`` names them (user_id, username), ``titles`` is the catalogue (content_id, title, type, genres); titles
    that the catalogue does not have are not recommended. Columns: user_id, username, rank, content_id, title, type,
    genres (list), predicted_rating.
    """
    entry = pc.index_in(model.title_ids, titles["content_id"].combine_chunks())
    everyone = np.arange(len(model.user_ids))
    found = recommend(model, everyone, k, seen, pc.is_valid(entry).to_numpy(zero_copy_only=False))
    user, rank, title = _long(found)
    catalogue = titles.take(entry.take(pa.array(title)))
    user_ids = model.user_ids.take(pa.array(user))
    names = users["username"].take(pc.index_in(user_ids, users["user_id"].combine_chunks()))
    return pa.table(
        {
            "user_id": user_ids,
            "username": names,
            "rank": pa.array(rank, pa.int32()),
            "content_id": model.title_ids.take(pa.array(title)),
            "title": catalogue["title"],
            "type": catalogue["type"],
            "genres": catalogue["genres"],
            "predicted_rating": pa.array(found.ratings[found.titles >= 0], pa.float32()),
        }
    )


def _long(found: Recommendations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lists as columns: user row, rank from 1, title row."""
    user, place = np.nonzero(found.titles >= 0)
    return user, place + 1, found.titles[user, place]


def write_csv(table: pa.Table, folder: Path) -> Path:
    """Write the recommendations as CSV, UTF-8, genres joined by ``|``; the file appears whole, replacing the old."""
    folder.mkdir(parents=True, exist_ok=True)
    flat = table.set_column(
        table.schema.get_field_index("genres"), "genres", pc.binary_join(table["genres"], "|")
    ).set_column(
        table.schema.get_field_index("predicted_rating"),
        "predicted_rating",
        pc.round(table["predicted_rating"].cast(pa.float64()), 3),
    )
    for i, field in enumerate(flat.schema):
        if pa.types.is_string(field.type):
            flat = flat.set_column(i, field, _harmless(pc.fill_null(flat.column(i), "")))
    path = folder / FILE_NAME
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    with fresh.open("wb") as file:
        csv.write_csv(flat, file, csv.WriteOptions(quoting_style="needed"))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return path


def _harmless(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text that no spreadsheet runs: an apostrophe stands before what would be a formula."""
    return pc.if_else(pc.match_substring_regex(cells, _FORMULA), pc.binary_join_element_wise("'", cells, ""), cells)
