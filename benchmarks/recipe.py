"""Ratings for benchmarks of the model: made by a stated recipe, or real ones.

`generated`: users are active by a lognormal law (sigma 1.1), titles popular in proportion to rank^-0.9, both drawn by
themselves; a rating is 3.5 + an 8-factor product (standard deviation 0.5) + noise (0.7), rounded to halves and clipped
to 0.5 to 5; repeated pairs count once. 2.5 million draws over 30,000 users and 8,000 titles leave 1.96 million ratings.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import csv

from nextreel.train.engine import Cells

_FACTORS = 8
#: Pairs whose factors are held at a time.
_BLOCK = 1_000_000


@dataclass(frozen=True)
class Ratings:
    """n ratings: ``user``, ``title`` (rows), ``stars``, each (n,), and ``at``, seconds, where known."""

    n_users: int
    n_titles: int
    user: NDArray[np.int32]
    title: NDArray[np.int32]
    stars: NDArray[np.float32]
    at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.stars)

    def where(self, kept: NDArray[np.bool_]) -> "Ratings":
        """Return some of the ratings, over the same users and titles."""
        columns = (self.user[kept], self.title[kept], self.stars[kept], self.at[kept])
        return Ratings(self.n_users, self.n_titles, *columns)

    def split(self, share: float, seed: int = 1) -> tuple["Ratings", "Ratings"]:
        """Return the ratings to learn from and a share of them, drawn at random, held out."""
        held_out = np.random.default_rng(seed).random(len(self)) < share
        return self.where(~held_out), self.where(held_out)

    def split_by_time(self, share: float) -> tuple["Ratings", "Ratings"]:
        """Return each user's ratings but the last share of them, and those."""
        order = np.lexsort((self.title, self.at, self.user))
        counts = np.bincount(self.user, minlength=self.n_users)
        place = np.arange(len(self)) - np.repeat(np.cumsum(counts) - counts, counts)
        held_out = np.empty(len(self), np.bool_)
        held_out[order] = place >= np.ceil(np.repeat(counts, counts) * (1 - share))
        return self.where(~held_out), self.where(held_out)

    def cells(self, value: NDArray[np.float32]) -> Cells:
        """Return cells of these users and titles with other values."""
        return Cells(self.n_users, self.n_titles, self.user, self.title, value)


def generated(n_users: int = 30_000, n_titles: int = 8_000, draws: int = 2_500_000, seed: int = 0) -> Ratings:
    """Return ratings by the recipe above."""
    rng = np.random.default_rng(seed)
    active, popular = rng.lognormal(0, 1.1, n_users), (np.arange(n_titles) + 1.0) ** -0.9
    pairs = rng.choice(n_users, draws, p=active / active.sum()) * np.int64(n_titles)
    pairs += rng.choice(n_titles, draws, p=popular / popular.sum())
    pairs = np.unique(pairs)
    user, title = (pairs // n_titles).astype(np.int32), (pairs % n_titles).astype(np.int32)
    x, y = (rng.standard_normal((n, _FACTORS), np.float32) for n in (n_users, n_titles))
    stars = np.empty(len(pairs), np.float32)
    for begin in range(0, len(pairs), _BLOCK):
        some = slice(begin, begin + _BLOCK)
        stars[some] = np.einsum("nk,nk->n", x[user[some]], y[title[some]]) * np.float32(0.5 / np.sqrt(_FACTORS))
    stars += np.float32(3.5)
    stars += rng.standard_normal(len(pairs), np.float32) * np.float32(0.7)
    halves = np.clip(np.round(stars * 2) / 2, 0.5, 5.0).astype(np.float32)
    return Ratings(n_users, n_titles, user, title, halves, np.zeros(len(pairs), np.int64))


def movielens(folder: Path) -> Ratings:
    """Return the ratings of a MovieLens data set's ``ratings.csv``."""
    table = csv.read_csv(folder / "ratings.csv")
    users, user = np.unique(table["userId"].to_numpy(), return_inverse=True)
    titles, title = np.unique(table["movieId"].to_numpy(), return_inverse=True)
    stars = table["rating"].to_numpy().astype(np.float32)
    at = table["timestamp"].to_numpy().astype(np.int64)
    return Ratings(len(users), len(titles), user.astype(np.int32), title.astype(np.int32), stars, at)
