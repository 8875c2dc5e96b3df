"""A trained model: what predicts ratings, and what ranks.

Two questions, two sets of factors. The rating that user u would give title t is predicted by

    r(u, t) = μ + b_u + b_t + p_u · q_t      clipped to 0.5 … 5.0

with damped biases b and factors p, q of explicit ALS on what the biases leave over. The order in which titles are
recommended comes from x_u · y_t, factors of confidence-weighted (implicit) ALS: it ranks far better than r does.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.errors import ModelError
from nextreel.events.contract import RATING_MAX, RATING_MIN
from nextreel.model.arrays import Floats, Indices, Ints
from nextreel.model.estimate import Estimate, TraitModel
from nextreel.model.solve import Scaling


@dataclass(frozen=True)
class Factors:
    """Factors of both sides: ``users`` of shape (n_users, k), ``titles`` of shape (n_titles, k), float32."""

    users: Floats
    titles: Floats

    def __post_init__(self) -> None:
        if self.users.ndim != 2 or self.titles.ndim != 2 or self.users.shape[1] != self.titles.shape[1]:
            raise ModelError(f"factors of shapes {self.users.shape} and {self.titles.shape} do not fit together")


@dataclass(frozen=True)
class Biases:
    """The mean rating, and how far users (n_users,) and titles (n_titles,) lie off it."""

    mean: float
    users: Floats
    titles: Floats

    def predict(self, users: Indices, titles: Indices) -> Floats:
        """Return the ratings of pairs by the biases alone, shape (n,), not clipped."""
        found: Floats = np.float32(self.mean) + self.users[users] + self.titles[titles]
        return found


@dataclass(frozen=True)
class Feedback:
    """How ratings become factors: `nextreel.settings.TrainSettings` has the words for each."""

    neutral_rating: float
    alpha: float
    ranking_regularization: float
    regularization: float
    damping: float
    ranking_scaling: Scaling = "positive"


@dataclass(frozen=True)
class Newcomers:
    """What is expected of users and titles by their traits."""

    users: TraitModel
    titles: TraitModel


@dataclass(frozen=True)
class Model:
    """Everything that recommends. Users and titles are rows in the order of their ids, which is ascending."""

    user_ids: pa.StringArray
    title_ids: pa.StringArray
    biases: Biases
    rating_factors: Factors
    ranking_factors: Factors
    #: How many ratings each title has, (n_titles,): the order for whom nothing is known of.
    popularity: Floats
    #: How many ratings each user has, (n_users,).
    activity: Ints
    feedback: Feedback
    newcomers: Newcomers

    def __post_init__(self) -> None:
        n_users, n_titles = len(self.user_ids), len(self.title_ids)
        for name, sides in (
            ("biases", self.biases),
            ("rating_factors", self.rating_factors),
            ("ranking_factors", self.ranking_factors),
        ):
            found = (len(sides.users), len(sides.titles))
            if found != (n_users, n_titles):
                raise ModelError(f"{name} are of {found} users and titles; the ids of {(n_users, n_titles)}")
            if not (np.isfinite(sides.users).all() and np.isfinite(sides.titles).all()):
                raise ModelError(f"{name} are not finite: the training diverged")
        if (len(self.activity), len(self.popularity)) != (n_users, n_titles):
            raise ModelError(
                f"activity and popularity are of {len(self.activity)} users and {len(self.popularity)} titles; the ids "
                f"of {(n_users, n_titles)}"
            )

    def predict(self, users: Indices, titles: Indices) -> Floats:
        """Return the predicted ratings of pairs given by row, shape (n,), within 0.5 to 5.0."""
        pairs = np.einsum("ij,ij->i", self.rating_factors.users[users], self.rating_factors.titles[titles])
        clipped: Floats = np.clip(self.biases.predict(users, titles) + pairs, RATING_MIN, RATING_MAX)
        return clipped

    @property
    def known_users(self) -> NDArray[np.bool_]:
        """Which users the ranking factors say anything about, (n_users,)."""
        known: NDArray[np.bool_] = np.any(self.ranking_factors.users != 0, axis=1)
        return known

    @property
    def users(self) -> Estimate:
        """All that is known of users, row by row."""
        return Estimate(self.ranking_factors.users, self.rating_factors.users, self.biases.users)

    @property
    def titles(self) -> Estimate:
        """All that is known of titles, row by row."""
        return Estimate(self.ranking_factors.titles, self.rating_factors.titles, self.biases.titles)
