"""The Spark session: on loopback only, one a process, and started from its archive."""

import os
import sys
from pathlib import Path

import psutil
import pytest
from pyspark.sql import SparkSession

from nextreel.lake.session import spark_session
from nextreel.settings import Settings, load


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return load({"home": str(tmp_path)}, {})


def jvm(spark: SparkSession) -> psutil.Process:
    context = spark.sparkContext
    assert context._gateway is not None
    pid: int = context._gateway.proc.pid
    return psutil.Process(pid)


def test_it_listens_on_loopback_only(spark: SparkSession) -> None:
    process = jvm(spark)
    everything = [process, *process.children(recursive=True)]
    addresses = {c.laddr.ip for p in everything for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    assert addresses
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert spark.sparkContext.uiWebUrl is None


def test_a_process_has_one(spark: SparkSession, home: Settings) -> None:
    before = dict(os.environ)
    assert spark_session(home) is spark
    assert dict(os.environ) == before


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
    command = jvm(spark).cmdline()
    archive = [a for a in command if a.startswith(("-XX:SharedArchiveFile=", "-XX:ArchiveClassesAtExit="))]
    assert archive, command
    last = archive[-1].partition("=")[2].split(os.pathsep)[-1]
    assert Path(last).parent == Path(sys.prefix, "spark")
    assert "--add-modules=jdk.incubator.vector" not in command
