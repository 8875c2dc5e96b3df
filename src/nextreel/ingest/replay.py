"""The quarantine's messages sent again to their topics, as they are or edited, after what was wrong is right.

They are judged anew by the contract as it is today, and go with their keys and headers and one header more, which names
the message that they replace; the key of an interaction is its user's id. What Kafka has acknowledged is recorded, and
not sent a second time.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import orjson

from nextreel.errors import InputError, KafkaError
from nextreel.events.arrival import MAX_CLOCK_SKEW_SECONDS, latest_event_time
from nextreel.events.contract import KEY_FIELD, EventType
from nextreel.ingest.rows import Rejected, read
from nextreel.kafka.producer import EventProducer
from nextreel.kafka.topics import topics_by_type
from nextreel.lake.layout import Lake
from nextreel.lake.place import Place
from nextreel.lake.quarantine import EVERYTHING, Quarantined, Selection, absent, messages
from nextreel.lake.quarantine_file import read_export
from nextreel.lake.replays import ReplayLog, Replays, replay_log
from nextreel.settings import KafkaSettings

#: The header of a message that was sent again: the place of the one in quarantine.
REPLAY_HEADER = "nextreel-replay-of"

#: So many messages or bytes are sent, acknowledged and recorded at a time.
_BLOCK, _BLOCK_BYTES = 1_000, 8_000_000


@dataclass(frozen=True)
class Refusal:
    """A message that today's contract still rejects, and why."""

    message: Quarantined
    reason: str
    detail: str


@dataclass
class Outcome:
    """What a replay came to, or would.

    ``sent`` is by topic, ``already`` were sent before and not again, ``refused`` is what the contract still rejects, by
    the reason of today.
    """

    sent: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    already: int = 0
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Replay:
    """Which messages to send again.

    ``selection`` is of the quarantine or, where there is one, of the edited export ``file``, which counts as it is now.
    ``anyway`` sends also what the contract still rejects. ``told`` hears of each such message. ``max_skew_seconds`` is
    `contract.max_clock_skew_seconds`.
    """

    lake: Lake
    kafka: KafkaSettings
    selection: Selection = EVERYTHING
    file: Path | None = None
    anyway: bool = False
    told: Callable[[Refusal], None] = lambda _: None
    max_skew_seconds: float = MAX_CLOCK_SKEW_SECONDS

    def plan(self) -> Outcome:
        """Return what `run` would do now; raises `InputError` for places and a file that it would not take."""
        outcome = Outcome()
        for message in self._chosen(Replays(self.lake), outcome):
            _count(outcome, message)
        return outcome

    def run(self, progress: Callable[[Outcome], None] = lambda _: None) -> Outcome:
        """Send them, wait for Kafka, record what it has acknowledged; return what was sent.

        Raises `InputError`, before anything is sent, for a place that is not in quarantine (or not in the file) and for
        a line of the file that is no message of the quarantine; `KafkaError` where some could not be delivered (the
        others are, and recorded); `nextreel.errors.LakeError` where another process replays.
        """
        outcome = Outcome()
        with replay_log(self.lake) as log:
            chosen = self._chosen(Replays(self.lake), outcome)
            sending: _Sending | None = None
            try:
                for block in _blocks(chosen):
                    sending = sending or _Sending(EventProducer(self.kafka), log, outcome, self.kafka.interactions)
                    sending.send(block)
                    progress(outcome)
                if sending is not None:
                    sending.end()
            except KafkaError as error:
                n = sum(outcome.sent.values())
                raise KafkaError(f"{n:,} messages were sent again and are recorded as such; {error}") from None
        return outcome

    def _chosen(self, replays: Replays, outcome: Outcome) -> Iterator[Quarantined]:
        """Yield what is to be sent; count what is not."""
        types = {topic: event_type for event_type, topic in topics_by_type(self.kafka).items()}
        for message in self._messages():
            if _is_replayed(message, replays):
                outcome.already += 1
                continue
            latest = latest_event_time(datetime.now(UTC), self.max_skew_seconds)
            refusal = judge(message, types.get(message.target), latest)
            if refusal is not None:
                outcome.refused[refusal.reason] += 1
                self.told(refusal)
            if refusal is None or self.anyway:
                yield message

    def _messages(self) -> Iterable[Quarantined]:
        wanted = self.selection.places
        if self.file is None:
            _check_places(absent(self.lake, wanted), f"the quarantine of {self.lake.root}")
            return messages(self.lake, self.selection)
        _check_places(set(wanted) - check_export(self.lake, self.file), str(self.file))
        return filter(self.selection.has, read_export(self.file))


