"""Ranges of Kafka's messages as blocks of columns."""

import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from nextreel.errors import DataLossError, KafkaError
from nextreel.kafka.client import Heard, new_client, passes
from nextreel.kafka.unreadable import UNPACKING, first_readable, is_unreadable

_HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))

#: The columns of Spark's Kafka source, headers included.
MESSAGES = pa.schema(
    [
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("topic", pa.string()),
        pa.field("partition", pa.int32()),
        pa.field("offset", pa.int64()),
        pa.field("timestamp", pa.timestamp("us", tz="UTC")),
        pa.field("timestampType", pa.int32()),
        pa.field("headers", _HEADERS),
    ]
)

#: A block's messages and bytes: what a task holds at a time follows from them.
_BLOCK = 20_000
_BLOCK_BYTES = 8_000_000
#: So many messages are taken from librdkafka at a time: few enough to stay in the processor's cache. Of the first ones
#: nobody knows how large they are.
_SIP, _FIRST_SIP = 1_000, 8
#: A sip is not waited for longer than this: where messages are suddenly large, it holds what a network brings in it.
_SIP_SECONDS = 0.05

_MILLISECONDS_MAX = (2**63 - 1) // 1000
PATIENCE_SECONDS = 60.0

_CLIENT = {
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": "50",
    # A range's end is near: what is fetched beyond it is thrown away.
    "queued.min.messages": "20000",
    "queued.max.messages.kbytes": "8192",
    "fetch.queue.backoff.ms": "2",
} | UNPACKING
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


#: A topic and one of its partitions.
Place = tuple[str, int]
#: Receives offsets that cannot be read, and librdkafka's error.
Unreadable = Callable[[KafkaRange, str], None]


def read_ranges(
    client: Mapping[str, str],
    ranges: Sequence[KafkaRange],
    patience_seconds: float = PATIENCE_SECONDS,
    unreadable: Unreadable = lambda _range, _error: None,
) -> Iterator[pa.RecordBatch]:
    """Yield every message of the ranges, which are of different partitions, those of each in offset order.

    Offsets that hold no message (compacted away, or a transaction's marker) are stepped over. So are batches that
    librdkafka cannot read: their offsets in the ranges go to ``unreadable``, with the error. A connection that is cut
    is made again.

    Raises `KafkaError` where Kafka does not answer for ``patience_seconds``, `DataLossError` where it has deleted what
    was to be read.
    """
    reading = _Reading(client, ranges, patience_seconds, unreadable)
    block = _Block()
    try:
        while reading.left:
            messages = reading.sip(block.room)
            if messages:
                block.add(_columns(messages))
            if block.is_full or (block.messages and not reading.left):
                yield block.taken()
    except KafkaException as error:
        raise KafkaError(f"{', '.join(map(str, ranges))}: {reading.heard.beside(error.args[0].str())}") from None
    finally:
        reading.close()


class _Block:
    """What has been read and not yet handed on."""

    def __init__(self) -> None:
        self._sips: list[pa.RecordBatch] = []
        self._message_bytes = _BLOCK_BYTES / _FIRST_SIP
        self.messages = self._bytes = 0

    @property
    def room(self) -> int:
        """How many more messages fill the block, should they be as large as the last ones; no more than a sip."""
        return max(1, min(_SIP, int((_BLOCK_BYTES - self._bytes) / self._message_bytes)))

    @property
    def is_full(self) -> bool:
        return self.messages >= _BLOCK or self._bytes >= _BLOCK_BYTES

    def add(self, sip: pa.RecordBatch) -> None:
        self._sips.append(sip)
        self._message_bytes = sip.nbytes / len(sip)
        self.messages += len(sip)
        self._bytes += sip.nbytes

    def taken(self) -> pa.RecordBatch:
        """Hand the block on and begin another."""
        sips, self._sips = self._sips, []
        self.messages = self._bytes = 0
        return pa.concat_batches(sips)


