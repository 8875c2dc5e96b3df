"""Messages that break the contract, one way each: what a real feed sends on a bad day, for demonstrations and tests."""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from nextreel.events.contract import ID_CHARACTERS_MAX, Reason

Event = dict[str, Any]


def _with(**changes: Any) -> Callable[[Event], bytes]:
    return lambda event: orjson.dumps(event | changes)


def _without(field: str) -> Callable[[Event], bytes]:
    return lambda event: orjson.dumps({k: v for k, v in event.items() if k != field})


#: Every way to break a valid event, with the reason that quarantine must give.
FAULTS: tuple[tuple[Reason, Callable[[Event], bytes]], ...] = (
    (Reason.EMPTY, lambda _: b""),
    (Reason.NOT_UTF8, lambda event: orjson.dumps(event)[:-1] + b',"x":"\xe9"}'),
    (Reason.NOT_JSON, lambda event: orjson.dumps(event)[:-9]),
    (Reason.NOT_JSON, lambda event: repr(event).encode()),
    (Reason.NOT_AN_OBJECT, lambda event: orjson.dumps([event])),
    (Reason.UNKNOWN_TYPE, _with(type="podcast")),
    (
        Reason.WRONG_TOPIC,
        lambda event: orjson.dumps(event | {"type": "user" if event["type"] != "user" else "movie"}),
    ),
    (Reason.MISSING_FIELD, _without("id")),
    (Reason.MISSING_FIELD, _with(timestamp="n/a")),
    (Reason.WRONG_TYPE, _with(id={"$oid": "507f1f77bcf86cd799439011"})),
    (Reason.TOO_LONG, _with(id="x" * (ID_CHARACTERS_MAX + 1))),
    (Reason.FORBIDDEN_CHARACTER, _with(id="a\0b")),
    (Reason.BAD_TIMESTAMP, _with(timestamp="yesterday")),
    (Reason.BAD_TIMESTAMP, _with(timestamp="2099-12-31T23:59:59Z")),
    (Reason.BAD_TIMESTAMP, _with(timestamp="0001-01-01T00:00:00Z")),
)


def broken(events: list[Event], seed: int) -> list[tuple[Reason, bytes]]:
    """Return one broken message for each valid event, the fault drawn at random, with the reason to expect."""
    drawn = np.random.default_rng(seed).integers(len(FAULTS), size=len(events))
    return [(FAULTS[i][0], FAULTS[i][1](event)) for i, event in zip(drawn, events, strict=True)]
