"""Merging and removing: fewer files, the same rows, whatever is killed and whoever reads or writes meanwhile."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lake.brought import QUERY, bring, messages

from nextreel.errors import LakeError
from nextreel.lake import batches
from nextreel.lake.commit import commit, is_committed, recover
from nextreel.lake.compact import compact
from nextreel.lake.layout import BATCHES_SCHEMA, Lake
from nextreel.lake.ledger import Intake, read_ledger
from nextreel.lake.locks import names_kept
from nextreel.lake.verify import verify
from nextreel.lake.write import stage
from nextreel.settings import UpkeepSettings

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows cannot exchange directories")

TODAY = date(2026, 1, 31)
SETTINGS = UpkeepSettings()


def seen(lake: Lake) -> list[int]:
    """Return the numbers that any reader with a plain glob sees."""
    files = sorted(lake.root.glob("[!_]*/date=*/*.parquet"))
    return sorted(n for f in files for n in pq.ParquetFile(f).read()["n"].to_pylist())


@pytest.fixture(autouse=True)
def nobody_lists(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no reader runs beside it, old directories need not wait."""
    if "readers" not in request.node.name:
        monkeypatch.setattr("nextreel.lake.compact._LISTING_SECONDS", 0.0)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_small_files_become_one(lake: Lake) -> None:
    for batch in range(5):
        bring(lake, batch)
    (change,) = compact(lake, SETTINGS, TODAY)
    assert len(change.sources) == 10
    assert [(f.path, f.rows) for f in change.files] == [
        (f"interactions/date=2026-01-31/merged-{change.id}-000.parquet", 50)
    ]
    assert [f.name for f in lake.files("interactions")] == [f"merged-{change.id}-000.parquet"]
    assert seen(lake) == list(range(50))
    assert verify(lake, deep=True).problems == []
    assert list(lake.merging.iterdir()) == []
    assert compact(lake, SETTINGS, TODAY) == []


def test_rows_keep_their_order_and_their_columns(lake: Lake) -> None:
    rows = messages(0, 3).append_column("s", pa.array(["a", None, "ä"]))
    with_list = messages(3, 5).append_column("l", pa.array([["x"], None], pa.list_(pa.string())))
    files = [stage(lake, "interactions", "2026-01-31", part) for part in (rows, with_list)]
    for batch, file in enumerate(files):
        commit(lake, QUERY, batch, [file], {}, Intake())
    compact(lake, SETTINGS, TODAY)
    (merged,) = lake.files("interactions")
    found = pq.ParquetFile(merged).read()
    assert found["n"].to_pylist() == [0, 1, 2, 3, 4]
    assert found["s"].to_pylist() == ["a", None, "ä", None, None]
    assert found["l"].to_pylist() == [None, None, None, ["x"], None]


def test_large_files_stay_and_merged_ones_are_no_larger_than_wanted(lake: Lake) -> None:
    noise = random.Random(1)
    for batch in range(6):
        large = messages(batch * 1000, (batch + 1) * 1000).append_column(
            "noise", pa.array([noise.randbytes(700) for _ in range(1000)])
        )
        commit(lake, QUERY, batch, [stage(lake, "series", "2026-01-31", large)], {}, Intake())
    assert compact(lake, UpkeepSettings(file_megabytes=1), TODAY) == []
    (change,) = compact(lake, UpkeepSettings(file_megabytes=2), TODAY)
    assert len(change.sources) == 6
    assert {f.rows for f in change.files} == {6000}  # a row group is 32 MB: what is held is written together
    assert seen(lake) == list(range(6000))


def test_few_files_are_left_alone(lake: Lake) -> None:
    for batch in range(5):
        bring(lake, batch)
    assert compact(lake, SETTINGS, TODAY, least=11) == []
    assert len(compact(lake, SETTINGS, TODAY, least=10)) == 1


def test_days_and_tables_stay_apart(lake: Lake) -> None:
    for batch, (day, table) in enumerate([("2026-01-30", "users"), ("2026-01-31", "users"), ("2026-01-31", "movies")]):
        bring(lake, batch, day=day, table=table)
    assert len(compact(lake, SETTINGS, TODAY)) == 3
    assert len(list(lake.root.glob("[!_]*/date=*/*.parquet"))) == 3
    assert {path.parent.relative_to(lake.root).as_posix() for t in ("users", "movies") for path in lake.files(t)} == {
        "users/date=2026-01-30",
        "users/date=2026-01-31",
        "movies/date=2026-01-31",
    }


