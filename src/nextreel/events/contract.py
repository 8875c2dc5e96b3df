"""The wire contract, declared once.

Spark's schema, the validators, the encoders and the documentation are all made from ``FIELDS``. Messages are
JSON, UTF-8, one event each, keyed by `KEY_FIELD`. Names on the wire are Spanish, as the original system defines them.
"""

from collections.abc import Sequence
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

#: The field whose value is a message's key: all events of a user, and all of a title, are in one partition in order.
KEY_FIELD: dict[EventType, str] = {"user": "id", "movie": "id", "series": "id", "interaction": "id_usuario"}

#: What producers write into a field that does not apply, whatever its declared type: it means null.
NOT_APPLICABLE = "n/a"

RATING_MIN, RATING_MAX = 0.5, 5.0

#: A message larger than this is quarantined unread.
MAX_MESSAGE_BYTES = 1_000_000

#: Bounds of what a message may hold: characters (code points) of an id, of another text and of a list's entry, and
#: entries of a list. A list's entries, joined for a CSV file, stay below the 131,072 characters of a cell that
#: Python's csv module reads.
ID_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, ENTRY_CHARACTERS_MAX, ENTRIES_MAX = 256, 4_096, 1_024, 100

#: No text holds this character: CSV readers, C libraries and databases end or refuse a text at it.
NUL = "\0"

#: Event times outside these years are taken for mistakes: seconds read as milliseconds, a clock never set.
#: `nextreel.events.arrival` bounds how far ahead of its message's arrival an event time may be. The past is open:
#: replays and simulated worlds begin where they like.
YEAR_MIN, YEAR_MAX = 1900, 2100

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
    TOO_LONG = "too long"
    FORBIDDEN_CHARACTER = "forbidden character"
    BAD_TIMESTAMP = "bad timestamp"


@dataclass(frozen=True)
class Explained:
    """What a reason says of a message, and what to do about it."""

    means: str
    remedy: str


#: Every reason, for people: `nextreel quarantine` and docs/contract.md show these.
EXPLAINED: dict[Reason, Explained] = {
    Reason.EMPTY: Explained(
        "the message has no value: null (a tombstone) or no bytes",
        "nothing is lost: events are never deleted here. Keep log compaction's tombstones off these topics",
    ),
    Reason.TOO_LARGE: Explained(
        f"the value has more than {MAX_MESSAGE_BYTES:,} bytes, and was not read",
        "send ids and names, not documents or pictures",
    ),
    Reason.NOT_UTF8: Explained(
        "some bytes are not UTF-8: Latin-1, UTF-16 or compressed data; the detail names a format that it recognises",
        "configure the producer to send plain JSON in UTF-8; compression belongs into `compression.type`",
    ),
    Reason.NOT_JSON: Explained(
        "the value is not one JSON document (RFC 8259): cut off, single quotes, NaN, a byte order mark, two documents, "
        "more than 1,024 levels deep, or behind the frame of a schema registry, which the detail names",
        "let a JSON library write it, one document a message; an export can be edited and replayed",
    ),
    Reason.NOT_AN_OBJECT: Explained(
        "the value is JSON, but an array, a text, a number, true, false or null",
        "send one event a message, as an object",
    ),
    Reason.UNKNOWN_TYPE: Explained(
        "`type` is none of the contract's",
        "correct `type`; it is written in small letters",
    ),
    Reason.WRONG_TOPIC: Explained(
        "the event's type is not what its topic carries",
        "let the producer send it to its own topic; an export can name another topic for it",
    ),
    Reason.MISSING_FIELD: Explained(
        f'a required field is not there, null, empty or "{NOT_APPLICABLE}"',
        "add the field that the detail names",
    ),
    Reason.WRONG_TYPE: Explained(
        "a field has another JSON type than the contract says, or a number too large to be read exactly",
        "write the field that the detail names as the contract has it",
    ),
    Reason.OUT_OF_RANGE: Explained(
        "a number is beyond its bounds, or a text is none of those allowed",
        "correct the value; the detail names what is allowed",
    ),
    Reason.TOO_LONG: Explained(
        f"an id has more than {ID_CHARACTERS_MAX} characters, another text more than {TEXT_CHARACTERS_MAX:,}, a list "
        f"more than {ENTRIES_MAX} entries, or an entry more than {ENTRY_CHARACTERS_MAX:,} characters",
        "shorten the field that the detail names",
    ),
    Reason.FORBIDDEN_CHARACTER: Explained(
        "a text holds U+0000, at which CSV readers and databases end or refuse a text",
        "remove the character from the field that the detail names",
    ),
    Reason.BAD_TIMESTAMP: Explained(
        f"`timestamp` is not ISO 8601, before {YEAR_MIN}, from {YEAR_MAX} on, or further ahead of the message's "
        "arrival than `contract.max_clock_skew_seconds`: the event would count as the newest until then",
        "correct the producer's clock or its format (seconds since 1970 are not read)",
    ),
}


