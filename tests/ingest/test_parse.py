"""The parser: what it forgives, what it refuses and why, and that nothing at all makes it stop."""

import bz2
import gzip
import json
import lzma
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ingest.strategies import JSON

from nextreel.events.contract import (
    EVENT_TYPES,
    FIELDS,
    MAX_MESSAGE_BYTES,
    TABLES,
    EventType,
    Kind,
    Reason,
    event_schema,
    fields_of,
)
from nextreel.events.encode import encode
from nextreel.events.faults import FAULTS
from nextreel.events.world import World, WorldConfig
from nextreel.ingest.consume import MESSAGES
from nextreel.ingest.parse import Parsed, parse
from nextreel.lake.layout import QUARANTINE, SCHEMAS

#: Late enough for all event times that the contract knows to be of the past.
NOW = datetime(2099, 12, 31, 23, 59, 59, tzinfo=UTC)
SENT = datetime(2099, 12, 31, 23, 59, 58, 250_000, tzinfo=UTC)
TOPICS: dict[str, EventType] = {"u": "user", "m": "movie", "s": "series", "i": "interaction"}
TOPIC_OF = {event_type: topic for topic, event_type in TOPICS.items()}

USER: dict[str, Any] = {
    "id": "u1",
    "type": "user",
    "timestamp": "2025-03-01T10:20:30Z",
    "nombre_usuario": "ana_91",
    "fecha_suscripcion": "2024-11-30",
    "generos": ["Drama", "Crime"],
    "directores": ["Lucrecia Martel"],
    "actores": [],
    "clasificacion": "PG-13",
    "decadas_favoritas": ["1990s"],
    "pais": "AR",
    "grupo_edad": "25-34",
}
MOVIE: dict[str, Any] = {
    "id": "m1",
    "type": "movie",
    "timestamp": "2025-03-01T10:20:30Z",
    "titulo": "La ciénaga",
    "generos": ["Drama"],
    "directores": ["Lucrecia Martel"],
    "actores": ["Graciela Borges", "Mercedes Morán"],
    "clasificacion": "R",
    "decada_lanzamiento": "2000s",
}
SERIES: dict[str, Any] = MOVIE | {
    "id": "s1",
    "type": "series",
    "titulo": "El reino",
    "clasificacion": "TV-MA",
    "decada_lanzamiento": "2020s",
    "numero_temporadas": "2",
    "numero_episodios": "14",
}
INTERACTION: dict[str, Any] = {
    "id": "i1",
    "type": "interaction",
    "timestamp": "2025-03-01T10:20:30Z",
    "id_usuario": "u1",
    "id_contenido": "m1",
    "evento": "rate",
    "calificacion": 4.5,
    "porcentaje_visto": 97.25,
    "dispositivo": "tv",
}
EVENTS: dict[EventType, dict[str, Any]] = {"user": USER, "movie": MOVIE, "series": SERIES, "interaction": INTERACTION}


