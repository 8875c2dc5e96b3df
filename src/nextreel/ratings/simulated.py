"""Simulated ratings: what a user would say of a title if declared preferences were all there is.

    rating = 0.5 + 4.5 · affinity + noise, rounded to halves, within 0.5 to 5.0

The noise is normal and comes from a hash of user, title and seed: the same pair always gets the same rating.
"""

from collections.abc import Callable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 (Spark's own convention)

from nextreel.events.contract import RATING_MAX, RATING_MIN
from nextreel.ratings.affinity import affinity
from nextreel.ratings.observed import COLUMNS
from nextreel.settings import AffinityWeights, RatingsSettings

TRAITS = ("genres", "directors", "actors", "decades", "age_rating")


def simulated(pairs: DataFrame, users: DataFrame, titles: DataFrame, settings: RatingsSettings) -> DataFrame:
    """Return a rating for each pair (user_id, content_id), source "simulated", timestamp null."""
    preferred = users.select("user_id", *[F.col(t).alias(f"user_{t}") for t in TRAITS])
    own = titles.select("content_id", *[F.col(t).alias(f"title_{t}") for t in TRAITS])
    described = pairs.join(preferred, "user_id").join(own, "content_id")
    scored = described.mapInArrow(_score(settings.weights), "user_id string, content_id string, affinity double")
    stars = F.lit(RATING_MIN) + F.lit(RATING_MAX - RATING_MIN) * F.col("affinity") + _noise(settings)
    rating = F.round(F.least(F.greatest(stars, F.lit(RATING_MIN)), F.lit(RATING_MAX)) * 2) / 2
    return (
        scored.withColumn("rating", rating)
        .withColumn("timestamp", F.lit(None).cast("timestamp"))
        .withColumn("source", F.lit("simulated"))
        .select(*COLUMNS)
    )


def _score(weights: AffinityWeights) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            sides = [{t: batch.column(f"{side}_{t}") for t in TRAITS} for side in ("user", "title")]
            fit = pa.array(affinity(sides[0], sides[1], weights))
            columns = [batch.column("user_id"), batch.column("content_id"), fit]
            yield pa.RecordBatch.from_arrays(columns, names=["user_id", "content_id", "affinity"])

    return score


def _noise(settings: RatingsSettings):  # type: ignore[no-untyped-def]
    """Return a normal deviate of each pair (Box-Muller on two hashes)."""
    uniform = [
        (F.pmod(F.xxhash64("user_id", "content_id", F.lit(settings.seed + i)), F.lit(2**31)) + 0.5) / 2**31
        for i in (1, 2)
    ]
    return settings.noise * F.sqrt(-2 * F.log(uniform[0])) * F.cos(2 * F.pi() * uniform[1])
