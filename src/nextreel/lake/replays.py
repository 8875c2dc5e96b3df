"""What of the quarantine was sent again: where it had been, and what was sent.

    <lake>/_ingest/replays/<time>-<id>.jsonl    one a run: a line a message

A line is written when Kafka has acknowledged its message. So a kill in between lets a message be sent twice, and none
be forgotten; a line that a kill has cut off counts as not written.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, BinaryIO
from uuid import uuid4

from nextreel.durable import sync
from nextreel.errors import InputError, LakeError
from nextreel.lake.layout import Lake
from nextreel.lake.locks import replayer
from nextreel.lake.place import Place


class Replays:
    """What has been sent again so far: a hundred bytes of memory a message."""

    def __init__(self, lake: Lake):
        self._offsets: dict[tuple[str, int], set[int]] = {}
        self._sent: set[bytes] = set()
        for place, topic, digest, _ in _records(lake):
            self._offsets.setdefault((place.topic, place.partition), set()).add(place.offset)
            self._sent.add(_identity(place, topic, digest))

    def __bool__(self) -> bool:
        return bool(self._sent)

    def has(self, topic: str, partition: int, offset: int) -> bool:
        """Tell whether the message of a place was sent again, as it was or edited."""
        return offset in self._offsets.get((topic, partition), ())

    def has_sent(self, place: Place, topic: str, value: bytes | None) -> bool:
        """Tell whether this very value was sent to a topic in place of a message."""
        return _identity(place, topic, _digest(value)) in self._sent


def replayed_at(lake: Lake, place: Place) -> list[datetime]:
    """Return when the message of a place was sent again, the first time first."""
    return sorted(at for found, _, _, at in _records(lake) if found == place)


class ReplayLog:
    """The record of one run, which has a file as soon as there is something to write."""

    def __init__(self, lake: Lake):
        self._folder = lake.replays
        self._file: BinaryIO | None = None

    def add(self, sent: Iterable[tuple[Place, str, bytes | None]]) -> None:
        """Record messages as sent, durably: where each had been, its topic and its value."""
        at = datetime.now(UTC)
        lines = [
            {"place": str(place), "topic": topic, "sha256": _digest(value), "at": at.isoformat()}
            for place, topic, value in sent
        ]
        if not lines:
            return
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            sync(self._folder.parent)
            self._file = (self._folder / f"{at:%Y%m%dT%H%M%S}-{uuid4().hex[:8]}.jsonl").open("xb")
            sync(self._folder)
        self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """End the run."""
        if self._file is not None:
            self._file.close()


@contextmanager
def replay_log(lake: Lake) -> Iterator[ReplayLog]:
    """Begin the record of a run. Raises `LakeError` where another process replays this lake's quarantine."""
    with replayer(lake):
        log = ReplayLog(lake)
        try:
            yield log
        finally:
            log.close()


def _records(lake: Lake) -> Iterator[tuple[Place, str, str | None, datetime]]:
    for path in sorted(lake.replays.glob("*.jsonl")):
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):  # cut off by a kill
                    continue
                try:
                    record: dict[str, Any] = json.loads(line)
                    at = datetime.fromisoformat(record["at"])
                    found = Place.parse(record["place"]), record["topic"], record["sha256"], at
                except (ValueError, KeyError, TypeError, AttributeError, InputError):
                    raise LakeError(f"line {number} of {path} is no record of a replay: {line[:80]!r}") from None
                yield found


def _digest(value: bytes | None) -> str | None:
    return None if value is None else sha256(value).hexdigest()


def _identity(place: Place, topic: str, digest: str | None) -> bytes:
    return sha256(f"{place} {topic} {digest}".encode()).digest()[:16]
