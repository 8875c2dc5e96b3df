"""Events from requests to Kafka: each is waited for until Kafka has it, or its time is over.

A message whose time is over stays in the client's queue for a minute: withdrawing it would make librdkafka's idempotent
producer begin a new epoch, in which it sends again what may have been written. So an event that was not acknowledged
in time may still be written, and the answer says so.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import orjson
from confluent_kafka import KafkaError as Refusal
from confluent_kafka import KafkaException, Message

from nextreel.errors import WriteError
from nextreel.events.contract import KEY_FIELD, EventType
from nextreel.kafka.client import Heard, with_right
from nextreel.kafka.recovering import RecoveringProducer
from nextreel.kafka.topics import topics_by_type
from nextreel.serve.metrics import Metrics
from nextreel.settings import KafkaSettings, ServeSettings

_LOG = logging.getLogger(__name__)

#: A broker that does not answer within the socket's time is asked over a new connection, and the partitions' leaders
#: are looked up again. It answers that a replica is slow (the request's time) before that. Retries are not written
#: twice. Somebody waits: nothing is gathered for long.
_CONFIG = {
    "linger.ms": "2",
    "message.timeout.ms": "60000",
    "request.timeout.ms": "3000",
    "socket.timeout.ms": "4000",
    "socket.connection.setup.timeout.ms": "4000",
    "reconnect.backoff.ms": "50",
    "retry.backoff.ms": "50",
    "retry.backoff.max.ms": "500",
    "topic.metadata.refresh.interval.ms": "10000",
    "topic.metadata.propagation.max.ms": "5000",
    "queue.buffering.max.messages": "10000",
}
_POLL_SECONDS = 0.1
#: How long a probe of the topics may take, and the pause between two.
_PROBE_SECONDS = 1.0
#: A client that has not written for this long while writes fail is replaced.
_STUCK_SECONDS = 30.0
_CLOSE_SECONDS = 10.0

#: Errors by which a broker, or the client itself, refuses a message before it is in any log. A time-out is none of
#: them: librdkafka's binding does not say whether the message was sent.
_REFUSALS = {
    Refusal._UNKNOWN_TOPIC,
    Refusal._UNKNOWN_PARTITION,
    Refusal.MSG_SIZE_TOO_LARGE,
    Refusal.UNKNOWN_TOPIC_OR_PART,
    Refusal.TOPIC_AUTHORIZATION_FAILED,
    Refusal.CLUSTER_AUTHORIZATION_FAILED,
    Refusal.INVALID_RECORD,
    Refusal.POLICY_VIOLATION,
}


class Writer:
    """Writes events. A thread of its own hears what became of them.

    At most ``serve.max_outstanding_writes`` wait for Kafka at a time; an event beyond that is refused at once.
    """

    def __init__(self, kafka: KafkaSettings, serve: ServeSettings, metrics: Metrics):
        self._topics = topics_by_type(kafka)
        self._most = serve.max_outstanding_writes
        self._patience = serve.write_timeout_seconds
        self._metrics = metrics
        self._outstanding = 0
        self._failure = ""
        self._failed_topic = ""
        self._needs_write = False  # only a write can show that the failure is over
        self._failing_since = 0.0  # the first failure after a good write, or the client's replacement; 0: no failure
        self._probed_at = float("-inf")
        self._heard = Heard()
        self._producer = RecoveringProducer(_CONFIG | kafka.client_config, self._heard)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._hear, name="writer", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str:
        """Why writes fail at the moment; empty if they do not."""
        return self._failure

    async def send(self, kind: EventType, event: Mapping[str, Any]) -> tuple[str, int, int]:
        """Write one event; return its topic, partition and offset once Kafka has it.

        Raises `WriteError`, which says whether the event may have been written.
        """
        if self._outstanding >= self._most:
            self._metrics.writes.labels("not_written").inc()
            raise WriteError(f"{self._outstanding} writes wait for Kafka", event["id"], may_be_written=False)
        self._outstanding += 1
        self._metrics.writes_outstanding.set(self._outstanding)
        try:
            place = await self._acknowledged(kind, event)
        except WriteError as error:
            self._metrics.writes.labels("unknown" if error.may_be_written else "not_written").inc()
            raise
        else:
            self._metrics.writes.labels("acknowledged").inc()
            return place
        finally:
            self._outstanding -= 1
            self._metrics.writes_outstanding.set(self._outstanding)

    async def _acknowledged(self, kind: EventType, event: Mapping[str, Any]) -> tuple[str, int, int]:
        loop, sent_at, topic = asyncio.get_running_loop(), time.monotonic(), self._topics[kind]
        answer: asyncio.Future[tuple[str, int, int]] = loop.create_future()

        def report(error: Refusal | None, message: Message) -> None:
            failure = None if error is None else self._failed(error, topic, event["id"], sent_at)
            if failure is None:
                self._failing_since = 0.0
                self._is_good()
            with contextlib.suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(_answered, answer, failure, message)

        said = {name: value for name, value in event.items() if value is not None}
        try:
            self._producer.produce(topic, report, key=event[KEY_FIELD[kind]].encode(), value=orjson.dumps(said))
        except (BufferError, KafkaException) as error:
            reason = with_right(error.args[0]) if isinstance(error, KafkaException) else "its queue is full"
            self._fails(topic, reason, needs_write=isinstance(error, KafkaException))
            raise WriteError(reason, event["id"], may_be_written=False) from None
        try:
            return await asyncio.wait_for(answer, self._patience)
        except TimeoutError:
            reason = self._heard.beside(f"no acknowledgement within {self._patience:g} s")
            self._fails(topic, reason, needs_write=False)
            raise WriteError(reason, event["id"], may_be_written=True) from None

    def close(self) -> None:
        """Wait for the messages under way, for ten seconds at most."""
        self._stopping.set()
        self._thread.join()
        self._producer.flush(_CLOSE_SECONDS)

    def _hear(self) -> None:
        replacements = 0
        while not self._stopping.is_set():
            try:
                self._producer.poll(_POLL_SECONDS)
                if self._failure:
                    self._look_after()
            except Exception:  # a client that cannot be built now, as without its key file, may be built later
                _LOG.exception("Kafka: the producer could not be looked after")
                self._stopping.wait(_PROBE_SECONDS)
            self._metrics.producer_replacements.inc(self._producer.replacements - replacements)
            replacements = self._producer.replacements

    def _look_after(self) -> None:
        """Find out whether writes would be good again, though nobody writes; replace a client that is stuck."""
        now = time.monotonic()
        if now > (self._failing_since or now) + _STUCK_SECONDS:
            self._failing_since = now
            self._producer.replace()
        if self._needs_write or len(self._producer) > 0 or now < self._probed_at + _PROBE_SECONDS:
            return
        if not self._producer.topic_error(self._failed_topic, _PROBE_SECONDS):
            self._is_good()
        self._probed_at = time.monotonic()

    def _failed(self, error: Refusal, topic: str, event_id: str, sent_at: float) -> WriteError:
        """Return the error of a message that was not acknowledged: it was sent if a broker was lost meanwhile."""
        is_refusal = error.code() in _REFUSALS and self._heard.last_at < sent_at
        reason = self._heard.beside(with_right(error))
        self._fails(topic, reason, needs_write=error.code() > 0)  # a broker's word; the client's own are below 0
        self._producer.heed(error)
        return WriteError(reason, event_id, may_be_written=not is_refusal)

    def _fails(self, topic: str, reason: str, needs_write: bool) -> None:
        self._failing_since = self._failing_since or time.monotonic()
        if not self._failure:
            _LOG.warning("Kafka: writes to %s fail: %s", topic, reason)
        self._failure, self._failed_topic, self._needs_write = reason, topic, needs_write
        self._metrics.writes_failing.set(1)

    def _is_good(self) -> None:
        if self._failure:
            _LOG.warning("Kafka: writes are good again")
        self._failure = ""
        self._metrics.writes_failing.set(0)


def _answered(answer: "asyncio.Future[tuple[str, int, int]]", failure: WriteError | None, message: Message) -> None:
    if answer.done():  # nobody waits any more
        return
    if failure is not None:
        answer.set_exception(failure)
    else:
        answer.set_result((message.topic(), message.partition(), message.offset()))
