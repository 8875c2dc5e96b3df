"""The quarantine sent again: what Kafka has then, what is recorded, and that nothing is sent twice or forgotten."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from tests.kafka.proxy import proxied_broker

from nextreel.errors import InputError, KafkaError, LakeError
from nextreel.events.contract import EventType, Reason
from nextreel.ingest.replay import REPLAY_HEADER, Outcome, Refusal, Replay, check_export, judge
from nextreel.kafka.topics import create_topics
from nextreel.kafka.watermarks import WatermarkReader
from nextreel.lake.commit import commit
from nextreel.lake.layout import QUARANTINE, SCHEMAS, Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.place import Place
from nextreel.lake.quarantine import Quarantined, Selection, find, held, messages
from nextreel.lake.quarantine_file import read_export, write_export
from nextreel.lake.replays import Replays, replay_log, replayed_at
from nextreel.lake.write import stage
from nextreel.settings import Settings, load

NOW = datetime(2026, 3, 1, tzinfo=UTC)
USER = b'{"id":"u%d","type":"user","timestamp":"2026-01-01T00:00:00Z"}'


def row(place: Place, raw: bytes | None, reason: str = "wrong type", **changes: Any) -> dict[str, Any]:
    where = {"kafka_topic": place.topic, "kafka_partition": place.partition, "kafka_offset": place.offset}
    return {"reason": reason, "detail": "", "key": b"key", "raw": raw, "ingested_at": NOW} | where | changes


def fill(settings: Settings, *rows: dict[str, Any]) -> Lake:
    """Put messages in quarantine, as an ingest of yesterday's contract might have done."""
    create_topics(settings.kafka)
    lake = Lake(settings.lake)
    file = stage(lake, QUARANTINE, "2026-03-01", pa.Table.from_pylist(list(rows), SCHEMAS[QUARANTINE]))
    commit(lake, "test-query", 0, [file], {}, Intake())
    return lake


def arrived(settings: Settings, topic: str) -> list[Message]:
    """Return everything that a topic holds."""
    reader = WatermarkReader(settings.kafka.client_config)
    marks = reader.read([topic])[topic]
    consumer = Consumer(settings.kafka.client_config | {"group.id": "test"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in marks])
    messages: list[Message] = []
    wanted = sum(high for _, high in marks.values())
    while len(messages) < wanted:
        messages += consumer.consume(1000, timeout=0.2)
    messages += consumer.consume(1000, timeout=0.3)
    consumer.close()
    return messages


def values(settings: Settings, topic: str) -> Counter[bytes]:
    return Counter(message.value() or b"" for message in arrived(settings, topic))


def test_what_the_contract_accepts_now_is_sent_and_the_rest_stays(settings: Settings) -> None:
    users, movies = settings.kafka.users, settings.kafka.movies
    headers = [{"key": "trace", "value": b"\xff"}, {"key": "trace", "value": None}]
    lake = fill(
        settings,
        row(Place(users, 0, 7), USER % 7, key=b"\xfe", headers=headers),
        row(Place(users, 1, 8), USER % 8, key=None),
        row(Place(users, 1, 9), b"{", "not JSON"),
        row(Place(users, 1, 10), None, "empty"),
        row(Place(movies, 0, 7), USER % 9, "wrong topic"),
        row(Place("elsewhere", 0, 7), USER % 9, "wrong topic"),
    )
    refusals: list[Refusal] = []
    replay = Replay(lake, settings.kafka, told=refusals.append)
    planned = replay.plan()
    assert (planned.sent, planned.bytes, planned.already) == ({users: 2}, 2 * len(USER % 7), 0)
    assert planned.refused == {"not JSON": 1, "empty": 1, "wrong topic": 2}
    assert {r.message.place: r.reason for r in refusals} == {
        Place(users, 1, 9): Reason.NOT_JSON, Place(users, 1, 10): Reason.EMPTY,
        Place(movies, 0, 7): Reason.WRONG_TOPIC, Place("elsewhere", 0, 7): Reason.WRONG_TOPIC,
    }  # fmt: skip
    assert (values(settings, users), values(settings, movies)) == ({}, {})
    assert not Replays(lake)

    assert replay.run() == planned

    found = {message.key(): message for message in arrived(settings, users)}
    assert found.keys() == {b"\xfe", None}
    assert found[b"\xfe"].value() == USER % 7
    assert found[b"\xfe"].headers() == [("trace", b"\xff"), ("trace", None), (REPLAY_HEADER, f"{users}/0/7".encode())]
    assert found[None].value() == USER % 8
    assert found[None].headers() == [(REPLAY_HEADER, f"{users}/1/8".encode())]
    assert values(settings, movies) == {}
    assert {h.reason: h.replayed for h in held(lake)} == {"wrong type": 2, "not JSON": 0, "empty": 0, "wrong topic": 0}
    assert len(replayed_at(lake, Place(users, 0, 7))) == 1
    assert find(lake, Place(users, 0, 7)) is not None  # the quarantine is history

    again = replay.run()
    assert (again.sent, again.already) == ({}, 2)
    assert len(arrived(settings, users)) == 2


