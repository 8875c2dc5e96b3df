"""The producer: what it says was delivered is what Kafka has, once and in order."""

import socket
import time
import zlib
from collections.abc import Iterator

import orjson
import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from nextreel.errors import KafkaError, SettingsError
from nextreel.events.encode import encode
from nextreel.events.world import World, WorldConfig
from nextreel.kafka.producer import Delivery, EventProducer, produce
from nextreel.kafka.recovering import PRODUCER_CONFIG
from nextreel.kafka.topics import create_topics
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.settings import Settings, load

WORLD = World(WorldConfig(n_users=50, n_movies=20, n_series=10, n_interactions=5_000))


@pytest.fixture
def ready(settings: Settings) -> Settings:
    create_topics(settings.kafka)
    return settings


def held(settings: Settings, topic: str) -> list[Message]:
    """Return everything that a topic holds, by partition and offset."""
    reader = WatermarkReader(settings.kafka.client_config)
    marks = reader.read([topic])[topic]
    expected = sum(high for _, high in marks.values())
    consumer = Consumer(settings.kafka.client_config | {"group.id": "test"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in marks])
    messages: list[Message] = []
    while len(messages) < expected:
        messages += consumer.consume(1000, timeout=0.2)
    messages += consumer.consume(1000, timeout=0.5)  # is there more than the watermarks say?
    consumer.close()
    return sorted(messages, key=lambda m: (m.partition(), m.offset()))


def test_messages_are_the_encoded_events_and_titles_are_keyed_by_id(ready: Settings) -> None:
    batch = WORLD.events("movie", 0, 20)
    delivery = produce(EventProducer(ready.kafka), ready.kafka.movies, iter([batch]))
    values = encode(batch).to_pylist()
    assert delivery == Delivery(sent=20, bytes=sum(map(len, values)), delivered=20)
    expected = {key.encode(): value for key, value in zip(batch.column("id").to_pylist(), values, strict=True)}
    found = held(ready, ready.kafka.movies)
    assert len(found) == 20
    assert {m.key(): m.value() for m in found} == expected


def test_many_messages_are_delivered_once_and_each_key_in_order(ready: Settings) -> None:
    batches = (WORLD.events("interaction", start, 700) for start in range(0, 4_900, 700))
    seen: list[int] = []
    delivery = produce(EventProducer(ready.kafka), ready.kafka.interactions, batches, lambda d: seen.append(d.sent))
    assert (delivery.sent, delivery.delivered, delivery.failed, delivery.unknown) == (4_900, 4_900, 0, 0)
    assert seen == list(range(700, 4_901, 700))
    found = held(ready, ready.kafka.interactions)
    assert len(found) == 4_900
    assert len({m.partition() for m in found}) == 2
    events = WORLD.events("interaction", 0, 4_900)
    place = {value: i for i, value in enumerate(encode(events).to_pylist())}
    for partition in (0, 1):
        places = [place[m.value()] for m in found if m.partition() == partition]
        assert places == sorted(places)


#: Hashes that Kafka's own test of its Java partitioner has (UtilsTest.testMurmur2).
MURMUR2 = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}


def test_keys_go_where_javas_partitioner_puts_them(settings: Settings) -> None:
    kafka = settings.kafka.model_copy(update={"partitions": 31})
    create_topics(kafka)
    producer = EventProducer(kafka)
    producer.send_raw(kafka.interactions, ((key, b"{}") for key in MURMUR2))
    producer.flush()
    found = {(m.key() or b"").decode(): m.partition() for m in held(settings, kafka.interactions)}
    assert found == {key: (hashed & 0x7FFFFFFF) % 31 for key, hashed in MURMUR2.items()}


def test_interactions_are_keyed_by_their_users(ready: Settings) -> None:
    batch = WORLD.events("interaction", 0, 500)
    produce(EventProducer(ready.kafka), ready.kafka.interactions, iter([batch]))
    places: dict[bytes, set[int]] = {}
    for message in held(ready, ready.kafka.interactions):
        user = orjson.loads(message.value() or b"")["id_usuario"]
        assert message.key() == user.encode()
        places.setdefault(message.key() or b"", set()).add(message.partition())
    assert len(places) > 10
    assert all(len(partitions) == 1 for partitions in places.values())


def test_the_partitioner_of_the_settings_wins(settings: Settings) -> None:
    kafka = settings.kafka.model_copy(update={"partitions": 31})
    create_topics(kafka)
    flags = {"kafka.bootstrap": kafka.bootstrap, "kafka.client.partitioner": "consistent"}
    producer = EventProducer(load(flags, {}).kafka)
    producer.send_raw(kafka.users, ((key, b"{}") for key in MURMUR2))
    producer.flush()
    found = {(m.key() or b"").decode(): m.partition() for m in held(settings, kafka.users)}
    assert found == {key: zlib.crc32(key.encode()) % 31 for key in MURMUR2}


