"""Messages that keep to the contract, taken in columns: several times faster than row by row.

Columns accept, rows judge: what is accepted here, `nextreel.ingest.parse` would accept with the same values, and
whatever gives reason to doubt is left to it. So a malformed message costs itself, not the block that it came in.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from numpy.typing import NDArray

from nextreel.events.arrival import Micros
from nextreel.events.contract import (
    FIELDS,
    MAX_MESSAGE_BYTES,
    NOT_APPLICABLE,
    NUL,
    YEAR_MAX,
    YEAR_MIN,
    EventType,
    Field,
    Verb,
    fields_of,
)

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

_STRING, _STRINGS, _NUMBER, _WHOLE = pa.string(), pa.list_(pa.string()), pa.float64(), pa.int64()
_READ_AS = {"string": _STRING, "timestamp": _STRING, "strings": _STRINGS, "number": _NUMBER}
_CONTRACT = {f.name: _READ_AS[f.kind] for f in FIELDS}
_TEXTS = {f.name for f in FIELDS if f.kind == "string"}
_KINDS = {"string": _STRING, "number": _NUMBER, "array": _STRINGS}
_BEGINS = {"string": '"', "number": "[-0-9]", "array": r"\["}
_NULLS = pa.array(["", NOT_APPLICABLE])

#: Where Arrow names the place of a mistake. Its wording decides about speed alone: without it blocks are halved.
_ROW = re.compile(r" in row (\d+)$")
_CONFLICT = re.compile(r"Column\(/(\w+)\) changed from \w+ to (string|number|array) in row \d+$")
_UNEXPECTED = "unexpected field"

#: A block that is not valid and no longer than this is left to the rows.
_LEAST = 64

#: A read costs as much as two hundred messages that it takes. So many there may be for a small block, before what is no
#: JSON has been sorted out and after; larger ones get more.
_READS, _LAST_READS = 8, 16

#: In runs no longer than this unknown fields are looked for.
_MOST_WITH_MORE = 1000

_MOMENT = pa.timestamp("us", tz="UTC")
_FIRST, _LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1e6) for year in (YEAR_MIN, YEAR_MAX))

#: Of these lengths are YYYY-MM-DDThh:mm:ss without a zone and with no, three or six digits of fraction. With a zone,
#: what is no shorter than _LEAST_WITH_ZONE has minutes; hours alone, which Arrow reads and the contract does not, are.
_WITHOUT_ZONE = (19, 23, 26)
_LEAST_WITH_ZONE = 20


@dataclass
class Accepted:
    """The rows of a block that were accepted: ``rows`` (n,), and the contract's columns, n long."""

    rows: Rows
    columns: pa.Table
    unknown_fields: Counter[str] = field(default_factory=Counter)


def accept(values: pa.BinaryArray, event_type: EventType, latest: Micros | None = None) -> Accepted | None:
    """Take the messages of one topic that keep to the contract; None where there are none.

    ``latest`` (n,) are the messages' last event times in microseconds since 1970; later ones are left to the rows.
    """
    parts = []
    rows = np.flatnonzero(_plausible(values))
    columns = {f.name: _CONTRACT[f.name] for f in fields_of(event_type)}
    for read in _Block(values, rows, columns, _Reads(len(rows))).parts():
        part = _checked(read.rows, read.columns, event_type, None if latest is None else latest[read.rows])
        parts.append(_counted(part, values) if read.has_more else part)
    parts = [part for part in parts if len(part.rows)]
    if not parts:
        return None
    unknown: Counter[str] = sum((part.unknown_fields for part in parts), Counter())
    return Accepted(np.concatenate([p.rows for p in parts]), pa.concat_tables([p.columns for p in parts]), unknown)


@dataclass
class _Read:
    """Rows as Arrow has read them; ``has_more`` where it has passed over fields that the contract does not know."""

    rows: Rows
    columns: pa.Table
    has_more: bool


