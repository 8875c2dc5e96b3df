"""Kafka as a stream, through Spark's Python data source API.

It takes the option names of Spark's own Kafka source and yields its columns, so that the JVM connector can stand in
its place: ``kafka.bootstrap.servers`` (and any other client setting behind ``kafka.``), ``subscribe``,
``startingOffsets`` (earliest, latest), ``maxOffsetsPerTrigger``, ``failOnDataLoss``. Of its own it takes
``maxBytesPerTrigger`` (by the mean size of messages, 0 for no limit) and ``patienceSeconds`` (how long a broker that
has answered once may be silent).
"""

import json
import logging
import os
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxBytes,
    ReadMaxRows,
    SupportsTriggerAvailableNow,
)

from nextreel.errors import DataLossError, SettingsError
from nextreel.events.arrival import MAX_CLOCK_SKEW_SECONDS
from nextreel.ingest.consume import PATIENCE_SECONDS, KafkaRange, read_ranges
from nextreel.ingest.gaps import Gap, write_gap
from nextreel.ingest.size import ASSUMED_BYTES, MeanSize
from nextreel.kafka.watermarks import WatermarkReader, Watermarks
from nextreel.lake.layout import Lake

FORMAT = "nextreel_kafka"
LAKE_FORMAT = "nextreel_lake"

#: The columns of Spark's Kafka source, headers included.
SCHEMA = (
    "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp, timestampType int, "
    "headers array<struct<key: string, value: binary>>"
)

#: A staged file: its name, table and day, what is in it; on the first of a task's files what the task has read (JSON).
STAGED = "name string, table string, date string, rows bigint, bytes bigint, intake string"

#: So many messages are worth a task of their own.
_LEAST_A_TASK = 10_000

_RECENT_SECONDS = 1.0
#: Spark asks an idle source again after 10 ms: so much longer is waited.
_IDLE_SECONDS = 0.04

Offsets = dict[str, dict[str, int]]

