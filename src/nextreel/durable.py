"""Files that outlast a power failure: whole or not there at all, as far as fsync goes."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: How long who reads a file may keep it from being replaced, on Windows.
_PATIENCE_SECONDS, _POLL_SECONDS = 5.0, 0.01


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, its folder too where there is none. One process may do so at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps(content), f".{path.name}.tmp")


def write_text(path: Path, text: str) -> None:
    """Write or replace a file in UTF-8. Of two writers at once, the later one's content stays."""
    _write(path, text, f".{path.name}.{os.getpid()}")


def _write(path: Path, text: str, beside: str) -> None:
    fresh = path.with_name(beside)
    with fresh.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    take_place(fresh, path)
    sync(path.parent)


def take_place(fresh: Path, path: Path) -> None:
    """Put a file in another one's place. Windows refuses while that is open, which those who read it are not long."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fresh.replace(path)
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() >= until:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable (folders on POSIX alone: other systems have no way)."""
    windows = sys.platform == "win32"
    if not windows or path.is_file():
        descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)  # Windows writes out what may be written to
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