def messages(values: list[bytes | None], topic: str = "u") -> pa.RecordBatch:
    n = len(values)
    keys = [b"key-%d" % i for i in range(n)]
    columns = [keys, values, [topic] * n, [3] * n, list(range(100, 100 + n)), [SENT] * n, [0] * n, [None] * n]
    arrays = [pa.array(column, f.type) for column, f in zip(columns, MESSAGES, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=MESSAGES)


HEADERS = [{"key": "trace", "value": b"1"}, {"key": "trace", "value": None}]


def test_quarantine_keeps_headers() -> None:
    batch = messages([b"{", orjson.dumps(USER), b"["])
    field = MESSAGES.field("headers")
    sent = batch.set_column(7, field, pa.array([HEADERS, HEADERS, None], field.type))
    rejected = parse(sent, TOPICS, NOW).rejected
    assert rejected.column("headers").to_pylist() == [HEADERS, None]
    assert rejected.column("key").to_pylist() == [b"key-0", b"key-2"]
    assert rejected.column("raw").to_pylist() == [b"{", b"["]


def test_headers_may_not_be_there() -> None:
    """Spark's own connector gives them only where it is asked to."""
    rejected = parse(messages([b"{"]).drop_columns(["headers"]), TOPICS, NOW).rejected
    assert rejected.column("headers").to_pylist() == [None]
    assert rejected.column("raw").to_pylist() == [b"{"]


def one(value: bytes | None, topic: str = "u", now: datetime = NOW) -> tuple[str, dict[str, Any]]:
    """Return the table and the row that one message becomes."""
    parsed = parse(messages([value], topic), TOPICS, now)
    ((table, rows),) = parsed.tables.items()
    assert rows.schema == SCHEMAS[table]
    (row,) = rows.to_pylist()
    return table, row


def accepted(event: dict[str, Any]) -> dict[str, Any]:
    table, row = one(json.dumps(event).encode(), TOPIC_OF[event["type"]])
    assert table == TABLES[event["type"]], row
    return row


def refused(event: dict[str, Any]) -> tuple[str, str]:
    raw = json.dumps(event).encode()
    table, row = one(raw, TOPIC_OF[event["type"]])
    assert table == QUARANTINE, row
    assert row["raw"] == raw
    return row["reason"], row["detail"]


# What is accepted


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_complete_event_becomes_its_row(event_type: EventType) -> None:
    row = accepted(EVENTS[event_type])
    moment = datetime(2025, 3, 1, 10, 20, 30, tzinfo=UTC)
    assert {f.name for f in fields_of(event_type)} == EVENTS[event_type].keys()
    assert {f.name: row[f.name] for f in fields_of(event_type)} == EVENTS[event_type] | {"timestamp": moment}


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_row_knows_its_message(event_type: EventType) -> None:
    row = accepted(EVENTS[event_type])
    assert row["kafka_topic"] == TOPIC_OF[event_type]
    assert (row["kafka_partition"], row["kafka_offset"]) == (3, 100)
    assert (row["kafka_timestamp"], row["ingested_at"]) == (SENT, NOW)


@pytest.mark.parametrize("nothing", ["n/a", None, ""])
@pytest.mark.parametrize(
    ("event_type", "name"),
    [(e, f.name) for e in EVENT_TYPES for f in fields_of(e) if e not in f.required and f.name != "calificacion"],
)
def test_nothing_given_is_null_whatever_the_type(event_type: EventType, name: str, nothing: str | None) -> None:
    event = EVENTS[event_type]
    assert event[name] is not None
    assert accepted(event | {name: nothing})[name] is None


@pytest.mark.parametrize("nothing", ["n/a", None, ""])
def test_nothing_given_is_left_out_of_lists(nothing: str | None) -> None:
    assert accepted(USER | {"generos": ["Drama", nothing, "Crime"]})["generos"] == ["Drama", "Crime"]
    assert accepted(USER | {"generos": [nothing]})["generos"] == []


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_optional_fields_may_be_missing(event_type: EventType) -> None:
    required = {f.name for f in fields_of(event_type) if event_type in f.required} | {"calificacion"}
    event = {k: v for k, v in EVENTS[event_type].items() if k in required}
    row = accepted(event)
    optional = [f.name for f in fields_of(event_type) if f.name not in required]
    assert optional
    assert [row[name] for name in optional] == [None] * len(optional)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"4", "4"),
        (b"4.5", "4.5"),
        (b"1990.0", "1990.0"),
        (b"-3", "-3"),
        (b"0", "0"),
        (b"18446744073709551615", "18446744073709551615"),
    ],
)
def test_numbers_are_read_where_the_contract_says_string(written: bytes, read: str) -> None:
    raw = orjson.dumps(SERIES | {"numero_temporadas": "@", "generos": ["@", "Drama"]}).replace(b'"@"', written)
    table, row = one(raw, "s")
    assert table == "series"
    assert row["numero_temporadas"] == read
    assert row["generos"] == [read, "Drama"]


def test_a_whole_number_is_read_where_the_contract_says_number() -> None:
    assert accepted(INTERACTION | {"calificacion": 4})["calificacion"] == 4.0


