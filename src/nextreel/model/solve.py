"""The factors of rows, given the other side's: the one kernel of training, of live updates and of evaluation.

A row's factors x minimise a weighted squared error over its cells j of value v_j, y_j being the other side's factors:

    explicit:   Σ_j (v_j - x·y_j)² + λ n |x|²                          Zhou et al. 2008 (ALS-WR)
    implicit:   Σ_all c (p - x·y)² + λ' |x|²,  c = 1 + α |v|,          Hu, Koren, Volinsky 2008
                p = 1 for a known cell of positive value, else 0

Both are linear systems of one form, (A + Σ_j w_j y_j y_jᵀ + λ I) x = Σ_j t_j y_j.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from nextreel.model import solve_kernels as kernels
from nextreel.model.arrays import Floats
from nextreel.model.cores import n_cores

#: Rows are dealt out in this many parts of like work: enough that threads end together.
_PARTS = 64
#: What a row costs beside its cells, in cells.
_ROW_CELLS = 32
#: Rows whose products are summed in float32 before they are added up.
_GRAM_ROWS = 4_096

T = TypeVar("T")

#: What λ of implicit feedback is weighted by: `implicit`.
Scaling = Literal["positive", "none", "all"]

#: The Gram matrix of explicit feedback.
_NONE = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Rows:
    """Known cells by row: row i has ``columns[start[i]:start[i + 1]]``, ascending, and ``values`` beside them.

    ``start`` (n + 1,) int64, ``columns`` (m,) int32, ``values`` (m,) float32.
    """

    start: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: Floats

    @classmethod
    def of(
        cls, rows: NDArray[np.integer], columns: NDArray[np.integer], values: NDArray[np.floating], n_rows: int
    ) -> "Rows":
        """Group cells, given as three columns in any order, by row."""
        own, others = rows.astype(np.int32, copy=False), columns.astype(np.int32, copy=False)
        order = np.arange(len(own))
        for keys, n_keys in ((others, int(others.max(initial=-1)) + 1), (own, n_rows)):
            places, order, start = order, np.empty(len(own), np.int64), np.zeros(n_keys + 1, np.int64)
            kernels.counting_sort(keys, places, start, order)
        return cls(start, others[order], values[order].astype(np.float32))

    def __len__(self) -> int:
        return len(self.start) - 1

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Cells of each row, (n,)."""
        return np.diff(self.start)


@dataclass(frozen=True)
class Systems:
    """The linear systems of rows: ``weights`` and ``targets`` (m,) of their cells, λ of each row, A as ``gram``."""

    rows: Rows
    weights: Floats
    targets: Floats
    regularization: Floats
    gram: Floats


def explicit(rows: Rows, regularization: float) -> Systems:
    """Return the systems of explicit feedback; λ is weighted by a row's cells."""
    shrink = (regularization * rows.counts).astype(np.float32)
    return Systems(rows, np.ones_like(rows.values), rows.values, shrink, _NONE)


def implicit(
    rows: Rows,
    other: Floats,
    regularization: float,
    alpha: float,
    scaling: Scaling = "positive",
    threads: int | None = None,
    gram_of_other: Floats | None = None,
    n_columns: int | None = None,
) -> Systems:
    """Return the systems of implicit feedback.

    Where ``other`` is a part of the other side, or it is known already, ``gram_of_other`` is `gram` of the whole of it,
    and ``n_columns`` how many it has.

    λ' is λ by the row's cells of positive value ("positive", as MLlib has it), λ as it is ("none", Hu et al.), or λ by
    the whole confidence that a row's error is weighted with, n_columns + α n_row ("all", Rendle et al. 2022, ν = 1).
    """
    weights = np.float32(alpha) * np.abs(rows.values)
    liked = rows.values > 0
    targets = np.where(liked, 1 + weights, np.float32(0))
    shrink = np.full(len(rows), regularization, np.float32)
    if scaling == "positive":
        shrink *= _sums(liked, rows).astype(np.float32)
    elif scaling == "all":
        shrink *= ((len(other) if n_columns is None else n_columns) + alpha * rows.counts).astype(np.float32)
    known = gram(other, threads) if gram_of_other is None else gram_of_other
    return Systems(rows, weights, targets, shrink, known)


def solve(
    systems: Systems,
    other: Floats,
    out: Floats | None = None,
    steps: int | None = None,
    threads: int | None = None,
) -> Floats:
    """Return the factors of rows, (n, k), given the other side's, (n_columns, k); zero for rows without cells.

    Exact by default. With ``steps``, so many steps of conjugate gradients from ``out``, which is improved in place:
    close enough within ALS, whose next sweep goes on from there, and several times faster. The same whatever the number
    of ``threads`` (by default one a core).
    """
    rows, k = systems.rows, other.shape[1]
    found = np.zeros((len(rows), k), np.float32) if out is None else out
    cells = (rows.start, rows.columns, systems.weights, systems.targets, systems.regularization, other, systems.gram)

    def part(begin: int, end: int) -> None:
        longest = int(rows.counts[begin:end].max())
        if steps is None:
            kernels.cholesky(begin, end, *cells, longest, found)
        else:
            kernels.conjugate_gradients(begin, end, *cells, steps, longest, found)

    _in_parts(part, rows, threads)
    return found


def _sums(of_cells: NDArray[np.bool_], rows: Rows) -> NDArray[np.int64]:
    """Return how many cells of each row are marked, (n,)."""
    if len(rows) == 1:
        return np.array([np.count_nonzero(of_cells)])
    before = np.concatenate([[0], np.cumsum(of_cells)])
    return np.diff(before[rows.start])


def loss(systems: Systems, factors: Floats, other: Floats, threads: int | None = None) -> float:
    """Return what the factors of rows leave of the error, their own regularisation included; up to a constant.

    Σ_rows xᵀ A x + Σ_j (w_j s_j² - 2 t_j s_j) + λ |x|², s_j = x · y_j. The constant is that of factors of zero.
    """
    rows = systems.rows
    cells = (rows.start, rows.columns, systems.weights, systems.targets, systems.regularization)
    found = _in_parts(
        lambda begin, end: kernels.squared_error(begin, end, *cells, factors, other, systems.gram), rows, threads
    )
    return float(np.sum(found))


def gram(factors: Floats, threads: int | None = None) -> Floats:
    """Return FᵀF of factors (n, k): (k, k), the same whatever the number of threads."""
    k = factors.shape[1]
    begins = range(0, len(factors), _GRAM_ROWS)

    def part(begin: int) -> Floats:
        out = np.empty((k, k), np.float32)
        kernels.add_gram(begin, min(begin + _GRAM_ROWS, len(factors)), factors, out)
        return out

    total = np.zeros((k, k), np.float64)
    with ThreadPoolExecutor(threads or n_cores()) as pool:
        for each in pool.map(part, begins):
            total += each
    return total.astype(np.float32)


def _in_parts(work: Callable[[int, int], T], rows: Rows, threads: int | None) -> list[T]:
    """Run ``work`` on ranges of rows, side by side; results in order."""
    if len(rows) == 1:
        return [work(0, 1)]
    with ThreadPoolExecutor(threads or n_cores()) as pool:
        return list(pool.map(lambda part: work(*part), _parts(rows)))


def _parts(rows: Rows) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows of like work."""
    cost = rows.start + _ROW_CELLS * np.arange(len(rows.start))
    cuts = np.unique(np.searchsorted(cost, np.linspace(0, cost[-1], _PARTS + 1)))
    yield from zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)
