"""The Spark session: on loopback only, one a process, and started from its archive."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import MagicMock

import psutil
import pyspark
import pytest
from pyspark.sql import SparkSession
from tests.processes import child, listening, tree

from nextreel.errors import NextreelError, SparkError
from nextreel.java import find_java, properties
from nextreel.lake import jvm, session
from nextreel.lake.session import spark_session
from nextreel.locks import opened, taken
from nextreel.settings import Settings, load


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return load({"home": str(tmp_path)}, {})


def jvm_process(spark: SparkSession) -> psutil.Process:
    context = spark.sparkContext
    assert context._gateway is not None
    pid: int = context._gateway.proc.pid
    return psutil.Process(pid)


def test_it_listens_on_loopback_only(spark: SparkSession) -> None:
    addresses = {address for address, _ in listening(tree(jvm_process(spark).pid))}
    assert addresses
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert spark.sparkContext.uiWebUrl is None


def test_a_process_has_one(spark: SparkSession, home: Settings) -> None:
    before = dict(os.environ)
    assert spark_session(home) is spark
    assert dict(os.environ) == before


def test_its_temporary_files_lie_in_a_folder_of_its_own(spark: SparkSession) -> None:
    folder = next(each for each in jvm_process(spark).cmdline() if each.startswith("-Djava.io.tmpdir=")).split("=")[1]
    assert Path(folder).parent == Path(tempfile.gettempdir())
    assert any(Path(folder).glob("blockmgr-*"))
    with opened(Path(folder), os.O_RDONLY) as descriptor:
        assert not taken(descriptor)


def test_its_times_are_utc_and_its_columns_arrow(spark: SparkSession) -> None:
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.sql.execution.arrow.pyspark.enabled") == "true"
    shown = spark.sql("select date_format(timestamp_seconds(0), 'yyyy-MM-dd HH:mm')").first()
    assert shown is not None
    assert shown[0] == "1970-01-01 00:00"


def test_its_workers_run_this_python(spark: SparkSession) -> None:
    found = spark.sparkContext.parallelize([0], 1).map(lambda _: (sys.executable, sys.prefix)).collect()
    assert found == [(sys.executable, sys.prefix)]


def test_it_starts_from_its_class_archive_or_leaves_one(spark: SparkSession) -> None:
    options = spark.conf.get("spark.driver.extraJavaOptions") or ""
    assert ("-XX:SharedArchiveFile=" in options) or ("-XX:ArchiveClassesAtExit=" in options)
    command = jvm_process(spark).cmdline()
    archive = [a for a in command if a.startswith(("-XX:SharedArchiveFile=", "-XX:ArchiveClassesAtExit="))]
    assert archive, command
    last = archive[-1].partition("=")[2].split(os.pathsep)[-1]
    assert Path(last).parent == Path(sys.prefix, "spark")
    assert "--add-modules=jdk.incubator.vector" not in command


@pytest.mark.slow
@pytest.mark.parametrize(("end", "delay"), [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.0), (signal.SIGTERM, 2.5)])
def test_who_is_interrupted_at_its_start_leaves_no_jvm(tmp_path: Path, end: signal.Signals, delay: float) -> None:
    secret = {"spark.hadoop.fs.s3a.secret.key": 'not for "ps": \\ü=1', "spark.hadoop.a key:": " #!"}
    sets = [part for key, value in secret.items() for part in ("--set", f"spark.conf.{key}={value}")]
    environment = os.environ | {"NEXTREEL_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "nextreel", *sets, "train"]
    with subprocess.Popen(command, env=environment, start_new_session=True) as train:
        try:
            java = child(train, "org.apache.spark.deploy.SparkSubmit", "java")
            assert not any("not for" in argument for argument in java.cmdline())
            time.sleep(delay)
            train.send_signal(end)
            assert train.wait() == 130
            assert not java.is_running()
        finally:
            train.kill()


_AT_WORK = """
import signal, sys, time
from pathlib import Path
from nextreel.lake.session import running_spark
from nextreel.settings import load
home = sys.argv[1]
def slowly(rows):
    Path(home, "begun").touch()
    time.sleep(100_000)
    yield from rows
signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line does
with running_spark(load({"home": home}, {})) as spark:
    rows = spark.range(1, numPartitions=1).mapInArrow(slowly, "id bigint")
    try:
        getattr(rows, sys.argv[2])()
    except KeyboardInterrupt:
        while spark.sparkContext.statusTracker().getActiveJobsIds():
            time.sleep(0.1)
        raise
