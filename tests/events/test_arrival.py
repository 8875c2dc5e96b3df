"""When a message arrived: Kafka's timestamp where it can be one, else the moment of reading."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextreel.events.arrival import (
    UNDATED,
    arrivals,
    latest_event_time,
    latest_event_times,
    micros_of,
    moment_of,
    order_of,
)

READ = datetime(2026, 3, 1, 12, tzinfo=UTC)
READ_MS = micros_of(READ) // 1000
SKEW = 900


def arrival(kafka_ms: int, read_at: datetime = READ) -> datetime:
    return moment_of(int(arrivals(np.array([kafka_ms], np.int64), read_at, SKEW)[0]))


@pytest.mark.parametrize(
    "kafka_ms",
    [-1, 0, 1, READ_MS // 1000, READ_MS * 1000, READ_MS * 1_000_000, 2**62, 2**63 - 1, -(2**63), READ_MS + 900_001,
     micros_of(datetime(2010, 12, 31, tzinfo=UTC)) // 1000, micros_of(READ + timedelta(days=365)) // 1000],
)  # fmt: skip
def test_a_timestamp_that_can_be_none_counts_as_the_moment_of_reading(kafka_ms: int) -> None:
    assert arrival(kafka_ms) == READ


@pytest.mark.parametrize("seconds", [900, 1, 0, -1, -86_400 * 365 * 15])
def test_a_timestamp_that_can_be_one_is_the_arrival_whenever_it_is_read(seconds: int) -> None:
    moment = READ + timedelta(seconds=seconds)
    assert arrival(micros_of(moment) // 1000) == moment
    assert arrival(micros_of(moment) // 1000, READ + timedelta(days=400)) == moment


def test_an_event_time_may_be_the_skew_ahead_of_the_arrival() -> None:
    hour_ago, absurd = READ_MS - 3_600_000, 2**62
    latest = latest_event_times(np.array([hour_ago, absurd]), READ, SKEW)
    assert list(map(moment_of, latest.tolist())) == [READ + timedelta(seconds=s) for s in (900 - 3600, 900)]
    assert latest_event_time(READ, SKEW) == moment_of(int(latest[1]))


@given(st.integers(-(2**63), 2**63 - 1), st.datetimes(datetime(2011, 1, 2), datetime(2099, 1, 1)))
def test_no_timestamp_lets_an_event_be_further_ahead_of_the_reader_than_twice_the_skew(
    kafka_ms: int, read: datetime
) -> None:
    read_at = read.replace(tzinfo=UTC)
    (latest,) = latest_event_times(np.array([kafka_ms], np.int64), read_at, SKEW)
    assert moment_of(int(latest)) <= read_at + timedelta(seconds=2 * SKEW)


def test_events_are_ordered_by_a_timestamp_that_the_lake_keeps_and_before_all_others_without() -> None:
    assert order_of(READ_MS) == READ_MS
    assert order_of(-1) == -1
    assert order_of(READ_MS * 1000) == UNDATED
    assert order_of(2**62) == UNDATED
