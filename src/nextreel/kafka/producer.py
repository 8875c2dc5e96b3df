"""The producer of commands: it sends events to topics, paced, and accounts for every message."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from confluent_kafka import KafkaError, KafkaException, Message

from nextreel import errors
from nextreel.events.contract import KEY_FIELD
from nextreel.events.encode import encode
from nextreel.kafka.client import Heard, with_right
from nextreel.kafka.recovering import RecoveringProducer
from nextreel.kafka.topics import topics_by_type, unreachable
from nextreel.settings import KafkaSettings

_FLUSH_SECONDS = 30.0

#: Waiting 50 ms for more to send together costs a reader 25 ms and saves a broker that has a core to itself at most:
#: it works by batch, not by message.
_CONFIG = {"linger.ms": "50", "queue.buffering.max.messages": "200000"}


@dataclass
class Delivery:
    """What became of the messages of one producer, counted by its delivery reports."""

    sent: int = 0
    bytes: int = 0
    delivered: int = 0
    failed: int = 0
    last_error: str = ""

    @property
    def unknown(self) -> int:
        """Messages sent for which no report has come."""
        return self.sent - self.delivered - self.failed


class EventProducer:
    """Sends encoded events, at most ``bytes_per_second`` of JSON a second (None: as fast as Kafka takes them).

    After a fatal error of the client it goes on with another one; messages that were lost with it count as failed.
    """

    def __init__(self, kafka: KafkaSettings, bytes_per_second: float | None = None):
        self.delivery = Delivery()
        self._kafka = kafka
        self._rate = bytes_per_second
        self._began = time.monotonic()
        self._key_fields = {topic: KEY_FIELD[event_type] for event_type, topic in topics_by_type(kafka).items()}
        self._heard = Heard()
        try:
            self._producer = RecoveringProducer(_CONFIG | kafka.client_config, self._heard)
        except KafkaException as error:
            raise unreachable(kafka.bootstrap, error, self._heard) from None

    def send(self, topic: str, batch: pa.RecordBatch) -> None:
        """Send one event a row of ``batch`` (contract's schema), with the contract's key: an interaction's is its user.

        Events for a topic that is none of the settings' have their ``id`` as the key.
        """
        keys = batch.column(self._key_fields.get(topic, "id")).to_pylist()
        self.send_raw(topic, zip(keys, encode(batch).to_pylist(), strict=True))

    def send_raw(self, topic: str, messages: Iterable[tuple[str | bytes | None, bytes]]) -> None:
        """Send keys and values as they are, waiting where the queue is full or the rate is reached."""
        for key, value in messages:
            self._send(topic, self._report, key=key, value=value)
        self._producer.poll(0)
        self._pace()

    def send_whole(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
        delivered: Callable[[], None],
    ) -> None:
        """Send one message with its headers; ``delivered`` is called when Kafka has acknowledged it."""

        def report(error: KafkaError | None, message: Message | None = None) -> None:
            self._report(error, message)
            if error is None:
                delivered()

        self._send(topic, report, key=key, value=value, headers=headers)

    def _send(self, topic: str, report: Callable[..., None], **message: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, report, **message)
                break
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:  # refused before it was sent: larger than message.max.bytes
                report(error.args[0])
                break
        self.delivery.sent += 1
        self.delivery.bytes += len(message["value"] or b"")
        if self.delivery.sent % 500 == 0:
            self._producer.poll(0)
            self._pace()

    def _pace(self) -> None:
        if self._rate is None:
            return
        ahead = self.delivery.bytes / self._rate - (time.monotonic() - self._began)
        while ahead > 0:  # in slices, so that Ctrl-C and delivery reports are not kept waiting
            self._producer.poll(min(ahead, 0.1))
            ahead = self.delivery.bytes / self._rate - (time.monotonic() - self._began)

    def _report(self, error: KafkaError | None, _message: Message | None = None) -> None:
        if error is None:
            self.delivery.delivered += 1
        else:
            self.delivery.failed += 1
            self.delivery.last_error = with_right(error)
            self._producer.heed(error)

    def wait(self) -> Delivery:
        """Wait for the delivery reports of all that was sent, for as long as any come: 30 s without one are enough."""
        before = self.delivery.unknown + 1
        while 0 < self.delivery.unknown < before:
            before = self.delivery.unknown
            self._producer.flush(_FLUSH_SECONDS)
        return self.delivery

    def flush(self) -> Delivery:
        """Wait until every message has its delivery report.

        Raises `errors.KafkaError` where some could not be delivered, with their number.
        """
        self.wait()
        if self.delivery.failed or self.delivery.unknown > 0:  # below 0: Ctrl-C came before the last was counted
            why = self._heard.beside(self.delivery.last_error)
            raise errors.KafkaError(
                f"of {self.delivery.sent:,} messages for Kafka at {self._kafka.bootstrap}, "
                f"{self.delivery.failed:,} failed and {self.delivery.unknown:,} have no report"
                f"{': ' + why.strip() if why else ''}"
            )
        return self.delivery


def produce(
    producer: EventProducer,
    topic: str,
    batches: Iterable[pa.RecordBatch],
    progress: Callable[[Delivery], None] = lambda _: None,
) -> Delivery:
    """Send all ``batches`` and wait for the last report; Ctrl-C ends it early, with what was sent delivered."""
    try:
        for batch in batches:
            producer.send(topic, batch)
            progress(producer.delivery)
    except KeyboardInterrupt:
        pass
    return producer.flush()
