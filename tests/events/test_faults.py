"""Faults: each spoils a real event of each type in the way that it says."""

from collections.abc import Callable
from typing import Any

import orjson
import pyarrow as pa
import pytest

from nextreel.events.contract import EVENT_TYPES, EventType, Reason
from nextreel.events.encode import encode
from nextreel.events.faults import FAULTS, broken
from nextreel.events.world import World, WorldConfig
from nextreel.ingest.parse import Parsed, parse

WORLD = World(WorldConfig(n_users=20, n_movies=20, n_series=20, n_interactions=40))


def parsed(event_type: EventType, values: list[bytes]) -> Parsed:
    n = len(values)
    messages = pa.table(
        {
            "key": pa.nulls(n, pa.binary()),
            "value": pa.array(values, pa.binary()),
            "topic": ["here"] * n,
            "partition": pa.array([0] * n, pa.int32()),
            "offset": pa.array(range(n), pa.int64()),
            "timestamp": pa.array([0] * n, pa.timestamp("us", tz="UTC")),
        }
    )
    return parse(messages, {"here": event_type}, WORLD.config.end)


def events_as_sent(event_type: EventType, n: int) -> list[dict[str, Any]]:
    return [orjson.loads(raw) for raw in encode(WORLD.events(event_type, 0, n)).to_pylist()]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize(("reason", "fault"), FAULTS)
def test_a_fault_gives_its_reason(event_type: EventType, reason: Reason, fault: Callable[[Any], bytes]) -> None:
    values = [fault(event) for event in events_as_sent(event_type, 20)]
    rejected = parsed(event_type, values).rejected
    assert rejected.column("reason").to_pylist() == [reason] * 20
    assert rejected.column("raw").to_pylist() == values


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_broken_events_come_with_the_reasons_to_expect(event_type: EventType) -> None:
    drawn = broken(WORLD.events(event_type, 0, 40 if event_type == "interaction" else 20).to_pylist(), seed=5)
    rejected = parsed(event_type, [raw for _, raw in drawn]).rejected
    assert rejected.column("reason").to_pylist() == [reason for reason, _ in drawn]


def test_the_draw_follows_the_seed() -> None:
    events = WORLD.events("user", 0, 20).to_pylist()
    assert broken(events, seed=1) == broken(events, seed=1)
    assert broken(events, seed=1) != broken(events, seed=2)
    assert broken([], seed=1) == []


def test_faults_cover_all_that_any_event_can_suffer() -> None:
    # Too large would be a megabyte; out of range only numbers and verbs can be.
    assert {reason for reason, _ in FAULTS} == set(Reason) - {Reason.TOO_LARGE, Reason.OUT_OF_RANGE}
