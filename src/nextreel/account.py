"""The account that this process runs under: its name, its home folder, and a folder of its own for temporary files.

A container may run under a user id without an entry in passwd, and without HOME. What looks for a home folder then
fails, or makes a folder named ``~``.

Standard library only: ``./run`` loads this module before anything is installed.
"""

import mmap
import os
import stat
import sys
import tempfile
from pathlib import Path

from nextreel.errors import NextreelError

try:
    import pwd
except ImportError:  # Windows
    pwd = None  # type: ignore[assignment]


def substitute_name() -> str | None:
    """Return the name to use for a user id that has no entry in passwd; None where it has one, and on Windows."""
    if sys.platform == "win32":
        return None
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return next(filter(None, map(os.environ.get, ("USER", "LOGNAME"))), None) or f"uid{os.getuid()}"
    return None


def set_home() -> None:
    """Set HOME to a private temporary folder where the user id has no entry in passwd and HOME cannot be written to.

    Raises `NextreelError` where there is no such folder.
    """
    if sys.platform == "win32" or substitute_name() is None or _is_writable_folder(os.environ.get("HOME", "")):
        return
    try:
        os.environ["HOME"] = str(private_folder())
    except OSError as error:
        raise NextreelError(
            f"user id {os.getuid()} has no entry in passwd, HOME is {os.environ.get('HOME', '')!r}, and {error}. "
            "Set HOME to a folder that this user can write to."
        ) from None


def private_folder() -> Path:
    """Return this user's folder among the temporary files, made where it is missing.

    Raises `OSError` where it is another user's or a link: a user who writes to it could make this process run anything.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir(), f"nextreel-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user:
        raise PermissionError(f"{folder} is not this user's own")
    folder.chmod(0o700)
    return folder


def can_execute_in(folder: Path) -> bool:
    """Report whether a file in a folder can be mapped as code, which a mount with ``noexec`` does not allow.

    A folder that cannot be written to has no such file: False.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * mmap.PAGESIZE)
            file.flush()
            if sys.platform != "win32":
                mmap.mmap(file.fileno(), mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True


def _is_writable_folder(path: str) -> bool:
    return os.path.isabs(path) and os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK)
