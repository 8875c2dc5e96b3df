"""How the stream does, for the dashboard: status, the last micro-batches, quarantine by reason with examples."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from nextreel.events.contract import EVENT_TYPES, EXPLAINED, TABLES, Reason
from nextreel.five_vs import five_vs
from nextreel.lake import batches
from nextreel.lake.layout import BATCHES, QUARANTINE, Lake
from nextreel.lake.quarantine import Held, held
from nextreel.settings import Settings
from nextreel.status import status

#: Micro-batches that are told: of the last so long, and at the most so many.
_LAST = timedelta(minutes=15)
_MOST = 300
#: Records are looked at this often, and data this seldom.
_OFTEN_SECONDS, _SELDOM_SECONDS = 0.8, 30.0
_EXAMPLES = 3


def pipeline(settings: Settings) -> Callable[[], dict[str, Any]]:
    """Return what tells it, as JSON has it."""
    lake, telling = Lake(settings.lake.absolute()), threading.Lock()
    kept: dict[str, Any] = {}
    asked = {"often": float("-inf"), "seldom": float("-inf")}

    def told() -> dict[str, Any]:
        with telling:  # however many ask, it is looked at once
            if time.monotonic() - asked["seldom"] > _SELDOM_SECONDS:
                kept.update(quarantine=_quarantine(lake), five_vs=_five_vs(settings))
                asked["seldom"] = time.monotonic()
            if time.monotonic() - asked["often"] > _OFTEN_SECONDS:
                now = status(settings).as_dict()
                rows = sum(each["rows"] for each in now["tables"])
                kept.update(status=now, rows=rows, batches=_batches(lake))
                asked["often"] = time.monotonic()
            return dict(kept)

    return told


def _batches(lake: Lake) -> list[dict[str, Any]]:
    if not lake.table(BATCHES).exists():
        return []
    rows = batches.read(lake, datetime.now(UTC) - _LAST)
    rows = rows.slice(max(0, len(rows) - _MOST))
    wanted = ["committed_at", "messages", "seconds", "newest_age_seconds", "raw_bytes", "parquet_bytes"]
    wanted += [QUARANTINE, "input_rows_per_second", "processed_rows_per_second"]
    wanted += [f"lag_{TABLES[event_type]}" for event_type in EVENT_TYPES]
    found: list[dict[str, Any]] = rows.select(wanted).to_pylist()
    return found


def _quarantine(lake: Lake) -> list[dict[str, Any]]:
    if not lake.table(QUARANTINE).exists():
        return []
    return [_reason(each) for each in held(lake, n_examples=_EXAMPLES)]


def _reason(found: Held) -> dict[str, Any]:
    explained = EXPLAINED.get(Reason(found.reason)) if found.reason in set(Reason) else None
    return {
        "reason": found.reason,
        "messages": found.messages,
        "means": explained.means if explained else "",
        "remedy": explained.remedy if explained else "",
        "examples": [
            {"place": str(e.place), "detail": e.detail, "start": e.start.decode("utf-8", "replace")}
            for e in found.examples
        ],
    }


def _five_vs(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    found = five_vs(settings)
    return {name: [asdict(figure) | {"text": str(figure)} for figure in figures] for name, figures in found.items()}
