"""One message at a time: accepted with its values, or rejected with a reason. The contract's final word.

A bad message is data: it leaves with a `Reason` and what exactly was wrong.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from nextreel.events.contract import (
    EVENT_TYPES,
    MAX_MESSAGE_BYTES,
    NOT_APPLICABLE,
    YEAR_MAX,
    YEAR_MIN,
    EventType,
    Field,
    Kind,
    Reason,
    Verb,
    fields_of,
    list_fault,
    text_fault,
)

#: What means null, whatever the field's type.
NULLS = (None, "", NOT_APPLICABLE)

_FIELDS = {event_type: fields_of(event_type) for event_type in EVENT_TYPES}
_TIMESTAMP = {event_type: [f.name for f in _FIELDS[event_type]].index("timestamp") for event_type in EVENT_TYPES}

#: Floats from here on may be whole numbers of more than 64 bits whose last digits are lost.
_INEXACT = 2.0**53

# datetime.fromisoformat also reads week dates and bare dates, and Python releases differ in what they take.
_ISO_8601 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d(:?\d\d)?)?", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


#: A schema registry's frame: a zero byte and the schema's id in four.
_FRAME_BYTES = 5

#: How values begin that producers compress or encode by themselves.
_FORMATS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy"),
    (b"\x82SNAPPY\x00", "snappy"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"Obj\x01", "an Avro file"),
    (b"PAR1", "a Parquet file"),
    (b"\xef\xbb\xbf", "UTF-8 behind a byte order mark"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


class Rejected(Exception):  # noqa: N818 (a verdict on data, never seen outside this module)
    """A message breaks the contract."""

    def __init__(self, reason: Reason, detail: str):
        self.reason = reason
        self.detail = detail


def read(
    raw: bytes | None, topic: str, expected: EventType | None, latest: datetime | None = None
) -> tuple[EventType, tuple[Any, ...], dict[str, Any]]:
    """Return a message's event type, its values in the contract's order, and the record they are from.

    Event times after ``latest`` (None: whenever) are refused. Raises `Rejected`.
    """
    record = _decode(raw)
    event_type = _event_type(record, expected, topic)
    values = tuple(_value(f, record.get(f.name), event_type) for f in _FIELDS[event_type])
    if event_type == "interaction":
        _check_interaction(record)
    if latest is not None and values[_TIMESTAMP[event_type]] > latest:
        given = _short(str(record["timestamp"]))
        raise Rejected(
            Reason.BAD_TIMESTAMP,
            f"timestamp: {given} is later than {latest.isoformat(timespec='seconds')}, which is "
            "contract.max_clock_skew_seconds after the message arrived",
        )
    return event_type, values, record


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
            detail = f"byte {undecodable.start}: {undecodable.reason}"
            raise Rejected(Reason.NOT_UTF8, _with_format(detail, raw)) from None
        raise Rejected(Reason.NOT_JSON, _with_format(str(error), raw)) from None
    if not isinstance(record, dict):
        raise Rejected(Reason.NOT_AN_OBJECT, f"the message is {_json_type(record)}")
    return record


def _with_format(detail: str, raw: bytes) -> str:
    """Return a detail with the format that a value seems to have."""
    if raw[:1] == b"\0" and len(raw) > _FRAME_BYTES and raw[_FRAME_BYTES:].lstrip()[:1] in (b"{", b"["):
        schema = int.from_bytes(raw[1:_FRAME_BYTES], "big")
        return f"{detail}; JSON behind a schema registry's frame (0x00 and schema id {schema:,}): send plain JSON"
    for magic, name in _FORMATS:
        if raw.startswith(magic):
            return f"{detail}; the value looks like {name}"
    if raw[:1] == b"\0" and len(raw) > _FRAME_BYTES:
        return f"{detail}; the value looks like Avro or Protobuf behind a schema registry's frame: send plain JSON"
    return detail


def _event_type(record: dict[str, Any], expected: EventType | None, topic: str) -> EventType:
    given = record.get("type")
    if given in NULLS:
        raise Rejected(Reason.MISSING_FIELD, "type")
    if not isinstance(given, str):
        raise Rejected(Reason.WRONG_TYPE, f"type: expected a string, not {_json_type(given)}")
    if given not in EVENT_TYPES:
        raise Rejected(Reason.UNKNOWN_TYPE, f"type: {_short(given)}; known are {', '.join(EVENT_TYPES)}")
    if given != expected:
        raise Rejected(Reason.WRONG_TOPIC, f"a {given} event on {topic}, which carries {expected or 'nothing known'}")
    return expected


def _value(spec: Field, given: Any, event_type: EventType) -> Any:
    value = None if given in NULLS else _READERS[spec.kind](spec, given)
    if value is None and event_type in spec.required:
        raise Rejected(Reason.MISSING_FIELD, spec.name)
    return value


def _text(spec: Field, given: Any) -> str:
    text = _string(spec.name, given)
    if spec.choices and text not in spec.choices:
        raise Rejected(Reason.OUT_OF_RANGE, f"{spec.name}: {_short(text)}; allowed are {', '.join(spec.choices)}")
    _refuse(text_fault(spec.name, text, spec.max_characters))
    return text


def _refuse(fault: tuple[Reason, str] | None) -> None:
    if fault is not None:
        raise Rejected(*fault)


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
    _refuse(list_fault(spec.name, given, spec.max_entries))
    entries = {i: _string(f"{spec.name}[{i}]", item) for i, item in enumerate(given) if item not in NULLS}
    for i, text in entries.items():
        _refuse(text_fault(f"{spec.name}[{i}]", text, spec.max_characters))
    return list(entries.values())


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
    if not YEAR_MIN <= moment.year < YEAR_MAX:
        raise Rejected(Reason.BAD_TIMESTAMP, f"timestamp: {_short(given)} is not in {YEAR_MIN} to {YEAR_MAX}")
    return moment


_READERS: dict[Kind, Callable[[Field, Any], Any]] = {
    "string": _text,
    "strings": _strings,
    "number": _number,
    "timestamp": _timestamp,
}


def _check_interaction(record: dict[str, Any]) -> None:
    if record["evento"] == Verb.RATE and record.get("calificacion") in NULLS:
        raise Rejected(Reason.MISSING_FIELD, "calificacion, required where evento is rate")


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
