"""What all clients of Kafka share here: how they are built, which of their errors pass, and what those say."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from nextreel.errors import SettingsError

Client = TypeVar("Client")

#: What librdkafka logs to standard error by itself is left out: its errors reach us as exceptions.
QUIET = {"log_level": 0}

#: What a client raises that is given a setting that it does not take: some come from librdkafka's binding alone.
_UNTAKEN = (KafkaException, TypeError, ValueError, AttributeError)
#: Where librdkafka repeats a value.
_REPEATED = re.compile(r'(?<=value) (".*"|\S+)(?= (for configuration|is outside))', re.DOTALL)

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
    # Consumers here have no group, only the name of one that librdkafka asks for: they read on without the right to it.
    KafkaError.GROUP_AUTHORIZATION_FAILED,
}


#: Settings whose values are named in errors: what is wrong with them is their name.
_PUBLIC = {"security.protocol", "sasl.mechanism", "sasl.mechanisms"}


class Heard:
    """What a client's error callback has heard last: why a request that timed out had no answer."""

    def __init__(self) -> None:
        self.last = ""  #: The last error, in librdkafka's words.
        self.last_at = float("-inf")  #: When it came, by the monotonic clock.

    def __call__(self, error: KafkaError) -> None:
        """Take what librdkafka reports (it does so while its client is polled)."""
        self.last_at = time.monotonic()
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # which follows what brought them down
            is_cluster = error.code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED
            self.last = with_right(error) if is_cluster else error.str()

    def beside(self, error: str) -> str:
        """Return an error with what was heard, where that says more."""
        return error if not self.last or self.last in error else f"{error} ({self.last})"


def new_client(kind: Callable[[dict[str, Any]], Client], config: Mapping[str, str], heard: Heard) -> Client:
    """Return a client of librdkafka, quiet, with errors to ``heard``.

    Raises `SettingsError` where it does not take what it is given, and says so without the values, which may be secret.
    """
    _check_text(config)
    try:
        return kind(_SOON | dict(config) | QUIET | {"error_cb": heard})
    except _UNTAKEN as error:
        if not _is_untaken(error):
            raise
        told = _told(error)
        # A client that cannot be made may miss a setting: then what is there is not at fault by itself.
        blamed = {} if "Failed to create" in told else config
        wrong = (name for name, value in blamed.items() if told == _refusal(kind, {name: value}))
        where = _key(next(wrong, None))
        hidden = [value for name, value in config.items() if name not in _PUBLIC]
        raise SettingsError(
            f"{where}: {_without(hidden, told)} (so says librdkafka; its CONFIGURATION.md lists its settings)"
        ) from None


def _check_text(config: Mapping[str, str]) -> None:
    """Raise `SettingsError` for what is not UTF-8: librdkafka's binding crashes at it."""
    for name, value in config.items():
        try:
            f"{name}{value}".encode()
        except UnicodeEncodeError:
            raise SettingsError(f"{_key(ascii(name)[1:-1])} is not UTF-8") from None


def _is_untaken(error: Exception) -> bool:
    return not isinstance(error, KafkaException) or error.args[0].code() == KafkaError._INVALID_ARG


def _refusal(kind: Callable[[dict[str, Any]], Any], setting: dict[str, str]) -> str:
    """Return what a client says that is given this one setting; "" where it takes it."""
    try:
        kind({"group.id": "nextreel"} | setting | QUIET)
    except _UNTAKEN as error:
        return _told(error)
    return ""


def _told(error: Exception) -> str:
    return (error.args[0].str() if isinstance(error, KafkaException) else str(error)).strip()


def _key(name: str | None) -> str:
    """Return the setting of nextreel that a client's setting comes from."""
    if name is None:
        return "kafka.client"
    return "kafka.bootstrap" if name == "bootstrap.servers" else f"kafka.client.{name}"


def _without(values: Iterable[str], text: str) -> str:
    """Return librdkafka's text without the values that were given to it."""
    text = _REPEATED.sub("", text)
    for value in sorted(set(values) - {"", "true", "false"}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.-]){re.escape(value)}(?![\w.-])", "…", text)
    return text


def passes(error: KafkaError) -> bool:
    """Tell whether an error may be gone a moment later."""
    return error.code() in _PASSING or error.retriable()


def refused(bootstrap: str, error: KafkaException, heard: Heard, rights: str = "Read and Describe") -> str:
    """Return what to say of a request that failed. ``rights`` are those that it needs on a topic."""
    return f"Kafka at {bootstrap}: {heard.beside(with_right(error.args[0], rights))}"


def with_right(error: KafkaError, rights: str = "Write and Describe") -> str:
    """Return an error's text; where the cluster's ACLs refuse, with the right that this client's user needs.

    ``rights`` are those that the request needs on a topic.
    """
    text: str = error.str()
    needed = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED: f"{rights} on the topic",
        KafkaError.GROUP_AUTHORIZATION_FAILED: "Read on the group",
        # What an idempotent producer hears whose user may not write to any topic.
        KafkaError.CLUSTER_AUTHORIZATION_FAILED: "Write on the topic (before Kafka 2.8 also IdempotentWrite on the "
        "cluster; kafka.client.enable.idempotence = false does without it)",
    }.get(error.code())
    return f"{text}; this client's user needs the right {needed}" if needed else text
