"""Who likes what: the truth behind the synthetic world.

Every user and every title is a point in the same few dimensions. Eight are axes along which genres differ,
one is the period, one is what only makers differ in. What people declare, choose, finish and rate all follows
from the product of the two points, so that a recommender has something to find and a test knows what it
should have found.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nextreel.events.contract import RATING_MAX, RATING_MIN

#: How far each genre lies along thrills, darkness, heart, wonder, laughs, ideas, family and heritage, and its
#: share of the titles in percent.
_GENRES: Final[dict[str, tuple[list[float], float]]] = {
    "Action": ([2.0, 0.3, -0.5, 0.3, 0.0, -1.0, 0.0, -0.2], 9.0),
    "Adventure": ([1.4, -0.3, 0.0, 1.0, 0.2, -0.3, 0.6, 0.2], 5.0),
    "Animation": ([0.0, -0.6, 0.3, 1.2, 0.8, -0.3, 1.6, -0.3], 5.0),
    "Comedy": ([-0.4, -1.0, 0.4, -0.3, 2.0, -0.5, 0.2, -0.3], 14.0),
    "Crime": ([1.0, 1.6, -0.5, -0.6, -0.2, 0.5, -1.0, 0.0], 6.0),
    "Documentary": ([-1.2, 0.0, -0.3, -0.8, -0.6, 2.0, 0.1, 0.8], 6.0),
    "Drama": ([-0.8, 0.3, 1.3, -0.5, -0.7, 0.7, -0.3, 0.4], 16.0),
    "Family": ([-0.4, -1.2, 0.6, 0.7, 0.9, -0.5, 2.0, 0.0], 5.0),
    "Fantasy": ([0.5, 0.0, 0.1, 2.0, 0.0, -0.3, 0.6, -0.1], 4.0),
    "History": ([-0.3, 0.2, 0.2, -0.5, -0.9, 1.0, -0.2, 1.9], 3.0),
    "Horror": ([0.9, 2.0, -0.9, 0.5, -0.4, -0.5, -1.4, -0.4], 5.0),
    "Music": ([-0.8, -0.7, 0.9, 0.0, 0.6, 0.2, 0.4, 0.3], 2.0),
    "Mystery": ([0.5, 1.2, -0.2, 0.3, -0.4, 1.0, -0.5, 0.0], 4.0),
    "Romance": ([-0.8, -0.7, 2.0, -0.1, 0.5, -0.4, 0.0, 0.0], 7.0),
    "Sci-Fi": ([1.0, 0.2, -0.6, 1.6, -0.2, 0.9, -0.3, -0.9], 5.0),
    "Thriller": ([1.6, 1.2, -0.3, -0.2, -0.8, 0.3, -0.9, -0.2], 8.0),
    "War": ([1.1, 0.8, 0.2, -0.8, -1.1, 0.5, -0.7, 1.5], 2.0),
    "Western": ([1.0, 0.3, 0.0, -0.5, -0.1, -0.3, -0.2, 1.5], 1.5),
}

GENRES: Final = tuple(_GENRES)
GENRE_SHARES: Final = np.array([share for _, share in _GENRES.values()])
THRILLS, DARKNESS, HEART, WONDER, LAUGHS, IDEAS, FAMILY, HERITAGE, PERIOD, MAKERS = range(10)
N_DIMENSIONS: Final = 10

#: Standard deviations, in stars, of what a rating is made of, over pairs of any user and any title.
TASTE_SD, USER_SD, TITLE_SD, NOISE_SD = 0.9, 0.3, 0.3, 0.45

#: The mean over pairs of any user and any title. People choose what they like: what is rated has more.
MEAN_RATING: Final = 2.75


def genre_vectors() -> NDArray[np.float64]:
    """Return the genres' directions, of shape (n_genres, n_dimensions), each of length 1."""
    vectors = np.zeros((len(GENRES), N_DIMENSIONS))
    vectors[:, :PERIOD] = [axes for axes, _ in _GENRES.values()]
    length: NDArray[np.float64] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / length


def own_directions(rng: np.random.Generator, n: int, length: float) -> NDArray[np.float64]:
    """Return n random vectors of about a length: what is a person's or title's own; (n, n_dimensions)."""
    return rng.normal(0.0, length / np.sqrt(N_DIMENSIONS), (n, N_DIMENSIONS))


@dataclass(frozen=True)
class Taste:
    """The latent model of all users and titles.

    ``users`` is of shape (n_users, n_dimensions), with coordinates of mean 0 and, taken together, variance 1;
    ``titles`` of shape (n_titles, n_dimensions), scaled so that the products with users have a standard
    deviation of ``TASTE_SD`` stars. ``leniency`` (n_users,) and ``quality`` (n_titles,) are the two sides'
    own stars.
    """

    users: NDArray[np.float32]
    titles: NDArray[np.float32]
    leniency: NDArray[np.float32]
    quality: NDArray[np.float32]

    @classmethod
    def of(cls, rng: np.random.Generator, users: NDArray[np.float64], titles: NDArray[np.float64]) -> "Taste":
        """Return the model of users' and titles' raw directions, scaled as the class says."""
        titles = titles - titles.mean(axis=0)
        spread = titles.T @ titles / len(titles) + 1e-9 * np.eye(N_DIMENSIONS)
        # People differ most in what titles differ most in: along each principal axis by the root of the
        # titles' standard deviation.
        variances, axes = np.linalg.eigh(spread)
        users = (users - users.mean(axis=0)) @ (axes * variances**0.25) @ axes.T
        users = users / max(float(users.std()), 1e-9)
        products = max(float(np.trace(spread @ (users.T @ users / len(users)))), 1e-9)
        return cls(
            users.astype(np.float32),
            (titles * (TASTE_SD / np.sqrt(products))).astype(np.float32),
            rng.normal(0.0, USER_SD, len(users)).astype(np.float32),
            rng.normal(0.0, TITLE_SD, len(titles)).astype(np.float32),
        )

    def appeal(self, user: NDArray[np.int64], title: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the stars that taste alone gives, of the shape that ``user`` and ``title`` broadcast to."""
        product: NDArray[np.float32] = np.einsum(
            "...d,...d->...", self.users.take(user, axis=0), self.titles.take(title, axis=0)
        )
        return product

    def stars(self, user: NDArray[np.int64], title: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return ratings without noise and before the scale's ends cut them, shaped as ``appeal``'s."""
        stars: NDArray[np.float32] = self.leniency[user] + self.quality[title] + self.appeal(user, title)
        return stars + np.float32(MEAN_RATING)

    def true_rating(self, user: NDArray[np.int64], title: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return ratings without noise and before rounding, inside the scale; shapes (n,)."""
        return np.clip(self.stars(user, title).astype(np.float64), RATING_MIN, RATING_MAX)
