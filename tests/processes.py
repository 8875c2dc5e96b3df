"""Finds the processes that a command has started."""

import subprocess
import time
from contextlib import suppress
from typing import Any

import psutil


def child(of: subprocess.Popen[Any], argument: str) -> psutil.Process:
    """Wait until a process below ``of`` has this argument; return it."""
    deadline = time.monotonic() + 60
    while of.poll() is None and time.monotonic() < deadline:
        for process in _below(of):
            with suppress(psutil.Error):  # it has ended meanwhile
                if argument in process.cmdline():
                    return process
        time.sleep(0.01)
    of.kill()
    raise AssertionError(f"{of.args!r} did not start {argument} (exit code {of.returncode})")


def _below(of: subprocess.Popen[Any]) -> list[psutil.Process]:
    try:
        return psutil.Process(of.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
