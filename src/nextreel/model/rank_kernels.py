"""Compiled loops under `nextreel.model.rank`: the best titles of a catalogue, for one user after another.

They are compiled, kept and free of locks like `nextreel.model.solve_kernels`. A title's score is the same whichever
loop it comes from, to the last bit: so products are added up in one order, and not fused.
"""

import numpy as np
from numpy.typing import NDArray

from nextreel.model.arrays import Floats, Ints
from nextreel.model.kept import kept

#: Titles scored at a time: as many as fill a few of the widest registers, and as a word has bits.
LANES = 64
#: So many titles of a block, at most, are scored faster one by one.
_FEW = 6
_ALL = np.uint64(2**64 - 1)
#: Users for whom a block of titles is scored while it is in the processor's nearest memory.
_GROUP = 16


@kept(nogil=True)
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
                    found[g] = _put(s, row, found[g], scores[user], rows[user])


@kept(nogil=True)
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
            found = _put(cosine, row, found, cosines, rows)


@kept(nogil=True)
def _put(score: np.float32, row: int, found: int, scores: Floats, rows: Ints) -> int:
    """Put a title where it belongs in a list that has ``found``, the last of a full one giving way; return how many."""
    place = min(found, len(rows) - 1)
    while place > 0 and _before(float(score), row, scores[place - 1], rows[place - 1]):
        scores[place] = scores[place - 1]
        rows[place] = rows[place - 1]
        place -= 1
    scores[place] = score
    rows[place] = row
    return min(found + 1, len(rows))


@kept(nogil=True)
def _before(score: float, row: int, other_score: float, other_row: int) -> bool:
    return score > other_score or (score == other_score and row < other_row)


@kept(nogil=True)
def _is_few(word: np.uint64) -> bool:
    """Tell whether so few bits of a word are set that their titles are scored faster one by one."""
    for _ in range(_FEW):
        word &= word - np.uint64(1)
    return bool(word == 0)


@kept(nogil=True)
def _score_some(word: np.uint64, user: Floats, order: Ints, factors: Floats, score: Floats) -> None:
    """Score titles of a block whose bits are set, in the order of additions of the whole block; others are -inf."""
    for t in range(LANES):
        score[t] = -np.inf
        if order[t] >= 0 and (word >> np.uint64(t)) & np.uint64(1):
            total = np.float32(0)
            for f in range(len(user)):
                total += user[f] * factors[order[t], f]
            score[t] = total


@kept(nogil=True)
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
