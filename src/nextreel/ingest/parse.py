"""Messages in; valid and rejected records out. Pure: no Kafka, no Spark, no clock.

A bad message is data: it leaves with a `Reason`, what exactly was wrong, and its bytes as they came.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa

from nextreel.events.contract import (
    EVENT_TYPES,
    FIELDS,
    MAX_MESSAGE_BYTES,
    NOT_APPLICABLE,
    TABLES,
    EventType,
    Field,
    Kind,
    Reason,
    Verb,
    fields_of,
)
from nextreel.lake.layout import QUARANTINE, SCHEMAS

#: What means null, whatever the field's type.
_NULLS = (None, "", NOT_APPLICABLE)

_KNOWN = {f.name for f in FIELDS}
_FIELDS = {event_type: fields_of(event_type) for event_type in EVENT_TYPES}

#: The microseconds since 1970 between which Python, pandas and Spark have dates.
_YEAR_1, _YEAR_10000 = -62_135_596_800_000_000, 253_402_300_800_000_000

#: Event times outside these years are taken for mistakes: seconds read as milliseconds, a clock never set.
_YEAR_MIN, _YEAR_MAX = 1900, 2100

#: Floats from here on may be whole numbers of more than 64 bits whose last digits are lost.
_INEXACT = 2.0**53

# datetime.fromisoformat also reads week dates and bare dates, and Python releases differ in what they take.
_ISO_8601 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d(:?\d\d)?)?", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Rejected(Exception):  # noqa: N818 (a verdict on data, never seen outside this module)
    """A message breaks the contract."""

    def __init__(self, reason: Reason, detail: str):
        self.reason = reason
        self.detail = detail


@dataclass
class Parsed:
    """What a block of messages became, by table: rows with the columns of `nextreel.lake.layout.SCHEMAS`."""

    tables: dict[str, pa.Table]
    unknown_fields: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> pa.Table:
        """The rows of the quarantine."""
        return self.tables.get(QUARANTINE, SCHEMAS[QUARANTINE].empty_table())


def parse(messages: pa.RecordBatch | pa.Table, topics: Mapping[str, EventType], ingested_at: datetime) -> Parsed:
    """Parse and validate Kafka messages.

    ``messages`` has the columns of Spark's Kafka source (key, value, topic, partition, offset, timestamp);
    ``topics`` says which event type each topic carries. Every message is in exactly one table of the result.
    """
    rows: dict[str, list[tuple[Any, ...]]] = {}
    unknown: Counter[str] = Counter()
    columns = [messages.column(name).to_pylist() for name in ("key", "value", "topic", "partition", "offset")]
    for key, raw, topic, *position in zip(*columns, _instants(messages.column("timestamp")), strict=True):
        lineage = (topic, *position, ingested_at)
        try:
            record = _decode(raw)
            event_type = _event_type(record, topics.get(topic), topic)
            values = tuple(_value(f, record.get(f.name), event_type) for f in _FIELDS[event_type])
            if event_type == "interaction":
                _check_interaction(record)
        except Rejected as rejected:
            rows.setdefault(QUARANTINE, []).append((rejected.reason, rejected.detail, key, raw, *lineage))
            continue
        unknown.update(record.keys() - _KNOWN)
        rows.setdefault(TABLES[event_type], []).append((*values, *lineage))
    return Parsed({table: _to_arrow(table, found) for table, found in rows.items()}, unknown)


def _instants(column: pa.Array | pa.ChunkedArray) -> list[int | None]:
    """Return Kafka's timestamps in microseconds, None for what producers set beyond the years that dates have."""
    return [t if t is not None and _YEAR_1 <= t < _YEAR_10000 else None for t in column.cast(pa.int64()).to_pylist()]


