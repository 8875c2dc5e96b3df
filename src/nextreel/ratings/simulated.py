"""Simulated ratings: what users would say of titles if their declared preferences were all there is.

How well a title fits is its affinity on the scale of stars; ranking learns from it:

    liking = 0.5 + 4.5 · affinity + noise, rounded to halves, within 0.5 to 5.0

The noise is normal and comes from a hash of user, title and seed: the same pair always gets the same value.

Affinities are not distributed as ratings are: few titles share all that a user names. So the stars come from the place
that a title takes among the n titles simulated for the same user, by liking before it is rounded (rank 1 fits worst,
equal ones share the mean of their ranks), by quantile of a normal distribution:

    rating = simulated_mean + simulated_spread · Φ⁻¹((rank - ½) / n), rounded to halves, within 0.5 to 5.0

The order of a user's titles stays, and no other user's affinities move anybody's stars.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nextreel.events.contract import RATING_MAX, RATING_MIN
from nextreel.events.draws import uniform
from nextreel.ratings.affinity import affinity
from nextreel.ratings.candidates import TitleFiles, candidates, hashed
from nextreel.settings import RatingsSettings

TRAITS = ("genres", "directors", "actors", "decades", "age_rating")


@dataclass(frozen=True)
class Simulator:
    """Simulates ratings of one catalogue: ``titles`` has content_id and the traits."""

    titles: pa.RecordBatch
    files: TitleFiles
    settings: RatingsSettings

    @classmethod
    def of(cls, titles: pa.Table, settings: RatingsSettings) -> "Simulator":
        """Prepare a catalogue."""
        ordered = titles.select(["content_id", *TRAITS]).sort_by("content_id").combine_chunks()
        rows = pa.RecordBatch.from_arrays([c.combine_chunks() for c in ordered.columns], names=ordered.column_names)
        return cls(rows, TitleFiles.of({t: rows.column(t) for t in TRAITS}), settings)

    def ratings(self, users: pa.RecordBatch) -> pa.RecordBatch:
        """Return simulated ratings of ``users`` (user_id and the traits they prefer).

        The columns are user_id, content_id, rating and liking. A pair of which nothing can be compared gets none.
        """
        ids = users.column("user_id")
        preferred = {t: users.column(t) for t in TRAITS}
        user, title = candidates(ids, preferred, self.files, self.settings.per_user, self.settings.seed)
        user_rows, title_rows = pa.array(user), pa.array(title)
        fit = affinity(
            {t: preferred[t].take(user_rows) for t in TRAITS},
            {t: self.titles.column(t).take(title_rows) for t in TRAITS},
            self.settings.weights,
        )
        known = ~np.isnan(fit)
        user, title, fit = user[known], title[known], fit[known]
        content_ids = self.titles.column("content_id")
        liking = fit * (RATING_MAX - RATING_MIN) + RATING_MIN
        liking += self._noise(hashed(ids)[user], hashed(content_ids)[title])
        stars = self.settings.simulated_mean + self.settings.simulated_spread * normal_scores(user, liking)
        columns = [ids.take(pa.array(user)), content_ids.take(pa.array(title))]
        columns += [pa.array(_on_the_scale(values)) for values in (stars, liking)]
        return pa.RecordBatch.from_arrays(columns, names=["user_id", "content_id", "rating", "liking"])

    def _noise(self, user: NDArray[np.uint64], title: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Return a normal deviate of each pair (Box-Muller)."""
        radius, angle = (uniform(self.settings.seed, purpose, user, title) for purpose in ("radius", "angle"))
        noise: NDArray[np.float64] = np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle)
        return self.settings.noise * noise


def normal_scores(group: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Φ⁻¹((rank - ½) / n) of each value (m,) among the n of its group (m,), which ascend; ties share ranks."""
    order = np.lexsort((values, group))
    groups, ordered = group[order], values[order]
    is_new = np.append(True, (np.diff(groups) != 0) | (np.diff(ordered) != 0))[: len(order)]
    tie = np.cumsum(is_new) - 1
    place = np.arange(len(order)) - np.searchsorted(groups, groups)
    middle = np.bincount(tie, place) / np.maximum(np.bincount(tie), 1)
    n = np.searchsorted(groups, groups, side="right") - np.searchsorted(groups, groups)
    shares, row = np.unique((middle[tie] + 0.5) / n, return_inverse=True)
    normal = NormalDist()
    scores = np.empty(len(order))
    scores[order] = np.array([normal.inv_cdf(share) for share in shares.tolist()], np.float64)[row]
    return scores


def _on_the_scale(stars: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded: NDArray[np.float64] = np.clip(np.round(stars * 2) / 2, RATING_MIN, RATING_MAX)
    return rounded
