"""Ranges of messages from a real broker: large ones, headers, transactions."""

import ctypes
import tracemalloc
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

import confluent_kafka
import pyarrow as pa
import pytest
from confluent_kafka import Producer
from tests.kafka.damaging import send_unreadable, unpacking_little

from nextreel.errors import KafkaError
from nextreel.ingest.consume import MESSAGES, KafkaRange, read_ranges
from nextreel.kafka.topics import create_topics
from nextreel.settings import Settings

MEGABYTE = 1_000_000 - 1_000  # what brokers take by default, with what is around it


@pytest.fixture
def ready(settings: Settings) -> Settings:
    create_topics(settings.kafka)
    return settings


def blocks(settings: Settings, end: int) -> Iterator[pa.RecordBatch]:
    return read_ranges(settings.kafka.client_config, [KafkaRange(settings.kafka.users, 0, 0, end)])


def producer(settings: Settings, **client: str) -> Producer:
    return Producer(settings.kafka.client_config | {name.replace("_", "."): value for name, value in client.items()})


# Large messages


def test_large_messages_come_in_blocks_of_some_megabytes(ready: Settings) -> None:
    sending = producer(ready)
    for i in range(300):
        sending.produce(ready.kafka.users, b"%03d" % i + bytes(MEGABYTE), partition=0)
        if i % 50 == 49:
            sending.flush()
    offsets, sizes = [], []
    for block in blocks(ready, 300):
        sizes.append(block.nbytes)
        offsets += block.column("offset").to_pylist()
    assert offsets == list(range(300))
    assert max(sizes) <= 10_000_000
    assert min(sizes[:-1]) >= 7_000_000


def test_messages_that_are_suddenly_large_are_not_taken_by_the_thousand(ready: Settings) -> None:
    sending = producer(ready)
    for i in range(30_000):
        sending.produce(ready.kafka.users, b"%d" % i, partition=0)
    sending.flush()
    for _ in range(200):
        sending.produce(ready.kafka.users, bytes(MEGABYTE), partition=0)
    sending.flush()
    tracemalloc.start()
    offsets = [offset for block in blocks(ready, 30_200) for offset in block.column("offset").to_pylist()]
    _, peak = tracemalloc.get_traced_memory()  # of Python's objects: the messages' own bytes are librdkafka's
    tracemalloc.stop()
    assert offsets == list(range(30_200))
    assert peak < 150_000_000


# Headers


def test_headers(ready: Settings) -> None:
    sending = producer(ready)
    given: list[Any] = [
        [("trace", b"1"), ("trace", b"2"), ("empty", b""), ("none", None), ("clé", b"\xff")],
        None,
        [],
        {"a": "b"},
    ]
    for headers in given:
        sending.produce(ready.kafka.users, b"x", partition=0, headers=headers)
    sending.flush()
    (block,) = blocks(ready, 4)
    assert block.schema == MESSAGES
    assert block.column("headers").to_pylist() == [
        [
            {"key": "trace", "value": b"1"},
            {"key": "trace", "value": b"2"},
            {"key": "empty", "value": b""},
            {"key": "none", "value": None},
            {"key": "clé", "value": b"\xff"},
        ],
        None,
        None,
        [{"key": "a", "value": b"b"}],
    ]


def test_headers_whose_names_are_no_text_are_left_out(ready: Settings) -> None:
    """Python's producer cannot send such ones; others can."""
    names = [b"\xff\xfe", b"fine"] * 20  # often enough for Python to specialise its calls
    send_headers(ready, names)
    (block,) = blocks(ready, 40)
    assert block.column("value").to_pylist() == [b"x"] * 40
    assert block.column("headers").to_pylist() == [None, [{"key": "fine", "value": b"v"}]] * 20


