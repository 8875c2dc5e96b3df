"""How well titles fit declared preferences. numpy and Arrow only: used by training, cold start and explanations.

The affinity of a user u to a title t is a weighted mean over the traits that both declare:

    affinity(u, t) = Σ_c w_c s_c(u, t) / Σ_c w_c        c with u's and t's trait c both known

where s is, for genres, directors, actors and decades, the overlap coefficient |u ∩ t| / min(|u|, |t|)
(Szymkiewicz-Simpson), and for the age rating 1 where the title's is at most as mature as the user's, else 0. Each s
lies in 0 to 1 and grows with every match, and so does the affinity. Where nothing can be compared it is NaN: unknown,
not unfit.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nextreel.events.contract import MATURITY
from nextreel.settings import AffinityWeights

#: The list-valued traits and the weight of each.
_LISTS = {"genres": "genres", "directors": "directors", "actors": "actors", "decades": "decade"}


def affinity(
    preferences: Mapping[str, pa.Array], titles: Mapping[str, pa.Array], weights: AffinityWeights
) -> NDArray[np.float64]:
    """Return the affinity of pairs, shape (n,), each in 0 to 1, or NaN where nothing can be compared.

    Both sides hold, row by row for n pairs, the columns ``genres``, ``directors``, ``actors``, ``decades`` (lists of
    strings) and ``age_rating`` (string), any of them null.
    """
    n = len(preferences["age_rating"])
    total, known = np.zeros(n), np.zeros(n)
    for trait, weight_name in _LISTS.items():
        weight = getattr(weights, weight_name)
        score, comparable = overlap(preferences[trait], titles[trait])
        total += weight * score
        known += weight * comparable
    score, comparable = _suitable(preferences["age_rating"], titles["age_rating"])
    total += weights.age_rating * score
    known += weights.age_rating * comparable
    fit: NDArray[np.float64] = np.divide(total, known, out=np.full(n, np.nan), where=known > 0)
    return fit


def overlap(left: pa.Array, right: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the overlap coefficient of two columns of string lists, row by row, and where both have any.

    Values that repeat within a list count once; nulls, and nulls within lists, not at all.
    """
    n = len(left)
    (rows_l, flat_l), (rows_r, flat_r) = flat(left), flat(right)
    codes = pa.concat_arrays([flat_l, flat_r]).dictionary_encode()
    n_values = max(1, len(codes.dictionary))
    code = codes.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    cells_l = np.unique(rows_l * n_values + code[: len(flat_l)])
    cells_r = np.unique(rows_r * n_values + code[len(flat_l) :])
    shared = np.intersect1d(cells_l, cells_r, assume_unique=True)
    count_l, count_r, count_shared = (
        np.bincount(cells // n_values, minlength=n) for cells in (cells_l, cells_r, shared)
    )
    smaller = np.minimum(count_l, count_r)
    return np.divide(count_shared, smaller, out=np.zeros(n), where=smaller > 0), smaller > 0


def flat(lists: pa.Array) -> tuple[NDArray[np.int64], pa.Array]:
    """Return the values of a list column without nulls, and the row of each."""
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    # Not list_parent_indices: it also counts what may lie unseen behind a null list.
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    values = pc.list_flatten(lists)
    valid = pc.is_valid(values)
    return np.repeat(np.arange(len(lists)), lengths)[valid.to_numpy(zero_copy_only=False)], values.filter(valid)


def _suitable(allowed: pa.Array, given: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    level_allowed, level_given = _maturity(allowed), _maturity(given)
    comparable = (level_allowed >= 0) & (level_given >= 0)
    return (comparable & (level_given <= level_allowed)).astype(np.float64), comparable


def _maturity(ratings: pa.Array) -> NDArray[np.int64]:
    """Return the maturity of age ratings, -1 where unknown."""
    position = pc.index_in(ratings, pa.array(list(MATURITY)))
    levels = np.array([*MATURITY.values(), -1])
    found: NDArray[np.int64] = levels[pc.fill_null(position, len(MATURITY)).to_numpy(zero_copy_only=False)]
    return found
