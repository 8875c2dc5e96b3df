"""Users and titles without ratings: their factors and biases from their traits alone.

What the traits of those with ratings say of their factors is learned by ridge regression, with rows weighted by
n / (n + 10) for n ratings: what few ratings say is uncertain, and beyond some tens more of them add little. Whoever has
such factors goes through the same `rank` and `predict` as everybody else.

A user's order is thus that of people who declare the same. The regression's intercept is the average user, whose list
is near to what is popular: the less a user's traits say, the nearer is theirs. Compared on held-out users of the
synthetic world, this ranks better than solving for the user's factors on ratings simulated from affinity, than affinity
itself, and than either mixed with popularity.
"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from nextreel.model.arrays import Doubles, Floats, Ints
from nextreel.model.model import Biases, Factors, Model
from nextreel.model.ridge import Linear, Ridge, evenly
from nextreel.model.solve import Rows
from nextreel.model.traits import Traits, Vocabulary, take

#: A row with so many ratings counts half.
_HALF = 10.0
#: Rows learned from, at the most, and traits, with whose cube the time grows: seconds for so many.
_MOST_ROWS = 100_000
_MOST_TRAITS = 1_000
#: Guesses that are less than half as long as what they guess know too little of it to be made longer yet.
_MOST_STRETCH = 2.0


@dataclass(frozen=True)
class Side:
    """Users, or titles, by the rows of a model: how many ratings the model had of each, (n,), and their traits.

    A title's traits are its own, a user's those that they prefer.
    """

    n_ratings: Ints
    traits: Traits

    def rated(self) -> Ints:
        """Return which rows are learned from: those with ratings; of many, some, evenly spaced."""
        rows = np.flatnonzero(self.n_ratings)
        return rows[evenly(len(rows), _MOST_ROWS)]

    def weights(self, rows: Ints) -> Doubles:
        """Return how much some rows count, (n,)."""
        n = self.n_ratings[rows]
        found: Doubles = n / (n + _HALF)
        return found


@dataclass(frozen=True)
class Guess:
    """What is assumed of n users or titles: factors that rank (n, k) and that predict ratings (n, l), biases (n,).

    All of it is 0 where no trait is known: such a user is recommended what is popular, such a title to nobody.
    """

    ranking: Floats
    rating: Floats
    bias: Floats


@dataclass(frozen=True)
class TraitModel:
    """Guesses factors from traits. Ranking factors are made ``stretch`` times as long, and at most ``longest``."""

    vocabulary: Vocabulary
    ranking: Linear
    rating: Linear
    bias: Linear
    stretch: float = 1.0
    longest: float = float("inf")

    def guess(self, traits: Traits) -> Guess:
        """Return what traits, n rows of them, say."""
        rows = self.vocabulary.indicators(traits)
        ranking = self.ranking(rows)
        length = np.linalg.norm(ranking, axis=1, keepdims=True)
        room = np.divide(self.longest, length, out=np.zeros_like(length), where=length > 0)
        return Guess(ranking * np.minimum(self.stretch, room), self.rating(rows), self.bias(rows)[:, 0])


def learn_titles(model: Model, titles: Side) -> TraitModel:
    """Learn a title's factors from its own traits; where fewer than two titles are rated, to guess 0.

    A regression's guess is an average, and so shorter than what it guesses. With x · y as the score a new title would
    lose to every title that has ratings, and next to never be recommended. So ranking factors are stretched until the
    median guess is as long as the median rated title; none is longer than that, or the few that suit most people would
    be recommended to all of them. A new title is then recommended about as often as a typical old one, if at less
    precision: what is gained in new titles shown is paid for in nDCG. Medians are weighted like the regression: in a
    long-tailed catalogue most titles have a rating or two, and are short for that reason.
    """
    rows = titles.rated()
    traits = take(titles.traits, rows)
    vocabulary = Vocabulary.of(traits, most=_MOST_TRAITS)
    found = _Targets.of(model.ranking_factors.titles, model.rating_factors.titles, model.biases.titles, rows)
    if len(rows) < 2 or len(vocabulary) == 0:
        return _nothing(vocabulary, found)
    ridge = Ridge.of(vocabulary.indicators(traits), titles.weights(rows), len(vocabulary))
    ranking = ridge.fit(found.ranking)
    typical = _median_length(found.ranking[ridge.judged], ridge)
    guessed = _median_length(ranking.left_out, ridge)
    stretch = float(np.clip(typical / guessed, 1.0, _MOST_STRETCH)) if guessed > 0 else 1.0
    rating, bias = ridge.fit(found.rating).linear, ridge.fit(found.bias).linear
    return TraitModel(vocabulary, ranking.linear, rating, bias, stretch, typical)


def learn_users(model: Model, users: Side, titles: Side) -> TraitModel:
    """Learn a user's factors from the traits that they prefer; where fewer than two users have ratings, to guess 0.

    The regression begins with what titles know of the same traits: that who prefers a trait likes titles that have it,
    Σ (y_i - ȳ) over them, as much as fits the users with ratings best; it then learns how people differ from that.
    Where few users have ratings, lists gain most by it.
    """
    rows, title_rows = users.rated(), titles.rated()
    preferred, own = take(users.traits, rows), take(titles.traits, title_rows)
    vocabulary = Vocabulary.of(preferred, own, most=_MOST_TRAITS)
    found = _Targets.of(model.ranking_factors.users, model.rating_factors.users, model.biases.users, rows)
    if len(rows) < 2 or len(vocabulary) == 0:
        return _nothing(vocabulary, found)
    preferences = vocabulary.indicators(preferred)
    ridge = Ridge.of(preferences, users.weights(rows), len(vocabulary))
    of_titles = vocabulary.indicators(_without_age_rating(own))
    return TraitModel(
        vocabulary,
        _from_liking(ridge, preferences, found.ranking, of_titles, model.ranking_factors.titles[title_rows]),
        _from_liking(ridge, preferences, found.rating, of_titles, model.rating_factors.titles[title_rows]),
        ridge.fit(found.bias).linear,
    )


def with_users(model: Model, rows: Ints, guess: Guess) -> Model:
    """Return a model that takes the users of some rows for what is guessed of them."""
    ranking, rating, biases = model.ranking_factors, model.rating_factors, model.biases
    return replace(
        model,
        ranking_factors=Factors(_put(ranking.users, rows, guess.ranking), ranking.titles),
        rating_factors=Factors(_put(rating.users, rows, guess.rating), rating.titles),
        biases=Biases(biases.mean, _put(biases.users, rows, guess.bias), biases.titles),
    )


def with_titles(model: Model, rows: Ints, guess: Guess) -> Model:
    """Return a model that takes the titles of some rows for what is guessed of them."""
    ranking, rating, biases = model.ranking_factors, model.rating_factors, model.biases
    return replace(
        model,
        ranking_factors=Factors(ranking.users, _put(ranking.titles, rows, guess.ranking)),
        rating_factors=Factors(rating.users, _put(rating.titles, rows, guess.rating)),
        biases=Biases(biases.mean, biases.users, _put(biases.titles, rows, guess.bias)),
    )


@dataclass(frozen=True)
class _Targets:
    """What is learned: factors (n, k) and (n, l), biases (n, 1)."""

    ranking: Floats
    rating: Floats
    bias: Floats

    @classmethod
    def of(cls, ranking: Floats, rating: Floats, biases: Floats, rows: Ints) -> "_Targets":
        return cls(ranking[rows], rating[rows], biases[rows, None])


def _nothing(vocabulary: Vocabulary, found: _Targets) -> TraitModel:
    ranking, rating, bias = (
        Linear.zero(len(vocabulary), t.shape[1]) for t in (found.ranking, found.rating, found.bias)
    )
    return TraitModel(vocabulary, ranking, rating, bias)


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


def _put(values: Floats, rows: Ints, guessed: Floats) -> Floats:
    found = values.copy()
    found[rows] = guessed
    return found