def judge(message: Quarantined, expected: EventType | None, latest: datetime) -> Refusal | None:
    """Return why a message would go to quarantine; None where it would be accepted.

    ``expected`` is the event type that its topic carries, ``latest`` the last event time that it may have.
    """
    try:
        read(message.value, message.target, expected, latest)
    except Rejected as rejected:
        return Refusal(message, rejected.reason, rejected.detail)
    return None


def check_export(lake: Lake, file: Path) -> Set[Place]:
    """Read an edited export to its end and return its places.

    Raises `InputError` for a line that is not of this lake's quarantine.
    """
    lines: dict[Place, int] = {message.place: message.line for message in read_export(file)}
    missing = absent(lake, lines.keys())
    if missing:
        first = min(missing, key=lambda place: lines[place])
        more = f" (nor are {len(missing) - 1:,} others)" if len(missing) > 1 else ""
        raise InputError(f"{file}, line {lines[first]}: {first} is not in the quarantine of {lake.root}{more}")
    return lines.keys()


def _check_places(missing: Collection[Place], where: str) -> None:
    """Raise `InputError` where some places are missing."""
    if missing:
        named = ", ".join(map(str, sorted(missing)))
        raise InputError(f"{named} {'is' if len(missing) == 1 else 'are'} not in {where}; nothing was sent")


def _is_replayed(message: Quarantined, replays: Replays) -> bool:
    """Tell whether a message was sent; a line that was edited once more is another message."""
    if message.line:
        return replays.has_sent(message.place, message.target, message.value)
    return replays.has(message.place.topic, message.place.partition, message.place.offset)


def _blocks(chosen: Iterable[Quarantined]) -> Iterator[list[Quarantined]]:
    block: list[Quarantined] = []
    size = 0
    for message in chosen:
        block.append(message)
        size += len(message.value or b"")
        if len(block) >= _BLOCK or size >= _BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


class _Sending:
    """Sends messages and records those that Kafka has acknowledged, whatever happens to the others or to us."""

    def __init__(self, producer: EventProducer, log: ReplayLog, outcome: Outcome, interactions: str):
        self._producer = producer
        self._interactions = interactions
        self._log = log
        self._outcome = outcome
        self._acknowledged: list[Quarantined] = []

    def send(self, block: Iterable[Quarantined]) -> None:
        """Send a block. Raises `KafkaError` where Kafka does not answer any more: what follows must not be sent."""
        try:
            for message in block:
                headers = [*message.headers, (REPLAY_HEADER, str(message.place).encode())]
                acknowledged = partial(self._acknowledged.append, message)
                key = self._key(message)
                self._producer.send_whole(message.target, key, message.value, headers, acknowledged)
            self._producer.wait()
            if self._producer.delivery.unknown > 0:
                raise KafkaError("Kafka has stopped answering; the same command goes on from there")
        finally:
            self._record()

    def end(self) -> None:
        """Raise `KafkaError` where some could not be delivered."""
        self._producer.flush()

    def _key(self, message: Quarantined) -> bytes | None:
        """Return the key to send: an interaction's user, whose events share a partition; otherwise the message's."""
        if message.target != self._interactions or not message.value:
            return message.key
        try:
            event = orjson.loads(message.value)
        except orjson.JSONDecodeError:
            return message.key
        user = event.get(KEY_FIELD["interaction"]) if isinstance(event, dict) else None
        if isinstance(user, int) and not isinstance(user, bool):  # the contract takes it for its text
            user = str(user)
        return user.encode() if isinstance(user, str) and user else message.key

    def _record(self) -> None:
        messages, self._acknowledged[:] = list(self._acknowledged), []
        self._log.add((message.place, message.target, message.value) for message in messages)
        for message in messages:
            _count(self._outcome, message)


def _count(outcome: Outcome, message: Quarantined) -> None:
    outcome.sent[message.target] += 1
    outcome.bytes += len(message.value or b"")
