"""Recommendations for many users at once: as personal as what is known of each allows."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nextreel.model.arrays import Floats, Ints
from nextreel.model.diversify import diversified
from nextreel.model.model import Model
from nextreel.model.rank import Catalogue, Filter, Pairs

#: Titles that a diverse list chooses from, for each that it has.
_CHOICE = 5

#: What a list comes from: the user's ratings (and preferences), declared preferences alone, or what is popular.
Strategy = Literal["personal", "preferences", "popular"]


@dataclass(frozen=True)
class Recommendations:
    """Lists of n users, best first: ``titles`` rows (n, k), -1 where a list has run out; ``ratings`` predicted, (n, k).

    ``strategy`` (n,) tells what each list comes from: a `Strategy`.
    """

    titles: Ints
    ratings: Floats
    strategy: NDArray[np.str_]


class Recommender:
    """Recommends from one model: titles that are ``offered`` (n_titles,), a mask.

    With ``diversity`` above 0, up to 1, lists are chosen from longer ones so that their titles differ, the more the
    higher it is: `nextreel.model.diversify`, whose λ is 1 - ``diversity``.
    """

    def __init__(self, model: Model, offered: NDArray[np.bool_], diversity: float = 0.0):
        self._model = model
        self._diversity = diversity
        both = (Catalogue.of(factors) for factors in (model.ranking_factors.titles, model.popularity[:, None]))
        self._personal, self._popular = ((catalogue, catalogue.filter(offered)) for catalogue in both)

    def recommend(self, users: Ints, k: int, seen: Pairs, threads: int | None = None) -> Recommendations:
        """Recommend ``k`` titles to each of ``users`` (rows, (n,)), but none that they, of all users, have ``seen``."""
        excluded = seen.rows(users)
        personal = self._model.known_users[users]
        rated = self._model.activity[users] > 0
        titles = np.full((len(users), k), -1, np.int64)
        ones = np.ones((len(users), 1), np.float32)
        own = self._model.ranking_factors.users[users]
        for group, factors, among in ((personal, own, self._personal), (~personal, ones, self._popular)):
            rows = np.flatnonzero(group)
            titles[rows] = self._lists(among, factors[rows], k, excluded.rows(rows), threads)
        found = titles >= 0
        ratings = np.full(titles.shape, np.nan, np.float32)
        ratings[found] = self._model.predict(np.repeat(users, found.sum(1)), titles[found])
        strategy = np.where(~personal, "popular", np.where(rated, "personal", "preferences"))
        return Recommendations(titles, ratings, strategy)

    def _lists(
        self, among: tuple[Catalogue, Filter], users: Floats, k: int, excluded: Pairs, threads: int | None
    ) -> Ints:
        """Return lists of k titles for the factors of users (n, l), none of them ``excluded``."""
        catalogue, offered = among
        if self._diversity == 0:
            return catalogue.top_k(users, k, excluded, offered, threads)[0]
        longer = catalogue.top_k(users, k * _CHOICE, excluded, offered, threads)
        return diversified(*longer, self._model.ranking_factors.titles, k, 1 - self._diversity)[0]


def recommend(model: Model, users: Ints, k: int, seen: Pairs, offered: NDArray[np.bool_]) -> Recommendations:
    """Recommend ``k`` titles to each of ``users``, once: see `Recommender`."""
    return Recommender(model, offered).recommend(users, k, seen)


def most_alike(model: Model, title: int, others: Ints) -> int:
    """Return which of ``others`` (rows) is most like a title: by the cosine of ranking factors; ties to the first."""
    factors = model.ranking_factors.titles
    norms = np.linalg.norm(factors[others], axis=1)
    cosines = np.divide(factors[others] @ factors[title], norms, out=np.zeros(len(others)), where=norms > 0)
    return int(others[int(np.argmax(cosines))])
