"""What ALS is to learn in the benchmark, and how factors are judged: the same code for every engine.

Explicit feedback: what damped biases of users and titles leave of the stars, since that is what nextreel trains on;
judged by the RMSE of a held-out tenth, with the biases added. Implicit feedback: titles liked, of four stars or more,
all alike; judged by nDCG@10 of a held-out tenth of them, among all titles that a user has not liked in training, over
4,000 users at most.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.recipe import Ratings
from nextreel.model.model import Factors
from nextreel.model.rank import Pairs, top_k
from nextreel.settings import Settings
from nextreel.train.biases import fit_biases
from nextreel.train.dataset import Dataset

Kind = Literal["explicit", "implicit"]

_LIKED = 4.0
_HELD_OUT = 0.1
_DAMPING = Settings().train.damping
_JUDGED_USERS = 4_000
_K = 10


@dataclass(frozen=True)
class Task:
    """Ratings to learn from, the value of each, and the quality of factors: higher is better."""

    kind: Kind
    train: Ratings
    values: NDArray[np.float32]
    judge: Callable[[Factors], float]

    @property
    def metric(self) -> str:
        """What the quality is; the RMSE comes with a minus."""
        return "RMSE" if self.kind == "explicit" else "nDCG@10"


def explicit_task(ratings: Ratings) -> Task:
    """Return the prediction of held-out stars."""
    train, test = ratings.split(_HELD_OUT)
    biases = fit_biases(_dataset(train), _DAMPING)
    known = biases.predict(test.user, test.title)

    def judge(f: Factors) -> float:
        stars = known + np.einsum("nk,nk->n", f.users[test.user], f.titles[test.title])
        return -float(np.sqrt(np.mean((np.clip(stars, 0.5, 5.0) - test.stars) ** 2)))

    return Task("explicit", train, train.stars - biases.predict(train.user, train.title), judge)


def _dataset(ratings: Ratings) -> Dataset:
    users, titles = (pa.array([str(i) for i in range(n)]) for n in (ratings.n_users, ratings.n_titles))
    observed, at = np.zeros(len(ratings), np.bool_), ratings.at.astype("datetime64[us]")
    return Dataset(users, titles, ratings.user, ratings.title, ratings.stars, observed, at)


def implicit_task(ratings: Ratings) -> Task:
    """Return the ranking of held-out liked titles."""
    train, test = ratings.where(ratings.stars >= _LIKED).split(_HELD_OUT)
    users = np.random.default_rng(2).permutation(np.unique(test.user))[:_JUDGED_USERS].astype(np.int64)
    seen = Pairs.of(train.user, train.title, train.n_users).rows(users)
    wanted = test.user.astype(np.int64) * test.n_titles + test.title
    discount = 1 / np.log2(np.arange(2, _K + 2))
    n_wanted = np.bincount(test.user, minlength=test.n_users)[users]
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(n_wanted, _K)]

    def judge(f: Factors) -> float:
        lists = top_k(np.ascontiguousarray(f.users[users]), f.titles, _K, seen)[0]
        hits = np.isin(users[:, None] * test.n_titles + lists, wanted)
        return float(np.mean((hits * discount).sum(1) / ideal))

    return Task("implicit", train, np.ones(len(train), np.float32), judge)
