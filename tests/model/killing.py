"""A program: ``killing.py DIRECTORY DEED`` does a deed to a model store again and again, killed each time a step later.

It kills itself (SIGKILL) before the n-th of all calls that open a file to write, make, rename or remove something, or
make something durable; then it looks at what is left. Each life is a fork of this process, which itself does nothing
with Arrow, whose threads do not survive a fork. It prints how often it was killed, and how often that left the old
current version and how often the new one.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pandas  # noqa: F401 (Arrow imports it when it is first used: once here instead of in every fork)
from tests.model.test_store import model

from nextreel.model.journal import Verdict
from nextreel.model.store import ModelStore

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = [f"20260301T12000{i}-000" for i in range(5)]
NEW = "20260302T120000-000"
_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}


def build(root: Path) -> None:
    """Five versions, of 1 to 5 users: the second, third and fourth were current one after the other; and leftovers."""
    store = ModelStore(root)
    for i in range(5):
        store.save(model(i + 1), {}, NOON + timedelta(seconds=i))
    for name in NAMES[1:4]:
        store.promote(name)
    for leftover in (".20260101T000000-000.4711", ".20260101T000000-001.removed"):
        (root / leftover / "deeper").mkdir(parents=True)
        (root / leftover / "model.json").write_text("{")
    (root / ".current.4711").write_text("2026")


def save_and(promoted: bool) -> Callable[[ModelStore], None]:
    def deed(store: ModelStore) -> None:
        store.save(model(9), {}, NOON + timedelta(days=1))
        store.decide(NEW, lambda *_: Verdict(promoted, "because"))

    return deed


#: Each with the version that is current when all is done.
DEEDS: dict[str, tuple[Callable[[ModelStore], object], str]] = {
    "save and promote": (save_and(True), NEW),
    "save and refuse": (save_and(False), NAMES[3]),
    "promote": (lambda store: store.promote(NAMES[4]), NAMES[4]),
    "rollback": (lambda store: store.rollback(), NAMES[2]),
    "prune": (lambda store: store.prune(1), NAMES[3]),
}


def kill_at(number: int) -> None:
    """Let this process die before its ``number``-th change."""
    left = iter(range(number - 1))
    fsync = os.fsync

    def step() -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, given: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event in _CHANGES or writes:
            step()

    def counted(fd: Any) -> None:
        step()
        fsync(fd)

    os.fsync = counted
    sys.addaudithook(audit)


def check(root: Path, after: str) -> None:
    """Every version can be read, the old or the new one is current, and everything goes on from here."""
    store = ModelStore(root)
    current = store.current()
    assert current in (NAMES[3], after), current
    users = dict(zip([*NAMES, NEW], (1, 2, 3, 4, 5, 9), strict=True))
    for version in store.versions():
        assert len(store.load(version).user_ids) == users[version]
    assert len(store.load().user_ids) == users[current]
    assert store.previous() == (NAMES[1] if current == NAMES[2] else NAMES[2] if current == NAMES[3] else NAMES[3])
    assert {d.version for d in store.decisions() if d.deed != "refused"} - {current} <= {*NAMES[1:4]}
    before = store.previous()
    newest = store.save(model(7), {})
    store.promote(newest)
    assert store.rollback() == current
    assert store.previous() == before
    store.prune(1)
    kept = {p.name for p in root.iterdir()}
    assert kept == {newest, current, before, "current", "decisions.jsonl", ".lock"}, kept
    assert len(store.load().user_ids) == users[current]


def life(work: Callable[[], object]) -> int:
    """Do something in a process of its own and return how it ended, as `os.waitstatus_to_exitcode` has it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def once(template: Path, root: Path, number: int, name: str) -> bool:
    """Do the deed until its ``number``-th change, then look; tell whether it was killed."""
    deed, after = DEEDS[name]
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(template, root)

    def doomed() -> None:
        kill_at(number)
        deed(ModelStore(root))

    ended = life(doomed)
    assert ended in (0, -signal.SIGKILL), f"{name}, change {number}: exit code {ended}"
    current = ModelStore(root).current()
    assert life(lambda: check(root, after)) == 0, f"{name}, killed at change {number}"
    if ended:
        OUTCOMES[current == after] += 1
    else:
        assert current == after
    return ended != 0


OUTCOMES: Counter[bool] = Counter()

if __name__ == "__main__":
    directory, chosen = Path(sys.argv[1]), sys.argv[2]
    assert life(lambda: build(directory / "template")) == 0
    killed = next(n - 1 for n in count(1) if not once(directory / "template", directory / "store", n, chosen))
    print(json.dumps({"killed": killed, "old": OUTCOMES[False], "new": OUTCOMES[True]}))  # noqa: T201 (its answer)
