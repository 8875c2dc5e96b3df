"""Means over users, and how sure they are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

#: Of the resampled means, the quantiles between which the middle 95 % lie.
_QUANTILES = (0.025, 0.975)
#: Draws held at a time: 16 MB, several times over.
_BLOCK_DRAWS = 2_000_000
#: Users that are drawn one by one, at the most.
_UNITS = 10_000


@dataclass(frozen=True)
class UserMeans:
    """m means over n users, each a ratio of sums: Σ_u ``total`` (n, m) / Σ_u ``weight`` (n, m)."""

    total: Values
    weight: Values

    def of(self, users: NDArray[np.bool_]) -> "UserMeans":
        """Return the means over the users that a mask (n,) keeps."""
        return UserMeans(self.total[users], self.weight[users])

    def values(self) -> Values:
        """Return the means, (m,); NaN where nothing has weight."""
        return _ratio(self.total.sum(0), self.weight.sum(0))

    def intervals(self, resamples: int, seed: int) -> Values:
        """Return 95 % confidence intervals, (2, m): lower ends, upper ends.

        Percentiles of the means over ``resamples`` samples. Source: Efron, Tibshirani, "An introduction to the
        bootstrap", 1993, chapter 13.
        """
        return intervals_of(self.samples(resamples, seed))

    def samples(self, resamples: int, seed: int) -> Values:
        """Return the means over each of ``resamples`` samples of n users, drawn with replacement, (resamples, m).

        Many users are drawn in groups that are put together at random: the means vary as much, and the work does not
        grow. All m means are of the same draws, so that they can be compared sample by sample.
        """
        n, m = self.total.shape
        if n == 0:
            return np.full((resamples, m), np.nan)
        rng = np.random.default_rng(seed)
        units = self if n <= _UNITS else self._grouped(rng.permutation(n))
        step = max(1, _BLOCK_DRAWS // len(units.total))
        return np.concatenate(
            [units._resampled(rng, min(step, resamples - done)) for done in range(0, resamples, step)]
        )

    def _grouped(self, order: NDArray[np.int64]) -> "UserMeans":
        """Return the same means over groups of users that follow each other in ``order``, in place of users."""
        start = np.arange(_UNITS) * len(order) // _UNITS
        return UserMeans(np.add.reduceat(self.total[order], start), np.add.reduceat(self.weight[order], start))

    def _resampled(self, rng: np.random.Generator, b: int) -> Values:
        """Return the means over ``b`` samples of the users, (b, m)."""
        n = len(self.total)
        drawn = rng.integers(0, n, (b, n)) + n * np.arange(b)[:, None]
        times = np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n).astype(np.float64)
        return _ratio(times @ self.total, times @ self.weight)


def intervals_of(samples: Values) -> Values:
    """Return 95 % confidence intervals from samples of m values, (n, m): lower ends, upper ends, (2, m)."""
    measured = ~np.isnan(samples).all(0)
    found = np.full((2, samples.shape[1]), np.nan)
    found[:, measured] = np.nanquantile(samples[:, measured], _QUANTILES, axis=0)
    return found


def _ratio(total: Values, weight: Values) -> Values:
    found: Values = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
    return found
