"""What the lake holds by its records: what every micro-batch brought, and what became of its files since.

    _ingest/commits/<batch>.json    a micro-batch: its files, and where it ends in Kafka (`nextreel.lake.commit`)
    _ingest/changes/<id>.json       files that were merged into others, or removed (`nextreel.lake.compact`)
    _ingest/changes/<id>.intent     a change that was about to happen when its process ended
    _ingest/ledger.json             older records, added up

Records are added up from time to time, so that there are never more than some thousand of them; the newest two
micro-batches keep theirs, which the ingest asks for.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nextreel.durable import write_json
from nextreel.errors import LakeError
from nextreel.events.contract import TABLES
from nextreel.lake.layout import Lake

#: By topic and partition (as text, since it is JSON): an offset, or a number of messages.
Offsets = dict[str, dict[str, int]]

_KEPT = 2


@dataclass(frozen=True)
class LakeFile:
    """A file of the lake: its path within it, rows and bytes."""

    path: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Change:
    """Files of one table and day that were merged into others; removed where ``files`` is empty."""

    id: str
    table: str
    date: str
    sources: tuple[str, ...]
    files: tuple[LakeFile, ...] = ()

    @property
    def folder(self) -> str:
        """The day's directory within the lake."""
        return f"{self.table}/date={self.date}"


@dataclass
class Intake:
    """What the tasks of a micro-batch have read: ``begins`` is the first offset and ``messages`` their number, by topic
    and partition; ``raw_bytes`` those of the messages' values."""

    begins: Offsets = field(default_factory=dict)
    messages: Offsets = field(default_factory=dict)
    raw_bytes: int = 0
    unknown_fields: int = 0

    def add(self, other: "Intake") -> None:
        """Take in what another task has read."""
        for topic, partitions in other.messages.items():
            begins, counts = self.begins.setdefault(topic, {}), self.messages.setdefault(topic, {})
            for partition, n in partitions.items():
                first = other.begins[topic][partition]
                begins[partition] = min(first, begins.get(partition, first))
                counts[partition] = counts.get(partition, 0) + n
        self.raw_bytes += other.raw_bytes
        self.unknown_fields += other.unknown_fields


@dataclass
class Ledger:
    """All records, added up: ``rows`` is what micro-batches brought, by table, ``removed`` what retention took since.

    From ``intake.begins`` to ``offsets`` Kafka was read.
    """

    batch: int = -1
    committed_at: str = ""
    files: dict[str, LakeFile] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    intake: Intake = field(default_factory=Intake)
    offsets: Offsets = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)

    def absent(self) -> Offsets:
        """Return how many offsets held no message: compacted away, deleted before they were read, or markers."""
        found: Offsets = {}
        for topic, ends in self.offsets.items():
            for partition, end in ends.items():
                begin = self.intake.begins.get(topic, {}).get(partition, end)
                n = end - begin - self.intake.messages.get(topic, {}).get(partition, 0)
                if n:
                    found.setdefault(topic, {})[partition] = n
        return found

    def add_commit(self, record: Mapping[str, Any]) -> None:
        """Take a micro-batch in."""
        self.batch, self.committed_at = record["batch"], record["committed_at"]
        for f in record["files"]:
            self.files[f["path"]] = LakeFile(f["path"], f["rows"], f["bytes"])
            self.rows[f["table"]] = self.rows.get(f["table"], 0) + f["rows"]
        self.intake.add(Intake(**{name: record[name] for name in _INTAKE}))
        for topic, ends in record["offsets"].items():  # a partition that Kafka has no more keeps its end
            self.offsets.setdefault(topic, {}).update(ends)

    def add_change(self, change: Change) -> None:
        """Take a change in."""
        gone = [self.files.pop(path) for path in change.sources if path in self.files]
        self.files |= {f.path: f for f in change.files}
        if not change.files:
            self.removed[change.table] = self.removed.get(change.table, 0) + sum(f.rows for f in gone)


def read_ledger(lake: Lake) -> Ledger:
    """Return what the lake holds by its records, now."""
    while True:
        before = _written(lake).batch
        ledger, _, _ = _added_up(lake, kept=0)
        if _written(lake).batch == before:  # else the keeper has added up records while they were read here
            return ledger


def readable_offsets(lake: Lake) -> Offsets | None:
    """Return the offsets below which readers see every committed row, by topic and partition.

    The newest micro-batch counts once all its files are in their tables. Call it while the names are kept, before files
    are listed: rows at and above these offsets may be listed too, and belong to later micro-batches.

    Returns None for a lake whose files are in no record that names offsets, as in a copy without ``_ingest``: nothing
    says where it ends.
    """
    has_files = any(map(lake.files, TABLES.values()))  # before the records: a file of ingest has one first
    while True:
        written = _written(lake).batch
        offsets = _readable(lake)
        if _written(lake).batch == written:  # else the keeper has added up records while they were read here
            return None if has_files and not offsets else offsets


