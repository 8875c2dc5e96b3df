"""Two directories take each other's place, in one step."""

import ctypes
import errno
import os
import sys
from pathlib import Path

from nextreel.errors import LakeError

_AT_FDCWD = -100
#: RENAME_EXCHANGE of Linux's renameat2, RENAME_SWAP of macOS's renamex_np.
_SWAP = 2


def exchange(a: Path, b: Path) -> None:
    """Exchange two directories of one file system atomically: every path leads to the old or to the new one.

    Raises `LakeError` where the operating system or the file system cannot.
    """
    if sys.platform == "win32":
        raise LakeError("files cannot be merged here: Windows has no way to exchange two directories")
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(a), os.fsencode(b)
    if hasattr(libc, "renameat2"):
        failed = libc.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _SWAP)
    elif sys.platform == "darwin":
        failed = libc.renamex_np(first, second, _SWAP)
    else:
        raise LakeError("files cannot be merged here: the operating system has no way to exchange two directories")
    if failed:
        code = ctypes.get_errno()
        if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise LakeError(f"files cannot be merged here: the file system of {b} cannot exchange two directories")
        raise OSError(code, os.strerror(code), str(a), None, str(b))
