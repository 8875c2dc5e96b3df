"""Model versions as tables: what was measured of each, and what was decided."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from nextreel.errors import ModelError
from nextreel.insight.star import STAR
from nextreel.model.journal import Decision
from nextreel.model.store import ModelStore
from nextreel.model.version import Facts

_TABLES = [table for table in STAR if not table.sql]

#: Who is judged, as people know them.
_WHO = {"als": "nextreel", "als, diverse": "nextreel, diverse"}


def model_tables(store: ModelStore, versions: Sequence[str], decisions: Sequence[Decision]) -> dict[str, pa.Table]:
    """Return the star's tables of models. Versions that cannot be read, or are gone by now, are left out."""
    current = store.current()
    last = {decision.version: decision for decision in decisions}
    rows: dict[str, list[dict[str, Any]]] = {table.name: [] for table in _TABLES}
    for version in versions:
        try:
            facts = store.facts(version)
        except ModelError:
            continue
        decision = last.get(version)
        own = {"model_version": version, "is_current": version == current}
        told = own | {
            "created_at": _time(facts.get("created_at")),
            "decision": decision.deed if decision else None,
            "why": decision.why if decision else None,
        }
        rows["model_metric"] += [told | row for row in _metrics(facts)]
        rows["model_calibration"] += [own | row for row in (facts.get("evaluation") or {}).get("calibration", ())]
    return {table.name: pa.Table.from_pylist(rows[table.name], table.schema) for table in _TABLES}


def _metrics(facts: Facts) -> Iterator[dict[str, Any]]:
    evaluation = facts.get("evaluation") or {}
    for segment, quality in {"all": evaluation, **evaluation.get("segments", {})}.items():
        for kind in ("accuracy", "ranking"):
            intervals = quality.get("intervals", {}).get(kind, {})
            for who, values in quality.get(kind, {}).items():
                for metric, value in values.items():
                    low, high = intervals.get(who, {}).get(metric) or (None, None)
                    yield {
                        "judged": _WHO.get(who, who),
                        "metric": metric,
                        "segment": segment,
                        "value": value,
                        "low": low,
                        "high": high,
                    }


def _time(said: str | None) -> datetime | None:
    return None if said is None else datetime.fromisoformat(said).astimezone(UTC).replace(tzinfo=None)
