"""What tests of the running stream share: all of Kafka into the lake, and the lake's rows."""

from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from nextreel.ingest.query import Batch, start_ingest
from nextreel.lake.layout import Lake
from nextreel.settings import Settings


def ingest(spark: SparkSession, settings: Settings) -> list[Batch]:
    """Bring all that Kafka holds into the lake."""
    batches: list[Batch] = []
    query = start_ingest(spark, settings, batches.append, available_now=True)
    try:
        assert query.awaitTermination(120)
    finally:
        query.stop()
    return batches


def rows(lake: Lake, table: str) -> list[dict[str, Any]]:
    """Return a table's rows."""
    found = [pq.ParquetFile(file).read() for file in lake.files(table)]
    return [row for part in found for row in part.to_pylist()]
