"""Kafka as a stream, through Spark's Python data source API.

It takes the option names of Spark's own Kafka source and yields its columns, so that the JVM connector can stand in
its place: ``kafka.bootstrap.servers`` (and any other client setting behind ``kafka.``), ``subscribe``,
``startingOffsets`` (earliest, latest), ``maxOffsetsPerTrigger``, ``failOnDataLoss``.
"""

import json
import os
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxRows,
    SupportsTriggerAvailableNow,
)

from nextreel.errors import DataLossError, SettingsError
from nextreel.ingest.consume import KafkaRange, read_ranges
from nextreel.kafka.watermarks import WatermarkReader, Watermarks

FORMAT = "nextreel_kafka"
LAKE_FORMAT = "nextreel_lake"

#: The columns of Spark's Kafka source.
SCHEMA = "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp, timestampType int"

#: A staged file: its name, table and day, what is in it, and the task's unknown fields on the first of its files.
STAGED = "name string, table string, date string, rows bigint, bytes bigint, unknown_fields bigint"

#: So many messages are worth a task of their own.
_LEAST_A_TASK = 10_000

_RECENT_SECONDS = 1.0

Offsets = dict[str, dict[str, int]]


@dataclass
class KafkaTask(InputPartition):
    """What one Spark task reads."""

    ranges: tuple[KafkaRange, ...]


class KafkaSource(DataSource):
    """``spark.readStream.format("nextreel_kafka")``."""

    @classmethod
    def name(cls) -> str:
        """The name after ``format``."""
        return FORMAT

    def schema(self) -> str:
        """The columns of Spark's Kafka source."""
        return SCHEMA

    def streamReader(self, schema: Any) -> "KafkaStreamReader":  # noqa: N802 (Spark's name)
        """The reader of a stream."""
        return KafkaStreamReader(self.options)


class KafkaStreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Plans micro-batches on the driver and reads their ranges in the tasks."""

    def __init__(self, options: Mapping[str, str]):
        lowered = {k.lower(): v for k, v in options.items()}
        # Spark lower-cases option names, and so are all of librdkafka's.
        self._client = {k.removeprefix("kafka."): v for k, v in lowered.items() if k.startswith("kafka.")}
        self._topics = [t.strip() for t in lowered.get("subscribe", "").split(",") if t.strip()]
        if not self._topics or "bootstrap.servers" not in self._client:
            raise SettingsError(f"{FORMAT} needs the options kafka.bootstrap.servers and subscribe")
        self._starting = lowered.get("startingoffsets", "earliest")
        if self._starting not in ("earliest", "latest"):
            raise SettingsError(f"startingOffsets = {self._starting!r}: earliest or latest")
        limit = lowered.get("maxoffsetspertrigger", "0")
        if not (limit.isascii() and limit.isdigit()):
            raise SettingsError(f"maxOffsetsPerTrigger = {limit!r}: a whole number, 0 for no limit")
        self._limit = int(limit)
        fail = lowered.get("failondataloss", "true")
        if fail.lower() not in ("true", "false"):
            raise SettingsError(f"failOnDataLoss = {fail!r}: true or false")
        self._fail_on_data_loss = fail.lower() == "true"
        self._stop_at: Offsets | None = None
        self._reader: WatermarkReader | None = None
        self._last: Watermarks | None = None
        self._read_at = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_reader": None, "_last": None}  # tasks get a copy of this object; the connection stays

    def initialOffset(self) -> Offsets:  # noqa: N802
        """Return where a new checkpoint begins."""
        side = 0 if self._starting == "earliest" else 1
        found = self._watermarks()
        return {t: {str(p): marks[side] for p, marks in ps.items()} for t, ps in found.items()}

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802
        """Return the limit of a micro-batch: maxOffsetsPerTrigger messages over all partitions."""
        return ReadMaxRows(self._limit) if self._limit else ReadAllAvailable()

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
        """Remember the end of the topics: this run goes no further."""
        self._stop_at = self._ends()

    def latestOffset(self, start: Offsets, limit: ReadLimit) -> Offsets:  # noqa: N802
        """Return the end of the next micro-batch, shared fairly over the partitions where there is a limit.

        A partition with less than its share leaves the rest to the others. Raises `DataLossError`.
        """
        found = self._watermarks()
        begins = {
            t: {str(p): self._begin(t, str(p), start, marks) for p, marks in ps.items()} for t, ps in found.items()
        }
        ends = self._stop_at or {t: {str(p): high for p, (_, high) in ps.items()} for t, ps in found.items()}
        waiting = {
            (t, p): max(0, ends.get(t, {}).get(p, begin) - begin) for t, ps in begins.items() for p, begin in ps.items()
        }
        taken = share(waiting, limit.max_rows) if isinstance(limit, ReadMaxRows) else waiting
        # Topics that are no longer subscribed keep their place, should they come back.
        return start | {t: {p: begin + taken[t, p] for p, begin in ps.items()} for t, ps in begins.items()}

    def reportLatestOffset(self) -> Offsets:  # noqa: N802
        """Return the end of the topics, for the query's progress."""
        return self._ends()

    def stop(self) -> None:
        """End the connection to Kafka."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _watermarks(self) -> Watermarks:
        if self._reader is None:
            self._reader = WatermarkReader(self._client)
        self._read_at, self._last = time.monotonic(), self._reader.read(self._topics)
        return self._last

    def _recent_watermarks(self) -> Watermarks:
        """Return what was read for this micro-batch's end, a moment ago."""
        recent = self._last is not None and time.monotonic() - self._read_at < _RECENT_SECONDS
        return self._last if recent and self._last is not None else self._watermarks()

    def _ends(self) -> Offsets:
        found = self._watermarks()
        return {t: {str(p): high for p, (_, high) in ps.items()} for t, ps in found.items()}

    def partitions(self, start: Offsets, end: Offsets) -> list[KafkaTask]:
        """Return the tasks that together read from ``start`` to ``end``."""
        found = self._recent_watermarks()
        ranges = []
        for topic in self._topics:
            for name, stop in end.get(topic, {}).items():
                low, high = found[topic].get(int(name), (0, 0))
                begin = self._begin(topic, name, start, (low, high))
                if stop > high:
                    self._lost(topic, name, f"messages to {stop:,} were planned and the topic ends at {high:,}")
                if begin < min(stop, high):
                    ranges.append(KafkaRange(topic, int(name), begin, min(stop, high)))
        return dealt(ranges, os.cpu_count() or 1)

    def _begin(self, topic: str, partition: str, start: Offsets, marks: tuple[int, int]) -> int:
        """Return where to read on: at ``start``, or at the first message that there is where ``start`` is none's."""
        low, high = marks
        begin = start.get(topic, {}).get(partition, low)
        if low <= begin <= high:
            return begin
        if begin < low:
            lost = f"messages {begin:,} to {low:,} were deleted by Kafka's retention before they were read"
        else:
            lost = f"the checkpoint is at {begin:,} and the topic ends at {high:,}: it was made anew"
        self._lost(topic, partition, lost)
        return low

    def _lost(self, topic: str, partition: str, what: str) -> None:
        if self._fail_on_data_loss:
            raise DataLossError(
                f"{topic} partition {partition}: {what}. Set ingest.fail_on_data_loss = false to go on without them."
            )

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the messages of one range, in blocks. Runs in a Spark task."""
        assert isinstance(partition, KafkaTask)  # noqa: S101 (planned by `partitions`)
        yield from read_ranges(self._client, partition.ranges)


class LakeSource(KafkaSource):
    """``spark.readStream.format("nextreel_lake")``: the same messages, but parsed and staged where they are read.

    Of its own it takes ``lake`` (a directory) and ``eventTypes`` (JSON: each topic's event type), and its rows are
    the staged files: a message does not travel to the JVM and back.
    """

    @classmethod
    def name(cls) -> str:
        """The name after ``format``."""
        return LAKE_FORMAT

    def schema(self) -> str:
        """The columns of staged files."""
        return STAGED

    def streamReader(self, schema: Any) -> "LakeStreamReader":  # noqa: N802
        """The reader of a stream."""
        return LakeStreamReader(self.options)


class LakeStreamReader(KafkaStreamReader):
    """Plans as its parent does; what its tasks yield is files."""

    def __init__(self, options: Mapping[str, str]):
        super().__init__(options)
        lowered = {k.lower(): v for k, v in options.items()}
        self._lake = Path(lowered["lake"])
        self._event_types = json.loads(lowered["eventtypes"])

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Stage the messages of one task and yield the files. Runs in a Spark task."""
        from nextreel.ingest.stage import stage_messages  # planning does not need what parsing does

        yield from stage_messages(super().read(partition), self._lake, self._event_types)


def share(waiting: Mapping[tuple[str, str], int], limit: int) -> dict[tuple[str, str], int]:
    """Split ``limit`` over what waits in each partition, fairly: nobody gets more than waits, nothing is left idle."""
    taken = {}
    left = limit
    for position, key in enumerate(sorted(waiting, key=lambda k: (waiting[k], k))):
        taken[key] = min(waiting[key], left // (len(waiting) - position))
        left -= taken[key]
    return taken


def dealt(ranges: Sequence[KafkaRange], cores: int) -> list[KafkaTask]:
    """Deal ranges out to tasks of equal size, one a core at the most; long ones are cut, short ones lie together."""
    total = sum(map(len, ranges))
    n_tasks = max(1, min(cores, total // _LEAST_A_TASK))
    cuts = [total * i // n_tasks for i in range(1, n_tasks)]
    tasks: list[list[KafkaRange]] = [[] for _ in range(n_tasks)]
    passed = 0
    for r in ranges:
        inside = [cut for cut in cuts if passed < cut < passed + len(r)]
        for first, last in pairwise([passed, *inside, passed + len(r)]):
            piece = KafkaRange(r.topic, r.partition, r.begin + first - passed, r.begin + last - passed)
            tasks[bisect_right(cuts, first)].append(piece)
        passed += len(r)
    return [KafkaTask(tuple(task)) for task in tasks if task]