def _readable(lake: Lake) -> Offsets:
    """Return the ends of all micro-batches whose files are in their tables; only those of the newest may not be."""
    ledger = _written(lake)
    paths = sorted(path for path in lake.commits.glob("*.json") if int(path.stem) > ledger.batch)
    for path in paths:
        record = read_record(path)
        if record is not None and (path != paths[-1] or _is_moved(lake, record)):
            ledger.add_commit(record)
    return ledger.offsets


def _is_moved(lake: Lake, record: Mapping[str, Any]) -> bool:
    absent = {f["path"] for f in record["files"] if not (lake.root / f["path"]).exists()}
    return not absent or absent <= gone(lake)


def fold(lake: Lake) -> None:
    """Add up all but the newest records, and delete them. Only the keeper may."""
    for change_id in _written(lake).applied:  # left over where the last time was interrupted
        change_path(lake, change_id).unlink(missing_ok=True)
    ledger, commits, added = _added_up(lake, _KEPT)
    if not commits and not added:
        return
    ledger.applied = [change.id for change in added]
    write_json(lake.ledger, asdict(ledger))
    for path in lake.commits.glob("*.json"):
        if int(path.stem) <= ledger.batch:
            path.unlink()
    for change in added:
        change_path(lake, change.id).unlink()


def _added_up(lake: Lake, kept: int) -> tuple[Ledger, list[int], list[Change]]:
    """Return the ledger over all but the newest ``kept`` micro-batches, and the records that were added to it.

    A change is added where its files are known: one of what newer micro-batches brought waits with them.
    """
    ledger = _written(lake)
    records = sorted(int(path.stem) for path in lake.commits.glob("*.json"))
    commits = [batch for batch in records[: len(records) - kept] if batch > ledger.batch]
    waiting = [c for c in changes(lake) if c.id not in ledger.applied]
    for batch in commits:
        record = read_record(record_path(lake, batch))
        if record is not None:
            ledger.add_commit(record)
    added: list[Change] = []
    while ready := [c for c in waiting if ledger.files.keys() >= set(c.sources)]:
        for change in ready:
            ledger.add_change(change)
            waiting.remove(change)
        added += ready
    return ledger, commits, added


def _written(lake: Lake) -> Ledger:
    try:
        found = json.loads(lake.ledger.read_text("utf-8"))
    except FileNotFoundError:
        return Ledger()
    except ValueError as error:
        raise LakeError(f"{lake.ledger} cannot be read: {error}") from None
    found["files"] = {path: LakeFile(**f) for path, f in found["files"].items()}
    found["intake"] = Intake(**found["intake"])
    return Ledger(**found)


def changes(lake: Lake) -> list[Change]:
    """Return the changes that have happened, by their records, those of a process that was killed included."""
    happened = {c.id: c for c in intents(lake) if has_happened(lake, c)}  # first: an intent becomes a change, not back
    return list((happened | {c.id: c for c in _changes(lake, ".json")}).values())


def intents(lake: Lake) -> list[Change]:
    """Return the changes of which nobody has written down whether they happened."""
    return _changes(lake, ".intent")


def _changes(lake: Lake, suffix: str) -> list[Change]:
    found = []
    for path in sorted(lake.changes.glob(f"*{suffix}")):
        try:
            content = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise LakeError(f"the record {path} cannot be read: {error}") from None
        content["files"] = tuple(LakeFile(**f) for f in content["files"])
        found.append(Change(**content | {"sources": tuple(content["sources"])}))
    return found


def has_happened(lake: Lake, change: Change) -> bool:
    """Tell whether a change that was about to happen did: its folder then holds its files, or has gone."""
    if change.files:
        return (lake.root / change.files[0].path).exists()
    return not (lake.root / change.folder).exists()


def change_path(lake: Lake, change_id: str, suffix: str = ".json") -> Path:
    """Return where a change's record lies."""
    return lake.changes / f"{change_id}{suffix}"


def gone(lake: Lake) -> set[str]:
    """Return the paths of files that were merged or removed since the records were last added up."""
    return {path for change in changes(lake) for path in change.sources}


def record_path(lake: Lake, batch_id: int) -> Path:
    """Return where a micro-batch's commit record lies."""
    return lake.commits / f"{batch_id:012d}.json"


_INTAKE = {f.name for f in fields(Intake)}
_NEEDED = {"batch", "query", "offsets", "files", "committed_at"} | _INTAKE


def read_record(path: Path) -> dict[str, Any] | None:
    """Return a micro-batch's commit record, None where there is none. Raises `LakeError` where it is no such record."""
    try:
        record: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LakeError(f"the commit record {path} cannot be read: {error}") from None
    if not isinstance(record, dict) or not record.keys() >= _NEEDED:
        raise LakeError(f"the commit record {path} is none: it needs {', '.join(sorted(_NEEDED))}")
    return record


def rows_of(files: Iterable[LakeFile]) -> int:
    """Return the rows of files together."""
    return sum(f.rows for f in files)
