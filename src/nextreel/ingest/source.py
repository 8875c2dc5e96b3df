"""Kafka as a stream, through Spark's Python data source API.

It takes the option names of Spark's own Kafka source and yields its columns, so that the JVM connector can stand in
its place: ``kafka.bootstrap.servers`` (and any other client setting behind ``kafka.``), ``subscribe``,
``startingOffsets`` (earliest, latest), ``maxOffsetsPerTrigger``, ``failOnDataLoss``.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, TopicPartition
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxRows,
    SupportsTriggerAvailableNow,
)

from nextreel.errors import DataLossError, KafkaError, SettingsError
from nextreel.kafka.topics import QUIET
from nextreel.kafka.watermarks import WatermarkReader, Watermarks

FORMAT = "nextreel_kafka"

#: The columns of Spark's Kafka source.
SCHEMA = "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp, timestampType int"
MESSAGES = pa.schema(
    [
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("topic", pa.string()),
        pa.field("partition", pa.int32()),
        pa.field("offset", pa.int64()),
        pa.field("timestamp", pa.timestamp("us", tz="UTC")),
        pa.field("timestampType", pa.int32()),
    ]
)

_BLOCK = 10_000
_MICROSECONDS_MAX = 2**63 - 1
_PATIENCE_SECONDS = 60.0

Offsets = dict[str, dict[str, int]]


@dataclass
class KafkaRange(InputPartition):
    """Offsets ``begin`` (included) to ``end`` (not included) of one topic partition: one Spark task."""

    topic: str
    partition: int
    begin: int
    end: int


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

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_reader": None}  # tasks get a copy of this object; the connection stays

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
        return self._reader.read(self._topics)

    def _ends(self) -> Offsets:
        found = self._watermarks()
        return {t: {str(p): high for p, (_, high) in ps.items()} for t, ps in found.items()}

    def partitions(self, start: Offsets, end: Offsets) -> list[KafkaRange]:
        """Return one range a topic partition that has new messages, cut so that every core has work."""
        found = self._watermarks()
        ranges = []
        for topic in self._topics:
            for name, stop in end.get(topic, {}).items():
                low, high = found[topic].get(int(name), (0, 0))
                begin = self._begin(topic, name, start, (low, high))
                if stop > high:
                    self._lost(topic, name, f"messages to {stop:,} were planned and the topic ends at {high:,}")
                if begin < min(stop, high):
                    ranges += _cut(KafkaRange(topic, int(name), begin, min(stop, high)))
        return ranges

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
        assert isinstance(partition, KafkaRange)  # noqa: S101 (planned by `partitions`)
        yield from read_range(self._client, partition)


def share(waiting: Mapping[tuple[str, str], int], limit: int) -> dict[tuple[str, str], int]:
    """Split ``limit`` over what waits in each partition, fairly: nobody gets more than waits, nothing is left idle."""
    taken = {}
    left = limit
    for position, key in enumerate(sorted(waiting, key=lambda k: (waiting[k], k))):
        taken[key] = min(waiting[key], left // (len(waiting) - position))
        left -= taken[key]
    return taken


def _cut(whole: KafkaRange) -> list[KafkaRange]:
    """Cut a long range in as many as there are cores: a backlog on one partition is not one task's work."""
    pieces = min(os.cpu_count() or 1, max(1, (whole.end - whole.begin) // (2 * _BLOCK)))
    edges = [whole.begin + (whole.end - whole.begin) * i // pieces for i in range(pieces + 1)]
    return [KafkaRange(whole.topic, whole.partition, a, b) for a, b in pairwise(edges)]


def read_range(client: Mapping[str, str], wanted: KafkaRange) -> Iterator[pa.RecordBatch]:
    """Yield every message of a range, in offset order.

    Offsets that hold no message (compacted away, or a transaction's marker) are stepped over. Raises `KafkaError` where
    Kafka stops answering, `DataLossError` where it has deleted what was to be read.
    """
    consumer = Consumer(
        {"isolation.level": "read_committed", "fetch.wait.max.ms": "50"}
        | dict(client)
        | QUIET
        | {"group.id": "nextreel-ingest", "enable.auto.commit": "false", "enable.partition.eof": "true"}
        # Where Kafka deletes the range while it is read, librdkafka must say so and not go on at the topic's end.
        | {"auto.offset.reset": "error"}
    )
    where = f"{wanted.topic} partition {wanted.partition}"
    try:
        consumer.assign([TopicPartition(wanted.topic, wanted.partition, wanted.begin)])
        position, silent = wanted.begin, 0.0
        while position < wanted.end:
            messages = consumer.consume(min(_BLOCK, wanted.end - position), timeout=1.0)
            silent = 0.0 if messages else silent + 1.0
            if silent >= _PATIENCE_SECONDS:
                raise KafkaError(f"{where}: no answer for {silent:.0f} s at offset {position:,}")
            rows = []
            for message in messages:
                error = message.error()
                if error is None and message.offset() < wanted.end:
                    rows.append(_row(message))
                elif error is not None and error.code() == error._AUTO_OFFSET_RESET:
                    raise DataLossError(f"{where}: offset {position:,} was deleted by Kafka while it was to be read")
                elif error is not None and error.code() != error._PARTITION_EOF and not error.retriable():
                    raise KafkaError(f"{where} at offset {position:,}: {error.str()}")
            if rows:
                yield pa.RecordBatch.from_arrays(
                    [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), MESSAGES, strict=True)],
                    schema=MESSAGES,
                )
            reached = consumer.position([TopicPartition(wanted.topic, wanted.partition)])[0].offset
            position = max(position, reached)
    except KafkaException as error:
        raise KafkaError(f"{where}: {error.args[0].str()}") from None
    finally:
        consumer.close()


def _row(message: Any) -> tuple[Any, ...]:
    kind, milliseconds = message.timestamp()
    return (
        message.key(),
        message.value(),
        message.topic(),
        message.partition(),
        message.offset(),
        max(-_MICROSECONDS_MAX, min(_MICROSECONDS_MAX, milliseconds * 1000)),  # producers may set any 64-bit number
        kind - 1,  # librdkafka counts from "not available"; Spark from "create time"
    )
