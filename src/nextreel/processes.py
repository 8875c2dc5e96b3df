"""Other processes of this machine."""

import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1
#: Nice value of threads whose work can wait.
_LOW_PRIORITY = 10


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


def lower_thread_priority() -> None:
    """Let the kernel prefer other threads to this one and to those that it starts. Only Linux knows such priorities."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)
