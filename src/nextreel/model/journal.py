"""What was decided about model versions: a file that only grows, a line of JSON a decision.

    {"at": "2026-03-01T12:00:00+00:00", "version": "…", "deed": "promoted", "why": "…", "before": "…"}

A promotion is written here before ``current`` is replaced. One that a kill cut short is told by what followed: the
version that was current ``before`` it still is, or was when the next decision was made. A line that a kill has cut off
counts as not written.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from nextreel.durable import sync
from nextreel.errors import ModelError

Deed = Literal["promoted", "rolled back", "refused"]


@dataclass(frozen=True)
class Verdict:
    """Whether a version may become the current one, and why, in a line."""

    promoted: bool
    why: str


@dataclass(frozen=True)
class Decision:
    """What became of a version at ``at`` (ISO 8601), and which version was current until then."""

    at: str
    version: str
    deed: Deed
    why: str
    before: str | None


def append(path: Path, decision: Decision) -> None:
    """Write a decision, durably. One process may do so at a time."""
    with path.open("a+b") as file:
        file.seek(0)
        written, newline, _ = file.read().rpartition(b"\n")
        file.truncate(len(written) + len(newline))
        file.write(json.dumps(asdict(decision)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def read(path: Path) -> list[Decision]:
    """Return all decisions, the oldest first. Raises `ModelError` where a line is none."""
    if not path.exists():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [_decision(path, number, line) for number, line in enumerate(lines, 1)]


def happened(decisions: list[Decision], current: str | None) -> list[Decision]:
    """Return the decisions that took effect: without promotions that a kill cut short before they did."""
    moves = [d for d in decisions if d.deed != "refused"]
    then_current = [*(move.before for move in moves), current][1:]
    cut_short = [move for move, after in zip(moves, then_current, strict=True) if after == move.before]
    return [d for d in decisions if d not in cut_short]


def history(decisions: list[Decision], current: str | None) -> list[str]:
    """Return the versions that became current and were not rolled back, the oldest first; the last one is ``current``.

    ``decisions`` are those that took effect.
    """
    found: list[str] = []
    for move in decisions:
        if move.deed == "refused":
            continue
        _reach(found, move.before)
        if move.deed == "rolled back":
            _back(found, move.version)
        _reach(found, move.version)
    _reach(found, current)
    return found


def _reach(found: list[str], version: str | None) -> None:
    """Let a version be the last one, also where somebody has written ``current`` by hand."""
    if version is not None and version not in found[-1:]:
        found.append(version)


def _back(found: list[str], version: str) -> None:
    while version in found and found[-1] != version:
        found.pop()


def _decision(path: Path, number: int, line: bytes) -> Decision:
    try:
        return Decision(**json.loads(line))
    except (ValueError, TypeError):
        raise ModelError(f"line {number} of {path} is no decision about a model version: {line[:80]!r}") from None
