"""A model store and several real processes: at the same time, and killed at every step."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.model.test_store import model

from nextreel.model.store import ModelStore

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there are no file locks")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(store: ModelStore) -> Iterator[Start]:
    """Runs a program that knows the store as ``store``, and ``model``, ``yes`` and ``NOON``."""
    with ExitStack() as running:

        def run(code: str, *arguments: str) -> "subprocess.Popen[str]":
            process = _started(code, str(store.root), *arguments)
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield run


def _started(code: str, *arguments: str) -> "subprocess.Popen[str]":
    names = "import sys, time; from tests.model.test_store import *; store = ModelStore(Path(sys.argv[1]))\n"
    command = [sys.executable, "-c", names + code, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def answer(process: "subprocess.Popen[str]", told: str = "") -> list[str]:
    out, error = process.communicate(told)
    assert process.returncode == 0, error
    return out.split()


#: Makes every change of the file system take its time, so that processes meet in the middle of theirs.
SLOWLY = """
def slow(event, given):
    if event in ("os.mkdir", "os.rename") or (event == "open" and given[1] not in (None, "r", "rb")):
        time.sleep(0.01)
sys.addaudithook(slow)
"""

TRAIN = """
saved = [store.save(model(i), {}, NOON) for i in range(8)]
for version in saved:
    store.decide(version, yes)
print(*saved)
"""


PRUNE = """
while len(store.decisions()) < 24:
    assert store.prune(24).removed == []
"""


def test_trainings_at_the_same_time_do_not_get_into_each_others_way(store: ModelStore, start: Start) -> None:
    processes = [start(SLOWLY + TRAIN) for _ in range(3)]
    pruning = start(PRUNE)
    saved = [version for process in processes for version in answer(process)]
    answer(pruning)
    assert sorted(saved) == store.versions() == [f"20260301T120000-{i:03d}" for i in range(24)]
    for version in saved:
        store.load(version)
    decisions = store.decisions()
    assert [d.before for d in decisions] == [None, *(d.version for d in decisions[:-1])]
    assert (store.current(), store.previous()) == (decisions[-1].version, decisions[-2].version)


READ_SLOWLY = """
def slow(event, given):
    if event == "open" and str(given[0]).endswith("ranking_factors-titles.npy"):
        print("reading", flush=True)
        sys.stdin.readline()
sys.addaudithook(slow)
print(len(store.load(sys.argv[2]).user_ids))
"""


def test_what_another_process_reads_is_removed_when_it_is_done(store: ModelStore, start: Start) -> None:
    versions = [store.save(model(n), {}) for n in (1, 2)]
    reader = start(READ_SLOWLY, versions[0])
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"
    assert store.prune(1).in_use == versions[:1]
    assert answer(reader, "go on\n") == ["1"]
    assert store.prune(1).removed == versions[:1]


READ = """
print("reading", flush=True)
n = 0
while store.current() is None or len(store.load().user_ids) < 30:
    n += 1
    time.sleep(0.005)
print(n)
"""

REPLACE = """
for i in range(1, 31):
    store.decide(store.save(model(i), {}), yes)
    if i % 2 and i > 2:
        store.rollback()
    store.prune(1)
"""


@pytest.mark.slow
def test_readers_always_find_a_whole_current_while_versions_come_and_go(store: ModelStore, start: Start) -> None:
    store.promote(store.save(model(), {}))
    readers = [start(READ) for _ in range(2)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
    assert answer(start(REPLACE)) == []
    for reader in readers:
        assert int(answer(reader)[0]) > 10
    assert len(store.versions()) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("deed", ["save and promote", "save and refuse", "promote", "rollback", "prune"])
def test_a_kill_at_any_step_leaves_the_old_current_or_the_new_one(tmp_path: Path, deed: str) -> None:
    command = [sys.executable, "-m", "tests.model.killing", str(tmp_path), deed]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["killed"] == found["old"] + found["new"] >= 8
    moves = deed not in ("save and refuse", "prune")
    assert (found["old"] > 0) == moves
    assert found["new"] > 0
