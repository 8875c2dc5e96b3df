"""Files that outlast a power failure: whole or not there at all, as far as fsync goes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, its folder too where there is none. One process may do so at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps(content), f".{path.name}.tmp")


def write_text(path: Path, text: str) -> None:
    """Write or replace a file in UTF-8. Of two writers at once, the later one's content stays."""
    _write(path, text, f".{path.name}.{os.getpid()}")


def _write(path: Path, text: str, beside: str) -> None:
    fresh = path.with_name(beside)
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable (folders on POSIX alone: other systems have no way)."""
    if os.name == "posix" or path.is_file():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
