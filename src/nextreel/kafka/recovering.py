"""A producer that is replaced when it can never send again: librdkafka keeps such a state for ever."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from nextreel.kafka.client import Heard, new_client

_LOG = logging.getLogger(__name__)

#: What all producers share; the settings of ``kafka.client`` win. Events are acknowledged by all in-sync replicas, and
#: a retry does not write them twice. The partition of a key is the one that Kafka's Java producer gives it.
PRODUCER_CONFIG = {"enable.idempotence": "true", "compression.type": "lz4", "partitioner": "murmur2_random"}

#: Errors of a delivery after which an idempotent producer does not succeed again: the broker does not know its id,
#: knows a newer epoch, or misses a message. librdkafka calls some of them fatal, and tries the others for ever.
_FOR_GOOD = {
    KafkaError._FATAL,
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.UNKNOWN_PRODUCER_ID,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
}

#: Least time between two replacements: a cluster that refuses every new producer is not asked in a loop.
_REPLACE_SECONDS = 1.0
_FLUSH_POLL_SECONDS = 0.1

Report = Callable[[KafkaError | None, Message], None]


class RecoveringProducer:
    """Produces messages and replaces its client after an error that lasts, such as a producer id that was fenced.

    Delivery reports pass their errors to `heed`. ``config`` are settings of librdkafka over `PRODUCER_CONFIG`. Raises
    `nextreel.errors.SettingsError` for settings that librdkafka refuses. `produce` may be called from one thread,
    `poll` and `flush` from another.
    """

    def __init__(self, config: Mapping[str, str], heard: Heard):
        self._config = PRODUCER_CONFIG | dict(config)
        self._heard = heard
        self._lock = threading.Lock()
        self._failed: Producer | None = None  # the client that has an error that lasts
        self._serving: Producer | None = None  # the client whose callbacks are being called
        self._replaced_at = float("-inf")
        self._before: list[Producer] = []  # replaced clients that still owe delivery reports
        self._producer = self._new()
        self.replacements = 0  #: Clients replaced so far.

    def __len__(self) -> int:
        """Return the number of messages and delivery reports that are outstanding."""
        return sum(len(producer) for producer in self._clients())

    def produce(self, topic: str, on_delivery: Report, **message: Any) -> None:
        """Enqueue one message; ``on_delivery`` is called by `poll` or `flush` with its error, if any.

        Raises `BufferError` if the queue is full and `KafkaException` for a message that is refused at once.
        """
        try:
            with self._lock:  # a client that is replaced meanwhile is forgotten once it owes nothing
                producer = self._producer
                producer.produce(topic, on_delivery=on_delivery, **message)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._FATAL or not self._recover(producer):
                raise
            with self._lock:
                self._producer.produce(topic, on_delivery=on_delivery, **message)

    def heed(self, error: KafkaError) -> None:
        """Take note of a delivery report's error; called by the report."""
        if error.code() in _FOR_GOOD:
            self._heard(error)
            self._failed = self._serving

    def poll(self, seconds: float) -> None:
        """Call the delivery reports that have come, waiting up to ``seconds`` for one."""
        *before, current = self._clients()
        for producer in before:
            self._serve(producer, producer.poll, 0.0)
        self._serve(current, current.poll, seconds)
        self._tidy()

    def flush(self, seconds: float) -> int:
        """Wait up to ``seconds`` for all delivery reports; return the number of messages that have none.

        By `poll`: librdkafka's own flush goes on with delivery reports while its binding raises a fatal error, and
        they fail by that.
        """
        deadline = time.monotonic() + seconds
        while len(self) > 0 and (left := deadline - time.monotonic()) > 0:
            self.poll(min(left, _FLUSH_POLL_SECONDS))
        return len(self)

    def replace(self) -> None:
        """Send the next messages with a new client. Messages of the old one still get their delivery reports."""
        with self._lock:
            client = self._new()  # the one in use stays where this fails
            self._before.append(self._producer)
            self._producer = client
            self._replaced_at = time.monotonic()
            self.replacements += 1

    def topic_error(self, topic: str, seconds: float) -> str:
        """Return why messages cannot reach a topic now, as far as its metadata says; empty if they can."""
        try:
            found = self._producer.list_topics(topic, timeout=seconds).topics[topic]
        except KafkaException as error:
            return str(error.args[0].str())
        if found.error is not None:
            return str(found.error.str())
        leaderless = sum(partition.leader < 0 for partition in found.partitions.values())
        return f"{leaderless} partitions of {topic!r} have no leader" if leaderless else ""

    def _new(self) -> Producer:
        return new_client(Producer, self._config, self._heard)

    def _clients(self) -> list[Producer]:
        """Return all clients, the one in use last."""
        with self._lock:
            return [*self._before, self._producer]

    def _serve(self, producer: Producer, call: Callable[[float], object], seconds: float) -> None:
        """Let a client call its callbacks: librdkafka's binding raises a fatal error from there."""
        self._serving = producer
        try:
            call(seconds)
        except KafkaException as error:
            self._heard(error.args[0])
            self._failed = producer
        if self._failed is producer:
            self._recover(producer)

    def _recover(self, failed: Producer) -> bool:
        """Replace a client that failed for good, unless that is done; tell whether another one is in use."""
        self._failed = failed
        if failed is not self._producer:
            return True
        if time.monotonic() < self._replaced_at + _REPLACE_SECONDS:
            return False
        _LOG.warning("Kafka: the producer failed for good and is replaced: %s", self._heard.last)
        self.replace()
        return True

    def _tidy(self) -> None:
        """Forget replaced clients that owe nothing."""
        with self._lock:
            self._before = [producer for producer in self._before if len(producer) > 0]
