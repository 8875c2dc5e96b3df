"""Micro-batches for a lake, without Kafka and Spark."""

import pyarrow as pa

from nextreel.lake.commit import commit
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import stage

QUERY = "0123456789-query"


def messages(begin: int, end: int) -> pa.Table:
    """Rows that are messages ``begin`` to ``end`` of one partition."""
    n = end - begin
    return pa.table(
        {
            "n": pa.array(range(begin, end), pa.int64()),
            "kafka_topic": pa.array(["t"] * n),
            "kafka_partition": pa.array([0] * n, pa.int32()),
            "kafka_offset": pa.array(range(begin, end), pa.int64()),
        }
    )


def bring(
    lake: Lake, batch: int, n: int = 10, day: str = "2026-01-31", table: str = "interactions", query: str = QUERY
) -> None:
    """Commit micro-batch ``batch``: two files of together ``n`` messages."""
    begin, middle, end = batch * n, batch * n + n // 3, (batch + 1) * n
    files = [stage(lake, table, day, messages(begin, middle)), stage(lake, table, day, messages(middle, end))]
    intake = Intake({"t": {"0": begin}}, {"t": {"0": n}}, 100 * n, 0)
    commit(lake, query, batch, files, {"t": {"0": end}}, intake)
