"""What a file is: its kind and compression by its first bytes, its encoding, and bounded text of it."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal, cast

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nextreel.errors import InputError

FileKind = Literal["csv", "json lines", "json", "excel", "parquet"]

#: Bytes of a file from which its kind, encoding and dialect are guessed.
SAMPLE_BYTES = 1 << 20
#: What reading compressed or damaged files raises.
READ_ERRORS = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException, UnicodeError,
)  # fmt: skip

#: A cell holds nothing, a text, or several texts.
Cell = str | list[str] | None


@dataclass(frozen=True)
class Row:
    """One row: its number, from 1 on without the header; ``fault`` says why it has no cells."""

    number: int
    cells: dict[str, Cell]
    fault: str = ""
    #: Columns with numbers whose last digits may be lost.
    inexact: frozenset[str] = frozenset()


_SURROGATE = re.compile("[\ud800-\udfff]")


def surrogate_of(text: str) -> str | None:
    """Return the first lone surrogate of a text, as "U+D83D": UTF-8 cannot encode it. None without one."""
    match = None if text.isascii() else _SURROGATE.search(text)
    return f"U+{ord(match[0]):04X}" if match else None


_WHOLE_TEXTS = {
    "utf-8-sig": codecs.BOM_UTF8,
    "utf-32": codecs.BOM_UTF32_LE,
    "utf-16": codecs.BOM_UTF16_LE,
}
_BIG_ENDIAN = {"utf-32": codecs.BOM_UTF32_BE, "utf-16": codecs.BOM_UTF16_BE}
_UNREADABLE = {
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls); save it as .xlsx or CSV",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it first",
    b"Rar!\x1a\x07": "a RAR archive; unpack it first",
    b"SQLite f": "an SQLite database; export its table as CSV",
    b"%PDF": "a PDF document",
    b"Obj\x01": "an Avro file; convert it to Parquet, JSON lines or CSV",
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
#: A block of bzip2, or the end of a file without one: "BZh" alone may begin a header.
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P)")
#: Bytes that text does not have, but formats that begin with letters alone: a header may begin "ORCID".
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a]")
_CONTROLS_WITHIN = 512


def _encoding(name: str) -> str:
    try:
        codec = codecs.lookup(name)
        if not isinstance("".encode(codec.name), bytes):
            raise LookupError
    except (LookupError, UnicodeError):
        raise ValueError(f"{name!r} is no text encoding; examples: utf-8, cp1252, latin-1, utf-16, shift_jis") from None
    return name


class FileFormat(BaseModel):
    """How a file is written. None: guessed from the file; `nextreel.files.cells.recognised` fills it in.

    ``quote`` and ``escape`` are one character, or "" for none. ``header`` false: the first row is data, and columns
    are named "1", "2" and so on. ``multiline`` says whether quoted cells may hold line ends.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FileKind | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quote: Annotated[str, Field(max_length=1)] | None = None
    escape: Literal["", "\\"] | None = None
    decimal: Literal[".", ","] | None = None
    multiline: bool | None = None
    header: bool = True
    sheet: str | None = None


def kind_of(path: Path) -> FileKind:
    """Return a file's kind, by its first bytes. Raises `InputError` for one that cannot be read."""
    if not path.is_file():
        raise InputError(f"{path} is no file that can be read more than once")
    with path.open("rb") as raw:
        begin = raw.read(_CONTROLS_WITHIN)
    if _CONTROLS.search(begin):
        if begin.startswith(b"PAR1"):
            return "parquet"
        if begin.startswith(b"ORC"):
            raise InputError(f"{path} is an ORC file; convert it to Parquet")
    for magic, what in _UNREADABLE.items():
        if begin.startswith(magic):
            raise InputError(f"{path} is {what}")
    if begin.startswith(_ZIP) and _is_workbook(path):
        return "excel"
    text = sample_of(path, encoding_of(path)).lstrip("\ufeff \t\r\n")
    if text.startswith("{"):
        return "json lines"
    return "json" if text.startswith("[") and text[1:].lstrip()[:1] in ("{", "]") else "csv"


def encoding_of(path: Path) -> str:
    """Return a text file's encoding: by its mark, or by where its NUL bytes are; UTF-8 without either."""
    with opened(path) as raw:
        return encoding_of_bytes(raw.read(SAMPLE_BYTES))


def encoding_of_bytes(data: bytes) -> str:
    """Return the encoding of a text's first bytes: "utf-8-sig", "utf-16", "utf-16-le" … or "utf-8"."""
    for name, mark in _WHOLE_TEXTS.items():
        if data.startswith((mark, _BIG_ENDIAN.get(name, mark))):
            return name
    even, odd = data[0::2].count(0), data[1::2].count(0)
    pairs = len(data) // 2
    if pairs and max(even, odd) * 3 >= pairs and min(even, odd) * 10 <= max(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8"


def sample_of(path: Path, encoding: str) -> str:
    """Return the first characters of a text file; bytes that the encoding does not have are replaced."""
    with opened(path) as raw:
        data = raw.read(SAMPLE_BYTES)
    return codecs.getincrementaldecoder(encoding)("replace").decode(data)


@contextmanager
def opened_text(path: Path, encoding: str, newline: str = "") -> Iterator[io.TextIOWrapper]:
    """Open a file's text, unpacked. ``newline`` as `open` has it: "" for all kinds of line ends, none translated."""
    encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    with opened(path) as raw, io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline=newline) as text:
        yield text


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file's bytes, unpacked where it is compressed by gzip, bzip2, xz, zstd or zip. Raises `InputError`."""
    with path.open("rb") as plain:
        begin = plain.read(10)
    if begin.startswith(b"\x1f\x8b"):
        file = cast(IO[bytes], gzip.GzipFile(path))
    elif _BZIP2.match(begin):
        file = bz2.BZ2File(path)
    elif begin.startswith(b"\xfd7zXZ"):
        file = lzma.LZMAFile(path)  # noqa: SIM115 (closed below)
    elif begin.startswith(b"\x28\xb5\x2f\xfd"):
        file = io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    elif begin.startswith(_ZIP):
        with zipfile.ZipFile(path) as archive, _only_member(path, archive) as member:
            yield member
        return
    else:
        file = path.open("rb")
    with file:
        yield file


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is a damaged zip archive: {error}") from None
    if "xl/workbook.bin" in names or "content.xml" in names:
        raise InputError(f"{path} is a spreadsheet in another format than .xlsx; save it as .xlsx or CSV")
    return "xl/workbook.xml" in names


def _only_member(path: Path, archive: zipfile.ZipFile) -> IO[bytes]:
    names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
    if len(names) != 1:
        shown = ", ".join(map(repr, names[:5])) or "nothing"
        raise InputError(f"{path} is a zip archive of {len(names):,} files ({shown}); unpack it and give one of them")
    try:
        return archive.open(names[0])
    except RuntimeError as error:  # a password, or a compression that Python does not have
        raise InputError(f"{path} is a zip archive that cannot be unpacked here: {error}") from None
