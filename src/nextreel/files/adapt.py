"""Rows of a file as events of the contract, by a mapping; what cannot be one says why."""

from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from nextreel.errors import InputError
from nextreel.events.arrival import MAX_CLOCK_SKEW_SECONDS
from nextreel.events.contract import EventType, event_schema, fields_of
from nextreel.files.cells import first_rows, nested, rows_of
from nextreel.files.convert import Converter, RefusedError
from nextreel.files.guess import completed, format_notes, guess_columns, header_advice
from nextreel.files.mapping import TYPES, Kind, Mapping
from nextreel.files.numbers import DecimalMarks, Survey, number_of
from nextreel.files.outcome import Read, Refused
from nextreel.files.source import FileFormat

_BLOCK = 2_000
#: If this many rows are refused and none is an event, the mapping is wrong.
_HOPELESS = 100_000
#: Distinct titles without a description that are kept to be shown.
_UNDESCRIBED_KEPT = 10_000


class Table:
    """A file and its mapping, completed by what the file's first rows suggest; guessed whole where it is None.

    ``moment`` is the event time of titles and users whose file has none. ``notes`` say what was guessed;
    ``has_file_kind`` says whether the mapping gives the file's kind. ``described`` are ids of titles that are known:
    interactions of others are counted. Events that lie more than ``max_skew_seconds`` ahead are refused. Raises
    `InputError` where the mapping names a column that the file does not have, or too little can be guessed.
    """

    def __init__(
        self,
        path: Path,
        kind: Kind,
        mapping: Mapping | None = None,
        moment: datetime | None = None,
        max_skew_seconds: float = MAX_CLOCK_SKEW_SECONDS,
    ):
        self._max_skew_seconds = max_skew_seconds
        self.path, self.kind = path, kind
        said = mapping.file if mapping else FileFormat()
        file, self.columns, rows = first_rows(path, said)
        self.notes = format_notes(said, file)
        self.has_file_kind = said.kind is not None
        if mapping is None:
            mapping, notes = guess_columns(file, self.columns, rows, kind)
            self.notes += notes
        else:
            columns = {
                name: column if column in self.columns else column.strip() for name, column in mapping.columns.items()
            }
            mapping = mapping.model_copy(update={"file": file, "columns": columns})
            self._check_columns(mapping, file)
        if cells := nested(path, file, mapping.columns.values()):
            raise InputError(
                f"{path}: the column {cells}, has cells within cells; make texts, or lists of texts, of them"
            )
        self._decimal_is_guessed = mapping.file.decimal is None
        self.mapping, notes = completed(mapping, rows, kind)
        self.notes += notes
        if kind == "interactions" and not {"timestamp"} & (mapping.columns.keys() | mapping.constants.keys()):
            raise InputError(
                f"{path}: no column is the timestamp; there are {', '.join(map(repr, self.columns))}. Say which in a "
                'mapping, or for a file without times [constants] timestamp = "now" (the moment of sending), "order" '
                '(rows are in the order of events) or a moment, as "2024-01-31"'
            )
        self.described: frozenset[str] | None = None
        self._moment = moment or datetime.now(UTC).replace(microsecond=0)
        self._n_rows: int | None = None
        self._repeated_ids: frozenset[int] = frozenset()

    def _check_columns(self, mapping: Mapping, file: FileFormat) -> None:
        for name, column in mapping.columns.items():
            if column not in self.columns:
                there = ", ".join(map(repr, self.columns))
                one = "" if len(self.columns) > 1 else f". Is {file.delimiter!r} between its cells? [file] delimiter"
                advice = header_advice(self.columns)
                raise InputError(
                    f"{self.path} has no column {column!r}, which is to be {name}; there are {there}{one}"
                    + (f": {advice}" if advice else "")
                )
        fields = {field.name for event_type in TYPES[self.kind] for field in fields_of(event_type)}
        for table, names in (("columns", mapping.columns), ("constants", mapping.constants)):
            if other := next((name for name in names if name not in fields), None):
                raise InputError(
                    f"{table}.{other}: {self.kind} have no such field; there are {', '.join(sorted(fields))}"
                )

    @property
    def unused(self) -> list[str]:
        """Columns that become no field."""
        return [column for column in self.columns if column not in self.mapping.columns.values()]

    def survey(self) -> None:
        """Read the whole file once for what must be known before events are: scale of ratings, ids that repeat, rows.

        Completes the mapping. Raises `InputError` where ratings are on a scale that is not evident; nothing is lost, as
        no event was made.
        """
        if self._n_rows is not None:
            return
        self._n_rows = 0
        if self.kind != "interactions":
            self._survey_ids()
            return
        judges_scale = "calificacion" in self.mapping.columns
        if not judges_scale and self.mapping.constants.get("timestamp") != "order":
            return
        survey = self._survey_ratings(judges_scale and self.mapping.scale != "thumbs")
        is_on_scale = isinstance(self.mapping.scale, tuple) and self.mapping.scale[0] <= -1
        given = self.mapping.values.get("calificacion", {})
        own_rule = any(number_of(text, self.mapping.file.decimal) == -1 for text in given)
        if survey.has_minus_one and not is_on_scale and not own_rule:
            own = dict.fromkeys(("-1", "-1.0", *sorted(survey.minus_ones)), "") | given
            self._update(values=self.mapping.values | {"calificacion": own})
            self.notes.append(
                f"calificacion: -1, {survey.counts[-1.0]:,} times, is no rating ([values.calificacion]); such rows are "
                "plays"
            )
        if self.mapping.scale is None and (scale := survey.scale()):
            self._update(scale=scale)
            self.notes.append(
                f"calificacion: ratings from {survey.low:g} to {survey.high:g} are on a scale from {scale[0]:g} to "
                f"{scale[1]:g}, which becomes 0.5 to 5 (scale = [{scale[0]:g}, {scale[1]:g}])"
            )

    def _survey_ratings(self, judges_scale: bool) -> Survey:
        """Count all rows, and return what their ratings are like.

        Where the decimal mark was guessed as a point, all numbers decide it: commas may come after the first rows.
        """
        by_mark: dict[Literal[".", ","] | None, Survey] = {self.mapping.file.decimal: Survey()}
        if self._decimal_is_guessed:
            by_mark.setdefault(",", Survey())
        marks, converter = DecimalMarks(), self._converter()
        numbers = [name for name in ("calificacion", "porcentaje_visto") if name in self.mapping.columns]
        n_rows = 0
        for row in rows_of(self.path, self.mapping.file):
            n_rows += 1
            if row.fault or not judges_scale:
                continue
            for name in numbers if self._decimal_is_guessed else numbers[:1]:
                text = converter.text_of(name, row)
                marks.add(text)
                if name == "calificacion" and text:
                    for mark, survey in by_mark.items():
                        survey.add(number_of(text, mark), text)
        self._n_rows = n_rows
        if self._decimal_is_guessed and self.mapping.file.decimal != "," and marks.is_comma:
            self._update(file=self.mapping.file.model_copy(update={"decimal": ","}))
            self.notes.append("numbers have a decimal comma ([file] decimal)")
        return by_mark[self.mapping.file.decimal]

    def _survey_ids(self) -> None:
        """Find ids that repeat by 8 bytes a row, as a catalogue may have millions: only those are kept as texts."""
        hashes, converter = array("q"), self._converter()
        for row in rows_of(self.path, self.mapping.file):
            if not row.fault:
                hashes.append(hash(converter.text_of("id", row)))
        ordered = np.sort(np.frombuffer(hashes, np.int64)) if hashes else np.empty(0, np.int64)
        self._repeated_ids = frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())

    def events(self, read: Read) -> Iterator[tuple[EventType, pa.RecordBatch]]:
        """Yield events in the file's order, as batches of one type each; count in ``read`` what becomes of rows.

        Raises `InputError` where the file cannot be read, its ratings' scale is unknown (before the first event), or
        none of very many rows is an event.
        """
        self.survey()
        converter = self._converter()
        waiting: dict[EventType, list[dict[str, Any]]] = {event_type: [] for event_type in TYPES[self.kind]}
        seen: dict[str, int] = {}
        for row in rows_of(self.path, self.mapping.file):
            read.rows += 1
            try:
                event_type, event = converter.event(row, read)
                if self.kind != "interactions" and hash(event["id"]) in self._repeated_ids:
                    first = seen.setdefault(event["id"], row.number)
                    if first != row.number:
                        raise RefusedError("duplicate id", f"{event['id']!r} is row {first:,} as well")
            except RefusedError as refusal:
                read.refused.append(Refused(row.number, refusal.reason, refusal.detail))
                if read.rows == _HOPELESS and not read.events:
                    raise InputError(
                        f"{self.path}: none of the first {_HOPELESS:,} rows is an event; "
                        f"the last one's {refusal.reason}: {refusal.detail}"
                    ) from None
                continue
            read.events[event_type] += 1
            read.filled.update(name for name, value in event.items() if value is not None)
            if self.described is not None and event["id_contenido"] not in self.described:
                self._count_undescribed(event["id_contenido"], read)
            block = waiting[event_type]
            block.append(event)
            if len(block) == _BLOCK:
                yield event_type, _batch(event_type, block)
                waiting[event_type] = []
        for event_type, block in waiting.items():
            if block:
                yield event_type, _batch(event_type, block)

    def _count_undescribed(self, title: str, read: Read) -> None:
        read.n_undescribed += 1
        if title in read.undescribed or len(read.undescribed) < _UNDESCRIBED_KEPT:
            read.undescribed[title] += 1

    def _converter(self) -> Converter:
        return Converter(self.kind, self.mapping, self._moment, self._n_rows or 0, self._max_skew_seconds)

    def _update(self, **changes: object) -> None:
        self.mapping = self.mapping.model_copy(update=changes)


def _batch(event_type: EventType, events: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(events, event_schema(event_type))
