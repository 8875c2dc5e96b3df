"""Random draws that depend on nothing but their keys: the same for a row, whichever rows it is made with."""

from hashlib import blake2b

import numpy as np
from numpy.typing import ArrayLike, NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniform(seed: int, purpose: str, *keys: ArrayLike) -> NDArray[np.float64]:
    """Return numbers in [0, 1), one for each combination of keys.

    Parameters
    ----------
    seed
        The world's seed.
    purpose
        What the numbers are for; different purposes have unrelated numbers.
    keys
        Whole numbers of shapes that broadcast to the shape of the result.
    """
    digest = blake2b(f"{seed} {purpose}".encode(), digest_size=8).digest()
    state = np.full(1, int.from_bytes(digest, "big"), np.uint64)
    for key in keys:
        state = _mixed(state + np.atleast_1d(np.asarray(key)).astype(np.uint64) * _STEP)
    bits: NDArray[np.uint64] = _mixed(state) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def whole(bound: ArrayLike, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return whole numbers from 0 up to below ``bound``, for numbers in [0, 1)."""
    scaled: NDArray[np.float64] = np.floor(uniforms * np.asarray(bound))
    return scaled.astype(np.int64)


def gumbel(uniforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return standard Gumbel noise: the largest ``log(weight) + noise`` is a draw in proportion to weight."""
    return -np.log(-np.log(np.maximum(uniforms, 2.0**-60)))


def pick(weights: ArrayLike, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return positions in ``weights``, drawn in proportion to them."""
    edges = np.cumsum(np.asarray(weights, np.float64))
    position: NDArray[np.int64] = np.searchsorted(edges, uniforms * edges[-1], side="right")
    return np.minimum(position, edges.size - 1)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64's output function of a state (Steele, Lea and Flood 2014)."""
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
