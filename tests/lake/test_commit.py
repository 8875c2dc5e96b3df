"""The commit: a batch is in the lake once, whatever is killed and whenever."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextreel.errors import LakeError
from nextreel.lake.commit import commit, committed_offsets, is_committed, recover
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import StagedFile, stage

QUERY = "0123456789-query"
DAY = "2026-01-31"


def rows(*numbers: int) -> pa.Table:
    return pa.table({"n": pa.array(numbers, pa.int64())})


def staged(lake: Lake) -> list[StagedFile]:
    """Stage a batch of three files in two tables: 1 and 2, 3, 4."""
    return [
        stage(lake, "users", DAY, rows(1, 2)),
        stage(lake, "users", DAY, rows(3)),
        stage(lake, "movies", DAY, rows(4)),
    ]


def seen(lake: Lake) -> list[int]:
    """Return the numbers that any reader with a plain glob sees."""
    files = lake.root.glob("[!_]*/**/*.parquet")
    return sorted(n for f in files for n in pq.ParquetFile(f).read()["n"].to_pylist())


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_staged_files_are_complete_and_nobody_sees_them(lake: Lake) -> None:
    file = stage(lake, "users", DAY, rows(1, 2, 3))
    path = lake.staging / file.name
    assert (file.table, file.date, file.rows, file.bytes) == ("users", DAY, 3, path.stat().st_size)
    assert pq.ParquetFile(path).read().equals(rows(1, 2, 3))
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"
    assert list(lake.root.glob("**/*.parquet")) == []
    assert lake.files("users") == []


def test_a_commit_puts_every_file_into_its_table(lake: Lake) -> None:
    commit(lake, QUERY, 6, [], {}, Intake())
    assert not is_committed(lake, QUERY, 7, {})
    commit(lake, QUERY, 7, staged(lake), {}, Intake())
    assert is_committed(lake, QUERY, 7, {})
    assert not is_committed(lake, QUERY, 8, {})
    assert seen(lake) == [1, 2, 3, 4]
    assert [f.relative_to(lake.root).as_posix() for f in lake.files("users")] == [
        f"users/date={DAY}/01234567-00000007-001.parquet",
        f"users/date={DAY}/01234567-00000007-002.parquet",
    ]
    assert list(lake.staging.iterdir()) == []


def test_an_empty_batch_is_committed_too(lake: Lake) -> None:
    commit(lake, QUERY, 0, [], {}, Intake())
    assert is_committed(lake, QUERY, 0, {})
    assert recover(lake) == 0


def test_the_lake_knows_how_far_into_kafka_it_reaches(lake: Lake) -> None:
    assert committed_offsets(lake) == {}
    commit(lake, QUERY, 0, staged(lake), {"topic": {"0": 4}}, Intake())
    commit(lake, QUERY, 1, [], {"topic": {"0": 4, "1": 2}}, Intake())
    assert committed_offsets(lake) == {"topic": {"0": 4, "1": 2}}


def test_batches_add_up(lake: Lake) -> None:
    for batch in range(12):
        commit(lake, QUERY, batch, [stage(lake, "users", DAY, rows(batch))], {}, Intake())
    assert seen(lake) == list(range(12))


def test_recovery_of_what_is_whole_changes_nothing(lake: Lake) -> None:
    assert recover(lake) == 0
    commit(lake, QUERY, 0, staged(lake), {}, Intake())
    for _ in range(2):
        assert recover(lake) == 0
        assert seen(lake) == [1, 2, 3, 4]


def test_orphans_are_removed(lake: Lake) -> None:
    commit(lake, QUERY, 0, staged(lake), {}, Intake())
    staged(lake)
    (lake.staging / "torn.staged").write_bytes(b"PAR1 half a fi")
    assert recover(lake) == 4
    assert list(lake.staging.iterdir()) == []
    assert seen(lake) == [1, 2, 3, 4]


KILLED = """
import os, signal, sys
from pathlib import Path
from nextreel.lake import commit as c
from nextreel.lake.layout import Lake
from nextreel.lake.ledger import Intake
from nextreel.lake.write import stage
import pyarrow as pa

