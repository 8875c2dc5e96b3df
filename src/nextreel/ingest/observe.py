"""Watches the running stream from a thread of its own: for Prometheus, for the lake's table of micro-batches, and for
whoever looks.

The stream only leaves what it has committed in a list; all else is done here, twice a second.
"""

import itertools
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.sql.streaming.query import StreamingQuery

from nextreel.errors import NextreelError
from nextreel.ingest.metrics import Metrics
from nextreel.ingest.progress import BatchRow, Commit, Lag, Now, batch_row, lag_behind
from nextreel.ingest.query import Batch
from nextreel.kafka.topics import topics_by_type
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.lake import batches
from nextreel.lake.commit import committed_offsets
from nextreel.lake.footers import sent
from nextreel.lake.layout import BATCHES_SCHEMA, QUARANTINE, Lake
from nextreel.lake.ledger import Offsets, read_record, record_path
from nextreel.lake.quarantine import reasons_in
from nextreel.settings import Settings

_LOG = logging.getLogger(__name__)

_TICK_SECONDS = 0.5
_WRITE_SECONDS = 60.0
#: Where nothing has been heard of the lag for so long, Kafka is asked, and this long is waited for its answer.
_LAG_SECONDS, _KAFKA_SECONDS = 5.0, 2.0
_PATIENCE_SECONDS = 10.0
#: What is held at the most: micro-batches that were not looked at yet, and rows that could not be written.
_BATCHES, _ROWS = 1_000, 10_000