@dataclass(frozen=True)
class Field:
    """One field of the contract.

    ``types`` are the event types it belongs to, ``required`` those in which it may not be null; ``low`` and
    ``high`` bound a number, both included; ``choices`` lists the only strings allowed. A string has at most
    ``max_characters``, a list at most ``max_entries`` entries of ``max_characters`` each.
    """

    name: str
    kind: Kind
    doc: str
    types: tuple[EventType, ...] = EVENT_TYPES
    required: tuple[EventType, ...] = ()
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    max_characters: int = TEXT_CHARACTERS_MAX
    max_entries: int = ENTRIES_MAX


def _id(name: str, doc: str, types: tuple[EventType, ...]) -> Field:
    return Field(name, "string", doc, types, types, max_characters=ID_CHARACTERS_MAX)


def _list(name: str, doc: str, types: tuple[EventType, ...]) -> Field:
    return Field(name, "strings", doc, types, max_characters=ENTRY_CHARACTERS_MAX)


_PROFILE: tuple[EventType, ...] = ("user", "movie", "series")

FIELDS: tuple[Field, ...] = (
    _id("id", "identifies the user, the title or, within user, title and evento, the interaction; "
        "the key of users' and titles' messages", EVENT_TYPES),
    Field("type", "string", "the event's type", required=EVENT_TYPES, choices=EVENT_TYPES),
    Field("timestamp", "timestamp", "event time, ISO 8601; UTC where no zone is given", required=EVENT_TYPES),
    Field("titulo", "string", "title", TITLE_TYPES),
    Field("nombre_usuario", "string", "username", ("user",)),
    Field("fecha_suscripcion", "string", "subscription date", ("user",)),
    _list("generos", "genres: preferred by the user, or the title's own", _PROFILE),
    _list("directores", "directors: preferred, or the title's own", _PROFILE),
    _list("actores", "actors: preferred, or the title's own", _PROFILE),
    Field("clasificacion", "string", "age rating (PG-13, TV-MA): preferred, or the title's own", _PROFILE),
    Field("decada_lanzamiento", "string", "decade of release, as 1990s", TITLE_TYPES),
    Field("numero_temporadas", "string", "number of seasons", ("series",)),
    Field("numero_episodios", "string", "number of episodes", ("series",)),
    _list("decadas_favoritas", "favourite decades", ("user",)),
    Field("pais", "string", "country", ("user",)),
    Field("grupo_edad", "string", "age group", ("user",)),
    _id("id_usuario", "the user who did it; the key of interactions' messages", ("interaction",)),
    _id("id_contenido", "the title it was done with", ("interaction",)),
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


def text_fault(name: str, text: str, max_characters: int) -> tuple[Reason, str] | None:
    """Return why a text breaks the contract's bounds, with a detail for people; None where it keeps to them."""
    if len(text) > max_characters:
        return Reason.TOO_LONG, f"{name}: {len(text):,} characters; at most {max_characters:,} are allowed"
    if NUL in text:
        return Reason.FORBIDDEN_CHARACTER, f"{name}: U+0000 at character {text.index(NUL) + 1:,}"
    return None


def list_fault(name: str, entries: Sequence[object], max_entries: int) -> tuple[Reason, str] | None:
    """Return why a list has too many entries for the contract; None where it has not. Null entries count."""
    if len(entries) > max_entries:
        return Reason.TOO_LONG, f"{name}: {len(entries):,} entries; at most {max_entries:,} are allowed"
    return None


def value_fault(field: Field, value: str | Sequence[str]) -> tuple[Reason, str] | None:
    """Return why a string or a list of strings breaks a field's bounds, as ingest says it; None where it does not."""
    if isinstance(value, str):
        return text_fault(field.name, value, field.max_characters)
    faults = (text_fault(f"{field.name}[{i}]", text, field.max_characters) for i, text in enumerate(value))
    return list_fault(field.name, value, field.max_entries) or next(filter(None, faults), None)


def event_schema(event_type: EventType) -> pa.Schema:
    """Return the Arrow schema of one event type: the contract's fields, all nullable, in its order."""
    return pa.schema([pa.field(f.name, _ARROW[f.kind]) for f in fields_of(event_type)])
