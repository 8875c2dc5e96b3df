"""The one ratings table: what users said and did, and simulated ratings where there is too little of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 (Spark's own convention)

from nextreel.ratings.observed import observed
from nextreel.ratings.simulated import Simulator
from nextreel.ratings.sources import COLUMNS, LIKING
from nextreel.settings import RatingsSettings

_DRAWN = "user_id string, content_id string, rating double, liking double"


@contextmanager
def ratings(
    interactions: DataFrame, users: DataFrame, titles: pa.Table, settings: RatingsSettings
) -> Iterator[DataFrame]:
    """Give all ratings: user_id, content_id, rating (0.5 to 5.0), timestamp, source; one a user and title.

    Where any are simulated there is a column liking (null for others): what ranking learns from in their place.
    Users with fewer than ``min_observed`` observed ratings get simulated ones for titles that they have not rated,
    as long as there are not enough others to learn from: ``simulate``.
    """
    said = observed(interactions, settings.implicit)
    if settings.simulate == "never":
        yield said
        return
    said = said.persist()
    try:
        counts = said.where(F.col("source") == "observed").groupBy("user_id").agg(F.count("*").alias("n_observed"))
        if not settings.simulates(counts.where(F.col("n_observed") >= settings.min_observed).count()):
            yield said
            return
        few = F.coalesce("n_observed", F.lit(0)) < settings.min_observed
        sparse = users.join(counts, "user_id", "left").where(few).drop("n_observed")
        with _simulated(sparse, titles, settings) as drawn:
            pair = ["user_id", "content_id"]
            yield said.unionByName(drawn.join(said.select(*pair), pair, "left_anti"), allowMissingColumns=True)
    finally:
        said.unpersist()


def simulator(spark: SparkSession, titles: pa.Table, settings: RatingsSettings) -> Callable[[pa.Table], pa.Table]:
    """Return what simulates ratings of any users (user_id and traits): a ratings table, of whatever they have rated."""

    def simulate(users: pa.Table) -> pa.Table:
        with _simulated(spark.createDataFrame(users), titles, settings) as frame:
            return frame.toArrow()

    return simulate


@contextmanager
def _simulated(users: DataFrame, titles: pa.Table, settings: RatingsSettings) -> Iterator[DataFrame]:
    """Give the same as a frame. Every task gets a copy of the catalogue; the copies go with the context."""
    session = users.sparkSession
    if titles.num_rows == 0:
        yield _marked(session.createDataFrame([], _DRAWN))
        return
    copies = session.sparkContext.broadcast(Simulator.of(titles, settings))

    def simulate(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield copies.value.ratings(batch)

    try:
        yield _marked(users.mapInArrow(simulate, _DRAWN))
    finally:
        copies.destroy()


def _marked(drawn: DataFrame) -> DataFrame:
    marks = {"timestamp": F.lit(None).cast("timestamp"), "source": F.lit("simulated")}
    return drawn.withColumns(marks).select(*COLUMNS, LIKING)
