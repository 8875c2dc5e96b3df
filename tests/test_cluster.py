"""Ingest and training on a cluster of processes, workers of which are killed: what comes out is as on one machine.

The workers' Python has neither nextreel nor what it needs: both are shipped to them, as docs/cluster.md says.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pyspark
import pytest
from tests.cluster import SHORT_LIVED, Cluster, lose

import nextreel
from nextreel.lake.layout import Lake

_LOCKED = Path(__file__).parents[1] / "requirements" / "runtime.txt"
_PACKAGES, _SOURCE = Path(pyspark.__file__).parents[1], Path(nextreel.__file__).parents[1]
#: The interpreter that this environment was made from.
BARE_PYTHON: str = sys._base_executable  # type: ignore[attr-defined]
_TRAINING = ("train.engine=mllib", "train.factors=8", "train.iterations=2", "spark.conf.spark.sql.shuffle.partitions=4")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is shipped, as one archive: the package, and its dependencies."""
    path = tmp_path_factory.mktemp("shipped") / "nextreel-env.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(_SOURCE / "nextreel", "nextreel")
        for name in re.findall(r"^([\w-]+)==", _LOCKED.read_text("utf-8"), re.MULTILINE):
            if name != "pyspark" and any(metadata.distributions(name=name)):  # executors have Spark
                for file in metadata.files(name) or []:
                    if ".." not in file.parts:  # programs, which nobody starts there
                        tar.add(file.locate(), file.as_posix())
    return path


@pytest.fixture(scope="module")
def filled(bootstrap: str, n_clustered: int) -> dict[str, str]:
    """Environment with topics that hold a world: 2,000 users, 900 titles, interactions."""
    run = uuid4().hex[:8]
    environment = {f"NEXTREEL_KAFKA_{t.upper()}": f"{t}-{run}" for t in ("users", "movies", "series", "interactions")}
    environment |= os.environ | {"NEXTREEL_KAFKA_BOOTSTRAP": bootstrap} | environment
    for what, count in (("users", 2000), ("movies", 600), ("series", 300), ("interactions", n_clustered)):
        command = [sys.executable, "-m", "nextreel", "produce", what, "--count", str(count), "--rate", "max"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
    return environment


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def command(cluster: Cluster, archive: Path, *arguments: str) -> list[str]:
    """Return a command whose driver knows the cluster and ships what the workers lack."""
    given = {
        "spark.master": cluster.url,
        "spark.conf.spark.driver.host": "127.0.0.1",
        "spark.conf.spark.archives": f"{archive}#nextreel-env",
        "spark.conf.spark.executorEnv.PYTHONPATH": "nextreel-env",
    }
    sets = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "nextreel", *sets, *arguments]


def submitted(cluster: Cluster, archive: Path, events: Path, *arguments: str) -> list[str]:
    """Return the same for ``spark-submit``, which writes what happens to a folder of events."""
    given = {
        "spark.driver.host": "127.0.0.1",
        "spark.executorEnv.PYTHONPATH": "nextreel-env",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.dir": events.as_uri(),
    }
    confs = [part for key, value in given.items() for part in ("--conf", f"{key}={value}")]
    program = [str(_PACKAGES / "pyspark" / "bin" / "spark-submit"), "--master", cluster.url]
    main = str(_SOURCE / "nextreel" / "__main__.py")
    return [*program, "--archives", f"{archive}#nextreel-env", *confs, main, *arguments]


def environment(filled: dict[str, str], home: Path) -> dict[str, str]:
    return filled | {
        "NEXTREEL_HOME": str(home),
        "PYSPARK_PYTHON": BARE_PYTHON,
        "PYTHONPATH": os.pathsep.join(map(str, (_SOURCE, _PACKAGES))),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "JDK_JAVA_OPTIONS": SHORT_LIVED,
    }


def told_after_a_kill(
    cluster: Cluster, command: list[str], environment: dict[str, str], is_time: Callable[[], bool], look: float
) -> dict[str, Any]:
    """Run a command, kill a worker at work when it is time, as if its machine had lost power; return what is told.

    Every ``look`` seconds it is asked whether it is time.
    """
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as running:
        try:
            while running.poll() is None and not is_time():
                time.sleep(look)
            assert running.poll() is None, f"it ended before a worker was killed: {running.communicate()}"
            both = zip(cluster.workers, cluster.executors(), strict=True)
            worker = next(worker for worker, executors in both if executors)
            cluster.workers.remove(worker)
            lose(worker)
            told, errors = running.communicate()
        except BaseException:  # or it would be waited for
            lose(running)
            raise
    assert running.returncode == 0, errors
    facts: dict[str, Any] = json.loads(told)
    return facts


