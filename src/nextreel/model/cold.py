"""Users and titles with few ratings, or none: what their traits say of their factors and biases.

It is learned by ridge regression from those with ratings, rows weighted by n / (n + 10) for n ratings: what few ratings
say is uncertain, and beyond some tens more of them add little. `nextreel.model.estimate` puts it together with the
ratings that there are. Whoever has such factors goes through the same `rank` and `predict` as everybody else.

A user's order is thus that of people who declare the same. The regression's intercept is the average user, whose list
is near to what is popular: the less a user's traits say, the nearer is theirs. Compared on held-out users of the
synthetic world, this ranks better than solving for the user's factors on ratings simulated from affinity, than affinity
itself, and than either mixed with popularity.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nextreel.model.arrays import Doubles, Floats, Ints
from nextreel.model.estimate import HALF, Estimate, TraitModel
from nextreel.model.ridge import Linear, Ridge, evenly
from nextreel.model.solve import Rows
from nextreel.model.traits import Traits, Vocabulary, take

#: Rows learned from, at the most, and traits, with whose cube the time grows: seconds for so many.
_MOST_ROWS = 100_000
_MOST_TRAITS = 1_000
#: Guesses that are less than half as long as what they guess know too little of it to be made longer yet.
_MOST_STRETCH = 2.0


@dataclass(frozen=True)
class Side:
    """Users, or titles: how many ratings there were of each, (n,), their traits, and what was learned of them.

    A title's traits are its own, a user's those that they prefer.
    """

    n_ratings: Ints
    traits: Traits
    learned: Estimate

    def rated(self) -> Ints:
        """Return which rows are learned from: those with ratings; of many, some, evenly spaced."""
        rows = np.flatnonzero(self.n_ratings)
        return rows[evenly(len(rows), _MOST_ROWS)]

    def weights(self, rows: Ints) -> Doubles:
        """Return how much some rows count, (n,)."""
        n = self.n_ratings[rows]
        found: Doubles = n / (n + HALF)
        return found


def learn_titles(titles: Side, boost: float) -> TraitModel:
    """Learn a title's factors from its own traits; where fewer than two titles are rated, to expect 0.

    What a regression expects is an average, and so shorter than what it stands for. With x · y as the score a new title
    would lose to every title that has ratings, and next to never be recommended. So ranking factors are stretched: with
    a ``boost`` of 1 until the median expected is as long as the median rated title, with 0 not at all, and in between
    for what lies between. None is longer than the median rated title, or the few that suit most people would be
    recommended to all of them. What is gained in new titles shown is paid for in nDCG (docs/evaluation.md). Medians are
    weighted like the regression: in a long-tailed catalogue most titles have a rating or two, and are short for that.
    """
    rows = titles.rated()
    traits = take(titles.traits, rows)
    vocabulary = Vocabulary.of(traits, most=_MOST_TRAITS)
    found = titles.learned.take(rows)
    weights = titles.weights(rows)
    if len(rows) < 2 or len(vocabulary) == 0:
        return _nothing(vocabulary, found, weights)
    ridge = Ridge.of(vocabulary.indicators(traits), weights, len(vocabulary))
    ranking = ridge.fit(found.ranking)
    typical = _median_length(found.ranking[ridge.judged], ridge)
    expected = _median_length(ranking.left_out, ridge)
    stretch = float(np.clip(typical / expected, 1.0, _MOST_STRETCH)) if expected > 0 else 1.0
    return TraitModel(
        vocabulary,
        ranking.linear,
        ridge.fit(found.rating).linear,
        ridge.fit(found.bias[:, None]).linear,
        _average(found.ranking, weights),
        1.0 + boost * (stretch - 1.0),
        typical,
    )


def learn_users(users: Side, titles: Side) -> TraitModel:
    """Learn a user's factors from the traits that they prefer; where fewer than two users have ratings, to expect 0.

    The regression begins with what titles know of the same traits: that who prefers a trait likes titles that have it,
    Σ (y_i - ȳ) over them, as much as fits the users with ratings best; it then learns how people differ from that.
    Where few users have ratings, lists gain most by it.
    """
    rows, title_rows = users.rated(), titles.rated()
    preferred, own = take(users.traits, rows), take(titles.traits, title_rows)
    vocabulary = Vocabulary.of(preferred, own, most=_MOST_TRAITS)
    found, liked = users.learned.take(rows), titles.learned.take(title_rows)
    weights = users.weights(rows)
    if len(rows) < 2 or len(vocabulary) == 0:
        return _nothing(vocabulary, found, weights)
    preferences = vocabulary.indicators(preferred)
    ridge = Ridge.of(preferences, weights, len(vocabulary))
    of_titles = vocabulary.indicators(_without_age_rating(own))
    return TraitModel(
        vocabulary,
        _from_liking(ridge, preferences, found.ranking, of_titles, liked.ranking),
        _from_liking(ridge, preferences, found.rating, of_titles, liked.rating),
        ridge.fit(found.bias[:, None]).linear,
        _average(found.ranking, weights),
    )


def _nothing(vocabulary: Vocabulary, found: Estimate, weights: Doubles) -> TraitModel:
    ranking, rating = (Linear.zero(len(vocabulary), t.shape[1]) for t in (found.ranking, found.rating))
    return TraitModel(vocabulary, ranking, rating, Linear.zero(len(vocabulary), 1), _average(found.ranking, weights))


def _average(factors: Floats, weights: Doubles) -> Floats:
    """Return the weighted mean of factors (n, k), shape (k,); 0 of none."""
    found: Floats = (weights @ factors / max(weights.sum(), 1e-9)).astype(np.float32)
    return found


def _from_liking(ridge: Ridge, preferences: Rows, targets: Floats, of_titles: Rows, titles: Floats) -> Linear:
    """Regress users' factors on their preferences, beginning with the direction of the titles that have these."""
    prior = _directions(of_titles, titles, len(ridge.mean))
    liked = Linear(np.zeros(prior.shape[1], np.float32), prior)(preferences)
    share = _slope(liked, targets, ridge.weights)
    rest = ridge.fit(targets - share * liked).linear
    return Linear(rest.intercept, rest.coefficients + share * prior)