def test_unknown_fields_are_ignored_and_counted() -> None:
    values: list[bytes | None] = [
        orjson.dumps(USER | {"email": "a@b.example", "x": {"deep": [1]}}),
        orjson.dumps(USER | {"email": None}),
        orjson.dumps(USER | {"email": "rejected, so not counted", "id": None}),
    ]
    parsed = parse(messages(values), TOPICS, NOW)
    assert parsed.unknown_fields == Counter({"email": 2, "x": 1})
    assert parsed.tables["users"].num_rows == 2
    assert parsed.rejected.num_rows == 1


def test_a_field_of_another_type_is_neither_stored_nor_unknown() -> None:
    parsed = parse(messages([orjson.dumps(USER | {"titulo": "n/a", "numero_temporadas": 4})]), TOPICS, NOW)
    assert parsed.unknown_fields == Counter()
    assert "titulo" not in parsed.tables["users"].column_names


def test_of_duplicate_keys_the_last_counts() -> None:
    table, row = one(b'{"id":"a","id":"b","type":"user","timestamp":"2025-03-01T10:20:30Z"}')
    assert (table, row["id"]) == ("users", "b")


@pytest.mark.parametrize("text", ["\x01", "a\x7fb", "\ufeff", "🎬", "\u202e", " ", "=1+1", "línea\nnueva", "NULL"])
def test_odd_text_is_kept_as_it_is(text: str) -> None:
    assert accepted(USER | {"nombre_usuario": text})["nombre_usuario"] == text


@pytest.mark.parametrize("verb", ["play", "complete", "list", "skip"])
def test_only_a_rating_needs_its_stars(verb: str) -> None:
    assert accepted(INTERACTION | {"evento": verb, "calificacion": "n/a"})["calificacion"] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("calificacion", 0.5), ("calificacion", 5.0), ("porcentaje_visto", 0), ("porcentaje_visto", 100)],
)
def test_bounds_are_included(name: str, value: float) -> None:
    assert accepted(INTERACTION | {name: value})[name] == value


# What is refused


