"""The wire contract, declared once.

Spark's schema, the validators, the encoders and the documentation are all made from ``FIELDS``. Messages are
JSON, UTF-8, one event each, keyed by ``id``. Names on the wire are Spanish, as the original system defines them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import pyarrow as pa

EventType = Literal["user", "movie", "series", "interaction"]
Kind = Literal["string", "strings", "number", "timestamp"]

EVENT_TYPES: tuple[EventType, ...] = ("user", "movie", "series", "interaction")
TITLE_TYPES: tuple[EventType, ...] = ("movie", "series")

#: The lake's event table of each type.
TABLES: dict[EventType, str] = {
    "user": "users",
    "movie": "movies",
    "series": "series",
    "interaction": "interactions",
}

#: What producers write into a field that does not apply, whatever its declared type: it means null.
NOT_APPLICABLE = "n/a"

RATING_MIN, RATING_MAX = 0.5, 5.0

#: A message larger than this is quarantined unread.
MAX_MESSAGE_BYTES = 1_000_000

#: Age ratings (MPA for films, TV Parental Guidelines for television) in order of maturity.
MATURITY: dict[str, int] = {
    "G": 0, "TV-Y": 0, "TV-G": 0,
    "PG": 1, "TV-Y7": 1, "TV-PG": 1,
    "PG-13": 2, "TV-14": 2,
    "R": 3, "TV-MA": 3,
    "NC-17": 4,
}  # fmt: skip


class Verb(StrEnum):
    """What a user did with a title: the values of ``evento``."""

    PLAY = "play"
    COMPLETE = "complete"
    RATE = "rate"
    LIST = "list"
    SKIP = "skip"


class Reason(StrEnum):
    """Why a message is in quarantine."""

    EMPTY = "empty"
    TOO_LARGE = "too large"
    NOT_UTF8 = "not UTF-8"
    NOT_JSON = "not JSON"
    NOT_AN_OBJECT = "not an object"
    UNKNOWN_TYPE = "unknown type"
    WRONG_TOPIC = "wrong topic"
    MISSING_FIELD = "missing field"
    WRONG_TYPE = "wrong type"
    OUT_OF_RANGE = "out of range"
    BAD_TIMESTAMP = "bad timestamp"


@dataclass(frozen=True)
class Field:
    """One field of the contract.

    ``types`` are the event types it belongs to, ``required`` those in which it may not be null; ``low`` and
    ``high`` bound a number, both included; ``choices`` lists the only strings allowed.
    """

    name: str
    kind: Kind
    doc: str
    types: tuple[EventType, ...] = EVENT_TYPES
    required: tuple[EventType, ...] = ()
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


_PROFILE: tuple[EventType, ...] = ("user", "movie", "series")

FIELDS: tuple[Field, ...] = (
    Field("id", "string", "identifies the user, title or interaction; the message key", required=EVENT_TYPES),
    Field("type", "string", "the event's type", required=EVENT_TYPES, choices=EVENT_TYPES),
    Field("timestamp", "timestamp", "event time, ISO 8601; UTC where no zone is given", required=EVENT_TYPES),
    Field("titulo", "string", "title", TITLE_TYPES),
    Field("nombre_usuario", "string", "username", ("user",)),
    Field("fecha_suscripcion", "string", "subscription date", ("user",)),
    Field("generos", "strings", "genres: preferred by the user, or the title's own", _PROFILE),
    Field("directores", "strings", "directors: preferred, or the title's own", _PROFILE),
    Field("actores", "strings", "actors: preferred, or the title's own", _PROFILE),
    Field("clasificacion", "string", "age rating (PG-13, TV-MA): preferred, or the title's own", _PROFILE),
    Field("decada_lanzamiento", "string", "decade of release, as 1990s", TITLE_TYPES),
    Field("numero_temporadas", "string", "number of seasons", ("series",)),
    Field("numero_episodios", "string", "number of episodes", ("series",)),
    Field("decadas_favoritas", "strings", "favourite decades", ("user",)),
    Field("pais", "string", "country", ("user",)),
    Field("grupo_edad", "string", "age group", ("user",)),
    Field("id_usuario", "string", "the user who did it", ("interaction",), ("interaction",)),
    Field("id_contenido", "string", "the title it was done with", ("interaction",), ("interaction",)),
    Field(
        "evento", "string", "what was done", ("interaction",), ("interaction",), choices=tuple(Verb)
    ),
    Field(
        "calificacion", "number", "rating; required where evento is rate", ("interaction",),
        low=RATING_MIN, high=RATING_MAX,
    ),
    Field("porcentaje_visto", "number", "percentage watched", ("interaction",), low=0.0, high=100.0),
    Field("dispositivo", "string", "device", ("interaction",)),
)  # fmt: skip

_ARROW: dict[Kind, pa.DataType] = {
    "string": pa.string(),
    "strings": pa.list_(pa.string()),
    "number": pa.float64(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


def fields_of(event_type: EventType) -> tuple[Field, ...]:
    """Return the contract's fields for one event type, in the contract's order."""
    return tuple(field for field in FIELDS if event_type in field.types)


def event_schema(event_type: EventType) -> pa.Schema:
    """Return the Arrow schema of one event type: the contract's fields, all nullable, in its order."""
    return pa.schema([pa.field(f.name, _ARROW[f.kind]) for f in fields_of(event_type)])
