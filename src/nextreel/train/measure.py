"""Metrics of recommenders, user by user, so that they can be averaged over any users."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nextreel.model.arrays import Floats, Ints
from nextreel.model.diversify import intra_list_diversity
from nextreel.model.rank import Pairs
from nextreel.train import metrics
from nextreel.train.bootstrap import UserMeans, intervals_of
from nextreel.train.dataset import Dataset

Values = NDArray[np.float64]

#: Metrics of errors, the mean of squares among them whose root is told; metrics of lists.
_ERRORS = ("rmse", "mae")
_RANKS = ("ndcg", "recall", "precision", "map", "mrr", "novelty", "mean_popularity", "diversity")


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """What was measured of ``users`` (rows, (n,)).

    ``means`` has a column for each recommender and metric, those of a recommender side by side.
    """

    users: Ints
    recommenders: tuple[str, ...]
    metrics: tuple[str, ...]
    means: UserMeans

    def of(self, users: NDArray[np.bool_]) -> "Measured":
        """Return what was measured of the users that a mask (n_users,) keeps."""
        kept = users[self.users]
        return replace(self, users=self.users[kept], means=self.means.of(kept))

    def values(self) -> dict[str, dict[str, float]]:
        """Return the means, by recommender and metric; NaN where there is nothing."""
        return self._by_name(self.means.values())

    def intervals(self, resamples: int, seed: int) -> dict[str, dict[str, Interval]]:
        """Return the bootstrap confidence intervals of the same."""
        low, high = (self._by_name(ends) for ends in self.means.intervals(resamples, seed))
        return {who: {m: Interval(low[who][m], high[who][m]) for m in self.metrics} for who in self.recommenders}

    def difference(self, one: str, other: str, metric: str, resamples: int, seed: int) -> Interval:
        """Return the interval of by how much a metric of ``one`` recommender lies above that of the ``other``.

        The difference is taken sample by sample: both are of the same users, so that it is surer than either value.
        """
        names = [self.recommenders.index(who) * len(self.metrics) + self.metrics.index(metric) for who in (one, other)]
        drawn = UserMeans(self.means.total[:, names], self.means.weight[:, names]).samples(resamples, seed)
        own, others = (np.sqrt(drawn) if metric == "rmse" else drawn).T
        low, high = intervals_of((own - others)[:, None])[:, 0]
        return Interval(float(low), float(high))

    def _by_name(self, values: Values) -> dict[str, dict[str, float]]:
        table = values.reshape(len(self.recommenders), len(self.metrics)).copy()
        roots = np.array([name == "rmse" for name in self.metrics])
        np.sqrt(table, out=table, where=roots)
        rows = (dict(zip(self.metrics, row, strict=True)) for row in table.tolist())
        return dict(zip(self.recommenders, rows, strict=True))


def errors(predicted: Mapping[str, NDArray[np.float32]], test: Dataset) -> Measured:
    """Measure predicted ratings (len(test),), by who predicts them."""
    users = np.unique(test.user).astype(np.int64)
    total, weight = [], []
    for stars in predicted.values():
        off = stars.astype(np.float64) - test.rating
        total += [np.bincount(test.user, error, test.n_users)[users] for error in (off**2, np.abs(off))]
        weight += [np.bincount(test.user, minlength=test.n_users)[users].astype(np.float64)] * 2
    return Measured(users, tuple(predicted), _ERRORS, UserMeans(np.stack(total, axis=1), np.stack(weight, axis=1)))


def ranks(
    lists: Mapping[str, Ints], users: Ints, wanted: Pairs, n_ratings: Ints, n_raters: int, factors: Floats
) -> Measured:
    """Measure lists (n, k) for ``users`` (n,), by who makes them.

    ``wanted`` has the titles that are relevant to each of the users, one at least; ``n_ratings`` (n_titles,) are those
    in training, of ``n_raters`` users; ``factors`` (n_titles, l) say how alike titles are.
    """
    n_relevant = np.diff(wanted.start)
    information = metrics.self_information(n_ratings, n_raters)
    total, weight = [], []
    for titles in lists.values():
        hits = metrics.hits(titles, wanted)
        listed = (titles >= 0).sum(1)
        unlike = intra_list_diversity(titles, factors)
        total += [
            metrics.ndcg(hits, n_relevant),
            metrics.recall(hits, n_relevant),
            metrics.precision(hits),
            metrics.average_precision(hits, n_relevant),
            metrics.reciprocal_rank(hits),
            metrics.listed_sum(titles, information),
            metrics.listed_sum(titles, n_ratings.astype(np.float64)),
            np.nan_to_num(unlike),
        ]
        weight += [np.ones(len(users))] * 5 + [listed.astype(np.float64)] * 2 + [(~np.isnan(unlike)).astype(np.float64)]
    return Measured(users, tuple(lists), _RANKS, UserMeans(np.stack(total, axis=1), np.stack(weight, axis=1)))
