"""Finds the processes that a command has started."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil


def child(of: subprocess.Popen[Any], argument: str, program: str = "") -> psutil.Process:
    """Wait until a process below ``of`` has this argument, and is this program if one is given; return it."""
    deadline = time.monotonic() + 180  # a first start, beside others
    while of.poll() is None and time.monotonic() < deadline:
        for process in _below(of):
            with suppress(psutil.Error):  # it has ended meanwhile
                command = process.cmdline()
                if argument in command and program in ("", Path(command[0]).name):
                    return process
        time.sleep(0.05)
    of.kill()
    raise AssertionError(f"{of.args!r} did not start {argument} (exit code {of.returncode})")


def _below(of: subprocess.Popen[Any]) -> list[psutil.Process]:
    try:
        return psutil.Process(of.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
