"""Lists that are less of the same: re-ranking by maximal marginal relevance, and how diverse a list is.

Two titles are as alike as the cosine of their ranking factors; one without factors is like no other.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nextreel.model.arrays import Floats, Ints

#: Factors held at a time: 64 MB.
_BLOCK = 16_000_000


def diversified(titles: Ints, scores: Floats, factors: Floats, k: int, relevance: float) -> tuple[Ints, Floats]:
    """Return ``k`` titles of longer lists, chosen one by one for their score and for being unlike those chosen before.

    ``titles`` and ``scores`` (n, m) are lists as `rank` gives them: best first, row -1 with score -inf where a list has
    run out. ``factors`` (n_titles, l) say how alike titles are. The next title of a list is always that of the highest

        relevance · score - (1 - relevance) · max over those chosen of the cosine

    where scores of a list go from 0 for its lowest to 1 for its highest, and ``relevance`` is λ of 0 to 1: with 1 lists
    stay as they are (Carbonell, Goldstein 1998). Equal values go to the title that is earlier in the list, so by score,
    then title row. Returns rows and scores, both (n, k), in the order chosen; padded like the lists.
    """
    n, m = titles.shape
    rows, found = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
    for block in _blocks(n, m * factors.shape[1]):
        places = _chosen(titles[block], scores[block], factors, min(k, m), relevance)
        there = places >= 0
        rows[block, : places.shape[1]] = np.where(there, np.take_along_axis(titles[block], places, 1), -1)
        found[block, : places.shape[1]] = np.where(there, np.take_along_axis(scores[block], places, 1), -np.inf)
    return rows, found


def intra_list_diversity(titles: Ints, factors: Floats) -> NDArray[np.float64]:
    """Return how unlike the titles of each list (n, m) are, (n,): the mean of 1 - cosine over pairs of them.

    0 is a list of one title's doubles, 1 one of titles that have nothing to do with each other (Smyth, McClave 2001;
    Ziegler et al. 2005). NaN for lists of fewer than two titles.
    """
    n, m = titles.shape
    found = np.full(n, np.nan)
    for block in _blocks(n, m * factors.shape[1]):
        y = _directions(titles[block], factors).astype(np.float64)
        count = (titles[block] >= 0).sum(1)
        own = np.einsum("nmk,nmk->n", y, y)
        both = (y.sum(1) ** 2).sum(1) - own  # Σ over ordered pairs of y_i · y_j
        pairs = count * (count - 1)
        found[block] = np.divide(pairs - both, pairs, out=np.full(len(block), np.nan), where=pairs > 0)
    return found


def _chosen(titles: Ints, scores: Floats, factors: Floats, k: int, relevance: float) -> Ints:
    """Return the places in their lists of the titles chosen, (n, k); -1 where a list has run out."""
    n = len(titles)
    everyone = np.arange(n)
    y = _directions(titles, factors)
    relevant = relevance * _normalised(scores, titles >= 0)
    alike = np.zeros(titles.shape)
    free = titles >= 0
    places = np.full((n, k), -1, np.int64)
    for step in range(k):
        worth = np.where(free, relevant - (1 - relevance) * alike, -np.inf)
        place = worth.argmax(axis=1)
        some = free[everyone, place]
        places[some, step] = place[some]
        free[everyone, place] = False
        cosines = np.einsum("nmk,nk->nm", y, y[everyone, place])
        alike = cosines.astype(np.float64) if step == 0 else np.maximum(alike, cosines)
    return places


def _normalised(scores: Floats, there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return scores from 0 for the lowest of a list to 1 for its highest; 0 where all are the same."""
    low = np.where(there, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    off = np.subtract(scores, low, out=np.zeros(scores.shape), where=there)
    high = off.max(axis=1, keepdims=True, initial=0.0)
    found: NDArray[np.float64] = np.divide(off, high, out=np.zeros_like(off), where=high > 0)
    return found


def _directions(titles: Ints, factors: Floats) -> Floats:
    """Return factors of length 1, (n, m, k); 0 where there is no title, or it has none."""
    there = titles >= 0
    y = np.zeros((*titles.shape, factors.shape[1]), np.float32)
    y[there] = factors[titles[there]]
    length = np.linalg.norm(y, axis=2, keepdims=True)
    found: Floats = np.divide(y, length, out=np.zeros_like(y), where=length > 0)
    return found


def _blocks(n: int, numbers: int) -> Iterator[Ints]:
    """Yield n rows in blocks, given how many numbers a row takes."""
    step = max(1, _BLOCK // max(1, numbers))
    for begin in range(0, n, step):
        yield np.arange(begin, min(begin + step, n))