@pytest.mark.parametrize(
    ("event", "reason", "detail"),
    [
        (USER | {"id": ""}, Reason.MISSING_FIELD, "id"),
        (USER | {"timestamp": None}, Reason.MISSING_FIELD, "timestamp"),
        ({k: v for k, v in INTERACTION.items() if k != "id_usuario"}, Reason.MISSING_FIELD, "id_usuario"),
        (INTERACTION | {"id_contenido": "n/a"}, Reason.MISSING_FIELD, "id_contenido"),
        (INTERACTION | {"evento": None}, Reason.MISSING_FIELD, "evento"),
        (INTERACTION | {"calificacion": "n/a"}, Reason.MISSING_FIELD, "calificacion"),
        (INTERACTION | {"calificacion": None}, Reason.MISSING_FIELD, "calificacion"),
        (INTERACTION | {"calificacion": ""}, Reason.MISSING_FIELD, "calificacion"),
        (INTERACTION | {"calificacion": 0.49}, Reason.OUT_OF_RANGE, "calificacion: 0.49; allowed is 0.5 to 5.0"),
        (INTERACTION | {"calificacion": 5.01}, Reason.OUT_OF_RANGE, "calificacion: 5.01"),
        (INTERACTION | {"calificacion": 10**19}, Reason.OUT_OF_RANGE, "calificacion: 10000000000000000000"),
        (INTERACTION | {"porcentaje_visto": -0.1}, Reason.OUT_OF_RANGE, "porcentaje_visto: -0.1"),
        (INTERACTION | {"porcentaje_visto": 100.5}, Reason.OUT_OF_RANGE, "allowed is 0.0 to 100.0"),
        (INTERACTION | {"evento": "watch"}, Reason.OUT_OF_RANGE, "evento: 'watch'; allowed are play, complete, rate"),
        (INTERACTION | {"calificacion": "4.5"}, Reason.WRONG_TYPE, "calificacion: expected a number, not a string"),
        (INTERACTION | {"calificacion": True}, Reason.WRONG_TYPE, "not a boolean"),
        (INTERACTION | {"calificacion": [4]}, Reason.WRONG_TYPE, "not an array"),
        (USER | {"id": False}, Reason.WRONG_TYPE, "id: expected a string, not a boolean"),
        (USER | {"pais": {"code": "AR"}}, Reason.WRONG_TYPE, "pais: expected a string, not an object"),
        (USER | {"generos": "Drama"}, Reason.WRONG_TYPE, "generos: expected an array of strings, not a string"),
        (USER | {"generos": 7}, Reason.WRONG_TYPE, "not a number"),
        (USER | {"generos": ["Drama", True]}, Reason.WRONG_TYPE, "generos[1]: expected a string, not a boolean"),
        (USER | {"id": 2**70}, Reason.WRONG_TYPE, "id: expected a string; a number this large cannot be read exactly"),
        (USER | {"generos": [["Drama"]]}, Reason.WRONG_TYPE, "generos[0]"),
        (USER | {"id": "x" * 257}, Reason.TOO_LONG, "id: 257 characters; at most 256 are allowed"),
        (INTERACTION | {"id_usuario": "🎬" * 257}, Reason.TOO_LONG, "id_usuario: 257 characters"),
        (INTERACTION | {"id_contenido": "x" * 900_000}, Reason.TOO_LONG, "id_contenido: 900,000 characters"),
        (MOVIE | {"titulo": "x" * 4_097}, Reason.TOO_LONG, "titulo: 4,097 characters; at most 4,096 are allowed"),
        (MOVIE | {"generos": ["x" * 1_025]}, Reason.TOO_LONG, "generos[0]: 1,025 characters; at most 1,024"),
        (MOVIE | {"generos": list(map(str, range(101)))}, Reason.TOO_LONG, "generos: 101 entries; at most 100"),
        (USER | {"id": "a\0b"}, Reason.FORBIDDEN_CHARACTER, "id: U+0000 at character 2"),
        (MOVIE | {"actores": ["a", "\0"]}, Reason.FORBIDDEN_CHARACTER, "actores[1]: U+0000 at character 1"),
        (USER | {"timestamp": True}, Reason.WRONG_TYPE, "timestamp: expected a string, not a boolean"),
        (USER | {"timestamp": 1_740_824_430}, Reason.BAD_TIMESTAMP, "'1740824430' is not ISO 8601"),
    ],
)
def test_refused_with_reason_and_detail(event: dict[str, Any], reason: Reason, detail: str) -> None:
    given_reason, given_detail = refused(event)
    assert given_reason == reason
    assert detail in given_detail


@pytest.mark.parametrize(
    ("raw", "reason", "detail"),
    [
        (None, Reason.EMPTY, "no value"),
        (b"", Reason.EMPTY, "no value"),
        (b"  \n", Reason.NOT_JSON, ""),
        (b"\x00", Reason.NOT_JSON, ""),
        (b"{", Reason.NOT_JSON, ""),
        (b"{'id': 'u1'}", Reason.NOT_JSON, ""),
        (b'{"id":NaN}', Reason.NOT_JSON, ""),
        (b'{"id":-Infinity}', Reason.NOT_JSON, ""),
        (b'{"id":1e999}', Reason.NOT_JSON, ""),
        (b'{"id":1' + b"0" * 400 + b"}", Reason.NOT_JSON, ""),
        (b'{"id":"\\ud800"}', Reason.NOT_JSON, "surrogate"),
        (b'\xef\xbb\xbf{"id":"u1"}', Reason.NOT_JSON, ""),
        (b'{"id":"u1"}{"id":"u2"}', Reason.NOT_JSON, ""),
        (b"[" * 100_000, Reason.NOT_JSON, ""),
        (b'{"a":' * 100_000, Reason.NOT_JSON, ""),
        (b"[" * 5_000 + b"]" * 5_000, Reason.NOT_JSON, ""),
        (b'{"id":"\xff"}', Reason.NOT_UTF8, "byte 7"),
        (b'{"id":"\xed\xa0\x80"}', Reason.NOT_UTF8, "byte 7"),
        (b'{"id":"\xc0\xaf"}', Reason.NOT_UTF8, "byte 7"),
        ('{"id":"u1"}'.encode("utf-16"), Reason.NOT_UTF8, "byte 0"),
        (b"[]", Reason.NOT_AN_OBJECT, "an array"),
        (b"null", Reason.NOT_AN_OBJECT, "null"),
        (b"1.5", Reason.NOT_AN_OBJECT, "a number"),
        (b"true", Reason.NOT_AN_OBJECT, "a boolean"),
        (b'"user"', Reason.NOT_AN_OBJECT, "a string"),
        (b"{}", Reason.MISSING_FIELD, "type"),
        (b'{"type":"n/a"}', Reason.MISSING_FIELD, "type"),
        (b'{"type":""}', Reason.MISSING_FIELD, "type"),
        (b'{"type":null}', Reason.MISSING_FIELD, "type"),
        (b'{"type":["user"]}', Reason.WRONG_TYPE, "type: expected a string, not an array"),
        (b'{"type":{}}', Reason.WRONG_TYPE, "type: expected a string, not an object"),
        (b'{"type":1}', Reason.WRONG_TYPE, "type: expected a string, not a number"),
        (b'{"type":"User"}', Reason.UNKNOWN_TYPE, "'User'; known are user, movie, series, interaction"),
        (b'{"type":"movie"}', Reason.WRONG_TOPIC, "a movie event on u, which carries user"),
    ],
)
def test_bytes_that_are_no_event(raw: bytes | None, reason: Reason, detail: str) -> None:
    table, row = one(raw)
    assert (table, row["reason"], row["raw"], row["key"]) == (QUARANTINE, reason, raw, b"key-0")
    assert detail in row["detail"]
    assert (row["kafka_topic"], row["kafka_partition"], row["kafka_offset"]) == ("u", 3, 100)
    assert (row["kafka_timestamp"], row["ingested_at"]) == (SENT, NOW)


