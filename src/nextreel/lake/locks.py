"""Who may do what to a lake at the same time: five locks, which end with the process that holds them.

- the writer's: one ingest;
- the keeper's: one process that merges and removes files;
- the replayer's: one process that sends quarantined messages again;
- the mirrorer's: one process that copies it to an object store;
- the names': shared by whoever has seen the names of files and is about to open them, our readers and the writer as it
  moves files in; taken alone by the keeper for the moment in which names change.

Any program can keep the names as ours do: ``flock --shared <lake>/_ingest/names.lock COMMAND``.
"""

import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nextreel.errors import LakeError
from nextreel.lake.layout import Lake
from nextreel.locks import HAS_LOCKS, opened, taken

try:
    import fcntl
except ImportError:  # Windows: names are not kept, and nothing is merged
    fcntl = None  # type: ignore[assignment]

_NAMES = "names.lock"
#: Held by who waits for the names alone: who would keep them queues behind it, but not for longer than its turn.
_GATE = "gate.lock"
_TURN_SECONDS, _BREAK_SECONDS, _POLL_SECONDS = 0.2, 0.5, 0.01


#: The descriptors of the writers' locks that this process has taken, by their files.
_OWN: dict[Path, int] = {}


def lock_writer(lake: Lake) -> int:
    """Take the writer's lock until the process ends (or the returned descriptor is closed).

    It is the process's: a later query of the same process takes it again. Raises `LakeError` where another process
    holds it.
    """
    lake.lock.parent.mkdir(parents=True, exist_ok=True)
    for name in (_NAMES, _GATE):  # readers who may not write need them
        lake.lock.with_name(name).touch(0o644)
    if sys.platform == "win32" and _is_own(lake):  # a lock of POSIX is the process's, one of Windows the descriptor's
        return _OWN[lake.lock.resolve()]
    descriptor = os.open(lake.lock, os.O_RDWR | os.O_CREAT, 0o644)
    if not _locked(descriptor):
        os.close(descriptor)
        raise LakeError(f"another process is writing to {lake.root}; one lake has one ingest")
    _OWN[lake.lock.resolve()] = descriptor
    return descriptor


def _locked(descriptor: int) -> bool:
    """Take the writer's lock, which on POSIX is one that tells who holds it; tell whether it could be had."""
    if sys.platform == "win32":
        return taken(descriptor)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def writer(lake: Lake) -> int | None:
    """Return the process that holds the writer's lock; None where there is none, or the system cannot tell."""
    if sys.platform == "win32" or not lake.lock.exists():
        return None
    if _is_own(lake):  # by opening the file and closing it again a process lets go of its own lock, as POSIX has it
        return os.getpid()
    # struct flock: type, whence, start, length, process; start, length, process, type, whence on macOS.
    form, at = ("qqihh", 2) if sys.platform == "darwin" else ("hhqqi", 4)
    asked = [0, 0, 0, 0, 0]
    asked[3 if sys.platform == "darwin" else 0] = fcntl.F_WRLCK
    descriptor = os.open(lake.lock, os.O_RDONLY)
    try:
        found = struct.unpack(form, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(form, *asked)))
    finally:
        os.close(descriptor)
    held = found[3 if sys.platform == "darwin" else 0] != fcntl.F_UNLCK
    return found[at] if held else None


def _is_own(lake: Lake) -> bool:
    descriptor = _OWN.get(lake.lock.resolve())
    if descriptor is None:
        return False
    try:
        return os.path.samestat(os.fstat(descriptor), lake.lock.stat())
    except OSError:  # closed since
        return False


@contextmanager
def keeper(lake: Lake, patience_seconds: float = 0.0) -> Iterator[None]:
    """Be the one that merges and removes files.

    Raises `LakeError` where another is for all of the patience, or where there are no locks.
    """
    if not HAS_LOCKS:
        raise LakeError("files are merged and removed on POSIX systems alone: this one has no locks for it")
    with _opened(lake, "keeper.lock", os.O_RDWR) as descriptor:
        until = time.monotonic() + patience_seconds
        while not taken(descriptor):
            if time.monotonic() >= until:
                raise LakeError(f"the files of {lake.root} are being merged already")
            time.sleep(_POLL_SECONDS)
        yield


@contextmanager
def replayer(lake: Lake) -> Iterator[None]:
    """Be the one that sends quarantined messages again. Raises `LakeError` where another is."""
    with _opened(lake, "replay.lock", os.O_RDWR) as descriptor:
        if not taken(descriptor):
            raise LakeError(f"the quarantine of {lake.root} is being replayed already")
        yield


@contextmanager
def mirrorer(lake: Lake) -> Iterator[None]:
    """Be the one that copies the lake to an object store. Raises `LakeError` where another is."""
    with _opened(lake, "mirror.lock", os.O_RDWR) as descriptor:
        if not taken(descriptor):
            raise LakeError(f"{lake.root} is being mirrored already")
        yield


@contextmanager
def names_kept(lake: Lake) -> Iterator[None]:
    """Let no name of a file vanish from the lake within the block, which waits for nothing long."""
    if sys.platform == "win32" or not lake.root.exists():
        yield
        return
    with _opened(lake, _NAMES, os.O_RDONLY) as names:
        with _opened(lake, _GATE, os.O_RDONLY) as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
            fcntl.flock(names, fcntl.LOCK_SH)
        yield


@contextmanager
def names_alone(lake: Lake, patience_seconds: float) -> Iterator[bool]:
    """Give True where nobody keeps the names within the block, False where somebody did for all of the patience."""
    until = time.monotonic() + patience_seconds
    with _opened(lake, _NAMES, os.O_RDWR) as names:
        while not (alone := _taken_in_turn(lake, names)) and time.monotonic() < until:
            time.sleep(_BREAK_SECONDS)
        yield alone


def _taken_in_turn(lake: Lake, names: int) -> bool:
    until = time.monotonic() + _TURN_SECONDS
    with _opened(lake, _GATE, os.O_RDWR) as gate:
        if sys.platform != "win32":
            fcntl.flock(gate, fcntl.LOCK_EX)
        while not (alone := taken(names)) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
        return alone


@contextmanager
def _opened(lake: Lake, name: str, mode: int) -> Iterator[int]:
    """Open a lock's file, made where it is missing."""
    path = lake.lock.with_name(name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o644)
    with opened(path, mode) as descriptor:
        yield descriptor
