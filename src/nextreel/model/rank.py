"""The top K of the catalogue. One kernel for batch export, the server and evaluation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

#: Scores held at a time: 64 MB.
_BLOCK_SCORES = 16_000_000


@dataclass(frozen=True)
class Pairs:
    """Titles of each of n users: those of user i are ``titles[start[i]:start[i + 1]]``."""

    start: Ints
    titles: Ints

    @classmethod
    def of(cls, users: NDArray[np.integer], titles: NDArray[np.integer], n_users: int) -> "Pairs":
        """Group pairs, given as two columns in any order, by user."""
        order = np.argsort(users, kind="stable")
        start = np.zeros(n_users + 1, np.int64)
        np.cumsum(np.bincount(users, minlength=n_users), out=start[1:])
        return cls(start, titles[order].astype(np.int64))

    def rows(self, users: Ints) -> "Pairs":
        """Return the pairs of some users, in their order."""
        counts = self.start[users + 1] - self.start[users]
        start = np.zeros(len(users) + 1, np.int64)
        np.cumsum(counts, out=start[1:])
        within = np.arange(start[-1]) - np.repeat(start[:-1], counts)
        return Pairs(start, self.titles[np.repeat(self.start[users], counts) + within])


def blocks(n_users: int, n_titles: int) -> Iterator[Ints]:
    """Yield the rows of users by blocks whose scores are not too many to hold."""
    step = max(1, _BLOCK_SCORES // max(1, n_titles))
    for begin in range(0, n_users, step):
        yield np.arange(begin, min(n_users, begin + step))


def top_k(users: Floats, titles: Floats, k: int, exclude: Pairs | None = None) -> tuple[Ints, Floats]:
    """Return the ``k`` titles with the highest scores ``users @ titles.T`` for each user, best first.

    ``users`` has shape (n, factors), ``titles`` (n_titles, factors); ``exclude`` holds titles left out of each
    user's list. Equal scores go to the lower row, so that answers are reproducible. Returns title rows and scores,
    both (n, k); a list that runs out of titles ends in row -1 with score -inf.
    """
    n = len(users)
    rows = np.full((n, k), -1, np.int64)
    best = np.full((n, k), -np.inf, np.float32)
    for block in blocks(n, len(titles)):
        scores = users[block] @ titles.T
        if exclude is not None:
            out = exclude.rows(block)
            scores[np.repeat(np.arange(len(block)), np.diff(out.start)), out.titles] = -np.inf
        rows[block], best[block] = top_k_of_scores(scores, k)
    return rows, best


def top_k_of_scores(scores: Floats, k: int) -> tuple[Ints, Floats]:
    """Return the columns and values of the ``k`` highest of each row of ``scores`` (n, m), best first.

    Equal values go to the lower column; -inf is never chosen.
    """
    n, m = scores.shape
    rows = np.full((n, k), -1, np.int64)
    best = np.full((n, k), -np.inf, np.float32)
    if m == 0 or n == 0:
        return rows, best
    kth = -np.partition(-scores, min(k, m) - 1, axis=1)[:, min(k, m) - 1]
    chosen = (scores >= kth[:, None]) & (scores > -np.inf)
    for crowded in np.flatnonzero(chosen.sum(1) > k):
        tied = np.flatnonzero(scores[crowded] == kth[crowded])
        chosen[crowded, tied[k - (chosen[crowded].sum() - len(tied)) :]] = False
    row, column = np.nonzero(chosen)
    value = scores[row, column]
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    first = np.searchsorted(row, np.arange(n))
    place = np.arange(len(row)) - first[row]
    rows[row, place] = column
    best[row, place] = value
    return rows, best
