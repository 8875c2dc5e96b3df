"""What all tests share: one broker and one Spark session a run, started when the first test asks for them.

The broker is Apache Kafka if it can be had (tests/kafka/apache.py), one for all processes of a run; otherwise each
process has an embedded one, and tests that need Apache Kafka are left out.
"""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings as hypothesis_settings
from pyspark.sql import SparkSession
from tests.kafka.apache import APACHE_NEEDED, apache_jars_or_reason, shared_broker

from nextreel.kafka.broker import embedded_broker
from nextreel.lake.session import spark_session, stop_spark
from nextreel.settings import Settings, load

# A machine that is busy is no failure of the property.
hypothesis_settings.register_profile("nextreel", deadline=None)
hypothesis_settings.load_profile("nextreel")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let long forms be asked for: ``./run test --crashes 100 tests/ingest/test_crash.py``."""
    parser.addoption("--crashes", type=int, default=10, help="how often the crash test kills the ingest, from 10 on")
    parser.addoption("--clustered", type=int, default=1_000_000, help="how many events a Spark cluster ingests")
    parser.addoption("--hostile", type=int, default=3_000, help="how many hostile requests the server is sent")


def pytest_configure() -> None:
    """Let an interrupt reach what tests start, where a shell started this in the background and so ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


#: The broker that the processes of a run share: held by the one that started them, known to them by its address.
_BROKER = pytest.StashKey[ExitStack]()
_SHARED = "nextreel_bootstrap"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the broker of a run of several processes before they start."""
    config = session.config
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput") and not config.option.collectonly:
        config.stash[_BROKER] = ExitStack()
        if not isinstance(apache_jars_or_reason(), str):
            vars(config)[_SHARED] = config.stash[_BROKER].enter_context(shared_broker())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Say to a process of the run where the broker is."""
    node.workerinput[_SHARED] = getattr(node.config, _SHARED, "")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the broker of a run of several processes."""
    if _BROKER in config.stash:
        config.stash[_BROKER].close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests were left out because there is no Apache Kafka."""
    left_out = [r for r in terminalreporter.stats.get("skipped", []) if APACHE_NEEDED in str(r.longrepr)]
    if left_out:
        terminalreporter.write_line(
            f"{len(left_out)} tests were left out: {apache_jars_or_reason()}. Others ran on the embedded broker."
        )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have slow tests begin first, long runs of them before all: else everything waits for the last of them.

    What a slow module sets up for all its tests is set up once: they run in one process. So do those on Spark's
    session, whose first queries cost more than all others; those of ingest have one for themselves.
    """
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("stream" if item.path.parent.name == "ingest" else "spark"))
        elif _is_slow(item) and _has_module_fixtures(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: (not _is_slow(item), not item.get_closest_marker("xdist_group"), len(item.path.parts)))


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def _has_module_fixtures(item: pytest.Item) -> bool:
    info = getattr(item, "_fixtureinfo", None)
    fixtures = info.name2fixturedefs.values() if info else ()
    return any(found and found[-1].scope == "module" for found in fixtures)


@pytest.fixture
def n_crashes(pytestconfig: pytest.Config) -> int:
    """How often the ingest is killed."""
    return max(10, int(pytestconfig.getoption("--crashes")))


@pytest.fixture(scope="session")
def n_clustered(pytestconfig: pytest.Config) -> int:
    """How many interactions a cluster ingests."""
    return int(pytestconfig.getoption("--clustered"))


@pytest.fixture
def n_hostile(pytestconfig: pytest.Config) -> int:
    """How many hostile requests there are."""
    return int(pytestconfig.getoption("--hostile"))


@pytest.fixture(scope="session")
def apache_jars() -> Path:
    """The folder of Apache Kafka's JARs. A test that needs it is left out without them, and fails in CI."""
    found = apache_jars_or_reason()
    if isinstance(found, str):
        pytest.skip(f"{APACHE_NEEDED}: {found}")
    return found


@pytest.fixture(scope="session")
def apache_bootstrap(apache_jars: Path, bootstrap: str) -> str:
    """The address of Apache Kafka, for tests of what the embedded broker does not have."""
    return bootstrap


@pytest.fixture(scope="session")
def embedded_bootstrap() -> Iterator[str]:
    """The address of an embedded broker."""
    with embedded_broker() as address:
        yield address


@pytest.fixture(scope="session")
def bootstrap(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of the run's broker: Apache Kafka, or an embedded one if that cannot be had."""
    if shared := getattr(request.config, "workerinput", {}).get(_SHARED):
        yield shared
    elif isinstance(apache_jars_or_reason(), str):
        yield request.getfixturevalue("embedded_bootstrap")
    else:
        with shared_broker() as address:
            yield address


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The run's one Spark session."""
    session = spark_session(load({"home": str(tmp_path_factory.mktemp("spark"))}, {}), "nextreel-tests")
    yield session
    stop_spark(session)


@pytest.fixture
def kept_spark(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> SparkSession:
    """The same, which commands that a test runs in this process do not stop: others go on with it."""
    monkeypatch.setattr("nextreel.lake.session.stop_spark", lambda _: None)
    return spark


@pytest.fixture
def settings(bootstrap: str, tmp_path: Path) -> Settings:
    """Settings of a test's own: an empty home, and topics that no other test writes to."""
    run = uuid4().hex[:8]
    topics = {f"kafka.{t}": f"{t}-{run}" for t in ("users", "movies", "series", "interactions")}
    return load({"home": str(tmp_path), "kafka.bootstrap": bootstrap} | topics, {})


@pytest.fixture(scope="session")
def movielens_small() -> Path:
    """The directory of the real ml-latest-small, where it lies beside the repository."""
    directory = Path(__file__).parents[2] / "shared" / "data" / "ml-latest-small"
    if not directory.is_dir():
        pytest.skip("no shared/data/ml-latest-small beside the repository: the tests on real ratings are skipped")
    return directory
