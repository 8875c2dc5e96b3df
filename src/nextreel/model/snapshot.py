"""What a server needs beside the model: who the users and what the titles are, and what each user rated.

profiles.arrow      a row a user of the model, in its order: username and the traits that they prefer
catalogue.arrow     a row a title, in its order: what it is called, what it is, and its traits
history-*.npy       what users rated and did, by user

All of it is written so that it can be mapped into memory: servers of one machine share it, and what nobody asks for
costs nothing.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.model.arrays import Floats

_TABLES = ("profiles", "catalogue")
#: The time of a rating that has none: before all others.
NO_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class History:
    """What n users rated and did, m pairs of user and title: those of user i are ``start[i]`` to ``start[i + 1]``.

    Within a user ``titles`` (m,), rows, are ascending. ``ratings`` (m,) are in stars, given or stood for; ``given``
    (m,) tells which; ``times`` (m,) are microseconds since 1970, `NO_TIME` where not known.
    """

    start: NDArray[np.int64]
    titles: NDArray[np.int32]
    ratings: Floats
    given: NDArray[np.bool_]
    times: NDArray[np.int64]


@dataclass(frozen=True)
class Snapshot:
    """Users (user_id, username, traits, updated_at) and titles (content_id, type, title, traits …) by the model's rows.

    Of what the lake did not know, the columns are null.
    """

    users: pa.Table
    titles: pa.Table
    history: History


def by_rows(table: pa.Table, key: str, ids: pa.StringArray) -> pa.Table:
    """Return a table by the rows of ``ids``: it has each at most once in the column ``key``; those missing are null."""
    rows = pc.index_in(ids, table[key].combine_chunks())
    found = table.take(rows)
    return found.set_column(found.column_names.index(key), key, ids).combine_chunks()


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    """Write a snapshot to a folder that is there."""
    for name, table in zip(_TABLES, (snapshot.users, snapshot.titles), strict=True):
        with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    for field in fields(History):
        np.save(folder / f"history-{field.name}.npy", getattr(snapshot.history, field.name), allow_pickle=False)


def read_snapshot(folder: Path) -> Snapshot:
    """Map a snapshot into memory. Raises `OSError` or `ValueError` where a part is missing or damaged."""
    users, titles = (pa.ipc.open_file(pa.memory_map(str(folder / f"{name}.arrow"))).read_all() for name in _TABLES)
    arrays = {f.name: mapped(folder / f"history-{f.name}.npy") for f in fields(History)}
    history = History(**arrays)
    n, same = len(history.titles), [history.ratings, history.given, history.times]
    if len(history.start) != len(users) + 1 or history.start[-1] != n or any(len(each) != n for each in same):
        raise ValueError(f"the parts of {folder}'s history do not fit together")
    return Snapshot(users, titles, history)


def is_snapshot(folder: Path) -> bool:
    """Tell whether there is any part of a snapshot in a folder."""
    return any(folder.glob("history-*.npy")) or any((folder / f"{name}.arrow").exists() for name in _TABLES)


def mapped(path: Path) -> NDArray[Any]:
    """Map an array into memory. Not `np.load`: that also opens zip files, and pickled objects where it is let."""
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
    found: NDArray[Any] = np.asarray(np.lib.format.open_memmap(path, mode="r"))  # as a plain array: rows cost less
    if found.dtype.hasobject:
        raise ValueError(f"{path} holds objects")
    return found