class _Block:
    """Messages as lines of JSON, and what their columns have turned out to be."""

    def __init__(self, values: pa.BinaryArray, rows: Rows, columns: dict[str, pa.DataType], reads: "_Reads"):
        self._values = values
        self._rows = rows
        self._lines = values if len(self._rows) == len(values) else values.take(pa.array(self._rows))
        n = len(self._lines)
        one = pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), self._lines)
        self._text = pa.py_buffer(pc.binary_join(one, b"\n")[0].as_buffer() if n else b"")
        ends = np.cumsum(pc.binary_length(self._lines).to_numpy().astype(np.int64) + 1)
        self._start = np.concatenate([[0], ends])
        self._columns = dict(columns)
        self._reads = reads

    def parts(self) -> Iterator[_Read]:
        """Yield what Arrow reads, by runs of messages."""
        return self._parts(0, len(self._rows))

    def _parts(self, start: int, end: int, has_more: bool = False) -> Iterator[_Read]:
        while start < end:
            if not self._reads.left:
                yield from self._sieved(start, end)
                return
            self._reads.left -= 1
            try:
                found = self._read(start, end, has_more)
            except pa.ArrowInvalid as error:
                text = str(error)
            else:
                if len(found) == end - start:
                    yield _Read(self._rows[start:end], found, has_more)
                    return
                text = "a message holds more than one object"
            if text.endswith(_UNEXPECTED):
                if not self._expect_more(start):
                    halves = end - start > _MOST_WITH_MORE
                    yield from self._halves(start, end) if halves else self._parts(start, end, has_more=True)
                    return
                continue
            place = _ROW.search(text)
            row = start + int(place.group(1)) if place else end
            if row >= end:  # not said, or counted wrongly after a message that holds two objects
                if end - start > _LEAST:
                    yield from self._halves(start, end, has_more)
                return
            conflict = _CONFLICT.search(text)
            if conflict is not None:
                name, kind = conflict.groups()
                others = self._of_kind(start, end, name, kind)
                if others[row - start]:
                    yield from self._split(start, others, name, kind)
                    return
            if row > start:
                yield from self._parts(start, row, has_more)
            start = row + 1

    def _halves(self, start: int, end: int, has_more: bool = False) -> Iterator[_Read]:
        middle = (start + end) // 2
        yield from self._parts(start, middle, has_more)
        yield from self._parts(middle, end, has_more)

    def _read(self, start: int, end: int, has_more: bool) -> pa.Table:
        first, last = int(self._start[start]), int(self._start[end]) - 1
        return pj.read_json(
            pa.BufferReader(self._text.slice(first, last - first)),
            pj.ReadOptions(use_threads=False, block_size=last - first + 1),
            pj.ParseOptions(
                explicit_schema=pa.schema(list(self._columns.items())),
                unexpected_field_behavior="ignore" if has_more else "error",
            ),
        )

    def _expect_more(self, row: int) -> bool:
        """Expect the other types' fields too, as messages with "n/a" in all that does not apply have them."""
        try:
            keys = set(orjson.loads(self._lines[row].as_py()))
        except orjson.JSONDecodeError:
            return False
        more = dict.fromkeys(keys & _CONTRACT.keys() - self._columns.keys(), _STRING)
        self._columns |= more
        return bool(more)

    def _of_kind(self, start: int, end: int, name: str, kind: str) -> Mask:
        """Return in which messages a column seems to be of a kind: a guess by their text, which Arrow confirms."""
        begins = rf'"{name}"\s*:\s*{_BEGINS[kind]}'
        found: Mask = pc.match_substring_regex(self._lines[start:end], begins).to_numpy(zero_copy_only=False)
        return found

    def _split(self, start: int, others: Mask, name: str, kind: str) -> Iterator[_Read]:
        """Read messages in which a column is of another kind than in the others by themselves."""
        if not others.all():
            yield from self._some(start, ~others, self._columns)
        read_as = _WHOLE if kind == "number" and name in _TEXTS else _KINDS[kind]
        if read_as in (_STRING, _WHOLE, _CONTRACT[name]):
            yield from self._some(start, others, self._columns | {name: read_as})

    def _sieved(self, start: int, end: int) -> Iterator[_Read]:
        """Go on with what is JSON, where there have been many mistakes; after many more, leave the rest to the rows."""
        if not self._reads.is_last:
            chosen = np.array([_is_json(line) for line in self._lines[start:end].to_pylist()])
            yield from self._some(start, chosen, self._columns, _Reads(int(chosen.sum()), is_last=True))

    def _some(
        self, start: int, chosen: Mask, columns: dict[str, pa.DataType], reads: "_Reads | None" = None
    ) -> Iterator[_Read]:
        rows = self._rows[start : start + len(chosen)][chosen]
        return _Block(self._values, rows, columns, reads or self._reads).parts()


