"""The five Vs of this lake, measured: volume, velocity, variety, veracity, value; each figure with its source.

What cannot be known is None. Memory does not grow with the lake: data are read in blocks.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nextreel.events.contract import EVENT_TYPES, TABLES, TITLE_TYPES, EventType, fields_of
from nextreel.lake import batches
from nextreel.lake.footers import filled
from nextreel.lake.layout import BATCHES, LINEAGE, QUARANTINE, SCHEMAS, Lake
from nextreel.lake.ledger import Ledger, read_ledger
from nextreel.lake.locks import names_kept
from nextreel.lake.quarantine import reasons
from nextreel.model.store import ModelStore
from nextreel.settings import Settings

_RECORDS = "the lake's records"
_BATCHES = "the table batches"
_BLOCK_ROWS = 262_144
_MICROSECONDS = 1e6
#: What counting undescribed interactions takes of memory; beyond that it uses temporary files.
_JOIN_MEGABYTES = 256

#: Latencies are counted in classes of 1 % width, from a millisecond to some months.
_EDGES = np.geomspace(1e-3, 1e7, 2_315)


@dataclass(frozen=True)
class Figure:
    """One figure: what it is, its value (None where it is not known), its unit, and what it was measured from."""

    name: str
    value: Any
    unit: str
    source: str

    def __str__(self) -> str:
        return f"{_text(self.value)} {self.unit}".strip() if self.value is not None else "unknown"


Figures = dict[str, list[Figure]]


def five_vs(settings: Settings, at: datetime | None = None) -> Figures:
    """Return the figures by V."""
    at, lake = at or datetime.now(UTC), Lake(settings.lake.absolute())
    ledger = read_ledger(lake)
    known = batches.read(lake, at - timedelta(days=1)) if lake.table(BATCHES).exists() else None
    return {
        "volume": list(_volume(ledger, known, at)),
        "velocity": list(_velocity(lake, ledger)),
        "variety": list(_variety(lake, ledger)),
        "veracity": list(_veracity(lake, ledger)),
        "value": list(_value(ModelStore(settings.models))),
    }


def _volume(ledger: Ledger, known: pa.Table | None, at: datetime) -> Iterator[Figure]:
    for name, hours in (("last hour", 1), ("last day", 24)):
        rows = None
        if known is not None:
            rows = known.filter(pc.greater_equal(known["committed_at"], pa.scalar(at - timedelta(hours=hours))))
        for what, column, unit in (("rows", "messages", "rows"), ("JSON", "raw_bytes", "bytes")):
            yield Figure(f"{what}, {name}", None if rows is None else _sum(rows, column), unit, _BATCHES)
    yield Figure("rows, all", sum(ledger.rows.values()), "rows", _RECORDS)
    yield Figure("JSON, all", ledger.intake.raw_bytes, "bytes", _RECORDS)
    for table in SCHEMAS:
        files = [f for f in ledger.files.values() if f.path.startswith(f"{table}/")]
        size = {"rows": sum(f.rows for f in files), "bytes": sum(f.bytes for f in files), "files": len(files)}
        yield Figure(f"in table {table}", size, "", _RECORDS)
    parquet = sum(f.bytes for f in ledger.files.values())
    yield Figure("Parquet, all", parquet, "bytes", _RECORDS)
    # Where retention has removed files, what is left does not compare with all that ever came.
    comparable = bool(ledger.intake.raw_bytes) and not ledger.removed
    smaller = 100 * (1 - parquet / ledger.intake.raw_bytes) if comparable else None
    yield Figure("Parquet smaller than JSON by", smaller, "%", _RECORDS)


def _velocity(lake: Lake, ledger: Ledger) -> Iterator[Figure]:
    """Measure the last hour of ingest: that before the last commit."""
    rows = None
    if ledger.committed_at and lake.table(BATCHES).exists():
        end = datetime.fromisoformat(ledger.committed_at)
        rows = batches.read(lake, end - timedelta(hours=1))
        rows = rows if len(rows) else None
    source = f"{_BATCHES}, the hour before the last commit"
    seconds = _covered(rows)
    rate = _sum(rows, "messages") / seconds if rows is not None and seconds else None
    yield Figure("from its first micro-batch to the commit", seconds, "s", source)
    yield Figure("rows a second, mean", rate, "rows/s", source)
    yield Figure("rows a second, busiest minute", _busiest_minute(rows, seconds), "rows/s", source)
    yield Figure("micro-batch", _quantiles(rows, "seconds"), "s", source)
    yield Figure("newest message when readable", _quantiles(rows, "newest_age_seconds"), "s old", source)
    read, committed = _latencies(lake, rows)
    columns = "the lake's columns kafka_timestamp, ingested_at, of the same hour"
    yield Figure("from Kafka's timestamp to its task", read, "s", columns)
    yield Figure("from Kafka's timestamp to the commit", committed, "s", f"{columns}, and {_BATCHES}")


def _covered(rows: pa.Table | None) -> float | None:
    """Return the seconds from the begin of the first micro-batch to the last commit."""
    if rows is None:
        return None
    began, ended = pc.min(_started(rows)).as_py(), pc.max(rows["committed_at"]).as_py()
    return float((ended - began).total_seconds())


def _started(rows: pa.Table) -> pa.ChunkedArray:
    return pc.coalesce(rows["started_at"], rows["committed_at"])


def _busiest_minute(rows: pa.Table | None, seconds: float | None) -> float | None:
    """Return the rows a second of the 60 seconds in which most were committed."""
    if rows is None or seconds is None or seconds < 60:
        return None
    at = rows["committed_at"].cast(pa.int64()).to_numpy()
    before = np.concatenate([[0], np.cumsum(rows["messages"].to_numpy())])
    first = np.searchsorted(at, at - int(60 * _MICROSECONDS), side="right")
    return float(np.max(before[1:] - before[first]) / 60)


def _quantiles(rows: pa.Table | None, column: str) -> dict[str, float] | None:
    values = np.empty(0) if rows is None else rows[column].drop_null().to_numpy()
    values = values[values >= 0]  # older rows have ages of messages that were sent in the future
    if len(values) == 0:
        return None
    return {f"p{q}": float(v) for q, v in zip((50, 95, 99), np.percentile(values, (50, 95, 99)), strict=True)}


def _latencies(lake: Lake, rows: pa.Table | None) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Return percentiles of the age of messages when their task began, and when they were committed.

    A message is of the micro-batch in whose time it was ingested; where that has no row, or none yet, it is left out,
    and so is one whose timestamp is ahead of its arrival.
    """
    if rows is None:
        return None, None
    committed = rows["committed_at"].cast(pa.int64()).to_numpy()
    started = _started(rows).cast(pa.int64()).to_numpy()
    counts = [np.zeros(len(_EDGES) + 1, np.int64) for _ in range(2)]
    for sent, ingested in _times(lake, rows):
        batch = np.minimum(np.searchsorted(committed, ingested), len(committed) - 1)
        inside = (started[batch] <= ingested) & (ingested <= committed[batch]) & (sent <= ingested)
        counts[0] += _counted((ingested - sent)[inside])
        counts[1] += _counted((committed[batch] - sent)[inside])
    return _percentiles(counts[0]), _percentiles(counts[1])