"""


@pytest.mark.slow
@pytest.mark.parametrize(("end", "action"), [(signal.SIGINT, "collect"), (signal.SIGTERM, "toArrow")])
def test_who_is_interrupted_while_spark_works_waits_for_nothing(
    tmp_path: Path, end: signal.Signals, action: str
) -> None:
    pipe, temporary = subprocess.PIPE, tmp_path / "temporary"
    temporary.mkdir()
    command, environment = (
        [sys.executable, "-c", _AT_WORK, str(tmp_path), action],
        os.environ | {"TMPDIR": str(temporary)},
    )
    with subprocess.Popen(command, env=environment, stderr=pipe, text=True) as process:
        try:
            java = child(process, "org.apache.spark.deploy.SparkSubmit", "java")
            while process.poll() is None and not (tmp_path / "begun").exists():
                time.sleep(0.05)
            (folder,) = temporary.glob("nextreel-scratch-*")
            process.send_signal(end)
            _, error = process.communicate()
            assert error.rstrip().endswith("KeyboardInterrupt")
            assert not java.is_running()
            assert not folder.exists()
        finally:
            process.kill()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no such processes there")
def test_archives_that_nobody_will_finish_go(tmp_path: Path) -> None:
    old, new, own = (tmp_path / f"spark-0123.{pid}" for pid in (2**22 + 1, 2**22 + 2, os.getpid()))
    for archive in (old, new, own):
        archive.touch()
    for archive in (old, own):
        os.utime(archive, (0, 0))
    session._archive_options(find_java(), tmp_path)
    assert [path.exists() for path in (old, new, own)] == [False, True, True]


def test_its_settings_reach_it_as_they_were_given(spark: SparkSession, tmp_path: Path) -> None:
    given = {"spark.hadoop.secret.key": 'not for "ps": \\ü=1 €𝄞', "spark.hadoop.a key:": " #!", "spark.empty": ""}
    written = tmp_path / "properties"
    written.write_text(properties(given), "ascii")
    assert spark.sparkContext._jvm is not None
    java = spark.sparkContext._jvm.java
    found = java.util.Properties()
    found.load(java.io.FileInputStream(str(written)))
    assert {key: found.getProperty(key) for key in found.stringPropertyNames()} == given


# Where what a start needs is kept


@pytest.fixture
def unwritable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Python environment and a home that nothing can be made in, for root neither: they are files."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "file"))
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return monkeypatch


posix = pytest.mark.skipif(os.name == "nt", reason="there, the package and the Java are used as they are")


@posix
def test_it_starts_from_an_environment_that_cannot_be_written(
    unwritable: pytest.MonkeyPatch, home: Settings, tmp_path: Path
) -> None:
    unwritable.setattr(session, "SparkSession", MagicMock())
    unwritable.setattr(jvm, "launch", MagicMock())
    unwritable.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    spark_session(home)
    (cache,) = (tmp_path / "caches" / "nextreel" / "spark").iterdir()
    (java,) = cache.glob("java-*")
    assert (java / "bin" / "java").exists()
    assert (cache / "spark-home" / "jars").is_dir()


def test_the_environment_keeps_it_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    assert session._cache_folder() == tmp_path / "environment" / "spark"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path / "environment" / "spark")
    assert session._cache_folder().parent == tmp_path / "caches" / "nextreel" / "spark"


@posix
@pytest.mark.parametrize("given", [None, "", "caches"])
def test_the_user_s_cache_is_in_the_home(given: str | None, unwritable: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unwritable.chdir(tmp_path)
    unwritable.setenv("HOME", str(tmp_path / "ana"))
    if given is not None:
        unwritable.setenv("XDG_CACHE_HOME", given)
    assert session._cache_folder().parent == tmp_path / "ana" / ".cache" / "nextreel" / "spark"


def test_environments_do_not_share_a_folder_of_the_user_s(unwritable: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unwritable.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    first = session._cache_folder()
    assert session._cache_folder() == first
    unwritable.setattr(sys, "prefix", str(tmp_path / "file" / "other"))
    assert session._cache_folder() != first


@posix
def test_the_last_resort_is_a_temporary_folder_of_the_user_s_own(
    unwritable: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = session._cache_folder().parent
    assert folder == tmp_path / "temporary" / f"nextreel-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert session._cache_folder().parent == folder
    assert folder.stat().st_mode & 0o777 == 0o700


@posix
@pytest.mark.parametrize("what", ["another's", "a link", "a file"])
def test_another_s_temporary_folder_is_refused(what: str, unwritable: pytest.MonkeyPatch, tmp_path: Path) -> None:
    user = os.getuid() + 1 if what == "another's" else os.getuid()
    unwritable.setattr(os, "getuid", lambda: user)
    folder = tmp_path / "temporary" / f"nextreel-{user}"
    if what == "another's":
        folder.mkdir()
    elif what == "a link":
        folder.symlink_to(tmp_path)
    else:
        folder.touch()
    with pytest.raises(NextreelError, match="Set XDG_CACHE_HOME to a folder that can be"):
        session._cache_folder()


@posix
def test_two_first_starts_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, link = Path(pyspark.__file__).parent, Path.symlink_to

    def just_made_by_another(path: Path, target: Path) -> None:
        os.symlink(target, tmp_path / "spark-home" / target.name)
        link(path, target)

    monkeypatch.setattr(Path, "symlink_to", just_made_by_another)
    home = session._spark_home(tmp_path)
    assert {p.name for p in home.iterdir()} == {p.name for p in package.iterdir()} - {"python"}
    assert (home / "jars").readlink() == package / "jars"


def test_what_is_made_for_one_java_is_not_met_by_another(tmp_path: Path) -> None:
    homes = []
    for name in ("one", "two"):
        java = tmp_path / name / "bin" / "java"
        java.parent.mkdir(parents=True)
        java.touch()
        homes.append(java.parent.parent)
    first, second = (session._java_folder(home, tmp_path) for home in homes)
    assert first != second
    assert session._java_folder(homes[0], tmp_path) == first
    os.utime(homes[0] / "bin" / "java", (1, 1))  # brought up to date in its place
    assert session._java_folder(homes[0], tmp_path) != first


@posix
def test_links_to_where_the_environment_was_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "spark-home").mkdir()
    (tmp_path / "spark-home" / "jars").symlink_to(tmp_path / "gone")
    assert (session._spark_home(tmp_path) / "jars").is_dir()


def test_variables_of_other_threads_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTREEL_TEST_GIVEN", "before")
    for name in ("NEXTREEL_TEST_ABSENT", "NEXTREEL_TEST_OTHER"):
        monkeypatch.setenv(name, "")  # so that it is as it was afterwards
        monkeypatch.delenv(name)
    with jvm.environment({"NEXTREEL_TEST_GIVEN": "within", "NEXTREEL_TEST_ABSENT": "within"}):
        assert (os.environ["NEXTREEL_TEST_GIVEN"], os.environ["NEXTREEL_TEST_ABSENT"]) == ("within", "within")
        os.environ["NEXTREEL_TEST_OTHER"] = "another thread's"
    assert os.environ["NEXTREEL_TEST_GIVEN"] == "before"
    assert "NEXTREEL_TEST_ABSENT" not in os.environ
    assert os.environ["NEXTREEL_TEST_OTHER"] == "another thread's"


def test_what_spark_submit_was_given_wins() -> None:
    ours = {"spark.ui.enabled": "false", "spark.log.level": "ERROR"}
    stack = "spark.executor.extraJavaOptions"
    assert session.beside({"spark.ui.enabled": "true"}, ours) == {"spark.log.level": "ERROR", stack: "-Xss8m"}
    assert session.beside({stack: "-Da=b"}, {}) == {stack: "-Da=b -Xss8m"}
    assert session.beside({stack: "-Xss4m"}, {}) == {stack: "-Xss4m"}


@pytest.mark.parametrize("master", ["spark://127.0.0.1:1", "spark://127.0.0.1:x", "spark://127.0.0.1:1,127.0.0.1:2"])
def test_a_master_that_is_not_there_is_said_at_once(master: str, tmp_path: Path) -> None:
    with pytest.raises(SparkError, match=f"no Spark master answers at {master}"):
        spark_session(load({"spark.master": master, "home": str(tmp_path)}, {}))


@pytest.mark.parametrize(("conf", "asked"), [({}, True), ({"spark.conf.spark.jars": "connector.jar"}, False)])
def test_maven_is_asked_for_spark_s_own_connector_unless_its_jars_are_given(
    conf: dict[str, str], asked: bool, tmp_path: Path
) -> None:
    found, _, _ = session._to_launch(load({"ingest.connector": "jvm", "home": str(tmp_path)} | conf, {}))
    assert ("spark.jars.packages" in found) == asked
