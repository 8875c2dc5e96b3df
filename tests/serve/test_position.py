"""How far a follower has come, by hand: what is known of the topics' ends, and of the age of what is missing."""

import time

import pytest

from nextreel.serve.position import Position
from nextreel.serve.serving import _is_near

HERE, THERE = ("t", 0), ("t", 1)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds since 1970, as a test sets it."""
    at = [1_000_000.0]
    monkeypatch.setattr(time, "time", lambda: at[0])
    return at


def test_messages_count_up_to_the_ends_that_are_known(now: list[float]) -> None:
    position = Position({HERE: 5, THERE: 99})
    assert position.start({"t": {0: (2, 8), 1: (3, 10)}}) == {HERE: 5, THERE: 3}
    assert position.lag_messages == 3 + 7
    position.advance(HERE, 8, 999_999_000)
    assert position.lag_messages == 7
    position.look({HERE: 12, THERE: 10})
    assert position.lag_messages == 4 + 7
    assert not position.is_past({"t": {0: (2, 8), 1: (3, 10)}})
    position.advance(THERE, 10, 999_999_000)
    assert position.is_past({"t": {0: (2, 8), 1: (3, 10)}})


def test_the_oldest_message_missing_was_sent_after_the_last_one_applied(now: list[float]) -> None:
    position = Position({})
    position.start({"t": {0: (0, 8), 1: (0, 2)}})
    position.advance(HERE, 4, 999_900_000)
    position.advance(THERE, 2, 999_500_000)
    position.look({HERE: 8, THERE: 2})
    assert position.lag_seconds == 100.0
    position.advance(HERE, 8, 999_990_000)
    position.look({HERE: 8, THERE: 2})
    assert position.lag_seconds == 0.0


def test_a_message_with_an_old_time_does_not_look_old(now: list[float]) -> None:
    """Old events are imported: those that wait came after the moment at which none was left."""
    position = Position({})
    position.start({"t": {0: (0, 0)}})
    position.look({HERE: 0})
    now[0] += 60
    position.look({HERE: 0})
    now[0] += 7
    position.advance(HERE, 1, 5_000)
    position.look({HERE: 9})
    assert position.lag_seconds == 7.0


@pytest.mark.parametrize("kafka_ms", [-1, 0, 2**62, 2_000_000_000_000])
def test_a_time_that_cannot_be_says_nothing(now: list[float], kafka_ms: int) -> None:
    position = Position({})
    position.start({"t": {0: (0, 3)}})
    position.advance(HERE, 1, 999_900_000)
    position.advance(HERE, 2, kafka_ms)
    assert position.lag_seconds == 100.0


def test_a_follower_that_does_not_look_falls_behind(now: list[float]) -> None:
    position = Position({})
    position.start({"t": {0: (0, 0)}})
    position.look({HERE: 0})
    now[0] += 500
    assert (position.lag_messages, position.lag_seconds) == (0, 500.0)


def test_while_kafka_is_away_what_was_complete_stays_so_and_what_was_not_falls_behind(now: list[float]) -> None:
    complete, behind = Position({}), Position({})
    for position, end in ((complete, 0), (behind, 1)):
        position.start({"t": {0: (0, end)}})
        position.look({HERE: end})
    now[0] += 500
    for position in (complete, behind):
        position.lose()
    assert (complete.lag_seconds, behind.lag_seconds) == (0.0, 500.0)
    assert complete.is_unknown
    complete.look({HERE: 0})
    assert not complete.is_unknown


def test_messages_behind_an_open_transaction_are_not_missing(now: list[float]) -> None:
    position = Position({HERE: 4})
    position.start({"t": {0: (0, 4)}})
    position.look({HERE: 9})
    assert position.lag_messages == 5
    position.correct({"t": {0: (0, 4)}}, {HERE: 9})
    position.look({HERE: 9})
    assert position.lag_messages == 0
    position.look({HERE: 11})
    assert position.lag_messages == 2


def test_it_is_told_how_far_another_is_ahead(now: list[float]) -> None:
    old, new = Position({HERE: 7, THERE: 7}), Position({HERE: 3, THERE: 9})
    old.start({"t": {0: (0, 10), 1: (0, 10)}})
    assert new.messages_behind(old) == float("inf")
    new.start({"t": {0: (0, 10), 1: (0, 10)}})
    assert (new.messages_behind(old), old.messages_behind(new)) == (4, 2)


def test_a_position_that_has_applied_nothing_yet_is_near_no_other(now: list[float]) -> None:
    """However long ago the other one has looked at the topics."""
    place = ("t", 0)
    before = Position({place: 6_000})
    before.start({"t": {0: (0, 6_000)}})
    now[0] += 60.0
    position = Position({})
    position.start({"t": {0: (0, 6_000)}})
    assert position.complete_at > before.complete_at
    assert not _is_near(position, before)
    position.advance(place, 5_950)
    assert _is_near(position, before)
