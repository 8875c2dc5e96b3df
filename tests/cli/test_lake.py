"""``nextreel lake``: what it prints, and that it makes nothing where there is no lake."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from nextreel.cli import main
from nextreel.lake.commit import commit
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.locks import lock_writer
from nextreel.lake.write import stage

COMMANDS = [["verify"], ["verify", "--deep", "--json"], ["compact"], ["compact", "--json"], ["stats"]]

posix = pytest.mark.skipif(os.name == "nt", reason="files are merged and recounted on POSIX systems alone")


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--set", f"home={home}", "lake", *arguments])


def bring(lake: Lake, batch: int, begin: int, end: int, n: int) -> None:
    """Commit a micro-batch of offsets ``begin`` to ``end``, of which the first ``n`` are there."""
    rows = {
        "kafka_topic": pa.array(["t"] * n),
        "kafka_partition": pa.array([0] * n, pa.int32()),
        "kafka_offset": pa.array(range(begin, begin + n), pa.int64()),
    }
    file = stage(lake, "users", "2026-01-31", pa.table(rows))
    commit(lake, "query", batch, [file], {"t": {"0": end}}, Intake({"t": {"0": begin}}, {"t": {"0": n}}, 9))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_where_there_is_no_lake_that_is_said_and_nothing_is_made(tmp_path: Path, command: list[str]) -> None:
    home = tmp_path / "home"
    found = run(home, *command)
    assert (found.exit_code, found.stdout) == (2, "")
    assert f"there is no lake in {home / 'lake'}" in found.stderr
    assert f"the setting home (NEXTREEL_HOME) is to say where: it is {home}" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_lake_that_is_still_empty_is_none(tmp_path: Path) -> None:
    os.close(lock_writer(Lake(tmp_path / "lake")))
    before = sorted(tmp_path.rglob("*"))
    found = run(tmp_path, "verify")
    assert (found.exit_code, found.stdout) == (2, "")
    assert sorted(tmp_path.rglob("*")) == before


@posix
def test_a_lake_without_its_records_is_a_wrong_one(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    bring(lake, 0, 0, 3, 3)
    next(lake.commits.iterdir()).unlink()
    found = run(tmp_path, "verify")
    assert found.exit_code == 1
    assert "is in no record" in found.stdout


@posix
def test_a_lake_is_recounted_merged_and_weighed(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    bring(lake, 0, 0, 3, 3)
    bring(lake, 1, 3, 7, 2)
    assert "users/date=2026-01-31: 2 files became 1" in run(tmp_path, "compact").stdout
    found = run(tmp_path, "verify", "--deep")
    assert found.exit_code == 0
    assert "2 offsets of Kafka held no message" in found.stdout
    assert "all as recorded" in found.stdout
    (weighed,) = json.loads(run(tmp_path, "stats", "--json").stdout)
    assert (weighed["table"], weighed["rows"], weighed["files"]) == ("users", 5, 1)


@posix
def test_more_messages_than_offsets_are_no_negative_count(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    bring(lake, 0, 0, 1, 4)
    found = run(tmp_path, "verify")
    assert found.exit_code == 1
    assert "t partition 0: 3 messages more than offsets" in found.stdout
    assert "held no message" not in found.stdout
    assert json.loads(run(tmp_path, "verify", "--json").stdout)["absent"] == 0