lake, survived = Lake(Path(sys.argv[1])), int(sys.argv[2])
batch = (("users", [1, 2]), ("users", [3]), ("movies", [4]))
files = [stage(lake, table, "2026-01-31", pa.table({"n": numbers})) for table, numbers in batch]
def counted(renamed):
    def counting(self, target):
        global survived
        if survived == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        survived -= 1
        return renamed(self, target)
    return counting

Path.rename, Path.replace = counted(Path.rename), counted(Path.replace)
c.commit(lake, "0123456789-query", 0, files, {}, Intake())
"""


@pytest.mark.parametrize("renames", range(5))
def test_killed_between_any_two_renames(lake: Lake, renames: int) -> None:
    """The first rename makes the record, each further one moves a file; after the fourth all is done."""
    child = subprocess.run([sys.executable, "-c", KILLED, str(lake.root), str(renames)], capture_output=True, text=True)
    assert child.returncode == (-signal.SIGKILL if renames < 4 else 0), child.stderr
    assert len(list(lake.root.glob("[!_]*/**/*.parquet"))) == max(0, renames - 1)

    orphans = recover(lake)

    assert is_committed(lake, QUERY, 0, {}) == (renames > 0)
    assert orphans == (3 if renames == 0 else 0)
    if not is_committed(lake, QUERY, 0, {}):
        commit(lake, QUERY, 0, staged(lake), {}, Intake())  # as Spark does: the same batch again
    assert seen(lake) == [1, 2, 3, 4]
    assert recover(lake) == 0
    assert list(lake.staging.iterdir()) == []


def test_killed_again_during_recovery(lake: Lake) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(lake.root), "1"], capture_output=True)
    assert seen(lake) == []
    (record,) = lake.commits.glob("*.json")
    first = json.loads(record.read_text())["files"][0]  # as if recovery had come this far
    final = lake.root / first["path"]
    final.parent.mkdir(parents=True, exist_ok=True)
    os.rename(lake.staging / first["name"], final)
    recover(lake)
    assert seen(lake) == [1, 2, 3, 4]


@pytest.mark.parametrize("content", [b"", b"{", b'{"batch": 0', b"\xff\xfe", b"[]", b"{}", b'"text"'])
def test_a_broken_record_is_an_error_that_names_it(lake: Lake, content: bytes) -> None:
    commit(lake, QUERY, 0, staged(lake), {}, Intake())
    (record,) = lake.commits.glob("*.json")
    record.write_bytes(content)
    with pytest.raises(LakeError, match=record.name):
        recover(lake)
    with pytest.raises(LakeError, match=record.name):
        is_committed(lake, QUERY, 0, {})


def test_a_record_half_written_does_not_count(lake: Lake) -> None:
    lake.commits.mkdir(parents=True)
    (lake.commits / "000000000000.tmp").write_text('{"batch": 0')
    assert recover(lake) == 0
    assert not is_committed(lake, QUERY, 0, {})
    commit(lake, QUERY, 0, staged(lake), {}, Intake())
    assert seen(lake) == [1, 2, 3, 4]


def test_a_lake_and_a_checkpoint_of_different_age_are_an_error(lake: Lake) -> None:
    commit(lake, QUERY, 0, staged(lake), {"t": {"0": 4}}, Intake())
    assert is_committed(lake, QUERY, 0, {"t": {"0": 4}})
    with pytest.raises(LakeError, match=r"already holds another micro-batch 0 .* doubled or lost"):
        is_committed(lake, "another", 0, {"t": {"0": 4}})
    with pytest.raises(LakeError, match=r"already holds another micro-batch 0 .* doubled or lost"):
        is_committed(lake, QUERY, 0, {"t": {"0": 9}})
    assert not is_committed(lake, QUERY, 1, {"t": {"0": 9}})
    with pytest.raises(LakeError, match=r"has no micro-batch 1 of it.* lost"):
        is_committed(lake, QUERY, 2, {"t": {"0": 9}})
    with pytest.raises(LakeError, match=r"has no micro-batch 0 of it.* lost"):
        is_committed(lake, "another", 1, {"t": {"0": 9}})


@pytest.mark.parametrize("gone", [0, 1])
def test_a_committed_file_that_is_gone_is_an_error(lake: Lake, gone: int) -> None:
    commit(lake, QUERY, 0, staged(lake), {}, Intake())
    missing = lake.files("users")[gone]
    missing.unlink()
    with pytest.raises(LakeError, match=missing.name):
        recover(lake)
