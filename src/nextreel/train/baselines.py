"""What a model has to beat: lists of popular titles, of well-rated ones, and of random ones."""

import numpy as np
from numpy.typing import NDArray

from nextreel.model.arrays import Ints, Mask
from nextreel.model.model import Biases
from nextreel.model.rank import Catalogue, Pairs


def baseline_lists(n_ratings: Ints, biases: Biases, seen: Pairs, k: int, seed: int, offered: Mask) -> dict[str, Ints]:
    """Return lists of ``k`` titles without those ``seen`` by each of n users: by name, rows of titles (n, k).

    All are of titles that are ``offered``, a mask (n_titles,).

    ``popularity`` has the most rated titles first (``n_ratings`` is (n_titles,)), ``bias`` those with the highest
    bias b_t, the damped mean of how far their ratings lie off the mean; ``random`` is any order.
    """
    return {
        "popularity": _same_for_all(n_ratings.astype(np.float32), seen, k, offered),
        "bias": _same_for_all(biases.titles, seen, k, offered),
        "random": random_lists(seen, offered, k, seed),
    }


def _same_for_all(scores: NDArray[np.float32], seen: Pairs, k: int, offered: Mask) -> Ints:
    everyone = np.ones((len(seen.start) - 1, 1), np.float32)
    catalogue = Catalogue.of(scores[:, None])
    return catalogue.top_k(everyone, k, seen, catalogue.filter(offered))[0]


def random_lists(seen: Pairs, offered: Mask, k: int, seed: int) -> Ints:
    """Return ``k`` titles, drawn evenly from those offered and not ``seen``, for each user: rows of titles, (n, k)."""
    titles, place = np.flatnonzero(offered), np.cumsum(offered) - 1
    rng = np.random.default_rng(seed)
    lists = np.full((len(seen.start) - 1, k), -1, np.int64)
    for row in range(len(lists)):
        own = seen.titles[seen.start[row] : seen.start[row + 1]]
        hidden = place[own[offered[own]]]
        n_free = len(titles) - len(hidden)
        drawn = rng.choice(n_free, min(k, n_free), replace=False)
        # Of the titles that are not hidden, the one that has so many of them before it.
        chosen = drawn + np.searchsorted(hidden - np.arange(len(hidden)), drawn, side="right")
        lists[row, : len(drawn)] = titles[chosen]
    return lists
