"""Rows of an Excel workbook (.xlsx): the first sheet, or a named one, read from its XML within bounds.

Nothing is evaluated: of a formula the value that was saved is read. Dates, which Excel keeps as numbers, are known by
their style.
"""

import re
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from nextreel.errors import InputError
from nextreel.files.source import READ_ERRORS, Cell, FileFormat, Row

#: Bytes of a sheet's XML, and of the workbook's texts, at the most when unpacked: a workbook may be a zip bomb.
_SHEET_MOST, _TEXTS_MOST = 4_000_000_000, 200_000_000
#: Bytes of one row or text, and of parts that are held whole, as styles are: an element costs up to 16 times as much.
_ELEMENT_MOST, _PARTS_MOST = 16_000_000, 32_000_000
_COLUMNS_MOST = 16_384
#: Excel's own formats of dates and times, by number.
_DATE_FORMATS = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
_DATE_LETTERS = re.compile(r'[ymdhs](?=(?:[^"]*"[^"]*")*[^"]*$)', re.IGNORECASE)


def sheet_columns(path: Path, file: FileFormat) -> list[str]:
    """Return a sheet's columns: its first row that is not blank. Raises `InputError`."""
    first = next(_values(path, file), [])
    if not file.header:
        return [str(place) for place in range(1, len(first) + 1)]
    return [(cell or "").strip() for cell in first]


def sheet_rows(path: Path, file: FileFormat) -> Iterator[Row]:
    """Yield a sheet's rows that are not blank. Raises `InputError`."""
    columns = sheet_columns(path, file)
    values = _values(path, file)
    if file.header:
        next(values, None)
    for number, cells in enumerate(values, 1):
        if any(cells[len(columns) :]):
            yield Row(number, {}, f"{len(cells)} cells, and the header has {len(columns)}")
            continue
        padded: list[Cell] = [*cells, *[None] * (len(columns) - len(cells))]
        yield Row(number, {name: cell for name, cell in zip(columns, padded, strict=False) if name})


def _values(path: Path, file: FileFormat) -> Iterator[list[str | None]]:
    try:
        with zipfile.ZipFile(path) as book:
            sheet, is_1904 = _sheet(path, book, file.sheet)
            texts, dates = _texts(book), _date_styles(book)
            with book.open(sheet) as raw:
                for row in _elements(raw, "row", _SHEET_MOST):
                    cells = _cells(row, texts, dates, is_1904)
                    if any(cell is not None and cell.strip() for cell in cells):
                        yield cells
    except (*READ_ERRORS, ET.ParseError, KeyError, ValueError, IndexError, RuntimeError) as error:
        raise InputError(f"{path} is an Excel workbook that cannot be read: {error}; save it as CSV") from None


def _sheet(path: Path, book: zipfile.ZipFile, name: str | None) -> tuple[str, bool]:
    """Return a sheet's part of the archive, and whether dates count from 1904."""
    with book.open("xl/workbook.xml") as raw:
        root = _whole(raw)
    sheets = {s.get("name", ""): _attribute(s, "id") for s in root.iter() if _tag(s) == "sheet"}
    if not sheets:
        raise InputError(f"{path} is an Excel workbook without a sheet")
    if name is not None and name not in sheets:
        raise InputError(f"{path} has no sheet {name!r}; there are {', '.join(map(repr, sheets))}")
    wanted = sheets[name] if name is not None else next(iter(sheets.values()))
    with book.open("xl/_rels/workbook.xml.rels") as raw:
        targets = {r.get("Id"): r.get("Target", "") for r in _whole(raw).iter()}
    target = targets[wanted]
    is_1904 = any(_tag(e) == "workbookPr" and e.get("date1904") in ("1", "true") for e in root.iter())
    return target.lstrip("/") if target.startswith("/") else f"xl/{target}", is_1904


