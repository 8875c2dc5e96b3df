"""Record batches as JSON messages: a whole column at a time, no Python object for a row.

Every column becomes text, and one join puts the columns, the names and the punctuation together. Strings are
only rewritten where a look at their bytes finds something to escape.
"""

import json
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_YEAR_1: Final = int(np.datetime64("0001", "us").astype(np.int64))
_YEAR_10000: Final = int(np.datetime64("10000", "us").astype(np.int64))

#: What JSON does not allow raw inside a string, the backslash first: the others bring in more of them.
_ESCAPES: Final = {byte: json.dumps(chr(byte))[1:-1] for byte in (0x5C, 0x22, *range(0x20))}
_MUST_ESCAPE: Final = np.isin(np.arange(256), list(_ESCAPES))

#: A column of JSON values: what stands before each, the text, what stands after.
_Text: TypeAlias = tuple[str, pa.StringArray, str]


def encode(batch: pa.RecordBatch) -> pa.BinaryArray:
    """Return one compact JSON object a row, UTF-8; null fields are left out.

    Parameters
    ----------
    batch
        Columns of strings, lists of strings, float64 and timestamps (in UTC), such as
        ``contract.event_schema`` gives; n rows whose messages take less than 2 GiB.

    Returns
    -------
    pa.BinaryArray
        n messages. Timestamps are ISO 8601 with ``Z``, and with microseconds where those are not zero.

    Raises
    ------
    ValueError
        For what JSON or ISO 8601 cannot say: NaN, infinity, a year outside 1 to 9999.
    TypeError
        For a column of another type.
    """
    parts: list[pa.Array] = []
    literal = "{"  # what stands between the parts before and the next one
    comma: str | pa.StringArray = ""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        before, text, after = _values(name, column)
        before = f"{json.dumps(name)}:{before}"
        if column.null_count == 0 and isinstance(comma, str):
            parts += [literal + comma + before, text]
            literal, comma = after, ","
            continue
        # Joined first, so that a null takes its name and its comma with it.
        member = pc.binary_join_element_wise(comma, before, text, after, "", null_handling="emit_null")
        parts += [literal, member]
        literal = ""
        if comma != ",":
            comma = pc.if_else(column.is_valid(), ",", comma)
    # Not null_handling="skip" for the commas: it drops rows in which everything is null (Arrow 26).
    objects = pc.binary_join_element_wise(*parts, literal + "}", "", null_handling="replace", null_replacement="")
    return objects.cast(pa.binary())


def _values(name: str, column: pa.Array) -> _Text:
    """Return a column's values as JSON text, null where they are null."""
    kind = column.type
    if pa.types.is_string(kind):
        return '"', _escaped(column), '"'
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return "[", _members(column), "]"
    if pa.types.is_float64(kind):
        return "", _numbers(name, column), ""
    if pa.types.is_timestamp(kind):
        return '"', _instants(name, column), 'Z"'
    raise TypeError(f"column {name} is {kind}: encode takes string, list<string>, double and timestamp")


def _escaped(column: pa.StringArray) -> pa.StringArray:
    """Return strings as they stand between a JSON string's quotes."""
    for byte in _found(column):
        column = pc.replace_substring(column, pattern=chr(byte), replacement=_ESCAPES[byte])
    return column


def _found(column: pa.StringArray) -> list[int]:
    """Return which bytes to escape occur in a column, in the order in which to escape them."""
    _, offsets, data = column.buffers()
    if data is None or len(column) == 0:
        return []
    ends = np.frombuffer(offsets, np.int32)
    text = np.frombuffer(data, np.uint8)[ends[column.offset] : ends[column.offset + len(column)]]
    hits = np.bincount(text[_MUST_ESCAPE[text]], minlength=256)
    return [byte for byte in _ESCAPES if hits[byte]]


def _members(column: pa.ListArray) -> pa.StringArray:
    """Return lists of strings as they stand inside a JSON array; a null among them is JSON's ``null``."""
    if len(column) == 0:
        return pa.array([], pa.string())
    offsets = column.offsets
    start, end = offsets[0].as_py(), offsets[-1].as_py()
    texts = _escaped(column.values.slice(start, end - start))
    quoted = pc.binary_join_element_wise('"', texts, '"', "", null_handling="emit_null")
    lists = pa.ListArray.from_arrays(pc.subtract(offsets, start), pc.fill_null(quoted, "null"))
    joined = pc.binary_join(lists, ",")
    return pc.if_else(column.is_valid(), joined, None) if column.null_count else joined


def _numbers(name: str, column: pa.DoubleArray) -> pa.StringArray:
    """Return floats as the shortest decimals that read back the same."""
    if not pc.all(pc.is_finite(column), min_count=0).as_py():
        raise ValueError(f"column {name} has NaN or infinity: JSON has only finite numbers")
    # Ratings and percentages take few values: each is written once.
    distinct = column.dictionary_encode()
    return distinct.dictionary.cast(pa.string()).take(distinct.indices)


def _instants(name: str, column: pa.TimestampArray) -> pa.StringArray:
    """Return instants as ``2025-12-31T20:15:00``; six decimals where they fall inside a second."""
    # Without the zone, which is UTC anyhow: the cast that honours one looks it up row by row, 25 times
    # slower.
    naive = column.cast(pa.timestamp("us"))
    extent = pc.min_max(naive.cast(pa.int64()))
    low, high = extent["min"].as_py(), extent["max"].as_py()
    if low is not None and (low < _YEAR_1 or high >= _YEAR_10000):
        raise ValueError(f"column {name} has a year outside 1 to 9999: ISO 8601 does not agree on those")
    text = pc.replace_substring(naive.cast(pa.string()), pattern=" ", replacement="T")
    return pc.replace_substring(text, pattern=".000000", replacement="")
