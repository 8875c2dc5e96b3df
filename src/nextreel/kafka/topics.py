"""The four topics: which event type goes where."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from nextreel import errors
from nextreel.events.contract import EVENT_TYPES, EventType
from nextreel.kafka.client import Heard, new_client, passes, refused
from nextreel.settings import KafkaSettings

_SECONDS = 10.0
_POLL_SECONDS = 0.02

#: What brokers answer that give topics no ids: zero.
NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"


def topics_by_type(kafka: KafkaSettings) -> dict[EventType, str]:
    """Return the topic of each event type."""
    return dict(zip(EVENT_TYPES, kafka.topics, strict=True))


def create_topics(kafka: KafkaSettings) -> dict[str, bool]:
    """Create the four topics with the partitions that the settings say; a topic that exists stays as it is.

    Returns for each topic whether it was created now. Raises `errors.KafkaError` where the broker refuses.
    """
    wanted = [NewTopic(t, kafka.partitions, kafka.replication) for t in topics_by_type(kafka).values()]
    created = {}
    with _admin(kafka.client_config) as admin:
        for topic, future in admin.create_topics(wanted, request_timeout=_SECONDS).items():
            try:
                future.result()  # a request ends after its time, with an error of its own
                created[topic] = True
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
                created[topic] = False
        _wait_until_known(admin, [topic for topic, is_new in created.items() if is_new])
    return created


def _wait_until_known(admin: AdminClient, topics: list[str]) -> None:
    """Wait until brokers know new topics and their leaders: Kafka's controller answers before they do.

    Raises `KafkaException` if they do not within the time of a request.
    """
    deadline = time.monotonic() + _SECONDS
    while topics:
        asked = admin.describe_topics(TopicCollection(topics), request_timeout=_SECONDS)
        try:
            described = [future.result() for future in asked.values()]
            is_led = all(each.partitions and all(p.leader for p in each.partitions) for each in described)
            if is_led or time.monotonic() >= deadline:
                return
        except KafkaException as error:
            if not passes(error.args[0]) or time.monotonic() >= deadline:
                raise
        time.sleep(_POLL_SECONDS)


def topic_ids(config: Mapping[str, str], topics: Iterable[str]) -> dict[str, str]:
    """Return the id of each topic, which is another one where a topic of the same name was made anew.

    ``config`` is a `KafkaSettings.client_config`. The id is empty where the broker gives none (Kafka before 2.8).
    Raises `errors.KafkaError` for a broker that does not answer and for a topic that does not exist.
    """
    wanted = list(dict.fromkeys(topics))
    ids = {}
    with _admin(config) as admin:
        asked = admin.describe_topics(TopicCollection(wanted), request_timeout=_SECONDS) if wanted else {}
        for topic, future in asked.items():
            try:
                ids[topic] = str(future.result().topic_id)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                raise missing(topic, error.args[0]) from None
    return {topic: "" if found == NO_ID else found for topic, found in ids.items()}


def cluster_id(config: Mapping[str, str]) -> str:
    """Return the id of the Kafka cluster, empty where it has none. ``config`` is a `KafkaSettings.client_config`.

    Raises `errors.KafkaError` for a broker that does not answer.
    """
    with _admin(config) as admin:
        return str(admin.cluster_id(timeout=_SECONDS) or "")


def missing(topic: str, error: KafkaError) -> errors.KafkaError:
    """Return the error for a topic that does not exist."""
    return errors.KafkaError(f"topic {topic!r}: {error.str()}. `nextreel topics` creates the topics.")


def unreachable(bootstrap: str, error: KafkaException, heard: Heard) -> errors.KafkaError:
    """Return the error for a broker that refuses or does not answer."""
    return errors.KafkaError(
        f"{refused(bootstrap, error, heard)}. "
        "Is it there? `nextreel broker` starts one; NEXTREEL_KAFKA_BOOTSTRAP points at yours."
    )


@contextmanager
def _admin(config: Mapping[str, str]) -> Iterator[AdminClient]:
    """Build an admin client; where it fails, say all that it has to say."""
    heard, admin = Heard(), None
    try:
        admin = new_client(AdminClient, config, heard)
        yield admin
    except KafkaException as error:
        if admin is not None:
            admin.poll(0)
        raise unreachable(config.get("bootstrap.servers", ""), error, heard) from None