def _texts(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    with book.open("xl/sharedStrings.xml") as raw:
        return [_text(each) for each in _elements(raw, "si", _TEXTS_MOST)]


def _date_styles(book: zipfile.ZipFile) -> set[int]:
    if "xl/styles.xml" not in book.namelist():
        return set()
    with book.open("xl/styles.xml") as raw:
        root = _whole(raw)
    own = {
        int(e.get("numFmtId", "0"))
        for e in root.iter()
        if _tag(e) == "numFmt" and _DATE_LETTERS.search(re.sub(r"\[[^\]]*\]", "", e.get("formatCode", "")))
    }
    formats = next((list(e) for e in root.iter() if _tag(e) == "cellXfs"), [])
    return {i for i, e in enumerate(formats) if int(e.get("numFmtId", "0")) in _DATE_FORMATS | own}


def _cells(row: ET.Element, texts: list[str], dates: set[int], is_1904: bool) -> list[str | None]:
    cells: list[str | None] = []
    for cell in row:
        if _tag(cell) != "c":
            continue
        place = _column(cell.get("r", "")) if cell.get("r") else len(cells)
        if place >= _COLUMNS_MOST:
            raise ValueError(f"a row has more than {_COLUMNS_MOST:,} columns")
        cells += [None] * (place - len(cells))
        cells[place:] = [_value(cell, texts, dates, is_1904)]
    return cells


def _value(cell: ET.Element, texts: list[str], dates: set[int], is_1904: bool) -> str | None:
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return _text(cell)
    text = next((e.text for e in cell if _tag(e) == "v"), None)
    if text is None or kind == "e":  # an error, as #N/A
        return None
    if kind == "s":
        return texts[int(text)]
    if kind == "b":
        return "true" if text == "1" else "false"
    if kind != "n":
        return text
    number = float(text)
    if int(cell.get("s", "0")) in dates:
        return _moment(number, is_1904)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _moment(days: float, is_1904: bool) -> str:
    origin = datetime(1904, 1, 1) if is_1904 else datetime(1899, 12, 30)  # Excel counts 29 February 1900
    try:
        moment = origin + timedelta(seconds=round(days * 86_400))
    except OverflowError:
        return repr(days)
    return moment.date().isoformat() if days.is_integer() else moment.isoformat(sep=" ")


def _column(reference: str) -> int:
    place = 0
    for letter in reference.rstrip("0123456789"):
        place = place * 26 + ord(letter.upper()) - ord("A") + 1
    return place - 1


def _text(element: ET.Element) -> str:
    """Return a text of several runs, without the phonetic ones."""
    runs: list[str] = []
    for child in element:
        if _tag(child) == "t":
            runs.append(child.text or "")
        elif _tag(child) in ("r", "is"):
            runs.append(_text(child))
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda m: chr(int(m[1], 16)), "".join(runs))


def _elements(raw: IO[bytes], tag: str, most: int) -> Iterator[ET.Element]:
    """Yield elements of one name, up to the end of what holds them; none that was yielded stays in memory."""
    parents: list[ET.Element] = []
    bounded = _Bounded(raw, most, _ELEMENT_MOST)
    for event, element in ET.iterparse(bounded, ("start", "end")):  # noqa: S314
        if event == "start":
            parents.append(element)
            continue
        parents.pop()
        if _tag(element) == tag:
            yield element
            bounded.restart()
            element.clear()
            if parents:
                parents[-1].remove(element)
        elif _tag(element) in ("sheetData", "sst"):
            return


def _whole(raw: IO[bytes]) -> ET.Element:
    return ET.parse(_Bounded(raw, _PARTS_MOST, _PARTS_MOST)).getroot()  # noqa: S314


class _Bounded:
    """Bytes of an XML part: more than ``most``, more than ``element_most`` since a `restart`, or a DTD are an error."""

    def __init__(self, raw: IO[bytes], most: int, element_most: int):
        self._raw, self._left, self._before = raw, most, b""
        self._element_most = self._element_left = element_most

    def restart(self) -> None:
        """Count the bytes of the next element."""
        self._element_left = self._element_most

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(size if size and size > 0 else 1 << 16)
        self._left -= len(data)
        self._element_left -= len(data)
        if self._left < 0:
            raise ValueError("it is too large when unpacked")
        if self._element_left < 0:
            raise ValueError(f"a row or a text of it has more than {self._element_most:,} bytes when unpacked")
        if b"<!DOCTYPE" in self._before + data or b"<!ENTITY" in self._before + data:
            raise ValueError("its XML has a DTD")
        self._before = data[-16:]
        return data


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _attribute(element: ET.Element, name: str) -> str | None:
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)
