"""One message at a time: accepted with its values, or rejected with a reason. The contract's final word.

A bad message is data: it leaves with a `Reason` and what exactly was wrong.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from nextreel.events.contract import (
    EVENT_TYPES,
    FUTURE_DAYS_MAX,
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


class Rejected(Exception):  # noqa: N818 (a verdict on data, never seen outside this module)
    """A message breaks the contract."""

    def __init__(self, reason: Reason, detail: str):
        self.reason = reason
        self.detail = detail


def latest_at(arrival: datetime) -> datetime:
    """Return the last event time that a message which arrives now may have."""
    return arrival + timedelta(days=FUTURE_DAYS_MAX)


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
        raise Rejected(Reason.BAD_TIMESTAMP, f"timestamp: {given} is over {FUTURE_DAYS_MAX} days in the future")
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
            raise Rejected(Reason.NOT_UTF8, f"byte {undecodable.start}: {undecodable.reason}") from None
        raise Rejected(Reason.NOT_JSON, str(error)) from None
    if not isinstance(record, dict):
        raise Rejected(Reason.NOT_AN_OBJECT, f"the message is {_json_type(record)}")
    return record


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
    return [_string(f"{spec.name}[{i}]", item) for i, item in enumerate(given) if item not in NULLS]


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
