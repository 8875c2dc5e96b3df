"""The locks: one writer, one keeper, and names that stay while somebody keeps them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.lake.writing import another_writer

from nextreel.errors import LakeError
from nextreel.lake.layout import Lake
from nextreel.lake.locks import keeper, lock_writer, names_alone, names_kept, writer


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_one_lake_has_one_writer(lake: Lake) -> None:
    with another_writer(lake.root), pytest.raises(LakeError, match=f"another process is writing to {lake.root}"):
        lock_writer(lake)
    # and when it was killed:
    os.close(lock_writer(lake))
    os.close(lock_writer(lake))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_one_lake_has_one_keeper(lake: Lake) -> None:
    with keeper(lake), pytest.raises(LakeError, match="being merged already"), keeper(lake):
        pass
    with keeper(lake):
        pass
    began = time.monotonic()
    with keeper(lake), pytest.raises(LakeError, match="being merged already"), keeper(lake, patience_seconds=0.5):
        pass
    assert time.monotonic() - began >= 0.5


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_names_are_kept_by_many_and_changed_by_one(lake: Lake) -> None:
    lake.root.mkdir()
    with names_kept(lake), names_kept(lake), names_alone(lake, 0.1) as alone:
        assert not alone
    with names_alone(lake, 0.0) as alone:
        assert alone


def test_names_of_no_lake_need_no_keeping(lake: Lake) -> None:
    with names_kept(lake):
        assert not lake.root.exists()


def test_a_process_that_asks_who_writes_keeps_its_own_lock(lake: Lake) -> None:
    descriptor = lock_writer(lake)
    assert writer(lake) == os.getpid()
    asked = "from pathlib import Path; from nextreel.lake.layout import Lake; from nextreel.lake.locks import writer; "
    asked += f"print(writer(Lake(Path({str(lake.root)!r}))))"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(os.getpid())
    os.close(descriptor)
    assert writer(lake) is None
