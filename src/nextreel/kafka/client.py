"""What all clients of Kafka share here: how they are built, which of their errors pass, and what those say."""

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException

#: What librdkafka logs to standard error by itself is left out: its errors reach us as exceptions.
QUIET = {"log_level": 0}

#: A broker that comes back is to be found soon: librdkafka waits up to 10 s between two attempts.
_SOON = {"reconnect.backoff.max.ms": "1000"}

#: Errors of a connection that was cut, of a broker that starts and of a leader that moves: worth asking again.
_PASSING = {
    KafkaError._TRANSPORT,
    KafkaError._DESTROY_BROKER,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._SSL,
    KafkaError._NOENT,  # no leader is known
    KafkaError._WAIT_CACHE,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
}


class Heard:
    """What a client's error callback has heard last: why a request that timed out had no answer."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, error: KafkaError) -> None:
        """Take what librdkafka reports (it does so while its client is polled)."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # which follows what brought them down
            self._last = error.str()

    def beside(self, error: str) -> str:
        """Return an error with what was heard, where that says more."""
        return error if not self._last or self._last in error else f"{error} ({self._last})"


def client_config(config: Mapping[str, str], heard: Heard) -> dict[str, Any]:
    """Return what every librdkafka client is built from: the user's settings, quiet, errors to ``heard``."""
    return _SOON | dict(config) | QUIET | {"error_cb": heard}


def passes(error: KafkaError) -> bool:
    """Tell whether an error may be gone a moment later."""
    return error.code() in _PASSING or error.retriable()


def refused(bootstrap: str, error: KafkaException, heard: Heard) -> str:
    """Return what to say of a request that failed."""
    return f"Kafka at {bootstrap}: {heard.beside(error.args[0].str())}"
