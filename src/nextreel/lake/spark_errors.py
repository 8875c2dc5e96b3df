"""What Spark raises as errors of our own: the innermost reason, in a line."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException

from nextreel import errors
from nextreel.lake import jvm
from nextreel.settings import Settings

#: An exception in a text of Spark's, Java's or Python's, but for those that only bring another one's traceback.
_EXCEPTION = re.compile(
    r"^(?:Caused by: |: )?((?:[\w$]+\.)*\w*(?:Error|Exception)\w*(?:: (?!Traceback).+)?)$", re.MULTILINE
)

#: What is said of a native library that cannot be loaded, the first time and then.
_NATIVE = re.compile(
    r"UnsatisfiedLinkError|failed to map segment|Could not initialize class (com\.github\.luben\.zstd|org\.xerial)\b"
)

#: Java's exceptions may cause each other in a circle.
_DEEPEST = 50


@contextmanager
def spark_errors(settings: Settings) -> Iterator[None]:
    """Raise what Spark raises within as an error of `nextreel.errors`: its own, where it carries one from a task.

    The text of Spark's exceptions lies in its JVM, so that this must come before the session's end.
    """
    try:
        yield
    except (PySparkException, Py4JError, ConnectionError) as error:
        if errors.was_interrupted(error):
            raise KeyboardInterrupt from None
        text = str(error)
        carried = re.search(r"nextreel\.errors\.(\w+): (.+)", text)
        kind = getattr(errors, carried.group(1), None) if carried else None
        if carried and isinstance(kind, type) and issubclass(kind, errors.NextreelError):
            raise kind(carried.group(2)) from None
        if _NATIVE.search(text):
            raise errors.SparkError(
                f"Spark cannot load the native libraries that it unpacks into {tempfile.gettempdir()}: it may be "
                f"mounted noexec. Set TMPDIR to a folder that is not. {spark_log(settings)} may say more."
            ) from error
        alive = isinstance(error, (PySparkException, Py4JJavaError))  # it has answered
        ended = None if alive else jvm.exit_code()
        reason = innermost(text) or type(error).__name__
        if ended is not None:
            reason = f"Spark's JVM has ended with code {ended}"
        elif isinstance(error, PySparkException) and not _EXCEPTION.search(text):
            reason = ": ".join([reason, *_cause(error)]).rstrip(".")
        raise errors.SparkError(f"{reason}. {spark_log(settings)} may say more.") from error


def innermost(text: str) -> str:
    """Return the last exception that a text names, by its type and its message; its first line where it names none."""
    found = _EXCEPTION.findall(text)
    lines = text.strip().splitlines() or [""]
    return str(found[-1] if found else lines[0]).rstrip(".")


def _cause(error: PySparkException) -> list[str]:
    """Return Java's innermost cause of an error whose text does not name it; nothing where it has none."""
    causes: list[Any] = [getattr(error, "_origin", None)]
    while causes[-1] is not None and len(causes) < _DEEPEST:
        causes.append(causes[-1].getCause())
    return [str(cause.toString()).splitlines()[0] for cause in causes[1:] if cause is not None][-1:]


def spark_log(settings: Settings) -> Path:
    """Return the file that Spark's JVMs of this home print to."""
    return settings.home / "logs" / "spark.log"