def test_the_ingest_goes_on_after_a_merge(lake: Lake) -> None:
    """Spark repeats the last micro-batch where it did not learn that it was done: its files have been merged since."""
    for batch in range(5):
        bring(lake, batch)
    compact(lake, SETTINGS, TODAY)
    assert recover(lake) == 0
    assert is_committed(lake, QUERY, 4, {"t": {"0": 50}})
    bring(lake, 5)
    compact(lake, SETTINGS, TODAY)
    assert recover(lake) == 0
    assert seen(lake) == list(range(60))
    assert verify(lake, deep=True).problems == []


def test_records_do_not_grow_for_ever(lake: Lake) -> None:
    for batch in range(40):
        bring(lake, batch)
        if batch % 7 == 0:
            compact(lake, SETTINGS, TODAY)
    compact(lake, SETTINGS, TODAY)
    compact(lake, SETTINGS, TODAY)
    assert sorted(int(path.stem) for path in lake.commits.glob("*.json")) == [38, 39]
    ledger = read_ledger(lake)
    assert (ledger.batch, ledger.rows, ledger.intake.raw_bytes) == (39, {"interactions": 400}, 40_000)
    assert ledger.offsets == {"t": {"0": 400}}
    assert len(ledger.files) == 1
    verdict = verify(lake, deep=True)
    assert (verdict.messages, verdict.rows, verdict.problems) == (400, 400, [])


def test_days_whose_time_is_over_are_removed(lake: Lake) -> None:
    days = [("2026-01-28", "interactions"), ("2026-01-29", "interactions"), ("2026-01-28", "quarantine")]
    for batch, (day, table) in enumerate([*days, ("2025-01-01", "users"), ("2025-01-01", "movies")]):
        bring(lake, batch, day=day, table=table)
    changes = compact(lake, UpkeepSettings(interactions_days=2, quarantine_days=4), TODAY, least=99)
    assert [(c.folder, c.files) for c in changes] == [("interactions/date=2026-01-28", ())]
    assert seen(lake) == list(range(10, 50))
    verdict = verify(lake, deep=True)
    assert (verdict.messages, verdict.rows, verdict.removed, verdict.problems) == (50, 40, 10, [])
    assert compact(lake, UpkeepSettings(interactions_days=2), TODAY, least=99) == []


def test_files_without_a_row_do_not_take_the_day_with_them(lake: Lake) -> None:
    noise = pa.array([os.urandom(700) for _ in range(1_000)])
    large = stage(lake, "interactions", "2026-01-31", messages(0, 1_000).append_column("noise", noise))
    empty = [stage(lake, "interactions", "2026-01-31", messages(0, 0)) for _ in range(2)]
    assert large.bytes > UpkeepSettings(file_megabytes=1).small_bytes
    commit(lake, QUERY, 0, [large, *empty], {"t": {"0": 1_000}}, Intake({"t": {"0": 0}}, {"t": {"0": 1_000}}, 9))
    assert compact(lake, UpkeepSettings(file_megabytes=1), TODAY) == []
    assert len(seen(lake)) == 1_000
    assert verify(lake, deep=True).problems == []


def test_a_large_file_waits_for_as_much_again(lake: Lake) -> None:
    """Or every merge would rewrite all that came before."""
    n_merges = rewritten = 0
    for batch in range(64):
        noise = pa.array([os.urandom(100) for _ in range(200)])
        rows = messages(200 * batch, 200 * (batch + 1)).append_column("noise", noise)
        intake = Intake({"t": {"0": 200 * batch}}, {"t": {"0": 200}}, 9)
        file = stage(lake, "interactions", "2026-01-31", rows)
        commit(lake, QUERY, batch, [file], {"t": {"0": 200 * (batch + 1)}}, intake)
        for change in compact(lake, UpkeepSettings(), TODAY, least=4):
            rewritten += sum(f.rows for f in change.files)
            n_merges += 1
    assert n_merges >= 10
    assert rewritten < 5 * 12_800  # and half of n_merges times as many if each took all
    assert len(list(lake.files("interactions"))) <= 12
    assert seen(lake) == list(range(12_800))
    assert verify(lake, deep=True).problems == []
    compact(lake, UpkeepSettings(), TODAY)
    assert len(list(lake.files("interactions"))) == 1


