"""A cluster with ACLs: what a user may not do is named, with the right that is missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic, ResourceType
from pyspark.sql import SparkSession
from tests.ingest.ingesting import ingest
from tests.kafka.apache import KafkaCluster, allow, certificate_of, client_of, secure_broker
from tests.serve.test_serve_process import server

from nextreel.cli.main import main
from nextreel.errors import KafkaError
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics
from nextreel.model.store import ModelStore
from nextreel.settings import Settings, load
from nextreel.train.job import train

PASSWORDS = {name: f"{name}-secret" for name in ("app", "reader", "creator", "nobody")}
TOPICS = load({}, {}).kafka.topics
USE = (AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE)


@pytest.fixture(scope="module")
def secured(apache_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KafkaCluster, Path]]:
    """A broker whose user app may read, write and describe the four topics; reader does not write, creator creates."""
    folder = tmp_path_factory.mktemp("secured")
    with secure_broker(apache_jars, folder, PASSWORDS) as broker:
        for topic in TOPICS:
            allow(broker, "app", ResourceType.TOPIC, topic, *USE)
            allow(broker, "reader", ResourceType.TOPIC, topic, AclOperation.READ)
        allow(broker, "creator", ResourceType.TOPIC, "*", *USE, AclOperation.CREATE)
        yield broker, folder


def settings_of(secured: tuple[KafkaCluster, Path], user: str, home: Path, **more: str) -> dict[str, str]:
    broker, folder = secured
    client = client_of(user, PASSWORDS[user], certificate_of(folder))
    flags = {f"kafka.client.{name}": value for name, value in client.items()}
    return {"home": str(home), "kafka.bootstrap": broker.bootstrap} | flags | more


def kafka_of(secured: tuple[KafkaCluster, Path], user: str, home: Path, **more: str) -> Settings:
    return load(
        settings_of(secured, user, home, **{name.replace("__", "."): value for name, value in more.items()}), {}
    )


def run(given: dict[str, str], *arguments: str) -> Result:
    flags = [f"--set={name}={value}" for name, value in given.items()]
    return CliRunner().invoke(main, [*flags, *arguments], env={"NEXTREEL_TEST_KAFKA_HOME": None})


@pytest.mark.slow
def test_a_user_who_may_not_create_is_told_what_is_missing(secured: tuple[KafkaCluster, Path], tmp_path: Path) -> None:
    given = kafka_of(secured, "app", tmp_path, kafka__partitions="3").kafka
    with pytest.raises(KafkaError) as refused:
        create_topics(given.model_copy(update={"users": "elsewhere"}))
    assert "'elsewhere'" in str(refused.value)
    with pytest.raises(KafkaError, match="Describe"):
        create_topics(kafka_of(secured, "nobody", tmp_path).kafka)


@pytest.mark.slow
def test_topics_that_exist_are_used_without_the_right_to_create(
    secured: tuple[KafkaCluster, Path], tmp_path: Path
) -> None:
    create_topics(kafka_of(secured, "creator", tmp_path).kafka)
    given = settings_of(secured, "app", tmp_path)
    told = run(given, "topics")
    assert (told.exit_code, told.output.count("was there")) == (0, 4), told.output
    assert run(given, "produce", "users", "--count", "50", "--rate", "max").exit_code == 0
    movies = tmp_path / "movies.csv"
    movies.write_text("id,title\nm1,A film\nm2,Another\n")
    replayed = run(given, "replay", "catalogue", str(movies))
    assert replayed.exit_code == 0, replayed.output


@pytest.mark.slow
def test_a_user_who_may_not_create_goes_the_whole_way(
    secured: tuple[KafkaCluster, Path], tmp_path: Path, spark: SparkSession
) -> None:
    """Produces, ingests, trains, serves, and writes over the API what the server then knows."""
    create_topics(kafka_of(secured, "creator", tmp_path).kafka)
    given, settings = settings_of(secured, "app", tmp_path), kafka_of(secured, "app", tmp_path, train__factors="8")
    for kind, count in {"users": 60, "movies": 40, "series": 20, "interactions": 1_500}.items():
        produced = run(given, "produce", kind, "--count", str(count), "--rate", "max")
        assert produced.exit_code == 0, produced.output
    ingest(spark, settings)
    assert train(spark, settings).version == ModelStore(settings.models).current()
    with server(settings, *(f"--set={name}={value}" for name, value in given.items())) as running:
        running.ready()
        title = running.get("/v1/users/u000001/recommendations")[1]["items"][0]["content_id"]
        written = {"user_id": "u000001", "content_id": title, "event": "complete"}
        status, answer = running.post("/v1/interactions", written)
        assert status == 202, answer
        running.until(
            "/v1/users/u000001/history", lambda _, found: title in [each["content_id"] for each in found["items"]]
        )
        assert running.get("/readyz")[0] == 200


@pytest.mark.slow
def test_a_producer_without_the_right_to_write_says_so(secured: tuple[KafkaCluster, Path], tmp_path: Path) -> None:
    given = kafka_of(secured, "creator", tmp_path).kafka
    create_topics(given)
    producer = EventProducer(kafka_of(secured, "reader", tmp_path).kafka)
    producer.send_raw(given.users, [("u1", b"{}")])
    with pytest.raises(KafkaError, match="needs the right Write"):
        producer.flush()


@pytest.mark.slow
def test_a_missing_topic_without_the_right_to_create(secured: tuple[KafkaCluster, Path], tmp_path: Path) -> None:
    broker, _ = secured
    allow(broker, "app", ResourceType.TOPIC, "not-there", AclOperation.DESCRIBE)
    allow(broker, "app", ResourceType.TOPIC, "there", AclOperation.DESCRIBE)
    admin = AdminClient(broker.admin)
    admin.create_topics([NewTopic("there", 1, 1)])["there"].result(20)
    create_topics(kafka_of(secured, "creator", tmp_path).kafka)
    given = kafka_of(secured, "app", tmp_path).kafka
    with pytest.raises(KafkaError) as refused:
        create_topics(given.model_copy(update={"users": "there", "movies": "not-there"}))
    told = str(refused.value)
    assert "'not-there' does not exist" in told
    assert "'there'" not in told.replace("'not-there'", "")
    assert "the right Create on the topic or on the cluster" in told
    assert "min.insync.replicas 1" in told