def is_factorising(events: Path) -> bool:
    """Tell whether MLlib's ALS has completed some stages, and goes on."""
    lines = [line for file in events.rglob("events_*") for line in file.read_text("utf-8").splitlines()]
    return sum("StageCompleted" in line and "recommendation.ALS" in line for line in lines) > 5


def read_places(file: Path) -> list[tuple[int, int]]:
    """Return partition and offset of a file's messages."""
    found = pq.read_table(file, columns=["kafka_partition", "kafka_offset"], partitioning=None)
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


def trained(settings: Iterable[str], environment: dict[str, str]) -> dict[str, Any]:
    sets = [part for each in settings for part in ("--set", each)]
    found = subprocess.run(
        [sys.executable, "-m", "nextreel", *sets, "train", "--json"], env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    facts: dict[str, Any] = json.loads(found.stdout)
    return facts


def test_workers_python_has_nothing_of_ours() -> None:
    script = "import importlib.util as u; print([n for n in ('nextreel', 'pyarrow', 'pyspark') if u.find_spec(n)])"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    found = subprocess.run([BARE_PYTHON, "-c", script], env=bare, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.slow
def test_who_asks_for_more_than_a_worker_has_is_told(cluster: Cluster, tmp_path: Path) -> None:
    script = """if True:
        import sys
        from nextreel.lake import executors
        from nextreel.lake.session import spark_session
        from nextreel.settings import load
        executors._PATIENCE_SECONDS = 2.0
        given = {"spark.master": sys.argv[1], "home": sys.argv[2], "spark.conf.spark.executor.memory": "64g"}
        spark_session(load(given | {"spark.conf.spark.driver.host": "127.0.0.1"}, {})).range(1).count()
    """
    command = [sys.executable, "-c", script, cluster.url, str(tmp_path)]
    with subprocess.Popen(command, env=cluster.environment, stderr=subprocess.PIPE, text=True) as waiting:
        try:
            assert waiting.stderr is not None
            told = "none has the memory and cores of one (spark.conf.spark.executor.memory"
            assert any(told in line for line in waiting.stderr)
        finally:
            lose(waiting)


@pytest.fixture(scope="module")
def ingested(cluster: Cluster, archive: Path, filled: dict[str, str], home: Path, n_clustered: int) -> dict[str, Any]:
    """What an ingest told that lost a worker, and filled the home's lake."""
    batches = ("--set", f"ingest.max_offsets_per_trigger={n_clustered // 4}")
    ingest = command(cluster, archive, *batches, "ingest", "--once")
    staging = Lake(home / "lake").staging
    return told_after_a_kill(cluster, ingest, environment(filled, home), lambda: any(staging.glob("*.staged")), 0.02)


@pytest.mark.slow
def test_a_worker_is_killed_while_it_ingests(ingested: dict[str, Any], home: Path, n_clustered: int) -> None:
    assert ingested["rows"] == {"users": 2000, "movies": 600, "series": 300, "interactions": n_clustered}
    places = [read_places(file) for file in Lake(home / "lake").files("interactions")]
    assert len({place for each in places for place in each}) == sum(map(len, places)) == n_clustered


@pytest.mark.slow
@pytest.mark.usefixtures("ingested")
def test_a_worker_is_killed_while_it_trains(
    cluster: Cluster, archive: Path, filled: dict[str, str], home: Path, tmp_path: Path
) -> None:
    cluster.add_worker()
    sets = [part for each in _TRAINING for part in ("--set", each)]
    submit = submitted(cluster, archive, tmp_path, *sets, "train", "--json")
    given = environment(filled, home)
    java = {"JDK_JAVA_OPTIONS": cluster.environment["JDK_JAVA_OPTIONS"]}
    facts = told_after_a_kill(
        cluster, submit, cluster.environment | given | java, lambda: is_factorising(tmp_path), 0.5
    )
    local = trained(["spark.master=local[2,4]", *_TRAINING], given)
    assert facts["engine"] == local["engine"] == "mllib"
    assert facts["data"] == local["data"]
    for model in ("als", "bias"):
        there, here = (each["evaluation"]["accuracy"][model]["rmse"] for each in (facts, local))
        assert there == pytest.approx(here, rel=1e-6)