def test_interactions_are_sent_with_their_user_as_the_key(settings: Settings, tmp_path: Path) -> None:
    """Other producers key them by anything; a user's events belong in one partition, an edited one's too."""
    topic = settings.kafka.interactions
    event = {
        "id": "e1",
        "type": "interaction",
        "timestamp": "2026-01-01T00:00:00Z",
        "id_contenido": "t",
        "evento": "play",
    }
    named, numbered = orjson.dumps(event | {"id_usuario": "u1"}), orjson.dumps(event | {"id_usuario": 7})
    lake = fill(
        settings,
        row(Place(topic, 0, 1), named),
        row(Place(topic, 0, 2), numbered, key=None),
        row(Place(topic, 1, 3), b"{", "not JSON"),
        row(Place(topic, 1, 4), orjson.dumps([event]), "not an object"),
        row(Place(topic, 1, 5), orjson.dumps(event), "missing field"),
        row(Place(topic, 1, 6), None, "empty", key=b"other"),
    )
    Replay(lake, settings.kafka, anyway=True).run()
    keys = {message.value(): message.key() for message in arrived(settings, topic)}
    assert (keys[named], keys[numbered]) == (b"u1", b"7")
    assert {key for value, key in keys.items() if value not in (named, numbered)} == {b"key", b"other"}

    file = tmp_path / "edited.jsonl"
    write_export(file, messages(lake, Selection(places=[Place(topic, 1, 5)])))
    edited = orjson.dumps(event | {"id_usuario": "u2"})
    line = json.loads(file.read_text()) | {"value": edited.decode()}
    file.write_text(json.dumps(line) + "\n")
    Replay(lake, settings.kafka, file=file).run()
    assert {m.value(): m.key() for m in arrived(settings, topic)}[edited] == b"u2"


def test_all_sends_what_is_still_rejected_too(settings: Settings) -> None:
    users = settings.kafka.users
    lake = fill(settings, row(Place(users, 0, 1), b"\xff"), row(Place(users, 0, 2), b""), row(Place(users, 0, 3), None))
    replay = Replay(lake, settings.kafka, anyway=True)
    assert replay.plan().sent == {users: 3}
    outcome = replay.run()
    assert (outcome.sent, outcome.refused) == ({users: 3}, {"not UTF-8": 1, "empty": 2})
    assert Counter(message.value() for message in arrived(settings, users)) == {b"\xff": 1, b"": 1, None: 1}
    assert replay.run().already == 3


def test_some_of_it(settings: Settings) -> None:
    users, places = settings.kafka.users, [Place(settings.kafka.users, 0, i) for i in range(6)]
    reasons = ["empty", "wrong type"] * 3
    lake = fill(settings, *(row(p, USER % p.offset, r) for p, r in zip(places, reasons, strict=True)))
    Replay(lake, settings.kafka, Selection(reasons=["empty"], places=places[2:])).run()
    assert values(settings, users) == {USER % 2: 1, USER % 4: 1}
    rest = Replay(lake, settings.kafka).run()
    assert (rest.sent, rest.already) == ({users: 4}, 2)
    assert values(settings, users) == {USER % i: 1 for i in range(6)}


