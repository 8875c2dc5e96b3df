"""Finds the processes that a command has started, and ends them; any of them may end meanwhile."""

import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from tests.waiting import until


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it; none if it has ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def kill(started: "subprocess.Popen[Any] | psutil.Popen") -> None:
    """Kill a process that still runs, and all below it at once, as a machine that loses its power."""
    if started.poll() is None:
        for process in tree(started.pid):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int]]:
    """Return the addresses and ports that processes listen on."""
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            connections = process.net_connections("inet")
            found |= {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    return found


def child(of: subprocess.Popen[Any], argument: str, program: str = "") -> psutil.Process:
    """Wait until a process below ``of`` has this argument, and is this program if one is given; return it."""

    def found() -> psutil.Process | None:
        assert of.poll() is None, f"{of.args!r} did not start {argument} (exit code {of.returncode})"
        for process in tree(of.pid)[1:]:
            with suppress(psutil.Error):  # it has ended meanwhile
                command = process.cmdline()
                if argument in command and program in ("", Path(command[0]).name):
                    return process
        return None

    started = until(found, lambda: f"{of.args!r} does not start {argument}", pause=0.2)
    assert started
    return started
