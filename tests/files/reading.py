"""What a file becomes: events without their empty fields, what was counted, and the table that read it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nextreel.files.adapt import Table
from nextreel.files.mapping import Kind, Mapping
from nextreel.files.outcome import Read

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def read_file(path: Path, kind: Kind, rules: dict[str, Any] | None = None) -> tuple[list[dict[str, Any]], Read, Table]:
    """Read a file by a mapping's ``rules``, or by guess."""
    read = Read()
    table = Table(path, kind, Mapping.model_validate(rules) if rules is not None else None, MOMENT)
    batches = [batch for _, batch in table.events(read)]
    events = [{k: v for k, v in row.items() if v is not None} for batch in batches for row in batch.to_pylist()]
    return events, read, table
