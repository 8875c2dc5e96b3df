"""One judge: what ingest accepts counts in the server, and what it quarantines does not, whatever Kafka's timestamp."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st
from tests.ingest.strategies import BOUNDS, TIMES
from tests.serve.living import live

from nextreel.events.arrival import UNDATED, micros_of
from nextreel.events.contract import EVENT_TYPES, EventType, fields_of
from nextreel.ingest.consume import _columns
from nextreel.ingest.parse import parse
from nextreel.kafka.topics import topics_by_type
from nextreel.lake.layout import QUARANTINE
from nextreel.serve import follow
from nextreel.serve.follow import Follower
from nextreel.settings import load

READ = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = load({}, {})
TOPICS = topics_by_type(SETTINGS.kafka)
TYPES: dict[str, EventType] = {topic: event_type for event_type, topic in TOPICS.items()}
LIVE = live()
ABSURD = (-1, 0, 1, 2**62, -(2**63), 2**63 - 1)


def event(event_type: EventType, at: str, **changes: Any) -> bytes:
    given = {"id": "a", "type": event_type, "timestamp": at, "id_usuario": "u", "id_contenido": "t", "evento": "play"}
    return json.dumps(given | changes).encode("utf-8", "surrogatepass")


def message(event_type: EventType, offset: int, value: bytes | None, kafka_ms: int) -> Message:
    return Message(TOPICS[event_type], 0, offset, None, value, None, None, (1, kafka_ms))


def by_ingest(messages: list[Message], read_at: datetime, skew: float = 900) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Return what ingest accepts, by topic and offset: the values, and Kafka's timestamp as the lake orders by it."""
    found = {}
    for table, rows in parse(_columns(messages), TYPES, read_at, skew).tables.items():
        for row in rows.to_pylist() if table != QUARANTINE else ():
            values = tuple(row[f.name] for f in fields_of(TYPES[row["kafka_topic"]]))
            order = UNDATED if row["kafka_timestamp"] is None else micros_of(row["kafka_timestamp"]) // 1000
            found[row["kafka_topic"], row["kafka_offset"]] = (*values, order)
    return found


def by_server(messages: list[Message], read_at: datetime, skew: float = 900) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Return the same of what the server's follower takes."""
    follower = Follower(SETTINGS.kafka, LIVE, {}, max_skew_seconds=skew)
    return {
        (TOPICS[each.type], each.offset): (*each.values, each.kafka_time)
        for each in follower._events(messages, read_at)
    }


@st.composite
def sent(draw: st.DrawFn) -> tuple[list[Message], datetime, float]:
    """Messages whose event times and Kafka timestamps lie about the moment of reading, or are absurd."""
    read_at = draw(st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1))).replace(tzinfo=UTC)
    read_ms = micros_of(read_at) // 1000
    near = st.sampled_from([-86_400_000, -900_001, -900_000, -1, 0, 1, 900_000, 900_001, 1_800_001, 31_536_000_000])
    kafka = st.sampled_from([*ABSURD, read_ms // 1000, read_ms * 1000]) | near.map(lambda ms: read_ms + ms)
    times = near.map(lambda ms: (read_at + timedelta(milliseconds=ms)).isoformat()) | TIMES
    changes = st.dictionaries(st.sampled_from(["id", "id_usuario", "generos", "pais", "titulo"]), BOUNDS, max_size=1)
    messages = []
    for offset in range(draw(st.integers(1, 8))):
        event_type = draw(st.sampled_from(EVENT_TYPES))
        value = event(event_type, draw(times), **draw(changes))
        messages.append(message(event_type, offset, value, draw(kafka)))
    return messages, read_at, draw(st.sampled_from([0, 900, 86_400]))


@pytest.mark.parametrize("block", [1, 1_000])
@given(given=sent())
def test_ingest_and_server_decide_alike_on_anything(block: int, given: tuple[list[Message], datetime, float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(follow, "_BLOCK", block)
        assert by_server(*given) == by_ingest(*given)


@pytest.mark.parametrize(
    "kafka_ms", [*ABSURD, micros_of(READ) // 1_000_000, micros_of(READ), micros_of(READ) // 1000 - 1]
)
def test_what_users_do_now_counts_whatever_kafka_s_timestamp_says(kafka_ms: int) -> None:
    given = [message("interaction", 7, event("interaction", (READ - timedelta(seconds=1)).isoformat()), kafka_ms)]
    assert by_server(given, READ).keys() == by_ingest(given, READ).keys() == {(TOPICS["interaction"], 7)}


@pytest.mark.parametrize("kafka_ms", [*ABSURD, micros_of(READ) // 1000, micros_of(READ + timedelta(days=365)) // 1000])
@pytest.mark.parametrize("at", ["2099-01-01T00:00:00Z", (READ + timedelta(days=365)).isoformat()])
def test_an_event_of_the_future_counts_for_neither(at: str, kafka_ms: int) -> None:
    given = [message("movie", 7, event("movie", at), kafka_ms)]
    assert by_server(given, READ) == by_ingest(given, READ) == {}
    (row,) = parse(_columns(given), TYPES, READ).rejected.to_pylist()
    assert row["reason"] == "bad timestamp"


def test_the_decision_is_the_same_whenever_a_message_is_read() -> None:
    late = READ + timedelta(days=500)
    given = [
        message("user", n, event("user", (READ + timedelta(seconds=seconds)).isoformat()), micros_of(READ) // 1000)
        for n, seconds in enumerate((0, 900, 901, 86_400))
    ]
    for read_at in (READ, late):
        assert by_server(given, read_at).keys() == by_ingest(given, read_at).keys() == {
            (TOPICS["user"], 0), (TOPICS["user"], 1)
        }  # fmt: skip


def test_null_timestamps_of_kafka_are_read() -> None:
    """Spark's own connector may give none."""
    batch = _columns([message("user", 1, event("user", READ.isoformat()), 1)])
    field = batch.schema.field("timestamp")
    parsed = parse(batch.set_column(5, field, pa.nulls(1, field.type)), TYPES, READ)
    assert parsed.tables.keys() == {"users"}
