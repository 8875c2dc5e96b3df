"""What messages in the wild may hold, as hypothesis strategies: any JSON, times good and bad, and spoilt events."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import strategies as st
from tests.ingest.corpus import JSON_DOCUMENTS, NO_JSON_DOCUMENTS

from nextreel.events.contract import (
    ENTRIES_MAX,
    ENTRY_CHARACTERS_MAX,
    EVENT_TYPES,
    FIELDS,
    ID_CHARACTERS_MAX,
    TEXT_CHARACTERS_MAX,
)

#: Texts and lists at the contract's bounds and one beyond, in one byte a character and in four; and texts with U+0000.
BOUNDS = st.sampled_from(
    [
        *(c * n for c in "x🎬" for most in (ID_CHARACTERS_MAX, ENTRY_CHARACTERS_MAX, TEXT_CHARACTERS_MAX)
          for n in (most, most + 1)),
        "\0", "a\0b", "\0" * 300,
        *([entry] * n for entry in ("Drama", "n/a") for n in (ENTRIES_MAX, ENTRIES_MAX + 1)),
        *([["Drama", text] for text in ("x" * ENTRY_CHARACTERS_MAX, "🎬" * (ENTRY_CHARACTERS_MAX + 1), "a\0b")]),
    ]
)  # fmt: skip

#: Any JSON at all, NaN and lone surrogates included.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["n/a", "", "rate"])
    | BOUNDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)

#: Event times: many that are read, and many that look like it.
TIMES = st.builds(
    lambda moment, sep, end: moment.isoformat(sep) + end,
    st.datetimes(),
    st.sampled_from(["T", " ", "t", "_"]),
    st.sampled_from(["", "Z", "z", "+01:00", "-0330", "+01", "+24:00", "+00:61", ".5Z", "+1:00", "ZZ"]),
) | st.from_regex(
    r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9](:[0-6][0-9]){0,2}(\.[0-9]{0,9})?(Z|[+-][0-9]{2}:?[0-9]{2})?\Z"
)

_NAMES = [f.name for f in FIELDS]
_DOCUMENTS = [document for document in JSON_DOCUMENTS + NO_JSON_DOCUMENTS if len(document) < 2_000]
_WITHIN = [
    b"\x00", b"\x1b[2J", b"\x7f", b"\r\n", b"\n", b"\t", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x8e\xac", b" ",
    b"\xe2\x80\xa8", b"\xef\xbb\xbf", b'"', b"\\", b"{", b"}", b",", b":", b"'", b"\xc2\x9b", b"\xe2\x80\xae",
]  # fmt: skip
_CODECS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "utf-7", "cp037"]


@dataclass(frozen=True)
class Recipe:
    """How to spoil a message: in which ways, one after the other, and with what."""

    ways: tuple[str, ...]
    values: list[Any]
    times: list[str]


def spoilt(raw: bytes, recipe: Recipe, random: Random) -> bytes:
    """Spoil a valid message; ``random`` decides about the places."""
    for way in recipe.ways:
        if way in _OF_BYTES:
            raw = _OF_BYTES[way](raw, random)
        elif (event := _event(raw)) is not None:
            changed = _OF_FIELDS[way](event, recipe, random)
            raw = changed if isinstance(changed, bytes) else _written(changed, random)
    return raw


def _event(raw: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _written(event: dict[str, Any], random: Random) -> bytes:
    separators = random.choice([None, (",", ":")])
    return json.dumps(event, ensure_ascii=random.random() < 0.5, separators=separators).encode("utf-8", "surrogatepass")


def _literal(event: dict[str, Any], _: Recipe, random: Random) -> bytes:
    text = json.dumps(event | {random.choice(_NAMES): "@@"}).encode()
    return text.replace(b'"@@"', random.choice(_DOCUMENTS))


def _twice(event: dict[str, Any], recipe: Recipe, random: Random) -> bytes:
    more = json.dumps({random.choice(_NAMES): random.choice([*recipe.values, *event.values()])})[1:-1]
    text = json.dumps(event)[1:-1]
    return ("{" + random.choice([f"{text}, {more}", f"{more}, {text}"]) + "}").encode()


def _swapped(event: dict[str, Any], _: Recipe, random: Random) -> dict[str, Any]:
    one, other = random.choice(_NAMES), random.choice(_NAMES)
    return event | {one: event.get(other), other: event.get(one)}


def _without(event: dict[str, Any], _: Recipe, random: Random) -> dict[str, Any]:
    gone = random.choice(list(event) or [""])
    return {k: v for k, v in event.items() if k != gone}


def _renamed(event: dict[str, Any], _: Recipe, random: Random) -> dict[str, Any]:
    old = random.choice(list(event) or [""])
    new = random.choice([old.upper(), f" {old}", old + "\u200b", old[::-1], "", random.choice(_NAMES)])
    return {new if k == old else k: v for k, v in event.items()}


def _deep(event: dict[str, Any], recipe: Recipe, random: Random) -> dict[str, Any]:
    name = random.choice(_NAMES)
    value = random.choice(recipe.values)
    return event | {name: random.choice([[value], {"a": value}, [event.get(name), [value]], {name: [{"b": [value]}]}])}


_OF_FIELDS: dict[str, Callable[[dict[str, Any], Recipe, Random], dict[str, Any] | bytes]] = {
    "any value": lambda event, recipe, random: event | {random.choice(_NAMES): random.choice(recipe.values)},
    "deep within": _deep,
    "time": lambda event, recipe, random: event | {"timestamp": random.choice(recipe.times)},
    "type": lambda event, _, random: (
        event | {"type": random.choice([*EVENT_TYPES, "User", " user", ["user"], 1, None])}
    ),
    "swapped": _swapped,
    "without": _without,
    "renamed": _renamed,
    "literal": _literal,
    "twice": _twice,
    "written anew": lambda event, _, __: event,
}


def _cut(raw: bytes, random: Random) -> tuple[bytes, bytes, bytes]:
    i, j = sorted((random.randint(0, len(raw)), random.randint(0, len(raw))))
    return raw[:i], raw[i:j], raw[j:]


def _flipped(raw: bytes, random: Random) -> bytes:
    found = bytearray(raw or b"\x00")
    for _ in range(random.choice([1, 1, 2, 8])):
        found[random.randrange(len(found))] ^= 1 << random.randrange(8)
    return bytes(found)


def _reordered(raw: bytes, random: Random) -> bytes:
    head, middle, tail = _cut(raw, random)
    return random.choice([head + tail + middle, tail + middle + head, head + middle + middle + tail, head + tail])


_OF_BYTES: dict[str, Callable[[bytes, Random], bytes]] = {
    "flipped": _flipped,
    "cut off": lambda raw, random: random.choice(_cut(raw, random)),
    "reordered": _reordered,
    "put in": lambda raw, random: random.choice(_WITHIN).join(_cut(raw, random)),
    "noise": lambda raw, random: random.randbytes(random.randint(1, 9)).join(_cut(raw, random)[::2]),
    "two": lambda raw, random: raw + random.choice([b"", b"\n", b"\r\n", b",", b" ", b"\x00"]) + raw,
    "encoded": lambda raw, random: raw.decode("utf-8", "replace").encode(random.choice(_CODECS), "replace"),
    "padded": lambda raw, random: random.choice(_WITHIN) + raw + random.choice(_WITHIN),
}

RECIPES = st.builds(
    Recipe,
    st.lists(st.sampled_from([*_OF_FIELDS, *_OF_BYTES]), min_size=1, max_size=3).map(tuple),
    st.lists(JSON, min_size=1, max_size=6),
    st.lists(TIMES, min_size=1, max_size=4),
)
