"""Compiled loops: ALS's linear systems, and the best titles, of one row after another.

They are compiled on first use and kept beside this file (or in the user's cache, where that is read-only). They hold
no lock of Python's, so that threads may run them side by side; a row's result depends on that row alone.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from nextreel.model.arrays import Floats, Ints

Columns = NDArray[np.int32]

#: Titles scored at a time: as many as fill a few of the widest registers, and as a word has bits.
LANES = 64
#: So many titles of a block, at most, are scored faster one by one.
_FEW = 6
_ALL = np.uint64(2**64 - 1)
#: Users for whom a block of titles is scored while it is in the processor's nearest memory.
_GROUP = 16

#: Sums may be taken in any order, which is what lets them use the whole width of the processor. Infinities stay such.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


@njit(cache=True, nogil=True)
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


@njit(cache=True, fastmath=_FAST, nogil=True)
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
    for row in range(begin, end):
        first, n = start[row], start[row + 1] - start[row]
        x = out[row]
        if not targets[first : first + n].any():  # the right side is 0, and so is x
            x[:] = 0
            continue
        shrink = regularization[row]
        for f in range(k):
            r[f] = -shrink * x[f]
        for g in range(gram.shape[0]):
            xg = x[g]
            for f in range(k):
                r[f] -= xg * gram[g, f]
        for j in range(n):
            column = columns[first + j]
            s = np.float32(0)
            for f in range(k):
                y[j, f] = other[column, f]
                s += other[column, f] * x[f]
            s = targets[first + j] - weights[first + j] * s
            for f in range(k):
                r[f] += s * y[j, f]
        rr = 0.0  # in float64, whose range holds the squares of all that float32 holds
        for f in range(k):
            p[f] = r[f]
            rr += np.float64(r[f]) * np.float64(r[f])
        for _ in range(steps):
            for f in range(k):
                q[f] = shrink * p[f]
            for g in range(gram.shape[0]):
                pg = p[g]
                for f in range(k):
                    q[f] += pg * gram[g, f]
            for j in range(n):
                s = np.float32(0)
                for f in range(k):
                    s += y[j, f] * p[f]
                s *= weights[first + j]
                for f in range(k):
                    q[f] += s * y[j, f]
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


@njit(cache=True, fastmath=_FAST, nogil=True)
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
            for f in range(k):
                y[j, f] = other[columns[first + j], f]
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
            w, t = np.float64(weights[first + j]), np.float64(targets[first + j])
            for g in range(k):
                v[g] += t * y[j, g]
                s = w * y[j, g]
                for f in range(g + 1):
                    a[g, f] += s * y[j, f]
        _solve(a, v, k)
        for f in range(k):
            x[f] = v[f]


@njit(cache=True, fastmath=_FAST, nogil=True)
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


@njit(cache=True, fastmath=_FAST, nogil=True)
def add_gram(begin: int, end: int, y: Floats, out: Floats) -> None:
    """Put Σ y_i y_iᵀ over rows ``begin`` to ``end`` into ``out`` (k, k)."""
    k = y.shape[1]
    out[:] = 0
    for i in range(begin, end):
        for g in range(k):
            s = y[i, g]
            for f in range(k):
                out[g, f] += s * y[i, f]


@njit(cache=True, fastmath=_FAST, nogil=True)
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


@njit(cache=True, fastmath={"contract"}, nogil=True)
def best_titles(
    begin: int,
    end: int,
    users: Floats,
    blocks: NDArray[np.float32],
    norms: Floats,
    order: Ints,
    factors: Floats,
    allowed: NDArray[np.uint64],
    exclude_start: Ints,
    exclude: Ints,
    rows: Ints,
    scores: Floats,
) -> None:
    """Put the best titles of users ``begin`` to ``end`` into ``rows`` and ``scores`` (n, K), best first.

    ``blocks`` (n_blocks, k, LANES) holds titles by falling norm, ``norms`` (n_blocks,) the largest of each block,
    ``order`` their rows, -1 where a block is not full, and ``factors`` (n_titles, k) the same by row. ``allowed``
    (n_blocks,) has a bit for each title of a block, or is empty. A user is done when no title to come can be good
    enough: u · y ≤ |u| |y| (Cauchy, Schwarz), with room for the rounding of k additions.
    """
    n_factors, k = users.shape[1], rows.shape[1]
    found = np.empty(_GROUP, np.int64)
    bound = np.empty(_GROUP, np.float64)
    score = np.empty(LANES, np.float32)
    for first in range(begin, end, _GROUP):
        n = min(_GROUP, end - first)
        for g in range(n):
            norm = 0.0
            for f in range(n_factors):
                norm += np.float64(users[first + g, f]) * np.float64(users[first + g, f])
            bound[g] = np.sqrt(norm) * (1.0 + 2.4e-7 * n_factors)
            found[g] = 0
        waiting = n
        for b in range(len(blocks)):
            if waiting == 0:
                break
            word = allowed[b] if len(allowed) else _ALL
            if word == 0:
                continue
            few = word != _ALL and _is_few(word)
            for g in range(n):
                if bound[g] < 0.0:
                    continue
                user = first + g
                full = found[g] == k
                if full and bound[g] * norms[b] < scores[user, k - 1]:
                    bound[g] = -1.0
                    waiting -= 1
                    continue
                if few:
                    _score_some(word, users[user], order[b * LANES : (b + 1) * LANES], factors, score)
                else:
                    for t in range(LANES):
                        score[t] = 0
                    for f in range(n_factors):
                        factor = users[user, f]
                        for t in range(LANES):
                            score[t] += factor * blocks[b, f, t]
                if full and score.max() < scores[user, k - 1]:
                    continue
                for t in range(LANES):
                    row = order[b * LANES + t]
                    s = score[t]
                    if row < 0 or not (word >> np.uint64(t)) & np.uint64(1):
                        continue
                    if found[g] == k and not _before(s, row, scores[user, k - 1], rows[user, k - 1]):
                        continue
                    if _contains(exclude, exclude_start[user], exclude_start[user + 1], row):
                        continue
                    place = min(found[g], k - 1)
                    while place > 0 and _before(s, row, scores[user, place - 1], rows[user, place - 1]):
                        scores[user, place] = scores[user, place - 1]
                        rows[user, place] = rows[user, place - 1]
                        place -= 1
                    scores[user, place] = s
                    rows[user, place] = row
                    found[g] = min(found[g] + 1, k)


@njit(cache=True, nogil=True)
def most_alike(
    own: Floats,
    blocks: NDArray[np.float32],
    order: Ints,
    allowed: NDArray[np.uint64],
    exclude: Ints,
    rows: Ints,
    cosines: Floats,
) -> None:
    """Put the titles most like ``own`` (k,), by cosine, into ``rows`` and ``cosines`` (K,), best first.

    The rest is as in `best_titles`, ``exclude`` ascending rows. Of titles of zeros, and with zeros, the cosine is 0.
    """
    n_factors, k = len(own), len(rows)
    norm = np.float64(0)
    for f in range(n_factors):
        norm += np.float64(own[f]) * np.float64(own[f])
    found = 0
    score, square = np.empty(LANES, np.float32), np.empty(LANES, np.float32)
    for b in range(len(blocks)):
        word = allowed[b]
        if word == 0:
            continue
        for t in range(LANES):
            score[t] = 0
            square[t] = 0
        for f in range(n_factors):
            factor = own[f]
            for t in range(LANES):
                score[t] += factor * blocks[b, f, t]
                square[t] += blocks[b, f, t] * blocks[b, f, t]
        for t in range(LANES):
            row = order[b * LANES + t]
            if row < 0 or not (word >> np.uint64(t)) & np.uint64(1):
                continue
            both = np.sqrt(norm * np.float64(square[t]))
            cosine = np.float32(np.float64(score[t]) / both) if both > 0 else np.float32(0)
            if found == k and not _before(float(cosine), row, cosines[k - 1], rows[k - 1]):
                continue
            if _contains(exclude, 0, len(exclude), row):
                continue
            place = min(found, k - 1)
            while place > 0 and _before(float(cosine), row, cosines[place - 1], rows[place - 1]):
                cosines[place] = cosines[place - 1]
                rows[place] = rows[place - 1]
                place -= 1
            cosines[place] = cosine
            rows[place] = row
            found = min(found + 1, k)


@njit(cache=True, nogil=True)
def _before(score: float, row: int, other_score: float, other_row: int) -> bool:
    return score > other_score or (score == other_score and row < other_row)


@njit(cache=True, nogil=True)
def _is_few(word: np.uint64) -> bool:
    """Tell whether so few bits of a word are set that their titles are scored faster one by one."""
    for _ in range(_FEW):
        word &= word - np.uint64(1)
    return bool(word == 0)


@njit(cache=True, nogil=True)
def _score_some(word: np.uint64, user: Floats, order: Ints, factors: Floats, score: Floats) -> None:
    """Score titles of a block whose bits are set, in the order of additions of the whole block; others are -inf."""
    for t in range(LANES):
        score[t] = -np.inf
        if order[t] >= 0 and (word >> np.uint64(t)) & np.uint64(1):
            total = np.float32(0)
            for f in range(len(user)):
                total += user[f] * factors[order[t], f]
            score[t] = total


@njit(cache=True, nogil=True)
def _contains(values: Ints, begin: int, end: int, value: int) -> bool:
    """Tell whether a range of ascending values has this one."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if values[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < end and values[low] == value