def edit(file: Path, **changes: dict[str, Any]) -> None:
    """Change lines of an export, named by their number."""
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    for number, change in changes.items():
        lines[int(number[4:]) - 1] |= change
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def test_an_edited_export(settings: Settings, tmp_path: Path) -> None:
    users, movies, file = settings.kafka.users, settings.kafka.movies, tmp_path / "export.jsonl"
    movie = b'{"id":"m1","type":"movie","timestamp":"2026-01-01"}'
    lake = fill(
        settings,
        row(Place(users, 0, 1), b"{", "not JSON", headers=[{"key": "trace", "value": b"1"}]),
        row(Place(users, 0, 2), movie, "wrong topic"),
        row(Place(users, 0, 3), b"[]", "not an object"),
        row(Place(users, 0, 4), b"\xff", "not UTF-8"),
    )
    messages = (find(lake, Place(users, 0, i)) for i in range(1, 5))
    write_export(file, [message for message in messages if message])
    edit(file, line1={"value": (USER % 1).decode(), "key": "new"}, line2={"topic": movies})
    refusals: list[Refusal] = []
    replay = Replay(lake, settings.kafka, file=file, told=refusals.append)

    outcome = replay.run()

    assert (outcome.sent, outcome.refused) == ({users: 1, movies: 1}, {"not an object": 1, "not UTF-8": 1})
    assert [(r.message.line, r.reason) for r in refusals] == [(3, "not an object"), (4, "not UTF-8")]
    (user,), (sent_movie,) = arrived(settings, users), arrived(settings, movies)
    assert (user.key(), user.value()) == (b"new", USER % 1)
    assert user.headers() == [("trace", b"1"), (REPLAY_HEADER, f"{users}/0/1".encode())]
    assert (sent_movie.value(), sent_movie.headers()) == (movie, [(REPLAY_HEADER, f"{users}/0/2".encode())])
    assert [h.replayed for h in held(lake) if h.reason in ("not JSON", "wrong topic")] == [1, 1]

    # The file again, with one line more corrected: that one alone. And a line corrected anew is a message anew.
    edit(file, line3={"value": json.loads(USER % 3)})
    outcome = replay.run()
    assert (outcome.sent, outcome.already) == ({users: 1}, 2)
    edit(file, line1={"value": (USER % 100).decode()})
    assert replay.run().sent == {users: 1}
    assert (replay.run().sent, replay.run().already) == ({}, 3)
    # What was sent edited is not sent as it was.
    assert Replay(lake, settings.kafka, Selection(places=[Place(users, 0, 1)]), anyway=True).run().already == 1
    assert Replay(lake, settings.kafka, Selection(reasons=["not UTF-8"]), file, anyway=True).run().sent == {users: 1}


def test_a_message_that_holds_two_becomes_two(settings: Settings, tmp_path: Path) -> None:
    users, file = settings.kafka.users, tmp_path / "export.jsonl"
    place = Place(users, 0, 1)
    lake = fill(settings, row(place, USER % 1 + USER % 2, "not JSON"))
    write_export(file, [Quarantined(place, "", "", None, [], USER % i) for i in (1, 2)])
    replay = Replay(lake, settings.kafka, file=file)
    assert replay.run().sent == {users: 2}
    assert replay.run().already == 2
    assert values(settings, users) == {USER % 1: 1, USER % 2: 1}


def test_a_file_that_is_wrong_sends_nothing(settings: Settings, tmp_path: Path) -> None:
    users, file = settings.kafka.users, tmp_path / "export.jsonl"
    lake = fill(settings, row(Place(users, 0, 1), USER % 1), row(Place(users, 0, 2), USER % 2))
    given = [Quarantined(Place(users, 0, offset), "", "", None, [], USER % offset) for offset in (1, 2, 3, 4)]
    write_export(file, given)
    replay = Replay(lake, settings.kafka, file=file)
    for attempt in (replay.run, replay.plan):
        with pytest.raises(
            InputError, match=rf"line 3: {users}/0/3 is not in the quarantine of .* \(nor are 1 others\)"
        ):
            attempt()
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]) + b"{")
    with pytest.raises(InputError, match="line 3: not JSON"):
        replay.run()
    assert values(settings, users) == {}
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    check_export(lake, file)
    assert replay.run().sent == {users: 2}
    assert [m.line for m in read_export(file)] == [1, 2]


