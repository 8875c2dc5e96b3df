"""The oldest PySpark that is allowed; the environment of the lock files has the newest."""

import os
import site
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.ingest.ingesting import rows
from tests.kafka.apache import connector_jars, is_ci

from nextreel.events.world import World, WorldConfig
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import create_topics
from nextreel.lake.layout import Lake
from nextreel.settings import Settings

ROOT = Path(__file__).parents[1]
#: How well it recommends is tested elsewhere.
_SMALL = {"NEXTREEL_TRAIN_FACTORS": "16", "NEXTREEL_TRAIN_ITERATIONS": "5", "NEXTREEL_EVALUATION_RESAMPLES": "100"}


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "NEXTREEL_"))}


@pytest.fixture(scope="module")
def oldest_spark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a virtual environment with the oldest PySpark, and otherwise with what this one has."""
    folder = tmp_path_factory.mktemp("oldest") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    command = [sys.executable, "-m", "pip", "--python", str(folder), "install", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--require-hashes", "-r", str(ROOT / "requirements" / "pyspark42.txt")]
    (libraries,) = {*folder.glob("lib/python3*/site-packages"), *folder.glob("Lib/site-packages")}
    ours = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (libraries / "dependencies.pth").write_text("\n".join([*ours, str(ROOT / "src")]), "locale")
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    if done.returncode != 0 and not is_ci():
        pytest.skip(f"the oldest PySpark cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
def test_the_demonstration_runs_on_the_oldest_pyspark(oldest_spark: Path, tmp_path: Path) -> None:
    asked = [str(oldest_spark), "-c", "import pyspark; print(pyspark.__version__)"]
    oldest = subprocess.run(asked, capture_output=True, text=True, env=_environment()).stdout.strip()
    (least,) = (each for each in _dependencies() if each.startswith("pyspark"))
    assert f"pyspark>={oldest.rpartition('.')[0]}," in least
    demo = [str(oldest_spark), "-m", "nextreel", "--set", f"home={tmp_path}", "demo", "--once"]
    done = subprocess.run(demo, capture_output=True, text=True, env=_environment() | _SMALL)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "exports" / "final_recommendations.csv").stat().st_size > 1_000


@pytest.mark.slow
def test_spark_s_own_connector_runs_on_the_oldest_pyspark(
    oldest_spark: Path, settings: Settings, apache_bootstrap: str
) -> None:
    create_topics(settings.kafka)
    producer = EventProducer(settings.kafka)
    producer.send(settings.kafka.users, World(WorldConfig(n_users=200)).events("user", 0, 200))
    producer.flush()
    given = {"home": settings.home, "kafka.bootstrap": apache_bootstrap, "ingest.connector": "jvm"}
    given |= {"spark.conf.spark.jars": connector_jars()}
    given |= {f"kafka.{name}": getattr(settings.kafka, name) for name in ("users", "movies", "series", "interactions")}
    sets = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
    command = [str(oldest_spark), "-m", "nextreel", *sets, "ingest", "--once"]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, done.stderr
    assert len(rows(Lake(settings.lake), "users")) == 200


def _dependencies() -> list[str]:
    found: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    return found
