"""How things stand with ingest, lake, Kafka, model and exports: by records and footers, without Spark."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nextreel.errors import KafkaError
from nextreel.ingest.gaps import loss, made_anew
from nextreel.ingest.progress import lag_behind
from nextreel.kafka.topics import NO_ID, topics_by_type
from nextreel.kafka.watermarks import WatermarkReader, Watermarks
from nextreel.lake import batches
from nextreel.lake.commit import committed_offsets
from nextreel.lake.footers import newest_message
from nextreel.lake.layout import BATCHES, QUARANTINE, Lake
from nextreel.lake.ledger import Ledger, Offsets, read_ledger
from nextreel.lake.locks import writer
from nextreel.lake.stats import TableStats, stats
from nextreel.model.described import Undescribed
from nextreel.model.journal import Decision
from nextreel.model.store import ModelStore
from nextreel.settings import Settings
from nextreel.up import PartStatus, embedded, running

#: How long a Kafka that does not answer is waited for.
_KAFKA_SECONDS = 2.0


@dataclass(frozen=True)
class Share:
    """Messages that were quarantined, of all that arrived."""

    quarantined: int
    messages: int

    def __str__(self) -> str:
        return f"{self.quarantined:,} of {self.messages:,}" + (
            f" ({self.quarantined / self.messages:.2%})" if self.messages else ""
        )


@dataclass(frozen=True)
class ModelStatus:
    """The current model: its version, when it was made, and what model.json says of it."""

    version: str
    created_at: str
    data: dict[str, Any]
    evaluation: dict[str, Any]


@dataclass(frozen=True)
class Status:
    """How things stand at ``at``. What is not known is None, and ``kafka_error`` says why there is no ``lag``.

    ``ingest_process`` holds the writer's lock; ``lag`` by topic in messages; where ingest goes on with a topic that was
    made anew, ``kafka_error`` says so beside it. The share of the last hour is that of the table of micro-batches,
    which may be a minute behind. ``refused`` is the last decision on a model where that was a refusal; ``up`` the
    processes of `nextreel up`, none where it does not run.
    """

    at: datetime
    home: Path
    ingest_process: int | None
    last_batch: int | None
    last_commit_at: datetime | None
    tables: list[TableStats]
    lag: dict[str, int] | None
    kafka_error: str | None
    newest_event_at: datetime | None
    quarantine_all: Share
    quarantine_last_hour: Share | None
    model: ModelStatus | None
    refused: Decision | None
    exports: dict[str, int]
    up: list[PartStatus]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        found = asdict(self) | {"home": str(self.home), "at": self.at.isoformat()}
        for name in ("last_commit_at", "newest_event_at"):
            found[name] = None if found[name] is None else found[name].isoformat()
        return found


def status(settings: Settings, at: datetime | None = None) -> Status:
    """Return how things stand. Kafka that does not answer, and a home that is empty, are no errors.

    If `nextreel up` runs a broker, that is the Kafka which is asked.
    """
    if broker := embedded(settings.home):
        settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": broker})})
    lake = Lake(settings.lake.absolute())
    ledger = read_ledger(lake)
    lag, error = _lag(settings, lake, ledger)
    newest, at = newest_message(lake), at or datetime.now(UTC)
    quarantined = ledger.rows.get(QUARANTINE, 0)
    return Status(
        at=at,
        home=settings.home.absolute(),
        ingest_process=writer(lake),
        last_batch=ledger.batch if ledger.batch >= 0 else None,
        last_commit_at=datetime.fromisoformat(ledger.committed_at) if ledger.committed_at else None,
        tables=stats(lake, settings.upkeep.small_bytes),
        lag=lag,
        kafka_error=error,
        newest_event_at=newest,
        quarantine_all=Share(quarantined, sum(ledger.rows.values())),
        quarantine_last_hour=_last_hour(lake, at),
        model=_model(settings),
        refused=_refused(settings),
        exports=_exports(settings.exports),
        up=running(settings.home),
    )


def _lag(settings: Settings, lake: Lake, ledger: Ledger) -> tuple[dict[str, int] | None, str | None]:
    topics = topics_by_type(settings.kafka).values()
    known = json.loads(lake.topics.read_text("utf-8")) if lake.topics.exists() else {}
    try:
        reader = WatermarkReader(settings.kafka.client_config, _KAFKA_SECONDS)
        marks = reader.read(topics)
    except KafkaError as error:
        return None, str(error)
    reached = committed_offsets(lake)
    others = [
        t for t, i in reader.topic_ids.items() if t in reached and known.get(t) and i not in ("", NO_ID, known[t])
    ]
    anew = next(_made_anew(lake, others, marks, reached), None)
    if anew and settings.ingest.fail_on_data_loss:
        return None, f"ingest stops: {loss(anew)}"
    lag = lag_behind(marks, ledger.offsets, settings.ingest.starting_offsets)
    found = {topic: sum(partitions.values()) for topic, partitions in lag.items()}
    return found, f"{anew}: its messages up to where the lake has come are not read" if anew else None


def _made_anew(lake: Lake, others: list[str], marks: Watermarks, offsets: Offsets) -> Iterator[str]:
    """Yield what says that a topic was made anew: another id than that of the lake's, or an end before the lake's."""
    for topic in others:
        yield made_anew(lake, topic)
    for topic, found in marks.items():
        for partition, reached in offsets.get(topic, {}).items():
            _, end = found.get(int(partition), (0, 0))
            if reached > end:
                yield f"{topic} was made anew (partition {partition} ends at {end:,}, {lake.root} is at {reached:,})"


def _last_hour(lake: Lake, at: datetime) -> Share | None:
    if not lake.table(BATCHES).exists():
        return None
    rows = batches.read(lake, at - timedelta(hours=1))
    return Share(pc.sum(rows[QUARANTINE]).as_py() or 0, pc.sum(rows["messages"]).as_py() or 0)


def _model(settings: Settings) -> ModelStatus | None:
    store = ModelStore(settings.models)
    version = store.current()
    if version is None:
        return None
    facts = store.facts(version)
    return ModelStatus(version, facts.get("created_at", ""), facts.get("data", {}), facts.get("evaluation", {}))


def _refused(settings: Settings) -> Decision | None:
    last = ModelStore(settings.models).decisions()[-1:]
    return last[0] if last and last[0].deed == "refused" else None


def _exports(folder: Path) -> dict[str, int]:
    """Return the bytes of each file or folder of files; what is hidden is being written."""
    shown = [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")]
    return {path.name: sum(f.stat().st_size for f in (path, *path.rglob("*")) if f.is_file()) for path in shown}


def show(console: Console, found: Status) -> None:
    """Print how things stand, for a person."""
    lines = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    lines.add_column(style="bold", no_wrap=True)
    lines.add_column(overflow="fold")
    for name, text in _lines(found):
        lines.add_row(name, escape(text))
    console.print(lines)
    if found.tables:
        console.print(_tables(found.tables))


def _lines(found: Status) -> list[tuple[str, str]]:
    commit = "nothing has arrived yet"
    if found.last_commit_at is not None:
        commit = f"micro-batch {found.last_batch}, {_ago(found.at, found.last_commit_at)}"
    lag = f"unknown: {found.kafka_error}"
    if found.lag is not None:
        lag = f"{sum(found.lag.values()):,} messages (" + ", ".join(f"{t} {n:,}" for t, n in found.lag.items()) + ")"
        lag += f"; {found.kafka_error}" if found.kafka_error else ""
    hour = "unknown" if found.quarantine_last_hour is None else str(found.quarantine_last_hour)
    running = "does not run" if found.ingest_process is None else "runs"
    running += f", process {found.ingest_process}" if found.ingest_process else ""  # 0 in another container
    return [
        ("home", str(found.home)),
        *([("up", "; ".join(map(str, found.up)))] if found.up else []),
        ("ingest", running),
        ("last commit", commit),
        ("lag", lag),
        ("newest event", _ago(found.at, found.newest_event_at) if found.newest_event_at else "none yet"),
        ("quarantined", f"{found.quarantine_all} in all; {hour} in the last hour"),
        ("model", _model_text(found)),
        ("exports", ", ".join(f"{n} ({size:,} bytes)" for n, size in found.exports.items()) or "none yet"),
    ]


def _model_text(found: Status) -> str:
    refused = f"{found.refused.version} was refused: {found.refused.why}" if found.refused else ""
    if found.model is None:
        return f"none is current; {refused}" if refused else "none yet; `nextreel train` makes one"
    made = f", {_ago(found.at, datetime.fromisoformat(found.model.created_at))}" if found.model.created_at else ""
    undescribed = Undescribed.recorded(found.model.data)
    judged = [
        _beside(found.model.evaluation.get("ranking", {}), "ndcg", "nDCG@10"),
        _beside(found.model.evaluation.get("accuracy", {}), "rmse", "RMSE"),
    ]
    learned = [] if undescribed is None else undescribed.lines()
    return "; ".join([found.model.version + made, *filter(None, [*judged, *learned, refused])])


def _beside(group: dict[str, Any], metric: str, name: str) -> str:
    """Return a metric of the model beside those of its baselines."""
    values = {who: "unknown" if m.get(metric) is None else f"{m[metric]:.3f}" for who, m in group.items()}
    own = values.pop("als", None)
    others = ", ".join(f"{who} {value}" for who, value in values.items())
    return f"{name} {own}" + (f" ({others})" if others else "") if own else ""


def _tables(found: list[TableStats]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("table", "rows", "bytes", "files", "days"):
        table.add_column(name, justify="left" if name in ("table", "days") else "right")
    for t in found:
        days = t.first_day if t.first_day == t.last_day else f"{t.first_day} to {t.last_day}"
        table.add_row(t.table, f"{t.rows:,}", f"{t.bytes:,}", f"{t.files:,}", days)
    return table


def _ago(at: datetime, then: datetime) -> str:
    seconds = max(0.0, (at - then).total_seconds())  # other machines' clocks may be ahead
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago ({then:%Y-%m-%d %H:%M:%S} UTC)"
    return f"{seconds:.1f} seconds ago"
