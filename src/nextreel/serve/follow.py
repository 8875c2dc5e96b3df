"""The topics, followed from where a model left off: every valid message becomes part of a live state."""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as Refusal

from nextreel.errors import NextreelError
from nextreel.events.arrival import MAX_CLOCK_SKEW_SECONDS, Micros, latest_event_times, moment_of, order_of
from nextreel.events.contract import EventType, fields_of
from nextreel.ingest.columns import accept
from nextreel.ingest.rows import Rejected, read
from nextreel.kafka.client import Heard, new_client, passes
from nextreel.kafka.topics import topics_by_type
from nextreel.kafka.watermarks import WatermarkReader, Watermarks
from nextreel.lake.ledger import Offsets
from nextreel.serve.live import Event, Live
from nextreel.settings import KafkaSettings

_LOG = logging.getLogger(__name__)

#: Messages that are taken at a time, and those of them that a request waits for at the most: a few tenths of a
#: millisecond.
_SIP, _APPLIED = 1_000, 10
_SIP_SECONDS = 0.02
#: From so many messages of a topic on it is quicker to read them in columns.
_BLOCK = 200
#: How often what is popular is ordered anew, partitions are looked for, and a broker that is gone is tried again.
_RANK_SECONDS, _LOOK_SECONDS, _PAUSE_SECONDS = 1.0, 15.0, 1.0
#: Settling newcomers among titles rests so many times as long as it took: others want the processor, too.
_SETTLE_REST = 4.0

_CONFIG = {
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": "25",
    "fetch.queue.backoff.ms": "2",
    "group.id": "nextreel-serve",
    "enable.auto.commit": "false",
    # What Kafka has deleted is in the lake, and so in the model: the next one there is is where to go on.
    "auto.offset.reset": "earliest",
    # The last offset may be a transaction's marker, which is no message: only so one learns of having come past it.
    "enable.partition.eof": "true",
}

_Place = tuple[str, int]