def send_headers(settings: Settings, names: list[bytes]) -> None:
    """Produce a message for each name through librdkafka itself."""
    found = glob(str(Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs" / "librdkafka*.so*"))
    if not found:
        pytest.skip("librdkafka does not lie beside its binding here: nothing else here sends such headers")
    library = ctypes.CDLL(found[0])
    pointer = ctypes.c_void_p
    for function in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(library, function).restype = pointer
    error = ctypes.create_string_buffer(512)
    config = pointer(library.rd_kafka_conf_new())
    for key, value in {"bootstrap.servers": settings.kafka.bootstrap, "log_level": "0"}.items():
        library.rd_kafka_conf_set(config, key.encode(), value.encode(), error, ctypes.c_size_t(512))
    client = pointer(library.rd_kafka_new(0, config, error, ctypes.c_size_t(512)))
    size = ctypes.c_ssize_t
    topic, partition, content, flags, given, end = 1, 3, 4, 7, 10, 0  # rd_kafka_vtype_t
    copied = 2
    for name in names:
        headers = pointer(library.rd_kafka_headers_new(ctypes.c_size_t(1)))
        library.rd_kafka_header_add(headers, name, size(len(name)), b"v", size(1))
        library.rd_kafka_producev(
            client, topic, settings.kafka.users.encode(), partition, ctypes.c_int32(0), flags, copied,
            content, b"x", ctypes.c_size_t(1), given, headers, end,
        )  # fmt: skip
    assert library.rd_kafka_flush(client, 10_000) == 0
    library.rd_kafka_destroy(client)


# Transactions


def test_a_range_may_end_at_the_marker_of_a_transaction(ready: Settings) -> None:
    sending = producer(ready, transactional_id=f"t-{ready.kafka.users}")
    sending.init_transactions(30)
    for part in (b"a", b"b"):
        sending.begin_transaction()
        for i in range(3):
            sending.produce(ready.kafka.users, b"%s%d" % (part, i), partition=0)
        sending.commit_transaction(30)
    found = pa.Table.from_batches(blocks(ready, 8), MESSAGES)
    assert found.column("offset").to_pylist() == [0, 1, 2, 4, 5, 6]  # 3 and 7 are markers
    assert found.column("value").to_pylist() == [b"a0", b"a1", b"a2", b"b0", b"b1", b"b2"]


def test_messages_of_aborted_transactions_are_not_read(ready: Settings) -> None:
    sending = producer(ready, transactional_id=f"t-{ready.kafka.users}")
    sending.init_transactions(30)
    sending.begin_transaction()
    sending.produce(ready.kafka.users, b"aborted", partition=0)
    sending.flush()
    sending.abort_transaction(30)
    sending.begin_transaction()
    sending.produce(ready.kafka.users, b"committed", partition=0)
    sending.commit_transaction(30)
    found = pa.Table.from_batches(blocks(ready, 4), MESSAGES)
    if b"aborted" in found.column("value").to_pylist():
        pytest.skip("Tansu 0.6 does not tell consumers which transactions were aborted")
    assert found.column("value").to_pylist() == [b"committed"]


# Batches that cannot be read


class Reported:
    """What is reported as unreadable."""

    def __init__(self) -> None:
        self.given: list[tuple[KafkaRange, str]] = []

    def __call__(self, unreadable: KafkaRange, error: str) -> None:
        self.given.append((unreadable, error))


def test_batches_that_cannot_be_read_are_stepped_over_and_reported(ready: Settings) -> None:
    """A range may begin and end inside of one, as where a task's share ends."""
    topic, sending = ready.kafka.users, producer(ready)
    send_unreadable(ready, topic, 20)
    for value in (b"20", b"21"):
        sending.produce(topic, value, partition=0)
    sending.produce(topic, b"other", partition=1)
    sending.flush()
    send_unreadable(ready, topic, 30)
    client = unpacking_little(ready).kafka.client_config
    for begin, end, unreadable in (
        (0, 52, [(0, 20), (22, 52)]),
        (5, 40, [(5, 20), (22, 40)]),
        (20, 22, []),  # the consumer reads ahead, into the batch behind
        (3, 8, [(3, 8)]),
    ):
        reported = Reported()
        ranges = [KafkaRange(topic, 0, begin, end), KafkaRange(topic, 1, 0, 1)]
        found = list(read_ranges(client, ranges, unreadable=reported))
        values = [value for block in found for value in block.column("value").to_pylist()]
        assert sorted(values) == [b"20", b"21", b"other"][0 if end > 20 else 2 :]
        assert [(r.begin, r.end) for r, _ in reported.given] == unreadable
        assert all("Decompression" in error for _, error in reported.given)


# Errors


def test_a_topic_that_does_not_come_is_given_up(ready: Settings) -> None:
    absent = [KafkaRange("no-such-topic", 0, 0, 1)]
    with pytest.raises(KafkaError, match="no answer for 1 s: no-such-topic partition 0 at offset 0"):
        list(read_ranges(ready.kafka.client_config, absent, patience_seconds=1.0))
