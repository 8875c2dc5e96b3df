"""How a file becomes events: which column is which field, and how its cells are read.

A mapping is a TOML file (docs/data.md). What it leaves open is guessed from the file (`nextreel.files.guess`).
"""

import re
import tomllib
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from nextreel.errors import InputError
from nextreel.events.contract import FIELDS, EventType, fields_of
from nextreel.files.lists import BRACKETS
from nextreel.files.moments import checked_form, checked_zone
from nextreel.files.numbers import Scale
from nextreel.files.source import FileFormat
from nextreel.settings import read_toml

Kind = Literal["catalogue", "users", "interactions"]

#: The event types of each kind of file.
TYPES: dict[Kind, tuple[EventType, ...]] = {
    "catalogue": ("movie", "series"),
    "users": ("user",),
    "interactions": ("interaction",),
}

#: Words that mean nothing is there, in small letters; not in every field: a film may be called "None".
BLANK_WORDS = ("", "n/a", "na", "nan", "none", "null", "unknown", "\\n", "-")
#: Fields of names and ids: what a program writes for nothing, exactly so, is blank there.
NAME_FIELDS = frozenset({"id", "id_usuario", "id_contenido", "titulo", "nombre_usuario", "actores", "directores"})
_BLANK_MARKS = frozenset({"", "\\N", "n/a", "N/A", "NaN", "nan", "NULL", "null"})
#: Words that are blank in one field alone, or are a value there.
_ALSO_BLANK = {"generos": {"(no genres listed)"}}
_NEVER_BLANK = {"pais": {"na"}}  # Namibia


def _pattern(text: str) -> str:
    try:
        if re.compile(text).groups < 1:
            raise ValueError("needs a group in parentheses: what is taken of the cell")
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


def _constant(value: object) -> object:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TypeRule(_Table):
    """Which titles are movies and which series: what the column ``type`` says of each; without it, ``always``.

    Capitals, blanks, dashes and underscores make no difference.
    """

    movie: list[str] = [
        "movie", "film", "pelicula", "película", "feature", "feature film", "short", "short film", "tv movie",
        "tv short", "tv special", "special", "video", "documentary",
    ]  # fmt: skip
    series: list[str] = [
        "series", "serie", "tv show", "tv series", "show", "tv", "tv mini series", "mini series", "limited series",
        "ova", "ona",
    ]  # fmt: skip
    always: Literal["movie", "series"] | None = None


class Mapping(_Table):
    """Columns by the contract's field, and how cells become values: each rule holds for the fields that it names.

    ``blank`` are cells, in small letters, that mean nothing is there in any field, ``blanks`` those of one field. Of a
    cell, ``patterns`` take what is in their group, ``values`` exchange the result, ``separators`` divide lists.
    ``constants`` fill fields without a column, and blank cells. ``scale`` are the least and the most of the file's
    ratings, which become 0.5 to 5, or "thumbs"; ``watched_scale`` those of ``porcentaje_visto``. ``timestamp`` is
    "iso", "seconds", … or a format of strptime; moments without a zone are in ``zone``.
    """

    columns: dict[str, str]
    file: FileFormat = FileFormat()
    type: TypeRule = TypeRule()
    blank: list[str] | None = None
    blanks: dict[str, list[str]] = {}
    patterns: dict[str, Annotated[str, AfterValidator(_pattern)]] = {}
    values: dict[str, dict[str, str]] = {}
    separators: dict[str, Annotated[str, Field(min_length=1)]] = {}
    constants: dict[str, Annotated[str, BeforeValidator(_constant), Field(min_length=1)]] = {}
    scale: Scale | None = None
    watched_scale: tuple[float, float] | None = None
    timestamp: Annotated[str, AfterValidator(checked_form)] | None = None
    zone: Annotated[str, AfterValidator(checked_zone)] = "UTC"
    zones: dict[str, Annotated[str, AfterValidator(checked_zone)]] = {}

    @model_validator(mode="after")
    def _known(self) -> "Mapping":
        known = {field.name for field in FIELDS}
        for name in ("columns", "patterns", "values", "separators", "constants", "blanks"):
            rule: dict[str, object] = getattr(self, name)
            if unknown := sorted(rule.keys() - known):
                raise ValueError(f"{name}.{unknown[0]}: the contract has no such field (docs/contract.md)")
        lists = {field.name for field in FIELDS if field.kind == "strings"}
        if whole := sorted(self.separators.keys() - lists):
            raise ValueError(f"separators.{whole[0]}: it is no list")
        for name, scale in (("scale", self.scale), ("watched_scale", self.watched_scale)):
            if isinstance(scale, tuple) and not scale[0] < scale[1]:
                raise ValueError(f"{name}: the least rating comes first, then the most")
        moment = self.constants.get("timestamp", "now")
        if moment not in ("now", "order"):
            try:
                datetime.fromisoformat(moment)
            except ValueError:
                raise ValueError(
                    f"constants.timestamp is {moment!r}: say now, order or a moment as 2024-01-31"
                ) from None
        return self

    def is_blank(self, field: str, text: str) -> bool:
        """Tell whether a field's cell, stripped, means that nothing is there."""
        if not text:
            return True
        own = self.blanks.get(field, self.blank)
        if own is not None:
            return text.casefold() in {word.casefold() for word in own}
        if field in NAME_FIELDS:
            return text in _BLANK_MARKS
        word = text.casefold()
        if word in _NEVER_BLANK.get(field, ()):
            return False
        return word in BLANK_WORDS or word in _ALSO_BLANK.get(field, ())


