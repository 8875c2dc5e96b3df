"""Spark's JVM as a process: how it is launched, so that it outlives no interrupt, and how it ends."""

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

from py4j.protocol import Py4JError
from pyspark import SparkContext

from nextreel.account import substitute_name
from nextreel.errors import SettingsError
from nextreel.java import properties
from nextreel.scratch import scratch_folder

_EXIT_SECONDS = 60.0
#: From a call that a dying JVM does not answer to its end.
_LAST_SECONDS = 3.0

#: Java's own options, among Spark's settings.
OPTIONS = "spark.driver.extraJavaOptions"
#: The folder for temporary files, which goes with the JVM.
_temporary = ExitStack()


def launch(conf: Mapping[str, str], temporary: Path | None = None) -> None:
    """Start the JVM; its temporary files lie in a folder within ``temporary``, by default in ``TMPDIR``.

    Its settings go by a file that only we can read, since everybody sees a command's arguments.

    Java's own options become arguments all the same. An interrupt waits until the JVM has started: before, there is no
    handle by which to end it. Raises `SettingsError` where PYSPARK_SUBMIT_ARGS names another file of settings.
    """
    if is_submitted():  # it is there
        SparkContext._ensure_initialized()
        return
    given = os.environ.get("PYSPARK_SUBMIT_ARGS", "pyspark-shell")
    if "--properties-file" in given:
        raise SettingsError(
            "PYSPARK_SUBMIT_ARGS has --properties-file: Spark takes one, and settings spark.conf fill it"
        )
    folder = _temporary.enter_context(scratch_folder(temporary))
    conf = {**conf, OPTIONS: _in_folder(folder, conf.get(OPTIONS, ""))}
    file = folder / "spark.properties"
    arguments = f"--load-spark-defaults --properties-file {shlex.quote(str(file))} {given}"
    try:
        with _interrupts_held(), environment({"PYSPARK_SUBMIT_ARGS": arguments}):
            file.touch(mode=0o600)
            file.write_text(properties(conf), "ascii")
            SparkContext._ensure_initialized()
            _name_user()
    finally:
        file.unlink(missing_ok=True)


def _name_user() -> None:
    """Give Hadoop a user name where the user id has none: its own login fails without an entry in passwd."""
    if (name := substitute_name()) is not None and SparkContext._jvm is not None:
        users = SparkContext._jvm.org.apache.hadoop.security.UserGroupInformation
        users.setLoginUser(users.createRemoteUser(name))


def _in_folder(folder: Path, options: str) -> str:
    """Return Java's options with a folder for temporary files, Spark's too, which all else that names one wins over."""
    return f"-Djava.io.tmpdir={folder} {options}".strip() if is_plain(folder) else options


def is_plain(path: Path) -> bool:
    """Report whether a path can stand in Java's options and in a list of Spark's folders."""
    return not set(str(path)) & set(" \t\n\"'\\,")


def is_submitted() -> bool:
    """Tell whether ``spark-submit`` has started this program: its JVM was there first, and ends after us."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def end() -> bool:
    """End the JVM, if there is one of ours; tell whether it ended by itself, having written all it had to write."""
    try:
        return _end()
    finally:
        _temporary.close()


def _end() -> bool:
    gateway, context = SparkContext._gateway, SparkContext._active_spark_context
    if gateway is None:
        return False
    with suppress(Exception):  # a session that was not finished may fail in any way
        if context is not None:
            context.stop()
    if gateway.proc is None:
        return True
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
        return None if gateway is None or gateway.proc is None else int(gateway.proc.wait(_LAST_SECONDS))
    except subprocess.TimeoutExpired:
        return None


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
    """Let the first interrupt come at the block's end, and a second one at once. Ignored signals stay ignored."""
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            raise KeyboardInterrupt
        held.append(number)

    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    kept = {number: handler for number, handler in kept.items() if handler not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        kept = {}
    for number in kept:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        if held:
            raise KeyboardInterrupt