class _Reads:
    """How many more reads a block of ``n`` messages may take."""

    def __init__(self, n: int, is_last: bool = False):
        self.left = _LAST_READS + n // 200 if is_last else _READS + n // 1_000
        self.is_last = is_last


def _is_json(raw: bytes) -> bool:
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return True


def _plausible(values: pa.BinaryArray) -> Mask:
    """Return which messages can be one JSON object in UTF-8 that is not too large.

    One that begins with { and ends with } cannot run into its neighbour: no JSON string goes over a line's end.
    """
    length = pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)
    ok: Mask = (length >= 2) & (length <= MAX_MESSAGE_BYTES)
    _, ends, data = values.buffers()
    if data is None:
        return ok & False
    start = np.frombuffer(ends, np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    text = np.frombuffer(data, np.uint8)
    ok[ok] = (text[start[:-1][ok]] == ord("{")) & (text[start[1:][ok] - 1] == ord("}"))
    try:
        values.cast(pa.string())
    except pa.ArrowInvalid:
        ok &= [v is not None and _is_utf8(v) for v in values.to_pylist()]
    return ok


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _checked(rows: Rows, read: pa.Table, event_type: EventType, latest: Micros | None) -> Accepted:
    """Check each column and keep the rows of which nothing is in doubt."""
    ok = np.ones(len(rows), np.bool_)
    columns = {}
    for f in fields_of(event_type):
        columns[f.name], fine = _CHECKS[f.kind](f, read[f.name].combine_chunks())
        ok &= fine
        if event_type in f.required and columns[f.name].null_count:
            ok &= columns[f.name].is_valid().to_numpy(zero_copy_only=False)
    ok &= _true(pc.equal(columns["type"], event_type))
    if latest is not None:
        ok &= _true(pc.less_equal(columns["timestamp"].cast(pa.int64()), pa.array(latest)))
    if event_type == "interaction":
        rated = _true(pc.equal(columns["evento"], Verb.RATE.value))
        ok &= ~rated | columns["calificacion"].is_valid().to_numpy(zero_copy_only=False)
    table = pa.table(columns)
    return Accepted(rows, table) if ok.all() else Accepted(rows[ok], table.filter(pa.array(ok)))


def _text(f: Field, given: pa.Array) -> tuple[pa.Array, Mask | bool]:
    if given.type == _WHOLE:
        given = given.cast(_STRING)
    values = _without_nulls(given)
    if not f.choices:
        return values, _within_bounds(values, f.max_characters)
    allowed = pc.is_in(values, pa.array(f.choices))
    return values, _true(allowed) | ~values.is_valid().to_numpy(zero_copy_only=False)


def _without_nulls(given: pa.StringArray) -> pa.StringArray:
    """Replace what means null by null."""
    length = pc.binary_length(given)
    if not pc.any(pc.is_in(length, pa.array([0, len(NOT_APPLICABLE)], pa.int32()))).as_py():
        return given
    return pc.if_else(pc.is_in(given, _NULLS), pa.scalar(None, _STRING), given)


def _within_bounds(texts: pa.StringArray, max_characters: int) -> Mask | bool:
    """Return which texts are short enough and without U+0000 (null is); True where all are."""
    fine: Mask | bool = True
    length = pc.binary_length(texts)
    if (pc.max(length).as_py() or 0) > max_characters:  # no text has more characters than bytes
        fine = ~_true(pc.greater(pc.utf8_length(texts), max_characters))
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    if len(data) and not data.min():
        fine &= ~_true(pc.match_substring(texts, NUL))
    return fine


def _texts(f: Field, given: pa.Array) -> tuple[pa.Array, Mask | bool]:
    if given.type == _STRING:
        return pa.nulls(len(given), _STRINGS), _no_value(given)
    items, lengths = given.flatten(), pc.fill_null(given.value_lengths(), 0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    fine, items_fine = lengths <= f.max_entries, _within_bounds(items, f.max_characters)
    if not np.all(items_fine):
        fine[ends.searchsorted(np.flatnonzero(~np.asarray(items_fine)), side="right") - 1] = False
    kept = _without_nulls(items)
    if not kept.null_count:
        return given, fine
    valid = kept.is_valid().to_numpy(zero_copy_only=False)
    before = np.concatenate([[0], np.cumsum(valid)])
    offsets = pa.array(
        before[ends].astype(np.int32), mask=np.append(given.is_null().to_numpy(zero_copy_only=False), False)
    )
    return pa.ListArray.from_arrays(offsets, kept.drop_null()), fine


def _number(f: Field, given: pa.Array) -> tuple[pa.Array, Mask | bool]:
    if given.type == _STRING:
        return pa.nulls(len(given), _NUMBER), _no_value(given)
    values = given.to_numpy(zero_copy_only=False)  # null is NaN here
    low, high = -np.inf if f.low is None else f.low, np.inf if f.high is None else f.high
    return given, ((values >= low) & (values <= high)) | given.is_null().to_numpy(zero_copy_only=False)


def _timestamp(_: Field, given: pa.Array) -> tuple[pa.Array, Mask | bool]:
    length = pc.fill_null(pc.binary_length(given), 0).to_numpy()
    text = np.frombuffer(given.buffers()[2] or b"", np.uint8)
    ends = np.frombuffer(given.buffers()[1], np.int32)[given.offset + 1 : given.offset + len(given) + 1]
    long = length >= _LEAST_WITH_ZONE
    zoned, sixth = long.copy(), ends[long].astype(np.int64) - 6
    zoned[long] = (text[sixth + 5] == ord("Z")) | np.isin(text[sixth], [ord("+"), ord("-")])
    plain = ~zoned & np.isin(length, _WITHOUT_ZONE)
    micros = np.full(len(given), _LAST)
    for chosen, kind in ((zoned, _MOMENT), (plain, pa.timestamp("us"))):
        if chosen.any():
            micros[chosen] = _cast(given.filter(pa.array(chosen)), kind)
    fine = (micros >= _FIRST) & (micros < _LAST)
    return pa.array(micros, mask=~fine).cast(_MOMENT), fine


def _cast(moments: pa.StringArray, kind: pa.TimestampType) -> Rows:
    """Return moments in microseconds since 1970, _LAST for those that Arrow does not read."""
    try:
        found: Rows = moments.cast(kind).cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        if len(moments) == 1:
            return np.array([_LAST])
        middle = len(moments) // 2
        return np.concatenate([_cast(moments[:middle], kind), _cast(moments[middle:], kind)])
    return found


def _no_value(given: pa.StringArray) -> Mask:
    found: Mask = given.is_null().to_numpy(zero_copy_only=False) | _true(pc.is_in(given, _NULLS))
    return found


def _true(condition: pa.BooleanArray) -> Mask:
    found: Mask = pc.fill_null(condition, False).to_numpy(zero_copy_only=False)
    return found


_CHECKS = {"string": _text, "strings": _texts, "number": _number, "timestamp": _timestamp}


def _counted(accepted: Accepted, values: pa.BinaryArray) -> Accepted:
    """Count unknown fields, of which Arrow does not tell; what orjson does not read is left to the rows."""
    ok, records = np.ones(len(accepted.rows), np.bool_), []
    for i, raw in enumerate(values.take(pa.array(accepted.rows)).to_pylist()):
        try:
            records.append(orjson.loads(raw))
        except orjson.JSONDecodeError:
            ok[i] = False
    keys = Counter(chain.from_iterable(records))
    unknown = Counter({k: n for k, n in keys.items() if k not in _CONTRACT})
    return Accepted(accepted.rows[ok], accepted.columns.filter(pa.array(ok)), unknown)