_log = logging.getLogger(__name__)


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

    _format = FORMAT

    def __init__(self, options: Mapping[str, str]):
        lowered = {k.lower(): v for k, v in options.items()}
        # Spark lower-cases option names, and so are all of librdkafka's.
        self._client = {k.removeprefix("kafka."): v for k, v in lowered.items() if k.startswith("kafka.")}
        self._topics = [t.strip() for t in lowered.get("subscribe", "").split(",") if t.strip()]
        if not self._topics or "bootstrap.servers" not in self._client:
            raise SettingsError(f"{self._format} needs the options kafka.bootstrap.servers and subscribe")
        self._starting = lowered.get("startingoffsets", "earliest")
        if self._starting not in ("earliest", "latest"):
            raise SettingsError(f"startingOffsets = {self._starting!r}: earliest or latest")
        self._limit = _whole(lowered, "maxOffsetsPerTrigger")
        self._limit_bytes = _whole(lowered, "maxBytesPerTrigger")
        self._max_tasks = _whole(lowered, "maxTasks") or os.cpu_count() or 1
        self._patience = _seconds(lowered, "patienceSeconds", PATIENCE_SECONDS)
        fail = lowered.get("failondataloss", "true")
        if fail.lower() not in ("true", "false"):
            raise SettingsError(f"failOnDataLoss = {fail!r}: true or false")
        self._fail_on_data_loss = fail.lower() == "true"
        self._gaps: set[Gap] = set()
        self._stop_at: Offsets | None = None
        self._reader: WatermarkReader | None = None
        self._last: Watermarks | None = None
        self._topic_ids: dict[str, str] = {}
        self._read_at = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_reader": None, "_last": None}  # tasks get a copy of this object; the connection stays

    def initialOffset(self) -> Offsets:  # noqa: N802
        """Return where a new checkpoint begins."""
        side = 0 if self._starting == "earliest" else 1
        found = self._watermarks()
        return {t: {str(p): marks[side] for p, marks in ps.items()} for t, ps in found.items()}

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802
        """Return the limit of a micro-batch: so many messages over all partitions, else so many bytes."""
        if self._limit:
            return ReadMaxRows(self._limit)
        return ReadMaxBytes(self._limit_bytes) if self._limit_bytes else ReadAllAvailable()

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
        """Remember the end of the topics: this run goes no further."""
        self._stop_at = _highs(self._watermarks())

    def latestOffset(self, start: Offsets, limit: ReadLimit) -> Offsets:  # noqa: N802
        """Return the end of the next micro-batch, shared fairly over the partitions where there is a limit.

        A partition with less than its share leaves the rest to the others. Raises `DataLossError`.
        """
        found = self._watermarks()
        self._check_ids(start)
        begins = {
            t: {str(p): self._begin(t, str(p), start, marks) for p, marks in ps.items()} for t, ps in found.items()
        }
        for topic, partitions in begins.items():
            for name in start.get(topic, {}).keys() - partitions.keys():
                self._begin(topic, name, start, (0, 0))  # not there any more, and in no plan from here on
        ends = self._stop_at or _highs(found)
        waiting = {
            (t, p): max(0, ends.get(t, {}).get(p, begin) - begin) for t, ps in begins.items() for p, begin in ps.items()
        }
        most = self._most(limit)
        taken = waiting if most is None else share(waiting, most)
        if not any(taken.values()) and self._stop_at is None:
            time.sleep(_IDLE_SECONDS)
        # Topics that are no longer subscribed keep their place, should they come back.
        return start | {t: {p: begin + taken[t, p] for p, begin in ps.items()} for t, ps in begins.items()}

    def _most(self, limit: ReadLimit) -> int | None:
        """Return how many messages a micro-batch may hold."""
        if isinstance(limit, ReadAllAvailable):
            return None
        bounds = [limit.max_rows] if isinstance(limit, ReadMaxRows) else []
        if self._limit_bytes:
            bounds.append(max(1, int(self._limit_bytes / self._message_bytes())))
        return min(bounds, default=None)

    def _message_bytes(self) -> float:
        """Return how large a message is taken to be: nobody tells the plain source how large they were."""
        return ASSUMED_BYTES

    def reportLatestOffset(self) -> Offsets:  # noqa: N802
        """Return the end of the topics, for the query's progress: as it was for the micro-batch's end, a moment ago."""
        return _highs(self._recent_watermarks())

    def stop(self) -> None:
        """End the connection to Kafka."""
        self._reader = None

    def _watermarks(self) -> Watermarks:
        if self._reader is None:
            self._reader = WatermarkReader(self._client, self._patience)
        self._read_at, self._last = time.monotonic(), self._reader.read(self._topics)
        return self._last

    def _check_ids(self, start: Offsets) -> None:
        """Raise `DataLossError` for a topic that was made anew since something was read of it."""
        known, ids = self._topic_ids, self._reader.topic_ids if self._reader else {}
        for topic in ids:
            if known.get(topic, ids[topic]) != ids[topic] and any(start.get(topic, {}).values()):
                raise DataLossError(
                    f"{topic} was deleted and made anew while it was read: messages of it may be lost. Start ingest "
                    "again: it says what there is to do."
                )
        self._topic_ids = known | ids

    def _recent_watermarks(self) -> Watermarks:
        """Return what was read for this micro-batch's end, a moment ago."""
        recent = self._last is not None and time.monotonic() - self._read_at < _RECENT_SECONDS
        return self._last if recent and self._last is not None else self._watermarks()

    def partitions(self, start: Offsets, end: Offsets) -> list[KafkaTask]:
        """Return the tasks that together read from ``start`` to ``end``."""
        found = self._recent_watermarks()
        ranges = []
        for topic in self._topics:
            for name, stop in end.get(topic, {}).items():
                low, high = found[topic].get(int(name), (0, 0))
                begin = self._begin(topic, name, start, (low, high))
                if stop > max(begin, high):
                    why = f"messages to {stop:,} were planned and the topic ends at {high:,}"
                    self._lost(Gap(topic, int(name), max(begin, high), stop, why))
                if begin < min(stop, high):
                    ranges.append(KafkaRange(topic, int(name), begin, min(stop, high)))
        return dealt(ranges, self._max_tasks)

    def _begin(self, topic: str, partition: str, start: Offsets, marks: tuple[int, int]) -> int:
        """Return where to read on: at ``start``, or at the first message that there is where ``start`` is none's."""
        low, high = marks
        begin = start.get(topic, {}).get(partition, low)
        if low <= begin <= high:
            return begin
        if begin < low:
            why = f"messages {begin:,} to {low:,} were deleted by Kafka's retention before they were read"
            self._lost(Gap(topic, int(partition), begin, low, why))
            return low
        why = f"the checkpoint is at {begin:,} and the topic ends at {high:,}: it was made anew"
        self._lost(Gap(topic, int(partition), 0, begin, why))
        return begin  # two messages may not have one place

    def _lost(self, gap: Gap) -> None:
        """Stop where messages are lost; or, where the options say so, tell of it and go on."""
        if self._fail_on_data_loss:
            raise DataLossError(f"{gap}. Set ingest.fail_on_data_loss = false to go on behind what is lost.")
        if gap not in self._gaps:
            self._gaps.add(gap)
            _log.warning("%s. Going on at %s.", gap, f"{gap.end:,}")
            self._write_down(gap)

    def _write_down(self, gap: Gap) -> None:
        """Keep a gap for later: a plain source has no place for it."""

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Yield the messages of one task's ranges, in blocks. Runs in a Spark task."""
        assert isinstance(partition, KafkaTask)  # noqa: S101 (planned by `partitions`)
        yield from read_ranges(self._client, partition.ranges, self._patience, self._pass_over)

    def _pass_over(self, unreadable: KafkaRange, error: str) -> None:
        """Report and record a batch that cannot be read. It does not stop ingest: it would do so at every start."""
        why = f"the messages at offsets {unreadable.begin:,} to {unreadable.end - 1:,} cannot be read: {error}"
        gap = Gap(unreadable.topic, unreadable.partition, unreadable.begin, unreadable.end, why)
        _log.error("%s. Going on at %s.", gap, f"{gap.end:,}")
        self._write_down(gap)