class Observer:
    """Watches one stream. A context manager, within which the stream runs and ends: its ``on_batch`` is `batch`."""

    def __init__(self, settings: Settings, metrics: Metrics):
        self._metrics = metrics
        self._lake = Lake(settings.lake.absolute())
        self._table = _Table(settings)
        self._kafka = _KafkaLag(settings)
        self._reports: _Reports | None = None
        self._committed: deque[Batch] = deque(maxlen=_BATCHES)
        self._pending: dict[int, Commit] = {}
        self._now = Now()
        self._last_at = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nextreel-observer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join(_PATIENCE_SECONDS)

    def batch(self, batch: Batch) -> None:
        """Take a micro-batch that has been committed; it costs the stream nothing."""
        self._committed.append(batch)

    def watch(self, query: StreamingQuery) -> StreamingQuery:
        """Look at the reports of this query, which is returned."""
        self._reports = _Reports(query)
        return query

    @property
    def now(self) -> Now:
        """How the stream is doing."""
        return replace(self._now, idle_seconds=time.monotonic() - self._last_at)

    def _run(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            self._guarded(self._look)
            if self._table.is_due:
                self._guarded(self._table.write)
        self._guarded(self._look)
        self._guarded(lambda: self._settle(list(self._pending)))
        self._guarded(self._table.write)

    def _look(self) -> None:
        while self._committed:
            batch = self._committed.popleft()
            self._guarded(lambda batch=batch: self._take(batch))  # type: ignore[misc]
        if self._pending and self._reports is not None:
            for progress in self._reports.new():
                commit = self._pending.pop(progress["batchId"], None)
                if commit is not None:
                    self._add(batch_row(commit, progress, self._now.last))
            self._settle([batch_id for batch_id in self._pending if batch_id < self._reports.last])
        if self._kafka.is_due:
            self._now = replace(self._now, lag=self._kafka.read())
        self._metrics.show(self.now, self._kafka.known)

    def _take(self, batch: Batch) -> None:
        self._last_at = time.monotonic()
        self._pending[batch.batch_id] = _commit(self._lake, batch)

    def _settle(self, batch_ids: list[int]) -> None:
        """Take in micro-batches of which Spark has not reported."""
        for batch_id in batch_ids:
            self._add(batch_row(self._pending.pop(batch_id), None))

    def _add(self, row: BatchRow) -> None:
        self._metrics.add(row)
        self._table.add(row)
        self._kafka.heard(row)
        quarantined = row.commit.rows.get(QUARANTINE, 0)
        self._now = Now(
            self._now.accepted + row.messages - quarantined,
            self._now.quarantined + quarantined,
            row,
            self._now.lag if row.lag is None else row.lag,
        )

    def _guarded(self, step: Callable[[], None]) -> None:
        """Do what may fail without harm to the stream: it must go on, and so must its observer, whatever it is."""
        try:
            step()
        except Exception as error:
            known = isinstance(error, (NextreelError, OSError, pa.ArrowException))
            _LOG.warning("figures of the stream are not complete: %s", error, exc_info=not known)


class _Reports:
    """Spark's reports of a query's micro-batches, of which it keeps the last hundred.

    They are fetched as JSON, and only those that are new: `StreamingQuery.recentProgress` would fetch all of them,
    each in some sixty calls of the JVM.
    """

    def __init__(self, query: StreamingQuery):
        self._query = query
        self._last_at = ""
        self.last = -1

    def new(self) -> list[dict[str, Any]]:
        """Return the reports that have come since, oldest first.

        An idle query reports too, under the number of the micro-batch that is to come: that is none.
        """
        try:
            found = list(self._fetched())[::-1]
        except (Py4JError, OSError):  # the JVM has gone
            return []
        self._last_at = max([self._last_at, *(progress["timestamp"] for progress in found)])
        found = [progress for progress in found if "addBatch" in progress["durationMs"]]
        self.last = max([self.last, *(progress["batchId"] for progress in found)])
        return found

    def _fetched(self) -> Iterator[dict[str, Any]]:
        held = self._query._jsq.recentProgress()
        for i in range(len(held) - 1, -1, -1):
            progress = json.loads(held[i].json())
            if progress["timestamp"] <= self._last_at:
                return
            yield progress


class _Table:
    """The table of micro-batches: collects rows and writes them about once a minute."""

    def __init__(self, settings: Settings):
        self._lake = Lake(settings.lake.absolute())
        self._topics = {topic: event_type for event_type, topic in topics_by_type(settings.kafka).items()}
        self._rows: deque[dict[str, Any]] = deque(maxlen=_ROWS)
        self._due = time.monotonic() + _WRITE_SECONDS

    @property
    def is_due(self) -> bool:
        """Tell whether it is time to write."""
        return bool(self._rows) and time.monotonic() >= self._due

    def add(self, row: BatchRow) -> None:
        """Take a row."""
        self._rows.append(row.columns(self._topics))

    def write(self) -> None:
        """Make the rows part of the lake. Where that fails they are kept."""
        self._due = time.monotonic() + _WRITE_SECONDS
        while self._rows:  # a day at a time: what is in must not come again where the next fails
            day = self._rows[0]["committed_at"].date()
            rows = list(itertools.takewhile(lambda row: row["committed_at"].date() == day, self._rows))  # noqa: B023
            batches.append(self._lake, pa.Table.from_pylist(rows, BATCHES_SCHEMA))
            for _ in rows:
                self._rows.popleft()


class _KafkaLag:
    """How far the lake is behind Kafka when Spark does not report it: between micro-batches and in long ones."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._topics = list(topics_by_type(settings.kafka).values())
        self._ends: Offsets | None = None
        self._reader: WatermarkReader | None = None
        self._due = time.monotonic() + _LAG_SECONDS
        self.known: Lag = {}

    @property
    def is_due(self) -> bool:
        """Tell whether nothing has been heard for a while."""
        return time.monotonic() >= self._due

    def heard(self, row: BatchRow) -> None:
        """Take what Spark has reported."""
        self._ends = {**(self._ends or {}), **{t: dict(ps) for t, ps in row.commit.ends.items()}}
        if row.lag is not None:
            self.known = row.lag
            self._due = time.monotonic() + _LAG_SECONDS

    def read(self) -> Lag | None:
        """Ask Kafka; None where it does not answer."""
        try:
            if self._ends is None:
                self._ends = committed_offsets(Lake(self._settings.lake.absolute()))
            if self._reader is None:
                self._reader = WatermarkReader(self._settings.kafka.client_config, _KAFKA_SECONDS)
            found = lag_behind(self._reader.read(self._topics), self._ends, self._settings.ingest.starting_offsets)
        except NextreelError:
            return None
        finally:
            self._due = time.monotonic() + _LAG_SECONDS
        self.known = found
        return found


def _commit(lake: Lake, batch: Batch) -> Commit:
    """Return what is known of a commit: by the stream, by its record, and by the footers of its files."""
    record: Mapping[str, Any] = read_record(record_path(lake, batch.batch_id)) or {}
    paths = [(f["table"], lake.root / f["path"]) for f in record.get("files", [])]
    return Commit(
        batch_id=batch.batch_id,
        query_id=record.get("query", ""),
        committed_at=datetime.fromisoformat(record["committed_at"]) if record else datetime.now(UTC),
        rows=batch.rows,
        messages=batch.intake.messages,
        ends=record.get("offsets", {}),
        raw_bytes=batch.intake.raw_bytes,
        parquet_bytes=batch.bytes,
        unknown_fields=batch.intake.unknown_fields,
        kafka_times=sent(path for _, path in paths),
        seconds=batch.seconds,
        reasons=_reasons([path for table, path in paths if table == QUARANTINE], batch.rejected),
    )


def _reasons(files: list[Path], n: int) -> dict[str, int]:
    """Return why messages were rejected; "unknown" where their files have been merged already."""
    try:
        return reasons_in(files)
    except FileNotFoundError:
        return {"unknown": n}
