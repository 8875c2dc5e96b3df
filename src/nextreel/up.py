"""The whole system in one command: broker, ingest, training and server as processes that are kept running.

One that ends is started again, after a pause that doubles while it keeps ending. Ctrl-C stops all, those first that
others do not need; and where this process itself is killed, Linux ends the others. What runs is told in
``<home>/up.json``, for `nextreel status`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nextreel.durable import write_json
from nextreel.errors import NextreelError, SettingsError
from nextreel.locks import opened, taken
from nextreel.processes import die_with_parent, is_alive

if TYPE_CHECKING:
    from nextreel.kafka.apache import ApacheBroker

_LOOK_SECONDS = 0.2
_RECORD = "up.json"
#: Pauses before a process that ended is started again; one that ran for so long had ended by chance.
_FIRST_PAUSE, _LONGEST_PAUSE, _WELL_SECONDS = 1.0, 30.0, 60.0
#: How long a process may take to stop.
_STOP_SECONDS = 20.0


@dataclass
class Backoff:
    """When a process that ended is started again: after pauses that double while it keeps ending."""

    _pause: float = _FIRST_PAUSE
    _due: float = 0.0
    _began: float = 0.0

    def started(self) -> None:
        """Note that the process was started."""
        self._began = time.monotonic()

    def ended(self) -> float:
        """Note that the process has ended; return the pause, in seconds, before it is started again."""
        now = time.monotonic()
        pause = _FIRST_PAUSE if now > self._began + _WELL_SECONDS else self._pause
        self._due, self._pause = now + pause, min(2 * pause, _LONGEST_PAUSE)
        return pause

    @property
    def is_over(self) -> bool:
        """Whether the pause is over."""
        return time.monotonic() >= self._due


@dataclass
class Part:
    """One of the processes: its name, what starts it, and how it does."""

    name: str
    command: Sequence[str]
    restarts: int = 0
    backoff: Backoff = field(default_factory=Backoff)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, environment: dict[str, str]) -> None:
        """Start it. Ctrl-C in the terminal reaches this process alone, which then stops the others in their order."""
        group = 0
        if sys.platform == "win32":  # there are no sessions
            group = subprocess.CREATE_NEW_PROCESS_GROUP
        self.process = subprocess.Popen(
            self.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
            creationflags=group,
        )
        self.backoff.started()

    def interrupt(self) -> None:
        """Ask it to stop."""
        sign: int = signal.SIGTERM
        if sys.platform == "win32":  # any other one ends a process outright
            sign = signal.CTRL_BREAK_EVENT
        if self.process is not None:
            self.process.send_signal(sign)


@dataclass(frozen=True)
class PartStatus:
    """A process that `nextreel up` keeps running: None where it has ended and waits to be started again."""

    name: str
    pid: int | None
    restarts: int

    def __str__(self) -> str:
        found = self.name + (" (starts again)" if self.pid is None else f" {self.pid}")
        return found + (f", restarted {self.restarts:,} times" if self.restarts else "")


class Up:
    """Keeps parts running. ``tell`` is told what happens; ``check`` raises where it is in vain to go on.

    ``broker`` is the address of the broker that runs with them, if one does.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        home: Path,
        environment: dict[str, str],
        tell: Callable[[str], None],
        check: Callable[[], None] = lambda: None,
        broker: str | None = None,
    ):
        self._broker = broker
        self._check = check
        self._parts = parts
        self._home = home
        self._environment = environment
        self._tell = tell

    def run(self, stopping: threading.Event) -> None:
        """Keep all running until told to stop, then stop them."""
        try:
            for part in self._parts:
                part.start(self._environment)
                self._tell(f"{part.name} started")
            self._record()
            while not stopping.wait(_LOOK_SECONDS):
                self._check()
                changed = [self._look_after(part) for part in self._parts]
                if any(changed):
                    self._record()
        finally:
            self._stop()

    def _look_after(self, part: Part) -> bool:
        """Start a part again where it has ended and its pause is over; tell whether anything has changed."""
        if part.process is not None and (code := part.process.poll()) is not None:
            if code == SettingsError.exit_code and not part.restarts:
                raise SettingsError(f"{part.name} cannot run with these settings; what it said stands above")
            part.process = None
            self._tell(f"{part.name} ended (exit code {code}); it is started again in {part.backoff.ended():g} s")
            return True
        if part.process is None and part.backoff.is_over:
            part.start(self._environment)
            part.restarts += 1
            return True
        return False

    def _record(self) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        parts = [
            {"name": p.name, "pid": None if p.process is None else p.process.pid, "restarts": p.restarts}
            for p in self._parts
        ]
        write_json(self._home / _RECORD, {"pid": os.getpid(), "at": now, "broker": self._broker, "parts": parts})

    def _stop(self) -> None:
        for part in reversed(self._parts):
            if part.process is None or part.process.poll() is not None:
                continue
            part.interrupt()
            try:
                part.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._tell(f"{part.name} does not stop: killed")
                part.process.kill()
                part.process.wait()
        (self._home / _RECORD).unlink(missing_ok=True)


class BrokerGuard:
    """Starts a broker again after it has ended, and does not wait until it answers: its clients do.

    Called again and again, as ``check`` of `Up`. ``tell`` receives what happens.
    """

    def __init__(self, broker: "ApacheBroker", tell: Callable[[str], None]):
        self._broker = broker
        self._tell = tell
        self._backoff = Backoff()
        self._backoff.started()
        self._has_ended = False

    def __call__(self) -> None:
        """Start the broker if it has ended and the pause after that is over."""
        if self._broker.is_running:
            return
        if not self._has_ended:
            self._has_ended = True
            self._say(self._broker.failure())
        elif self._backoff.is_over:
            try:
                self._broker.start()
            except (NextreelError, OSError) as error:
                self._say(str(error))
            else:
                self._backoff.started()
                self._has_ended = False

    def _say(self, reason: str) -> None:
        self._tell(f"{reason.rstrip('.')}. The broker is started again in {self._backoff.ended():g} s")


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Be the one that keeps a home's processes running. Raises `NextreelError` where another is."""
    home.mkdir(parents=True, exist_ok=True)
    with opened(home / "up.lock", os.O_RDWR | os.O_CREAT) as descriptor:
        if not taken(descriptor):
            raise NextreelError(f"another `nextreel up` runs in {home}: `nextreel status` says what it keeps running")
        yield


def running(home: Path) -> list[PartStatus]:
    """Return the processes of the `nextreel up` that runs in a home: none where none does, or where it was killed."""
    try:
        return [PartStatus(**part) for part in _recorded(home)["parts"]]
    except (KeyError, TypeError):
        return []


def embedded(home: Path) -> str | None:
    """Return the address of the broker that the `nextreel up` of a home runs; None if none runs."""
    found = _recorded(home).get("broker")
    return found if isinstance(found, str) else None


def _recorded(home: Path) -> dict[str, Any]:
    """Return what the `nextreel up` that runs in a home has written down of itself; nothing where none does."""
    try:
        found = json.loads((home / _RECORD).read_text("utf-8"))
        return found if is_alive(int(found["pid"])) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
