"""What one micro-batch was, from Spark's report of it and our commit. Pure: no Kafka, no Spark, no clock.

Spark counts the rows of its plan, and ours are staged files; and it takes the rate of input from its last look at
Kafka, which without a trigger interval was some milliseconds ago, whatever it found. So its two rates are taken anew
here, of messages: those that came since the micro-batch before began, and those of the time that this one took.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from nextreel.events.contract import TABLES, EventType
from nextreel.kafka.watermarks import Watermarks
from nextreel.lake.layout import SCHEMAS

#: By topic and partition: messages that are in Kafka and not yet in the lake.
Lag = dict[str, dict[int, int]]

#: Spark's phases that have a column of their own; ``triggerExecution`` is the whole.
_SPARK_PHASES = ("latestOffset", "getBatch", "queryPlanning", "walCommit", "addBatch", "commitOffsets")


@dataclass(frozen=True)
class Commit:
    """What our commit of a micro-batch says of it.

    ``rows`` by table; ``messages``: how many were read, and ``ends``: up to which offset, by topic and partition;
    ``kafka_times``: of its oldest and newest message, but for times ahead of their arrival; ``seconds`` of the phases
    that are ours; ``reasons`` of what was quarantined.
    """

    batch_id: int
    query_id: str
    committed_at: datetime
    rows: Mapping[str, int]
    messages: Mapping[str, Mapping[str, int]]
    ends: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    raw_bytes: int = 0
    parquet_bytes: int = 0
    unknown_fields: int = 0
    kafka_times: tuple[datetime, datetime] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchRow:
    """One micro-batch: a row of `nextreel.lake.layout.BATCHES_SCHEMA`. What Spark did not report is None."""

    commit: Commit
    started_at: datetime | None = None
    absent: Mapping[str, int] | None = None
    lag: Lag | None = None
    input_rows_per_second: float | None = None
    processed_rows_per_second: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    total_seconds: float | None = None

    @property
    def messages(self) -> int:
        """Messages read, and so rows written."""
        return sum(self.commit.rows.values())

    @property
    def newest_age_seconds(self) -> float | None:
        """The age of the newest message, by its Kafka timestamp, when it became readable; None where no clock says."""
        times = self.commit.kafka_times
        if times is None or times[1] > self.commit.committed_at:  # a worker's clock may be ahead of the driver's
            return None
        return (self.commit.committed_at - times[1]).total_seconds()

    def columns(self, topics: Mapping[str, EventType]) -> dict[str, Any]:
        """Return it by the columns of the table; ``topics`` says which event type each topic carries."""
        commit, times = self.commit, self.commit.kafka_times or (None, None)
        lag = {f"lag_{TABLES[topics[t]]}": sum(ps.values()) for t, ps in (self.lag or {}).items() if t in topics}
        return {
            "batch_id": commit.batch_id,
            "query_id": commit.query_id,
            "started_at": self.started_at,
            "committed_at": commit.committed_at,
            "messages": self.messages,
            **{table: commit.rows.get(table, 0) for table in SCHEMAS},
            "raw_bytes": commit.raw_bytes,
            "parquet_bytes": commit.parquet_bytes,
            "unknown_fields": commit.unknown_fields,
            "absent": None if self.absent is None else sum(self.absent.values()),
            **lag,
            "input_rows_per_second": self.input_rows_per_second,
            "processed_rows_per_second": self.processed_rows_per_second,
            "oldest_kafka_timestamp": times[0],
            "newest_kafka_timestamp": times[1],
            "newest_age_seconds": self.newest_age_seconds,
            "seconds": self.total_seconds,
            **{f"{phase}_seconds": seconds for phase, seconds in self.seconds.items()},
        }


def batch_row(commit: Commit, progress: Mapping[str, Any] | None, before: BatchRow | None = None) -> BatchRow:
    """Return a micro-batch as a row.

    ``progress`` is Spark's `StreamingQueryProgress` as a dict, where there is one; ``before`` the micro-batch before.
    """
    if progress is None:
        return BatchRow(commit, seconds=commit.seconds)
    milliseconds = progress["durationMs"]
    messages = sum(commit.rows.values())
    total = milliseconds["triggerExecution"] / 1e3 if "triggerExecution" in milliseconds else None
    started_at = datetime.fromisoformat(progress["timestamp"]).astimezone(UTC)
    since = (started_at - before.started_at).total_seconds() if before and before.started_at else None
    return BatchRow(
        commit,
        started_at=started_at,
        absent=_absent(commit, progress),
        lag=lag_of(progress),
        input_rows_per_second=messages / since if since else None,
        processed_rows_per_second=messages / total if total else None,
        seconds={_snake(p): milliseconds[p] / 1e3 for p in _SPARK_PHASES if p in milliseconds} | dict(commit.seconds),
        total_seconds=total,
    )


def lag_of(progress: Mapping[str, Any]) -> Lag | None:
    """Return how far the lake was behind Kafka at a micro-batch's end; None where Spark does not say."""
    told = _told(progress, "latestOffset", "endOffset")
    if told is None:
        return None
    lag: Lag = {}
    for latest, ends in told:
        for topic, partitions in latest.items():
            done = ends.get(topic, {})
            lag[topic] = {int(p): max(0, high - done.get(p, high)) for p, high in partitions.items()}
    return lag