def _to_arrow(table: str, rows: list[tuple[Any, ...]]) -> pa.Table:
    schema = SCHEMAS[table]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, f.type) for f, column in zip(schema, columns, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _decode(raw: bytes | None) -> dict[str, Any]:
    if not raw:
        raise Rejected(Reason.EMPTY, "the message has no value")
    if len(raw) > MAX_MESSAGE_BYTES:
        raise Rejected(Reason.TOO_LARGE, f"{len(raw):,} bytes; at most {MAX_MESSAGE_BYTES:,} are read")
    try:
        record = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as undecodable:
            raise Rejected(Reason.NOT_UTF8, f"byte {undecodable.start}: {undecodable.reason}") from None
        raise Rejected(Reason.NOT_JSON, str(error)) from None
    if not isinstance(record, dict):
        raise Rejected(Reason.NOT_AN_OBJECT, f"the message is {_json_type(record)}")
    return record


def _event_type(record: dict[str, Any], expected: EventType | None, topic: str) -> EventType:
    given = record.get("type")
    if given in _NULLS:
        raise Rejected(Reason.MISSING_FIELD, "type")
    if not isinstance(given, str):
        raise Rejected(Reason.WRONG_TYPE, f"type: expected a string, not {_json_type(given)}")
    if given not in EVENT_TYPES:
        raise Rejected(Reason.UNKNOWN_TYPE, f"type: {_short(given)}; known are {', '.join(EVENT_TYPES)}")
    if given != expected:
        raise Rejected(Reason.WRONG_TOPIC, f"a {given} event on {topic}, which carries {expected or 'nothing known'}")
    return expected


def _value(spec: Field, given: Any, event_type: EventType) -> Any:
    value = None if given in _NULLS else _READERS[spec.kind](spec, given)
    if value is None and event_type in spec.required:
        raise Rejected(Reason.MISSING_FIELD, spec.name)
    return value


def _text(spec: Field, given: Any) -> str:
    text = _string(spec.name, given)
    if spec.choices and text not in spec.choices:
        raise Rejected(Reason.OUT_OF_RANGE, f"{spec.name}: {_short(text)}; allowed are {', '.join(spec.choices)}")
    return text


def _string(name: str, given: Any) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, float) and abs(given) >= _INEXACT:
        raise Rejected(Reason.WRONG_TYPE, f"{name}: expected a string; a number this large cannot be read exactly")
    if isinstance(given, int | float) and not isinstance(given, bool):
        return str(given)
    raise Rejected(Reason.WRONG_TYPE, f"{name}: expected a string, not {_json_type(given)}")


def _strings(spec: Field, given: Any) -> list[str]:
    if not isinstance(given, list):
        raise Rejected(Reason.WRONG_TYPE, f"{spec.name}: expected an array of strings, not {_json_type(given)}")
    return [_string(f"{spec.name}[{i}]", item) for i, item in enumerate(given) if item not in _NULLS]


def _number(spec: Field, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise Rejected(Reason.WRONG_TYPE, f"{spec.name}: expected a number, not {_json_type(given)}")
    if (spec.low is not None and given < spec.low) or (spec.high is not None and given > spec.high):
        raise Rejected(Reason.OUT_OF_RANGE, f"{spec.name}: {given}; allowed is {spec.low} to {spec.high}")
    return float(given)


def _timestamp(spec: Field, value: Any) -> datetime:
    given = _string(spec.name, value)
    try:
        if not (_ISO_8601.fullmatch(given) or _DATE.fullmatch(given)):
            raise ValueError
        moment = datetime.fromisoformat(given.upper())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Rejected(Reason.BAD_TIMESTAMP, f"timestamp: {_short(given)} is not ISO 8601") from None
    if not _YEAR_MIN <= moment.year < _YEAR_MAX:
        raise Rejected(Reason.BAD_TIMESTAMP, f"timestamp: {_short(given)} is not in {_YEAR_MIN} to {_YEAR_MAX}")
    return moment


_READERS: dict[Kind, Callable[[Field, Any], Any]] = {
    "string": _text,
    "strings": _strings,
    "number": _number,
    "timestamp": _timestamp,
}


def _check_interaction(record: dict[str, Any]) -> None:
    if record["evento"] == Verb.RATE and record.get("calificacion") in _NULLS:
        raise Rejected(Reason.MISSING_FIELD, "calificacion, required where evento is rate")


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
