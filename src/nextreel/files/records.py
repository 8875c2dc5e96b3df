"""Rows of JSON: one object a line, or an array of objects; objects within are columns with a dot in their names."""

import json
import math
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from nextreel.errors import InputError
from nextreel.files.source import READ_ERRORS, Cell, FileFormat, Row, opened_text, surrogate_of

#: Characters of an object, at the most.
_RECORD_MOST = 2_000_000
_PIECE = 1 << 20
#: Floats from here on may be whole numbers whose last digits are lost.
_INEXACT = 2.0**53
_TOO_DEEP = "nested too deeply"
_BETWEEN = re.compile(r"[ \t\r\n,]*")
_BRACKET_OR_TEXT = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*"|"', re.DOTALL)
#: Levels of objects within objects that become columns.
_DEEPEST = 4
#: What an object is called by, where its name is all that a cell needs: {"id": 18, "name": "Drama"}.
NAME_KEYS = ("name", "title", "label", "value", "genre")


def json_rows(path: Path, file: FileFormat) -> Iterator[Row]:
    """Yield a file's objects as rows. A line that is no object is refused; damage within an array ends the reading."""
    try:
        with opened_text(path, file.encoding or "utf-8") as text:
            if file.kind == "json":
                yield from _of_array(path, text)
            else:
                yield from _of_lines(text)
    except READ_ERRORS as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def _of_lines(text: Any) -> Iterator[Row]:
    number = 0
    while line := text.readline(_RECORD_MOST):
        if len(line) == _RECORD_MOST and line[-1] not in "\r\n":
            while (piece := text.readline(_RECORD_MOST)) and piece[-1] not in "\r\n":
                pass
            number += 1
            yield Row(number, {}, f"a line of more than {_RECORD_MOST:,} characters")
            continue
        if not line.strip():
            continue
        number += 1
        try:
            record = orjson.loads(line.strip().encode("utf-8", "surrogatepass"))
        except ValueError as error:
            yield Row(number, {}, f"not JSON: {error}")
            continue
        yield _row(number, record)


def _of_array(path: Path, text: Any) -> Iterator[Row]:
    """Read an array piece by piece: an object at a time is in memory."""
    decoder, buffer, number, is_end = json.JSONDecoder(), text.read(_PIECE).lstrip()[1:], 0, False
    start = 0
    while True:
        start = _end_of(_BETWEEN, buffer, start)
        if buffer.startswith("]", start):
            return
        record, end = _next_record(decoder, buffer, start)
        if end >= 0 and (end < len(buffer) or is_end):
            number += 1
            yield Row(number, {}, _TOO_DEEP) if record is _DEEP else _row(number, record)
            start = end
            continue
        if is_end or len(buffer) - start > _RECORD_MOST:
            raise InputError(f"{path} is no JSON array of objects after row {number:,}: it is cut off or damaged")
        piece = text.read(_PIECE)
        is_end = not piece
        buffer, start = buffer[start:] + piece, 0


#: Stands for an object that is nested too deeply to be decoded.
_DEEP = object()


def _next_record(decoder: json.JSONDecoder, buffer: str, start: int) -> tuple[Any, int]:
    """Return the value at a position, and where it ends; -1 where the buffer has not all of it."""
    try:
        return decoder.raw_decode(buffer, start)
    except ValueError:
        return None, -1
    except RecursionError:
        depth = 0
        for match in _BRACKET_OR_TEXT.finditer(buffer, start):
            if match[0] == '"':  # a text that goes on behind the buffer
                break
            depth += (match[0] in "[{") - (match[0] in "]}")
            if depth == 0 and match[0] in "]}":
                return _DEEP, match.end()
        return None, -1


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


def _row(number: int, record: Any) -> Row:
    try:
        return _row_of(number, record)
    except RecursionError:
        return Row(number, {}, _TOO_DEEP)


def _row_of(number: int, record: Any) -> Row:
    if not isinstance(record, dict):
        return Row(number, {}, f"not an object, but {json.dumps(record)[:60]}")
    values: dict[str, Any] = {}
    _flatten(record, "", values, 0)
    row = row_of(number, values)
    if any("\0" in (cell or "") for cell in row.cells.values()):
        return Row(number, {}, "a NUL byte in it")
    for name in row.cells:
        if surrogate := surrogate_of(name):
            return Row(number, {}, f"the name {name!r} holds the lone surrogate {surrogate}")
    return row


def row_of(number: int, values: dict[str, Any]) -> Row:
    """Return values of JSON or Parquet by column as a row."""
    inexact = frozenset(name for name, value in values.items() if _is_inexact(value))
    return Row(number, {name: cell_of(value) for name, value in values.items()}, inexact=inexact)


def _is_inexact(value: Any) -> bool:
    if isinstance(value, list):
        return any(isinstance(each, float) and _is_inexact(each) for each in value)
    return isinstance(value, float) and _INEXACT <= abs(value) < math.inf


def _flatten(record: dict[str, Any], prefix: str, values: dict[str, Any], level: int) -> None:
    for key, value in record.items():
        if isinstance(value, dict) and level < _DEEPEST:
            _flatten(value, f"{prefix}{key}.", values, level + 1)
        else:
            values[prefix + key] = value


def cell_of(value: Any) -> Cell:
    """Return a value of JSON or Parquet as a cell: a text, a list of texts, or None."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        texts = (name_of(each) for each in value)
        return [text for text in texts if text is not None]
    if isinstance(value, date):  # and moments
        return value.isoformat()
    return name_of(value)


def name_of(value: Any) -> str | None:
    """Return the text of one entry of a list: of an object, what it is called by, else JSON."""
    if isinstance(value, dict):
        for key in NAME_KEYS:
            if isinstance(value.get(key), str | int):
                return str(value[key])
        return json.dumps(value, default=str)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return json.dumps(value, default=str)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
