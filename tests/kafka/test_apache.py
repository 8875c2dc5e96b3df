"""Apache Kafka as nextreel runs it: durable, on loopback, on its own data, and ended with its parent."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.processes import listening, tree
from tests.waiting import until

from nextreel.errors import BrokerError
from nextreel.kafka import apache, jars
from nextreel.kafka.apache import apache_broker, has_data
from nextreel.kafka.broker import is_free
from nextreel.kafka.jars import fetch_jars, fetch_kafka_jars, kafka_jars
from nextreel.kafka.topics import create_topics
from nextreel.settings import Settings, load


@pytest.fixture
def distribution(apache_jars: Path, tmp_path: Path) -> Path:
    """A folder with Kafka's JARs in libs, as an unpacked distribution has them."""
    folder = tmp_path / "distribution"
    folder.mkdir()
    (folder / "libs").symlink_to(apache_jars)
    return folder


@pytest.fixture
def given(distribution: Path, tmp_path: Path) -> Settings:
    return load({"home": str(tmp_path / "a home, of é"), "kafka.distribution": str(distribution)}, {})


def at(settings: Settings, bootstrap: str) -> Settings:
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": bootstrap})})


def send(settings: Settings, *values: bytes) -> None:
    create_topics(settings.kafka)
    producer = Producer(settings.kafka.client_config | {"acks": "all"})
    for value in values:
        producer.produce(settings.kafka.users, value, partition=0)
    assert producer.flush(60) == 0


def held(settings: Settings, n: int) -> list[bytes]:
    """Return the first n messages of the users' topic."""
    consumer = Consumer(settings.kafka.client_config | {"group.id": "test"})
    consumer.assign([TopicPartition(settings.kafka.users, 0, 0)])
    found: list[bytes] = []

    def read() -> bool:
        found.extend(message.value() for message in consumer.consume(n, timeout=1.0))
        return len(found) >= n

    until(read)
    consumer.close()
    return found


@pytest.mark.slow
def test_topics_outlive_a_kill_and_a_restart_at_the_same_port(given: Settings) -> None:
    with apache_broker(given) as broker:
        there = at(given, broker.bootstrap)
        assert {address for address, _ in listening(tree(broker.pid))} <= {"127.0.0.1", "::ffff:127.0.0.1"}
        send(there, b"1", b"2")
        os.kill(broker.pid, signal.SIGKILL)
        until(lambda: not broker.is_running)
        with pytest.raises(BrokerError, match=r"Apache Kafka ended \(exit code -9\).* Its log is .*kafka\.log"):
            broker.check_running()
        broker.start()
        broker.wait_until_up()
        send(there, b"3")
        assert held(there, 3) == [b"1", b"2", b"3"]
        first = broker.bootstrap
    assert has_data(given)
    with apache_broker(given) as broker:
        assert broker.bootstrap == first
        assert held(at(given, first), 3) == [b"1", b"2", b"3"]
        assert "Kafka Server started" in (given.home / "kafka" / "kafka.log").read_text()


def test_data_that_another_broker_uses_are_refused(given: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apache, "_LOCK_SECONDS", 0.2)
    refusal = pytest.raises(BrokerError, match=r"kafka is in use: another broker runs on its data")
    with apache_broker(given), refusal, apache_broker(given):
        pass


def test_a_setting_that_kafka_refuses_is_named(given: Settings) -> None:
    with (
        pytest.raises(BrokerError, match=r"num\.io\.threads"),
        apache_broker(given, more={"num.io.threads": "none"}),
    ):
        pass


def read_address(command: "subprocess.Popen[str]") -> str:
    assert command.stdout is not None
    return command.stdout.readline().split(";")[0].removeprefix("listening on ").strip()


@contextmanager
def running(settings: Settings) -> Iterator["subprocess.Popen[str]"]:
    sets = {"home": settings.home, "kafka.distribution": settings.kafka.distribution}
    flags = [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "nextreel", *flags, "broker", "--apache"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_the_command_s_broker_ends_with_it_and_keeps_what_it_acknowledged(given: Settings) -> None:
    with running(given) as command:
        address = read_address(command)
        (broker,) = [each for each in tree(command.pid)[1:] if "kafka.Kafka" in each.cmdline()]
        send(at(given, address), b"acknowledged")
        command.kill()
    until(lambda: not broker.is_running() or broker.status() == psutil.STATUS_ZOMBIE)
    with running(given) as command:
        again = read_address(command)
        assert held(at(given, again), 1) == [b"acknowledged"]
        (broker,) = [each for each in tree(command.pid)[1:] if "kafka.Kafka" in each.cmdline()]
        broker.kill()
        assert command.wait(60) == 1
        assert command.stderr is not None
        assert "Apache Kafka ended (exit code -9)" in command.stderr.read()
    assert is_free(int(again.rpartition(":")[2]))


# Its JARs


def test_without_maven_and_a_distribution_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = load({"home": str(tmp_path)}, {})
    assert kafka_jars(settings) is None
    with pytest.raises(BrokerError, match=r"nor is there Maven \(mvn on PATH\).*NEXTREEL_KAFKA_DISTRIBUTION"):
        fetch_kafka_jars(settings)
    assert not any((tmp_path / "cache" / "nextreel").iterdir())


def test_a_folder_that_is_no_distribution_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"kafka\.distribution is '.*', which has no libs/kafka_2\.\*\.jar"):
        kafka_jars(load({"kafka.distribution": str(tmp_path)}, {}))


def test_a_distribution_is_named_by_its_folder_or_that_of_its_jars(distribution: Path) -> None:
    for folder in (distribution, distribution / "libs"):
        assert kafka_jars(load({"kafka.distribution": str(folder)}, {})) == distribution / "libs"


def maven(folder: Path, script: str) -> None:
    """Put a program in Maven's place."""
    program = folder / "bin" / "mvn"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for Maven")
def test_a_maven_that_fails_leaves_nothing_and_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maven(tmp_path, "mkdir -p libs; echo '[ERROR] Could not resolve it: no route to host'; echo '[ERROR] more'; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(BrokerError, match=r"Maven could not fetch a:b:1: Could not resolve it: no route to host$"):
        fetch_jars(["a:b:1"], tmp_path / "jars")
    assert [each.name for each in tmp_path.iterdir()] == ["bin"]


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands for Maven")
def test_jars_are_fetched_once_into_the_cache_or_else_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'for a; do case $a in -DoutputDirectory=*) d=${a#*=};; esac; done; mkdir "$d"; touch "$d/kafka_2.13-x.jar"'
    maven(tmp_path, f"{script}; echo once >> {tmp_path}/calls")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settings = load({"home": str(tmp_path / "home")}, {})
    folders: list[Path] = []
    fetching = [threading.Thread(target=lambda: folders.append(fetch_kafka_jars(settings))) for _ in range(3)]
    for thread in fetching:
        thread.start()
    for thread in fetching:
        thread.join()
    expected = tmp_path / "cache" / "nextreel" / f"kafka-{jars.KAFKA_VERSION}"
    assert folders == [expected] * 3
    assert [each.name for each in expected.parent.iterdir()] == [expected.name]
    calls = (tmp_path / "calls").read_text()
    assert fetch_kafka_jars(settings) == expected
    assert (tmp_path / "calls").read_text() == calls
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "calls"))  # a file: no folder can be made in it
    assert fetch_kafka_jars(settings) == settings.home / "kafka" / f"kafka-{jars.KAFKA_VERSION}"
