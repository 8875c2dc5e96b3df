"""Columns accept only what rows accept, with the same values; and a bad message costs only itself."""

import json
import operator
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json as pj
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ingest.strategies import BOUNDS, JSON, TIMES

from nextreel.events.arrival import micros_of
from nextreel.events.contract import EVENT_TYPES, FIELDS, MAX_MESSAGE_BYTES, EventType, event_schema
from nextreel.events.encode import encode
from nextreel.events.world import World, WorldConfig
from nextreel.ingest.columns import accept
from nextreel.ingest.rows import Rejected, read

WORLD = World(WorldConfig(n_users=60, n_movies=40, n_series=20, n_interactions=400))
VALID = {e: [v.as_py() for v in encode(WORLD.events(e, 0, 60))] for e in EVENT_TYPES}

#: What messages in the wild have been seen to do, and what an attacker would try; none of it may touch a neighbour.
NASTY = [
    b"", b"{", b"}", b"{}", b"[]", b"null", b"{}{}", b"{}\n{}", b'{"id":"a"}{"id":"b"}', b'{"id":{}', b'{"id":"}',
    b'{"id":"a\n"}', b'{"id":"a"} ', b' {"id":"a"}', b'\xef\xbb\xbf{"id":"a"}', b'{"id":"\xff"}', b'{"id":"\\ud800"}',
    b'{"id":"a","id":"b"}', b'{"id":NaN}', b'{"z":NaN}', b'{"z":[1,{"a":Infinity}]}', b'{"id":"a"}\x00{"id":"b"}',
    b'{"z":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"":1}', b'{"calificacion":1e999}', b'{"calificacion":NaN}',
    b'{"id":123456789012345678901234567890}', b'{"id":1.5}', b'{"id":true}', b'{"id":1e400}', b"{//}", b"{\x00}",
    b"{" + b" " * MAX_MESSAGE_BYTES + b"}",
]  # fmt: skip


def judged(
    values: list[bytes | None], event_type: EventType, latest: datetime | None = None
) -> dict[int, tuple[Any, ...]]:
    """Return what the rows accept, by position."""
    found = {}
    for i, raw in enumerate(values):
        try:
            found[i] = read(raw, "topic", event_type, latest)[1]
        except Rejected:
            continue
    return found


def taken(
    values: list[bytes | None], event_type: EventType, latest: datetime | None = None
) -> dict[int, tuple[Any, ...]]:
    """Return what the columns accept, by position."""
    limits = None if latest is None else np.full(len(values), micros_of(latest))
    accepted = accept(pa.array(values, pa.binary()), event_type, limits)
    if accepted is None:
        return {}
    assert accepted.columns.schema.names == event_schema(event_type).names
    columns = [c.to_pylist() for c in accepted.columns.cast(event_schema(event_type)).columns]
    return dict(zip(accepted.rows.tolist(), zip(*columns, strict=True), strict=True))


def assert_agree(
    values: list[bytes | None], event_type: EventType, latest: datetime | None = None
) -> dict[int, tuple[Any, ...]]:
    expected, found = judged(values, event_type, latest), taken(values, event_type, latest)
    assert {i: expected.get(i) for i in found} == found
    return found


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_valid_messages_are_all_taken(event_type: EventType) -> None:
    assert len(assert_agree(VALID[event_type], event_type)) == 60


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_nasty_messages_do_not_touch_their_neighbours(event_type: EventType) -> None:
    values: list[bytes | None] = [None]
    for i, good in enumerate(VALID[event_type]):
        values += [good, NASTY[i % len(NASTY)]]
    assert set(judged(values, event_type)) == set(range(1, 121, 2))
    assert_agree(values, event_type)


@pytest.mark.parametrize("bad", NASTY, ids=lambda raw: repr(raw[:30]))
def test_one_nasty_message_costs_few_others_their_column(bad: bytes) -> None:
    values: list[bytes | None] = [*VALID["movie"] * 8, bad, *VALID["movie"] * 8]
    assert len(assert_agree(values, "movie")) >= 16 * 60 - 64


def spoil(event: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps(event | changes).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"generos": "n/a"},
        {"generos": ["n/a", "Drama", None, ""]},
        {"generos": None, "actores": []},
        {"numero_temporadas": 4},
        {"numero_temporadas": "n/a", "numero_episodios": ""},
        {"decadas_favoritas": "n/a", "nombre_usuario": "n/a", "dispositivo": "n/a", "calificacion": "n/a"},
        {"timestamp": "2025-03-01T10:20:30"},
        {"timestamp": "2025-03-01 10:20:30.123456"},
        {"timestamp": "2025-03-01T10:20:30.123+05:30"},
        {"timestamp": "2025-03-01T10:20:30.123456-03:00"},
        {"timestamp": "2025-03-01T10:20:30.000000Z"},
    ],
    ids=str,
)
def test_what_whole_topics_do_is_taken_in_columns(changes: dict[str, Any]) -> None:
    values: list[bytes | None] = [spoil(orjson.loads(raw), **changes) for raw in VALID["series"]]
    assert len(assert_agree(values, "series")) >= 59  # the first may have to tell