def test_one_that_kafka_refuses_does_not_stop_the_others(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.ingest.replay._BLOCK", 2)
    users = settings.kafka.users
    large = row(Place(users, 0, 1), b"x" * 2_000_000, "too large")
    lake = fill(
        settings, row(Place(users, 0, 0), USER % 0), large, *(row(Place(users, 0, i), USER % i) for i in (2, 3, 4))
    )
    replay = Replay(lake, settings.kafka, anyway=True)
    with pytest.raises(
        KafkaError, match=r"^4 messages were sent again and are recorded as such; .* 1 failed .*too large"
    ):
        replay.run()
    assert values(settings, users) == {USER % i: 1 for i in (0, 2, 3, 4)}
    planned = replay.plan()
    assert (planned.sent, planned.already) == ({users: 1}, 4)


def test_kafka_that_stops_answering_ends_it_and_nothing_is_forgotten(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nextreel.ingest.replay._BLOCK", 10)
    with proxied_broker() as proxy:
        behind = settings.model_copy(
            update={"kafka": settings.kafka.model_copy(update={"bootstrap": proxy.address, "partitions": 1})}
        )
        users = behind.kafka.users
        lake = fill(behind, *(row(Place(users, 0, i), USER % i) for i in range(50)))
        away: list[threading.Thread] = []

        def go_away(outcome: Outcome) -> None:
            if outcome.sent.total() == 20:
                monkeypatch.setattr("nextreel.kafka.producer._FLUSH_SECONDS", 1.0)
                away.append(threading.Thread(target=proxy.refuse, args=(4.0,)))
                away[0].start()
                time.sleep(0.2)

        stopped = r"^20 messages were sent again and are recorded as such; Kafka has stopped answering"
        with pytest.raises(KafkaError, match=stopped):
            Replay(lake, behind.kafka).run(go_away)
        away[0].join()
        assert Replay(lake, behind.kafka).run().sent == {users: 30}
        assert values(behind, users).keys() == {USER % i for i in range(50)}


def test_without_a_broker_nothing_is_recorded(settings: Settings) -> None:
    lake = fill(settings, row(Place(settings.kafka.users, 0, 0), USER % 0))
    flags = {
        "kafka.bootstrap": "127.0.0.1:1",
        "kafka.client.delivery.timeout.ms": "500",
        "kafka.users": settings.kafka.users,
    }
    with pytest.raises(KafkaError, match=r"^0 messages were sent again"):
        Replay(lake, load(flags, {}).kafka).run()
    assert not Replays(lake)
    assert Replay(lake, settings.kafka).run().sent.total() == 1


CHILD = """
import os, pathlib, signal, sys
from nextreel.ingest import replay
from nextreel.lake.layout import Lake
from nextreel.lake.replays import ReplayLog
from nextreel.settings import load

home, bootstrap, users, moment = sys.argv[1:]
settings = load({"home": home, "kafka.bootstrap": bootstrap, "kafka.users": users}, {})
replay._BLOCK = 10
add, blocks = ReplayLog.add, []

def die(self, sent):
    blocks.append(1)
    if moment == "after":
        add(self, sent)
    if len(blocks) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if moment == "before":
        add(self, sent)

ReplayLog.add = die
replay.Replay(Lake(settings.lake), settings.kafka).run()
"""


@pytest.mark.parametrize(("moment", "recorded", "twice"), [("before", 20, 10), ("after", 30, 0)])
def test_killed_and_started_again(settings: Settings, moment: str, recorded: int, twice: int) -> None:
    users = settings.kafka.users
    lake = fill(settings, *(row(Place(users, 0, i), USER % i) for i in range(55)))
    arguments = [str(settings.home), settings.kafka.bootstrap, users, moment]
    killed = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert Replay(lake, settings.kafka).plan().already == recorded
    Replay(lake, settings.kafka).run()
    found = values(settings, users)
    assert found.keys() == {USER % i for i in range(55)}  # none is lost
    assert sum(n - 1 for n in found.values()) == twice  # and only the block whose record was not written came twice
    assert Replay(lake, settings.kafka).run().already == 55


def test_interrupted_and_started_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nextreel.ingest.replay._BLOCK", 10)
    users = settings.kafka.users
    lake = fill(settings, *(row(Place(users, 0, i), USER % i) for i in range(55)))

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Replay(lake, settings.kafka).run(interrupt)
    rest = Replay(lake, settings.kafka).run()
    assert (rest.already, rest.sent) == (10, {users: 45})
    assert values(settings, users) == {USER % i: 1 for i in range(55)}


def test_one_replay_at_a_time(settings: Settings) -> None:
    lake = fill(settings, row(Place(settings.kafka.users, 0, 0), USER % 0))
    with replay_log(lake), pytest.raises(LakeError, match="is being replayed already"):
        Replay(lake, settings.kafka).run()


@pytest.mark.parametrize(
    ("value", "expected", "reason"),
    [
        (USER % 1, "user", None),
        (USER % 1, "movie", Reason.WRONG_TOPIC),
        (USER % 1, None, Reason.WRONG_TOPIC),
        (None, "user", Reason.EMPTY),
        (b'{"id":"u","type":"user","timestamp":"2026-03-01"}', "user", None),
        (b'{"id":"u","type":"user","timestamp":"2026-03-02"}', "user", Reason.BAD_TIMESTAMP),
    ],
)
def test_judged_by_the_contract_of_now(value: bytes | None, expected: EventType | None, reason: Reason | None) -> None:
    message = Quarantined(Place("u", 0, 0), "whatever it was", "", None, [], value)
    found = judge(message, expected, NOW)
    assert (found and found.reason) == reason
    later = judge(message, expected, NOW + timedelta(days=365))
    assert (later and later.reason) == (None if reason == Reason.BAD_TIMESTAMP else reason)
