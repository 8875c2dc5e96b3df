"""Traits of users and titles as numbers: a sparse column each, named "genres Drama" or "age_rating PG-13"."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.model.arrays import Ints
from nextreel.model.solve import Rows
from nextreel.ratings.affinity import flat

#: Columns ``genres``, ``directors``, ``actors``, ``decades`` (lists of strings) and ``age_rating`` (string), row by
#: row; any of them may be null.
Traits = Mapping[str, pa.Array]

_LISTS = ("genres", "directors", "actors", "decades")
_NAMES = (*_LISTS, "age_rating")

#: What only one row has says nothing of others.
_FEWEST_ROWS = 2


@dataclass(frozen=True)
class Vocabulary:
    """The traits that count, ``names`` (n_traits,): the most frequent first."""

    names: pa.StringArray

    @classmethod
    def of(cls, *tables: Traits, most: int) -> "Vocabulary":
        """Return the ``most`` frequent traits of all rows of the tables; of equally frequent ones, the first by name.

        Those that a single row has are left out.
        """
        names, counts = [], []
        for table in tables:
            for trait in _NAMES:
                _, codes, values = _cells(table, trait)
                names.append(values)
                counts.append(np.bincount(codes, minlength=len(values)))
        found = pa.table({"name": pa.concat_arrays(names), "rows": np.concatenate(counts)})
        found = found.group_by("name").aggregate([("rows", "sum")]).filter(pc.field("rows_sum") >= _FEWEST_ROWS)
        order = found.sort_by([("rows_sum", "descending"), ("name", "ascending")])
        return cls(order["name"].combine_chunks()[:most])

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.names.to_pylist())}

    def cells(self, values: Mapping[str, Collection[str]]) -> dict[int, float]:
        """Return one row of `indicators`, by column, of the values of each kind: quickly, for one at a time."""
        found = {}
        for trait, each in values.items():
            distinct = set(each)
            for value in distinct:
                column = self._columns.get(f"{trait} {value}")
                if column is not None:
                    found[column] = 1 / sqrt(len(distinct))
        return found

    def indicators(self, table: Traits) -> Rows:
        """Return the traits of each row: 1 / √m where a row has m values of a kind (genres, actors …), else 0.

        A kind so has the length 1, however many values there are, as long as all of them count.
        """
        rows, columns, values = [], [], []
        for trait in _NAMES:
            row, code, names = _cells(table, trait)
            column = pc.fill_null(pc.index_in(names, self.names), -1).to_numpy()[code]
            value = 1 / np.sqrt(np.bincount(row)[row])
            known = column >= 0
            rows.append(row[known])
            columns.append(column[known])
            values.append(value[known])
        n = len(table["age_rating"])
        return Rows.of(np.concatenate(rows), np.concatenate(columns), np.concatenate(values), n)


def aligned(table: pa.Table, by: str, ids: pa.StringArray) -> Traits:
    """Return the traits of ``ids``, row by row, from a table that has each id once in its column ``by``.

    An id that the table does not have has no traits.
    """
    rows = pc.index_in(ids, table[by].combine_chunks())
    return {trait: table[trait].combine_chunks().take(rows) for trait in _NAMES}


def without_traits(n: int) -> Traits:
    """Return n rows of no traits."""
    lists = dict.fromkeys(_LISTS, pa.nulls(n, pa.list_(pa.string())))
    return {**lists, "age_rating": pa.nulls(n, pa.string())}


def take(table: Traits, rows: Ints) -> Traits:
    """Return some rows of a table, in their order."""
    return {trait: table[trait].take(pa.array(rows)) for trait in _NAMES}


def _cells(table: Traits, trait: str) -> tuple[Ints, Ints, pa.StringArray]:
    """Return the row and the value of each cell, each once, as numbers, and the values' names."""
    rows, values = flat(table[trait]) if trait in _LISTS else _known(table[trait])
    encoded = values.dictionary_encode()
    n = max(1, len(encoded.dictionary))
    cells = np.unique(rows * n + encoded.indices.to_numpy().astype(np.int64))
    return cells // n, cells % n, pc.binary_join_element_wise(trait, encoded.dictionary, " ")


def _known(strings: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """Return the values of a column without nulls, and the row of each."""
    if isinstance(strings, pa.ChunkedArray):
        strings = strings.combine_chunks()
    valid = pc.is_valid(strings)
    return np.flatnonzero(valid.to_numpy(zero_copy_only=False)), strings.filter(valid)