def test_raw_messages_go_as_they_are(ready: Settings) -> None:
    producer = EventProducer(ready.kafka)
    given = [(None, b"\xff\x00"), (b"\xfe", b""), ("clé", b"{}")]
    producer.send_raw(ready.kafka.users, given)
    assert producer.flush().delivered == 3
    found = {(m.key(), m.value()) for m in held(ready, ready.kafka.users)}
    assert found == {(None, b"\xff\x00"), (b"\xfe", b""), ("clé".encode(), b"{}")}


def test_whole_messages_have_their_headers_and_say_when_they_have_arrived(ready: Settings) -> None:
    producer, arrived = EventProducer(ready.kafka), []
    headers = [("a", b"\xff"), ("a", None), ("b", b"")]
    producer.send_whole(ready.kafka.users, b"\xfe", b"x", headers, lambda: arrived.append("first"))
    producer.send_whole(ready.kafka.users, None, None, [], lambda: arrived.append("second"))
    producer.send_whole(ready.kafka.users, None, b"x" * 2_000_000, [], lambda: arrived.append("too large"))
    delivery = producer.wait()
    assert sorted(arrived) == ["first", "second"]
    assert (delivery.sent, delivery.delivered, delivery.failed) == (3, 2, 1)
    found = {m.key(): (m.value(), m.headers()) for m in held(ready, ready.kafka.users)}
    assert found == {b"\xfe": (b"x", headers), None: (None, None)}


def test_it_is_idempotent_unless_the_settings_say_otherwise() -> None:
    assert PRODUCER_CONFIG["enable.idempotence"] == "true"
    kafka = load({"kafka.client.enable.idempotence": "true", "kafka.client.acks": "0"}, {}).kafka
    with pytest.raises(SettingsError, match="acks"):  # the two contradict each other, and librdkafka got both
        EventProducer(kafka)


def test_a_full_queue_is_waited_for(ready: Settings) -> None:
    kafka = load({"kafka.bootstrap": ready.kafka.bootstrap, "kafka.client.queue.buffering.max.messages": "10"}, {})
    producer = EventProducer(kafka.kafka)
    producer.send_raw(ready.kafka.users, ((None, b"%d" % i) for i in range(300)))
    assert producer.flush().delivered == 300


def test_the_rate_is_never_exceeded(ready: Settings) -> None:
    rate = 20_000.0
    began = time.monotonic()
    producer = EventProducer(ready.kafka, rate)
    for _ in range(10):
        producer.send_raw(ready.kafka.users, [(None, b"x" * 1_000)])
        assert producer.delivery.bytes <= rate * (time.monotonic() - began) + 1
    assert producer.flush() == Delivery(sent=10, bytes=10_000, delivered=10)


def test_a_message_that_is_too_large_is_counted_and_stops_nothing(ready: Settings) -> None:
    producer = EventProducer(ready.kafka)
    producer.send_raw(ready.kafka.users, [(None, b"a"), (None, b"x" * 2_000_000), (None, b"b")])
    with pytest.raises(KafkaError, match=r"of 3 messages .* 1 failed and 0 have no report: .*too large"):
        producer.flush()
    assert producer.delivery.delivered == 2
    assert {m.value() for m in held(ready, ready.kafka.users)} == {b"a", b"b"}


def test_without_a_broker_every_message_is_counted_as_failed() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        kafka = load({"kafka.bootstrap": address, "kafka.client.delivery.timeout.ms": "500"}, {}).kafka
        producer = EventProducer(kafka)
        with pytest.raises(KafkaError) as caught:
            produce(producer, "users", [WORLD.events("user", 0, 50)])
    assert str(caught.value).startswith(f"of 50 messages for Kafka at {address}, 50 failed and 0 have no report: ")
    assert (producer.delivery.failed, producer.delivery.delivered) == (50, 0)


def test_ctrl_c_ends_it_with_everything_delivered(ready: Settings) -> None:
    def interrupted() -> Iterator[pa.RecordBatch]:
        yield WORLD.events("user", 0, 30)
        yield WORLD.events("user", 30, 15)
        raise KeyboardInterrupt

    delivery = produce(EventProducer(ready.kafka), ready.kafka.users, interrupted())
    assert (delivery.sent, delivery.delivered, delivery.failed) == (45, 45, 0)
    assert len(held(ready, ready.kafka.users)) == 45
