"""Which titles have a genre, at a cost of what titles have, not of genres times titles.

Genres of more than one in 32 of the model's titles have a filter, a bit a title; all others have lists of rows, which
are smaller. A filter is made of such a list when a request asks for it, and the last ones are kept.
"""

from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.model.arrays import Ints, Mask
from nextreel.model.rank import Catalogue, Filter
from nextreel.ratings.affinity import flat
from nextreel.serve.ids import Ids

Scalar = TypeVar("Scalar", np.uint64, np.bool_)

#: A genre has a filter where more than one in so many of the model's titles have it: a row takes as much as 32 bits.
_DENSE_ONE_IN = 32
#: A filter is given up where fewer than one in so many titles have its genre.
_SPARSE_ONE_IN = 128
#: Filters and masks of other genres that are kept for the next request.
_KEPT = 32


class Genres:
    """Titles by genre: those of the model by row, those described since by slot (`nextreel.serve.arrivals`)."""

    def __init__(self, catalogue: Catalogue, genres: pa.ChunkedArray):
        """Take the genres of the model's titles, lists of strings by row, or null."""
        self._catalogue = catalogue
        rows, names = flat(genres)
        encoded = names.dictionary_encode()
        order = pc.sort_indices(encoded.dictionary)
        code = np.empty(len(order), np.int64)
        code[order.to_numpy()] = np.arange(len(order))
        codes = code[encoded.indices.to_numpy(zero_copy_only=False)]
        self._names = Ids(encoded.dictionary.take(order))
        self._rows = rows[np.argsort(codes, kind="stable")].astype(np.int32)
        self._start = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(order)))])
        #: The model's titles whose genres an event has replaced: what the model says of them no longer holds.
        self._replaced = np.zeros(catalogue.n_titles, np.bool_)
        self._known: dict[str, int | set[int]] = {}
        self._new: dict[str, int | set[int]] = {}
        self._dense: dict[str, Filter] = {}
        self._n_dense: dict[str, int] = {}
        self._kept: dict[str, Filter] = {}
        self._kept_new: dict[str, Mask] = {}
        for each in np.flatnonzero(np.diff(self._start) * _DENSE_ONE_IN > catalogue.n_titles).tolist():
            self._make_dense(self._names.name(each))

    def change(self, row: int, before: frozenset[str], after: frozenset[str]) -> None:
        """Replace the genres of a title of the model."""
        if not self._replaced[row]:
            for genre in before:
                self._set(genre, row, False)
            self._replaced[row] = True
            before = frozenset()
        for genre in before - after:
            self._set(genre, row, False)
        for genre in after - before:
            self._set(genre, row, True)

    def change_new(self, slot: int, before: frozenset[str], after: frozenset[str]) -> None:
        """Replace the genres of a title that was described after training."""
        for genre in before ^ after:
            self._kept_new.pop(genre, None)
            _put(self._new, genre, slot, genre in after)

    def known(self, genre: str) -> Filter:
        """Return the filter of the model's titles that have a genre. It changes with later events."""
        allowed = self._dense.get(genre)
        if allowed is None:
            allowed = self._kept.get(genre)
        if allowed is None:
            allowed = self._kept[genre] = self._catalogue.filter_of(self._sparse(genre))
            _drop_oldest(self._kept)
        return allowed

    def new(self, genre: str, n: int) -> Mask:
        """Return which of ``n`` slots have a genre, (n,)."""
        has = self._kept_new.get(genre)
        if has is None or len(has) != n:
            has = np.zeros(n, np.bool_)
            has[_numbers(self._new, genre)] = True
            self._kept_new[genre] = has
            _drop_oldest(self._kept_new)
        return has

    def _set(self, genre: str, row: int, value: bool) -> None:
        self._kept.pop(genre, None)
        dense = self._dense.get(genre)
        if dense is None:
            # A title of the model's own list leaves it by having been replaced.
            _put(self._known, genre, row, value)
            own = self._known.get(genre)
            if isinstance(own, set) and len(own) * _DENSE_ONE_IN > self._catalogue.n_titles:
                self._make_dense(genre)
            return
        self._catalogue.change(dense, row, value)
        self._n_dense[genre] += 1 if value else -1
        if self._n_dense[genre] * _SPARSE_ONE_IN < self._catalogue.n_titles:
            self._make_sparse(genre)

    def _make_dense(self, genre: str) -> None:
        rows = self._sparse(genre)
        self._dense[genre], self._n_dense[genre] = self._catalogue.filter_of(rows), len(rows)
        self._known.pop(genre, None)

    def _make_sparse(self, genre: str) -> None:
        mask = self._catalogue.mask(self._dense.pop(genre))
        del self._n_dense[genre]
        for row in np.flatnonzero(mask & self._replaced).tolist():
            _put(self._known, genre, row, True)

    def _sparse(self, genre: str) -> Ints:
        """Return the model's titles of a genre that has no filter."""
        own = _numbers(self._known, genre)
        code = self._names.find(genre)
        if code is None:
            return own
        trained = np.unique(self._rows[self._start[code] : self._start[code + 1]]).astype(np.int64)
        return np.concatenate([trained[~self._replaced[trained]], own])


def _drop_oldest(kept: dict[str, NDArray[Scalar]]) -> None:
    """Drop what was kept first where it is too many."""
    if len(kept) > _KEPT:
        del kept[next(iter(kept))]


def _put(numbers: dict[str, int | set[int]], genre: str, number: int, value: bool) -> None:
    """Add a number to a genre's, or take it away. Most genres of long lists have one number: a set takes 216 bytes."""
    own = numbers.get(genre)
    if value:
        if own is None:
            numbers[genre] = number
        elif isinstance(own, set):
            own.add(number)
        elif own != number:
            numbers[genre] = {own, number}
    elif isinstance(own, set):
        own.discard(number)
        if not own:
            del numbers[genre]
    elif own == number:
        del numbers[genre]


def _numbers(numbers: dict[str, int | set[int]], genre: str) -> Ints:
    own = numbers.get(genre)
    if own is None:
        return np.zeros(0, np.int64)
    return np.fromiter(own, np.int64, len(own)) if isinstance(own, set) else np.array([own], np.int64)
