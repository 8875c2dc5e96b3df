"""The four topics: which event type goes where."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from nextreel import errors
from nextreel.events.contract import EVENT_TYPES, EventType
from nextreel.kafka.client import Heard, new_client, passes, refused
from nextreel.settings import KafkaSettings

_SECONDS = 10.0
_POLL_SECONDS = 0.02

#: What to change where the cluster cannot create a topic as the settings say.
_UNFIT = {
    KafkaError.INVALID_REPLICATION_FACTOR: "Set kafka.replication to the number of brokers at most.",
    KafkaError.INVALID_PARTITIONS: "Set kafka.partitions to a number that the cluster allows.",
    KafkaError.INVALID_CONFIG: "Set kafka.min_insync_replicas to a number that the cluster allows.",
    KafkaError.POLICY_VIOLATION: "Set kafka.partitions, kafka.replication and kafka.min_insync_replicas as its policy "
    "asks.",
}

#: What brokers answer that give topics no ids: zero.
NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"


def topics_by_type(kafka: KafkaSettings) -> dict[EventType, str]:
    """Return the topic of each event type."""
    return dict(zip(EVENT_TYPES, kafka.topics, strict=True))


def create_topics(kafka: KafkaSettings) -> dict[str, bool]:
    """Create those of the four topics that are missing, as the settings say; a topic that exists stays as it is.

    Returns for each topic whether it was created now. The topics are looked up first, so that a user who may not
    create topics uses those that exist. Raises `errors.KafkaError` if the broker does not answer or refuses, with the
    topics that are missing and the right that is needed.
    """
    topics = list(topics_by_type(kafka).values())
    with _admin(kafka.client_config) as admin:
        missing_ones = [topic for topic, there in _exist(admin, topics).items() if not there]
        created = _create(admin, kafka, missing_ones) if missing_ones else set()
        _wait_until_known(admin, sorted(created))
    return {topic: topic in created for topic in topics}


def _exist(admin: AdminClient, topics: Sequence[str]) -> dict[str, bool]:
    """Return for each topic whether it exists. Raises `KafkaException`."""
    found = {}
    for topic, future in admin.describe_topics(TopicCollection(list(topics)), request_timeout=_SECONDS).items():
        try:
            future.result()  # a request ends after its time, with an error of its own
            found[topic] = True
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise errors.KafkaError(
                    f"topic {topic!r} cannot be looked up: {error.args[0].str()}. This client's user needs the right "
                    "Describe on the topic (Read and Write include it)."
                ) from None
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
            found[topic] = False
    return found


def _create(admin: AdminClient, kafka: KafkaSettings, topics: Sequence[str]) -> set[str]:
    """Create topics; return those that nobody else created meanwhile. Raises `KafkaException`."""
    config = {"min.insync.replicas": str(kafka.insync_replicas)}
    wanted = [NewTopic(topic, kafka.partitions, kafka.replication, config=config) for topic in topics]
    created, refused_ones = set(), []
    for topic, future in admin.create_topics(wanted, request_timeout=_SECONDS).items():
        try:
            future.result()
            created.add(topic)
        except KafkaException as error:
            code = error.args[0].code()
            if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
                refused_ones.append(topic)
            elif code in _UNFIT:
                raise errors.KafkaError(
                    f"topic {topic!r} cannot be created: {error.args[0].str()}. {_UNFIT[code]}"
                ) from None
            elif code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    if refused_ones:
        several = len(refused_ones) > 1
        raise errors.KafkaError(
            f"topic{'s' if several else ''} {', '.join(map(repr, refused_ones))} {'do' if several else 'does'} not "
            f"exist, and this client's user may not create {'them' if several else 'it'}. Grant it the right Create on "
            f"the topic or on the cluster, or let an administrator create {'each' if several else 'it'} with "
            f"{kafka.partitions} partitions, replication factor {kafka.replication} and min.insync.replicas "
            f"{kafka.insync_replicas}."
        )
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
    told = refused(bootstrap, error, heard, "Describe")
    if "needs the right" in told:
        return errors.KafkaError(f"{told}.")
    return errors.KafkaError(
        f"{told}. Is it there? `nextreel broker` starts one; NEXTREEL_KAFKA_BOOTSTRAP points at yours."
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
