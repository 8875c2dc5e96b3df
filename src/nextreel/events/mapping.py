"""How a file of somebody's own becomes events: which column is which field, and how its cells are read.

A mapping is a TOML file (docs/data.md); where there is none, one is guessed from the file's columns.
"""

import re
import tomllib
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from nextreel.errors import InputError
from nextreel.events.cells import FileFormat, Row
from nextreel.events.contract import FIELDS, EventType, fields_of

Kind = Literal["catalogue", "users", "interactions"]

#: The event types of each kind of file.
TYPES: dict[Kind, tuple[EventType, ...]] = {
    "catalogue": ("movie", "series"),
    "users": ("user",),
    "interactions": ("interaction",),
}


def _pattern(text: str) -> str:
    try:
        if re.compile(text).groups < 1:
            raise ValueError("needs a group in parentheses: what is taken of the cell")
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


def _time_format(text: str) -> str:
    if text not in ("iso", "seconds", "milliseconds"):
        try:
            if "%" not in text:
                raise ValueError("it has no %")
            moment = datetime(2001, 2, 3, 4, 5, 6)
            datetime.strptime(moment.strftime(text), text)
        except (ValueError, re.error) as error:
            raise ValueError(f"is neither iso, seconds nor milliseconds, and no format of moments: {error}") from None
    return text


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TypeRule(_Table):
    """Which titles are movies and which series: what the column ``type`` says of each; without it, ``always``."""

    movie: list[str] = ["movie", "film", "pelicula", "película"]
    series: list[str] = ["series", "serie", "tv show", "tv series", "show", "tv"]
    always: Literal["movie", "series"] | None = None


class Mapping(_Table):
    """Columns by the contract's field, and how cells become values: each rule holds for the fields that it names.

    ``blank`` are cells, in small letters, that mean nothing is there. Of a cell, ``patterns`` take what is in their
    group, ``values`` exchange what was found, ``separators`` cut lists. ``scale`` are the least and the most of the
    file's ratings, which become 0.5 to 5; ``timestamp`` is "iso", "seconds", "milliseconds" or a format of strptime.
    """

    columns: dict[str, str]
    file: FileFormat = FileFormat()
    type: TypeRule = TypeRule()
    blank: list[str] = ["", "n/a", "na", "nan", "none", "null", "unknown", "\\n", "-"]
    patterns: dict[str, Annotated[str, AfterValidator(_pattern)]] = {}
    values: dict[str, dict[str, str]] = {}
    separators: dict[str, Annotated[str, Field(min_length=1)]] = {}
    scale: tuple[float, float] | None = None
    timestamp: Annotated[str, AfterValidator(_time_format)] = "iso"

    @model_validator(mode="after")
    def _known(self) -> "Mapping":
        known = {field.name for field in FIELDS}
        for name in ("columns", "patterns", "values", "separators"):
            rule: dict[str, object] = getattr(self, name)
            if unknown := sorted(rule.keys() - known):
                raise ValueError(f"{name}.{unknown[0]}: the contract has no such field (docs/contract.md)")
        lists = {field.name for field in FIELDS if field.kind == "strings"}
        if whole := sorted(self.separators.keys() - lists):
            raise ValueError(f"separators.{whole[0]}: it is no list")
        if self.scale is not None and not self.scale[0] < self.scale[1]:
            raise ValueError("scale: the least rating comes first, then the most")
        return self


def read_mapping(path: Path) -> Mapping:
    """Read a mapping. Raises `InputError` with the key and what is wrong."""
    try:
        return Mapping.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"the mapping {path} cannot be read: {error}") from None
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, p['loc'])) or 'mapping'}: {p['msg']}" for p in error.errors(include_url=False)]
        raise InputError("\n".join([f"the mapping {path} is wrong:", *lines])) from None


