"""Compiled functions that are kept for later processes, where there is a folder to keep them in."""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kept(**options: Any) -> Callable[[_Function], _Function]:
    """Compile a function by numba on first use, and keep that beside its file, or in the user's cache.

    Where neither can be written, as for a service without a home, each process compiles it anew: the variable
    NUMBA_CACHE_DIR names another folder.
    """

    def decorate(function: _Function) -> _Function:
        try:
            compiled: _Function = njit(cache=True, **options)(function)
        except RuntimeError:
            compiled = njit(**options)(function)
        return compiled

    return decorate
