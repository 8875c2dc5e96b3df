"""One row as an event of the contract, by a complete mapping; what cannot be one is refused with a reason."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from nextreel.errors import InputError
from nextreel.events.arrival import MAX_CLOCK_SKEW_SECONDS, latest_event_time
from nextreel.events.contract import (
    RATING_MAX,
    RATING_MIN,
    TITLE_TYPES,
    YEAR_MAX,
    YEAR_MIN,
    EventType,
    Reason,
    Verb,
    fields_of,
    value_fault,
)
from nextreel.files.lists import BRACKETS, in_brackets
from nextreel.files.mapping import TYPES, Kind, Mapping
from nextreel.files.moments import MomentReader
from nextreel.files.numbers import number_of, onto, rating_on
from nextreel.files.outcome import LeftOut, Occurrences, Read, digest_of
from nextreel.files.source import Cell, Row, surrogate_of

_YEAR = re.compile(r"(?<!\d)((?:18|19|20)\d)\d(?!\d)")
_FIELDS = {event_type: fields_of(event_type) for kinds in TYPES.values() for event_type in kinds}
#: What an interaction's id is made of where it has none: the same for ever, or files sent again would count twice.
_SAID = ("id_usuario", "id_contenido", "evento", "calificacion", "porcentaje_visto", "dispositivo")


class RefusedError(Exception):
    """A row is no event: the reason (as quarantine has it) and what it is about."""

    def __init__(self, reason: str, detail: str):
        self.reason, self.detail = str(reason), detail


class Converter:
    """Makes events of a file's rows, in the file's order.

    Raises `InputError` for a constant timestamp that no event may have.

    ``moment`` is that of sending: titles and users without a time get it. ``n_rows`` is needed where rows are in the
    order of events and have no times.
    """

    def __init__(
        self,
        kind: Kind,
        mapping: Mapping,
        moment: datetime,
        n_rows: int = 0,
        max_skew_seconds: float = MAX_CLOCK_SKEW_SECONDS,
    ):
        self._max_skew_seconds = max_skew_seconds
        self._kind, self._mapping, self._moment, self._n_rows = kind, mapping, moment, n_rows
        self._moments = MomentReader(mapping.timestamp or "iso", mapping.zone, mapping.zones)
        self._types = {_plain(text): name for name in TITLE_TYPES for text in getattr(mapping.type, name)}
        self._constant = self._constant_time()
        self._occurrences = Occurrences()
        self._given = mapping.columns.keys() | mapping.constants.keys()

    def event(self, row: Row, read: Read) -> tuple[EventType, dict[str, Any]]:
        """Return a row's type and event, and count in ``read`` cells that no rule reads. Raises `RefusedError`."""
        if row.fault:
            raise RefusedError("unreadable row", row.fault)
        self._refuse_surrogates(row)
        event_type = self._type(row)
        event: dict[str, Any] = {"type": event_type}
        for each in _FIELDS[event_type]:
            if each.name in ("type", "timestamp") or each.name not in self._given:
                continue
            if row.inexact and each.kind != "number" and self._mapping.columns.get(each.name) in row.inexact:
                raise RefusedError(
                    Reason.WRONG_TYPE, f"{each.name}: expected a string; a number this large cannot be read exactly"
                )
            if each.kind == "strings":
                event[each.name] = self._several(each.name, row)
            elif (text := self._one(each.name, row, read)) is not None:
                event[each.name] = self._number(each.name, text) if each.kind == "number" else text
            value = event.get(each.name)
            if isinstance(value, str | list) and (fault := value_fault(each, value)):
                raise RefusedError(*fault)
            if isinstance(value, list):  # a list in brackets may escape what the cell does not show
                _refuse_surrogate(each.name, value)
        event["timestamp"], said = self._time(row)
        if event_type == "interaction":
            self._complete(event, said, read)
        elif not event.get("id"):
            raise RefusedError(Reason.MISSING_FIELD, "id is blank")
        return event_type, event

    def text_of(self, name: str, row: Row) -> str:
        """Return a field's text after patterns and exchanges; "" where it is blank."""
        text = self._cell_text(name, row)
        if self._mapping.is_blank(name, text):
            return ""
        return self._exchanged(name, self._taken(name, text))

    def _refuse_surrogates(self, row: Row) -> None:
        for column in self._mapping.columns.values():
            cell = row.cells.get(column)
            if cell:
                _refuse_surrogate(column, [cell] if isinstance(cell, str) else cell)

    def _type(self, row: Row) -> EventType:
        if self._kind != "catalogue":
            return TYPES[self._kind][0]
        if self._mapping.type.always:
            return self._mapping.type.always
        if "type" not in self._given:
            raise RefusedError(Reason.MISSING_FIELD, "no column says whether it is a movie: set type.always")
        text = self._exchanged("type", self._taken("type", self._cell_text("type", row)))
        event_type: EventType | None = self._types.get(_plain(text))
        if event_type is None:
            raise RefusedError(Reason.UNKNOWN_TYPE, f"{text!r} is neither of type.movie nor of type.series")
        return event_type

    def _cell(self, name: str, row: Row) -> Cell:
        column = self._mapping.columns.get(name)
        return row.cells.get(column) if column is not None else None

    def _cell_text(self, name: str, row: Row) -> str:
        """Return a cell's text, stripped; where it is blank, the field's constant."""
        cell = self._cell(name, row)
        text = (", ".join(cell) if isinstance(cell, list) else cell or "").strip()
        if name in self._mapping.constants and self._mapping.is_blank(name, text):
            return self._mapping.constants[name]
        return text

    def _one(self, name: str, row: Row, read: Read) -> str | None:
        """Return a field's text, None where it is blank, or where the field's pattern does not match it."""
        given = self._cell_text(name, row)
        if self._mapping.is_blank(name, given):
            return None
        text = self._taken(name, given)
        exchanged = self._exchanged(name, text)
        if name == "decada_lanzamiento":
            year = _YEAR.search(exchanged)
            exchanged = f"{year.group(1)}0s" if year else ""
        if not exchanged and not (text and self._mapping.values.get(name, {}).get(text) == ""):
            read.left_out.setdefault(name, LeftOut()).append(row.number, given)
        return exchanged or None

    def _taken(self, name: str, text: str) -> str:
        """Return what a field's pattern takes of a text, or all of it without a pattern."""
        pattern = self._mapping.patterns.get(name)
        if pattern is None:
            return text
        match = re.search(pattern, text)
        return (match.group(1) or "").strip() if match else ""

    def _exchanged(self, name: str, text: str) -> str:
        return self._mapping.values.get(name, {}).get(text, text)

    def _several(self, name: str, row: Row) -> list[str] | None:
        cell = self._cell(name, row)
        if not isinstance(cell, list):
            cell = self._divided(name, self._cell_text(name, row))
        stripped = (part.strip() for part in cell)
        parts = dict.fromkeys(self._exchanged(name, p) for p in stripped if not self._mapping.is_blank(name, p))
        return [part for part in parts if part] or None

    def _divided(self, name: str, text: str) -> list[str]:
        separator = self._mapping.separators.get(name)
        if separator is None:
            separator = "," if name in self._mapping.patterns else BRACKETS
        if separator.startswith(BRACKETS):
            parts = in_brackets(text)
            if parts is not None:
                return parts
            separator = separator.removeprefix(BRACKETS) or ","
        return self._taken(name, text).split(separator)

    def _number(self, name: str, text: str) -> float:
        mapping = self._mapping
        if name == "calificacion":
            low, high = RATING_MIN, RATING_MAX
            number = rating_on(mapping.scale, text, mapping.file.decimal)
        else:
            low, high = 0.0, 100.0
            number = number_of(text, mapping.file.decimal)
            if mapping.watched_scale is not None and not text.endswith("%"):
                number = onto(number, mapping.watched_scale, low, high)
        if not math.isfinite(number):
            what = "no thumb" if name == "calificacion" and mapping.scale == "thumbs" else "no number"
            raise RefusedError(Reason.WRONG_TYPE, f"{name} is {text!r}, {what}")
        if not low <= number <= high:
            raise RefusedError(
                Reason.OUT_OF_RANGE,
                f"{name} is {text}, which is {number:g}: not from {low:g} to {high:g}; the mapping's "
                f"{'scale' if name == 'calificacion' else 'watched_scale'} says what the file's least and most are",
            )
        return number

    def _time(self, row: Row) -> tuple[datetime, str]:
        """Return an event's time, and what of it becomes part of an id: "" for the moment of sending."""
        text = self._text_of_time(row)
        constant = self._mapping.constants.get("timestamp")
        if not text and constant is not None:
            if constant == "now":
                return self._moment, ""
            if constant == "order":
                return self._moment - timedelta(seconds=max(0, self._n_rows - row.number)), str(row.number)
            return self._constant, self._constant.isoformat()
        if not text:
            if self._kind == "interactions":
                raise RefusedError(Reason.MISSING_FIELD, "timestamp is blank")
            return self._moment, ""
        try:
            moment = self._moments.read(text)
        except (ValueError, OverflowError, OSError) as error:
            why = f": {error}" if "[zones]" in str(error) else ""
            raise RefusedError(Reason.BAD_TIMESTAMP, f"{text!r} is not {self._mapping.timestamp}{why}") from None
        if not self._is_in_bounds(moment):
            raise RefusedError(Reason.BAD_TIMESTAMP, f"{text!r} lies too far from now")
        return moment, moment.isoformat()

    def _constant_time(self) -> datetime:
        """Return the event time that the mapping gives for all rows; the moment of sending without one."""
        given = self._mapping.constants.get("timestamp", "now")
        if given in ("now", "order"):
            return self._moment
        try:
            moment = MomentReader("iso", self._mapping.zone).read(given)
        except (ValueError, OverflowError):
            moment = None
        if moment is None or not self._is_in_bounds(moment):
            raise InputError(
                f"constants.timestamp is {given!r}; event times must lie between {YEAR_MIN} and {YEAR_MAX}, and at "
                f"most {self._max_skew_seconds:g} seconds ahead of this clock: change it in the mapping"
            )
        return moment

    def _is_in_bounds(self, moment: datetime) -> bool:
        latest = latest_event_time(datetime.now(UTC), self._max_skew_seconds)
        return YEAR_MIN <= moment.year < YEAR_MAX and moment <= latest

    def _text_of_time(self, row: Row) -> str:
        cell = self._cell("timestamp", row)
        text = (", ".join(cell) if isinstance(cell, list) else cell or "").strip()
        text = self._exchanged("timestamp", self._taken("timestamp", text))
        return "" if self._mapping.is_blank("timestamp", text) else text

    def _complete(self, event: dict[str, Any], moment: str, read: Read) -> None:
        """Give an interaction what follows from the rest: the event type, and an id that is the same every time."""
        for name in ("id_usuario", "id_contenido"):
            if not event.get(name):
                raise RefusedError(Reason.MISSING_FIELD, f"{name} is blank")
        rated = event.get("calificacion") is not None
        verb = event.setdefault("evento", (Verb.RATE if rated else Verb.PLAY).value)
        if verb not in tuple(Verb):
            raise RefusedError(
                Reason.OUT_OF_RANGE, f"evento is {verb!r}: one of {', '.join(Verb)}; values.evento exchanges"
            )
        if verb == Verb.RATE and not rated:
            raise RefusedError(Reason.MISSING_FIELD, "calificacion is blank, and evento is rate")
        if not event.get("id"):
            said = [moment, *(str(event.get(name)) for name in _SAID)]
            digest = digest_of(said)
            if (occurrence := self._occurrences.add(digest)) > 1:  # each row counts
                read.repeated += 1
                digest = digest_of([*said, str(occurrence)])
            event["id"] = digest.hex()[:24]


def _refuse_surrogate(name: str, texts: Sequence[str]) -> None:
    for text in texts:
        if surrogate := surrogate_of(text):
            raise RefusedError(
                "unreadable row", f"{name!r} holds the lone surrogate {surrogate}, which UTF-8 cannot encode"
            )


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).casefold()
