"""Spark's JVM as a process: how it is launched, so that it outlives no interrupt, and how it ends."""

import os
import shlex
import signal
import string
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from py4j.protocol import Py4JError
from pyspark import SparkContext

_EXIT_SECONDS = 60.0
#: From a call that a dying JVM does not answer to its end.
_LAST_SECONDS = 3.0

#: What stands for itself in Java's properties.
_PLAIN = frozenset(string.ascii_letters + string.digits + "./-_,")


def launch(conf: Mapping[str, str]) -> None:
    """Start the JVM. Its settings go by a file of ours alone, since everybody sees a command's arguments.

    An interrupt waits until it has started: before, there is no handle by which to end it.
    """
    with tempfile.TemporaryDirectory() as folder, _interrupts_held():
        file = Path(folder, "spark.properties")
        file.touch(mode=0o600)
        file.write_text(properties(conf), "ascii")
        given = os.environ.get("PYSPARK_SUBMIT_ARGS", "pyspark-shell")
        arguments = f"--load-spark-defaults --properties-file {shlex.quote(str(file))} {given}"
        with environment({"PYSPARK_SUBMIT_ARGS": arguments}):
            SparkContext._ensure_initialized()


def end() -> bool:
    """End the JVM, if there is one; tell whether it ended by itself, having written all it had to write."""
    gateway = SparkContext._gateway
    if gateway is None:
        return False
    with suppress(Py4JError, OSError):
        gateway.shutdown()
    jvm: subprocess.Popen[bytes] = gateway.proc
    if jvm.stdin is not None:
        jvm.stdin.close()
    ended = True
    try:
        jvm.wait(_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        jvm.kill()
        jvm.wait()
        ended = False
    SparkContext._gateway = SparkContext._jvm = None
    return ended


def exit_code() -> int | None:
    """Return the code with which the JVM has ended, None while it runs and where there is none."""
    gateway = SparkContext._gateway
    try:
        return None if gateway is None else int(gateway.proc.wait(_LAST_SECONDS))
    except subprocess.TimeoutExpired:
        return None


def properties(conf: Mapping[str, str]) -> str:
    """Return settings as java.util.Properties reads them, all that has a meaning there escaped."""

    def escaped(text: str) -> str:
        units = struct.iter_unpack(">H", text.encode("utf-16-be", "surrogatepass"))
        return "".join(chr(u) if chr(u) in _PLAIN else f"\\u{u:04x}" for (u,) in units)

    return "".join(f"{escaped(key)}={escaped(value)}\n" for key, value in conf.items())


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Let processes started within the block have these variables."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let the first interrupt come at the block's end, and a second one at once."""
    held: list[int] = []
    kept = {}

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            raise KeyboardInterrupt
        held.append(number)

    if threading.current_thread() is threading.main_thread():  # others get no signals
        kept = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if held:
        end()
        raise KeyboardInterrupt
