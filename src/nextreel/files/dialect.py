"""The dialect of delimited text, guessed from a sample: delimiter, quotes and escapes.

Every candidate reads the sample; the one that reads most of its rows is taken. DuckDB's sniffer is not asked: it skips
rows that do not fit, and here every row is read or refused by its number.
"""

import re
from itertools import islice
from pathlib import Path

from nextreel.errors import InputError
from nextreel.files.delimited import SEPARATOR_LINE, sample_rows
from nextreel.files.source import SAMPLE_BYTES, FileFormat, encoding_of, opened, sample_of

_DELIMITERS = ",;\t|"
#: Lines of a file from which its dialect is guessed, at the most.
_SAMPLE_LINES = 2_000


def recognised_dialect(path: Path, file: FileFormat) -> FileFormat:
    """Return a delimited file's format, with what ``file`` leaves open guessed. ``multiline`` stays open."""
    encoding = file.encoding or encoding_of(path)
    sample, is_cut = _whole_lines(path, encoding)
    delimiters = [file.delimiter] if file.delimiter else _candidates(sample)
    best, best_score = file, (-1.0, 0)
    for delimiter in delimiters:
        tried = file.model_copy(update={"encoding": encoding, "delimiter": delimiter})
        tried = _with_quotes(path, sample, is_cut, tried)
        width, rows, faults = _reading(path, sample, is_cut, tried)
        score = (round(1 - faults / max(1, rows), 2) if width > 1 else 0.0, width)
        if score > best_score:
            best, best_score = tried, score
    return best


def _candidates(sample: str) -> list[str]:
    lines = sample.lstrip("\ufeff\r\n").splitlines()[:1]
    if lines and (said := SEPARATOR_LINE.fullmatch(lines[0])):
        return [said[1]]
    header = lines[0] if lines else ""
    return sorted((d for d in _DELIMITERS if d in header), key=header.count, reverse=True) or [","]


def _with_quotes(path: Path, sample: str, is_cut: bool, file: FileFormat) -> FileFormat:
    """Return a format with quotes and escapes: RFC 4180's for CSV unless nothing is quoted so, none for plain TSV."""
    if file.quote is None:
        file = file.model_copy(update={"quote": _quote(path, sample, is_cut, file)})
    if file.escape is not None:
        return file
    formats = [file.model_copy(update={"escape": escape}) for escape in ("", "\\")]
    if not file.quote or '\\"' not in sample:
        return formats[0]
    return min(formats, key=lambda each: _reading(path, sample, is_cut, each)[2])


def _quote(path: Path, sample: str, is_cut: bool, file: FileFormat) -> str:
    is_tab = file.delimiter == "\t"
    if '"' not in sample:
        return "" if is_tab else '"'
    if _quotes_are_evident(sample, file.delimiter or ","):
        return '"'
    escape = "\\" if '\\"' in sample else ""
    quoted, plain = (
        _reading(path, sample, is_cut, file.model_copy(update={"quote": quote, "escape": escape if quote else ""}))[2]
        for quote in ('"', "")
    )
    if is_tab:
        return "" if plain <= quoted else '"'
    return "" if plain == 0 < quoted else '"'


def _reading(path: Path, sample: str, is_cut: bool, file: FileFormat) -> tuple[int, int, int]:
    """Return how a sample reads in a format: its columns, its rows, and how many of them are refused."""
    try:
        header, rows = sample_rows(path, sample, is_cut, file)
    except InputError:
        return 0, 1, 1
    return len(header), len(rows), sum(bool(row.fault) for row in rows)


def _quotes_are_evident(sample: str, delimiter: str) -> bool:
    """Tell whether cells are quoted as CSV has it: around delimiters or doubled quotes; names in the header are."""
    between = re.escape(delimiter)
    cell = rf'(?:^|(?<={between}))[ ]*"((?:[^"\r\n]|"")*)"[ ]*(?=$|{between}|\r)'
    contents = re.findall(cell, sample, re.MULTILINE)
    if any(delimiter in content or '""' in content for content in contents):
        return True
    if delimiter == "\t":  # a title alone may be in quotes, as it is on its poster
        header = sample.lstrip("\ufeff\r\n").splitlines()[0]
        return re.search(cell, header) is not None
    return bool(contents)


def _whole_lines(path: Path, encoding: str) -> tuple[str, bool]:
    """Return the first lines of a file, without one that the sample cuts, and whether there are more."""
    text = sample_of(path, encoding)
    with opened(path) as raw:
        raw.read(SAMPLE_BYTES)
        is_cut = bool(raw.read(1))
    end = "\n" if "\n" in text else "\r"
    lines = text.split(end)
    if is_cut and len(lines) > 1:
        lines[-1] = ""
    kept = list(islice(lines, _SAMPLE_LINES))
    return end.join(kept) + (end if len(kept) < len(lines) else ""), is_cut or len(kept) < len(lines)
