"""Ridge regression from sparse rows to many targets, its strength chosen by leaving rows out one at a time.

With weights w, rows x and targets y, both taken off their weighted means, the coefficients B minimise

    Σ_i w_i |y_i - Bᵀ x_i|² + λ |B|²

One eigendecomposition of the normal equations serves all λ and all targets. What a regression without row i would say
of it needs no other regression (Allen 1974, PRESS):

    y_i - ŷ_i without i = (y_i - ŷ_i) / (1 - h_i),  h_i = w_i / Σw + w_i x_iᵀ (XᵀWX + λI)⁻¹ x_i
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nextreel.model.arrays import Doubles, Floats, Ints
from nextreel.model.solve import Rows

#: The λ to choose from; a column of which λ rows (of mean weight) have 1 is believed by half.
STRENGTHS = np.geomspace(1.0, 10_000.0, 9)

#: Rows that are left out to choose λ, at the most.
_JUDGED = 2_000
#: Rows with more cells are multiplied as dense rows: their pairs of cells would take longer.
_MANY_CELLS = 48
#: Numbers held at a time: 32 MB of float64.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Linear:
    """What sparse rows are mapped to: ``intercept`` (k,) + row @ ``coefficients`` (n_columns, k)."""

    intercept: Floats
    coefficients: Floats

    @classmethod
    def zero(cls, n_columns: int, k: int) -> "Linear":
        """Return the map of everything to 0."""
        return cls(np.zeros(k, np.float32), np.zeros((n_columns, k), np.float32))

    def __call__(self, rows: Rows) -> Floats:
        """Return what rows are mapped to, (n, k); those without a cell, of which nothing is known, to 0.

        What a row is mapped to depends on that row alone, to the last bit: so not by a product of matrices.
        """
        found = np.zeros((len(rows), self.coefficients.shape[1]), np.float32)
        filled = np.flatnonzero(rows.counts)
        starts = np.append(rows.start[filled], rows.start[-1])
        step = max(1, _BLOCK // max(1, found.shape[1]))
        cuts = np.searchsorted(starts, np.arange(0, starts[-1], step))
        for begin, end in pairwise(np.unique(np.append(cuts, len(filled)))):
            cells = slice(starts[begin], starts[end])
            each = self.coefficients[rows.columns[cells]] * rows.values[cells, None]
            sums = np.add.reduceat(each, starts[begin:end] - starts[begin], axis=0)
            found[filled[begin:end]] = sums + self.intercept
        return found

    def of_cells(self, cells: Mapping[int, float]) -> Floats:
        """Return what one row, given by its columns, is mapped to, (1, k)."""
        if not cells:
            return np.zeros((1, self.coefficients.shape[1]), np.float32)
        columns = sorted(cells)  # in an order of its own: sums of floats depend on it
        values = np.array([cells[column] for column in columns], np.float32)
        found: Floats = (values @ self.coefficients[columns] + self.intercept)[None]
        return found


@dataclass(frozen=True)
class Fit:
    """A regression: the map, its λ, and what regressions without them say of the ``judged`` rows, (n_judged, k)."""

    linear: Linear
    strength: float
    left_out: Floats


@dataclass(frozen=True)
class Ridge:
    """Rows and weights, decomposed: any number of targets can be fitted. At least two rows and one column."""

    rows: Rows
    #: (n,), of mean 1.
    weights: Doubles
    #: Weighted mean of the rows, (n_columns,).
    mean: Doubles
    eigenvalues: Doubles
    eigenvectors: Doubles
    #: Which rows λ is chosen by, and these off the mean along the eigenvectors, (n_judged, n_columns).
    judged: Ints
    off: Doubles

    @classmethod
    def of(cls, rows: Rows, weights: NDArray[np.floating], n_columns: int) -> "Ridge":
        """Decompose the normal equations of ``rows`` with ``weights`` (n,), above 0: n_columns² numbers of float64."""
        w = weights / weights.mean()
        mean = _products(rows, w[:, None], n_columns)[:, 0] / len(rows)
        gram = _gram(rows, w, n_columns) - len(rows) * np.outer(mean, mean)
        values, vectors = np.linalg.eigh(gram)
        judged = evenly(len(rows), _JUDGED)
        off = (dense(rows, judged, n_columns) - mean) @ vectors
        return cls(rows, w, mean, np.maximum(values, 0.0), vectors, judged, off)

    def fit(self, targets: Floats) -> Fit:
        """Regress ``targets`` (n, k) on the rows, with the λ of `STRENGTHS` that errs least on rows left out."""
        n, w = len(self.rows), self.weights
        centre = w @ targets / n
        right = _products(self.rows, w[:, None] * targets, len(self.mean)) - n * np.outer(self.mean, centre)
        right = self.eigenvectors.T @ right
        wanted, weight = targets[self.judged], w[self.judged]
        found = [self._left_out(strength, wanted, centre, right) for strength in STRENGTHS]
        errors = [float(weight @ ((wanted - guess) ** 2).sum(1)) for guess in found]
        best = int(np.argmin(errors))
        coefficients = self.eigenvectors @ (right / (self.eigenvalues + STRENGTHS[best])[:, None])
        intercept = centre - self.mean @ coefficients
        linear = Linear(intercept.astype(np.float32), coefficients.astype(np.float32))
        return Fit(linear, float(STRENGTHS[best]), found[best].astype(np.float32))

    def _left_out(self, strength: float, wanted: Floats, centre: Doubles, right: Doubles) -> Doubles:
        """Return what is said of the judged rows, which are ``wanted``, by regressions without them."""
        scale = 1 / (self.eigenvalues + strength)
        weight = self.weights[self.judged]
        leverage = weight / len(self.rows) + weight * (self.off**2 @ scale)
        with_them = centre + self.off @ (right * scale[:, None])
        left_out: Doubles = wanted - (wanted - with_them) / np.maximum(1 - leverage, 1e-9)[:, None]
        return left_out


def dense(rows: Rows, chosen: Ints, n_columns: int) -> Floats:
    """Return some rows as a matrix, (n_chosen, n_columns)."""
    counts = rows.counts[chosen]
    cells = np.repeat(rows.start[chosen], counts) + _within(counts)
    found = np.zeros((len(chosen), n_columns), np.float32)
    found[np.repeat(np.arange(len(chosen)), counts), rows.columns[cells]] = rows.values[cells]
    return found


def evenly(n: int, most: int) -> Ints:
    """Return at most so many of n rows, evenly spaced."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).round().astype(np.int64)


