"""Rows of somebody's own file as events of the contract, by a mapping; what cannot be one says why."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from nextreel.errors import InputError
from nextreel.events.arrival import MAX_CLOCK_SKEW_SECONDS, latest_event_time
from nextreel.events.cells import Cell, Row, columns_of, nested, rows_of
from nextreel.events.contract import (
    RATING_MAX,
    RATING_MIN,
    TITLE_TYPES,
    YEAR_MAX,
    YEAR_MIN,
    EventType,
    Reason,
    Verb,
    event_schema,
    fields_of,
)
from nextreel.events.mapping import TYPES, Kind, Mapping

_BLOCK = 2_000
#: Where so many rows are refused and none is an event, the mapping is wrong: each is held, and there may be millions.
_HOPELESS = 100_000
_YEAR = re.compile(r"(?<!\d)((?:18|19|20)\d)\d(?!\d)")
_FIELDS = {event_type: fields_of(event_type) for kinds in TYPES.values() for event_type in kinds}
#: What an interaction's id is made of where it has none: the same for ever, or files sent again would count twice.
_SAID = ("id_usuario", "id_contenido", "evento", "calificacion", "porcentaje_visto", "dispositivo")


@dataclass(frozen=True)
class Refused:
    """A row that is no event: its number, the reason (as quarantine has it) and what it is about."""

    row: int
    reason: str
    detail: str


@dataclass
class Read:
    """What has been read of a file: rows, events by type, values by field, cells that no rule could read."""

    rows: int = 0
    events: Counter[EventType] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)


class Table:
    """A file and its mapping. Raises `InputError` where the mapping names a column that the file does not have.

    ``moment`` is the event time of titles and users whose file has none.
    """

    def __init__(self, path: Path, kind: Kind, mapping: Mapping, moment: datetime | None = None):
        self.path, self.kind, self.mapping = path, kind, mapping
        self.columns = columns_of(path, mapping.file)
        for name, column in mapping.columns.items():
            if column not in self.columns:
                there = ", ".join(map(repr, self.columns))
                one = (
                    ""
                    if len(self.columns) > 1
                    else f". Is {mapping.file.delimiter!r} between its cells? [file] delimiter"
                )
                raise InputError(f"{path} has no column {column!r}, which is to be {name}; there are {there}{one}")
        fields = {field.name for event_type in TYPES[kind] for field in fields_of(event_type)}
        if other := next((name for name in mapping.columns if name not in fields), None):
            raise InputError(f"columns.{other}: {kind} have no such field; there are {', '.join(sorted(fields))}")
        if cells := nested(path, mapping.columns.values()):
            raise InputError(
                f"{path}: the column {cells}, has cells within cells; make texts, or lists of texts, of them"
            )
        self._moment = moment or datetime.now(UTC).replace(microsecond=0)
        self._blank = {"", *(text.casefold() for text in mapping.blank)}
        self._types = {t.casefold(): n for n in TITLE_TYPES for t in getattr(mapping.type, n)}

    @property
    def unused(self) -> list[str]:
        """Columns that become no field."""
        return [column for column in self.columns if column not in self.mapping.columns.values()]

    def events(self, read: Read) -> Iterator[tuple[EventType, pa.RecordBatch]]:
        """Yield events in the file's order, as batches of one type each; count in ``read`` what becomes of rows.

        Raises `InputError` where the file cannot be read, or none of very many rows is an event.
        """
        waiting: dict[EventType, list[dict[str, Any]]] = {event_type: [] for event_type in TYPES[self.kind]}
        seen: dict[str, int] = {}
        for row in rows_of(self.path, self.mapping.file):
            read.rows += 1
            try:
                event_type, event = self._event(row, read)
                if self.kind != "interactions":
                    first = seen.setdefault(event["id"], row.number)
                    if first != row.number:
                        raise _RefusedError("duplicate id", f"{event['id']!r} is row {first:,} as well")
            except _RefusedError as refusal:
                read.refused.append(Refused(row.number, refusal.reason, refusal.detail))
                if read.rows == _HOPELESS and not read.events:
                    raise InputError(
                        f"{self.path}: none of the first {_HOPELESS:,} rows is an event; "
                        f"the last one's {refusal.reason}: {refusal.detail}"
                    ) from None
                continue
            read.events[event_type] += 1
            read.filled.update(name for name, value in event.items() if value is not None)
            block = waiting[event_type]
            block.append(event)
            if len(block) == _BLOCK:
                yield event_type, _batch(event_type, block)
                waiting[event_type] = []
        for event_type, block in waiting.items():
            if block:
                yield event_type, _batch(event_type, block)

    def _event(self, row: Row, read: Read) -> tuple[EventType, dict[str, Any]]:
        if row.fault:
            raise _RefusedError("unreadable row", row.fault)
        event_type = self._type(row)
        event: dict[str, Any] = {"type": event_type}
        for each in _FIELDS[event_type]:
            if each.name in ("type", "timestamp") or each.name not in self.mapping.columns:
                continue
            found = self._found(row, each.name)
            if each.kind == "strings":
                event[each.name] = self._several(each.name, found)
            elif (text := self._one(row.number, each.name, found, read)) is not None:
                event[each.name] = self._number(each.name, text) if each.kind == "number" else text
        event["timestamp"] = self._time(row)
        if event_type == "interaction":
            self._complete(event)
        elif not event.get("id"):
            raise _RefusedError(Reason.MISSING_FIELD, "id is blank")
        return event_type, event

    def _type(self, row: Row) -> EventType:
        if self.kind != "catalogue":
            return TYPES[self.kind][0]
        if self.mapping.type.always:
            return self.mapping.type.always
        if "type" not in self.mapping.columns:
            raise _RefusedError(Reason.MISSING_FIELD, "no column says whether it is a movie: set type.always")
        cell = self._exchanged("type", self._taken("type", self._text(self._found(row, "type"))))
        found: EventType | None = self._types.get(cell.casefold())
        if found is None:
            raise _RefusedError(Reason.UNKNOWN_TYPE, f"{cell!r} is neither of type.movie nor of type.series")
        return found

    def _found(self, row: Row, name: str) -> Cell:
        return row.cells[self.mapping.columns[name]]

    def _text(self, cell: Cell) -> str:
        return (", ".join(cell) if isinstance(cell, list) else cell or "").strip()

    def _is_blank(self, text: str) -> bool:
        return text.casefold() in self._blank

    def _one(self, number: int, name: str, cell: Cell, read: Read) -> str | None:
        """Return a cell's text, None where it is blank, or where the field's pattern does not find anything in it."""
        text = self._text(cell)
        if self._is_blank(text):
            return None
        given = text
        text = self._exchanged(name, self._taken(name, text))
        if name == "decada_lanzamiento":
            year = _YEAR.search(text)
            text = f"{year.group(1)}0s" if year else ""
        if not text:
            read.left_out.setdefault(name, []).append((number, given))
        return text or None

    def _taken(self, name: str, text: str) -> str:
        """Return what a field's pattern takes of a text: all of it where there is none."""
        pattern = self.mapping.patterns.get(name)
        if pattern is None:
            return text
        match = re.search(pattern, text)
        return (match.group(1) or "").strip() if match else ""

    def _exchanged(self, name: str, text: str) -> str:
        return self.mapping.values.get(name, {}).get(text, text)

    def _several(self, name: str, cell: Cell) -> list[str] | None:
        if not isinstance(cell, list):
            cell = self._taken(name, cell or "").split(self.mapping.separators.get(name, ","))
        stripped = (part.strip() for part in cell)
        found = dict.fromkeys(self._exchanged(name, part) for part in stripped if not self._is_blank(part))
        return [part for part in found if part] or None

    def _number(self, name: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise _RefusedError(Reason.WRONG_TYPE, f"{name} is {text!r}, no number")
        low, high = 0.0, 100.0
        if name == "calificacion":
            low, high = RATING_MIN, RATING_MAX
            if self.mapping.scale is not None:
                least, most = self.mapping.scale
                number = low + (number - least) * (high - low) / (most - least)
        if not low <= number <= high:
            raise _RefusedError(
                Reason.OUT_OF_RANGE, f"{name} is {text}, which is {number:g}: not from {low:g} to {high:g}"
            )
        return number

    def _time(self, row: Row) -> datetime:
        column = self.mapping.columns.get("timestamp")
        text = self._text(row.cells[column]) if column else ""
        text = self._exchanged("timestamp", self._taken("timestamp", text))
        if self._is_blank(text):
            if self.kind == "interactions":
                raise _RefusedError(
                    Reason.MISSING_FIELD, "timestamp is blank" if column else "no column is the timestamp"
                )
            return self._moment
        try:
            found = self._moment_of(text)
        except (ValueError, OverflowError, OSError):
            raise _RefusedError(Reason.BAD_TIMESTAMP, f"{text!r} is not {self.mapping.timestamp}") from None
        latest = latest_event_time(datetime.now(UTC), MAX_CLOCK_SKEW_SECONDS)
        if not YEAR_MIN <= found.year < YEAR_MAX or found > latest:
            raise _RefusedError(Reason.BAD_TIMESTAMP, f"{text!r} lies too far from now")
        return found

    def _moment_of(self, text: str) -> datetime:
        form = self.mapping.timestamp
        if form in ("seconds", "milliseconds"):
            return datetime.fromtimestamp(float(text) / (1000 if form == "milliseconds" else 1), UTC)
        found = datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

    def _complete(self, event: dict[str, Any]) -> None:
        """Give an interaction what follows from the rest: what was done, and an id that is the same every time."""
        for name in ("id_usuario", "id_contenido"):
            if not event.get(name):
                raise _RefusedError(Reason.MISSING_FIELD, f"{name} is blank")
        rated = event.get("calificacion") is not None
        verb = event.setdefault("evento", (Verb.RATE if rated else Verb.PLAY).value)
        if verb not in tuple(Verb):
            raise _RefusedError(
                Reason.OUT_OF_RANGE, f"evento is {verb!r}: one of {', '.join(Verb)}; values.evento exchanges"
            )
        if verb == Verb.RATE and not rated:
            raise _RefusedError(Reason.MISSING_FIELD, "calificacion is blank, and evento is rate")
        if not event.get("id"):
            said = [event["timestamp"].isoformat(), *(str(event.get(name)) for name in _SAID)]
            event["id"] = hashlib.sha256("\0".join(said).encode()).hexdigest()[:24]


class _RefusedError(Exception):
    def __init__(self, reason: str, detail: str):
        self.reason, self.detail = str(reason), detail


def _batch(event_type: EventType, events: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(events, event_schema(event_type))
