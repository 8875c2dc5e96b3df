"""Deletes topics, and waits until brokers have forgotten them: Kafka's controller answers before they have."""

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from tests.waiting import until

from nextreel.settings import Settings


def delete_topic(settings: Settings, topic: str) -> None:
    """Delete a topic; after that one of the same name is another one for every client."""
    admin = AdminClient(settings.kafka.client_config)
    admin.delete_topics([topic])[topic].result(20)

    def is_gone() -> bool:
        try:
            admin.describe_topics(TopicCollection([topic]))[topic].result(20)
        except KafkaException as error:
            return bool(error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART)
        return False

    until(is_gone)
