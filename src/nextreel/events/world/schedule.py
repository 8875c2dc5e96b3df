"""Who is on when: sittings of users, spread so evenly that each one's can be numbered without counting them.

A sitting is one evening of one user. Block after block, evenly spaced points fall on a line on which every
user holds a stretch as long as the user is active, and whoever holds a point has a sitting. From block to
block the points are shifted by the van der Corput sequence: those of 2**k consecutive blocks then make one
evenly spaced grid, so that how many fell on a stretch in any number of blocks takes only the logarithm of
that number to say.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

SITTINGS: Final = 2048


class Schedule:
    """The sittings of all users, ``SITTINGS`` a block, for ever.

    Parameters
    ----------
    activity
        How active each user is, of shape (n_users,).
    cohorts
        Pairs of a block and how many users, from the first on, there are from that block on. The first pair's
        block is 0, and both numbers only grow.
    """

    def __init__(self, activity: NDArray[np.float64], cohorts: Sequence[tuple[int, int]]) -> None:
        self._edges = np.concatenate([[0.0], np.cumsum(activity)])
        self._cohorts = list(cohorts)

    def sittings(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the users of a block's sittings, and the sittings' numbers; both of shape (SITTINGS,).

        Each user's sittings are numbered from 0, across all blocks. A block's are in the order of their
        users.
        """
        now = bisect_right(self._cohorts, block, key=lambda cohort: cohort[0]) - 1
        first_block, n_users = self._cohorts[now]
        points = np.arange(SITTINGS) + _van_der_corput(block - first_block)
        ends = self._edges[1 : n_users + 1] * (SITTINGS / self._edges[n_users])
        user = np.minimum(np.searchsorted(ends, points, side="right"), n_users - 1)
        before = np.zeros(SITTINGS, np.int64)
        for number, (first, n_then) in enumerate(self._cohorts[: now + 1]):
            last = block if number == now else self._cohorts[number + 1][0]
            before += self._fallen(user, n_then, last - first)
        return user, before + np.arange(SITTINGS) - np.searchsorted(user, user)

    def _fallen(self, user: NDArray[np.int64], n_users: int, n_blocks: int) -> NDArray[np.int64]:
        """Return how many points fell on users' stretches in the first blocks of a cohort of ``n_users``."""
        scale = SITTINGS / self._edges[n_users]
        low, high = (np.minimum(self._edges[user + end] * scale, SITTINGS) for end in (0, 1))
        fallen = np.zeros(user.size)
        done = 0
        for power in reversed(range(n_blocks.bit_length())):
            if n_blocks >> power & 1:
                shift, finer = _van_der_corput(done), 2.0**power
                fallen += np.ceil((high - shift) * finer) - np.ceil((low - shift) * finer)
                done += 1 << power
        return fallen.astype(np.int64)


def _van_der_corput(n: int) -> float:
    """Return the n-th number of the van der Corput sequence: 0, 1/2, 1/4, 3/4, 1/8, …"""
    return float(int(f"{n:b}"[::-1], 2) / (1 << n.bit_length()))
