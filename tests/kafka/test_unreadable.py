"""The search for the end of a batch that a real broker's consumers cannot read."""

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.kafka.damaging import PACKING, SMALL, send_unreadable

from nextreel.errors import KafkaError
from nextreel.kafka.topics import create_topics
from nextreel.kafka.unreadable import UNPACKING, first_readable
from nextreel.settings import Settings


@pytest.fixture
def ready(settings: Settings) -> Settings:
    create_topics(settings.kafka)
    return settings


def send(settings: Settings, n: int) -> None:
    producer = Producer(settings.kafka.client_config)
    for _ in range(n):
        producer.produce(settings.kafka.users, b"{}", partition=0)
    assert producer.flush(60) == 0


def behind(settings: Settings, offset: int) -> int:
    return first_readable(settings.kafka.client_config | SMALL, settings.kafka.users, 0, offset)


@pytest.mark.parametrize("n", [1, 2, 37, 200])
def test_the_search_ends_behind_the_last_message_of_the_batch(ready: Settings, n: int) -> None:
    send(ready, 3)
    assert send_unreadable(ready, ready.kafka.users, n) == 3
    assert behind(ready, 3) == 3 + n  # nothing follows
    send(ready, 2)
    for offset in (3, 4, n // 2 + 3, n + 2):
        assert behind(ready, offset) == 3 + n


def test_a_batch_that_can_be_read_is_not_left_out(ready: Settings) -> None:
    send(ready, 3)
    send_unreadable(ready, ready.kafka.users, 5)
    assert [behind(ready, offset) for offset in (0, 2)] == [0, 2]
    assert first_readable(ready.kafka.client_config, ready.kafka.users, 0, 5) == 5


@pytest.mark.parametrize("between", [0, 1, 2])
def test_messages_before_another_unreadable_batch_are_not_left_out(ready: Settings, between: int) -> None:
    send_unreadable(ready, ready.kafka.users, 5)
    send(ready, between)
    send_unreadable(ready, ready.kafka.users, 50)
    assert behind(ready, 0) == 5
    assert behind(ready, 5 + between) == 55 + between


def test_a_transaction_s_marker_behind_the_batch_is_its_end(ready: Settings) -> None:
    send_unreadable(ready, ready.kafka.users, 5)
    producer = Producer(ready.kafka.client_config | {"transactional.id": ready.kafka.users})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(ready.kafka.users, b"{}", partition=0)
    producer.flush(30)
    producer.abort_transaction(30)
    assert behind(ready, 2) == 5


def test_an_embedded_broker_s_batches_end_there_too(settings: Settings, embedded_bootstrap: str) -> None:
    """It answers fetches from beyond its end in another way."""
    kafka = settings.kafka.model_copy(update={"bootstrap": embedded_bootstrap})
    embedded = settings.model_copy(update={"kafka": kafka})
    create_topics(kafka)
    send_unreadable(embedded, kafka.users, 20)
    assert [behind(embedded, offset) for offset in (0, 7)] == [20, 20]
    send(embedded, 3)
    assert [behind(embedded, offset) for offset in (0, 7)] == [20, 20]


def test_what_sixty_padded_messages_unpack_to_is_read(ready: Settings) -> None:
    """librdkafka's own limit is too low for them."""
    producer = Producer(ready.kafka.client_config | PACKING)
    for _ in range(60):
        producer.produce(ready.kafka.users, b"{" + b" " * 980_000 + b"}", partition=0)
    assert producer.flush(60) == 0
    consumer = Consumer({"group.id": "any", "enable.auto.commit": "false"} | UNPACKING | ready.kafka.client_config)
    consumer.assign([TopicPartition(ready.kafka.users, 0, 0)])
    messages = consumer.consume(60, timeout=60)
    consumer.close()
    assert [message.error() for message in messages] == [None] * 60


def test_an_error_of_the_topic_is_not_one_of_a_batch(ready: Settings) -> None:
    with pytest.raises(KafkaError, match="no-such-topic partition 0"):
        first_readable(ready.kafka.client_config, "no-such-topic", 0, 0, timeout_seconds=2.0)
