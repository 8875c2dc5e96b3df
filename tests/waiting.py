"""Waits for what others do, on a machine of any speed: only what hangs fails a test."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HANG_SECONDS = 1500.0  # less than pytest's own timeout, which tells nothing of what is waited for


def until(true: Callable[[], T], told: Callable[[], object] = lambda: "", pause: float = 0.05) -> T:
    """Wait until ``true`` is so, and return what it returned; what hangs fails with what ``told`` tells of it."""
    deadline = time.monotonic() + HANG_SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, told()
        time.sleep(pause)
    return found
