"""Following the topics of a real broker: from where, past what, and through what."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer
from tests.kafka.damaging import send_unreadable, unpacking_little
from tests.serve.living import N_TITLES, START
from tests.waiting import HANG_SECONDS, until

from nextreel.kafka.client import new_client
from nextreel.kafka.topics import create_topics
from nextreel.kafka.watermarks import Watermarks
from nextreel.serve import follow
from nextreel.serve.follow import Follower
from nextreel.serve.live import Asked, Event, Live
from nextreel.serve.metrics import Metrics
from nextreel.settings import Settings


@pytest.fixture
def state(trained: Live, settings: Settings) -> Live:
    create_topics(settings.kafka)
    return Live(trained.version, trained.model, trained.snapshot, settings.ratings, settings.serve)


@pytest.fixture
def started(state: Live, settings: Settings) -> Iterator[Callable[..., Follower]]:
    running: list[Follower] = []

    def start(offsets: dict[str, dict[str, int]] | None = None) -> Follower:
        running.append(Follower(settings.kafka, state, offsets or {}))
        running[-1].start()
        return running[-1]

    yield start
    for follower in running:
        follower.stop()
        follower.join(HANG_SECONDS)


def deed(user: str, title: str) -> bytes:
    said: dict[str, Any] = {"type": "interaction", "id": f"{user} {title}", "timestamp": START.isoformat()}
    return json.dumps(said | {"id_usuario": user, "id_contenido": title, "evento": "complete"}).encode()


def producer(settings: Settings, **config: str) -> Producer:
    given = {name.replace("_", "."): value for name, value in config.items()}
    return Producer({"bootstrap.servers": settings.kafka.bootstrap} | given)


def send(settings: Settings, *values: bytes, partition: int = 0) -> None:
    sending = producer(settings)
    for value in values:
        sending.produce(settings.kafka.interactions, value, partition=partition)
    sending.flush()


def seen(state: Live, user: str) -> set[str]:
    row = state.people.ids.find(user)
    return set() if row is None else {state.titles.ids.name(int(title)) for title in state.people.seen(row)}


def test_it_begins_where_the_model_left_off(state: Live, settings: Settings, started: Callable[..., Follower]) -> None:
    send(settings, deed("new", "t01"), deed("new", "t02"), deed("new", "t03"))
    follower = started({settings.kafka.interactions: {"0": 2}, "a topic that is followed no longer": {"0": 9}})
    assert follower.wait(HANG_SECONDS)
    assert (seen(state, "new"), follower.applied) == ({"t03"}, 1)


def test_what_breaks_the_contract_is_passed_over(
    state: Live, settings: Settings, started: Callable[..., Follower]
) -> None:
    send(settings, b"{", deed("new", "t01"), b"", b'{"type": "user", "id": "u"}')
    follower = started()
    assert follower.wait(HANG_SECONDS)
    assert (seen(state, "new"), follower.applied, follower.rejected) == ({"t01"}, 1, 3)


def test_batches_that_cannot_be_read_are_left_out_and_all_else_is_applied(
    state: Live, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    topic = settings.kafka.interactions
    send(settings, deed("new", "t01"))
    send_unreadable(settings, topic, 20, json.loads(deed("new", "t02")))
    send(settings, deed("new", "t03"))
    send(settings, deed("new", "t04"), partition=1)
    send_unreadable(settings, topic, 7, json.loads(deed("new", "t02")))
    metrics = Metrics()
    follower = Follower(unpacking_little(settings).kafka, state, {}, metrics=metrics)
    follower.start()
    try:
        assert follower.wait(HANG_SECONDS)
        assert (seen(state, "new"), follower.skipped) == ({"t01", "t03", "t04"}, 27)
        assert follower.position.reached[topic, 0] == 29
        send(settings, deed("new", "t05"))
        until(lambda: "t05" in seen(state, "new"))
        until(lambda: follower.position.lag_messages == 0)
    finally:
        follower.stop()
        follower.join(HANG_SECONDS)
    assert metrics.registry.get_sample_value("nextreel_serve_skipped_messages_total", {"topic": topic}) == 27
    logged = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    assert [text.partition(": Decompression")[0] for text in logged] == [
        f"{topic} partition 0: the messages at offsets {first} to {last} cannot be read and are left out"
        for first, last in ((1, 20), (22, 28))
    ]


def test_a_model_that_left_off_inside_a_batch_that_cannot_be_read_goes_on_behind_it(
    state: Live, settings: Settings
) -> None:
    send_unreadable(settings, settings.kafka.interactions, 20)
    send(settings, deed("new", "t03"))
    follower = Follower(unpacking_little(settings).kafka, state, {settings.kafka.interactions: {"0": 15}})
    follower.start()
    assert follower.wait(HANG_SECONDS)
    follower.stop()
    follower.join(HANG_SECONDS)
    assert (seen(state, "new"), follower.skipped) == ({"t03"}, 5)


def test_many_at_once_come_to_the_same_as_one_by_one(
    trained: Live, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topics(settings.kafka)
    rng, given = random.Random(4), []
    for n in range(3 * follow._BLOCK):
        value = deed(f"n{rng.randrange(60)}", f"t{rng.randrange(N_TITLES):02d}")
        given.append(rng.choice([b"{", b"", value[:-1], value + b"x"]) if n % 9 == 0 else value)
    send(settings, *given)
    found = []
    for block in (1, len(given) + 1):
        monkeypatch.setattr(follow, "_BLOCK", block)
        state = Live(trained.version, trained.model, trained.snapshot, settings.ratings, settings.serve)
        follower = Follower(settings.kafka, state, {})
        follower.start()
        assert follower.wait(HANG_SECONDS)
        follower.stop()
        follower.join(HANG_SECONDS)
        rows = [state.people.ids.find(f"n{n}") or 0 for n in range(60)]
        deeds = [[column.tolist() for column in vars(state.people.past(row)).values()] for row in rows]
        titles = state.listed("trending", Asked(count=N_TITLES)).titles.tolist()
        found.append((follower.applied, follower.rejected, deeds, titles))
    assert found[0] == found[1]
    assert found[0][1] == sum(n % 9 == 0 for n in range(len(given)))


def test_a_transaction_s_marker_at_the_end_keeps_nobody_waiting(
    state: Live, settings: Settings, started: Callable[..., Follower]
) -> None:
    sending = producer(settings, transactional_id=f"t-{settings.kafka.interactions}")
    sending.init_transactions()
    for title in ("t01", "t02"):
        sending.begin_transaction()
        sending.produce(settings.kafka.interactions, deed("new", title), partition=0)
        sending.commit_transaction()
    follower = started()
    assert follower.wait(HANG_SECONDS), "the last offset is the marker's"
    assert seen(state, "new") == {"t01", "t02"}
    sending.begin_transaction()
    sending.produce(settings.kafka.interactions, deed("new", "t03"), partition=0)
    sending.commit_transaction()
    until(lambda: "t03" in seen(state, "new"))


def test_what_was_taken_back_is_not_followed(state: Live, settings: Settings, started: Callable[..., Follower]) -> None:
    sending = producer(settings, transactional_id=f"t-{settings.kafka.interactions}")
    sending.init_transactions()
    sending.begin_transaction()
    sending.produce(settings.kafka.interactions, deed("new", "t01"), partition=0)
    sending.flush()
    sending.abort_transaction()
    send(settings, deed("new", "t02"))
    assert started().wait(HANG_SECONDS)
    if "t01" in seen(state, "new"):
        pytest.skip("Tansu 0.6 does not tell consumers which transactions were aborted")
    assert seen(state, "new") == {"t02"}


def test_the_end_of_a_partition_counts_once_what_comes_before_it_is_applied(
    state: Live, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch can hold messages, the end of their partition after them, and then another message."""
    topic = settings.kafka.interactions
    follower = Follower(settings.kafka, state, {topic: {"0": 7}})
    follower.position.start({topic: {0: (0, 13)}})
    reached: list[int] = []
    take = state.take

    def noting(events: list[Event]) -> None:
        reached.append(follower.position.reached[topic, 0])
        take(events)

    monkeypatch.setattr(state, "take", noting)

    def message(offset: int, value: bytes | None, error: KafkaError | None = None) -> Message:
        return Message(topic=topic, partition=0, offset=offset, value=value, error=error, timestamp=(1, 1_700_000_000))

    end = message(9, None, KafkaError(KafkaError._PARTITION_EOF))
    follower._take([message(7, deed("new", "t01")), end, message(9, deed("new", "t02"))])
    assert reached == [7], "neither message was applied yet"
    assert follower.position.reached[topic, 0] == 10
    assert seen(state, "new") == {"t01", "t02"}
    follower._take([message(12, None, KafkaError(KafkaError._PARTITION_EOF))])
    assert follower.position.reached[topic, 0] == 12, "a transaction's marker was the last"


