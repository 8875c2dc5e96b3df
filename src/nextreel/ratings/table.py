"""The one ratings table: observed ratings, and simulated ones where users have too few of them."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 (Spark's own convention)

from nextreel.lake import tables
from nextreel.lake.layout import Lake
from nextreel.ratings.candidates import candidates
from nextreel.ratings.observed import observed
from nextreel.ratings.simulated import simulated
from nextreel.settings import RatingsSettings


def ratings(spark: SparkSession, lake: Lake, settings: RatingsSettings) -> DataFrame:
    """Return all ratings: user_id, content_id, rating (0.5 to 5.0), timestamp, source; one a user and title.

    Users with fewer than ``min_observed`` observed ratings get simulated ones for titles that they have not rated.
    """
    said = observed(tables.read_table(spark, lake, "interactions"))
    if settings.simulate == "never":
        return said
    users, titles = tables.users(spark, lake), tables.titles(spark, lake)
    counts = said.groupBy("user_id").agg(F.count("*").alias("n_observed"))
    sparse = users.join(counts, "user_id", "left").where(
        F.coalesce("n_observed", F.lit(0)) < settings.min_observed
    )
    if sparse.isEmpty():  # a job of a moment that spares several
        return said
    pairs = candidates(sparse, titles, settings.per_user, settings.seed)
    unrated = pairs.join(said.select("user_id", "content_id"), ["user_id", "content_id"], "left_anti")
    return said.unionByName(simulated(unrated, sparse, titles, settings))
