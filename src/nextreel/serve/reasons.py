"""Why a title is recommended to somebody: what they rated and what they declare, in shares that add up."""

from dataclasses import dataclass

import numpy as np

from nextreel.model.arrays import Ints
from nextreel.model.estimate import HALF
from nextreel.model.explain import Met, by_preferences, by_titles
from nextreel.model.solve import Rows
from nextreel.serve.live import Live
from nextreel.serve.people import Past, Profile
from nextreel.settings import AffinityWeights


@dataclass(frozen=True)
class Reason:
    """Why a title has its score: the share of titles (rows) that were rated, that of all that was declared, the rest.

    ``titles`` are the most important ones; ``met`` are declared preferences that the title meets, whose shares are of
    the affinity: what else is in ``declared`` comes from people who declare the same.
    """

    titles: list[tuple[int, float]]
    declared: float
    met: list[Met]
    rest: float


def reasons(
    live: Live, profile: Profile, past: Past, titles: Ints, most: int, weights: AffinityWeights
) -> list[Reason]:
    """Explain ``titles`` (rows) to somebody who has a past and a profile, each by at most ``most`` things of a kind."""
    past = live.people.counted(past)
    model, n = live.model, len(past.titles)
    declared = profile.values()
    expected = model.newcomers.users.expect_one(declared).ranking[0]
    if not expected.any():
        expected = model.newcomers.users.average if n else expected
    factors = live.titles.of(np.concatenate([past.titles, titles])).ranking
    above = past.ratings - np.float32(model.feedback.neutral_rating)
    cells = Rows(np.array([0, n]), np.arange(n, dtype=np.int32), above.astype(np.float32))
    systems = live.people.fold_in.confident(cells, factors)
    found = by_titles(systems, 0, factors, n + np.arange(len(titles)), most, n / (n + HALF), expected)
    met = by_preferences(declared, [live.titles.card(row).values() for row in titles.tolist()], weights, most)
    return [
        Reason(
            [(int(past.titles[place]), float(share)) for place, share in zip(why.titles, why.shares, strict=True)],
            why.expected,
            preferences.met,
            why.rest,
        )
        for why, preferences in zip(found, met, strict=True)
    ]
