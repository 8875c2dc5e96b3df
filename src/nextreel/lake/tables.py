"""The lake as Spark reads it: explicit schemas, and the latest state of users and titles."""

import re
from functools import reduce
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 (Spark's own convention)
from pyspark.sql.pandas.types import from_arrow_schema

from nextreel.events.contract import TABLES, TITLE_TYPES
from nextreel.lake.layout import SCHEMAS, Lake, local_url
from nextreel.lake.ledger import Offsets


def read_table(spark: SparkSession, lake: Lake, table: str, until: Offsets | None = None) -> DataFrame:
    """Return a table of the lake with its explicit schema, and the partition column ``date``.

    ``until`` keeps the rows of messages below its offsets alone; a partition that it does not name has none.
    """
    schema = from_arrow_schema(SCHEMAS[table])
    if not lake.files(table):
        return spark.createDataFrame([], schema.add("date", "date"))
    path = lake.table(table)
    events = spark.read.schema(schema).option("basePath", local_url(path)).parquet(f"{_literal(path)}/date=*")
    return events if until is None else events.where(_is_below(until))


def _is_below(until: Offsets) -> Column:
    """Return whether a row's message comes before the end of its partition."""
    end = F.lit(None).cast("long")
    for topic, partitions in until.items():
        by_number = {int(partition): offset for partition, offset in partitions.items()}
        ends = [by_number.get(n, 0) for n in range(max(by_number, default=-1) + 1)]
        own = F.get(F.lit(ends).cast("array<bigint>"), F.col("kafka_partition"))
        end = F.when(F.col("kafka_topic") == topic, own).otherwise(end)
    return F.col("kafka_offset") < end


def _literal(path: Path) -> str:
    """Return a path whose own characters mean nothing to Hadoop's globs."""
    return re.sub(r"([\\*?\[\]{}])", r"\\\1", local_url(path))


def latest(events: DataFrame) -> DataFrame:
    """Return the newest event of each ``id``: by event time, then by the order in which Kafka has them."""
    newest = F.max_by(F.struct("*"), _order())
    return events.groupBy("id").agg(newest.alias("newest")).select("newest.*")


def _order() -> Column:
    return F.struct("timestamp", "kafka_timestamp", "kafka_partition", "kafka_offset")


def users(spark: SparkSession, lake: Lake, until: Offsets | None = None) -> DataFrame:
    """Return the users as they are now, or as of ``until`` (see `read_table`).

    Columns: user_id, username, the attributes that they prefer, updated_at.
    """
    return latest(read_table(spark, lake, TABLES["user"], until)).select(
        F.col("id").alias("user_id"),
        F.col("nombre_usuario").alias("username"),
        F.col("generos").alias("genres"),
        F.col("directores").alias("directors"),
        F.col("actores").alias("actors"),
        F.col("decadas_favoritas").alias("decades"),
        F.col("clasificacion").alias("age_rating"),
        F.col("timestamp").alias("updated_at"),
    )


def titles(spark: SparkSession, lake: Lake, until: Offsets | None = None) -> DataFrame:
    """Return movies and series as they are now, or as of ``until`` (see `read_table`).

    Columns: content_id, type, title, their attributes, updated_at.
    """
    parts = [read_table(spark, lake, TABLES[title_type], until) for title_type in TITLE_TYPES]
    events = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts)
    return latest(events).select(
        F.col("id").alias("content_id"),
        "type",
        F.col("titulo").alias("title"),
        F.col("generos").alias("genres"),
        F.col("directores").alias("directors"),
        F.col("actores").alias("actors"),
        F.when(F.col("decada_lanzamiento").isNotNull(), F.array("decada_lanzamiento")).alias("decades"),
        F.col("clasificacion").alias("age_rating"),
        F.col("numero_temporadas").alias("seasons"),
        F.col("numero_episodios").alias("episodes"),
        F.col("timestamp").alias("updated_at"),
    )