def lag_behind(watermarks: Watermarks, offsets: Mapping[str, Mapping[str, int]], starting: str) -> Lag:
    """Return how far ``offsets`` are behind Kafka's watermarks; where there are none yet, it begins at ``starting``."""
    lag: Lag = {}
    for topic, partitions in watermarks.items():
        done = offsets.get(topic, {})
        begins = {p: low if starting == "earliest" else high for p, (low, high) in partitions.items()}
        lag[topic] = {p: max(0, high - max(low, done.get(str(p), begins[p]))) for p, (low, high) in partitions.items()}
    return lag


def _absent(commit: Commit, progress: Mapping[str, Any]) -> dict[str, int] | None:
    """Return, by topic, how many of the offsets that were planned held no message; None where it began nowhere."""
    told = _told(progress, "startOffset", "endOffset")
    if told is None:
        return None
    absent: Counter[str] = Counter()
    for starts, ends in told:
        for topic, partitions in ends.items():
            begins = starts.get(topic, {})
            planned = sum(end - begins.get(p, end) for p, end in partitions.items() if p in begins)
            read = sum(n for p, n in commit.messages.get(topic, {}).items() if p in begins)
            absent[topic] += planned - read
    return dict(+absent)


def _told(progress: Mapping[str, Any], *names: str) -> list[list[dict[str, Any]]] | None:
    """Return the offsets of these names, of each source; None where Spark does not say."""
    told = [[source.get(name) for name in names] for source in progress["sources"]]
    return told if all(isinstance(offsets, dict) for each in told for offsets in each) else None


def _snake(name: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", name).lower()


@dataclass(frozen=True)
class Now:
    """How a stream is doing: its totals since its start, its last micro-batch, and how far it is behind.

    ``lag`` is None while it is not known; ``idle_seconds`` is how long ago the last micro-batch was.
    """

    accepted: int = 0
    quarantined: int = 0
    last: BatchRow | None = None
    lag: Lag | None = None
    idle_seconds: float = 0.0

    #: After so long the last micro-batch's rates are no longer those of now.
    IDLE_SECONDS = 10.0

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing has come for a while."""
        return self.idle_seconds > self.IDLE_SECONDS

    def __str__(self) -> str:
        """One line of a terminal."""
        if self.last is None:
            return "waiting for the first micro-batch"
        total = self.accepted + self.quarantined
        share = self.quarantined / total if total else 0.0
        behind = "unknown" if self.lag is None else f"{sum(sum(ps.values()) for ps in self.lag.values()):,}"
        rates = (self.last.input_rows_per_second, self.last.processed_rows_per_second)
        came, went = ("0/s" if self.is_idle else "…" if rate is None else f"{rate:,.0f}/s" for rate in rates)
        parts = [f"in {came}", f"out {went}", f"lag {behind}", f"{total:,} rows"]
        parts.append(f"{self.quarantined:,} quarantined ({share:.2%})")
        if self.is_idle:
            return " · ".join([*parts, f"nothing new for {self.idle_seconds:.0f} s"])
        if self.last.total_seconds is not None:
            parts.append(f"batch {self.last.total_seconds:.2f} s")
        if self.last.newest_age_seconds is not None:
            parts.append(f"newest event {self.last.newest_age_seconds:.1f} s old")
        return " · ".join(parts)
