"""What is assumed of users or titles, and from what: traits alone, or ratings and traits together.

Few ratings say little: the factors that they alone would give are off by chance more than by taste. So the factors that
rank lie between those and what the same traits let expect, the nearer to the first the more ratings there are:

    x = n / (n + 10) · (solved from n ratings) + 10 / (n + 10) · (expected of the traits)

an empirical Bayes estimate. docs/evaluation.md has what it gains.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from nextreel.model.arrays import Floats, Ints
from nextreel.model.ridge import Linear
from nextreel.model.traits import Traits, Vocabulary

#: So many ratings say as much as the traits do.
HALF = 10.0


@dataclass(frozen=True)
class Estimate:
    """What is assumed of n users or titles: factors that rank (n, k) and that predict ratings (n, l), biases (n,).

    All of it is 0 where nothing is known: such a user is recommended what is popular, such a title to nobody.
    """

    ranking: Floats
    rating: Floats
    bias: Floats

    def take(self, rows: Ints) -> "Estimate":
        """Return some rows, in their order."""
        return Estimate(self.ranking[rows], self.rating[rows], self.bias[rows])

    def followed_by(self, other: "Estimate") -> "Estimate":
        """Return these rows and, after them, another's."""
        sides = ("ranking", "rating", "bias")
        return Estimate(*(np.concatenate([getattr(self, side), getattr(other, side)]) for side in sides))


@dataclass(frozen=True)
class TraitModel:
    """Expects factors from traits. Ranking factors are made ``stretch`` times as long, and at most ``longest``.

    ``average`` (k,) are the ranking factors of the average user or title.
    """

    vocabulary: Vocabulary
    ranking: Linear
    rating: Linear
    bias: Linear
    average: Floats
    stretch: float = 1.0
    longest: float = float("inf")

    def expect(self, traits: Traits) -> Estimate:
        """Return what traits, n rows of them, say."""
        rows = self.vocabulary.indicators(traits)
        return Estimate(self._stretched(self.ranking(rows)), self.rating(rows), self.bias(rows)[:, 0])

    def expect_one(self, values: Mapping[str, Collection[str]]) -> Estimate:
        """Return the same of one row, given by the values of each kind (genres, age_rating …)."""
        cells = self.vocabulary.cells(values)
        ranking, rating, bias = (each.of_cells(cells) for each in (self.ranking, self.rating, self.bias))
        return Estimate(self._stretched(ranking), rating, bias[:, 0])

    def _stretched(self, ranking: Floats) -> Floats:
        length = np.sqrt(np.einsum("nk,nk->n", ranking, ranking))[:, None]
        room = np.divide(self.longest, length, out=np.zeros_like(length), where=length > 0)
        found: Floats = ranking * np.minimum(self.stretch, room)
        return found

    def weigh(self, solved: Estimate, n_liking: Ints, n_stars: Ints, expected: Estimate) -> Estimate:
        """Return what ratings and traits say together.

        Each row has ``n_liking`` (n,) ratings that its ranking factors are solved from, and ``n_stars`` (n,) that all
        else is. Where no trait is known, the average stands for what they say; where there is no rating, it is what
        they say.
        """
        known = expected.ranking.any(axis=1, keepdims=True)
        trust = (n_liking / (n_liking + HALF)).astype(np.float32)[:, None]
        between = trust * solved.ranking + (1 - trust) * np.where(known, expected.ranking, self.average)
        rated = n_stars > 0
        return Estimate(
            np.where(n_liking[:, None] > 0, between, expected.ranking).astype(np.float32),
            np.where(rated[:, None], solved.rating, expected.rating),
            np.where(rated, solved.bias, expected.bias),
        )
