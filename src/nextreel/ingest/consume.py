"""Ranges of Kafka's messages as blocks of columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from nextreel.errors import DataLossError, KafkaError
from nextreel.kafka.topics import QUIET

#: The columns of Spark's Kafka source.
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

#: A block's messages and bytes: what a task holds at a time follows from them.
_BLOCK = 20_000
_BLOCK_BYTES = 8_000_000
#: So many messages are taken from librdkafka at a time: few enough to stay in the processor's cache.
_SIP = 1_000

_MILLISECONDS_MAX = (2**63 - 1) // 1000
_PATIENCE_SECONDS = 60.0

_CLIENT = {
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": "50",
    # A range's end is near: what is fetched beyond it is thrown away.
    "queued.min.messages": "20000",
    "queued.max.messages.kbytes": "8192",
    "fetch.queue.backoff.ms": "2",
}
_NOT_NEGOTIABLE = {
    "group.id": "nextreel-ingest",
    "enable.auto.commit": "false",
    "enable.partition.eof": "true",
    # Where Kafka deletes the range while it is read, librdkafka must say so and not go on at the topic's end.
    "auto.offset.reset": "error",
}


@dataclass(frozen=True)
class KafkaRange:
    """Offsets ``begin`` (included) to ``end`` (not included) of one topic partition."""

    topic: str
    partition: int
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin

    def __str__(self) -> str:
        return f"{self.topic} partition {self.partition}"


def read_ranges(client: Mapping[str, str], ranges: Sequence[KafkaRange]) -> Iterator[pa.RecordBatch]:
    """Yield every message of the ranges, which are of different partitions, those of each in offset order.

    Offsets that hold no message (compacted away, or a transaction's marker) are stepped over. Raises `KafkaError` where
    Kafka stops answering, `DataLossError` where it has deleted what was to be read.
    """
    consumer = Consumer(_CLIENT | dict(client) | QUIET | _NOT_NEGOTIABLE)
    where = ", ".join(map(str, ranges))
    try:
        consumer.assign([TopicPartition(r.topic, r.partition, r.begin) for r in ranges])
        left = {(r.topic, r.partition): r for r in ranges}
        sip, silent = _SIP // 10, 0.0
        sips: list[pa.RecordBatch] = []
        while left:
            messages = consumer.consume(min(sip, sum(map(len, left.values()))), timeout=1.0)
            silent = 0.0 if messages else silent + 1.0
            if silent >= _PATIENCE_SECONDS:
                at = ", ".join(f"{r} at offset {r.begin:,}" for r in left.values())
                raise KafkaError(f"no answer for {silent:.0f} s: {at}")
            if list(map(Message.error, messages)).count(None) < len(messages):
                messages = [message for message in messages if _is_message(message)]
            if _advance(consumer, left):
                ends = {(r.topic, r.partition): r.end for r in ranges}
                messages = [m for m in messages if m.offset() < ends[m.topic(), m.partition()]]
            if messages:
                sips.append(_columns(messages))
                sip = max(1, min(_SIP, _BLOCK_BYTES * len(sips[-1]) // sips[-1].nbytes))
            full = sum(map(len, sips)) >= _BLOCK or sum(s.nbytes for s in sips) >= _BLOCK_BYTES
            if sips and (full or not left):
                yield pa.concat_batches(sips)
                sips = []
    except KafkaException as error:
        raise KafkaError(f"{where}: {error.args[0].str()}") from None
    finally:
        consumer.close()


def _advance(consumer: Consumer, left: dict[tuple[str, int], KafkaRange]) -> bool:
    """Shorten what is left to read by what has been read; tell whether a range has come to its end."""
    ended = []
    for place in consumer.position([TopicPartition(*key) for key in left]):
        r = left[place.topic, place.partition]
        reached = max(r.begin, place.offset)
        if reached < r.end:
            left[place.topic, place.partition] = replace(r, begin=reached)
        else:
            del left[place.topic, place.partition]
            ended.append(TopicPartition(place.topic, place.partition))
    if ended and left:
        consumer.incremental_unassign(ended)
    return bool(ended)


def _is_message(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    where = f"{message.topic()} partition {message.partition()}"
    if error.code() == error._AUTO_OFFSET_RESET:
        raise DataLossError(f"{where}: offset {message.offset():,} was deleted by Kafka while it was to be read")
    if error.code() != error._PARTITION_EOF and not error.retriable():
        raise KafkaError(f"{where}: {error.str()}")
    return False


def _columns(messages: list[Message]) -> pa.RecordBatch:
    """Return messages as columns."""
    kinds, milliseconds = zip(*map(Message.timestamp, messages), strict=True)
    # Producers may set any 64-bit number.
    sent = np.clip(np.array(milliseconds, np.int64), -_MILLISECONDS_MAX, _MILLISECONDS_MAX) * 1000
    return pa.RecordBatch.from_arrays(
        [
            pa.array(list(map(Message.key, messages)), pa.binary()),
            pa.array(list(map(Message.value, messages)), pa.binary()),
            pa.array(list(map(Message.topic, messages)), pa.string()),
            pa.array(list(map(Message.partition, messages)), pa.int32()),
            pa.array(list(map(Message.offset, messages)), pa.int64()),
            pa.array(sent).cast(MESSAGES.field("timestamp").type),
            pa.array(np.array(kinds, np.int32) - 1),  # librdkafka counts from "not available"; Spark from "create time"
        ],
        schema=MESSAGES,
    )
