"""What users said and did: one rating a user and title."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812 (Spark's own convention)

from nextreel.events.contract import Verb
from nextreel.settings import ImplicitRatings


def observed(interactions: DataFrame, implicit: ImplicitRatings) -> DataFrame:
    """Return a rating of each user and title that have an interaction which counts.

    The newest ``rate`` event, source "observed"; where there is none, what the newest other event stands for, source
    "implicit". The newest event of a user and a title decides, whatever its id: an event delivered twice counts once,
    and an id that another user's event has as well, or that begins again in another file, erases nothing.
    """
    rated = F.col("evento") == Verb.RATE.value
    stands_for = _stands_for(implicit)
    order = F.struct("timestamp", "kafka_timestamp", "id", "calificacion")
    return (
        interactions.withColumn("stands_for", stands_for)
        .where(rated | F.col("stands_for").isNotNull())
        .groupBy(F.col("id_usuario").alias("user_id"), F.col("id_contenido").alias("content_id"))
        .agg(
            F.max_by(F.when(rated, F.col("calificacion")), F.when(rated, order)).alias("stars"),
            F.max(F.when(rated, F.col("timestamp"))).alias("rated_at"),
            F.max_by("stands_for", F.when(~rated, order)).alias("stands_for"),
            F.max("timestamp").alias("newest"),
        )
        .select(
            "user_id",
            "content_id",
            F.coalesce("stars", "stands_for").alias("rating"),
            F.coalesce("rated_at", "newest").alias("timestamp"),
            F.when(F.col("rated_at").isNull(), "implicit").otherwise("observed").alias("source"),
        )
    )


def _stands_for(implicit: ImplicitRatings) -> Column:
    """Return the rating that an event which is none stands for; null where it does not count."""
    values = {verb: getattr(implicit, verb) for verb in ImplicitRatings.model_fields}
    found = F.lit(None).cast("double")
    for verb, stars in values.items():
        found = F.when(F.col("evento") == verb, stars or None).otherwise(found)
    return found
