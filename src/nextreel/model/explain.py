"""What carries a recommendation: titles that the user has rated, or declared preferences that the title meets."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from nextreel.events.contract import MATURITY
from nextreel.model.arrays import Doubles, Floats, Ints
from nextreel.model.solve import Systems
from nextreel.settings import AffinityWeights

#: The values of each trait of one user or title: genres, directors, actors, decades; age_rating has at most one.
TraitValues = Mapping[str, Collection[str]]

#: The name of each trait's weight in the settings.
_WEIGHTS = {
    "genres": "genres",
    "directors": "directors",
    "actors": "actors",
    "decades": "decade",
    "age_rating": "age_rating",
}


@dataclass(frozen=True)
class ByTitles:
    """Why a title has its ``score``: shares of it, which add up to 1 with the ``rest``.

    ``titles`` (m,) are those rated titles that add most to the score, the most important first, ``shares`` (m,) what
    each adds; ``expected`` is the share of what was expected of the user before any rating. Titles may also take from a
    score: a share can be above 1, and the rest below 0.
    """

    score: float
    titles: Ints
    shares: Doubles
    expected: float
    rest: float


@dataclass(frozen=True)
class Met:
    """A declared preference that a title meets, and its share of the affinity: ``value`` as the title has it."""

    trait: str
    value: str
    share: float


@dataclass(frozen=True)
class ByPreferences:
    """Why a title suits a user: preferences met, the most important first; shares add up to 1 with the ``rest``."""

    met: list[Met]
    rest: float


def by_titles(
    systems: Systems,
    row: int,
    factors: Floats,
    titles: Ints,
    most: int,
    trust: float = 1.0,
    expected: Floats | None = None,
) -> list[ByTitles]:
    """Explain the scores of ``titles`` (rows) for the user of one row by at most ``most`` of the titles they rated.

    ``systems`` are those that the users' factors are solved from, ``factors`` (n_titles, k) the titles'. A user's
    factors are x = M⁻¹ Σ_j t_j y_j with the system's matrix M = A + Σ_j w_j y_j y_jᵀ + λI, and so a title's score is a
    sum over the titles j that the user rated (Hu, Koren, Volinsky 2008, section 5):

        y_i · x = Σ_j t_j y_iᵀ M⁻¹ y_j

    With ``trust`` below 1 the rest of the user's factors is what was ``expected`` (k,) of them
    (`nextreel.model.estimate`), and the score s · (that sum) + (1 - s) y_i · expected. A title of target 0 (not liked)
    adds nothing itself. Nothing carries a score that is not above 0: all of it is the rest.
    """
    rows = systems.rows
    cells = slice(rows.start[row], rows.start[row + 1])
    rated, targets = rows.columns[cells].astype(np.int64), systems.targets[cells].astype(np.float64)
    others = factors[titles].astype(np.float64)
    before = np.zeros(len(titles)) if expected is None else (1 - trust) * (others @ expected)
    if not targets.any():
        return [_by_titles(np.zeros(len(rated)), rated, most, each) for each in before]
    y = factors[rated].astype(np.float64)
    matrix = y.T @ (y * systems.weights[cells, None])
    matrix += systems.regularization[row] * np.eye(y.shape[1])
    if len(systems.gram):
        matrix += systems.gram
    parts = trust * targets[:, None] * (y @ np.linalg.solve(matrix, others.T))
    return [_by_titles(part, rated, most, each) for part, each in zip(parts.T, before, strict=True)]


def by_preferences(
    preferences: TraitValues, titles: Sequence[TraitValues], weights: AffinityWeights, most: int
) -> list[ByPreferences]:
    """Explain each title to one user by at most ``most`` of the preferences that the title meets.

    The shares are those of the affinity, Σ_c w_c s_c / Σ_c w_c (`nextreel.ratings.affinity`), to the bit: a trait has
    w_c s_c / Σ w s, in equal parts for each value that both sides have. If a title meets no preference, the rest is 1:
    the title may be recommended because users with the same preferences like it (`nextreel.model.cold`). The cost grows
    with the number of preferences plus that of the titles' values, not with their product.
    """
    declared = {trait: frozenset(preferences[trait]) for trait in _WEIGHTS}
    return [_by_preferences(declared, title, weights, most) for title in titles]


def _by_preferences(
    declared: Mapping[str, frozenset[str]], title: TraitValues, weights: AffinityWeights, most: int
) -> ByPreferences:
    scores, shared, total = {}, {}, 0.0
    for trait, weight in _WEIGHTS.items():
        score, shared[trait] = _overlap(trait, declared[trait], title[trait])
        scores[trait] = getattr(weights, weight) * score
        total += scores[trait]  # not sum(), which rounds in another way than numpy
    met = [
        Met(trait, value, score / total / len(shared[trait]))
        for trait, score in scores.items()
        if score > 0
        for value in shared[trait]
    ]
    met = sorted(met, key=lambda each: -each.share)[:most]
    return ByPreferences(met, 1.0 - sum(each.share for each in met))


def _overlap(trait: str, declared: frozenset[str], of_title: Collection[str]) -> tuple[float, list[str]]:
    """Return the similarity s of one trait, 0 if it cannot be compared, and the title's values that are met."""
    if trait == "age_rating":
        most_mature = max((MATURITY.get(rating, -1) for rating in declared), default=-1)
        suitable = [rating for rating in of_title if MATURITY.get(rating, inf) <= most_mature]
        return float(bool(suitable)), suitable
    own = frozenset(of_title)
    both, smaller = sorted(own & declared), min(len(own), len(declared))
    return len(both) / smaller if smaller else 0.0, both


def _by_titles(parts: Doubles, rated: Ints, most: int, expected: float) -> ByTitles:
    """Return the largest of the parts that a score is the sum of; equal ones in the order of titles."""
    score = float(parts.sum()) + float(expected)
    if score <= 0:
        return ByTitles(score, rated[:0], parts[:0], 0.0, 1.0)
    order = np.argsort(-parts, kind="stable")[:most]
    order = order[parts[order] > 0]
    shares, of_expected = parts[order] / score, float(expected) / score
    return ByTitles(score, rated[order], shares, of_expected, 1.0 - float(shares.sum()) - of_expected)
