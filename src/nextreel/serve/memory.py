"""Memory that a replaced model had, given back to the system."""

import ctypes
import gc
import sys

#: glibc keeps what was freed unless it is asked to give it back; other C libraries do not have the function.
_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def release_memory() -> None:
    """Free what only cycles refer to, and return free memory to the operating system where it can be asked for."""
    gc.collect()
    if _TRIM is not None:
        _TRIM(0)
