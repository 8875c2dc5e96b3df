"""Rows of delimited text (CSV, TSV): every line of the file is read into one row, or refused with its number.

Python's csv module parses strictly. Where a quote is opened and never closed, or is closed lines later in what reads
as a row of its own, the row is refused alone and the lines behind it are read as rows.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import IO, NoReturn

from nextreel.errors import InputError
from nextreel.files.source import READ_ERRORS, FileFormat, Row, opened_text, sample_of

#: Characters of a line, and of a row whose quoted cells span lines, at the most. A message has 1 MB at the most.
_LINE_MOST = 2_000_000
_CELL_MOST = 1_000_000
#: Rows whose quote is not closed within `_CELL_MOST`, at the most: each of them costs reading so far.
_UNCLOSED_MOST = 50
#: First cells of this many rows are remembered, to tell a row from a line within a quoted cell.
_SHAPES_FROM = 200
_TOO_LONG = "\0a line too long\n"

#: A first line that says the delimiter to Excel.
SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_QUOTES_ADVICE = "if quotes are part of the text, set [file] quote = ''"


def delimited_columns(path: Path, file: FileFormat) -> list[str]:
    """Return the header's names, stripped, "" for a column without one; or "1", "2" … where there is no header."""
    with opened_text(path, file.encoding or "utf-8", _newline(path, file)) as text:
        lines = _Lines(text)
        header = _header(path, lines, file)
    if not file.header:
        return [str(place) for place in range(1, len(header) + 1)]
    return header


def delimited_rows(path: Path, file: FileFormat, columns: list[str]) -> Iterator[Row]:
    """Yield a delimited file's rows; ``file`` has no None but for ``multiline``. Raises `InputError`."""
    try:
        with opened_text(path, file.encoding or "utf-8", _newline(path, file)) as text:
            lines = _Lines(text)
            if file.header:
                _header(path, lines, file)
            yield from _Reader(path, file, columns, lines).rows()
    except UnicodeError as error:
        raise InputError(f"{path} is not {file.encoding}: {error}") from None
    except READ_ERRORS as error:
        raise InputError(f"{path} cannot be read: {error}") from None


def sample_rows(path: Path, sample: str, is_cut: bool, file: FileFormat) -> tuple[list[str], list[Row]]:
    """Return the header and the rows of a text, read as ``delimited_rows`` would; a quoted cell may be cut."""
    newline = "\n" if not file.quote and "\n" in sample else ""
    lines = _Lines(StringIO(sample, newline=newline))
    header = _header(path, lines, file)
    return header, list(_Reader(path, file, header, lines, is_cut).rows())


def _header(path: Path, lines: "_Lines", file: FileFormat) -> list[str]:
    """Read lines up to the first row that is not blank; without a header it stays to be read.

    Raises `InputError` for a row whose quotes do not parse.
    """
    csv.field_size_limit(_CELL_MOST)
    while True:
        lines.begin()
        try:
            cells = next(_parsed(lines, file))
        except StopIteration:
            return []
        except csv.Error as error:
            raise InputError(f"{path}: the first row, which must name the columns: {error}; {_QUOTES_ADVICE}") from None
        if any(cell.strip() for cell in cells) and not SEPARATOR_LINE.fullmatch(lines.taken[0].lstrip("\ufeff")):
            if not file.header:
                lines.put_back(0)
            return [cell.strip() for cell in cells]


def _newline(path: Path, file: FileFormat) -> str:
    """Return where lines end: without quotes, a carriage return within a line is a part of its cell."""
    return "\n" if not file.quote and "\n" in sample_of(path, file.encoding or "utf-8") else ""


def _parsed(lines: Iterator[str], file: FileFormat) -> Iterator[list[str]]:
    if not file.quote and not file.escape:
        return (_ended(line).split(file.delimiter or ",") for line in lines)
    if file.escape:
        null = re.compile(rf"(^|{re.escape(file.delimiter or ',')})\\N(?=[\r\n{re.escape(file.delimiter or ',')}]|$)")
        lines = (null.sub(r"\1\\\\N", line) for line in lines)  # MySQL's word for null, not an escaped N
    return csv.reader(
        lines,
        delimiter=file.delimiter or ",",
        quotechar=file.quote or None,
        quoting=csv.QUOTE_MINIMAL if file.quote else csv.QUOTE_NONE,
        escapechar=file.escape or None,
        skipinitialspace=file.delimiter != " ",
        strict=True,
    )


