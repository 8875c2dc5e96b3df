"""Simulated ratings: what users would say of titles if their declared preferences were all there is.

    rating = 0.5 + 4.5 · affinity + noise, rounded to halves, within 0.5 to 5.0

The noise is normal and comes from a hash of user, title and seed: the same pair always gets the same rating.
"""

from dataclasses import dataclass

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
        """Return simulated ratings of ``users`` (user_id and the traits they prefer): user_id, content_id, rating.

        A pair of which nothing can be compared gets none.
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
        stars = fit * (RATING_MAX - RATING_MIN) + RATING_MIN
        stars += self._noise(hashed(ids)[user], hashed(content_ids)[title])
        rating = np.clip(np.round(stars * 2) / 2, RATING_MIN, RATING_MAX)
        columns = [ids.take(pa.array(user)), content_ids.take(pa.array(title)), pa.array(rating)]
        return pa.RecordBatch.from_arrays(columns, names=["user_id", "content_id", "rating"])

    def _noise(self, user: NDArray[np.uint64], title: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Return a normal deviate of each pair (Box-Muller)."""
        radius, angle = (uniform(self.settings.seed, purpose, user, title) for purpose in ("radius", "angle"))
        noise: NDArray[np.float64] = np.sqrt(-2 * np.log1p(-radius)) * np.cos(2 * np.pi * angle)
        return self.settings.noise * noise
