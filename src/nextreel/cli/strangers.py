"""Bytes of strangers for a terminal: nothing in them moves its cursor, colours it, or turns text around."""

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator

import orjson

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PART = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|\{\s*\}|\[\s*\]|[{}\[\],:]|[^\s{}\[\],:"]+')
#: Levels beyond are not indented any further.
_DEEPEST = 20


def shown(raw: bytes, limit: int) -> str:
    """Return bytes in a line of about ``limit`` characters at the most, with escapes for what is not to be shown."""
    start = raw[: 4 * limit]
    text = getincrementaldecoder("utf-8")("backslashreplace").decode(start, final=len(start) == len(raw))
    line = escaped(text)
    return line if len(line) <= limit and len(start) == len(raw) else line[: limit - 1] + "…"


def indented(raw: bytes, limit: int) -> str:
    """Return a message as it is to be read: JSON a value a line, all else as `shown`; ``limit`` characters at the most.

    JSON is only broken into lines: keys that are there twice stay, and numbers and escapes are as they were written.
    """
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        return shown(raw, limit)
    found, length = [], 0
    for piece in _pieces(raw.decode()):
        found.append(piece)
        length += len(piece)
        if length > limit:
            return "".join(found)[: limit - 1] + "…"
    return "".join(found)


def escaped(text: str) -> str:
    """Return text with escapes for whatever is not for showing."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _pieces(text: str) -> Iterator[str]:
    depth = 0
    for found in _PART.finditer(text):
        part = found.group()
        if part in ("{", "["):
            depth += 1
            yield part + _line(depth)
        elif part in ("}", "]"):
            depth -= 1
            yield _line(depth) + part
        elif part == ",":
            yield "," + _line(depth)
        elif part == ":":
            yield ": "
        else:
            yield escaped(part)


def _line(depth: int) -> str:
    return "\n" + "  " * min(depth, _DEEPEST)
