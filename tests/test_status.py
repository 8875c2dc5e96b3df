"""How things stand: known answers on a small lake, an empty home, a running writer, Kafka there and not there."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from rich.console import Console
from tests.kafka.deleting import delete_topic
from tests.lake.writing import another_writer
from tests.model.test_store import model

from nextreel.cli import main
from nextreel.errors import DataLossError
from nextreel.events.world import World, WorldConfig
from nextreel.ingest.gaps import check_topics
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topic_ids, topics_by_type
from nextreel.lake import batches
from nextreel.lake.commit import commit
from nextreel.lake.layout import BATCHES_SCHEMA, QUARANTINE, SCHEMAS, Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import stage
from nextreel.model.journal import Verdict
from nextreel.model.store import ModelStore
from nextreel.settings import Settings, load
from nextreel.status import Share, Status, show, status

NOW = datetime.now(UTC)
TODAY = NOW.date().isoformat()
FACTS = {
    "created_at": (NOW - timedelta(minutes=5)).isoformat(),
    "data": {"ratings": 12},
    "evaluation": {
        "accuracy": {"als": {"rmse": 0.9, "mae": 0.7}, "bias": {"rmse": 1.0, "mae": 0.8}},
        "ranking": {"als": {"ndcg": 0.25, "recall": 0.2}, "popularity": {"ndcg": 0.125, "recall": None}},
        "n_users_ranked": 7,
    },
}


def rows(table: str, n: int, sent: datetime, **values: Any) -> pa.Table:
    given = {"kafka_timestamp": sent, "ingested_at": sent + timedelta(seconds=1), "type": None} | values
    return pa.Table.from_pylist([{name: given.get(name) for name in SCHEMAS[table].names}] * n, SCHEMAS[table])


def fill(settings: Settings) -> None:
    """Commit two micro-batches: 3 users; then 4 interactions and 1 rejected message, which has a row of its own."""
    lake = Lake(settings.lake)
    kafka = settings.kafka
    users = stage(lake, "users", TODAY, rows("users", 3, NOW - timedelta(minutes=90)))
    intake = Intake({kafka.users: {"0": 0}}, {kafka.users: {"0": 3}}, raw_bytes=3_000, unknown_fields=2)
    commit(lake, "query", 0, [users], {kafka.users: {"0": 3}}, intake)
    files = [
        stage(lake, "interactions", TODAY, rows("interactions", 4, NOW - timedelta(seconds=30), evento="play")),
        stage(lake, QUARANTINE, TODAY, rows(QUARANTINE, 1, NOW - timedelta(seconds=20), reason="not JSON")),
    ]
    intake = Intake({kafka.interactions: {"1": 0}}, {kafka.interactions: {"1": 5}}, raw_bytes=1_000)
    commit(lake, "query", 1, files, {kafka.users: {"0": 3}, kafka.interactions: {"1": 6}}, intake)
    row = {"batch_id": 1, "committed_at": NOW, "messages": 5, "interactions": 4, "quarantine": 1, "raw_bytes": 1_000}
    row |= {"started_at": NOW - timedelta(seconds=40), "seconds": 2.0, "newest_age_seconds": 20.0}
    batches.append(lake, pa.Table.from_pylist([dict.fromkeys(BATCHES_SCHEMA.names) | row], BATCHES_SCHEMA))


def with_model(settings: Settings, **others: Any) -> None:
    folder = settings.models / "20260131T120000-000"
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(FACTS | others))
    (settings.models / "current").write_text(f"{folder.name}\n")


@pytest.fixture
def unreachable(tmp_path: Path) -> Settings:
    return load({"home": str(tmp_path), "kafka.bootstrap": "127.0.0.1:1"}, {})


def test_an_empty_home(unreachable: Settings) -> None:
    found = status(unreachable)
    assert (found.ingest_process, found.last_batch, found.tables, found.model) == (None, None, [], None)
    assert (found.newest_event_at, found.exports, found.quarantine_last_hour) == (None, {}, None)
    assert found.quarantine_all == Share(0, 0)
    assert found.lag is None
    assert found.kafka_error is not None
    assert "127.0.0.1:1" in found.kafka_error
    console = Console(width=150, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    show(console, found)
    text = console.export_text()
    for words in ("does not run", "nothing has arrived yet", "unknown: Kafka at", "`nextreel train` makes one"):
        assert words in text
    assert list(unreachable.home.iterdir()) == []  # looking leaves nothing behind


def test_a_lake_with_a_model(unreachable: Settings) -> None:
    fill(unreachable)
    with_model(unreachable)
    unreachable.exports.mkdir()
    (unreachable.exports / "final_recommendations.csv").write_text("user_id\n")
    for folder in ("final_recommendations.parquet", ".being-written"):
        (unreachable.exports / folder).mkdir()
        for part in ("part-0", "part-1"):
            (unreachable.exports / folder / part).write_text("PAR1")
    found = status(unreachable, NOW)
    assert (found.last_batch, found.ingest_process) == (1, None)
    assert {t.table: (t.rows, t.files) for t in found.tables} == {
        "users": (3, 1), "interactions": (4, 1), "quarantine": (1, 1),
    }  # fmt: skip
    assert found.newest_event_at == NOW - timedelta(seconds=20)
    assert found.quarantine_all == Share(1, 8)
    assert found.quarantine_last_hour == Share(1, 5)
    assert found.exports == {"final_recommendations.csv": 8, "final_recommendations.parquet": 8}
    assert found.model is not None
    assert found.model.data == {"ratings": 12}
    console = Console(width=150, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    show(console, found)
    text = console.export_text()
    assert "nDCG@10 0.250 (popularity 0.125); RMSE 0.900 (bias 1.000)" in text
    assert "1 of 8 (12.50%) in all; 1 of 5 (20.00%) in the last hour" in text
    assert "20.0 seconds ago" in text
    json.dumps(found.as_dict())


def test_what_a_model_learned_of_titles_that_no_event_describes_is_said(unreachable: Settings) -> None:
    fill(unreachable)
    counts = {"interactions": 12, "of_titles": 11, "titles": 3, "by_users": 2, "users": 1}
    with_model(unreachable, data={"undescribed": counts})
    console = Console(width=400, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    show(console, status(unreachable, NOW))
    text = console.export_text()
    assert "1 of 12 interactions is of titles that a movie or series event describes; 11 are of 3 other titles" in text
    assert "2 of 12 interactions are by 1 users that no user event describes" in text


def test_processes_that_run_and_a_model_that_was_refused(unreachable: Settings) -> None:
    parts = [{"name": "broker", "pid": 12, "restarts": 0}, {"name": "serve", "pid": None, "restarts": 3}]
    record = unreachable.home / "up.json"
    record.write_text(json.dumps({"pid": os.getpid(), "at": NOW.isoformat(), "parts": parts}))
    store = ModelStore(unreachable.models)
    version = store.save(model(), {})
    store.decide(version, lambda *_: Verdict(False, "popularity is better"))
    text = text_of(status(unreachable))
    assert "broker 12; serve (starts again), restarted 3 times" in text
    assert f"none is current; {version} was refused: popularity is better" in text
    store.promote(version)
    assert "was refused" not in text_of(status(unreachable))
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    for gone in (json.dumps({"pid": ended.pid, "parts": parts}), "{", "[]"):
        record.write_text(gone)
        assert status(unreachable).up == []


def test_a_running_ups_embedded_broker_is_asked(settings: Settings) -> None:
    create_topics(settings.kafka)
    elsewhere = settings.model_copy(
        update={"kafka": settings.kafka.model_copy(update={"bootstrap": "127.0.0.1:1"})},
    )
    assert status(elsewhere).lag is None
    told = {"pid": os.getpid(), "at": NOW.isoformat(), "broker": settings.kafka.bootstrap, "parts": []}
    (elsewhere.home / "up.json").write_text(json.dumps(told))
    assert status(elsewhere).lag == dict.fromkeys(settings.kafka.topics, 0)


def test_lag_is_what_kafka_has_and_the_lake_has_not(settings: Settings) -> None:
    assert "nextreel topics" in str(status(settings).kafka_error)  # topics that do not exist
    create_topics(settings.kafka)
    world = World(WorldConfig(n_users=20, n_movies=10, n_series=5, n_interactions=40))
    producer = EventProducer(settings.kafka)
    producer.send(settings.kafka.users, world.events("user", 0, 20))
    producer.flush()
    found = status(settings)
    assert found.lag is not None
    assert found.lag[settings.kafka.users] == 20
    assert sum(found.lag.values()) == 20


def text_of(found: Status) -> str:
    console = Console(width=400, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    show(console, found)
    return console.export_text()


def test_a_message_from_the_future_is_not_the_newest(unreachable: Settings) -> None:
    fill(unreachable)
    lake = Lake(unreachable.lake)
    ahead = [
        rows("users", 1, NOW + timedelta(days=366), ingested_at=NOW),
        rows("users", 1, datetime(9999, 12, 31, tzinfo=UTC), ingested_at=NOW),
    ]
    commit(lake, "query", 2, [stage(lake, "users", TODAY, pa.concat_tables(ahead))], {}, Intake())
    found = status(unreachable, NOW)
    assert found.newest_event_at == NOW - timedelta(seconds=20)
    assert "20.0 seconds ago" in text_of(found)


@pytest.fixture
def read_before(settings: Settings) -> Settings:
    """Settings of a lake that has read 7 messages of the users, in partition 0 of topics as they are in Kafka."""
    create_topics(settings.kafka)
    lake, users = Lake(settings.lake), settings.kafka.users
    check_topics(lake, topic_ids(settings.kafka.client_config, topics_by_type(settings.kafka).values()), fail=True)
    commit(lake, "query", 0, [], {users: {"0": 7, "1": 0}}, Intake({users: {"0": 0}}, {users: {"0": 7}}))
    produce(settings, 7)
    return settings


def produce(settings: Settings, n: int) -> None:
    producer = Producer(settings.kafka.client_config)
    for _ in range(n):
        producer.produce(settings.kafka.users, b"{}", partition=0)
    producer.flush()


def make_anew(settings: Settings, n: int) -> None:
    """Delete the topic of users, make it again, and send so many messages to it."""
    delete_topic(settings, settings.kafka.users)
    create_topics(settings.kafka)
    produce(settings, n)


def going_on(settings: Settings) -> Settings:
    return settings.model_copy(update={"ingest": settings.ingest.model_copy(update={"fail_on_data_loss": False})})


@pytest.mark.parametrize("n", [3, 20])
def test_a_topic_that_was_made_anew_is_said_in_ingests_own_words(read_before: Settings, n: int) -> None:
    settings, lake = read_before, Lake(read_before.lake)
    assert status(settings).lag == dict.fromkeys(topics_by_type(settings.kafka).values(), 0)
    make_anew(settings, n)
    before = sorted(lake.root.rglob("*"))
    found = status(settings)
    assert (sorted(lake.root.rglob("*")), found.lag) == (before, None)
    with pytest.raises(DataLossError) as refused:
        check_topics(lake, topic_ids(settings.kafka.client_config, [settings.kafka.users]), fail=True)
    assert found.kafka_error == f"ingest stops: {refused.value}"
    assert f"unknown: ingest stops: {settings.kafka.users} was deleted and made anew" in text_of(found)


def test_where_ingest_goes_on_with_a_topic_made_anew_its_lag_is_what_it_will_read(read_before: Settings) -> None:
    settings = going_on(read_before)
    make_anew(settings, 3)
    found = status(settings)
    assert found.lag is not None
    assert found.lag[settings.kafka.users] == 0
    assert "0 messages (" in text_of(found)
    assert "was deleted and made anew" in text_of(found)
    assert "its messages up to where the lake has come are not read" in text_of(found)
    produce(settings, 9)
    found = status(settings)
    assert found.lag is not None
    assert found.lag[settings.kafka.users] == 5


def test_a_topic_that_ends_before_the_lake_is_said_where_there_are_no_ids(read_before: Settings) -> None:
    settings, lake = read_before, Lake(read_before.lake)
    lake.topics.unlink()
    make_anew(settings, 3)
    found = status(settings)
    assert found.lag is None
    made_anew = f"{settings.kafka.users} was made anew (partition 0 ends at 3, {lake.root} is at 7)"
    assert str(found.kafka_error).startswith(f"ingest stops: {made_anew}: ")
    found = status(going_on(settings))
    assert found.lag is not None
    assert str(found.kafka_error).startswith(f"{made_anew}: ")


def test_a_partition_that_is_gone_is_said(read_before: Settings) -> None:
    lake, users = Lake(read_before.lake), read_before.kafka.users
    commit(lake, "query", 1, [], {users: {"0": 7, "1": 0, "99": 1}}, Intake())
    assert f"{users} was made anew (partition 99 ends at 0" in str(status(read_before).kafka_error)
    commit(lake, "query", 2, [], {users: {"0": 7, "1": 0}}, Intake())  # ingest has gone on without it
    assert status(read_before).kafka_error is None


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_a_running_ingest_is_seen_and_not_disturbed(unreachable: Settings) -> None:
    with another_writer(unreachable.lake) as process:
        for _ in range(2):
            assert status(unreachable).ingest_process == process
    assert status(unreachable).ingest_process is None


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--five-vs"], ["--five-vs", "--json"]], ids=" ".join)
def test_the_command_ends_well_on_an_empty_home(arguments: list[str], tmp_path: Path) -> None:
    flags = ["--set", f"home={tmp_path / 'home'}", "--set", "kafka.bootstrap=127.0.0.1:1"]
    found = CliRunner().invoke(main, [*flags, "status", *arguments])
    assert found.exit_code == 0, found.output
    if "--json" in arguments:
        assert json.loads(found.stdout)


def test_it_starts_without_spark() -> None:
    code = "import nextreel.status, nextreel.five_vs, sys; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
