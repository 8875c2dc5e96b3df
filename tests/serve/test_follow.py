"""Following the topics of a real broker: from where, past what, and through what."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from tests.serve.living import N_TITLES, START
from tests.waiting import HANG_SECONDS, until

from nextreel.kafka.topics import create_topics
from nextreel.kafka.watermarks import Watermarks
from nextreel.serve import follow
from nextreel.serve.follow import Follower
from nextreel.serve.live import Asked, Live
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
