"""Observed ratings: what users said, one rating a user and title."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 (Spark's own convention)

from nextreel.events.contract import Verb

#: The columns of every ratings table.
COLUMNS = ("user_id", "content_id", "rating", "timestamp", "source")


def observed(interactions: DataFrame) -> DataFrame:
    """Return the newest ``rate`` event of each user and title as a rating, source "observed".

    An event delivered twice is the same event twice, and so counts once.
    """
    order = F.struct("timestamp", "kafka_timestamp", "id")
    return (
        interactions.where(F.col("evento") == Verb.RATE.value)
        .groupBy(F.col("id_usuario").alias("user_id"), F.col("id_contenido").alias("content_id"))
        .agg(F.max_by("calificacion", order).alias("rating"), F.max("timestamp").alias("timestamp"))
        .withColumn("source", F.lit("observed"))
        .select(*COLUMNS)
    )