def test_an_event_on_a_topic_that_nobody_knows() -> None:
    table, row = one(orjson.dumps(USER), "somewhere_else")
    assert (table, row["reason"]) == (QUARANTINE, Reason.WRONG_TOPIC)
    assert row["detail"] == "a user event on somewhere_else, which carries nothing known"


@pytest.mark.parametrize(("size", "table"), [(MAX_MESSAGE_BYTES, "users"), (MAX_MESSAGE_BYTES + 1, QUARANTINE)])
def test_the_largest_message(size: int, table: str) -> None:
    empty = orjson.dumps(USER | {"unknown": "@"})
    raw = empty.replace(b"@", b"x" * (size - len(empty) + 1))
    assert len(raw) == size
    found, row = one(raw)
    assert found == table
    if table == QUARANTINE:
        assert row["reason"] == Reason.TOO_LARGE
        assert row["detail"] == "1,000,001 bytes; at most 1,000,000 are read"
        assert row["raw"] == raw


_FRAME = b"\x00\x00\x00\x01\xf4"


@pytest.mark.parametrize(
    ("raw", "reason", "named"),
    [
        (_FRAME + orjson.dumps(USER), Reason.NOT_UTF8, "schema registry's frame (0x00 and schema id 500)"),
        (b"\x00\x00\x00\x00\x07" + orjson.dumps(USER), Reason.NOT_JSON, "(0x00 and schema id 7)"),
        (_FRAME + b"\x02\x04u1", Reason.NOT_UTF8, "Avro or Protobuf behind a schema registry's frame"),
        (gzip.compress(orjson.dumps(USER), mtime=0), Reason.NOT_UTF8, "looks like gzip"),
        (bz2.compress(orjson.dumps(USER)), Reason.NOT_UTF8, "looks like bzip2"),
        (lzma.compress(orjson.dumps(USER)), Reason.NOT_UTF8, "looks like xz"),
        (pa.compress(orjson.dumps(USER), "zstd", asbytes=True), Reason.NOT_UTF8, "looks like zstd"),
        (pa.compress(orjson.dumps(USER), "lz4", asbytes=True), Reason.NOT_UTF8, "looks like lz4"),
        (b"\xff\x06\x00\x00sNaPpY\x01", Reason.NOT_UTF8, "looks like snappy"),
        (b"\x82SNAPPY\x00\x00\x00\x00\x01", Reason.NOT_UTF8, "looks like snappy"),
        (b"\xef\xbb\xbf" + orjson.dumps(USER), Reason.NOT_JSON, "a byte order mark"),
        (orjson.dumps(USER).decode().encode("utf-16"), Reason.NOT_UTF8, "looks like UTF-16"),
    ],
    ids=(
        "frame",
        "frame before JSON",
        "frame before Avro",
        "gzip",
        "bzip2",
        "xz",
        "zstd",
        "lz4",
        "snappy",
        "snappy-java",
        "bom",
        "utf16",
    ),
)
def test_the_detail_names_the_format_of_a_value_that_is_no_json(raw: bytes, reason: Reason, named: str) -> None:
    table, row = one(raw)
    assert (table, row["reason"], row["raw"]) == (QUARANTINE, reason, raw)
    assert named in row["detail"]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize(("reason", "break_it"), FAULTS)