def _directions(of_titles: Rows, titles: Floats, n_traits: int) -> Floats:
    """Return Σ x_it (y_i - ȳ) over titles of each trait t, (n_traits, k)."""
    off = titles - titles.mean(axis=0) if len(titles) else titles
    cells = off[np.repeat(np.arange(len(of_titles)), of_titles.counts)] * of_titles.values[:, None]
    sums = [np.bincount(of_titles.columns, each, n_traits) for each in cells.T]
    return np.stack(sums, axis=1).astype(np.float32)


def _slope(x: Floats, y: Floats, weights: Doubles) -> np.float32:
    """Return how much of y follows x, both (n, k), by weighted least squares over all their columns."""
    off_x, off_y = (each - np.average(each, axis=0, weights=weights) for each in (x, y))
    spread = float(weights @ (off_x**2).sum(1))
    return np.float32(weights @ (off_x * off_y).sum(1) / spread) if spread > 0 else np.float32(0)


def _median_length(factors: Floats, ridge: Ridge) -> float:
    """Return the weighted median of the lengths of the judged rows' factors."""
    lengths, weights = np.linalg.norm(factors, axis=1), ridge.weights[ridge.judged]
    order = np.argsort(lengths, kind="stable")
    below = np.cumsum(weights[order])
    return float(lengths[order][np.searchsorted(below, below[-1] / 2)])


def _without_age_rating(traits: Traits) -> Traits:
    """Return traits without age ratings: a user's is how mature titles may be, not what they like."""
    return {**traits, "age_rating": pa.nulls(len(traits["age_rating"]), pa.string())}
