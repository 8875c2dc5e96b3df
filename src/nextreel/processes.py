"""Other processes of this machine."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def is_alive(process: int) -> bool:
    """Tell whether a process is there, by its id. Windows cannot be asked without ending it: there it always is."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's
    return True


def die_with_parent() -> None:
    """Have Linux end this process where its parent ends, killed outright or not. Called in a child by `subprocess`."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
