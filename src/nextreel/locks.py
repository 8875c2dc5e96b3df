"""Who may do what to files at the same time: locks that end with the process that holds them.

- a folder's: one process at a time changes what is in it, such as which model version is current, exports or keys;
- a file's: kept by whoever writes or reads what it stands for, such as a version by its model.json; who removes that
  needs it alone.

On Windows the first kind is there, the second is not: nobody may rename or remove what is open there, so that no file
is kept open for it, and nothing counts as unused.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: Whether this system can tell that nobody uses a file.
HAS_LOCKS = sys.platform != "win32"

_POLL_SECONDS = 0.01


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
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter on Windows
        return False
    return True


@contextmanager
def changing(root: Path) -> Iterator[None]:
    """Be the one that changes what is in a folder within the block; waits while another does."""
    if not root.exists():
        yield
        return
    with opened(root / ".lock", os.O_RDWR | os.O_CREAT) as descriptor:
        if sys.platform == "win32":
            while not taken(descriptor):
                time.sleep(_POLL_SECONDS)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def in_use(file: Path) -> Iterator[None]:
    """Keep what a ``file`` stands for from being removed within the block. Raises `OSError` where it is gone."""
    if sys.platform == "win32":
        file.stat()
        yield
    else:
        with opened(file, os.O_RDONLY) as descriptor:
            with suppress(OSError):  # a file system without locks: reading must go on all the same
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield


@contextmanager
def unused(file: Path) -> Iterator[bool]:
    """Give True where nobody uses what a ``file`` stands for, nor begins to within the block."""
    if not HAS_LOCKS or not file.exists():
        yield HAS_LOCKS
        return
    with opened(file, os.O_RDWR) as descriptor:
        try:
            alone = taken(descriptor)
        except OSError:  # a file system without locks: who could tell?
            alone = False
        yield alone