#: What columns of real data sets are called, without blanks, dashes and underscores, by the field they become.
_NAMES: dict[Kind, dict[str, tuple[str, ...]]] = {
    "catalogue": {
        "id": ("id", "showid", "movieid", "titleid", "contentid", "itemid", "imdbid", "tconst"),
        "type": ("type", "kind", "titletype", "contenttype"),
        "timestamp": ("timestamp", "updatedat"),
        "titulo": ("title", "titulo", "name", "primarytitle"),
        "generos": ("genres", "genre", "generos", "listedin", "categories"),
        "directores": ("directors", "director", "directores"),
        "actores": ("cast", "actors", "actores", "stars"),
        "clasificacion": ("agerating", "clasificacion", "rated", "certification", "contentrating", "rating"),
        "decada_lanzamiento": ("releaseyear", "year", "startyear", "decadalanzamiento", "decade", "releasedate"),
        "numero_temporadas": ("seasons", "numberofseasons", "numerotemporadas", "duration"),
        "numero_episodios": ("episodes", "numberofepisodes", "numeroepisodios"),
    },
    "users": {
        "id": ("id", "userid", "customerid"),
        "timestamp": ("timestamp", "updatedat"),
        "nombre_usuario": ("username", "name", "nombreusuario", "login"),
        "fecha_suscripcion": ("subscribedat", "subscriptiondate", "fechasuscripcion", "signupdate", "joined"),
        "generos": ("genres", "favouritegenres", "favoritegenres", "generos"),
        "decadas_favoritas": ("decades", "favouritedecades", "favoritedecades", "decadasfavoritas"),
        "pais": ("country", "pais", "countrycode"),
        "grupo_edad": ("agegroup", "grupoedad", "age"),
    },
    "interactions": {
        "id": ("id", "eventid", "interactionid"),
        "id_usuario": ("userid", "user", "customerid", "idusuario", "profileid"),
        "id_contenido": ("contentid", "movieid", "titleid", "itemid", "showid", "idcontenido", "title", "item"),
        "timestamp": ("timestamp", "time", "date", "datetime", "watchedat", "createdat", "ratedat"),
        "evento": ("event", "eventtype", "evento", "action"),
        "calificacion": ("rating", "stars", "calificacion", "score"),
        "porcentaje_visto": ("percentwatched", "progress", "porcentajevisto", "completion"),
        "dispositivo": ("device", "dispositivo", "platform"),
    },
}
#: What is taken of a cell where a column is guessed: of a length, the seasons; of an age rating, none that is a length.
_PATTERNS = {
    "numero_temporadas": r"(?i)^(\d+)(?: seasons?)?$",
    "clasificacion": r"(?i)^((?!\d+ min).+)$",
}


def guess(file: FileFormat, columns: Sequence[str], rows: Sequence[Row], kind: Kind) -> Mapping:
    """Return the mapping that a file's columns and first rows suggest.

    Raises `InputError` where an id is not among the columns.
    """
    plain = {re.sub(r"[\s_-]", "", column).casefold(): column for column in reversed(columns)}
    taken: dict[str, str] = {}
    for field, names in _NAMES[kind].items():
        found = next((plain[name] for name in names if name in plain and plain[name] not in taken.values()), None)
        if found is not None:
            taken[field] = found
    needed = ("id_usuario", "id_contenido") if kind == "interactions" else ("id",)
    if missing := [field for field in needed if field not in taken]:
        raise InputError(
            f"no column looks like {missing[0]}; there are {', '.join(map(repr, columns))}. Say which by --map FILE"
        )
    always = TypeRule(always="movie") if kind == "catalogue" and "type" not in taken else TypeRule()
    blank = Mapping.model_fields["blank"].default
    moments = [str(row.cells.get(taken.get("timestamp", ""), "")).strip() for row in rows]
    return Mapping(
        columns=taken,
        file=file,
        type=always,
        patterns={field: text for field, text in _PATTERNS.items() if field in taken},
        timestamp=_form([moment for moment in moments if moment.casefold() not in blank]),
    )


def _form(moments: Sequence[str]) -> str:
    """Return how moments are written."""
    if moments and all(re.fullmatch(r"\d{9,13}(\.\d+)?", moment) for moment in moments):
        return "milliseconds" if all(len(moment.split(".")[0]) > 11 for moment in moments) else "seconds"
    return "iso"


def as_toml(mapping: Mapping, kind: Kind) -> str:
    """Return a mapping as its file has it, to be changed by hand."""
    used = {field.name for event_type in TYPES[kind] for field in fields_of(event_type)}
    lines = ["# Fields of the contract and the file's columns. docs/data.md says what else there may be."]
    lines += [f"timestamp = {_quoted(mapping.timestamp)}"] if "timestamp" in mapping.columns else []
    lines += [f"scale = [{mapping.scale[0]!r}, {mapping.scale[1]!r}]"] if mapping.scale is not None else []
    lines += [f"blank = {_list(mapping.blank)}"] if mapping.blank != Mapping.model_fields["blank"].default else []
    lines += ["", "[file]", f"delimiter = {_quoted(mapping.file.delimiter)}"]
    lines += [f"encoding = {_quoted(mapping.file.encoding)}", "", "[columns]"]
    lines += [f"{field} = {_quoted(column)}" for field, column in mapping.columns.items()]
    free = sorted(used - mapping.columns.keys() - {"type"})
    lines += [f"# without a column: {', '.join(free)}"] if free else []
    if kind == "catalogue":
        rule = mapping.type
        lines += ["", "[type]"]
        lines += [f"always = {_quoted(rule.always)}"] if rule.always else []
        lines += [f"{name} = {_list(getattr(rule, name))}" for name in ("movie", "series")]
    lines += _section("patterns", mapping.patterns)
    lists = [f.name for event_type in TYPES[kind] for f in fields_of(event_type) if f.kind == "strings"]
    own = {name: "," for name in lists if name in mapping.columns} | mapping.separators
    for field, exchanged in mapping.values.items():
        lines += _section(f"values.{field}", exchanged)
    return "\n".join([*lines, *_section("separators", own), ""])


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
