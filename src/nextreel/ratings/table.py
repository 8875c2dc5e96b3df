"""The one ratings table: observed ratings, and simulated ones where users have too few of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 (Spark's own convention)

from nextreel.ratings.observed import COLUMNS, observed
from nextreel.ratings.simulated import Simulator
from nextreel.settings import RatingsSettings


@contextmanager
def ratings(
    interactions: DataFrame, users: DataFrame, titles: pa.Table, settings: RatingsSettings
) -> Iterator[DataFrame]:
    """Give all ratings: user_id, content_id, rating (0.5 to 5.0), timestamp, source; one a user and title.

    Users with fewer than ``min_observed`` observed ratings get simulated ones for titles that they have not rated.
    ``titles`` is the catalogue as it is now, which every task gets a copy of; the copies go with the context.
    """
    said = observed(interactions)
    if settings.simulate == "never" or titles.num_rows == 0:
        yield said
        return
    said = said.persist()
    counts = said.groupBy("user_id").agg(F.count("*").alias("n_observed"))
    few = F.coalesce("n_observed", F.lit(0)) < settings.min_observed
    sparse = users.join(counts, "user_id", "left").where(few)
    simulator = users.sparkSession.sparkContext.broadcast(Simulator.of(titles, settings))

    def simulate(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield simulator.value.ratings(batch)

    drawn = sparse.drop("n_observed").mapInArrow(simulate, "user_id string, content_id string, rating double")
    unrated = drawn.join(said.select("user_id", "content_id"), ["user_id", "content_id"], "left_anti")
    marked = unrated.withColumn("timestamp", F.lit(None).cast("timestamp")).withColumn("source", F.lit("simulated"))
    try:
        yield said.unionByName(marked.select(*COLUMNS))
    finally:
        said.unpersist()
        simulator.destroy()
