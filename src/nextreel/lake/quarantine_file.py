"""Quarantined messages as a file that people edit: JSON lines, a message each.

    {"place": "producer1_topic/0/17", "topic": "producer1_topic", "reason": "wrong type", "detail": "…",
     "key": "u1", "headers": [{"key": "trace", "value": "4711"}], "value": "{\\"id\\": …}"}

What is not UTF-8 stands as ``key_base64`` or ``value_base64`` instead; null is no key, or no value. Characters that a
terminal or an editor would act on are written as JSON's escapes, so that the file can be shown. Of an edited line,
``topic`` (where it is sent), ``key``, ``headers`` and the value count; place says which message it was, reason and
detail what was wrong with it. The value may be an object too.
"""

import base64
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from nextreel.durable import sync, take_place
from nextreel.errors import InputError
from nextreel.lake.place import Place
from nextreel.lake.quarantine import Headers, Quarantined

_FIELDS = {"place", "topic", "reason", "detail", "key", "key_base64", "headers", "value", "value_base64"}
_BOM = b"\xef\xbb\xbf"


def write_export(path: Path, messages: Iterable[Quarantined], force: bool = False) -> int:
    """Write messages, all or none of them, and return their number.

    Raises `InputError` where the file exists, unless ``force``, and where it cannot be written.
    """
    _refuse_existing(path, force)
    fresh = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    n = 0
    try:
        with fresh.open("xb") as file:
            for n, message in enumerate(messages, 1):  # noqa: B007 (their number)
                file.write(line_of(message))
            file.flush()
            os.fsync(file.fileno())
        _refuse_existing(path, force)
        take_place(fresh, path)
        sync(path.absolute().parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return n


def read_export(path: Path) -> Iterator[Quarantined]:
    """Yield the messages of a file as they stand in it now, each with its line.

    Raises `InputError` for a file that cannot be read and for a line that is no message.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                text = line.removeprefix(_BOM).strip()
                if text:
                    yield _read(text, number, path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def line_of(message: Quarantined) -> bytes:
    """Return a message's line."""
    return (printable(orjson.dumps(as_record(message)).decode()) + "\n").encode()


def as_record(message: Quarantined) -> dict[str, Any]:
    """Return a message as plain data, with nothing lost."""
    return (
        {"place": str(message.place), "topic": message.target, "reason": message.reason, "detail": message.detail}
        | _named("key", message.key)
        | {"headers": [{"key": key} | _named("value", value) for key, value in message.headers]}
        | _named("value", message.value)
    )


def printable(text: str) -> str:
    """Return JSON with the characters that are not for showing (controls, directions, separators) as its escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _named(name: str, raw: bytes | None) -> dict[str, Any]:
    try:
        return {name: None if raw is None else raw.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(raw or b"").decode()}


def _refuse_existing(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise InputError(f"{path} exists. --force overwrites it.")


def _read(text: bytes, number: int, path: Path) -> Quarantined:
    try:
        record = orjson.loads(text)
        if not isinstance(record, dict):
            raise InputError("it is no object")
        if unknown := record.keys() - _FIELDS:
            raise InputError(f"{', '.join(sorted(unknown))}: unknown; there are {', '.join(sorted(_FIELDS))}")
        return Quarantined(
            Place.parse(_text(record, "place")),
            _text(record, "reason", ""),
            _text(record, "detail", ""),
            _bytes(record, "key"),
            _headers(record.get("headers")),
            _value(record),
            line=number,
            topic=_text(record, "topic", ""),
        )
    except orjson.JSONDecodeError as error:
        raise InputError(f"{path}, line {number}: not JSON: {error}") from None
    except InputError as error:
        raise InputError(f"{path}, line {number}: {error}") from None


def _text(record: dict[str, Any], name: str, default: str | None = None) -> str:
    given = record.get(name, default)
    if not isinstance(given, str):
        raise InputError(f"{name} has to be a text")
    return given


def _bytes(record: dict[str, Any], name: str) -> bytes | None:
    encoded = f"{name}_base64"
    if (name in record) == (encoded in record):
        raise InputError(f"either {name} or {encoded} has to be there")
    if encoded in record:
        return _decoded(_text(record, encoded), encoded)
    given = record[name]
    return None if given is None else _text(record, name).encode()


def _value(record: dict[str, Any]) -> bytes | None:
    """Return the value; an object is the event itself, easier to write by hand than a text with quotes in it."""
    given = record.get("value")
    return orjson.dumps(given) if isinstance(given, dict) and "value_base64" not in record else _bytes(record, "value")


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise InputError(f"{name} is not base64") from None


def _headers(given: Any) -> Headers:
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(header, dict) for header in given):
        raise InputError("headers has to be an array of objects with key and value")
    return [(_text(header, "key"), _bytes(header, "value")) for header in given]
