"""A micro-batch as a row: from a report as Spark 4.3 gives it, and what our commit says."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from nextreel.events.contract import EventType
from nextreel.ingest.progress import BatchRow, Commit, Now, batch_row, lag_behind, lag_of
from nextreel.lake.layout import BATCHES_SCHEMA, PHASES

STARTED = datetime(2026, 1, 31, 12, 0, 0, 852_000, UTC)
COMMITTED = STARTED + timedelta(seconds=0.5)
TOPICS: dict[str, EventType] = {"u": "user", "m": "movie", "s": "series", "i": "interaction"}

#: 30 offsets of u and 100 of i were planned, of which one of u held no message; 62 are left.
REPORT: dict[str, Any] = json.loads("""
{"id": "2cb9fd20", "runId": "42662753", "name": "nextreel-ingest", "timestamp": "2026-01-31T12:00:00.852Z",
 "batchId": 1, "batchDuration": 623, "numInputRows": 3, "inputRowsPerSecond": 157.9, "processedRowsPerSecond": 4.8,
 "durationMs": {"addBatch": 425, "commitOffsets": 22, "getBatch": 0, "latestOffset": 78, "queryPlanning": 57,
                "triggerExecution": 500, "walCommit": 28},
 "stateOperators": [],
 "sources": [{"description": "PythonMicroBatchStream", "numInputRows": 3,
   "startOffset": {"u": {"0": 10}, "m": {"0": 5}, "s": {}, "i": {"0": 0, "1": 7}},
   "endOffset": {"u": {"0": 40}, "m": {"0": 5}, "s": {"0": 3}, "i": {"0": 60, "1": 47}},
   "latestOffset": {"u": {"0": 100}, "m": {"0": 5}, "s": {"0": 3}, "i": {"0": 60, "1": 49}}}],
 "sink": {"description": "ForeachBatchSink", "numOutputRows": -1}}
""")


def commit(**changes: Any) -> Commit:
    given: dict[str, Any] = {
        "batch_id": 1,
        "query_id": "2cb9fd20",
        "committed_at": COMMITTED,
        "rows": {"users": 27, "quarantine": 2, "interactions": 100},
        "messages": {"u": {"0": 29}, "i": {"0": 60, "1": 40}},
        "kafka_times": (COMMITTED - timedelta(seconds=9), COMMITTED - timedelta(seconds=0.25)),
        "seconds": {"stage": 0.3, "commit": 0.1},
    }
    return Commit(**given | changes)


def before(seconds: float) -> BatchRow:
    return BatchRow(commit(), started_at=STARTED - timedelta(seconds=seconds))


def test_a_row_is_of_messages_where_spark_counts_files() -> None:
    row = batch_row(commit(), REPORT, before(2.0))
    assert row.started_at == STARTED
    assert row.messages == 129
    assert row.processed_rows_per_second == 258.0
    assert row.input_rows_per_second == 64.5
    assert row.newest_age_seconds == 0.25
    assert row.total_seconds == 0.5
    assert set(row.seconds) == set(PHASES)
    assert row.seconds["latest_offset"] == 0.078
    assert row.seconds["stage"] == 0.3


def test_how_far_the_lake_is_behind() -> None:
    assert lag_of(REPORT) == {"u": {0: 60}, "m": {0: 0}, "s": {0: 0}, "i": {0: 0, 1: 2}}
    assert lag_of({"sources": [{"endOffset": None, "latestOffset": None}]}) is None


def test_offsets_without_a_message_are_counted_where_the_plan_says_where_it_begins() -> None:
    assert batch_row(commit(), REPORT).absent == {"u": 1}
    first = REPORT | {"sources": [REPORT["sources"][0] | {"startOffset": None}]}
    assert batch_row(commit(), first).absent is None


def test_its_columns_are_those_of_the_table() -> None:
    columns = batch_row(commit(), REPORT, before(2.0)).columns(TOPICS)
    assert columns.keys() == set(BATCHES_SCHEMA.names)
    found = pa.Table.from_pylist([columns], BATCHES_SCHEMA).to_pylist()[0]
    assert {name for name, value in found.items() if value is None} == set()
    assert (found["messages"], found["movies"], found["quarantine"], found["absent"]) == (129, 0, 2, 1)
    assert (found["lag_users"], found["lag_interactions"]) == (60, 2)


def test_without_a_report_there_is_what_the_commit_says_and_nothing_made_up() -> None:
    columns = batch_row(commit(kafka_times=None), None).columns(TOPICS)
    found = pa.Table.from_pylist([columns], BATCHES_SCHEMA).to_pylist()[0]
    assert (found["messages"], found["stage_seconds"]) == (129, 0.3)
    unknown = {"started_at", "absent", "input_rows_per_second", "seconds", "newest_age_seconds", "lag_users"}
    assert {found[name] for name in unknown} == {None}


def test_an_age_is_never_negative() -> None:
    ahead = (COMMITTED - timedelta(seconds=9), COMMITTED + timedelta(days=366))
    row = batch_row(commit(kafka_times=ahead), REPORT, before(2.0))
    assert row.newest_age_seconds is None
    assert row.columns(TOPICS)["newest_age_seconds"] is None
    assert str(Now(last=row, lag=row.lag)).endswith("batch 0.50 s")


@pytest.mark.parametrize(("starting", "new"), [("earliest", 6), ("latest", 0)])
def test_lag_by_kafkas_own_word(starting: str, new: int) -> None:
    marks = {"t": {0: (0, 10), 1: (4, 10), 2: (8, 10)}}
    # Partition 1 was never read; of partition 2, Kafka has deleted 5 to 7.
    assert lag_behind(marks, {"t": {"0": 7, "2": 5}}, starting) == {"t": {0: 3, 1: new, 2: 2}}


def test_the_live_line() -> None:
    row = batch_row(commit(), REPORT, before(2.0))
    assert str(Now()) == "waiting for the first micro-batch"
    now = Now(accepted=1_198, quarantined=2, last=row, lag=row.lag, idle_seconds=1.0)
    assert str(now) == (
        "in 64/s · out 258/s · lag 62 · 1,200 rows · 2 quarantined (0.17%) · batch 0.50 s · newest event 0.2 s old"
    )
    later = Now(accepted=1_198, quarantined=2, last=row, lag=None, idle_seconds=31.0)
    assert str(later) == ("in 0/s · out 0/s · lag unknown · 1,200 rows · 2 quarantined (0.17%) · nothing new for 31 s")