class Follower(threading.Thread):
    """Follows the topics until it is stopped. Whatever becomes of the broker, it goes on once that is back."""

    def __init__(
        self,
        kafka: KafkaSettings,
        live: Live,
        offsets: Offsets,
        gently: bool = False,
        max_skew_seconds: float = MAX_CLOCK_SKEW_SECONDS,
    ):
        """Follow from ``offsets`` on; ``gently``, while another answers requests, resting as long as it works.

        ``max_skew_seconds`` is `contract.max_clock_skew_seconds`.
        """
        super().__init__(name="follower", daemon=True)
        self._gently = gently
        self._max_skew_seconds = max_skew_seconds
        self._kafka = kafka
        self._live = live
        self._types: dict[str, EventType] = {topic: kind for kind, topic in topics_by_type(kafka).items()}
        self._reached: dict[_Place, int] = {
            (topic, int(partition)): offset
            for topic, partitions in offsets.items()
            if topic in self._types
            for partition, offset in partitions.items()
        }
        self._stopping = threading.Event()
        self._caught_up = threading.Event()
        self._heard = Heard()
        self.rejected = 0
        self.applied = 0
        #: Why it does not get on at the moment; empty where it does.
        self.trouble = ""

    def run(self) -> None:
        """Follow; called by `start`."""
        while not self._stopping.is_set():
            try:
                self._follow()
            except (KafkaException, NextreelError) as error:
                self._tell(error.args[0].str() if isinstance(error, KafkaException) else str(error))
            except Exception as error:  # whatever it is, who follows no longer serves yesterday's answers
                _LOG.exception("following the topics failed; it begins anew")
                self._tell(repr(error))

    def _tell(self, trouble: str) -> None:
        if self.trouble != trouble:
            _LOG.warning("Kafka: %s", trouble)
        self.trouble = trouble
        self._stopping.wait(_PAUSE_SECONDS)

    def stop(self) -> None:
        """Follow no longer."""
        self._stopping.set()

    @property
    def is_ready(self) -> bool:
        """Whether all has been read that was there when it began."""
        return self._caught_up.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until it is ready; tell whether it is."""
        return self._caught_up.wait(seconds)

    def _follow(self) -> None:
        ends = self._ends()
        with closing(new_client(Consumer, _CONFIG | self._kafka.client_config, self._heard)) as consumer:
            consumer.assign(self._places(ends))
            looked = ranked = settled = time.monotonic()
            while not self._stopping.is_set():
                messages = consumer.consume(_SIP, timeout=_SIP_SECONDS)
                self._take(messages)
                if not self.is_ready and self._is_past(ends):
                    while self._live.settle():
                        pass
                    self._live.rank()
                    self._caught_up.set()
                now = time.monotonic()
                if now > settled and self.is_ready:
                    self._live.settle()
                    settled = time.monotonic() + _SETTLE_REST * (time.monotonic() - now)
                if now > ranked + _RANK_SECONDS and self.is_ready:
                    self._live.rank()
                    ranked = now
                if now > looked + _LOOK_SECONDS:
                    looked = now
                    known = {(topic, p) for topic, partitions in ends.items() for p in partitions}
                    ends = self._ends()
                    if {(topic, p) for topic, partitions in ends.items() for p in partitions} != known:
                        consumer.assign(self._places(ends))

    def _ends(self) -> Watermarks:
        return WatermarkReader(self._kafka.client_config).read(self._types)

    def _places(self, ends: Watermarks) -> list[TopicPartition]:
        """Return where to go on: where it was, or where Kafka begins. A topic made anew begins there, too."""
        found = []
        for topic, partitions in ends.items():
            for partition, (low, high) in partitions.items():
                reached = self._reached.get((topic, partition), low)
                reached = self._reached[topic, partition] = reached if low <= reached <= high else low
                found.append(TopicPartition(topic, partition, reached))
        return found

    def _is_past(self, ends: Watermarks) -> bool:
        return all(
            self._reached[topic, partition] >= high
            for topic, partitions in ends.items()
            for partition, (_, high) in partitions.items()
        )

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            if (error := message.error()) is not None:
                if error.code() == Refusal._PARTITION_EOF:
                    self._reached[message.topic(), message.partition()] = message.offset()
                elif not passes(error):
                    raise KafkaException(error)
                else:
                    self._heard(error)
        valid = [message for message in messages if message.error() is None]
        if valid:
            self.trouble = ""
        events = list(self._events(valid, datetime.now(UTC)))
        for begin in range(0, len(events), _APPLIED):
            began = time.monotonic()
            self._live.take(events[begin : begin + _APPLIED])
            if self._gently and not self.is_ready:
                time.sleep(time.monotonic() - began)
        self.applied += len(events)
        for message in valid:
            self._reached[message.topic(), message.partition()] = message.offset() + 1

    def _events(self, messages: Sequence[Message], read_at: datetime) -> Iterator[Event]:
        """Yield the events of messages that ingest accepts, too, where it reads them at that moment."""
        by_topic: dict[str, list[Message]] = {}
        for message in messages:
            by_topic.setdefault(message.topic(), []).append(message)
        for topic, own in by_topic.items():
            kafka_ms = np.array([message.timestamp()[1] for message in own], np.int64)
            latest = latest_event_times(kafka_ms, read_at, self._max_skew_seconds)
            judge = self._in_columns if len(own) >= _BLOCK else self._by_rows
            yield from judge(own, topic, latest)

    def _in_columns(self, messages: Sequence[Message], topic: str, latest: Micros) -> Iterator[Event]:
        kind, left = self._types[topic], dict(enumerate(messages))
        accepted = accept(pa.array([message.value() for message in messages], pa.binary()), kind, latest)
        if accepted is not None:
            columns = (accepted.columns[field.name].to_pylist() for field in fields_of(kind))
            for row, event in zip(accepted.rows.tolist(), zip(*columns, strict=True), strict=True):
                yield _event(kind, event, left.pop(row))
        yield from self._by_rows(list(left.values()), topic, latest[list(left)])

    def _by_rows(self, messages: Sequence[Message], topic: str, latest: Micros) -> Iterator[Event]:
        for message, last in zip(messages, map(moment_of, latest.tolist()), strict=True):
            try:
                kind, values, _ = read(message.value(), topic, self._types[topic], last)
            except Rejected:  # ingest has it in quarantine
                self.rejected += 1
                continue
            yield _event(kind, values, message)


def _event(kind: EventType, values: tuple[Any, ...], message: Message) -> Event:
    return Event(kind, values, order_of(message.timestamp()[1]), message.partition(), message.offset())
