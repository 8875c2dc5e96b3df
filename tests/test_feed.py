"""Feeds: everything that there is, in order, and paced where that is asked for."""

import csv
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest

from nextreel.errors import InputError
from nextreel.events.contract import EVENT_TYPES, EventType, event_schema
from nextreel.events.world import World, WorldConfig
from nextreel.feed import MovieLensFeed, WorldFeed, at_speed

CONFIG = WorldConfig(n_users=70, n_movies=30, n_series=20, n_interactions=4_500)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def table(batches: Iterator[pa.RecordBatch], event_type: EventType) -> pa.Table:
    return pa.Table.from_batches(batches, event_schema(event_type))


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_world_s_history_is_all_of_it_in_order(event_type: EventType) -> None:
    world = World(CONFIG)
    found = table(WorldFeed(CONFIG).history(event_type), event_type)
    assert found.num_rows == world.size(event_type)
    assert found.equals(pa.Table.from_batches([world.events(event_type, 0, world.size(event_type))]))
    if event_type == "interaction":
        moments = found.column("timestamp").to_pylist()
        assert moments == sorted(moments)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_world_s_live_events_follow_its_history(event_type: EventType) -> None:
    feed, size = WorldFeed(CONFIG), World(CONFIG).size(event_type)
    live = pa.Table.from_batches(islice(feed.live(event_type), 2))
    expected = World(CONFIG).events(event_type, size, live.num_rows)
    assert live.num_rows > 0
    assert live.combine_chunks().to_batches()[0].equals(expected)
    assert min(live.column("timestamp").to_pylist()) >= CONFIG.end


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_no_live_event_lies_in_the_future(event_type: EventType) -> None:
    config = replace(CONFIG, end=datetime.now(UTC), live_gap=timedelta(days=1))
    live = pa.Table.from_batches(islice(WorldFeed(config).live(event_type), 2))
    moments = live.column("timestamp").to_pylist()
    assert config.end <= min(moments)
    assert max(moments) <= datetime.now(UTC)
    assert moments == sorted(moments)


@pytest.mark.parametrize(("start", "count"), [(0, 1), (10, 100), (1_999, 2), (2_000, 4_001), (0, 0)])
def test_any_rows_of_a_world(start: int, count: int) -> None:
    found = table(WorldFeed(CONFIG).rows("interaction", start, count), "interaction")
    assert found.num_rows == count
    assert found.to_pylist() == World(CONFIG).events("interaction", start, count).to_pylist()


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_world_has_the_broken_messages_that_were_asked_for(event_type: EventType) -> None:
    assert WorldFeed(CONFIG).faulty(event_type) == []
    faulty = WorldFeed(CONFIG, n_faulty=9).faulty(event_type)
    assert len(faulty) == 9
    assert faulty == WorldFeed(CONFIG, n_faulty=9).faulty(event_type)


def test_movielens_is_all_there(movielens_small: Path) -> None:
    feed = MovieLensFeed(movielens_small)
    found = {e: table(feed.history(e), e) for e in EVENT_TYPES}
    rows = {e: t.num_rows for e, t in found.items()}
    with (
        (movielens_small / "ratings.csv").open(newline="") as ratings,
        (movielens_small / "movies.csv").open(newline="", encoding="utf-8") as movies,
    ):
        users = [rating["userId"] for rating in csv.DictReader(ratings)]
        n_movies = sum(1 for _ in csv.DictReader(movies))
    assert rows == {"user": len(set(users)), "movie": n_movies, "series": 0, "interaction": len(users)}
    for event_type, events in found.items():
        moments = events.column("timestamp").cast(pa.int64()).to_numpy()
        assert (moments[1:] >= moments[:-1]).all(), event_type
        assert list(feed.live(event_type)) == []
        assert feed.faulty(event_type) == []
    assert str(feed) == f"{len(set(users)):,} users, {n_movies:,} movies, 0 series, {len(users):,} interactions"


def test_a_directory_without_movielens_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        MovieLensFeed(tmp_path)


def events_after(*seconds: float) -> pa.RecordBatch:
    moments = [BEGIN + timedelta(seconds=s) for s in seconds]
    return pa.record_batch({"n": list(seconds), "timestamp": pa.array(moments, pa.timestamp("us", tz="UTC"))})


def test_no_event_comes_before_its_time_and_none_is_left_out() -> None:
    speed_up = 20.0
    given = [events_after(0, 0, 1, 2, 4), events_after(4, 5, 5, 6), events_after(), events_after(7)]
    began = time.monotonic()
    found: list[float] = []
    for batch in at_speed(iter(given), speed_up):
        elapsed = time.monotonic() - began
        assert max(batch.column("n").to_pylist()) / speed_up <= elapsed + 0.001
        found += batch.column("n").to_pylist()
    assert found == [0, 0, 1, 2, 4, 4, 5, 5, 6, 7]


def test_events_of_long_ago_begin_at_once_and_events_that_are_late_do_not_wait() -> None:
    hour = 3_600.0
    found = list(at_speed(iter([events_after(5 * hour, 5 * hour, 2 * hour)]), 1.0))  # out of order: none is due later
    assert [n for batch in found for n in batch.column("n").to_pylist()] == [5 * hour, 5 * hour, 2 * hour]


def test_nothing_at_any_speed() -> None:
    assert list(at_speed(iter([]), 2.0)) == []
