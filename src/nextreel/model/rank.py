"""The top K of the catalogue. One kernel for batch export, the server and evaluation.

Titles are scanned by falling norm, and a user's scan ends where no title to come can be good enough: exact, and on
factors of long-tailed data far less work than scoring everything.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.model import rank_kernels as kernels
from nextreel.model.arrays import Floats, Ints, Mask
from nextreel.model.cores import n_cores

#: Users that a thread takes at a time.
_PART_USERS = 128

#: Which titles may be in a list: a bit for each, in words that are a catalogue's blocks.
Filter = NDArray[np.uint64]


@dataclass(frozen=True)
class Pairs:
    """Titles of each of n users: those of user i are ``titles[start[i]:start[i + 1]]``, ascending."""

    start: Ints
    titles: Ints

    @classmethod
    def of(cls, users: NDArray[np.integer], titles: NDArray[np.integer], n_users: int) -> "Pairs":
        """Group pairs, given as two columns in any order, by user, then title."""
        order = np.lexsort((titles, users))
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


@dataclass(frozen=True)
class Catalogue:
    """Factors of titles, laid out to be scanned: in blocks by falling norm, see `kernels.best_titles`."""

    n_titles: int
    blocks: Floats
    norms: Floats
    order: Ints
    #: Where each title stands in the blocks, (n_titles,).
    places: Ints
    #: The same factors by title, (n_titles, k).
    factors: Floats

    @classmethod
    def of(cls, factors: Floats) -> "Catalogue":
        """Lay out factors of titles (n_titles, k)."""
        n, k = factors.shape
        squares = np.einsum("nk,nk->n", factors, factors, dtype=np.float64)
        norms = np.sqrt(squares) * (1 + 1e-6)  # never less than the norm
        order = np.argsort(-norms, kind="stable")
        n_blocks = -(-n // kernels.LANES)
        rows = np.full(n_blocks * kernels.LANES, -1, np.int64)
        rows[:n] = order
        places = np.empty(n, np.int64)
        places[order] = np.arange(n)
        filled = np.zeros((n_blocks * kernels.LANES, k), np.float32)
        filled[:n] = factors[order]
        blocks = np.ascontiguousarray(filled.reshape(n_blocks, kernels.LANES, k).transpose(0, 2, 1))
        by_title = np.ascontiguousarray(factors, np.float32).view()
        by_title.flags.writeable = False  # as those are that are mapped from a file: kernels are compiled once
        return cls(n, blocks, norms[order[:: kernels.LANES]].astype(np.float32), rows, places, by_title)

    def filter(self, allowed: Mask) -> Filter:
        """Return a mask of titles (n_titles,) as `top_k` takes it."""
        bits = np.zeros(len(self.order), np.bool_)
        bits[self.places] = allowed
        return np.packbits(bits, bitorder="little").view("<u8").astype(np.uint64, copy=False)

    def filter_of(self, titles: Ints) -> Filter:
        """Return a filter that lets titles (rows) pass, a few of many."""
        allowed = np.zeros(len(self.norms), np.uint64)
        word, bit = np.divmod(self.places[titles], kernels.LANES)
        np.bitwise_or.at(allowed, word, np.uint64(1) << bit.astype(np.uint64))
        return allowed

    def mask(self, allowed: Filter) -> Mask:
        """Return a filter as a mask of titles, (n_titles,)."""
        bits = np.unpackbits(allowed.astype("<u8", copy=False).view(np.uint8), bitorder="little")
        found: Mask = bits[self.places].astype(np.bool_)
        return found

    def change(self, allowed: Filter, title: int, value: bool) -> None:
        """Let a title (row) pass a filter, or no longer."""
        word, bit = divmod(int(self.places[title]), kernels.LANES)
        allowed[word] = (allowed[word] & ~(np.uint64(1) << np.uint64(bit))) | (np.uint64(value) << np.uint64(bit))

    def allows(self, allowed: Filter, titles: Ints) -> Mask:
        """Tell which titles (rows) a filter lets pass, (n,)."""
        word, bit = np.divmod(self.places[titles], kernels.LANES)
        found: Mask = (allowed[word] >> bit.astype(np.uint64)) & np.uint64(1) == 1
        return found

    def top_k(
        self,
        users: Floats,
        k: int,
        exclude: Pairs | None = None,
        allowed: Filter | None = None,
        threads: int | None = None,
    ) -> tuple[Ints, Floats]:
        """Return the ``k`` titles with the highest scores for each of ``users`` (n, factors), best first.

        ``exclude`` holds titles left out of each user's list, ``allowed`` says what may be in any. Equal
        scores go to the lower row, so that answers are reproducible. Returns title rows and scores, both (n, k); a
        list that runs out of titles ends in row -1 with score -inf.
        """
        n = len(users)
        rows, scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
        out = exclude or Pairs(np.zeros(n + 1, np.int64), np.zeros(0, np.int64))
        words = np.zeros(0, np.uint64) if allowed is None else allowed
        # Writable, also where users are mapped from a file: numba compiles a kernel again for read-only arrays.
        writable = np.require(users, np.float32, ["C", "W"])
        layout = (writable, self.blocks, self.norms, self.order, self.factors, words)

        def part(begin: int) -> None:
            end = min(begin + _PART_USERS, n)
            kernels.best_titles(begin, end, *layout, out.start, out.titles, rows, scores)

        if n <= _PART_USERS and k > 0:
            part(0)
        elif k > 0:
            with ThreadPoolExecutor(threads or n_cores()) as pool:
                list(pool.map(part, range(0, n, _PART_USERS)))
        return rows, scores

    def most_alike(self, own: Floats, k: int, exclude: Ints, allowed: Filter) -> tuple[Ints, Floats]:
        """Return the at most ``k`` titles most like one of factors ``own`` (k,), by cosine: rows and cosines, (n,).

        ``exclude`` are ascending rows. Equal cosines go to the lower row.
        """
        rows, cosines = np.full(k, -1, np.int64), np.zeros(k, np.float32)
        if k > 0:
            own = np.ascontiguousarray(own, np.float32)
            kernels.most_alike(own, self.blocks, self.order, allowed, exclude, rows, cosines)
        n = int(np.count_nonzero(rows >= 0))
        return rows[:n], cosines[:n]


def top_k(users: Floats, titles: Floats, k: int, exclude: Pairs | None = None) -> tuple[Ints, Floats]:
    """Return the ``k`` best titles of a catalogue that is scanned once: see `Catalogue.top_k`."""
    return Catalogue.of(titles).top_k(users, k, exclude)
