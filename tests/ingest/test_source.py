"""Kafka as a stream: the plan of a micro-batch, and the reading of its ranges from a real broker."""

import json
import pickle
from collections.abc import Iterable

import pyarrow as pa
import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadLimit, ReadMaxBytes, ReadMaxRows
from pyspark.sql.types import StructType
from tests.kafka.deleting import delete_topic

from nextreel.errors import DataLossError, KafkaError, SettingsError
from nextreel.ingest.consume import MESSAGES, KafkaRange, read_ranges
from nextreel.ingest.source import KafkaSource, KafkaStreamReader, LakeStreamReader, Offsets, dealt, share
from nextreel.kafka.topics import create_topics
from nextreel.lake.layout import Lake
from nextreel.settings import Settings

WAITING = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("0123")), st.integers(0, 50), max_size=9)


# Sharing a limit


@given(WAITING, st.integers(0, 300))
def test_a_share_is_whole_and_nobody_gets_more_than_waits(waiting: dict[tuple[str, str], int], limit: int) -> None:
    taken = share(waiting, limit)
    assert taken.keys() == waiting.keys()
    assert sum(taken.values()) == min(limit, sum(waiting.values()))
    assert [key for key, n in taken.items() if not 0 <= n <= waiting[key]] == []


@given(WAITING, st.integers(0, 300))
def test_a_share_is_fair(waiting: dict[tuple[str, str], int], limit: int) -> None:
    """Who is left waiting has as much as anybody, but for the one message that cannot be split."""
    taken = share(waiting, limit)
    most = max(taken.values(), default=0)
    assert [key for key, n in taken.items() if n < waiting[key] and n < most - 1] == []


def test_a_share_by_hand() -> None:
    waiting = {("a", "0"): 100, ("a", "1"): 3, ("b", "0"): 100, ("b", "1"): 0}
    assert share(waiting, 23) == {("a", "0"): 10, ("a", "1"): 3, ("b", "0"): 10, ("b", "1"): 0}


# Against a real broker


def send(settings: Settings, topic: str, partition: int, values: Iterable[bytes | None], **client: str) -> None:
    config = {name.replace("_", "."): value for name, value in client.items()}
    producer = Producer(settings.kafka.client_config | {"linger.ms": "50"} | config)
    for i, value in enumerate(values):
        producer.produce(topic, value, key=b"k%d" % i, partition=partition, timestamp=1_700_000_000_000 + i)
    producer.flush()


def reader(settings: Settings, topics: str | None = None, **options: str) -> KafkaStreamReader:
    given = {"kafka.bootstrap.servers": settings.kafka.bootstrap, "subscribe": topics or settings.kafka.users}
    return KafkaStreamReader(given | options)


def read(settings: Settings, begin: int, end: int, partition: int = 0) -> pa.Table:
    wanted = KafkaRange(settings.kafka.users, partition, begin, end)
    return pa.Table.from_batches(read_ranges(settings.kafka.client_config, [wanted]), MESSAGES)


def planned(stream: KafkaStreamReader, start: Offsets, end: Offsets) -> list[KafkaRange]:
    return [r for task in stream.partitions(start, end) for r in task.ranges]


@pytest.fixture
def ready(settings: Settings) -> Settings:
    create_topics(settings.kafka)
    return settings


def test_a_range_is_read_whole_in_order_and_in_blocks(ready: Settings) -> None:
    send(ready, ready.kafka.users, 1, (b"v%d" % i for i in range(25_000)))
    wanted = KafkaRange(ready.kafka.users, 1, 0, 25_000)
    blocks = list(read_ranges(ready.kafka.client_config, [wanted]))
    assert len(blocks) >= 2
    table = pa.Table.from_batches(blocks)
    assert table.column("offset").to_pylist() == list(range(25_000))
    assert table.column("value").to_pylist() == [b"v%d" % i for i in range(25_000)]
    assert table.column("key").to_pylist() == [b"k%d" % i for i in range(25_000)]
    assert set(table.column("partition").to_pylist()) == {1}
    assert set(table.column("topic").to_pylist()) == {ready.kafka.users}


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (1, 2), (37, 63), (99, 100), (0, 100)])
def test_a_range_ends_where_it_should(ready: Settings, begin: int, end: int) -> None:
    send(ready, ready.kafka.users, 0, (b"%d" % i for i in range(100)))
    table = read(ready, begin, end)
    assert table.column("offset").to_pylist() == list(range(begin, end))
    assert table.column("value").to_pylist() == [b"%d" % i for i in range(begin, end)]


