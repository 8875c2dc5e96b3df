"""What was lost is written down, once."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from tests.ingest.ingesting import ingest
from tests.kafka.deleting import delete_topic

from nextreel.errors import DataLossError
from nextreel.events.world import World, WorldConfig
from nextreel.ingest.gaps import Gap, check_topics, write_gap
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics
from nextreel.lake.commit import commit
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Intake
from nextreel.settings import Settings

GAP = Gap("users", 1, 3, 10, "messages 3 to 10 were deleted")


def test_a_gap_is_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "_ingest" / "gaps"
    write_gap(folder, GAP)
    (file,) = folder.iterdir()
    assert file.name == "users-1-3-10.json"
    found = json.loads(file.read_text())
    noticed = datetime.fromisoformat(found.pop("noticed_at"))
    assert timedelta(0) <= datetime.now(UTC) - noticed < timedelta(minutes=1)
    assert found == {"topic": "users", "partition": 1, "begin": 3, "end": 10, "why": "messages 3 to 10 were deleted"}


def test_a_gap_that_is_known_stays_as_it_was_noticed(tmp_path: Path) -> None:
    write_gap(tmp_path, GAP)
    (file,) = tmp_path.iterdir()
    first = file.read_text()
    write_gap(tmp_path, GAP)
    assert [f.read_text() for f in tmp_path.iterdir()] == [first]
    write_gap(tmp_path, Gap("users", 1, 3, 12, "more"))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_gap_says_where_it_is() -> None:
    assert str(GAP) == "users partition 1: messages 3 to 10 were deleted"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake that was filled from a topic with the id A, up to offset 7 of its one partition."""
    lake = Lake(tmp_path / "lake")
    check_topics(lake, {"users": "A", "movies": "M"}, fail=True)
    commit(lake, "query", 0, [], {"users": {"0": 7}}, Intake())
    return lake


def test_topics_that_are_the_same_are_gone_on_with(lake: Lake) -> None:
    check_topics(lake, {"users": "A", "movies": "M", "series": "S"}, fail=True)
    check_topics(lake, {"users": "A", "movies": "another, of which nothing was read"}, fail=True)
    check_topics(lake, {"users": ""}, fail=True)  # a broker that has no ids
    check_topics(lake, {"users": "A"}, fail=True)
    assert not lake.gaps.exists()


def test_a_topic_made_anew_is_an_error(lake: Lake) -> None:
    for _ in range(2):
        with pytest.raises(DataLossError, match=r"users was deleted and made anew .* ingest.fail_on_data_loss = false"):
            check_topics(lake, {"users": "B", "movies": "M"}, fail=True)


def test_a_topic_made_anew_is_written_down_where_that_is_wanted(lake: Lake) -> None:
    check_topics(lake, {"users": "B", "movies": "M"}, fail=False)
    (gap,) = lake.gaps.iterdir()
    assert gap.name == "users-0-0-7.json"
    assert "made anew" in json.loads(gap.read_text())["why"]
    check_topics(lake, {"users": "B", "movies": "M"}, fail=True)


@pytest.mark.slow
def test_an_ingest_notices_that_its_topic_was_made_anew(spark: SparkSession, settings: Settings) -> None:
    create_topics(settings.kafka)
    world, producer = World(WorldConfig(n_users=50)), EventProducer(settings.kafka)
    producer.send(settings.kafka.users, world.events("user", 0, 20))
    producer.flush()
    ingest(spark, settings)
    delete_topic(settings, settings.kafka.users)
    create_topics(settings.kafka)
    producer = EventProducer(settings.kafka)
    producer.send(settings.kafka.users, world.events("user", 0, 50))  # more than the checkpoint has seen
    producer.flush()
    with pytest.raises(DataLossError, match="made anew"):
        ingest(spark, settings)
