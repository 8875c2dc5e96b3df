"""Who may do what to files at the same time: locks that end with the process that holds them.

- a folder's: one process at a time changes what is in it, such as which model version is current, exports or keys;
- a file's: kept by whoever writes or reads what it stands for, such as a version by its model.json; who removes that
  needs it alone.

Where the system has no such locks, nothing waits, and nothing counts as unused.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HAS_LOCKS = fcntl is not None


@contextmanager
def opened(path: Path, mode: int) -> Iterator[int]:
    """Open a lock's file, made where it is missing and ``mode`` has `os.O_CREAT`. Raises `OSError`."""
    descriptor = os.open(path, mode, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def taken(descriptor: int) -> bool:
    """Take the lock of an opened file alone, if nobody else holds it now. Raises `OSError` where there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def changing(root: Path) -> Iterator[None]:
    """Be the one that changes what is in a folder within the block; waits while another does."""
    if not root.exists():
        yield
        return
    with opened(root / ".lock", os.O_RDWR | os.O_CREAT) as descriptor:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def in_use(file: Path) -> Iterator[None]:
    """Keep what a ``file`` stands for from being removed within the block. Raises `OSError` where it is gone."""
    with opened(file, os.O_RDONLY) as descriptor:
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks: reading must go on all the same
                fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


@contextmanager
def unused(file: Path) -> Iterator[bool]:
    """Give True where nobody uses what a ``file`` stands for, nor begins to within the block."""
    if fcntl is None or not file.exists():
        yield fcntl is not None
        return
    with opened(file, os.O_RDWR) as descriptor:
        try:
            alone = taken(descriptor)
        except OSError:  # a file system without locks: who could tell?
            alone = False
        yield alone
