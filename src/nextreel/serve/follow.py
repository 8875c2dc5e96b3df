"""The topics, followed from where a model left off: every valid message becomes part of a live state."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

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
from nextreel.kafka.topics import NO_ID, topics_by_type
from nextreel.kafka.unreadable import UNPACKING, first_readable, is_unreadable
from nextreel.kafka.watermarks import WatermarkReader, Watermarks
from nextreel.lake.ledger import Offsets
from nextreel.serve.live import Event, Live
from nextreel.serve.metrics import Metrics
from nextreel.serve.position import Place, Position
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
#: How often the ends of partitions are taken from what the consumer has fetched.
_LAG_SECONDS = 0.25
#: An event that cannot be applied is tried this often. Before the last time there is a pause, in which a passing cause
#: may go; pauses are this far apart, since a thousand such events must not hold up all others.
_TRIES, _TRY_SECONDS, _TRIES_APART_SECONDS = 3, 0.05, 1.0

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
} | UNPACKING

_Result = TypeVar("_Result")


class Follower(threading.Thread):
    """Follows the topics until it is stopped. Whatever becomes of the broker, it goes on once that is back."""

    def __init__(
        self,
        kafka: KafkaSettings,
        live: Live,
        offsets: Offsets,
        gently: bool = False,
        max_skew_seconds: float = MAX_CLOCK_SKEW_SECONDS,
        *,
        topic_ids: Mapping[str, str] | None = None,
        metrics: Metrics | None = None,
    ):
        """Follow from ``offsets`` on, which are of the topics with ``topic_ids``, by name, where these are known.

        ``gently`` rests as long as it works: another follower's state answers requests. ``max_skew_seconds`` is
        `contract.max_clock_skew_seconds`.
        """
        super().__init__(name="follower", daemon=True)
        #: Seconds to rest for each that it works.
        self.rest = 1.0 if gently else 0.0
        self._max_skew_seconds = max_skew_seconds
        self._kafka = kafka
        self._live = live
        self._metrics = metrics or Metrics()
        self._types: dict[str, EventType] = {topic: kind for kind, topic in topics_by_type(kafka).items()}
        self._topics = topics_by_type(kafka)
        self._topic_ids = dict(topic_ids or {})
        self.position = Position(
            {
                (topic, int(partition)): offset
                for topic, partitions in offsets.items()
                if topic in self._types
                for partition, offset in partitions.items()
            }
        )
        self._stopping = threading.Event()
        self._finishing = threading.Event()
        self._caught_up = threading.Event()
        self._heard = Heard()
        self._reader: WatermarkReader | None = None
        self._last_pause = -_TRIES_APART_SECONDS
        self._logged: set[tuple[str, type[Exception]]] = set()
        self.rejected = 0
        self.applied = 0
        #: Messages that could not be read or applied, and were left out.
        self.skipped = 0
        #: Why it does not get on at the moment; empty where it does.
        self.trouble = ""

    def run(self) -> None:
        """Follow; called by `start`."""
        while not self._stopping.is_set():
            try:
                self._follow()
            except (KafkaException, NextreelError) as error:
                self._reader = None
                self.position.lose()
                self._tell(error.args[0].str() if isinstance(error, KafkaException) else str(error))
            except Exception as error:  # whatever it is, who follows no longer serves yesterday's answers
                self._reader = None
                self._failed("follow", error)
                self._tell(repr(error))

    def _tell(self, trouble: str) -> None:
        if self.trouble != trouble:
            _LOG.warning("Kafka: %s", trouble)
        self.trouble = trouble
        self._stopping.wait(_PAUSE_SECONDS)

    def stop(self) -> None:
        """Follow no longer."""
        self._stopping.set()

    def finish(self) -> None:
        """Be ready as soon as what was applied so far is settled, although more has come meanwhile."""
        self._finishing.set()

    @property
    def is_ready(self) -> bool:
        """Whether all has been read that was there when it began, or it was to finish."""
        return self._caught_up.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until it is ready; tell whether it is."""
        return self._caught_up.wait(seconds)

    def _follow(self) -> None:
        """Follow with one consumer, until it is stopped or the consumer is to be replaced.

        Raises `KafkaException` and `NextreelError` where Kafka does not answer, or the consumer has failed for good.
        """
        ends = self._ends()
        self.trouble = ""
        with closing(new_client(Consumer, _CONFIG | self._kafka.client_config, self._heard)) as consumer:
            consumer.assign(self._places(ends))
            looked = ranked = settled = measured = time.monotonic()
            reached_then = self.position.reached
            while not self._stopping.is_set():
                unreadable = self._take(consumer.consume(_SIP, timeout=_SIP_SECONDS))
                if unreadable:
                    for place, error in unreadable.items():
                        self._pass_over(place, error)
                    return
                if not self.is_ready and (self._finishing.is_set() or self.position.is_past(ends)):
                    self._get_ready()
                now = time.monotonic()
                if now > measured + _LAG_SECONDS:
                    self.position.look(self._high_watermarks(consumer))
                    measured = now
                if now > settled and self.is_ready:
                    self._settle()
                    settled = time.monotonic() + _SETTLE_REST * (time.monotonic() - now)
                if now > ranked + _RANK_SECONDS and self.is_ready:
                    self._rank()
                    ranked = now
                if now > looked + _LOOK_SECONDS:
                    looked = now
                    new_ends = self._look(consumer, reached_then)
                    if new_ends is None:
                        return
                    ends, reached_then = new_ends, self.position.reached

    def _look(self, consumer: Consumer, reached_then: dict[Place, int]) -> Watermarks | None:
        """Return the ends of the topics, after what is new there is assigned; None if the consumer is to be replaced.

        It is where a topic was made again, or where nothing has come since ``reached_then`` although there is more.
        """
        highs, known, topic_ids = self._high_watermarks(consumer), set(self.position.places), self._topic_ids
        ends = self._ends()
        if self._topic_ids != topic_ids:
            return None
        if {(topic, partition) for topic, partitions in ends.items() for partition in partitions} != known:
            consumer.assign(self._places(ends))
        elif self.position.reached == reached_then and not self.position.is_past(ends):
            _LOG.warning("nothing came for %.0f s although there is more to read: a new consumer", _LOOK_SECONDS)
            return None
        self.position.correct(ends, highs)
        return ends

    def _get_ready(self) -> None:
        while self._settle():
            pass
        self._rank()
        self._caught_up.set()

    def _ends(self) -> Watermarks:
        """Return the ends of what can be read, and leave offsets that are of other topics than those of now."""
        if self._reader is None:
            self._reader = WatermarkReader(self._kafka.client_config)
        ends = self._reader.read(self._types)
        ids = {topic: found for topic, found in self._reader.topic_ids.items() if found not in ("", NO_ID)}
        if others := [topic for topic, found in ids.items() if self._topic_ids.get(topic, found) != found]:
            _LOG.warning("%s: made again since the offsets known were reached; read from the beginning", others)
            self.position.forget(others)
        self._topic_ids = self._topic_ids | ids
        return ends

    def _places(self, ends: Watermarks) -> list[TopicPartition]:
        return [TopicPartition(*place, offset) for place, offset in self.position.start(ends).items()]

    def _high_watermarks(self, consumer: Consumer) -> dict[Place, int]:
        """Return the high watermarks that came with the last fetches: Kafka is not asked for them."""
        return {
            place: consumer.get_watermark_offsets(TopicPartition(*place), cached=True)[1]
            for place in self.position.places
        }

    def _settle(self) -> bool:
        try:
            return self._live.settle()
        except Exception as error:  # what it was about stays as it was, and events are followed all the same
            self._failed("settle", error)
            return False

    def _rank(self) -> None:
        try:
            self._live.rank()
        except Exception as error:  # the order stays as it was
            self._failed("rank", error)

    def _failed(self, step: str, error: Exception) -> None:
        self._metrics.follow_failures.labels(step).inc()
        _LOG.error("following the topics failed to %s: %r", step, error, exc_info=self._is_new(step, error))

    def _is_new(self, step: str, error: Exception) -> bool:
        """Tell whether such a failure has not been logged yet: its traceback is logged once."""
        kind = (step, type(error))
        is_new = kind not in self._logged
        self._logged.add(kind)
        return is_new

    def _take(self, messages: Sequence[Message]) -> dict[Place, Message]:
        """Apply messages up to the first batch of each partition that cannot be read; return the errors of these.

        Raises `KafkaException` for any other error that does not pass.
        """
        unreadable: dict[Place, Message] = {}
        readable: list[Message] = []
        for message in messages:
            place, error = (message.topic(), message.partition()), message.error()
            if place in unreadable:
                continue  # read again once the batch before it is passed over
            if error is not None and is_unreadable(error):
                unreadable[place] = message
                continue
            if error is not None and error.code() != Refusal._PARTITION_EOF:
                if error.fatal() or not passes(error):
                    raise KafkaException(error)
                self._heard(error)
            readable.append(message)
        self._take_readable(readable)
        return unreadable

    def _take_readable(self, messages: Sequence[Message]) -> None:
        """Apply messages, and advance to behind them and to the ends that were reached."""
        valid = [message for message in messages if message.error() is None]
        if valid:
            self.trouble = ""
        events = self._read(valid)
        for begin in range(0, len(events), _APPLIED):
            began = time.monotonic()
            self._apply(events[begin : begin + _APPLIED])
            if self.rest and not self._stopping.is_set():
                time.sleep(self.rest * (time.monotonic() - began))
        self.applied += len(events)
        for message in messages:
            place = message.topic(), message.partition()
            if (error := message.error()) is None:
                self.position.advance(place, message.offset() + 1, message.timestamp()[1])
            elif error.code() == Refusal._PARTITION_EOF:
                self.position.advance(place, message.offset())

    def _pass_over(self, place: Place, message: Message) -> None:
        """Advance behind the batch that ``message`` reports as unreadable; count and log its messages.

        Raises `NextreelError` where Kafka does not answer.
        """
        begin = max(self.position.reached.get(place, 0), message.offset())
        end = first_readable(self._kafka.client_config, *place, begin)
        if end == begin:
            return
        self.position.advance(place, end)
        self.skipped += end - begin
        self._metrics.skipped.labels(place[0]).inc(end - begin)
        text = "%s partition %d: the messages at offsets %d to %d cannot be read and are left out: %s"
        _LOG.error(text, *place, begin, end - 1, message.error().str())

    def _read(self, messages: Sequence[Message]) -> list[Event]:
        """Return the events of valid messages; where one cannot even be read, it costs itself alone."""
        rejected, read_at = self.rejected, datetime.now(UTC)
        try:
            return list(self._events(messages, read_at))
        except Exception:  # tried again one by one
            self.rejected = rejected
        events: list[Event] = []
        for message in messages:
            place = message.topic(), message.partition(), message.offset()
            events += self._tried(partial(self._event_of, message, read_at), *place) or []
        return events

    def _event_of(self, message: Message, read_at: datetime) -> list[Event]:
        return list(self._events([message], read_at))

    def _apply(self, events: Sequence[Event]) -> None:
        """Apply events; where that raises, each by itself, so that one that cannot be applied costs itself alone.

        Those that were applied before it come twice then, which changes nothing.
        """
        try:
            self._live.take(events)
        except Exception:  # tried again one by one
            for event in events:
                place = self._topics[event.type], event.partition, event.offset
                self._tried(partial(self._live.take, [event]), *place)

    def _tried(self, act: Callable[[], _Result], topic: str, partition: int, offset: int) -> _Result | None:
        """Try something with one message again; if it keeps raising, count and log the message and return None."""
        for n in range(1, _TRIES + 1):
            try:
                return act()
            except Exception as error:
                if n == _TRIES:
                    self._skip(topic, partition, offset, error)
                elif n == _TRIES - 1 and time.monotonic() > self._last_pause + _TRIES_APART_SECONDS:
                    self._stopping.wait(_TRY_SECONDS)
                    self._last_pause = time.monotonic()
        return None

    def _skip(self, topic: str, partition: int, offset: int, error: Exception) -> None:
        self.skipped += 1
        self._metrics.skipped.labels(topic).inc()
        text = "the message of %s partition %d offset %d cannot be applied and is left out: %r"
        _LOG.error(text, topic, partition, offset, error, exc_info=self._is_new("apply", error))

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
