"""The command line: what is wrong is said in a line, without a traceback, with an exit code."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.processes import child

from nextreel.cli import main
from nextreel.events.world import World, WorldConfig
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics, topics_by_type
from nextreel.settings import Settings


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "kafka.users=a,b", "topics"],
        ["--set", "kafka.users= ", "topics"],
        ["--set", "train.seed=-1", "train"],
        ["produce", "users", "--rate", "nan"],
        ["produce", "users", "--rate", "0.5"],
        ["produce", "users", "--start", "99999999999999999999"],
        ["replay", "movielens", ".", "--speed-up", "nan"],
        ["replay", "movielens", ".", "--speed-up", "1e-300"],
        ["broker", "--port", "70000"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_before_anything_starts(arguments: list[str]) -> None:
    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 2, found.output


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nextreel", *arguments],
        env=os.environ | {"NEXTREEL_HOME": str(home), "NEXTREEL_KAFKA_BOOTSTRAP": "127.0.0.1:1"},
        capture_output=True, text=True,
    )  # fmt: skip


def test_a_client_setting_that_librdkafka_does_not_know(tmp_path: Path) -> None:
    found = run(tmp_path, "--set", "kafka.client.nonsense=1", "topics")
    assert found.returncode == 2
    assert found.stderr.startswith("error: kafka.client.nonsense: No such configuration property")
    assert len(found.stderr.splitlines()) == 1


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = run(tmp_path / "file" / "home", "ingest", "--once")
    assert found.returncode == 2
    assert found.stderr.splitlines()[-1].startswith("error: the home directory cannot be written: ")


def test_a_metrics_port_in_use_is_said_before_spark_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = run(tmp_path, "ingest", "--metrics-port", str(port))
    assert found.returncode == 2
    assert found.stderr.startswith(f"error: ingest.metrics_port = {port}: ")
    assert len(found.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_goes_wrong_in_the_stream_is_told_in_its_own_words(tmp_path: Path) -> None:
    found = run(tmp_path, "ingest", "--once")
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert found.stderr.splitlines()[-1].startswith("error: Kafka at 127.0.0.1:1: ")


@pytest.mark.slow
def test_what_goes_wrong_in_spark_is_told_with_its_log(tmp_path: Path) -> None:
    found = run(tmp_path, "--set", "spark.master=nonsense", "train")
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert f"{tmp_path / 'logs' / 'spark.log'} may say more." in found.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_jvm_that_is_killed_is_told_in_a_line(settings: Settings) -> None:
    create_topics(settings.kafka)
    producer = EventProducer(settings.kafka)
    producer.send(settings.kafka.users, World(WorldConfig(n_users=10)).events("user", 0, 10))
    producer.flush()
    topics = topics_by_type(settings.kafka)
    given = {"home": str(settings.home), "kafka.bootstrap": settings.kafka.bootstrap}
    given |= dict(
        zip(("kafka.users", "kafka.movies", "kafka.series", "kafka.interactions"), topics.values(), strict=True)
    )
    sets = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "nextreel", *sets, "ingest"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as ingest:
        try:
            child(ingest, "nextreel.workers")
            child(ingest, "org.apache.spark.deploy.SparkSubmit").kill()
            _, stderr = ingest.communicate()
        finally:
            ingest.kill()
    assert ingest.returncode == 1
    log = settings.home / "logs" / "spark.log"
    last = stderr.splitlines()[-1]
    assert last == f"error: Spark's JVM has ended with code -9. {log} may say more."
    assert "Traceback" not in stderr
    assert "Exception" not in stderr


@pytest.mark.slow
def test_a_session_that_cannot_start_says_why(tmp_path: Path) -> None:
    found = run(tmp_path, "--set", "spark.master=local[x]", "train")
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1].startswith("error: ")
    assert "local[x]" in found.stderr.splitlines()[-1]
    assert f"{tmp_path / 'logs' / 'spark.log'} may say more." in found.stderr


_INTERRUPTED_IN_A_FINALISER = """if True:
    import os, signal, time
    from nextreel import __main__, cli

    class Finalised:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0)  # by then it has come

    def command(prog_name):
        Finalised()
        time.sleep(100_000)

    cli.main = command
    __main__.main()
"""


def test_an_interrupt_is_not_lost_where_an_object_is_finalised() -> None:
    done = subprocess.run([sys.executable, "-c", _INTERRUPTED_IN_A_FINALISER], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")
