"""The four topics: which event type goes where."""

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from nextreel import errors
from nextreel.events.contract import EVENT_TYPES, EventType
from nextreel.settings import KafkaSettings

_SECONDS = 10.0

#: What librdkafka logs to standard error by itself is left out: its errors reach us as exceptions.
QUIET = {"log_level": 0}


def topics_by_type(kafka: KafkaSettings) -> dict[EventType, str]:
    """Return the topic of each event type."""
    return dict(zip(EVENT_TYPES, (kafka.users, kafka.movies, kafka.series, kafka.interactions), strict=True))


def create_topics(kafka: KafkaSettings) -> dict[str, bool]:
    """Create the four topics with the partitions that the settings say; a topic that exists stays as it is.

    Returns for each topic whether it was created now. Raises `errors.KafkaError` where the broker refuses.
    """
    wanted = [NewTopic(t, kafka.partitions, kafka.replication) for t in topics_by_type(kafka).values()]
    created = {}
    try:
        admin = AdminClient(kafka.client_config | QUIET)
        for topic, future in admin.create_topics(wanted, request_timeout=_SECONDS).items():
            try:
                future.result(2 * _SECONDS)  # the request itself ends before, with its own error
                created[topic] = True
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
                created[topic] = False
    except KafkaException as error:
        raise unreachable(kafka, error) from None
    return created


def unreachable(kafka: KafkaSettings, error: KafkaException) -> errors.KafkaError:
    """Return the error for a broker that refuses or does not answer."""
    return errors.KafkaError(
        f"Kafka at {kafka.bootstrap}: {error.args[0].str()}. "
        "Is it there? `nextreel broker` starts one; NEXTREEL_KAFKA_BOOTSTRAP points at yours."
    )
