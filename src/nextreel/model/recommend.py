"""Recommendations for many users at once: personal where the model knows the user, popular where it does not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nextreel.model.model import Floats, Model
from nextreel.model.rank import Catalogue, Ints, Pairs


@dataclass(frozen=True)
class Recommendations:
    """Lists of n users, best first: ``titles`` rows (n, k), -1 where a list has run out; ``ratings`` predicted, (n, k).

    ``personal`` (n,) tells whose list comes from their own factors.
    """

    titles: Ints
    ratings: Floats
    personal: NDArray[np.bool_]


def recommend(model: Model, users: Ints, k: int, seen: Pairs, offered: NDArray[np.bool_]) -> Recommendations:
    """Recommend ``k`` titles to each of ``users`` (rows, (n,)).

    ``seen`` holds the titles that each of all users has rated, which are left out; ``offered`` (n_titles,) masks the
    titles that may be recommended.
    """
    excluded = seen.rows(users)
    personal = model.known_users[users]
    titles = np.full((len(users), k), -1, np.int64)
    ones = np.ones((len(users), 1), np.float32)
    for group, own, catalogue in (
        (personal, model.ranking_factors.users[users], model.ranking_factors.titles),
        (~personal, ones, model.popularity[:, None]),
    ):
        rows = np.flatnonzero(group)
        titles[rows] = Catalogue.of(catalogue).top_k(own[rows], k, excluded.rows(rows), offered)[0]
    found = titles >= 0
    ratings = np.full(titles.shape, np.nan, np.float32)
    ratings[found] = model.predict(np.repeat(users, found.sum(1)), titles[found])
    return Recommendations(titles, ratings, personal)


def most_alike(model: Model, title: int, others: Ints) -> int:
    """Return which of ``others`` (rows) is most like a title: by the cosine of ranking factors; ties to the first."""
    factors = model.ranking_factors.titles
    norms = np.linalg.norm(factors[others], axis=1)
    cosines = np.divide(factors[others] @ factors[title], norms, out=np.zeros(len(others)), where=norms > 0)
    return int(others[int(np.argmax(cosines))])
