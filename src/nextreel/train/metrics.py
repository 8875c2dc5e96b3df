"""How good lists are, user by user. numpy only; who has nothing relevant is not for these functions.

Throughout, ``hits`` (n, k) says which places of n users' lists hold a relevant title, best place first; a list that
has run out has no hits there. ``n_relevant`` (n,) is how many relevant titles there are for each, from 1 up. Relevance
is binary. nDCG, precision, recall, average precision and reciprocal rank, cut at k, are those of trec_eval (ndcg_cut,
P, recall, map_cut, recip_rank) and ranx. ``lists`` (n, k) are rows of titles, -1 where a list has run out.
"""

import numpy as np
from numpy.typing import NDArray

from nextreel.model.arrays import Ints
from nextreel.model.rank import Pairs

Hits = NDArray[np.bool_]
Values = NDArray[np.float64]


def hits(lists: Ints, relevant: Pairs) -> Hits:
    """Return which places (n, k) hold a title that is relevant to the list's user."""
    user = np.repeat(np.arange(len(lists)), np.diff(relevant.start))
    listed = (np.arange(len(lists))[:, None] << 32) + lists
    return np.isin(listed, (user << 32) + relevant.titles) & (lists >= 0)


def ndcg(hits: Hits, n_relevant: Ints) -> Values:
    """Return normalised discounted cumulative gain at k, (n,), 1 for the best list there is.

        DCG = Σ_i hit_i / log2(i + 1)        nDCG = DCG / (DCG of min(k, R) hits in the first places)

    Source: Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 20 (2002).
    """
    k = hits.shape[1]
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(n_relevant, k) - 1]
    found: Values = (hits * discount).sum(1) / ideal
    return found


def precision(hits: Hits) -> Values:
    """Return the share of the k places that are hits, (n,): |hits| / k, also where a list is shorter."""
    found: Values = hits.mean(1)
    return found


def recall(hits: Hits, n_relevant: Ints) -> Values:
    """Return the share of the relevant titles that are listed, (n,): |hits| / R."""
    found: Values = hits.sum(1) / n_relevant
    return found


def average_precision(hits: Hits, n_relevant: Ints) -> Values:
    """Return average precision at k, (n,); its mean over users is MAP.

        AP = Σ_i hit_i precision@i / R

    With more than k relevant titles even the best list has k / R. Source: Buckley, Voorhees, "Evaluating evaluation
    measure stability", SIGIR 2000; others divide by min(k, R).
    """
    at_place = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    found: Values = (hits * at_place).sum(1) / n_relevant
    return found


def reciprocal_rank(hits: Hits) -> Values:
    """Return 1 / the place of the first hit, 0 without any, (n,); its mean over users is MRR.

    Source: Voorhees, "The TREC-8 question answering track report", 1999.
    """
    found: Values = np.where(hits.any(1), 1 / (hits.argmax(1) + 1), 0.0)
    return found


def self_information(n_ratings: Ints, n_users: int) -> Values:
    """Return how surprising each title is, (n_titles,), in bits: log2(n_users / n_ratings); at least one rating counts.

    Its mean over what is recommended is novelty. Source: Zhou, Kuscsik, Liu, Medo, Wakeling, Zhang, "Solving the
    apparent diversity-accuracy dilemma of recommender systems", PNAS 107 (2010).
    """
    found: Values = np.log2(max(1, n_users) / np.maximum(n_ratings, 1))
    return found


def listed_sum(lists: Ints, values: Values) -> Values:
    """Return the sum of a value (n_titles,) over each list, (n,)."""
    found: Values = np.where(lists >= 0, np.append(values, 0.0)[lists], 0.0).sum(1)
    return found


def coverage(lists: Ints, n_titles: int) -> float:
    """Return the share of the catalogue that is in anybody's list.

    Source: Ge, Delgado-Battenfeld, Jannach, "Beyond accuracy", RecSys 2010.
    """
    return len(np.unique(lists[lists >= 0])) / n_titles if n_titles else 0.0
