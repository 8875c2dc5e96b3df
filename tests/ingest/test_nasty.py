"""Twenty thousand nasty messages through the real thing: each is accepted as the rows say, or quarantined to the byte.

What the rows say is held against the corpus' own verdicts first, which no parser has made.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from operator import itemgetter
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest
from confluent_kafka import KafkaError, Message, Producer
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from pyspark.sql import SparkSession
from tests.ingest.corpus import JSON_DOCUMENTS, NO_JSON_DOCUMENTS, TEXTS, TIMES
from tests.ingest.ingesting import ingest, rows
from tests.ingest.strategies import RECIPES, Recipe, spoilt

from nextreel.events.arrival import latest_event_times, micros_of, moment_of
from nextreel.events.contract import EVENT_TYPES, MAX_MESSAGE_BYTES, TABLES, EventType, Reason, fields_of
from nextreel.events.encode import encode
from nextreel.events.world import World, WorldConfig
from nextreel.ingest.rows import Rejected, read
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.lake.layout import QUARANTINE, SCHEMAS, Lake
from nextreel.lake.place import Place
from nextreel.settings import Settings

N = 20_000
N_RECIPES = 400

WORLD = World(WorldConfig(n_users=60, n_movies=40, n_series=20, n_interactions=400))
VALID = {e: [value.as_py() for value in encode(WORLD.events(e, 0, 60))] for e in EVENT_TYPES}
#: A text of each type that may be anything.
TEXT_FIELD: dict[EventType, str] = {
    "user": "nombre_usuario", "movie": "titulo", "series": "titulo", "interaction": "dispositivo",
}  # fmt: skip
EMPTY = [None, b"", None, b""]


@dataclass(frozen=True)
class Sent:
    """A message: what type its topic carries, its key and its value."""

    event_type: EventType
    key: bytes | None
    value: bytes | None


# What is sent


def with_document(event_type: EventType, document: bytes, field: str) -> bytes:
    """Return a valid event with a document in the place of a field's value."""
    event = {k: v for k, v in orjson.loads(VALID[event_type][0]).items() if k != field}
    return orjson.dumps(event)[:-1] + b',"' + field.encode() + b'":' + document + b"}"


def with_text(event_type: EventType, text: str) -> bytes:
    return orjson.dumps(orjson.loads(VALID[event_type][1]) | {TEXT_FIELD[event_type]: text, "id": text})


def large(event_type: EventType) -> Iterator[bytes]:
    """Yield messages about as large as a message may be."""
    for size in (MAX_MESSAGE_BYTES - 1, MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1):
        event = with_text(event_type, "x")
        yield event + b" " * (size - len(event))
        yield event.replace(b'"x"', b'"' + b"x" * (size - len(event) + 1) + b'"', 1)
    yield with_document(event_type, b"[" + b"[]," * 330_000 + b"1]", "more")
    yield b"[" * MAX_MESSAGE_BYTES
    yield b"\xff" * (MAX_MESSAGE_BYTES + 1)


def entangled(event_type: EventType) -> Iterator[list[bytes]]:
    """Yield messages that together are as many objects as messages, though not one each."""
    valid = VALID[event_type]
    for end in (b',"more":', b',"more":[', b',"more":"', b",", b""):
        yield [valid[0][:-1] + end, valid[1], valid[2] + valid[3]]
        yield [valid[2] + valid[3], valid[0][:-1] + end, valid[1]]
    yield [valid[0] + valid[1], b"", valid[2]]
    yield [valid[0] + b"\n" + valid[1], b"{", b"}"]
    yield [valid[0][:20], valid[0][20:], valid[1]]


def from_corpus() -> Iterator[tuple[EventType, bytes | None]]:
    documents = JSON_DOCUMENTS + NO_JSON_DOCUMENTS
    for i, document in enumerate(documents):
        event_type = EVENT_TYPES[i % 4]
        yield event_type, document
        for field in ("more", "id", TEXT_FIELD[event_type], "generos", "calificacion", "timestamp", "type"):
            yield event_type, with_document(event_type, document, field)
    for i, moment in enumerate(TIMES):
        yield EVENT_TYPES[i % 4], with_document(EVENT_TYPES[i % 4], orjson.dumps(moment), "timestamp")
    for i, text in enumerate(TEXTS):
        yield EVENT_TYPES[i % 4], with_text(EVENT_TYPES[i % 4], text)
    for event_type in EVENT_TYPES:
        yield from ((event_type, value) for value in [*EMPTY, *large(event_type)])


