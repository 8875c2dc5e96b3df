"""Topics: created as the settings say, left alone where they exist."""

import socket

import pytest
from confluent_kafka.admin import AdminClient
from tests.kafka.deleting import delete_topic

from nextreel.errors import KafkaError
from nextreel.events.contract import EVENT_TYPES
from nextreel.kafka import topics
from nextreel.kafka.topics import create_topics, topic_ids, topics_by_type
from nextreel.settings import Settings, load


@pytest.mark.parametrize("partitions", [1, 3])
def test_they_are_created_once_with_their_partitions(settings: Settings, partitions: int) -> None:
    kafka = settings.kafka.model_copy(update={"partitions": partitions})
    wanted = [kafka.users, kafka.movies, kafka.series, kafka.interactions]
    assert create_topics(kafka) == dict.fromkeys(wanted, True)
    assert create_topics(kafka) == dict.fromkeys(wanted, False)
    found = AdminClient(kafka.client_config).list_topics().topics
    assert {t: len(found[t].partitions) for t in wanted} == dict.fromkeys(wanted, partitions)


def test_only_the_missing_ones_are_created(settings: Settings) -> None:
    create_topics(settings.kafka)
    other = settings.kafka.model_copy(update={"series": f"{settings.kafka.series}-new", "partitions": 5})
    assert create_topics(other) == {
        other.users: False,
        other.movies: False,
        other.series: True,
        other.interactions: False,
    }
    found = AdminClient(other.client_config).list_topics().topics
    assert [len(found[t].partitions) for t in (other.users, other.series)] == [settings.kafka.partitions, 5]


def test_a_topic_that_is_made_anew_has_another_id(settings: Settings) -> None:
    kafka, config = settings.kafka, settings.kafka.client_config
    create_topics(kafka)
    first = topic_ids(config, [kafka.users, kafka.movies])
    assert list(first) == [kafka.users, kafka.movies]
    assert all(first.values())
    assert first[kafka.users] != first[kafka.movies]
    assert topic_ids(config, [kafka.movies, kafka.users, kafka.users]) == first
    delete_topic(settings, kafka.users)
    create_topics(kafka)
    again = topic_ids(config, first)
    assert again[kafka.users] not in ("", first[kafka.users])
    assert again[kafka.movies] == first[kafka.movies]


def test_ids_of_nothing(settings: Settings) -> None:
    assert topic_ids(settings.kafka.client_config, []) == {}


def test_ids_of_a_topic_that_does_not_exist(settings: Settings) -> None:
    with pytest.raises(KafkaError, match=r"topic 'no-such-topic': .*`nextreel topics` creates the topics"):
        topic_ids(settings.kafka.client_config, ["no-such-topic"])
    assert "no-such-topic" not in AdminClient(settings.kafka.client_config).list_topics().topics


def test_each_type_has_its_topic() -> None:
    kafka = load({"kafka.users": "u", "kafka.movies": "m", "kafka.series": "s", "kafka.interactions": "i"}, {}).kafka
    assert topics_by_type(kafka) == {"user": "u", "movie": "m", "series": "s", "interaction": "i"}
    assert tuple(topics_by_type(kafka)) == EVENT_TYPES


def test_a_broker_that_is_not_there_is_an_error_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_SECONDS", 1.0)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it meanwhile
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(KafkaError) as caught:
            create_topics(load({"kafka.bootstrap": address}, {}).kafka)
    assert address in str(caught.value)
    assert "`nextreel broker` starts one" in str(caught.value)