def test_a_partition_that_is_added_is_followed(
    state: Live, settings: Settings, started: Callable[..., Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded broker adds none to a topic: here one is not told of at first."""
    topic, last = settings.kafka.interactions, settings.kafka.partitions - 1
    ends, told = Follower._ends, [False]

    def without_the_last(follower: Follower) -> Watermarks:
        found = ends(follower)
        return found if told[0] else found | {topic: {p: each for p, each in found[topic].items() if p != last}}

    monkeypatch.setattr(Follower, "_ends", without_the_last)
    monkeypatch.setattr(follow, "_LOOK_SECONDS", 0.2)
    assert started().wait(HANG_SECONDS)
    send(settings, deed("new", "t04"), partition=last)
    send(settings, deed("new", "t05"))
    until(lambda: "t05" in seen(state, "new"))
    assert "t04" not in seen(state, "new")
    told[0] = True
    until(lambda: "t04" in seen(state, "new"))
    send(settings, deed("new", "t06"))
    until(lambda: "t06" in seen(state, "new"))


def test_trouble_is_told_until_it_is_over(state: Live, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.kafka.watermarks._SECONDS", 0.5)
    gone = settings.kafka.model_copy(update={"bootstrap": "127.0.0.1:1"})
    follower = Follower(gone, state, {})
    follower.start()
    until(lambda: bool(follower.trouble))
    assert not follower.is_ready
    follower.stop()
    follower.join(HANG_SECONDS)
    assert not follower.is_alive()


class Poisoned:
    """Makes a live state raise for some titles' or users' events, and counts how often it was asked."""

    def __init__(self, state: Live, *ids: str, times: int = 10**9):
        self.tries = 0
        apply = state._apply

        def poisoned(event: Event) -> None:
            if set(ids) & {value for value in event.values if isinstance(value, str)} and self.tries < times:
                self.tries += 1
                raise ValueError("poison")
            apply(event)

        state._apply = poisoned  # type: ignore[method-assign]


def test_an_event_that_cannot_be_applied_is_left_out_and_all_others_are_applied(
    state: Live, settings: Settings, started: Callable[..., Follower], caplog: pytest.LogCaptureFixture
) -> None:
    poisoned = Poisoned(state, "bad")
    send(settings, *(deed("new", f"t{n:02d}") for n in range(5)), deed("bad", "t01"), deed("new", "t05"))
    send(settings, *(deed("new", f"t{n:02d}") for n in range(6, 30)), deed("bad", "t02"), deed("new", "t30"))
    follower = started()
    assert follower.wait(HANG_SECONDS)
    assert seen(state, "new") == {f"t{n:02d}" for n in range(31)}
    assert seen(state, "bad") == set()
    assert follower.skipped == 2
    assert poisoned.tries >= 4, "each was tried again"
    topic = settings.kafka.interactions
    assert [f"{topic} partition 0 offset {n} cannot be applied" in caplog.text for n in (5, 31)] == [True, True]
    assert follower._metrics.skipped.labels(topic)._value.get() == 2
    send(settings, deed("new", "t31"))
    until(lambda: "t31" in seen(state, "new"))
    assert follower.skipped == 2, "it does not begin again"


def test_an_event_that_fails_once_is_applied(state: Live, settings: Settings, started: Callable[..., Follower]) -> None:
    Poisoned(state, "unlucky", times=2)
    send(settings, deed("unlucky", "t01"), deed("new", "t02"))
    follower = started()
    assert follower.wait(HANG_SECONDS)
    assert (seen(state, "unlucky"), seen(state, "new"), follower.skipped) == ({"t01"}, {"t02"}, 0)


def test_a_message_whose_reading_fails_costs_itself_alone(
    state: Live, settings: Settings, started: Callable[..., Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In columns and by rows: the fault is in code that both use."""
    events = Follower._events

    def failing(follower: Follower, messages: Any, *rest: Any) -> Any:
        if any(b'"bad"' in message.value() for message in messages):
            raise RuntimeError("poison")
        return events(follower, messages, *rest)

    monkeypatch.setattr(Follower, "_events", failing)
    n = follow._BLOCK
    send(settings, deed("bad", "t01"), *(deed(f"n{k}", "t01") for k in range(n)), b"{", deed("bad", "t02"))
    follower = started()
    assert follower.wait(HANG_SECONDS)
    assert (follower.applied, follower.skipped, follower.rejected) == (n, 2, 1)


@pytest.mark.parametrize("step", ["settle", "rank"])
def test_settling_or_ranking_that_fails_keeps_nobody_from_following(
    state: Live, settings: Settings, started: Callable[..., Follower], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> bool:
        raise RuntimeError("poison")

    monkeypatch.setattr(state, step, failing)
    send(settings, deed("new", "t01"))
    follower = started()
    assert follower.wait(HANG_SECONDS)
    send(settings, deed("new", "t02"))
    until(lambda: "t02" in seen(state, "new"))
    assert follower._metrics.follow_failures.labels(step)._value.get() >= 1
    assert follower._metrics.follow_failures.labels("follow")._value.get() == 0


def test_a_consumer_that_fails_for_good_is_replaced(
    state: Live, settings: Settings, started: Callable[..., Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_PAUSE_SECONDS", 0.05)
    made: list[Consumer] = []

    def one_that_fails(kind: Any, config: Any, heard: Any) -> Any:
        made.append(new_client(kind, config, heard))
        return Failing(made[0]) if len(made) == 1 else made[-1]

    class Failing:
        def __init__(self, consumer: Consumer):
            self._consumer = consumer

        def __getattr__(self, name: str) -> Any:
            return getattr(self._consumer, name)

        def consume(self, *arguments: Any, **given: Any) -> list[Any]:
            return [Fatal()]

    class Fatal:
        def error(self) -> KafkaError:
            return KafkaError(KafkaError._TRANSPORT, "for good", fatal=True)

    monkeypatch.setattr(follow, "new_client", one_that_fails)
    send(settings, deed("new", "t01"))
    assert started().wait(HANG_SECONDS)
    assert seen(state, "new") == {"t01"}
    assert len(made) == 2


def test_a_consumer_that_brings_nothing_is_replaced(
    state: Live, settings: Settings, started: Callable[..., Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_LOOK_SECONDS", 0.3)
    take, is_silent = Follower._take, [False]

    def silenced(follower: Follower, messages: Any) -> None:
        take(follower, [] if is_silent[0] else messages)

    monkeypatch.setattr(Follower, "_take", silenced)
    follower = started()
    assert follower.wait(HANG_SECONDS)
    is_silent[0] = True
    send(settings, deed("new", "t01"))
    until(lambda: follower.position.lag_messages == 1)
    is_silent[0] = False
    until(lambda: "t01" in seen(state, "new"))
    until(lambda: follower.position.lag_messages == 0)


def test_lag_grows_while_nothing_is_applied_and_ends_with_it(
    state: Live, settings: Settings, started: Callable[..., Follower]
) -> None:
    send(settings, deed("new", "t01"))
    follower = started()
    assert follower.wait(HANG_SECONDS)
    position = follower.position
    until(lambda: (position.lag_messages, position.lag_seconds) == (0, 0.0))
    with state.lock:  # as a request that holds it
        send(settings, *(deed("new", f"t{n:02d}") for n in range(2, 12)))
        until(lambda: position.lag_seconds > 2.0)
    until(lambda: len(seen(state, "new")) == 11)
    until(lambda: (position.lag_messages, position.lag_seconds) == (0, 0.0))
    assert position.reached[settings.kafka.interactions, 0] == 11


def test_offsets_of_a_topic_that_was_made_again_do_not_count(state: Live, settings: Settings) -> None:
    create_topics(settings.kafka)
    topic = settings.kafka.interactions
    send(settings, deed("new", "t01"), deed("new", "t02"))
    for ids, expected in (({topic: "anotheranotheranother0"}, {"t01", "t02"}), ({}, {"t02"})):
        fresh = Live(state.version, state.model, state.snapshot, settings.ratings, settings.serve)
        follower = Follower(settings.kafka, fresh, {topic: {"0": 1}}, topic_ids=ids)
        follower.start()
        assert follower.wait(HANG_SECONDS)
        follower.stop()
        follower.join(HANG_SECONDS)
        assert seen(fresh, "new") == expected
