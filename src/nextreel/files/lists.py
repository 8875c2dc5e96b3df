"""Lists in cells: divided by a separator, or in brackets as JSON, Python, NumPy and PostgreSQL write them."""

import ast
import csv
import re
import warnings
from collections.abc import Iterable

import orjson

from nextreel.files.records import name_of

#: A separator of the mapping that means: a list in brackets.
#: Followed by another one, as "[]|": a list in brackets, or else one that is divided at that.
BRACKETS = "[]"
#: A cell is not parsed beyond.
_PARSED_MOST = 200_000

_NUMPY = re.compile(r"""\[\s*(?:'[^']*'|"[^"]*")(?:\s+(?:'[^']*'|"[^"]*"))+\s*\]""")
_ENTITY = re.compile(r"&#?\w{1,8};")


def separator_of(cells: Iterable[str]) -> str:
    """Return what divides the lists of most cells of a column: `BRACKETS`, "|", ";" or ","."""
    texts = [cell.strip() for cell in cells if cell.strip()]
    plain = [_ENTITY.sub("", text) for text in texts if in_brackets(text) is None]
    n_in_brackets, n_divided = len(texts) - len(plain), sum(any(mark in text for mark in "|;,") for text in plain)
    if n_in_brackets and n_in_brackets >= n_divided:
        return BRACKETS
    pipes, semicolons, commas = (sum(mark in text for text in plain) for mark in "|;,")
    if pipes and pipes >= max(semicolons, commas):
        return "|"
    return ";" if semicolons > commas else ","


def in_brackets(text: str) -> list[str] | None:
    """Return the entries of a list in brackets; None for a text that is not one. Of objects, their names are taken."""
    text = text.strip()
    if len(text) > _PARSED_MOST or text[:1] + text[-1:] not in ("[]", "{}", "()"):
        return None
    if _NUMPY.fullmatch(text):
        return [part[1:-1] for part in re.findall(r"""'[^']*'|"[^"]*\"""", text)]
    value: object = None
    try:
        value = orjson.loads(text)
    except ValueError:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes that Python does not have
                value = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return _bare(text)
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, set):
        value = sorted(map(str, value))
    if not isinstance(value, list | tuple):
        return None
    try:
        return [name for each in value if (name := name_of(each)) is not None]
    except RecursionError:
        return None


def _bare(text: str) -> list[str] | None:
    """Read [Drama, War], and an array as PostgreSQL writes it: {Drama,"Science Fiction"}."""
    inner = text[1:-1]
    if text.startswith("["):
        return None if set(inner) & set("[]{}'\"") else inner.split(",")
    if not text.startswith("{"):
        return None
    try:
        return next(csv.reader([inner], escapechar="\\", strict=True), [])
    except csv.Error:
        return None