def _times(lake: Lake, rows: pa.Table) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield Kafka's timestamps and the times of ingest, in microseconds, of what came in the time of ``rows``."""
    first = pc.min(_started(rows)).as_py()
    with names_kept(lake):
        found = [f for table in SCHEMAS for f in lake.files(table)]
        files = [str(f) for f in found if f.parent.name >= f"date={first.date().isoformat()}"]
        if not files:
            return
        columns = ["kafka_timestamp", "ingested_at"]
        recent = (pc.field("ingested_at") >= first) & pc.field("kafka_timestamp").is_valid()
        data = ds.dataset(files, schema=LINEAGE, format="parquet")
        for block in data.to_batches(columns=columns, filter=recent, batch_size=_BLOCK_ROWS, batch_readahead=2):
            sent, ingested = (block.column(name).cast(pa.int64()).to_numpy() for name in columns)
            yield sent, ingested


def _counted(microseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    classes = np.searchsorted(_EDGES, microseconds / _MICROSECONDS)
    return np.bincount(classes, minlength=len(_EDGES) + 1)


def _percentiles(counts: NDArray[np.int64]) -> dict[str, float] | None:
    if counts.sum() == 0:
        return None
    reached = np.cumsum(counts) / counts.sum()
    edges = np.append(_EDGES, _EDGES[-1])
    return {f"p{q}": float(edges[np.searchsorted(reached, q / 100)]) for q in (50, 95, 99)}


def _variety(lake: Lake, ledger: Ledger) -> Iterator[Figure]:
    rows = {table: sum(f.rows for f in ledger.files.values() if f.path.startswith(f"{table}/")) for table in SCHEMAS}
    yield Figure("rows by type", {t: n for t, n in rows.items() if t != QUARANTINE}, "", _RECORDS)
    verbs = _verbs(lake)
    yield Figure("interactions by verb", verbs or None, "", "the lake's column evento")
    for event_type in EVENT_TYPES:
        table = TABLES[event_type]
        with names_kept(lake):
            n, by_column = filled(lake.files(table))
        optional = [f.name for f in fields_of(event_type) if event_type not in f.required]
        share = {name: round(100 * by_column[name] / n, 1) for name in optional if name in by_column} if n else None
        yield Figure(f"optional fields filled, {table}", share, "%", "footers of the lake's files")
    yield Figure("fields that the contract does not know", ledger.intake.unknown_fields, "", _RECORDS)


def _verbs(lake: Lake) -> dict[str, int]:
    counted: Counter[str] = Counter()
    with names_kept(lake):
        files = [str(f) for f in lake.files(TABLES["interaction"])]
        if files:
            data = ds.dataset(files, schema=SCHEMAS[TABLES["interaction"]], format="parquet")
            for block in data.to_batches(columns=["evento"], batch_size=_BLOCK_ROWS, batch_readahead=2):
                for entry in pc.value_counts(block.column("evento")).to_pylist():
                    counted[entry["values"]] += entry["counts"]
    return dict(counted.most_common())


def _veracity(lake: Lake, ledger: Ledger) -> Iterator[Figure]:
    arrived, rejected = sum(ledger.rows.values()), ledger.rows.get(QUARANTINE, 0)
    yield Figure("accepted", arrived - rejected, "messages", _RECORDS)
    yield Figure("quarantined", rejected, "messages", _RECORDS)
    yield Figure("quarantined of all", 100 * rejected / arrived if arrived else None, "%", _RECORDS)
    with names_kept(lake):
        why = reasons(lake)
    yield Figure("why", why if why or arrived else None, "", "the quarantine's column reason")
    yield from _undescribed(lake)
    absent = sum(max(0, n) for partitions in ledger.absent().values() for n in partitions.values())
    yield Figure("offsets of Kafka that held no message", absent if arrived else None, "", _RECORDS)


def _undescribed(lake: Lake) -> Iterator[Figure]:
    """Count interactions of titles and by users that no event describes, by a join that may leave memory."""
    columns: dict[str, tuple[EventType, ...]] = {"id_contenido": TITLE_TYPES, "id_usuario": ("user",)}
    counts: list[int | None] = [None] * len(columns)
    with names_kept(lake):
        files = {table: [str(f) for f in lake.files(table)] for table in TABLES.values()}
        if files[TABLES["interaction"]]:
            with duckdb.connect(config={"memory_limit": f"{_JOIN_MEGABYTES}MB", "threads": 2}) as connection:
                counts = [
                    _not_among(
                        connection, files[TABLES["interaction"]], column, [f for t in types for f in files[TABLES[t]]]
                    )
                    for column, types in columns.items()
                ]
    source = "the lake's columns id, id_contenido, id_usuario"
    yield Figure("interactions of titles that no event describes", counts[0], "", source)
    yield Figure("interactions by users that no event describes", counts[1], "", source)


def _not_among(
    connection: duckdb.DuckDBPyConnection, interactions: list[str], column: str, described: list[str]
) -> int:
    """Return how many interactions have an id in ``column`` that is in none of the ``described`` files."""
    query = f"SELECT count(*) FROM read_parquet($interactions) WHERE {column} IS NOT NULL"  # noqa: S608 (our own name)
    if not described:
        row = connection.execute(query, {"interactions": interactions}).fetchone()
    else:
        query = f"""SELECT count(*) FROM read_parquet($interactions) i ANTI JOIN read_parquet($described) d
            ON i.{column} = d.id"""  # noqa: S608
        row = connection.execute(query, {"interactions": interactions, "described": described}).fetchone()
    return int(row[0]) if row else 0


def _value(store: ModelStore) -> Iterator[Figure]:
    version = store.current()
    evaluation = store.facts(version).get("evaluation", {}) if version else {}
    source = f"model.json of {version}: held-out {'simulated ' if evaluation.get('simulated') else ''}ratings"
    source = source if version else "no model yet"
    ranking, accuracy = evaluation.get("ranking", {}), evaluation.get("accuracy", {})
    for metric, name in (("ndcg", "nDCG@10"), ("recall", "recall@10")):
        own, popular = (ranking.get(who, {}).get(metric) for who in ("als", "popularity"))
        yield Figure(f"{name} beside popularity's", own / popular if own and popular else None, "times", source)
    own, bias = (accuracy.get(who, {}).get("rmse") for who in ("als", "bias"))
    yield Figure("RMSE below that of biases by", 100 * (1 - own / bias) if own and bias else None, "%", source)
    yield Figure("catalogue in anybody's list", _percent(ranking.get("als", {}).get("coverage")), "%", source)
    yield Figure("users with something to find", evaluation.get("n_users_ranked"), "users", source)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _sum(rows: pa.Table, column: str) -> int:
    return int(pc.sum(rows[column]).as_py() or 0)


def as_dict(figures: Figures) -> dict[str, Any]:
    """Return the figures as plain data, for JSON: by V and name; null is unknown."""
    return {
        v: {f.name: {"value": f.value, "unit": f.unit, "measured_from": f.source} for f in found}
        for v, found in figures.items()
    }


def show(console: Console, figures: Figures) -> None:
    """Print the figures, for a person."""
    for v, found in figures.items():
        table = Table(title=f"[bold]{v.capitalize()}[/]", title_justify="left", title_style="", box=box.SIMPLE_HEAD)
        for name, style in (("figure", None), ("value", "bold"), ("measured from", "dim")):
            table.add_column(name, style=style, overflow="fold", ratio=2 if name == "value" else None)
        for figure in found:
            table.add_row(escape(figure.name), escape(str(figure)), escape(figure.source))
        console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items()) or "nothing"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