def read_mapping(path: Path) -> Mapping:
    """Read a mapping. Raises `InputError` with the key and what is wrong."""
    try:
        return Mapping.model_validate(read_toml(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"the mapping {path} cannot be read: {error}") from None
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, p['loc'])) or 'mapping'}: {p['msg']}" for p in error.errors(include_url=False)]
        raise InputError("\n".join([f"the mapping {path} is wrong:", *lines])) from None


def as_toml(mapping: Mapping, kind: Kind, has_file_kind: bool = False) -> str:
    """Return a mapping as its file has it, to be changed by hand; with the file's kind if ``has_file_kind``."""
    used = {field.name for event_type in TYPES[kind] for field in fields_of(event_type)}
    lines = ["# Fields of the contract and the file's columns. docs/data.md says what else there may be."]
    lines += (
        [f"timestamp = {_quoted(mapping.timestamp)}"] if mapping.timestamp and "timestamp" in mapping.columns else []
    )
    lines += [f"zone = {_quoted(mapping.zone)}"] if mapping.zone != "UTC" else []
    for name, scale in (("scale", mapping.scale), ("watched_scale", mapping.watched_scale)):
        if scale is not None:
            lines.append(f"{name} = {_quoted(scale) if isinstance(scale, str) else f'[{scale[0]!r}, {scale[1]!r}]'}")
    lines += [f"blank = {_list(mapping.blank)}"] if mapping.blank is not None else []
    lines += _file_section(mapping.file, has_file_kind)
    lines += ["", "[columns]", *(f"{field} = {_quoted(column)}" for field, column in mapping.columns.items())]
    free = sorted(used - mapping.columns.keys() - mapping.constants.keys() - {"type"})
    lines += [f"# without a column: {', '.join(free)}"] if free else []
    if kind == "catalogue":
        rule = mapping.type
        lines += ["", "[type]"]
        lines += [f"always = {_quoted(rule.always)}"] if rule.always else []
        lines += [f"{name} = {_list(getattr(rule, name))}" for name in ("movie", "series")]
    lines += _section("constants", mapping.constants) + _section("patterns", mapping.patterns)
    for field, exchanged in mapping.values.items():
        lines += _section(f"values.{field}", exchanged)
    if mapping.blanks:
        lines += ["", "[blanks]", *(f"{field} = {_list(words)}" for field, words in mapping.blanks.items())]
    return "\n".join([*lines, *_section("zones", mapping.zones), *_separators(mapping, kind), ""])


def _file_section(file: FileFormat, has_kind: bool) -> list[str]:
    written = file.model_dump(exclude_none=True, exclude=None if has_kind else {"kind"})
    if file.header:
        del written["header"]
    lines = [f"{key} = {str(v).lower() if isinstance(v, bool) else _quoted(v)}" for key, v in written.items()]
    return ["", "[file]", *lines] if lines else []


def _separators(mapping: Mapping, kind: Kind) -> list[str]:
    lists = [f.name for event_type in TYPES[kind] for f in fields_of(event_type) if f.kind == "strings"]
    columns = [name for name in lists if name in mapping.columns]
    own = {name: "," if name in mapping.patterns else BRACKETS for name in columns} | mapping.separators
    lines = _section("separators", own)
    if any(mark.startswith(BRACKETS) for mark in own.values()):
        lines += [
            f'# "{BRACKETS}": cells are lists in brackets, as JSON or Python write them, or are divided at commas;',
            f'# "{BRACKETS}|": in brackets, or divided at "|"; "|": divided at "|" alone',
        ]
    return lines


def _section(name: str, entries: MappingOf[str, str]) -> list[str]:
    return (
        ["", f"[{name}]", *(f"{_quoted(key)} = {_quoted(value)}" for key, value in entries.items())] if entries else []
    )


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    escaped = "".join(
        f"\\u{ord(c):04X}" if ord(c) < 0x20 or ord(c) == 0x7F else f"\\{c}" if c in '"\\' else c for c in text
    )
    return f'"{escaped}"'