class _Reading:
    """One consumer on its way through ranges; ``left`` is what it has not read yet."""

    def __init__(
        self, client: Mapping[str, str], ranges: Sequence[KafkaRange], patience_seconds: float, unreadable: Unreadable
    ):
        self.left = {(r.topic, r.partition): r for r in ranges}
        self.heard = Heard()
        self._ends = {(r.topic, r.partition): r.end for r in ranges}
        self._client = dict(client)
        self._patience = patience_seconds
        self._unreadable = unreadable
        self._silent = 0.0
        self._consumer = self._new_consumer()

    def _new_consumer(self) -> Consumer:
        """Return a consumer of what is left to read."""
        try:
            consumer = new_client(Consumer, _CLIENT | self._client | _NOT_NEGOTIABLE, self.heard)
            consumer.assign([TopicPartition(r.topic, r.partition, r.begin) for r in self.left.values()])
        except KafkaException as error:
            raise KafkaError(f"{', '.join(map(str, self.left.values()))}: {error.args[0].str()}") from None
        return consumer

    def close(self) -> None:
        self._consumer.close()

    def sip(self, most: int) -> list[Message]:
        """Return some messages of the ranges, at most ``most``; perhaps none."""
        began = time.monotonic()
        events = self._consumer.consume(min(most, sum(map(len, self.left.values()))), timeout=_SIP_SECONDS)
        messages: list[Message] = events
        damaged: dict[Place, Message] = {}
        if any(map(Message.error, events)):
            damaged, events = self._sorted(events)
            messages = [event for event in events if event.error() is None]
        self._silent = 0.0 if events or damaged else self._silent + time.monotonic() - began
        if self._silent >= self._patience:
            raise self._given_up()
        has_ended = bool(events) and self._advance(damaged)
        if damaged:
            self._pass_over(damaged)
        if has_ended or damaged:
            messages = [m for m in messages if m.offset() < self._ends[m.topic(), m.partition()]]
        return messages

    def _sorted(self, events: Sequence[Message]) -> tuple[dict[Place, Message], list[Message]]:
        """Return the first error of each partition that reports an unreadable batch, and the answers up to these."""
        damaged: dict[Place, Message] = {}
        answers: list[Message] = []
        for event in events:
            place = event.topic(), event.partition()
            if place in damaged:
                continue  # read again once the batch before it is passed over
            if event.error() is not None and is_unreadable(event.error()):
                damaged[place] = event
            elif self._is_answer(event):
                answers.append(event)
        return damaged, answers

    def _pass_over(self, damaged: Mapping[Place, Message]) -> None:
        """Shorten what is left to read by the batches that cannot be read, and go on with a new consumer."""
        for place in self.left.keys() & damaged.keys():
            event, r = damaged[place], self.left[place]
            begin = min(max(r.begin, event.offset()), r.end)
            if begin < r.end:  # else the batch lies behind the range: the consumer reads ahead
                end = min(first_readable(self._client, r.topic, r.partition, begin, self._patience), r.end)
                if end > begin:
                    self._unreadable(replace(r, begin=begin, end=end), event.error().str())
                begin = end
            self.left[place] = replace(r, begin=begin)
            if begin == r.end:
                del self.left[place]
        if self.left:
            self._consumer.close()
            self._consumer = self._new_consumer()

    def _given_up(self) -> KafkaError:
        at = ", ".join(f"{r} at offset {r.begin:,}" for r in self.left.values())
        bootstrap = self._client.get("bootstrap.servers", "")
        return KafkaError(self.heard.beside(f"Kafka at {bootstrap}: no answer for {self._silent:.0f} s: {at}"))

    def _advance(self, damaged: Container[Place]) -> bool:
        """Shorten what is left to read by what has been read; tell whether a range has come to its end.

        Partitions that are ``damaged`` are left as they are.
        """
        ended = []
        asked = [TopicPartition(*place) for place in self.left if place not in damaged]
        for place in self._consumer.position(asked) if asked else []:
            r = self.left[place.topic, place.partition]
            reached = max(r.begin, place.offset)
            if reached < r.end:
                self.left[place.topic, place.partition] = replace(r, begin=reached)
            else:
                del self.left[place.topic, place.partition]
                ended.append(TopicPartition(place.topic, place.partition))
        if ended and self.left:
            self._consumer.incremental_unassign(ended)
        return bool(ended)

    def _is_answer(self, event: Message) -> bool:
        """Tell whether Kafka has answered: by a message, or by word of a partition's end; not by a passing error."""
        error = event.error()
        if error is None or error.code() == error._PARTITION_EOF:
            return True
        where = f"{event.topic()} partition {event.partition()}"
        if error.code() == error._AUTO_OFFSET_RESET:
            raise DataLossError(f"{where}: offset {event.offset():,} was deleted by Kafka while it was to be read")
        if not passes(error):
            raise KafkaError(f"{where}: {error.str()}")
        self.heard(error)
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
            _headers(messages),
        ],
        schema=MESSAGES,
    )


def _headers(messages: list[Message]) -> pa.Array:
    """Return messages' headers, null where there are none."""
    # Where a name is not UTF-8, librdkafka's binding returns a broken list with an exception pending. `map` notices
    # (a call that Python has specialised would not), and it must not be asked for again: that crashes.
    each = map(Message.headers, messages)
    found: list[list[tuple[str, bytes | None]] | None] = []
    for _ in messages:
        try:
            found.append(next(each))
        except (SystemError, UnicodeDecodeError):
            found.append(None)
    if found.count(None) == len(found):
        return pa.nulls(len(found), _HEADERS)
    return pa.array([[{"key": k, "value": v} for k, v in headers] if headers else None for headers in found], _HEADERS)
