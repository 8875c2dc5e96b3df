"""What carries a recommendation: titles that the user has rated, or declared preferences that the title meets."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nextreel.model.arrays import Doubles, Floats, Ints
from nextreel.model.solve import Systems
from nextreel.model.traits import Traits
from nextreel.ratings.affinity import affinity, flat
from nextreel.settings import AffinityWeights

#: What the settings call the weight of each list-valued trait.
_WEIGHTS = {"genres": "genres", "directors": "directors", "actors": "actors", "decades": "decade"}


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


def by_preferences(preferences: Traits, titles: Traits, weights: AffinityWeights, most: int) -> list[ByPreferences]:
    """Explain n pairs, row by row, by at most ``most`` of the preferences that the title meets.

    The shares are those of the affinity, Σ_c w_c s_c / Σ_c w_c (`nextreel.ratings.affinity`): a trait has
    w_c s_c / Σ w s, in equal parts for each value that both sides have. Where none is met, all is the rest: a title may
    be recommended because people who declare the same like it (`nextreel.model.cold`).
    """
    scores = {trait: _scores(preferences, titles, weights, trait) for trait in (*_WEIGHTS, "age_rating")}
    total = np.sum(list(scores.values()), axis=0)
    shared = {trait: _shared(preferences[trait], titles[trait]) for trait in _WEIGHTS}
    suitable = titles["age_rating"].to_pylist()
    found = []
    for row in range(len(total)):
        values = {trait: shared[trait].get(row, []) for trait in _WEIGHTS} | {"age_rating": [suitable[row]]}
        met = [
            Met(trait, value, float(scores[trait][row] / total[row] / len(values[trait])))
            for trait in scores
            if scores[trait][row] > 0
            for value in values[trait]
        ]
        met = sorted(met, key=lambda each: -each.share)[:most]
        found.append(ByPreferences(met, 1.0 - sum(each.share for each in met)))
    return found


def _by_titles(parts: Doubles, rated: Ints, most: int, expected: float) -> ByTitles:
    """Return the largest of the parts that a score is the sum of; equal ones in the order of titles."""
    score = float(parts.sum()) + float(expected)
    if score <= 0:
        return ByTitles(score, rated[:0], parts[:0], 0.0, 1.0)
    order = np.argsort(-parts, kind="stable")[:most]
    order = order[parts[order] > 0]
    shares, of_expected = parts[order] / score, float(expected) / score
    return ByTitles(score, rated[order], shares, of_expected, 1.0 - float(shares.sum()) - of_expected)


def _scores(preferences: Traits, titles: Traits, weights: AffinityWeights, trait: str) -> Doubles:
    """Return w s of one trait for each pair, 0 where it cannot be compared: by an affinity of this trait alone."""
    name = _WEIGHTS.get(trait, trait)
    weight = float(getattr(weights, name))
    alone = AffinityWeights(**{n: float(n == name) for n in AffinityWeights.model_fields})
    return weight * np.nan_to_num(affinity(preferences, titles, alone))


def _shared(left: pa.Array, right: pa.Array) -> dict[int, list[str]]:
    """Return the values that both sides have, ascending, of each row where there are any."""
    pairs = [set(zip(rows.tolist(), values.to_pylist(), strict=True)) for rows, values in (flat(left), flat(right))]
    found: dict[int, list[str]] = {}
    for row, value in sorted(pairs[0] & pairs[1]):
        found.setdefault(row, []).append(value)
    return found