def test_every_fault_of_the_demonstration_gives_its_reason(
    event_type: EventType, reason: Reason, break_it: Any
) -> None:
    raw = break_it(EVENTS[event_type])
    table, row = one(raw, TOPIC_OF[event_type], datetime(2026, 3, 1, tzinfo=UTC))
    assert (table, row["reason"], row["raw"]) == (QUARANTINE, reason, raw)


# Times


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-03-01T10:20:30Z", datetime(2025, 3, 1, 10, 20, 30)),
        ("2025-03-01T10:20:30", datetime(2025, 3, 1, 10, 20, 30)),
        ("2025-03-01 10:20:30", datetime(2025, 3, 1, 10, 20, 30)),
        ("2025-03-01T10:20", datetime(2025, 3, 1, 10, 20)),
        ("2025-03-01", datetime(2025, 3, 1)),
        ("2025-03-01t10:20:30z", datetime(2025, 3, 1, 10, 20, 30)),
        ("2025-03-01T10:20:30+02:00", datetime(2025, 3, 1, 8, 20, 30)),
        ("2025-03-01T10:20:30+0530", datetime(2025, 3, 1, 4, 50, 30)),
        ("2025-03-01T00:20:30+05", datetime(2025, 2, 28, 19, 20, 30)),
        ("2025-03-01T23:20:30-03:30", datetime(2025, 3, 2, 2, 50, 30)),
        ("2025-03-01T10:20:30-00:00", datetime(2025, 3, 1, 10, 20, 30)),
        ("2025-03-01T10:20:30.1Z", datetime(2025, 3, 1, 10, 20, 30, 100_000)),
        ("2025-03-01T10:20:30.12Z", datetime(2025, 3, 1, 10, 20, 30, 120_000)),
        ("2025-03-01T10:20:30.123Z", datetime(2025, 3, 1, 10, 20, 30, 123_000)),
        ("2025-03-01T10:20:30.1234Z", datetime(2025, 3, 1, 10, 20, 30, 123_400)),
        ("2025-03-01T10:20:30.12345Z", datetime(2025, 3, 1, 10, 20, 30, 123_450)),
        ("2025-03-01T10:20:30.123456Z", datetime(2025, 3, 1, 10, 20, 30, 123_456)),
        ("2025-03-01T10:20:30.1234567Z", datetime(2025, 3, 1, 10, 20, 30, 123_456)),
        ("2025-03-01T10:20:30.12345678Z", datetime(2025, 3, 1, 10, 20, 30, 123_456)),
        ("2025-03-01T10:20:30.123456789Z", datetime(2025, 3, 1, 10, 20, 30, 123_456)),
        ("2025-03-01T10:20:30,5+01:00", datetime(2025, 3, 1, 9, 20, 30, 500_000)),
        ("2024-02-29T23:59:59.999999Z", datetime(2024, 2, 29, 23, 59, 59, 999_999)),
        ("1900-01-01T00:00:00Z", datetime(1900, 1, 1)),
        ("2099-12-31T23:59:59.999999Z", datetime(2099, 12, 31, 23, 59, 59, 999_999)),
    ],
)
def test_times_that_are_read(text: str, moment: datetime) -> None:
    assert accepted(USER | {"timestamp": text})["timestamp"] == moment.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2025-02-29",
        "2025-13-01",
        "2025-00-10",
        "2025-3-1",
        "20250301T102030Z",
        "2025-W09-6",
        "2025W096",
        "2025-060",
        "2016-12-31T23:59:60Z",  # a leap second: no clock of Spark's, Arrow's or Python's has it
        "2025-03-01T24:00:00Z",
        "2025-03-01T25:00:00Z",
        "2025-03-01T10:60:00Z",
        "2025-03-01T10:20:30.Z",
        "2025-03-01T10:20:30.1234567890Z",
        "2025-03-01T10:20:30+24:00",
        "2025-03-01T10:20:30+5",
        "2025-03-01T10:20:30 Z",
        "2025-03-01T10:20:30Z\n",
        " 2025-03-01T10:20:30Z",
        "2025-03-01T10:20:30 Europe/Madrid",
        "2025-03-01T",
        "2025-03-01_10:20:30",
        "٢٠٢٥-03-01",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "1899-12-31T23:59:59Z",
        "1900-01-01T00:00:00+00:01",
        "2100-01-01T00:00:00Z",
        "x" * 100_000,
    ],
)
def test_times_that_are_refused(text: str) -> None:
    reason, detail = refused(USER | {"timestamp": text})
    assert reason == Reason.BAD_TIMESTAMP
    assert len(detail) < 150


