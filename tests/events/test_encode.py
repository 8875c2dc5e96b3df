import json
import math
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextreel.events.contract import EVENT_TYPES, event_schema
from nextreel.events.encode import encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXT,
    pa.list_(pa.string()): st.lists(TEXT, max_size=3),
    pa.float64(): st.floats(allow_nan=False, allow_infinity=False),
    pa.timestamp("us", tz="UTC"): st.datetimes(timezones=st.just(UTC)),
}


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """Draw a few rows of any event type, any field null or any value, perhaps from the middle of a batch."""
    schema = event_schema(draw(st.sampled_from(EVENT_TYPES)))
    row = st.fixed_dictionaries({f.name: st.none() | VALUES[f.type] for f in schema})
    batch = pa.RecordBatch.from_pylist(draw(st.lists(row, max_size=3)), schema)
    first = draw(st.integers(0, batch.num_rows))
    return batch.slice(first, draw(st.integers(0, batch.num_rows - first)))


def decoded(messages: pa.BinaryArray) -> list[dict[str, Any]]:
    rows = [json.loads(message) for message in messages.to_pylist()]
    for row in rows:
        if "timestamp" in row:
            row["timestamp"] = datetime.fromisoformat(row["timestamp"])
    return rows


@settings(max_examples=50, deadline=None)
@given(batches())
def test_reads_back_as_the_row_without_its_nulls(batch: pa.RecordBatch) -> None:
    expected = [{k: v for k, v in row.items() if v is not None} for row in batch.to_pylist()]
    messages = encode(batch)
    assert messages.type == pa.binary()
    assert decoded(messages) == expected
    assert [sorted(orjson.loads(message)) for message in messages.to_pylist()] == [sorted(r) for r in expected]


def test_known_message() -> None:
    row = {
        "id": "s000012",
        "type": "series",
        "timestamp": datetime(2025, 12, 31, 20, 15, tzinfo=UTC),
        "titulo": 'Año "cero" \\ \u2028 😀\n\x01',
        "generos": ["Drama", "Sci-Fi"],
        "directores": [],
        "numero_temporadas": "4",
    }
    message = encode(pa.RecordBatch.from_pylist([row], event_schema("series")))[0].as_py().decode()
    assert message == (
        '{"id":"s000012","type":"series","timestamp":"2025-12-31T20:15:00Z",'
        '"titulo":"Año \\"cero\\" \\\\ \u2028 😀\\n\\u0001","generos":["Drama","Sci-Fi"],"directores":[],'
        '"numero_temporadas":"4"}'
    )


def test_microseconds_only_where_there_are_some() -> None:
    times = [datetime(2026, 1, 1, 0, 0, 9, 0, UTC), datetime(2026, 1, 1, 0, 0, 9, 70, UTC)]
    batch = pa.record_batch({"timestamp": pa.array(times, pa.timestamp("us", tz="UTC"))})
    assert encode(batch).to_pylist() == [
        b'{"timestamp":"2026-01-01T00:00:09Z"}',
        b'{"timestamp":"2026-01-01T00:00:09.000070Z"}',
    ]


def test_null_inside_a_list_and_a_row_without_any_value() -> None:
    batch = pa.record_batch({"generos": pa.array([["a", None], None, []], pa.list_(pa.string()))})
    assert encode(batch).to_pylist() == [b'{"generos":["a",null]}', b"{}", b'{"generos":[]}']


def test_no_rows() -> None:
    assert encode(pa.RecordBatch.from_pylist([], event_schema("movie"))).to_pylist() == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_refuses_what_is_not_a_json_number(value: float) -> None:
    with pytest.raises(ValueError, match="calificacion has NaN or infinity"):
        encode(pa.record_batch({"calificacion": pa.array([1.0, None, value])}))


def test_refuses_years_that_iso_8601_does_not_have() -> None:
    past = pa.array([253_402_300_800_000_000], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    with pytest.raises(ValueError, match="timestamp has a year outside 1 to 9999"):
        encode(pa.record_batch({"timestamp": past}))


def test_refuses_other_types() -> None:
    with pytest.raises(TypeError, match="column n is int64: encode takes string"):
        encode(pa.record_batch({"n": pa.array([1])}))
