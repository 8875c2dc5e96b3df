"""Compiled loops under `nextreel.model.solve`: ALS's linear systems, of one row after another.

They are compiled on first use and kept beside this file (or in the user's cache, where that is read-only). They hold
no lock of Python's, so that threads may run them side by side; a row's result depends on that row alone.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nextreel.model.arrays import Floats, Ints
from nextreel.model.kept import kept
from nextreel.model.prefetch import prefetch

Columns = NDArray[np.int32]

#: Sums may be taken in any order, which is what lets them use the whole width of the processor. Infinities stay such.
_FAST = {"reassoc", "contract", "nsz", "arcp"}

#: How many rows ahead memory is asked for, and how many factors a cache line has.
_AHEAD, _LINE = 8, 16


@kept(nogil=True)
def counting_sort(keys: Columns, places: Ints, start: Ints, order: Ints) -> None:
    """Put ``places`` (m,) into ``order`` by their ``keys``, equal ones as they were; where each key starts, ``start``.

    ``start`` (n_keys + 1,) is zero before.
    """
    for key in keys:
        start[key + 1] += 1
    for key in range(1, len(start)):
        start[key] += start[key - 1]
    free = start[:-1].copy()
    for place in places:
        key = keys[place]
        order[free[key]] = place
        free[key] += 1


@kept(fastmath=_FAST, nogil=True)
def conjugate_gradients(
    begin: int,
    end: int,
    start: Ints,
    columns: Columns,
    weights: Floats,
    targets: Floats,
    regularization: Floats,
    other: Floats,
    gram: Floats,
    steps: int,
    longest: int,
    out: Floats,
) -> None:
    """Improve rows ``begin`` to ``end`` of ``out`` by some steps of conjugate gradients from where they are.

    ``gram`` (k, k) is empty for A = 0; ``longest`` is the length of the longest of these rows. The system's matrix is
    never made: a step costs 4 n k + 2 k² operations (Takács, Pilászy, Tikk 2011).
    """
    k = other.shape[1]
    y = np.empty((longest, k), np.float32)
    r = np.empty(k, np.float32)
    p = np.empty(k, np.float32)
    q = np.empty(k, np.float32)
    zero, one = np.float32(0), np.float32(1)
    for row in range(begin, end):
        first, n = start[row], start[row + 1] - start[row]
        x = out[row]
        if not targets[first : first + n].any():  # the right side is 0, and so is x
            x[:] = 0
            continue
        shrink = regularization[row]
        _gather(columns, first, n, other, y)
        for f in range(k):
            r[f] = -shrink * x[f]
        _add_gram(gram, -one, x, r)
        _add_cells(y, n, weights[first:], -one, targets[first:], one, x, r)
        rr = 0.0  # in float64, whose range holds the squares of all that float32 holds
        for f in range(k):
            p[f] = r[f]
            rr += np.float64(r[f]) * np.float64(r[f])
        for _ in range(steps):
            for f in range(k):
                q[f] = shrink * p[f]
            _add_gram(gram, one, p, q)
            _add_cells(y, n, weights[first:], one, targets[first:], zero, p, q)
            pq = 0.0
            for f in range(k):
                pq += np.float64(p[f]) * np.float64(q[f])
            if not pq > 0.0:
                break
            a = np.float32(rr / pq)
            fresh = 0.0
            for f in range(k):
                x[f] += a * p[f]
                r[f] -= a * q[f]
                fresh += np.float64(r[f]) * np.float64(r[f])
            b = np.float32(fresh / rr)
            rr = fresh
            for f in range(k):
                p[f] = r[f] + b * p[f]


@kept(nogil=True)
def _gather(columns: Columns, first: int, n: int, other: Floats, out: NDArray[Any]) -> None:
    """Put the rows of ``other`` that ``columns[first : first + n]`` name into the first n of ``out``, in its precision.

    They lie anywhere, so that the processor cannot guess which comes next: it is told some rows ahead.
    """
    k = other.shape[1]
    for j in range(first, first + n):
        if j + _AHEAD < len(columns):
            soon = np.intp(columns[j + _AHEAD]) * k
            for f in range(0, k, _LINE):
                prefetch(other, soon + f)  # type: ignore[call-arg]
        column = columns[j]
        for f in range(k):
            out[j - first, f] = other[column, f]


@kept(fastmath=_FAST, nogil=True)
def _add_cells(
    y: Floats,
    n: int,
    weights: Floats,
    by_weight: np.float32,
    targets: Floats,
    by_target: np.float32,
    p: Floats,
    out: Floats,
) -> None:
    """Add Σ_j (by_weight w_j (y_j · p) + by_target t_j) y_j over the first ``n`` of ``y`` to ``out`` (k,).

    Four at a time, so that ``p`` and ``out`` are read and written a quarter as often.
    """
    k = y.shape[1]
    whole = n - n % 4
    for j in range(0, whole, 4):
        s0 = s1 = s2 = s3 = np.float32(0)
        for f in range(k):
            s0 += y[j, f] * p[f]
            s1 += y[j + 1, f] * p[f]
            s2 += y[j + 2, f] * p[f]
            s3 += y[j + 3, f] * p[f]
        s0 = by_weight * weights[j] * s0 + by_target * targets[j]
        s1 = by_weight * weights[j + 1] * s1 + by_target * targets[j + 1]
        s2 = by_weight * weights[j + 2] * s2 + by_target * targets[j + 2]
        s3 = by_weight * weights[j + 3] * s3 + by_target * targets[j + 3]
        for f in range(k):
            out[f] += s0 * y[j, f] + s1 * y[j + 1, f] + s2 * y[j + 2, f] + s3 * y[j + 3, f]
    for j in range(whole, n):
        s = np.float32(0)
        for f in range(k):
            s += y[j, f] * p[f]
        s = by_weight * weights[j] * s + by_target * targets[j]
        for f in range(k):
            out[f] += s * y[j, f]


@kept(fastmath=_FAST, nogil=True)
def _add_gram(gram: Floats, by: np.float32, p: Floats, out: Floats) -> None:
    """Add ``by`` A p to ``out`` (k,), for the symmetric A of ``gram`` (k, k), or of shape (0, 0) for 0."""
    k = gram.shape[0]
    whole = k - k % 4
    for g in range(0, whole, 4):
        p0, p1, p2, p3 = by * p[g], by * p[g + 1], by * p[g + 2], by * p[g + 3]
        for f in range(k):
            out[f] += p0 * gram[g, f] + p1 * gram[g + 1, f] + p2 * gram[g + 2, f] + p3 * gram[g + 3, f]
    for g in range(whole, k):
        for f in range(k):
            out[f] += by * p[g] * gram[g, f]


@kept(fastmath=_FAST, nogil=True)
def cholesky(
    begin: int,
    end: int,
    start: Ints,
    columns: Columns,
    weights: Floats,
    targets: Floats,
    regularization: Floats,
    other: Floats,
    gram: Floats,
    longest: int,
    out: Floats,
) -> None:
    """Solve rows ``begin`` to ``end`` into ``out``, exactly, in float64.

    Rows of fewer cells than factors are solved in their dual form where A = 0 and all weights are above 0: with
    Z = √W Y, x = Zᵀ (Z Zᵀ + λ I)⁻¹ (t / √w), an n by n system.
    """
    k = other.shape[1]
    size = k if gram.shape[0] else min(k, longest)
    y = np.empty((longest, k), np.float64)
    a = np.empty((k, k), np.float64)
    z = np.empty((size, size), np.float64)
    v = np.empty(k, np.float64)
    for row in range(begin, end):
        first, n = start[row], start[row + 1] - start[row]
        x = out[row]
        if not targets[first : first + n].any():  # the right side is 0, and so is x
            x[:] = 0
            continue
        dual = gram.shape[0] == 0 and n < k
        for j in range(n):
            dual = dual and weights[first + j] > 0
        _gather(columns, first, n, other, y)
        if dual:
            for i in range(n):
                wi = np.sqrt(np.float64(weights[first + i]))
                v[i] = targets[first + i] / wi
                for j in range(i + 1):
                    s = 0.0
                    for f in range(k):
                        s += y[i, f] * y[j, f]
                    z[i, j] = s * wi * np.sqrt(np.float64(weights[first + j]))
                z[i, i] += regularization[row]
            _solve(z, v, n)
            for f in range(k):
                s = 0.0
                for j in range(n):
                    s += y[j, f] * v[j] * np.sqrt(np.float64(weights[first + j]))
                x[f] = s
            continue
        for g in range(k):
            v[g] = 0.0
            for f in range(k):
                a[g, f] = gram[g, f] if gram.shape[0] else 0.0
            a[g, g] += regularization[row]
        for j in range(n):
            t = np.float64(targets[first + j])
            for f in range(k):
                v[f] += t * y[j, f]
        whole = n - n % 4
        for j in range(0, whole, 4):  # so that ``a`` is read and written a quarter as often
            i = first + j
            w0, w1 = np.float64(weights[i]), np.float64(weights[i + 1])
            w2, w3 = np.float64(weights[i + 2]), np.float64(weights[i + 3])
            for g in range(k):
                s0, s1, s2, s3 = w0 * y[j, g], w1 * y[j + 1, g], w2 * y[j + 2, g], w3 * y[j + 3, g]
                for f in range(g + 1):
                    a[g, f] += s0 * y[j, f] + s1 * y[j + 1, f] + s2 * y[j + 2, f] + s3 * y[j + 3, f]
        for j in range(whole, n):
            w = np.float64(weights[first + j])
            for g in range(k):
                s = w * y[j, g]
                for f in range(g + 1):
                    a[g, f] += s * y[j, f]
        _solve(a, v, k)
        for f in range(k):
            x[f] = v[f]


@kept(fastmath=_FAST, nogil=True)
def _solve(a: NDArray[np.float64], v: NDArray[np.float64], n: int) -> None:
    """Put the solution of a x = v into ``v``; the lower triangle of ``a``, positive definite, becomes its factor."""
    for i in range(n):
        for j in range(i + 1):
            s = a[i, j]
            for f in range(j):
                s -= a[i, f] * a[j, f]
            a[i, j] = np.sqrt(max(s, 1e-300)) if i == j else s / a[j, j]
    for i in range(n):
        s = v[i]
        for f in range(i):
            s -= a[i, f] * v[f]
        v[i] = s / a[i, i]
    for i in range(n - 1, -1, -1):
        s = v[i] / a[i, i]
        v[i] = s
        for f in range(i):
            v[f] -= s * a[i, f]


@kept(fastmath=_FAST, nogil=True)
def add_gram(begin: int, end: int, y: Floats, out: Floats) -> None:
    """Put Σ y_i y_iᵀ over rows ``begin`` to ``end`` into ``out`` (k, k)."""
    k = y.shape[1]
    out[:] = 0
    for i in range(begin, end):
        for g in range(k):
            s = y[i, g]
            for f in range(k):
                out[g, f] += s * y[i, f]


@kept(fastmath=_FAST, nogil=True)
def squared_error(
    begin: int,
    end: int,
    start: Ints,
    columns: Columns,
    weights: Floats,
    targets: Floats,
    regularization: Floats,
    x: Floats,
    other: Floats,
    gram: Floats,
) -> float:
    """Return Σ over rows ``begin`` to ``end`` of xᵀ A x + Σ_j (w_j s_j² - 2 t_j s_j) + λ |x|², with s_j = x · y_j."""
    k = other.shape[1]
    total = 0.0
    for row in range(begin, end):
        norm = 0.0
        for f in range(k):
            norm += np.float64(x[row, f]) * np.float64(x[row, f])
        total += regularization[row] * norm
        for g in range(gram.shape[0]):
            s = np.float32(0)
            for f in range(k):
                s += gram[g, f] * x[row, f]
            total += np.float64(x[row, g]) * np.float64(s)
        for j in range(start[row], start[row + 1]):
            column = columns[j]
            s = np.float32(0)
            for f in range(k):
                s += x[row, f] * other[column, f]
            total += np.float64(s) * (np.float64(weights[j]) * np.float64(s) - 2.0 * np.float64(targets[j]))
    return total