@given(
    st.datetimes(datetime(1901, 1, 1), datetime(2099, 1, 1)),
    st.one_of(st.none(), st.integers(-23 * 60 - 59, 23 * 60 + 59)),
)
def test_any_time_is_read_back(moment: datetime, minutes: int | None) -> None:
    zone = "" if minutes is None else f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    utc = (moment - timedelta(minutes=minutes or 0)).replace(tzinfo=UTC)
    assert accepted(USER | {"timestamp": moment.isoformat() + zone})["timestamp"] == utc


def at_kafka_times(batch: pa.RecordBatch, times: list[datetime]) -> pa.RecordBatch:
    field = MESSAGES.field("timestamp")
    return batch.set_column(5, field, pa.array(times, field.type))


@pytest.mark.parametrize("shape", [str, lambda text: text.replace("Z", "+00:00"), lambda text: text.replace("T", " ")])
@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("2026-03-01T10:35:30Z", "users"),
        ("2026-03-01T10:35:30.000001Z", QUARANTINE),
        ("2098-01-01T00:00:00Z", QUARANTINE),
    ],
)
def test_an_event_of_the_far_future(text: str, table: str, shape: Callable[[str], str]) -> None:
    raw = orjson.dumps(USER | {"timestamp": shape(text)})
    neighbour = orjson.dumps(USER)
    arrived = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)
    batch = at_kafka_times(messages([neighbour, raw, neighbour]), [arrived] * 3)
    parsed = parse(batch, TOPICS, arrived + timedelta(days=40))
    assert {name: rows.num_rows for name, rows in parsed.tables.items()} == Counter({"users": 2}) + Counter({table: 1})
    if table == QUARANTINE:
        (row,) = parsed.rejected.to_pylist()
        assert (row["reason"], row["raw"]) == (Reason.BAD_TIMESTAMP, raw)
        assert row["detail"] == (
            f"timestamp: {shape(text)!r} is later than 2026-03-01T10:35:30+00:00, which is "
            "contract.max_clock_skew_seconds after the message arrived"
        )


def test_the_past_is_open() -> None:
    parsed = parse(messages([orjson.dumps(USER | {"timestamp": "1900-01-01"})]), TOPICS, NOW)
    assert parsed.tables.keys() == {"users"}


@pytest.mark.parametrize("micros", [2**63 - 1, -(2**63), 253_402_300_800_000_000, -62_135_596_800_000_001])
def test_a_kafka_timestamp_beyond_all_dates_is_null(micros: int) -> None:
    batch = messages([orjson.dumps(USER), b"rejected"])
    strange = pa.array([micros, micros], pa.int64()).cast(MESSAGES.field("timestamp").type)
    parsed = parse(batch.set_column(5, MESSAGES.field("timestamp"), strange), TOPICS, NOW)
    assert [t.column("kafka_timestamp").to_pylist() for t in parsed.tables.values()] == [[None], [None]]