@cache
def recipes(n: int) -> list[Recipe]:
    """Return what hypothesis draws, the same every time."""
    found: list[Recipe] = []

    @hypothesis_settings(
        derandomize=True, database=None, deadline=None, max_examples=n,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(RECIPES)
    def collect(recipe: Recipe) -> None:
        found.append(recipe)

    collect()
    return found


def messages() -> list[Sent]:
    """Return the messages, one in six of them valid, mixed so that all kinds are neighbours."""
    random, drawn = Random(7), recipes(N_RECIPES)
    odd_keys: list[bytes | None] = [None, b"", b"\xff\x00", "clé".encode()]
    given = [[Sent(e, random.choice(odd_keys), raw)] for e, raw in from_corpus()]
    # Messages with the same key stay together: Kafka keeps their order.
    given += [[Sent(e, b"together", raw) for raw in group] for e in EVENT_TYPES for group in entangled(e)]
    for i in range(N - sum(map(len, given))):
        event_type = EVENT_TYPES[i % 4]
        raw = random.choice(VALID[event_type])
        value = raw if i % 6 == 5 else spoilt(raw, drawn[i % len(drawn)], random)
        given.append([Sent(event_type, b"%d" % i, value)])
    random.shuffle(given)
    return [sent for group in given for sent in group]


def send(settings: Settings, given: list[Sent]) -> dict[Place, Sent]:
    """Send messages; return them by the places that Kafka has acknowledged."""
    producer = Producer(settings.kafka.client_config | {"message.max.bytes": "2000000", "enable.idempotence": "true"})
    found: dict[Place, Sent] = {}
    topics = topics_by_type(settings.kafka)

    def report(sent: Sent) -> Any:
        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            found[Place(message.topic(), message.partition(), message.offset())] = sent

        return delivered

    for sent in given:
        while True:
            try:
                producer.produce(topics[sent.event_type], sent.value, sent.key, on_delivery=report(sent))
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    return found


# What came of it


def differences(sent: dict[Place, Sent], lake: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Say of every message that is not once in the lake, or not as it should be."""
    times = Counter(place_of(row) for table in lake.values() for row in table)
    yield from (f"{place}: {times[place]} times in the lake" for place in sent.keys() | times if times[place] != 1)
    for table, found in lake.items():
        for row in found:
            message = sent.get(place_of(row))
            if message is not None and (wrong := difference(message, table, row)):
                yield f"{place_of(row)}: {wrong}; sent {message.value!r:.300}"


def difference(message: Sent, table: str, row: dict[str, Any]) -> str:
    """Return what is wrong with the row that a message became; nothing where it is right."""
    try:
        sent = -1 if row["kafka_timestamp"] is None else micros_of(row["kafka_timestamp"]) // 1000
        (latest,) = map(moment_of, latest_event_times(np.array([sent]), row["ingested_at"], 900).tolist())
        event_type, values, _ = read(message.value, row["kafka_topic"], message.event_type, latest)
    except Rejected as rejected:
        expected = {"reason": rejected.reason, "detail": rejected.detail, "raw": message.value, "key": message.key}
        right = QUARANTINE
    else:
        expected = dict(zip((f.name for f in fields_of(event_type)), values, strict=True))
        right = TABLES[event_type]
    if table != right:
        return f"in {table}, not in {right}: {row!r:.300}"
    wrong = {name: (row[name], value) for name, value in expected.items() if row[name] != value}
    return f"there and expected: {wrong!r:.300}" if wrong else ""


def place_of(row: dict[str, Any]) -> Place:
    return Place(row["kafka_topic"], row["kafka_partition"], row["kafka_offset"])


FAULTS = ["lost", "doubled", "moved", "raw", "key", "null", "reason", "detail", "value", "list", "time", "swapped"]


@pytest.mark.slow
def test_every_message_is_accepted_as_it_should_be_or_quarantined_to_the_byte(
    spark: SparkSession, settings: Settings
) -> None:
    create_topics(settings.kafka)
    sent = send(settings, messages())
    batches = ingest(spark, settings)
    lake = {table: rows(Lake(settings.lake), table) for table in SCHEMAS}
    assert {table: sum(batch.rows.get(table, 0) for batch in batches) for table in SCHEMAS} == {
        table: len(found) for table, found in lake.items()
    }
    assert len(sent) == N
    assert list(differences(sent, lake)) == []
    assert sum(map(len, lake.values())) == N
    # They are nasty indeed, of all kinds, and few are the same.
    assert len({(s.event_type, s.value) for s in sent.values()}) > 0.8 * N
    assert Counter(row["reason"] for row in lake[QUARANTINE]).keys() == set(Reason)
    assert all(len(lake[TABLES[event_type]]) > 1_000 for event_type in EVENT_TYPES)
    assert len(lake[QUARANTINE]) > 0.4 * N
    assert [row["raw"] for row in lake[QUARANTINE]].count(None) >= 8

    in_order = sorted(sent.items(), key=itemgetter(0))
    some = {place: message for i, (place, message) in enumerate(in_order) if i % 10 == 0 or message.value == b""}
    of_some = {table: [row for row in found if place_of(row) in some] for table, found in lake.items()}
    assert list(differences(some, of_some)) == []
    for fault in FAULTS:
        found = list(differences(some, with_fault(of_some, fault)))
        assert found, f"{fault}: it would not be seen if a single one were wrong"
        assert len(found) <= 2 or fault == "swapped"


def with_fault(right: dict[str, list[dict[str, Any]]], fault: str) -> dict[str, list[dict[str, Any]]]:
    """Return the lake's tables with one row that is not as it should be."""
    lake = {table: list(found) for table, found in right.items()}
    quarantined, users = lake[QUARANTINE], lake["users"]
    row = users[17]
    match fault:
        case "lost":
            users.pop()
        case "doubled":
            users.append(row)
        case "moved":
            quarantined[0] = {**quarantined[0], "kafka_offset": quarantined[0]["kafka_offset"] + 10**6}
        case "raw" | "key" | "reason" | "detail":
            at = next(i for i, r in enumerate(quarantined) if r[fault] is not None)  # some have no key
            spoilt = quarantined[at][fault] + (b" " if fault in ("raw", "key") else " ")
            quarantined[at] = quarantined[at] | {fault: spoilt}
        case "null":
            at = next(i for i, r in enumerate(quarantined) if r["raw"] == b"")
            quarantined[at] = quarantined[at] | {"raw": None}
        case "value":
            users[17] = row | {"id": row["id"] + " "}
        case "list":
            users[17] = row | {"generos": [*(row["generos"] or []), "one more"]}
        case "time":
            users[17] = row | {"timestamp": row["timestamp"].replace(microsecond=row["timestamp"].microsecond ^ 1)}
        case "swapped":
            lake["users"], lake["movies"] = lake["movies"], lake["users"]
    return lake


# The corpus' own verdicts


def verdict(event_type: EventType, value: bytes | None) -> Reason | None:
    try:
        read(value, "topic", event_type)
    except Rejected as rejected:
        return rejected.reason
    return None


@pytest.mark.parametrize("document", JSON_DOCUMENTS, ids=lambda d: repr(d[:30]))
def test_a_document_of_the_corpus_is_json(document: bytes) -> None:
    alone = Reason.MISSING_FIELD if document.strip().startswith(b"{") else Reason.NOT_AN_OBJECT
    for event_type in EVENT_TYPES:
        assert verdict(event_type, document) == alone
        assert verdict(event_type, with_document(event_type, document, "more")) is None


@pytest.mark.parametrize("document", NO_JSON_DOCUMENTS, ids=lambda d: repr(d[:30]))
def test_a_document_of_the_corpus_is_no_json(document: bytes) -> None:
    for event_type in EVENT_TYPES:
        for value in (document, with_document(event_type, document, "more"), with_document(event_type, document, "id")):
            assert verdict(event_type, value) in (Reason.NOT_JSON, Reason.NOT_UTF8)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_texts_of_the_corpus_come_out_as_they_went_in(event_type: EventType) -> None:
    names = [f.name for f in fields_of(event_type)]
    for text, (field, longest) in product(TEXTS, (("id", 256), (TEXT_FIELD[event_type], 4_096))):
        message = orjson.dumps(orjson.loads(VALID[event_type][1]) | {field: text})
        if "\0" in text or len(text) > longest:
            with pytest.raises(Rejected) as refused:
                read(message, "topic", event_type)
            assert refused.value.reason in (Reason.FORBIDDEN_CHARACTER, Reason.TOO_LONG)
            continue
        _, values, _ = read(message, "topic", event_type)
        assert dict(zip(names, values, strict=True))[field] == text


def test_the_messages_are_the_same_every_time_and_spoilt_in_every_way() -> None:
    assert repr(recipes(30)) == repr(recipes.__wrapped__(30))  # NaN is never the same as itself
    assert len({way for recipe in recipes(N_RECIPES) for way in recipe.ways}) == 18
    assert len(JSON_DOCUMENTS) + len(NO_JSON_DOCUMENTS) + len(TEXTS) + len(TIMES) > 600
