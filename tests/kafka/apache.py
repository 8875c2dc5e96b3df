"""Apache Kafka for tests: where its JARs are, and the broker that a run of the tests shares."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from nextreel.errors import BrokerError, JavaError
from nextreel.java import find_java
from nextreel.kafka.apache import apache_broker
from nextreel.kafka.jars import fetch_kafka_jars
from nextreel.settings import Settings, load

#: Begins the reason for which a test is left out.
APACHE_NEEDED = "needs Apache Kafka"


def is_ci() -> bool:
    """Tell whether this is CI, where nothing is left out."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


@cache
def apache_jars_or_reason() -> Path | str:
    """Return the folder of Apache Kafka's JARs, or why there is none. Raises in CI, which always has it.

    NEXTREEL_TEST_KAFKA_HOME names a distribution; otherwise Maven fetches the JARs once, into the user's cache.
    """
    try:
        find_java()
        return fetch_kafka_jars(_settings(Path(tempfile.gettempdir())))
    except (BrokerError, JavaError) as error:
        if is_ci():
            raise
        return str(error).rstrip(".")


def _settings(home: Path) -> Settings:
    named = os.environ.get("NEXTREEL_TEST_KAFKA_HOME")
    return load({"home": str(home)} | ({"kafka.distribution": named} if named else {}), {})


@contextmanager
def shared_broker() -> Iterator[str]:
    """Run the broker that tests share, its data among the temporary files; yields its ``host:port``."""
    home = Path(tempfile.mkdtemp(prefix="nextreel-test-kafka-"))
    try:
        with apache_broker(_settings(home)) as broker:
            yield broker.bootstrap
    finally:
        shutil.rmtree(home, ignore_errors=True)