def test_messages_without_key_or_value_and_their_times(ready: Settings) -> None:
    producer = Producer(ready.kafka.client_config)
    producer.produce(ready.kafka.users, None, key=b"gone", partition=0, timestamp=1_700_000_000_123)
    producer.produce(ready.kafka.users, b"", key=None, partition=0, timestamp=1_700_000_000_124)
    producer.produce(ready.kafka.users, b"x", key=b"", partition=0, timestamp=2**62)  # nanoseconds, say
    producer.flush()
    table = read(ready, 0, 3)
    assert table.column("value").to_pylist() == [None, b"", b"x"]
    assert table.column("key").to_pylist() == [b"gone", None, b""]
    micros = table.column("timestamp").cast(pa.int64()).to_pylist()
    assert micros == [1_700_000_000_123_000, 1_700_000_000_124_000, (2**63 - 1) // 1000 * 1000]
    assert table.column("timestampType").to_pylist() == [0, 0, 0]


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd", "snappy"])
def test_compressed_topics(ready: Settings, codec: str) -> None:
    values = [b'{"id":"%d","text":"%s"}' % (i, b"abc" * 50) for i in range(2_000)]
    send(ready, ready.kafka.users, 0, values, compression_type=codec)
    assert read(ready, 0, 2_000).column("value").to_pylist() == values


def test_a_broker_that_falls_silent_is_an_error(ready: Settings) -> None:
    send(ready, ready.kafka.users, 0, [b"only one"])
    wanted = KafkaRange(ready.kafka.users, 0, 0, 1)
    client = ready.kafka.client_config | {"bootstrap.servers": "127.0.0.1:1"}
    silent = rf"no answer for 2 s: {ready.kafka.users} partition 0 at offset 0 \(.*Connection refused"
    with pytest.raises(KafkaError, match=silent):
        list(read_ranges(client, [wanted], patience_seconds=2.0))


# The plan of a stream


def test_a_new_checkpoint_begins_where_the_option_says(ready: Settings) -> None:
    topic = ready.kafka.users
    send(ready, topic, 0, [b"x"] * 7)
    assert reader(ready).initialOffset() == {topic: {"0": 0, "1": 0}}
    assert reader(ready, startingOffsets="latest").initialOffset() == {topic: {"0": 7, "1": 0}}


def test_micro_batches_end_at_the_limit_and_together_take_all(ready: Settings) -> None:
    users, movies = ready.kafka.users, ready.kafka.movies
    send(ready, users, 0, [b"x"] * 700)
    send(ready, movies, 1, [b"x"] * 30)
    stream = reader(ready, f"{users}, {movies}", maxOffsetsPerTrigger="100")
    limit = stream.getDefaultReadLimit()
    assert isinstance(limit, ReadMaxRows)
    at: Offsets = stream.initialOffset()
    steps = 0
    while (end := stream.latestOffset(at, limit)) != at:
        ranges = planned(stream, at, end)
        assert 0 < sum(r.end - r.begin for r in ranges) <= 100
        assert {(r.topic, str(r.partition)): (r.begin, r.end) for r in ranges} == {
            (t, p): (at[t][p], end[t][p]) for t in end for p in end[t] if end[t][p] > at[t][p]
        }
        at, steps = end, steps + 1
    stream.stop()
    assert at == {users: {"0": 700, "1": 0}, movies: {"0": 0, "1": 30}}
    assert steps == 8


def test_without_a_limit_all_is_one_micro_batch(ready: Settings) -> None:
    send(ready, ready.kafka.users, 0, [b"x"] * 500)
    stream = reader(ready)
    assert isinstance(stream.getDefaultReadLimit(), ReadAllAvailable)
    assert stream.latestOffset(stream.initialOffset(), ReadAllAvailable()) == {ready.kafka.users: {"0": 500, "1": 0}}
    assert stream.reportLatestOffset() == {ready.kafka.users: {"0": 500, "1": 0}}


def test_available_now_goes_no_further_than_its_start(ready: Settings) -> None:
    topic = ready.kafka.users
    send(ready, topic, 0, [b"x"] * 20)
    stream = reader(ready)
    stream.prepareForTriggerAvailableNow()
    send(ready, topic, 0, [b"x"] * 20)
    assert stream.latestOffset(stream.initialOffset(), ReadAllAvailable()) == {topic: {"0": 20, "1": 0}}
    assert stream.reportLatestOffset() == {topic: {"0": 40, "1": 0}}


def test_a_topic_that_is_left_and_comes_back_is_read_on_where_it_was(ready: Settings) -> None:
    users, movies = ready.kafka.users, ready.kafka.movies
    send(ready, users, 0, [b"x"] * 5)
    send(ready, movies, 0, [b"x"] * 3)
    one, other = reader(ready), reader(ready, movies)
    first = one.latestOffset(one.initialOffset(), ReadAllAvailable())
    second = other.latestOffset(first, ReadAllAvailable())
    assert [(r.topic, r.begin, r.end) for r in planned(other, first, second)] == [(movies, 0, 3)]
    send(ready, users, 0, [b"x"] * 2)
    third = one.latestOffset(second, ReadAllAvailable())
    assert [(r.topic, r.begin, r.end) for r in planned(one, second, third)] == [(users, 5, 7)]
    assert third == {users: {"0": 7, "1": 0}, movies: {"0": 3, "1": 0}}


def test_a_partition_that_is_new_to_the_checkpoint_is_read_from_its_start(ready: Settings) -> None:
    topic = ready.kafka.users
    send(ready, topic, 1, [b"x"] * 5)
    stream = reader(ready)
    end = stream.latestOffset({topic: {"0": 0}}, ReadAllAvailable())
    assert planned(stream, {topic: {"0": 0}}, end) == [KafkaRange(topic, 1, 0, 5)]


@pytest.mark.parametrize("starting", ["earliest", "latest"])
def test_partitions_that_are_added_are_read_from_their_start(
    ready: Settings, starting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded broker adds none: the topic is made anew, with more of them, before it has any messages."""
    monkeypatch.setattr("nextreel.kafka.watermarks._METADATA_SECONDS", 0.0)
    topic = ready.kafka.users
    stream = reader(ready, startingOffsets=starting)
    start = stream.initialOffset()
    assert start == {topic: {"0": 0, "1": 0}}
    delete_topic(ready, topic)
    create_topics(ready.kafka.model_copy(update={"partitions": 4}))
    send(ready, topic, 3, [b"x"] * 5)
    send(ready, topic, 0, [b"x"] * 2)
    end = stream.latestOffset(start, ReadAllAvailable())
    assert end == {topic: {"0": 2, "1": 0, "2": 0, "3": 5}}
    assert planned(stream, start, end) == [KafkaRange(topic, 0, 0, 2), KafkaRange(topic, 3, 0, 5)]
    stream.stop()


def test_micro_batches_are_bounded_by_bytes_too(ready: Settings) -> None:
    topic = ready.kafka.users
    send(ready, topic, 0, [b"x"] * 500)
    stream = reader(ready, maxBytesPerTrigger="50000")
    limit = stream.getDefaultReadLimit()
    assert limit == ReadMaxBytes(50_000)
    start = stream.initialOffset()
    assert stream.latestOffset(start, limit) == {topic: {"0": 50, "1": 0}}  # a message is taken to have 1,000
    assert stream.latestOffset(start, ReadAllAvailable()) == {topic: {"0": 500, "1": 0}}
    both = reader(ready, maxBytesPerTrigger="50000", maxOffsetsPerTrigger="30")
    assert both.getDefaultReadLimit() == ReadMaxRows(30)
    assert both.latestOffset(start, ReadMaxRows(30)) == {topic: {"0": 30, "1": 0}}
    assert both.latestOffset(start, ReadMaxRows(70)) == {topic: {"0": 50, "1": 0}}
    assert reader(ready, maxBytesPerTrigger="1").latestOffset(start, limit) == {topic: {"0": 1, "1": 0}}


def test_bytes_are_those_of_the_last_micro_batch(ready: Settings) -> None:
    topic = ready.kafka.users
    send(ready, topic, 0, [b"x"] * 500)
    stream = lake_reader(ready, maxBytesPerTrigger="50000")
    start, limit = stream.initialOffset(), stream.getDefaultReadLimit()
    assert stream.latestOffset(start, limit) == {topic: {"0": 50, "1": 0}}
    commits = Lake(ready.lake).commits
    commits.mkdir(parents=True)
    (commits / f"{0:012d}.json").write_text(json.dumps({"raw_bytes": 5_000, "messages": {topic: {"0": 20}}}))
    assert stream.latestOffset(start, limit) == {topic: {"0": 200, "1": 0}}


RANGES = st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 120_000)), max_size=12).map(
    lambda drawn: [KafkaRange("t", i, begin, begin + n) for i, (begin, n) in enumerate(drawn)]
)


@given(RANGES, st.integers(1, 9))
def test_ranges_are_dealt_without_gap_or_overlap(ranges: list[KafkaRange], cores: int) -> None:
    tasks = dealt(ranges, cores)
    assert len(tasks) <= cores
    pieces = [piece for task in tasks for piece in task.ranges]
    assert all(len(piece) > 0 for piece in pieces)
    assert [p.partition for p in pieces] == sorted(p.partition for p in pieces)
    for whole in ranges:
        own = [p for p in pieces if p.partition == whole.partition]
        assert [p.begin for p in own] == [whole.begin, *(p.end for p in own[:-1])]
        assert own[-1].end == whole.end


@given(RANGES, st.integers(1, 9))
def test_ranges_are_dealt_evenly(ranges: list[KafkaRange], cores: int) -> None:
    sizes = [sum(map(len, task.ranges)) for task in dealt(ranges, cores)]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(sizes) == 1 or min(sizes, default=10_000) >= 10_000


def test_ranges_by_hand() -> None:
    a, b = KafkaRange("a", 0, 5, 30_005), KafkaRange("b", 1, 0, 10_000)
    assert [task.ranges for task in dealt([a, b], 2)] == [
        (KafkaRange("a", 0, 5, 20_005),),
        (KafkaRange("a", 0, 20_005, 30_005), b),
    ]
    assert [task.ranges for task in dealt([b], 2)] == [(b,)]


def test_a_topic_that_was_made_anew_is_data_loss(ready: Settings) -> None:
    topic = ready.kafka.users
    send(ready, topic, 0, [b"x"] * 5)
    lost = rf"{topic} partition 0: the checkpoint is at 50 .* ends at 5: .*made anew"
    with pytest.raises(DataLossError, match=lost):
        reader(ready).partitions({topic: {"0": 50}}, {topic: {"0": 60}})
    with pytest.raises(DataLossError, match=lost):  # or nothing would be read until the topic has 50 again
        reader(ready).latestOffset({topic: {"0": 50}}, ReadAllAvailable())
    with pytest.raises(DataLossError, match="messages to 60 were planned and the topic ends at 5"):
        reader(ready).partitions({topic: {"0": 3}}, {topic: {"0": 60}})


@pytest.mark.parametrize(
    ("begin", "low", "high", "lost"),
    [(3, 10, 20, "messages 3 to 10 were deleted by Kafka's retention"), (21, 10, 20, "the topic ends at 20")],
)
def test_data_loss_stops_the_stream_unless_told_otherwise(
    ready: Settings, begin: int, low: int, high: int, lost: str
) -> None:
    """Where a topic ends before the checkpoint it was made anew: what has a place in the lake's past is not read."""
    with pytest.raises(DataLossError, match=lost):
        reader(ready)._begin("t", "0", {"t": {"0": begin}}, (low, high))
    assert reader(ready, failOnDataLoss="false")._begin("t", "0", {"t": {"0": begin}}, (low, high)) == max(begin, low)
    for inside in (low, 15, high):
        assert reader(ready)._begin("t", "0", {"t": {"0": inside}}, (low, high)) == inside


def lake_reader(settings: Settings, **options: str) -> LakeStreamReader:
    given = {"kafka.bootstrap.servers": settings.kafka.bootstrap, "subscribe": settings.kafka.users}
    return LakeStreamReader(given | {"lake": str(settings.lake), "eventTypes": "{}"} | options)


def gaps(settings: Settings) -> list[tuple[str, str]]:
    found = sorted((settings.lake / "_ingest" / "gaps").glob("*"))
    return [(file.name, json.loads(file.read_text())["why"]) for file in found]


def test_data_loss_that_is_accepted_is_written_down_once(ready: Settings, caplog: pytest.LogCaptureFixture) -> None:
    topic = ready.kafka.users
    send(ready, topic, 0, [b"x"] * 5)
    start = {topic: {"0": 50, "1": 0}}
    for _ in range(2):  # a plan is made again after a crash
        stream = lake_reader(ready, failOnDataLoss="false")
        end = stream.latestOffset(start, ReadAllAvailable())
        assert end == start  # two messages may not have one place
        assert planned(stream, start, end) == []
        stream.stop()
    why = "the checkpoint is at 50 and the topic ends at 5: it was made anew"
    assert gaps(ready) == [(f"{topic}-0-0-50.json", why)]
    assert [r.getMessage() for r in caplog.records] == [f"{topic} partition 0: {why}. Going on at 50."] * 2
    send(ready, topic, 0, [b"x"] * 50)
    stream = lake_reader(ready, failOnDataLoss="false")
    assert planned(stream, start, stream.latestOffset(start, ReadAllAvailable())) == [KafkaRange(topic, 0, 50, 55)]


def test_a_topic_made_anew_while_it_is_read_stops_the_stream(ready: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.kafka.watermarks._METADATA_SECONDS", 0.0)
    topic, stream = ready.kafka.users, reader(ready, failOnDataLoss="false")
    send(ready, topic, 0, [b"x"] * 5)
    assert stream.initialOffset()[topic] == {"0": 0, "1": 0}
    assert stream.latestOffset({topic: {"0": 0}}, ReadAllAvailable()) == {topic: {"0": 5, "1": 0}}
    delete_topic(ready, topic)
    create_topics(ready.kafka)
    send(ready, topic, 0, [b"x"] * 50)
    with pytest.raises(DataLossError, match=f"{topic} was deleted and made anew while it was read"):
        stream.latestOffset({topic: {"0": 5}}, ReadAllAvailable())


def test_what_was_planned_and_is_gone_is_written_down(ready: Settings) -> None:
    topic = ready.kafka.users
    send(ready, topic, 0, [b"x"] * 5)
    stream = lake_reader(ready, failOnDataLoss="false")
    assert planned(stream, {topic: {"0": 3}}, {topic: {"0": 60}}) == [KafkaRange(topic, 0, 3, 5)]
    assert gaps(ready) == [(f"{topic}-0-5-60.json", "messages to 60 were planned and the topic ends at 5")]


def test_retention_that_is_accepted_is_written_down(ready: Settings) -> None:
    """The embedded broker deletes no messages: the marks are given."""
    stream = lake_reader(ready, failOnDataLoss="false")
    assert stream._begin("t", "0", {"t": {"0": 3}}, (10, 20)) == 10
    why = "messages 3 to 10 were deleted by Kafka's retention before they were read"
    assert gaps(ready) == [("t-0-3-10.json", why)]
    with pytest.raises(DataLossError, match=why):
        lake_reader(ready)._begin("t", "0", {"t": {"0": 3}}, (10, 20))


def test_partitions_that_are_gone_are_data_loss(ready: Settings) -> None:
    topic = ready.kafka.users
    start = {topic: {"0": 0, "1": 0, "2": 9}}  # of a topic that had three
    with pytest.raises(DataLossError, match=f"{topic} partition 2: the checkpoint is at 9"):
        lake_reader(ready).latestOffset(start, ReadAllAvailable())
    stream = lake_reader(ready, failOnDataLoss="false")
    assert stream.latestOffset(start, ReadAllAvailable()) == {topic: {"0": 0, "1": 0}}
    assert [name for name, _ in gaps(ready)] == [f"{topic}-2-0-9.json"]


@pytest.mark.parametrize("limit", [ReadAllAvailable(), ReadMaxRows(100)])
def test_data_loss_that_is_accepted_reads_what_comes_after_it(ready: Settings, limit: ReadLimit) -> None:
    topic = ready.kafka.users
    send(ready, topic, 0, [b"x"] * 5)
    stream = reader(ready, failOnDataLoss="false")
    start = {topic: {"0": 50, "1": 0}}  # of a topic that had more
    end = stream.latestOffset(start, limit)
    assert end == start
    assert planned(stream, start, end) == []
    assert planned(stream, {topic: {"0": 3}}, {topic: {"0": 60}}) == [KafkaRange(topic, 0, 3, 5)]
    send(ready, topic, 0, [b"x"] * 47)
    end = stream.latestOffset(start, limit)
    assert end == {topic: {"0": 52, "1": 0}}
    tasks = stream.partitions(start, end)
    assert [m for t in tasks for b in stream.read(t) for m in b.column("offset").to_pylist()] == [50, 51]


# Options


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subscribe": "a"},
        {"kafka.bootstrap.servers": "b:1"},
        {"kafka.bootstrap.servers": "b:1", "subscribe": " , "},
    ],
)
def test_what_is_needed(options: dict[str, str]) -> None:
    for kind, name in ((KafkaStreamReader, "nextreel_kafka"), (LakeStreamReader, "nextreel_lake")):
        with pytest.raises(SettingsError, match=rf"{name} needs the options kafka\.bootstrap\.servers and subscribe"):
            kind(options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("startingOffsets", "yesterday"),
        ("maxOffsetsPerTrigger", "many"),
        ("maxOffsetsPerTrigger", "-1"),
        ("maxBytesPerTrigger", "1e6"),
        ("failOnDataLoss", "perhaps"),
        ("patienceSeconds", "0"),
        ("patienceSeconds", "nan"),
        ("patienceSeconds", "long"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(option: str, value: str) -> None:
    options = {"kafka.bootstrap.servers": "b:1", "subscribe": "a", option: value}
    with pytest.raises(SettingsError, match=f"{option} = '{value}'"):
        KafkaStreamReader(options)


def test_option_names_are_spelt_in_any_case_and_client_settings_pass() -> None:
    stream = KafkaStreamReader(
        {"KAFKA.bootstrap.servers": "b:1", "Subscribe": "a, b", "KAFKA.sasl.password": "p", "maxOffsetsPerTrigger": "5"}
    )
    assert stream._client == {"bootstrap.servers": "b:1", "sasl.password": "p"}
    assert stream._topics == ["a", "b"]
    limit = stream.getDefaultReadLimit()
    assert isinstance(limit, ReadMaxRows)
    assert limit.max_rows == 5


def test_a_task_s_copy_leaves_the_connection_behind(ready: Settings) -> None:
    stream = reader(ready)
    stream.initialOffset()
    copied = pickle.loads(pickle.dumps(stream))  # noqa: S301 (our own)
    assert copied._reader is None
    assert stream._reader is not None
    assert copied.initialOffset() == stream.initialOffset()
    for each in (copied, stream):
        each.stop()
        each.stop()


def test_the_schema_is_that_of_spark_s_own_source(spark: SparkSession) -> None:
    spark_s = KafkaSource({"x": "y"})
    assert KafkaSource.name() == "nextreel_kafka"
    columns = StructType.fromDDL(str(spark_s.schema()))
    assert isinstance(columns, StructType)
    schema = to_arrow_schema(columns, timezone="UTC")
    assert schema.names == MESSAGES.names
    assert [field.type for field in schema] == [field.type for field in MESSAGES]
    assert MESSAGES.names == [
        "key", "value", "topic", "partition", "offset", "timestamp", "timestampType", "headers",
    ]  # fmt: skip