# Whatever comes


def _count(parsed: Parsed) -> int:
    return sum(rows.num_rows for rows in parsed.tables.values())


def test_an_empty_block() -> None:
    parsed = parse(messages([]), TOPICS, NOW)
    assert _count(parsed) == 0
    assert parsed.rejected.schema == SCHEMAS[QUARANTINE]


def test_a_mixed_block_keeps_the_order_and_the_offsets() -> None:
    values: list[bytes | None] = [orjson.dumps(USER), b"?", orjson.dumps(USER | {"id": "u2"}), None, b"[]"]
    parsed = parse(pa.Table.from_batches([messages(values)]), TOPICS, NOW)
    assert parsed.tables.keys() == {"users", QUARANTINE}
    assert parsed.tables["users"].column("kafka_offset").to_pylist() == [100, 102]
    assert parsed.rejected.column("kafka_offset").to_pylist() == [101, 103, 104]
    assert parsed.rejected.column("raw").to_pylist() == [b"?", None, b"[]"]


@given(st.binary(max_size=200), st.sampled_from(sorted(TOPICS)))
def test_any_bytes_are_one_row_of_one_table(raw: bytes, topic: str) -> None:
    table, row = one(raw, topic)
    assert (table, row["raw"]) == (QUARANTINE, raw)


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[bytes, str]:
    """A valid event with some fields replaced by any JSON at all, NaN and lone surrogates included."""
    event_type = draw(st.sampled_from(EVENT_TYPES))
    names = st.sampled_from([f.name for f in FIELDS]) | st.text(max_size=5)
    changes = draw(st.dictionaries(names, JSON, max_size=3))
    return json.dumps(EVENTS[event_type] | changes).encode(), TOPIC_OF[event_type]


@given(spoilt())
def test_any_json_is_one_row_of_one_table(message: tuple[bytes, str]) -> None:
    raw, topic = message
    table, row = one(raw, topic)
    assert table == TABLES[TOPICS[topic]] or (row["raw"] == raw and row["reason"] in set(Reason))


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda t: t != "n/a"
)
_VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    "string": _TEXT,
    "strings": st.lists(_TEXT, max_size=3),
    "number": st.floats(0.5, 5.0),
    "timestamp": st.datetimes(datetime(1901, 1, 1), datetime(2099, 1, 1)).map(lambda t: t.replace(tzinfo=UTC)),
}


@st.composite
def valid(draw: st.DrawFn) -> tuple[EventType, dict[str, Any]]:
    event_type = draw(st.sampled_from(EVENT_TYPES))
    event: dict[str, Any] = {"type": event_type}
    for f in fields_of(event_type):
        if f.name != "type":
            values = st.sampled_from(f.choices) if f.choices else _VALUES[f.kind]
            event[f.name] = draw(values if event_type in f.required else st.none() | values)
    if event.get("evento") == "rate":
        event["calificacion"] = draw(_VALUES["number"])
    return event_type, event


@given(valid())
def test_what_is_encoded_is_read_back_the_same(drawn: tuple[EventType, dict[str, Any]]) -> None:
    event_type, event = drawn
    batch = pa.RecordBatch.from_pylist([event], event_schema(event_type))
    parsed = parse(messages(encode(batch).to_pylist(), TOPIC_OF[event_type]), TOPICS, NOW)
    rows = parsed.tables[TABLES[event_type]].select(batch.schema.names)
    assert rows.to_pylist() == batch.to_pylist()


@pytest.mark.parametrize("event_type", get_args(EventType))
def test_the_world_is_accepted_whole_and_unchanged(event_type: EventType) -> None:
    batch = World(WorldConfig(n_users=200, n_movies=60, n_series=30, n_interactions=900)).events(event_type, 0, 1000)
    parsed = parse(messages(encode(batch).to_pylist(), TOPIC_OF[event_type]), TOPICS, NOW)
    assert parsed.tables.keys() == {TABLES[event_type]}
    assert parsed.tables[TABLES[event_type]].select(batch.schema.names).to_batches()[0].equals(batch)