#: What half a topic may do, message by message, and which of it Arrow's reader takes nevertheless.
MIXED: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "no list": (lambda raw: spoil(orjson.loads(raw), generos="n/a"), True),
    "two columns": (lambda raw: spoil(orjson.loads(raw), generos="n/a", nombre_usuario=4), True),
    "a number for an id": (lambda raw: spoil(orjson.loads(raw), id=4), True),
    "a number for a list": (lambda raw: spoil(orjson.loads(raw), generos=4), False),
    "an object for a list": (lambda raw: spoil(orjson.loads(raw), generos={"a": 4}), False),
    "two kinds at once": (lambda raw: raw[:-1] + b',"id":4}', False),
    "no JSON": (lambda raw: raw[:-9] + b"}", False),
}


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
@pytest.mark.parametrize("mixed", MIXED)
def test_mixed_topics_do_not_cost_a_read_a_message(mixed: str, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt, is_taken = MIXED[mixed]
    rng, n_reads, read_json = random.Random(mixed), 0, pj.read_json
    valid = VALID["user"] * 20
    values = [spoilt(raw) if rng.random() < share else raw for raw in valid]

    def counted(*args: Any, **kwargs: Any) -> pa.Table:
        nonlocal n_reads
        n_reads += 1
        return read_json(*args, **kwargs)

    monkeypatch.setattr("nextreel.ingest.columns.pj.read_json", counted)
    accepted = accept(pa.array(values, pa.binary()), "user")
    assert n_reads <= 40  # for 1,200 messages, of which 24 or 600 are spoilt
    if is_taken or mixed == "no JSON":
        n_left = 0 if is_taken else sum(map(operator.ne, valid, values))
        assert len(accepted.rows if accepted else ()) == len(valid) - n_left
    assert_agree(values[:100], "user")


def test_unknown_fields_are_counted_of_accepted_messages_alone() -> None:
    values = [spoil(orjson.loads(raw), email="a", deep={"x": [1]}) for raw in VALID["user"]]
    values[7] = spoil(orjson.loads(VALID["user"][7]), email="a", id=None)
    values[9] = VALID["user"][9]
    accepted = accept(pa.array(values, pa.binary()), "user")
    assert accepted is not None
    assert accepted.unknown_fields == Counter({"email": 58, "deep": 58})
    assert 7 not in accepted.rows


def test_sliced_arrays_are_read_where_they_are() -> None:
    values = pa.array([b"?", *VALID["movie"], None], pa.binary())
    whole, part = accept(values, "movie"), accept(values[10:30], "movie")
    assert whole is not None
    assert part is not None
    assert part.columns.equals(whole.columns.slice(9, 20))
    assert accept(values[:0], "movie") is None


@st.composite
def blocks(draw: st.DrawFn) -> tuple[list[bytes | None], EventType]:
    event_type = draw(st.sampled_from(EVENT_TYPES))
    values: list[bytes | None] = []
    for raw in draw(st.lists(st.sampled_from(VALID[event_type][:8]), min_size=1, max_size=12)):
        event = orjson.loads(raw)
        names = st.sampled_from([f.name for f in FIELDS]) | st.text(max_size=5)
        changes = draw(st.dictionaries(names, JSON, max_size=2)) | (
            {"timestamp": draw(TIMES)} if draw(st.booleans()) else {}
        )
        text = json.dumps(event | changes).encode()
        cut = draw(st.integers(0, len(text))) if draw(st.integers(0, 9)) == 0 else len(text)
        values.append(draw(st.sampled_from(NASTY[:-1])) if draw(st.integers(0, 9)) == 0 else text[:cut])
    return values, event_type


@given(blocks(), st.none() | st.datetimes(timezones=st.just(UTC)))
def test_columns_and_rows_agree_on_anything(
    block: tuple[list[bytes | None], EventType], latest: datetime | None
) -> None:
    assert_agree(*block, latest)


def test_columns_take_event_times_up_to_the_latest() -> None:
    latest = datetime(2026, 1, 1, tzinfo=UTC)
    times = [latest + timedelta(microseconds=m) for m in (-1, 0, 1)]
    values: list[bytes | None] = [spoil(orjson.loads(VALID["user"][0]), timestamp=t.isoformat()) for t in times]
    assert assert_agree(values, "user", latest).keys() == judged(values, "user", latest).keys() == {0, 1}


@given(st.lists(st.tuples(st.sampled_from([f.name for f in FIELDS]), BOUNDS), min_size=1, max_size=6), st.data())
def test_columns_and_rows_agree_on_bounds(changes: list[tuple[str, Any]], data: st.DataObject) -> None:
    event_type = data.draw(st.sampled_from(EVENT_TYPES))
    values: list[bytes | None] = [spoil(orjson.loads(VALID[event_type][0]), **{name: value}) for name, value in changes]
    assert_agree([*VALID[event_type][:3], *values, *VALID[event_type][3:6]], event_type)


@pytest.mark.parametrize("character", ["x", "é", "🎬"])
def test_texts_at_their_bound_are_taken_in_columns(character: str) -> None:
    text, events = character * 256, [orjson.loads(raw) for raw in VALID["movie"]]
    lists = {"generos": [text * 4], "actores": [character] * 100}
    values: list[bytes | None] = [spoil(event, id=text, titulo=text * 16, **lists) for event in events]
    assert len(assert_agree(values, "movie")) == 60


def test_each_message_has_a_latest_event_time_of_its_own() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    values = pa.array([spoil(orjson.loads(VALID["user"][0]), timestamp=moment.isoformat())] * 4, pa.binary())
    accepted = accept(values, "user", micros_of(moment) + np.array([0, -1, 1, -1]))
    assert accepted is not None
    assert accepted.rows.tolist() == [0, 2]
