"""Rows of JSON: one object a line, or an array of objects; objects within are columns with a dot in their names."""

import json
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
    while True:
        buffer = buffer.lstrip(" \t\r\n,")
        if buffer.startswith("]"):
            return
        try:
            record, used = decoder.raw_decode(buffer)
            is_whole = used < len(buffer) or is_end
        except (ValueError, RecursionError):
            is_whole = False
        if is_whole:
            number += 1
            yield _row(number, record)
            buffer = buffer[used:]
            continue
        if is_end or len(buffer) > _RECORD_MOST:
            raise InputError(f"{path} is no JSON array of objects after row {number:,}: it is cut off or damaged")
        piece = text.read(_PIECE)
        is_end = not piece
        buffer += piece


def _row(number: int, record: Any) -> Row:
    if not isinstance(record, dict):
        return Row(number, {}, f"not an object, but {json.dumps(record)[:60]}")
    cells: dict[str, Cell] = {}
    _flatten(record, "", cells, 0)
    if any("\0" in (cell or "") for cell in cells.values()):
        return Row(number, {}, "a NUL byte in it")
    for name in cells:
        if surrogate := surrogate_of(name):
            return Row(number, {}, f"the name {name!r} holds the lone surrogate {surrogate}")
    return Row(number, cells)


def _flatten(record: dict[str, Any], prefix: str, cells: dict[str, Cell], level: int) -> None:
    for key, value in record.items():
        if isinstance(value, dict) and level < _DEEPEST:
            _flatten(value, f"{prefix}{key}.", cells, level + 1)
        else:
            cells[prefix + key] = cell_of(value)


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
