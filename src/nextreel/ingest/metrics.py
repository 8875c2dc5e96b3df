"""The running stream as Prometheus metrics.

Counters count what this process has committed: they begin at 0 with it and go on over a query that is started again in
it. What the lake holds in all is in its records (`nextreel status`).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from nextreel.errors import SettingsError
from nextreel.ingest.progress import BatchRow, Lag, Now
from nextreel.lake.layout import SCHEMAS

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_UNKNOWN = float("nan")


class Metrics:
    """The metrics, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._messages = self._counter("messages", "Messages committed to the lake, by table.", "table")
        self._quarantined = self._counter("quarantined_messages", "Messages in quarantine, by reason.", "reason")
        self._raw_bytes = self._counter("raw_bytes", "Bytes of the committed messages' values.")
        self._parquet_bytes = self._counter("parquet_bytes", "Bytes of the Parquet files they became.")
        self._unknown_fields = self._counter("unknown_fields", "Fields that the contract does not know.")
        self._absent = self._counter("absent_offsets", "Offsets that were planned and held no message.", "topic")
        self._batches = self._counter("batches", "Micro-batches committed.")
        self._duration = Histogram(
            "nextreel_ingest_batch_duration_seconds",
            "Duration of a micro-batch by phase; trigger_execution is all of it, stage and commit lie in add_batch.",
            ["phase"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._lag = self._gauge(
            "kafka_lag_messages",
            "Messages in Kafka that are not in the lake yet; NaN: not known.",
            "topic",
            "partition",
        )
        self._newest = self._gauge(
            "newest_message_age_seconds",
            "Age of the last micro-batch's newest message, by its Kafka timestamp, when it became readable.",
        )
        self._input = self._gauge(
            "input_messages_per_second",
            "Messages of the last micro-batch by the time since the one before; 0 when idle.",
        )
        self._processed = self._gauge(
            "processed_messages_per_second", "Messages of the last micro-batch by its duration; 0 when idle."
        )
        self._committed = self._gauge("last_commit_timestamp_seconds", "When the last micro-batch was committed.")
        for table in SCHEMAS:
            self._messages.labels(table)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"nextreel_ingest_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"nextreel_ingest_{name}", text, labels, registry=self.registry)

    def add(self, row: BatchRow) -> None:
        """Take one micro-batch in."""
        commit = row.commit
        self._batches.inc()
        for table, n in commit.rows.items():
            self._messages.labels(table).inc(n)
        for reason, n in commit.reasons.items():
            self._quarantined.labels(reason).inc(n)
        self._raw_bytes.inc(commit.raw_bytes)
        self._parquet_bytes.inc(commit.parquet_bytes)
        self._unknown_fields.inc(commit.unknown_fields)
        for topic, n in (row.absent or {}).items():
            self._absent.labels(topic).inc(n)
        for phase, seconds in row.seconds.items():
            self._duration.labels(phase).observe(seconds)
        if row.total_seconds is not None:
            self._duration.labels("trigger_execution").observe(row.total_seconds)
        self._newest.set(_UNKNOWN if row.newest_age_seconds is None else row.newest_age_seconds)
        self._committed.set(commit.committed_at.timestamp())

    def show(self, now: Now, known: Lag) -> None:
        """Take in what is true of this moment; ``known`` are the partitions of which there has been a lag."""
        last = None if now.is_idle else now.last
        self._input.set(last.input_rows_per_second or 0.0 if last else 0.0)
        self._processed.set(last.processed_rows_per_second or 0.0 if last else 0.0)
        for topic, partitions in known.items():
            for partition in partitions:
                lag = _UNKNOWN if now.lag is None else now.lag.get(topic, {}).get(partition, _UNKNOWN)
                self._lag.labels(topic, str(partition)).set(lag)


@contextmanager
def served(port: int, host: str = "127.0.0.1") -> Iterator[Metrics]:
    """Give metrics that can be asked for at ``http://<host>:<port>/metrics``; at none where the port is 0.

    Raises `SettingsError` where the port or the address cannot be had.
    """
    metrics = Metrics()
    if port == 0:
        yield metrics
        return
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise SettingsError(
            f"ingest.metrics_port = {port}: no metrics can be served there, at {host} ({error.strerror}). Is another "
            "ingest running? Choose a free port, or 0 for no metrics."
        ) from None
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