def _products(rows: Rows, right: Doubles, n_columns: int) -> Doubles:
    """Return Xᵀ ``right`` of sparse rows X: (n_columns, k)."""
    row = np.repeat(np.arange(len(rows)), rows.counts)
    of_each = [np.bincount(rows.columns, rows.values * each[row], n_columns) for each in np.ascontiguousarray(right.T)]
    return np.stack(of_each, axis=1)


def _gram(rows: Rows, weights: Doubles, n_columns: int) -> Doubles:
    """Return XᵀWX of sparse rows X: from the pairs of cells of each row, of rows with many cells as dense ones."""
    gram = np.zeros(n_columns * n_columns)
    many = rows.counts > _MANY_CELLS
    for block in _blocks_of_pairs(rows, np.flatnonzero(~many)):
        counts = np.repeat(rows.counts[block], rows.counts[block])
        begins = np.repeat(rows.start[block], rows.counts[block])
        cells = begins + _within(rows.counts[block])
        weighted = rows.values[cells] * np.repeat(weights[block], rows.counts[block])
        others = np.repeat(begins, counts) + _within(counts)
        place = np.repeat(rows.columns[cells].astype(np.int64) * n_columns, counts) + rows.columns[others]
        np.add.at(gram, place, np.repeat(weighted, counts) * rows.values[others])
    total: Doubles = gram.reshape(n_columns, n_columns)
    step = max(1, _BLOCK // max(1, n_columns))
    for begin in range(0, int(np.count_nonzero(many)), step):
        block = np.flatnonzero(many)[begin : begin + step]
        x = dense(rows, block, n_columns).astype(np.float64)
        total += (x * weights[block, None]).T @ x
    return total


def _blocks_of_pairs(rows: Rows, chosen: Ints) -> Iterator[Ints]:
    """Yield the chosen rows in blocks that have not too many pairs of cells."""
    pairs = np.concatenate([[0], np.cumsum(rows.counts[chosen] ** 2)])
    cuts = np.searchsorted(pairs, np.arange(0, pairs[-1], _BLOCK // 4))
    yield from np.split(chosen, np.unique(cuts)[1:])


def _within(counts: Ints) -> Ints:
    """Return 0 … c - 1 for each count c, one after another."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
