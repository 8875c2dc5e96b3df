"""Events from requests to Kafka: each is waited for until Kafka has it."""

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from typing import Any

import orjson
from confluent_kafka import KafkaError as Refusal
from confluent_kafka import KafkaException, Message, Producer

from nextreel.errors import KafkaError
from nextreel.events.contract import EventType
from nextreel.kafka.client import Heard, new_client
from nextreel.kafka.topics import topics_by_type
from nextreel.settings import KafkaSettings

#: Acknowledged by all replicas, never doubled by a retry; somebody waits, so that nothing is gathered for long.
_CONFIG = {
    "enable.idempotence": "true",
    "compression.type": "lz4",
    "linger.ms": "2",
    "message.timeout.ms": "10000",
    "queue.buffering.max.messages": "10000",
}
_POLL_SECONDS = 0.1


class Writer:
    """Sends events. A thread of its own hears what became of them."""

    def __init__(self, kafka: KafkaSettings):
        self._topics = topics_by_type(kafka)
        self._heard = Heard()
        self._producer = new_client(Producer, _CONFIG | kafka.client_config, self._heard)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._hear, name="writer", daemon=True)
        self._thread.start()

    async def send(self, kind: EventType, event: Mapping[str, Any]) -> tuple[str, int, int]:
        """Send one event, and return its topic, partition and offset once Kafka has it. Raises `KafkaError`."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[str, int, int]] = loop.create_future()

        def report(error: Refusal | None, message: Message) -> None:
            with contextlib.suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(_answered, answer, error, message)

        said = {name: value for name, value in event.items() if value is not None}
        try:
            self._producer.produce(
                self._topics[kind], key=event["id"].encode(), value=orjson.dumps(said), on_delivery=report
            )
        except (BufferError, KafkaException) as error:
            told = error.args[0].str() if isinstance(error, KafkaException) else "too many events wait for Kafka"
            raise KafkaError(told) from None
        try:
            return await answer
        except KafkaException as error:
            raise KafkaError(self._heard.beside(error.args[0].str())) from None

    def close(self) -> None:
        """Wait for what is under way, for ten seconds at the most."""
        self._stopping.set()
        self._thread.join()
        self._producer.flush(10.0)

    def _hear(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(_POLL_SECONDS)


def _answered(answer: "asyncio.Future[tuple[str, int, int]]", error: Refusal | None, message: Message) -> None:
    if answer.done():  # whoever asked has gone
        return
    if error is not None:
        answer.set_exception(KafkaException(error))
    else:
        answer.set_result((message.topic(), message.partition(), message.offset()))