def _ended(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


class _Lines:
    """A file's lines, each bounded. Those that one row has taken can be put back."""

    def __init__(self, text: IO[str]):
        self._text = text
        self._again: deque[tuple[str, bool]] = deque()
        self.taken: list[str] = []
        self.is_suspect = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._again:
            line, suspect = self._again.popleft()
            self.is_suspect = self.is_suspect or suspect
        else:
            line = self._text.readline(_LINE_MOST)
            if not line:
                raise StopIteration
            if len(line) == _LINE_MOST and line[-1] not in "\r\n":
                line = self._rest()
        self.taken.append(line)
        return line

    def _rest(self) -> str:
        while (piece := self._text.readline(_LINE_MOST)) and piece[-1] not in "\r\n":
            pass
        return _TOO_LONG

    def begin(self) -> None:
        """Begin a row."""
        self.taken = []
        self.is_suspect = False

    def put_back(self, start: int = 1, suspect: int | None = None) -> None:
        """Have the lines of this row from ``start`` on read again; that at ``suspect`` is not to be trusted."""
        again = [(line, place == suspect) for place, line in enumerate(self.taken)]
        self._again.extendleft(reversed(again[start:]))


class _Reader:
    """Reads rows from lines, by a complete format."""

    def __init__(self, path: Path, file: FileFormat, columns: list[str], lines: _Lines, is_cut: bool = False):
        self._path, self._file, self._columns, self._lines, self._is_cut = path, file, columns, lines, is_cut
        self._named = [(place, name) for place, name in enumerate(columns) if name]
        self._shapes: set[str] = set()
        self._unclosed = 0

    def rows(self) -> Iterator[Row]:
        """Yield the rows."""
        csv.field_size_limit(_CELL_MOST)  # of the whole process
        cells = _parsed(self._lines, self._file)
        number = 0
        while True:
            self._lines.begin()
            fault = ""
            try:
                line = next(cells, None)
                if line is not None and len(self._lines.taken) > 1:
                    fault = self._fault_of_span()
            except csv.Error as error:
                if self._is_cut and str(error) == "unexpected end of data":
                    return
                line, fault = self._repaired(error, number + 1)
                cells = _parsed(self._lines, self._file)
            if line is None:
                return
            if not fault and len(line) < 2 and not "".join(line).strip():
                continue
            number += 1
            if fault or self._lines.is_suspect:
                yield Row(number, {}, fault or f"a quote that was opened rows before closes here; {_QUOTES_ADVICE}")
            else:
                yield self._row(number, line)

    def _row(self, number: int, line: list[str]) -> Row:
        n_columns = len(self._columns)
        if len(line) < n_columns or any(cell.strip() for cell in line[n_columns:]):
            if "\0" in line[0]:
                return Row(number, {}, _nul_fault(line[0]))
            return Row(number, {}, f"{len(line)} cells, and the header has {n_columns}")
        whole = "".join(line)
        if "\0" in whole:
            return Row(number, {}, _nul_fault(whole))
        if has_strays(whole):
            return Row(
                number, {}, f"not {self._file.encoding}; if it is another encoding, the mapping's [file] says so"
            )
        if number <= _SHAPES_FROM:
            self._shapes.add(_shape(line[0]))
        return Row(number, {name: line[place] for place, name in self._named})

    def _repaired(self, error: csv.Error, number: int) -> tuple[list[str], str]:
        """Return the cells of a row that does not parse, where blanks behind a quote are all that is wrong; or why."""
        first = self._lines.taken[0]
        is_long = sum(map(len, self._lines.taken)) > _CELL_MOST
        if is_long:
            self._unclosed += 1
            if self._unclosed > _UNCLOSED_MOST:
                _refuse_quotes(self._path, number)
        self._lines.put_back()
        between = re.escape(self._file.delimiter or ",")
        trimmed = re.sub(rf'"[ \t]+(?={between}|[\r\n]|$)', '"', first)
        if trimmed != first:
            try:
                (cells,) = _parsed(iter([trimmed]), self._file)
            except (csv.Error, ValueError):
                pass
            else:
                return cells, ""
        why = f"{error}" if not is_long else f"a quoted cell of more than {_CELL_MOST:,} characters"
        return [], f"{why}; a quote is missing, or is not doubled; {_QUOTES_ADVICE}"

    def _fault_of_span(self) -> str:
        """Return why a row of several lines is refused; "" for a cell whose text has line ends."""
        taken = self._lines.taken
        if (
            self._file.multiline
            or not self._file.quote
            or (self._file.multiline is None and not self._reads_as_rows(taken))
        ):
            return ""
        self._lines.put_back(suspect=len(taken) - 1)
        return (
            f"a quote that is opened here closes {len(taken) - 1:,} lines later, and each of these lines reads as a "
            f"row; {_QUOTES_ADVICE}; if one cell holds these lines, multiline = true"
        )

    def _reads_as_rows(self, taken: list[str]) -> bool:
        """Tell whether each line of a row is as wide as a row, and begins as rows of this file do."""
        n_columns, delimiter = len(self._columns), self._file.delimiter or ","
        if n_columns < 2:
            return False
        for place, line in enumerate(taken):
            cells = self._alone(line)
            if place == 0 and cells:  # its last cell runs on to the next line
                cells = cells[:-1] + cells[-1].split(delimiter)
            elif not cells:
                return False
            if len(cells) != n_columns:
                return False
            if self._shapes and _shape(cells[0]) not in self._shapes:
                return False
        return True

    def _alone(self, line: str) -> list[str]:
        try:
            return next(
                csv.reader([line], delimiter=self._file.delimiter or ",", quotechar=self._file.quote or None), []
            )
        except csv.Error:
            return []


def has_strays(text: str) -> bool:
    """Tell whether there are bytes in a text that its encoding does not have."""
    return not text.isascii() and any("\udc80" <= c <= "\udcff" for c in text)


def _shape(cell: str) -> str:
    """Return what kind of text a cell is: runs of digits as 9, of letters as a."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", cell.strip()[:40]))


def _nul_fault(text: str) -> str:
    if _TOO_LONG.strip() in text:
        return f"a line of more than {_LINE_MOST:,} characters"
    return "a NUL byte in it: the file is damaged, or in another encoding"


def _refuse_quotes(path: Path, number: int) -> NoReturn:
    raise InputError(
        f"{path}, row {number:,}: the quotes of {_UNCLOSED_MOST:,} rows are not closed within {_CELL_MOST:,} "
        f"characters; {_QUOTES_ADVICE}"
    )