def test_tables_of_others_are_left_alone(lake: Lake) -> None:
    folder = lake.root / "theirs" / "date=2026-01-31"
    folder.mkdir(parents=True)
    for name in "abc":
        pq.write_table(pa.table({"n": [1]}), folder / f"{name}.parquet")
    bring(lake, 0)
    compact(lake, UpkeepSettings(interactions_days=1, quarantine_days=1), TODAY)
    assert sorted(f.name for f in folder.iterdir()) == ["a.parquet", "b.parquet", "c.parquet"]


def test_one_damaged_file_does_not_stop_the_other_days(lake: Lake) -> None:
    for batch, day in enumerate(("2026-01-29", "2026-01-30", "2026-01-31")):
        bring(lake, batch, day=day)
    damaged = min(lake.table("interactions").glob("date=2026-01-30/*"))
    damaged.write_bytes(damaged.read_bytes()[:-7])
    with pytest.raises(LakeError, match="magic bytes not found"):
        compact(lake, UpkeepSettings(), TODAY)
    assert [len(list(day.iterdir())) for day in sorted(lake.table("interactions").iterdir())] == [1, 2, 1]


def test_records_are_added_up_where_nothing_can_be_merged(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch in range(5):
        bring(lake, batch)

    def refused(_a: Path, b: Path) -> None:
        raise LakeError(f"files cannot be merged here: the file system of {b} cannot exchange two directories")

    monkeypatch.setattr("nextreel.lake.compact.exchange", refused)
    before = sorted(lake.files("interactions"))
    with pytest.raises(LakeError, match="cannot exchange two directories"):
        compact(lake, UpkeepSettings(), TODAY)
    assert len(list(lake.commits.glob("*.json"))) == 2
    assert sorted(lake.files("interactions")) == before
    assert list(lake.merging.iterdir()) == []


def test_nothing_is_rewritten_while_readers_keep_the_names(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(lake, 0)
    monkeypatch.setattr("nextreel.lake.compact.LakeWriter", None)
    with names_kept(lake):
        assert compact(lake, UpkeepSettings(), TODAY) == []


def test_a_clock_that_is_ahead_does_not_make_everything_old(lake: Lake) -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for batch, day in enumerate(("2026-01-20", "2026-01-31")):
        rows = messages(batch, batch + 1).append_column("kafka_timestamp", pa.array([at], pa.timestamp("us", "UTC")))
        file = stage(lake, "interactions", day, rows)
        commit(lake, QUERY, batch, [file], {"t": {"0": batch + 1}}, Intake({"t": {"0": batch}}, {"t": {"0": 1}}, 9))
    changes = compact(lake, UpkeepSettings(interactions_days=7), date(2050, 1, 1), least=99)
    assert [c.folder for c in changes] == ["interactions/date=2026-01-20"]


def test_a_message_of_the_end_of_time_stops_nothing(lake: Lake) -> None:
    at = datetime(9999, 12, 31, 23, tzinfo=UTC)
    rows = messages(0, 1).append_column("kafka_timestamp", pa.array([at], pa.timestamp("us", "UTC")))
    file = stage(lake, "interactions", "2026-01-20", rows)
    commit(lake, QUERY, 0, [file], {"t": {"0": 1}}, Intake({"t": {"0": 0}}, {"t": {"0": 1}}, 9))
    assert [c.folder for c in compact(lake, UpkeepSettings(interactions_days=7), TODAY)] == [
        "interactions/date=2026-01-20"
    ]


def test_what_ingest_tells_of_itself_goes_in_time(lake: Lake) -> None:
    bring(lake, 0)
    for day in (1, 30):
        at = datetime(2026, 1, day, tzinfo=UTC)
        batches.append(lake, pa.Table.from_pylist([{"batch_id": day, "committed_at": at}], BATCHES_SCHEMA))
    assert [c.folder for c in compact(lake, UpkeepSettings(), TODAY, least=99)] == []
    assert [c.folder for c in compact(lake, UpkeepSettings(batches_days=7), TODAY, least=99)] == [
        "batches/date=2026-01-01"
    ]
    assert batches.read(lake, datetime(2025, 1, 1, tzinfo=UTC))["batch_id"].to_pylist() == [30]
    verdict = verify(lake, deep=True)
    assert (verdict.removed, verdict.problems) == (0, [])


KILLED = """
import os, shutil, signal, sys
from datetime import date
from pathlib import Path
from nextreel.lake import compact as c
from nextreel.lake.layout import Lake
from nextreel.settings import UpkeepSettings

survived = int(sys.argv[2])

def counted(function):
    def call(*args, **kwargs):
        global survived
        if survived == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        survived -= 1
        return function(*args, **kwargs)
    return call

for name in ("rename", "replace", "hardlink_to", "unlink"):
    setattr(Path, name, counted(getattr(Path, name)))
c._LISTING_SECONDS = 0.0
c.exchange, c.shutil.rmtree = map(counted, (c.exchange, shutil.rmtree))
c.compact(Lake(Path(sys.argv[1])), UpkeepSettings(interactions_days=2), date(2026, 1, 31), least=3)
"""


@pytest.mark.slow
def test_killed_anywhere_and_run_again(tmp_path: Path) -> None:
    """Every step that changes a name on disk is the last one once; one day is removed, another one merged."""
    codes: list[int] = []
    while not codes or codes[-1]:
        step = len(codes)
        lake = Lake(tmp_path / f"lake-{step}")
        for batch in range(3):
            bring(lake, batch, day="2026-01-28")
        for batch in range(3, 6):
            bring(lake, batch)
        child = subprocess.run(
            [sys.executable, "-c", KILLED, str(lake.root), str(step)], capture_output=True, text=True
        )
        assert child.returncode in (0, -signal.SIGKILL), child.stderr
        codes.append(child.returncode)
        assert seen(lake) in (list(range(60)), list(range(30, 60)))
        assert recover(lake) == 0
        assert verify(lake, deep=True).problems == []
        bring(lake, 6)
        compact(lake, UpkeepSettings(interactions_days=2), TODAY)
        assert seen(lake) == list(range(30, 70))
        assert verify(lake, deep=True).problems == []
        assert list(lake.merging.iterdir()) == []
        assert list(lake.changes.glob("*.intent")) == []
    assert len(codes) > 10


@pytest.mark.slow
def test_readers_and_the_writer_go_on_while_files_are_merged(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who keeps the names never sees an error; others may miss a file, and never see a row twice or none."""
    monkeypatch.setattr("nextreel.lake.compact._LISTING_SECONDS", 1.0)
    bring(lake, 0)
    n_batches, committed, stop = 120, [1], threading.Event()
    errors: Counter[str] = Counter()
    reads: Counter[str] = Counter()
    wrong = []

    def read(name: str, keep: bool) -> None:
        while not stop.is_set():
            least = committed[0] * 10
            try:
                if keep:
                    with names_kept(lake):
                        found = seen(lake)
                else:
                    found = seen(lake)
            except FileNotFoundError:
                errors[name] += 1
                continue
            reads[name] += 1
            twice = len(found) - len(set(found))
            missing = set(range(least)) - set(found)  # what is committed since may be listed or not yet
            if twice or missing:
                wrong.append((name, least, twice, sorted(missing)))

    def write() -> None:
        for batch in range(1, n_batches):
            bring(lake, batch)
            committed[0] = batch + 1
            time.sleep(0.05)
        stop.set()

    threads = [
        threading.Thread(target=read, args=("keeping", True)),
        threading.Thread(target=read, args=("plain", False)),
    ]
    threads.append(threading.Thread(target=write))
    for thread in threads:
        thread.start()
    merges = 0
    while not stop.is_set():
        merges += len(compact(lake, SETTINGS, TODAY, least=4))
    for thread in threads:
        thread.join()
    assert wrong == []
    assert errors["keeping"] == 0
    assert merges > 2
    assert min(reads["keeping"], reads["plain"]) > 3
    compact(lake, SETTINGS, TODAY)
    assert seen(lake) == list(range(10 * n_batches))
    assert verify(lake, deep=True).problems == []
