"""Folders for what is needed only while a process runs."""

import atexit
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from nextreel.locks import in_use, opened, taken

_PREFIX = "nextreel-scratch-"


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Give an empty folder, which goes with the block, or with the process.

    It lies in ``parent``, by default among the temporary files (``TMPDIR``).

    What a process leaves that is killed goes when the same user's next one begins; on Windows, and where folders have
    no locks, it stays. Raises `OSError` where there is no place for temporary files.
    """
    within = Path(tempfile.gettempdir()) if parent is None else parent
    _remove_leftovers(within)
    with ExitStack() as holding:
        folder = _made(within, holding)
        remove = partial(_remove, folder, os.getpid())
        atexit.register(remove)
        try:
            yield folder
        finally:
            atexit.unregister(remove)
            remove()


def _made(within: Path, holding: ExitStack) -> Path:
    """Make a folder and hold its lock; another process may have taken it for a leftover before."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=within))
        with suppress(FileNotFoundError):
            holding.enter_context(in_use(folder))
            if folder.exists():
                return folder


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # which a process is not that was forked from it
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(within: Path) -> None:
    if sys.platform == "win32":
        return
    for left in within.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody else has just removed it, or there are no locks
            about = left.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid():
                with opened(left, os.O_RDONLY) as descriptor:
                    if taken(descriptor):
                        shutil.rmtree(left, ignore_errors=True)
