"""Ranges of Kafka's messages as blocks of columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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

#: A block's messages and bytes, at the most: what a task holds at a time follows from them.
_BLOCK = 10_000
_BLOCK_BYTES = 8_000_000

_MILLISECONDS_MAX = (2**63 - 1) // 1000
_PATIENCE_SECONDS = 60.0

_CLIENT = {
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": "50",
    "fetch.message.max.bytes": "4000000",
    "queued.max.messages.kbytes": "32768",
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
    """Yield every message of the ranges, those of one in offset order and none after another has begun.

    Offsets that hold no message (compacted away, or a transaction's marker) are stepped over. Raises `KafkaError` where
    Kafka stops answering, `DataLossError` where it has deleted what was to be read.
    """
    consumer = Consumer(_CLIENT | dict(client) | QUIET | _NOT_NEGOTIABLE)
    try:
        for wanted in ranges:
            consumer.assign([TopicPartition(wanted.topic, wanted.partition, wanted.begin)])
            yield from _read(consumer, wanted)
    except KafkaException as error:
        raise KafkaError(f"{', '.join(map(str, ranges))}: {error.args[0].str()}") from None
    finally:
        consumer.close()


def _read(consumer: Consumer, wanted: KafkaRange) -> Iterator[pa.RecordBatch]:
    position, silent, size = wanted.begin, 0.0, _BLOCK // 10
    while position < wanted.end:
        messages = consumer.consume(min(size, wanted.end - position), timeout=1.0)
        silent = 0.0 if messages else silent + 1.0
        if silent >= _PATIENCE_SECONDS:
            raise KafkaError(f"{wanted}: no answer for {silent:.0f} s at offset {position:,}")
        if any(error is not None for error in map(Message.error, messages)):
            messages = [message for message in messages if _is_message(message, wanted, position)]
        if messages:
            block = _columns(messages)
            size = max(1, min(_BLOCK, _BLOCK_BYTES * len(block) // block.nbytes))
            if messages[-1].offset() >= wanted.end:
                block = block.filter(pc.less(block.column("offset"), wanted.end))
            yield block
        reached = consumer.position([TopicPartition(wanted.topic, wanted.partition)])[0].offset
        position = max(position, reached)


def _is_message(message: Message, wanted: KafkaRange, position: int) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.code() == error._AUTO_OFFSET_RESET:
        raise DataLossError(f"{wanted}: offset {position:,} was deleted by Kafka while it was to be read")
    if error.code() != error._PARTITION_EOF and not error.retriable():
        raise KafkaError(f"{wanted} at offset {position:,}: {error.str()}")
    return False


def _columns(messages: list[Message]) -> pa.RecordBatch:
    """Return messages of one topic partition as columns."""
    n, first = len(messages), messages[0]
    kinds, milliseconds = zip(*map(Message.timestamp, messages), strict=True)
    # Producers may set any 64-bit number.
    sent = np.clip(np.array(milliseconds, np.int64), -_MILLISECONDS_MAX, _MILLISECONDS_MAX) * 1000
    return pa.RecordBatch.from_arrays(
        [
            pa.array(list(map(Message.key, messages)), pa.binary()),
            pa.array(list(map(Message.value, messages)), pa.binary()),
            pa.repeat(pa.scalar(first.topic(), pa.string()), n),
            pa.repeat(pa.scalar(first.partition(), pa.int32()), n),
            pa.array(list(map(Message.offset, messages)), pa.int64()),
            pa.array(sent).cast(MESSAGES.field("timestamp").type),
            pa.array(np.array(kinds, np.int32) - 1),  # librdkafka counts from "not available"; Spark from "create time"
        ],
        schema=MESSAGES,
    )