class LakeSource(KafkaSource):
    """``spark.readStream.format("nextreel_lake")``: the same messages, but parsed and staged where they are read.

    Of its own it takes ``lake`` (a directory), ``eventTypes`` (JSON: each topic's event type) and
    ``maxClockSkewSeconds`` (the setting of the contract), and its rows are the staged files: a message does not travel
    to the JVM and back.
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
    """Plans as its parent does, by what the lake says of sizes; what its tasks yield is files."""

    _format = LAKE_FORMAT

    def __init__(self, options: Mapping[str, str]):
        super().__init__(options)
        lowered = {k.lower(): v for k, v in options.items()}
        self._lake = Path(lowered["lake"])
        self._size = MeanSize(Lake(self._lake).commits)
        self._event_types = json.loads(lowered["eventtypes"])
        self._max_skew_seconds = _whole(lowered, "maxClockSkewSeconds", MAX_CLOCK_SKEW_SECONDS)

    def _message_bytes(self) -> float:
        return self._size.read()

    def _write_down(self, gap: Gap) -> None:
        write_gap(Lake(self._lake).gaps, gap)

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Stage the messages of one task and yield the files. Runs in a Spark task."""
        from nextreel.ingest.stage import stage_messages  # planning does not need what parsing does

        yield from stage_messages(super().read(partition), self._lake, self._event_types, self._max_skew_seconds)


def _highs(found: Watermarks) -> Offsets:
    return {t: {str(p): high for p, (_, high) in ps.items()} for t, ps in found.items()}


def _whole(options: Mapping[str, str], name: str, default: int = 0) -> int:
    given = options.get(name.lower(), str(default))
    if not (given.isascii() and given.isdigit()):
        raise SettingsError(f"{name} = {given!r}: a whole number, 0 for no limit")
    return int(given)


def _seconds(options: Mapping[str, str], name: str, default: float) -> float:
    given = options.get(name.lower(), str(default))
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0.0 < seconds < float("inf"):
        raise SettingsError(f"{name} = {given!r}: seconds, above 0")
    return seconds


def share(waiting: Mapping[tuple[str, str], int], limit: int) -> dict[tuple[str, str], int]:
    """Split ``limit`` over what waits in each partition, fairly: nobody gets more than waits, nothing is left idle."""
    taken = {}
    left = limit
    for position, key in enumerate(sorted(waiting, key=lambda k: (waiting[k], k))):
        taken[key] = min(waiting[key], left // (len(waiting) - position))
        left -= taken[key]
    return taken


def dealt(ranges: Sequence[KafkaRange], max_tasks: int) -> list[KafkaTask]:
    """Deal ranges out to tasks of equal size; long ones are cut, short ones lie together.

    Each task gets partitions of every topic, if it can: messages of one take twice the time of another's.
    """
    total = sum(map(len, ranges))
    n_tasks = max(1, min(max_tasks, total // _LEAST_A_TASK))
    cuts = [total * i // n_tasks for i in range(1, n_tasks)]
    tasks: list[list[KafkaRange]] = [[] for _ in range(n_tasks)]
    passed = 0
    for r in sorted(ranges, key=attrgetter("partition")):
        inside = [cut for cut in cuts if passed < cut < passed + len(r)]
        for first, last in pairwise([passed, *inside, passed + len(r)]):
            piece = KafkaRange(r.topic, r.partition, r.begin + first - passed, r.begin + last - passed)
            tasks[bisect_right(cuts, first)].append(piece)
        passed += len(r)
    return [KafkaTask(tuple(task)) for task in tasks if task]
