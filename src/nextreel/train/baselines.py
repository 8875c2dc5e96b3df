"""What a model has to beat: lists of popular titles, of well-rated ones, and of random ones."""

import numpy as np
from numpy.typing import NDArray

from nextreel.model.arrays import Ints
from nextreel.model.model import Biases
from nextreel.model.rank import Pairs, top_k


def baseline_lists(n_ratings: Ints, biases: Biases, seen: Pairs, k: int, seed: int) -> dict[str, Ints]:
    """Return lists of ``k`` titles without those ``seen`` by each of n users: by name, rows of titles (n, k).

    ``popularity`` has the most rated titles first (``n_ratings`` is (n_titles,)), ``bias`` those with the highest
    bias b_t, the damped mean of how far their ratings lie off the mean; ``random`` is any order.
    """
    return {
        "popularity": _same_for_all(n_ratings.astype(np.float32), seen, k),
        "bias": _same_for_all(biases.titles, seen, k),
        "random": random_lists(seen, len(n_ratings), k, seed),
    }


def _same_for_all(scores: NDArray[np.float32], seen: Pairs, k: int) -> Ints:
    everyone = np.ones((len(seen.start) - 1, 1), np.float32)
    return top_k(everyone, scores[:, None], k, seen)[0]


def random_lists(seen: Pairs, n_titles: int, k: int, seed: int) -> Ints:
    """Return ``k`` titles, drawn evenly from those not ``seen``, for each user: rows of titles, (n, k)."""
    rng = np.random.default_rng(seed)
    lists = np.full((len(seen.start) - 1, k), -1, np.int64)
    for row in range(len(lists)):
        hidden = seen.titles[seen.start[row] : seen.start[row + 1]]
        n_free = n_titles - len(hidden)
        drawn = rng.choice(n_free, min(k, n_free), replace=False)
        # Of the titles that are not hidden, the one that has so many of them before it.
        lists[row, : len(drawn)] = drawn + np.searchsorted(hidden - np.arange(len(hidden)), drawn, side="right")
    return lists
